"""Networks and their ONNX files: what explanations are compared with captum on."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from medviewer.training.gradient_graph import cut_cam_graph, export_gradient_graph, fold_batch_norm, quiet_exporter


class TinyNetwork(nn.Module):
    """Convolutions, batch normalisation and ReLU; a global average and one linear layer."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 8, 5, 2, 2), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 16, 3, 2, 1, groups=2), nn.BatchNorm2d(16), nn.ReLU(),
        )  # fmt: skip
        self.last = nn.Sequential(nn.Conv2d(16, 24, 3, 2, 1), nn.ReLU6())
        self.linear = nn.Linear(24, n_classes)

    def features(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.body(x))
        return y

    def head(self, f: Tensor) -> Tensor:
        y: Tensor = self.linear(f.mean(dim=(2, 3)))
        return y

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class WithMap(nn.Module):
    """The plain model as it is shipped: logits, the map of every class and, of a transformer, its attention."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        has_attention = hasattr(self.network, "rollout")
        f, *rest = self.network.rollout(x) if has_attention else (self.network.features(x),)
        return self.network.head(f), F.conv2d(f, self.network.linear.weight[:, :, None, None]), *rest


def settle(network: nn.Module, size: int) -> nn.Module:
    """Give batch normalisation the statistics that training would have given it."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None
    network.train()
    with torch.no_grad():
        for _ in range(4):
            network(torch.randn(8, 1, size, size))
    return network.eval()


def write_graphs(network: Any, folder: Path, size: int) -> dict[str, Path]:
    """Write the three graphs of a network; gives them by role."""
    paths = {role: folder / f"{role}.onnx" for role in ("model", "explain", "cam")}
    batch = torch.export.Dim("batch", min=1, max=4096)
    folded = copy.deepcopy(network)
    fold_batch_norm(folded)
    with quiet_exporter():
        torch.onnx.export(
            WithMap(folded),
            (torch.randn(2, 1, size, size),),
            paths["model"],
            dynamo=True,
            verbose=False,
            dynamic_shapes=({0: batch},),
            external_data=False,
            input_names=["x"],
            output_names=["logits", "cam", *(["rollout"] if hasattr(network, "rollout") else [])],
        )
    n_classes = network.linear.out_features
    export_gradient_graph(network, paths["explain"], input_shape=(1, size, size), n_classes=n_classes)
    cut_cam_graph(paths["explain"], paths["cam"])
    return paths
