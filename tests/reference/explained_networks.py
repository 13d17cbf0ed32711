"""Networks, their ONNX files, and an engine without a process: what explanations are compared with captum on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime as ort
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from medviewer.domain.progress import StopToken, no_progress
from medviewer.explain.question import Question
from medviewer.inference.card import Card, read_card
from medviewer.training.gradient_graph import cut_cam_graph, export_gradient_graph, quiet_exporter
from tests import fakes


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
    """The plain model as it is shipped: logits, and the map of every class."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        f = self.network.features(x)
        return self.network.head(f), F.conv2d(f, self.network.linear.weight[:, :, None, None])


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
    with quiet_exporter():
        torch.onnx.export(
            WithMap(network),
            (torch.randn(2, 1, size, size),),
            paths["model"],
            dynamo=True,
            verbose=False,
            dynamic_shapes=({0: batch},),
            external_data=False,
            input_names=["x"],
            output_names=["logits", "cam"],
        )
    n_classes = network.linear.out_features
    export_gradient_graph(network, paths["explain"], input_shape=(1, size, size), n_classes=n_classes)
    cut_cam_graph(paths["explain"], paths["cam"])
    return paths


class DirectEngine:
    """``Engine.run`` on sessions of this process."""

    def __init__(self, paths: Mapping[str, Path], threads: int = 2) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # as the engine does
        self.sessions = {
            role: ort.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
            for role, path in paths.items()
        }

    def run(
        self,
        model_id: str,  # noqa: ARG002 - the engine's own signature
        inputs: Mapping[str, np.ndarray],
        *,
        role: str = "model",
        outputs: Sequence[str] | None = None,
        stop: StopToken | None = None,  # noqa: ARG002
    ) -> dict[str, np.ndarray]:
        session = self.sessions[role]
        names = list(outputs or [output.name for output in session.get_outputs()])
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def make_card(folder: Path, n_classes: int, *, has_map: bool, has_cam_graph: bool) -> Card:
    """A card whose labels, outputs and files are those of the network."""
    card = read_card(fakes.make_model(folder / "card"))
    return replace(
        card,
        labels=tuple(replace(card.labels[0], name=f"finding-{i}") for i in range(n_classes)),
        outputs=tuple(output for output in card.outputs if has_map or output.name != "cam"),
        files=card.files + ((replace(card.files[0], role="cam"),) if has_cam_graph else ()),
    )


def make_question(engine: DirectEngine, card: Card, image: np.ndarray, finding: int = 0) -> Question:
    """The question why the network says ``finding`` of ``image`` ``(1, rows, columns)``."""
    return Question(cast("Any", engine), card, image, finding, None, no_progress)
