"""What a reader does with measurements: draws, moves, names and deletes them, and saves them for others."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from medviewer.app.layout import show_plane
from medviewer.app.measurement_keeper import SLOW_KINDS, value_in
from medviewer.app.on_screen import (
    calibration_of,
    measured_image,
    measurements_of,
    name_of,
    pane_state,
    selections,
    with_measurement,
)
from medviewer.app.opening import select
from medviewer.app.panes import activate, pane_numbers
from medviewer.app.state import Measured, State
from medviewer.domain.errors import UsageError
from medviewer.domain.measurement import Measurement, MeasurementKind, Point, new_measurement

if TYPE_CHECKING:  # commands act on the application, which holds their table
    from medviewer.app.application import Application

IMAGE_CHANGED = "The image on screen changed meanwhile, so nothing was measured: draw it again."
LONGEST_LABEL = 64


class Drawn(NamedTuple):
    """What the reader drew, and on which image."""

    kind: MeasurementKind
    points: tuple[Point, ...]
    where: Measured


class Moved(NamedTuple):
    """A measurement of the image on screen with its points in other places."""

    uid: str
    points: tuple[Point, ...]
    where: Measured


class Named(NamedTuple):
    """A measurement with the reader's name for it; None has it asked for."""

    uid: str
    label: str | None = None


def why_not(state: State) -> str:
    """Why nothing can be measured on what is on screen now; empty if it can."""
    if state.selection is None or state.frame is None:
        return "There is no image to measure on: open one first."
    where = measured_image(state)
    if where is None:
        return "The plane is still being cut: try again in a moment."
    if where[2] is not None and state.tool == "calibration":
        return "A plane cut from a series cannot be calibrated: its size comes from the series."
    if state.measurement_problem:
        return state.measurement_problem
    if state.corner_text == "none":
        return "Measurements are hidden with the corner text: “More or less corner text” shows them."
    if (*where[:2], None) not in state.measurements:
        return (
            "This image cannot be measured: its identity is missing, or another file here claims the same one."
            if state.is_measured_known
            else "What was measured on this image is still being read: try again in a moment."
        )
    return ""


def begin(app: Application, _argument: object) -> None:
    """The reader starts to draw: say why not, if not."""
    reason = why_not(app.state)
    app.notify("caution", reason)


def add(app: Application, drawn: Drawn) -> None:
    """Keep what was drawn on the image on screen."""
    reason = why_not(app.state)
    if reason:
        app.notify("caution", reason)
        return
    known_mm = _ask_length(app) if drawn.kind == "calibration" else None
    if drawn.kind == "calibration" and known_mm is None:
        return
    if measured_image(app.state) != drawn.where:
        app.notify("caution", IMAGE_CHANGED)
        return
    made = new_measurement(drawn.kind, drawn.points, drawn.where, known_mm=known_mm)
    _put(app, made)
    app.session.update(selected_measurement=made.uid)


def move(app: Application, moved: Moved) -> None:
    """Put the points of a measurement elsewhere."""
    now = _on_screen(app.state, moved.uid)
    if now is None or measured_image(app.state) != moved.where:
        app.notify("caution", IMAGE_CHANGED)
        return
    changed = replace(now, points=moved.points)
    if changed != now:
        _put(app, changed)


def choose(app: Application, uid: str) -> None:
    """Select a measurement; an empty UID selects none."""
    app.session.update(selected_measurement=uid)


def rename(app: Application, named: Named | None) -> None:
    """Give the measurement that is meant, or is selected, a name."""
    uid, label = named or Named(app.state.selected_measurement)
    if _anywhere(app.state, uid) is None:
        return
    if label is None:
        label = app.front.ask_text("Name of the measurement", "What is it? The name is shown beside the value.")
    now = _anywhere(app.state, uid)  # as it is after the question
    if label is not None and now is not None:
        changed = replace(now, label=label[:LONGEST_LABEL])
        if changed != now:
            _set(app, changed, changed.uid)


def delete(app: Application, uid: str | None) -> None:
    """Take a measurement, or the selected one, off its image."""
    now = _anywhere(app.state, uid or app.state.selected_measurement)
    if now is not None:
        _set(app, now, now.uid, is_deleted=True)
        if app.state.selected_measurement == now.uid:
            app.session.update(selected_measurement="")


def go_to(app: Application, uid: str) -> None:
    """Show the image that was measured, and select the measurement."""
    now = _anywhere(app.state, uid)
    if now is None or app.state.selection is None:
        return
    where = now.where
    showing = next((i for i in pane_numbers(app.state) if measured_image(pane_state(app.state, i)) == where), None)
    if showing is not None:
        activate(app, showing)
    else:
        patient = app.state.selection.patient
        own = (one for one in selections(app.state.collection) if one.patient.key == patient.key)
        found = next((one for one in own if name_of(one.image)[:2] == where[:2]), None)
        if found is None:
            return
        if now.plane is not None:
            show_plane(app, found, now.plane)
        else:
            select(app, found)
    app.session.update(selected_measurement=uid)


def has_selected(state: State) -> bool:
    """Whether a measurement of the image on screen is selected."""
    return bool(state.selected_measurement) and _on_screen(state, state.selected_measurement) is not None


def _put(app: Application, measurement: Measurement) -> None:
    """Keep a measurement of the image on screen that can be measured; one that cannot is refused with the reason."""
    frame = app.state.frame
    calibration = calibration_of(app.state, measurement.where)
    if frame is not None and measurement.kind not in SLOW_KINDS:
        value = value_in(frame, measurement, calibration)
        if value.problem:
            app.notify("caution", value.problem)
            return
    _set(app, measurement, measurement.uid)


def _set(app: Application, measurement: Measurement, uid: str, *, is_deleted: bool = False) -> None:
    where = measurement.where
    changed = with_measurement(app.state.measurements, where, uid, None if is_deleted else measurement)
    app.session.settle()
    app.session.change(measurements=changed)


def _ask_length(app: Application) -> float | None:
    """How long the line is in truth; None if the reader gives up.

    Raises:
        UsageError: no length.
    """
    text = app.front.ask_text("Calibrate", "How long is this line in truth, in millimetres?")
    if text is None:
        return None
    try:
        length = float(text.strip().removesuffix("mm").strip().replace(",", "."))
    except ValueError:
        length = math.nan
    if not (math.isfinite(length) and 1e-6 <= length < 1e5):
        raise UsageError("The known length of a calibration is a number of millimetres above 0.")
    return length


def _on_screen(state: State, uid: str) -> Measurement | None:
    return next((one for one in measurements_of(state) if one.uid == uid), None)


def _anywhere(state: State, uid: str) -> Measurement | None:
    return next((one for own in state.measurements.values() for one in own if one.uid == uid), None)
