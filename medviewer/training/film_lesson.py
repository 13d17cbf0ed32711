"""The lesson of a network that looks for one finding on a radiograph.

Each epoch draws as many healthy as sick images, changes them, and is judged by the *worst* of
many shifted validations, since the plain one is .999 after the first epoch and cannot tell a
good network from a lucky one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor, nn

from medviewer.training.augment import augment
from medviewer.training.batches import Part, Steps, balanced_batches, changed_batch
from medviewer.training.configs import FilmConfig
from medviewer.training.lesson import Batch, Epoch, Stage
from medviewer.training.networks import PooledClassifier
from medviewer.training.validation import balanced_subset, refresh_statistics, shifted_aucs


class FilmLesson:
    """Images with one label each, 0 or 1, and a network with one logit.

    Args:
        parts: ``train`` learns; every other part is a validation, which chooses the
            epoch and must never be reported.
        steps: the card's preprocessing; its first step resizes.
        config: see there.
    """

    takes_last = False

    def __init__(self, parts: Mapping[str, Part], steps: Steps, config: FilmConfig) -> None:
        self._train, self._steps, self._config = parts["train"], steps, config
        self._checked = {
            name: balanced_subset(part, config.n_validation) for name, part in parts.items() if name != "train"
        }

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Return the stages: hard images first, then images nearer to what is served."""
        config = self._config
        first = Stage(len(config.sizes), config.seed)
        second = Stage(config.finish, config.seed + 1, config.finish_rate)
        return (first, second) if config.finish else (first,)

    def parameters(self, network: nn.Module) -> list[dict[str, Any]]:
        """Return the backbone and the new layer, in groups of their own."""
        named = list(network.named_parameters())
        head = [p for name, p in named if name.startswith("linear.")]
        backbone = [p for name, p in named if not name.startswith("linear.")]
        return [
            {"params": backbone, "peak": self._config.backbone_rate},
            {"params": head, "peak": self._config.head_rate},
        ]

    def order(self, _: Epoch, chance: Generator) -> list[Tensor]:
        """Return batches with both classes alike."""
        n_batches = math.ceil(len(self._train.labels) / self._config.batch)
        return balanced_batches(self._train.labels, self._config.batch, n_batches, chance)

    def batch(self, chosen: Tensor, epoch: Epoch, chance: Generator) -> Batch:
        """Return changed images and softened targets."""
        size, strength = self._manner(epoch)
        labels = torch.from_numpy(self._train.labels[chosen.numpy()]).float()
        return {
            "x": changed_batch(self._train, chosen, self._steps, size, partial(augment, strength=strength), chance),
            "target": labels * (1 - 2 * self._config.smoothing) + self._config.smoothing,
        }

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return the cross entropy of the logit."""
        return nn.functional.binary_cross_entropy_with_logits(network(batch["x"])[:, 0], batch["target"])

    def settle(self, average: nn.Module, epoch: Epoch) -> None:
        """Measure the statistics of batch normalisation anew."""
        size, strength = self._manner(epoch)
        n = self._config.n_statistics
        change = partial(augment, strength=strength)
        refresh_statistics(average, self._train, self._steps, size, n_batches=n, change=change)

    def validate(self, average: nn.Module, epoch: Epoch) -> tuple[float | None, Mapping[str, Any]]:
        """Return the worst AUC over parts and shifts; only epochs at the size that is served can be chosen."""
        if not isinstance(average, PooledClassifier):
            raise TypeError(type(average))
        size, strength = self._manner(epoch)
        auc = {name: shifted_aucs(average, part, self._steps, size) for name, part in self._checked.items()}
        worst = min(value for table in auc.values() for value in table.values())
        told = {"size": size, "strength": strength, "auc": auc, "worst": worst}
        return worst if size == self._config.sizes[-1] else None, told

    def _manner(self, epoch: Epoch) -> tuple[int, float]:
        """Return the size of the images and the strength of their changes."""
        config = self._config
        if epoch.stage == 0:
            return config.sizes[epoch.index], config.strength
        return config.sizes[-1], config.finish_strength
