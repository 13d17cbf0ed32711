"""What covers parts of the image: shutters of its file, or of the presentation state that it is shown with."""

from __future__ import annotations

from math import log2

import numpy as np
from PySide6.QtCore import QPointF, QRectF
from PySide6.QtGui import QColor, QImage, QPainter, QPainterPath, QPolygonF

from medviewer.app.on_screen import shutters_of
from medviewer.app.state import State
from medviewer.domain.shutter import Shutter, Shutters
from medviewer.gui.placing import Placement


class ShutterLayer:
    """Covers what lies under the shutters of the image on screen; the picture of a bitmap is kept while it stays."""

    def __init__(self) -> None:
        self._bitmap: tuple[tuple[Shutters, int], QImage] | None = None

    def paint(self, painter: QPainter, state: State, placed: Placement) -> None:
        """Cover, with the image's own transform, unless the reader wishes to see all."""
        shutters = shutters_of(state)
        if shutters is not None and state.shutters_shown:
            self.cover(painter, placed, shutters)

    def cover(self, painter: QPainter, placed: Placement, shutters: Shutters) -> None:
        """Cover what is not left open by every one of some shutters."""
        painter.save()
        painter.setTransform(placed.transform, True)
        if shutters.shapes:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.fillPath(_covered(shutters, placed), QColor(*shutters.color))
        if shutters.bitmap is not None:
            # Shrunken, what is covered must not show between the screen's pixels.
            step = 2 ** max(0, int(-log2(placed.zoom * min(1.0, placed.aspect))))
            if self._bitmap is None or self._bitmap[0] != (shutters, step):
                covered = _shrunken(shutters.bitmap, step)
                self._bitmap = (shutters, step), _picture(covered, QColor(*shutters.color))
            picture = self._bitmap[1]
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, placed.zoom < 1)
            painter.setClipRect(QRectF(0, 0, placed.columns, placed.rows))  # a step may reach beyond the last pixel
            painter.drawImage(QRectF(0, 0, picture.width() * step, picture.height() * step), picture)
        painter.restore()


def _covered(shutters: Shutters, placed: Placement) -> QPainterPath:
    whole = QPainterPath()
    whole.addRect(QRectF(0, 0, placed.columns, placed.rows))
    seen = whole
    for shutter in shutters.shapes:
        seen = seen.intersected(_path(shutter, placed.aspect))
    return whole.subtracted(seen)


def _path(shutter: Shutter, aspect: float) -> QPainterPath:
    path = QPainterPath()
    if shutter.shape == "RECTANGULAR":
        path.addRect(QRectF(QPointF(*shutter.points[0]), QPointF(*shutter.points[1])).normalized())
    elif shutter.shape == "CIRCULAR":
        path.addEllipse(QPointF(*shutter.points[0]), shutter.radius, shutter.radius / aspect)
    else:
        path.addPolygon(QPolygonF([QPointF(*point) for point in shutter.points]))
        path.closeSubpath()
    return path


def _shrunken(covered: np.ndarray, step: int) -> np.ndarray:
    """Blocks of ``step`` x ``step`` pixels as one: covered where any of them is."""
    if step == 1:
        return covered
    rows, columns = (np.arange(0, size, step) for size in covered.shape)
    return np.logical_or.reduceat(np.logical_or.reduceat(covered, rows, axis=0), columns, axis=1)


def _picture(covered: np.ndarray, ink: QColor) -> QImage:
    """``(rows, columns)`` bool as a picture that is transparent where nothing is covered."""
    pixels = np.where(covered, np.uint32(ink.rgba()), np.uint32(0))
    rows, columns = covered.shape
    return QImage(pixels.tobytes(), columns, rows, columns * 4, QImage.Format.Format_ARGB32_Premultiplied).copy()
