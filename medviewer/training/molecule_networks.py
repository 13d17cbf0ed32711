"""Networks that read a molecule: its summary, its bits, and its atoms along their bonds.

``atoms`` are ``(N, A, nodes + properties)`` and ``bonds`` ``(N, A, A)`` of orders, as
:mod:`medviewer.inference.inputs.molecule` encodes them; ``mask`` ``(N, A)`` is 1 where there is an atom.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medviewer.inference.inputs.atom_properties import ATOM_PROPERTIES
from medviewer.inference.inputs.molecule import NODE_FEATURES

COLUMNS = (*NODE_FEATURES, *ATOM_PROPERTIES)
ORDERS = (1.0, 2.0, 3.0, 1.5)
# How much of the surface has a property between two of these bounds: RDKit's SlogP_VSA, SMR_VSA, PEOE_VSA, EState_VSA.
BOUNDS: dict[str, tuple[float, ...]] = {
    "logp": (-0.4, -0.2, 0, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6),
    "refractivity": (1.29, 1.82, 2.24, 2.45, 2.75, 3.05, 3.63, 3.8, 4.0),
    "partial_charge": (-0.3, -0.25, -0.2, -0.15, -0.1, -0.05, 0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3),
    "electrotopological": (-0.39, 0.29, 0.717, 1.165, 1.54, 1.807, 2.05, 4.69, 9.17, 15.0),
}
_EXTREMES = ("logp", "refractivity", "polar_surface", "surface", "partial_charge", "electrotopological")
_FAR = 1e4  # beyond every property
_CLIP = 4.0
_STEPS = 1024.0


def squashed(values: Tensor) -> Tensor:
    """Draw in long tails; 0 stays 0."""
    return torch.sign(values) * torch.log1p(values.abs())


def stepped(summary: Tensor) -> Tensor:
    """Return a summary as trees see it: a runtime that adds in another order must not change which way they go."""
    return torch.round(summary * _STEPS) / _STEPS


class MoleculeSummary(nn.Module):
    """A molecule in numbers that its atoms add up to: of every column and part of the surface, sum and mean.

    Beside them the least and greatest of some properties, and the number of atoms. All squashed.
    """

    def forward(self, atoms: Tensor, mask: Tensor) -> Tensor:
        """Return ``(N, K)``."""
        there = mask[:, :, None]
        parts = [atoms * there]
        surface = atoms[:, :, COLUMNS.index("surface")] * mask
        for name, bounds in BOUNDS.items():
            value = atoms[:, :, COLUMNS.index(name)]
            above = [torch.ones_like(value), *((value >= bound).to(value.dtype) for bound in bounds)]
            above.append(torch.zeros_like(value))
            inside = [above[index] - above[index + 1] for index in range(len(bounds) + 1)]
            parts.append(torch.stack(inside, 2) * surface[:, :, None])
        total, n = torch.cat(parts, 2).sum(1), mask.sum(1, keepdim=True)
        some = atoms[:, :, [COLUMNS.index(name) for name in _EXTREMES]]
        has = (n > 0).to(some.dtype)
        greatest = torch.where(there > 0, some, -_FAR).amax(1) * has
        least = torch.where(there > 0, some, _FAR).amin(1) * has
        return squashed(torch.cat([total, total / n.clamp(min=1), greatest, least, n], 1))


class _Standard(nn.Module):
    """Standardise columns by what training data have, and cut what is far."""

    mean: Tensor
    scale: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    def learn(self, rows: Tensor) -> None:
        """Take mean and deviation of ``rows`` ``(n, width)``; a column that never changes keeps its own scale."""
        spread = rows.std(0)
        self.mean.copy_(rows.mean(0))
        self.scale.copy_(torch.where(spread < 1e-3, torch.ones_like(spread), spread))

    def forward(self, rows: Tensor) -> Tensor:
        return ((rows - self.mean) / self.scale).clamp(-_CLIP, _CLIP)


class DenseNet(nn.Module):
    """Two layers on the bits of a fingerprint and the summary (Mayr et al., "DeepTox", 2016)."""

    READS = ("fingerprint", "summary")

    def __init__(self, n_bits: int, n_summary: int, n_assays: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.standard = _Standard(n_summary)
        self.net = nn.Sequential(
            nn.Dropout(dropout / 2), nn.Linear(n_bits + n_summary, hidden), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(hidden, n_assays),
        )  # fmt: skip

    def forward(self, fingerprint: Tensor, summary: Tensor) -> Tensor:
        """Return logits ``(N, assays)``."""
        logits: Tensor = self.net(torch.cat([fingerprint, self.standard(summary)], 1))
        return logits


class GraphNet(nn.Module):
    """Messages along bonds, other ones for each order (Gilmer et al. 2017; Schlichtkrull et al. 2018)."""

    READS = ("atoms", "bonds", "mask")

    def __init__(self, n_assays: int, hidden: int, n_steps: int, dropout: float) -> None:
        super().__init__()
        self.standard = _Standard(len(COLUMNS))
        self.read = nn.Linear(len(COLUMNS), hidden)
        self.mix = nn.ModuleList(nn.Linear((len(ORDERS) + 1) * hidden, hidden) for _ in range(n_steps))
        self.norm = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(n_steps))
        self.drop = nn.Dropout(dropout)
        self.net = nn.Sequential(
            nn.Linear(3 * hidden, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, n_assays)
        )

    def forward(self, atoms: Tensor, bonds: Tensor, mask: Tensor) -> Tensor:
        """Return logits ``(N, assays)``."""
        there = mask[:, :, None]
        state = torch.relu(self.read(self.standard(squashed(atoms)))) * there
        along = [(bonds == order).to(state.dtype) for order in ORDERS]
        for mix, norm in zip(self.mix, self.norm, strict=True):
            told = torch.cat([state, *(each @ state for each in along)], 2)
            state = state + self.drop(torch.relu(norm(mix(told)))) * there
        n = there.sum(1)
        total = state.sum(1)
        greatest = torch.where(there > 0, state, -_FAR).amax(1) * (n > 0).to(state.dtype)
        logits: Tensor = self.net(torch.cat([total / n.clamp(min=1), total / 10, greatest], 1))
        return logits


class MoleculeParts(nn.Module):
    """What one graph holds of the blend, all but the trees: the networks, the linear model, the summary."""

    def __init__(self, graph: Sequence[GraphNet], dense: Sequence[DenseNet], linear: nn.Linear) -> None:
        super().__init__()
        # Not "graph": the exporter keeps that name for itself.
        self.graph_nets, self.dense_nets, self.linear = nn.ModuleList(graph), nn.ModuleList(dense), linear
        self.summary = MoleculeSummary()

    def forward(
        self, fingerprint: Tensor, nodes: Tensor, properties: Tensor, bonds: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return three logits ``(N, assays)``, of graph, dense and linear, and what the trees take ``(N, K)``."""
        atoms = torch.cat([nodes, properties], 2)
        summary = self.summary(atoms, mask)
        graph = torch.stack([net(atoms, bonds, mask) for net in self.graph_nets]).mean(0)
        dense = torch.stack([net(fingerprint, summary) for net in self.dense_nets]).mean(0)
        return graph, dense, self.linear(fingerprint), stepped(summary)
