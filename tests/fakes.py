"""A tiny real model whose every number can be worked out by hand, cases for it, and an engine without a process.

The network: convolution (4 filters of 4 x 4, stride 4) -> ReLU = feature map (n, 4, h, w)
-> global average pooling = features (n, 4) -> linear = logits (n, labels). With such a
head the class activation map is linear in the feature map, so Grad-CAM, the analytic map
and the logit agree exactly: ``cam = sum_f weight[f] * feature_map[f]`` and its mean, plus
the bias, is the logit.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from medviewer.domain.case import Case
from medviewer.domain.errors import MedViewerError, Stopped
from medviewer.domain.frame import Frame
from medviewer.domain.progress import StopToken
from medviewer.domain.study import PixelDescription
from medviewer.inference.card import Role
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.engine import Engine, Loaded, Verification
from medviewer.inference.texture import N_TEXTURE

SIZE = 32  # rows and columns of the network's input
STRIDE = 4
FILTERS = 4
OPSET = 18
MODEL_ID = "fake-chest"

_chance = np.random.default_rng(7)
KERNELS = _chance.normal(0, 0.3, (FILTERS, 1, STRIDE, STRIDE)).astype(np.float32)
SHIFTS = np.array([0.1, -0.1, 0.2, 0.0], dtype=np.float32)  # bias of each filter
HEAD = np.array([[1.5, -1.0, 2.0, 0.5], [-0.5, 1.0, 0.3, -2.0], [0.2, 0.4, -1.0, 1.0]], dtype=np.float32)
BIAS = np.array([-0.3, 0.1, 0.2], dtype=np.float32)


def forward(x: np.ndarray, labels: int = 1) -> dict[str, np.ndarray]:
    """What the network gives for ``x`` (n, 1, rows, columns), worked out in numpy."""
    n, _, rows, columns = x.shape
    h, w = rows // STRIDE, columns // STRIDE
    blocks = x.reshape(n, h, STRIDE, w, STRIDE).transpose(0, 1, 3, 2, 4)
    before = np.einsum("nhwij,fij->nfhw", blocks, KERNELS[:, 0]) + SHIFTS[None, :, None, None]
    feature_map = np.maximum(before, 0).astype(np.float32)
    features = feature_map.mean(axis=(2, 3))
    return {
        "logits": (features @ HEAD[:labels].T + BIAS[:labels]).astype(np.float32),
        "features": features.astype(np.float32),
        "cam": np.einsum("nfhw,cf->nchw", feature_map, HEAD[:labels]).astype(np.float32),
        "feature_map": feature_map,
    }


def gradients(x: np.ndarray, selector: np.ndarray) -> dict[str, np.ndarray]:
    """What the explanation graph gives for ``x`` and ``selector`` (n, labels), worked out in numpy."""
    found = forward(x, selector.shape[1])
    feature_map = found["feature_map"]
    n, _, h, w = feature_map.shape
    pooled = selector @ HEAD[: selector.shape[1]] / (h * w)
    d_feature_map = np.broadcast_to(pooled[:, :, None, None], feature_map.shape).astype(np.float32)
    through = np.where(feature_map > 0, d_feature_map, 0)
    blocks = np.einsum("nfhw,fij->nhiwj", through, KERNELS[:, 0])
    d_x = blocks.reshape(n, 1, h * STRIDE, w * STRIDE).astype(np.float32)
    return {"logits": found["logits"], "feature_map": feature_map, "d_feature_map": d_feature_map, "d_x": d_x}


def model_graph(
    labels: int = 1, *, extra: Sequence[onnx.NodeProto] = (), head: np.ndarray | None = None
) -> onnx.ModelProto:
    """The network as an ONNX model: ``x`` -> ``logits``, ``features``, ``cam``."""
    nodes = [*_body(), helper.make_node("Conv", ["feature_map", "head4"], ["cam"]), *extra]
    outputs = [
        _value("logits", ["n", labels]),
        _value("features", ["n", FILTERS]),
        _value("cam", ["n", labels, SIZE // STRIDE, SIZE // STRIDE]),
    ]
    return _model(nodes, [_value("x", ["n", 1, SIZE, SIZE])], outputs, _weights(labels, head))


def explain_graph(labels: int = 1) -> onnx.ModelProto:
    """The network with its gradients: ``x``, ``selector`` -> ``logits``, ``feature_map``, ``d_feature_map``, ``d_x``."""
    cells = (SIZE // STRIDE) ** 2
    nodes = [
        *_body(),
        helper.make_node("MatMul", ["selector", "head"], ["pooled"]),
        helper.make_node("Div", ["pooled", "cells"], ["share"]),
        helper.make_node("Unsqueeze", ["share", "last_axes"], ["share4"]),
        helper.make_node("Shape", ["feature_map"], ["map_shape"]),
        helper.make_node("Expand", ["share4", "map_shape"], ["d_feature_map"]),
        helper.make_node("Greater", ["feature_map", "zero"], ["is_on"]),
        helper.make_node("Where", ["is_on", "d_feature_map", "zero"], ["through"]),
        helper.make_node("ConvTranspose", ["through", "kernels"], ["d_x"], strides=[STRIDE, STRIDE]),
    ]
    weights = _weights(labels, None) | {
        "cells": np.float32(cells),
        "zero": np.float32(0),
        "last_axes": np.array([2, 3], dtype=np.int64),
    }
    grid = ["n", FILTERS, SIZE // STRIDE, SIZE // STRIDE]
    inputs = [_value("x", ["n", 1, SIZE, SIZE]), _value("selector", ["n", labels])]
    outputs = [
        _value("logits", ["n", labels]),
        _value("feature_map", grid),
        _value("d_feature_map", grid),
        _value("d_x", ["n", 1, SIZE, SIZE]),
    ]
    return _model(nodes, inputs, outputs, weights)


def slow_graph(turns: int = 1_000_000) -> onnx.ModelProto:
    """The network, after ``turns`` rounds of matrix products in a Loop: it runs for hours unless it is stopped."""
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["state", "turn"], ["next"]),
            helper.make_node("Identity", ["go"], ["go_on"]),
        ],
        "body",
        [_value("i", [], TensorProto.INT64), _value("go", [], TensorProto.BOOL), _value("state", [256, 256])],
        [_value("go_on", [], TensorProto.BOOL), _value("next", [256, 256])],
    )
    model = model_graph()
    graph = model.graph
    for node in graph.node:
        for index, name in enumerate(node.output):
            if name == "logits":
                node.output[index] = "quick"
    weights = {
        "turns": np.int64(turns),
        "yes": np.bool_(True),
        "turn": np.eye(256, dtype=np.float32),
        "none": np.float32(0),
        "all_axes": np.array([0, 1], dtype=np.int64),
        "seed_shape": np.array([256, 256], dtype=np.int64),
        "four": np.array([0, 1, 2, 3], dtype=np.int64),
    }
    graph.initializer.extend(numpy_helper.from_array(np.asarray(a), name) for name, a in weights.items())
    graph.node.extend(
        [
            helper.make_node("ReduceMean", ["x", "four"], ["mean"], keepdims=0),
            helper.make_node("Expand", ["mean", "seed_shape"], ["seed"]),
            helper.make_node("Loop", ["turns", "yes", "seed"], ["last"], body=body),
            helper.make_node("ReduceMean", ["last", "all_axes"], ["rest"], keepdims=0),
            helper.make_node("Mul", ["rest", "none"], ["nothing"]),
            helper.make_node("Add", ["quick", "nothing"], ["logits"]),
        ]
    )
    return model


def make_model(
    folder: Path,
    *,
    labels: Sequence[str] = ("pneumonia",),
    graph: onnx.ModelProto | bytes | None = None,
    control_flow: Sequence[str] = (),
    reference: bool = True,
    features_known: int = FILTERS,
    statistics: Mapping[str, np.ndarray] | None = None,
    more_files: Sequence[tuple[str, str]] = (),
    **changes: Any,
) -> Path:
    """Write a whole, valid model folder.

    Args:
        folder: the model's folder; made if need be.
        labels: one to three label names.
        graph: another network for the role "model" (bytes are written as they are).
        control_flow: what the card declares for it.
        reference: whether to write ``reference.npz``.
        features_known: how many features ``ood.npz`` is for; the network has four.
        statistics: more arrays of ``ood.npz``.
        more_files: role and name of files that lie in the folder already.
        changes: replaces top-level fields of the card; None removes one.

    Returns:
        ``folder``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    n = len(labels)
    main = model_graph(n) if graph is None else graph
    _write(folder / "model.onnx", main if isinstance(main, bytes) else main.SerializeToString())
    _write(folder / "model.explain.onnx", explain_graph(n).SerializeToString())
    x = images(3)
    answers = forward(x, n)
    means, whitening = np.full((1, features_known), 0.3, np.float32), np.eye(features_known, dtype=np.float32)
    np.savez(folder / "ood.npz", means=means, whitening=whitening, **(statistics or {}))
    files = [("model", "model.onnx"), ("explain", "model.explain.onnx"), ("ood", "ood.npz")]
    if reference:
        known = {f"output.{name}": answers[name] for name in ("logits", "features", "cam")}
        np.savez(folder / "reference.npz", **{"input.x": x}, **known)
        files.append(("reference", "reference.npz"))
    files.extend(more_files)
    card = card_document(labels, [file_entry(role, folder / name) for role, name in files])
    if control_flow:
        card["files"][0]["control_flow"] = list(control_flow)
    write_card(folder, {**card, **changes})
    return folder


def make_model_of_three(folder: Path, **changes: Any) -> Path:
    """A model folder of three findings; of the radiographs here the most probable one stays below its threshold.

    Pneumonia (0.55, flagged), effusion (below 0.5, not flagged) and nodule (above 0.55, threshold 0.7).
    """
    make_model(folder, labels=("pneumonia", "effusion", "nodule"), **changes)
    card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    nodule = card["labels"][2]
    nodule["threshold"] = nodule["operating_point"]["threshold"] = 0.7
    write_card(folder, card)
    return folder


def residual_arrays(features: int = FILTERS) -> dict[str, np.ndarray]:
    """What ``ood.npz`` holds for the residual: one direction, so that most of any image lies outside."""
    return {
        "residual_mean": np.full(features, 0.3, np.float32),
        "residual_scale": np.ones(features, np.float32),
        "residual_directions": np.eye(1, features, dtype=np.float16),
    }


def texture_arrays(n: int = N_TEXTURE) -> dict[str, np.ndarray]:
    """What ``ood.npz`` holds for the texture: a picture without any, and every number counting alike."""
    return {"texture_means": np.zeros((1, n), np.float32), "texture_whitening": np.eye(n, dtype=np.float32)}


def write_card(folder: Path, card: Mapping[str, Any]) -> None:
    """Write a card; fields that are None are left out."""
    document = {name: value for name, value in card.items() if value is not None}
    _write(folder / "model.json", json.dumps(document, ensure_ascii=False).encode())


def file_entry(role: str, path: Path) -> dict[str, Any]:
    """The card's entry for a file as it is now."""
    data = path.read_bytes()
    entry = {"role": role, "path": path.name, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    return entry | ({"opset": OPSET} if path.suffix == ".onnx" else {})


def card_document(labels: Sequence[str], files: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A complete, valid card."""
    grid = SIZE // STRIDE
    return {
        "schema": "medviewer-model-card/1",
        "id": MODEL_ID,
        "version": "1.2.3",
        "title": {"en": "Fake chest model", "zh": "胸片测试模型"},
        "task": "multilabel",
        "intended_use": {"en": "Tests.", "zh": "测试。"},
        "not_for": {"en": "Patients.", "zh": "患者。"},
        "languages": ["en", "zh"],
        "files": list(files),
        "inputs": [
            {
                "name": "x",
                "modality": ["CR", "DX"],
                "body_part": ["CHEST"],
                "view": ["PA", "AP"],
                "photometric_interpretation": ["MONOCHROME1", "MONOCHROME2"],
                "dtype": "float32",
                "layout": "NCHW",
                "shape": [None, 1, SIZE, SIZE],
            }
        ],
        "outputs": [
            {"name": "logits", "shape": [None, len(labels)]},
            {"name": "features", "shape": [None, FILTERS]},
            {"name": "cam", "shape": [None, len(labels), grid, grid]},
        ],
        "preprocessing": [
            {"op": "resize", "rows": SIZE, "columns": SIZE},
            {"op": "percentile_window", "low": 1, "high": 99},
            {"op": "normalise", "mean": 0.5, "std": 0.25},
        ],
        "labels": [label_document(name) for name in labels],
        "calibration": {
            "method": "temperature",
            "parameters": {"temperature": 2.0},
            "ece_before": 0.08,
            "ece_after": 0.02,
            "on": "made-up images",
        },
        "ood": {"file": "ood.npz", "method": "mahalanobis", "warn_above": 50.0, "abstain_above": 100.0},
        "ranges": {"x": [-2.0, 2.0]},
        "explain": {
            "target_layer": "feature_map",
            "grid": [grid, grid],
            "methods": ["grad-cam", "integrated-gradients", "occlusion"],
        },
        "population": {
            "age_years": [1, 5],
            "sexes": ["F", "M"],
            "site": {"en": "Children of 1 to 5 years in one made-up hospital.", "zh": "一家虚构医院的 1 至 5 岁儿童。"},
        },
        "evidence": [{"data": "made-up images", "n": 100, "metrics": {"auc": {"value": 0.9, "ci95": [0.85, 0.95]}}}],
        "training": {
            "recipe": "fake",
            "config": {},
            "data_digest": "0" * 64,
            "split_rule": "none",
            "seed": 7,
            "code_version": "1",
            "libraries": {"numpy": "2"},
        },
        "licences": {"weights": "Apache-2.0", "data": "none"},
        "regulatory": {"en": "Research use only.", "zh": "仅供研究使用。"},
    }


def label_document(name: str) -> dict[str, Any]:
    """One label of a card."""
    code = {"scheme": "SCT", "value": "233604007", "meaning": "Pneumonia"}
    own = {"scheme": "99TEST", "value": name[:16], "meaning": name[:64]}  # no two labels have one code
    return {
        "name": name,
        "code": code if name == "pneumonia" else own,
        "title": {"en": name.capitalize(), "zh": "肺炎"},
        "threshold": 0.5,
        "operating_point": {
            "threshold": 0.5,
            "sensitivity": 0.95,
            "specificity": 0.9,
            "n": 100,
            "on": "made-up images",
            "meaning": {"en": "Finds 95 of 100 and is wrong on 10 of 100 without.", "zh": "灵敏度 95%,特异度 90%。"},
        },
    }


def images(n: int, seed: int = 3) -> np.ndarray:
    """Made-up network inputs (n, 1, SIZE, SIZE) float32 within the card's range."""
    return np.random.default_rng(seed).uniform(-1, 1, (n, 1, SIZE, SIZE)).astype(np.float32)


def make_frame(rows: int = 96, columns: int = 80, seed: int = 5, **changes: Any) -> Frame:
    """A made-up greyscale frontal chest radiograph; ``changes`` go to its description."""
    stored = np.random.default_rng(seed).integers(0, 4096, (rows, columns)).astype(np.uint16)
    stored.setflags(write=False)
    description = PixelDescription(
        modality="CR", rows=rows, columns=columns, bits_stored=12, body_part_examined="CHEST", view_position="PA"
    )
    return Frame(stored, replace(description, **changes))


def make_case(
    age_years: float | None = 3.0, sex: str | None = "F", ages_told: tuple[int, ...] = (), **changes: Any
) -> Case:
    """A child with one made-up radiograph; ``changes`` go to the image's description."""
    return Case(images=(make_frame(**changes),), age_years=age_years, sex=sex, ages_told=ages_told)


class FakeEngine(Engine):
    """An engine without a process: the tiny network in numpy, which a test may hold or fail.

    Everything but the process is the real thing: catalogue, guards, calibration, answers. Only
    for folders that :func:`make_model` wrote.

    Attributes:
        entered: set when a run has begun.
        gate: a run waits until this is set (it is; ``gate.clear()`` holds the next run).
        failure: raised by the next run, once.
        calls: (model id, role) of every run.
    """

    def __init__(self, catalogue: Catalogue, **options: Any) -> None:
        super().__init__(catalogue, **options)
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self.failure: MedViewerError | None = None
        self.calls: list[tuple[str, str]] = []
        self.is_closed = False

    @property
    def worker_pid(self) -> int | None:
        return None

    def start(self, *model_ids: str, stop: StopToken | None = None) -> None:
        for model_id in model_ids:
            self.load(model_id, stop=stop)

    def load(self, model_id: str, *, role: Role = "model", stop: StopToken | None = None) -> Loaded:
        if stop is not None:
            stop.raise_if_stopped()
        if self.catalogue.card(model_id).runtime == "rule":  # they need no process anyway
            return super().load(model_id, role=role, stop=stop)
        self.catalogue.card(model_id).require(role)
        return Loaded("cpu", "no GPU runtime is installed", ("logits", "features", "cam"), "0")

    def run(
        self,
        model_id: str,
        inputs: Mapping[str, np.ndarray],
        *,
        role: Role = "model",
        outputs: Sequence[str] | None = None,
        near: Mapping[str, np.ndarray] | None = None,  # noqa: ARG002 - it answers as exactly without
        is_exact: bool = False,  # noqa: ARG002 - as above
        stop: StopToken | None = None,
    ) -> dict[str, np.ndarray]:
        if self.catalogue.card(model_id).runtime == "rule":
            return super().run(model_id, inputs, role=role, outputs=outputs, stop=stop)
        labels = len(self.catalogue.card(model_id).labels)
        self._take(model_id, role, stop)
        if role == "model":
            found = forward(inputs["x"], labels)
            del found["feature_map"]
        else:
            found = gradients(inputs["x"], inputs["selector"])
        return {name: found[name] for name in (outputs or found)}

    def _take(self, model_id: str, role: Role, stop: StopToken | None) -> None:
        """Note a run, wait as long as a test wishes, and fail once where it wishes that."""
        self.calls.append((model_id, role))
        self._wait(stop)
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure

    def _wait(self, stop: StopToken | None) -> None:
        go = threading.Event()
        withdraw = stop.on_stop(go.set) if stop else None
        self.entered.set()
        try:
            while not self.gate.is_set() and not go.is_set():
                self.gate.wait(0.01)
        finally:
            if withdraw:
                withdraw()
        if stop is not None and stop.is_stopped:
            raise Stopped

    def verify(self, model_id: str, *, stop: StopToken | None = None) -> list[Verification]:
        self.load(model_id, stop=stop)
        return [Verification(model_id, "onnx", "cpu", True, 3, 0.0, 1e-3, 0.0, "")]

    def close(self) -> None:
        self.is_closed = True
        self.gate.set()


def _body() -> list[onnx.NodeProto]:
    return [
        helper.make_node("Conv", ["x", "kernels", "shifts"], ["before"], strides=[STRIDE, STRIDE]),
        helper.make_node("Relu", ["before"], ["feature_map"]),
        helper.make_node("GlobalAveragePool", ["feature_map"], ["pooled4"]),
        helper.make_node("Flatten", ["pooled4"], ["features"]),
        helper.make_node("Gemm", ["features", "head", "bias"], ["logits"], transB=1),
    ]


def _weights(labels: int, head: np.ndarray | None) -> dict[str, Any]:
    used = HEAD[:labels] if head is None else head
    return {
        "kernels": KERNELS,
        "shifts": SHIFTS,
        "head": used,
        "head4": used[:, :, None, None],
        "bias": BIAS[:labels],
    }


def _value(name: str, shape: Sequence[Any], kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    weights: Mapping[str, Any],
) -> onnx.ModelProto:
    initializers = [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
    graph = helper.make_graph(list(nodes), "fake", list(inputs), list(outputs), initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
