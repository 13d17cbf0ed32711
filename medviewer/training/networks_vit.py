"""A small vision transformer, in plain PyTorch, whose attention can be exported.

Without a class token: the head averages the tokens, so that the last tokens *are*
a feature map with rows and columns, and class activation maps and Grad-CAM mean
the same as for a convolutional network. Attention is written out rather than
fused, because :meth:`SmallViT.rollout` needs its weights.

Source: Dosovitskiy et al., "An image is worth 16x16 words", ICLR 2021; the averaging
head and the fixed positions: Beyer, Zhai and Kolesnikov, "Better plain ViT
baselines for ImageNet-1k", 2022; the rollout: Abnar and Zuidema, "Quantifying attention
flow in transformers", ACL 2020, section 3.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class Block(nn.Module):
    """Attention between tokens, then a small network on each, both added to what was there."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return the new tokens ``(n, t, width)`` and who looked at whom, ``(n, heads, t, t)``, rows summing to 1."""
        n, t, width = tokens.shape
        parts = self.qkv(self.norm1(tokens)).reshape(n, t, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        attention = (q @ k.transpose(-2, -1) / math.sqrt(width // self.heads)).softmax(-1)
        tokens = tokens + self.out((attention @ v).transpose(1, 2).reshape(n, t, width))
        return tokens + self.mlp(self.norm2(tokens)), attention


class SmallViT(nn.Module):
    """A classifier of greyscale images that are cut into squares.

    Args:
        n_classes: how many logits it gives.
        size: rows and columns of the image, a multiple of ``patch``.
        patch: side of a square, in pixels.
        width: numbers a token; a multiple of 4 and of ``heads``.
        depth: blocks.
        heads: of the attention.
    """

    def __init__(
        self, n_classes: int = 1, size: int = 224, patch: int = 16, width: int = 192, depth: int = 12, heads: int = 3
    ) -> None:
        super().__init__()
        self.side = size // patch
        self.embed = nn.Conv2d(1, width, patch, patch)
        self.register_buffer("positions", _positions(self.side, width), persistent=False)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.last = nn.Identity()  # where tools that hook layers find the feature map
        self.linear = nn.Linear(width, n_classes)

    def features(self, x: Tensor) -> Tensor:
        """Return the last tokens in their places, ``(n, width, size / patch, size / patch)``."""
        return self._run(x)[0]

    def head(self, f: Tensor) -> Tensor:
        """Return the logits ``(n, classes)`` of a feature map."""
        y: Tensor = self.linear(f.mean(dim=(2, 3)))
        return y

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, ``(n, classes)``, of ``x`` ``(n, 1, size, size)``."""
        return self.head(self.features(x))

    def rollout(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the feature map, and how far attention leads from each square to the answer.

        Returns:
            The feature map, and ``(n, rows, columns)``: the parts of the squares, which sum to 1.
        """
        f, attentions = self._run(x)
        identity = torch.eye(self.side**2)
        flow = identity.expand(1, -1, -1)
        for attention in attentions:
            # What is added to is looked at too: half of each block passes by its attention.
            flow = (attention.mean(dim=1) + identity) / 2 @ flow
        return f, flow.mean(dim=1).reshape(-1, self.side, self.side)

    def _run(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        tokens = self.embed(x).flatten(2).transpose(1, 2) + self.positions
        attentions = []
        for block in self.blocks:
            tokens, attention = block(tokens)
            attentions.append(attention)
        f = self.norm(tokens).transpose(1, 2).unflatten(2, (self.side, self.side))
        return self.last(f), attentions


def _positions(side: int, width: int) -> Tensor:
    """Return where each token lies as sines and cosines of falling frequency, ``(1, side * side, width)``."""
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    frequency = 1 / 10000 ** (torch.arange(width // 4) / max(width // 4 - 1, 1))
    angles = [place.flatten()[:, None] * frequency for place in (row, column)]
    return torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=1)[None].float()
