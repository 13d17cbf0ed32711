from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage

from medviewer.inference.stability import ROTATION_DEGREES, SHIFT, WINDOW, variants

SIDE = 40


@pytest.fixture
def tensor() -> np.ndarray:
    noise = np.random.default_rng(1).uniform(0, 1, (1, SIDE, SIDE))
    return scipy.ndimage.gaussian_filter(noise, (0, 2, 2)).astype(np.float32)


def test_shifts_are_those_of_scipy(tensor: np.ndarray) -> None:
    found = variants(tensor, (-10, 10))
    step = SHIFT * SIDE
    for variant, shift in ((found[0, 0], (step, 0)), (found[1, 0], (0, -step))):
        expected = scipy.ndimage.shift(tensor[0], shift, order=1, mode="nearest")
        np.testing.assert_allclose(variant, expected, atol=1e-6)


def test_rotations_are_those_of_scipy(tensor: np.ndarray) -> None:
    found = variants(tensor, (-10, 10))
    both = {
        degrees: scipy.ndimage.rotate(tensor[0], degrees, reshape=False, order=1, mode="nearest")
        for degrees in (ROTATION_DEGREES, -ROTATION_DEGREES)
    }
    for variant in found[2:4, 0]:
        assert min(np.abs(variant - expected).max() for expected in both.values()) < 1e-5
    assert np.abs(found[2] - found[3]).max() > 1e-3


def test_windows_stretch_and_squeeze_about_the_middle(tensor: np.ndarray) -> None:
    narrow, wide = variants(tensor, (0, 1))[4:, 0]
    np.testing.assert_allclose(narrow, np.clip(0.5 + (tensor[0] - 0.5) / (1 - WINDOW), 0, 1), atol=1e-6)
    np.testing.assert_allclose(wide, 0.5 + (tensor[0] - 0.5) / (1 + WINDOW), atol=1e-6)


def test_values_stay_within_the_bounds(tensor: np.ndarray) -> None:
    assert variants(tensor, (0.45, 0.55)).min() >= np.float32(0.45)
    assert variants(tensor).max() <= tensor.max()
    assert variants(tensor).shape == (6, 1, SIDE, SIDE)


def test_a_flat_image_stays_flat() -> None:
    np.testing.assert_array_equal(variants(np.ones((1, 8, 8), np.float32)), np.ones((6, 1, 8, 8), np.float32))
