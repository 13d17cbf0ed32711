"""The heat map over the image: only ever the one that belongs to the image on screen."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QRectF, QSizeF
from PySide6.QtGui import QImage, QPainter, QTransform

from medviewer.app.on_screen import current_attribution
from medviewer.app.state import State
from medviewer.domain.answer import Attribution
from medviewer.explain.overlay import color_table, to_levels

BAR_STEPS = 256
_LONGEST_SIDE = 1024  # of the drawn copy: saliency is far coarser than the image


def shown_attribution(state: State) -> Attribution | None:
    """The heat map that may be drawn now.

    None unless it is wanted, its image is the one on screen with its pixels there, and
    image and record do not contradict each other.
    """
    if not state.overlay.visible or state.frame is None or state.record_mismatch:
        return None
    attribution = current_attribution(state)
    if attribution is None or attribution.placed.shape != state.frame.stored.shape[:2]:
        return None
    return attribution


class OverlayLayer:
    """Draws one attribution, coloured by the reader's choices, at the resolution of the screen.

    The coloured and transformed picture is kept while nothing changes, so that a step of
    window and level only lays it over.
    """

    def __init__(self) -> None:
        self._attribution: Attribution | None = None
        self._levels = np.zeros((0, 0), np.uint8)
        self._step = 1
        self._colored: tuple[object, QImage] | None = None
        self._drawn: tuple[object, QImage] | None = None

    def paint(
        self, painter: QPainter, state: State, transform: QTransform, size: QSizeF, ratio: float
    ) -> Attribution | None:
        """Draw what may be drawn over the image; returns it."""
        attribution = shown_attribution(state)
        if attribution is not self._attribution:
            self._take(attribution)
        if attribution is None:
            return None
        o = state.overlay
        colors = (o.color_map, o.opacity, o.threshold)
        if self._colored is None or self._colored[0] != colors:
            self._colored, self._drawn = (colors, self._color(*colors)), None
        placed = (_key(transform), size.width(), size.height(), ratio, state.view.smooth)
        if self._drawn is None or self._drawn[0] != placed:
            self._drawn = (placed, self._draw(transform, size, ratio))
        painter.drawImage(QRectF(0, 0, size.width(), size.height()), self._drawn[1])
        return attribution

    def _take(self, attribution: Attribution | None) -> None:
        self._attribution, self._colored, self._drawn = attribution, None, None
        if attribution is not None:
            self._step = max(1, -(-max(attribution.placed.shape) // _LONGEST_SIDE))
            self._levels = np.ascontiguousarray(to_levels(attribution.placed)[:: self._step, :: self._step])

    def _color(self, color_map: str, opacity: float, threshold: float) -> QImage:
        table = color_table(color_map, opacity=opacity, threshold=threshold)
        rgba = table[self._levels]
        rows, columns = self._levels.shape
        image = QImage(rgba.tobytes(), columns, rows, columns * 4, QImage.Format.Format_RGBA8888)
        return image.convertToFormat(QImage.Format.Format_ARGB32_Premultiplied)

    def _draw(self, transform: QTransform, size: QSizeF, ratio: float) -> QImage:
        drawn = QImage(
            round(size.width() * ratio), round(size.height() * ratio), QImage.Format.Format_ARGB32_Premultiplied
        )
        drawn.setDevicePixelRatio(ratio)
        drawn.fill(0)
        painter = QPainter(drawn)
        try:
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
            painter.setTransform(transform, True)
            if self._colored is not None and self._attribution is not None:
                image = self._colored[1]
                painter.drawImage(QRectF(0, 0, image.width() * self._step, image.height() * self._step), image)
        finally:
            painter.end()
        return drawn


def bar_image(state: State) -> QImage:
    """The colour table of the heat map as an upright bar, one pixel wide, strongest on top, without opacity."""
    table = color_table(state.overlay.color_map, opacity=1.0, threshold=state.overlay.threshold)
    rgba = np.ascontiguousarray(table[::-1].reshape(-1, 1, 4))
    return QImage(rgba.tobytes(), 1, len(table), 4, QImage.Format.Format_RGBA8888).copy()


def _key(t: QTransform) -> tuple[float, ...]:
    return (t.m11(), t.m12(), t.m21(), t.m22(), t.dx(), t.dy())
