"""Moving from one volume of a stack to the next: in time, along b-values, through echoes. The place stays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from typing import TYPE_CHECKING

from medviewer.app import analysis
from medviewer.app.on_screen import pane_state
from medviewer.app.opening import select
from medviewer.app.panes import change_pane, pane_numbers, read_pane
from medviewer.app.picture import Picture
from medviewer.app.state import Cut, Selection, State
from medviewer.app.whole_stacks import keep_volume
from medviewer.domain.progress import Progress, StopToken
from medviewer.domain.volume import Volume

if TYPE_CHECKING:  # commands act on the application, which holds their table
    from medviewer.app.application import Application


def has_volumes(state: State) -> bool:
    """Whether the stack on screen holds several volumes."""
    return state.selection is not None and state.selection.stack.axis is not None


def step_volume(step: int) -> Callable[[Application, object], None]:
    """A command that moves along the second axis."""

    def run(app: Application, _argument: object) -> None:
        if app.state.selection is not None:
            show_volume(app, app.state.selection.volume_number + step)

    return run


def show_volume(app: Application, number: int) -> None:
    """Show the same place in another volume, counted from 0; before the first is the first.

    Planes that are cut from this stack move together with its images: their volume is read first,
    and what is on screen stays until all of it is there.
    """
    now = app.state.selection
    if now is None or now.stack.axis is None:
        return
    bounded = min(max(int(number), 0), now.stack.axis.size - 1)
    if bounded == now.volume_number:
        return
    cuts = _cuts_of(app.state, now)
    if cuts:
        _read_and_cut(app, now, bounded, cuts)
    else:
        select(app, now.in_volume(bounded))


def _cuts_of(state: State, now: Selection) -> set[Cut]:
    """The planes on screen that are cut from this stack."""
    panes = (pane_state(state, index) for index in pane_numbers(state))
    return {
        pane.cut
        for pane in panes
        if pane.cut is not None and pane.selection is not None and pane.selection.stack_key == now.stack_key
    }


def _read_and_cut(app: Application, now: Selection, number: int, cuts: Set[Cut]) -> None:
    target = now.in_volume(number)

    def work(stop: StopToken, progress: Progress) -> tuple[Volume, dict[Cut, Picture]]:
        volume = analysis.read_slices(target.stack.volume_at(target.index), stop, progress)
        return volume, {cut: analysis.make_cut(volume, cut) for cut in cuts}

    def done(made: tuple[Volume, dict[Cut, Picture]]) -> None:
        volume, pictures = made
        if _cuts_of(app.state, now):  # else the reader has left the planes
            keep_volume(app, target, volume)
            for index in pane_numbers(app.state):
                _move_pane(app, index, target, pictures)
            app.measured.volume_arrived()

    app.start_job("volume", work, done)


def _move_pane(app: Application, index: int, target: Selection, pictures: Mapping[Cut, Picture]) -> None:
    """Show the other volume in a viewport of this stack: its words and its pixels change at once."""
    pane = pane_state(app.state, index)
    if pane.selection is None or pane.selection.stack_key != target.stack_key:
        return
    moved = pane.selection.in_volume(target.volume_number)
    # A plane that was moved while its volume was read has no picture yet.
    picture = app.frames.get(moved.image.key) if pane.cut is None else pictures.get(pane.cut)
    if picture is not None and pane.cut is not None:
        app.cuts[index] = picture
    change_pane(app, index, selection=moved, frame=picture.frame if picture else None, frame_problem="")
    if picture is None:
        read_pane(app, index)
    else:
        app.jobs.stop(f"read {index}")
