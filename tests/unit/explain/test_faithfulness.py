"""Deletion and insertion against random maps: right about maps whose worth is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import pytest
from scipy import ndimage

from medviewer.domain.errors import EngineError, Stopped
from medviewer.domain.progress import StopToken, no_progress
from medviewer.explain import faithfulness
from medviewer.explain.faithfulness import blurred, judge, sentence
from medviewer.explain.question import Question
from medviewer.inference.card import Card, read_card
from tests import fakes

Score = Callable[[np.ndarray], np.ndarray]


class Known:
    """An engine whose logit is a function of the image that the test knows."""

    def __init__(self, score: Score) -> None:
        self.score = score
        self.batches: list[int] = []

    def run(self, model_id: str, inputs: Mapping[str, np.ndarray], **rest: Any) -> dict[str, np.ndarray]:
        assert (model_id, rest["role"]) == (fakes.MODEL_ID, "model")
        x = inputs["x"]
        self.batches.append(len(x))
        return {"logits": self.score(x[:, 0]).reshape(len(x), 1).astype(np.float32)}


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Card:
    return read_card(fakes.make_model(tmp_path_factory.mktemp("models") / "fake"))


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return ndimage.gaussian_filter(np.random.default_rng(4).normal(size=(56, 56)), 1).astype(np.float32)[None]


def question(card: Card, image: np.ndarray, score: Score, stop: StopToken | None = None) -> tuple[Question, Known]:
    engine = Known(score)
    return Question(cast("Any", engine), card, image, 0, stop, no_progress), engine


def spot(row: int, column: int, size: int = 56) -> np.ndarray:
    r, c = np.mgrid[:size, :size]
    return np.exp(-((r - row) ** 2 + (c - column) ** 2) / (2 * 5**2)).astype(np.float32)


def local_energy(x: np.ndarray) -> np.ndarray:
    """Looks at detail round (15, 38), and nowhere else."""
    return np.asarray((x**2 * spot(15, 38)).sum(axis=(1, 2)))


def test_the_map_that_is_right_beats_chance(card: Card, image: np.ndarray) -> None:
    asked, _ = question(card, image, local_energy)
    result = judge(asked, spot(15, 38), 40)
    assert result.n_random == 40
    assert min(result.deletion_percentile, result.insertion_percentile) >= 95
    assert result.sentence.startswith("Better than chance")


def test_a_map_that_points_elsewhere_does_not(card: Card, image: np.ndarray) -> None:
    asked, _ = question(card, image, local_energy)
    result = judge(asked, spot(43, 12), 40)
    assert max(result.deletion_percentile, result.insertion_percentile) < 80
    assert result.sentence.startswith("Not clearly better than chance")


def test_maps_at_random_places_have_any_percentile_with_equal_chance(card: Card, image: np.ndarray) -> None:
    chance = np.random.default_rng(0)
    found = []
    for _ in range(40):
        asked, _ = question(card, image, local_energy)
        rolled = np.roll(spot(15, 38), chance.integers(0, 56, 2), axis=(0, 1))
        found.append(judge(asked, rolled, 19).deletion_percentile)
    assert 35 < np.mean(found) < 65
    assert np.mean(np.array(found) >= 95) <= 0.2
    assert min(found) < 20
    assert max(found) > 80


def test_a_network_that_sees_nothing_makes_no_map_convincing(card: Card, image: np.ndarray) -> None:
    asked, _ = question(card, image, lambda x: np.zeros(len(x)))
    result = judge(asked, spot(15, 38), 20)
    assert (result.deletion_percentile, result.insertion_percentile) == (50, 50)
    assert result.sentence == "Not clearly better than chance: 50% of random maps do as well."


def test_a_flat_map_says_so(card: Card, image: np.ndarray) -> None:
    asked, engine = question(card, image, local_energy)
    result = judge(asked, np.full((7, 7), 3.0, np.float32), 20)
    assert (result.deletion_percentile, result.insertion_percentile) == (0, 0)
    assert "the same everywhere" in result.sentence
    assert not engine.batches


def test_a_coarse_map_is_judged_at_its_place(card: Card, image: np.ndarray) -> None:
    """8 x 8 cells over 56 pixels: the cell of the spot, not its index, decides."""
    coarse = np.zeros((8, 8), np.float32)
    coarse[2, 5] = 1  # pixels 14..20, 35..41
    asked, _ = question(card, image, local_energy)
    assert judge(asked, coarse, 40).deletion_percentile >= 90


def test_the_same_question_has_the_same_answer(card: Card, image: np.ndarray) -> None:
    results = [judge(question(card, image, local_energy)[0], spot(20, 30), 10) for _ in range(2)]
    assert results[0] == results[1]


def test_memory_is_bounded_and_the_cost_is_as_documented(card: Card, image: np.ndarray) -> None:
    asked, engine = question(card, image, local_energy)
    judge(asked, spot(15, 38), 10)
    assert max(engine.batches) <= 16
    assert sum(engine.batches) == 3 + 11 * 16


def test_large_inputs_go_in_smaller_batches(card: Card) -> None:
    asked, _ = question(card, np.random.default_rng(0).normal(size=(1, 1500, 1500)).astype(np.float32), local_sum)
    asked.scores(np.stack([asked.tensor]))
    assert [part.stop - part.start for part in asked.batches(5)] == [1, 1, 1, 1, 1]


def local_sum(x: np.ndarray) -> np.ndarray:
    return np.asarray(x[:, :9, :9].sum(axis=(1, 2)))


def test_stop_ends_the_comparison(card: Card, image: np.ndarray) -> None:
    stop = StopToken()
    seen: list[int] = []

    def score(x: np.ndarray) -> np.ndarray:
        seen.append(len(x))
        if len(seen) == 4:
            stop.stop()
        return local_energy(x)

    asked, _ = question(card, image, score, stop)
    with pytest.raises(Stopped):
        judge(asked, spot(15, 38), 50)
    assert len(seen) == 4


def test_values_that_are_no_numbers_are_no_result(card: Card, image: np.ndarray) -> None:
    asked, _ = question(card, image, lambda x: np.full(len(x), np.nan))
    with pytest.raises(EngineError, match="not numbers"):
        judge(asked, spot(15, 38), 5)


def test_random_maps_keep_values_and_smoothness() -> None:
    values = ndimage.gaussian_filter(np.random.default_rng(2).normal(size=(32, 32)), 2).astype(np.float32)
    chance = np.random.default_rng(3)
    spectrum = np.sort(np.abs(np.fft.fft2(values)).ravel())
    drawn = [faithfulness._moved(values, chance) for _ in range(8)]
    for moved in drawn:
        assert np.array_equal(np.sort(moved.ravel()), np.sort(values.ravel()))
        np.testing.assert_allclose(np.sort(np.abs(np.fft.fft2(moved)).ravel()), spectrum, atol=1e-3)
    assert len({moved.tobytes() for moved in drawn}) == 8


def test_equal_values_are_ranked_at_random() -> None:
    flat = np.zeros((20, 20), np.float32)
    flat[3, 4] = 1
    ranks = faithfulness._ranks(flat, np.random.default_rng(0))
    assert ranks[3, 4] == 0
    assert len(np.unique(ranks)) == 400
    assert abs(ranks[:10].mean() - ranks[10:].mean()) < 0.1


def test_blurred_is_scipys() -> None:
    image = np.random.default_rng(5).normal(size=(1, 40, 56)).astype(np.float32)
    expected = ndimage.gaussian_filter(image[0].astype(np.float64), 56 / 12, mode="reflect", truncate=8)
    np.testing.assert_allclose(blurred(image)[0], expected, atol=2e-4)


@pytest.mark.parametrize(
    ("percentiles", "expected"),
    [
        ((100, 100), "Better than chance: none of the random maps does as well."),
        ((96, 99), "Better than chance: 4% of random maps do as well."),
        ((94, 99), "Not clearly better than chance: 6% of random maps do as well."),
        ((99, 57), "Not clearly better than chance: 43% of random maps do as well."),
        ((0, 99), "Not clearly better than chance: 100% of random maps do as well."),
    ],
)
def test_the_worse_percentile_decides_the_sentence(percentiles: Sequence[float], expected: str) -> None:
    assert sentence(*percentiles) == expected
