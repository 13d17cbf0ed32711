"""A heat map lies over the anatomy that caused it, for any way an image was prepared."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from medviewer.domain.errors import GeometryError
from medviewer.inference.placement import grid_to_network, place_saliency
from medviewer.inference.preprocessing import prepare

SIZES = st.integers(1, 40)
ANGLES = st.floats(-np.pi, np.pi)
SCALES = st.floats(0.3, 8)
SHIFTS = st.floats(-30, 30)


@st.composite
def affines(draw: st.DrawFn) -> np.ndarray:
    """Any placement that can be undone: two scales, a rotation, perhaps a mirror, a shift."""
    angle, mirror = draw(ANGLES), draw(st.sampled_from([1, -1]))
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.eye(3)
    matrix[:2, :2] = rotation @ np.diag([draw(SCALES), mirror * draw(SCALES)])
    matrix[:2, 2] = draw(SHIFTS), draw(SHIFTS)
    return matrix


@given(affines(), st.integers(2, 12), st.integers(2, 12), st.data())
def test_a_delta_lands_where_its_pixel_is(matrix: np.ndarray, h: int, w: int, data: st.DataObject) -> None:
    """Move the image so that the pixel falls on a whole image pixel, then it must be there, at its value."""
    row, column = data.draw(st.integers(0, h - 1)), data.draw(st.integers(0, w - 1))
    target = matrix[:2, :2] @ (row, column)
    matrix[:2, 2] = np.array([20, 25]) - target
    saliency = np.zeros((h, w), np.float32)
    saliency[row, column] = 5
    placed = place_saliency(saliency, matrix, (48, 50))
    assert placed[20, 25] == pytest.approx(5, abs=1e-3)
    assert np.nanmax(placed) <= 5 + 1e-3


@given(affines(), SIZES, SIZES, st.integers(0, 2**32 - 1))
def test_equals_scipy(matrix: np.ndarray, h: int, w: int, seed: int) -> None:
    saliency = np.random.default_rng(seed).normal(size=(h, w)).astype(np.float32)
    inverse = np.linalg.inv(matrix)
    shape = (33, 29)
    placed = place_saliency(saliency, matrix, shape)
    expected = ndimage.affine_transform(
        saliency.astype(np.float64), inverse[:2, :2], inverse[:2, 2], shape, order=1, mode="nearest"
    )
    at = np.einsum("ij,jrc->irc", inverse[:2, :2], np.mgrid[: shape[0], : shape[1]]) + inverse[:2, 2][:, None, None]
    edge = np.array([h, w])[:, None, None] - 0.5
    clearly_on = ((at > -0.5 + 1e-6) & (at < edge - 1e-6)).all(axis=0)
    clearly_off = ((at < -0.5 - 1e-6) | (at > edge + 1e-6)).any(axis=0)
    np.testing.assert_allclose(placed[clearly_on], expected[clearly_on], atol=1e-4)
    assert np.isnan(placed[clearly_off]).all()


@given(SIZES, SIZES, st.integers(1, 60), st.integers(1, 60), st.booleans())
def test_upright_and_turned_ways_agree(h: int, w: int, rows: int, columns: int, mirror: bool) -> None:
    saliency = np.random.default_rng(h * w).normal(size=(h, w)).astype(np.float32)
    upright = np.diag([1.7, -0.9 if mirror else 0.9, 1.0])
    upright[:2, 2] = 2.2, 11.3
    turned = upright.copy()
    turned[0, 1] = 1e-13  # no rotation to speak of, but the general way
    np.testing.assert_allclose(
        place_saliency(saliency, upright, (rows, columns)), place_saliency(saliency, turned, (rows, columns)), atol=1e-4
    )


@given(st.integers(1, 14), st.integers(1, 14), st.integers(1, 32), st.integers(1, 32))
def test_a_coarse_grid_covers_the_whole_input_cell_by_cell(h: int, w: int, across: int, down: int) -> None:
    """The half-cell convention: each cell's own pixels average to its centre."""
    network = (h * down, w * across)
    transform = grid_to_network((h, w), network)
    for r, c in ((0, 0), (h - 1, w - 1), (h // 2, w // 2)):
        pixels = np.mgrid[r * down : (r + 1) * down, c * across : (c + 1) * across].reshape(2, -1)
        np.testing.assert_allclose((transform @ (r, c, 1))[:2], pixels.mean(axis=1), atol=1e-9)
    placed = place_saliency(np.ones((h, w), np.float32), transform, network)
    assert np.array_equal(placed, np.ones(network, np.float32)), "nothing of the input was left unexamined"


def test_grid_network_and_image_compose() -> None:
    """7 x 7 over an input of 224 x 224, made from a tall radiograph: the spot is in cell (2, 5)."""
    image = np.zeros((1000, 800), np.float32)
    image[325:385, 650:720] = 1
    steps = [{"op": "resize", "rows": 224, "columns": 224, "aspect": "pad"}]
    prepared = prepare(image, steps)
    coarse = prepared.tensor[0].reshape(7, 32, 7, 32).mean(axis=(1, 3))
    placed = place_saliency(coarse, prepared.model_to_image @ grid_to_network((7, 7), (224, 224)), image.shape)
    hottest = np.unravel_index(np.nanargmax(placed), placed.shape)
    assert image[hottest] == 1
    assert not np.isnan(placed).any()
    # The padded image is a whole number of pixels wide, so its scale is not quite 1000 / 224.
    row, column = (prepared.model_to_image @ grid_to_network((7, 7), (224, 224)) @ (2, 5, 1))[:2]
    assert (row, column) == pytest.approx((2.5 * 1000 / 7 - 0.5, 400 + (5 + 0.5 - 3.5) * 1000 / 7 - 0.5), abs=3)


def test_what_the_network_never_saw_is_not_a_number() -> None:
    shifted = np.eye(3)
    shifted[:2, 2] = 10, 20
    placed = place_saliency(np.zeros((4, 5), np.float32), shifted, (30, 40))
    seen = np.zeros((30, 40), bool)
    seen[10:14, 20:25] = True
    assert np.array_equal(~np.isnan(placed), seen)


@pytest.mark.parametrize(
    "matrix",
    [
        np.diag([1.0, 0.0, 1.0]),
        np.array([[1.0, 2.0, 0.0], [2.0, 4.0, 0.0], [0.0, 0.0, 1.0]]),
        np.full((3, 3), np.nan),
        np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.1, 0.0, 1.0]]),
        np.eye(4),
    ],
    ids=["flat", "dependent", "nan", "perspective", "4x4"],
)
def test_what_cannot_be_undone_is_refused(matrix: np.ndarray) -> None:
    with pytest.raises(GeometryError, match="cannot be placed"):
        place_saliency(np.zeros((2, 2), np.float32), matrix, (4, 4))


def test_a_very_small_scale_is_no_reason_to_refuse() -> None:
    placed = place_saliency(np.ones((2, 2), np.float32), np.diag([1e-7, 1e-7, 1.0]), (1, 1))
    assert placed[0, 0] == 1
