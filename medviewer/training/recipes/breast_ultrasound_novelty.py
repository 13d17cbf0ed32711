"""Which images are too unlike the training images, where there are few: limits by folds, statistics from all.

All three distances are of the image itself, which no network learned: what a fold's images look like to the
statistics of the other folds is what a new image will look like to those of all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from medviewer.inference.guards import FeatureStatistics, ResidualStatistics
from medviewer.inference.preprocessing import prepare
from medviewer.inference.texture import texture
from medviewer.training.batches import Part, Pixels, Steps
from medviewer.training.export import open_forward
from medviewer.training.image_folds import PLAIN
from medviewer.training.metrics import Floats, roc_auc
from medviewer.training.novelty import Novelty, fit_novelty, fit_residual, fit_texture, save_statistics
from medviewer.training.reading import Mapped
from medviewer.training.shifts import SHIFTS, shifted
from medviewer.training.strange import CHANGES, made_up
from medviewer.training.validation import run_over

_ABSTAIN = 99.9  # percentile

Looks: TypeAlias = Mapping[str, Floats]
"""By check what it judges images by, ``(n, features)``."""
Distances: TypeAlias = Mapping[str, Floats]
"""By check, ``(n,)``."""
Statistics: TypeAlias = Novelty | ResidualStatistics | FeatureStatistics
Fitted: TypeAlias = Mapping[str, Statistics]
"""By check."""


class Check(NamedTuple):
    """One distance.

    Attributes:
        fit: learns the statistics from training images.
        warn: the percentile of held-out images as they are, above which it warns.
        shifts: those whose 99.9th percentile is the limit of abstention.
        on: what the limits come from, for the card.
    """

    fit: Callable[[Floats], Statistics]
    warn: float
    shifts: Sequence[str]
    on: str


# Together they are to warn of less than 5% of held-out images; most of that goes to the texture, which sees most.
# An image in a black frame, which the card says the model is not for, may be refused.
CHECKS: Mapping[str, Check] = {
    "distance": Check(
        lambda looks: fit_novelty(looks, np.zeros(len(looks), dtype=np.int64), n_directions=48),
        99.5,
        (PLAIN,),
        "99.5th and 99.9th percentile of images held out by folds",
    ),
    "residual": Check(
        lambda looks: fit_residual(looks, n_directions=96),
        99.5,
        tuple(SHIFTS),
        "99.5th percentile of images held out by folds as they are, 99.9th percentile of the same as they are and "
        "shifted",
    ),
    "texture": Check(
        fit_texture,
        97,
        tuple(shift for shift in SHIFTS if shift != "black frame"),
        "97th percentile of images held out by folds as they are, 99.9th percentile of the same as they are and "
        "shifted, but for the black frame",
    ),
}


class Limits(NamedTuple):
    """Above which distances a check warns, and refuses."""

    warn: float
    abstain: float


def write_novelty(
    folder: Path, images: Part, folds: npt.NDArray[np.int64], steps: Steps
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write ``ood.npz`` of a folder that holds ``model.onnx``.

    Args:
        folder: the model folder.
        images: all that were learned from.
        folds: ``(n,)`` the fold of each.
        steps: the preprocessing.

    Returns:
        The section ``ood`` of the card; and the shares of held-out images that are warned of and refused, and the
        same of pictures that are none of the kind.
    """
    served = open_forward(folder / "model.onnx", "appearance")

    def looks(pixels: Pixels) -> Looks:
        appearance = run_over(served, pixels, steps)[1]
        composed = np.stack([prepare(image.astype(np.float32), steps).tensor for image in pixels])
        return {"distance": appearance, "residual": appearance, "texture": texture(composed)}

    usual = {shift: looks(shifted(images.pixels, shift)) for shift in SHIFTS}
    others_of = {int(fold): _fitted(usual[PLAIN], folds != fold) for fold in np.unique(folds)}
    far = {shift: _by_folds(seen, others_of, folds) for shift, seen in usual.items()}
    limits = _limits(far, np.ones(len(folds), dtype=bool))
    fitted = _fitted(usual[PLAIN], np.ones(len(folds), dtype=bool))
    save_statistics(folder / "ood.npz", *fitted.values())  # type: ignore[arg-type]  # in this order
    others = {
        f"these images {name}": _by_folds(looks(Mapped(images.pixels, change)), others_of, folds)
        for name, change in CHANGES.items()
    }
    for kind, pictures in made_up().items():
        seen = looks(pictures)
        others[kind] = {name: statistics.distance(seen[name]) for name, statistics in fitted.items()}
    told = [{"kind": kind, **_told(other, far[PLAIN], limits)} for kind, other in others.items()]
    shares = {shift: _shares(one, limits) for shift, one in far.items() if shift != PLAIN}
    return _section(limits), _crossed(far, folds) | {"shifts": shares, "others": told}


def _fitted(plain: Looks, members: npt.NDArray[np.bool_]) -> Fitted:
    return {name: check.fit(plain[name][members]) for name, check in CHECKS.items()}


def _by_folds(seen: Looks, others_of: Mapping[int, Fitted], folds: npt.NDArray[np.int64]) -> Distances:
    """Return how far each image, or what was made of it, lies from those of the other folds."""
    found = {name: np.zeros(len(folds)) for name in CHECKS}
    for fold, fitted in others_of.items():
        held_out = folds == fold
        for name, statistics in fitted.items():
            found[name][held_out] = statistics.distance(seen[name][held_out])
    return found


def _limits(far: Mapping[str, Distances], members: npt.NDArray[np.bool_]) -> dict[str, Limits]:
    """Return each check's limits from some of the held-out images."""
    found = {}
    for name, check in CHECKS.items():
        every = np.concatenate([far[shift][name][members] for shift in check.shifts])
        warn, abstain = np.percentile(far[PLAIN][name][members], check.warn), np.percentile(every, _ABSTAIN)
        found[name] = Limits(round(float(warn), 3), round(float(max(warn, abstain)), 3))
    return found


def _crossed(far: Mapping[str, Distances], folds: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Return which shares of held-out images are warned of and refused by limits from the other folds."""
    warned, refused = np.zeros(len(folds), dtype=bool), np.zeros(len(folds), dtype=bool)
    for fold in np.unique(folds):
        held_out = folds == fold
        for name, limit in _limits(far, ~held_out).items():
            warned[held_out] |= far[PLAIN][name][held_out] > limit.warn
            refused[held_out] |= far[PLAIN][name][held_out] > limit.abstain
    return {"warned": round(float(warned.mean()), 4), "abstained": round(float(refused.mean()), 4)}


def _told(other: Distances, usual: Distances, limits: Mapping[str, Limits]) -> dict[str, Any]:
    """Return how well other pictures are told from held-out images; both judged by the largest share of a limit."""
    strange, plain = (
        np.max([one[name] / limit.warn for name, limit in limits.items()], axis=0) for one in (other, usual)
    )
    truth = np.arange(len(plain) + len(strange)) >= len(plain)
    return {
        "n": len(strange),
        "auc": round(roc_auc(truth, np.concatenate([plain, strange])), 4),
        **_shares(other, limits),
    }


def _shares(far: Distances, limits: Mapping[str, Limits]) -> dict[str, float]:
    """Return which shares are warned of (or refused), and refused, by any check."""
    warned = np.any([far[name] > limit.warn for name, limit in limits.items()], axis=0)
    refused = np.any([far[name] > limit.abstain for name, limit in limits.items()], axis=0)
    return {"warned": round(float(warned.mean()), 4), "abstained": round(float(refused.mean()), 4)}


def _section(limits: Mapping[str, Limits]) -> dict[str, Any]:
    told = {
        name: {"warn_above": limit.warn, "abstain_above": limit.abstain, "on": CHECKS[name].on}
        for name, limit in limits.items()
    }
    return {
        "file": "ood.npz",
        "method": "mahalanobis",
        "output": "appearance",
        **told["distance"],
        "residual": {"output": "appearance", **told["residual"]},
        "texture": told["texture"],
    }
