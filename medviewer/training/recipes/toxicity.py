"""Twelve assays of toxicity, from a molecule's structure (Tox21, as MoleculeNet publishes it; MIT).

Read :func:`run` first: it is the whole recipe.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.domain.errors import InputError
from medviewer.training.card import write_card
from medviewer.training.configs import MoleculeConfig
from medviewer.training.data_report import DataTable, write_data_report
from medviewer.training.metrics import Floats
from medviewer.training.molecule_blend import PARTS, Blend, learn_blend, out_of_fold
from medviewer.training.molecule_decision import decide, probabilities_of
from medviewer.training.molecule_evaluation import describe_molecules, novelty_of, scaffold_marks, scored_molecules
from medviewer.training.molecule_export import FAR, far_in_folds, nearest, write_distance, write_graph, write_reference
from medviewer.training.molecule_scores import mean_auc, report_on
from medviewer.training.molecule_table import molecules_table
from medviewer.training.molecule_tensors import MOST_ATOMS, Bytes, encode_molecules, input_document
from medviewer.training.molecules import ASSAYS, Molecules, read_molecules, scaffold_folds, scaffold_split, unlearnable
from medviewer.training.publish import check_better, check_place, model_folder
from medviewer.training.recipes.toxicity_card import ABOUT, RECIPE, Findings, card_document, evidence_text
from medviewer.training.request import Request
from medviewer.training.search import Range, Trial, search
from medviewer.training.settings import configure

FOLDERS = ABOUT.paths
METRIC = "mean AUC in scaffold-grouped folds of the training part"
RANGES: Mapping[str, Range] = {
    "rate": Range(3e-4, 3e-3, is_logarithmic=True),
    "dropout": Range(0.2, 0.6),
    "graph_rate": Range(1e-3, 1e-2, is_logarithmic=True),
    "graph_dropout": Range(0.0, 0.4),
    "tree_rate": Range(0.02, 0.1, is_logarithmic=True),
    "n_trees": Range(60, 240),
    "penalty": Range(3e-3, 0.3, is_logarithmic=True),
}


def run(request: Request) -> Path:
    """Train and write the model folder; see :func:`medviewer.training.train`.

    Folds of the training part choose: the parts are compared there, calibration and thresholds come from there. A
    blend of the training part is then judged, once, on the validation and test parts, whose skeletons it never met.
    What is shipped learned from all molecules.
    """
    config, folders = configure(ABOUT.config, request.overrides, FOLDERS)
    check_place(request.out, RECIPE)
    found, where, folds = _read(request, config)
    request.check_comparable(found.digest, METRIC, {"n_folds": config.n_folds})
    around = request.surroundings(config, found.digest, folders)
    write_data_report(molecules_table(request.data, found, where, ASSAYS), around.folder, RECIPE, request.progress)
    molecules = encode_molecules(found, input_document())
    learned, train = molecules.where(where == "train"), found.where(where == "train")
    logits = out_of_fold(learned, folds, config, around.within("folds"))
    for index, name in enumerate((*PARTS, "blend")):
        request.progress(f"folds of the training part: {name} {mean_auc(learned.truth, logits[:, index]):.4f}")
    value = round(mean_auc(learned.truth, logits[:, -1]), 5)
    training = {"data_digest": found.digest, "validation": {"metric": METRIC, "value": value}, **request.asked}
    check_better(request.out, {"recipe": RECIPE, **training}, force=request.force, folds={"n_folds": config.n_folds})
    decisions, far = decide(learned.truth, logits[:, -1], ASSAYS), far_in_folds(learned.fingerprint, folds)
    findings = Findings(found, config, decisions, far, training)
    reports = {"folds": _judged(request, findings, "folds", train, logits, far)}
    proof = learn_blend(learned, config, around.within("proof"), n_nets=config.n_nets)
    for split in ("valid", "test"):
        some = molecules.where(where == split)
        distance = FAR - FAR * nearest(some.fingerprint, learned.fingerprint)
        judged = found.where(where == split)
        reports[split] = _judged(request, findings, split, judged, proof.logits(some), distance)
    request.progress(f"learning from all {len(found.names)} molecules")
    blend = learn_blend(molecules, config, around.within("all"), n_nets=config.n_nets)
    if not request.processes.is_first:
        return request.out
    _write(request, blend, molecules.fingerprint, findings, reports)
    return request.completed(folders)


def _read(request: Request, config: MoleculeConfig) -> tuple[Molecules, npt.NDArray[np.str_], npt.NDArray[np.int64]]:
    """Read the molecules; return them, the part of each, and the fold of each of the training part."""
    found = read_molecules(request.data, ASSAYS, MOST_ATOMS)
    for name, reason in found.unusable:
        request.progress(f"not used: {name}: {reason}")
    where = scaffold_split(found.scaffolds)
    train = found.where(where == "train")
    folds = scaffold_folds(train.scaffolds, config.n_folds)
    if why := unlearnable(train, folds, ASSAYS):
        raise InputError(why)
    request.progress(f"{len(found.names)} molecules of {len(set(found.scaffolds))} skeletons, {len(folds)} to learn")
    return found, where, folds


def _judged(
    request: Request, findings: Findings, split: str, molecules: Molecules, logits: Floats, far: Floats
) -> dict[str, Any]:
    """Return a report on molecules that were not learned from."""
    probability = probabilities_of(logits[:, -1], findings.decisions)
    scored = scored_molecules(molecules, probability, logits[:, :-1], novelty=far, known=None)
    thresholds = dict(zip(ASSAYS, [one.threshold for one in findings.decisions], strict=True))
    about = describe_molecules(request.data, split, scored, findings.molecules.digest)
    found = {"data": about | {"text": evidence_text(split, findings.molecules)}, **report_on(scored, thresholds, PARTS)}
    found["novelty"] = novelty_of(scored, *findings.limits)
    told = ", ".join(f"{name} {entry['value']:.4f}" for name, entry in found["metrics"].items())
    request.progress(f"{split}: {told}")
    return found


def _write(request: Request, blend: Blend, known: Bytes, findings: Findings, reports: Mapping[str, Any]) -> None:
    """Write the whole folder; ``known`` are the fingerprints of what was learned from, ``reports`` by split."""
    with model_folder(request.out) as partial:
        difference = write_graph(blend, known, partial / "model.onnx")
        request.progress(f"largest difference of the graph from what was learned: {difference:.1e}")
        write_reference(blend, known, partial / "reference.npz")
        write_distance(partial / "ood.npz", scaffold_marks(sorted(set(findings.molecules.scaffolds))))
        write_card(partial, card_document(findings), reports)


def describe(request: Request) -> DataTable:
    """Return what the data hold, for a report before any training."""
    config, _ = configure(ABOUT.config, request.overrides, FOLDERS)
    found = read_molecules(request.data, ASSAYS, MOST_ATOMS)
    where = scaffold_split(found.scaffolds)
    train = found.where(where == "train")
    why = unlearnable(train, scaffold_folds(train.scaffolds, config.n_folds), ASSAYS)
    told = molecules_table(request.data, found, where, ASSAYS)
    return dataclasses.replace(told, refusals=[why] if why else [])


def explore(request: Request, n_trials: int) -> Trial:
    """Try ``n_trials`` settings within :data:`RANGES` on folds of the training part; the others stay unseen."""
    config, _ = configure(ABOUT.config, request.overrides, FOLDERS)
    found, where, folds = _read(request, config)
    request.check_comparable(found.digest, METRIC, {"n_folds": config.n_folds})
    learned = encode_molecules(found.where(where == "train"), input_document())

    def score(settings: Mapping[str, str], folder: Path) -> float:
        tried, _ = configure(config, settings, FOLDERS)
        around = request.surroundings(tried, found.digest, {"checkpoints": folder})
        return mean_auc(learned.truth, out_of_fold(learned, folds, tried, around.within("folds"))[:, -1])

    identity = {"config": dataclasses.asdict(config), "data": found.digest}
    return search(RANGES, n_trials, request.run_folder, score, identity=identity, progress=request.progress)
