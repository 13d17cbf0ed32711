"""Constants of a gradient graph put where they cost nothing: into the filters of the convolution before them."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper


def fold_scales(model: onnx.ModelProto) -> int:
    """Let filters do the scaling of batch normalisation, in place; gives how many scales that were.

    Going back through a ReLU and the batch normalisation before it, a gradient is masked and then scaled channel by
    channel. Both are multiplications, so the scale may come first, and of a convolution it is a matter of its filters,
    which runtimes work out once.
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    readers: dict[str, list[Any]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            readers[name].append(node)
    kept = {value.name for value in graph.output}
    done: dict[str, str] = {}  # what is made by a scaling that is gone, and what stands for it
    added: dict[str, list[Any]] = {}  # by the convolution before which they come
    for node in graph.node:
        scale = _channel_scale(node, constants)
        if scale is None:
            continue
        masked = next(name for name in node.input if name not in constants)
        filtered = _filtered(masked, makers, readers, kept)
        if filtered is None or node.output[0] in kept:
            continue
        name = f"{filtered.output[0]}_scale"
        graph.initializer.append(numpy_helper.from_array(scale.reshape(-1, 1, 1, 1), name))
        added[filtered.output[0]] = [helper.make_node("Mul", [filtered.input[1], name], [f"{name}d"])]
        filtered.input[1] = f"{name}d"
        done[node.output[0]] = masked
    nodes = []
    for node in graph.node:
        if node.output[0] not in done:
            node.input[:] = [done.get(name, name) for name in node.input]
            nodes += [*added.get(node.output[0], []), node]
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    weights = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(weights)
    return len(done)


def _channel_scale(node: Any, constants: dict[str, Any]) -> Any:
    """What a node multiplies each channel of a map by; None if that is not what it does."""
    if node.op_type != "Mul":
        return None
    found = [constants[name] for name in node.input if name in constants]
    if len(found) != 1 or len(found[0].dims) != 4 or [*found[0].dims[:1], *found[0].dims[2:]] != [1, 1, 1]:
        return None
    return np.array(numpy_helper.to_array(found[0]))


def _filtered(name: str, makers: dict[str, Any], readers: dict[str, list[Any]], kept: set[str]) -> Any:
    """The convolution whose result, masked and nothing else, is ``name``; None if there is another way to it."""
    while True:
        node = makers.get(name)
        if node is None or len(readers[name]) != 1 or name in kept:
            return None
        if node.op_type == "Conv":
            return node if len(node.input) == 2 else None
        if node.op_type != "Mul":
            return None
        others = [one for one in node.input if makers.get(one) is None or makers[one].op_type != "HardSigmoid"]
        if len(others) != 1:
            return None
        name = others[0]
