"""The lesson of a small network on few images of few pixels, and several such networks as one.

A few hundred images cannot spare any for choosing an epoch: the schedule is fixed and the last epoch is
taken. What one network owes to chance, the mean of several does not.
"""

from __future__ import annotations

import dataclasses
from functools import partial

import torch
from torch import Generator, Tensor, nn

from medviewer.training.augment import augment_lightly
from medviewer.training.batches import Part, Steps, balanced_batches, changed_batch
from medviewer.training.configs import SmallConfig
from medviewer.training.lesson import Batch, Epoch, FixedSchedule, Surroundings
from medviewer.training.loop import fit
from medviewer.training.networks_small import Ensemble, SmallNet
from medviewer.training.validation import refresh_statistics


class SmallLesson(FixedSchedule):
    """Images with one label each, 0 or 1; the last epoch is taken."""

    def __init__(self, train: Part, steps: Steps, config: SmallConfig) -> None:
        super().__init__(len(train.labels), config, config.epochs, config.rate)
        self._train, self._steps, self._config = train, steps, config
        self._change = partial(augment_lightly, strength=config.strength)

    def order(self, _: Epoch, chance: Generator) -> list[Tensor]:
        """Return batches with both classes alike."""
        n_batches = -(-len(self._train.labels) * self._config.passes // self._config.batch)
        return balanced_batches(self._train.labels, self._config.batch, n_batches, chance)

    def batch(self, chosen: Tensor, _: Epoch, chance: Generator) -> Batch:
        """Return changed images and softened targets."""
        config, labels = self._config, torch.from_numpy(self._train.labels[chosen.numpy()]).float()
        x = changed_batch(self._train, chosen, self._steps, config.size, self._change, chance)
        return {"x": x, "target": labels * (1 - 2 * config.smoothing) + config.smoothing}

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return the cross entropy of the logit."""
        return nn.functional.binary_cross_entropy_with_logits(network(batch["x"])[:, 0], batch["target"])

    def settle(self, average: nn.Module, _: Epoch) -> None:
        """Measure the statistics of batch normalisation anew."""
        n, size = self._config.n_statistics, self._config.size
        refresh_statistics(average, self._train, self._steps, size, n_batches=n, change=self._change)


def learn_ensemble(train: Part, steps: Steps, config: SmallConfig, around: Surroundings) -> Ensemble:
    """Return the mean of ``config.n_members`` networks, each from other first weights and another order.

    Args:
        train: what is learned from, all images of one size.
        steps: the card's preprocessing; its first step resizes.
        config: the settings.
        around: where the loop works; each network has a folder of its own in it.

    Raises:
        Stopped, TrainingError, StorageError: as :func:`medviewer.training.loop.fit`.
    """
    members = []
    for index in range(config.n_members):
        own = dataclasses.replace(config, seed=config.seed + 1000 * index)
        torch.manual_seed(own.seed)
        network = SmallNet(config.width, config.dropout)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
        fit(network, SmallLesson(train, steps, own), own, around.within(f"network-{index}"))
        members.append(network)
    return Ensemble(members)
