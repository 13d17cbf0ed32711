"""Scales go into the filters before them where nothing else sees what is scaled, and nowhere else."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from medviewer.training.gradient_folding import fold_scales

CHANCE = np.random.default_rng(0)
FILTERS = CHANCE.normal(size=(3, 2, 1, 1)).astype(np.float32)
SCALE = CHANCE.normal(size=(1, 3, 1, 1)).astype(np.float32)


def network(*nodes: Any, outputs: tuple[str, ...] = ("y",), **constants: np.ndarray) -> onnx.ModelProto:
    given = {"filters": FILTERS, "scale": SCALE, **constants}
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        list(nodes), "g",
        [value("g", TensorProto.FLOAT, ["n", 2, 4, 5]), value("x", TensorProto.FLOAT, ["n", 3, 4, 5])],
        [value(name, TensorProto.FLOAT, ["n", 3, 4, 5]) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in given.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


CONV = helper.make_node("Conv", ["g", "filters"], ["through"])
MASK = helper.make_node("HardSigmoid", ["x"], ["mask"], alpha=float(2**100), beta=0.0)
MASKED = helper.make_node("Mul", ["through", "mask"], ["masked"])
SCALED = helper.make_node("Mul", ["masked", "scale"], ["y"])


def answers(model: onnx.ModelProto) -> list[np.ndarray]:
    onnx.checker.check_model(model, full_check=True)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    chance = np.random.default_rng(1)
    shapes = {"g": (2, 2, 4, 5), "x": (2, 3, 4, 5)}
    return session.run(None, {name: chance.normal(size=shape).astype(np.float32) for name, shape in shapes.items()})


def test_a_scale_after_masks_goes_into_the_filters() -> None:
    second = helper.make_node("HardSigmoid", ["x"], ["other"], alpha=-float(2**100), beta=float(2**100))
    twice = helper.make_node("Mul", ["masked", "other"], ["masked twice"])
    scaled = helper.make_node("Mul", ["scale", "masked twice"], ["y"])
    last = helper.make_node("Identity", ["y"], ["end"])
    model = network(CONV, MASK, second, MASKED, twice, scaled, last, outputs=("end",))
    expected = answers(model)
    assert fold_scales(model) == 1
    np.testing.assert_allclose(answers(model)[0], expected[0], rtol=1e-6, atol=1e-6)
    assert {"scale", "y"}.isdisjoint(name for node in model.graph.node for name in (*node.input, *node.output))
    assert "scale" not in [tensor.name for tensor in model.graph.initializer], "nothing that is not used stays"


@pytest.mark.parametrize(
    ("nodes", "outputs", "constants"),
    [
        ([CONV, MASK, MASKED, SCALED], ("y",), {}),  # an output keeps its name
        ([CONV, MASK, MASKED, SCALED, helper.make_node("Identity", ["y"], ["end"])], ("end", "masked"), {}),
        ([CONV, MASK, MASKED, SCALED, helper.make_node("Add", ["y", "through"], ["end"])], ("end",), {}),
        ([CONV, helper.make_node("Mul", ["through", "x"], ["masked"]), SCALED,
          helper.make_node("Identity", ["y"], ["end"])], ("end",), {}),
        ([CONV, MASK, MASKED, SCALED, helper.make_node("Identity", ["y"], ["end"])], ("end",),
         {"scale": np.float32(CHANCE.normal(size=(1, 3, 1, 5)))}),
        ([helper.make_node("Conv", ["g", "filters", "bias"], ["through"]), MASK, MASKED, SCALED,
          helper.make_node("Identity", ["y"], ["end"])], ("end",), {"bias": np.ones(3, np.float32)}),
        ([MASK, helper.make_node("Mul", ["x", "mask"], ["masked"]), SCALED,
          helper.make_node("Identity", ["y"], ["end"])], ("end",), {}),
    ],
)  # fmt: skip
def test_what_others_see_or_what_is_no_scale_of_channels_stays(
    nodes: list[Any], outputs: tuple[str, ...], constants: dict[str, np.ndarray]
) -> None:
    copies = []
    for node in nodes:
        copies.append(onnx.NodeProto())
        copies[-1].CopyFrom(node)
    model = network(*copies, outputs=outputs, **constants)
    expected = answers(model)
    assert fold_scales(model) == 0
    for found, one in zip(answers(model), expected, strict=True):
        assert np.array_equal(found, one)
