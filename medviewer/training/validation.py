"""Runs a network in memory: on validation patients each epoch, and to fit what follows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from medviewer.inference.preprocessing import prepare
from medviewer.training.batches import Change, Part, Pixels, Steps, at_size, balanced_batches, changed_batch
from medviewer.training.metrics import Floats, roc_auc
from medviewer.training.networks import PooledClassifier
from medviewer.training.reading import Mapped
from medviewer.training.shifts import SHIFTS, shifted

Forward: TypeAlias = Callable[[npt.NDArray[np.float32]], tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]
"""Takes a prepared batch ``(n, 1, h, w)``; gives logits ``(n, classes)`` and pooled features ``(n, f)``."""


def forward(network: PooledClassifier) -> Forward:
    """Return how a network in memory answers."""
    device = next(network.parameters()).device

    @torch.inference_mode()
    def run(batch: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        x = torch.from_numpy(batch).to(device, memory_format=torch.channels_last)
        feature_map = network.features(x)
        return network.head(feature_map).cpu().numpy(), feature_map.mean(dim=(2, 3)).cpu().numpy()

    return run


def run_over(answer: Forward, pixels: Pixels, steps: Steps) -> tuple[Floats, Floats]:
    """Return the first logit ``(n,)`` and the pooled features ``(n, f)`` of each image."""
    logits, features = [], []
    for start in range(0, len(pixels), 32):
        batch = [prepare(image.astype(np.float32), steps).tensor for image in pixels[start : start + 32]]
        said, pooled = answer(np.stack(batch))
        logits.append(said[:, 0])
        features.append(pooled)
    return np.concatenate(logits).astype(np.float64), np.concatenate(features).astype(np.float64)


def shifted_aucs(network: PooledClassifier, part: Part, steps: Steps, size: int) -> dict[str, float]:
    """Return the AUC of the part under each shift, at another network size if need be."""
    truth, steps = part.labels.astype(bool), at_size(steps, size)
    return {name: roc_auc(truth, run_over(forward(network), shifted(part.pixels, name), steps)[0]) for name in SHIFTS}


def balanced_subset(part: Part, most: int) -> Part:
    """Return at most ``most`` cases of each class, spread evenly over the part."""
    chosen: list[int] = []
    for label in (0, 1):
        members = np.flatnonzero(part.labels == label)
        chosen += list(members[np.linspace(0, len(members) - 1, min(most, len(members))).astype(int)])
    return Part(Mapped(chosen, part.pixels.__getitem__), part.labels[chosen])


@torch.no_grad()
def refresh_statistics(
    network: nn.Module, train: Part, steps: Steps, size: int, *, n_batches: int, change: Change
) -> None:
    """Measure the batch-normalisation statistics of averaged weights anew, in place.

    The running statistics that were averaged along belong to weights of long ago, at
    first even to photographs. With them this network loses .07 of AUC on blurred films.

    Args:
        network: as averaged.
        train: what it learned from.
        steps: the preprocessing.
        size: rows and columns of the input.
        n_batches: how many batches of 32 to measure on.
        change: changes the images; as in learning.

    Source: Izmailov et al., "Averaging Weights Leads to Wider Optima" (2018), section 3.3.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a plain mean over the batches that follow
        layer.train()
    # A generator of its own: what is learned must not depend on what is measured.
    chance, device = torch.Generator().manual_seed(0), next(network.parameters()).device
    for chosen in balanced_batches(train.labels, 32, n_batches, chance):
        network(changed_batch(train, chosen, steps, size, change, chance).to(device))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    network.eval()
