"""Where planes meet, against solving the three planes' equations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medviewer.domain.study import PixelDescription, Plane
from medviewer.imaging.planes import grid_of, line_of, to_image, to_patient
from medviewer.imaging.reslice import PlaneGrid

AXIAL = PlaneGrid(Plane((0.0, 0.0, 50.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)), (0.5, 0.5), (200, 200))
CORONAL = PlaneGrid(Plane((0.0, 30.0, 100.0), (1.0, 0.0, 0.0), (0.0, 0.0, -1.0)), (1.0, 1.0), (100, 100))


def grid(seed: int) -> PlaneGrid:
    chance = np.random.default_rng(seed)
    q, _ = np.linalg.qr(chance.normal(size=(3, 3)))
    position = chance.uniform(-20, 20, 3)
    return PlaneGrid(Plane(tuple(position), tuple(q[:, 0]), tuple(q[:, 1])), (0.7, 0.9), (40, 60))


@given(st.integers(0, 10_000), st.floats(-100, 100), st.floats(-100, 100))
def test_there_and_back(seed: int, column: float, row: float) -> None:
    where = grid(seed)
    found = to_image(where, to_patient(where, column, row))
    np.testing.assert_allclose(found, (column, row, 0), atol=1e-9)


def test_the_centre_of_the_first_pixel_is_the_position() -> None:
    np.testing.assert_allclose(to_patient(AXIAL, 0.5, 0.5), AXIAL.plane.position)


def test_an_axial_slice_on_a_coronal_one() -> None:
    line = line_of(AXIAL, CORONAL)
    assert line is not None
    # z = 50 lies 50 mm below the first row's centre at z = 100; x from -0.25 to 99.75 mm.
    np.testing.assert_allclose(sorted(line), [(0.25, 50.5), (100.25, 50.5)])


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_the_line_lies_in_both_planes_and_ends_at_the_others_edge(one: int, two: int) -> None:
    other, on = grid(one), grid(two)
    line = line_of(other, on)
    if line is None:
        return
    for column, row in line:
        place = to_patient(on, column, row)
        c, r, distance = to_image(other, place)
        assert abs(distance) < 1e-6
        on_edge = min(abs(c), abs(c - other.shape[1]), abs(r), abs(r - other.shape[0]))
        assert on_edge < 1e-6
        assert -1e-6 <= c <= other.shape[1] + 1e-6
        assert -1e-6 <= r <= other.shape[0] + 1e-6


@pytest.mark.parametrize("other", [AXIAL, CORONAL])
def test_parallel_planes_and_planes_out_of_reach_have_no_line(other: PlaneGrid) -> None:
    moved = PlaneGrid(Plane((0.0, 0.0, 500.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)), (0.5, 0.5), (200, 200))
    assert line_of(other, moved) is None


def test_an_image_of_unknown_place_has_no_grid() -> None:
    assert grid_of(PixelDescription("CR", 4, 4, pixel_spacing_mm=(1, 1))) is None
    assert grid_of(PixelDescription("CT", 4, 4, plane=AXIAL.plane)) is None
    assert grid_of(PixelDescription("CT", 4, 5, plane=AXIAL.plane, pixel_spacing_mm=(1, 2))) == PlaneGrid(
        AXIAL.plane, (1, 2), (4, 5)
    )
