"""Pneumonia on children's chest radiographs (Kermany et al. 2018, CC BY 4.0)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from medviewer.training.data import ClassFolders, read_class_folders, split_patients
from medviewer.training.loop import Config, Part, fit
from medviewer.training.networks import EfficientNetLite0, imagenet_weights_path, load_imagenet_weights

CLASSES = ("NORMAL", "PNEUMONIA")

# Resize first: a percentile of a full-size image would depend on its noise, and the
# training images were already small. Stretch: their aspect had been squeezed away.
STEPS: tuple[Mapping[str, Any], ...] = (
    {"op": "resize", "rows": 224, "columns": 224, "mode": "area", "aspect": "stretch"},
    {"op": "percentile_window", "low": 1, "high": 99},
    {"op": "normalise", "mean": 0.5, "std": 0.5},
)


def parts(found: ClassFolders, pixels: list[Any], seed: int) -> dict[str, Part]:
    """Return the images of each split."""
    where = split_patients((image.group for image in found.images), seed)
    names = np.array([where[image.group] for image in found.images])
    labels = np.array([image.label for image in found.images], dtype=np.int64)
    return {
        name: Part([pixels[i] for i in np.flatnonzero(names == name)], labels[names == name])
        for name in ("train", "block", "tune", "report")
    }


def run(data: Path, out: Path, overrides: Mapping[str, str], progress: Callable[[str], None]) -> Path:
    """Train and write the model folder; see :func:`medviewer.training.train`."""
    config = Config()
    found, pixels = read_class_folders(data, CLASSES)
    split = parts(found, pixels, config.seed)
    network = EfficientNetLite0(dropout=config.dropout)
    load_imagenet_weights(network, imagenet_weights_path())
    out.mkdir(parents=True, exist_ok=True)
    fit(network, split["train"], {n: split[n] for n in ("tune", "block")}, STEPS, config, folder=out, progress=progress)
    return out
