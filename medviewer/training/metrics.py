"""Measures of a classifier, in numpy, with patients as the unit of chance.

Definitions follow Fawcett (2006) for ROC, Davis and Goadrich (2006) for
precision-recall, Naeini et al. (2015) for the expected calibration error.
Everything takes ``weights``: a case of weight 2 counts as two cases. A measure can
so be told for another prevalence, and a bootstrap is a draw of weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from medviewer.domain.frozen import dataclass
from medviewer.training.intervals import (
    group_draws,
    has_no_width,
    interval_entry,
    mean_interval,
    separated_auc_bound,
    unseen_share,
)

Floats: TypeAlias = npt.NDArray[np.float64]
Truth: TypeAlias = npt.NDArray[np.bool_]
Measure: TypeAlias = Callable[[Truth, Floats, Floats | None], float]

N_BINS = 15
N_RESAMPLES = 1000


def roc_curve(truth: Truth, score: Floats, weights: Floats | None = None) -> tuple[Floats, Floats, Floats]:
    """Return false positive rate, true positive rate and threshold, from (0, 0) to (1, 1).

    At each threshold, cases with ``score >= threshold`` are called positive. A rate
    is NaN where its class has no case.
    """
    hits, alarms, thresholds = _cumulative(truth, score, weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        return alarms / alarms[-1], hits / hits[-1], thresholds


def roc_auc(truth: Truth, score: Floats, weights: Floats | None = None) -> float:
    """Return the chance that a positive case scores above a negative one (ties count half).

    NaN where one of the two classes has no case.
    """
    false_rate, true_rate, _ = roc_curve(truth, score, weights)
    return float(np.trapezoid(true_rate, false_rate))


def precision_recall_curve(truth: Truth, score: Floats, weights: Floats | None = None) -> tuple[Floats, Floats]:
    """Return recall (rising) and precision, one point for each distinct score."""
    hits, alarms, _ = _cumulative(truth, score, weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        return hits[1:] / hits[-1], hits[1:] / (hits[1:] + alarms[1:])


def average_precision(truth: Truth, score: Floats, weights: Floats | None = None) -> float:
    """Return the area under the precision-recall steps, without interpolation."""
    recall, precision = precision_recall_curve(truth, score, weights)
    gained = np.diff(recall, prepend=0.0)
    # Before the first case with a weight, precision is 0/0 and no recall is gained.
    return float(np.sum(np.where(gained > 0, gained * precision, 0.0))) if np.isfinite(recall).all() else float("nan")


def _cumulative(truth: Truth, score: Floats, weights: Floats | None) -> tuple[Floats, Floats, Floats]:
    """Return the weight of true and of false alarms at each distinct threshold, falling."""
    weights = np.ones(len(score)) if weights is None else weights
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    hits = np.cumsum(np.where(truth, weights, 0.0)[order])[last]
    alarms = np.cumsum(np.where(truth, 0.0, weights)[order])[last]
    return np.append(0.0, hits), np.append(0.0, alarms), np.append(np.inf, ranked[last])


def brier_score(truth: Truth, probability: Floats, weights: Floats | None = None) -> float:
    """Return the mean squared distance of the probability from what was the case (0 best)."""
    return float(np.average((probability - truth) ** 2, weights=weights))


def calibration_bins(
    truth: Truth, probability: Floats, weights: Floats | None = None, n_bins: int = N_BINS
) -> tuple[Floats, Floats, Floats]:
    """Return mean probability, observed frequency and share of cases in equal-width bins.

    Bins without a case have NaN, NaN and 0.
    """
    weights = np.ones(len(truth)) if weights is None else weights
    index = np.minimum((probability * n_bins).astype(int), n_bins - 1)
    share = np.bincount(index, weights, n_bins)
    with np.errstate(invalid="ignore", divide="ignore"):
        said = np.bincount(index, weights * probability, n_bins) / share
        seen = np.bincount(index, weights * truth, n_bins) / share
    return said, seen, share / share.sum()


def calibration_gaps(truth: Truth, probability: Floats, weights: Floats | None = None) -> Floats:
    """Return how far the probability lies above the frequency in each bin, times the bin's share of the cases."""
    said, seen, share = calibration_bins(truth, probability, weights)
    return np.nan_to_num((said - seen) * share)


@dataclass(frozen=True, slots=True)
class CalibrationError:
    """A measure that is a sum of absolute gaps: chance only makes it larger, so its interval is made from the gaps.

    Attributes:
        gaps: as :func:`calibration_gaps`; what stands for truth may be classes.
    """

    gaps: Callable[[Any, Floats, Floats | None], Floats]

    def __call__(self, truth: Any, probability: Floats, weights: Floats | None = None) -> float:
        """Return it: how far what is said lies from what is seen, on average over bins."""
        return float(np.abs(self.gaps(truth, probability, weights)).sum())


expected_calibration_error = CalibrationError(calibration_gaps)


def taken(measure: Callable[..., float], truth: Any, probability: Floats, weights: Floats | None) -> float | Floats:
    """Return what :func:`~medviewer.training.intervals.interval_entry` wants: a measure, or its gaps."""
    if isinstance(measure, CalibrationError):
        return measure.gaps(truth, probability, weights)
    return measure(truth, probability, weights)


def balanced_weights(truth: Truth, weights: Floats | None = None) -> Floats:
    """Return weights under which both classes weigh the same and the total stays ``n``."""
    weights = np.ones(len(truth)) if weights is None else weights
    positive, negative = weights[truth].sum(), weights[~truth].sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = np.where(truth, 0.5 / positive, 0.5 / negative) * weights.sum()
    return np.asarray(weights * scale, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Rates:
    """The four cells at a threshold, as weights, and what follows from them."""

    true_positive: float
    false_positive: float
    true_negative: float
    false_negative: float

    @property
    def sensitivity(self) -> float:
        """Return the share of the sick that are called sick."""
        return _ratio(self.true_positive, self.true_positive + self.false_negative)

    @property
    def specificity(self) -> float:
        """Return the share of the healthy that are called healthy."""
        return _ratio(self.true_negative, self.true_negative + self.false_positive)

    @property
    def accuracy(self) -> float:
        """Return the share that is called right."""
        right = self.true_positive + self.true_negative
        return _ratio(right, right + self.false_positive + self.false_negative)

    @property
    def f1(self) -> float:
        """Return the harmonic mean of precision and sensitivity."""
        return _ratio(2 * self.true_positive, 2 * self.true_positive + self.false_positive + self.false_negative)


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else float("nan")


def rates(truth: Truth, probability: Floats, threshold: float, weights: Floats | None = None) -> Rates:
    """Return the four cells with ``probability >= threshold`` called positive."""
    weights = np.ones(len(truth)) if weights is None else weights
    called = probability >= threshold
    return Rates(
        *(float(weights[cell].sum()) for cell in (truth & called, ~truth & called, ~truth & ~called, truth & ~called))
    )


def counted(truth: Truth, probability: Floats, threshold: float) -> dict[str, Any]:
    """Return what a report counts: ``confusion``, ``reliability`` (the bins that have cases) and ``decision_curve``."""
    cells = rates(truth, probability, threshold)
    said, seen, share = calibration_bins(truth, probability)
    return {
        "confusion": {name: int(value) for name, value in asdict(cells).items()},
        "reliability": [
            {"said": round(float(a), 4), "seen": round(float(b), 4), "share": round(float(c), 4)}
            for a, b, c in zip(said, seen, share, strict=True)
            if c > 0
        ],
        "decision_curve": decision_curve(truth, probability),
    }


def decision_curve(truth: Truth, probability: Floats) -> list[dict[str, float]]:
    """Return the net benefit of acting on the model at each threshold, beside that of acting on everybody.

    Acting on nobody has none. A threshold says how many needless acts are as bad as one missed case: at 0.2, four.
    It holds for the data's own frequency of the finding. Source: Vickers and Elkin (2006).
    """
    n, curve = len(truth), []
    for percent in range(1, 100):
        odds = percent / (100 - percent)
        cells = rates(truth, probability, percent / 100)
        curve.append(
            {
                "threshold": percent / 100,
                "model": round((cells.true_positive - cells.false_positive * odds) / n, 5),
                "everybody": round(float(truth.sum() - (~truth).sum() * odds) / n, 5),
            }
        )
    return curve


def measures(threshold: float) -> dict[str, Measure]:
    """Return the measures that every report holds, by name."""
    return {
        "auc": roc_auc,
        "pr_auc": average_precision,
        "accuracy": lambda t, p, w: rates(t, p, threshold, w).accuracy,
        "sensitivity": lambda t, p, w: rates(t, p, threshold, w).sensitivity,
        "specificity": lambda t, p, w: rates(t, p, threshold, w).specificity,
        "f1": lambda t, p, w: rates(t, p, threshold, w).f1,
        "brier": brier_score,
        "ece": expected_calibration_error,
        "balanced_accuracy": lambda t, p, w: (
            rates(t, p, threshold, balanced_weights(t, w)).accuracy if _are_both(t) else np.nan
        ),
        "ece_balanced": CalibrationError(
            lambda t, p, w: calibration_gaps(t, p, balanced_weights(t, w)) if _are_both(t) else np.array([np.nan])
        ),
    }


def _are_both(truth: Truth) -> bool:
    """Whether there are cases of both classes, to weigh the same."""
    return bool(truth.any() and not truth.all())


def with_intervals(
    chosen: Mapping[str, Measure],
    truth: Truth,
    probability: Floats,
    groups: Sequence[str],
    *,
    n_resamples: int = N_RESAMPLES,
    n_repeats: int = 1,
) -> dict[str, dict[str, Any]]:
    """Return each measure with a 95% interval, ``{name: {"value", "ci95": [low, high]}}``.

    Bootstrap over patients, not images: the films of one child are alike, and counting
    them as independent would make the intervals too narrow. Percentiles of the draws; of
    calibration errors see :func:`~medviewer.training.intervals.gap_interval`, of a measure
    that no draw changes :func:`widened`. A draw that leaves a class empty tells nothing and
    is skipped; a measure that does not exist has the value None. Where all cases are of one
    patient there is no interval: None.

    Args:
        chosen: as from :func:`measures`.
        truth: ``(n,)``.
        probability: ``(n,)`` in 0..1.
        groups: the patient of each case.
        n_resamples: how many draws.
        n_repeats: how often the same cases stand one after the other, each time with other probabilities.
    """
    draws: dict[str, list[float | Floats]] = {name: [] for name in chosen}
    for weights in patient_draws(truth, groups, n_resamples=n_resamples):
        for name, measure in chosen.items():
            draws[name].append(taken(measure, truth, probability, weights))
    found = {name: taken(measure, truth, probability, None) for name, measure in chosen.items()}
    entries = {name: interval_entry(value, draws[name]) for name, value in found.items()}
    return widened(entries, chosen, truth, probability, groups, n_repeats=n_repeats)


def widened(
    entries: dict[str, dict[str, Any]],
    chosen: Mapping[str, Measure],
    truth: Truth,
    probability: Floats,
    groups: Sequence[Any] | npt.NDArray[Any],
    *,
    n_repeats: int = 1,
) -> dict[str, dict[str, Any]]:
    """Return measures with their intervals; where one has no width, with that which so many patients allow.

    All draws of a model that was never wrong are alike.

    - An AUC of 1 (or 0): :func:`~medviewer.training.intervals.separated_auc_bound`.
    - Any other measure: from its value if, in each class, the share of errors that its patients cannot exclude
      (:func:`~medviewer.training.intervals.unseen_share`) were answered as wrongly as can be, to its value if they
      were answered as rightly. Of a sensitivity that is the exact interval; of a measure of both classes it is wider.
    - Balanced accuracy, where one of its two rates was widened, from the intervals of both
      (:func:`~medviewer.training.intervals.mean_interval`): its own draws know of the errors in the other class alone.

    Accuracy, F1 and the area under precision and recall are widened only where no draw changes them: of a class without
    an error beside one with some they say too little.

    Args:
        entries: by name, from :func:`~medviewer.training.intervals.interval_entry`.
        chosen: what they are of.
        truth: ``(n,)``.
        probability: ``(n,)``.
        groups: the patient of each case.
        n_repeats: see :func:`with_intervals`.
    """
    patients = np.asarray(groups)
    classes = np.array([one for one in (True, False) if (truth == one).any()])
    counts = [len(np.unique(patients[truth == one])) for one in classes]
    blocks = list(zip(np.split(truth, n_repeats), np.split(probability, n_repeats), strict=True))
    least, most = min(float(probability.min()), 0.0), max(float(probability.max()), 1.0)

    def value_if(measure: Measure, said: Floats) -> float:
        """Return the measure with one more case of each class, of that share of the class, answered so."""
        shares = [unseen_share(count) for count in counts]
        odds = [share / (1 - share) for share in shares]
        weights = [
            np.append(np.ones(len(t)), [(t == one).sum() * of_it for one, of_it in zip(classes, odds, strict=True)])
            for t, _ in blocks
        ]
        return measure(
            np.concatenate([np.append(t, classes) for t, _ in blocks]),
            np.concatenate([np.append(p, said) for _, p in blocks]),
            np.concatenate(weights),
        )

    found = dict(entries)
    for name, entry in entries.items():
        if not has_no_width(entry):
            continue
        if name == "auc" and entry["value"] in (0, 1):
            bound = separated_auc_bound(counts[0], counts[-1])
            ends = [bound, 1.0] if entry["value"] == 1 else [0.0, 1 - bound]
        else:
            answers = (np.where(classes, *pair) for pair in ((least, most), (most, least)))
            reached = [value_if(chosen[name], said) for said in answers]
            ends = [min(*reached, entry["value"]), max(*reached, entry["value"])]
        found[name] = {**entry, "ci95": [round(float(end), 5) for end in ends]}
    rates_of_it = [name for name in ("sensitivity", "specificity") if name in found]
    if "balanced_accuracy" in found and len(rates_of_it) == 2 and any(found[n] != entries[n] for n in rates_of_it):
        together = mean_interval([found[name] for name in rates_of_it])
        found["balanced_accuracy"] = {**entries["balanced_accuracy"], "ci95": together}
    return found


def patient_draws(truth: Truth, groups: Sequence[str], *, n_resamples: int = N_RESAMPLES) -> Iterator[Floats]:
    """Give weights ``(n,)`` of the cases, one bootstrap draw of patients after the other; none that lacks a class.

    Args:
        truth: ``(n,)``.
        groups: the patient of each case.
        n_resamples: how many draws.
    """
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    for drawn in group_draws(int(index.max()) + 1, n_resamples):
        weights = drawn[index].astype(np.float64)
        if weights[truth].sum() > 0 and weights[~truth].sum() > 0:
            yield weights
