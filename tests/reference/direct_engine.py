"""An engine without a process, and questions for it: nothing here needs PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import onnxruntime as ort

from medviewer.domain.progress import StopToken, no_progress
from medviewer.explain.methods import METHODS
from medviewer.explain.question import Question
from medviewer.inference.card import Card, read_card
from medviewer.inference.runtimes.exact import in_double
from medviewer.inference.runtimes.near import Near
from tests import fakes


class DirectEngine:
    """``Engine.run`` on sessions of this process."""

    def __init__(self, paths: Mapping[str, Path], threads: int = 2) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # as the engine does

        def opened(data: bytes) -> ort.InferenceSession:
            return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])

        self.sessions = {role: opened(path.read_bytes()) for role, path in paths.items()}
        self.exact: dict[str, ort.InferenceSession | None] = {}
        self._open_exact = lambda role: (made := in_double(onnx.load(paths[role]))) and opened(made.SerializeToString())
        self.near = {role: Near(partial(onnx.load, path), opened) for role, path in paths.items()}

    def run(
        self,
        model_id: str,  # noqa: ARG002 - the engine's own signature
        inputs: Mapping[str, np.ndarray],
        *,
        role: str = "model",
        outputs: Sequence[str] | None = None,
        near: Mapping[str, np.ndarray] | None = None,
        is_exact: bool = False,
        stop: StopToken | None = None,  # noqa: ARG002
    ) -> dict[str, np.ndarray]:
        session = self._exact_session(role) if is_exact else None
        session = session or self.sessions[role]
        names = tuple(outputs or [output.name for output in session.get_outputs()])

        def whole(batch: Mapping[str, np.ndarray]) -> list[np.ndarray]:
            return session.run(list(names), dict(batch))

        found = self.near[role].run(inputs, near, names, whole, None) if near is not None else None
        return dict(zip(names, whole(inputs) if found is None else found, strict=True))

    def _exact_session(self, role: str) -> ort.InferenceSession | None:
        if role not in self.exact:
            self.exact[role] = self._open_exact(role)
        return self.exact[role]


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


def write_folder(folder: Path, graphs: Mapping[str, Path], *, size: int, n_classes: int, grid: int) -> Path:
    """A model folder, with a card that allows every method, of a network's graphs by role; gives ``folder``."""
    folder.mkdir(parents=True)
    for path in graphs.values():
        (folder / path.name).write_bytes(path.read_bytes())
    files = [fakes.file_entry(role, folder / path.name) for role, path in graphs.items()]
    card: dict[str, Any] = fakes.card_document([f"finding-{i}" for i in range(n_classes)], files)
    maps = [{"name": "logits", "shape": [None, n_classes]}, {"name": "cam", "shape": [None, n_classes, grid, grid]}]
    session = ort.InferenceSession(graphs["model"].read_bytes(), providers=["CPUExecutionProvider"])
    if any(output.name == "rollout" for output in session.get_outputs()):
        maps.append({"name": "rollout", "shape": [None, grid, grid]})
    card["inputs"][0]["shape"] = [None, 1, size, size]
    card["preprocessing"][0] |= {"rows": size, "columns": size}
    card["explain"] |= {"grid": [grid, grid], "methods": [row.id for row in METHODS]}
    fakes.write_card(folder, {**card, "outputs": maps, "ood": None})
    return folder
