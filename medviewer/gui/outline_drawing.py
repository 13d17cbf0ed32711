"""Closed outlines of one thing over the image: a light fill, a firm edge with a dark rim; quick at any length.

Qt strokes a line that is wider than a device pixel by working out the shape of the stroke, which takes seconds for
the ten thousands of corners of an outline along pixels. A line of one device pixel is drawn at once, so a wide one is
drawn as several beside each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPainterPath, QPen, QPolygonF, QTransform

from medviewer.explain.overlay import FILL
from medviewer.gui import theme

_OUTLINE_PX = 1.5
_LONGEST_SIDE = 1024  # of the picture that is drawn instead
_RIM_ALPHA = 0.3  # of one of the lines of which the rim is made; they lie over each other


def outline_path(outlines: Sequence[np.ndarray], step: int = 1) -> QPainterPath:
    """Outlines as one path in the image's pixels; inside is what an odd number of them encloses.

    Args:
        outlines: ``(n, 2)`` (column, row) each.
        step: corners are moved to multiples of so many pixels, which leaves fewer of them; :func:`step_for` gives one
            that nobody sees. What is so small that it would vanish stays as it is.
    """
    path = QPainterPath()
    path.setFillRule(Qt.FillRule.OddEvenFill)
    for points in outlines:
        path.addPolygon(QPolygonF([QPointF(x, y) for x, y in _coarser(points, step).tolist()]))
        path.closeSubpath()
    return path


def step_for(transform: QTransform, ratio: float) -> int:
    """Pixels of the image, a power of two, that together are no larger than a device pixel; 1 if one is larger."""
    zoom = max(math.hypot(transform.m11(), transform.m12()), math.hypot(transform.m21(), transform.m22())) * ratio
    return 1 if zoom >= 1 or zoom <= 0 else int(2 ** math.floor(math.log2(1 / zoom)))


def _coarser(points: np.ndarray, step: int) -> np.ndarray:
    if step == 1:
        return points
    moved = np.round(points / step) * step
    moved = moved[np.any(moved != np.roll(moved, 1, axis=0), axis=1)]
    if len(moved) < 4:
        return points
    before, after = moved - np.roll(moved, 1, axis=0), np.roll(moved, -1, axis=0) - moved
    moved = moved[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]  # those at which it turns
    return moved if len(moved) >= 4 else points


def draw_outlines(
    painter: QPainter, transform: QTransform, path: QPainterPath, ink: QColor, opacity: float, ratio: float
) -> None:
    """Draw a path of :func:`outline_path`; the edge is whole whatever the opacity of the fill.

    Args:
        painter: of a picture with this many device pixels for one of the screen, in the screen's.
        transform: from the image's pixels to the screen's.
        path: in the image's pixels.
        ink: its colour.
        opacity: of the fill, 0 to 1.
        ratio: device pixels for one of the screen.
    """
    fill, rim = QColor(ink), theme.color(theme.tokens().viewport, _RIM_ALPHA)
    fill.setAlphaF(FILL * opacity)
    painter.save()
    painter.scale(1 / ratio, 1 / ratio)
    mapped = (transform * QTransform.fromScale(ratio, ratio)).map(path)
    painter.fillPath(mapped, fill)
    for places, color in ((_ring(_OUTLINE_PX * ratio), rim), (_disc(_OUTLINE_PX * ratio / 2), ink)):
        pen = QPen(color, 1.0)
        for x, y in places:
            painter.translate(x, y)
            painter.strokePath(mapped, pen)
            painter.translate(-x, -y)
    painter.restore()


def draw_ragged(painter: QPainter, transform: QTransform, mask: np.ndarray, ink: QColor, opacity: float) -> None:
    """Draw a mask that has no outlines for having too many corners: as a picture of its pixels, the edge firm.

    Args:
        painter: in the screen's pixels.
        transform: from the image's pixels to the screen's.
        mask: ``(rows, columns)`` bool, of the image.
        ink: its colour.
        opacity: of the fill, 0 to 1.
    """
    step = max(1, -(-max(mask.shape) // _LONGEST_SIDE))
    coarse = mask[::step, ::step]
    around = np.pad(coarse, 1)
    inner = coarse & around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    rgba = np.zeros((*coarse.shape, 4), np.uint8)
    rgba[coarse] = (ink.red(), ink.green(), ink.blue(), 255)
    rgba[inner, 3] = round(255 * FILL * opacity)
    rows, columns = coarse.shape
    image = QImage(rgba.tobytes(), columns, rows, columns * 4, QImage.Format.Format_RGBA8888)
    painter.save()
    painter.setTransform(transform, True)
    painter.drawImage(QRectF(0, 0, columns * step, rows * step), image)
    painter.restore()


@lru_cache(maxsize=16)
def _disc(radius: float) -> tuple[tuple[float, float], ...]:
    """Where lines of one pixel lie that together are a line of this radius."""
    reach = max(radius - 0.5, 0.0)
    rings = [reach * step / max(math.ceil(reach), 1) for step in range(math.ceil(reach) + 1)]
    return tuple(place for ring in rings for place in _around(ring))


def _ring(radius: float) -> tuple[tuple[float, float], ...]:
    """The outermost lines of such a line."""
    return _around(max(radius - 0.5, 0.0))


def _around(radius: float) -> tuple[tuple[float, float], ...]:
    """Places on a circle, at most a pixel and a half from each other."""
    if radius == 0:
        return ((0.0, 0.0),)
    count = max(4, 4 * math.ceil(2 * math.pi * radius / 6))
    turns = [2 * math.pi * k / count for k in range(count)]
    return tuple((radius * math.cos(turn), radius * math.sin(turn)) for turn in turns)
