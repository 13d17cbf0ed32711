"""How the logit of an assay becomes a probability, and which probability is called."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medviewer.training.calibration import Decision, balanced_threshold, fit_platt, sigmoid
from medviewer.training.metrics import Floats, expected_calibration_error, rates


def decide(truth: Floats, logits: Floats) -> list[Decision]:
    """Choose calibration and threshold of each assay, on molecules that were not learned from.

    The probability is how often such molecules were active in the assay. Few are, so a threshold on it is low: it
    is where the worse of sensitivity and specificity is best.

    Args:
        truth: ``(n, assays)``, NaN where not known; every assay has both results.
        logits: ``(n, assays)``.
    """
    found = []
    for said, logit in zip(truth.T, logits.T, strict=True):
        known = np.isfinite(said)
        found.append(_decide(said[known] == 1, logit[known]))
    return found


def _decide(truth: np.ndarray, logit: Floats) -> Decision:
    slope, intercept = fit_platt(truth, logit, np.ones(len(truth)))
    probability = sigmoid(slope * logit + intercept)
    # Where both results weigh the same the best place is somewhere around 0.5, so that it is looked for there.
    steep, shift = fit_platt(truth, logit)
    even = balanced_threshold([(truth, sigmoid(steep * logit + shift))])
    at_logit = (np.log(even / (1 - even)) - shift) / steep
    threshold = round(float(sigmoid(np.array(slope * at_logit + intercept))), 4)
    at = rates(truth, probability, threshold)
    before = expected_calibration_error(truth, sigmoid(logit))
    after = expected_calibration_error(truth, probability)
    return Decision(slope, intercept, threshold, at.sensitivity, at.specificity, len(truth), before, after)


def probabilities_of(logits: Floats, decisions: Sequence[Decision]) -> Floats:
    """Return calibrated probabilities ``(n, assays)``."""
    slope, intercept = np.array([(one.slope, one.intercept) for one in decisions]).T
    return sigmoid(slope * logits + intercept)
