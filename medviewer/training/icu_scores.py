"""The two scores of the PhysioNet/CinC Challenge 2012.

Source: Silva et al., "Predicting in-hospital mortality of ICU patients", CinC 2012;
Hosmer and Lemeshow, Applied Logistic Regression, 2000.
"""

from __future__ import annotations

import numpy as np

from medviewer.training.metrics import Floats, Truth, rates

GROUPS = 10
_AVOIDS_ZERO = 0.001  # as the challenge has it


def event_1(truth: Truth, probability: Floats, threshold: float, weights: Floats | None = None) -> float:
    """Give the smaller of sensitivity and positive predictivity at a threshold: 0 worst, 1 best.

    >>> event_1(np.array([True, True, False]), np.array([0.9, 0.2, 0.6]), 0.5)
    0.5
    """
    found = rates(truth, probability, threshold, weights)
    called = found.true_positive + found.false_positive
    predictivity = found.true_positive / called if called else 0.0
    return float(min(found.sensitivity, predictivity))


def event_2(truth: Truth, probability: Floats) -> float:
    """Give the Hosmer-Lemeshow statistic of ten groups of rising risk over the range of their risks: 0 is best.

    Groups have the same size; what is left over, the cases of highest risk, is in none, as in the challenge, whose
    sets of 4,000 leave nothing over. NaN for fewer than ten cases; infinity where all risks are the same.
    """
    size = len(truth) // GROUPS
    if size == 0:
        return float("nan")
    order = np.argsort(probability, kind="stable")[: size * GROUPS]
    died = truth[order].reshape(GROUPS, size).sum(1)
    risk = probability[order].reshape(GROUPS, size).mean(1)
    statistic = ((died - size * risk) ** 2 / (size * risk * (1 - risk) + _AVOIDS_ZERO)).sum()
    spread = float(risk[-1] - risk[0])
    return float(statistic / spread) if spread > 0 else float("inf")


def event_1_threshold(truth: Truth, probability: Floats) -> float:
    """Give the threshold with the best :func:`event_1`: where sensitivity and positive predictivity meet.

    That many are called as died: of all thresholds the one where the two have the same denominator.
    """
    ranked = np.sort(probability)[::-1]
    n = int(truth.sum())
    if not 0 < n < len(ranked):
        raise ValueError("both outcomes are needed to choose a threshold")
    return float((ranked[n - 1] + ranked[n]) / 2)
