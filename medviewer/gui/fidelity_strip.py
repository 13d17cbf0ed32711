"""The strip under an image that says what limits the picture: cautions first, and never fewer than there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QFontMetricsF, QHelpEvent, QPainter
from PySide6.QtWidgets import QToolTip, QWidget

from medviewer.gui import icons, theme
from medviewer.gui.text import plain_tooltip

STRIP_PX = 24
MARGIN = 12
_ICON_PX = 14
_ICON_GAP_PX = 4
_GAP_PX = 20
_LEAST_PX = 48  # of a part's words, below which it is only counted

Parts = Sequence[tuple[str, bool]]
"""What to say, each with whether it is a caution."""


class Placed(NamedTuple):
    """Words at their place from the left edge of the strip; ``room`` is what they may take."""

    at: float
    text: str
    is_caution: bool
    room: float


def place_parts(parts: Parts, width: float, advance: Callable[[str], float]) -> list[Placed]:
    """Lay the parts side by side, cautions first.

    What there is no room for is counted at the end (``+2``), as a caution if one of them is.

    Args:
        parts: in the order of their weight.
        width: of the strip, in logical pixels.
        advance: how wide words are.
    """
    ordered = sorted(parts, key=lambda part: not part[1])
    placed: list[Placed] = []
    at, end = float(MARGIN), width - MARGIN
    for number, (text, is_caution) in enumerate(ordered):
        left = ordered[number:]
        kept = _width(f"+{len(left)}", left[1:], advance) + _GAP_PX if left[1:] else 0.0
        room = end - at - (_ICON_PX + _ICON_GAP_PX if is_caution else 0)
        fits = advance(text) <= room - kept
        if not fits and placed and room - kept < _LEAST_PX:
            placed.append(Placed(at, f"+{len(left)}", any(caution for _, caution in left), end - at))
            break
        placed.append(Placed(at, text, is_caution, max(room - kept, 0.0)))
        at = end - room + min(advance(text), room - kept) + _GAP_PX
    return placed


def paint_strip(painter: QPainter, area: QRectF, parts: Parts) -> None:
    """Write the parts along the lower edge of ``area``; a caution has a triangle."""
    if not parts:
        return
    t = theme.tokens()
    strip = QRectF(area.left(), area.bottom() - STRIP_PX, area.width(), STRIP_PX)
    painter.fillRect(strip, theme.color(t.ground))
    painter.setFont(theme.text_font(theme.SMALL_PX))
    metrics = QFontMetricsF(painter.font())
    for one in place_parts(parts, strip.width(), metrics.horizontalAdvance):
        at = strip.left() + one.at
        if one.is_caution:
            mark = icons.pixmap("triangle-alert", t.caution, _ICON_PX, painter.device().devicePixelRatio())
            painter.drawPixmap(QPointF(at, strip.center().y() - _ICON_PX / 2), mark)
            at += _ICON_PX + _ICON_GAP_PX
        # A little more than is allowed: a width that was rounded must not cost the last letter.
        words = metrics.elidedText(one.text, Qt.TextElideMode.ElideRight, one.room + 0.5)
        painter.setPen(theme.color(t.caution if one.is_caution else t.secondary))
        painter.drawText(QRectF(at, strip.top(), one.room + 1, STRIP_PX), Qt.AlignmentFlag.AlignVCenter, words)


def tell(widget: QWidget, event: QHelpEvent, parts: Parts) -> None:
    """Answer the mouse that rests on the strip of a widget with all of its words, one below the other."""
    if event.pos().y() < widget.height() - STRIP_PX or not parts:
        QToolTip.hideText()
        event.ignore()
        return
    QToolTip.showText(event.globalPos(), plain_tooltip(all_words(parts)), widget)


def all_words(parts: Parts) -> str:
    """Every part in a line of its own, cautions first and with a sign."""
    ordered = sorted(parts, key=lambda part: not part[1])
    return "\n".join(("⚠ " if is_caution else "") + text for text, is_caution in ordered)


def _width(text: str, parts: Parts, advance: Callable[[str], float]) -> float:
    return advance(text) + (_ICON_PX + _ICON_GAP_PX if any(caution for _, caution in parts) else 0)
