"""Which images are too unlike the training images, where there are few: limits by folds, statistics from all.

Both distances are of the image's appearance, which no network learned: what a fold's images look like to the
statistics of the other folds is what a new image will look like to those of all.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.training.batches import Part, Steps
from medviewer.training.export import open_forward
from medviewer.training.metrics import Floats
from medviewer.training.novelty import fit_novelty, fit_residual, save_statistics
from medviewer.training.shifts import SHIFTS, shifted
from medviewer.training.validation import run_over

_WARN, _ABSTAIN = 97.5, 99.9  # percentiles
_DIRECTIONS, _RESIDUAL_DIRECTIONS = 48, 96


def write_novelty(
    folder: Path, images: Part, folds: npt.NDArray[np.int64], steps: Steps
) -> tuple[dict[str, Any], dict[str, float]]:
    """Write ``ood.npz`` of a folder that holds ``model.onnx``.

    Args:
        folder: the model folder.
        images: all that were learned from.
        folds: ``(n,)`` the fold of each.
        steps: the preprocessing.

    Returns:
        The section ``ood`` of the card; and the shares of held-out images that are warned of and refused.
    """
    served = open_forward(folder / "model.onnx", "appearance")
    looks = {shift: run_over(served, shifted(images.pixels, shift), steps)[1] for shift in SHIFTS}
    plain = next(iter(looks.values()))
    inside, outside = np.zeros(len(folds)), {shift: np.zeros(len(folds)) for shift in looks}
    for fold in np.unique(folds):
        held_out, rest = folds == fold, plain[folds != fold]
        inside[held_out] = fit_novelty(rest, _one_class(rest), _DIRECTIONS).distance(plain[held_out])
        residual = fit_residual(rest, _RESIDUAL_DIRECTIONS)
        for shift, found in outside.items():
            found[held_out] = residual.distance(looks[shift][held_out])
    near = np.percentile(inside, (_WARN, _ABSTAIN))
    far = outside["as it is"]
    usual = (np.percentile(far, _WARN), np.percentile(np.concatenate(list(outside.values())), _ABSTAIN))
    save_statistics(
        folder / "ood.npz",
        fit_novelty(plain, _one_class(plain), _DIRECTIONS),
        fit_residual(plain, _RESIDUAL_DIRECTIONS),
    )
    section = {
        "file": "ood.npz",
        "method": "mahalanobis",
        "output": "appearance",
        "warn_above": round(float(near[0]), 3),
        "abstain_above": round(float(near[1]), 3),
        "on": "97.5th and 99.9th percentile of images held out by folds",
        "residual": {
            "output": "appearance",
            "warn_above": round(float(usual[0]), 3),
            "abstain_above": round(float(usual[1]), 3),
            "on": "97.5th percentile of images held out by folds as they are, "
            "99.9th percentile of the same as they are and shifted",
        },
    }
    warned = (inside > near[0]) | (far > usual[0])
    refused = (inside > near[1]) | (far > usual[1])
    return section, {"warned": round(float(warned.mean()), 4), "abstained": round(float(refused.mean()), 4)}


def _one_class(looks: Floats) -> npt.NDArray[np.int64]:
    return np.zeros(len(looks), dtype=np.int64)
