"""How alike maps are, what shares mean, and what the card then says: compared with SciPy, or with answers known."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
from scipy import ndimage, stats

from medviewer.domain.progress import no_progress
from medviewer.explain import sanity
from medviewer.explain.faithfulness import beats_random, judge
from medviewer.explain.question import Question
from medviewer.inference.card import Card, read_card
from tests import fakes
from tests.unit.explain.test_faithfulness import Known, local_energy, question, spot


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Card:
    return read_card(fakes.make_model(tmp_path_factory.mktemp("models") / "fake"))


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return ndimage.gaussian_filter(np.random.default_rng(4).normal(size=(56, 56)), 1).astype(np.float32)[None]


def test_rank_correlation_is_that_of_scipy_with_equal_values_too() -> None:
    chance = np.random.default_rng(1)
    for values in (chance.normal(size=(2, 9, 11)), chance.integers(0, 4, (2, 9, 11)).astype(float)):
        expected = stats.spearmanr(values[0].ravel(), values[1].ravel()).statistic
        assert sanity.likeness(*values.astype(np.float32)).rank == pytest.approx(expected, abs=1e-6)


def test_methods_agree_by_where_they_look_whatever_their_grid() -> None:
    """A coarse map and the same places with grain on a fine grid; compared with SciPy on the means of the cells."""
    chance = np.random.default_rng(5)
    coarse = chance.normal(size=(7, 7)).astype(np.float32)
    fine = np.kron(coarse, np.ones((32, 32))).astype(np.float32)
    assert sanity.agreement(coarse, fine) == pytest.approx(1)
    assert sanity.agreement(fine, -coarse) == pytest.approx(-1)
    other = chance.normal(size=(224, 224)).astype(np.float32)
    cells = other.reshape(7, 32, 7, 32).mean(axis=(1, 3))
    expected = stats.spearmanr(coarse.ravel(), cells.ravel()).statistic
    assert sanity.agreement(other, coarse) == pytest.approx(expected, abs=1e-6)


def test_structural_similarity_is_the_published_formula() -> None:
    """Worked out window by window with numpy's own moments."""
    chance = np.random.default_rng(2)
    a, b = chance.random((12, 15)), chance.random((12, 15))
    found = []
    for r in range(12 - 6):
        for c in range(15 - 6):
            x, y = a[r : r + 7, c : c + 7].ravel(), b[r : r + 7, c : c + 7].ravel()
            covariance = np.cov(x, y)
            above = (2 * x.mean() * y.mean() + 1e-4) * (2 * covariance[0, 1] + 9e-4)
            below = (x.mean() ** 2 + y.mean() ** 2 + 1e-4) * (covariance[0, 0] + covariance[1, 1] + 9e-4)
            found.append(above / below)
    assert sanity.structural_similarity(a, b) == pytest.approx(np.mean(found), rel=1e-9)
    assert sanity.structural_similarity(a, a) == pytest.approx(1)


def test_a_map_that_is_the_same_everywhere_is_like_no_other() -> None:
    flat, other = np.full((8, 8), 2.0, np.float32), np.random.default_rng(3).random((8, 8)).astype(np.float32)
    assert sanity.likeness(flat, other).rank == 0


@pytest.mark.parametrize(("hits", "n"), [(0, 20), (1, 20), (10, 20), (150, 200), (200, 200)])
def test_intervals_are_those_of_scipy(hits: int, n: int) -> None:
    expected = stats.binomtest(hits, n).proportion_ci(0.95, method="wilson")
    assert sanity.interval(hits, n) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_the_quick_verdict_is_the_one_of_the_whole_comparison(card: Card, image: np.ndarray) -> None:
    chance = np.random.default_rng(8)
    seen = set()
    for _ in range(12):
        row, column = chance.integers(5, 50, 2)
        saliency = spot(int(row), int(column)) + spot(15, 38) * chance.choice([0, 0.5, 3])
        whole = judge(question(card, image, local_energy)[0], saliency, 19)
        asked, engine = question(card, image, local_energy)
        quick = beats_random(asked, saliency, 19)
        assert quick == (whole.deletion_percentile >= 95, whole.insertion_percentile >= 95)
        seen.add((quick, sum(engine.batches) < 3 + 20 * 16))
    assert ((True, True), False) in seen  # a good map has to meet them all
    assert ((False, False), True) in seen  # a bad one is known soon


def test_equal_curves_count_half_as_everywhere(card: Card, image: np.ndarray) -> None:
    asked, _ = question(card, image, lambda x: np.zeros(len(x)))
    assert beats_random(asked, spot(15, 38), 19) == (False, False)


def test_a_flat_map_beats_nothing_and_runs_nothing(card: Card, image: np.ndarray) -> None:
    asked, engine = question(card, image, local_energy)
    assert beats_random(asked, np.ones((7, 7), np.float32), 19) == (False, False)
    assert not engine.batches


def test_the_grain_is_small_and_stays_within_the_values_of_the_image(image: np.ndarray) -> None:
    changed = sanity.grainy(image, np.random.default_rng(0))
    assert changed.min() >= image.min()
    assert changed.max() <= image.max()
    moved = float((changed - image).std()) / float(np.ptp(image))
    assert 0.5 * sanity.GRAIN < moved <= 1.05 * sanity.GRAIN


def test_the_pointing_game_asks_for_the_hottest_place(card: Card) -> None:
    asked = Question(cast("Any", Known(local_energy)), card, np.zeros((1, 56, 56), np.float32), 0, None, no_progress)
    coarse = np.zeros((7, 7), np.float32)
    coarse[2, 5] = 1  # pixels 16..23, 40..47 of the input
    assert sanity.points_at(coarse, [(15, 38, 12, 12)], asked)
    assert not sanity.points_at(coarse, [(0, 0, 15, 56), (30, 0, 20, 20)], asked)
    assert sanity.covered([(0, 0, 28, 56), (14, 0, 28, 56)], (56, 56)) == pytest.approx(0.75)


def test_the_sentence_says_what_the_figures_mean() -> None:
    def said(n: int, deletion: float, insertion: float = 0.5, depends: bool | None = True) -> str:
        return sanity.verdict(n, deletion, insertion, depends=depends).en

    good = said(200, 0.74, 0.6)
    assert "better than 95% of random maps on 74% when deleting, 60% when inserting" in good
    assert not good.startswith("Often")
    assert said(200, 0.3).startswith("Often no better than chance")
    assert said(200, 0.05).endswith("no better than chance.")
    assert said(20, 0.1).endswith("no better than chance.")  # two of twenty are no evidence
    assert "hardly change" in said(200, 0.9, depends=False)
    grainy = sanity.verdict(200, 0.8, 0.5, depends=True, is_steady=False, are_held_out=False).en
    assert grainy.startswith("On 200 images")
    assert grainy.endswith("A grain that nobody sees changes its maps.")
    assert all(sanity.verdict(200, d, 0.5, depends=True).zh for d in (0.05, 0.3, 0.8))
