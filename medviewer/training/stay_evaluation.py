"""How good is a model on the stays of a set that it has not learned from?

Runs the shipped files as the viewer does. The measures of every report, and beside them the
challenge's own two scores and those of each part of a blend.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medviewer import __version__
from medviewer.domain.errors import InputError, UsageError
from medviewer.domain.frozen import dataclass
from medviewer.inference.card import Card, read_card
from medviewer.training.calibration import sigmoid
from medviewer.training.icu_scores import event_1, event_2
from medviewer.training.intervals import gaps
from medviewer.training.metrics import Floats, Measure, Truth, counted, measures, with_intervals
from medviewer.training.physionet import Stay, Stays, find_sets, read_stays
from medviewer.training.report_page import CHECKS_OF_VALUES, report_page, write_report
from medviewer.training.scoring import open_session
from medviewer.training.stays import FIELDS, all_implausible, encode

SCHEMA = "medviewer-evaluation/1"
_BATCH = 256
_COPIED = (
    "Among the stays are copies, equal in every value and time: {n} RecordIDs stand for only {same}. Each counts in "
    "the figures; intervals take equal ones for one patient."
)
FEWEST = 30  # stays of a subgroup


@dataclass(frozen=True, slots=True, eq=False)
class ScoredStays:
    """Stays, and what was said of them: ``probability`` ``(n,)``, ``parts`` ``(n, P)`` logits."""

    stays: Sequence[Stay]
    truth: Truth
    probability: Floats
    parts: Floats

    @property
    def patients(self) -> list[str]:
        """Return of whom each stay is: its RecordID, or that of the first stay of the same content."""
        first: dict[str, str] = {}
        ids = [str(stay.record_id) for stay in self.stays]
        return [first.setdefault(stay.content or one, one) for stay, one in zip(self.stays, ids, strict=True)]


def evaluate_stays(model: Path, data: Path, out: Path, *, split: str | None, progress: Any) -> Mapping[str, Any]:
    """Run a model over sets of the challenge and write ``report.json`` and ``report.html``.

    Args:
        model: the model folder, of a model whose inputs are a stay and a patient.
        data: the folder with ``set-x`` or ``set-x.zip``, and ``Outcomes-x.txt``; or one such set.
        out: receives the report.
        split: the letter of one set; None: all.
        progress: called with one line of text at a time.

    Raises:
        ModelError, UsageError, InputError, StorageError: as :func:`medviewer.training.evaluate.evaluate`.
    """
    started = time.time()
    card = read_card(model)
    stays, unusable, digests = read_outcomes(data, split)
    progress(f"{len(stays)} stays read")
    scored = score_stays(card, stays)
    learned = set(card.training.get("data_digests", {}).values())
    report = {
        "schema": SCHEMA,
        "model": {"id": card.id, "version": card.version, "sha256": card.sha256},
        "data": describe_stays(data, split, scored, " ".join(digests))
        | {
            "unusable": unusable,
            "implausible": all_implausible(stays, [spec.document for spec in card.inputs]),
            "was_learned_from": bool(learned & set(digests)),
        },
        **summarise_stays(scored, card.labels[0].threshold, card),
        "subgroups": subgroups_of(scored, card.labels[0].threshold),
        "robustness": {},
        "curves": {},
        "novelty": None,
        "versions": {"medviewer": __version__, "numpy": np.__version__},
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "elapsed_s": round(time.time() - started, 1),
    }
    page = report_page(report, scored.truth, scored.probability, checks=CHECKS_OF_VALUES, copied=_COPIED)
    write_report(out, report, page)
    progress(f"report written to {out}")
    return report


def read_sets(data: Path, split: str | None) -> dict[str, Stays]:
    """Read the sets of a folder, or that one set, by letter; ``split``: only that one.

    Raises:
        UsageError: there is no such set.
        InputError: the data cannot be used.
    """
    sets = {data.name: data} if data.name.startswith("set-") else find_sets(data)
    if split is not None and split not in sets:
        raise UsageError(f"There is no set {split!r} in {data}; there are: {', '.join(sets)}.")
    return {letter: read_stays(path) for letter, path in sets.items() if split in (None, letter)}


def read_outcomes(data: Path, split: str | None) -> tuple[list[Stay], list[dict[str, str]], list[str]]:
    """Return the stays to judge by, the files of them that cannot be used, and each set's digest.

    Args:
        data: as for :func:`evaluate_stays`.
        split: the letter of one set; None: all.

    Raises:
        UsageError: there is no such set.
        InputError: a stay has no outcome.
    """
    read = list(read_sets(data, split).values())
    stays = [stay for one in read for stay in one.stays]
    if any(stay.died is None for stay in stays):
        raise InputError(f"{data} has stays without an outcome; put Outcomes-x.txt beside each set.")
    unusable = [{"file": name, "reason": why} for one in read for name, why in one.unusable]
    return stays, unusable, [one.digest for one in read]


def score_stays(card: Card, stays: Sequence[Stay]) -> ScoredStays:
    """Give the calibrated probability of each stay, by the card's own inputs and files.

    Raises:
        ModelError: a file is missing, changed, unsafe or not runnable.
    """
    session, calibration = open_session(card, "model"), card.require_calibration()
    tensors = encode(stays, [spec.document for spec in card.inputs])
    n = len(FIELDS)
    logits, parts = [], []
    for start in range(0, len(stays), _BATCH):
        chosen = slice(start, start + _BATCH)
        about = tensors.fields[chosen]
        given = {"joined": tensors.joined[chosen], "fields": about[:, :n], "known": about[:, n:]}
        one, each = session.run(["logits", "parts"], given)
        logits.append(one[:, 0])
        parts.append(each)
    logit = np.concatenate(logits).astype(np.float64)
    probability = sigmoid(calibration.slope[0] * logit + calibration.intercept[0])
    return ScoredStays(stays, tensors.truth, probability, np.concatenate(parts).astype(np.float64))


def summarise_stays(scored: ScoredStays, threshold: float, card: Card | None = None) -> dict[str, Any]:
    """Return measures with intervals, the confusion matrix, the reliability table, and each part's AUC."""
    ids = scored.patients
    wanted: dict[str, Measure] = {
        **measures(threshold),
        "event_1": lambda t, p, w: event_1(t, p, threshold, w),
    }
    found = with_intervals(wanted, scored.truth, scored.probability, ids)
    # A draw with weights has no ten groups of one size, so that this one has no interval.
    found["event_2"] = {"value": round(event_2(scored.truth, scored.probability), 3), "ci95": None}
    names = card.document.get("training", {}).get("parts", []) if card else []
    for index, name in enumerate(names):
        auc = {"auc": measures(threshold)["auc"]}
        found[f"auc_{name}"] = with_intervals(auc, scored.truth, scored.parts[:, index], ids, n_resamples=300)["auc"]
    return {"threshold": threshold, "metrics": found, **counted(scored.truth, scored.probability, threshold)}


def subgroups_of(scored: ScoredStays, threshold: float) -> list[dict[str, Any]]:
    """Return measures, and gaps to the other stays, by age, sex and kind of unit; groups too small are left out."""
    wanted = {name: measures(threshold)[name] for name in ("auc", "sensitivity", "specificity", "ece")}
    patients = scored.patients

    def figures_of(chosen: Truth) -> dict[str, dict[str, Any]]:
        if chosen.sum() < FEWEST or len(set(scored.truth[chosen].tolist())) < 2:
            return {}
        ids = [patient for patient, one in zip(patients, chosen, strict=True) if one]
        return with_intervals(wanted, scored.truth[chosen], scored.probability[chosen], ids, n_resamples=300)

    found = []
    for name, members in groups_of(scored.stays).items():
        if figures := figures_of(members):
            compared = gaps(figures, figures_of(~members), ("auc", "sensitivity", "specificity"))
            found.append({"name": name, "n": int(members.sum()), "metrics": figures, "gaps": compared})
    return found


def groups_of(stays: Sequence[Stay]) -> dict[str, Truth]:
    """Return which stays are of which age, sex, and kind of unit."""
    return {name: members for groups in groups_by_descriptor(stays).values() for name, members in groups.items()}


def groups_by_descriptor(stays: Sequence[Stay]) -> dict[str, dict[str, Truth]]:
    """Return the same by the descriptor that tells them apart."""
    age, sex, unit = (
        np.array([stay.descriptors.get(name, np.nan) for stay in stays]) for name in ("Age", "Gender", "ICUType")
    )
    return {
        "Age": {
            "younger than 50": age < 50, "50 to 64": (age >= 50) & (age < 65), "65 to 79": (age >= 65) & (age < 80),
            "80 and older": age >= 80,
        },
        "Gender": {"women": sex == 0, "men": sex == 1},
        "ICUType": {
            "coronary care": unit == 1, "cardiac surgery": unit == 2, "medical": unit == 3, "surgical": unit == 4,
        },
    }  # fmt: skip


def describe_stays(data: Path, split: str | None, scored: ScoredStays, digest: str) -> dict[str, Any]:
    """Say what was evaluated."""
    died = int(scored.truth.sum())
    same: dict[str, list[Stay]] = defaultdict(list)
    for stay, patient in zip(scored.stays, scored.patients, strict=True):
        same[patient].append(stay)
    copied = [stays for stays in same.values() if len(stays) > 1]
    return {
        "path": str(data),
        "split": split,
        "n": len(scored.stays),
        "n_patients": len(same),
        "digest": digest,
        "per_class": {"survived": len(scored.stays) - died, "died": died},
        "copies": [_names(stays) for stays in copied],
        "contradicted": [_names(stays) for stays in copied if len({stay.died for stay in stays}) > 1],
    }


def _names(stays: Sequence[Stay]) -> list[str]:
    return [str(stay.record_id) for stay in stays]
