"""The labels of an answer with their probabilities as bars: all of them, or the first three where exactly one holds."""

from __future__ import annotations

from collections.abc import Iterator

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from medviewer.app.data_questions import ModelOffer
from medviewer.domain.answer import Answer, Finding, probability_words, threshold_of
from medviewer.gui import theme
from medviewer.gui.finding_card import number_kind
from medviewer.gui.icons import IconLabel
from medviewer.gui.text import PlainLabel, set_tooltip, tr, tr_pick, visible

FIRST = 3  # of labels of which exactly one holds


class LabelBar(QWidget):
    """A bar from 0 to 1 as long as the probability, and a tick at the threshold."""

    def __init__(self, finding: Finding, words: str) -> None:
        super().__init__()
        self._finding = finding
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMinimumWidth(40)
        self.setAccessibleName(words)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """A thin line with room for its tick."""
        return QSize(120, 14)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802, ARG002 - Qt's name and arguments
        """Draw it."""
        t, one = theme.tokens(), self._finding
        painter = QPainter(self)
        try:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            middle, width = self.height() / 2, self.width() - 2.0
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.color(t.edge, 0.45))
            painter.drawRoundedRect(QRectF(1, middle - 3, width, 6), 3, 3)
            painter.setBrush(theme.color(t.caution if one.flagged else t.accent))
            painter.drawRoundedRect(QRectF(1, middle - 3, max(width * min(max(one.probability, 0), 1), 2), 6), 3, 3)
            painter.setPen(QPen(theme.color(t.text), 2))
            x = 1 + width * min(max(one.threshold, 0), 1)
            painter.drawLine(QPointF(x, middle - 6), QPointF(x, middle + 6))
        finally:
            painter.end()


def ranked(answer: Answer, offer: ModelOffer) -> list[Finding]:
    """The findings as they are shown: by probability where exactly one holds, else the flagged ones first."""
    if offer.task == "multiclass":
        return sorted(answer.findings, key=lambda one: -one.probability)
    return sorted(answer.findings, key=lambda one: not one.flagged)


def title_of(offer: ModelOffer, label: str) -> str:
    """A label in the reader's language."""
    return visible(tr_pick(offer.targets.get(label, label)))


def label_rows(answer: Answer, offer: ModelOffer) -> Iterator[QWidget]:
    """A row for each label, with what kind of number it is; of those that exclude each other the first three."""
    found = ranked(answer, offer)
    if not found:
        return
    shown = found[:FIRST] if offer.task == "multiclass" else found
    yield PlainLabel(tr("{kind}; the tick is the threshold").format(kind=number_kind(answer)), "small", wrap=True)
    for finding in shown:
        yield _row(finding, title_of(offer, finding.label))
    rest = found[len(shown) :]
    if rest:
        share = probability_words(sum(one.probability for one in rest))
        yield PlainLabel(tr("{n} others together: {p}").format(n=len(rest), p=share), "small", wrap=True)


def _row(finding: Finding, title: str) -> QWidget:
    number = probability_words(finding.probability, finding.threshold)
    made = QWidget()
    made.setProperty("kind", "clear")
    column = QVBoxLayout(made)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(0)
    head = QHBoxLayout()
    head.setSpacing(8)
    head.addWidget(PlainLabel(title, "strong" if finding.flagged else "", wrap=True), 1)
    if finding.flagged:
        head.addWidget(IconLabel("flag", theme.tokens().caution), 0, Qt.AlignmentFlag.AlignVCenter)
        head.addWidget(PlainLabel(tr("flagged"), "caution"), 0, Qt.AlignmentFlag.AlignVCenter)
    head.addWidget(PlainLabel(number, "strong"), 0, Qt.AlignmentFlag.AlignVCenter)
    column.addLayout(head)
    words = tr("{label}: {p}, threshold {t}, {flag}").format(
        label=title,
        p=number,
        t=threshold_of(finding),
        flag=tr("flagged") if finding.flagged else tr("not flagged"),
    )
    column.addWidget(LabelBar(finding, words))
    if finding.meaning and finding.flagged:  # of a dozen labels, only what is flagged takes room for it
        column.addWidget(PlainLabel(finding.meaning, "small", wrap=True))
    set_tooltip(made, f"{words}\n{finding.meaning}".strip())
    return made
