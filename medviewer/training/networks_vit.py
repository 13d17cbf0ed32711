"""A small vision transformer, in plain PyTorch, whose attention can be exported.

Without a class token: the head averages the tokens, so that the last tokens *are*
a feature map with rows and columns, and class activation maps and Grad-CAM mean
the same as for a convolutional network. Attention is written out rather than
fused, because :meth:`SmallViT.rollout` needs its weights.

Source: Dosovitskiy et al., "An image is worth 16x16 words", ICLR 2021; the averaging
head and the positions that it starts from: Beyer, Zhai and Kolesnikov, "Better plain ViT
baselines for ImageNet-1k", 2022; convolutions in the place of squares: Xiao et al., "Early
convolutions help transformers see better", NeurIPS 2021; the rollout: Abnar and Zuidema,
"Quantifying attention flow in transformers", ACL 2020, section 3.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from medviewer.training.networks import PooledClassifier

_EPSILON = 1e-6  # as in the published transformers


class Block(nn.Module):
    """Attention between tokens, then a small network on each, both added to what was there."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, _EPSILON)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, _EPSILON)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return the new tokens ``(n, t, width)`` and who looked at whom, ``(n, heads, t, t)``, rows summing to 1."""
        n, t, width = tokens.shape
        parts = self.qkv(self.norm1(tokens)).reshape(n, t, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        attention = (q @ k.transpose(-2, -1) / math.sqrt(width // self.heads)).softmax(-1)
        tokens = tokens + self.out((attention @ v).transpose(1, 2).reshape(n, t, width))
        return tokens + self.mlp(self.norm2(tokens)), attention


class SmallViT(PooledClassifier):
    """A classifier of greyscale images that are cut into squares.

    It takes images of other sizes too: the positions are then interpolated.

    Args:
        n_classes: how many logits it gives.
        size: rows and columns of the image, a multiple of ``patch``.
        patch: side of a square, in pixels; with ``is_early`` a power of 2.
        width: numbers a token; a multiple of 8 and of ``heads``.
        depth: blocks.
        heads: of the attention.
        dropout: chance that a pooled feature is hidden in training.
        is_early: tokens come from a few small convolutions, not from one of a square's size.
            With few images this learns faster; published weights have none.
    """

    extra_outputs = ("rollout",)

    def __init__(  # noqa: PLR0913 - the shape of a transformer
        self,
        n_classes: int = 1,
        size: int = 224,
        patch: int = 16,
        width: int = 192,
        depth: int = 12,
        heads: int = 3,
        *,
        dropout: float = 0.0,
        is_early: bool = False,
    ) -> None:
        super().__init__()
        side = size // patch
        self.embed: nn.Module = _early(patch, width) if is_early else nn.Conv2d(1, width, patch, patch)
        self.positions = nn.Parameter(_positions(side, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, _EPSILON)
        self.last = nn.Identity()  # where tools that hook layers find the feature map
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(width, n_classes)

    def features(self, x: Tensor) -> Tensor:
        """Return the last tokens in their places, ``(n, width, size / patch, size / patch)``."""
        return self._run(x)[0]

    def maps(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the feature map, and the rollout."""
        f, flow = self.rollout(x)
        return f, (flow,)

    def rollout(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the feature map, and how far attention leads from each square to the answer.

        Returns:
            The feature map, and ``(n, rows, columns)``: the parts of the squares, which sum to 1.
        """
        f, attentions = self._run(x)
        rows, columns = f.shape[2:]
        identity = torch.eye(rows * columns)
        flow = identity.expand(1, -1, -1)
        for attention in attentions:
            # What is added to is looked at too: half of each block passes by its attention.
            flow = (attention.mean(dim=1) + identity) / 2 @ flow
        return f, flow.mean(dim=1).reshape(-1, rows, columns)

    def _run(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        grid = self.embed(x)
        tokens = grid.flatten(2).transpose(1, 2) + at_side(self.positions, grid.shape[2])
        attentions = []
        for block in self.blocks:
            tokens, attention = block(tokens)
            attentions.append(attention)
        f = self.norm(tokens).transpose(1, 2).reshape(grid.shape)
        return self.last(f), attentions


def at_side(positions: Tensor, side: int) -> Tensor:
    """Return positions ``(1, n * n, width)`` for a grid of ``side`` rows and columns, interpolated if it is another."""
    own = math.isqrt(positions.shape[1])
    if own == side:
        return positions
    grid = positions.transpose(1, 2).reshape(1, -1, own, own)
    resized = nn.functional.interpolate(grid, (side, side), mode="bicubic", antialias=True)
    return resized.flatten(2).transpose(1, 2)


def _early(patch: int, width: int) -> nn.Sequential:
    """Return convolutions that halve the image until a square is one token."""
    steps = patch.bit_length() - 1
    layers: list[nn.Module] = []
    inputs = 1
    for step in range(steps):
        outputs = width >> min(3, steps - 1 - step)
        layers += [nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        inputs = outputs
    return nn.Sequential(*layers, nn.Conv2d(width, width, 1))


def _positions(side: int, width: int) -> Tensor:
    """Return where each token lies as sines and cosines of falling frequency, ``(1, side * side, width)``."""
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    frequency = 1 / 10000 ** (torch.arange(width // 4) / max(width // 4 - 1, 1))
    angles = [place.flatten()[:, None] * frequency for place in (row, column)]
    return torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=1)[None].float()
