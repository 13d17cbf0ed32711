"""When a command makes sense: questions to the state that the rows of :mod:`medviewer.app.commands` ask."""

from __future__ import annotations

from medviewer.app import documents, panes
from medviewer.app.on_screen import asked_key, current_answer, decidable_answer, scene_of, shutters_of
from medviewer.app.state import JobStatus, State


def always(_state: State) -> bool:
    """At any time."""
    return True


def has_image(state: State) -> bool:
    """Whether an image is in the active viewport."""
    return state.selection is not None


def has_images(state: State) -> bool:
    """Whether any viewport shows something, also while the reader is in an empty one."""
    shown = (state.selection, *(pane.selection for pane in state.parked.values()))
    return not documents.is_reading(state) and any(one is not None for one in shown)


def has_view(state: State) -> bool:
    """Whether there is an image or a page to look at."""
    return state.selection is not None or documents.is_reading(state)


def has_pixels(state: State) -> bool:
    """Whether the pixels of the image are there."""
    return state.frame is not None


def has_grey_levels(state: State) -> bool:
    """Whether the pixels of the image are there, and in no colours of their own."""
    return state.frame is not None and not state.frame.is_color


def has_shutters(state: State) -> bool:
    """Whether a part of the image is covered."""
    return shutters_of(state) is not None


def has_panes(state: State) -> bool:
    """Whether there are several viewports to go to."""
    return len(panes.pane_numbers(state)) > 1 and not documents.is_reading(state)


def has_hangings(state: State) -> bool:
    """Whether there are hanging protocols for what is open."""
    return state.selection is not None and bool(state.hanging)


def has_cut(state: State) -> bool:
    """Whether a viewport shows a reformatted plane."""
    is_seen = not documents.is_reading(state)
    return is_seen and (state.cut is not None or any(pane.cut is not None for pane in state.parked.values()))


def has_stack(state: State) -> bool:
    """Whether the image has others beside it in its stack."""
    return state.selection is not None and len(state.selection.stack.images) > 1


def has_scene(state: State) -> bool:
    """Whether the 3D view is open."""
    return scene_of(state) is not None


def has_answer(state: State) -> bool:
    """Whether a model has answered about what is on screen."""
    return current_answer(state) is not None


def may_decide(state: State) -> bool:
    """Whether there is an answer that the reader may accept or reject."""
    return decidable_answer(state) is not None


def may_run(state: State) -> bool:
    """Whether a model may be run on what is on screen."""
    return asked_key(state) is not None and bool(state.model_id) and not state.record_mismatch


def has_stored_image(state: State) -> bool:
    """Whether the image is one of a file, not a plane cut by us."""
    return state.selection is not None and state.cut is None


def has_collection(state: State) -> bool:
    """Whether anything is open."""
    return bool(state.collection.patients)


def has_restorable(state: State) -> bool:
    """Whether there is a session to go back to."""
    return state.restorable is not None


def shown_job(state: State) -> JobStatus | None:
    """The job that the status bar shows and Cancel ends: the latest; what is being opened only while nothing else runs.

    Who cancels a model must not lose the rest of a series that is still being found.
    """
    others = (job for job in reversed(state.jobs) if job.name != "open")
    return next(others, state.jobs[0] if state.jobs else None)


def has_jobs(state: State) -> bool:
    """Whether anything is running."""
    return bool(state.jobs)
