"""Where the image of one viewport cuts that of another, and the place that the reader points at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from PySide6.QtCore import QLineF, QPointF, Qt
from PySide6.QtGui import QColor, QPainter, QPen

from medviewer.app.linking import shown_grid
from medviewer.app.on_screen import reference_of
from medviewer.app.state import State
from medviewer.gui import theme
from medviewer.gui.placing import Placement
from medviewer.imaging.planes import line_of, to_image, to_patient

_CROSS_PX = 14  # of an arm of the cross
_CROSS_GAP_PX = 4
_HANDLE_PX = 4.0  # radius
_HANDLE_REACH = 0.3  # of the smaller side of the viewport, from where the lines cross
_HANDLE_AT = 0.6  # of the way to the end of a line, where that is nearer
_NEAR_MM = 1.0  # a place as far in front or behind is said to lie on the image


class Line(NamedTuple):
    """From one (column, row) to another, running along a patient axis: 0 left-right, 1 front-back, 2 foot-head.

    ``pane`` is the viewport whose plane can be moved and turned by it; None where that shows a stored image.
    """

    start: tuple[float, float]
    end: tuple[float, float]
    axis: int
    pane: int | None = None


def lines_on(state: State, others: Mapping[int, State]) -> tuple[Line, ...]:
    """The lines in which other images of the same frame of reference, by viewport, cut the one that a state shows."""
    on = shown_grid(state)
    reference = reference_of(state)
    if on is None or not reference:
        return ()
    found = []
    for index, other in others.items():
        grid = shown_grid(other)
        if grid is None or reference_of(other) != reference:
            continue
        line = line_of(grid, on)
        if line is not None:
            way = to_patient(on, *line[1]) - to_patient(on, *line[0])
            can_move = state.cut is not None and other.cut is not None
            found.append(Line(*line, int(np.argmax(np.abs(way))), index if can_move else None))
    return tuple(found)


def paint_lines(painter: QPainter, placed: Placement, lines: Sequence[Line]) -> None:
    """Draw them: blue left-right, red front-back, green foot-head (PS3.17 annex A)."""
    for line in lines:
        start, end = (placed.transform.map(QPointF(*point)) for point in (line.start, line.end))
        painter.setPen(QPen(axis_color(line.axis), 1.0))
        painter.drawLine(start, end)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    for line, _middle, places in handles(placed, lines):
        painter.setPen(QPen(axis_color(line.axis), 1.5))
        painter.setBrush(theme.color(theme.tokens().viewport))
        for place in places:
            painter.drawEllipse(place, _HANDLE_PX, _HANDLE_PX)
    painter.setBrush(Qt.BrushStyle.NoBrush)


class Handles(NamedTuple):
    """Where a line is grasped to turn its plane, and about what; in widget pixels."""

    line: Line
    middle: QPointF
    places: tuple[QPointF, QPointF]


def handles(placed: Placement, lines: Sequence[Line]) -> list[Handles]:
    """The handles of two lines that can be moved: on both sides of where they cross."""
    movable = [line for line in lines if line.pane is not None]
    if len(movable) != 2:
        return []
    first, second = (
        QLineF(*(placed.transform.map(QPointF(*point)) for point in (line.start, line.end))) for line in movable
    )
    kind, middle = first.intersects(second)
    reach = _HANDLE_REACH * min(placed.size.width(), placed.size.height())
    if kind == QLineF.IntersectionType.NoIntersection:
        return []
    found = []
    for line, drawn in zip(movable, (first, second), strict=True):
        places = (_on_the_way(middle, drawn.p1(), reach), _on_the_way(middle, drawn.p2(), reach))
        found.append(Handles(line, middle, places))
    return found


def _on_the_way(start: QPointF, end: QPointF, reach: float) -> QPointF:
    """As far from ``start`` as ``reach``, nearer where ``end`` is near: the same all round while a line turns."""
    length = QLineF(start, end).length()
    return start + (end - start) * (min(reach, _HANDLE_AT * length) / length) if length else start


def paint_crosshair(painter: QPainter, placed: Placement, state: State) -> None:
    """Mark the place that the reader points at, if it lies on this image."""
    grid = shown_grid(state)
    place = state.crosshair
    if place is None or grid is None:
        return
    reference = reference_of(state)
    if not reference or place.frame_of_reference_uid != reference:
        return  # in another one the same numbers are another place
    column, row, distance = to_image(grid, np.array(place.lps_mm))
    if abs(distance) > max(_NEAR_MM, *grid.spacing_mm):
        return
    middle = placed.transform.map(QPointF(column, row))
    for pen in (QPen(theme.color(theme.tokens().viewport, 0.8), 3.0), QPen(theme.color(theme.tokens().accent), 1.0)):
        painter.setPen(pen)
        for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            way = QPointF(x, y)
            painter.drawLine(middle + way * _CROSS_GAP_PX, middle + way * _CROSS_PX)


def axis_color(axis: int) -> QColor:
    """The colour of a patient axis."""
    t = theme.tokens()
    return theme.color((t.axis_left_right, t.axis_front_back, t.axis_foot_head)[axis])
