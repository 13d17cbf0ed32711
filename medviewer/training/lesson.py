"""What a recipe and the loop say to each other."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import torch
from torch import Generator, Tensor, nn

from medviewer.domain.frozen import dataclass
from medviewer.domain.progress import Progress, no_progress
from medviewer.training.configs import LoopConfig
from medviewer.training.processes import Processes, this_device
from medviewer.training.run_record import BY_PLAN

Batch: TypeAlias = Mapping[str, Tensor]
History: TypeAlias = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Stage:
    """Epochs that share one rise and fall of the learning rate; a later stage starts from the best epoch so far."""

    epochs: int
    seed: int
    rate: float = 1.0  # share of the learning rates


@dataclass(frozen=True, slots=True)
class Epoch:
    """Which epoch it is: ``number`` over the run, from 1; ``stage`` and ``index`` in the stage, from 0."""

    number: int
    stage: int
    index: int


class Lesson(Protocol):
    """What a recipe teaches. ``network`` may be wrapped: call it as it is, and read nothing from it.

    ``average`` lies on the device that is learned on (:func:`device_of`), a batch is brought there by the loop.
    """

    @property
    def stages(self) -> Sequence[Stage]:
        """The stages, at least one."""

    @property
    def takes_last(self) -> bool:
        """Whether the last epoch is taken by plan, and none is chosen by a score."""

    def parameters(self, network: nn.Module) -> list[dict[str, Any]]:
        """Return groups ``{"params": ..., "peak": learning rate}``."""

    def order(self, epoch: Epoch, chance: Generator) -> list[Tensor]:
        """Return the batches of an epoch, as indices of cases; the number is the same in each epoch of a stage."""

    def batch(self, chosen: Tensor, epoch: Epoch, chance: Generator) -> Batch:
        """Return the tensors of some cases; with several processes, of a share of a batch."""

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return the mean over the cases of a batch."""

    def settle(self, average: nn.Module, epoch: Epoch) -> None:
        """Do what averaged weights need before they are used."""

    def validate(self, average: nn.Module, epoch: Epoch) -> tuple[float | None, Mapping[str, Any]]:
        """Return the score (higher is better; None: this epoch cannot be chosen) and what the history keeps of it.

        Where the last epoch is taken by plan there is no score.
        """


class FixedSchedule:
    """What is the same in each lesson of one stage whose last epoch is taken: no case is spent on choosing one.

    A lesson that inherits adds ``batch`` and ``loss``, and :meth:`told` if it measures something.

    Args:
        n_cases: that are learned from.
        config: ``batch`` and ``seed`` are read.
        epochs: of the stage.
        rate: peak learning rate of all parameters.
    """

    takes_last = True

    def __init__(self, n_cases: int, config: LoopConfig, epochs: int, rate: float) -> None:
        self._n_cases, self._batch, self._rate = n_cases, config.batch, rate
        self._stages = (Stage(epochs, config.seed),)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Return the one stage."""
        return self._stages

    def parameters(self, network: nn.Module) -> list[dict[str, Any]]:
        """Return all of them."""
        return [{"params": list(network.parameters()), "peak": self._rate}]

    def order(self, epoch: Epoch, chance: Generator) -> list[Tensor]:  # noqa: ARG002 - of the protocol
        """Return all cases, shuffled."""
        return list(torch.split(torch.randperm(self._n_cases, generator=chance), self._batch))

    def settle(self, average: nn.Module, epoch: Epoch) -> None:
        """Do nothing: most small networks have no batch normalisation."""

    def validate(self, average: nn.Module, epoch: Epoch) -> tuple[float | None, Mapping[str, Any]]:
        """Return no score, what :meth:`told` tells, and which of it is shown (``measured``)."""
        told = {name: value for name, value in self.told(average, epoch).items() if math.isfinite(value)}
        return None, {**told, **({"measured": next(iter(told))} if told else {}), **BY_PLAN}

    def told(self, average: nn.Module, epoch: Epoch) -> Mapping[str, float]:  # noqa: ARG002 - for those that inherit
        """Return what was measured of an epoch and chooses nothing, by names that people are told; the first is shown.

        The names are those of :data:`medviewer.domain.progress.MEASURED`.
        """
        return {}


def device_of(network: nn.Module) -> torch.device:
    """Return where a network calculates: what it is asked must be brought there, and what it says back from there."""
    return next(network.parameters()).device


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a run takes place.

    Attributes:
        folder: gets ``run.pt`` (where it stands), ``epoch-N.pt`` (weights only), ``history.json`` and
            ``record.jsonl``; made if it is not there.
        identity: settings and data; a checkpoint of another identity is refused.
        progress: called with a line after each epoch.
        bar: called after each step, and before each validation, with (steps done, steps in all, text).
        tensorboard: folder for event files; None: none are written.
        processes: who learns together.
        record: called with (folder, line) for each line of the record, those of before included.
        part: which part of a recipe's work this is, as its folder lies in the run's; "" where it has one.
    """

    folder: Path
    identity: Mapping[str, Any] = field(default_factory=dict)
    progress: Callable[[str], None] = print
    bar: Progress = no_progress
    tensorboard: Path | None = None
    processes: Processes = field(default_factory=lambda: Processes(0, 1, this_device()))
    record: Callable[[Path, Mapping[str, Any]], None] = lambda *_: None
    part: str = ""

    @property
    def whole(self) -> Path:
        """Return the folder of the run with all its parts."""
        return (self.folder, *self.folder.parents)[len(Path(self.part).parts)]

    def within(self, name: str) -> Surroundings:
        """Return the surroundings of a part of the run, in folders of its own."""
        events = self.tensorboard / name if self.tensorboard else None
        return replace(self, folder=self.folder / name, tensorboard=events, part=f"{self.part}/{name}".lstrip("/"))
