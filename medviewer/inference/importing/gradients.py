"""The gradients of a network of which there is nothing but its ONNX file, written into a second one.

onnx-ad differentiates graph into graph. It is young, and a wrong rule would draw a
plausible heat map of nothing, so no gradient is believed: each file's are held against
differences of the network's own answers, at made-up images, in directions of
several sizes, for the input and for the last feature map. Where they do not agree, or an
operator has no rule, there are no gradients, and the reason goes on the card.

Only for the import's own process.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from medviewer.domain.frozen import dataclass
from medviewer.inference.importing.graphs import ACROSS, batched, last_feature_map

TOLERATED = 0.02
"""How far gradients may lie from differences, as a fraction of these: units that switch within a step move them."""

_DIRECTIONS = 8
_IMAGES = 3
_STEPS = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5)  # of the range of the values
_PLUS = "plus.feature_map"
_TURNED = "plus.turned"
_SUM = "with.feature_map"

Floats = npt.NDArray[np.float32]


class NoGradientsError(Exception):
    """Why this network has none; the text goes on its card."""


@dataclass(frozen=True, slots=True, eq=False)
class Differentiated:
    """A gradient graph that was checked.

    Attributes:
        model: ``x``, ``selector`` -> ``logits``, ``d_x`` and, with a feature map, ``feature_map``, ``d_feature_map``.
        feature_map: the name of the tensor that was taken, and its (rows, columns); None if there is none.
        errors: by output, how far it lay from differences, as a fraction of these.
        is_rectified: the feature map has no negative value at the made-up images; Grad-CAM++ is made for such maps.
    """

    model: ModelProto
    feature_map: tuple[str, tuple[int, int]] | None
    errors: Mapping[str, float]
    is_rectified: bool = False


def differentiate(
    one: ModelProto, images: Floats, labels: int, open_session: Any, *, is_across: bool = False
) -> Differentiated:
    """Write and check the gradient graph of a network.

    Args:
        one: the network for one image, ``x`` -> ``logits``.
        images: ``(n, 1, rows, columns)`` made-up inputs.
        labels: how many logits there are.
        open_session: opens a graph of bytes for running.
        is_across: its maps have rows and columns swapped; they are given as the image lies.

    Raises:
        NoGradientsError: it cannot be differentiated, or its gradients are not right.
    """
    tapped, found = _with_tap(one, is_across=is_across)
    try:
        graph = _reversed(tapped, found, labels, images.shape[1:], is_across=is_across)
        model = batched(
            graph,
            {"x": images.shape[1:], "selector": (labels,)},
            {
                "logits": (labels,),
                **({"feature_map": found[1][1:], "d_feature_map": found[1][1:]} if found else {}),
                "d_x": images.shape[1:],
            },
        )
        session = open_session(model.SerializeToString())
        forward = open_session(tapped.SerializeToString())
        errors = _errors(session, forward, images[:_IMAGES], found, labels)
    except NoGradientsError:
        raise
    except Exception as error:
        text = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise NoGradientsError(f"they cannot be written: {text}") from error
    worst = max(errors.values())
    if not worst <= TOLERATED:
        raise NoGradientsError(f"they differ from the network's own differences by {worst:.0%}")
    where = (found[0], (found[1][2], found[1][3])) if found else None
    return Differentiated(model, where, errors, is_rectified=_is_rectified(session, images[:_IMAGES], found, labels))


def _is_rectified(session: Any, images: Floats, found: tuple[str, tuple[int, ...]] | None, labels: int) -> bool:
    if found is None:
        return False
    selector = np.eye(1, labels, dtype=np.float32).repeat(len(images), axis=0)
    (maps,) = session.run(["feature_map"], {"x": images, "selector": selector})
    return bool((maps >= 0).all())


def _with_tap(one: ModelProto, *, is_across: bool) -> tuple[ModelProto, tuple[str, tuple[int, ...]] | None]:
    """Add a tensor of zeros to the last feature map: the gradient of that tensor is the map's.

    The tensor lies as the image does, also where the network's own maps have rows and columns swapped.
    """
    found = last_feature_map(one, is_across=is_across)
    model = copy.deepcopy(one)
    if found is None:
        return model, None
    name, shape = found
    graph = model.graph
    at = next(i for i, node in enumerate(graph.node) if name in node.output)
    for node in graph.node:
        for index, given in enumerate(node.input):
            if given == name:
                node.input[index] = _SUM
    graph.node.insert(at + 1, helper.make_node("Add", [name, _TURNED if is_across else _PLUS], [_SUM]))
    own = shape
    if is_across:
        own = tuple(shape[axis] for axis in ACROSS)
        graph.node.insert(at + 1, helper.make_node("Transpose", [_PLUS], [_TURNED], perm=ACROSS))
        graph.value_info.append(helper.make_tensor_value_info(_TURNED, TensorProto.FLOAT, own))
    graph.input.append(helper.make_tensor_value_info(_PLUS, TensorProto.FLOAT, shape))
    graph.value_info.append(helper.make_tensor_value_info(_SUM, TensorProto.FLOAT, own))
    return model, found


def _reversed(
    tapped: ModelProto,
    found: tuple[str, tuple[int, ...]] | None,
    labels: int,
    shape: tuple[int, ...],
    *,
    is_across: bool,
) -> ModelProto:
    """The backward pass of one image: ``x``, ``selector`` (1, labels) in, gradients out."""
    import onnx_ad  # noqa: PLC0415 - only this needs it

    inputs = ["x", _PLUS] if found else ["x"]
    model: ModelProto = onnx_ad.reverse(tapped, inputs=inputs, outputs=["logits"], layout="onnx")
    if model.functions or {entry.domain for entry in model.opset_import} - {"", "ai.onnx"}:
        raise NoGradientsError("they need operators outside the ONNX standard")
    graph = model.graph
    seed = next(value.name for value in graph.input if value.name not in ("x", _PLUS))
    graph.node.insert(0, helper.make_node("Unsqueeze", ["selector", "ad.last"], [seed]))
    graph.initializer.append(numpy_helper.from_array(np.array([-1], np.int64), "ad.last"))
    graph.node.append(helper.make_node("Squeeze", ["adj_x", "ad.last"], ["d_x"]))
    if found:
        graph.initializer.append(numpy_helper.from_array(np.zeros(found[1], np.float32), _PLUS))
        graph.node.append(helper.make_node("Squeeze", [f"adj_{_PLUS}", "ad.last"], ["d_feature_map"]))
        if is_across:
            graph.node.append(helper.make_node("Transpose", [found[0]], ["feature_map"], perm=ACROSS))
        else:
            graph.node.append(helper.make_node("Identity", [found[0]], ["feature_map"]))
    del graph.input[:], graph.output[:]
    graph.input.extend(
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, *shape]),
            helper.make_tensor_value_info("selector", TensorProto.FLOAT, [1, labels]),
        ]
    )
    onnx.checker.check_model(_with_outputs(model, labels), full_check=False)
    return model


def _with_outputs(model: ModelProto, labels: int) -> ModelProto:
    model.graph.output.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, labels]))
    return model


def _errors(
    session: Any, forward: Any, images: Floats, found: tuple[str, tuple[int, ...]] | None, labels: int
) -> dict[str, float]:
    """By gradient, its distance from central differences; the best of several steps, for float32 has no perfect one."""
    chance = np.random.default_rng(3)
    span = float(np.ptp(images)) or 1.0
    zero = np.zeros(found[1], np.float32) if found else None
    cases = []
    for number, image in enumerate(images):
        selector = np.zeros((1, labels), np.float32)
        selector[0, number % labels] = 1
        names = ["logits", "d_x", *(["feature_map", "d_feature_map"] if found else [])]
        values = session.run(names, {"x": image[None], "selector": selector})
        cases.append((image[None], number % labels, dict(zip(names, values, strict=True))))
    errors = {}
    for what in ("d_x", "d_feature_map") if found else ("d_x",):
        best = float("inf")
        directions = [[_direction(case[what].shape, chance) for _ in range(_DIRECTIONS)] for _, _, case in cases]
        for step in _STEPS:
            expected, told = [], []
            for (image, label, case), ways in zip(cases, directions, strict=True):
                size = step * (span if what == "d_x" else float(np.abs(case["feature_map"]).max()) or 1.0)
                for way in ways:
                    ends = [_answer(forward, image, zero, what, sign * size * way)[label] for sign in (1, -1)]
                    expected.append((ends[0] - ends[1]) / (2 * size))
                    told.append(float((case[what].astype(np.float64) * way).sum()))
            apart = float(np.linalg.norm(np.subtract(told, expected)))
            length = float(np.linalg.norm(expected))
            best = min(best, apart / length if length > 0 and np.isfinite(apart) else float("inf"))
            if best <= TOLERATED / 4:
                break
        errors[what] = best
    return errors


def _answer(forward: Any, image: Floats, zero: Floats | None, what: str, change: npt.NDArray[np.float64]) -> Any:
    """The logits, float64, with something added to the input or to the feature map."""
    inputs = {"x": (image + change).astype(np.float32) if what == "d_x" else image}
    if zero is not None:
        inputs[_PLUS] = change.astype(np.float32) if what == "d_feature_map" else zero
    return forward.run(["logits"], inputs)[0][0].astype(np.float64)


def _direction(shape: tuple[int, ...], chance: np.random.Generator) -> npt.NDArray[np.float64]:
    """A random pattern of blocks of a random size: rough enough to find a shift, smooth enough to move an answer."""
    cells = int(chance.choice([2, 4, 8, 16]))
    rows, columns = shape[-2:]
    coarse = chance.normal(size=(*shape[:-2], min(cells, rows), min(cells, columns)))
    row, column = np.arange(rows) * coarse.shape[-2] // rows, np.arange(columns) * coarse.shape[-1] // columns
    return np.asarray(coarse[..., row[:, None], column[None, :]], np.float64)
