"""What a bare network cannot say of itself, asked; it is tried on the image on screen before it is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLineEdit, QVBoxLayout, QWidget

from medviewer.app.model_shelf import Asked, Tried
from medviewer.domain.answer import Answer, probability_words
from medviewer.domain.errors import UsageError
from medviewer.explain.methods import OWN_EXPLANATION, is_own_explanation
from medviewer.gui.cards import Card, ScrollColumn, SignalRow, StillCombo, button, clear, section
from medviewer.gui.dialogs import Dialog, size_on_screen
from medviewer.gui.region_words import area_words
from medviewer.gui.text import PlainLabel, tr, tr_pick, visible
from medviewer.inference.card import Text
from medviewer.inference.importing.questions import Answers, Question, read_answers

_TITLES_PX = 190
_SECTIONS = {
    "The model": ("title", "id", "intended_use", "licence"),
    "Its findings": ("labels", "category", "task", "output", "threshold"),
    "Its images": ("modality", "body_part", "view", "first_axis", "rows", "columns", "values", "aspect"),
}


class ImportDialog(Dialog):
    """Asks, tries, keeps. ``make`` imports with the answers; ``keep`` installs what was made."""

    def __init__(
        self, asked: Asked, make: Callable[[Answers], None], keep: Callable[[], None], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._asked, self._make = asked, make
        self.fields: dict[str, QLineEdit | StillCombo] = {}
        self.setWindowTitle(tr("Import a network"))
        self.resize(size_on_screen(QSize(660, 760), self.screen().availableSize()))
        self.problem = PlainLabel("", "alarm", wrap=True)
        self.cancel = button(tr("Cancel"))
        self.try_it, self.keep = button(tr("Check and try it"), "play"), button(tr("Install"), kind="primary")
        self._result = QVBoxLayout()
        self._lay_out()
        self.cancel.clicked.connect(self.reject)
        self.try_it.clicked.connect(self._try)
        self.keep.clicked.connect(keep)
        self.give_enter(self.try_it)
        self.show_tried(None, "", is_busy=False)

    def _lay_out(self) -> None:
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 16, 0, 12)
        whole.setSpacing(12)
        scroll = ScrollColumn(margin=20)
        scroll.setAccessibleName(tr("Import a network"))
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the fields are reached with Tab, and it follows them
        scroll.column.addWidget(PlainLabel(tr("Import a network"), "hero"))
        words = tr("The file cannot say all that is needed. A wrong answer here gives plausible nonsense later.")
        scroll.column.addWidget(PlainLabel(words, "secondary", wrap=True))
        known = {question.id: question for question in self._asked.questions}
        for title, names in _SECTIONS.items():
            scroll.column.addWidget(section(tr(title)))
            grid = QGridLayout()
            grid.setHorizontalSpacing(12)
            grid.setVerticalSpacing(2)
            grid.setColumnMinimumWidth(0, _TITLES_PX)
            grid.setColumnStretch(1, 1)
            for row, name in enumerate(name for name in names if name in known):
                self._add(grid, 2 * row, known[name])
            scroll.column.addLayout(grid)
        whole.addWidget(scroll, 1)
        foot = QVBoxLayout()
        foot.setContentsMargins(20, 0, 20, 0)
        foot.addLayout(self._result)
        foot.addWidget(self.problem)
        buttons = QHBoxLayout()
        buttons.addStretch(1)
        for one in (self.cancel, self.try_it, self.keep):
            buttons.addWidget(one)
        foot.addLayout(buttons)
        whole.addLayout(foot)

    def _add(self, grid: QGridLayout, row: int, question: Question) -> None:
        title, why = _say(question.title), _say(question.why)
        field: QLineEdit | StillCombo
        if question.kind == "choice":
            field = StillCombo()
            if question.guess is None:
                field.addItem(tr("Choose…"), None)
            for value, words in question.choices:
                field.addItem(_say(words), value)
            field.setCurrentIndex(max(field.findData(question.guess), 0))
            field.activated.connect(self._changed)
        else:
            field = QLineEdit(_written(question.guess))
            field.textEdited.connect(self._changed)
        field.setAccessibleName(title)
        field.setAccessibleDescription(why)
        label = PlainLabel(title, wrap=True)
        label.setFixedWidth(_TITLES_PX)
        grid.addWidget(label, row, 0, Qt.AlignmentFlag.AlignTop)
        grid.addWidget(field, row, 1)
        below = PlainLabel(why, "small", wrap=True)
        below.setContentsMargins(0, 0, 0, 8)  # it belongs to the field above it
        grid.addWidget(below, row + 1, 1)
        self.fields[question.id] = field

    def _given(self) -> dict[str, Any]:
        given: dict[str, Any] = {}
        for question in self._asked.questions:
            field = self.fields[question.id]
            value: Any = field.currentData() if isinstance(field, StillCombo) else field.text().strip()
            if question.kind in ("words", "codes"):
                value = [word.strip() for word in value.replace("，", ",").split(",") if word.strip()]
            elif question.kind == "number":
                value = _number(value)
            given[question.id] = value
        return given

    def _try(self) -> None:
        try:
            answers = read_answers(self._asked.questions, self._given(), self._asked.facts)
        except UsageError as error:
            self._say_problem(str(error))
            return
        self._make(answers)

    def _changed(self) -> None:
        """What was tried was tried with other answers: it cannot be kept any more."""
        self.keep.setEnabled(False)
        clear(self._result)

    def show_tried(self, tried: Tried | None, problem: str, *, is_busy: bool) -> None:
        """Show what came of the answers."""
        clear(self._result)
        self._say_problem(problem)
        self.try_it.setEnabled(not is_busy)
        self.keep.setEnabled(tried is not None and not is_busy)
        for field in self.fields.values():
            field.setEnabled(not is_busy)
        if is_busy:
            self._result.addWidget(SignalRow("info", tr("Checking the model"), word=""))
        if tried is not None:
            self._result.addWidget(_result(tried))

    def _say_problem(self, text: str) -> None:
        self.problem.setText(tr(text))
        self.problem.setVisible(bool(text))


def _result(tried: Tried) -> Card:
    box = Card()
    explain: Any = tried.card.document.get("explain", {})
    reason = explain.get("without_gradients")
    if is_own_explanation(tried.card):
        box.add(SignalRow("good", tr(OWN_EXPLANATION), word=tr("Checked")))
    elif reason:
        box.add(SignalRow("caution", visible(tr_pick(reason)), word=tr("No heat maps that need gradients.")))
    else:
        words = tr("Its gradients agree with differences of its own answers; heat maps by: {methods}.")
        box.add(SignalRow("good", words.format(methods=", ".join(explain["methods"])), word=tr("Checked")))
    if tried.answer is None:
        box.add(SignalRow("info", tr("No image is open to try it on."), word=tr("Not tried on an image")))
    else:
        box.add(*_said(tried.answer))
    return box


def _said(answer: Answer) -> list[QWidget]:
    if answer.status == "abstained":
        return [SignalRow("caution", " ".join(answer.reasons), word=tr("No answer about the image on screen"))]
    lines = [f"{visible(f.label)} {probability_words(f.probability, f.threshold)}" for f in answer.findings]
    lines += [f"{visible(r.label)} {area_words(r)} ({100 * r.share:.1f}%)" for r in answer.regions]
    words = ", ".join(lines[:8]) + (" …" if len(lines) > 8 else "")
    said = SignalRow("info", words, word=tr("About the image on screen (not calibrated)"))
    return [
        said,
        PlainLabel(tr("Does that fit what you see? If not, check the range of its grey values."), "small", wrap=True),
    ]


def _written(guess: Any) -> str:
    if guess is None:
        return ""
    if isinstance(guess, list | tuple):
        return ", ".join(map(str, guess))
    return f"{guess:g}" if isinstance(guess, float) else str(guess)


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text or None


def _say(text: Text) -> str:
    return tr_pick({"en": text.en, "zh": text.zh or text.en})
