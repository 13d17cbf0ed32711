"""How pictures are composed, with SciPy as the oracle of the cosine transform."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.fft import dctn

from medviewer.inference.texture import N_TEXTURE, SMALLEST, texture

EDGES = (0, 1, 2, 3, 5, 8, 13, 28)
BANDS = [(i, j) for i in range(7) for j in range(7)][1:]


def pictures(n: int, rows: int = SMALLEST, columns: int = SMALLEST) -> np.ndarray:
    return np.random.default_rng(4).uniform(-1, 1, (n, 1, rows, columns)).astype(np.float32)


@pytest.mark.parametrize("size", [(28, 28), (56, 40), (224, 225)])
def test_bands_are_the_energies_of_scipys_cosine_transform(size: tuple[int, int]) -> None:
    x = pictures(3, *size)
    energy = dctn(x[:, 0].astype(np.float64), axes=(1, 2), norm="ortho") ** 2 * SMALLEST**2 / np.prod(size)
    expected = [
        np.log(energy[:, EDGES[i] : EDGES[i + 1], EDGES[j] : EDGES[j + 1]].mean(axis=(1, 2)) + 1e-3) for i, j in BANDS
    ]
    np.testing.assert_allclose(texture(x)[:, : len(BANDS)], np.stack(expected, axis=1), rtol=1e-6)


def test_strips_and_shares_are_means_and_quantiles_of_the_greys() -> None:
    x = pictures(2)
    found = texture(x)[:, len(BANDS) :]
    np.testing.assert_allclose(found[:, 1], x[:, 0, 4:8].mean(axis=(1, 2)), rtol=1e-5)  # from the top
    np.testing.assert_allclose(found[:, 13], x[:, 0, :, 24:].mean(axis=(1, 2)), rtol=1e-5)  # from the left
    np.testing.assert_allclose(found[:, 16], np.median(x, axis=(1, 2, 3)), atol=1e-6)
    assert found.shape[1] == N_TEXTURE - len(BANDS) == 19
    assert (np.diff(found[:, 14:], axis=1) > 0).all()


def test_a_wave_is_all_in_the_band_of_its_frequency_and_direction() -> None:
    row = np.arange(SMALLEST) + 0.5
    down = np.broadcast_to(np.cos(np.pi * 6 * row / SMALLEST)[:, None], (SMALLEST, SMALLEST))
    for picture, band in ((down, (4, 0)), (down.T, (0, 4))):
        found = texture(picture[None, None])[0, : len(BANDS)]
        assert BANDS[int(found.argmax())] == band
        assert np.sort(found)[-2] == pytest.approx(np.log(1e-3), abs=1e-6)


def test_a_picture_is_composed_alike_at_any_size() -> None:
    x = pictures(1)
    large = np.kron(x, np.ones((1, 1, 4, 4)))
    smooth = slice(0, 4)  # repeating pixels changes the finest waves, not the coarse ones
    np.testing.assert_allclose(texture(large)[:, smooth], texture(x)[:, smooth], atol=0.05)
    np.testing.assert_allclose(texture(large)[:, len(BANDS) :], texture(x)[:, len(BANDS) :], atol=0.02)


def test_each_picture_is_described_for_itself() -> None:
    x = pictures(5)
    np.testing.assert_allclose(texture(x)[3], texture(x[3:4])[0])


def test_a_flat_picture_is_described_by_finite_numbers() -> None:
    assert np.isfinite(texture(np.zeros((1, 1, 28, 28), np.float32))).all()
