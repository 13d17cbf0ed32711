"""Several models and images asked one after the other, behind what the reader waits for.

A question of the queue waits while the reader's own question runs; its answer is kept under the subject that it
belongs to, so that it can only ever be seen beside its own image.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from medviewer.app import analysis
from medviewer.app.analysis import Asked
from medviewer.app.findings import REPLACED, is_outdated, known_of, take_answer
from medviewer.app.on_screen import identity_of, selections
from medviewer.app.patient import keep_answer
from medviewer.app.stack_asking import partial_because, question_behind
from medviewer.app.state import Given, Key, QueueItem, QueueStatus, Selection, State
from medviewer.domain.answer import Subject
from medviewer.domain.errors import MedViewerError, UsageError
from medviewer.inference.card import Card
from medviewer.inference.inputs.volume import stack_input
from medviewer.inference.suitability import stack_unsuited_because, unsuited_because
from medviewer.inference.variants import is_variant
from medviewer.records.record import PatientRecord

if TYPE_CHECKING:  # commands act on the application, which holds the queue
    from medviewer.app.application import Application

_SLOT = "queue"
_LIVE = ("model", "explain")  # what the reader waits for
MOST = 5000  # questions at once


class _Compared(NamedTuple):
    """The record of a patient, if there is one, and how it contradicts the image."""

    record: PatientRecord | None = None
    contradiction: str = ""


class ModelQueue:
    """Goes through the queue of the state, one question at a time."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._last = 0

    def add(self, wanted: Iterable[tuple[Selection, str]]) -> int:
        """Put questions at the end, none that has its answer or waits already; give how many.

        Raises:
            UsageError: they would be more than :data:`MOST`.
        """
        state = self._app.state
        known = {(subject.image_key, subject.model_id) for subject in state.answers}
        known |= {(item.selection.image.key, item.model_id) for item in state.queue if item.is_open}
        new: list[QueueItem] = []
        for selection, model_id in wanted:
            asked = (selection.image.key, model_id)
            if asked not in known:
                known.add(asked)
                self._last += 1
                new.append(QueueItem(self._last, selection, model_id))
        if len(new) > MOST:
            raise UsageError(f"These are {len(new)} questions, more than {MOST}: ask about one study at a time.")
        if new:
            kept = (item for item in state.queue if item.is_open or item.status == "failed")
            self._app.session.update(queue=(*kept, *new))
        self.go_on()
        return len(new)

    def watch(self, old: State, new: State) -> None:
        """Go on when the reader's own question has ended; stop what belongs to studies that were closed."""
        if old.queue is not new.queue and not any(item.status == "running" for item in new.queue):
            self._app.background.stop(_SLOT)
        if old.jobs != new.jobs and new.queue:
            self.go_on()

    def cancel(self, number: int | None) -> None:
        """Take one question away, or (None) all that have not ended."""
        queue = self._app.state.queue
        left = tuple(i for i in queue if (i.number != number if number is not None else not i.is_open))
        self._app.session.update(queue=left)  # and what runs is stopped by watching
        self.go_on()

    def clear(self) -> None:
        """Take away what has ended."""
        self._app.session.update(queue=tuple(item for item in self._app.state.queue if item.is_open))

    def go_on(self) -> None:
        """Start the next question, if none runs and the reader waits for nothing."""
        app = self._app
        queue = app.state.queue
        if any(item.status == "running" for item in queue) or any(slot in app.jobs.running for slot in _LIVE):
            return
        item = next((item for item in queue if item.status == "waiting"), None)
        if item is not None:
            self._mark(item, "running")
            nothing = _Compared()
            app.write(partial(self._compared, item), partial(self._start, item), lambda _e: self._start(item, nothing))

    def _compared(self, item: QueueItem) -> _Compared:
        """This patient's record, and why nothing may be said beside it; empty if image and record belong together."""
        store, patient = self._app.records.store(), item.selection.patient
        record = store.record_for(patient.patient_id, patient.issuer)
        return _Compared(record, store.mismatch(record, patient)) if record is not None else _Compared()

    def _start(self, item: QueueItem, compared: _Compared) -> None:
        """Ask, once the record has been compared. Without a store there is no record to be wrong beside."""
        app = self._app
        if not self._is_running(item):  # cancelled meanwhile
            return
        if compared.contradiction:
            self._end(item, "failed", compared.contradiction)
            return
        prepare = question_behind(app, item.selection, item.model_id, compared.record)
        app.background.start(
            _SLOT,
            lambda stop, _progress: analysis.ask_behind(app.engine, prepare, stop),
            partial(self._take, item),
            lambda error: self._fail(item, error),
        )

    def _take(self, item: QueueItem, asked: Asked) -> None:
        app, image = self._app, item.selection.image
        if not self._is_running(item):
            return
        given = Given(known_of(item.selection), asked.told)
        if self._is_better_known(item) or is_outdated(app, item.selection, item.model_id, given):
            self._mark(item, "waiting")
            self.go_on()
            return
        answer = asked.answer
        subject = Subject(image.key, item.model_id, answer.provenance.model_sha256)
        if not _is_answered(app.state, image.key, item.model_id):  # else the reader has asked, and perhaps decided
            if not take_answer(app, subject, answer, given):
                self._end(item, "failed", REPLACED)
                return
            keep_answer(app, subject, answer)
        self._end(item, "answered" if answer.status == "answer" else "abstained")

    def _fail(self, item: QueueItem, error: MedViewerError) -> None:
        self._end(item, "failed", str(error))

    def _end(self, item: QueueItem, status: QueueStatus, reason: str = "") -> None:
        self._mark(item, status, reason)
        self.go_on()

    def _is_better_known(self, item: QueueItem) -> bool:
        """Whether a later file has completed who the patient is, or has something else to say of the image.

        What was compared with the record, or looked at by the model's checks, is then no longer all.
        """

        def known(one: Selection) -> tuple[object, ...]:
            return identity_of(one.patient), known_of(one)

        now = (one.selection for one in self._app.state.queue if one.number == item.number)
        return any(known(selection) != known(item.selection) for selection in now)

    def _is_running(self, item: QueueItem) -> bool:
        return any(one.number == item.number and one.status == "running" for one in self._app.state.queue)

    def _mark(self, item: QueueItem, status: QueueStatus, reason: str = "") -> None:
        queue = tuple(
            replace(one, status=status, reason=reason) if one.number == item.number else one
            for one in self._app.state.queue
        )
        self._app.session.update(queue=queue)


def ask_all_models(app: Application, _argument: object) -> None:
    """Ask every model that suits it about the image on screen."""
    now = app.state.selection
    if now is not None:
        _ask_about(app, [now])


def ask_about_study(app: Application, _argument: object) -> None:
    """Ask every model about the images that suit it of the study on screen."""
    now = app.state.selection
    if now is None:
        return
    uid = now.study.study_instance_uid
    own = (s for s in selections(app.state.collection) if s.patient.key == now.patient.key)
    _ask_about(app, [s for s in own if s.study.study_instance_uid == uid])


def ask_about_all(app: Application, _argument: object) -> None:
    """Ask every model about the images that suit it of all studies that are open."""
    _ask_about(app, selections(app.state.collection))


def cancel(app: Application, number: int | None) -> None:
    """Take one question away, or all that have not ended."""
    app.queue.cancel(number)


def clear(app: Application, _argument: object) -> None:
    """Take away what has ended."""
    app.queue.clear()


def has_open(state: State) -> bool:
    """Whether something waits or runs."""
    return any(item.is_open for item in state.queue)


def has_ended(state: State) -> bool:
    """Whether something in the list has ended."""
    return any(not item.is_open for item in state.queue)


def _ask_about(app: Application, wanted: Iterable[Selection]) -> None:
    entries = app.engine.catalogue.entries
    # (A variant is another network than the one that was validated: only its own name asks for it.)
    cards = [entry.card for entry in entries if entry.card is not None and not is_variant(entry.id)]
    cards.sort(key=lambda card: not card.is_of_one_image)  # why a model of images has nothing to say is told first
    reasons: list[str] = []
    suiting = list(_suiting(wanted, cards, app.state.language, reasons))
    if (partial_why := partial_because(app)) and any(one in app.state.stack_models for _, one in suiting):
        raise UsageError(partial_why)
    added = app.queue.add(suiting)
    if added:
        app.notify("info", "1 question was added to the queue." if added == 1 else _added(added))
    elif reasons and not suiting:
        app.notify("caution", f"No model suits these images. {reasons[0]}")
    else:
        app.notify("info", "All of this is answered or waits already.")


def _added(count: int) -> str:
    return f"{count} questions were added to the queue."


def _suiting(
    wanted: Iterable[Selection], cards: Iterable[Card], language: str, reasons: list[str]
) -> Iterator[tuple[Selection, str]]:
    models = list(cards)
    for selection in wanted:
        for card in models:
            asked = selection
            if stack_input(card) is None:
                reason = unsuited_because(selection.image, card, language)
            else:  # by its first slice, whichever of them is asked about: the queue asks once
                asked = replace(selection, index=selection.stack.volume_span(selection.index).start)
                reason = stack_unsuited_because(asked.stack.volume_at(asked.index), card, language)
            if reason:
                reasons.append(reason)
            else:
                yield asked, card.id


def _is_answered(state: State, key: Key, model_id: str) -> bool:
    return any((subject.image_key, subject.model_id) == (key, model_id) for subject in state.answers)
