"""Measures of a classifier of which exactly one class holds, in numpy, with groups of copies as the unit of chance.

``truth`` ``(n,)`` class numbers, ``probability`` ``(n, C)`` rows that sum to 1, ``weights`` ``(n,)``: a case of weight
2 counts as two. Top-k accuracy and macro F1 as scikit-learn has them; expected calibration error of the class that is
called (Guo et al. 2017).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from medviewer.training.intervals import group_draws, has_no_width, interval_entry, unseen_share
from medviewer.training.metrics import (
    N_RESAMPLES,
    CalibrationError,
    Floats,
    calibration_bins,
    calibration_gaps,
    taken,
)

Classes: TypeAlias = npt.NDArray[np.int64]
ClassMeasure: TypeAlias = Callable[[Classes, Floats, Floats], float]


def accuracy(truth: Classes, probability: Floats, weights: Floats) -> float:
    """Return the share whose most probable class is the true one."""
    return float(np.average(probability.argmax(1) == truth, weights=weights))


def top3_accuracy(truth: Classes, probability: Floats, weights: Floats) -> float:
    """Return the share whose true class is among the three most probable."""
    own = np.take_along_axis(probability, truth[:, None], 1)
    return float(np.average((probability > own).sum(1) < 3, weights=weights))


def macro_f1(truth: Classes, probability: Floats, weights: Floats) -> float:
    """Return the mean F1 of the classes that have a case or are called."""
    cells = confusion(truth, probability, weights)
    either = cells.sum(0) + cells.sum(1)
    present = either > 0
    return float((2 * np.diag(cells)[present] / either[present]).mean())


def log_loss(truth: Classes, probability: Floats, weights: Floats) -> float:
    """Return the mean negative logarithm of the true class's probability."""
    own = np.take_along_axis(probability, truth[:, None], 1)[:, 0]
    return float(-np.average(np.log(np.clip(own, 1e-12, 1)), weights=weights))


def called_gaps(truth: Classes, probability: Floats, weights: Floats | None = None) -> Floats:
    """Return how far the probability of the called class lies above how often it is right, as ``calibration_gaps``."""
    return calibration_gaps(probability.argmax(1) == truth, probability.max(1), weights)


calibration_error = CalibrationError(called_gaps)

MEASURES: Mapping[str, ClassMeasure] = {
    "accuracy": accuracy,
    "top3_accuracy": top3_accuracy,
    "macro_f1": macro_f1,
    "log_loss": log_loss,
    "ece": calibration_error,
}


def confusion(truth: Classes, probability: Floats, weights: Floats | None = None) -> Floats:
    """Return how much is of each class (rows) and called each (columns), ``(C, C)``."""
    n = probability.shape[1]
    cells = np.bincount(truth * n + probability.argmax(1), weights, n * n)
    return np.asarray(cells.reshape(n, n), np.float64)


def with_class_intervals(
    chosen: Mapping[str, ClassMeasure],
    truth: Classes,
    probability: Floats,
    groups: Sequence[str],
    *,
    n_resamples: int = N_RESAMPLES,
) -> dict[str, dict[str, Any]]:
    """Return each measure with a 95% interval: bootstrap over groups, as :func:`metrics.with_intervals`.

    Where no draw changes a measure, its ends are what it would be if the share of errors that so many groups cannot
    exclude were there in every class, as in :func:`metrics.widened`.
    """
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    draws: dict[str, list[float | Floats]] = {name: [] for name in chosen}
    for drawn in group_draws(int(index.max()) + 1, n_resamples):
        weights = drawn[index].astype(np.float64)
        for name, measure in chosen.items():
            draws[name].append(taken(measure, truth, probability, weights))
    even = np.ones(len(truth))
    found = {name: taken(measure, truth, probability, even) for name, measure in chosen.items()}
    entries = {name: interval_entry(value, draws[name]) for name, value in found.items()}
    for name, entry in entries.items():
        if has_no_width(entry):
            ends = _if_unseen(chosen[name], truth, probability, unseen_share(int(index.max()) + 1))
            entry["ci95"] = [round(min(*ends, entry["value"]), 5), round(max(*ends, entry["value"]), 5)]
    return entries


def _if_unseen(measure: ClassMeasure, truth: Classes, probability: Floats, share: float) -> tuple[float, float]:
    """Return the measure if that share of the cases of every class that there is were answered wrongly, and rightly."""
    n = probability.shape[1]
    present, counts = np.unique(truth, return_counts=True)
    right, wrong = np.eye(n)[present], np.full((len(present), n), 1 / n)
    rows = np.arange(len(present))
    wrong[rows, present] = 0.0
    # Another class that there is comes first; where there is no other, the next one.
    others = np.roll(present, 1) if len(present) > 1 else (present + 1) % n
    wrong[rows, others] += 1 / n
    weights = np.append(np.ones(len(truth)), counts * share / (1 - share))
    more = np.append(truth, present)
    low, high = (measure(more, np.concatenate([probability, said]), weights) for said in (wrong, right))
    return low, high


def per_class(truth: Classes, probability: Floats, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return of each class ``n``, ``called``, precision, recall and F1; None where there is nothing to divide by."""
    cells = confusion(truth, probability)
    found = []
    for index, name in enumerate(names):
        right, n, called = cells[index, index], cells[index].sum(), cells[:, index].sum()
        ratios = {"precision": (right, called), "recall": (right, n), "f1": (2 * right, n + called)}
        entry: dict[str, Any] = {"name": name, "n": int(n), "called": int(called)}
        found.append(entry | {key: round(float(a / b), 4) if b else None for key, (a, b) in ratios.items()})
    return found


def reliability(truth: Classes, probability: Floats) -> list[dict[str, float]]:
    """Return the bins of the calibration curve of the called class that have cases."""
    said, seen, share = calibration_bins(probability.argmax(1) == truth, probability.max(1))
    return [
        {"said": round(float(a), 4), "seen": round(float(b), 4), "share": round(float(c), 4)}
        for a, b, c in zip(said, seen, share, strict=True)
        if c
    ]


def fit_temperature(truth: Classes, logits: Floats) -> float:
    """Return the temperature under which the log loss of ``softmax(logits / T)`` is least (Guo et al. 2017)."""
    candidates = np.exp(np.linspace(np.log(0.05), np.log(20), 601))
    even = np.ones(len(truth))
    losses = [log_loss(truth, softmax(logits / one), even) for one in candidates]
    return round(float(candidates[int(np.argmin(losses))]), 4)


def softmax(logits: Floats) -> Floats:
    """Return probabilities ``(n, C)``, without overflow."""
    raised = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(raised / raised.sum(1, keepdims=True), np.float64)
