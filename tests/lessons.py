"""A lesson that is learned in a second: what tests of the training loop teach."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Generator, Tensor, nn

from medviewer.training.configs import LoopConfig
from medviewer.training.lesson import Epoch, FixedSchedule, Stage


def tiny_network(*, dropout: float = 0.0, seed: int = 3) -> nn.Module:
    """Convolution, batch normalisation and a linear layer: everything that a step changes."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(3),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(36, 3),
    )


class TinyLesson:
    """Which third of a small noisy image is bright; scores may be given instead of measured."""

    takes_last = False

    def __init__(
        self,
        *,
        n: int = 48,
        batch: int = 8,
        epochs: tuple[int, ...] = (2, 2),
        noise: float = 0.3,
        scores: list[float | None] | None = None,
    ) -> None:
        chance = Generator().manual_seed(11)
        self.labels = torch.arange(n) % 3
        self.x = torch.randn(n, 1, 6, 6, generator=chance)
        for row in range(6):
            self.x[self.labels == row // 2, 0, row] += 2.0
        self.size, self.epochs, self.noise, self.scores = batch, epochs, noise, scores

    @property
    def stages(self) -> tuple[Stage, ...]:
        return tuple(Stage(n, seed, 1.0 / (1 + seed)) for seed, n in enumerate(self.epochs))

    def parameters(self, network: nn.Module) -> list[dict[str, Any]]:
        return [{"params": list(network.parameters()), "peak": 3e-2}]

    def order(self, _: Epoch, chance: Generator) -> list[Tensor]:
        return list(torch.split(torch.randperm(len(self.labels), generator=chance), self.size))

    def batch(self, chosen: Tensor, _: Epoch, chance: Generator) -> Mapping[str, Tensor]:
        x = self.x[chosen]
        if self.noise:
            x = x + self.noise * torch.randn(x.shape, generator=chance)
        return {"x": x, "label": self.labels[chosen]}

    def loss(self, network: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        return nn.functional.cross_entropy(network(batch["x"]), batch["label"])

    def settle(self, average: nn.Module, epoch: Epoch) -> None:
        """Nothing to do."""

    @torch.no_grad()
    def validate(self, average: nn.Module, epoch: Epoch) -> tuple[float | None, Mapping[str, Any]]:
        right = float((average(self.x).argmax(1) == self.labels).float().mean())
        if self.scores is not None:
            return self.scores[epoch.number - 1], {"accuracy": right}
        return right, {"accuracy": right}


class PlannedLesson(FixedSchedule):
    """The same images; the last epoch is taken, whatever was measured: ``figures``, one an epoch, by name."""

    def __init__(self, config: LoopConfig, epochs: int, figures: list[dict[str, float]] | None = None) -> None:
        self.like = TinyLesson()
        super().__init__(len(self.like.labels), config, epochs, 3e-2)
        self.figures = figures

    def batch(self, chosen: Tensor, epoch: Epoch, chance: Generator) -> Mapping[str, Tensor]:
        return self.like.batch(chosen, epoch, chance)

    def loss(self, network: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        return self.like.loss(network, batch)

    def told(self, _: nn.Module, epoch: Epoch) -> Mapping[str, float]:
        return self.figures[epoch.number - 1] if self.figures else {}
