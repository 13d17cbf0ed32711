"""Models of text at the notes of the record: offered at each note, run where the reader asks for it.

What one says belongs to that note of that record, beside that study, in that language. Nothing of it is shown beside
another one, while image and record contradict each other, or before the impression where the reader reads first.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from medviewer.app import analysis
from medviewer.app.data_questions import DataAnswer, DataQuestion, ModelOffer, ask_about_data, explain_data, offers_for
from medviewer.app.on_screen import is_withheld
from medviewer.app.patient import keep_event
from medviewer.app.state import JobStatus, NoteAnswer, NoteQuestion, State
from medviewer.app.told import Age, age_of
from medviewer.domain.case import Case
from medviewer.domain.errors import UsageError
from medviewer.records.record import age_at, parse_moment

if TYPE_CHECKING:  # commands act on the application, which holds their table
    from medviewer.app.application import Application

JOB = "note model"


def note_question(state: State, number: int) -> NoteQuestion | None:
    """What is asked of one note of the record on screen; None where nothing may be asked of it."""
    now, record = state.selection, state.record
    if now is None or record is None or state.record_mismatch or not 0 <= number < len(record.documents):
        return None
    if not record.documents[number].text.strip():
        return None
    return NoteQuestion(record, number, now.study.study_instance_uid, state.language)


def note_offers(state: State, number: int) -> tuple[ModelOffer, ...]:
    """The models that may be asked about a note now: none before the impression where the reader reads first."""
    return () if is_withheld(state) or note_question(state, number) is None else state.note_models


def note_answer_of(state: State, number: int, model_id: str) -> DataAnswer | None:
    """What a model said of a note of the record on screen, at the study on screen, in the language in use."""
    asked = note_question(state, number)
    if asked is None or is_withheld(state):
        return None
    own = (one.said for one in state.note_answers if one.model_id == model_id and one.question == asked)
    return next(own, None)


def note_work(state: State, number: int, model_id: str) -> JobStatus | None:
    """How far the model's work on a note is; None where it does not work on it."""
    job = next((job for job in state.jobs if job.name == JOB), None)
    if job is None or state.note_asked is None or is_withheld(state):
        return None
    return job if state.note_asked == (note_question(state, number), model_id) else None


class NoteReader:
    """Watches for another record, study or language, and lets go of what was said beside the one before."""

    def __init__(self, app: Application) -> None:
        self._app = app

    def watch(self, old: State, new: State) -> None:
        """Offer the models where there are notes; stop and forget what is of another record, study or language."""
        is_same = _asked_of(old) == _asked_of(new)
        if is_same and old.models_changed == new.models_changed:
            return
        may_ask = new.record is not None and bool(new.record.documents) and not new.record_mismatch
        offered = offers_for(self._app.engine.catalogue, "text") if may_ask else ()
        self._app.session.update(note_models=offered)
        if not is_same:
            self._app.jobs.stop(JOB)
            self._app.session.update(note_answers=(), note_asked=None)
            return
        if new.note_asked is not None and new.note_asked[1] in new.replaced_models:
            self._app.jobs.stop(JOB)  # else it would go on to explain what another model said
            self._app.session.update(note_asked=None)
        kept = tuple(one for one in new.note_answers if self._is_of_now(one))
        if len(kept) < len(new.note_answers):
            self._app.session.update(note_answers=kept)

    def _is_of_now(self, one: NoteAnswer) -> bool:
        """Whether it is of a model that is here; what failed is as little said of the one that took its place."""
        answer = one.said.answer
        if answer is None:
            return one.model_id not in self._app.state.replaced_models
        return self._app.engine.catalogue.has_given(answer.provenance)


def run_on_note(app: Application, argument: tuple[int, str]) -> None:
    """Run a model on a note of the record on screen, then say which words its answer rests on.

    Raises:
        UsageError: there is no such note or model on screen.
    """
    number, model_id = argument
    asked = note_question(app.state, number)
    if asked is None or all(offer.id != model_id for offer in note_offers(app.state, number)):
        raise UsageError("There is no note on screen that this model could be run on.")
    _forget(app, asked, model_id)
    app.session.update(note_asked=(asked, model_id))
    ask_about_data(app, JOB, _data_question(app.state, asked, model_id), partial(_take, app, asked, model_id))


def explain_note(app: Application, argument: tuple[int, str, str]) -> None:
    """Say which words of a note speak for one label of the answer on screen.

    Raises:
        UsageError: there is no such answer on screen.
    """
    number, model_id, finding = argument
    asked, said = note_question(app.state, number), note_answer_of(app.state, number, model_id)
    if asked is None or said is None:
        raise UsageError("There is no answer about a note on screen that could be explained.")
    app.session.update(note_asked=(asked, model_id))
    question = _data_question(app.state, asked, model_id)
    explain_data(app, JOB, question, said, finding, partial(_take, app, asked, model_id))


def _asked_of(state: State) -> tuple[object, ...]:
    """What every answer about a note depends on, beside the note."""
    study = state.selection.study.study_instance_uid if state.selection is not None else None
    return study, state.record_mismatch, state.language, state.record


def _data_question(state: State, asked: NoteQuestion, model_id: str) -> DataQuestion:
    """The note with the patient's age when it was written, and sex; nothing else of the record goes in."""
    note, now = asked.record.documents[asked.number], state.selection
    written = parse_moment(note.date)
    moment = written[0] if written is not None else None
    is_day = written is not None and written[1] in ("day", "time")
    of_study = age_of(now.patient, now.study, asked.record) if now is not None else Age(None)
    then = age_at(asked.record.birth_date, moment.date()) if moment is not None and is_day else None
    age = of_study if then is None or of_study.told else Age(then)
    sex = (now.patient.sex if now is not None else "") or asked.record.sex
    case = analysis.with_age(Case(note=note.text, sex=sex or None, at=moment), age)
    return DataQuestion(case, model_id, asked.language)


def _take(app: Application, asked: NoteQuestion, model_id: str, said: DataAnswer) -> None:
    """Keep what was said under its own question, and that it was said in the trail."""
    known = _forget(app, asked, model_id)
    app.session.update(note_answers=(*app.state.note_answers, NoteAnswer(asked, model_id, said)))
    detail = f"{model_id} note {asked.number + 1}"
    if said.answer is not None and (known is None or known.answer is not said.answer):
        keep_event(app, "model.run", asked.study_instance_uid, detail)
    why = said.attribution
    is_new = why is not None and (known is None or known.attribution is not why)
    if why is not None and is_new and why.faithfulness is None:  # told again once it has been judged
        keep_event(app, "model.explain", asked.study_instance_uid, f"{detail} {why.method} {why.finding}")


def _forget(app: Application, asked: NoteQuestion, model_id: str) -> DataAnswer | None:
    """Take away what this model said of this note before; returns it."""
    is_own = [(one, one.model_id == model_id and one.question == asked) for one in app.state.note_answers]
    app.session.update(note_answers=tuple(one for one, own in is_own if not own))
    return next((one.said for one, own in is_own if own), None)
