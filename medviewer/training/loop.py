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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from medviewer.inference.preprocessing import prepare
from medviewer.training.augment import augment
from medviewer.training.metrics import roc_auc
from medviewer.training.networks import EfficientNetLite0
from medviewer.training.shifts import SHIFTS

Pixels = Sequence[npt.NDArray[np.uint8]]
Steps = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Config:
    """Every number that decides a run; a run is repeated from it and the data's digest.

    Attributes:
        sizes: rows and columns of the input in each epoch; the last one is served.
        batch: images a step.
        backbone_rate: peak learning rate of the pretrained layers.
        head_rate: peak learning rate of the new linear layer.
        weight_decay: AdamW's pull towards zero.
        smoothing: label smoothing: targets are this much away from 0 and 1.
        dropout: chance that a pooled feature is hidden.
        strength: of the changes in :mod:`medviewer.training.augment`.
        average: decay of the slow average, each step.
        warmup: share of all steps in which the learning rate rises.
        n_validation: images at most of each class and split, each epoch.
        seed: of everything drawn by chance.
        threads: of torch; fixed, as it decides the order of sums.
        pretrained: start from ImageNet weights; false only for trying the path out.
    """

    sizes: tuple[int, ...] = (160, 160, 224, 224, 224, 224)
    batch: int = 32
    backbone_rate: float = 4e-4
    head_rate: float = 2e-3
    weight_decay: float = 0.02
    smoothing: float = 0.05
    dropout: float = 0.3
    strength: float = 1.0
    average: float = 0.993
    warmup: float = 0.08
    n_validation: int = 120
    seed: int = 0
    threads: int = 2
    pretrained: bool = True


@dataclass(frozen=True, slots=True)
class Part:
    """Images with their labels: what the loop learns from, or is validated on.

    Attributes:
        pixels: each ``(rows, columns)`` uint8; for training all of one size.
        labels: ``(n,)`` of 0 and 1.
    """

    pixels: Pixels
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Run:
    """What every epoch of one run shares; the network, average and optimiser change in place."""

    network: EfficientNetLite0
    average: EfficientNetLite0
    optimiser: torch.optim.Optimizer
    steps: Steps
    config: Config
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
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads)
    chance = torch.Generator().manual_seed(config.seed)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
    average = copy.deepcopy(network).eval()
    run = _Run(network, average, _optimiser(network, config), steps, config, chance, progress)
    checked = {name: _balanced_subset(part, config.n_validation) for name, part in parts.items() if name != "train"}
    history: list[dict[str, Any]] = []
    for epoch, size in enumerate(config.sizes):
        started = time.monotonic()
        loss = _learn(run, parts["train"], epoch)
        entry: dict[str, Any] = {"epoch": epoch + 1, "size": size, "loss": loss}
        entry["auc"] = {name: _shifted_aucs(average, part, steps, size) for name, part in checked.items()}
        entry["worst"] = min(value for table in entry["auc"].values() for value in table.values())
        entry["seconds"] = round(time.monotonic() - started)
        history.append(entry)
        torch.save(average.state_dict(), folder / f"epoch-{epoch + 1}.pt")
        progress(f"epoch {epoch + 1}: loss {loss:.4f}, worst validation AUC {entry['worst']:.4f}")
        (folder / "history.json").write_text(json.dumps(history, indent=1), encoding="utf-8")
    # Only epochs at the size that is served can be chosen; a tie goes to the later one.
    best = max((e for e in history if e["size"] == config.sizes[-1]), key=lambda e: (e["worst"], e["epoch"]))
    best["chosen"] = True
    (folder / "history.json").write_text(json.dumps(history, indent=1), encoding="utf-8")
    network.load_state_dict(torch.load(folder / f"epoch-{best['epoch']}.pt", weights_only=True))
    network.eval()
    return history


def _optimiser(network: EfficientNetLite0, config: Config) -> torch.optim.Optimizer:
    """Return AdamW with the backbone and the new layer in groups of their own."""
    backbone = [p for name, p in network.named_parameters() if not name.startswith("linear.")]
    groups = [
        {"params": backbone, "peak": config.backbone_rate},
        {"params": network.linear.parameters(), "peak": config.head_rate},
    ]
    return torch.optim.AdamW(groups, weight_decay=config.weight_decay)


def _learn(run: _Run, train: Part, epoch: int) -> float:
    """Learn for one epoch and return the mean loss."""
    config, network, optimiser = run.config, run.network, run.optimiser
    size, n_batches = config.sizes[epoch], math.ceil(len(train.labels) / config.batch)
    total, started, losses = n_batches * len(config.sizes), time.monotonic(), list[float]()
    network.train()
    for chosen in balanced_batches(train.labels, config.batch, n_batches, run.chance):
        images = torch.from_numpy(np.stack([train.pixels[i] for i in chosen]))[:, None].float() / 255
        x = _prepared(augment(images, size, run.chance, config.strength), run.steps, size)
        labels = torch.from_numpy(train.labels[chosen.numpy()]).float()
        target = labels * (1 - 2 * config.smoothing) + config.smoothing
        loss = nn.functional.binary_cross_entropy_with_logits(network(x)[:, 0], target)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        step = epoch * n_batches + len(losses)
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * _schedule(step / total, config.warmup)
        optimiser.step()
        _follow(run.average, network, min(config.average, (2 + step) / (11 + step)))
        losses.append(loss.item())
        if len(losses) % 10 == 0:
            pace = (time.monotonic() - started) / len(losses)
            run.progress(
                f"epoch {epoch + 1}/{len(config.sizes)}  step {len(losses)}/{n_batches}  size {size}  "
                f"loss {np.mean(losses[-10:]):.4f}  {pace:.2f} s/step  "
                f"epoch ends in {pace * (n_batches - len(losses)) / 60:.1f} min"
            )
    return float(np.mean(losses))


def _schedule(done: float, warmup: float) -> float:
    """Return the share of the peak learning rate: a straight rise, then half a cosine."""
    if done < warmup:
        return (done + 1e-3) / warmup
    return 0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))


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


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the average, batch-normalisation statistics included, towards the network."""
    for slow, fast in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if slow.is_floating_point():
            slow.lerp_(fast, 1 - decay)


def _balanced_subset(part: Part, most: int) -> Part:
    """Return at most ``most`` cases of each class, spread evenly over the part."""
    chosen: list[int] = []
    for label in (0, 1):
        members = np.flatnonzero(part.labels == label)
        chosen += list(members[np.linspace(0, len(members) - 1, min(most, len(members))).astype(int)])
    return Part([part.pixels[i] for i in chosen], part.labels[chosen])


def _shifted_aucs(network: nn.Module, part: Part, steps: Steps, size: int) -> dict[str, float]:
    """Return the AUC of the part under each shift."""
    truth = part.labels.astype(bool)
    return {
        name: roc_auc(truth, logits(network, [shift(image) for image in part.pixels], steps, size))
        for name, shift in SHIFTS.items()
    }


@torch.inference_mode()
def logits(network: nn.Module, pixels: Pixels, steps: Steps, size: int) -> npt.NDArray[np.float64]:
    """Return the logit ``(n,)`` of each image, prepared as in serving."""
    found = []
    steps = at_size(steps, size)
    for start in range(0, len(pixels), 32):
        x = np.stack([prepare(image.astype(np.float32), steps).tensor for image in pixels[start : start + 32]])
        found.append(network(torch.from_numpy(x).to(memory_format=torch.channels_last))[:, 0])
    return np.asarray(torch.cat(found).numpy(), dtype=np.float64)
