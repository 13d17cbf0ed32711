"""Two maps against each other: scipy's rank correlation, CIELAB's even steps, and no difference that is drawn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage, stats

from medviewer.explain.comparison import (
    GRID,
    NONE,
    agreement,
    agreement_sentence,
    difference,
    difference_levels,
    difference_table,
)
from medviewer.explain.overlay import normalise_map

CHANCE = np.random.default_rng(8)


def noise(size: int, grain: float = 1.0) -> np.ndarray:
    return ndimage.gaussian_filter(CHANCE.normal(size=(size, size)), grain).astype(np.float32)


def test_agreement_is_scipys_rank_correlation_of_what_speaks_for_the_finding() -> None:
    a, b = noise(56), noise(56)
    cells = [np.maximum(m, 0).reshape(GRID, 4, GRID, 4).mean(axis=(1, 3)).ravel() for m in (a, a + b)]
    assert agreement(a, a + b) == pytest.approx(stats.spearmanr(*cells).statistic, abs=1e-12)
    assert 0.2 < stats.spearmanr(*cells).statistic < 0.95


def test_equals_share_their_rank() -> None:
    """Half of a signed map is below zero, and all of that is the same: nothing."""
    a, b = noise(GRID, 0), noise(GRID, 0)
    found = stats.spearmanr(np.maximum(a, 0).ravel(), np.maximum(b, 0).ravel()).statistic
    assert agreement(a, b) == pytest.approx(found, abs=1e-12)


def test_any_grid_and_any_unit_can_be_compared() -> None:
    fine = np.zeros((224, 224), np.float32)
    fine[40:90, 100:160] = 1e-4
    coarse = np.zeros((7, 7), np.float32)
    coarse[1:3, 3:5] = 20
    near = agreement(fine, coarse)
    assert near is not None
    assert near > 0.6
    far = agreement(fine, coarse[::-1, ::-1].copy())
    assert far is not None
    assert far < 0.1
    assert agreement(fine, fine**3) == pytest.approx(1)


def test_a_map_without_evidence_agrees_with_nothing() -> None:
    assert agreement(noise(28), np.full((7, 7), -1, np.float32)) is None
    assert "empty" in agreement_sentence(None)


@pytest.mark.parametrize(
    ("value", "word"), [(0.7, "largely"), (0.69, "partly"), (0.4, "partly"), (0.39, "different"), (-0.4, "opposite")]
)
def test_agreement_in_words(value: float, word: str) -> None:
    assert word in agreement_sentence(value)


def test_the_difference_is_of_parts_of_the_strongest() -> None:
    first, second = noise(40) * 1000, noise(40)
    found = difference(first, second)
    np.testing.assert_allclose(found, normalise_map(first)[0] - normalise_map(second)[0])
    assert np.abs(difference(first, first * np.float32(1e-3))).max() < 1e-5
    first[3, 3] = np.nan
    assert np.isnan(difference(first, second)[3, 3])


def test_no_difference_and_what_was_not_examined_are_clear() -> None:
    levels = difference_levels(np.array([[0.0, np.nan, 1.0, -1.0]], np.float32))
    assert levels.tolist() == [[NONE, NONE, 255, 1]]
    table = difference_table(opacity=0.8, threshold=0.0)
    assert table[NONE, 3] == 0
    assert table[255, 3] == table[1, 3] == round(255 * 0.8)
    alpha = table[:, 3].astype(int)
    assert (np.diff(alpha[NONE:]) >= 0).all()
    assert (np.diff(alpha[: NONE + 1]) <= 0).all()
    hidden = difference_table(opacity=1, threshold=0.3)[:, 3]
    assert hidden[NONE - 38 : NONE + 39].max() == 0
    assert hidden[NONE + 40] > 0


def lightness(rgb: np.ndarray) -> np.ndarray:
    """CIE L* of sRGB, from the standard's own luminance."""
    part = rgb / 255
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    luminance = linear @ (0.2126, 0.7152, 0.0722)
    return np.where(luminance > 216 / 24389, 116 * np.cbrt(luminance) - 16, 24389 / 27 * luminance)


def test_both_sides_grow_lighter_in_the_same_even_steps() -> None:
    levels = lightness(difference_table(opacity=1, threshold=0)[:, :3].astype(float))
    first, second = levels[NONE:], levels[NONE:0:-1]
    assert levels[NONE] < 1
    for side in (first, second):
        assert np.abs(side - np.linspace(side[0], side[-1], len(side))).max() < 3
    assert abs(first[-1] - second[-1]) < 4


def test_one_side_is_yellow_the_other_blue() -> None:
    table = difference_table(opacity=1, threshold=0)
    assert table[255, 0] > table[255, 2] + 60
    assert table[1, 2] > table[1, 0] + 60
