"""Choosing a second explanation method to lay beside the first, and whether the two agree."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from medviewer.app.on_screen import current_attribution, has_other_findings, second_attribution
from medviewer.app.state import State
from medviewer.domain.answer import Attribution
from medviewer.explain.comparison import agreement, agreement_sentence
from medviewer.gui.cards import Card, ElidedCombo, Level, SignalRow, button, clear
from medviewer.gui.explain_controls import MethodRow
from medviewer.gui.finding_words import finding_title
from medviewer.gui.text import PlainLabel, set_tooltip, tr, tr_pick
from medviewer.gui.viewport_marks import verdict

COMPARE_JOB = "compare"


class ComparisonControls(Card):
    """Which method the heat map is compared with, how far that one can be believed, and what both say together."""

    requested = Signal(str, object)

    def __init__(self, methods: Sequence[MethodRow], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._methods = tuple(methods)
        self._shown: tuple[object, ...] = ()
        self._label = PlainLabel("", "secondary", wrap=True)
        self.second = ElidedCombo()
        self.second.activated.connect(lambda i: self.requested.emit("explain.compare", self.second.itemData(i)))
        self.end = button("", "x")
        self.end.clicked.connect(lambda: self.requested.emit("explain.compare", ""))
        row = QHBoxLayout()
        row.setSpacing(8)
        self._label.setFixedWidth(84)
        row.addWidget(self._label)
        row.addWidget(self.second, 1)
        row.addWidget(self.end)
        self.column.addLayout(row)
        self._said = QVBoxLayout()
        self._said.setSpacing(8)
        self.column.addLayout(self._said)

    def list_methods(self, methods: Sequence[MethodRow]) -> None:
        """Know other methods, or other models that they suit."""
        self._methods, self._shown = tuple(methods), ()

    def show_state(self, state: State, running: str) -> None:
        """Draw what a state says; ``running`` is how far the second map is, "" if it is not being made."""
        first, second = current_attribution(state), second_attribution(state)
        shown = (state.language, state.model_id, state.overlay.method, state.overlay.second, first, second, running)
        if shown == self._shown:
            return
        self._shown = shown
        self._offer(state)
        clear(self._said)
        if not state.overlay.second:
            return
        if running:
            self._said.addWidget(SignalRow("info", running, word=tr("Working out the second heat map")))
        if first is not None and second is not None:
            if has_other_findings(state):
                words = tr("Both heat maps are of: {finding}").format(finding=finding_title(state, first.finding))
                self._said.addWidget(PlainLabel(words, "small", wrap=True))
            for widget in _what_both_say(first, second):
                self._said.addWidget(widget)

    def _offer(self, state: State) -> None:
        """The methods of the chosen model, but for the one that is shown already."""
        self._label.setText(tr("Compare with"))
        self.second.clear()
        self.second.addItem(tr("No other method"), "")
        for row in self._methods:
            if row.suits(state.model_id) and row.id != state.overlay.method:
                self.second.addItem(tr_pick(row.title), row.id)
        self.second.setCurrentIndex(max(self.second.findData(state.overlay.second), 0))
        self.second.setAccessibleName(tr("Compare with"))
        self.end.setVisible(bool(state.overlay.second))
        set_tooltip(self.second, tr("Another method beside this one, and where the two differ"))
        set_tooltip(self.end, tr("Show one heat map again"))


def _what_both_say(first: Attribution, second: Attribution) -> list[QWidget]:
    found = agreement(first.saliency, second.saliency)
    level: Level = "info" if found is not None and found >= 0.4 else "caution"
    word = tr("Agreement: {r}").format(r=f"{found:.2f}") if found is not None else tr("Nothing to compare")
    rows: list[QWidget] = [SignalRow(level, tr(agreement_sentence(found)), word=word)]
    for one in (first, second):
        said = verdict(one)
        words = said[0] if said is not None else tr("not checked against random maps yet")
        rows.append(PlainLabel(f"{tr(one.method_title)}: {words}", "small", wrap=True))
    note = tr("Rank correlation of what speaks for the finding. Agreement is no proof: both ask the same network.")
    rows.append(PlainLabel(note, "small", wrap=True))
    return rows
