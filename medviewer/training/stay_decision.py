"""How the logit of a stay becomes a probability, and which probability is called."""

from __future__ import annotations

import numpy as np

from medviewer.training.calibration import Decision, check_learned, fit_platt, sigmoid
from medviewer.training.icu_scores import event_1_threshold
from medviewer.training.metrics import Floats, Truth, expected_calibration_error, rates


def decide(truth: Truth, logit: Floats) -> Decision:
    """Choose calibration and threshold; here how often death occurs belongs to the question, so nothing is balanced.

    Raises:
        TrainingError: those with higher answers do not die more often: no probability can be made of that.
    """
    even = np.ones(len(truth))
    slope, intercept = fit_platt(truth, logit, even)
    check_learned(slope, "in the folds, patients of stays with higher answers do not die more often", "stays")
    probability = sigmoid(slope * logit + intercept)
    threshold = round(event_1_threshold(truth, probability), 3)
    at = rates(truth, probability, threshold)
    before = expected_calibration_error(truth, sigmoid(logit))
    after = expected_calibration_error(truth, probability)
    return Decision(slope, intercept, threshold, at.sensitivity, at.specificity, len(truth), before, after)
