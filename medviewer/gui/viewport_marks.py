"""The marks over the image: corner text, letters, fidelity, colour bar, and the states without an image."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QImage, QPainter, QPen

from medviewer.app.hanging_protocol import Vacancy
from medviewer.app.layer_planes import Laid
from medviewer.app.on_screen import has_other_findings
from medviewer.app.state import State, View
from medviewer.domain.answer import Attribution
from medviewer.domain.frozen import dataclass
from medviewer.domain.study import PixelDescription, Window
from medviewer.explain.faithfulness import is_convincing
from medviewer.gui import icons, theme
from medviewer.gui.corner_text import Corners
from medviewer.gui.finding_words import finding_title
from medviewer.gui.layer_painter import bar_image as layer_bar_image
from medviewer.gui.layer_painter import range_of
from medviewer.gui.layer_words import short_number, unit_word
from medviewer.gui.overlay import HeatMaps, bar_image
from medviewer.gui.text import tr, visible
from medviewer.imaging.display import own_table, window_ends
from medviewer.imaging.orientation import Letters
from medviewer.imaging.palettes import palette
from medviewer.imaging.units import reading_scale

MARGIN = 12
_LINE = 1.35
_LETTER_PX = 16
_BAR = (10, 132)
_LEAST_BAR_PX = 56
_LOWER_LEFT_PX = 124  # that the lower left corner's words may take, with what lies under the mouse
_SMALL_LOWER_PX = 44  # the same in a small viewport, which has fewer
_ROOMY_PX = 240  # high enough for all words
_BELOW_LETTER_PX = 58  # from the middle to the bar: half a letter, then the method's name and its verdict
_ICON_PX = 14
_STEP_PX = 60
_GAP_PX = 4  # between the lines of an empty viewport
_MOST_BLOCKS = 64
_RIM = 1.5  # px of dark around light text
_RIM_STEPS = tuple((x, y) for x in (-2, -1, 0, 1, 2) for y in (-2, -1, 0, 1, 2) if 0 < x * x + y * y <= 5)


@dataclass(frozen=True, slots=True)
class PaletteBar:
    """What the colours of a greyscale image mean.

    Attributes:
        palette: its name.
        low, high: from where to where the colours span, in ``unit``: SUVbw where the file allows it.
        is_reversed: the lowest value has the last colour.
    """

    palette: str
    low: float
    high: float
    unit: str
    is_reversed: bool

    def image(self) -> QImage:
        """The colours as an upright bar, one pixel wide, the highest value on top."""
        colors = palette(self.palette)[:: 1 if self.is_reversed else -1].copy()
        return QImage(colors.tobytes(), 1, len(colors), 4, QImage.Format.Format_RGB32).copy()


def palette_bar_of(description: PixelDescription, view: View, window: Window | None) -> PaletteBar | None:
    """The bar of an image that is drawn with ``window``; None without a palette, or where colours follow no window.

    ``description`` is that of the pixels as they are drawn: a presentation state may have changed it.
    """
    d = description
    is_table = d.presentation_lut is not None or own_table(d, view.window) is not None
    if not view.palette or window is None or is_table or window.function == "SIGMOID":
        return None
    low, high = window_ends(window)
    if not low < high:
        return None
    is_reversed = (d.photometric_interpretation == "MONOCHROME1") != view.inverted
    # The values of a state may be others than the image's own, whose unit this is.
    factor, unit = (1.0, "") if view.presentation else reading_scale(d)
    return PaletteBar(view.palette, low * factor, high * factor, unit, is_reversed)


class CornerPainter:
    """Writes the four corners; what was written is kept until the words change."""

    def __init__(self) -> None:
        self._kept: dict[tuple[object, ...], QImage] = {}

    def paint(self, painter: QPainter, area: QRectF, texts: Corners) -> None:
        """Write each block at its corner; the first line of the upper ones stands out."""
        inner = area.adjusted(MARGIN, MARGIN - 4, -MARGIN, -4)
        ratio = painter.device().devicePixelRatio()
        used: dict[tuple[object, ...], QImage] = {}
        for lines, others, is_left, is_top in _blocks(texts):
            if not lines:
                continue
            rooms = _rooms(lines, others, inner.width())
            downwards = slice(None, None, 1 if is_top else -1)  # the lower ones are given from the edge upwards
            key = (lines, rooms, is_left, is_top, ratio)
            block = used[key] = self._kept.get(key) or _text_block(
                tuple(lines[downwards]), rooms[downwards], ratio, is_left, is_top, theme.tokens()
            )
            x = inner.left() if is_left else inner.right() - max(rooms)
            y = inner.top() if is_top else inner.bottom() - block.height() / ratio
            painter.drawImage(QPointF(x - _RIM, y), block)
        self._kept = used


def _blocks(texts: Corners) -> tuple[tuple[Sequence[str], Sequence[str], bool, bool], ...]:
    """For each corner its lines and those of the corner across, from the edge inwards; whether left; whether upper."""
    return (
        (texts.top_left, texts.top_right, True, True),
        (texts.top_right, texts.top_left, False, True),
        (texts.bottom_left, texts.bottom_right, True, False),
        (texts.bottom_right, texts.bottom_left, False, False),
    )


def _rooms(lines: Sequence[str], others: Sequence[str], width: float) -> tuple[float, ...]:
    """How wide each line may be: less than half beside the edge's letter or a line of the corner across, else all."""
    half = width * 0.46
    return tuple(half if number == 0 or number < len(others) else width for number in range(len(lines)))


def lines_above_side_letters(area: QRectF) -> int:
    """How many lines of corner text there is room for before they stand over the letters of the side edges."""
    return max(1, int((area.height() / 2 - MARGIN - _LETTER_PX / 2) / (theme.TEXT_PX * _LINE)))


def taken_rects(area: QRectF, texts: Corners, letters: Letters) -> tuple[QRectF, ...]:
    """Where corner text and letters stand, for what should keep out of their way.

    In steps, and with room for the value under the mouse: what comes and goes must not make others jump.
    """
    metrics = QFontMetricsF(theme.text_font(theme.TEXT_PX, QFont.Weight.DemiBold))
    inner = area.adjusted(MARGIN, MARGIN - 4, -MARGIN, -4)
    found = []
    for lines, others, is_left, is_top in _blocks(texts):
        if not lines:
            continue
        count = len(lines) if is_top or not is_left or len(lines) < 3 else max(len(lines), 4)
        rooms = _rooms(lines, others, inner.width())
        widest = max(min(metrics.horizontalAdvance(line), room) for line, room in zip(lines, rooms, strict=True))
        width = min(_STEP_PX * (1 + widest // _STEP_PX), max(rooms))
        height = count * theme.TEXT_PX * _LINE
        x = inner.left() if is_left else inner.right() - width
        found.append(QRectF(x, inner.top() if is_top else inner.bottom() - height, width, height))
    side = QRectF(0, 0, 1.5 * _LETTER_PX, 1.5 * _LETTER_PX)
    for text, middle in (
        (letters.left, QPointF(inner.left() + 8, inner.center().y())),
        (letters.right, QPointF(inner.right() - 8, inner.center().y())),
        (letters.top, QPointF(inner.center().x(), inner.top() + 10)),
        (letters.bottom, QPointF(inner.center().x(), inner.bottom() - 10)),
    ):
        if text:
            side.moveCenter(middle)
            found.append(QRectF(side))
    return tuple(found)


def paint_letters(painter: QPainter, area: QRectF, letters: Letters) -> None:
    """Write the orientation letters at the middle of the edges; none where nothing is known."""
    painter.setFont(theme.text_font(_LETTER_PX, QFont.Weight.DemiBold))
    inner = area.adjusted(MARGIN, MARGIN - 4, -MARGIN, -4)
    flags = Qt.AlignmentFlag
    places = (
        (letters.left, flags.AlignLeft | flags.AlignVCenter),
        (letters.right, flags.AlignRight | flags.AlignVCenter),
        (letters.top, flags.AlignHCenter | flags.AlignTop),
        (letters.bottom, flags.AlignHCenter | flags.AlignBottom),
    )
    for text, place in places:
        if text:
            _write(painter, inner, text, place, theme.color(theme.tokens().overlay_text))


def paint_color_bar(painter: QPainter, area: QRectF, state: State, maps: HeatMaps) -> None:
    """Draw what the colours of the heat map, or of the difference of two, mean, beside the right edge."""
    t = theme.tokens()
    bar = color_bar_rect(area)
    painter.fillRect(bar.adjusted(-1, -1, 1, 1), theme.color(t.line))
    painter.fillRect(bar, theme.color(t.viewport))
    painter.drawImage(bar, bar_image(state, is_difference=maps.against is not None))
    painter.setFont(theme.text_font(theme.SMALL_PX))
    flags, ink, of = Qt.AlignmentFlag, theme.color(t.overlay_text), maps.attribution.finding
    title, top, bottom = _bar_words(maps, finding_title(state, of) if has_other_findings(state) else "")
    labels = (
        (QRectF(bar.left() - 208, bar.top() - 4, 200, 16), top),
        (QRectF(bar.left() - 208, bar.bottom() - 12, 200, 16), bottom),
        (QRectF(bar.right() - 240, bar.top() - 42, 240, 18), title),
    )
    metrics = QFontMetricsF(painter.font())
    for rect, words in labels:
        line = metrics.elidedText(words, Qt.TextElideMode.ElideMiddle, rect.width())  # method and finding are both told
        _write(painter, rect, line, flags.AlignRight | flags.AlignVCenter, ink)
    if maps.against is None:
        room = min(240.0, bar.right() - area.left() - MARGIN - 2 * _LETTER_PX)  # never over the letter of the left edge
        _paint_verdict(painter, QRectF(bar.right() - room, bar.top() - 26, room, 18), maps.attribution)
        _threshold_tick(painter, bar, state.overlay.threshold)


def _bar_words(maps: HeatMaps, finding: str) -> tuple[str, str, str]:
    """What stands over a colour bar, at its top and at its bottom; ``finding`` is "" where there is only one."""
    first = visible(tr(maps.attribution.method_title))
    named = tr("{what}: {finding}")
    if maps.against is None:
        return named.format(what=first, finding=finding) if finding else first, tr("most"), tr("least")
    more = tr("more by {method}")
    second = visible(tr(maps.against.method_title))
    title = named.format(what=tr("Difference"), finding=finding) if finding else tr("Difference")
    return title, more.format(method=first), more.format(method=second)


def verdict(attribution: Attribution) -> tuple[str, bool] | None:
    """Whether the map does better than chance, in words and as a yes or no; None until that is known."""
    if attribution.faithfulness is None:
        return None
    is_good = is_convincing(attribution.faithfulness)
    return (tr("better than chance") if is_good else tr("not clearly better than chance")), is_good


def _paint_verdict(painter: QPainter, room: QRectF, attribution: Attribution) -> None:
    """Say below the method's name how far its map can be believed: whoever looks at the map sees it."""
    said = verdict(attribution)
    if said is None:
        return
    t = theme.tokens()
    words, is_good = said
    name, tint = ("circle-check", t.good) if is_good else ("triangle-alert", t.caution)
    metrics = QFontMetricsF(painter.font())
    words = metrics.elidedText(words, Qt.TextElideMode.ElideRight, room.width() - _ICON_PX - 5)
    _write(painter, room, words, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, theme.color(tint))
    left = room.right() - metrics.horizontalAdvance(words) - _ICON_PX - 5
    sign = icons.pixmap(name, tint, _ICON_PX, painter.device().devicePixelRatio())
    painter.drawPixmap(QPointF(left, room.center().y() - _ICON_PX / 2), sign)


def color_bar_rect(area: QRectF) -> QRectF:
    """Where the colour bar lies: under the orientation letter of the right edge; beside it if it is too tight."""
    width, whole = _BAR
    lowest = area.bottom() - (96 if area.height() >= _ROOMY_PX else _SMALL_LOWER_PX)  # the lower corner's words
    top = max(area.top() + area.height() * 0.56, area.center().y() + _BELOW_LETTER_PX)
    height = min(float(whole), max(lowest - top, _LEAST_BAR_PX))
    top = min(top, lowest - height)
    is_tight = top < area.center().y() + _BELOW_LETTER_PX
    right = area.right() - MARGIN - (2 * _LETTER_PX if is_tight else 0)
    return QRectF(right - width, top, width, height)


def paint_layer_bar(painter: QPainter, area: QRectF, laid: Laid, words: str) -> None:
    """Draw what the colours of a layer mean, beside the left edge: the ends of its range, its quantity and unit."""
    t = theme.tokens()
    bar = layer_bar_rect(area)
    painter.fillRect(bar.adjusted(-1, -1, 1, 1), theme.color(t.line))
    painter.drawImage(bar, layer_bar_image(laid.layer.color_map))
    painter.setFont(theme.text_font(theme.SMALL_PX))
    flags, ink = Qt.AlignmentFlag, theme.color(t.overlay_text)
    low, high = range_of(laid)
    room = max(area.width() * 0.5 - bar.left(), 80.0)
    labels = (
        (QRectF(bar.right() + 8, bar.top() - 4, 120, 16), short_number(high)),
        (QRectF(bar.right() + 8, bar.center().y() - 8, 120, 16), short_number((low + high) / 2)),
        (QRectF(bar.right() + 8, bar.bottom() - 12, 120, 16), short_number(low)),
        (QRectF(bar.left(), bar.top() - 26, room, 18), words),
    )
    metrics = QFontMetricsF(painter.font())
    for rect, text in labels:
        line = metrics.elidedText(text, Qt.TextElideMode.ElideRight, rect.width())
        _write(painter, rect, line, flags.AlignLeft | flags.AlignVCenter, ink)


def paint_palette_bar(painter: QPainter, area: QRectF, shown: PaletteBar, *, is_left: bool) -> None:
    """Draw what the colours of a palette mean: the ends of the window, beside the left or the right edge."""
    t = theme.tokens()
    bar = layer_bar_rect(area) if is_left else color_bar_rect(area)
    painter.fillRect(bar.adjusted(-1, -1, 1, 1), theme.color(t.line))
    painter.drawImage(bar, shown.image())
    painter.setFont(theme.text_font(theme.SMALL_PX))
    side = Qt.AlignmentFlag.AlignLeft if is_left else Qt.AlignmentFlag.AlignRight
    left = bar.right() + 8 if is_left else bar.left() - 128
    highest = " ".join(part for part in (short_number(shown.high), unit_word(shown.unit)) if part)
    for top, value in ((bar.top() - 4, highest), (bar.bottom() - 12, short_number(shown.low))):
        flags = side | Qt.AlignmentFlag.AlignVCenter
        _write(painter, QRectF(left, top, 120, 16), value, flags, theme.color(t.overlay_text))


def layer_bar_rect(area: QRectF, *, with_words: bool = False) -> QRectF:
    """Where a layer's colour bar lies: under the letter of the left edge, above the lower corner's words."""
    width, whole = _BAR
    lowest = area.bottom() - (_LOWER_LEFT_PX if area.height() >= _ROOMY_PX else _SMALL_LOWER_PX)
    top = area.center().y() + _BELOW_LETTER_PX - 8
    height = min(float(whole), max(lowest - top, _LEAST_BAR_PX))
    top = min(top, lowest - height)
    is_tight = top < area.center().y() + _BELOW_LETTER_PX - 16
    left = area.left() + MARGIN + (2 * _LETTER_PX if is_tight else 0)
    bar = QRectF(left, top, width, height)
    return bar.adjusted(0, -26, 80, 4) if with_words else bar


def paint_active(painter: QPainter, area: QRectF) -> None:
    """Frame the viewport in which the reader works."""
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(QPen(theme.color(theme.tokens().accent), 1.0))
    painter.drawRect(area.adjusted(0.5, 0.5, -0.5, -0.5))


def paint_empty(painter: QPainter, area: QRectF, vacancy: Vacancy | None = None, *, is_second: bool = False) -> None:
    """Say what an empty viewport of a layout is for, and why a hanging protocol left it empty."""
    room = area.adjusted(16, 16, -16, -16)
    painter.setPen(theme.color(theme.tokens().secondary))
    flags = Qt.AlignmentFlag.AlignHCenter | Qt.TextFlag.TextWordWrap
    if vacancy is not None:
        painter.setFont(theme.text_font(theme.TITLE_PX, QFont.Weight.DemiBold))
        words = "\n".join(part for part in (tr(vacancy.sentence), visible(vacancy.wanted)) if part)
        upper = QRectF(room.left(), room.top(), room.width(), room.height() / 2 - _GAP_PX)
        painter.drawText(upper, flags | Qt.AlignmentFlag.AlignBottom, words)
        room.setTop(room.center().y() + _GAP_PX)
    painter.setFont(theme.text_font())
    words = (
        tr("Click here, then choose a series in the first window.")
        if is_second
        else tr("Click here, then choose a series.")
    )
    upright = Qt.AlignmentFlag.AlignVCenter if vacancy is None else Qt.AlignmentFlag.AlignTop
    painter.drawText(room, flags | upright, words)


def paint_reading(painter: QPainter, area: QRectF) -> None:
    """Say that the image is on its way."""
    painter.setFont(theme.text_font(theme.TITLE_PX))
    painter.setPen(theme.color(theme.tokens().secondary))
    painter.drawText(area, Qt.AlignmentFlag.AlignCenter, tr("Reading…"))


def paint_hint(painter: QPainter, area: QRectF, words: str) -> None:
    """Say quietly what the mouse does, above the letter of the lower edge."""
    painter.setFont(theme.text_font(theme.SMALL_PX))
    room = area.adjusted(MARGIN, 0, -MARGIN, -MARGIN - 1.5 * _LETTER_PX)
    flags = Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignBottom
    _write(painter, room, words, flags, theme.color(theme.tokens().secondary))


def paint_problem(painter: QPainter, area: QRectF, problem: str) -> None:
    """Say why there is no image, and that nothing else is affected."""
    t = theme.tokens()
    column = QRectF(0, 0, min(460.0, area.width() - 2 * MARGIN), 160)
    column.moveCenter(area.center())
    mark = icons.pixmap("octagon-alert", t.alarm, 32, painter.device().devicePixelRatio())
    painter.drawPixmap(QPointF(column.center().x() - 16, column.top()), mark)
    flags = Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop | Qt.TextFlag.TextWordWrap
    painter.setFont(theme.text_font(theme.TITLE_PX, QFont.Weight.DemiBold))
    painter.setPen(theme.color(t.text))
    painter.drawText(column.adjusted(0, 44, 0, 0), flags, tr("This image cannot be shown"))
    painter.setFont(theme.text_font())
    painter.setPen(theme.color(t.secondary))
    safe = tr("The other images are not affected.")
    painter.drawText(column.adjusted(0, 70, 0, 60), flags, f"{visible(tr(problem))}\n\n{safe}")


def _threshold_tick(painter: QPainter, bar: QRectF, threshold: float) -> None:
    y = bar.bottom() - bar.height() * threshold
    painter.setPen(QPen(theme.color(theme.tokens().overlay_text), 1.0))
    painter.drawLine(QPointF(bar.left() - 4, y), QPointF(bar.right() + 2, y))


@lru_cache(maxsize=_MOST_BLOCKS)
def _text_block(
    lines: tuple[str, ...], rooms: tuple[float, ...], ratio: float, is_left: bool, has_title: bool, _t: theme.Tokens
) -> QImage:
    """Lines of text below each other as a picture, each cut to the room that there is; many viewports say the same."""
    step = theme.TEXT_PX * _LINE
    width, height = max(rooms) + 2 * _RIM, len(lines) * step + 2 * _RIM
    block = QImage(round(width * ratio), round(height * ratio), QImage.Format.Format_ARGB32_Premultiplied)
    block.setDevicePixelRatio(ratio)
    block.fill(0)
    painter = QPainter(block)
    try:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        title = next((number for number, line in enumerate(lines) if line), 0)
        for number, (line, room) in enumerate(zip(lines, rooms, strict=True)):
            font = theme.text_font(
                theme.TEXT_PX, QFont.Weight.DemiBold if has_title and number == title else QFont.Weight.Medium
            )
            metrics = QFontMetricsF(font)
            words = metrics.elidedText(line, Qt.TextElideMode.ElideRight, room)
            x = _RIM if is_left else _RIM + max(rooms) - metrics.horizontalAdvance(words)
            _outlined(painter, QPointF(x, _RIM + number * step + metrics.ascent()), words, font)
    finally:
        painter.end()
    return block


def _outlined(painter: QPainter, where: QPointF, words: str, font: QFont) -> None:
    """Text that stays legible on white bone: light, with a dark rim; ``where`` is the start of its base line.

    The letters are put down around their place: to stroke their outlines takes many times as long.
    """
    painter.setFont(font)
    painter.setPen(theme.color(theme.tokens().viewport, 0.75))
    for x, y in _RIM_STEPS:
        painter.drawText(where + QPointF(x, y) * (_RIM / 2), words)
    painter.setPen(theme.color(theme.tokens().overlay_text))
    painter.drawText(where, words)


def _write(painter: QPainter, rect: QRectF, text: str, place: Qt.AlignmentFlag, ink: QColor) -> None:
    """Write plain text that stays legible on white bone: with a dark rim."""
    painter.setPen(theme.color(theme.tokens().viewport, 0.75))
    for x, y in _RIM_STEPS:
        painter.drawText(rect.translated(x, y), place, text)
    painter.setPen(ink)
    painter.drawText(rect, place, text)
