"""A small convolutional network for images of few pixels, and several of them as one.

The mean of several such networks is such a network again: their feature maps beside each other, and a linear
layer that holds all of theirs, each divided by their number. So one graph holds the ensemble, its class
activation map is the mean of the members' maps, and Grad-CAM of it needs nothing special.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medviewer.training.networks import PooledClassifier


class SmallNet(PooledClassifier):
    """Five 3 x 3 convolutions with two poolings: 28 x 28 pixels become 7 x 7 cells.

    Args:
        width: channels of the first layer; the last has four times as many.
        dropout: chance that a pooled feature is hidden in training.
    """

    def __init__(self, width: int = 16, dropout: float = 0.3) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_convolution(1, width),
            nn.MaxPool2d(2),
            *_convolution(width, 2 * width),
            *_convolution(2 * width, 2 * width),
            nn.MaxPool2d(2),
            *_convolution(2 * width, 4 * width),
            *_convolution(4 * width, 4 * width),
        )
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(4 * width, 1)

    def features(self, x: Tensor) -> Tensor:
        """Return the last feature map, ``(n, 4 * width, h / 4, w / 4)``, of ``x`` ``(n, 1, h, w)``."""
        y: Tensor = self.body(x)
        return y


class Ensemble(PooledClassifier):
    """The mean of the logits of several networks, each asked of the image and of its mirror image, as one network.

    Args:
        members: trained networks; they lend it their convolutions.
    """

    def __init__(self, members: Sequence[SmallNet]) -> None:
        super().__init__()
        self.bodies = nn.ModuleList(member.body for member in members)
        self.dropout = nn.Dropout(0.0)
        views = 2 * len(members)
        width = 2 * sum(member.linear.in_features for member in members)
        self.linear = nn.Linear(width, 1)
        twice = [member.linear.weight for member in members for _ in range(2)]
        with torch.no_grad():
            self.linear.weight.copy_(torch.cat(twice, 1) / views)
            self.linear.bias.copy_(torch.stack([member.linear.bias for member in members]).mean(0))
        self.eval()

    def features(self, x: Tensor) -> Tensor:
        """Return all last feature maps beside each other, ``(n, f, h / 4, w / 4)``; the mirrored ones turned back."""
        mirrored = x.flip(3)
        maps = [one for body in self.bodies for one in (body(x), body(mirrored).flip(3))]
        return torch.cat(maps, dim=1)


def _convolution(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
