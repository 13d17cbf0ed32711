"""Models that take recorded values alone: scores are worked out as soon as a record is on screen, others on request.

They belong to the patient and to the moment of the study on screen, not to an image. Nothing of them is shown beside
another record, another study, or while image and record contradict each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from medviewer.app import analysis
from medviewer.app.on_screen import is_withheld
from medviewer.app.patient import explained_words, keep_event
from medviewer.app.state import RecordAnswer, RecordQuestion, State
from medviewer.app.told import Age, age_of
from medviewer.domain.case import Case
from medviewer.domain.errors import MedViewerError, UsageError
from medviewer.domain.progress import Progress, StopToken
from medviewer.explain.methods import explain, methods_for
from medviewer.inference.card import Card
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.engine import Engine
from medviewer.inference.inputs.volume import stack_input
from medviewer.records.record import PatientRecord, snapshot

if TYPE_CHECKING:  # commands act on the application, which holds their table
    from medviewer.app.application import Application

JOB = "record model"
_OF_RECORDS = frozenset({"table", "series"})
_N_RANDOM = 50


def takes_images(card: Card) -> bool:
    """Whether a model is one for the image on screen."""
    return any(spec.kind == "image" for spec in card.inputs)


def is_for_screen(card: Card) -> bool:
    """Whether a model is one for what is on screen: an image, or the whole stack of slices that it is of."""
    return takes_images(card) or stack_input(card) is not None


def takes_only_images(card: Card) -> bool:
    """Whether a model is given nothing of the record; the patient's age and sex are looked at beside any model."""
    return all(spec.kind in ("image", "volume") for spec in card.inputs)


def stack_models(catalogue: Catalogue) -> frozenset[str]:
    """The models that look at a whole stack of slices."""
    cards = (entry.card for entry in catalogue.entries if entry.card is not None)
    return frozenset(card.id for card in cards if stack_input(card) is not None)


def finding_titles(catalogue: Catalogue) -> Mapping[tuple[str, str], Mapping[str, str]]:
    """What each model's findings are called, by language; by the model's id and the label."""
    cards = (entry.card for entry in catalogue.entries if entry.card is not None)
    titles = ((card.id, label.name, label.title) for card in cards for label in card.labels)
    return MappingProxyType({(model_id, name): {"en": text.en, "zh": text.zh} for model_id, name, text in titles})


def takes_records(card: Card) -> bool:
    """Whether a model needs nothing but recorded values."""
    return all(spec.kind in _OF_RECORDS for spec in card.inputs)


def question_of(state: State) -> RecordQuestion | None:
    """What is asked of the record on screen; None where there is none that may be asked."""
    now, record = state.selection, state.record
    if now is None or record is None or state.record_mismatch or not record.observations:
        return None
    at = analysis.minute_of(now.study)
    return None if at is None else RecordQuestion(record, now.study.study_instance_uid, at, state.language)


def record_answers_of(state: State) -> tuple[RecordAnswer, ...]:
    """What is said of the record on screen, at the study on screen, in the language in use; nothing else ever.

    Where the reader reads first, networks have no say before the impression; a score is plain arithmetic on the record.
    """
    question = question_of(state)
    if question is None:
        return ()
    own = (one for one in state.record_answers if one.question == question)
    return tuple(one for one in own if one.is_rule or not is_withheld(state))


def case_of(record: PatientRecord, at: datetime, age: Age, sex: str) -> Case:
    """What is known of a patient at a moment: recorded values, age and sex, no image and no identity."""
    case = analysis.with_age(snapshot(record, at), age)
    return replace(case, sex=sex or case.sex)


class RecordReader:
    """Watches for another record, study or language, and asks what can be asked of it."""

    def __init__(self, app: Application) -> None:
        self._app = app

    def watch(self, old: State, new: State) -> None:
        """Ask anew where the question is another one, or a model that may be asked it."""
        has_other_models = old.models_changed != new.models_changed
        if (old.record, old.record_mismatch, old.language) == (new.record, new.record_mismatch, new.language) and (
            old.selection is new.selection and not has_other_models
        ):
            return
        question = question_of(new)
        if question == question_of(old) and not has_other_models:
            return
        models = self._app.engine.catalogue
        cards = [entry.card for entry in models.entries if entry.card is not None]
        offered = [card for card in cards if takes_records(card)] if question is not None else []
        offered.sort(key=lambda card: card.runtime != "rule")  # what has its answer at once stands first
        known = {
            row.model_id: row
            for row in new.record_answers
            if row.question == question and row.model_id not in new.replaced_models and _is_of_now(models, row)
        }
        rows = tuple(known.get(card.id) or _row(question, card) for card in offered if question is not None)
        if rows or new.record_answers:
            self._app.session.update(record_answers=rows)
        self._app.background.stop(JOB)
        if question != question_of(old) or self._app.wishes.record_model in new.replaced_models:
            self._app.jobs.stop(JOB)  # what is asked of a model that stays goes on
        rules = [card.id for card in offered if card.runtime == "rule"]  # no process, no waiting: not worth a click
        unasked = [row for row in rows if row.model_id in rules and row.answer is None]
        if unasked:
            self._start(unasked)

    def _start(self, rows: Sequence[RecordAnswer]) -> None:
        app, case = self._app, _case(self._app.state)
        if case is None:
            return

        def work(stop: StopToken, _progress: Progress) -> list[RecordAnswer]:
            return [ask(app.engine, case, row, stop) for row in rows]

        app.background.start(JOB, work, partial(_take, app), lambda error: app.notify("caution", str(error)))


def run_on_record(app: Application, model_id: str) -> None:
    """Run a model of recorded values on the record on screen."""
    case = _case(app.state)
    row = next((one for one in record_answers_of(app.state) if one.model_id == model_id), None)
    if case is None or row is None:
        raise UsageError("There is no record on screen that this model could be run on.")

    def failed(error: MedViewerError) -> None:
        _take(app, [replace(row, answer=None, attribution=None, problem=str(error))])

    app.wishes.record_model = model_id
    app.jobs.start(JOB, lambda stop, _p: [ask(app.engine, case, row, stop)], partial(_take, app), failed)


def ask(engine: Engine, case: Case, row: RecordAnswer, stop: StopToken) -> RecordAnswer:
    """What a model says of recorded values, and which of them it rests on."""
    answer = engine.ask(case, row.model_id, stop=stop, language=row.question.language)
    card = engine.catalogue.card(row.model_id)
    if answer.status != "answer" or not methods_for(card):
        return replace(row, answer=answer, attribution=None, problem="")
    n_random = 0 if card.runtime == "rule" else _N_RANDOM  # a sum is taken apart exactly
    why = explain(engine, case, row.model_id, "occlusion", n_random=n_random, stop=stop)
    return replace(row, answer=answer, attribution=why, problem="")


def _is_of_now(models: Catalogue, row: RecordAnswer) -> bool:
    """Whether what was said, if anything was, is of a model that is here."""
    return row.answer is None or models.has_given(row.answer.provenance)


def _row(question: RecordQuestion, card: Card) -> RecordAnswer:
    titles = {name: {"en": card.title_of(name).en, "zh": card.title_of(name).zh} for name in card.targets}
    title = {"en": card.title.en, "zh": card.title.zh}
    return RecordAnswer(question, card.id, title, targets=titles, is_rule=card.runtime == "rule")


def _case(state: State) -> Case | None:
    question, now = question_of(state), state.selection
    if question is None or now is None:
        return None
    age = age_of(now.patient, now.study, question.record)
    return case_of(question.record, question.at, age, now.patient.sex)


def _take(app: Application, found: Sequence[RecordAnswer]) -> None:
    """Put answers beside their own question; never beside one that came meanwhile."""
    new = {one.model_id: one for one in found}
    rows = [new[r.model_id] if r.model_id in new and new[r.model_id].question == r.question else r
            for r in app.state.record_answers]  # fmt: skip
    app.session.update(record_answers=tuple(rows))
    for one in found:
        if one.answer is not None:
            keep_event(app, "model.run", one.question.study_instance_uid, one.model_id)
        if one.attribution is not None:
            keep_event(app, "model.explain", one.question.study_instance_uid, explained_words(one.attribution))
