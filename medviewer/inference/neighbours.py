"""The training cases that are most like a case, as the network sees them, and what was true of them.

A probability says how far a case lies from a boundary; its neighbours say what lies around it. Where they
disagree with the answer, or with each other, the answer rests on little. The file holds no training images, only a
few numbers and the labels of each.

Source: Papernot and McDaniel, "Deep k-Nearest Neighbors: Towards Confident, Interpretable and Robust Deep
Learning" (2018), on the last layer only.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.domain.answer import Neighbours
from medviewer.domain.errors import CardError
from medviewer.domain.frozen import dataclass
from medviewer.inference.card import Card, CardFile, Label, Text
from medviewer.inference.loading import read_arrays

NOTHING = Text("")
SAME, LEAST_DIRECTIONS = 0.05, 16
"""A case is a training case if one lies within this share of its own distance from the middle, in so many directions.

Measured on the chest model (64 directions): the very films, in whichever lossless file, lie within 0.0005 (the file
holds half precision); films saved as JPEG again from 0.05 on; no two different training films nearer than 0.22. In few
directions strangers meet: of 4,000 made-up cases in 4 directions one in 300 others did, in 8 none.
"""
ARRAYS = {"mean": 1, "scale": 1, "directions": 2, "points": 2, "truth": 2}  # name: axes

_HAD = Text(
    "Of the {n} training cases most like this one, {positive} had the label “{label}”.",
    "在与本例最相似的{n}个训练病例中，{positive}个标注为“{label}”。",
)
_SEEN = Text(
    "In validation, where {range} of the {n} had it, the model was wrong on {wrong} of {cases} cases.",
    "在验证数据中，{n}个最相似病例里有{range}个如此标注的共{cases}例，模型判断错误{wrong}例。",
)


@dataclass(frozen=True, slots=True)
class Seen:
    """How often a model was wrong in validation where ``least`` to ``most`` of the neighbours had the label."""

    least: int
    most: int
    n: int
    n_wrong: int

    @property
    def is_possible(self) -> bool:
        """Whether the numbers can be counts."""
        return self.least <= self.most and self.n_wrong <= self.n


@dataclass(frozen=True, slots=True)
class NeighbourSpec:
    """Which file and graph output tell the ``k`` nearest training cases; ``seen`` is by label, counted ``on`` cases."""

    file: str
    output: str
    k: int
    seen: Mapping[str, tuple[Seen, ...]]
    on: Text = NOTHING

    @property
    def are_counts_possible(self) -> bool:
        """Whether what was seen are counts, and no number of neighbours lies in two of them or above ``k``."""
        for rows in self.seen.values():
            ordered = sorted(rows, key=lambda one: one.least)
            apart = all(one.most < other.least for one, other in itertools.pairwise(ordered))
            if not apart or not all(one.is_possible and one.most <= self.k for one in rows):
                return False
        return True


def read_spec(d: Mapping[str, Any]) -> NeighbourSpec:
    """The section ``neighbours`` of a validated card."""
    seen = {
        label: tuple(Seen(one["least"], one["most"], one["n"], one["n_wrong"]) for one in rows)
        for label, rows in d.get("seen", {}).items()
    }
    return NeighbourSpec(d["file"], d["output"], d["k"], seen, Text.read(d.get("on")))


@dataclass(frozen=True, slots=True, eq=False)
class Memory:
    """The training cases.

    Attributes:
        mean: ``(F,)`` of the features.
        scale: ``(F,)`` that they are divided by, above zero.
        directions: ``(D, F)`` orthonormal rows; distances are between ``directions @ ((features - mean) / scale)``.
        points: ``(n, D)`` of the training cases.
        truth: ``(n, labels)`` 0 or 1.
    """

    mean: npt.NDArray[np.floating]
    scale: npt.NDArray[np.floating]
    directions: npt.NDArray[np.floating]
    points: npt.NDArray[np.floating]
    truth: npt.NDArray[np.integer]

    def place(self, features: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Return where cases of ``features`` ``(m, F)`` lie, ``(m, D)``."""
        scaled = (features.astype(np.float64) - self.mean) / self.scale
        return np.asarray(scaled @ self.directions.astype(np.float64).T, dtype=np.float64)

    def nearest(self, features: npt.NDArray[np.floating], k: int) -> npt.NDArray[np.intp]:
        """Return the ``k`` nearest training cases of each case, ``(m, k)``, nearest first; of equals the first."""
        points = self.points.astype(np.float64)
        gaps = np.stack([((points - place) ** 2).sum(axis=1) for place in self.place(features)])
        return np.argsort(gaps, axis=1, kind="stable")[:, :k]

    def nearness(self, features: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Return how far the nearest training case is, ``(m,)``, as a share of the case's distance from the middle.

        Up to :data:`SAME` the case is one that the network learned from, or cannot be told from one. Infinite where
        there are fewer than :data:`LEAST_DIRECTIONS`, which cannot tell.
        """
        if len(self.directions) < LEAST_DIRECTIONS:
            return np.full(len(features), np.inf)
        points = self.points.astype(np.float64)
        places = self.place(features)
        gaps = np.array([np.sqrt(((points - place) ** 2).sum(axis=1).min()) for place in places])
        return np.asarray(gaps / np.maximum(np.linalg.norm(places, axis=1), np.finfo(np.float64).tiny))

    def positives(self, features: npt.NDArray[np.floating], k: int) -> npt.NDArray[np.int64]:
        """Return how many of the ``k`` nearest have each label, ``(m, labels)``."""
        return np.asarray(self.truth[self.nearest(features, k)].sum(axis=1), dtype=np.int64)


def neighbours_of(card: Card, features: npt.NDArray[np.floating], language: str) -> list[Neighbours | None]:
    """What was true of the training cases nearest to one case, for each label; None where the card has none.

    Args:
        card: of the model.
        features: ``(1, F)``, the graph output that the card names.
        language: of the sentences.

    Raises:
        ModelError: the file is missing, changed, or not for this network.
    """
    spec = card.neighbours
    if spec is None:
        return [None] * len(card.labels)
    found = memory_of(card, features).positives(features, spec.k)[0]
    return [
        _neighbours(spec, label, int(positive), language)
        for label, positive in zip(card.labels, found, strict=True)
    ]  # fmt: skip


def memory_of(card: Card, features: npt.NDArray[np.floating]) -> Memory:
    """The training cases of a card that has them, held against what its network gives.

    Raises:
        ModelError: the file is missing, changed, not for this network, or of fewer cases than are counted.
    """
    assert card.neighbours is not None  # noqa: S101 - asked for only then
    memory = read_memory(card.folder, card.require("neighbours"))
    if features.shape[1:] != memory.mean.shape or memory.truth.shape[1] != len(card.labels):
        raise CardError(f"The neighbours' file of {card.id} is not of this network; install the model again.")
    if card.neighbours.k > len(memory.points):
        raise CardError(f"The neighbours' file of {card.id} has fewer cases than are counted; install the model again.")
    return memory


def _neighbours(spec: NeighbourSpec, label: Label, positive: int, language: str) -> Neighbours:
    title = label.title.say(language)
    sentences = [_HAD.say(language).format(n=spec.k, positive=positive, label=title)]
    seen = next((one for one in spec.seen.get(label.name, ()) if one.least <= positive <= one.most and one.n), None)
    if seen is not None:
        span = str(seen.least) if seen.least == seen.most else f"{seen.least}–{seen.most}"
        sentences.append(_SEEN.say(language).format(wrong=seen.n_wrong, cases=seen.n, range=span, n=spec.k))
    counted_on = spec.on.say(language) if seen is not None else ""
    return Neighbours(spec.k, positive, ("" if language == "zh" else " ").join(sentences), counted_on)


@lru_cache(maxsize=8)
def read_memory(folder: Path, file: CardFile) -> Memory:
    """Read the training cases and check that they can be used.

    Raises:
        ModelError: the file is missing, changed, or does not hold them.
    """
    arrays = read_arrays(folder, file)
    problem = _problem(arrays)
    if problem:
        raise CardError(f"“{file.path}” {problem}; install the model again.")
    return Memory(*(arrays[name] for name in ARRAYS))


def _problem(arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    if not ARRAYS.keys() <= arrays.keys():
        return f"lacks one of “{'”, “'.join(ARRAYS)}”"
    if any(arrays[name].ndim != axes for name, axes in ARRAYS.items()):
        return "holds an array with another number of axes than it should have"
    mean, scale, directions, points, truth = (arrays[name] for name in ARRAYS)
    floats: Sequence[npt.NDArray[Any]] = (mean, scale, directions, points)
    if not all(np.issubdtype(array.dtype, np.floating) and np.isfinite(array).all() for array in floats):
        return "holds values that are not numbers"
    if not (scale > 0).all():
        return "divides by nothing"
    if not np.issubdtype(truth.dtype, np.integer) or not np.isin(truth, (0, 1)).all():
        return "holds labels other than 0 and 1"
    widths = {len(mean), len(scale), directions.shape[1]}
    if len(widths) > 1 or points.shape[1] != len(directions) or len(points) != len(truth):
        return "holds arrays that do not fit each other"
    return ""
