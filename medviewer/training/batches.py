"""Batches of radiographs: as many healthy as sick, changed at random, prepared as in serving."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medviewer.domain.frozen import dataclass
from medviewer.inference.preprocessing import prepare
from medviewer.training.reading import Grey

Pixels: TypeAlias = Sequence[Grey]
Steps: TypeAlias = Sequence[Mapping[str, Any]]
Change: TypeAlias = Callable[[Tensor, int, torch.Generator], Tensor]
"""Changes images at random and brings them to a size, as :func:`medviewer.training.augment.augment` does."""


@dataclass(frozen=True, slots=True)
class Part:
    """Images with their labels: what the loop learns from, or is validated on.

    Attributes:
        pixels: each ``(rows, columns)``, uint8 or float32 in 0..1; for training all of one size.
        labels: ``(n,)`` of 0 and 1.
    """

    pixels: Pixels
    labels: npt.NDArray[np.int64]


def changed_batch(
    train: Part, chosen: Tensor, steps: Steps, size: int, change: Change, chance: torch.Generator
) -> Tensor:
    """Return a batch of training images, changed at random and prepared as in serving."""
    pixels = np.stack([train.pixels[int(i)] for i in chosen])
    images = torch.from_numpy(pixels)[:, None].float()
    if pixels.dtype == np.uint8:
        images = images / 255
    return _prepared(change(images, size, chance), steps, size)


def balanced_batches(
    labels: npt.NDArray[np.int64], batch: int, n_batches: int, chance: torch.Generator
) -> list[Tensor]:
    """Return index batches in which each class has the same expected number of cases.

    Every case of a class comes up before any comes up again, so that a class with few
    cases is repeated evenly.
    """
    wanted = batch * n_batches
    columns = []
    for label in (0, 1):
        members = torch.from_numpy(np.flatnonzero(labels == label))
        rounds = math.ceil(wanted / 2 / len(members))
        order = torch.cat([members[torch.randperm(len(members), generator=chance)] for _ in range(rounds)])
        columns.append(order[: math.ceil(wanted / 2)])
    mixed = torch.stack(columns, dim=1).flatten()[:wanted]
    return [b[torch.randperm(len(b), generator=chance)] for b in torch.split(mixed, batch)]


def _prepared(x: Tensor, steps: Steps, size: int) -> Tensor:
    """Run the serving preprocessing over a changed batch that already has its size."""
    steps = at_size(steps, size)
    tensor = torch.from_numpy(np.stack([prepare(image, steps).tensor for image in x[:, 0].numpy()]))
    return tensor.to(memory_format=torch.channels_last)


def at_size(steps: Steps, size: int) -> Steps:
    """Return the steps with another network size: early epochs look at smaller images."""
    return [dict(step, rows=size, columns=size) if step["op"] == "resize" else step for step in steps]
