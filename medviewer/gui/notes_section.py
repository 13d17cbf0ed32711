"""The notes of the record: each unfolds to its text, the models that read text, and the words their answers rest on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, tzinfo

from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from medviewer.app.data_questions import DataAnswer, ModelOffer
from medviewer.app.note_models import JOB, note_answer_of, note_offers, note_work
from medviewer.app.on_screen import is_withheld
from medviewer.app.state import State
from medviewer.domain.answer import Attribution
from medviewer.gui.anchored_text import AnchoredText
from medviewer.gui.cards import Disclosure, clear, section
from medviewer.gui.data_answer_card import DataAnswerCard
from medviewer.gui.diverging import Legend
from medviewer.gui.label_bars import title_of
from medviewer.gui.more_rows import MoreRows
from medviewer.gui.record_sections import reference_of
from medviewer.gui.text import PlainLabel, set_tooltip, tr, visible
from medviewer.records.record import Document, parse_moment, placed, shown_moment

_UNKNOWN = datetime.min.replace(tzinfo=UTC)
_SHOWN = 10  # notes; the others on request
_SIGN_PX = 40  # of the sign before a title, with what is around both
Request = Callable[[str, object], None]


class NotesSection(QWidget):
    """A heading and a row for each note of the record on screen, the newest first."""

    def __init__(self, state: State, request: Request) -> None:
        super().__init__()
        self.setProperty("kind", "clear")
        self._state, self._request = state, request
        self._rows: list[NoteRow] = []
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        column.addWidget(section(tr("Notes")))
        documents = state.record.documents if state.record is not None else ()
        if not documents:
            column.addWidget(PlainLabel(tr("Not recorded"), "secondary"))
        elif state.identity_hidden:
            words = tr("Notes are not shown while identity is hidden: they may tell who the patient is.")
            column.addWidget(PlainLabel(words, "secondary", wrap=True))
        else:
            self._remark = PlainLabel("", "secondary", wrap=True)
            column.addWidget(self._remark)
            self._show_remark()
            column.addWidget(MoreRows(self._made(documents), len(documents), _SHOWN))

    def show_state(self, new: State) -> None:
        """Show what has come since; the record, its patient and the language are the same."""
        old, self._state = self._state, new
        if _told(old) == _told(new):  # most changes are not about notes
            return
        if self._rows:
            self._show_remark()
        for row in self._rows:
            row.show_state(new)

    def _made(self, documents: tuple[Document, ...]) -> Iterator[QWidget]:
        zone = reference_of(self._state).zone
        order = sorted(range(len(documents)), key=lambda number: _written(documents[number], zone), reverse=True)
        for number in order:
            row = NoteRow(documents[number], number, self._request, zone)
            row.show_state(self._state)
            self._rows.append(row)
            yield row

    def _show_remark(self) -> None:
        """Why no model is offered at the notes, where none is."""
        state, words = self._state, ""
        if state.record_mismatch:
            words = tr("No model reads notes while image and record contradict each other.")
        elif not state.note_models:
            words = tr("No installed model reads notes.")
        elif is_withheld(state):
            words = tr("Models of notes are offered after you have written your impression.")
        self._remark.setText(words)
        self._remark.setVisible(bool(words))


def _written(note: Document, zone: tzinfo | None) -> datetime:
    """When a note was written; one without a date stands behind all others."""
    parsed = parse_moment(note.date)
    return _UNKNOWN if parsed is None else placed(parsed[0], zone)


def _told(state: State) -> tuple[object, ...]:
    """What is said at notes beside the record itself."""
    study = state.selection.study.study_instance_uid if state.selection is not None else None
    known = state.note_models, state.note_answers, state.note_asked, state.jobs
    return (*known, is_withheld(state), state.record_mismatch, study)


class NoteRow(QWidget):
    """One note. What it unfolds to is made when it is unfolded first."""

    def __init__(self, note: Document, number: int, request: Request, zone: tzinfo | None) -> None:
        super().__init__()
        self.setProperty("kind", "clear")
        self._note, self._number, self._request = note, number, request
        self._state = State()
        self._cards: dict[str, DataAnswerCard] = {}
        self._painted: Attribution | None = None
        self._offers: tuple[ModelOffer, ...] = ()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        titles = visible(note.title), visible(shown_moment(note.date, zone))
        self._title = " · ".join(part for part in titles if part)
        self.fold = Disclosure(self._title)
        self.fold.header.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.fold.header.setAccessibleName(self._title)
        column.addWidget(self.fold)
        self.text: AnchoredText | None = None
        self._below = QVBoxLayout()
        self._below.setSpacing(8)
        self._column = QVBoxLayout()
        self._column.setSpacing(8)
        self.fold.toggled.connect(self._unfold)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 - Qt's name
        """Show as much of the title as there is room for; the tooltip has the whole."""
        super().resizeEvent(event)
        room = self.width() - _SIGN_PX
        shown = self.fontMetrics().elidedText(self._title, Qt.TextElideMode.ElideRight, room)
        self.fold.set_title(shown)
        set_tooltip(self.fold.header, self._title if shown != self._title else "")

    def show_state(self, new: State) -> None:
        """Show the models that are offered now and what they said."""
        self._state = new
        if self.text is not None:
            self._show_cards()
            self._show_words()

    def _unfold(self, is_open: bool) -> None:
        if not is_open or self.text is not None or not self._note.text.strip():
            if is_open and not self._note.text.strip() and self.fold.content.count() == 0:
                words = tr("The record holds no plain text of this document.")
                self.fold.content.addWidget(PlainLabel(words, "secondary", wrap=True))
            return
        self.text = AnchoredText(self._note.text)
        self._word = PlainLabel("", wrap=True)
        self._word.hide()
        self.text.told.connect(self._tell)
        self.fold.content.addWidget(self.text)
        self.fold.content.addWidget(self._word)
        self.fold.content.addLayout(self._below)
        self.fold.content.addLayout(self._column)
        self.show_state(self._state)

    def _tell(self, words: str) -> None:
        hint = tr("Point at a marked word, or press Left and Right in the text, for its number.")
        self._word.setText(words or (hint if self._painted is not None else ""))
        self._word.set_role("" if words else "small")
        self._word.setVisible(bool(self._word.text()))

    def _show_cards(self) -> None:
        state, number = self._state, self._number
        offers = note_offers(state, number)
        if [one.id for one in offers] != list(self._cards) or offers != self._offers:
            clear(self._column)
            self._cards, self._offers = {}, offers
            for offer in offers:
                self._cards[offer.id] = self._card(offer)
                self._column.addWidget(self._cards[offer.id])
        for model_id, card in self._cards.items():
            card.show_answer(note_answer_of(state, number, model_id), note_work(state, number, model_id))

    def _card(self, offer: ModelOffer) -> DataAnswerCard:
        number, request = self._number, self._request
        card = DataAnswerCard(offer, tr("Show the words it rests on"))
        card.run.connect(lambda: request("model.run_note", (number, offer.id)))
        card.explain.connect(lambda finding: request("model.explain_note", (number, offer.id, finding)))
        card.stop.connect(lambda: request("job.cancel", JOB))
        return card

    def _show_words(self) -> None:
        """Paint the words of the explanation that came last, with what its colours mean."""
        shown = self._explained()
        why = shown[1].attribution if shown is not None else None
        if self.text is None or why is self._painted:
            return
        self._painted = why
        clear(self._below)
        answer = shown[1].answer if shown is not None else None
        is_cut = answer is not None and any(one.code.split(".")[0] == "cut_note" for one in answer.guards)
        self.text.explain(why, is_cut=is_cut)
        self._tell("")
        if shown is not None and why is not None:
            offer = shown[0]
            number = tr("Number: how far the network's score for it falls without the word.")
            self._below.addWidget(Legend(title_of(offer, why.finding), "line", number))
            if is_cut:
                self._below.addWidget(PlainLabel(tr("Grey and slanted: not read by the model."), "small", wrap=True))

    def _explained(self) -> tuple[ModelOffer, DataAnswer] | None:
        """The model of the last answer about this note that has an explanation."""
        offers = {one.id: one for one in self._offers}
        for one in reversed(self._state.note_answers):
            said = note_answer_of(self._state, self._number, one.model_id)
            if one.model_id in offers and said is one.said and said.attribution is not None:  # of this very note
                return offers[one.model_id], said
        return None
