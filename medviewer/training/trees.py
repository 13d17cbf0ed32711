"""Gradient-boosted trees as one ONNX operator.

scikit-learn grows them in float64 and ONNX Runtime walks them in float32: a threshold is
rounded down to the next float32, so that every float32 value goes the way it went in training.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import NodeProto, helper

ML_OPSET = 3


def tree_node(model: Any, *, source: str, result: str) -> NodeProto:
    """Return a fitted ``HistGradientBoostingClassifier`` of two classes as a ``TreeEnsembleRegressor``.

    Args:
        model: fitted on float32 values without NaN and without categories.
        source: name of the input, ``(N, features)`` float32.
        result: name of the output, ``(N, 1)`` float32: the raw score, a logit.
    """
    columns: dict[str, list[Any]] = {name: [] for name in _NODE}
    targets: dict[str, list[Any]] = {name: [] for name in _TARGET}
    for tree, (predictor,) in enumerate(model._predictors):
        nodes = predictor.nodes
        if nodes["is_categorical"].any():
            raise ValueError("trees of categories are not written")
        for index, node in enumerate(nodes):
            is_leaf = bool(node["is_leaf"])
            columns["nodes_treeids"].append(tree)
            columns["nodes_nodeids"].append(index)
            columns["nodes_modes"].append("LEAF" if is_leaf else "BRANCH_LEQ")
            columns["nodes_featureids"].append(0 if is_leaf else int(node["feature_idx"]))
            columns["nodes_values"].append(0.0 if is_leaf else _down(float(node["num_threshold"])))
            columns["nodes_truenodeids"].append(0 if is_leaf else int(node["left"]))
            columns["nodes_falsenodeids"].append(0 if is_leaf else int(node["right"]))
            if is_leaf:
                targets["target_treeids"].append(tree)
                targets["target_nodeids"].append(index)
                targets["target_ids"].append(0)
                targets["target_weights"].append(float(node["value"]))
    base = float(np.ravel(model._baseline_prediction)[0])
    return helper.make_node(
        "TreeEnsembleRegressor", [source], [result], domain="ai.onnx.ml",
        n_targets=1, base_values=[base], aggregate_function="SUM", **columns, **targets,  # type: ignore[arg-type]
    )  # fmt: skip


_NODE = (
    "nodes_treeids", "nodes_nodeids", "nodes_modes", "nodes_featureids", "nodes_values", "nodes_truenodeids",
    "nodes_falsenodeids",
)  # fmt: skip
_TARGET = ("target_treeids", "target_nodeids", "target_ids", "target_weights")


def _down(threshold: float) -> float:
    """Return the greatest float32 that is not above ``threshold``."""
    near = np.float32(threshold)
    return float(near if float(near) <= threshold else np.nextafter(near, np.float32(-np.inf)))
