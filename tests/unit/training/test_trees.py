"""Boosted trees say in ONNX Runtime what they say in scikit-learn."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from sklearn.ensemble import HistGradientBoostingClassifier

from medviewer.inference.loading import check_graph
from medviewer.training.trees import _down, tree_node


def session_of(model: HistGradientBoostingClassifier, width: int) -> onnxruntime.InferenceSession:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, width])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])
    graph = helper.make_graph([tree_node(model, source="x", result="y")], "trees", [x], [y])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    onnx.checker.check_model(made, full_check=True)
    data = made.SerializeToString()
    check_graph(data, name="trees.onnx")
    return onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("n", [1, 3, 500])
def test_trees_are_the_same(n: int) -> None:
    chance = np.random.default_rng(0)
    # Few different values, so that many lie close to a threshold.
    x = (chance.integers(0, 12, (800, 5)) / 10).astype(np.float32)
    y = (x[:, 0] + x[:, 1] * x[:, 2] + chance.normal(0, 0.3, 800)) > 1
    model = HistGradientBoostingClassifier(max_iter=40, max_leaf_nodes=8, random_state=0).fit(x, y)
    (found,) = session_of(model, 5).run(None, {"x": x[:n]})
    assert found.shape == (n, 1)
    assert np.abs(found[:, 0] - model.decision_function(x[:n])).max() < 1e-4


def test_a_threshold_keeps_every_float32_on_its_side() -> None:
    chance = np.random.default_rng(1)
    for low in chance.normal(0, 3, 200).astype(np.float32):
        high = np.nextafter(low, np.float32(np.inf))
        threshold = _down((float(low) + float(high)) / 2)
        assert float(low) <= threshold < float(high)
