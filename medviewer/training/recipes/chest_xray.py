"""Pneumonia on children's chest radiographs (Kermany et al. 2018, CC BY 4.0).

Read :func:`run` first: it is the whole recipe.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from medviewer.training.batches import Part
from medviewer.training.calibration import Decision
from medviewer.training.checkpoint import load_chosen
from medviewer.training.configs import FilmConfig as Config
from medviewer.training.data import ClassFolders, find_images, keep_decodable
from medviewer.training.data_report import DataTable, write_data_report
from medviewer.training.decision import decide
from medviewer.training.export import open_forward, write_graphs, write_reference
from medviewer.training.film_lesson import FilmLesson
from medviewer.training.lesson import History
from medviewer.training.loop import fit
from medviewer.training.networks import EfficientNetLite0, PooledClassifier, load_imagenet_weights
from medviewer.training.parts import films_table, learned_from, read_parts
from medviewer.training.publish import check_better, check_place, model_folder, publish
from medviewer.training.recipes.chest_xray_card import ABOUT, RECIPE, VERSION, card_document, decided, split_of
from medviewer.training.recipes.chest_xray_novelty import write_statistics
from medviewer.training.refresh import check_same_data, copy_networks
from medviewer.training.request import Request
from medviewer.training.search import Range, Trial, search
from medviewer.training.settings import configure

CLASSES = ("NORMAL", "PNEUMONIA")
FOLDERS = ABOUT.paths
METRIC = "worst AUC over splits tune and block and over shifts"
RANGES: Mapping[str, Range] = {
    "backbone_rate": Range(5e-5, 2e-3, is_logarithmic=True),
    "head_rate": Range(2e-4, 1e-2, is_logarithmic=True),
    "weight_decay": Range(1e-3, 0.2, is_logarithmic=True),
    "smoothing": Range(0.0, 0.15),
    "dropout": Range(0.0, 0.6),
    "strength": Range(0.3, 1.5),
    "average": Range(0.98, 0.999),
}


def preprocessing(size: int) -> tuple[Mapping[str, Any], ...]:
    """Return the card's steps for an input of ``size`` rows and columns.

    Resize first: percentiles of a full-size image depend on its noise. Stretch: training images had lost their aspect.
    """
    return (
        {"op": "resize", "rows": size, "columns": size, "mode": "area", "aspect": "stretch"},
        {"op": "percentile_window", "low": 1, "high": 99},
        {"op": "normalise", "mean": 0.5, "std": 0.5},
    )


def run(request: Request) -> Path:
    """Train and write the model folder; see :func:`medviewer.training.train`.

    Besides the fields of :class:`Config`, some settings are folders: ``checkpoints`` keeps the run when
    the model is complete, ``resume`` exports such a run's chosen epoch, ``tensorboard`` gets event files;
    ``refresh``, alone, is a finished model whose networks are kept and measured anew.
    """
    config, folders = configure(ABOUT.config, request.overrides, FOLDERS)
    check_place(request.out, RECIPE)
    if "refresh" in folders:
        return _refresh(request, folders["refresh"])
    found, parts = read_parts(request.data, CLASSES, config.seed, request.progress)
    if request.processes.is_first:
        place = folders.get("checkpoints", request.run_folder)
        write_data_report(films_table(found, config.seed), place, RECIPE, request.progress)
    network, history = learn(found, parts, config, request, folders)
    if not request.processes.is_first:
        return request.out
    document = card_document(found, config, preprocessing(config.sizes[-1]), history, METRIC)
    document["training"] |= request.asked
    check_better(request.out, document["training"], force=request.force)
    with model_folder(request.out) as partial:
        document |= decided(write_files(partial, network, parts, config, request), found)
        document |= write_statistics(partial, parts, document)
        publish(partial, request.data, document, request.progress)
    return request.completed(folders)


def learn(
    found: ClassFolders, parts: Mapping[str, Part], config: Config, request: Request, folders: Mapping[str, Path]
) -> tuple[EfficientNetLite0, History]:
    """Return the network with its chosen weights, and what each epoch gave."""
    request.check_comparable(found.digest, METRIC, split=split_of(found, config))
    torch.manual_seed(config.seed)
    network = EfficientNetLite0(dropout=config.dropout)
    if "resume" in folders:
        return network, load_chosen(network, folders["resume"])
    if config.pretrained:
        load_imagenet_weights(network)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
    size = config.sizes[-1]
    lesson = FilmLesson(learned_from(parts, size), preprocessing(size), config)
    return network, fit(network, lesson, config, request.surroundings(config, found.digest, folders))


def describe(request: Request) -> DataTable:
    """Return what the data hold, for a report before any training."""
    config, _ = configure(ABOUT.config, request.overrides, FOLDERS)
    return films_table(keep_decodable(find_images(request.data, CLASSES), lambda *_: None), config.seed)


def explore(request: Request, n_trials: int) -> Trial:
    """Try ``n_trials`` settings within :data:`RANGES` and return the best."""
    config, _ = configure(ABOUT.config, request.overrides, FOLDERS)
    found, parts = read_parts(request.data, CLASSES, config.seed, request.progress)

    def score(settings: Mapping[str, str], folder: Path) -> float:
        tried, folders = configure(config, settings, FOLDERS)
        _, history = learn(found, parts, tried, request, folders | {"checkpoints": folder})
        return float(next(entry["score"] for entry in history if entry["chosen"]))

    identity = {"config": dataclasses.asdict(config), "data": found.digest}
    return search(RANGES, n_trials, request.run_folder, score, identity=identity, progress=request.progress)


def write_files(
    partial: Path, network: PooledClassifier, parts: Mapping[str, Part], config: Config, request: Request
) -> Decision:
    """Write the networks and the reference, and return what was decided."""
    size, steps = config.sizes[-1], preprocessing(config.sizes[-1])
    write_graphs(network, partial, size, request.progress)
    # From here on the shipped file answers: what is calibrated is what readers get.
    decision = decide(open_forward(partial / "model.onnx"), parts, steps)
    request.progress(f"calibrated; threshold {decision.threshold}")
    write_reference(network, partial / "reference.npz", size, steps)
    return decision


def _refresh(request: Request, model: Path) -> Path:
    """Keep a finished model's networks, and make anew what is measured around them."""
    with model_folder(request.out) as partial:
        document = copy_networks(model, partial) | {"version": VERSION}
        check_better(request.out, document["training"], force=request.force)
        found, parts = read_parts(request.data, CLASSES, int(document["training"]["seed"]), request.progress)
        check_same_data(found, document, model)
        document |= write_statistics(partial, parts, document)
        publish(partial, request.data, document, request.progress)
    return request.out
