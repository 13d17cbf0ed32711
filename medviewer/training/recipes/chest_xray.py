"""Pneumonia on children's chest radiographs (Kermany et al. 2018, CC BY 4.0).

Read :func:`run` first: it is the whole recipe.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from medviewer.domain.errors import InputError, UsageError
from medviewer.inference.preprocessing import prepare
from medviewer.training.batches import Part
from medviewer.training.calibration import balanced_threshold, fit_platt, sigmoid
from medviewer.training.card import write_card
from medviewer.training.data import SPLITS, ClassFolders, duplicates_across, read_class_folders, split_patients
from medviewer.training.evaluate import evaluate
from medviewer.training.export import open_forward, whole_folder, write_graphs, write_reference
from medviewer.training.loop import Config, fit
from medviewer.training.metrics import Floats, Truth, balanced_weights, expected_calibration_error, rates
from medviewer.training.networks import EfficientNetLite0, imagenet_weights_path, load_imagenet_weights
from medviewer.training.recipes.chest_xray_card import VERSION, card_document
from medviewer.training.recipes.chest_xray_novelty import write_novelty
from medviewer.training.refresh import check_same_data, copy_networks
from medviewer.training.shifts import SHIFTS
from medviewer.training.validation import Forward, run_over

CLASSES = ("NORMAL", "PNEUMONIA")
FOLDERS = ("checkpoints", "resume", "refresh")
Progress = Callable[[str], None]


def preprocessing(size: int) -> tuple[Mapping[str, Any], ...]:
    """Return the card's steps for an input of ``size`` rows and columns.

    Resize first: percentiles of a full-size image would depend on its noise, and the
    training images were already small. Stretch: their aspect had been squeezed away.
    """
    return (
        {"op": "resize", "rows": size, "columns": size, "mode": "area", "aspect": "stretch"},
        {"op": "percentile_window", "low": 1, "high": 99},
        {"op": "normalise", "mean": 0.5, "std": 0.5},
    )


@dataclass(frozen=True, slots=True)
class Decision:
    """How a logit becomes an answer, and where that was chosen."""

    slope: float
    intercept: float
    threshold: float
    sensitivity: float
    specificity: float
    n: int
    ece_before: float
    ece_after: float


def run(data: Path, out: Path, overrides: Mapping[str, str], progress: Progress) -> Path:
    """Train and write the model folder; see :func:`medviewer.training.train`.

    Besides the fields of :class:`Config`, three settings exist: ``checkpoints``, a folder
    that keeps the weights and history of every epoch; ``resume``, such a folder whose
    chosen epoch is exported without training again; and ``refresh``, alone, a finished
    model folder whose networks, calibration and threshold are kept as they are, while
    the out-of-distribution statistics and the figures on the card are made anew.
    """
    config, folders = configure(overrides)
    with whole_folder(out) as partial:
        if "refresh" in folders:
            document = copy_networks(folders["refresh"], partial) | {"version": VERSION}
            seed = int(document["training"]["seed"])
            found, parts = _read(data, seed, progress)
            check_same_data(found, document, folders["refresh"])
            document["ood"] = write_novelty(partial, parts, document["preprocessing"])
        else:
            found, parts = _read(data, config.seed, progress)
            document = _new_model(found, parts, config, folders, partial, progress)
        publish(partial, data, document, progress)
    progress(f"the model is complete: {out}")
    return out


def _read(data: Path, seed: int, progress: Progress) -> tuple[ClassFolders, dict[str, Part]]:
    """Read the images and split them by patient; tell what cannot be used."""
    found, pixels = read_class_folders(data, CLASSES)
    for name, reason in found.unusable:
        progress(f"not used: {name}: {reason}")
    parts = split_parts(found, pixels, seed)
    progress(", ".join(f"{name} {len(part.labels)}" for name, part in parts.items()))
    return found, parts


def _new_model(
    found: ClassFolders,
    parts: Mapping[str, Part],
    config: Config,
    folders: Mapping[str, Path],
    partial: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Train, write every file but the card, and return the card without its evidence."""
    steps = preprocessing(config.sizes[-1])
    network, history = _trained(parts, steps, config, folders, partial, progress)
    write_graphs(network, partial, config.sizes[-1], progress)
    # From here on the shipped file answers, not the network: what is calibrated is
    # what readers get, and it is three times as fast.
    decision = decide(open_forward(partial / "model.onnx"), parts, steps)
    progress(f"calibrated; threshold {decision.threshold}")
    ood = write_novelty(partial, parts, steps)
    write_reference(network, partial / "reference.npz", config.sizes[-1], steps)
    return card_document(found, config, steps, history, decision, ood)


def publish(partial: Path, data: Path, document: Mapping[str, Any], progress: Progress) -> None:
    """Write the card, measure the files just written as anyone can, and write the figures on the card."""
    write_card(partial, document)
    reports = {
        split: evaluate(partial, data, partial / "report", split=split, progress=progress)
        for split in ("block", "report")
    }
    for name in ("report.json", "report.html"):
        (partial / "report" / name).unlink()
    (partial / "report").rmdir()
    write_card(partial, document, reports)


def configure(overrides: Mapping[str, str]) -> tuple[Config, dict[str, Path]]:
    """Return the settings, with those given as text replaced.

    Raises:
        UsageError: an unknown setting, a value that is not of its kind, or another setting beside ``refresh``.
    """
    default = Config()
    changed: dict[str, Any] = {}
    folders: dict[str, Path] = {}
    known = [field.name for field in dataclasses.fields(Config)]
    for name, text in overrides.items():
        if name in FOLDERS:
            folders[name] = Path(text)
            continue
        if name not in known:
            raise UsageError(f"There is no setting {name!r}; there are: {', '.join([*known, *FOLDERS])}.")
        try:
            changed[name] = _value(text, getattr(default, name))
        except ValueError as error:
            raise UsageError(
                f"The setting {name} cannot be {text!r}; an example is {getattr(default, name)!r}."
            ) from error
    if "refresh" in folders and len(overrides) > 1:
        raise UsageError("The setting refresh keeps a model as it was trained; it takes no other setting beside it.")
    return dataclasses.replace(default, **changed), folders


def _value(text: str, like: Any) -> Any:
    """Read ``text`` as the kind of value that ``like`` is."""
    if isinstance(like, bool):
        if text.lower() not in {"true", "false"}:
            raise ValueError(text)
        return text.lower() == "true"
    if isinstance(like, tuple):
        return tuple(int(part) for part in text.strip("()").split(",") if part.strip())
    return type(like)(text)


def split_parts(found: ClassFolders, pixels: Sequence[npt.NDArray[np.uint8]], seed: int) -> dict[str, Part]:
    """Return the images of each split.

    Raises:
        InputError: a split lacks a class, or identical files lie in two splits under
            the names of different patients.
    """
    where = split_patients((image.group for image in found.images), seed)
    if copies := duplicates_across(found.images, where):
        raise InputError(f"{copies[0][0]} and {copies[0][1]} are the same image of two patients; remove one of them.")
    names = np.array([where[image.group] for image in found.images])
    labels = np.array([image.label for image in found.images], dtype=np.int64)
    parts = {
        name: Part([image for image, part in zip(pixels, names, strict=True) if part == name], labels[names == name])
        for name in SPLITS
    }
    for name, part in parts.items():
        if len(set(part.labels.tolist())) < len(CLASSES):
            raise InputError(f"Too few patients: the part {name!r} of {found.root} lacks a class; add more data.")
    return parts


def _trained(
    parts: Mapping[str, Part],
    steps: Sequence[Mapping[str, Any]],
    config: Config,
    folders: Mapping[str, Path],
    partial: Path,
    progress: Progress,
) -> tuple[EfficientNetLite0, list[dict[str, Any]]]:
    """Return the network with its chosen weights, and what each epoch gave."""
    torch.manual_seed(config.seed)
    network = EfficientNetLite0(dropout=config.dropout)
    if "resume" in folders:
        return network, _resume(network, folders["resume"])
    if config.pretrained:
        load_imagenet_weights(network, imagenet_weights_path())
    kept = folders.get("checkpoints")
    folder = kept or partial / "epochs"
    folder.mkdir(parents=True, exist_ok=True)
    size = config.sizes[-1]
    train = Part([_squared(image, size) for image in parts["train"].pixels], parts["train"].labels)
    used = {"train": train, "tune": parts["tune"], "block": parts["block"]}
    history = fit(network, used, steps, config, folder=folder, progress=progress)
    if kept is None:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
    return network, history


def _resume(network: EfficientNetLite0, folder: Path) -> list[dict[str, Any]]:
    """Load the chosen epoch of a folder that an earlier run kept."""
    try:
        history: list[dict[str, Any]] = json.loads((folder / "history.json").read_text(encoding="utf-8"))
        chosen = next(entry for entry in history if entry.get("chosen"))
        network.load_state_dict(torch.load(folder / f"epoch-{chosen['epoch']}.pt", weights_only=True))
    except (OSError, ValueError, StopIteration, RuntimeError) as error:
        raise InputError(f"{folder} holds no finished training to resume from ({type(error).__name__}).") from error
    network.eval()
    return history


def _squared(image: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """Bring a training image to one size, so that all fit in one array."""
    if image.shape == (size, size):
        return image
    step = {"op": "resize", "rows": size, "columns": size}
    return np.asarray(np.rint(prepare(image.astype(np.float32), [step]).tensor[0]), dtype=np.uint8)


def decide(served: Forward, parts: Mapping[str, Part], steps: Sequence[Mapping[str, Any]]) -> Decision:
    """Choose calibration and threshold on ``tune`` and ``block``, plain and shifted.

    The shifted copies take part because the plain ones are too easy: fitted to those
    alone, a probability would be surer than it may be at another hospital.
    """
    views: list[tuple[Truth, Floats]] = [
        (parts[name].labels.astype(bool), run_over(served, [shift(image) for image in parts[name].pixels], steps)[0])
        for name in ("tune", "block")
        for shift in SHIFTS.values()
    ]
    truth = np.concatenate([t for t, _ in views])
    logit = np.concatenate([z for _, z in views])
    # Each view weighs the same in all, and so do the two classes in it.
    weights = np.concatenate([balanced_weights(t) / len(t) for t, _ in views])
    slope, intercept = fit_platt(truth, logit, weights * len(truth) / weights.sum())
    calibrated = [(t, sigmoid(slope * z + intercept)) for t, z in views]
    threshold = balanced_threshold(calibrated)
    plain, p = parts["tune"].labels.astype(bool), calibrated[0][1]
    at = rates(plain, p, threshold)
    return Decision(
        slope,
        intercept,
        threshold,
        at.sensitivity,
        at.specificity,
        len(plain),
        expected_calibration_error(plain, sigmoid(views[0][1]), balanced_weights(plain)),
        expected_calibration_error(plain, p, balanced_weights(plain)),
    )
