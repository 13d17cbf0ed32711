"""What a flag means where the finding is as common as it is here: predictive values, and people instead of per cent.

Sensitivity and specificity are the model's; how many of the flagged have the finding depends on how many have it at
all, which no card can know. So the reader says that, and counts of a hundred people say the rest: they are understood
where conditional probabilities are not.

Source: Gigerenzer et al., "Helping doctors and patients make sense of health statistics", Psychological Science in
the Public Interest 2007 (natural frequencies); Altman and Bland, "Predictive values", BMJ 1994.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from medviewer.domain.frozen import dataclass
from medviewer.inference.card import Card, Text

PEOPLE = 100


class Bounded(NamedTuple):
    """A value with its 95% interval; the bounds are None where the card gives none."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How often the model was right at its threshold, and on whom that was measured."""

    sensitivity: Bounded
    specificity: Bounded
    n: int
    on: Text


@dataclass(frozen=True, slots=True)
class Counts:
    """What becomes of :data:`PEOPLE` people.

    Attributes:
        hit: flagged, with the finding.
        false_alarm: flagged, without it.
        missed: not flagged, with it.
        cleared: not flagged, without it.
    """

    hit: int
    false_alarm: int
    missed: int
    cleared: int


def accuracy_of(card: Card, label_name: str) -> Accuracy | None:
    """The best evidence on the card for one label: with intervals where there are any.

    The last entry of ``evidence`` with sensitivity and specificity counts, since the figures that chose nothing come
    last; with several labels nobody can tell whose they are, and the operating point is all there is. None if the
    card's operating point is not that of its threshold.
    """
    label = card.labels[card.label_index(label_name)]
    for entry in reversed(card.evidence) if len(card.labels) == 1 else ():
        metrics = entry["metrics"]
        if {"sensitivity", "specificity"} <= metrics.keys():
            data = entry["data"]
            on = Text(data) if isinstance(data, str) else Text(data["en"], data.get("zh", ""))
            return Accuracy(_bounded(metrics["sensitivity"]), _bounded(metrics["specificity"]), int(entry["n"]), on)
    point = label.operating_point
    if point is None or point.threshold != label.threshold:
        return None
    return Accuracy(Bounded(point.sensitivity), Bounded(point.specificity), point.n, point.on)


def _bounded(metric: Mapping[str, Any]) -> Bounded:
    low, high = metric.get("ci95", (None, None))
    return Bounded(float(metric["value"]), low, high)


def positive_predictive_value(accuracy: Accuracy, prevalence: float) -> Bounded:
    """Of all that are flagged, the share that has the finding.

    The bounds are those of the worst and the best case, in which sensitivity and specificity are both at the lower
    or the upper end of their intervals: wider than a joint interval, never narrower.

    Args:
        accuracy: the model's.
        prevalence: the share of all that has the finding, 0 to 1.
    """

    def value(sensitivity: float, specificity: float) -> float:
        return _ratio(sensitivity * prevalence, (1 - specificity) * (1 - prevalence))

    return _with_bounds(accuracy, value)


def negative_predictive_value(accuracy: Accuracy, prevalence: float) -> Bounded:
    """Of all that are not flagged, the share that does not have the finding; bounds and arguments as above."""

    def value(sensitivity: float, specificity: float) -> float:
        return _ratio(specificity * (1 - prevalence), (1 - sensitivity) * prevalence)

    return _with_bounds(accuracy, value)


def _ratio(right: float, wrong: float) -> float:
    return right / (right + wrong) if right + wrong > 0 else float("nan")


def _with_bounds(accuracy: Accuracy, value: Callable[[float, float], float]) -> Bounded:
    se, sp = accuracy.sensitivity, accuracy.specificity
    middle = value(se.value, sp.value)
    if se.low is None or se.high is None or sp.low is None or sp.high is None:
        return Bounded(middle)
    return Bounded(middle, value(se.low, sp.low), value(se.high, sp.high))


def counts(accuracy: Accuracy, prevalence: float) -> Counts:
    """What becomes of a hundred people, in whole people that add up."""
    sick = round(PEOPLE * prevalence)
    hit = round(sick * accuracy.sensitivity.value)
    cleared = round((PEOPLE - sick) * accuracy.specificity.value)
    return Counts(hit, PEOPLE - sick - cleared, sick - hit, cleared)
