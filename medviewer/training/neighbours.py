"""Which training cases lie near a case in a network's own features, and how often the network errs among such ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.inference.neighbours import ARRAYS, Memory
from medviewer.training.metrics import Floats, Truth
from medviewer.training.novelty import fit_residual

FILE = "neighbours.npz"
N_NEIGHBOURS = 20  # and as many training cases are needed
_DIRECTIONS = 64
_BINS = ((0, 0), (1, 4), (5, 15), (16, 19), (20, 20))  # of 20 neighbours, how many had the label


def remember(features: Floats, truth: Truth) -> Memory:
    """Return the training cases as they are stored: few directions, in half precision.

    Args:
        features: ``(n, F)`` of training cases.
        truth: ``(n, labels)``.
    """
    around = fit_residual(features, min(_DIRECTIONS, *features.shape))
    to_place = Memory(
        around.mean, around.scale, around.directions, np.empty((0, 0), np.float16), truth.astype(np.uint8)
    )
    points = to_place.place(features).astype(np.float16)
    return Memory(around.mean, around.scale, around.directions, points, truth.astype(np.uint8))


def write_neighbours(
    folder: Path, memory: Memory, held_out: Floats, was_wrong: Mapping[str, npt.NDArray[np.bool_]]
) -> dict[str, Any]:
    """Write :data:`FILE` and return the section ``neighbours`` of the card.

    Args:
        folder: of the model.
        memory: the training cases.
        held_out: ``(m, F)`` features of held-out cases.
        was_wrong: by label ``(m,)``, whether what the model says of them is wrong; in the order of the labels.
    """
    np.savez_compressed(folder / FILE, **{name: getattr(memory, name) for name in ARRAYS})
    counts = memory.positives(held_out, N_NEIGHBOURS)
    seen = {label: _seen(counts[:, i], wrong) for i, (label, wrong) in enumerate(was_wrong.items())}
    return {"file": FILE, "output": "features", "k": N_NEIGHBOURS, "seen": seen}


def _seen(positives: npt.NDArray[np.int64], wrong: npt.NDArray[np.bool_]) -> Sequence[Mapping[str, int]]:
    rows = []
    for least, most in _BINS:
        here = (positives >= least) & (positives <= most)
        rows.append({"least": least, "most": most, "n": int(here.sum()), "n_wrong": int(wrong[here].sum())})
    return rows
