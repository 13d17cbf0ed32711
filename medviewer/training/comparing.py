"""Which of two models is better on the same cases, and could it be chance?

Both answer every case, so that what makes a case hard weighs on both: differences are far
surer than the distance of two intervals. The bootstrap draws patients, each with both answers.

Sources: McNemar (1947), in its exact form; Efron and Tibshirani (1993) for the paired bootstrap.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medviewer import __version__
from medviewer.domain.errors import UsageError
from medviewer.inference.card import Card, read_card
from medviewer.inference.comparable import incomparable
from medviewer.training.comparison_page import comparison_page
from medviewer.training.data import find_images
from medviewer.training.evaluate import classes_of, describe_images, split_images
from medviewer.training.metrics import N_RESAMPLES, Floats, Measure, Truth, measures, patient_draws, with_intervals
from medviewer.training.report_page import write_report
from medviewer.training.scoring import Classifier, Progress, score, silent
from medviewer.training.stay_evaluation import describe_stays, read_outcomes, score_stays

SCHEMA = "medviewer-comparison/1"
COMPARED = ("auc", "accuracy", "balanced_accuracy", "sensitivity", "specificity", "brier")


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What one model said: ``truth`` and calibrated ``probability``, each ``(n,)``, and the patient of each case."""

    card: Card
    truth: Truth
    probability: Floats
    patients: Sequence[str]
    data: Mapping[str, Any]

    @property
    def threshold(self) -> float:
        """Return from which probability on the model calls the finding."""
        return self.card.labels[0].threshold


def compare(
    model: Path, against: Path, data: Path, out: Path, *, split: str | None = None, progress: Progress = silent
) -> Mapping[str, Any]:
    """Run two models over the same cases and write ``comparison.json`` and ``comparison.html``.

    Args:
        model: the folder of the first model; differences are this one's minus the other's.
        against: the folder of the second.
        data: as for :func:`medviewer.training.evaluate.evaluate`.
        out: receives the report; made if it is not there.
        split: as there, by the first model's card.
        progress: called with one line of text at a time.

    Returns:
        The content of ``comparison.json``; see ``docs/json.md``.

    Raises:
        UsageError: the models do not answer the same question.
        ModelError, InputError, StorageError: as for :func:`medviewer.training.evaluate.evaluate`.
    """
    started = time.time()
    cards = [read_card(folder) for folder in (model, against)]
    first, second = _judged(cards, data, split, progress)
    report = {
        "schema": SCHEMA,
        "models": [_entry(one) for one in (first, second)],
        "data": {name: value for name, value in first.data.items() if not name.endswith("learned_from")},
        "differences": differences(first, second),
        "mcnemar": mcnemar(is_right(first), is_right(second)),
        "versions": {"medviewer": __version__, "numpy": np.__version__},
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "elapsed_s": round(time.time() - started, 1),
    }
    page = comparison_page(report, first.truth, (first.probability, second.probability))
    write_report(out, report, page, name="comparison")
    progress(f"comparison written to {out}")
    return report


def differences(first: Judged, second: Judged, *, n_resamples: int = N_RESAMPLES) -> dict[str, dict[str, Any]]:
    """Return by how much the first model's measures exceed the second's.

    Returns:
        By measure: ``value``, ``ci95`` (``[low, high]``, percentiles of the paired bootstrap over patients) and ``p``
        (two-sided: twice the smaller share of draws on one side of zero); null where not defined.
    """
    pairs = {name: (measures(first.threshold)[name], measures(second.threshold)[name]) for name in COMPARED}

    def gap(pair: tuple[Measure, Measure], weights: Floats | None) -> float:
        return pair[0](first.truth, first.probability, weights) - pair[1](second.truth, second.probability, weights)

    drawn: dict[str, list[float]] = {name: [] for name in COMPARED}
    for weights in patient_draws(first.truth, first.patients, n_resamples=n_resamples):
        for name, pair in pairs.items():
            drawn[name].append(gap(pair, weights))
    return {name: _difference(gap(pair, None), np.array(drawn[name])) for name, pair in pairs.items()}


def _difference(value: float, drawn: Floats) -> dict[str, Any]:
    usable = drawn[np.isfinite(drawn)]
    if not math.isfinite(value):
        return {"value": None, "ci95": None, "p": None}
    if not len(usable):  # as of one patient, whom every draw holds as they are
        return {"value": round(value, 5), "ci95": None, "p": None}
    # One is added to each: that no draw of a thousand lies beyond zero is no proof that none would.
    beyond = min(int((usable <= 0).sum()), int((usable >= 0).sum()))
    interval = [round(float(q), 5) for q in np.percentile(usable, (2.5, 97.5))]
    return {"value": round(value, 5), "ci95": interval, "p": round(min(1.0, 2 * (beyond + 1) / (len(usable) + 1)), 5)}


def is_right(judged: Judged) -> Truth:
    """Return of each case whether the model calls it right at its own threshold, ``(n,)``."""
    right: Truth = (judged.probability >= judged.threshold) == judged.truth
    return right


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


def _entry(judged: Judged) -> dict[str, Any]:
    card = judged.card
    wanted = {name: measures(judged.threshold)[name] for name in COMPARED}
    return {
        "id": card.id,
        "version": card.version,
        "sha256": card.sha256,
        "threshold": judged.threshold,
        "was_learned_from": bool(judged.data["was_learned_from"]),
        "learned_from": judged.data.get("learned_from"),
        "metrics": with_intervals(wanted, judged.truth, judged.probability, judged.patients),
    }


def _judged(cards: Sequence[Card], data: Path, split: str | None, progress: Progress) -> list[Judged]:
    """Have both models answer the same cases."""
    if reason := incomparable(cards[0], cards[1]):
        raise UsageError(reason)
    if any(spec.kind == "series" for spec in cards[0].inputs):
        return _judged_stays(cards, data, split, progress)
    found = find_images(data, classes_of(cards[0]))
    chosen = split_images(cards[0], found, split)
    judged = []
    for card in cards:
        progress(f"{card.id} {card.version}: {len(chosen)} images")
        scored, unusable = score(Classifier(card), chosen, progress)
        about = describe_images(card, found, scored, unusable, split)
        judged.append(Judged(card, scored.truth, scored.probability, scored.patients, about))
    return judged


def _judged_stays(cards: Sequence[Card], data: Path, split: str | None, progress: Progress) -> list[Judged]:
    stays, unusable, digests = read_outcomes(data, split)
    judged = []
    for card in cards:
        progress(f"{card.id} {card.version}: {len(stays)} stays")
        scored = score_stays(card, stays)
        about = describe_stays(data, split, scored, " ".join(digests)) | {
            "unusable": unusable,
            "was_learned_from": bool(set(card.training.get("data_digests", {}).values()) & set(digests)),
        }
        ids = [str(stay.record_id) for stay in stays]
        judged.append(Judged(card, scored.truth, scored.probability, ids, about))
    return judged
