"""What viewports of one frame of reference share: the place, the window, the size on the screen.

Those of another one (an earlier study of the patient) have no place in common. They go as far as the active one goes.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from medviewer.app.on_screen import identity_of, pane_state, reference_of
from medviewer.app.panes import change_pane, pane_numbers, read_pane
from medviewer.app.state import Cut, Pane, Place, Selection, State, View
from medviewer.domain.study import PixelDescription, Plane, Stack, Window
from medviewer.imaging.display import window_ends
from medviewer.imaging.planes import grid_of, to_image, to_patient
from medviewer.imaging.reslice import PlaneGrid, across, range_mm
from medviewer.imaging.units import value_unit

if TYPE_CHECKING:  # commands act on the application, which holds their table
    from medviewer.app.application import Application

_PARALLEL = 0.9  # of the normals' product: what is less alike does not scroll together
_SAME_RATIO = 1e-6  # as in suv: what is closer to 1 is rounding
_NO_UNITS = frozenset({"NORMALIZED", "UNSPECIFIED"})  # scanners write so of MR, each series to a scale of its own
_MOST_PAIRS = 64
Point = npt.NDArray[np.float64]
Key: TypeAlias = tuple[str, str, int]
"""Of a stack, in this session."""


def follow(app: Application, before: Selection | None = None) -> None:
    """Bring the linked viewports to where the active one is.

    Args:
        app: whose viewports.
        before: what the reader scrolled away from: earlier studies come along by the distance. None: nothing.
    """
    state = app.state
    center = middle_of(state)
    if state.is_linked and center is not None:
        _bring_to(app, center, needs_parallel=True)
        if before is not None:
            _bring_along(app, before)


class Heights:
    """How high the stacks of different frames of reference stand beside each other, in mm along their normals.

    From the first step on, not from step to step: slices are of different thickness, and one stack ends before another.
    """

    def __init__(self) -> None:
        self._began: dict[frozenset[Key], dict[Key, float]] = {}
        self._last: dict[frozenset[Key], dict[Key, float]] = {}

    def target(self, here: tuple[Key, float, float], there: tuple[Key, float], facing: float) -> float:
        """How high another stack is to stand.

        Args:
            here: the stack that was scrolled, and how high it stood before and stands now.
            there: the other, and how high it stands.
            facing: 1 if both count towards one end of the patient, -1 if towards opposite ones.
        """
        (moved, before, now), (other, height) = here, there
        pair = frozenset((moved, other))
        if self._last.get(pair, {}).get(other) != height:  # the reader brought it there by itself
            self._began[pair] = {moved: before, other: height}
        began = self._began[pair]
        return began[other] + facing * (now - began[moved])

    def note(self, moved: Key, now: float, other: Key, height: float) -> None:
        """Remember how high two stacks stand now."""
        pair = frozenset((moved, other))
        while len(self._last) >= _MOST_PAIRS and pair not in self._last:
            oldest = next(iter(self._last))
            del self._last[oldest], self._began[oldest]
        self._last[pair] = {moved: now, other: height}


def goes_along(state: State, other: State | Pane) -> bool:
    """Whether another viewport goes as far as this one: parallel images of the same patient, in another study.

    Within one study another frame of reference says that the patient moved: there nothing goes along.
    """
    now, there = state.selection, other.selection
    if now is None or there is None or state.cut is not None or other.cut is not None:
        return False
    own, its = now.image, there.image
    is_other_study = there.study.study_instance_uid != now.study.study_instance_uid
    is_other_frame = own.frame_of_reference_uid != its.frame_of_reference_uid or not own.frame_of_reference_uid
    is_same_patient = identity_of(now.patient) == identity_of(there.patient)
    are_parallel = _are_parallel(own.description.plane, its.description.plane)
    return is_other_study and is_other_frame and is_same_patient and are_parallel


def _bring_along(app: Application, before: Selection) -> None:
    state = app.state
    now, normal = state.selection, _normal_of(state)
    plane = before.image.description.plane
    if now is None or normal is None or plane is None:
        return
    here = float(_positions(now.stack)[now.index] @ normal)
    for index in pane_numbers(state):
        other = pane_state(state, index)
        there, across_ = other.selection, _normal_of(other)
        if index == state.active or there is None or across_ is None or not goes_along(state, other):
            continue
        height = float(_positions(there.stack)[there.index] @ across_)
        moved = (now.stack_key, float(np.array(plane.position) @ normal), here)
        facing = math.copysign(1.0, float(normal @ across_))
        target = app.heights.target(moved, (there.stack_key, height), facing)
        shown = _show_nearest(app, index, there, target, across_)
        app.heights.note(now.stack_key, here, there.stack_key, float(_positions(there.stack)[shown] @ across_))


def point_at(app: Application, point: tuple[float, float, float]) -> None:
    """Show a place of the patient (LPS mm) in every viewport of the same frame of reference."""
    if all(np.isfinite(point)):
        app.session.update(crosshair=Place(point, reference_of(app.state)))
        _bring_to(app, np.array(point), needs_parallel=False)


def share_view(app: Application, before: State) -> None:
    """Give the other viewports what they share with the active one, whose view is another than it was before.

    The planes of a volume, and its slices beside them, have one window. Linked viewports of one
    frame of reference get the window that the reader changes if their values mean the same (PET: the same SUV;
    MR: the same sequence); those that a hanging protocol or another series brought stay apart until then. They look
    at the same place at the same size if they lie parallel.
    """
    state = app.state
    is_changed = _is_same_arrangement(before, state)
    if state.selection is None:
        return
    for index in state.parked:
        other = pane_state(state, index)
        if other.selection is None:
            continue
        is_cut = state.cut is not None or other.cut is not None
        is_same = is_cut and other.selection.volume_key == state.selection.volume_key
        is_linked = state.is_linked and bool(reference_of(state)) and reference_of(other) == reference_of(state)
        view = other.view
        ratio = 1.0 if is_same else values_ratio(state, other) if is_linked and is_changed else None
        if ratio is not None:
            own = state.view
            shared = window_there(own.window, ratio)
            view = replace(view, window=shared, inverted=own.inverted, palette=own.palette)
        if is_linked and _are_parallel(plane_of(state), plane_of(other)):
            view = _same_place(state, other, view)
        if view != other.view:
            change_pane(app, index, view=view)


def _is_same_arrangement(before: State, now: State) -> bool:
    """Whether the reader works in the same viewport, on the same series, beside the same ones."""
    if before.selection is None or now.selection is None or before.active != now.active:
        return False
    return before.selection.stack_key == now.selection.stack_key and before.parked is now.parked


def scroll_cut(app: Application, steps: int) -> None:
    """Move the active plane by as many of its pixels; positive is towards L, P or H."""
    cut, frame = app.state.cut, app.state.frame
    spacing = frame.description.pixel_spacing_mm if frame is not None else None
    if cut is not None and app.volume is not None:
        step = spacing[0] if spacing is not None else 1.0
        move_cut(app, app.state.active, replace(cut, at_mm=cut.at_mm + steps * step))
        follow(app)


def move_cut(app: Application, index: int, cut: Cut) -> None:
    """Cut another plane of the same volume; the one on screen stays until it is there."""
    if app.volume is None:
        return
    low, high = range_mm(app.volume.volume, cut.plane, cut.axes)
    cut = replace(cut, at_mm=min(max(cut.at_mm, low), high))
    if cut != pane_state(app.state, index).cut:
        change_pane(app, index, cut=cut)
        read_pane(app, index)


def middle_of(state: State) -> Point | None:
    """The middle of the image or plane that a state shows, in LPS mm; None where its place is not known."""
    plane = plane_of(state)
    now = state.selection
    if plane is None or now is None:
        return None
    d = state.frame.description if state.cut is not None and state.frame is not None else now.image.description
    spacing = d.pixel_spacing_mm or (0.0, 0.0)
    right = np.array(plane.row_cosine) * spacing[1] * (d.columns - 1) / 2
    down = np.array(plane.column_cosine) * spacing[0] * (d.rows - 1) / 2
    middle = np.array(plane.position) + right + down
    if state.cut is not None:  # the frame may still be that of the place before
        way = across(state.cut.plane, state.cut.axes)
        middle += way * (state.cut.at_mm - float(middle @ way))
    return np.asarray(middle, np.float64)


def plane_of(state: State) -> Plane | None:
    """Where what a state shows lies in the patient."""
    if state.cut is not None:
        return state.frame.description.plane if state.frame is not None else None
    return state.selection.image.description.plane if state.selection is not None else None


def shown_grid(state: State) -> PlaneGrid | None:
    """The pixels that a state shows as a grid in the patient; None where their place is not known."""
    if state.selection is None:
        return None
    if state.cut is not None:
        return grid_of(state.frame.description) if state.frame is not None else None
    return grid_of(state.selection.image.description)


def _bring_to(app: Application, point: Point, *, needs_parallel: bool) -> None:
    state = app.state
    here, plane = reference_of(state), plane_of(state)
    if not here or plane is None:
        return
    for index in pane_numbers(state):
        other = pane_state(state, index)
        if index == state.active or other.selection is None or reference_of(other) != here:
            continue
        normal = _normal_of(other)
        if normal is None or (needs_parallel and abs(float(normal @ np.array(plane.normal))) < _PARALLEL):
            continue
        if other.cut is not None:
            move_cut(app, index, replace(other.cut, at_mm=float(point @ normal)))
        else:
            _show_nearest(app, index, other.selection, float(point @ normal), normal)


def _show_nearest(app: Application, index: int, selection: Selection, along: float, normal: Point) -> int:
    """Show the slice that is nearest to a height in mm; give which it is."""
    span = selection.stack.volume_span(selection.index)
    away = np.abs(_positions(selection.stack)[span.start : span.stop] @ normal - along)
    if not np.isfinite(away).any():
        return selection.index
    nearest = span[int(np.nanargmin(away))]
    if nearest != selection.index:
        _show(app, index, replace(selection, index=nearest))
    return nearest


@lru_cache(maxsize=16)
def _positions(stack: Stack) -> Point:
    """Where the images of a stack lie, ``(n, 3)`` in LPS mm; NaN where that is not known. Asked at every step."""
    planes = (image.description.plane for image in stack.images)
    return np.array([plane.position if plane is not None else (np.nan,) * 3 for plane in planes], np.float64)


def _show(app: Application, index: int, selection: Selection) -> None:
    """Put another image of the same stack into a viewport that is not the active one."""
    picture = app.frames.get(selection.image.key)
    change_pane(app, index, selection=selection, frame=picture.frame if picture else None, frame_problem="")
    if picture is None:
        read_pane(app, index)
    else:
        app.jobs.stop(f"read {index}")


def values_ratio(state: State, other: State) -> float | None:
    """What a value of one image is as a value of the other, which means the same; None where that is not known.

    Of PET only SUV can be compared: dose, weight and time make another activity of the same uptake.
    """
    if state.selection is None or other.selection is None:
        return None
    here, there = _description_of(state.selection, state), _description_of(other.selection, other)
    modality = state.selection.series.modality
    if modality != other.selection.series.modality:
        return None
    if modality == "PT":
        if here.suv_factor is None or there.suv_factor is None:
            return None
        ratio = here.suv_factor / there.suv_factor
        return 1.0 if abs(ratio - 1) < _SAME_RATIO else ratio
    unit = _unit(here)
    if unit != _unit(there):
        return None
    return 1.0 if unit or _is_one_sequence(state.selection, other.selection) else None


def _unit(description: PixelDescription) -> str:
    """The unit of the values, if the file names one in which an equal number means an equal thing."""
    unit = value_unit(description)
    return "" if unit.upper() in _NO_UNITS else unit


def _is_one_sequence(one: Selection, other: Selection) -> bool:
    """Whether numbers without a unit may be compared: of one series, or of two that were made and named alike.

    Two unknown units may be two units: the grey of an MR means nothing beside that of another sequence, and a window
    of a T1 makes an ADC map black. A reader who repeats a sequence, after contrast medium or in an earlier study of
    one protocol, expects one window. What was calculated of it (ADC, phase) is something else under the same name.
    """
    a, b = one.stack.acquisition, other.stack.acquisition
    if a.image_type != b.image_type or one.image.description.rescale_type != other.image.description.rescale_type:
        return False
    name = one.series.description.strip().casefold()
    is_named_alike = bool(name) and name == other.series.description.strip().casefold()
    uid = one.series.series_instance_uid
    is_same_series = one.series is other.series or (bool(uid) and uid == other.series.series_instance_uid)
    return is_same_series or (is_named_alike and a.protocol_name == b.protocol_name)


def window_there(window: Window | None, ratio: float) -> Window | None:
    """The window that spreads the same values where each of them is ``ratio`` times as large."""
    if window is None or ratio == 1.0:
        return window
    low, high = window_ends(window)
    if window.function == "SIGMOID" or high <= low:
        return replace(window, center=window.center * ratio, width=window.width * ratio)
    # The one value by which LINEAR ends earlier is another value there.
    return Window((low + high) / 2 * ratio, (high - low) * ratio, "LINEAR_EXACT", window.name)


def _description_of(selection: Selection, state: State) -> PixelDescription:
    """What the values on screen are: slices with different factors to SUV have none on a plane through them."""
    if state.cut is not None and state.frame is not None:
        return state.frame.description
    return selection.image.description


def _are_parallel(a: Plane | None, b: Plane | None) -> bool:
    return a is not None and b is not None and abs(float(np.array(a.normal) @ np.array(b.normal))) >= _PARALLEL


def _same_place(state: State, other: State, view: View) -> View:
    """A view with the same part of the patient in the middle, as large on the screen; "fit" is shared as such."""
    here, there = shown_grid(state), shown_grid(other)
    if here is None or there is None:
        return view
    if state.view.zoom is None or state.view.center is None:
        return replace(view, zoom=None, center=None)
    column, row, _ = to_image(there, to_patient(here, *state.view.center))
    return replace(view, zoom=state.view.zoom * there.spacing_mm[1] / here.spacing_mm[1], center=(column, row))


def _normal_of(state: State) -> Point | None:
    if state.cut is not None:
        return across(state.cut.plane, state.cut.axes)
    plane = plane_of(state)
    return np.array(plane.normal) if plane is not None else None
