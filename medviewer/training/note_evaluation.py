"""How good is a model that names the section of a dialogue, on tables that it has not learned from?

Runs the shipped files as the viewer does: the card's own tokens, network and calibration.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer import __version__
from medviewer.domain.errors import InputError, ModelError, UsageError
from medviewer.domain.frozen import dataclass
from medviewer.inference.calibration import probabilities
from medviewer.inference.card import Card, read_card
from medviewer.inference.inputs import text
from medviewer.training.class_curves import one_against_rest
from medviewer.training.class_metrics import (
    MEASURES,
    Classes,
    accuracy,
    confusion,
    per_class,
    reliability,
    with_class_intervals,
)
from medviewer.training.class_page import class_page
from medviewer.training.dialogues import Dialogue, Dialogues, encode_dialogues, find_tables, read_dialogues
from medviewer.training.intervals import gaps
from medviewer.training.metrics import Floats
from medviewer.training.report_page import write_report
from medviewer.training.scoring import Progress, open_session

SCHEMA = "medviewer-evaluation/1"
_BATCH = 32
_FEWEST = 10  # dialogues of a subgroup: figures of fewer would be noise
_RARE = 0.05  # share of the training dialogues below which a section is rare


@dataclass(frozen=True, slots=True, eq=False)
class ScoredNotes:
    """Dialogues, and what was said of them: ``probability`` ``(n, C)``, ``parts`` ``(n, P, C)`` logits."""

    rows: Sequence[Dialogue]
    truth: Classes
    probability: Floats
    parts: Floats

    def where(self, members: npt.NDArray[np.bool_]) -> ScoredNotes:
        """Return some of them."""
        rows = [row for row, is_in in zip(self.rows, members, strict=True) if is_in]
        return ScoredNotes(rows, self.truth[members], self.probability[members], self.parts[members])


def label_name(section: str) -> str:
    """Return how a card names a section: a label's name holds no slash."""
    return section.replace("/", "_")


def evaluate_notes(model: Path, data: Path, out: Path, *, split: str | None, progress: Progress) -> Mapping[str, Any]:
    """Run a model over tables of dialogues and write ``report.json`` and ``report.html``.

    Args:
        model: the model folder, of a model that takes one note and names one of several classes.
        data: a table, or a folder with the published ones (:mod:`medviewer.training.dialogues`).
        out: receives the report.
        split: ``training``, ``validation``, ``test-1`` or ``test-2``; None: all that are there.
        progress: called with one line of text at a time.

    Raises:
        ModelError, UsageError, InputError, StorageError: as :func:`medviewer.training.evaluate.evaluate`.
    """
    started = time.time()
    card = read_card(model)
    if card.task != "multiclass" or len(card.inputs) != 1:
        raise UsageError(f"The model {card.id} does not name one class of a note; evaluate handles those that do.")
    read = read_split(data, split)
    rows, unusable = known_rows(card, read)
    progress(f"{len(rows)} dialogues read")
    scored = score_notes(card, rows)
    report = {
        "schema": SCHEMA,
        "model": {"id": card.id, "version": card.version, "sha256": card.sha256},
        "data": describe_notes(card, data, split, scored, read) | {"unusable": unusable},
        **summarise_notes(card, scored),
        "one_against_rest": one_against_rest(
            scored.truth, scored.probability, [label.name for label in card.labels], [row.group for row in rows]
        ),
        "subgroups": subgroups_of(card, scored),
        "guards": doubts_of(card, rows),
        "robustness": {},
        "novelty": None,
        "versions": {"medviewer": __version__, "numpy": np.__version__},
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "elapsed_s": round(time.time() - started, 1),
    }
    write_report(out, report, class_page(report, scored.truth, scored.probability))
    progress(f"report written to {out}")
    return report


def read_split(data: Path, split: str | None) -> dict[str, Dialogues]:
    """Read the tables of a folder, or one table, by split; ``split``: only that one.

    Raises:
        UsageError: there is no such table.
        InputError: the data cannot be used.
    """
    tables = find_tables(data)
    if split is not None and split not in tables:
        raise UsageError(f"There is no table {split!r} in {data}; there are: {', '.join(tables)}.")
    return {name: read_dialogues(path) for name, path in tables.items() if split in (None, name)}


def judge(folder: Path, split: str, found: Dialogues) -> dict[str, Any]:
    """Return a report of a written model on one table, for its card."""
    card = read_card(folder)
    rows, _ = known_rows(card, {split: found})
    scored = score_notes(card, rows)
    data = describe_notes(card, found.path, split, scored, {split: found})
    return {"data": data, **summarise_notes(card, scored), "subgroups": subgroups_of(card, scored)}


def known_rows(card: Card, read: Mapping[str, Dialogues]) -> tuple[list[Dialogue], list[dict[str, str]]]:
    """Return the rows whose section the model knows, and the others with their reasons.

    Raises:
        InputError: there is none.
    """
    names = {label.name for label in card.labels}
    every = [row for one in read.values() for row in one.rows]
    unusable = [{"file": name, "reason": why} for one in read.values() for name, why in one.unusable]
    unusable += [
        {"file": row.name, "reason": f"the model does not know its section {row.section}"}
        for row in every
        if label_name(row.section) not in names
    ]
    known = [row for row in every if label_name(row.section) in names]
    if not known:
        raise InputError(f"No dialogue is of a section that {card.id} knows; see that it is the right table.")
    return known, unusable


def score_notes(card: Card, rows: Sequence[Dialogue]) -> ScoredNotes:
    """Give the calibrated probabilities of each dialogue, by the card's own input and files.

    Raises:
        ModelError: a file is missing, changed, unsafe or not runnable, or the network gives what is no number.
    """
    session, spec = open_session(card, "model"), card.inputs[0]
    has_parts = any(output.name == "parts" for output in card.outputs)
    by_part, names = encode_dialogues(rows, spec), {tensor.part: tensor.name for tensor in spec.tensors}
    logits, parts = [], []
    for start in range(0, len(rows), _BATCH):
        given = {names[part]: array[start : start + _BATCH] for part, array in by_part.items()}
        said = session.run(["logits", "parts"] if has_parts else ["logits"], given)
        logits.append(said[0])
        parts.append(said[1] if has_parts else said[0][:, None])
    logit = np.concatenate(logits)
    if not np.isfinite(logit).all():
        raise ModelError(f"The model {card.id} gives answers that are not numbers; install it again.")
    labels = [label.name for label in card.labels]
    truth = np.array([labels.index(label_name(row.section)) for row in rows], np.int64)
    said_of = probabilities(logit, card.require_calibration(), card.task)
    return ScoredNotes(rows, truth, said_of, np.concatenate(parts).astype(np.float64))


def summarise_notes(card: Card, scored: ScoredNotes) -> dict[str, Any]:
    """Return measures with intervals, those of each class, the confusion matrix and the reliability table."""
    groups, names = [row.group for row in scored.rows], [label.name for label in card.labels]
    found = with_class_intervals(MEASURES, scored.truth, scored.probability, groups)
    for index, part in enumerate(card.document.get("training", {}).get("parts", [])):
        one = with_class_intervals({"accuracy": accuracy}, scored.truth, scored.parts[:, index], groups)
        found[f"accuracy_{part}"] = one["accuracy"]
    counts = confusion(scored.truth, scored.probability).astype(int).tolist()
    return {
        "metrics": found,
        "classes": per_class(scored.truth, scored.probability, names),
        "confusion": {"classes": names, "counts": counts},
        "reliability": reliability(scored.truth, scored.probability),
    }


def subgroups_of(card: Card, scored: ScoredNotes) -> list[dict[str, Any]]:
    """Return measures, and gaps to the others, by length and by how common a section is; small groups are left out."""
    words = np.array([len(row.text.split()) for row in scored.rows])
    learned = Counter(card.document.get("training", {}).get("per_class", {}))
    share = np.array([learned[label.name] for label in card.labels]) / max(learned.total(), 1)
    of_case = share[scored.truth]
    groups = {
        "up to 40 words": words <= 40,
        "41 to 100 words": (words > 40) & (words <= 100),
        "101 to 200 words": (words > 100) & (words <= 200),
        "more than 200 words": words > 200,
    }
    if learned:
        groups |= {"common sections (5% of training or more)": of_case >= _RARE, "rare sections": of_case < _RARE}
    wanted = {name: MEASURES[name] for name in ("accuracy", "top3_accuracy", "ece")}

    def figures_of(chosen: npt.NDArray[np.bool_]) -> dict[str, dict[str, Any]]:
        if chosen.sum() < _FEWEST:
            return {}
        part = scored.where(chosen)
        ids = [row.group for row in part.rows]
        return with_class_intervals(wanted, part.truth, part.probability, ids, n_resamples=300)

    found = []
    for name, members in groups.items():
        if figures := figures_of(members):
            compared = gaps(figures, figures_of(~members), ("accuracy", "top3_accuracy"))
            found.append({"name": name, "n": int(members.sum()), "metrics": figures, "gaps": compared})
    return found


def doubts_of(card: Card, rows: Sequence[Dialogue]) -> dict[str, int]:
    """Return of how many dialogues the viewer would warn, or refuse them, by the code of the doubt."""
    spec = card.inputs[0]
    every = (text.examine(text.TextRaw(row.text), spec)[0] for row in rows)
    return dict(Counter(f"{doubt.level}: {doubt.code}" for doubts in every for doubt in doubts))


def describe_notes(
    card: Card, data: Path, split: str | None, scored: ScoredNotes, read: Mapping[str, Dialogues]
) -> dict[str, Any]:
    """Say what was evaluated, and whether the model has seen any of it before."""
    counts = np.bincount(scored.truth, minlength=len(card.labels))
    learned = card.document.get("training", {}).get("data_digests", {}).get("training")
    return {
        "path": str(data),
        "split": split,
        "n": len(scored.rows),
        "n_patients": len({row.group for row in scored.rows}),
        "unit": "dialogues",
        "digest": " ".join(one.digest for one in read.values()),
        "per_class": {label.name: int(count) for label, count in zip(card.labels, counts, strict=True)},
        "was_learned_from": learned is not None and learned in {one.digest for one in read.values()},
    }
