"""What the training loop costs: one epoch of it against a bare PyTorch loop on the same batches.

Ours also averages the weights, records each step, keeps two whole checkpoints and tells how far
it is. Both learn the same network from the same weights, with the same optimiser and threads, in
turns; that they do the same is checked to the last bit of the weights before anything is timed.
"""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.timing import Comparison, compare

# Three checkpoints, each waited for until it lies on the disk, cost 20 to 60 ms in an epoch of any length: in one of 12
# steps, which takes a second, up to 6 %. An epoch of the chest radiographs has 113 steps, each eight times as long.
THREADS, SIZE, BATCH, STEPS = 2, 96, 16, 48


def _lesson() -> Any:
    import torch
    from torch import Generator, Tensor, nn

    from medviewer.training.lesson import Epoch, Stage

    class Lesson:
        """Bright or dark, on made-up images."""

        stages = (Stage(1, seed=0),)
        takes_last = False
        labels = torch.arange(BATCH * STEPS) % 2
        x = torch.randn(BATCH * STEPS, 1, SIZE, SIZE, generator=Generator().manual_seed(0)) + labels.view(-1, 1, 1, 1)

        def parameters(self, network: nn.Module) -> list[dict[str, Any]]:
            return [{"params": list(network.parameters()), "peak": 1e-3}]

        def order(self, _: Epoch, chance: Generator) -> list[Tensor]:
            return list(torch.split(torch.randperm(len(self.labels), generator=chance), BATCH))

        def batch(self, chosen: Tensor, _: Epoch, __: Generator) -> Mapping[str, Tensor]:
            return {"x": self.x[chosen], "label": self.labels[chosen].float()}

        def loss(self, network: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
            return nn.functional.binary_cross_entropy_with_logits(network(batch["x"])[:, 0], batch["label"])

        def settle(self, average: nn.Module, epoch: Epoch) -> None:
            """Nothing to do."""

        def validate(self, _: nn.Module, __: Epoch) -> tuple[float, Mapping[str, Any]]:
            return 1.0, {}

    return Lesson()


def _network() -> Any:
    """Few weights and much to calculate, so that checkpoints weigh as little as in an epoch of hundreds of steps."""
    import torch
    from torch import nn

    torch.manual_seed(1)
    layers: list[nn.Module] = []
    for inputs, outputs, stride in ((1, 32, 2), (32, 64, 1), (64, 64, 1), (64, 64, 2), (64, 64, 1)):
        layers += [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 1))


def _learn_bare(lesson: Any) -> Any:
    """The loop that anyone would write."""
    import torch

    network = _network().train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.02)
    for step, chosen in enumerate(lesson.order(None, torch.Generator().manual_seed(0))):
        batch = lesson.batch(chosen, None, None)
        loss = lesson.loss(network, batch)
        optimiser.zero_grad()
        loss.backward()
        done = step / STEPS
        fall = 0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * (done - 0.08) / 0.92))
        optimiser.param_groups[0]["lr"] = 1e-3 * ((done + 1e-3) / 0.08 if done < 0.08 else fall)
        optimiser.step()
        loss.item()
    return network


def run(rounds: int = 5) -> list[Comparison]:
    """Time one epoch of both."""
    import torch

    from medviewer.training.checkpoint import weights_digest
    from medviewer.training.configs import LoopConfig
    from medviewer.training.lesson import Surroundings
    from medviewer.training.loop import fit

    torch.set_num_threads(THREADS)
    lesson = _lesson()

    def learn(average: float = 0.993) -> Any:
        network, config = _network(), LoopConfig(batch=BATCH, average=average, threads=THREADS)
        with tempfile.TemporaryDirectory() as folder:
            fit(network, lesson, config, Surroundings(Path(folder), progress=lambda _: None))
        return network

    if weights_digest(learn(average=0.0)) != weights_digest(_learn_bare(lesson).eval()):
        raise SystemExit("the two loops do not learn the same")
    name = f"{STEPS} training steps of {BATCH} images, {SIZE} px, {THREADS} threads"
    peer = ("PyTorch, bare loop", lambda: _learn_bare(lesson))
    return [compare(name, learn, peer, rounds=rounds, warmup=1, target="<= 1.05")]


if __name__ == "__main__":
    for result in run(int(sys.argv[1]) if len(sys.argv) > 1 else 5):
        both = f"{result.ours_ms:.0f} ms, {result.peer}: {result.peer_ms:.0f} ms"
        print(f"{result.name}: {both}; ratio {result.ratio:.3f} (target {result.target})")
