"""The training loop: read it from top to bottom.

Each epoch draws as many healthy as sick images, changes them, takes a gradient step
and moves a slow average of the weights. The average is what is validated and kept.
The epoch is chosen by the *worst* of many shifted validations, since the plain one
is .999 after the first epoch and cannot tell a good network from a lucky one.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from medviewer.training.batches import Part, Steps, balanced_batches, changed_batch
from medviewer.training.networks import EfficientNetLite0
from medviewer.training.validation import balanced_subset, refresh_statistics, shifted_aucs


@dataclass(frozen=True, slots=True)
class Config:
    """Every number that decides a run; a run is repeated from it and the data's digest.

    Attributes:
        sizes: rows and columns of the input in each epoch of the first stage; the last
            one is served.
        finish: epochs of the second stage, which starts from the best epoch so far.
        finish_strength: of the changes to the images in the second stage.
        finish_rate: share of the learning rates in the second stage.
        batch: images a step.
        backbone_rate: peak learning rate of the pretrained layers.
        head_rate: peak learning rate of the new linear layer.
        weight_decay: AdamW's pull towards zero.
        smoothing: label smoothing: targets are this much away from 0 and 1.
        dropout: chance that a pooled feature is hidden.
        strength: of the changes in :mod:`medviewer.training.augment`.
        average: decay of the slow average, each step.
        warmup: share of a stage's steps in which the learning rate rises.
        n_statistics: batches that the batch-normalisation statistics are measured on.
        n_validation: images at most of each class and split, each epoch.
        seed: of everything drawn by chance.
        threads: of torch; fixed, as it decides the order of sums.
        pretrained: start from ImageNet weights; false only for trying the path out.
    """

    sizes: tuple[int, ...] = (160, 160, 224, 224, 224, 224)
    finish: int = 3
    finish_strength: float = 0.5
    finish_rate: float = 0.5
    batch: int = 32
    backbone_rate: float = 4e-4
    head_rate: float = 2e-3
    weight_decay: float = 0.02
    smoothing: float = 0.05
    dropout: float = 0.3
    strength: float = 1.0
    average: float = 0.993
    warmup: float = 0.08
    n_statistics: int = 24
    n_validation: int = 320
    seed: int = 0
    threads: int = 2
    pretrained: bool = True

    def stages(self) -> tuple[Stage, ...]:
        """Return the stages: hard images first, then images nearer to what is served."""
        first = Stage(self.sizes, self.strength, 1.0, self.seed)
        second = Stage(self.sizes[-1:] * self.finish, self.finish_strength, self.finish_rate, self.seed + 1)
        return (first, second) if self.finish else (first,)


@dataclass(frozen=True, slots=True)
class Stage:
    """Epochs that share one rise and fall of the learning rate."""

    sizes: tuple[int, ...]
    strength: float
    rate: float
    seed: int


@dataclass(frozen=True, slots=True)
class _Run:
    """What every epoch of one stage shares; the network, average and optimiser change in place."""

    network: EfficientNetLite0
    average: EfficientNetLite0
    optimiser: torch.optim.Optimizer
    steps: Steps
    config: Config
    stage: Stage
    chance: torch.Generator
    progress: Callable[[str], None]


def fit(
    network: EfficientNetLite0,
    parts: Mapping[str, Part],
    steps: Steps,
    config: Config,
    *,
    folder: Path,
    progress: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Train ``network`` in place and leave the chosen epoch's averaged weights in it.

    Args:
        network: starts from ImageNet weights, or from chance.
        parts: ``train`` learns; every other part is a validation, which chooses the
            epoch and must never be reported.
        steps: the card's preprocessing; its first step resizes.
        config: see there.
        folder: gets ``epoch-N.pt`` (weights only) and ``history.json`` after each epoch.
        progress: called with a line at a time.

    Returns:
        One entry an epoch: loss, validation AUC by part and shift, the worst of them,
        and whether it was chosen.
    """
    torch.set_num_threads(config.threads)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
    checked = {name: balanced_subset(part, config.n_validation) for name, part in parts.items() if name != "train"}
    history: list[dict[str, Any]] = []
    for stage in config.stages():
        torch.manual_seed(stage.seed)
        chance = torch.Generator().manual_seed(stage.seed)
        average = copy.deepcopy(network).eval()
        run = _Run(network, average, _optimiser(network, config), steps, config, stage, chance, progress)
        for epoch, size in enumerate(stage.sizes):
            started = time.monotonic()
            entry: dict[str, Any] = {"epoch": len(history) + 1, "size": size, "strength": stage.strength}
            entry["loss"] = _learn(run, parts["train"], epoch, f"epoch {entry['epoch']}")
            refresh_statistics(
                average, parts["train"], steps, size, n_batches=config.n_statistics, strength=stage.strength
            )
            entry["auc"] = {name: shifted_aucs(average, part, steps, size) for name, part in checked.items()}
            entry["worst"] = min(value for table in entry["auc"].values() for value in table.values())
            entry["seconds"] = round(time.monotonic() - started)
            history.append(entry)
            torch.save(average.state_dict(), folder / f"epoch-{entry['epoch']}.pt")
            progress(f"epoch {entry['epoch']}: loss {entry['loss']:.4f}, worst validation AUC {entry['worst']:.4f}")
            (folder / "history.json").write_text(json.dumps(history, indent=1), encoding="utf-8")
        _take_best(network, history, config.sizes[-1], folder)
    return history


def _take_best(network: EfficientNetLite0, history: list[dict[str, Any]], size: int, folder: Path) -> None:
    """Mark the best epoch so far and load its weights.

    Only epochs at the size that is served can be chosen; a tie goes to the later one.
    """
    best = max((entry for entry in history if entry["size"] == size), key=lambda e: (e["worst"], e["epoch"]))
    for entry in history:
        entry["chosen"] = entry is best
    (folder / "history.json").write_text(json.dumps(history, indent=1), encoding="utf-8")
    network.load_state_dict(torch.load(folder / f"epoch-{best['epoch']}.pt", weights_only=True))
    network.eval()


def _optimiser(network: EfficientNetLite0, config: Config) -> torch.optim.Optimizer:
    """Return AdamW with the backbone and the new layer in groups of their own."""
    backbone = [p for name, p in network.named_parameters() if not name.startswith("linear.")]
    groups = [
        {"params": backbone, "peak": config.backbone_rate},
        {"params": network.linear.parameters(), "peak": config.head_rate},
    ]
    return torch.optim.AdamW(groups, weight_decay=config.weight_decay)


def _learn(run: _Run, train: Part, epoch: int, name: str) -> float:
    """Learn for one epoch of a stage, counted from 0, and return the mean loss."""
    config, stage, network, optimiser = run.config, run.stage, run.network, run.optimiser
    size, n_batches = stage.sizes[epoch], math.ceil(len(train.labels) / config.batch)
    total, started, losses = n_batches * len(stage.sizes), time.monotonic(), list[float]()
    network.train()
    for chosen in balanced_batches(train.labels, config.batch, n_batches, run.chance):
        x = changed_batch(train, chosen, run.steps, size, stage.strength, run.chance)
        labels = torch.from_numpy(train.labels[chosen.numpy()]).float()
        target = labels * (1 - 2 * config.smoothing) + config.smoothing
        loss = nn.functional.binary_cross_entropy_with_logits(network(x)[:, 0], target)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        step = epoch * n_batches + len(losses)
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * stage.rate * _schedule(step / total, config.warmup)
        optimiser.step()
        _follow(run.average, network, min(config.average, (2 + step) / (11 + step)))
        losses.append(loss.item())
        if len(losses) % 10 == 0 or len(losses) == n_batches:
            pace = (time.monotonic() - started) / len(losses)
            run.progress(
                f"{name}  step {len(losses)}/{n_batches}  size {size}  "
                f"loss {np.mean(losses[-10:]):.4f}  {pace:.2f} s/step  "
                f"epoch ends in {pace * (n_batches - len(losses)) / 60:.1f} min"
            )
    return float(np.mean(losses))


def _schedule(done: float, warmup: float) -> float:
    """Return the share of the peak learning rate: a straight rise, then half a cosine."""
    if done < warmup:
        return (done + 1e-3) / warmup
    return 0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the average, batch-normalisation statistics included, towards the network."""
    for slow, fast in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if slow.is_floating_point():
            slow.lerp_(fast, 1 - decay)
