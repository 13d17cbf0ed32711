"""What a model is asked of what is on screen: the image that is there already, or the whole stack, read first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from medviewer.app import analysis
from medviewer.app.analysis import Question
from medviewer.app.on_screen import asked_key, asks_of_stack
from medviewer.app.state import Key, Selection, State
from medviewer.app.views import is_of_views, views_beside
from medviewer.app.whole_stacks import kept_volume
from medviewer.domain.answer import Subject
from medviewer.domain.errors import GeometryError, InputError, ModelError, UsageError
from medviewer.domain.frame import Frame
from medviewer.domain.progress import Progress, StopToken
from medviewer.domain.study import Stack
from medviewer.domain.volume import Volume
from medviewer.imaging.decode import read_frame
from medviewer.inference.suitability import UNPLACED, stack_problem
from medviewer.records.record import PatientRecord

if TYPE_CHECKING:  # commands act on the application, which holds their table
    from medviewer.app.application import Application

STILL_FOUND = "The files are still being looked at, and this model needs the whole stack: run it when they all are."
CUT_SHORT = "Opening was stopped before all files were looked at, and this model needs the whole stack: open it again."
VIEWS_STILL_FOUND = (
    "Not all files were looked at, and this model needs all views of the study: open it whole and run it then."
)

Prepare = Callable[[StopToken, Progress], Question]
"""Makes a question where the work is done: reading a stack takes seconds, and can be stopped."""


def key_of(state: State, selection: Selection) -> Key:
    """By which image goes what the chosen model is asked of a selection."""
    return selection.volume_key if asks_of_stack(state) else selection.image.key


def confirmation_of(app: Application, key: Key, model_id: str) -> Subject:
    """What a reader's confirmation is of: one image, and one model by its card, which says what was confirmed.

    Raises:
        UsageError, ModelError: the model cannot be used.
    """
    return Subject(key, model_id, app.engine.catalogue.card(model_id).document_sha256)


def confirmed_for(app: Application, key: Key, model_id: str) -> frozenset[str]:
    """Which guards of a model the reader has confirmed for an image, by their codes; none where it cannot be used."""
    try:
        return app.state.confirmed.get(confirmation_of(app, key, model_id), frozenset())
    except (UsageError, ModelError):  # asking will say why
        return frozenset()


def partial_because(app: Application) -> str:
    """Why what is on screen may be a part of a stack, which no model may be asked about as if it were all of it.

    One sentence; empty where all files have been looked at.
    """
    if app.wishes.is_whole:
        return ""
    return STILL_FOUND if "open" in app.jobs.running else CUT_SHORT


def question_of(app: Application, now: Selection) -> Prepare:
    """What the chosen model is asked of the image on screen, or of the stack that it is of.

    Slices that are in memory already, as planes are cut from them, are not read again.

    Raises:
        UsageError: the image is still being read.
    """
    state = app.state
    if state.frame is None:
        raise UsageError("The image is still being read: try again when it is shown.")
    confirmed = confirmed_for(app, asked_key(state) or now.image.key, state.model_id)
    if not asks_of_stack(state):
        case = analysis.build_case(_doubted(state.frame, now), now.patient, now.study, state.record, confirmed)
        return _with_views(app, now, Question(case, state.model_id, state.language))
    stack = now.stack.volume_at(now.index)
    # Planes are cut through more than any model is given.
    kept = kept_volume(app, now) if not stack_problem(stack) else None

    def read(stop: StopToken, progress: Progress) -> Question:
        volume = kept if kept is not None else read_stack(stack, stop, progress)
        case = analysis.build_stack_case(volume, now.patient, now.study, state.record, confirmed)
        return Question(case, state.model_id, state.language)

    return read


def _doubted(frame: Frame, now: Selection) -> Frame:
    """The pixels on screen with what was found out of their file since they were read."""
    new = tuple(one for one in now.image.warnings if one not in frame.caveats)
    return replace(frame, caveats=(*new, *frame.caveats)) if new else frame


def _with_views(app: Application, now: Selection, question: Question) -> Prepare:
    """The question with the other views of the study, read for it, where the model is one of several views.

    Raises:
        UsageError: files are still being looked at, so that a view may be missing, or a second one of it.
    """
    card = app.engine.catalogue.card(question.model_id)
    if not is_of_views(card):
        return lambda _stop, _progress: question
    if partial_because(app):
        raise UsageError(VIEWS_STILL_FOUND)
    others = views_beside(now, card)

    def read(stop: StopToken, _progress: Progress) -> Question:
        frames = tuple(read_frame(image, stop=stop) for image in others)
        return replace(question, case=replace(question.case, images=(*question.case.images, *frames)))

    return read


def question_behind(
    app: Application, selection: Selection, model_id: str, record: PatientRecord | None = None
) -> Prepare:
    """What a model is asked behind the reader's back of an image, or of the stack that it is of, read for it.

    With the ``record`` of its patient, as what is on screen is asked about: it may tell an age that the file does not.
    """
    state, now = app.state, selection
    key = now.volume_key if model_id in state.stack_models else now.image.key
    confirmed = confirmed_for(app, key, model_id)

    def read(stop: StopToken, progress: Progress) -> Question:
        if model_id in state.stack_models:
            volume = read_stack(now.stack.volume_at(now.index), stop, progress)
            case = analysis.build_stack_case(volume, now.patient, now.study, record, confirmed)
        else:
            case = analysis.build_case(read_frame(now.image, stop=stop), now.patient, now.study, record, confirmed)
        return Question(case, model_id, state.language)

    return read


def read_stack(stack: Stack, stop: StopToken, progress: Progress) -> Volume:
    """The slices for a model of whole stacks.

    Args:
        stack: one volume, as :meth:`~medviewer.domain.study.Stack.volume_at` gives it.
        stop: gives up between slices.
        progress: told after each slice.

    Raises:
        InputError: they are no volume that a model could be given; one sentence that says why.
        Stopped: ``stop`` was used.
    """
    if problem := stack_problem(stack):
        raise InputError(problem)
    try:
        return analysis.read_slices(stack, stop, progress)
    except GeometryError as error:  # which speaks of other planes
        raise InputError(UNPLACED) from error


def nearest_slice(now: Selection, point: np.ndarray) -> int:
    """The index of the image of the volume on screen that lies nearest to a place (LPS mm)."""
    span = now.stack.volume_span(now.index)
    away = []
    for index in span:
        plane = now.stack.images[index].description.plane
        away.append(abs(float((point - np.array(plane.position)) @ np.array(plane.normal))) if plane else np.inf)
    return span[int(np.argmin(away))]
