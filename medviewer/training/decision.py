"""How a logit becomes an answer: calibration and threshold of a finding, chosen on validation patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from medviewer.training.batches import Part, Steps
from medviewer.training.calibration import Decision, balanced_threshold, check_learned, fit_platt, sigmoid
from medviewer.training.metrics import Floats, Truth, balanced_weights, expected_calibration_error, rates
from medviewer.training.shifts import SHIFTS, shifted
from medviewer.training.validation import Forward, run_over


def decide(served: Forward, parts: Mapping[str, Part], steps: Steps) -> Decision:
    """Choose calibration and threshold on ``tune`` and ``block``, plain and shifted.

    The shifted copies take part because the plain ones are too easy: fitted to those
    alone, a probability would be surer than it may be at another hospital.

    Raises:
        TrainingError: images with higher answers do not have the finding more often.
    """
    views: list[tuple[Truth, Floats]] = [
        (parts[name].labels.astype(bool), run_over(served, shifted(parts[name].pixels, shift), steps)[0])
        for name in ("tune", "block")
        for shift in SHIFTS
    ]
    slope, intercept, threshold = fit_decision(views)
    check_learned(
        slope, "images of validation patients with higher answers do not have the finding more often", "images"
    )
    plain, p = parts["tune"].labels.astype(bool), sigmoid(slope * views[0][1] + intercept)
    at = rates(plain, p, threshold)
    return Decision(
        slope,
        intercept,
        threshold,
        at.sensitivity,
        at.specificity,
        len(plain),
        expected_calibration_error(plain, sigmoid(views[0][1]), balanced_weights(plain)),
        expected_calibration_error(plain, p, balanced_weights(plain)),
    )


def fit_decision(views: Sequence[tuple[Truth, Floats]]) -> tuple[float, float, float]:
    """Return slope and intercept of the calibration, and the threshold on the calibrated probability.

    Args:
        views: ``(truth, logit)`` of each validation, plain or shifted; each weighs the same in all, and
            so do the two classes in it.
    """
    truth = np.concatenate([t for t, _ in views])
    logit = np.concatenate([z for _, z in views])
    weights = np.concatenate([balanced_weights(t) / len(t) for t, _ in views])
    slope, intercept = fit_platt(truth, logit, weights * len(truth) / weights.sum())
    threshold = balanced_threshold([(t, sigmoid(slope * z + intercept)) for t, z in views])
    return slope, intercept, threshold
