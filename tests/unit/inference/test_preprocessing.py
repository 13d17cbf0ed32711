"""Preprocessing: one vocabulary, the same numbers for training and serving, and a way back to the image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from medviewer.domain.errors import CardError, InputError
from medviewer.inference.card import read_card
from medviewer.inference.inputs import image as image_input
from medviewer.inference.placement import place_saliency
from medviewer.inference.preprocessing import OPERATIONS, prepare
from tests import fakes

CHEST = (
    {"op": "resize", "rows": 224, "columns": 224, "mode": "area", "aspect": "stretch"},
    {"op": "percentile_window", "low": 1, "high": 99},
    {"op": "normalise", "mean": 0.5, "std": 0.5},
)


def smooth(rows: int, columns: int) -> np.ndarray:
    """A picture defined on the unit square, so that it exists at every size."""
    y = (np.arange(rows)[:, None] + 0.5) / rows
    x = (np.arange(columns)[None] + 0.5) / columns
    return (120 + 60 * np.sin(5 * x + 2 * y) + 40 * np.cos(7 * y)).astype(np.float32)


def test_golden_input_gives_the_golden_tensor():
    # By hand: percentiles 0 and 100 of 0..8 map to 0..1, then (v - 0.5) / 0.25.
    values = np.arange(9, dtype=np.float32).reshape(3, 3)
    steps = [{"op": "percentile_window", "low": 0, "high": 100}, {"op": "normalise", "mean": 0.5, "std": 0.25}]
    prepared = prepare(values, steps)
    expected = (np.arange(9).reshape(1, 3, 3) / 8 - 0.5) / 0.25
    assert prepared.tensor.dtype == np.float32
    np.testing.assert_allclose(prepared.tensor, expected, atol=1e-6)
    np.testing.assert_array_equal(prepared.model_to_image, np.eye(3))


def test_halving_averages_with_the_triangle_filter():
    # A row 0 1 2 3 halved: weights 3/8 3/8 1/8 at the border (renormalised), so 4/7 and 17/7.
    values = np.tile(np.arange(4, dtype=np.float32), (4, 1))
    tensor = prepare(values, [{"op": "resize", "rows": 2, "columns": 2}]).tensor[0]
    np.testing.assert_allclose(tensor, [[5 / 7, 16 / 7]] * 2, atol=1e-6)


@pytest.mark.parametrize("shape", [(224, 224), (500, 700), (2021, 1404), (100, 90)])
def test_resize_agrees_with_pillow(shape):
    values = np.random.default_rng(0).random(shape, dtype=np.float32)
    mine = prepare(values, [{"op": "resize", "rows": 224, "columns": 192}]).tensor[0]
    theirs = np.asarray(Image.fromarray(values).resize((192, 224), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(mine, theirs, atol=2e-6)


@pytest.mark.parametrize("shape", [(1858, 2090), (672, 448), (800, 1000)])
def test_a_large_image_gives_what_its_small_copy_gives(shape):
    # Training saw 224 x 224 copies; readers open the full-size film.
    large, small = prepare(smooth(*shape), CHEST), prepare(smooth(224, 224), CHEST)
    np.testing.assert_allclose(large.tensor, small.tensor, atol=0.02)


def test_exposure_does_not_reach_the_network():
    image = smooth(300, 200)
    np.testing.assert_allclose(prepare(image, CHEST).tensor, prepare(image * 13 + 900, CHEST).tensor, atol=1e-4)


def test_padding_keeps_the_shape_and_fills_with_the_darkest_value():
    values = np.full((100, 50), 7, dtype=np.float32)
    values[0, 0] = 3
    tensor = prepare(values, [{"op": "resize", "rows": 20, "columns": 20, "aspect": "pad"}]).tensor[0]
    assert (tensor[:, :5] == 3).all()
    assert (tensor[:, 15:] == 3).all()
    assert (tensor[1:, 5:15] > 6).all()


@pytest.mark.parametrize("before", [[], [{"op": "resize", "rows": 32, "columns": 12, "aspect": "stretch"}]])
def test_padding_keeps_the_shape_that_the_image_has_in_the_patient(before):
    # 40 x 20 pixels, each half as high as wide: a square, also where an earlier step gave it other pixels.
    pad = {"op": "resize", "rows": 16, "columns": 24, "aspect": "pad"}
    values = np.full((40, 20), 7, dtype=np.float32)
    values[0, 0] = 3
    prepared = prepare(values, [*before, pad], pixel_aspect=0.5)
    border = prepared.tensor[0][:, [0, 1, 2, 3, 20, 21, 22, 23]]
    assert (border == prepared.tensor.min()).all()
    assert (prepared.tensor[0][8:, 4:20] > border.max()).all()
    np.testing.assert_allclose(prepared.model_to_image @ (-0.5, 3.5, 1), (-0.5, -0.5, 1))
    np.testing.assert_allclose(prepared.model_to_image @ (15.5, 19.5, 1), (39.5, 19.5, 1))


@pytest.mark.parametrize(
    ("shape", "part"),
    [
        ((60, 40), (slice(10, 50), slice(0, 40))),
        ((31, 50), (slice(0, 31), slice(10, 41))),
        ((9, 9), (slice(9), slice(9))),
    ],
)
def test_cropping_shows_the_middle_and_nothing_else(shape, part):
    crop = {"op": "resize", "rows": 16, "columns": 16, "aspect": "crop"}
    image = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    prepared = prepare(image, [crop])
    np.testing.assert_array_equal(prepared.tensor, prepare(image[part], [{**crop, "aspect": "stretch"}]).tensor)
    first, last = (np.array([s.indices(n)[i] for s, n in zip(part, shape, strict=True)]) for i in (0, 1))
    np.testing.assert_allclose(prepared.model_to_image @ (-0.5, -0.5, 1), (*(first - 0.5), 1))
    np.testing.assert_allclose(prepared.model_to_image @ (15.5, 15.5, 1), (*(last - 0.5), 1))


def test_cropping_keeps_the_shape_that_the_image_has_in_the_patient():
    # 60 x 40 pixels, each half as high as wide: 30 x 40, of which 30 x 30 are shown.
    crop = {"op": "resize", "rows": 16, "columns": 16, "aspect": "crop"}
    to_image = prepare(np.zeros((60, 40), np.float32), [crop], pixel_aspect=0.5).model_to_image
    np.testing.assert_allclose(to_image @ (-0.5, -0.5, 1), (-0.5, 4.5, 1))
    np.testing.assert_allclose(to_image @ (15.5, 15.5, 1), (59.5, 34.5, 1))


def test_what_cropping_leaves_out_is_not_examined():
    crop = {"op": "resize", "rows": 16, "columns": 16, "aspect": "crop"}
    prepared = prepare(np.zeros((60, 40), np.float32), [crop])
    placed = place_saliency(np.ones((16, 16), np.float32), prepared.model_to_image, (60, 40))
    assert np.isnan(placed[:9]).all()
    assert np.isnan(placed[51:]).all()
    assert np.isfinite(placed[11:49]).all()


@pytest.mark.parametrize("shape", [{"pixel_spacing_mm": (0.5, 1.0)}, {"pixel_aspect_ratio": 0.5}])
def test_an_image_says_the_shape_of_its_pixels(tmp_path, shape):
    steps = [{"op": "resize", "rows": 32, "columns": 32, "aspect": "pad"}]
    fakes.make_model(tmp_path, preprocessing=steps)
    spec = read_card(tmp_path).inputs[0]
    frame = fakes.make_frame(60, 30)
    described = replace(frame, description=replace(frame.description, **{"pixel_spacing_mm": None} | shape))
    place = image_input.encode(described, spec).place
    np.testing.assert_allclose(np.diag(place), (60 / 32, 30 / 32, 1))  # a square of 30 x 30 mm fills the grid


@given(
    rows=st.integers(1, 60),
    columns=st.integers(1, 60),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    aspect=st.sampled_from(["stretch", "pad", "crop"]),
    pixel_aspect=st.sampled_from([1.0, 0.4, 2.5]),
)
def test_the_transform_leads_back_to_the_same_place(rows, columns, size, aspect, pixel_aspect):
    # A picture whose value is its own row (or column): away from the borders, where the
    # filter is cut, each network pixel must hold the place that model_to_image says it
    # shows. A sampled triangle filter is off by a fraction of a pixel, an offset would not be.
    step_to = [{"op": "resize", "rows": size[0], "columns": size[1], "aspect": aspect}]
    for axis, place in enumerate(np.indices((rows, columns)).astype(np.float32)):
        prepared = prepare(place, step_to, pixel_aspect=pixel_aspect)
        grid = np.stack([*np.indices(size).reshape(2, -1), np.ones(size[0] * size[1])])
        shown = (prepared.model_to_image @ grid)[:2]
        step = np.diag(prepared.model_to_image)[:2, None]
        # A cut edge is a border too.
        edges = prepared.model_to_image @ np.array([[-0.5, size[0] - 0.5], [-0.5, size[1] - 0.5], [1, 1]])
        first = np.maximum(edges[:2, :1] + 0.5, 0)
        last = np.minimum(edges[:2, 1:] - 0.5, np.array([[rows], [columns]]) - 1)
        inside = ((shown >= first + step) & (shown <= last - step)).all(axis=0)
        error = prepared.tensor[0].ravel()[inside] - shown[axis][inside]
        assert np.abs(error).max(initial=0) < 0.2


def test_corners_of_the_grid_are_corners_of_the_image():
    to_image = prepare(np.zeros((900, 600), np.float32), CHEST).model_to_image
    # Pixel edges, half a pixel before the first and after the last centre.
    np.testing.assert_allclose(to_image @ (-0.5, -0.5, 1), (-0.5, -0.5, 1))
    np.testing.assert_allclose(to_image @ (223.5, 223.5, 1), (899.5, 599.5, 1))


def test_a_flat_image_is_no_error():
    tensor = prepare(np.full((30, 40), 9, np.float32), CHEST).tensor
    np.testing.assert_array_equal(tensor, -1)


def test_the_rounding_that_resizing_leaves_in_a_flat_image_is_not_blown_up():
    steps = [{"op": "resize", "rows": 28, "columns": 28}, {"op": "standardise"}]
    for grey in (0.1, 0.7, 1 / 3, 255.0):
        tensor = prepare(np.full((113, 97), grey, np.float32), steps).tensor
        assert np.abs(tensor).max() < 1e-3


def test_clip_and_standardise():
    values = np.array([[-5, 0], [1, 9]], dtype=np.float32)
    np.testing.assert_array_equal(prepare(values, [{"op": "clip", "low": 0, "high": 2}]).tensor[0], [[0, 0], [1, 2]])
    standard = prepare(values, [{"op": "standardise"}]).tensor
    assert standard.mean() == pytest.approx(0, abs=1e-6)
    assert standard.std() == pytest.approx(1, abs=1e-6)


def test_the_input_is_left_alone():
    values = smooth(50, 60)
    before = values.copy()
    prepare(values, CHEST)
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize(
    "step",
    [
        {"op": "histogram_equalise"},
        {},
        {"op": 3},
        {"op": "resize", "rows": 0, "columns": 5},
        {"op": "resize", "rows": 5},
        {"op": "resize", "rows": 5, "columns": 5, "mode": "nearest"},
        {"op": "percentile_window", "low": 60, "high": 40},
        {"op": "normalise", "mean": 0, "std": 0},
        {"op": "clip", "low": 1, "high": 1},
        {"op": "standardise", "surprise": 1},
        {"op": "resize", "rows": 10**12, "columns": 10},
        {"op": "resize", "rows": 10, "columns": 8193},
    ],
)
def test_a_wrong_step_is_a_card_error(step):
    with pytest.raises(CardError, match="card"):
        prepare(smooth(8, 8), [step])


@pytest.mark.parametrize(
    "values", [np.zeros((0, 4)), np.zeros((3, 4, 5)), np.full((4, 4), np.nan), np.full((4, 4), np.inf)]
)
def test_an_impossible_image_is_an_input_error(values):
    with pytest.raises(InputError):
        prepare(values.astype(np.float32), CHEST)


def test_the_vocabulary_is_closed():
    assert set(OPERATIONS) == {"resize", "percentile_window", "clip", "normalise", "standardise"}
