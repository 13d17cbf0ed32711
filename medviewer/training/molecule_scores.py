"""How well molecules are told apart, assay by assay and on the mean, with skeletons as the unit of chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.domain.frozen import dataclass
from medviewer.training.calibration import sigmoid
from medviewer.training.intervals import gaps, group_draws, has_no_width, interval_entry, mean_interval
from medviewer.training.metrics import Floats, Measure, Truth, counted, measures, roc_auc, taken, widened
from medviewer.training.paired import Measured

MEAN = ("auc", "pr_auc", "balanced_accuracy", "sensitivity", "specificity", "brier", "ece")
N_RESAMPLES = 300
N_RESAMPLES_BRIEF = 60  # of parts and of subgroups
_FEWEST = 5  # of either result, for an assay to count in a subgroup
_FEWEST_MOLECULES = 30


@dataclass(frozen=True, slots=True, eq=False)
class ScoredMolecules:
    """Molecules, and what was said of them.

    Attributes:
        scaffolds: the skeleton of each.
        truth: ``(n, assays)``: 1 active, 0 not, NaN not known.
        probability: ``(n, assays)``, calibrated.
        parts: ``(n, parts, assays)`` logits; no parts where the model has none.
        n_atoms: ``(n,)``.
        n_molecules: ``(n,)``: 1, or more for salts, hydrates and mixtures.
        novelty: ``(n,)``, the distance to the nearest molecule that was learned from; None where it is not known.
        is_new: ``(n,)`` whether the skeleton is none of those that were learned from; None where it is not known.
    """

    scaffolds: Sequence[str]
    truth: Floats
    probability: Floats
    parts: Floats
    n_atoms: npt.NDArray[np.int64]
    n_molecules: npt.NDArray[np.int64]
    novelty: Floats | None = None
    is_new: Truth | None = None


def report_on(scored: ScoredMolecules, thresholds: Mapping[str, float], parts: Sequence[str]) -> dict[str, Any]:
    """Return :func:`summarise_molecules` and :func:`subgroups_of_molecules` in one."""
    return {
        **summarise_molecules(scored, thresholds, parts),
        "subgroups": subgroups_of_molecules(scored, thresholds),
    }


def summarise_molecules(
    scored: ScoredMolecules, thresholds: Mapping[str, float], parts: Sequence[str] = ()
) -> dict[str, Any]:
    """Return ``assays`` (each with measures, confusion matrix and reliability table) and the means as ``metrics``.

    Args:
        scored: the molecules.
        thresholds: of each assay by name, in the order of the columns.
        parts: names of the parts, whose mean AUC is told beside the blend's.
    """
    by_assay, means = _measured(scored, thresholds, MEAN, N_RESAMPLES)
    assays = {}
    for index, (name, threshold) in enumerate(thresholds.items()):
        known = np.isfinite(scored.truth[:, index])
        truth, probability = scored.truth[known, index] == 1, scored.probability[known, index]
        about = {"n": int(known.sum()), "active": int(truth.sum()), "threshold": threshold}
        if name not in by_assay:
            assays[name] = {**about, "metrics": {}}
            continue
        assays[name] = {**about, "metrics": by_assay[name], **counted(truth, probability, threshold)}
    metrics = means | {f"auc {name}": found["auc"] for name, found in by_assay.items()}
    for index, part in enumerate(parts if means else ()):
        metrics[f"auc_{part}"] = _auc_of(scored, scored.parts[:, index], thresholds)
    return {
        "metrics": metrics,
        "assays": assays,
        "left_out": [name for name in thresholds if name not in by_assay],
    }


def subgroups_of_molecules(scored: ScoredMolecules, thresholds: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return mean measures by size, kind and strangeness; groups, and assays in them, that are too small are left out.

    The mean is over other assays in each group, as ``n_assays`` says, so that two groups compare only roughly. A gap
    is between means over the same assays: those that can be measured in the group and in all other molecules, as
    ``n_assays_shared`` says.
    """
    names = ("auc", "sensitivity", "specificity")
    brief = (names, N_RESAMPLES_BRIEF, _FEWEST)
    size, has_ring = scored.n_atoms, np.array([bool(scaffold) for scaffold in scored.scaffolds])
    groups: dict[str, Truth] = {
        "up to 12 atoms": size <= 12, "13 to 20 atoms": (size > 12) & (size <= 20),
        "21 to 30 atoms": (size > 20) & (size <= 30), "more than 30 atoms": size > 30, "without a ring": ~has_ring,
        "with a ring": has_ring, "one molecule": scored.n_molecules == 1,
        "salts, hydrates and mixtures": scored.n_molecules > 1,
    }  # fmt: skip
    if scored.is_new is not None:
        groups |= {"of a known skeleton": ~scored.is_new, "of a new skeleton": scored.is_new}
    if (far := scored.novelty) is not None:
        groups |= {
            "nearest known molecule closer than 40": far < 40, "40 to 60": (far >= 40) & (far < 60),
            "60 to 75": (far >= 60) & (far < 75), "75 and farther": far >= 75,
        }  # fmt: skip
    found = []
    for name, members in groups.items():
        if members.sum() < _FEWEST_MOLECULES or not (own := _drawn(_where(scored, members), thresholds, *brief)):
            continue
        entry = {"name": name, "n": int(members.sum()), "n_assays": len(own), "metrics": _means(own, names)}
        others = {} if (~members).sum() < _FEWEST_MOLECULES else _drawn(_where(scored, ~members), thresholds, *brief)
        if shared := [assay for assay in own if assay in others]:
            first, second = ({assay: side[assay] for assay in shared} for side in (own, others))
            entry["n_assays_shared"] = len(shared)
            entry["gaps"] = gaps(_means(first, names), _means(second, names), names)
        found.append(entry)
    return found


def _where(scored: ScoredMolecules, members: Truth) -> ScoredMolecules:
    scaffolds = [one for one, is_member in zip(scored.scaffolds, members, strict=True) if is_member]
    return ScoredMolecules(
        scaffolds,
        scored.truth[members],
        scored.probability[members],
        scored.parts[members],
        scored.n_atoms[members],
        scored.n_molecules[members],
    )


def figures_by_weight(scored: ScoredMolecules, thresholds: Mapping[str, float]) -> Measured:
    """Return what gives the means over assays, and each assay's AUC, for weights of the molecules."""
    names = [name for name in MEAN if name != "ece"]  # chance alone makes it larger, of draws too
    assays = {}
    for column, (assay, threshold) in enumerate(thresholds.items()):
        known = np.isfinite(scored.truth[:, column])
        truth, probability = scored.truth[known, column] == 1, scored.probability[known, column]
        if truth.any() and not truth.all():
            assays[assay] = (known, truth, probability, measures(threshold))

    def figures(weights: Floats) -> dict[str, float]:
        each = {
            assay: {name: float(_rows(wanted[name], truth, probability, [weights[known]])[0]) for name in names}
            for assay, (known, truth, probability, wanted) in assays.items()
        }
        means = {name: float(np.mean([one[name] for one in each.values()])) for name in names} if each else {}
        return means | {f"auc {assay}": one["auc"] for assay, one in each.items()}

    return figures


def _auc_of(scored: ScoredMolecules, logits: Floats, thresholds: Mapping[str, float]) -> dict[str, Any]:
    """Return the mean AUC of one part."""
    other = ScoredMolecules(
        scored.scaffolds, scored.truth, sigmoid(logits), scored.parts, scored.n_atoms, scored.n_molecules
    )
    found: dict[str, Any] = _measured(other, thresholds, ("auc",), N_RESAMPLES_BRIEF)[1]["auc"]
    return found


def _measured(
    scored: ScoredMolecules, thresholds: Mapping[str, float], names: Sequence[str], n_resamples: int
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Return the measures of each assay of which both results are known, and their means, all with intervals."""
    drawn = _drawn(scored, thresholds, names, n_resamples)
    return {assay: one.entries for assay, one in drawn.items()}, _means(drawn, names) if drawn else {}


@dataclass(frozen=True, slots=True, eq=False)
class _Assay:
    """By measure of one assay: the value with its interval, and rows of the value and then of each draw."""

    entries: dict[str, dict[str, Any]]
    rows: Mapping[str, Floats]


def _drawn(
    scored: ScoredMolecules, thresholds: Mapping[str, float], names: Sequence[str], n_resamples: int, fewest: int = 1
) -> dict[str, _Assay]:
    """Return the measures of each assay of which at least so many of both results are known.

    Bootstrap over skeletons: molecules of one skeleton are alike, and their results too. All assays of a draw have
    the same skeletons, so that the interval of the mean is that of the mean.
    """
    _, index = np.unique(np.asarray(scored.scaffolds), return_inverse=True)
    draws = list(group_draws(int(index.max()) + 1, n_resamples))
    found: dict[str, _Assay] = {}
    for column, (assay, threshold) in enumerate(thresholds.items()):
        known = np.isfinite(scored.truth[:, column])
        truth, probability = scored.truth[known, column] == 1, scored.probability[known, column]
        if min(truth.sum(), (~truth).sum()) < fewest:
            continue
        every = [None, *(draw[index[known]].astype(np.float64) for draw in draws)]
        wanted = measures(threshold)
        own = {name: _rows(wanted[name], truth, probability, every) for name in names}
        entries = {name: _entry(own[name]) for name in names}
        found[assay] = _Assay(widened(entries, wanted, truth, probability, index[known]), own)
    return found


def _means(drawn: Mapping[str, _Assay], names: Sequence[str]) -> dict[str, Any]:
    """Return each measure's mean over assays."""
    every = list(drawn.values())
    return {
        name: _mean_entry([one.rows[name] for one in every], [one.entries[name] for one in every]) for name in names
    }


def _rows(measure: Measure, truth: Truth, probability: Floats, every: Sequence[Floats | None]) -> Floats:
    """Return a measure, or its gaps, by each of some weights: a row each, not a number without both results."""
    nothing = np.full_like(taken(measure, truth, probability, None), np.nan)
    return np.array([
        taken(measure, truth, probability, one)
        if one is None or (one[truth].sum() > 0 and one[~truth].sum() > 0)
        else nothing
        for one in every
    ])  # fmt: skip


def _mean(rows: Sequence[Floats]) -> Floats:
    """Return the mean over assays; a draw that leaves one of them without a result says nothing of it."""
    table = np.array(rows)
    if table.ndim == 2:
        return np.asarray(table.mean(0))
    return np.concatenate(table / len(table), axis=1)  # the mean of sums is the sum over all gaps


def _mean_entry(rows: Sequence[Floats], each: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the mean over assays with its interval: of their draws together, or, if it is wider, from those of each.

    That of an assay may be wider than its draws say (:func:`~medviewer.training.metrics.widened`).
    """
    entry = _entry(_mean(rows))
    together = None if rows[0].ndim > 1 else mean_interval(each)
    if together is not None and entry["ci95"] is None:  # hardly a draw has both results of every assay
        entry["ci95"] = together
    elif together is not None and any(has_no_width(_entry(own)) for own in rows):
        entry["ci95"] = [min(entry["ci95"][0], together[0]), max(entry["ci95"][1], together[1])]
    return entry


def _entry(rows: Floats) -> dict[str, Any]:
    return interval_entry(rows[0], list(rows[1:]))


def mean_auc(truth: Floats, logits: Floats) -> float:
    """Return the mean over assays of the AUC on the molecules of which the result is known.

    Assays without both results are left out; NaN if all are.
    """
    known = np.isfinite(truth)
    each = [roc_auc(truth[k, i] == 1, logits[k, i]) for i, k in enumerate(known.T) if {0.0, 1.0} <= set(truth[k, i])]
    return float(np.mean(each)) if each else float("nan")
