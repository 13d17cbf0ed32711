"""Occlusion of anything: take away a value, a word, an atom or some hours, ask again, see what changes.

Whatever a model is given and whatever runs it, its inputs name the parts that can be taken away
(``groups`` of :mod:`medviewer.inference.inputs`) and what is there without them (``baseline``). As on
images its unit is the part that was taken away: it sees what matters alone, not two values that stand
in for each other.

Source: Zeiler and Fergus, "Visualizing and understanding convolutional networks", ECCV 2014, section
4.2; for text Li, Monroe and Jurafsky, "Understanding neural networks through representation
erasure", 2016. The comparison with random orders follows Petsiuk, Das and Saenko, "RISE", BMVC 2018.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.domain.anchor import Anchor
from medviewer.domain.answer import Faithfulness
from medviewer.domain.case import Case
from medviewer.domain.errors import EngineError
from medviewer.domain.frozen import dataclass
from medviewer.domain.progress import Progress, StopToken
from medviewer.inference.card import Card
from medviewer.inference.engine import Engine
from medviewer.inference.gathering import gather, tensors_of
from medviewer.inference.inputs import INPUTS
from medviewer.inference.inputs.adapter import Group
from medviewer.inference.outcomes import explained_scores, wanted_outputs

LEVELS = 8
SEED = 2018
CONVINCING_PERCENTILE = 95.0
_BATCH = 32
_BATCH_BYTES = 16 << 20

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class GroupQuestion:
    """Why does this model say that of these data?

    Attributes:
        arrays: all that the model is given, by names of the graph's inputs, without the batch.
        empty: the same where there is nothing.
        groups: the parts that can be taken away.
        target: which of the card's targets is explained.
    """

    engine: Engine
    card: Card
    arrays: Arrays
    empty: Arrays
    groups: tuple[Group, ...]
    target: int
    stop: StopToken | None
    progress: Progress

    @property
    def anchors(self) -> tuple[Anchor, ...]:
        """What each group lies on."""
        return tuple(group.anchor for group in self.groups)

    def scores(self, hidden: Sequence[Sequence[int]], work: str = "") -> npt.NDArray[np.float64]:
        """The explained number, ``(n,)``, with some groups taken away, for each list of groups.

        Raises:
            EngineError: an output is not a number: no explanation is better than an invented one.
        """
        found: list[npt.NDArray[np.float64]] = []
        for part in self._batches(len(hidden)):
            if work:
                self.progress(part.start, len(hidden), work)
            rows = [self._without(groups) for groups in hidden[part]]
            batch = {name: np.stack([row[name] for row in rows]) for name in self.arrays}
            outputs = self.engine.run(self.card.id, batch, outputs=wanted_outputs(self.card), stop=self.stop)
            scores = explained_scores(self.card, outputs, self.target)
            if not np.isfinite(scores).all():
                raise EngineError("The model gave values that are not numbers; there is no explanation.")
            found.append(scores)
        return np.concatenate(found)

    def _without(self, hidden: Sequence[int]) -> Arrays:
        arrays = dict(self.arrays)
        for index in hidden:
            for name, mask in self.groups[index].mask.items():
                arrays[name] = np.where(mask, self.empty[name], arrays[name])
        return arrays

    def _batches(self, n: int) -> Iterator[slice]:
        size = sum(array.nbytes for array in self.arrays.values())
        step = max(1, min(_BATCH, _BATCH_BYTES // max(1, size)))
        for start in range(0, n, step):
            if self.stop is not None:
                self.stop.raise_if_stopped()
            yield slice(start, min(start + step, n))


def ask_about(
    engine: Engine, case: Case, card: Card, target: int, stop: StopToken | None, progress: Progress
) -> GroupQuestion:
    """Make the question of a case.

    Raises:
        InputError: the case does not have what the model needs, or it cannot be prepared.
    """
    gathered = gather(case, card)
    arrays = tensors_of(gathered.encode())
    empty: dict[str, npt.NDArray[Any]] = {}
    groups: list[Group] = []
    for spec in card.inputs:
        adapter, raw = INPUTS[spec.kind], gathered.raws[spec.name]
        empty |= adapter.baseline(raw, spec)
        groups += adapter.groups(raw, spec)
    return GroupQuestion(engine, card, arrays, empty, tuple(groups), target, stop, progress)


def group_occlusion(question: GroupQuestion) -> npt.NDArray[np.float32]:
    """How far the explained number falls when each group is taken away, ``(groups,)``, in its own unit.

    Logits of a class, points of a score; see :func:`medviewer.inference.outcomes.explained_scores`.
    """
    one_by_one = [(), *((index,) for index in range(len(question.groups)))]
    scores = question.scores(one_by_one, "Occlusion")
    question.progress(len(one_by_one), len(one_by_one), "Occlusion")
    return np.asarray(scores[0] - scores[1:], np.float32)


def judge_groups(question: GroupQuestion, values: npt.NDArray[np.floating], n_random: int) -> Faithfulness:
    """Compare an explanation with ``n_random`` random orders of the same parts, by deletion and insertion.

    Args:
        question: what it explains.
        values: ``(groups,)``, larger speaks more for the target.
        n_random: at least one.
    """
    n = len(values)
    if n < 2 or float(np.ptp(values)) == 0:
        return Faithfulness(0.0, 0.0, n_random, "This explanation gives every part the same weight.")
    chance = np.random.default_rng(SEED)
    orders = [np.argsort(-values, kind="stable"), *(chance.permutation(n) for _ in range(n_random))]
    counts = _counts(n)
    hidden = [order[:count].tolist() for order in orders for count in counts]
    hidden += [order[count:].tolist() for order in orders for count in counts]
    curves = question.scores(hidden, "Comparing with random orders").reshape(2, len(orders), len(counts))
    areas = np.asarray(np.trapezoid(curves, counts / n, axis=2))
    deletion = _percentile(-areas[0, 0], -areas[0, 1:])
    insertion = _percentile(areas[1, 0], areas[1, 1:])
    return Faithfulness(deletion, insertion, n_random, _sentence(min(deletion, insertion)))


def _counts(n: int) -> npt.NDArray[np.int64]:
    """How many parts are taken away at each level, 0 and all of them among these; of many, at first few at a time.

    Evenly, the first level of a stack's 64 boxes would be eight: an order that puts the one box that counts first would
    be no better than the eighth part of all random ones that have it among those.
    """
    if n <= LEVELS:
        return np.arange(n + 1, dtype=np.int64)
    return np.unique(np.concatenate([[0], np.round(np.geomspace(1, n, LEVELS))])).astype(np.int64)


def _percentile(value: float, others: npt.NDArray[np.float64]) -> float:
    """How many per cent of ``others`` are below ``value``; equals count half."""
    is_equal = np.isclose(others, value, rtol=1e-9, atol=1e-12)
    return float(100 * (np.mean((others < value) & ~is_equal) + np.mean(is_equal) / 2))


def _sentence(percentile: float) -> str:
    verdict = "Better than chance" if percentile >= CONVINCING_PERCENTILE else "Not clearly better than chance"
    if percentile == 100:
        return f"{verdict}: none of the random orders does as well."
    return f"{verdict}: {100 - percentile:.0f}% of random orders do as well."
