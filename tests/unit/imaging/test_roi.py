"""Which pixels belong to a region: the same as an independent test of each centre, and as SimpleITK's statistics."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medviewer.domain.frame import Frame
from medviewer.domain.measurement import Measurement, MeasurementKind, Point, new_measurement
from medviewer.domain.study import PixelDescription
from medviewer.imaging.measuring import measure
from medviewer.imaging.roi import crosses_itself, pixels_inside, polygon_area

SHAPE = (17, 23)
COORDINATES = st.tuples(st.integers(-8, 4 * 25).map(lambda n: n / 4), st.integers(-8, 4 * 19).map(lambda n: n / 4))


def drawn(kind: MeasurementKind, *points: Point) -> Measurement:
    return new_measurement(kind, points, ("1.2.3", 0))


def mask_of(kind: MeasurementKind, *points: Point) -> np.ndarray:
    region = pixels_inside(drawn(kind, *points), SHAPE)
    whole = np.zeros(SHAPE, bool)
    rows, columns = region.mask.shape
    whole[region.row : region.row + rows, region.column : region.column + columns] = region.mask
    return whole


def by_hand(points: tuple[Point, ...], x: Fraction, y: Fraction) -> bool | None:
    """Even-odd by exact arithmetic, with a ray to the left; None for a centre on the outline."""
    inside = False
    corners = [(Fraction(a), Fraction(b)) for a, b in points]
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        side = (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)
        if side == 0 and min(x0, x1) <= x <= max(x0, x1) and min(y0, y1) <= y <= max(y0, y1):
            return None
        if (y0 > y) != (y1 > y) and x0 + (y - y0) * (x1 - x0) / (y1 - y0) < x:
            inside = not inside
    return inside


@pytest.mark.reliability
@settings(max_examples=150)
@given(st.lists(COORDINATES, min_size=3, max_size=9))
def test_a_freehand_region_is_every_pixel_whose_centre_is_inside(points: list[Point]) -> None:
    found = mask_of("freehand", *points)
    for row in range(SHAPE[0]):
        for column in range(SHAPE[1]):
            expected = by_hand(tuple(points), Fraction(2 * column + 1, 2), Fraction(2 * row + 1, 2))
            assert expected is None or found[row, column] == expected, (row, column)


@given(COORDINATES, COORDINATES)
def test_a_rectangle_is_the_polygon_of_its_corners(a: Point, b: Point) -> None:
    assert np.array_equal(mask_of("rectangle", a, b), mask_of("freehand", a, (b[0], a[1]), b, (a[0], b[1])))


@given(COORDINATES, COORDINATES)
def test_an_ellipse_is_every_pixel_whose_centre_is_inside(a: Point, b: Point) -> None:
    found = mask_of("ellipse", a, b)
    center = Fraction(a[0] + b[0]) / 2, Fraction(a[1] + b[1]) / 2
    radii = abs(Fraction(b[0]) - Fraction(a[0])) / 2, abs(Fraction(b[1]) - Fraction(a[1])) / 2
    for row in range(SHAPE[0]):
        for column in range(SHAPE[1]):
            if not all(radii):
                assert not found[row, column]
                continue
            x, y = Fraction(2 * column + 1, 2), Fraction(2 * row + 1, 2)
            reach = ((x - center[0]) / radii[0]) ** 2 + ((y - center[1]) / radii[1]) ** 2
            if abs(reach - 1) > Fraction(1, 10**9):
                assert found[row, column] == (reach < 1)


def test_regions_that_share_an_edge_share_no_pixel_and_leave_none_out() -> None:
    left, right = mask_of("rectangle", (2.5, 2.5), (8.5, 9.5)), mask_of("rectangle", (8.5, 2.5), (14.5, 9.5))
    assert not (left & right).any()
    assert np.array_equal(left | right, mask_of("rectangle", (2.5, 2.5), (14.5, 9.5)))
    assert mask_of("rectangle", (2, 2), (3, 3)).sum() == 1, "one pixel from corner to corner"


def test_a_region_beyond_the_image_ends_at_its_border() -> None:
    assert mask_of("rectangle", (-5, -5), (50, 50)).all()
    assert not mask_of("rectangle", (30, 30), (40, 40)).any()


def test_a_large_disc_has_the_area_of_a_disc() -> None:
    region = pixels_inside(drawn("ellipse", (100.0, 100.0), (900.0, 500.0)), (1000, 1000))
    assert region.mask.sum() == pytest.approx(math.pi * 400 * 200, rel=1e-3)
    outline = [(500 + 400 * math.cos(t), 300 + 200 * math.sin(t)) for t in np.linspace(0, 2 * math.pi, 721)[:-1]]
    assert polygon_area(outline) == pytest.approx(math.pi * 400 * 200, rel=1e-4)
    same = pixels_inside(drawn("freehand", *outline), (1000, 1000))
    assert same.mask.sum() == pytest.approx(region.mask.sum(), rel=1e-3)


@pytest.mark.parametrize(
    ("points", "does"),
    [
        (((0, 0), (10, 10), (10, 0), (0, 10)), True),
        (((0, 0), (10, 0), (10, 10), (0, 10)), False),
        (((0, 0), (10, 0), (5, 0), (5, 5)), False),
        (((0, 0), (10, 0), (10, 10), (5, -5)), True),
        (((0, 0), (10, 0), (10, 10), (5, 0)), False),
        # A figure of eight through a vertex of both lines, of one of them, and beside a point that is repeated.
        (((10, 10), (20, 20), (30, 30), (30, 10), (20, 20), (10, 30)), True),
        (((10, 10), (30, 30), (30, 10), (20, 20), (10, 30)), True),
        (((0, 0), (5, 5), (5, 5), (10, 0), (10, 10), (5, 5), (0, 10)), True),
        # Repeated points, a closing point, and a way forth and back are no crossing.
        (((0, 0), (0, 0), (10, 0), (10, 10), (10, 10), (10, 10), (0, 10)), False),
        (((0, 0), (10, 0), (10, 10), (0, 10), (0, 0)), False),
        (((0, 0), (10, 0), (10, 10), (0, 10), (0, 0), (0, 0)), False),
        (((0, 0), (10, 0), (10, 5), (12, 5), (10, 5), (10, 10), (0, 10)), False),
        (((3, 3), (3, 3), (3, 3)), False),
    ],
)
def test_an_outline_that_crosses_itself_is_noticed(points: tuple[Point, ...], does: bool) -> None:
    assert crosses_itself(points) == does


def filled_area(corners: list[tuple[Fraction, Fraction]]) -> Fraction:
    """What the even-odd rule fills, exactly: strip by strip between the heights at which edges begin, end or cross."""
    edges = list(zip(corners, corners[1:] + corners[:1], strict=True))
    heights = {y for _, y in corners}
    for (a, b), (c, d) in combinations(edges, 2):
        across = (b[0] - a[0]) * (d[1] - c[1]) - (b[1] - a[1]) * (d[0] - c[0])
        if across:
            share = ((c[0] - a[0]) * (d[1] - c[1]) - (c[1] - a[1]) * (d[0] - c[0])) / across
            heights.add(a[1] + share * (b[1] - a[1]))
    total, ordered = Fraction(0), sorted(heights)
    for low, high in pairwise(ordered):
        middle = (low + high) / 2
        at = sorted(
            a[0] + (middle - a[1]) / (b[1] - a[1]) * (b[0] - a[0])
            for a, b in edges
            if min(a[1], b[1]) < middle < max(a[1], b[1])
        )
        total += (high - low) * sum(right - left for left, right in zip(at[::2], at[1::2], strict=True))
    return total


@pytest.mark.reliability
@settings(max_examples=300)
@given(st.lists(st.one_of(COORDINATES, st.tuples(st.integers(0, 3), st.integers(0, 3))), min_size=3, max_size=8))
def test_crossings_are_those_of_exact_arithmetic(points: list[Point]) -> None:
    corners = [(Fraction(a), Fraction(b)) for a, b in points]
    edges = list(zip(corners, corners[1:] + corners[:1], strict=True))

    def side(a: tuple[Fraction, ...], b: tuple[Fraction, ...], c: tuple[Fraction, ...]) -> Fraction:
        return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])

    do_meet = any(
        side(a, b, c) * side(a, b, d) <= 0 and side(c, d, a) * side(c, d, b) <= 0
        for (one, (a, b)), (other, (c, d)) in combinations(enumerate(edges), 2)
        if other - one not in (1, len(edges) - 1)
    )
    if crosses_itself(points):
        assert do_meet
    else:
        assert filled_area(corners) == Fraction(polygon_area(points)), "what it does not notice has its area"


def test_statistics_equal_those_of_simpleitk() -> None:
    sitk = pytest.importorskip("SimpleITK")
    rng = np.random.default_rng(5)
    stored = rng.integers(-1000, 3000, (64, 80)).astype(np.int16)
    description = PixelDescription("CT", 64, 80, is_signed=True, rescale_slope=1.5, rescale_intercept=-7.0)
    outline = ((10.2, 5.1), (60.7, 12.4), (70.3, 50.9), (30.6, 60.2), (12.1, 40.3))
    found = {q.name: q.value for q in measure(drawn("freehand", *outline), Frame(stored, description))}
    inside = [[by_hand(outline, Fraction(2 * c + 1, 2), Fraction(2 * r + 1, 2)) for c in range(80)] for r in range(64)]
    labels = sitk.GetImageFromArray(np.array(inside).astype(np.uint8))
    statistics = sitk.LabelStatisticsImageFilter()
    statistics.Execute(sitk.GetImageFromArray(stored * 1.5 - 7.0), labels)
    assert found["pixels"] == statistics.GetCount(1)
    assert found["mean"] == pytest.approx(statistics.GetMean(1))
    assert found["SD"] == pytest.approx(statistics.GetSigma(1))
    assert (found["minimum"], found["maximum"]) == (statistics.GetMinimum(1), statistics.GetMaximum(1))
