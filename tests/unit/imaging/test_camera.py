"""From where a volume is looked at: the six standard views, and what drags do to them."""

from __future__ import annotations

import numpy as np
import pytest

from medviewer.domain.study import PixelDescription
from medviewer.imaging.camera import SIDES, Camera, look_from, moved, rolled, turned, zoomed
from medviewer.imaging.orientation import orientation_letters

CORNERS = np.array([[-100.0, -80, -60], [100, 80, 140]])
TOWARDS = {
    "A": (0, -1, 0), "P": (0, 1, 0), "R": (-1, 0, 0), "L": (1, 0, 0), "H": (0, 0, 1), "F": (0, 0, -1),
}  # fmt: skip
# Standing there, head up (from head and feet: the front up): what is on the reader's left and above.
LEFT_AND_TOP = {"A": "RH", "P": "LH", "R": "PH", "L": "AH", "H": "LA", "F": "RA"}


@pytest.mark.parametrize("side", SIDES)
def test_each_standard_view_faces_its_side_with_the_right_letters(side: str) -> None:
    camera = look_from(side, CORNERS)
    np.testing.assert_allclose(camera.ahead, -np.array(TOWARDS[side]))
    letters = orientation_letters(PixelDescription("CT", 10, 10, plane=camera.plane))
    assert letters.left + letters.top == LEFT_AND_TOP[side]
    assert camera.center == (0, 0, 40)
    assert camera.height_mm == pytest.approx(220)


def place(camera: Camera, point: np.ndarray) -> tuple[float, float]:
    """Where a point lies in the picture, right and down of its middle, in mm."""
    away = point - np.array(camera.center)
    return float(away @ np.array(camera.right)), float(away @ np.array(camera.down))


def test_the_front_follows_the_mouse_to_the_right_and_down() -> None:
    before = look_from("A", CORNERS)
    nose = np.array(before.center) - 50 * np.array(before.ahead)
    right, down = place(turned(before, 10, 0), nose)
    assert (right, down) == pytest.approx((50 * np.sin(np.radians(10)), 0), abs=1e-9)
    right, down = place(turned(before, 0, 10), nose)
    assert (right, down) == pytest.approx((0, 50 * np.sin(np.radians(10))), abs=1e-9)


def test_a_quarter_turn_brings_the_side_that_was_on_the_left_to_the_front() -> None:
    quarter = turned(look_from("A", CORNERS), 90, 0)
    np.testing.assert_allclose(quarter.ahead, look_from("R", CORNERS).ahead, atol=1e-12)
    np.testing.assert_allclose(quarter.right, look_from("R", CORNERS).right, atol=1e-12)


def test_a_thousand_turns_do_not_shear_the_patient() -> None:
    camera = look_from("L", CORNERS)
    for index in range(1000):
        camera = rolled(turned(camera, 3.3, -2.1 + index % 3), 1.7)
    axes = np.array([camera.right, camera.down, camera.ahead])
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1)  # never a mirror image


def test_rounding_that_has_gathered_is_taken_out_by_the_next_turn() -> None:
    off = Camera((0, 0, 0), (1, 0, 0), (1e-4, 0, -1), 100)
    camera = turned(off, 0.1, 0.1)
    assert np.dot(camera.right, camera.down) == pytest.approx(0, abs=1e-12)
    assert np.linalg.norm(camera.down) == pytest.approx(1, abs=1e-12)


def test_what_is_dragged_follows_and_what_is_rolled_turns_clockwise() -> None:
    before = look_from("A", CORNERS)
    point = np.array([10.0, 0, 40])
    assert place(moved(before, 0.25, -0.5), point) == pytest.approx((10 + 55, -110))
    assert place(rolled(before, 90), point) == pytest.approx((0, 10), abs=1e-9)  # from 3 o'clock to 6
    assert zoomed(before, 2).height_mm == pytest.approx(110)
    assert zoomed(before, 1e9).height_mm == 1
