"""A blend as one ONNX graph, held against what was learned before anybody can pick it up."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper
from torch import nn

from medviewer.domain.errors import ModelError
from medviewer.training.gradient_graph import OPSET, quiet_exporter, remove_traces
from medviewer.training.stay_blend import PARTS, Blend
from medviewer.training.stay_networks import StayParts, StaySummary
from medviewer.training.stays import FIELDS, VARIABLES, FloatArray, StayTensors
from medviewer.training.trees import ML_OPSET, tree_node

OUTPUTS = ("logits", "parts")
TOLERANCE = 1e-3
BATCHES = (1, 3, 8)
_SUMMARY = "stay.summary"


def write_graph(blend: Blend, path: Path, hours: int) -> float:
    """Write ``model.onnx``: ``joined``, ``fields``, ``known`` in; ``logits`` ``(N, 1)`` and ``parts`` ``(N, 3)`` out.

    Returns:
        The largest difference from what was learned, over batches of 1, 3 and 8 made-up stays.

    Raises:
        ModelError: it is above :data:`TOLERANCE`.
    """
    onnx.save(_with_trees(_exported(blend, hours), blend), path)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    return check_graph_of(blend, path, hours)


def check_graph_of(blend: Blend, path: Path, hours: int) -> float:
    """Return the largest difference between a file and a blend; see :func:`write_graph`."""
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    largest = 0.0
    for n in BATCHES:
        stays = synthetic_stays(n, hours)
        logits, parts = session.run(list(OUTPUTS), feed(stays))
        found = np.concatenate([parts, logits], 1)
        expected = blend.logits(stays)
        difference = float(np.abs(found - expected).max())
        if found.shape != expected.shape or not difference <= TOLERANCE:
            raise ModelError(f"The exported {path.name} differs from what was learned by {difference:.1e}.")
        largest = max(largest, difference)
    return largest


def feed(stays: StayTensors) -> dict[str, FloatArray]:
    """Return the graph's inputs by name."""
    n = len(FIELDS)
    return {"joined": stays.joined, "fields": stays.fields[:, :n], "known": stays.fields[:, n:]}


def write_reference(blend: Blend, path: Path, hours: int) -> None:
    """Write made-up stays with the answers that were learned, of which the graph must remind."""
    stays = synthetic_stays(4, hours)
    said = blend.logits(stays).astype(np.float32)
    named = {f"input.{name}": array for name, array in feed(stays).items()}
    named |= {"output.logits": said[:, 3:], "output.parts": said[:, :3]}
    np.savez_compressed(path, **named)  # type: ignore[arg-type]


def synthetic_stays(n: int, hours: int) -> StayTensors:
    """Return made-up stays, the same on every machine: some variables often measured, some never."""
    chance = np.random.default_rng(20120824)
    width = len(VARIABLES)
    often = chance.uniform(0, 0.6, (n, 1, width)) * (chance.random((n, 1, width)) > 0.2)
    mask = chance.random((n, hours, width)) < often
    walk = chance.normal(0, 1, (n, 1, width)) + 0.2 * chance.normal(0, 1, (n, hours, width)).cumsum(1)
    last = np.maximum.accumulate(np.where(mask, np.arange(hours)[None, :, None], -1), axis=1)
    carried = np.where(last >= 0, np.take_along_axis(walk, np.maximum(last, 0), 1), 0.0)
    age = np.where(last >= 0, np.minimum((np.arange(hours)[None, :, None] - last) / hours, 1.0), 1.0)
    known = chance.random((n, len(FIELDS))) < 0.8
    fields = np.concatenate([np.where(known, chance.normal(0, 1, known.shape), 0.0), known], 1)
    joined = np.concatenate([carried, mask, age], 2)
    return StayTensors(joined.astype(np.float32), fields.astype(np.float32), np.zeros(n, np.bool_))


def _logit(part: str) -> str:
    """Return a part's name in the graph, where the exporter uses the plain words itself."""
    return f"logit.{part}"


def _exported(blend: Blend, hours: int) -> onnx.ModelProto:
    """Return the recurrent nets, the linear model and the summary as a graph of any batch."""
    parts = StayParts(blend.nets, StaySummary(len(VARIABLES)), blend.linear)
    return exported(parts, synthetic_stays(2, hours), [_logit("recurrent"), _logit("linear"), _SUMMARY])


def exported(network: nn.Module, stays: StayTensors, outputs: Sequence[str]) -> onnx.ModelProto:
    """Return a network of ``joined``, ``fields`` and ``known`` as a graph of any batch.

    Args:
        network: as it is served.
        stays: an example, of two stays.
        outputs: names of what it gives.
    """
    example = tuple(torch.from_numpy(array.copy()) for array in feed(stays).values())
    batch = torch.export.Dim("batch", min=1, max=4096)
    with tempfile.TemporaryDirectory() as folder, quiet_exporter():
        raw = Path(folder) / "raw.onnx"
        torch.onnx.export(
            network.eval(), example, raw, dynamo=True, verbose=False, opset_version=OPSET, external_data=False,
            dynamic_shapes=tuple({0: batch} for _ in example),
            input_names=list(feed(stays)), output_names=list(outputs),
        )  # fmt: skip
        model = onnx.load(raw)
    remove_traces(model)
    return model


def _with_trees(model: onnx.ModelProto, blend: Blend) -> onnx.ModelProto:
    """Add the trees to the graph, and the mean of all three."""
    graph = model.graph
    graph.node.append(tree_node(blend.trees, source=_SUMMARY, result=_logit("trees")))
    named = [_logit(part) for part in PARTS]
    graph.node.append(helper.make_node("Concat", named, ["parts"], axis=1))
    graph.node.append(helper.make_node("Mean", named, ["logits"]))
    del graph.output[:]
    batch = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for name, width in (("logits", 1), ("parts", len(PARTS))):
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, width]))
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", ML_OPSET))
    return model
