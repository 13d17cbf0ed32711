"""How far a training is: its curves, its lines of text, and how long the rest may take."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

from medviewer.domain.frozen import dataclass
from medviewer.domain.progress import VALIDATING

_MOST_LINES = 300


@dataclass(slots=True)
class Curve:
    """One run's loss by step, and validation score (higher is better) by the step after which it was measured.

    Where the last epoch is taken by plan (``is_by_plan``) no score chooses: then ``scores`` are those of the figure
    ``measured``, a name of :data:`medviewer.domain.progress.MEASURED`, and empty where nothing is measured.
    """

    steps: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    judged: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    is_by_plan: bool = False
    measured: str = ""


@dataclass(slots=True)
class RunProgress:
    """What the lines of a training's process say so far (``docs/json.md``).

    Attributes:
        done: steps of the part that is learned now, of ``total``; 0 of 0 before the first.
        part: which part of the recipe is learned now; "" where it has one.
        epoch: which epoch it is, from 1; 0 before the first.
        curves: by part.
        lines: what it said, the newest last.
        is_validating: whether it is between the last step of an epoch and the next epoch.
        is_stopping: whether it was told to stop, and has not ended yet.
    """

    clock: Callable[[], float] = time.monotonic
    done: int = 0
    total: int = 0
    part: str = ""
    epoch: int = 0
    curves: dict[str, Curve] = field(default_factory=dict)
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=_MOST_LINES))
    is_validating: bool = False
    is_stopping: bool = False
    _begun: tuple[float, int] = (0.0, 0)  # when this part was first heard of, and how far it was

    def take(self, line: Mapping[str, Any]) -> None:
        """Take one line; one that is not understood is passed over."""
        kind = line.get("kind")
        if kind == "progress":
            self._take_progress(int(line["done"]), int(line["total"]))
            self.is_validating = VALIDATING in str(line.get("text", ""))
        elif kind in ("step", "epoch"):
            self._take_record(line)
        elif kind == "text":
            self.lines.append(str(line["text"]))

    @property
    def left_s(self) -> float | None:
        """How long the part that is learned now may take, by its pace so far; None if that is not known yet."""
        since, first = self._begun
        if self.done <= first or self.total <= 0:
            return None
        return (self.total - self.done) * (self.clock() - since) / (self.done - first)

    def _take_progress(self, done: int, total: int) -> None:
        # The first step is no measure: it waits for what comes before it. Another part begins anew.
        if self.total == 0 or done < self.done or total != self.total:
            self._begun = (self.clock(), done)
        self.done, self.total = done, total

    def _take_record(self, line: Mapping[str, Any]) -> None:
        self.part = str(line.get("run", ""))
        self.epoch = int(line["epoch"])
        curve = self.curves.setdefault(self.part, Curve())
        if line["kind"] == "step":
            curve.steps.append(int(line["step"]))
            curve.losses.append(float(line["loss"]))
            return
        curve.is_by_plan = line.get("by_plan") is True
        name = str(line.get("measured", "")) if curve.is_by_plan else "score"
        if line.get(name) is not None:
            curve.measured = name if curve.is_by_plan else ""
            curve.judged.append(int(line["step"]))
            curve.scores.append(float(line[name]))
