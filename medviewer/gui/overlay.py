"""The heat map or the outlines over the image: only ever those that belong to the image on screen."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QRectF, QSizeF
from PySide6.QtGui import QImage, QPainter, QTransform

from medviewer.app.linking import shown_grid
from medviewer.app.on_screen import current_attribution, second_attribution
from medviewer.app.state import State
from medviewer.domain.answer import Attribution
from medviewer.domain.frozen import dataclass
from medviewer.explain.comparison import difference, difference_levels, difference_table
from medviewer.explain.overlay import color_table, strongest_of, to_levels
from medviewer.explain.stack_map import on_plane
from medviewer.gui.region_layer import RegionLayer

BAR_STEPS = 256
_LONGEST_SIDE = 1024  # of the drawn copy: saliency is far coarser than the image


@dataclass(frozen=True, slots=True, eq=False)
class HeatMaps:
    """What is drawn: the map of one method or, with ``against``, how the maps of two differ."""

    attribution: Attribution
    against: Attribution | None = None

    def is_same(self, other: HeatMaps | None) -> bool:
        """Whether the same is drawn."""
        return other is not None and other.attribution is self.attribution and other.against is self.against


def shown_heat_maps(state: State) -> HeatMaps | None:
    """What may be drawn now.

    None unless it is wanted, its image is the one on screen with its pixels there, and
    image and record do not contradict each other.
    """
    if not state.overlay.visible or state.frame is None or state.record_mismatch:
        return None
    first, second = (_placed(one, state) for one in (current_attribution(state), second_attribution(state)))
    wanted = {"first": (first,), "second": (second,), "difference": (first, second), "none": ()}[state.heat_map]
    shape = state.frame.stored.shape[:2]
    there = [one for one in wanted if one is not None and one.placed.shape == shape]
    return HeatMaps(*there) if there and len(there) == len(wanted) else None


def _placed(found: Attribution | None, state: State) -> Attribution | None:
    """The map on what is on screen: that of a stack is laid on whatever plane of it that is."""
    if found is None or found.volume is None:
        return found
    grid = shown_grid(state)
    return None if grid is None else on_plane(found, grid)


class OverlayLayer:
    """Draws a heat map, or the difference of two, coloured by the reader's choices, at the resolution of the screen.

    The coloured and transformed picture is kept while nothing changes, so that a step of
    window and level only lays it over.
    """

    def __init__(self) -> None:
        self._maps: HeatMaps | None = None
        self._levels = np.zeros((0, 0), np.uint8)
        self._step = 1
        self._colored: tuple[object, QImage] | None = None
        self._drawn: tuple[object, QImage] | None = None
        self._regions = RegionLayer()

    def paint(
        self, painter: QPainter, state: State, transform: QTransform, size: QSizeF, ratio: float
    ) -> HeatMaps | None:
        """Draw what may be drawn over the image, outlines below; returns the heat maps."""
        self._regions.paint(painter, state, transform, size, ratio)
        maps = shown_heat_maps(state)
        if maps is None or not maps.is_same(self._maps):
            self._take(maps)
        if maps is None:
            return None
        o = state.overlay
        colors = (o.color_map, o.opacity, o.threshold)
        if self._colored is None or self._colored[0] != colors:
            self._colored, self._drawn = (colors, self._color(*colors)), None
        placed = (_key(transform), size.width(), size.height(), ratio, state.view.smooth)
        if self._drawn is None or self._drawn[0] != placed:
            self._drawn = (placed, self._draw(transform, size, ratio))
        painter.drawImage(QRectF(0, 0, size.width(), size.height()), self._drawn[1])
        return maps

    def _take(self, maps: HeatMaps | None) -> None:
        self._maps, self._colored, self._drawn = maps, None, None
        if maps is not None:
            placed = maps.attribution.placed
            self._step = max(1, -(-max(placed.shape) // _LONGEST_SIDE))
            if maps.against is None:
                levels = to_levels(placed, strongest_of(maps.attribution))
            else:
                levels = difference_levels(difference(placed, maps.against.placed))
            self._levels = np.ascontiguousarray(levels[:: self._step, :: self._step])

    def _color(self, color_map: str, opacity: float, threshold: float) -> QImage:
        is_difference = self._maps is not None and self._maps.against is not None
        if is_difference:
            table = difference_table(opacity=opacity, threshold=threshold)
        else:
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
            if self._colored is not None and self._maps is not None:
                image = self._colored[1]
                painter.drawImage(QRectF(0, 0, image.width() * self._step, image.height() * self._step), image)
        finally:
            painter.end()
        return drawn


def bar_image(state: State, *, is_difference: bool = False) -> QImage:
    """The colour table as an upright bar, one pixel wide, strongest (or the first method) on top, without opacity."""
    if is_difference:
        table = difference_table(opacity=1.0, threshold=state.overlay.threshold)[1:]
    else:
        table = color_table(state.overlay.color_map, opacity=1.0, threshold=state.overlay.threshold)
    rgba = np.ascontiguousarray(table[::-1].reshape(-1, 1, 4))
    return QImage(rgba.tobytes(), 1, len(table), 4, QImage.Format.Format_RGBA8888).copy()


def _key(t: QTransform) -> tuple[float, ...]:
    return (t.m11(), t.m12(), t.m21(), t.m22(), t.dx(), t.dy())
