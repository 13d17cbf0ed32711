"""What is measured under a shutter is known by all that is measured, not by its corners alone."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from medviewer.domain.measurement import Measurement, MeasurementKind, Point
from medviewer.domain.shutter import Shutter, Shutters
from medviewer.imaging.covering import reaches_under

SHAPE = (40, 60)
BLOCK = np.zeros(SHAPE, bool)
BLOCK[10:30, 20:40] = True
AROUND: tuple[Point, ...] = ((5, 5), (55, 35))
OUTLINE: tuple[Point, ...] = ((5, 5), (55, 5), (55, 35), (5, 35))


def drawn(kind: MeasurementKind, *points: Point) -> Measurement:
    known = 10.0 if kind == "calibration" else None
    return Measurement("2.25.1", kind, points, "2.25.31", 0, datetime(2026, 1, 1, tzinfo=UTC), known_mm=known)


def reaches(shutters: Shutters, kind: MeasurementKind, *points: Point, aspect: float = 1.0) -> bool:
    return reaches_under(shutters, drawn(kind, *points), SHAPE, aspect)


@pytest.mark.parametrize(
    ("kind", "points"), [("rectangle", AROUND), ("ellipse", ((1, 1), (59, 39))), ("freehand", OUTLINE)]
)
def test_a_region_around_a_covered_block_reaches_under_it(kind: MeasurementKind, points: tuple[Point, ...]) -> None:
    shutters = Shutters(bitmap=BLOCK)
    assert not shutters.covers(points)  # its corners do not tell
    assert reaches(shutters, kind, *points)
    assert not reaches(Shutters(bitmap=np.zeros(SHAPE, bool)), kind, *points)


@pytest.mark.parametrize(
    ("kind", "points"),
    [
        ("length", ((10, 20), (50, 20))),
        ("length", ((30, 5), (30, 35))),
        ("calibration", ((18, 20), (25, 8.5))),
        ("angle", ((5, 5), (10, 20), (50, 20))),
        ("cobb", ((5, 5), (50, 5), (10, 20), (50, 20))),
        ("bidirectional", ((10, 20), (50, 20), (5, 1), (5, 9))),
        ("cardiothoracic", ((41, 5), (50, 5), (10, 20), (50, 20))),
    ],
)
def test_a_line_across_a_covered_block_reaches_under_it(kind: MeasurementKind, points: tuple[Point, ...]) -> None:
    assert not Shutters(bitmap=BLOCK).covers(points)
    assert reaches(Shutters(bitmap=BLOCK), kind, *points)


def test_what_lies_beside_the_block_does_not() -> None:
    shutters = Shutters(bitmap=BLOCK)
    assert not reaches(shutters, "length", (5, 5), (55, 5))
    assert not reaches(shutters, "length", (20, 5), (20, 35))  # along its edge
    assert not reaches(shutters, "cobb", (5, 5), (5, 35), (55, 5), (55, 35))  # nothing is drawn from one to the other
    assert not reaches(shutters, "rectangle", (40, 5), (55, 35))
    assert not reaches(shutters, "probe", (50, 5))
    assert reaches(shutters, "probe", (30, 20))


def test_of_every_shape_what_is_beyond_it_is_covered() -> None:
    corner = Shutters((Shutter("POLYGONAL", ((0, 0), (60, 0), (60, 40), (30, 10), (0, 40))),))  # a notch from below
    assert reaches(corner, "length", (5, 30), (55, 30))
    assert not reaches(corner, "length", (5, 5), (55, 5))
    circle = Shutters((Shutter("CIRCULAR", ((30, 20),), 15.0),))
    assert not reaches(circle, "ellipse", (16, 6), (44, 34))  # its corners lie beyond, and it does not
    assert reaches(circle, "ellipse", (16, 6), (44, 34), aspect=2.0)  # a row is as high as two columns
    assert reaches(circle, "rectangle", (16, 6), (44, 34))
    seen = Shutters((Shutter("RECTANGULAR", ((5, 5), (55, 35))),))
    assert not reaches(seen, "rectangle", *AROUND)
    assert not reaches(seen, "length", (5, 5), (5, 35))
    assert reaches(seen, "ellipse", (30, 4), (40, 20))
    both = Shutters((seen.shapes[0], circle.shapes[0]), BLOCK)
    assert reaches(both, "length", (20, 8), (40, 32))


def test_lines_that_leave_the_image_are_followed_on_it_only() -> None:
    shutters = Shutters(bitmap=BLOCK)
    assert reaches(shutters, "length", (-1e6, 20), (1e6, 20))
    assert not reaches(shutters, "length", (-1e6, 5), (1e6, 5))
    assert not reaches(shutters, "length", (-50, -10), (-10, -50))
    assert not reaches(shutters, "length", (5, 5), (5, 5))


def test_a_bitmap_of_another_size_covers_no_pixel() -> None:
    assert not reaches(Shutters(bitmap=np.ones((10, 10), bool)), "rectangle", (20, 20), (50, 35))
