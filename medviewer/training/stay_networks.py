"""Networks that read an intensive care stay: what was measured, when, and how long ago.

All take ``joined`` ``(N, cells, 3 * variables)`` (values as z-scores, masks, ages, as
:mod:`medviewer.inference.inputs.series` encodes them) and ``fields`` ``(N, F)``, of the patient.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_FAR = 1e4  # beyond every z-score


def squashed(z: Tensor) -> Tensor:
    """Draw in long tails, so that one wild laboratory value does not shout down the rest; 0 stays 0."""
    return torch.sign(z) * torch.log1p(z.abs())


class StaySummary(nn.Module):
    """Each variable in a few numbers, of the first half of the stay, the second and all of it.

    Least, greatest and mean measured value, and how often it was measured; spread, last value, its age, and how far
    it has come from the first. 0 stands where nothing was measured, and how often says so.
    """

    def __init__(self, n_variables: int) -> None:
        super().__init__()
        self.n_variables = n_variables

    def forward(self, joined: Tensor, fields: Tensor) -> Tensor:
        """Return ``(N, 15 * variables + F)``."""
        n = self.n_variables
        value, mask, age = squashed(joined[:, :, :n]), joined[:, :, n : 2 * n], joined[:, :, 2 * n :]
        half = joined.shape[1] // 2
        parts: list[Tensor] = []
        for cells in (slice(None, half), slice(half, None), slice(None)):
            parts += self._of(value[:, cells], mask[:, cells])
        mean = parts[-2]
        spread = (((value - mean[:, None]) ** 2 * mask).sum(1) / mask.sum(1).clamp(min=1)).sqrt()
        is_first = mask * (mask.cumsum(1) == 1)
        first = (value * is_first).sum(1)
        return torch.cat([*parts, spread, value[:, -1], value[:, -1] - first, fields, age[:, -1]], 1)

    @staticmethod
    def _of(value: Tensor, mask: Tensor) -> list[Tensor]:
        times = mask.sum(1)
        has = times > 0
        nothing = torch.zeros_like(times)
        least = torch.where(mask > 0, value, _FAR).amin(1)
        greatest = torch.where(mask > 0, value, -_FAR).amax(1)
        mean = (value * mask).sum(1) / times.clamp(min=1)
        return [torch.where(has, least, nothing), torch.where(has, greatest, nothing), mean, times / mask.shape[1]]


class StayGru(nn.Module):
    """A gated recurrent unit over the hours of a stay (Cho et al. 2014); about 33,000 numbers with 64 units."""

    def __init__(
        self, n_variables: int, n_fields: int, hidden: int = 64, dropout: float = 0.3, n_outputs: int = 1
    ) -> None:
        super().__init__()
        self.n_variables = n_variables
        self.read = nn.Linear(3 * n_variables + n_fields, hidden)
        self.recur = nn.GRU(hidden, hidden, batch_first=True)
        self.drop = nn.Dropout(dropout)
        self.linear = nn.Linear(2 * hidden, n_outputs)

    def features(self, joined: Tensor, fields: Tensor) -> Tensor:
        """Return the last state beside the mean of all, ``(N, 2 * hidden)``."""
        n = self.n_variables
        along = fields[:, None].expand(-1, joined.shape[1], -1)
        hours = torch.cat([squashed(joined[:, :, :n]), joined[:, :, n:], along], 2)
        states, _ = self.recur(self.drop(torch.tanh(self.read(hours))))
        return torch.cat([states[:, -1], states.mean(1)], 1)

    def forward(self, joined: Tensor, fields: Tensor) -> Tensor:
        """Return the logit, ``(N, 1)``, or as many numbers as were asked for."""
        numbers: Tensor = self.linear(self.drop(self.features(joined, fields)))
        return numbers


def hide(joined: Tensor, hidden: Tensor) -> Tensor:
    """Return stays in which variables ``(N, 1, variables)`` are as if they had never been measured."""
    n = hidden.shape[2]
    seen = joined[:, :, : 2 * n].masked_fill(hidden.repeat(1, 1, 2), 0.0)
    return torch.cat([seen, joined[:, :, 2 * n :].masked_fill(hidden, 1.0)], 2)


class StayForecaster(nn.Module):
    """What comes next of some variables: the last value of each, and how far from it, in z-scores.

    How far is the sum of a straight line through the variables' own hours and of what a recurrent unit
    makes of everything. The line sees differences from the last value alone, so that a patient whose
    pulse is always fast is no other case than one whose pulse is slow.

    Args:
        n_variables: of the stay.
        n_fields: of the patient.
        cells: hours of the grid.
        targets: which of the variables.
        n_ahead: hours ahead.
        hidden, dropout: of the recurrent unit.
    """

    def __init__(  # noqa: PLR0913 - the shape of the data
        self,
        n_variables: int,
        n_fields: int,
        cells: int,
        targets: Sequence[int],
        *,
        n_ahead: int,
        hidden: int = 64,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.n_variables, self.n_ahead = n_variables, n_ahead
        self.targets = list(targets)
        n_outputs = 3 * n_ahead * len(self.targets)
        self.recurrent = StayGru(n_variables, n_fields, hidden, dropout, n_outputs)
        self.line = nn.Linear(2 * cells * len(self.targets), n_outputs)

    def forward(self, joined: Tensor, fields: Tensor) -> Tensor:
        """Return low, middle and high, in this order and never crossed: ``(N, targets, ahead, 3)``."""
        value = joined[:, :, self.targets]
        last = value[:, -1]
        own = torch.cat([value - last[:, None], joined[:, :, [self.n_variables + t for t in self.targets]]], 2)
        far = self.recurrent(joined, fields) + self.line(squashed(own.flatten(1)))
        far = far.reshape(-1, len(self.targets), self.n_ahead, 3)
        middle = last[:, :, None] + far[..., 0]
        below, above = nn.functional.softplus(far[..., 1]), nn.functional.softplus(far[..., 2])
        return torch.stack([middle - below, middle, middle + above], 3)


class StayParts(nn.Module):
    """What one graph holds of the blend, all but the trees: the recurrent nets' mean, the linear model, the summary."""

    def __init__(self, nets: Sequence[StayGru], summary: StaySummary, linear: nn.Linear) -> None:
        super().__init__()
        self.nets, self.summary, self.linear = nn.ModuleList(nets), summary, linear

    def forward(self, joined: Tensor, fields: Tensor, known: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return two logits ``(N, 1)`` and the summary ``(N, K)``; ``fields`` and ``known`` are ``(N, F)`` each."""
        fields = torch.cat([fields, known], 1)
        recurrent = torch.stack([net(joined, fields) for net in self.nets]).mean(0)
        summary = self.summary(joined, fields)
        return recurrent, self.linear(summary), summary
