"""Several viewports: layouts, comparing with a prior, and other planes of a series."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from medviewer.app import analysis
from medviewer.app.linking import Point, follow, middle_of, move_cut, values_ratio, window_there
from medviewer.app.on_screen import identity_of, pane_state, selections
from medviewer.app.opening import select
from medviewer.app.panes import (
    activate,
    change_pane,
    numbers_in,
    pane_numbers,
    read_pane,
    window_of,
)
from medviewer.app.priors import earlier_stacks, is_localizer, prior_of
from medviewer.app.state import Cut, Pane, Selection, State, View
from medviewer.app.whole_stacks import keep_volume, kept_volume, when_all_found
from medviewer.domain.errors import GeometryError, UsageError
from medviewer.domain.measurement import CutPlane
from medviewer.domain.progress import Progress, StopToken
from medviewer.domain.volume import Volume
from medviewer.imaging.reslice import NORMAL_AXIS, PlaneName, Slab, across, axes_of, range_mm

if TYPE_CHECKING:  # commands act on the application, which holds their table
    from medviewer.app.application import Application

LAYOUTS = ((1, 1), (1, 2), (2, 1), (2, 2), (1, 3), (2, 3), (3, 3), (1, 4), (2, 4), (3, 4), (4, 4))
PLANES: tuple[PlaneName, ...] = ("axial", "coronal", "sagittal")
_NO_PRIOR = "No earlier study of this patient with the same modality is open; open its folder too."
_OTHER_SIDE = "The earlier studies that are open show the other side; open one of this side too."
_ONLY_LOCALIZERS = "Only localizers of the earlier studies are open; open the rest of their folders too."


def use_layout(app: Application, shape: tuple[int, int]) -> None:
    """Show as many viewports in the window where the reader works; new ones get the patient's following series."""
    rows, columns = shape
    if (rows, columns) not in LAYOUTS:
        raise UsageError("There is no such layout; layouts have four rows and columns at most.")
    with app.session.arranging():
        _set_shape(app, (rows, columns))
        fill_panes(app)
        follow(app)


def fill_panes(app: Application, numbers: Sequence[int] = ()) -> None:
    """Give every empty viewport, or those of these numbers, the patient's next series that none shows yet."""
    if app.state.reading is not None:
        return  # the reader's viewport only seems to be empty
    shown = {_stack_of(app.state, index) for index in pane_numbers(app.state)}
    following = (one for one in _own_stacks(app.state) if one.stack_key not in shown)
    for index in numbers or pane_numbers(app.state):
        if pane_state(app.state, index).selection is None:
            selection = next(following, None)
            if selection is None:
                return
            _assign(app, index, selection)


def show_again(
    app: Application,
    shapes: tuple[tuple[int, int], tuple[int, int] | None],
    shown: Mapping[int, tuple[Selection, Mapping[str, Any]]],
    active: int,
) -> None:
    """Show images side by side as they were: by viewport, each with changes of its view.

    What the reader has done to the image on screen meanwhile stays. Images of another patient than the one on screen
    are left out: whatever was kept, never two patients side by side.

    Args:
        app: with one of the images on screen.
        shapes: rows and columns of both image windows; None for a second one that stays as it is.
        shown: the image of each viewport, and what differs of its view.
        active: the viewport in which the reader works.
    """
    now = app.state.selection
    if now is None:
        return
    who, seen = identity_of(now.patient), app.state.view
    with app.session.arranging():
        for window, shape in enumerate(shapes):
            if shape is not None:
                if window:
                    app.session.update(second=app.state.second or shape)
                activate(app, numbers_in(app.state, window).start)
                _set_shape(app, shape)
        activate(app, active)
        for index in [one for window, shape in enumerate(shapes) if shape for one in numbers_in(app.state, window)]:
            if index in shown and identity_of(shown[index][0].patient) == who:
                selection, look = shown[index]
                if index == app.state.active:
                    select(app, selection)
                else:
                    _assign(app, index, selection)
                is_same = index == app.state.active and selection.image.key == now.image.key
                change_pane(app, index, view=seen if is_same else View(smooth=seen.smooth, **look))
            elif index != app.state.active:
                change_pane(app, index, selection=None, cut=None, frame=None, frame_problem="")


def compare_with_prior(app: Application, _argument: object) -> None:
    """The image on the left, the most alike of the patient's last comparable earlier study on the right."""
    now = app.state.selection
    if now is None:
        return
    earlier = earlier_stacks(_own_stacks(app.state), now)
    prior = prior_of(earlier, now)
    if prior is None:  # nothing failed: there is nothing to compare with
        usable = [one for one in earlier if not is_localizer(one)]
        app.notify("info", _OTHER_SIDE if usable else _ONLY_LOCALIZERS if earlier else _NO_PRIOR)
        return
    with app.session.arranging():
        _set_shape(app, (1, 2))
        first = numbers_in(app.state, window_of(app.state.active)).start
        other = first + 1 if app.state.active == first else first
        _assign(app, other, prior)
        there = pane_state(app.state, other)
        ratio = values_ratio(app.state, there) if now.series.modality in ("CT", "PT") else None
        if ratio is not None:  # one scale of values: compare at one window
            window = window_there(app.state.view.window, ratio)
            change_pane(app, other, view=replace(there.view, window=window))


def toggle_second(app: Application, _argument: object) -> None:
    """Open a second image window, for another screen, with the patient's following series; or close it."""
    with app.session.arranging():
        if app.state.second is not None:
            _close_second(app)
            return
        shape = app.front.second_layout()
        app.session.update(second=shape if shape in LAYOUTS else (1, 1))
        fill_panes(app)
        follow(app)


def to_next_screen(app: Application, _argument: object) -> None:
    """Move the window in which the reader works to the next screen."""
    if not app.front.to_next_screen():
        app.notify("info", "There is only one screen.")


def _close_second(app: Application) -> None:
    """The reader goes on in the first window; what was being read for the second is given up."""
    gone = numbers_in(app.state, 1)
    if app.state.active in gone:
        activate(app, next(iter(_with_images(app.state, 0)), 0))
    for index in gone:
        app.jobs.stop(f"read {index}")
        app.cuts.pop(index, None)
        app.presented.pop(index, None)
    parked = {index: pane for index, pane in app.state.parked.items() if index not in gone}
    maximised = app.state.maximised.difference(gone)
    app.session.settle()
    app.session.update(second=None, parked=MappingProxyType(parked), maximised=maximised)


def _with_images(state: State, window: int) -> Iterator[int]:
    return (index for index in numbers_in(state, window) if pane_state(state, index).selection is not None)


def show_planes(app: Application, _argument: object) -> None:
    """Axial, coronal and sagittal through the series on screen, beside its images; or the images alone again."""
    state = app.state
    now = state.selection
    if now is None:
        return
    if _cut_panes(state):
        with app.session.arranging():
            _leave_planes(app)
        return
    read_volume_of(app, now, lambda volume: _lay_out_planes(app, volume))


def show_plane(app: Application, selection: Selection, cut: CutPlane) -> None:
    """Show the plane of a stack on which something was measured, as it was cut then."""

    def turn() -> None:
        wanted = cut_like(cut)
        index = next(i for i in _cut_panes(app.state) if _plane_name(app.state, i) == wanted.plane)
        activate(app, index)
        move_cut(app, index, wanted)

    def lay_out(volume: Volume) -> None:
        _lay_out_planes(app, volume)
        turn()

    now = app.state.selection
    if now is not None and now.volume_key == selection.volume_key and len(_cut_panes(app.state)) == len(PLANES):
        turn()
        return
    if _cut_panes(app.state):
        _leave_planes(app)
    select(app, selection)
    read_volume_of(app, selection, lay_out)


def cut_like(cut: CutPlane) -> Cut:
    """The cut that gives a plane again: of the patient's plane that it is most like, tilted if it was."""
    axes = cut.plane.row_cosine, cut.plane.column_cosine
    normal = np.abs(np.cross(*axes))
    name = max(PLANES, key=lambda n: float(normal[NORMAL_AXIS[n]]))
    tilted = None if axes == axes_of(name) else axes
    at_mm = float(across(name, tilted) @ np.array(cut.plane.position))
    slab: Slab = "max" if cut.slab == "max" else "min" if cut.slab == "min" else "mean"
    return Cut(name, at_mm, cut.slab_mm, slab, tilted)


def read_volume_of(app: Application, wanted: Selection, then: Callable[[Volume], None]) -> None:
    """Read the slices that planes are cut from, all of them, and go on if the reader has not gone elsewhere meanwhile.

    Where files are still being found it waits for the rest of the stack.
    """

    def read() -> None:
        grown = next((one for one in selections(app.state.collection) if one.image.key == wanted.image.key), None)
        if grown is not None:
            _read_volume(app, grown, then)

    when_all_found(app, read)


def _read_volume(app: Application, wanted: Selection, then: Callable[[Volume], None]) -> None:
    now = app.state.selection
    kept = kept_volume(app, wanted)
    if kept is not None:
        then(kept)
        return

    def done(volume: Volume) -> None:
        latest = app.state.selection
        if latest is not None and now is not None and latest.volume_key == now.volume_key:
            keep_volume(app, wanted, volume)
            then(volume)
            app.measured.volume_arrived()

    def work(stop: StopToken, progress: Progress) -> Volume:
        return analysis.read_slices(wanted.stack.volume_at(wanted.index), stop, progress)

    app.start_job("volume", work, done)


def cut_through(volume: Volume, name: PlaneName, point: Point) -> Cut:
    """The plane of that name through a point (LPS mm), or as near to it as the volume reaches."""
    low, high = range_mm(volume, name)
    return Cut(name, min(max(float(point[NORMAL_AXIS[name]]), low), high))


def use_slab(app: Application, choice: tuple[float, Slab]) -> None:
    """Make the planes on screen as thick, and combine the values so."""
    thickness, kind = choice
    with app.session.arranging():
        for index in _cut_panes(app.state):
            cut = pane_state(app.state, index).cut
            if cut is not None:
                move_cut(app, index, replace(cut, slab_mm=thickness, slab=kind))


def maximise(app: Application, _argument: object) -> None:
    """Give the active viewport the whole room of its window, or the others theirs back."""
    state = app.state
    own = numbers_in(state, window_of(state.active))
    others = state.maximised.difference(own)
    is_alone = len(own) == 1 or others != state.maximised
    app.session.update(maximised=others if is_alone else others | {state.active})


def toggle_link(app: Application, _argument: object) -> None:
    """Scroll viewports of one frame of reference together, or each by itself."""
    app.session.update(is_linked=not app.state.is_linked)


def _lay_out_planes(app: Application, volume: Volume) -> None:
    """Axial, coronal and sagittal where the image on screen is, and the images themselves in the fourth."""
    if app.state.cut is not None:
        return  # somebody else was quicker: what is on screen is no stored image
    selection = app.state.selection
    center = middle_of(app.state)
    if center is None:
        raise GeometryError("The image's place in the patient is not known, so no other plane can be cut.")
    now = app.state.view
    view = View(smooth=now.smooth, window=now.window, inverted=now.inverted, palette=now.palette)
    presentation = now.presentation
    kept = replace(view, presentation=presentation) if presentation else view
    stored = Pane(selection, None, app.state.frame, app.state.frame_problem, kept)
    if presentation:
        app.notify("info", "The presentation state is for the stored images: they keep it, the planes are without it.")
    own = numbers_in(app.state, window_of(app.state.active))
    start = own.start
    panes = {index: pane for index, pane in app.state.parked.items() if index not in own}
    panes[start + 3] = stored
    for index, name in enumerate(PLANES[1:], start=start + 1):
        panes[index] = Pane(selection, cut_through(volume, name, center), None, "", view)
    app.session.settle()
    with app.session.arranging():
        app.session.update(
            **_shaped(app.state, (2, 2)), active=start, parked=MappingProxyType(panes), selection=selection,
            cut=cut_through(volume, PLANES[0], center), frame=None, frame_problem="", view=view,
        )  # fmt: skip
    for index in range(start, start + len(PLANES)):
        read_pane(app, index)


def _leave_planes(app: Application) -> None:
    """The images alone; the place that the reader had scrolled to among them stays."""
    state = app.state
    own = numbers_in(state, window_of(_cut_panes(state)[0]))
    index = next((i for i in own if _shows_images(pane_state(state, i))), None)
    for other in own:
        app.jobs.stop(f"read {other}")
    if index is not None or app.state.active not in own:
        activate(app, own.start if index is None else index)
    app.session.update(cut=None)
    _set_shape(app, (1, 1))
    if app.state.frame is None or index is None:
        app.session.update(frame=None)
        read_pane(app, app.state.active)
    app.cuts.clear()


def _plane_name(state: State, index: int) -> PlaneName | None:
    cut = pane_state(state, index).cut
    return cut.plane if cut is not None else None


def _shows_images(state: State) -> bool:
    return state.selection is not None and state.cut is None


def _cut_panes(state: State) -> list[int]:
    return [index for index in pane_numbers(state) if pane_state(state, index).cut is not None]


def _set_shape(app: Application, shape: tuple[int, int]) -> None:
    """As many viewports in the reader's window; the active one stays, as the first if its place is gone."""
    state = app.state
    own = numbers_in(state, window_of(state.active))
    kept = range(own.start, own.start + shape[0] * shape[1])
    gone = [index for index in own if index not in kept]
    active = state.active if state.active in kept else own.start
    parked = {index: pane for index, pane in state.parked.items() if index not in (*gone, active)}
    for index in gone:
        app.jobs.stop(f"read {index}")
    if active != state.active:
        app.jobs.stop(f"read {active}")
    app.session.settle()
    app.session.update(**_shaped(state, shape), active=active, parked=MappingProxyType(parked))
    if app.state.frame is None and not app.state.frame_problem and active != state.active:
        read_pane(app, active)


def _shaped(state: State, shape: tuple[int, int]) -> dict[str, Any]:
    """The changes that give the window where the reader works another shape, with all its viewports to be seen."""
    window = window_of(state.active)
    changes = {"second" if window else "layout": shape}
    return {**changes, "maximised": state.maximised.difference(numbers_in(state, window))}


def _assign(app: Application, index: int, selection: Selection) -> None:
    """Show a stack in a viewport that is not the active one."""
    view = app.wishes.views.get(selection.stack_key, View(smooth=app.state.view.smooth))
    picture = app.frames.get(selection.image.key)
    change_pane(
        app, index, selection=selection, cut=None, frame=picture.frame if picture else None, frame_problem="", view=view
    )
    if picture is None:
        read_pane(app, index)


def _own_stacks(state: State) -> Iterator[Selection]:
    """The stacks of the patient on screen: of this study first, then of the others."""
    shown = (pane_state(state, index).selection for index in (state.active, *pane_numbers(state)))
    now = next((one for one in shown if one is not None), None)
    if now is None:
        return
    who = identity_of(now.patient)
    own = [one for one in selections(state.collection) if one.index == 0 and identity_of(one.patient) == who]
    own.sort(key=lambda one: one.study is not now.study)  # stable: the order of display within both
    yield from own


def _stack_of(state: State, index: int) -> object:
    selection = pane_state(state, index).selection
    return selection.stack_key if selection is not None else None
