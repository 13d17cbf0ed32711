"""A network's graphs in double precision: the same nodes and weights, calculated by ONNX's own reference in numpy.

ONNX Runtime has no convolution of doubles on a processor. Here nothing is fast and nothing is rounded, so that what is
left between two maps is a difference of methods, and not of rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import onnx
import torch
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.utils import Extractor

from medviewer.training.gradient_graph import export_gradient_graph


class ExactEngine:
    """``Engine.run`` on a gradient graph in double precision; it is given what the program gives its engine."""

    def __init__(self, explain: Path) -> None:
        whole = _in_double(onnx.load(explain))
        forward = Extractor(whole).extract_model(["x"], ["logits"])
        self._graphs = {"explain": ReferenceEvaluator(whole), "model": ReferenceEvaluator(forward)}

    def run(
        self,
        _model_id: str,
        inputs: Mapping[str, np.ndarray],
        *,
        role: str = "model",
        outputs: Sequence[str] = ("logits",),
        **_how: Any,
    ) -> dict[str, np.ndarray]:
        exact = {name: array.astype(np.float64) for name, array in inputs.items()}
        return dict(zip(outputs, self._graphs[role].run(list(outputs), exact), strict=True))


def export_in_double(network: Any, path: Path, *, size: int, n_classes: int) -> None:
    """Write the gradient graph of a network of doubles, by the program's own exporter.

    What an operation is taken apart into has constants in single precision, which ONNX's checker refuses beside doubles;
    :class:`ExactEngine` makes doubles of them.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with patch.object(onnx.checker, "check_model"):
            export_gradient_graph(network, path, input_shape=(1, size, size), n_classes=n_classes)
    finally:
        torch.set_default_dtype(before)


def _in_double(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph, in which everything that is a float is a double."""
    graph = model.graph
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    for tensor in graph.initializer:
        _widen(tensor)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                _widen(attribute.t)
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.DOUBLE
    return model


def _widen(tensor: onnx.TensorProto) -> None:
    if tensor.data_type == TensorProto.FLOAT:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
