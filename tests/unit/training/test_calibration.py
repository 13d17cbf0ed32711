"""Calibration and threshold lean on recognition, not on prevalence."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from medviewer.training.calibration import balanced_threshold, fit_platt, sigmoid
from medviewer.training.metrics import expected_calibration_error


def overlapping(n_sick, n_healthy, seed=0):
    chance = np.random.default_rng(seed)
    truth = np.array([True] * n_sick + [False] * n_healthy)
    return truth, np.where(truth, chance.normal(3, 2, len(truth)), chance.normal(-1, 2, len(truth)))


def test_platt_is_logistic_regression():
    truth, logit = overlapping(4000, 4000)
    slope, intercept = fit_platt(truth, logit)
    oracle = LogisticRegression(C=1e9).fit(logit[:, None], truth)
    assert slope == pytest.approx(oracle.coef_[0, 0], rel=5e-3)
    assert intercept == pytest.approx(oracle.intercept_[0], abs=5e-3)
    # Two normals of one variance have this very slope and intercept.
    assert slope == pytest.approx(1, abs=0.06)
    assert intercept == pytest.approx(-1, abs=0.1)


def test_prevalence_does_not_move_it():
    even, rare = overlapping(6000, 6000), overlapping(600, 6000)
    assert fit_platt(*rare) == pytest.approx(fit_platt(*even), abs=0.15)


def test_it_repairs_overconfidence():
    truth, logit = overlapping(3000, 3000)
    slope, intercept = fit_platt(truth, 5 * logit)
    before = expected_calibration_error(truth, sigmoid(5 * logit))
    after = expected_calibration_error(truth, sigmoid(slope * 5 * logit + intercept))
    assert after < 0.02
    assert before > 0.1


def test_separable_classes_stay_finite():
    truth = np.array([True] * 20 + [False] * 20)
    slope, intercept = fit_platt(truth, np.where(truth, 4.0, -4.0))
    assert np.isfinite([slope, intercept]).all()
    assert 0 < slope < 5


def test_sigmoid_does_not_overflow():
    np.testing.assert_array_equal(sigmoid(np.array([-1e4, 0, 1e4])), [0, 0.5, 1])


def test_threshold_balances_the_two_rates():
    truth, logit = overlapping(2000, 400)
    probability = sigmoid(logit - 1)
    threshold = balanced_threshold([(truth, probability)])
    assert threshold == pytest.approx(0.5, abs=0.03)


def test_each_part_has_its_say_whatever_its_size():
    small = (np.array([True, False]), np.array([0.95, 0.85]))
    large = (np.array([True, False] * 500), np.array([0.95, 0.05] * 500))
    assert 0.85 < balanced_threshold([small, large]) <= 0.95
