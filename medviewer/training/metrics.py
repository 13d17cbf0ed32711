"""Measures of a classifier, in numpy, with patients as the unit of chance.

Definitions follow Fawcett (2006) for ROC, Davis and Goadrich (2006) for
precision-recall, Naeini et al. (2015) for the expected calibration error.
Everything takes ``weights``, so that a measure can be told for another prevalence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Truth: TypeAlias = npt.NDArray[np.bool_]


def roc_auc(truth: Truth, score: Floats, weights: Floats | None = None) -> float:
    """Return the chance that a positive case scores above a negative one (ties count half).

    NaN where one of the two classes has no case.
    """
    false_rate, true_rate, _ = roc_curve(truth, score, weights)
    return float(np.trapezoid(true_rate, false_rate))


def roc_curve(truth: Truth, score: Floats, weights: Floats | None = None) -> tuple[Floats, Floats, Floats]:
    """Return false positive rate, true positive rate and threshold, from (0, 0) to (1, 1).

    At each threshold, cases with ``score >= threshold`` are called positive.
    """
    hits, misses, thresholds = _cumulative(truth, score, weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        return misses / misses[-1], hits / hits[-1], thresholds


def _cumulative(truth: Truth, score: Floats, weights: Floats | None) -> tuple[Floats, Floats, Floats]:
    """Return the weight of true and of false positives at each distinct threshold, falling."""
    weights = np.ones(len(score)) if weights is None else weights
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    hits = np.cumsum(np.where(truth, weights, 0.0)[order])[last]
    misses = np.cumsum(np.where(truth, 0.0, weights)[order])[last]
    return np.append(0.0, hits), np.append(0.0, misses), np.append(np.inf, ranked[last])
