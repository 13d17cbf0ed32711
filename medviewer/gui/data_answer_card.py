"""What one model says of a note or a molecule, as a card: offered, at work, answered, abstained, or failed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QApplication, QHBoxLayout, QProgressBar, QVBoxLayout, QWidget

from medviewer.app.data_questions import DataAnswer, ModelOffer
from medviewer.app.state import JobStatus
from medviewer.domain.answer import Answer
from medviewer.explain.groups import CONVINCING_PERCENTILE
from medviewer.gui.cards import Card, ElidedCombo, SignalRow, button, clear, section
from medviewer.gui.label_bars import label_rows, ranked, title_of
from medviewer.gui.outcome_rows import outcome_rows
from medviewer.gui.record_answers import made_by, not_calculated, verdict_words
from medviewer.gui.text import PlainLabel, for_button, tr, tr_pick, visible


class Work(QWidget):
    """What goes on, how far it is, and the button that stops it."""

    stopped = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("kind", "clear")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        self._words = PlainLabel("", "secondary", wrap=True)
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        stop = button(tr("Stop it"), "circle-x")
        stop.clicked.connect(self.stopped)
        row.addWidget(self._words, 2)
        row.addWidget(self._bar, 1, Qt.AlignmentFlag.AlignVCenter)
        row.addWidget(stop)

    def show_job(self, job: JobStatus | None) -> None:
        """Show a job; hide where there is none."""
        self.setVisible(job is not None)
        if job is not None:
            self._words.setText(tr(job.text))
            self._bar.setRange(0, job.total)
            self._bar.setValue(job.done)


class DataAnswerCard(Card):
    """One model at one note or molecule.

    Args:
        offer: the model.
        explained: the words of the button that asks for its explanation.
    """

    run = Signal()
    explain = Signal(str)  # the name of the label to explain
    stop = Signal()

    def __init__(self, offer: ModelOffer, explained: str) -> None:
        super().__init__()
        self._offer, self._explained = offer, explained
        self._said: DataAnswer | None = None
        self._job: JobStatus | None = None
        self.add(PlainLabel(visible(tr_pick(offer.title)), "strong", wrap=True))
        self._rows = QVBoxLayout()
        self._rows.setSpacing(8)
        self.work = Work()
        self.work.stopped.connect(self.stop)
        self.add(self.work)
        self.column.addLayout(self._rows)
        self._draw()

    def show_answer(self, said: DataAnswer | None, job: JobStatus | None) -> None:
        """Show what is known now, and the work that goes on."""
        is_anew = said is not self._said or (job is None) != (self._job is None)
        self._said, self._job = said, job
        if is_anew:
            self._draw()
        else:
            self.work.show_job(job)

    def _draw(self) -> None:
        focused = QApplication.focusWidget()
        has_focus = focused is not None and self.isAncestorOf(focused)
        clear(self._rows)
        self.work.show_job(self._job)
        made = list(self._content())
        for widget in made:
            self._rows.addWidget(widget)
        if has_focus:  # what had the keys is gone: they go to what took its place
            _focus_first([self.work, *made] if self._job is not None else made)

    def _content(self) -> Iterator[QWidget]:
        said = self._said or DataAnswer()
        answer = said.answer
        if said.problem and answer is None:
            yield SignalRow("alarm", tr(said.problem), word=tr("There is no result"))
        if answer is None:
            if self._job is None:
                again = button(tr("Run"), "play")
                again.clicked.connect(self.run)
                yield again
            return
        if answer.status != "answer":
            yield from not_calculated(answer)
        else:
            yield from outcome_rows(answer)
            yield from label_rows(answer, self._offer)
            for guard in answer.guards:
                if guard.level == "warn":
                    yield SignalRow("caution", guard.text)
            yield from self._explanation(answer, said)
        yield made_by(answer)

    def _explanation(self, answer: Answer, said: DataAnswer) -> Iterator[QWidget]:
        if said.problem:
            yield SignalRow("caution", tr(said.problem), word=tr("The explanation is not complete"))
        if not self._offer.is_explained:
            yield PlainLabel(tr("This model's card allows no explanation."), "small", wrap=True)
            return
        why = said.attribution
        names = [one.label for one in ranked(answer, self._offer)] or list(self._offer.targets)
        if why is None and self._job is None:
            ask = button(self._explained, "text-search")
            ask.clicked.connect(lambda: self.explain.emit(names[0]))
            yield ask
        if why is None:
            return
        yield section(tr("What it rests on"))
        if len(names) > 1:
            yield self._choice(names, why.finding)
        judged = why.faithfulness
        if judged is not None and min(judged.deletion_percentile, judged.insertion_percentile) < CONVINCING_PERCENTILE:
            yield SignalRow("caution", verdict_words(judged))
        elif judged is not None:
            yield PlainLabel(verdict_words(judged), "small", wrap=True)
        elif self._job is None:
            yield PlainLabel(tr("Not compared with random orders."), "small", wrap=True)

    def _choice(self, names: list[str], chosen: str) -> QWidget:
        combo = ElidedCombo()
        combo.setAccessibleName(tr("Label that is explained"))
        for name in names:
            combo.addItem(for_button(title_of(self._offer, name)).replace("&&", "&"), name)
        combo.setCurrentIndex(names.index(chosen) if chosen in names else 0)
        combo.activated.connect(lambda row: self.explain.emit(names[row]) if names[row] != chosen else None)
        return combo


def _focus_first(widgets: Sequence[QWidget]) -> None:
    """Give the keys to the first thing that takes them."""
    for widget in widgets:
        able = (one for one in (widget, *widget.findChildren(QWidget)) if one.focusPolicy() & Qt.FocusPolicy.TabFocus)
        first = next(able, None)
        if first is not None:
            widget.show()  # a layout would do so later
            first.setFocus(Qt.FocusReason.OtherFocusReason)
            return
