"""The shapes of measurements: what is drawn through which points, what can be grasped, and how points move."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from PySide6.QtCore import QPointF, QRectF
from PySide6.QtGui import QPainterPath, QTransform

from medviewer.domain.measurement import MeasurementKind, Point

HANDLE_PX = 8.0  # how near a press must be to grasp a point
LINE_PX = 5.0  # and a line
_CROSS_PX = 8.0
_CROSS_GAP_PX = 2.5
_MOST_HANDLES = 32  # of an outline; a longer one was drawn in one stroke and moves as a whole
_BOXES = ("rectangle", "ellipse")

Size = tuple[int, int]
"""(columns, rows) of an image."""


def screen_path(kind: MeasurementKind, points: Sequence[Point], transform: QTransform) -> QPainterPath:
    """The lines of a measurement, finished or not, in points of the viewport."""
    if kind == "probe":
        return _cross(transform.map(QPointF(*points[0])))
    path = QPainterPath()
    if kind in _BOXES and len(points) == 2:
        box = QRectF(QPointF(*points[0]), QPointF(*points[1])).normalized()
        if kind == "rectangle":
            path.addRect(box)
        else:
            path.addEllipse(box)
        return transform.map(path)
    for index, point in enumerate(points):
        starts = index == 0 or (index == 2 and kind in ("cobb", "bidirectional", "cardiothoracic"))
        if starts:
            path.moveTo(*point)
        else:
            path.lineTo(*point)
    if kind == "freehand" and len(points) > 2:
        path.closeSubpath()
    return transform.map(path)


def handles(kind: MeasurementKind, points: Sequence[Point]) -> tuple[Point, ...]:
    """The points by which a measurement is changed, in the image; of a box all four corners."""
    if kind in _BOXES and len(points) == 2:
        (x0, y0), (x1, y1) = points
        return (x0, y0), (x1, y0), (x1, y1), (x0, y1)
    return tuple(points) if len(points) <= _MOST_HANDLES else ()


def with_handle_at(kind: MeasurementKind, points: Sequence[Point], handle: int, to: Point) -> tuple[Point, ...]:
    """The points after one of the :func:`handles` was dragged to a place."""
    if kind in _BOXES:
        (x0, y0), (x1, y1) = points
        corners = (((to[0], to[1]), (x1, y1)), ((x0, to[1]), (to[0], y1)), ((x0, y0), to), ((to[0], y0), (x1, to[1])))
        return corners[handle]
    return (*points[:handle], to, *points[handle + 1 :])


def moved_by(points: Sequence[Point], columns: float, rows: float, size: Size) -> tuple[Point, ...]:
    """The points after the whole was dragged, as far as the image goes."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    columns = min(max(columns, -min(xs)), size[0] - max(xs))
    rows = min(max(rows, -min(ys)), size[1] - max(ys))
    return tuple((x + columns, y + rows) for x, y in points)


def within(point: Point, size: Size) -> Point:
    """The nearest place on the image."""
    return min(max(point[0], 0.0), float(size[0])), min(max(point[1], 0.0), float(size[1]))


def handle_near(kind: MeasurementKind, points: Sequence[Point], transform: QTransform, where: QPointF) -> int | None:
    """Which of the :func:`handles` a place of the viewport grasps, if any: the nearest."""
    distances = [_distance(transform.map(QPointF(*point)), where) for point in handles(kind, points)]
    nearest = min(range(len(distances)), key=distances.__getitem__, default=None)
    return nearest if nearest is not None and distances[nearest] <= HANDLE_PX else None


def is_on_line(path: QPainterPath, where: QPointF) -> bool:
    """Whether a place of the viewport lies on the lines of a measurement."""
    # Asked at every move of the mouse: most lines are nowhere near it.
    if not path.boundingRect().adjusted(-LINE_PX, -LINE_PX, LINE_PX, LINE_PX).contains(where):
        return False
    lines = (polygon.toList() for polygon in path.toSubpathPolygons())
    return any(_distance_to_line(where, start, end) <= LINE_PX for line in lines for start, end in pairwise(line))


def _distance_to_line(point: QPointF, start: QPointF, end: QPointF) -> float:
    """The distance of a point to the nearest place of a line between two others."""
    across, down = end.x() - start.x(), end.y() - start.y()
    squared = across * across + down * down
    along = (point.x() - start.x()) * across + (point.y() - start.y()) * down
    share = min(max(along / squared, 0.0), 1.0) if squared else 0.0
    return math.hypot(point.x() - start.x() - share * across, point.y() - start.y() - share * down)


def _cross(middle: QPointF) -> QPainterPath:
    path = QPainterPath()
    for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        path.moveTo(middle + QPointF(x, y) * _CROSS_GAP_PX)
        path.lineTo(middle + QPointF(x, y) * _CROSS_PX)
    return path


def _distance(one: QPointF, other: QPointF) -> float:
    return math.hypot(one.x() - other.x(), one.y() - other.y())
