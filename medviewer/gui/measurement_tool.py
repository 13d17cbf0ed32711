"""Drawing and moving measurements with the mouse: one state machine, turned into commands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, replace
from typing import Any, NamedTuple

from PySide6.QtCore import QPointF

from medviewer.app.measurement_keeper import SLOW_KINDS, value_in
from medviewer.app.measuring import Drawn, Moved, why_not
from medviewer.app.on_screen import calibration_of, measured_image
from medviewer.app.state import Measured, State, Value
from medviewer.domain.frozen import dataclass
from medviewer.domain.measurement import KINDS, Measurement, MeasurementKind, Point, new_measurement
from medviewer.gui.measurement_layer import Hit, MeasurementLayer, Shape, shapes_of, shown
from medviewer.gui.measurement_shapes import Size, moved_by, with_handle_at, within
from medviewer.gui.measurement_words import image_lines
from medviewer.gui.placing import Placement

_CLICK_PX = 4.0  # less is a click, not a drag
_STROKE_PX = 3.0  # between the points of an outline drawn in one stroke
_CLOSE_PX = 9.0  # a click as near to the first point closes an outline

Wish = tuple[str, Any]


class Pressed(NamedTuple):
    """Whether a press was for the measurements, and what is to be done."""

    is_taken: bool
    wishes: tuple[Wish, ...] = ()


@dataclass(slots=True)
class _Draft:
    """What is being drawn: the points that are set, and the one that follows the mouse."""

    kind: MeasurementKind
    where: Measured
    points: list[Point]
    pending: Point | None = None
    press: QPointF | None = None  # where the button went down, while it is down
    is_stroke: bool = False

    @property
    def so_far(self) -> tuple[Point, ...]:
        return (*self.points, self.pending) if self.pending is not None else tuple(self.points)


@dataclass(slots=True)
class _Drag:
    """A measurement, or its label, that is being moved."""

    hit: Hit
    where: Measured
    press: QPointF
    start: Point
    offset: QPointF
    points: tuple[Point, ...] = field(default=())
    has_moved: bool = False


class MeasurementTool:
    """What the left button does to measurements in one viewport."""

    def __init__(self, layer: MeasurementLayer) -> None:
        self._layer = layer
        self._draft: _Draft | None = None
        self._drag: _Drag | None = None

    @property
    def is_busy(self) -> bool:
        """Whether something is being drawn or moved."""
        return self._draft is not None or self._drag is not None

    @property
    def is_moving(self) -> bool:
        """Whether a measurement, one of its points or its label is being moved."""
        return self._drag is not None

    def follow(self, state: State) -> None:
        """Give up what belongs to another image or another tool."""
        where = measured_image(state)
        if self._draft is not None and (self._draft.where != where or self._draft.kind != state.tool):
            self._draft = None
        if self._drag is not None and (self._drag.where != where or self._drag.hit.measurement not in shown(state)):
            self._drag = None

    def cancel(self) -> None:
        """Give up what is being drawn or moved."""
        self._draft = self._drag = None

    def press(self, state: State, placed: Placement, at: QPointF) -> Pressed:
        """The left button went down."""
        if self._draft is not None:
            return Pressed(True, self._press_on(self._draft, placed, at))
        hit = self._layer.hit(state, placed, at)
        if hit is not None and hit.is_label and state.tool in KINDS:
            hit = None  # what is to be measured may lie under a label
        where = measured_image(state)
        if hit is not None and where is not None:
            offset = self._layer.offset_of(hit.measurement.uid)
            self._drag = _Drag(hit, where, at, placed.image_point(at), offset, hit.measurement.points)
            return Pressed(True, (("measure.select", hit.measurement.uid),))
        deselect: tuple[Wish, ...] = (("measure.select", ""),) if state.selected_measurement else ()
        if state.tool not in KINDS:
            return Pressed(False, deselect)
        if why_not(state) or where is None:
            return Pressed(True, (("measure.begin", None),))
        point = placed.image_point(at)
        if within(point, _size(placed)) != point:
            return Pressed(True, deselect)
        self._draft = _Draft(state.tool, where, [point], press=at)
        return Pressed(True, deselect)

    def move(self, placed: Placement, at: QPointF) -> bool:
        """The mouse moved; says whether that changed anything."""
        if self._draft is not None:
            self._follow_mouse(self._draft, placed, at)
            return True
        return self._drag is not None and self._move_on(self._drag, placed, at)

    def release(self, placed: Placement, at: QPointF) -> tuple[Wish, ...]:
        """The left button went up."""
        if self._draft is not None and self._draft.press is not None:
            return self._release_draft(self._draft, placed, at)
        drag, self._drag = self._drag, None
        if drag is None or not drag.has_moved or drag.hit.is_label:
            return ()
        return (("measure.move", Moved(drag.hit.measurement.uid, drag.points, drag.where)),)

    def close_outline(self) -> tuple[Wish, ...]:
        """End an outline that is drawn click by click."""
        draft = self._draft
        if draft is None or draft.kind != "freehand":
            return ()
        if len(draft.points) >= KINDS["freehand"].fewest:
            return self._finish(draft)
        self._draft = None
        return ()

    def shapes(self, state: State) -> tuple[Shape, ...]:
        """The measurements on screen, with what is being moved where it is now, and what is being drawn."""
        found = shapes_of(state)
        if self._drag is not None and self._drag.has_moved and not self._drag.hit.is_label:
            changed = replace(self._drag.hit.measurement, points=self._drag.points)
            found = tuple(
                Shape(changed, image_lines(changed, _live_value(state, changed), state), is_selected=True)
                if shape.measurement.uid == changed.uid
                else shape
                for shape in found
            )
        return (*found, *self._drawn(state))

    def _drawn(self, state: State) -> tuple[Shape, ...]:
        draft = self._draft
        if draft is None or state.frame is None:
            return ()
        points = draft.so_far
        known_mm = 1.0 if draft.kind == "calibration" else None
        rule = KINDS[draft.kind]
        if rule.fewest <= len(points) <= rule.most:
            made = new_measurement(draft.kind, points, draft.where, known_mm=known_mm)
            lines = () if draft.kind == "calibration" else _live_lines(state, made)
            return (Shape(made, lines, is_selected=True),)
        # Not a whole measurement yet: its first line is drawn as a length, with nothing said of it.
        part: MeasurementKind = "length" if len(points) >= 2 else "probe"
        made = new_measurement(part, points[:2] if part == "length" else points[:1], draft.where)
        lines = _live_lines(state, made) if part == "length" and draft.kind in _PAIRED else ()
        whole = (Shape(made, lines, is_selected=True),)
        if len(points) == 3:  # the beginning of a second line
            start = new_measurement("probe", points[2:], draft.where)
            return (*whole, Shape(start, (), is_selected=True))
        return whole

    def _press_on(self, draft: _Draft, placed: Placement, at: QPointF) -> tuple[Wish, ...]:
        """A further click: the beginning of a second line is set at once, an end when the button goes up."""
        draft.press = at
        point = within(placed.image_point(at), _size(placed))
        draft.pending = point
        if draft.kind in _PAIRED and len(draft.points) == 2:
            draft.points.append(point)
            draft.pending = None
        return ()

    def _follow_mouse(self, draft: _Draft, placed: Placement, at: QPointF) -> None:
        point = within(placed.image_point(at), _size(placed))
        is_far = draft.press is not None and (at - draft.press).manhattanLength() >= _CLICK_PX
        if draft.kind == "freehand" and (draft.is_stroke or (is_far and len(draft.points) == 1)):
            draft.is_stroke, draft.pending = True, None
            last = placed.transform.map(QPointF(*draft.points[-1]))
            if (at - last).manhattanLength() >= _STROKE_PX and len(draft.points) < KINDS["freehand"].most:
                draft.points.append(point)
        elif draft.kind == "probe":
            draft.points = [point]
        elif draft.press is None or is_far or len(draft.points) % 2 == 1:
            between = draft.kind in _PAIRED and len(draft.points) == 2 and draft.press is None
            draft.pending = None if between else point

    def _release_draft(self, draft: _Draft, placed: Placement, at: QPointF) -> tuple[Wish, ...]:
        press, draft.press = draft.press, None
        assert press is not None  # noqa: S101 - the caller has looked
        point = within(placed.image_point(at), _size(placed))
        was_dragged = (at - press).manhattanLength() >= _CLICK_PX
        rule = KINDS[draft.kind]
        if draft.kind == "probe" or draft.is_stroke:
            return self._finish(draft) if len(draft.points) >= rule.fewest else self._give_up()
        last = placed.transform.map(QPointF(*draft.points[-1]))
        is_apart = (at - last).manhattanLength() >= _CLICK_PX
        if draft.kind == "freehand" and len(draft.points) >= rule.fewest:
            first = placed.transform.map(QPointF(*draft.points[0]))
            if (at - first).manhattanLength() < _CLOSE_PX:
                return self._finish(draft)
        # The first point of a line was set when the button went down; a second one where it already is, is no line.
        if (was_dragged or draft.pending is not None) and is_apart:
            draft.points.append(point)
        draft.pending = None
        is_whole = len(draft.points) >= rule.most and draft.kind != "freehand"
        return self._finish(draft) if is_whole else ()

    def _finish(self, draft: _Draft) -> tuple[Wish, ...]:
        self._draft = None
        return (("measure.add", Drawn(draft.kind, tuple(draft.points), draft.where)),)

    def _give_up(self) -> tuple[Wish, ...]:
        self._draft = None
        return ()

    def _move_on(self, drag: _Drag, placed: Placement, at: QPointF) -> bool:
        if not drag.has_moved and (at - drag.press).manhattanLength() < _CLICK_PX:
            return False
        drag.has_moved = True
        one = drag.hit.measurement
        if drag.hit.is_label:
            self._layer.offsets[one.uid] = drag.offset + at - drag.press
            return True
        x, y = placed.image_point(at)
        columns, rows = x - drag.start[0], y - drag.start[1]
        if drag.hit.handle is None:
            drag.points = moved_by(one.points, columns, rows, _size(placed))
        else:
            drag.points = with_handle_at(one.kind, one.points, drag.hit.handle, within((x, y), _size(placed)))
        return True


_PAIRED: Sequence[MeasurementKind] = ("cobb", "bidirectional", "cardiothoracic")


def _live_value(state: State, measurement: Measurement) -> Value | None:
    """The numbers of a measurement that is still being drawn; of regions only once they are whole."""
    if state.frame is None or measurement.kind in SLOW_KINDS:
        return None
    where = measurement.where
    return value_in(state.frame, measurement, calibration_of(state, where))


def _live_lines(state: State, measurement: Measurement) -> tuple[str, ...]:
    """The words of what is still being drawn: numbers only, as it may yet become a measurement."""
    value = _live_value(state, measurement)
    return () if value is None or value.problem else image_lines(measurement, value, state)


def _size(placed: Placement) -> Size:
    return placed.columns, placed.rows
