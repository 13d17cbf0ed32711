"""An explanation that is no map: a bar for each value, word or atom; a strip of hours for a series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QGridLayout, QSizePolicy, QWidget

from medviewer.domain.anchor import Anchor, Atom, CharacterSpan, Field, TimeCell
from medviewer.domain.answer import Attribution
from medviewer.domain.frozen import dataclass
from medviewer.gui import theme
from medviewer.gui.text import PlainLabel, tr, visible

_MOST = 12  # bars; the strongest


@dataclass(frozen=True, slots=True)
class Row:
    """One bar: what it is of, the value there, how much it speaks for the answer (negative: against it)."""

    name: str
    value: str
    amount: float


class Bar(QWidget):
    """A bar from the left edge, as long as its amount is large among all; against the answer it is hollow."""

    def __init__(self, amount: float, largest: float, words: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._share = 0.0 if largest <= 0 else amount / largest
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMinimumWidth(40)
        self.setAccessibleName(words)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """A line of text high."""
        return QSize(80, 16)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802, ARG002 - Qt's name and arguments
        """Draw it."""
        t = theme.tokens()
        painter = QPainter(self)
        try:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            middle, width = self.height() / 2, float(self.width())
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.color(t.edge, 0.5))
            painter.drawRoundedRect(QRectF(0, middle - 1, width, 2), 1, 1)
            bar = QRectF(1, middle - 4, max(abs(self._share) * (width - 2), 0), 8)
            if self._share > 0:
                painter.setBrush(theme.color(t.accent))
                painter.drawRoundedRect(bar, 2, 2)
            elif self._share < 0:
                painter.setBrush(Qt.BrushStyle.NoBrush)
                painter.setPen(theme.color(t.secondary))
                painter.drawRoundedRect(bar, 2, 2)
        finally:
            painter.end()


class Strip(QWidget):
    """One variable over the hours of a series: the darker a cell, the more it speaks for the answer."""

    def __init__(self, cells: Sequence[tuple[float, float, float]], hours: float, largest: float) -> None:
        super().__init__()
        self._cells, self._hours, self._largest = tuple(cells), hours, largest
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        strongest = max(self._cells, key=lambda cell: abs(cell[2]))
        words = tr("strongest from hour {a} to {b}").format(a=f"{strongest[0]:g}", b=f"{strongest[1]:g}")
        self.setAccessibleName(words)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """A line of text high."""
        return QSize(120, 16)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802, ARG002 - Qt's name and arguments
        """Draw it."""
        t = theme.tokens()
        painter = QPainter(self)
        try:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.color(t.edge, 0.4))
            painter.drawRect(QRectF(0, 2, self.width(), self.height() - 4))
            for first, last, amount in self._cells:
                share = min(abs(amount) / self._largest, 1.0) if self._largest > 0 else 0.0
                left, right = (self.width() * hour / self._hours for hour in (first, last))
                box = QRectF(left, 2, max(right - left - 1, 1), self.height() - 4)
                painter.setPen(Qt.PenStyle.NoPen)
                painter.setBrush(theme.color(t.accent, share if amount > 0 else 0.0))
                if amount < 0:  # against the answer: an outline, so that colour alone says nothing
                    painter.setPen(theme.color(t.secondary, max(share, 0.2)))
                painter.drawRect(box)
        finally:
            painter.end()


def bars(rows: Sequence[Row], *, digits: int = 0) -> QWidget:
    """Bars below each other, the order kept: name, value, bar, amount."""
    box = QWidget()
    box.setProperty("kind", "clear")
    grid = QGridLayout(box)
    grid.setContentsMargins(0, 0, 0, 0)
    grid.setHorizontalSpacing(8)
    grid.setVerticalSpacing(4)
    grid.setColumnStretch(0, 3)
    grid.setColumnStretch(2, 2)
    largest = max((abs(row.amount) for row in rows), default=0.0)
    for number, row in enumerate(rows):
        amount = f"{row.amount:+.{digits}f}" if abs(row.amount) > 0.5 * 10.0**-digits else "0"
        grid.addWidget(PlainLabel(row.name, "secondary", wrap=True), number, 0)
        grid.addWidget(PlainLabel(row.value), number, 1)
        words = tr("{name}: {amount}").format(name=row.name, amount=amount)
        grid.addWidget(Bar(row.amount, largest, words), number, 2, Qt.AlignmentFlag.AlignVCenter)
        label = PlainLabel(amount, "strong" if row.amount > 0 else "secondary")
        grid.addWidget(label, number, 3, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    return box


def explanation(attribution: Attribution, titles: Mapping[str, str], values: Mapping[str, str]) -> QWidget:
    """What an answer rests on: hours as strips, everything else as bars, the strongest first.

    Args:
        attribution: with anchors.
        titles: of fields and variables, by name.
        values: what is recorded of them, by name.
    """
    pairs = list(zip(attribution.anchors, attribution.saliency.tolist(), strict=True))
    if pairs and all(isinstance(anchor, TimeCell) for anchor, _ in pairs):
        return _strips(pairs, titles)
    rows = [Row(*_named(anchor, titles, values), amount) for anchor, amount in pairs]
    strongest = sorted(rows, key=lambda row: -abs(row.amount))[:_MOST]
    return bars(strongest, digits=2)


def _strips(pairs: Sequence[tuple[Anchor, float]], titles: Mapping[str, str]) -> QWidget:
    cells: dict[str, list[tuple[float, float, float]]] = {}
    for anchor, amount in pairs:
        assert isinstance(anchor, TimeCell)  # noqa: S101 - of a series
        cells.setdefault(anchor.variable, []).append((*anchor.hours, amount))
    largest = max(abs(amount) for _, amount in pairs)
    hours = max(end for own in cells.values() for _, end, _ in own)
    box = QWidget()
    box.setProperty("kind", "clear")
    grid = QGridLayout(box)
    grid.setContentsMargins(0, 0, 0, 0)
    grid.setHorizontalSpacing(8)
    grid.setVerticalSpacing(4)
    grid.setColumnStretch(1, 1)
    strongest = sorted(cells.items(), key=lambda item: -max(abs(cell[2]) for cell in item[1]))[:_MOST]
    for number, (name, own) in enumerate(strongest):
        grid.addWidget(PlainLabel(titles.get(name, visible(name)), "secondary", wrap=True), number, 0)
        grid.addWidget(Strip(own, hours, largest), number, 1)
    scale = PlainLabel(tr("hours 0 to {n}").format(n=f"{hours:g}"), "small")
    grid.addWidget(scale, len(strongest), 1, Qt.AlignmentFlag.AlignRight)
    return box


def _named(anchor: Anchor, titles: Mapping[str, str], values: Mapping[str, str]) -> tuple[str, str]:
    if isinstance(anchor, Field):
        return titles.get(anchor.field, visible(anchor.field)), values.get(anchor.field, "")
    if isinstance(anchor, TimeCell):
        first, last = anchor.hours
        hours = tr("hours {a} to {b}").format(a=f"{first:g}", b=f"{last:g}")
        return titles.get(anchor.variable, visible(anchor.variable)), hours
    if isinstance(anchor, CharacterSpan):
        return visible(anchor.text), f"× {len(anchor.spans)}" if len(anchor.spans) > 1 else ""
    if isinstance(anchor, Atom):
        return f"{anchor.symbol} {anchor.index + 1}", ""
    return tr("part of the image"), ""
