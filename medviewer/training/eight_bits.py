"""Weights in eight bits: a network a quarter of the size that calculates in float32.

Each row of a matrix is whole numbers from -127 to 127 times one scale (symmetric, per channel; Jacob et al. 2018).
What is rounded once is then what is validated, exported and served, so that nothing drifts afterwards.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

# Numbers of a matrix that is worth rounding; smaller ones the exporter would work out and write in full anyway.
_LEAST = 10_000


class _Rounded(nn.Module):
    """A matrix as whole numbers and a scale for each row."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.numbers: Tensor
        self.scale: Tensor
        scale = weight.abs().amax(1, keepdim=True).clamp(min=1e-12) / 127
        self.register_buffer("numbers", (weight / scale).round().to(torch.int8))
        self.register_buffer("scale", scale)


class LinearInEight(_Rounded):
    """A linear map with a rounded matrix."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear.weight.detach())
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """Return what the map makes of ``x``."""
        return functional.linear(x, self.numbers.float() * self.scale, self.bias)


class EmbeddingInEight(_Rounded):
    """An embedding with rounded rows."""

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__(embedding.weight.detach())

    def forward(self, ids: Tensor) -> Tensor:
        """Return the rows of ``ids``."""
        return self.numbers[ids].float() * self.scale[ids]


def round_to_eight_bits(network: nn.Module) -> None:
    """Replace the large matrices of linear maps and embeddings within ``network``; recurrent ones stay as they are."""
    for name, module in list(network.named_children()):
        if isinstance(module, nn.Linear) and module.weight.numel() >= _LEAST:
            setattr(network, name, LinearInEight(module))
        elif isinstance(module, nn.Embedding) and module.weight.numel() >= _LEAST and name != "position_embeddings":
            setattr(network, name, EmbeddingInEight(module))
        else:
            round_to_eight_bits(module)
