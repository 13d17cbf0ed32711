"""Where higher answers do not go with more disease no model is made, and it is said where that is known."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from medviewer.domain.errors import TrainingError
from medviewer.training import decision, stay_decision
from medviewer.training.batches import Part
from medviewer.training.image_folds import PLAIN, FoldAnswers, cross_decide, decide_by_folds

pytestmark = pytest.mark.torch


def overlapping():
    truth = np.arange(100) < 40
    return truth, 2.0 * truth + np.random.default_rng(0).normal(0, 1, 100)


def test_nothing_was_learned_where_higher_answers_go_with_less_disease():
    """A card with such a slope contradicts itself: it could not be written after all the learning."""
    truth, logit = overlapping()
    assert stay_decision.decide(truth, logit).slope > 0
    with pytest.raises(TrainingError, match=r"Nothing was learned: in the folds, .*Give more stays, .*another --out"):
        stay_decision.decide(truth, -logit)


def test_nor_do_images_judged_by_folds_become_a_model():
    truth, logit = overlapping()
    folds = np.random.default_rng(1).permutation(100)[None] % 5

    def decided(said):
        answers = FoldAnswers(truth, np.arange(100), folds, {PLAIN: said[None]})
        return decide_by_folds(answers, cross_decide(answers))

    assert decided(logit).slope > 0
    with pytest.raises(TrainingError, match=r"Nothing was learned: in the folds, images .*Give more images, "):
        decided(-logit)


@pytest.mark.parametrize("sign", [1, -1])
def test_nor_films_of_validation_patients(monkeypatch, sign):
    truth, logit = overlapping()
    part = Part([np.zeros((4, 4), np.uint8)] * 100, truth.astype(np.int64))
    monkeypatch.setattr(decision, "run_over", lambda *_: (sign * logit, None))
    monkeypatch.setattr(decision, "shifted", lambda pixels, _: pixels)
    if sign > 0:
        assert decision.decide(None, {"tune": part, "block": part}, ()).slope > 0
        return
    with pytest.raises(TrainingError, match=r"Nothing was learned: images of validation patients .*more images, "):
        decision.decide(None, {"tune": part, "block": part}, ())
