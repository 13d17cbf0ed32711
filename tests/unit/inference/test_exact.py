"""Graphs written in double precision: the same numbers as the graph itself, or none is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from medviewer.inference.runtimes import onnx as onnx_runtime
from medviewer.inference.runtimes.exact import in_double

CHANCE = np.random.default_rng(0)
node = helper.make_node


def weight(name: str, *shape: int) -> onnx.TensorProto:
    return numpy_helper.from_array(CHANCE.normal(size=shape).astype(np.float32), name)


def constant(name: str, values: Any) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(values, np.float32), name)


def normalisation(n: int) -> list[onnx.TensorProto]:
    variance = constant("variance", np.abs(CHANCE.normal(size=n)) + 0.5)
    return [weight("scale", n), weight("shift", n), weight("mean", n), variance]


def graph(
    nodes: Sequence[Any],
    weights: Sequence[Any],
    shape: Sequence[Any] | None = (1, 8, 8),
    also_given: Sequence[Any] = (),
) -> onnx.ModelProto:
    """What ``nodes`` make of ``x`` as ``y``, let through where it is above zero and weighed by the selector."""
    value = helper.make_tensor_value_info
    end = [
        node("Relu", ["y"], ["on"]),
        node("Flatten", ["on"], ["flat"], axis=1),
        node("ReduceSum", ["selector"], ["weight"], keepdims=1),
        node("Mul", ["flat", "weight"], ["d_x"]),
    ]
    inputs = [
        value("x", TensorProto.FLOAT, None if shape is None else ["n", *shape]),
        value("selector", TensorProto.FLOAT, ["n", 2]),
        *also_given,
    ]
    made = helper.make_graph([*nodes, *end], "g", inputs, [value("d_x", TensorProto.FLOAT, None)], list(weights))
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def answers(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    given = {"x": x.astype(np.float32), "selector": np.full((len(x), 2), 0.5, np.float32)}
    found: np.ndarray = session.run(["d_x"], given)[0]
    return found


def conv(**attributes: Any) -> list[Any]:
    return [node("Conv", ["x", "W", "B"], ["y"], **attributes)]


def average(**attributes: Any) -> list[Any]:
    return [node("AveragePool", ["x"], ["y"], **attributes)]


ONES = constant("W", np.ones((3, 1, 1, 1)))
NORMALISED = ["scale", "shift", "mean", "variance"]


@pytest.mark.parametrize(
    ("nodes", "weights", "shape"),
    [
        (conv(pads=[1, 0, 2, 3]), [weight("W", 4, 1, 3, 3), weight("B", 4)], (1, 8, 8)),
        (
            conv(pads=[1, 0, 2, 3], strides=[2, 1], dilations=[1, 2]),
            [weight("W", 2, 4, 3, 3), weight("B", 2)],
            (4, 8, 8),
        ),
        (conv(strides=[2, 2]), [weight("W", 4, 1, 1, 1), weight("B", 4)], (1, 8, 8)),
        (conv(strides=[2, 2], pads=[1, 1, 1, 1]), [weight("W", 4, 1, 1, 1), weight("B", 4)], (1, 3, 3)),
        (conv(strides=[2, 2], pads=[0, 0, 1, 1]), [weight("W", 1, 4, 1, 1), weight("B", 1)], (4, 2, 2)),
        (conv(pads=[2, 2, 2, 2]), [weight("W", 4, 1, 5, 5), weight("B", 4)], (1, 2, 2)),
        (average(kernel_shape=[3, 3], pads=[1, 0, 1, 2], count_include_pad=1), [], (1, 8, 8)),
        (average(kernel_shape=[2, 3], dilations=[2, 2], strides=[1, 2]), [], (1, 8, 8)),
        (
            [node("Conv", ["x", "W"], ["c"]), node("BatchNormalization", ["c", *NORMALISED], ["y"], epsilon=0.1)],
            [weight("W", 4, 1, 3, 3), *normalisation(4)],
            (1, 8, 8),
        ),
        (
            [
                node("Conv", ["x", "W"], ["c"], group=3),
                node("BatchNormalization", ["c", *NORMALISED], ["y"], epsilon=0.0),
            ],
            [
                ONES,
                constant("scale", [1, 1, 1]),
                weight("shift", 3),
                weight("mean", 3),
                constant("variance", [1, 1, 1]),
            ],
            (3, 8, 8),
        ),
    ],
)
def test_it_gives_what_the_graph_gives(nodes: list[Any], weights: list[Any], shape: tuple[int, ...]) -> None:
    model = graph(nodes, weights, shape)
    exact = in_double(model)
    assert exact is not None
    x = CHANCE.normal(size=(2, *shape))
    np.testing.assert_allclose(answers(exact, x), answers(model, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("nodes", "weights", "shape", "given"),
    [
        (conv(group=3), [ONES, weight("B", 3)], (3, 8, 8), ()),  # no filters that pick, for the bias
        (average(kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER"), [], (1, 3, 3), ()),
        (average(kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1), [], (1, 8, 8), ()),
        (average(kernel_shape=[3, 3], pads=[1, 0, 1, 2]), [], (1, 8, 8), ()),
        (average(kernel_shape=[3]), [], (1, 8), ()),
        (average(kernel_shape=[3, 3, 3]), [], (1, 8, 8, 8), ()),
        (conv(auto_pad="SAME_UPPER"), [weight("W", 4, 1, 3, 3), weight("B", 4)], (1, 8, 8), ()),
        (conv(), [weight("W", 4, 1, 3), weight("B", 4)], (1, 8), ()),
        (conv(), [weight("W", 4, 1, 3, 3), weight("B", 4)], None, ()),
        (conv(), [weight("W", 4, 1, 1, 1), weight("B", 4)], (1, "rows", "columns"), ()),
        (
            conv(),
            [weight("W", 4, 1, 3, 3), weight("B", 4)],
            (1, 8, 8),
            [helper.make_tensor_value_info("W", TensorProto.FLOAT, [4, 1, 3, 3])],
        ),
        (
            [
                node("Conv", ["x", "W"], ["c"]),
                node("BatchNormalization", ["c", *NORMALISED], ["y", "m", "v"], training_mode=1),
            ],
            [weight("W", 4, 1, 3, 3), *normalisation(4)],
            (1, 8, 8),
            (),
        ),
    ],
)
def test_what_it_cannot_write_right_it_does_not_write(
    nodes: list[Any], weights: list[Any], shape: tuple[Any, ...] | None, given: Sequence[Any]
) -> None:
    assert in_double(graph(nodes, weights, shape, given)) is None


def test_whatever_goes_wrong_the_graph_itself_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large(_model: onnx.ModelProto) -> onnx.ModelProto:
        raise ValueError("This protobuf of onnx model is too large (>2GiB).")

    monkeypatch.setattr(onnx_runtime, "in_double", too_large)
    data = graph(conv(), [weight("W", 4, 1, 3, 3), weight("B", 4)]).SerializeToString()
    assert onnx_runtime._in_double(data) is None
