"""What a report says of answers by folds: measures with intervals, shifts, and images that have copies."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.training.breastmnist import part_digests
from medviewer.training.copies import grouped_folds
from medviewer.training.data import ClassFolders
from medviewer.training.data_report import DataTable, images_table
from medviewer.training.image_folds import PLAIN, CrossDecided, FoldAnswers
from medviewer.training.intervals import gaps
from medviewer.training.metrics import CalibrationError, Floats, Measure, Truth, measures, taken, with_intervals
from medviewer.training.subgroups import COMPARED

# What is kept in one fold and counted, by whether a label table names the patients.
UNITS = {False: "groups of near copies", True: "patients (those with near copies of each other are one)"}


def fold_report(
    found: ClassFolders, answers: FoldAnswers, crossed: CrossDecided, text: Mapping[str, str]
) -> dict[str, Any]:
    """Return a report on the folds, as :func:`medviewer.training.card.write_card` takes it; ``text``: what it is."""
    size = np.bincount(answers.groups, minlength=len(answers.groups))[answers.groups]
    parts = {"images without a near copy": size == 1, "images with near copies": size > 1}
    return {
        "data": {
            "text": dict(text),
            "n": len(answers.truth),
            "n_patients": len(set(answers.groups.tolist())),
            "unit": UNITS[found.is_table],
            "per_class": found.per_class,
            "digest": found.digest,
        },
        "metrics": fold_metrics(answers, crossed),
        "robustness": fold_robustness(answers, crossed),
        "subgroups": _subgroups(answers, crossed, parts),
    }


def _subgroups(answers: FoldAnswers, crossed: CrossDecided, parts: Mapping[str, Truth]) -> list[dict[str, Any]]:
    """Return the measures of two parts that make up the whole, and how far each is from the other."""
    usable = {name: members for name, members in parts.items() if len(set(answers.truth[members].tolist())) == 2}
    figures = {name: fold_metrics(answers, crossed, members) for name, members in usable.items()}
    found: list[dict[str, Any]] = []
    for name, members in usable.items():
        entry: dict[str, Any] = {"name": name, "n": int(members.sum()), "metrics": figures[name]}
        if others := [figures[other] for other in usable if other != name]:
            entry["gaps"] = gaps(figures[name], others[0], COMPARED)
        found.append(entry)
    return found


def fold_metrics(
    answers: FoldAnswers, crossed: CrossDecided, members: Truth | None = None
) -> dict[str, dict[str, Any]]:
    """Return the measures of every report, each the mean over repeats, with an interval over groups of copies.

    Args:
        answers: the logits: of them the AUC is told, for each fold's networks have a calibration of their own.
        crossed: the probabilities and calls.
        members: ``(n,)`` which images to judge; None: all.
    """
    chosen = np.ones(len(answers.truth), dtype=bool) if members is None else members
    n_repeats = len(answers.folds)
    truth = np.tile(answers.truth[chosen], n_repeats)
    groups = [str(group) for group in np.tile(answers.groups[chosen], n_repeats)]
    every = measures(0.5)
    sources = {
        ("auc", "pr_auc"): answers.logits[PLAIN],
        ("brier", "ece", "ece_balanced"): crossed.probability[PLAIN],
        ("accuracy", "balanced_accuracy", "sensitivity", "specificity", "f1"): crossed.called[PLAIN].astype(np.float64),
    }
    found: dict[str, dict[str, Any]] = {}
    for names, values in sources.items():
        wanted = {name: _mean_over(every[name], n_repeats) for name in names}
        found |= with_intervals(wanted, truth, values[:, chosen].ravel(), groups, n_repeats=n_repeats)
    return found


def fold_robustness(answers: FoldAnswers, crossed: CrossDecided) -> dict[str, dict[str, Any]]:
    """Return AUC, sensitivity, specificity and calibration error under each shift, the means over repeats."""
    n_repeats, n = answers.folds.shape
    truth, every = np.tile(answers.truth, n_repeats), measures(0.5)
    table: dict[str, dict[str, Any]] = {}
    for shift in answers.logits:
        sources: Sequence[tuple[str, Floats]] = (
            ("auc", answers.logits[shift]),
            ("sensitivity", crossed.called[shift].astype(np.float64)),
            ("specificity", crossed.called[shift].astype(np.float64)),
            ("ece_balanced", crossed.probability[shift]),
        )
        figures = {k: round(_mean_over(every[k], n_repeats)(truth, v.ravel(), None), 4) for k, v in sources}
        table[shift] = {"n": n, **figures}
    return table


def _mean_over(measure: Measure, n_repeats: int) -> Measure:
    """Return a measure of repeats, one after the other in its arguments, as the mean of theirs."""

    def each(truth: Truth, values: Floats, weights: Floats | None) -> Floats:
        shares = np.split(np.ones(len(truth)) if weights is None else weights, n_repeats)
        pairs = zip(np.split(truth, n_repeats), np.split(values, n_repeats), shares, strict=True)
        return np.array([taken(measure, t, v, w) for t, v, w in pairs])

    if isinstance(measure, CalibrationError):  # the mean of sums is the sum over all gaps, each by its part
        return CalibrationError(lambda truth, values, weights: each(truth, values, weights).ravel() / n_repeats)
    return lambda truth, values, weights: float(each(truth, values, weights).mean())


def folds_table(found: ClassFolders, groups: npt.NDArray[np.int64], n_folds: int, seed: int) -> DataTable:
    """Return the images as rows, with the folds of the first repeat as their parts."""
    labels = np.array([image.label for image in found.images], dtype=np.int64)
    folds = [f"fold {fold + 1}" for fold in grouped_folds(labels, groups, n_folds, seed)]
    table = images_table(found, seed)
    sizes = np.bincount(groups, minlength=len(groups))[groups].astype(np.float64)
    return dataclasses.replace(
        table,
        patients=[str(group) for group in groups],
        splits=folds,
        expected_splits=sorted(set(folds)),
        learned=list(part_digests(found).values()),
        needed=(),
        refuses_copies=False,
        unit=UNITS[found.is_table],
        columns={**table.columns, "size of the group": sizes},
    )
