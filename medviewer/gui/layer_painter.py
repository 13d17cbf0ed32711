"""What other objects lay over the image: values in colour with their scale, outlines with a light fill.

Only what :func:`laid_on` gives is drawn, with the image's own transform. Where a layer has no value
nothing is drawn: the image is as it would be without it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import QRectF
from PySide6.QtGui import QColor, QImage, QPainter, QTransform

from medviewer.app.layer_planes import Laid
from medviewer.domain.layer import Color, LabelPlane, LayerSource, ScalarLayer, ScalarPlane, Segment
from medviewer.explain.overlay import color_table
from medviewer.gui import theme
from medviewer.gui.outline_drawing import draw_outlines, draw_ragged, outline_path, step_for
from medviewer.gui.placing import Placement

_RAMP = 64  # of 255: levels over which a value comes up to the full opacity, so that the anatomy stays visible


class LayerPainter:
    """Draws layers at the resolution of the screen; the picture is kept while nothing changes."""

    def __init__(self) -> None:
        self._drawn: tuple[object, QImage] | None = None
        self._colored: dict[tuple[object, ...], QImage] = {}

    def paint(self, painter: QPainter, placed: Placement, laid: Sequence[Laid]) -> None:
        """Draw the layers, the last one on top."""
        shown = [one for one in laid if one.plane is not None]
        if not shown:
            self._drawn = None
            self._colored = {}
            return
        layers = tuple((one.layer, one.plane) for one in shown)
        t = placed.transform
        place = (t.m11(), t.m12(), t.m21(), t.m22(), t.dx(), t.dy())
        key = (layers, place, placed.size.width(), placed.size.height(), placed.ratio, placed.view.smooth)
        if self._drawn is None or self._drawn[0] != key:
            self._drawn = (key, self._draw(placed, shown))
        painter.drawImage(QRectF(0, 0, placed.size.width(), placed.size.height()), self._drawn[1])

    def _draw(self, placed: Placement, shown: Sequence[Laid]) -> QImage:
        size, ratio = placed.size, placed.ratio
        width, height = round(size.width() * ratio), round(size.height() * ratio)
        drawn = QImage(width, height, QImage.Format.Format_ARGB32_Premultiplied)
        drawn.setDevicePixelRatio(ratio)
        drawn.fill(0)
        used: dict[tuple[object, ...], QImage] = {}
        painter = QPainter(drawn)
        try:
            for one in shown:
                if isinstance(one.plane, ScalarPlane) and isinstance(one.source, ScalarLayer):
                    key = (one.plane, one.layer)
                    image = used[key] = self._colored.get(key) or _colored(one.plane, one.source, one)
                    painter.save()
                    painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, placed.view.smooth)
                    painter.setTransform(placed.transform, True)
                    painter.drawImage(QRectF(0, 0, image.width(), image.height()), image)
                    painter.restore()
                elif isinstance(one.plane, LabelPlane):
                    _draw_labels(painter, placed.transform, one.plane, one, ratio)
        finally:
            painter.end()
        self._colored = used
        return drawn


def range_of(laid: Laid) -> tuple[float, float]:
    """From where to where the colours span: as the reader wishes, or as the layer itself does."""
    own = laid.source.range if isinstance(laid.source, ScalarLayer) else (0.0, 1.0)
    return laid.layer.range or own


def bar_image(color_map: str) -> QImage:
    """A colour table as an upright bar, one pixel wide, the highest on top."""
    rgba = np.ascontiguousarray(color_table(color_map, opacity=1, threshold=0)[::-1].reshape(-1, 1, 4))
    rgba[..., 3] = 255
    return QImage(rgba.tobytes(), 1, len(rgba), 4, QImage.Format.Format_RGBA8888).copy()


def segment_color(source: LayerSource, segment: Segment) -> QColor:
    """The colour that the file wishes for a segment, else one of the palette by its place in the list."""
    wished: Color | None = segment.color
    if wished is not None:
        return QColor(*wished)
    own = () if isinstance(source, ScalarLayer) else source.segments
    at = next((i for i, one in enumerate(own) if one.number == segment.number), 0)
    return QColor(theme.SEGMENT_COLORS[at % len(theme.SEGMENT_COLORS)])


def _colored(plane: ScalarPlane, source: ScalarLayer, laid: Laid) -> QImage:
    """The values through the colour table; clear where there is none and at the lower end."""
    low, high = laid.layer.range or source.range
    is_there = np.isfinite(plane.values)
    # Level 0 is clear: where there is no value nothing is drawn.
    levels = np.clip((np.where(is_there, plane.values, low) - low) * (255.0 / (high - low)), 0, 255)
    table = color_table(laid.layer.color_map, opacity=1, threshold=0).copy()
    table[:, 3] = np.round(255 * laid.layer.opacity * np.clip(np.arange(256) / _RAMP, 0, 1))
    rgba = table[np.rint(levels).astype(np.uint8)]
    rows, columns = plane.values.shape
    image = QImage(rgba.tobytes(), columns, rows, columns * 4, QImage.Format.Format_RGBA8888)
    return image.convertToFormat(QImage.Format.Format_ARGB32_Premultiplied)


def _draw_labels(painter: QPainter, transform: QTransform, plane: LabelPlane, laid: Laid, ratio: float) -> None:
    if isinstance(laid.source, ScalarLayer):
        return
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    for segment in laid.source.segments:
        outlines, ragged = plane.outlines.get(segment.number, ()), plane.ragged.get(segment.number)
        if not (outlines or ragged) or segment.number in laid.layer.hidden:
            continue
        ink = segment_color(laid.source, segment)
        if ragged is not None:
            draw_ragged(painter, transform, ragged.mask, ink, laid.layer.opacity)
            continue
        draw_outlines(
            painter, transform, outline_path(outlines, step_for(transform, ratio)), ink, laid.layer.opacity, ratio
        )
