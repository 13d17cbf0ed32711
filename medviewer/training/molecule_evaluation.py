"""How good is a model on a table of molecules with the results of its assays?

Runs the shipped files as the viewer does: the card's input, ONNX Runtime, calibration and thresholds. A model of
molecules reports several assays; each has its figures, and beside them stands their mean.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer import __version__
from medviewer.domain.errors import InputError, UsageError
from medviewer.inference.calibration import probabilities
from medviewer.inference.card import Card, InputSpec, read_card
from medviewer.inference.inputs.molecule import MoleculeRaw, encode, read_molecule
from medviewer.inference.loading import read_arrays
from medviewer.training.metrics import Floats
from medviewer.training.molecule_page import molecule_page
from medviewer.training.molecule_scores import ScoredMolecules, report_on
from medviewer.training.molecules import SPLITS, Molecules, read_molecules, scaffold_split
from medviewer.training.report_page import write_report
from medviewer.training.scoring import open_session

SCHEMA = "medviewer-evaluation/1"
SCAFFOLDS = "scaffolds"  # of the out-of-distribution file: scaffold_marks of what was learned from
_BATCH = 32
_ANY_SIZE = 1_000_000


def evaluate_molecules(model: Path, data: Path, out: Path, *, split: str | None, progress: Any) -> Mapping[str, Any]:
    """Run a model over a table of molecules and write ``report.json`` and ``report.html``.

    Args:
        model: the model folder, of a model whose input is a molecule.
        data: the table (:mod:`medviewer.training.molecules`), or the folder that holds ``tox21.csv``.
        out: receives the report.
        split: ``train``, ``valid`` or ``test`` of the table's own split by skeletons; None: all.
        progress: called with one line of text at a time.

    Raises:
        ModelError, UsageError, InputError, StorageError: as :func:`medviewer.training.evaluate.evaluate`.
    """
    started = time.time()
    card = read_card(model)
    if len(card.inputs) != 1 or not card.labels:
        raise UsageError(f"The model {card.id} takes more than a molecule, or reports no labels; it has no measures.")
    thresholds = {label.name: label.threshold for label in card.labels}
    found = read_split(data, split, [card])
    progress(f"{len(found.names)} molecules read")
    scored = score_molecules(card, found)
    measured = report_on(scored, thresholds, card.training.get("parts", ()))
    if not measured["metrics"]:
        raise InputError(f"{data} has no assay of which both results are known; there is nothing to measure.")
    report = {
        "schema": SCHEMA,
        "model": {"id": card.id, "version": card.version, "sha256": card.sha256},
        "data": describe_molecules(data, split, scored, found.digest)
        | {
            "unusable": [{"file": name, "reason": reason} for name, reason in found.unusable],
            "was_learned_from": found.digest == card.training.get("data_digest"),
        },
        **measured,
        "robustness": {},
        "novelty": _novelty(card, scored),
        "versions": {"medviewer": __version__, "numpy": np.__version__},
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "elapsed_s": round(time.time() - started, 1),
    }
    write_report(out, report, molecule_page(report, scored.truth, scored.probability))
    progress(f"report written to {out}")
    return report


def read_split(data: Path, split: str | None, cards: Sequence[Card]) -> Molecules:
    """Read the molecules that all of some models of the same assays take; ``split``: only that part.

    Raises:
        UsageError: there is no such part.
        InputError: the data cannot be used.
    """
    if split not in (None, *SPLITS):
        raise UsageError(f"There is no split {split!r}; there are: {', '.join(SPLITS)}.")
    most_atoms = min(_most_atoms(card.inputs[0]) for card in cards)
    found = read_molecules(data, tuple(label.name for label in cards[0].labels), most_atoms)
    return found if split is None else found.where(scaffold_split(found.scaffolds) == split)


def score_molecules(card: Card, found: Molecules) -> ScoredMolecules:
    """Give the calibrated probabilities of each molecule, by the card's own input and files.

    Raises:
        ModelError: a file is missing, changed, unsafe or not runnable.
    """
    session, spec = open_session(card, "model"), card.inputs[0]
    names = [output.name for output in card.outputs]
    made: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in names}
    for start in range(0, len(found.smiles), _BATCH):
        rows = [encode(MoleculeRaw(smiles), spec).tensors for smiles in found.smiles[start : start + _BATCH]]
        batch = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        for name, array in zip(names, session.run(names, batch), strict=True):
            made[name].append(array.astype(np.float64))
    outputs = {name: np.concatenate(arrays) for name, arrays in made.items()}
    n_parts = len(card.training.get("parts", ()))
    return scored_molecules(
        found,
        probabilities(outputs["logits"], card.require_calibration(), card.task),
        outputs["parts"] if n_parts else np.zeros((len(found.smiles), 0, len(card.labels))),
        novelty=outputs[card.ood.output][:, 0] if card.ood is not None and "novelty" in outputs else None,
        known=_known_scaffolds(card),
    )


def scored_molecules(
    found: Molecules, probability: Floats, parts: Floats, *, novelty: Floats | None, known: npt.NDArray[Any] | None
) -> ScoredMolecules:
    """Return molecules with what was said of them; ``known`` are the marks of the skeletons that were learned from."""
    read = [read_molecule(smiles) for smiles in found.smiles]
    return ScoredMolecules(
        found.scaffolds, found.truth, probability, parts,
        np.array([molecule.GetNumAtoms() for molecule in read]),
        np.array([smiles.count(".") + 1 for smiles in found.smiles]),
        novelty, None if known is None else ~np.isin(scaffold_marks(found.scaffolds), known),
    )  # fmt: skip


def scaffold_marks(scaffolds: Sequence[str]) -> npt.NDArray[np.uint64]:
    """Return 64 bits of the digest of each skeleton: enough to tell a known one, and nothing of what it is."""
    return np.array([int(hashlib.sha256(one.encode()).hexdigest()[:16], 16) for one in scaffolds], np.uint64)


def describe_molecules(data: Path, split: str | None, scored: ScoredMolecules, digest: str) -> dict[str, Any]:
    """Say what was evaluated."""
    return {
        "path": str(data),
        "split": split,
        "n": len(scored.scaffolds),
        "n_scaffolds": len(set(scored.scaffolds)),
        "digest": digest,
        "per_class": {"active results": int((scored.truth == 1).sum()), "inactive": int((scored.truth == 0).sum())},
    }


def _novelty(card: Card, scored: ScoredMolecules) -> dict[str, Any] | None:
    """Return :func:`novelty_of` by the card's limits, and these."""
    if card.ood is None:
        return None
    limits = {"warn_above": card.ood.warn_above, "abstain_above": card.ood.abstain_above}
    found = novelty_of(scored, **limits)
    return None if found is None else found | {"limits": {"distance": limits}}


def novelty_of(scored: ScoredMolecules, warn_above: float, abstain_above: float) -> dict[str, Any] | None:
    """Return the share of molecules that the guard of strange ones would warn of or refuse."""
    far = scored.novelty
    if far is None:
        return None
    return {
        "warned": round(float(np.mean(far > warn_above)), 4),
        "abstained": round(float(np.mean(far > abstain_above)), 4),
        "median_distance": round(float(np.median(far)), 3),
    }


def _most_atoms(spec: InputSpec) -> int:
    return next((int(step["atoms"]) for step in spec.preprocessing if step["op"] == "graph"), _ANY_SIZE)


def _known_scaffolds(card: Card) -> npt.NDArray[Any] | None:
    """Return the marks of the skeletons that were learned from, if the model has them."""
    file = card.file("ood")
    return None if file is None else read_arrays(card.folder, file).get(SCAFFOLDS)
