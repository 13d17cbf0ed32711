"""Pneumonia on children's chest radiographs, by a small vision transformer (Kermany et al. 2018, CC BY 4.0).

The data, the split, the changes, the validation, the decision and the guards are those of
:mod:`medviewer.training.recipes.chest_xray`; only the network is another. Read :func:`run` first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import torch

from medviewer.domain.errors import UsageError
from medviewer.training.batches import Part
from medviewer.training.checkpoint import load_chosen, weights_digest
from medviewer.training.configs import TransformerConfig as Config
from medviewer.training.data import ClassFolders
from medviewer.training.data_report import DataTable, write_data_report
from medviewer.training.export import open_forward
from medviewer.training.film_comparison import check_beside, compare
from medviewer.training.film_lesson import FilmLesson
from medviewer.training.lesson import History
from medviewer.training.loop import fit
from medviewer.training.networks_vit import SmallViT
from medviewer.training.parts import films_table, learned_from, read_parts
from medviewer.training.publish import check_better, check_place, model_folder, publish
from medviewer.training.recipes import chest_xray
from medviewer.training.recipes.chest_xray import CLASSES, METRIC, preprocessing, write_files
from medviewer.training.recipes.chest_xray_card import decided, split_of
from medviewer.training.recipes.chest_xray_novelty import write_statistics
from medviewer.training.recipes.chest_xray_vit_card import ABOUT, RECIPE, card_document
from medviewer.training.request import Request
from medviewer.training.search import Range, Trial, search
from medviewer.training.settings import configure
from medviewer.training.vit_weights import load_timm_weights

FOLDERS = ABOUT.paths
RANGES: Mapping[str, Range] = {
    "backbone_rate": Range(1e-4, 2e-3, is_logarithmic=True),
    "weight_decay": Range(1e-3, 0.2, is_logarithmic=True),
    "smoothing": Range(0.0, 0.15),
    "dropout": Range(0.0, 0.6),
    "strength": Range(0.3, 1.5),
    "average": Range(0.98, 0.999),
}


def run(request: Request) -> Path:
    """Train and write the model folder; see :func:`medviewer.training.train`.

    Besides the fields of :class:`Config`, some settings are paths: ``weights`` is a ``.safetensors`` file of a
    vision transformer by timm's names to begin with; ``beside`` a model folder that learned from the same data,
    with which the new one is compared on the held-out patients; ``checkpoints``, ``resume`` and ``tensorboard``
    as for ``chest-xray``.
    """
    config, folders = configured(request.overrides)
    check_place(request.out, RECIPE)
    found, parts = read_parts(request.data, CLASSES, config.seed, request.progress)
    if "beside" in folders:
        check_beside(folders["beside"], found, config.seed)
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
        if "beside" in folders:
            served = open_forward(partial / "model.onnx"), preprocessing(config.sizes[-1])
            document["training"]["beside"] = compare(served, folders["beside"], found, parts["report"], config.seed)
        publish(partial, request.data, document, request.progress)
    return request.completed(folders)


def configured(overrides: Mapping[str, str]) -> tuple[Config, dict[str, Path]]:
    """Return settings and paths; ``pretrained`` says whether there are weights to begin with."""
    config, folders = configure(ABOUT.config, overrides, FOLDERS)
    if config.pretrained and "weights" not in folders:
        raise UsageError("No published weights come with this recipe; give yours as --set weights=FILE.safetensors.")
    return dataclasses.replace(config, pretrained="weights" in folders), folders


def learn(
    found: ClassFolders,
    parts: Mapping[str, Part],
    config: Config,
    request: Request,
    folders: Mapping[str, Path],
) -> tuple[SmallViT, History]:
    """Return the network with its chosen weights, and what each epoch gave."""
    request.check_comparable(found.digest, METRIC, split=split_of(found, config))
    torch.manual_seed(config.seed)
    size, digest, shape = config.sizes[-1], found.digest, (config.patch, config.width, config.depth, config.heads)
    network = SmallViT(1, size, *shape, dropout=config.dropout, is_early=not config.pretrained)
    if "resume" in folders:
        return network, load_chosen(network, folders["resume"])
    if "weights" in folders:
        load_timm_weights(network, folders["weights"])
        digest += f" {weights_digest(network)}"
    lesson = FilmLesson(learned_from(parts, size), preprocessing(size), config)
    return network, fit(network, lesson, config, request.surroundings(config, digest, folders))


def describe(request: Request) -> DataTable:
    """Return what the data hold, for a report before any training."""
    config, _ = configured(request.overrides)
    return chest_xray.describe(dataclasses.replace(request, overrides={"seed": str(config.seed)}))


def explore(request: Request, n_trials: int) -> Trial:
    """Try ``n_trials`` settings within :data:`RANGES` and return the best."""
    config, given = configured(request.overrides)
    found, parts = read_parts(request.data, CLASSES, config.seed, request.progress)

    def score(settings: Mapping[str, str], folder: Path) -> float:
        tried, _ = configure(config, settings, FOLDERS)
        _, history = learn(found, parts, tried, request, given | {"checkpoints": folder})
        return float(next(entry["score"] for entry in history if entry["chosen"]))

    identity = {"config": dataclasses.asdict(config), "data": found.digest}
    return search(RANGES, n_trials, request.run_folder, score, identity=identity, progress=request.progress)
