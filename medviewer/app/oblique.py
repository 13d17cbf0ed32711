"""Oblique planes: the three planes of a volume turned about the place where they meet."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from medviewer.app.linking import move_cut
from medviewer.app.on_screen import pane_state
from medviewer.app.panes import pane_numbers
from medviewer.app.state import Cut, State
from medviewer.imaging.reslice import Axes, across, axes_of

if TYPE_CHECKING:  # commands act on the application, which holds their table
    from medviewer.app.application import Application

STEP_DEGREES = 5.0
Vector = npt.NDArray[np.float64]


class PlaneMoved(NamedTuple):
    """The plane of a viewport is to go through a place of the patient (LPS mm)."""

    pane: int
    through: tuple[float, float, float]


def turn(app: Application, degrees: float) -> None:
    """Turn the other planes about the normal of the active one, counter-clockwise as its viewport shows it."""
    cuts = cuts_of(app.state)
    active = cuts.get(app.state.active)
    meet = meeting_place(cuts)
    if active is None or meet is None or not math.isfinite(degrees):
        return
    view = app.state.view
    is_mirrored = view.flip_horizontal != view.flip_vertical
    right, down = (np.array(axis, np.float64) for axis in active.axes or axes_of(active.plane))
    # Towards the reader: seen against it, a positive angle turns counter-clockwise.
    axis = np.cross(down, right) * (-1.0 if is_mirrored else 1.0)
    rotation = _rotation(axis, math.radians(degrees))
    with app.session.arranging("tilt"):  # the steps of a drag are undone together
        for index, cut in cuts.items():
            if index != app.state.active:
                move_cut(app, index, _through(_turned(cut, rotation), meet))


def turn_by(steps: int) -> Callable[[Application, object], None]:
    """A command that turns the other planes by so many steps."""
    return lambda app, _argument: turn(app, steps * STEP_DEGREES)


def straighten(app: Application, _argument: object) -> None:
    """Make the planes axial, coronal and sagittal again, where they meet."""
    cuts = cuts_of(app.state)
    meet = meeting_place(cuts)
    with app.session.arranging():
        for index, cut in cuts.items():
            if cut.axes is not None:
                straight = replace(cut, axes=None)
                move_cut(app, index, _through(straight, meet) if meet is not None else straight)


def move_plane(app: Application, moved: PlaneMoved) -> None:
    """Move the plane of a viewport so that it goes through a place."""
    cut = cuts_of(app.state).get(moved.pane)
    if cut is not None and all(math.isfinite(value) for value in moved.through):
        move_cut(app, moved.pane, _through(cut, np.array(moved.through)))


def has_planes(state: State) -> bool:
    """Whether three planes of one volume are on screen, the active viewport showing one of them."""
    cuts = cuts_of(state)
    return state.active in cuts and len(cuts) == 3


def is_tilted(state: State) -> bool:
    """Whether any plane on screen is oblique."""
    return any(cut.axes is not None for cut in cuts_of(state).values())


def cuts_of(state: State) -> dict[int, Cut]:
    """The planes on screen, by their viewport."""
    if state.reading is not None:
        return {}  # a document is in front of them
    found = ((index, pane_state(state, index).cut) for index in pane_numbers(state))
    return {index: cut for index, cut in found if cut is not None}


def meeting_place(cuts: dict[int, Cut]) -> Vector | None:
    """Where three planes meet, in LPS mm; None if there are not three."""
    if len(cuts) != 3:
        return None
    normals = np.array([across(cut.plane, cut.axes) for cut in cuts.values()])
    if abs(np.linalg.det(normals)) < 1e-6:
        return None
    return np.asarray(np.linalg.solve(normals, np.array([cut.at_mm for cut in cuts.values()])), np.float64)


def _through(cut: Cut, place: Vector) -> Cut:
    return replace(cut, at_mm=float(across(cut.plane, cut.axes) @ place))


def _turned(cut: Cut, rotation: Vector) -> Cut:
    right, down = (rotation @ np.array(axis, np.float64) for axis in cut.axes or axes_of(cut.plane))
    right /= np.linalg.norm(right)  # many small turns must not add up to a skew
    down -= right * float(right @ down)
    down /= np.linalg.norm(down)
    axes: Axes = (_triple(right), _triple(down))
    straight = axes_of(cut.plane)
    return replace(cut, axes=None if np.allclose(axes, straight, atol=1e-9) else axes)


def _rotation(axis: Vector, angle: float) -> Vector:
    """Rodrigues' formula: the matrix that turns by ``angle`` (radians, right-handed) about a unit vector."""
    x, y, z = axis
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.asarray(np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * (cross @ cross), np.float64)


def _triple(vector: Vector) -> tuple[float, float, float]:
    return float(vector[0]), float(vector[1]), float(vector[2])
