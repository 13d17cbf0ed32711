"""Paragraphs on a page in millimetres: broken into lines, measured before they are painted, never cut."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPointF
from PySide6.QtGui import QFont, QPainter, QTextLayout, QTextOption

from medviewer.domain.frozen import dataclass
from medviewer.gui import theme

_FINE = 20.0  # parts of a millimetre: Qt rounds the widths of letters, so they are laid out large
_LEADING = 1.32  # of the letters' size, from line to line


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Words of one size and colour. ``before_mm`` is the room above them; sizes are at scale 1."""

    words: str
    size_mm: float = 3.1
    is_strong: bool = False
    ink: str = theme.INK
    before_mm: float = 0.8


def height_of(paragraphs: Sequence[Paragraph], width_mm: float, scale: float) -> float:
    """How high paragraphs are below each other, in mm, in lines of that width."""
    return sum(one.before_mm * scale + _laid_out(one, width_mm, scale)[1] for one in paragraphs)


def paint_paragraphs(
    painter: QPainter, paragraphs: Sequence[Paragraph], corner: QPointF, width_mm: float, scale: float
) -> float:
    """Paint them below each other; the painter's units are millimetres. Returns where the next one may begin."""
    top = corner.y()
    for one in paragraphs:
        made, height = _laid_out(one, width_mm, scale)
        top += one.before_mm * scale
        painter.save()
        painter.translate(corner.x(), top)
        painter.scale(1 / _FINE, 1 / _FINE)
        painter.setPen(theme.color(one.ink))
        made.draw(painter, QPointF(0, 0))
        painter.restore()
        top += height
    return top


def _laid_out(one: Paragraph, width_mm: float, scale: float) -> tuple[QTextLayout, float]:
    """The lines of a paragraph, in parts of a millimetre, and their height in mm."""
    size = max(round(one.size_mm * scale * _FINE), 1)
    font = theme.text_font(size, QFont.Weight.DemiBold if one.is_strong else QFont.Weight.Normal)
    made = QTextLayout(one.words.replace("\n", "\u2028"), font)
    option = QTextOption()
    option.setWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
    made.setTextOption(option)
    made.beginLayout()
    top = 0.0
    while (line := made.createLine()).isValid():
        line.setLineWidth(max(width_mm, 1.0) * _FINE)
        line.setPosition(QPointF(0, top + (size * _LEADING - line.height()) / 2))
        top += size * _LEADING
    made.endLayout()
    return made, top / _FINE
