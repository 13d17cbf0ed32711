"""Several viewports: layouts, comparing with a prior, and other planes of a series."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from medviewer.app import analysis
from medviewer.app.linking import Point, middle_of, move_cut
from medviewer.app.on_screen import pane_state, selections
from medviewer.app.opening import select
from medviewer.app.panes import activate, change_pane, count, read_pane
from medviewer.app.patient import identity_of
from medviewer.app.state import Cut, Pane, Selection, State, View
from medviewer.domain.errors import GeometryError, UsageError
from medviewer.domain.measurement import CutPlane
from medviewer.domain.progress import Progress, StopToken
from medviewer.domain.volume import Volume
from medviewer.imaging.reslice import NORMAL_AXIS, PlaneName, Slab, across, axes_of, range_mm

if TYPE_CHECKING:  # commands act on the application, which holds their table
    from medviewer.app.application import Application

LAYOUTS = ((1, 1), (1, 2), (2, 1), (2, 2), (1, 3), (2, 3), (3, 3), (1, 4), (2, 4), (3, 4), (4, 4))
PLANES: tuple[PlaneName, ...] = ("axial", "coronal", "sagittal")


def use_layout(app: Application, shape: tuple[int, int]) -> None:
    """Show as many viewports; new ones get the patient's following series."""
    rows, columns = shape
    if (rows, columns) not in LAYOUTS:
        raise UsageError("There is no such layout; layouts have four rows and columns at most.")
    _set_shape(app, (rows, columns))
    shown = {_stack_of(app.state, index) for index in range(count(app.state))}
    following = (one for one in _own_stacks(app.state) if one.stack_key not in shown)
    for index in range(count(app.state)):
        if pane_state(app.state, index).selection is None:
            selection = next(following, None)
            if selection is None:
                return
            _assign(app, index, selection)


def compare_with_prior(app: Application, _argument: object) -> None:
    """The image on the left, the patient's last earlier study of the same kind on the right."""
    now = app.state.selection
    if now is None:
        return
    prior = _prior_of(app.state, now)
    if prior is None:
        # Nothing failed: there is nothing to compare with.
        app.notify("info", "No earlier study of this patient with the same modality is open; open its folder too.")
        return
    _set_shape(app, (1, 2))
    other = 1 - app.state.active
    _assign(app, other, prior)
    is_same_kind = prior.image.description.rescale_type == now.image.description.rescale_type
    if is_same_kind and now.series.modality in ("CT", "PT"):  # one scale of values: compare at one window
        change_pane(app, other, view=replace(pane_state(app.state, other).view, window=app.state.view.window))


def show_planes(app: Application, _argument: object) -> None:
    """Axial, coronal and sagittal through the series on screen, beside its images; or the images alone again."""
    state = app.state
    now = state.selection
    if now is None:
        return
    if _cut_panes(state):
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
    """Read the slices that planes are cut from, and go on if the reader has not gone elsewhere meanwhile."""
    now = app.state.selection
    if app.volume is not None and app.volume[0] == wanted.volume_key:
        then(app.volume[1])
        return

    def done(volume: Volume) -> None:
        latest = app.state.selection
        if latest is not None and now is not None and latest.volume_key == now.volume_key:
            app.volume = (wanted.volume_key, volume)
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
    for index in _cut_panes(app.state):
        cut = pane_state(app.state, index).cut
        if cut is not None:
            move_cut(app, index, replace(cut, slab_mm=thickness, slab=kind))


def maximise(app: Application, _argument: object) -> None:
    """Give the active viewport the whole room, or the others theirs back."""
    app.session.update(is_maximised=not app.state.is_maximised and app.state.layout != (1, 1))


def toggle_link(app: Application, _argument: object) -> None:
    """Scroll viewports of one frame of reference together, or each by itself."""
    app.session.update(is_linked=not app.state.is_linked)


def _lay_out_planes(app: Application, volume: Volume) -> None:
    """Axial, coronal and sagittal where the image on screen is, and the images themselves in the fourth."""
    selection = app.state.selection
    center = middle_of(app.state)
    if center is None:
        raise GeometryError("The image's place in the patient is not known, so no other plane can be cut.")
    view = replace(View(smooth=app.state.view.smooth), window=app.state.view.window, inverted=app.state.view.inverted)
    stored = Pane(selection, None, app.state.frame, app.state.frame_problem, view)
    panes: dict[int, Pane] = {3: stored}
    for index, name in enumerate(PLANES):
        panes[index] = Pane(selection, cut_through(volume, name, center), None, "", view)
    app.session.settle()
    first = panes.pop(0)
    app.session.update(
        layout=(2, 2), is_maximised=False, active=0, parked=MappingProxyType(panes), selection=first.selection,
        cut=first.cut, frame=None, frame_problem="", view=view,
    )  # fmt: skip
    for index in range(3):
        read_pane(app, index)


def _leave_planes(app: Application) -> None:
    """The images alone; the place that the reader had scrolled to among them stays."""
    state = app.state
    index = next((i for i in range(count(state)) if _shows_images(pane_state(state, i))), None)
    for other in range(count(state)):
        app.jobs.stop(f"read {other}")
    if index is not None:
        activate(app, index)
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
    return [index for index in range(count(state)) if pane_state(state, index).cut is not None]


def _set_shape(app: Application, shape: tuple[int, int]) -> None:
    """As many viewports; the active one stays, as the first if its place is gone."""
    state = app.state
    n = shape[0] * shape[1]
    parked = {index: pane for index, pane in state.parked.items() if index < n}
    active = state.active if state.active < n else 0
    parked.pop(active, None)
    for index in range(n, count(state)):
        app.jobs.stop(f"read {index}")
    if active != state.active:
        app.jobs.stop(f"read {active}")
    app.session.settle()
    app.session.update(layout=shape, is_maximised=False, active=active, parked=MappingProxyType(parked))
    if app.state.frame is None and not app.state.frame_problem and active != state.active:
        read_pane(app, active)


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
    now = state.selection
    if now is None:
        return
    who = identity_of(now.patient)
    own = [one for one in selections(state.collection) if one.index == 0 and identity_of(one.patient) == who]
    own.sort(key=lambda one: one.study is not now.study)  # stable: the order of display within both
    yield from own


def _prior_of(state: State, now: Selection) -> Selection | None:
    """The last earlier study's series of the same modality, with the same view and body part if there is one."""
    found = [
        one
        for one in _own_stacks(state)
        if one.study is not now.study
        and one.series.modality == now.series.modality
        and (one.study.date, one.study.time) < (now.study.date, now.study.time)
    ]
    if not found:
        return None
    found.sort(key=lambda one: (_likeness(one, now), one.study.date, one.study.time), reverse=True)
    # Another frame of reference has no common place: as far along the stack is where a reader looks first.
    share = now.index % now.stack.slices / max(now.stack.slices - 1, 1)
    return replace(found[0], index=round(share * (found[0].stack.slices - 1)))


def _likeness(one: Selection, other: Selection) -> int:
    a, b = one.image.description, other.image.description
    return 2 * (a.view_position == b.view_position) + (a.body_part_examined == b.body_part_examined)


def _stack_of(state: State, index: int) -> object:
    selection = pane_state(state, index).selection
    return selection.stack_key if selection is not None else None
