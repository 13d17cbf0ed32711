"""Cine: the images of the active viewport follow each other by themselves, through the slices or in time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from medviewer.app.linking import scroll_cut
from medviewer.app.opening import first_image, show_index
from medviewer.app.second_axis import show_volume
from medviewer.app.state import Selection, State

if TYPE_CHECKING:  # commands act on the application, which holds their table
    from medviewer.app.application import Application

USUAL_RATE_HZ = 15.0  # where the file does not say
PACE_STEP = 1.25
PACES = (0.1, 10.0)  # times the own rate
_RATES_HZ = (1.0, 60.0)  # between which the true pace can be followed by eye
_SHOWN_HZ = (0.5, 60.0)  # no screen shows more


def toggle(app: Application, _argument: object) -> None:
    """Play the stack of the active viewport, or stop."""
    app.session.update(is_playing=not app.state.is_playing)


def toggle_way(app: Application, _argument: object) -> None:
    """Play along the other axis: through the slices instead of in time, or the reverse."""
    app.session.update(plays_other_way=not app.state.plays_other_way)


def change_pace(steps: int) -> Callable[[Application, object], None]:
    """A command that plays faster (or slower) by steps; none: at the own rate again."""

    def run(app: Application, _argument: object) -> None:
        pace = app.state.cine_pace * PACE_STEP**steps if steps else 1.0
        app.session.update(cine_pace=1.0 if abs(pace - 1.0) < 1e-6 else min(max(pace, PACES[0]), PACES[1]))

    return run


def rate_hz(state: State) -> float:
    """How many images a second are shown: as the file says, times what the reader has chosen."""
    wanted = (own_rate_hz(state) or USUAL_RATE_HZ) * state.cine_pace
    return min(max(wanted, _SHOWN_HZ[0]), _SHOWN_HZ[1])


def play_on(app: Application, _argument: object) -> None:
    """Show the next image while the stack plays, the first after the last; never faster than images arrive.

    An image that cannot be read has its moment, with the reason, and the next one follows.
    """
    state = app.state
    now = state.selection
    is_there = state.frame is not None or (bool(state.frame_problem) and state.cut is None)
    if not state.is_playing or now is None or not is_there:
        return
    if state.cut is not None:
        scroll_cut(app, 1)
        if app.state.cut == state.cut:  # the end of the volume
            first_image(app, None)
    elif now.stack.axis is not None and plays_along_axis(state):
        show_volume(app, (now.volume_number + 1) % now.stack.axis.size)
    else:
        span = now.stack.scroll_span(now.index)
        show_index(app, now.index + 1 if now.index + 1 in span else span.start)


def own_rate_hz(state: State) -> float | None:
    """The pace at which what plays was meant to be seen or was made; None where the files do not say."""
    now = state.selection
    return own_rate_of(now, along_axis=plays_along_axis(state)) if now is not None else None


def own_rate_of(now: Selection, *, along_axis: bool) -> float | None:
    """The pace of a stack through its slices, or from volume to volume; None where the files do not say."""
    if now.image.frame_rate_hz is not None or not along_axis:
        return now.image.frame_rate_hz
    axis = now.stack.axis
    seconds = {"ms": 1e-3, "s": 1.0}.get(axis.unit) if axis is not None and axis.name == "time" else None
    if axis is None or seconds is None:
        return None
    rate = 1.0 / (float(np.median(np.diff(axis.values[now.index % axis.slices :: axis.slices]))) * seconds)
    return rate if _RATES_HZ[0] <= rate <= _RATES_HZ[1] else None


def has_mean_rate(state: State) -> bool:
    """Whether the own pace is a mean: the images did not follow each other evenly."""
    return state.selection is not None and state.selection.image.is_rate_mean


def plays_along_axis(state: State) -> bool:
    """Whether cine goes from volume to volume: in time by itself, along other axes if the reader wishes."""
    now = state.selection
    if now is None or now.stack.axis is None or state.cut is not None:
        return False
    return now.stack.slices == 1 or (now.stack.axis.name == "time") != state.plays_other_way
