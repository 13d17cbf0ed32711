"""Which of two models is better on the same cases, and could it be chance?

Each kind of model is asked as its own evaluation asks it. What it said becomes a
:class:`~medviewer.training.paired.Judged`, of which :mod:`medviewer.training.paired` tells the differences.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medviewer import __version__
from medviewer.domain.errors import InputError, UsageError
from medviewer.inference.card import Card, read_card
from medviewer.inference.comparable import comparable_kind, incomparable, shared_forecasts
from medviewer.training import class_metrics, forecast_scores, molecule_scores
from medviewer.training.comparison_page import comparison_page
from medviewer.training.data import find_images
from medviewer.training.evaluate import classes_of, describe_images, split_images
from medviewer.training.metrics import Floats, Truth, measures, with_intervals
from medviewer.training.paired import Judged, differences, mcnemar
from medviewer.training.report_page import check_can_be_written, write_report
from medviewer.training.scoring import Classifier, Progress, score, silent
from medviewer.training.sums import say_sums

SCHEMA = "medviewer-comparison/1"
COMPARED = ("auc", "accuracy", "balanced_accuracy", "sensitivity", "specificity", "brier")
_OF_NOTES = ("accuracy", "top3_accuracy", "macro_f1", "log_loss")

Judge = Callable[[Sequence[Card], Path, str | None, Progress], list[Judged]]


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
    if reason := incomparable(cards[0], cards[1]):
        raise UsageError(reason)
    check_can_be_written(out)
    say_sums(data, progress)
    first, second = _JUDGES[comparable_kind(cards[0])](cards, data, split, progress)
    report = {
        "schema": SCHEMA,
        "models": [_entry(one) for one in (first, second)],
        "unit": first.unit,
        "data": {name: value for name, value in first.data.items() if not name.endswith("learned_from")},
        "differences": differences(first, second),
        "mcnemar": None if first.right is None or second.right is None else mcnemar(first.right, second.right),
        "versions": {"medviewer": __version__, "numpy": np.__version__},
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "elapsed_s": round(time.time() - started, 1),
    }
    page = comparison_page(report, [one.curve for one in (first, second) if one.curve is not None])
    write_report(out, report, page, name="comparison")
    progress(f"comparison written to {out}")
    return report


def _entry(judged: Judged) -> dict[str, Any]:
    card = judged.card
    return {
        "id": card.id,
        "version": card.version,
        "sha256": card.sha256,
        "threshold": card.labels[0].threshold if judged.curve is not None else None,
        "was_learned_from": bool(judged.data["was_learned_from"]),
        "learned_from": judged.data.get("learned_from"),
        "metrics": judged.metrics,
    }


def judged_finding(
    card: Card, truth: Truth, probability: Floats, patients: Sequence[str], data: Mapping[str, Any]
) -> Judged:
    """Return what a model of one finding said, each case called at the model's own threshold.

    Args:
        card: of the model.
        truth: ``(n,)``.
        probability: ``(n,)``, calibrated.
        patients: of each case.
        data: as ``data`` of a report.
    """
    threshold = card.labels[0].threshold
    wanted = {name: measures(threshold)[name] for name in COMPARED}

    classes = [one for one in (truth, ~truth) if one.any()]

    def measured(weights: Floats) -> dict[str, float]:
        if not all(weights[one].sum() > 0 for one in classes):  # a draw that lacks a class tells nothing
            return dict.fromkeys(wanted, math.nan)
        return {name: measure(truth, probability, weights) for name, measure in wanted.items()}

    metrics = with_intervals(wanted, truth, probability, patients)
    right = (probability >= threshold) == truth
    return Judged(card, data, patients, "patients", measured, metrics, right, (truth, probability), probability)


def _judged_images(cards: Sequence[Card], data: Path, split: str | None, progress: Progress) -> list[Judged]:
    found = find_images(data, classes_of(cards[0]))
    chosen = split_images(cards[0], found, split)
    judged = []
    for card in cards:
        progress(f"{card.id} {card.version}: {len(chosen)} images")
        scored, unusable = score(Classifier(card), chosen, progress)
        about = describe_images(card, found, scored, unusable, split)
        judged.append(judged_finding(card, scored.truth, scored.probability, scored.patients, about))
    return judged


def _judged_stays(cards: Sequence[Card], data: Path, split: str | None, progress: Progress) -> list[Judged]:
    from medviewer.training.stay_evaluation import describe_stays, read_outcomes, score_stays  # noqa: PLC0415 - of stays

    stays, unusable, digests = read_outcomes(data, split)
    judged = []
    for card in cards:
        progress(f"{card.id} {card.version}: {len(stays)} stays")
        scored = score_stays(card, stays)
        about = describe_stays(data, split, scored, " ".join(digests)) | {
            "unusable": unusable,
            "was_learned_from": _is_named(card, digests),
        }
        judged.append(judged_finding(card, scored.truth, scored.probability, scored.patients, about))
    return judged


def _judged_notes(cards: Sequence[Card], data: Path, split: str | None, progress: Progress) -> list[Judged]:
    from medviewer.training.note_evaluation import describe_notes, known_rows, read_split, score_notes  # noqa: PLC0415

    read = read_split(data, split)
    rows, unusable = known_rows(cards[0], read)
    groups = [row.group for row in rows]
    wanted = {name: class_metrics.MEASURES[name] for name in _OF_NOTES}
    judged = []
    for card in cards:
        progress(f"{card.id} {card.version}: {len(rows)} dialogues")
        scored = score_notes(card, rows)
        truth, said = scored.truth, scored.probability

        def measured(weights: Floats, truth: Any = truth, said: Floats = said) -> dict[str, float]:
            return {name: measure(truth, said, weights) for name, measure in wanted.items()}

        about = describe_notes(card, data, split, scored, read) | {"unusable": unusable}
        metrics = class_metrics.with_class_intervals(wanted, truth, said, groups)
        judged.append(Judged(card, about, groups, "dialogues", measured, metrics, said.argmax(1) == truth, said=said))
    return judged


def _judged_molecules(cards: Sequence[Card], data: Path, split: str | None, progress: Progress) -> list[Judged]:
    from medviewer.training.molecule_evaluation import (  # noqa: PLC0415 - of molecules
        describe_molecules,
        read_split,
        score_molecules,
    )

    found = read_split(data, split, cards)
    judged = []
    for card in cards:
        progress(f"{card.id} {card.version}: {len(found.names)} molecules")
        scored = score_molecules(card, found)
        thresholds = {label.name: label.threshold for label in card.labels}
        metrics = molecule_scores.summarise_molecules(scored, thresholds)["metrics"]
        if not metrics:
            raise InputError(f"{data} has no assay of which both results are known; there is nothing to measure.")
        about = describe_molecules(data, split, scored, found.digest) | {
            "unusable": [{"file": name, "reason": reason} for name, reason in found.unusable],
            "was_learned_from": found.digest == card.training.get("data_digest"),
        }
        measured = molecule_scores.figures_by_weight(scored, thresholds)
        judged.append(Judged(card, about, found.scaffolds, "skeletons", measured, metrics, said=scored.probability))
    return judged


def _judged_survival(cards: Sequence[Card], data: Path, split: str | None, progress: Progress) -> list[Judged]:
    """Have both models answer the patients of whom both have all values; their fields need not be the same."""
    from medviewer.training import survival_evaluation as evaluation  # noqa: PLC0415 - of survival
    from medviewer.training.cohorts import read_cohort  # noqa: PLC0415 - likewise
    from medviewer.training.survival_folds import survival_figures, survival_measures  # noqa: PLC0415 - likewise

    evaluation.check_whole(split)
    cohorts = [read_cohort(data, card.inputs[0]) for card in cards]
    usable = set(cohorts[0].rows) & set(cohorts[1].rows)
    unusable = sorted(set(cohorts[0].unusable) | set(cohorts[1].unusable))
    shared = [cohort.where(np.array([row in usable for row in cohort.rows])) for cohort in cohorts]
    if not shared[0].event.any():
        raise InputError(f"Nobody of whom both models have all values in {data} has the event; give more patients.")
    horizons = [
        one for one in cards[0].outcomes[0].times if one in cards[1].outcomes[0].times and one < shared[0].time.max()
    ]
    # Rows are of one patient where they are equal in the fields of both.
    first: dict[tuple[int, int], int] = {}
    of_both = zip(shared[0].rows, shared[0].patients, shared[1].patients, strict=True)
    patients = [first.setdefault((one, other), row) for row, one, other in of_both]
    judged = []
    for card, whole, cohort in zip(cards, cohorts, shared, strict=True):
        progress(f"{card.id} {card.version}: {len(cohort.time)} patients")
        answers = evaluation.answers_of(card, cohort, patients)
        about = evaluation.describe_patients(cohort, patients) | {
            "unusable": [{"file": name, "reason": reason} for name, reason in unusable],
            "was_learned_from": evaluation.was_learned_from(card, whole),
        }
        figures = survival_figures(answers, horizons)

        def measured(weights: Floats, figures: Any = figures) -> dict[str, float]:
            return {name: figure(weights) for name, figure in figures.items()}

        metrics = survival_measures(answers, horizons)
        judged.append(Judged(card, about, patients, "patients", measured, metrics, said=answers.free))
    return judged


def _judged_forecasts(cards: Sequence[Card], data: Path, split: str | None, progress: Progress) -> list[Judged]:
    """Have both models forecast the same values: those of variables and hours that both offer."""
    from medviewer.training import forecast_evaluation as evaluation  # noqa: PLC0415 - of forecasts
    from medviewer.training.forecast_data import moments_of  # noqa: PLC0415 - likewise
    from medviewer.training.stay_evaluation import read_sets  # noqa: PLC0415 - likewise

    read = read_sets(data, split)
    digests = [one.digest for one in read.values()]
    stays = [stay for one in read.values() for stay in one.stays]
    moments = [moments_of(stays, [spec.document for spec in card.inputs]) for card in cards]
    if not np.array_equal(moments[0].truth, moments[1].truth, equal_nan=True):
        names = " and ".join(f"{card.id} {card.version}" for card in cards)
        raise UsageError(
            f"{names} take other values for plausible, so that they would be judged on other ones; evaluate each by "
            "itself."
        )
    said = []
    for card, own in zip(cards, moments, strict=True):
        progress(f"{card.id} {card.version}: {len(own.stay)} moments of {len(stays)} stays")
        said.append(evaluation.said_by(card, own))
    names_of_both = list(shared_forecasts(cards[0], cards[1]))
    are_both = {name: np.isfinite(said[0][name]) & np.isfinite(said[1][name]) for name in names_of_both}
    judged = []
    for card, own, quantiles in zip(cards, moments, said, strict=True):
        both = {name: np.where(are_both[name], quantiles[name], np.nan) for name in names_of_both}
        about = evaluation.describe_moments(data, split, own, " ".join(digests)) | {
            "unusable": [{"file": name, "reason": why} for one in read.values() for name, why in one.unusable],
            "was_learned_from": _is_named(card, digests),
        }
        figures, metrics = forecast_scores.figures_by_weight(own, both), evaluation.summarise(own, both)["metrics"]
        stays_of, every = np.unique(own.stay).tolist(), np.stack(list(both.values()))
        judged.append(Judged(card, about, stays_of, "stays", figures, metrics, said=every))
    return judged


def _is_named(card: Card, digests: Sequence[str]) -> bool:
    """Whether the card names one of these data as what the model learned from."""
    return bool(set(card.training.get("data_digests", {}).values()) & set(digests))


_JUDGES: Mapping[str, Judge] = {
    "images": _judged_images,
    "stays": _judged_stays,
    "notes": _judged_notes,
    "molecules": _judged_molecules,
    "survival": _judged_survival,
    "forecast": _judged_forecasts,
}
