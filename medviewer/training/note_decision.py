"""Which parts are blended, and how logits become probabilities: decided by dialogues that were not learned from."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medviewer.domain.frozen import dataclass
from medviewer.training.class_metrics import (
    MEASURES,
    Classes,
    accuracy,
    calibration_error,
    fit_temperature,
    softmax,
    with_class_intervals,
)
from medviewer.training.metrics import Floats
from medviewer.training.note_blend import PARTS, Notes


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """What was decided.

    Attributes:
        parts: whose mean logit it is.
        temperature: by which it is divided.
        probability: that gives, of each dialogue, ``(n, C)``.
        truth: ``(n,)``.
        compared: the accuracy of every choice of parts, by name.
        ece_before: the calibration error without the temperature, and ``ece_after`` with it.
    """

    parts: Sequence[str]
    temperature: float
    probability: Floats
    truth: Classes
    compared: Mapping[str, float]
    ece_before: float
    ece_after: float


def decide(said: Floats, truth: Classes) -> Chosen:
    """Take the parts whose mean logit is right most often, fewer before more, and the temperature of least log loss.

    Args:
        said: logits ``(n, parts, C)`` of parts that did not learn from the dialogue.
        truth: ``(n,)``.
    """
    compared = {}
    for size in range(1, len(PARTS) + 1):
        for some in itertools.combinations(range(len(PARTS)), size):
            called = said[:, list(some)].mean(1).argmax(1)
            compared["+".join(PARTS[i] for i in some)] = float(np.mean(called == truth))
    parts = max(compared, key=lambda name: compared[name]).split("+")
    logits = said[:, [PARTS.index(name) for name in parts]].mean(1)
    temperature = fit_temperature(truth, logits)
    probability = softmax(logits / temperature)
    before, after = (calibration_error(truth, p, np.ones(len(truth))) for p in (softmax(logits), probability))
    return Chosen(parts, temperature, probability, truth, compared, before, after)


def report_of_folds(
    said: Floats, chosen: Chosen, notes: Notes, sections: Sequence[str], about: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a report on the folds: the blend, and each part by itself, whether shipped or not."""
    metrics = with_class_intervals(MEASURES, notes.truth, chosen.probability, notes.groups)
    for index, name in enumerate(PARTS):
        one = with_class_intervals({"accuracy": accuracy}, notes.truth, softmax(said[:, index]), notes.groups)
        metrics[f"accuracy_{name}"] = one["accuracy"]
    counts = np.bincount(notes.truth, minlength=len(sections)).tolist()
    data = {"n": len(notes.truth), "n_patients": len(set(notes.groups)), "unit": "dialogues"}
    return {"data": {**data, "per_class": dict(zip(sections, counts, strict=True)), **about}, "metrics": metrics}
