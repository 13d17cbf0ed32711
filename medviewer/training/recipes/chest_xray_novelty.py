"""What training images look like: two distances with limits above which an image is strange, and its neighbours.

Statistics are learned from training images; every limit comes from validation
patients, since images that were learned from lie nearer to their own mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medviewer.inference.guards import ResidualStatistics
from medviewer.training.batches import Part
from medviewer.training.calibration import sigmoid
from medviewer.training.export import open_forward
from medviewer.training.metrics import Floats
from medviewer.training.neighbours import remember, write_neighbours
from medviewer.training.novelty import Novelty, fit_novelty, fit_residual, save_statistics
from medviewer.training.shifts import SHIFTS, shifted
from medviewer.training.validation import Forward, run_over

Steps = Sequence[Mapping[str, Any]]
Limits = tuple[float, float]

_PARTS = ("tune", "block")
_HELD_OUT = ("tune", "block", "report")
_WARN, _ABSTAIN = 97.5, 99.9  # percentiles


def write_statistics(folder: Path, parts: Mapping[str, Part], document: Mapping[str, Any]) -> dict[str, Any]:
    """Write ``ood.npz`` and ``neighbours.npz`` of a folder that holds ``model.onnx``.

    Args:
        folder: the model folder.
        parts: the images by split.
        document: the card, with its preprocessing, calibration and threshold.

    Returns:
        The sections ``ood`` and ``neighbours`` of the card.
    """
    novelty = write_novelty(folder, parts, document["preprocessing"])
    return {"ood": novelty, "neighbours": write_memory(folder, parts, document)}


def write_novelty(folder: Path, parts: Mapping[str, Part], steps: Steps) -> dict[str, Any]:
    """Write ``ood.npz`` of a folder that holds ``model.onnx``.

    Args:
        folder: the model folder.
        parts: the images by split.
        steps: the preprocessing.

    Returns:
        The section ``ood`` of the card.
    """
    novelty, near = learn_novelty(open_forward(folder / "model.onnx", "appearance"), parts, steps)
    residual, usual = learn_residual(open_forward(folder / "model.onnx", "features"), parts, steps)
    save_statistics(folder / "ood.npz", novelty, residual)
    return {
        "file": "ood.npz",
        "method": "mahalanobis",
        "output": "appearance",
        "warn_above": round(near[0], 3),
        "abstain_above": round(near[1], 3),
        "on": "97.5th and 99.9th percentile of validation patients (splits tune and block)",
        "residual": {
            "output": "features",
            "warn_above": round(usual[0], 3),
            "abstain_above": round(usual[1], 3),
            "on": "97.5th percentile of validation patients (splits tune and block) as they are, "
            "99.9th percentile of the same as they are and shifted",
        },
    }


def write_memory(folder: Path, parts: Mapping[str, Part], document: Mapping[str, Any]) -> dict[str, Any]:
    """Write ``neighbours.npz`` of a folder that holds ``model.onnx``.

    Args:
        folder: the model folder.
        parts: the images by split.
        document: the card, whose calibration and threshold say when the model was wrong.

    Returns:
        The section ``neighbours`` of the card.
    """
    served, steps, label = (
        open_forward(folder / "model.onnx", "features"),
        document["preprocessing"],
        document["labels"][0],
    )
    memory = remember(run_over(served, parts["train"].pixels, steps)[1], parts["train"].labels[:, None].astype(bool))
    fitted = document["calibration"]["parameters"]
    found, wrong = [], []
    for part in (parts[name] for name in _HELD_OUT):
        logit, features = run_over(served, part.pixels, steps)
        called = sigmoid(fitted["slope"][0] * logit + fitted["intercept"][0]) >= label["threshold"]
        found.append(features)
        wrong.append(called != part.labels.astype(bool))
    section = write_neighbours(folder, memory, np.concatenate(found), {label["name"]: np.concatenate(wrong)})
    return section | {"on": "held-out patients (splits tune, block and report), as their films are"}


def learn_novelty(served: Forward, parts: Mapping[str, Part], steps: Steps) -> tuple[Novelty, Limits]:
    """Return what training images look like, and the distances above which to warn and to abstain.

    A hundred directions of the :func:`~medviewer.training.networks.appearance` say "a
    frontal chest film"; more would say "one of these children".

    Args:
        served: gives logits and the appearance.
        parts: the images by split.
        steps: the preprocessing.
    """
    looks = run_over(served, parts["train"].pixels, steps)[1]
    novelty = fit_novelty(looks, np.zeros(len(looks), dtype=np.int64), n_directions=96)
    held_out = np.concatenate([novelty.distance(run_over(served, parts[name].pixels, steps)[1]) for name in _PARTS])
    warn, abstain = np.percentile(held_out, (_WARN, _ABSTAIN))
    return novelty, (float(warn), float(abstain))


def learn_residual(served: Forward, parts: Mapping[str, Part], steps: Steps) -> tuple[ResidualStatistics, Limits]:
    """Return in which directions training films vary, and the residuals above which to warn and to abstain.

    The network's features tell apart blur, compression and exposure as well as anatomy.
    What is unusual for this archive is therefore only warned of; refused is what goes
    beyond every change of :data:`~medviewer.training.shifts.SHIFTS`, for a limit from
    plain films alone would refuse the films of every other hospital.

    Args:
        served: gives logits and the pooled features.
        parts: the images by split.
        steps: the preprocessing.
    """
    residual = fit_residual(run_over(served, parts["train"].pixels, steps)[1])
    held_out: dict[str, Floats] = {}
    for shift in SHIFTS:
        views = [shifted(parts[name].pixels, shift) for name in _PARTS]
        held_out[shift] = np.concatenate([residual.distance(run_over(served, view, steps)[1]) for view in views])
    warn = np.percentile(held_out["as it is"], _WARN)
    abstain = np.percentile(np.concatenate(list(held_out.values())), _ABSTAIN)
    return residual, (float(warn), float(abstain))
