"""The findings panel: choose a model, run it, and see what it says, why, and how far to believe it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field

from PySide6.QtCore import Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QProgressBar, QVBoxLayout, QWidget

from medviewer.app.commands import command
from medviewer.app.on_screen import (
    asked_key,
    asks_of_stack,
    attributions_of,
    current_answer,
    current_attribution,
    has_other_findings,
    has_withheld_answer,
    is_withheld,
    shown_finding,
)
from medviewer.app.state import JobStatus, Selection, State
from medviewer.domain.answer import Answer, Decision
from medviewer.domain.frozen import dataclass
from medviewer.gui.cards import Card, ElidedCombo, ScrollColumn, SignalRow, button, clear, dress, section
from medviewer.gui.comparison_controls import COMPARE_JOB, ComparisonControls
from medviewer.gui.decision_box import DecisionBox
from medviewer.gui.explain_controls import ExplainControls, MethodRow
from medviewer.gui.finding_card import (
    abstained_card,
    finding_card,
    fit_card,
    has_reservation,
    origin_card,
    speaks_chinese,
)
from medviewer.gui.finding_words import finding_title
from medviewer.gui.impression_box import ImpressionBox
from medviewer.gui.outcome_rows import outcome_rows
from medviewer.gui.queue_list import MOST_ROWS, QueueList
from medviewer.gui.record_answers import used_values
from medviewer.gui.region_cards import RegionControls, regions_card
from medviewer.gui.text import ElidedLabel, PlainLabel, set_tooltip, tr, tr_pick, use_language
from medviewer.gui.trust_panel import FIRST_PREVALENCE, TrustCard, Validation

MODEL_JOB, EXPLAIN_JOB = "model", "explain"
_ROOM_PX = 480  # a panel lower than this has no room for a decision that stays in sight

__all__ = ["FindingsPanel", "MethodRow", "ModelRow"]


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One model of the catalogue. ``problem`` says why it cannot be used; empty if it can.

    Words may come in several languages, as ``{"en": ..., "zh": ...}``.
    """

    id: str
    title: str | Mapping[str, str]
    problem: str = ""
    intended_use: str | Mapping[str, str] = ""
    not_for: str | Mapping[str, str] = ""
    findings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # titles by label
    validated_on: str | Mapping[str, str] = ""
    validation: Validation | None = None
    worth: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # of each explanation method, by its id
    refusal: Callable[[Selection, str], str] = lambda _now, _language: ""  # why it has no result of what is on screen


class FindingsPanel(QWidget):
    """What the chosen model says of the image on screen; nothing of any other image."""

    requested = Signal(str, object)

    def __init__(
        self,
        models: Sequence[ModelRow],
        methods: Sequence[MethodRow],
        shortcuts: Mapping[str, str] | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._models = tuple(models)
        self._shortcuts = shortcuts if shortcuts is not None else {}
        self._state = State()
        self._is_decision_last = False
        self._prevalence = FIRST_PREVALENCE  # as the reader supposes it, for as long as the window is open
        self.model = ElidedCombo()
        self.model.activated.connect(lambda i: self.requested.emit("model.select", self.model.itemData(i)))
        self.run = button("", "play", "primary")
        self.run.clicked.connect(lambda: self.requested.emit("model.run", None))
        self.cancel = button("", "circle-x")
        self.cancel.clicked.connect(lambda: self.requested.emit("job.cancel", self._live_job()))
        self._running = ElidedLabel("", "secondary")
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        self._cards = QVBoxLayout()
        self._cards.setSpacing(8)
        self._origin = QVBoxLayout()
        self._origin.setSpacing(8)
        self.explain = ExplainControls(methods)
        self.explain.requested.connect(self.requested)
        self.outlines = RegionControls()
        self.outlines.requested.connect(self.requested)
        self.comparison = ComparisonControls(methods)
        self.comparison.requested.connect(self.requested)
        self.decision = DecisionBox()
        self.decision.requested.connect(self.requested)
        self.impression = ImpressionBox()
        self.impression.requested.connect(self.requested)
        self.queue = QueueList(self._models)
        self.queue.requested.connect(self.requested)
        self._lay_out()
        self.show_state(None, self._state)

    def _lay_out(self) -> None:
        dress(self, "panel")
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(0)
        top = QVBoxLayout()
        top.setContentsMargins(12, 12, 12, 4)
        top.setSpacing(8)
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(self.model, 1)
        row.addWidget(self.run)
        row.addWidget(self.cancel)
        top.addLayout(row)
        top.addWidget(self._running)
        top.addWidget(self._bar)
        whole.addLayout(top)
        scroll = self._scroll = ScrollColumn()
        scroll.column.addWidget(self.impression)
        scroll.column.addLayout(self._cards)
        scroll.column.addWidget(self.explain)
        scroll.column.addWidget(self.outlines)
        scroll.column.addWidget(self.comparison)
        scroll.column.addWidget(self.decision)
        scroll.column.addLayout(self._origin)
        whole.addWidget(scroll, 1)
        self._foot = QVBoxLayout()
        whole.addLayout(self._foot)
        whole.addWidget(self.queue)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 - Qt's name
        """Keep the decision in sight where there is room for it, else at the end of what it is about."""
        super().resizeEvent(event)
        in_sight = event.size().height() >= _ROOM_PX
        if in_sight == (self._foot.indexOf(self.decision) >= 0):
            return
        if in_sight:
            self._foot.setContentsMargins(12, 4, 12, 8)
            self._foot.addWidget(self.decision)
        else:
            self._foot.setContentsMargins(0, 0, 0, 0)
            self._scroll.column.insertWidget(self._scroll.column.indexOf(self._origin), self.decision)

    def list_models(self, models: Sequence[ModelRow], methods: Sequence[MethodRow]) -> None:
        """List other models, and by what each can be explained: some came or went."""
        self._models = tuple(models)
        self.queue.list_models(self._models)
        self.explain.list_methods(methods)
        self.comparison.list_methods(methods)
        self.show_state(None, self._state)

    def show_state(self, old: State | None, new: State) -> None:
        """Draw what differs from ``old``; None draws everything."""
        use_language(new.language)
        self._state = new
        everything = old is None or old.language != new.language
        if everything:
            self._translate()
        elif old and old.shortcuts is not new.shortcuts:
            self._name_keys()
        if everything or (old and old.model_id != new.model_id):
            self.model.setCurrentIndex(self.model.findData(new.model_id))
            self.explain.offer(new.model_id)
            self.explain.show_overlay(new.overlay)
            self.outlines.show_overlay(new.overlay)
        self._show_jobs(new)
        self.impression.show_state(new)
        self.queue.show_state(old, new)
        self._note_undo(old, new)
        if everything or (old and _what_is_said(old) != _what_is_said(new)):
            self._show_answer(new)
        if everything or (old and old.overlay != new.overlay):
            self.explain.show_overlay(new.overlay)
            self.outlines.show_overlay(new.overlay)
        if everything or (old and _where_it_looked(old) != _where_it_looked(new)):
            row = self._row(new.model_id)
            worth = tr_pick(row.worth.get(new.overlay.method, "")) if row is not None else ""
            running = _words_of(new.jobs, EXPLAIN_JOB)
            self.explain.show_attribution(current_attribution(new), running, worth, attributions_of(new))
        self.comparison.show_state(new, _words_of(new.jobs, COMPARE_JOB))
        self.decision.show_decision(_answer(new), _decision(new), can_undo=self._is_decision_last)

    def _translate(self) -> None:
        self.model.clear()
        for row in self._models:
            title = tr_pick(row.title)
            self.model.addItem(tr("{title} (cannot be used)").format(title=title) if row.problem else title, row.id)
        if not self._models:
            self.model.addItem(tr("No model is installed"), "")
        self._scroll.setAccessibleName(tr("Findings"))
        self.run.setText(tr("Run"))
        self.cancel.setText(tr("Cancel"))
        set_tooltip(self.model, tr("Which model is run"))
        self._name_keys()

    def _name_keys(self) -> None:
        set_tooltip(self.run, tr("Run the model on the image on screen"), self._shortcuts.get("model.run", ""))
        set_tooltip(self.cancel, tr("Stop the model"), self._shortcuts.get("job.cancel", ""))
        keys = (self._shortcuts.get(name, "") for name in ("explain.toggle", "explain.hottest"))
        self.explain.translate(*keys)
        self.outlines.translate(self._shortcuts.get("explain.toggle", ""))

    def _show_jobs(self, state: State) -> None:
        job = next((j for j in state.jobs if j.name == MODEL_JOB), None)
        self.run.setVisible(job is None)
        self.cancel.setVisible(job is not None)
        self._running.setVisible(job is not None)
        self._bar.setVisible(job is not None)
        row = self._row(state.model_id)
        may_run = command("model.run").enabled(state)  # one rule for the panel, the menu and the key
        self.run.setEnabled(may_run and row is not None and not row.problem)
        if job is not None:
            self._running.setText(tr(job.text) or tr("Running…"))
            self._bar.setRange(0, job.total)
            self._bar.setValue(job.done)

    def _show_answer(self, state: State) -> None:
        clear(self._cards)
        clear(self._origin)
        found = current_answer(state)
        answer = found[1] if found and not state.record_mismatch else None
        for card in self._leading_cards(state):
            self._cards.addWidget(card)

        def confirm(code: str) -> None:
            self.requested.emit("model.confirm", code)

        if answer is not None and speaks_chinese(answer) != (state.language == "zh"):
            words = tr(
                "What the model says is in the language in which it was asked. Run it again to have it in this one."
            )
            self._cards.addWidget(PlainLabel(words, "small", wrap=True))
        if answer is None:
            if self._cards.count() == 0:
                self._cards.addWidget(self._purpose(state))
        elif answer.status == "abstained":
            self._cards.addWidget(abstained_card(answer, confirm))
        else:
            row = self._row(state.model_id)
            said = self._said(answer, row, state)
            # A reservation read after the number comes too late.
            at = 0 if has_reservation(answer) else len(said)
            site = in_this_language(row.validated_on, answer.validated_on) if row else answer.validated_on
            said.insert(at, fit_card(answer, confirm, site))
            for card in said:
                self._cards.addWidget(card)
        if answer is not None:
            self._origin.addWidget(origin_card(answer))
        has_findings = answer is not None and answer.status == "answer"
        has_outlines = answer is not None and bool(answer.regions)
        findings = answer.findings if answer is not None else ()
        self.explain.show_findings({f.label: finding_title(state, f.label) for f in findings}, shown_finding(state))
        self.outlines.setVisible(has_outlines)
        self.explain.setVisible(has_findings and not has_outlines)
        self.comparison.setVisible(has_findings and not has_outlines)
        self.decision.setVisible(has_findings)

    def _said(self, answer: Answer, row: ModelRow | None, state: State) -> list[QWidget]:
        """A card for each finding, one for all that was outlined, one for how far to believe it, one for the rest."""
        titles = row.findings if row is not None else {}
        model_title = in_this_language(row.title, answer.model_title) if row else answer.model_title
        said: list[QWidget] = []
        for finding in answer.findings:
            title = tr_pick(titles.get(finding.label, finding.label))
            said.append(finding_card(finding, answer, title, model_title))
        if answer.regions:
            said.append(regions_card(answer, titles, model_title))
        said += self._trust(answer, row, state)
        return [*said, *_other_outcomes(answer, model_title), *_recorded(answer, state)]

    def _trust(self, answer: Answer, row: ModelRow | None, state: State) -> list[TrustCard]:
        """How far the answer can be believed: of several findings that which the heat map is of."""
        shown = shown_finding(state)
        finding = next((one for one in answer.findings if one.label == shown), None)
        if finding is None:
            return []
        validation = row.validation if row is not None else None

        def supposed(prevalence: float) -> None:
            self._prevalence = prevalence

        card = TrustCard(answer, finding, validation, state.selection, self._prevalence, supposed)
        if has_other_findings(state):
            card.name_finding(finding_title(state, shown))
        return [card]

    def _leading_cards(self, state: State) -> list[QWidget]:
        cards: list[QWidget] = []
        if state.record_mismatch:
            card = Card(signal="alarm")
            card.add(SignalRow("alarm", tr(state.record_mismatch), word=tr("Image and record contradict each other")))
            cards.append(card)
        row = self._row(state.model_id)
        if row is not None and row.problem:
            card = Card(signal="caution")
            card.add(SignalRow("caution", tr(row.problem), word=tr("This model cannot be used")))
            cards.append(card)
        problem = _problem(state)
        if problem:
            cards.append(self._failure(problem) if current_answer(state) is None else self._unexplained(problem))
        return cards

    def _failure(self, problem: str) -> Card:
        card = Card(signal="alarm")
        card.add(SignalRow("alarm", tr(problem), word=tr("There is no result")))
        card.add(PlainLabel(tr("The image and what you did are safe."), "small", wrap=True))
        again = button(tr("Run again"), "refresh-ccw")
        again.clicked.connect(lambda: self.requested.emit("model.run", None))
        row = QHBoxLayout()
        row.addWidget(again)
        row.addStretch(1)
        card.column.addLayout(row)
        return card

    def _unexplained(self, problem: str) -> Card:
        """The answer stands; only where the model looked could not be worked out."""
        card = Card(signal="caution")
        card.add(SignalRow("caution", tr(problem), word=tr("There is no heat map")))
        again = button(tr("Try again"), "refresh-ccw")
        again.clicked.connect(lambda: self.requested.emit("explain.method", self._state.overlay.method))
        row = QHBoxLayout()
        row.addWidget(again)
        row.addStretch(1)
        card.column.addLayout(row)
        return card

    def _purpose(self, state: State) -> Card:
        card = Card()
        row = self._row(state.model_id)
        if row is None:
            card.add(PlainLabel(tr("No model is chosen"), "strong"))
            card.add(PlainLabel(tr("Choose a model above to see what it is for."), "secondary", wrap=True))
            return card
        card.add(PlainLabel(tr_pick(row.title), "title", wrap=True))
        if state.selection is None:
            card.add(PlainLabel(tr("Open an image to run the model on it."), "secondary", wrap=True))
        elif state.cut is not None and not asks_of_stack(state):
            words = tr("Choose an original image; models do not run on reformatted planes.")
            card.add(SignalRow("info", words))
        elif has_withheld_answer(state):
            words = tr("It has run on this stack.") if asks_of_stack(state) else tr("It has run on this image.")
            card.add(PlainLabel(words, "secondary", wrap=True))
        elif _words_of(state.jobs, MODEL_JOB):
            words = tr("It is running on this stack.") if asks_of_stack(state) else tr("It is running on this image.")
            card.add(PlainLabel(words, "secondary", wrap=True))
        elif refusal := row.refusal(state.selection, state.language):
            now, spoken = state.selection, state.language
            others = (one for one in self._models if one is not row and not one.problem)
            if all(one.refusal(now, spoken) for one in others):
                return self._nothing_fits(row, now, spoken)
            card.add(SignalRow("info", tr(refusal), word=tr("It would give no result here")))
        else:
            words = tr("Not run on this stack yet.") if asks_of_stack(state) else tr("Not run on this image yet.")
            card.add(PlainLabel(words, "secondary", wrap=True))
        for name, words in ((tr("It is for"), tr_pick(row.intended_use)), (tr("It is not for"), tr_pick(row.not_for))):
            if words:
                card.add(section(name), PlainLabel(words, wrap=True))
        return card

    def _nothing_fits(self, chosen: ModelRow, now: Selection, spoken: str) -> Card:
        """Why each model here would give no result, the chosen one first; what it is for would be beside the point."""
        card = Card()
        card.add(SignalRow("info", "", word=tr("None of the models here is for this image")))
        usable = sorted((row for row in self._models if not row.problem), key=lambda row: row is not chosen)
        for row in usable[:MOST_ROWS]:
            both = QVBoxLayout()
            both.setSpacing(0)
            both.addWidget(PlainLabel(tr_pick(row.title), "strong", wrap=True))
            both.addWidget(PlainLabel(tr(row.refusal(now, spoken)), "secondary", wrap=True))
            card.column.addLayout(both)
        if len(usable) > MOST_ROWS:
            card.add(PlainLabel(tr("and {n} more").format(n=len(usable) - MOST_ROWS), "small"))
        return card

    def _note_undo(self, old: State | None, new: State) -> None:
        """Whether "undo" now would undo the decision and nothing else."""
        if old is None or asked_key(old) != asked_key(new) or _answer(old) is not _answer(new):
            self._is_decision_last = False
        elif old.decisions != new.decisions:
            self._is_decision_last = _decision(new) is not None
        elif any(_differs(getattr(old, name), getattr(new, name)) for name in _UNDONE_TOO):
            self._is_decision_last = False

    def _row(self, model_id: str) -> ModelRow | None:
        return next((row for row in self._models if row.id == model_id), None)

    def _live_job(self) -> str | None:
        return next((j.name for j in self._state.jobs if j.name == MODEL_JOB), None)


def _differs(old: object, new: object) -> bool:
    return old is not new and old != new  # most states share all of it


_UNDONE_TOO = (
    "view",
    "overlay",
    "corner_text",
    "layout",
    "second",
    "cut",
    "measurements",
    "key_images",
    "layers",
    "scene",
)
"""What undo brings back beside decisions."""


def _recorded(answer: Answer, state: State) -> list[QWidget]:
    """What of the record an answer about image and record rests on; nothing where there is none of it."""
    if not answer.evidence:
        return []
    card = Card()
    card.add(used_values(answer, state.selection.study.zone if state.selection is not None else None))
    return [card]


def _other_outcomes(answer: Answer, model_title: str) -> list[QWidget]:
    """A score, a curve or a forecast of an image; nothing for classification."""
    if not answer.outcomes:
        return []
    card = Card()
    card.add(PlainLabel(model_title, "strong", wrap=True), *outcome_rows(answer))
    return [card]


def in_this_language(known: str | Mapping[str, str], said: str) -> str:
    """What an answer says of its model, as the card puts it in the language in use.

    The answer's own words stay where the card now says something else: it may be a later version.
    """
    is_same = not isinstance(known, str) and said in known.values()
    return tr_pick(known) if is_same else said


def _problem(state: State) -> str:
    key = asked_key(state)
    if key is None:  # what failed on a stored image is not said of a plane
        return ""
    return state.analysis_problem.get((key, state.model_id), "")


def _answer(state: State) -> Answer | None:
    found = current_answer(state)
    return found[1] if found else None


def _decision(state: State) -> Decision | None:
    found = current_answer(state)
    return state.decisions.get(found[0]) if found else None


def _what_is_said(state: State) -> tuple[object, ...]:
    """All that the answer's cards are drawn from; answers are compared by identity."""
    answer = _answer(state)
    is_running = any(job.name == MODEL_JOB for job in state.jobs)
    is_plane = state.cut is not None
    hidden = is_withheld(state), has_withheld_answer(state)
    shown = (id(answer), shown_finding(state), asked_key(state), state.model_id, _problem(state), state.record_mismatch)
    return (*shown, is_running, is_plane, *hidden)


def _where_it_looked(state: State) -> tuple[object, ...]:
    maps = tuple(id(one) for one in attributions_of(state))
    return (id(current_attribution(state)), maps, state.overlay.method, _words_of(state.jobs, EXPLAIN_JOB))


def _words_of(jobs: Sequence[JobStatus], name: str) -> str:
    job = next((j for j in jobs if j.name == name), None)
    if job is None:
        return ""
    counted = f" {job.done}/{job.total}" if job.total else ""
    return (tr(job.text) or tr("Running…")) + counted
