"""DenseNet-121, in plain PyTorch: the network of many published radiograph models.

The names of its weights are those of torchvision and TorchXRayVision, so that
published weights load by name (``load_state_dict``), and nothing but tensors has
to be read from a file.

It is cut for explanations *after* the last rectification: ``features`` ends with a
ReLU that has no weights and so no name in the state dictionary. Before it, a map
of what the head never sees would be explained.

Source: Huang, Liu, van der Maaten and Weinberger, "Densely connected convolutional
networks", CVPR 2017, table 1.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

BLOCKS = (6, 12, 24, 16)
GROWTH = 32  # feature maps that each layer adds
STEM = 64
BOTTLENECK = 4  # a layer looks at its input through this many times the maps it adds


class DenseLayer(nn.Module):
    """Look at all maps so far; add :data:`GROWTH` new ones to them."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(inputs, BOTTLENECK * GROWTH, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(BOTTLENECK * GROWTH)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(BOTTLENECK * GROWTH, GROWTH, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` with the new maps after it, ``(n, inputs + 32, h, w)``.

        One concatenation of two a layer, rather than of all so far: the same maps, and a
        backward pass that cuts each gradient in two instead of into dozens.
        """
        new = self.conv2(self.relu2(self.norm2(self.conv1(self.relu1(self.norm1(x))))))
        return torch.cat([x, new], dim=1)


class DenseNet121(nn.Module):
    """A classifier of images, cut at its last feature map.

    Args:
        n_classes: how many logits it gives.
        n_channels: 1 for grey images (TorchXRayVision), 3 for colour (torchvision).
    """

    def __init__(self, n_classes: int = 1, n_channels: int = 1) -> None:
        super().__init__()
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv0=nn.Conv2d(n_channels, STEM, 7, 2, 3, bias=False),
            norm0=nn.BatchNorm2d(STEM),
            relu0=nn.ReLU(),
            pool0=nn.MaxPool2d(3, 2, 1),
        )
        width = STEM
        for number, n_layers in enumerate(BLOCKS, start=1):
            rows: OrderedDict[str, nn.Module] = OrderedDict(
                (f"denselayer{i + 1}", DenseLayer(width + i * GROWTH)) for i in range(n_layers)
            )
            layers[f"denseblock{number}"] = nn.Sequential(rows)
            width += n_layers * GROWTH
            if number < len(BLOCKS):
                layers[f"transition{number}"] = _transition(width)
                width //= 2
        layers["norm5"] = nn.BatchNorm2d(width)
        layers["relu5"] = nn.ReLU()
        self.features = nn.Sequential(layers)
        self.classifier = nn.Linear(width, n_classes)

    @property
    def linear(self) -> nn.Linear:
        """The last layer, by the name that all our networks give it."""
        return self.classifier

    @property
    def last(self) -> nn.Module:
        """The layer whose output is the last feature map, ``(n, 1024, h / 32, w / 32)``."""
        return self.features

    def head(self, f: Tensor) -> Tensor:
        """Return the logits ``(n, classes)`` of a feature map ``(n, 1024, h, w)``."""
        y: Tensor = self.classifier(f.mean(dim=(2, 3)))
        return y

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, ``(n, classes)``, of ``x`` ``(n, channels, h, w)``."""
        return self.head(self.features(x))


def _transition(width: int) -> nn.Sequential:
    """Halve the maps and their size."""
    return nn.Sequential(
        OrderedDict(
            norm=nn.BatchNorm2d(width),
            relu=nn.ReLU(),
            conv=nn.Conv2d(width, width // 2, 1, bias=False),
            pool=nn.AvgPool2d(2, 2),
        )
    )
