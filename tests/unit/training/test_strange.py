"""The pictures that guards are measured with are what their names say."""

from __future__ import annotations

import numpy as np
import pytest

from medviewer.training.strange import CHANGES, SIDE, made_up


@pytest.fixture(scope="module")
def pictures():
    return made_up()


def test_they_are_the_same_every_time_and_full_of_contrast(pictures):
    again = made_up()
    assert list(again) == list(pictures)
    for kind, found in pictures.items():
        assert len(found) >= 5
        for picture, same in zip(found, again[kind], strict=True):
            np.testing.assert_array_equal(picture, same)
            assert picture.shape == (SIDE, SIDE)
            assert picture.dtype == np.uint8
            assert (picture.min(), picture.max()) == (0, 255), kind


def test_ramps_go_four_ways_and_rise_all_the_way(pictures):
    down = []
    for picture in pictures["ramps in four directions"]:
        grey = picture.astype(float)
        steps = [np.diff(grey, axis=axis) for axis in (0, 1)]
        assert sum(not step.any() for step in steps) == 1
        way = next(step for step in steps if step.any())
        assert (way >= 0).all() or (way <= 0).all()
        down.append((steps[0].any(), way.sum() > 0))
    assert len(set(down)) == 4


def test_each_of_four_corners_is_bright_and_the_rest_black(pictures):
    brightest = set()
    for picture in pictures["black with a bright corner"]:
        ends = picture[:: SIDE - 1, :: SIDE - 1]
        brightest.add(int(ends.argmax()))
        assert np.sort(ends.ravel())[2] < 10
    assert brightest == {0, 1, 2, 3}


def test_blurred_noise_is_smooth_where_noise_is_not(pictures):
    def likeness(kind):
        """How much pixels are like those a twenty-eighth of the picture away."""
        step = SIDE // 28
        return [np.corrcoef(one[:, step:].ravel(), one[:, :-step].ravel())[0, 1] for one in pictures[kind]]

    assert max(likeness("noise")) < 0.1
    assert min(likeness("blurred noise")) > 0.3


def test_changes_are_the_image_inverted_and_turned():
    image = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert CHANGES["inverted"](image)[0, 0] == 255
    np.testing.assert_array_equal(CHANGES["turned by 90 degrees to the left"](image)[:, 0], [2, 1, 0])
    np.testing.assert_array_equal(CHANGES["turned by 90 degrees to the right"](image)[:, 0], [3, 4, 5])
    np.testing.assert_array_equal(CHANGES["upside down"](image)[0], image[1])
