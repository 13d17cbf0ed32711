"""Two models of one finding on the same held-out patients: whose AUC is higher, and how sure is that?

Both answer the same films, so that what is hard for one is often hard for the other; the difference is
drawn over patients with both answers together (paired bootstrap), as the films are and under each shift.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medviewer.domain.errors import UsageError
from medviewer.inference.card import Card, read_card
from medviewer.training.batches import Part, Steps
from medviewer.training.data import ClassFolders, patients_of, splits_of
from medviewer.training.metrics import Floats, Truth, roc_auc
from medviewer.training.scoring import Classifier
from medviewer.training.shifts import SHIFTS, shifted
from medviewer.training.validation import Forward, run_over

SPLIT = "report"
ALL = "mean of all"
N_RESAMPLES = 1000


def check_beside(beside: Path, found: ClassFolders, seed: int) -> Card:
    """Return the card of a model to compare with; told before hours of training.

    Raises:
        UsageError: it learned from other data, or they were split otherwise: held-out patients may not be new to it.
        CardError: it is no model.
    """
    card = read_card(beside)
    if card.training.get("data_digest") != found.digest:
        raise UsageError(f"{beside} learned from other data, with which nothing can be compared; give another model.")
    theirs_seed = card.training.get("split", {}).get("seed")
    if theirs_seed != seed:
        raise UsageError(f"{beside} learned from another split; train with its seed, {theirs_seed}, to compare.")
    return card


def compare(
    served: tuple[Forward, Steps],
    beside: Path,
    found: ClassFolders,
    part: Part,
    seed: int,
) -> dict[str, Any]:
    """Compare a network with a finished model on the patients of split ``report``, which chose nothing of either.

    Args:
        served: how the network answers, and its preprocessing.
        beside: a model folder that learned from the same data, split by the same rule.
        found: the data.
        part: the images of that split.
        seed: of the split.

    Returns:
        ``model``, ``version`` and ``sha256`` of the other, ``split``, ``n``, ``n_patients``, and ``auc``: by shift, and
        :data:`ALL` of them, as :func:`paired` gives it.

    Raises:
        UsageError: as :func:`check_beside`.
        ModelError: its files are missing, changed, unsafe or not runnable.
    """
    card = check_beside(beside, found, seed)
    where, patient = splits_of(found, seed), patients_of(found.images)
    patients = [patient[image.group] for image in found.images if where[image.group] == SPLIT]
    other = Classifier(card)
    answers: dict[str, tuple[Floats, Floats]] = {}
    for shift in SHIFTS:
        pixels = shifted(part.pixels, shift)
        mine, _ = run_over(served[0], pixels, served[1])
        theirs, _ = run_over(lambda batch: _as_forward(other, batch), pixels, card.preprocessing)
        answers[shift] = (mine, theirs)
    return {
        "model": card.id,
        "version": card.version,
        "sha256": card.sha256,
        "split": SPLIT,
        "n": len(patients),
        "n_patients": len(set(patients)),
        "auc": paired(part.labels.astype(bool), answers, patients),
    }


def paired(
    truth: Truth, answers: Mapping[str, tuple[Floats, Floats]], patients: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Return both AUCs and their difference with a 95% interval: percentile bootstrap over patients.

    Args:
        truth: ``(n,)``.
        answers: by view of the same cases, scores of the one and of the other, ``(n,)`` each.
        patients: of each case.

    Returns:
        By view, and :data:`ALL` of them: ``auc``, ``auc_beside`` and ``difference`` (above zero: the one is better)
        with ``value`` and ``ci95``.
    """
    _, index = np.unique(np.asarray(patients), return_inverse=True)
    n_patients, chance = int(index.max()) + 1, np.random.default_rng(0)

    def aucs(weights: Floats | None) -> list[tuple[float, float]]:
        rows = [(roc_auc(truth, a, weights), roc_auc(truth, b, weights)) for a, b in answers.values()]
        return [*rows, (float(np.mean([row[0] for row in rows])), float(np.mean([row[1] for row in rows])))]

    draws = []
    for _ in range(N_RESAMPLES):
        weights = chance.multinomial(n_patients, np.full(n_patients, 1 / n_patients))[index].astype(np.float64)
        if weights[truth].sum() and weights[~truth].sum():
            draws.append(aucs(weights))
    drawn = np.array(draws)
    apart = np.percentile(drawn[..., 0] - drawn[..., 1], (2.5, 97.5), axis=0)
    return {
        name: {
            "auc": round(mine, 4),
            "auc_beside": round(theirs, 4),
            "difference": {"value": round(mine - theirs, 4), "ci95": [round(float(end), 4) for end in interval]},
        }
        for name, (mine, theirs), interval in zip([*answers, ALL], aucs(None), apart.T, strict=True)
    }


def _as_forward(other: Classifier, batch: Any) -> tuple[Any, Any]:
    """Give probabilities in the place of logits: their order is the same, and so is the AUC."""
    probability, _ = other.run(batch)
    return probability[:, None], probability[:, None]
