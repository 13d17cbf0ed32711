"""Death in hospital, from the first 48 hours in intensive care (PhysioNet/CinC Challenge 2012, ODC-By 1.0).

Read :func:`run` first: it is the whole recipe.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medviewer.domain.errors import InputError
from medviewer.training.calibration import Decision, sigmoid
from medviewer.training.card import write_card
from medviewer.training.configs import StayConfig
from medviewer.training.data_report import DataTable, with_copies, write_data_report
from medviewer.training.lesson import Surroundings
from medviewer.training.metrics import roc_auc
from medviewer.training.physionet import HOURS, Stay, Stays, check_apart, find_sets, read_stays
from medviewer.training.publish import check_better, check_place, model_folder
from medviewer.training.recipes.icu_mortality_card import ABOUT, RECIPE, card_document, evidence_text
from medviewer.training.request import Request
from medviewer.training.search import Range, Trial, search
from medviewer.training.settings import configure
from medviewer.training.stay_blend import Blend, learn_blend, out_of_fold
from medviewer.training.stay_decision import decide
from medviewer.training.stay_evaluation import ScoredStays, describe_stays, subgroups_of, summarise_stays
from medviewer.training.stay_export import write_graph, write_reference
from medviewer.training.stay_table import stays_table
from medviewer.training.stays import encode, input_documents

FOLDERS = ABOUT.paths
METRIC = "AUC on set B, learned from set A alone"
RANGES: Mapping[str, Range] = {
    "rate": Range(1e-3, 1e-2, is_logarithmic=True),
    "dropout": Range(0.1, 0.5),
    "tree_rate": Range(0.01, 0.1, is_logarithmic=True),
    "n_trees": Range(100, 600),
    "penalty": Range(2e-4, 2e-2, is_logarithmic=True),
}


def run(request: Request) -> Path:
    """Train and write the model folder; see :func:`medviewer.training.train`.

    Twice the same: once from set A, judged on set B, which is the evidence; then from both, which is
    what is shipped. Calibration and threshold come from folds, never from what was learned from.
    """
    config, folders = configure(ABOUT.config, request.overrides, FOLDERS)
    check_place(request.out, RECIPE)
    sets = _read(request)
    digest = " ".join(one.digest for one in sets.values())
    request.check_comparable(digest, METRIC)
    around = request.surroundings(config, digest, folders)
    held = write_data_report(stays_table(request.data, sets, "ab"), around.folder, RECIPE, request.progress)
    proof = _proven(sets, config, around.within("proof"), request)
    proof["data"]["text"] = with_copies(proof["data"]["text"], held)
    training = {"data_digest": digest, "validation": {"metric": METRIC, "value": proof["metrics"]["auc"]["value"]}}
    training |= request.asked
    check_better(request.out, {"recipe": RECIPE, **training}, force=request.force)
    stays = [stay for one in sets.values() for stay in one.stays]
    inputs = input_documents(stays)
    request.progress(f"learning from all {len(stays)} stays")
    blend, decision = _learned(stays, inputs, config, around.within("all"))
    if not request.processes.is_first:
        return request.out
    with model_folder(request.out) as partial:
        difference = write_graph(blend, partial / "model.onnx", HOURS)
        request.progress(f"largest difference of the graph from what was learned: {difference:.1e}")
        write_reference(blend, partial / "reference.npz", HOURS)
        document = card_document(sets, config, inputs, decision, training)
        write_card(partial, document, {"b": proof})
    return request.completed(folders)


def _read(request: Request) -> dict[str, Stays]:
    """Read sets A and B, and tell what cannot be used."""
    paths = find_sets(request.data)
    if missing := {"a", "b"} - set(paths):
        raise InputError(f"{request.data} lacks set-{min(missing)}; the recipe learns from sets A and B.")
    sets = {letter: read_stays(paths[letter]) for letter in ("a", "b")}
    check_apart(sets)
    for letter, found in sets.items():
        for name, reason in found.unusable:
            request.progress(f"not used: {name}: {reason}")
        if any(stay.died is None for stay in found.stays):
            raise InputError(f"There is no Outcomes-{letter}.txt beside {found.name}; put it there.")
        died = sum(bool(stay.died) for stay in found.stays)
        if not 0 < died < len(found.stays):
            raise InputError(f"All stays of {found.name} have one outcome; nothing can be learned from them.")
        request.progress(f"{found.name}: {len(found.stays)} stays, {died} died")
    return sets


def _learned(
    stays: Sequence[Stay], inputs: Sequence[Mapping[str, Any]], config: StayConfig, around: Surroundings
) -> tuple[Blend, Decision]:
    """Learn from all of the stays, and decide on what folds say."""
    tensors = encode(stays, inputs)
    decision = decide(tensors.truth, out_of_fold(tensors, config, around)[:, -1])
    return learn_blend(tensors, config, around, n_nets=config.n_nets), decision


def _proven(sets: Mapping[str, Stays], config: StayConfig, around: Surroundings, request: Request) -> dict[str, Any]:
    """Learn from set A alone and return a report on set B."""
    learned, judged = sets["a"].stays, sets["b"].stays
    inputs = input_documents(learned)
    blend, decision = _learned(learned, inputs, config, around)
    tensors = encode(judged, inputs)
    logits = blend.logits(tensors)
    probability = sigmoid(decision.slope * logits[:, -1] + decision.intercept)
    scored = ScoredStays(judged, tensors.truth, probability, logits[:, :-1])
    found = summarise_stays(scored, decision.threshold)
    for index, name in enumerate(("recurrent", "trees", "linear")):
        part = summarise_stays(dataclasses.replace(scored, probability=sigmoid(logits[:, index])), decision.threshold)
        found["metrics"][f"auc_{name}"] = part["metrics"]["auc"]
    told = ", ".join(f"{name} {entry['value']:.4f}" for name, entry in found["metrics"].items())
    request.progress(f"learned from set A, judged on set B: {told}")
    about = describe_stays(request.data, "b", scored, "") | {"text": evidence_text(sets)}
    return {"data": about, **found, "subgroups": subgroups_of(scored, decision.threshold)}


def describe(request: Request) -> DataTable:
    """Return what the data hold, for a report before any training."""
    return stays_table(request.data, _read(request), "ab")


def explore(request: Request, n_trials: int) -> Trial:
    """Try ``n_trials`` settings within :data:`RANGES` on folds of set A alone, and return the best; B stays unseen."""
    config, _ = configure(ABOUT.config, request.overrides, FOLDERS)
    sets = _read(request)
    digest, found = " ".join(one.digest for one in sets.values()), sets["a"]
    request.check_comparable(digest, METRIC)
    tensors = encode(found.stays, input_documents(found.stays))

    def score(settings: Mapping[str, str], folder: Path) -> float:
        tried, _ = configure(config, settings, FOLDERS)
        around = request.surroundings(tried, found.digest, {"checkpoints": folder})
        return roc_auc(tensors.truth, out_of_fold(tensors, tried, around)[:, -1])

    identity = {"config": dataclasses.asdict(config), "data": found.digest}
    return search(RANGES, n_trials, request.run_folder, score, identity=identity, progress=request.progress)
