"""A small network beside Cox's model: the chance of the event in each stretch of time, given none before.

Source: Gensheimer and Narasimhan, "A scalable discrete-time survival model for neural networks" (PeerJ 2019).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Generator, Tensor, nn

from medviewer.training.configs import SurvivalConfig
from medviewer.training.lesson import Batch, Epoch, FixedSchedule, Surroundings
from medviewer.training.loop import fit
from medviewer.training.metrics import Floats, Truth


class SurvivalLesson(FixedSchedule):
    """Whether the event comes in each stretch that a patient was watched through; the last epoch is taken."""

    def __init__(self, x: Floats, time: Floats, event: Truth, cuts: Floats, config: SurvivalConfig) -> None:
        super().__init__(len(x), config, config.epochs, config.rate)
        self._x = torch.from_numpy(x.astype(np.float32))
        ends = np.append(cuts[1:], np.inf)
        # Watched through a stretch: past its end, or in it until the event; who is censored in it tells nothing of it.
        here = (time[:, None] > cuts[None]) & (time[:, None] <= ends[None]) & event[:, None]
        past = time[:, None] > ends[None]
        self._watched = torch.from_numpy((here | past).astype(np.float32))
        self._had = torch.from_numpy(here.astype(np.float32))

    def batch(self, chosen: Tensor, _: Epoch, __: Generator) -> Batch:
        """Return some patients."""
        return {"x": self._x[chosen], "watched": self._watched[chosen], "had": self._had[chosen]}

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return the negative log likelihood of a patient."""
        each = nn.functional.binary_cross_entropy_with_logits(network(batch["x"]), batch["had"], reduction="none")
        return (each * batch["watched"]).sum(dim=1).mean()


class SurvivalNet:
    """Learns from patients, and gives the chance of being free of the event.

    Args:
        x: ``(n, p)`` as the network is given them.
        time: ``(n,)``.
        event: ``(n,)``.
        config: the settings.
        around: where the loop works.
    """

    def __init__(self, x: Floats, time: Floats, event: Truth, config: SurvivalConfig, around: Surroundings) -> None:
        shares = np.arange(config.n_stretches) / config.n_stretches
        self._cuts = np.unique(np.append(0.0, np.quantile(time[event], shares[1:])))
        self._ends = np.append(self._cuts, max(float(time.max()), self._cuts[-1] + 1e-6))
        torch.manual_seed(config.seed)
        self._network = nn.Sequential(
            nn.Linear(x.shape[1], config.hidden), nn.ReLU(), nn.Dropout(config.dropout),
            nn.Linear(config.hidden, len(self._cuts)),
        )  # fmt: skip
        fit(self._network, SurvivalLesson(x, time, event, self._cuts, config), config, around)

    @torch.inference_mode()
    def free(self, x: Floats, times: Floats) -> Floats:
        """Return ``(n, t)``, the chance of being free of the event up to each of ``times``, linear in a stretch."""
        logits = self._network(torch.from_numpy(x.astype(np.float32))).double()
        at_ends = torch.cumprod(torch.sigmoid(-logits), dim=1).numpy()
        known = np.concatenate([np.ones((len(x), 1)), at_ends], axis=1)
        return np.stack([np.interp(times, self._ends, curve) for curve in known])
