"""Malignant or not, on small pictures of breast ultrasound (BreastMNIST of MedMNIST v2, CC BY 4.0).

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
from medviewer.training.batches import Part
from medviewer.training.breastmnist import CLASSES
from medviewer.training.card import write_card
from medviewer.training.configs import SmallConfig
from medviewer.training.copies import near_copies
from medviewer.training.data import ClassFolders, find_images, keep_decodable
from medviewer.training.data_report import DataTable, write_data_report
from medviewer.training.export import write_graphs, write_reference
from medviewer.training.fold_report import fold_metrics, fold_report, folds_table
from medviewer.training.image_folds import CrossDecided, FoldAnswers, answer_by_folds, cross_decide, decide_by_folds
from medviewer.training.lesson import Surroundings
from medviewer.training.parts import of_one_size
from medviewer.training.publish import check_better, check_place, folds_of, model_folder
from medviewer.training.reading import Grey
from medviewer.training.recipes.breast_ultrasound_card import ABOUT, RECIPE, card_document, decided, evidence_text
from medviewer.training.recipes.breast_ultrasound_novelty import write_novelty
from medviewer.training.request import Request
from medviewer.training.search import Range, Trial, search
from medviewer.training.settings import configure
from medviewer.training.small_lesson import learn_ensemble

FOLDERS = ABOUT.paths
METRIC = "AUC in folds grouped by near copies, mean over repeats"
RANGES: Mapping[str, Range] = {
    "rate": Range(1e-3, 1e-2, is_logarithmic=True),
    "weight_decay": Range(1e-3, 0.2, is_logarithmic=True),
    "dropout": Range(0.0, 0.5),
    "smoothing": Range(0.0, 0.15),
    "strength": Range(0.3, 1.5),
}


def preprocessing(size: int) -> tuple[Mapping[str, Any], ...]:
    """Return the card's steps: squeezed to ``size`` rows and columns as the data were, then stretched in grey."""
    return (
        {"op": "resize", "rows": size, "columns": size, "mode": "area", "aspect": "stretch"},
        {"op": "percentile_window", "low": 1, "high": 99},
        {"op": "normalise", "mean": 0.5, "std": 0.5},
    )


def run(request: Request) -> Path:
    """Train and write the model folder; see :func:`medviewer.training.train`.

    By folds first, which is the evidence and decides calibration and threshold; then from all images, which is
    what is shipped. No image is spent on choosing an epoch.
    """
    config, folders = configure(ABOUT.config, request.overrides, FOLDERS)
    check_place(request.out, RECIPE)
    found, images, groups = _read(request, config)
    request.check_comparable(found.digest, METRIC, folds_of(config))
    around = request.surroundings(config, found.digest, folders)
    if request.processes.is_first:
        told = folds_table(found, groups, config.n_folds, config.seed)
        write_data_report(told, around.folder, RECIPE, request.progress)
    answers, crossed = _judged(images, groups, config, around)
    proof = fold_report(found, answers, crossed, evidence_text(found))
    figures = ", ".join(f"{name} {entry['value']:.4f}" for name, entry in proof["metrics"].items())
    request.progress(f"judged by folds: {figures}")
    document = card_document(found, config, preprocessing(config.size), METRIC, proof["metrics"]["auc"]["value"])
    document["training"] |= request.asked
    check_better(request.out, document["training"], force=request.force, folds=folds_of(config))
    document |= decided(decide_by_folds(answers, crossed), found)
    request.progress(f"learning from all {len(images.labels)} images")
    network = learn_ensemble(images, preprocessing(config.size), config, around.within("all"))
    if not request.processes.is_first:
        return request.out
    with model_folder(request.out) as partial:
        write_graphs(network, partial, config.size, request.progress)
        write_reference(network, partial / "reference.npz", config.size, preprocessing(config.size))
        section, proof["novelty"] = write_novelty(partial, images, answers.folds[0], preprocessing(config.size))
        document["ood"] = section | document.get("ood", {})
        write_card(partial, document, {"folds": proof})
    return request.completed(folders)


def _read(request: Request, config: SmallConfig) -> tuple[ClassFolders, Part, npt.NDArray[np.int64]]:
    """Return the data, the images at the size that is learned from, and the groups that stay together."""
    pixels: list[Grey] = []
    found = find_images(request.data, CLASSES)
    # The test part judges, and is never learned from.
    found = dataclasses.replace(found, images=tuple(one for one in found.images if one.split != "test"))
    found = keep_decodable(found, lambda _, grey: pixels.append(grey))
    for name, reason in found.unusable:
        request.progress(f"not used: {name}: {reason}")
    labels = np.array([image.label for image in found.images], dtype=np.int64)
    groups = near_copies(pixels, [image.group for image in found.images])
    per_class = [len(set(groups[labels == label].tolist())) for label in (0, 1)]
    if min(per_class) < config.n_folds:
        lacking = CLASSES[int(np.argmin(per_class))]
        raise InputError(
            f"{request.data} has {min(per_class)} groups of the class {lacking}, too few for {config.n_folds} folds; "
            "add more data."
        )
    request.progress(f"{len(labels)} images in {len(set(groups.tolist()))} groups of near copies; {found.per_class}")
    return found, of_one_size(Part(pixels, labels), config.size), groups


def _judged(
    images: Part, groups: npt.NDArray[np.int64], config: SmallConfig, around: Surroundings
) -> tuple[FoldAnswers, CrossDecided]:
    steps = preprocessing(config.size)

    def learn(part: Part, place: Surroundings) -> Any:
        return learn_ensemble(part, steps, config, place)

    answers = answer_by_folds(images, groups, steps, learn, (config.n_repeats, config.n_folds, config.seed), around)
    return answers, cross_decide(answers)


def describe(request: Request) -> DataTable:
    """Return what the data hold, for a report before any training."""
    config, _ = configure(ABOUT.config, request.overrides, FOLDERS)
    found, _, groups = _read(request, config)
    return folds_table(found, groups, config.n_folds, config.seed)


def explore(request: Request, n_trials: int) -> Trial:
    """Try ``n_trials`` settings within :data:`RANGES` on folds and return the best.

    The folds are of another seed than those that the best one is judged on.
    """
    config, _ = configure(ABOUT.config, request.overrides, FOLDERS)
    found, images, groups = _read(request, config)
    request.check_comparable(found.digest, METRIC, folds_of(config))

    def score(settings: Mapping[str, str], folder: Path) -> float:
        tried, _ = configure(config, settings, FOLDERS)
        once = dataclasses.replace(tried, n_repeats=1, seed=tried.seed + 500)
        around = request.surroundings(once, found.digest, {"checkpoints": folder / "folds"})
        return float(fold_metrics(*_judged(images, groups, once, around))["auc"]["value"])

    identity = {"config": dataclasses.asdict(config), "data": found.digest}
    return search(RANGES, n_trials, request.run_folder, score, identity=identity, progress=request.progress)
