"""Measures of one class out of several: equal to scikit-learn's, or worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as theirs

from medviewer.training.class_metrics import (
    MEASURES,
    accuracy,
    confusion,
    fit_temperature,
    per_class,
    reliability,
    softmax,
    with_class_intervals,
)

CHANCE = np.random.default_rng(8)
LOGITS = CHANCE.normal(0, 2, (80, 5))
TRUTH = np.where(CHANCE.random(80) < 0.6, LOGITS.argmax(1), CHANCE.integers(0, 5, 80))
WEIGHTS = CHANCE.integers(0, 4, 80).astype(np.float64)
P = softmax(LOGITS)


def test_they_are_scikit_learns() -> None:
    called, given = P.argmax(1), {"sample_weight": WEIGHTS}
    found = {name: measure(TRUTH, P, WEIGHTS) for name, measure in MEASURES.items()}
    assert found["accuracy"] == pytest.approx(theirs.accuracy_score(TRUTH, called, **given))
    assert found["macro_f1"] == pytest.approx(theirs.f1_score(TRUTH, called, average="macro", **given))
    assert found["top3_accuracy"] == pytest.approx(theirs.top_k_accuracy_score(TRUTH, P, k=3, **given))
    assert found["log_loss"] == pytest.approx(theirs.log_loss(TRUTH, P, **given))
    np.testing.assert_allclose(
        confusion(TRUTH, P, WEIGHTS), theirs.confusion_matrix(TRUTH, called, labels=range(5), **given)
    )


def test_of_each_class_they_are_scikit_learns() -> None:
    named = ["a", "b", "c", "d", "e"]
    expected = theirs.precision_recall_fscore_support(TRUTH, P.argmax(1), labels=range(5))
    for row, precision, recall, f1, n in zip(per_class(TRUTH, P, named), *expected, strict=True):
        assert (row["n"], row["precision"], row["recall"], row["f1"]) == pytest.approx(
            (n, precision, recall, f1), abs=1e-4
        )


def test_a_class_without_a_case_has_no_recall_and_does_not_count() -> None:
    truth, probability = np.array([0, 0, 1]), np.array([[0.8, 0.2, 0], [0.7, 0.3, 0], [0.9, 0.1, 0]])
    absent = per_class(truth, probability, ["a", "b", "c"])[2]
    assert absent == {"name": "c", "n": 0, "called": 0, "precision": None, "recall": None, "f1": None}
    assert MEASURES["macro_f1"](truth, probability, np.ones(3)) == pytest.approx((0.8 + 0) / 2)


def test_calibration_is_of_the_class_that_is_called() -> None:
    """Called at 0.9 and right in one of two: 0.4 off; at 0.6 and right: 0.4 off."""
    truth = np.array([0, 1, 1])
    probability = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]])
    assert MEASURES["ece"](truth, probability, np.ones(3)) == pytest.approx(0.4)
    assert reliability(truth, probability) == [
        {"said": 0.6, "seen": 1.0, "share": 0.3333},
        {"said": 0.9, "seen": 0.5, "share": 0.6667},
    ]


def test_the_temperature_gives_back_what_sharpened_the_logits() -> None:
    logits = np.random.default_rng(1).normal(0, 1.5, (4000, 4))
    drawn = (np.random.default_rng(2).random((4000, 1)) > softmax(logits).cumsum(1)).sum(1)
    assert fit_temperature(drawn, 3 * logits) == pytest.approx(3, rel=0.1)


def test_copies_are_drawn_together() -> None:
    """Forty copies of two dialogues are two dialogues: nothing is known of how well others are read."""
    truth, probability = np.array([0, 1] * 20), np.tile([[0.9, 0.1]], (40, 1))
    wide = with_class_intervals({"accuracy": accuracy}, truth, probability, ["a", "b"] * 20)["accuracy"]
    narrow = with_class_intervals({"accuracy": accuracy}, truth, probability, [str(i) for i in range(40)])["accuracy"]
    assert wide["value"] == narrow["value"] == 0.5
    assert wide["ci95"] == [0.0, 1.0]
    assert narrow["ci95"][0] > 0.3
