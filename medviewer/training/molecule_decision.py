"""How the logit of an assay becomes a probability, and which probability is called."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medviewer.domain.errors import TrainingError
from medviewer.training.calibration import Decision, fit_platt, sigmoid
from medviewer.training.metrics import Floats, expected_calibration_error, rates, roc_curve


def decide(truth: Floats, logits: Floats, assays: Sequence[str]) -> list[Decision]:
    """Choose calibration and threshold of each assay, on molecules that were not learned from.

    The probability is how often such molecules were active in the assay. Few are, so a threshold on it is low: it
    is where the worse of sensitivity and specificity is best.

    Args:
        truth: ``(n, assays)``, NaN where not known; every assay has both results.
        logits: ``(n, assays)``.
        assays: their names.

    Raises:
        TrainingError: higher answers do not go with activity in an assay: no probability can be made of them.
    """
    found = []
    for said, logit in zip(truth.T, logits.T, strict=True):
        known = np.isfinite(said)
        found.append(_decide(said[known] == 1, logit[known]))
    if wrong := [name for name, one in zip(assays, found, strict=True) if not one.slope > 0]:
        raise TrainingError(
            f"Nothing was learned of {', '.join(wrong)}: in the folds, molecules with higher answers are not active "
            "there more often, so that no probability can be told. Give more molecules with results of it, or other "
            "settings, and another --out."
        )
    return found


def _decide(truth: np.ndarray, logit: Floats) -> Decision:
    slope, intercept = fit_platt(truth, logit, np.ones(len(truth)))
    probability = sigmoid(slope * logit + intercept)
    # Every probability that was given is tried: where few are active, all that counts may lie between 0.02 and 0.04.
    false_rate, true_rate, called_from = roc_curve(truth, probability)
    best = int(np.argmax(np.minimum(true_rate, 1 - false_rate)))
    below = called_from[min(best + 1, len(called_from) - 1)]
    threshold = round(float((called_from[best] + below) / 2), 5)
    at = rates(truth, probability, threshold)
    before = expected_calibration_error(truth, sigmoid(logit))
    after = expected_calibration_error(truth, probability)
    return Decision(slope, intercept, threshold, at.sensitivity, at.specificity, len(truth), before, after)


def probabilities_of(logits: Floats, decisions: Sequence[Decision]) -> Floats:
    """Return calibrated probabilities ``(n, assays)``."""
    slope, intercept = np.array([(one.slope, one.intercept) for one in decisions]).T
    return sigmoid(slope * logits + intercept)
