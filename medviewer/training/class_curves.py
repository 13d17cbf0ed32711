"""One class against all others: how well each of several is told apart, in figures and as curves.

The mean over classes weighs a rare class as much as a common one (macro average), and is over the classes of which
there is a case, and of all other classes too. Its curve is the mean of theirs at each false positive rate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from medviewer.training.class_metrics import Classes, with_class_intervals
from medviewer.training.metrics import Floats, average_precision, precision_recall_curve, roc_auc, roc_curve

MOST_DRAWN = 8  # lines that an eye still tells apart
_N_RESAMPLES = 300
_OF_ONE: Mapping[str, Callable[..., float]] = {"auc": roc_auc, "pr_auc": average_precision}
_GRID = np.linspace(0, 1, 201)


def one_against_rest(
    truth: Classes, probability: Floats, names: Sequence[str], groups: Sequence[str]
) -> dict[str, Any]:
    """Return ``macro`` (``auc`` and ``pr_auc`` with intervals) and ``classes``, in the order of ``names``.

    Args:
        truth: ``(n,)`` class numbers.
        probability: ``(n, C)``.
        names: of the classes.
        groups: what is drawn as one.
    """
    wanted = {name: partial(_macro, measure) for name, measure in _OF_ONE.items()}
    found = []
    for index, name in enumerate(names):
        own = truth == index
        entry: dict[str, Any] = {"name": name, "n": int(own.sum())}
        for key, measure in _OF_ONE.items():
            entry[key] = round(measure(own, probability[:, index]), 4) if _is_some(own) else None
        found.append(entry)
    macro = with_class_intervals(wanted, truth, probability, groups, n_resamples=_N_RESAMPLES)
    return {"macro": macro, "classes": found}


def drawn_classes(truth: Classes, n_classes: int, most: int = MOST_DRAWN) -> list[int]:
    """Return the classes to draw, the most frequent first; none without a case or without another class."""
    counts = np.bincount(truth, minlength=n_classes)
    known = [int(index) for index in np.argsort(-counts, kind="stable") if 0 < counts[index] < len(truth)]
    return known[:most]


def draw_roc(truth: Classes, probability: Floats, names: Sequence[str], axes: Any) -> None:
    """Draw the curve of each of the most frequent classes against all others, and the mean of all classes."""
    for index in drawn_classes(truth, len(names)):
        false_rate, true_rate, _ = roc_curve(truth == index, probability[:, index])
        axes.plot(false_rate, true_rate, linewidth=1, label=names[index])
    axes.plot(_GRID, mean_roc(truth, probability), color="black", linewidth=2, label="mean of all classes")
    axes.plot([0, 1], [0, 1], "--", color="grey")
    axes.set(title="ROC, one class against all others", xlabel="1 - specificity", ylabel="sensitivity")
    axes.legend(loc="lower right", fontsize=6)


def draw_precision_recall(truth: Classes, probability: Floats, names: Sequence[str], axes: Any) -> None:
    """Draw the curve of each of the most frequent classes against all others."""
    for index in drawn_classes(truth, len(names)):
        recall, precision = precision_recall_curve(truth == index, probability[:, index])
        axes.plot(recall, precision, linewidth=1, label=names[index])
    title = "Precision-recall, one class against all others"
    axes.set(title=title, xlabel="recall", ylabel="precision", ylim=(0, 1.02))
    axes.legend(loc="lower left", fontsize=6)


def mean_roc(truth: Classes, probability: Floats) -> Floats:
    """Return the mean sensitivity of the classes at 201 even false positive rates from 0 to 1."""
    curves = [roc_curve(truth == index, probability[:, index]) for index in _known(truth, None, probability.shape[1])]
    return np.asarray(np.mean([np.interp(_GRID, false_rate, true_rate) for false_rate, true_rate, _ in curves], axis=0))


def _macro(measure: Callable[..., float], truth: Classes, probability: Floats, weights: Floats | None) -> float:
    """Return the mean of a measure over the classes that weigh something, and leave something to the others."""
    known = _known(truth, weights, probability.shape[1])
    found = [measure(truth == index, probability[:, index], weights) for index in known]
    return float(np.mean(found)) if found else float("nan")


def _known(truth: Classes, weights: Floats | None, n_classes: int) -> Iterable[int]:
    share = np.bincount(truth, weights, n_classes)
    return [index for index in range(n_classes) if 0 < share[index] < share.sum()]


def _is_some(own: Any) -> bool:
    return bool(own.any() and not own.all())
