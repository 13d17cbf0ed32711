"""From logits to probabilities, and from probabilities to a threshold.

Both lean on how often a class is *recognised*, never on how often it *occurs*: a
third of the films in one hospital's archive may be normal and two thirds in the
next. So healthy and sick weigh the same here, a probability of 0.5 means "as
typical of the sick as of the healthy", and a threshold is chosen by sensitivity and
specificity.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medviewer.domain.errors import TrainingError
from medviewer.domain.frozen import dataclass
from medviewer.training.metrics import Floats, Truth, balanced_weights


@dataclass(frozen=True, slots=True)
class Decision:
    """How a logit becomes a probability and a call, and what was measured where that was chosen: ``n`` cases."""

    slope: float
    intercept: float
    threshold: float
    sensitivity: float
    specificity: float
    n: int
    ece_before: float
    ece_after: float


def fit_platt(truth: Truth, logit: Floats, weights: Floats | None = None) -> tuple[float, float]:
    """Return ``(slope, intercept)`` such that ``sigmoid(slope * logit + intercept)`` is calibrated.

    Logistic regression by Newton's method on softened targets, which keep the slope
    finite when the classes do not overlap.

    Args:
        truth: ``(n,)``.
        logit: ``(n,)`` of the network.
        weights: ``(n,)``; default: both classes weigh the same.

    Source: Platt, "Probabilistic Outputs for Support Vector Machines" (1999), with the
    targets of Lin, Lin and Weng (2007).
    """
    weights = balanced_weights(truth) if weights is None else weights
    n_sick, n_healthy = int(truth.sum()), int((~truth).sum())
    target = np.where(truth, (n_sick + 1) / (n_sick + 2), 1 / (n_healthy + 2))
    design = np.stack([logit, np.ones_like(logit)], axis=1)
    beta = np.array([1.0, 0.0])
    for _ in range(100):
        p = sigmoid(design @ beta)
        gradient = design.T @ (weights * (p - target))
        curvature = design.T @ (design * (weights * p * (1 - p) + 1e-9)[:, None])
        step = np.linalg.solve(curvature, gradient)
        # Newton may overshoot far from the optimum; a bounded step always returns.
        beta -= step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-9:
            break
    return float(beta[0]), float(beta[1])


def check_learned(slope: float, what: str, cases: str) -> None:
    """Refuse a calibration by which higher answers would mean lower probabilities; no card may hold one.

    Args:
        slope: of the calibration.
        what: where higher answers do not go with what was to be learned, in words.
        cases: of which more would help.

    Raises:
        TrainingError: the slope is not positive; says what to do.
    """
    if not slope > 0:
        raise TrainingError(
            f"Nothing was learned: {what}, so that no probability can be told. Give more {cases}, or other settings, "
            "and another --out."
        )


def sigmoid(x: Floats) -> Floats:
    """Return the logistic function, without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)), dtype=np.float64)


def balanced_threshold(parts: Sequence[tuple[Truth, Floats]]) -> float:
    """Return the probability at which the worse of sensitivity and specificity is best.

    Args:
        parts: ``(truth, probability)`` of each validation, plain or shifted. Each has
            its say by its rates, whatever its size or prevalence: the mean over
            parts of the smaller of the two rates is made as large as it can be.
    """
    candidates = np.linspace(0.02, 0.98, 193)
    worst = np.zeros(len(candidates))
    for truth, probability in parts:
        called = probability[:, None] >= candidates[None]
        worst += np.minimum(called[truth].mean(axis=0), 1 - called[~truth].mean(axis=0))
    # The middle of the best plateau is the point farthest from either cliff.
    best = candidates[worst >= worst.max() - 1e-12]
    return float(round(float(np.median(best)), 3))
