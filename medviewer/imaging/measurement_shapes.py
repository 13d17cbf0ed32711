"""From a measurement to the graphics of a report, and from those to its points again.

Source: PS3.3 C.18.6.1.2 (graphic types).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

from medviewer.domain.frozen import dataclass
from medviewer.domain.measurement import Measurement, MeasurementKind, Point

# (code, scheme), in SNOMED CT and in the SNOMED RT of older reports.
_LONG_AXES = frozenset({("103339001", "SCT"), ("G-A185", "SRT"), ("131187009", "SCT"), ("G-A193", "SRT")})
_SHORT_AXES = frozenset({("103340004", "SCT"), ("G-A186", "SRT"), ("131188004", "SCT"), ("G-A194", "SRT")})
_LENGTHS = frozenset(
    {("410668003", "SCT"), ("G-D7FE", "SRT"), ("81827009", "SCT"), ("M-02550", "SRT"), ("121206", "DCM")}
) | frozenset({("121211", "DCM"), ("103355008", "SCT"), ("G-A220", "SRT")})
_ANGLES = frozenset({("1483009", "SCT"), ("110859", "DCM"), ("F-04621", "SRT")})
_COBB = frozenset({("285285000", "SCT"), ("F-00E5C", "SRT")})


Shape: TypeAlias = tuple[MeasurementKind, tuple[Point, ...]]


@dataclass(frozen=True, slots=True)
class Graphic:
    """One graphic: its type, its points, and (code, scheme) of the number that came of it; empty for a region."""

    kind: str
    points: tuple[Point, ...]
    concept: tuple[str, str]


def graphics_of(measurement: Measurement) -> list[tuple[str, list[Point]]]:
    """Give what was drawn as graphics of the standard: (graphic type, points), in the measurement's coordinates.

    An ellipse is told by the ends of its longer axis and then of its shorter one, a closed outline
    by a POLYLINE that ends where it began (PS3.3 C.18.6.1.2).
    """
    points = list(measurement.points)
    if measurement.kind == "ellipse":
        (x0, y0), (x1, y1) = points
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        across, down = [(x0, y), (x1, y)], [(x, y0), (x, y1)]
        return [("ELLIPSE", across + down if abs(x1 - x0) >= abs(y1 - y0) else down + across)]
    if measurement.kind == "rectangle":
        (x0, y0), (x1, y1) = points
        return [("POLYLINE", [(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)])]
    if measurement.kind == "freehand":
        return [("POLYLINE", [*points, points[0]])]
    if measurement.kind == "probe":
        return [("POINT", points)]
    if len(points) == 4:
        return [("POLYLINE", points[:2]), ("POLYLINE", points[2:])]
    return [("POLYLINE", points)]


def own_points(kind: MeasurementKind, graphics: Sequence[Graphic]) -> tuple[Point, ...] | None:
    """Give the points of a measurement that we wrote; None if the graphics are not those of its kind."""
    if kind in ("cobb", "bidirectional", "cardiothoracic"):
        # A line that was drawn twice was written once by the reader of the graphics.
        lines = [g.points for g in graphics if g.kind == "POLYLINE" and len(g.points) == 2]
        if len(graphics) not in (1, 2) or len(lines) != len(graphics):
            return None
        return lines[0] + lines[-1]
    if len(graphics) != 1:
        return None
    (graphic,) = graphics
    if kind == "ellipse":
        return _upright_ellipse(graphic.points) if graphic.kind == "ELLIPSE" else None
    if graphic.kind != ("POINT" if kind == "probe" else "POLYLINE"):
        return None
    points = graphic.points
    if kind == "rectangle":
        return (points[0], points[2]) if len(points) == 5 else None
    if kind == "freehand":
        return points[:-1] if len(points) > 3 and points[0] == points[-1] else None
    return points


def recognised(graphics: Sequence[Graphic], concepts: Sequence[tuple[str, str]]) -> Shape | None:
    """Give kind and points of what another program drew; None if it is nothing that we have.

    Args:
        graphics: of one group.
        concepts: (code, scheme) of all its numbers.
    """
    if len(graphics) == 2:
        return _two_lines(graphics)
    if len(graphics) != 1:
        return None
    (graphic,) = graphics
    points = graphic.points
    if graphic.kind == "POINT" and len(points) == 1:
        return "probe", points
    if graphic.kind == "ELLIPSE":
        corners = _upright_ellipse(points)
        return ("ellipse", corners) if corners is not None else None
    if graphic.kind == "CIRCLE" and len(points) == 2:
        return "ellipse", circle_corners(*points)
    if graphic.kind in ("POLYLINE", "MULTIPOINT"):
        return _polyline(graphic, frozenset(concepts))
    return None


def circle_corners(center: Point, rim: Point, aspect: float = 1.0) -> tuple[Point, Point]:
    """Give two opposite corners around a circle: round in the patient, on pixels ``aspect`` times as high as wide.

    The standard names a centre and a point of the circumference and no shape of pixels; what a reader drew was
    a circle on a screen that shows the patient undistorted, as graphics of presentation states are.
    """
    (x, y), (rim_x, rim_y) = center, rim
    across = math.hypot(rim_x - x, (rim_y - y) * aspect)
    down = across / aspect
    return (x - across, y - down), (x + across, y + down)


def _two_lines(graphics: Sequence[Graphic]) -> Shape | None:
    if any(g.kind not in ("POLYLINE", "MULTIPOINT") or len(g.points) != 2 for g in graphics):
        return None
    first, second = graphics
    if first.concept in _COBB and second.concept in _COBB:
        return "cobb", first.points + second.points
    for long, short in ((first, second), (second, first)):
        if long.concept in _LONG_AXES and short.concept in _SHORT_AXES:
            return "bidirectional", long.points + short.points
    return None


def _polyline(graphic: Graphic, concepts: frozenset[tuple[str, str]]) -> Shape | None:
    points = graphic.points
    if graphic.kind == "POLYLINE" and len(points) > 3 and points[0] == points[-1]:
        return "freehand", points[:-1]
    if len(points) == 2 and concepts & (_LENGTHS | _LONG_AXES | _SHORT_AXES):
        return "length", points
    if len(points) == 3 and concepts & _ANGLES:
        return "angle", points
    if len(points) == 4 and concepts & _COBB:
        return "cobb", points
    if len(points) == 4 and concepts & _LONG_AXES and concepts & _SHORT_AXES:
        return "bidirectional", points
    return None


def _upright_ellipse(points: Sequence[Point]) -> tuple[Point, ...] | None:
    """Give two opposite corners of the rectangle around an ellipse; None if it is not along rows and columns.

    The points are the ends of the long axis, then of the short one.
    """
    if len(points) != 4:
        return None
    a, b, c, d = points
    if a[1] == b[1] and c[0] == d[0]:
        across, down = (a, b), (c, d)
    elif a[0] == b[0] and c[1] == d[1]:
        across, down = (c, d), (a, b)
    else:
        return None
    return (across[0][0], down[0][1]), (across[1][0], down[1][1])
