"""Metrics against scikit-learn, and against sums done by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle

from medviewer.training import metrics


@st.composite
def scored_cases(draw):
    n = draw(st.integers(2, 60))
    truth = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    truth[0], truth[1] = False, True
    # Few distinct values, so that ties are common.
    score = np.array(draw(st.lists(st.integers(0, 12), min_size=n, max_size=n))) / 12
    weights = np.array(draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)), dtype=float)
    weights[:2] = 1
    return truth, score, weights


@given(scored_cases())
def test_areas_agree_with_scikit_learn(cases):
    truth, score, weights = cases
    assert metrics.roc_auc(truth, score) == pytest.approx(oracle.roc_auc_score(truth, score))
    assert metrics.roc_auc(truth, score, weights) == pytest.approx(
        oracle.roc_auc_score(truth, score, sample_weight=weights)
    )
    assert metrics.average_precision(truth, score) == pytest.approx(oracle.average_precision_score(truth, score))
    assert metrics.average_precision(truth, score, weights) == pytest.approx(
        oracle.average_precision_score(truth, score, sample_weight=weights)
    )


@given(scored_cases(), st.sampled_from([0.0, 0.25, 0.5, 2.0]))
def test_rates_agree_with_scikit_learn(cases, threshold):
    truth, score, weights = cases
    called = score >= threshold
    mine = metrics.rates(truth, score, threshold, weights)
    assert mine.accuracy == pytest.approx(oracle.accuracy_score(truth, called, sample_weight=weights))
    assert mine.sensitivity == pytest.approx(oracle.recall_score(truth, called, sample_weight=weights))
    assert mine.specificity == pytest.approx(oracle.recall_score(~truth, ~called, sample_weight=weights))
    assert mine.f1 == pytest.approx(oracle.f1_score(truth, called, sample_weight=weights))
    assert metrics.brier_score(truth, score, weights) == pytest.approx(
        oracle.brier_score_loss(truth, score, sample_weight=weights)
    )


@given(scored_cases())
def test_a_weight_of_two_is_two_cases(cases):
    truth, score, weights = cases
    repeated = np.repeat(np.arange(len(truth)), weights.astype(int))
    for name, measure in metrics.measures(0.5).items():
        one, other = measure(truth, score, weights), measure(truth[repeated], score[repeated], None)
        assert one == pytest.approx(other, nan_ok=True), name


def test_ece_by_hand():
    # Bin of 0.9: said 0.9, seen 0.5, four of six cases; bin of 0.1: said 0.1, seen 0, two of six.
    truth = np.array([True, True, False, False, False, False])
    probability = np.array([0.9, 0.9, 0.9, 0.9, 0.1, 0.1])
    assert metrics.expected_calibration_error(truth, probability) == pytest.approx((4 * 0.4 + 2 * 0.1) / 6)


def test_ece_of_a_perfect_forecast_is_zero():
    truth = np.array([True, False, False, True])
    assert metrics.expected_calibration_error(truth, truth.astype(float)) == 0
    coin = np.array([True, False] * 50)
    assert metrics.expected_calibration_error(coin, np.full(100, 0.5)) == 0


def test_balanced_ece_does_not_change_with_prevalence():
    truth = np.array([True] * 10 + [False] * 10)
    probability = np.where(truth, 0.8, 0.3)
    probability[0], probability[10] = 0.3, 0.8
    sicker = np.concatenate([np.repeat(truth[:10], 9), truth[10:]])
    said = np.concatenate([np.repeat(probability[:10], 9), probability[10:]])
    balanced = metrics.measures(0.5)["ece_balanced"]
    assert balanced(sicker, said, None) == pytest.approx(balanced(truth, probability, None))
    assert metrics.expected_calibration_error(sicker, said) != pytest.approx(
        metrics.expected_calibration_error(truth, probability)
    )


def test_probability_one_falls_in_the_last_bin():
    _, _, share = metrics.calibration_bins(np.array([True]), np.array([1.0]))
    assert share[-1] == 1


def test_a_missing_class_gives_no_number_not_a_wrong_one():
    truth, score = np.array([True, True]), np.array([0.2, 0.8])
    assert np.isnan(metrics.roc_auc(truth, score))
    found = metrics.with_intervals(metrics.measures(0.5), truth, score, ["a", "b"], n_resamples=5)
    assert found["auc"] == {"value": None, "ci95": None}


@pytest.mark.parametrize("truth", [np.zeros(6, bool), np.ones(6, bool)])
def test_what_weighs_both_classes_is_not_defined_for_one(truth):
    ids = [str(number) for number in range(6)]
    found = metrics.with_intervals(metrics.measures(0.5), truth, np.linspace(0.1, 0.8, 6), ids, n_resamples=20)
    for name in ("balanced_accuracy", "ece_balanced", "auc"):
        assert found[name] == {"value": None, "ci95": None}, name
    assert found["accuracy"]["value"] == pytest.approx(0.5)


def test_intervals_hold_the_value_and_repeat():
    chance = np.random.default_rng(1)
    truth = chance.random(200) < 0.4
    score = np.clip(chance.normal(0.4 + 0.2 * truth, 0.2), 0, 1)
    groups = [f"patient{i // 2}" for i in range(200)]
    once = metrics.with_intervals(metrics.measures(0.5), truth, score, groups, n_resamples=200)
    assert once == metrics.with_intervals(metrics.measures(0.5), truth, score, groups, n_resamples=200)
    for entry in once.values():
        low, high = entry["ci95"]
        assert low < high
    assert once["auc"]["ci95"][0] < once["auc"]["value"] < once["auc"]["ci95"][1]


def test_intervals_count_patients_not_images():
    chance = np.random.default_rng(2)
    truth = np.arange(60) % 2 == 0
    score = np.clip(chance.normal(0.45 + 0.1 * truth, 0.2), 0, 1)
    names = [str(i) for i in range(60)]
    single = metrics.with_intervals({"auc": metrics.roc_auc}, truth, score, names)["auc"]["ci95"]
    # The same films nine times over: no new patient, so no narrower interval.
    many = metrics.with_intervals({"auc": metrics.roc_auc}, np.tile(truth, 9), np.tile(score, 9), names * 9)["auc"][
        "ci95"
    ]
    assert many == pytest.approx(single)
