"""What a segmentation model outlined, over the image on screen, with its legend: only ever of that very image."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPointF, QRectF, QSizeF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QImage, QPainter, QPainterPath, QTransform

from medviewer.app.on_screen import current_answer
from medviewer.app.state import State
from medviewer.domain.answer import Region
from medviewer.gui import theme
from medviewer.gui.outline_drawing import draw_outlines, draw_ragged, outline_path, step_for
from medviewer.gui.region_words import area_words, notice
from medviewer.gui.text import visible

_MARGIN = 12
_PAD, _SWATCH, _GAP = 8.0, 10.0, 6.0  # px of the legend
_LINE_PX = 18.0
_LETTER_PX = 58  # from the middle of the right edge down to the legend: the letter of that side stands there
_FOOT_PX = 96  # the lower corner's words
_MOST_WIDTH = 260.0
_LEAST_WIDTH = 120.0  # of an image area: in a smaller one the legend would hide what it explains


def shown_regions(state: State) -> tuple[Region, ...]:
    """What may be drawn now, in the card's order; nothing unless it is wanted and belongs to the image on screen.

    Its image is the one on screen with its pixels there, and image and record do not contradict each other.
    """
    if not state.overlay.visible or state.frame is None or state.record_mismatch or state.heat_map == "none":
        return ()
    found = current_answer(state)
    if found is None or found[1].status != "answer":
        return ()
    shape = state.frame.stored.shape[:2]
    regions = found[1].regions
    return regions if all(region.shape == shape for region in regions) else ()


class RegionLayer:
    """Draws outlines at the resolution of the screen; the picture is kept while nothing changes."""

    def __init__(self) -> None:
        self._drawn: tuple[object, tuple[Region, ...], QImage] | None = None
        self._paths: tuple[tuple[Region, ...], int, list[QPainterPath | None]] = ((), 1, [])  # None: ragged

    def paint(self, painter: QPainter, state: State, transform: QTransform, size: QSizeF, ratio: float) -> None:
        """Draw what may be drawn over the image."""
        regions = shown_regions(state)
        if not any(region.pixels for region in regions):
            self._drawn, self._paths = None, ((), 1, [])
            return
        step = step_for(transform, ratio)
        if self._paths[:2] != (regions, step):
            self._paths = regions, step, [_path_of(region, step) for region in regions]
        t = transform
        place = (t.m11(), t.m12(), t.m21(), t.m22(), t.dx(), t.dy())
        key = (place, size.width(), size.height(), ratio, state.overlay.opacity)
        if self._drawn is None or self._drawn[:2] != (key, regions):
            self._drawn = (key, regions, self._draw(transform, size, ratio, state.overlay.opacity))
        painter.drawImage(QRectF(0, 0, size.width(), size.height()), self._drawn[2])

    def _draw(self, transform: QTransform, size: QSizeF, ratio: float, opacity: float) -> QImage:
        width, height = round(size.width() * ratio), round(size.height() * ratio)
        drawn = QImage(width, height, QImage.Format.Format_ARGB32_Premultiplied)
        drawn.setDevicePixelRatio(ratio)
        drawn.fill(0)
        painter = QPainter(drawn)
        try:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            for region, path in zip(self._paths[0], self._paths[2], strict=True):
                if path is None:
                    draw_ragged(painter, transform, region.mask, QColor(*region.color), opacity)
                else:
                    draw_outlines(painter, transform, path, QColor(*region.color), opacity, ratio)
        finally:
            painter.end()
        return drawn


def _path_of(region: Region, step: int) -> QPainterPath | None:
    """The outlines as a path; None where they have too many corners for one."""
    return None if region.is_ragged else outline_path(region.outlines, step)


def paint_region_legend(painter: QPainter, area: QRectF, state: State) -> None:
    """Say which colour is what and how large it is, and that it is an AI's result; beside the right edge."""
    regions = shown_regions(state)
    if not regions or area.width() < _LEAST_WIDTH:
        return
    t = theme.tokens()
    title, small = theme.text_font(theme.SMALL_PX, QFont.Weight.DemiBold), theme.text_font(theme.SMALL_PX)
    room = min(_MOST_WIDTH, area.width() - 2 * _MARGIN) - 2 * _PAD
    lines = _lines(regions, area)
    inset = _SWATCH + _GAP
    widest = max(
        QFontMetricsF(title).horizontalAdvance(notice()),
        *(inset + QFontMetricsF(small).horizontalAdvance(words) for words, _ in lines),
    )
    width, height = min(widest, room) + 2 * _PAD, (len(lines) + 1) * _LINE_PX + 2 * _PAD - 4
    box = QRectF(area.right() - _MARGIN - width, _top(area, height), width, height)
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(theme.color(t.viewport, 0.72))
    painter.drawRoundedRect(box, 6, 6)
    at = QPointF(box.left() + _PAD, box.top() + _PAD - 2)
    _write(painter, at, title, notice(), box.width() - 2 * _PAD, theme.color(t.caution))
    for words, color in lines:
        at += QPointF(0, _LINE_PX)
        if color is not None:
            painter.setPen(theme.color(t.overlay_text, 0.6))
            painter.setBrush(QColor(*color))
            painter.drawRect(QRectF(at.x() + 0.5, at.y() + (_LINE_PX - _SWATCH) / 2 + 0.5, _SWATCH - 1, _SWATCH - 1))
        inner = box.width() - 2 * _PAD - inset
        _write(painter, at + QPointF(inset, 0), small, words, inner, theme.color(t.overlay_text))
    painter.restore()


def _lines(regions: Sequence[Region], area: QRectF) -> list[tuple[str, tuple[int, int, int] | None]]:
    """A line a region, what was found first; as many as there is room for, and how many more there are."""
    most = max(1, int((area.height() / 2 - _FOOT_PX) // _LINE_PX) - 1)
    order = sorted(regions, key=lambda region: not region.pixels)
    first = order[: most if len(order) <= most else most - 1 or 1]
    told: list[tuple[str, tuple[int, int, int] | None]] = [
        (f"{visible(region.title)}  {area_words(region)}", region.color if region.pixels else None) for region in first
    ]
    if len(told) < len(order):
        told.append((f"+{len(order) - len(told)}", None))
    return told


def _top(area: QRectF, height: float) -> float:
    """Below the letter of the right edge, above the lower corner's words; never over the upper edge."""
    wished = max(area.top() + area.height() * 0.56, area.center().y() + _LETTER_PX - 24)
    return max(min(wished, area.bottom() - _FOOT_PX - height), area.top() + _MARGIN)


def _write(painter: QPainter, where: QPointF, font: QFont, words: str, room: float, ink: QColor) -> None:
    painter.setFont(font)
    painter.setPen(ink)
    told = QFontMetricsF(font).elidedText(words, Qt.TextElideMode.ElideRight, room)
    painter.drawText(QRectF(where.x(), where.y(), room + 1, _LINE_PX), Qt.AlignmentFlag.AlignVCenter, told)
