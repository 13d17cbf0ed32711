"""The next six hours of vital signs, from the hours so far in intensive care (PhysioNet 2012, ODC-By 1.0).

Read :func:`run` first: it is the whole recipe.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from medviewer.domain.errors import InputError, TrainingError
from medviewer.training.card import write_card
from medviewer.training.data_report import DataTable, with_copies, write_data_report
from medviewer.training.evaluate import evaluate
from medviewer.training.forecast_data import AHEAD_H, TARGETS, Moments, documents_of, moments_of
from medviewer.training.forecast_evaluation import by_variable
from medviewer.training.forecast_export import Offered, ServedForecast, write_forecast, write_reference
from medviewer.training.forecast_learning import (
    learn_forecaster,
    pinball,
    run_nets,
    scale_of,
    z_scores,
)
from medviewer.training.forecast_scores import HOURS, measure_forecasts, offered_of
from medviewer.training.lesson import Surroundings
from medviewer.training.physionet import Stays, check_apart, find_sets, read_stays
from medviewer.training.publish import check_better, check_place, model_folder
from medviewer.training.recipes.icu_forecast_card import ABOUT, RECIPE, card_document, evidence_text
from medviewer.training.request import Request
from medviewer.training.search import Range, Trial, search
from medviewer.training.settings import configure
from medviewer.training.stay_table import stays_table

FOLDERS = ABOUT.paths
METRIC = "1 - mean absolute error over that of the last value, set B, mean of what is offered"
RANGES: Mapping[str, Range] = {
    "rate": Range(5e-4, 5e-3, is_logarithmic=True),
    "hidden": Range(32, 128),
    "dropout": Range(0.1, 0.5),
    "epochs": Range(3, 12),
}


def run(request: Request) -> Path:
    """Train and write the model folder; see :func:`medviewer.training.train`.

    Learns from set A alone; its folds say how wide the bands are. Set B judges, once: a variable whose band
    does not hold what it says, or that two baselines forecast as well, is left out of the model.
    """
    config, folders = configure(ABOUT.config, request.overrides, FOLDERS)
    check_place(request.out, RECIPE)
    sets = read_both(request)
    digest = " ".join(one.digest for one in sets.values())
    request.check_comparable(digest, METRIC)
    learned, judged = sets["a"].stays, sets["b"].stays
    around = request.surroundings(config, sets["a"].digest, folders)
    held = write_data_report(stays_table(request.data, sets, "a"), around.folder, RECIPE, request.progress)
    inputs = documents_of(learned)
    request.progress("encoding moments of set A")
    forecaster = learn_forecaster(moments_of(learned, inputs), scale_of(inputs[0]), config, around)
    request.progress("encoding moments of set B")
    moments = moments_of(judged, inputs)
    every = ServedForecast(forecaster, inputs[0], [Offered(name, HOURS) for name in TARGETS])
    measured = [measure_forecasts(moments, said, name) for name, said in judged_by(every, moments).items()]
    offered, refused = offered_of(measured)
    for name, why in refused.items():
        request.progress(f"not offered: {name}: {why}")
    if not offered:
        raise TrainingError("No variable can be forecast better than by its last value with a band that holds.")
    shares = [one["all"]["mae"]["value"] / one["all"]["mae_last"]["value"] for one in measured
              if one["name"] not in refused]  # fmt: skip
    training = {
        "data_digest": digest,
        "validation": {"metric": METRIC, "value": round(1 - float(np.mean(shares)), 5)},
        "not_offered": refused,
        **request.asked,
    }
    check_better(request.out, {"recipe": RECIPE, **training}, force=request.force)
    if not request.processes.is_first:
        return request.out
    with model_folder(request.out) as partial:
        served = ServedForecast(forecaster, inputs[0], offered)
        difference = write_forecast(served, partial / "model.onnx")
        request.progress(f"largest difference of the graph from what was learned: {difference:.1e}")
        write_reference(served, partial / "reference.npz")
        document = card_document(sets["a"], config, inputs, offered, measured, training)
        write_card(partial, document)
        report = evaluate(partial, request.data, partial / "report", split="b", progress=request.progress)
        shutil.rmtree(partial / "report")
        report["data"]["text"] = with_copies(evidence_text(sets["a"]), held)
        write_card(partial, document, {"b": report})
    return request.completed(folders)


def read_both(request: Request) -> dict[str, Stays]:
    """Read sets A and B, and tell what cannot be used; outcomes are not needed."""
    paths = find_sets(request.data)
    if missing := {"a", "b"} - set(paths):
        raise InputError(f"{request.data} lacks set-{min(missing)}; the recipe learns from A and is judged on B.")
    sets = {letter: read_stays(paths[letter]) for letter in ("a", "b")}
    check_apart(sets)
    for found in sets.values():
        for name, reason in found.unusable:
            request.progress(f"not used: {name}: {reason}")
        request.progress(f"{found.name}: {len(found.stays)} stays")
    return sets


def judged_by(served: ServedForecast, moments: Moments) -> Mapping[str, np.ndarray]:
    """Return what is forecast at each moment, of every variable and hour, before anything is left out."""
    n, found = moments.fields.shape[1] // 2, []
    with torch.inference_mode():
        for start in range(0, len(moments.stay), 512):
            joined, fields = (torch.from_numpy(x[start : start + 512]) for x in (moments.joined, moments.fields))
            found.append(served(joined, fields[:, :n], fields[:, n:]).numpy())
    return by_variable(np.concatenate(found), [Offered(name, tuple(range(1, AHEAD_H + 1))) for name in TARGETS])


def describe(request: Request) -> DataTable:
    """Return what the data hold, for a report before any training."""
    return stays_table(request.data, read_both(request), "a")


def explore(request: Request, n_trials: int) -> Trial:
    """Try settings within :data:`RANGES`, each judged on a fifth of the stays of set A; B stays unseen."""
    config, _ = configure(ABOUT.config, request.overrides, FOLDERS)
    sets = read_both(request)
    digest, found = " ".join(one.digest for one in sets.values()), sets["a"]
    request.check_comparable(digest, METRIC)
    inputs = documents_of(found.stays)
    moments, scale = moments_of(found.stays, inputs), scale_of(inputs[0])
    is_held_out = moments.stay % 5 == 0

    def score(settings: Mapping[str, str], folder: Path) -> float:
        tried, _ = configure(config, settings, FOLDERS)
        around: Surroundings = request.surroundings(tried, found.digest, {"checkpoints": folder})
        learned = learn_forecaster(moments.where(~is_held_out), scale, tried, around)
        held_out = moments.where(is_held_out)
        said, truth = run_nets(learned.nets, held_out), z_scores(held_out.truth, scale)
        return -float(pinball(torch.from_numpy(said), torch.from_numpy(truth)))

    identity = {"config": dataclasses.asdict(config), "data": found.digest}
    return search(RANGES, n_trials, request.run_folder, score, identity=identity, progress=request.progress)
