"""Two models on the same cases: by how much do they differ, and could it be chance?

Both answer every case, so that what makes a case hard weighs on both: differences are far
surer than the distance of two intervals. The bootstrap draws patients (or what else chance is counted in), each with
both answers; what is measured is given as functions of the weights that a draw gives the cases.

Sources: McNemar (1947), in its exact form; Efron and Tibshirani (1993) for the paired bootstrap.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from medviewer.domain.frozen import dataclass
from medviewer.inference.card import Card
from medviewer.training.intervals import are_enough, group_draws
from medviewer.training.metrics import N_RESAMPLES, Floats, Truth

Measured: TypeAlias = Callable[[Floats], Mapping[str, float]]

_NO_WIDTH = 1e-9  # draws that lie nearer to each other differ by rounding alone


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What one model said of ``n`` cases, as far as a comparison needs it.

    Attributes:
        card: of the model.
        data: what was judged, as ``data`` of a report.
        groups: ``(n,)`` of whom each case is; those of one are drawn together.
        unit: what these are, in the plural: patients, stays, dialogues, skeletons.
        measured: gives the measures by name for weights ``(n,)`` of the cases; NaN where one is not defined.
        metrics: the same measures with intervals of their own, as ``metrics`` of a report.
        right: ``(n,)`` which cases it answers rightly; None where answers are not right or wrong.
        curve: truth and probability, ``(n,)`` each, of a model of one finding; None of others.
        said: all that it answered, in any shape; None where that is not known.
    """

    card: Card
    data: Mapping[str, Any]
    groups: Sequence[Any]
    unit: str
    measured: Measured
    metrics: Mapping[str, Mapping[str, Any]]
    right: Truth | None = None
    curve: tuple[Truth, Floats] | None = None
    said: Floats | None = None


def differences(first: Judged, second: Judged, *, n_resamples: int = N_RESAMPLES) -> dict[str, dict[str, Any]]:
    """Return by how much the first model's measures exceed the second's.

    Returns:
        By measure: ``value``, ``ci95`` (``[low, high]``, percentiles of the paired bootstrap over groups) and ``p``
        (two-sided: twice the smaller share of draws on one side of zero); null where not defined. Where all draws
        agree, as where neither model is ever wrong, they say nothing of chance: ``ci95`` and ``p`` are null then,
        but for models whose answers are the same.
    """
    are_same = _answer_alike(first, second)
    _, index = np.unique(np.asarray(first.groups), return_inverse=True)

    def apart(weights: Floats) -> dict[str, float]:
        one, other = first.measured(weights), second.measured(weights)
        return {name: one[name] - other[name] for name in one if name in other}

    drawn = [apart(d[index].astype(np.float64)) for d in group_draws(int(index.max()) + 1, n_resamples)]
    found = apart(np.ones(len(index)))
    return {name: _difference(gap, np.array([one[name] for one in drawn]), are_same) for name, gap in found.items()}


def _answer_alike(first: Judged, second: Judged) -> bool:
    """Whether both answer every case the same, and call it by the same thresholds: whoever is drawn, they are equal."""
    if first.said is None or second.said is None:
        return False
    thresholds = [[label.threshold for label in one.card.labels] for one in (first, second)]
    return thresholds[0] == thresholds[1] and np.array_equal(first.said, second.said, equal_nan=True)


def _difference(value: float, drawn: Floats, are_same: bool) -> dict[str, Any]:
    usable = drawn[np.isfinite(drawn)]
    if not math.isfinite(value):
        return {"value": None, "ci95": None, "p": None}
    if not are_enough(len(usable), len(drawn)):  # as of one patient, whom every draw holds as they are
        return {"value": round(value, 5), "ci95": None, "p": None}
    if not are_same and np.ptp(usable) < _NO_WIDTH:
        return {"value": round(value, 5), "ci95": None, "p": None}
    # One is added to each: that no draw of a thousand lies beyond zero is no proof that none would.
    beyond = min(int((usable <= 0).sum()), int((usable >= 0).sum()))
    interval = [round(float(q), 5) for q in np.percentile(usable, (2.5, 97.5))]
    return {"value": round(value, 5), "ci95": interval, "p": round(min(1.0, 2 * (beyond + 1) / (len(usable) + 1)), 5)}


def mcnemar(first: Truth, second: Truth) -> dict[str, Any]:
    """Return the exact test of whether two models are right equally often, cases taken as independent.

    Args:
        first: ``(n,)`` which cases the first model calls right.
        second: the same of the second.

    Returns:
        ``both``, ``only_first``, ``only_second`` and ``neither`` (how many cases), and ``p``, two-sided.
    """
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    n = only_first + only_second
    tail = sum(math.comb(n, k) for k in range(min(only_first, only_second) + 1))
    return {
        "both": int((first & second).sum()),
        "only_first": only_first,
        "only_second": only_second,
        "neither": int((~first & ~second).sum()),
        "p": round(min(1.0, float(2 * tail / 2**n)), 5),  # whole numbers, however large: exact
    }
