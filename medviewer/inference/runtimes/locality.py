"""What a cell of a network's inner map sees of the image, and where the network can be cut in two by that.

Convolutions and pooling look at a neighbourhood: up to some layer a small change of the image changes a small
part of every map. There the graph is cut into a lower part, which may be run on a crop around the change, and an
upper part, which sees the whole.

Source: Nakandala, Kumar and Papakonstantinou, "Incremental and approximate inference for faster occlusion-based
deep CNN explanations", SIGMOD 2019, sections 3 and 4.1 (which part of a layer's output a change reaches).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from medviewer.domain.frozen import dataclass

if TYPE_CHECKING:
    import onnx

Pair = tuple[int, int]

_CELL_BY_CELL = frozenset(
    {"Relu", "LeakyRelu", "Elu", "Selu", "Celu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Softplus", "Softsign"}
    | {"Clip", "Erf", "Gelu", "Exp", "Log", "Neg", "Abs", "Sqrt", "Reciprocal", "Identity", "Mish", "ThresholdedRelu"}
    | {"Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "PRelu", "BatchNormalization", "Concat"}
)
_WINDOWS = ("Conv", "MaxPool", "AveragePool")
_WRITTEN = 16  # multiplications in the time in which a number goes to memory
_BY_CHANNEL = 3  # of a constant that may meet a map: the axes from the channel on


@dataclass(frozen=True, slots=True)
class Reach:
    """Cell ``i`` of a map sees ``[i * step - before, i * step + after]`` of the image; rows, then columns."""

    step: Pair = (1, 1)
    before: Pair = (0, 0)
    after: Pair = (0, 0)

    def touched(self, axis: int, first: int, last: int, cells: int) -> Pair:
        """The first and the last cell of ``cells`` that see any of ``first`` to ``last`` of the image.

        One that sees none of them where no cell does, as between strides: it is worked out anew to the same.
        """
        low = min(max(0, -((self.after[axis] - first) // self.step[axis])), cells - 1)
        return low, max(low, min(cells - 1, (last + self.before[axis]) // self.step[axis]))

    def seen(self, axis: int, first: int, last: int, size: int) -> Pair:
        """The first and the last of ``size`` rows or columns of the image that those cells see."""
        low = first * self.step[axis] - self.before[axis]
        high = last * self.step[axis] + self.after[axis]
        return max(0, low), min(size - 1, high)

    def through(self, kernel: Pair, stride: Pair, before: Pair, dilation: Pair) -> Reach:
        """Of the map that a window of ``kernel`` cells makes of this one, with ``before`` cells of padding."""
        step, low, high = self.step, self.before, self.after
        wide = [(size - 1) * gap for size, gap in zip(kernel, dilation, strict=True)]
        return Reach(
            _pair(step[axis] * stride[axis] for axis in (0, 1)),
            _pair(low[axis] + before[axis] * step[axis] for axis in (0, 1)),
            _pair(high[axis] + (wide[axis] - before[axis]) * step[axis] for axis in (0, 1)),
        )


@dataclass(frozen=True, slots=True)
class Cut:
    """A map through which all goes that leads from the image to the outputs; or the image itself.

    Attributes:
        name: of the map.
        reach: what its cells see of the image.
        shape: its channels, rows and columns.
        below: the work to make it of an image, in multiplications.
    """

    name: str
    reach: Reach
    shape: tuple[int, int, int]
    below: int

    def reach_from(self, other: Cut) -> Reach:
        """What the cells see of the map of an earlier cut."""
        mine, its = self.reach, other.reach
        return Reach(
            _pair(mine.step[axis] // its.step[axis] for axis in (0, 1)),
            _pair((mine.before[axis] - its.before[axis]) // its.step[axis] for axis in (0, 1)),
            _pair((mine.after[axis] - its.after[axis]) // its.step[axis] for axis in (0, 1)),
        )


def chain(places: Sequence[Cut], whole: int, change: Pair) -> tuple[Cut, ...]:
    """Choose cuts so that the least work is left where ``change`` rows and columns of the image are others.

    Args:
        places: the image, and all possible cuts in order.
        whole: the work of the network as it is.
        change: the size of the change.

    Returns:
        The image and the cuts; the image alone where the network is best left whole.
    """
    best: list[tuple[float, tuple[Cut, ...]]] = [(0.0, (places[0],))]
    for place in places[1:]:
        ways = ((cost + _cost(before[-1], place, change), (*before, place)) for cost, before in best)
        best.append(min(ways, key=lambda way: way[0]))
    _, found = min(best, key=lambda way: way[0] + whole - way[1][-1].below)
    return found


def _cost(first: Cut, second: Cut, change: Pair) -> float:
    """The work from one cut to a later one on crops, and of putting these in their place."""
    reach, share = second.reach_from(first), 1.0
    for axis in (0, 1):
        touched = (change[axis] - 1 + second.reach.before[axis] + second.reach.after[axis]) // second.reach.step[axis]
        wanted = (touched + 1) * reach.step[axis] + reach.before[axis] + reach.after[axis]
        share *= min(1.0, wanted / first.shape[axis + 1])
    return (second.below - first.below) * share + _WRITTEN * math.prod(second.shape)


def cuts(model: onnx.ModelProto, image: tuple[int, int, int], outputs: Sequence[str]) -> tuple[list[Cut], int]:
    """The places where a network of one image may be cut, the image itself first, and the work of the whole.

    Args:
        model: has been checked by :mod:`medviewer.inference.loading`.
        image: channels, rows and columns of its input.
        outputs: those that are wanted; what leads to others does not count.

    Returns:
        No place if the network is of another kind.
    """
    import onnx  # noqa: PLC0415 - only the worker process pays it

    given = inputs_of(model)
    nodes = _needed(model, outputs)
    has_own_ways = bool(model.functions) or any(one.HasField("g") for node in nodes for one in node.attribute)
    if len(given) != 1 or has_own_ways:
        return [], 0
    asked = onnx.ModelProto()
    asked.CopyFrom(model)
    for value in asked.graph.input:
        if value.name == given[0]:
            value.type.tensor_type.shape.CopyFrom(onnx.helper.make_tensor_type_proto(1, [1, *image]).tensor_type.shape)
    for value in asked.graph.output:
        value.type.tensor_type.ClearField("shape")
    del asked.graph.value_info[:]
    try:
        inferred = onnx.shape_inference.infer_shapes(asked, data_prop=True).graph
    except Exception:  # noqa: BLE001 - nothing can be told of it, so it is run as it is
        return [], 0
    shapes = {
        value.name: tuple(one.dim_value for one in value.type.tensor_type.shape.dim)
        for value in (*inferred.input, *inferred.value_info, *inferred.output)
        if value.type.tensor_type.HasField("shape")
    }
    shapes |= {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    work = [_multiplications(node, shapes) for node in nodes]
    found = [
        Cut(name, reach, (shapes[name][1], shapes[name][2], shapes[name][3]), sum(work[:n]))
        for name, reach, n in _walk(nodes, given[0], shapes, outputs)
    ]
    return [Cut(given[0], Reach(), image, 0), *found], sum(work)


def inputs_of(model: onnx.ModelProto) -> list[str]:
    """The names of a graph's inputs that are no weights."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value.name for value in model.graph.input if value.name not in weights]


def parts(model: onnx.ModelProto, places: Sequence[Cut], outputs: Sequence[str]) -> list[bytes]:
    """The graphs from each cut of a chain to the next one, for maps of any size, and the one from the last on."""
    from onnx import TensorProto, helper  # noqa: PLC0415

    def of_map(cut: Cut, *size: int | str) -> Any:
        return helper.make_tensor_value_info(cut.name, TensorProto.FLOAT, ["n", cut.shape[0], *size])

    found, done = [], set[str]()
    for first, second in pairwise(places):
        nodes = [node for node in _needed(model, [second.name]) if node.output[0] not in done]
        found.append(_part(model, nodes, of_map(first, "rows", "columns"), [of_map(second, "r", "c")]))
        done |= _made_from(places[0].name, _needed(model, [second.name]))  # constants may be of use again
    nodes = [node for node in _needed(model, outputs) if node.output[0] not in done]
    ends = [value for value in model.graph.output if value.name in outputs]
    last = places[-1]
    return [*found, _part(model, nodes, of_map(last, *last.shape[1:]), ends)]


def _made_from(given: str, nodes: Sequence[Any]) -> set[str]:
    """The names of all that some nodes make of an input; not of constants."""
    found = {given}
    for node in nodes:
        if found.intersection(node.input):
            found.update(node.output)
    return found


def _part(model: onnx.ModelProto, nodes: Sequence[Any], given: Any, ends: Sequence[Any]) -> bytes:
    from onnx import helper  # noqa: PLC0415

    used = {name for node in nodes for name in node.input}
    weights = [tensor for tensor in model.graph.initializer if tensor.name in used]
    graph = helper.make_graph(list(nodes), "part", [given], list(ends), weights)
    part = helper.make_model(graph, opset_imports=list(model.opset_import), ir_version=model.ir_version)
    return bytes(part.SerializeToString())


def _needed(model: onnx.ModelProto, outputs: Sequence[str]) -> list[Any]:
    """The nodes that lead to some outputs, in order."""
    wanted, found = set(outputs), []
    for node in reversed(model.graph.node):
        if wanted.intersection(node.output):
            found.append(node)
            wanted.update(node.input)
    return found[::-1]


def _walk(
    nodes: Sequence[Any], given: str, shapes: Mapping[str, tuple[int, ...]], outputs: Sequence[str]
) -> Iterator[tuple[str, Reach, int]]:
    """Go through a graph in its order; give each map that, after so many nodes, alone carries the image on."""
    reaches = {given: Reach()}
    from_image = _made_from(given, nodes)
    last = {name: index for index, node in enumerate(nodes) for name in node.input}
    living: set[str] = {given}
    for index, node in enumerate(nodes):
        if from_image.intersection(node.input):
            reach = _reach(node, reaches, from_image, shapes)
            if reach is not None:
                reaches[node.output[0]] = reach
            living.update(node.output)
        living = {name for name in living if last.get(name, -1) > index or name in outputs}
        name = node.output[0]
        if living == {name} and name in reaches and name not in outputs:
            yield name, reaches[name], index + 1


def _reach(
    node: Any, reaches: Mapping[str, Reach], from_image: set[str], shapes: Mapping[str, tuple[int, ...]]
) -> Reach | None:
    """What the cells of a node's output see; None where that is everything, or cannot be told."""
    moving = [name for name in node.input if name in from_image]
    place = shapes.get(node.output[0], ())
    if not all(name in reaches for name in moving) or len(place) != 4 or not all(size > 0 for size in place):
        return None
    if place[0] != 1:  # a constant holds something else for each image of a batch
        return None
    seen = [reaches[name] for name in moving]
    if node.op_type in (*_WINDOWS, "BatchNormalization") and moving != list(node.input[:1]):
        return None  # weights that the image makes
    if node.op_type in _WINDOWS:
        return _through_window(node, seen[0], shapes)
    if any(one.step != seen[0].step for one in seen) or not _is_cell_by_cell(node, from_image, shapes):
        return None
    if any(shapes.get(name, ())[2:] != place[2:] for name in moving):
        return None
    return Reach(
        seen[0].step,
        _pair(max(one.before[axis] for one in seen) for axis in (0, 1)),
        _pair(max(one.after[axis] for one in seen) for axis in (0, 1)),
    )


def _is_cell_by_cell(node: Any, from_image: set[str], shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether a node makes each cell of cells at the same place alone, and does the same at every place."""
    if node.op_type == "Concat":
        is_by_channel = next((one.i for one in node.attribute if one.name == "axis"), 0) in (1, -3)
        return is_by_channel and from_image.issuperset(node.input)
    if node.op_type == "BatchNormalization":
        # In training it looks at its own batch; in old files each place of a map may have its own mean.
        is_trained = any(one.name == "training_mode" and one.i for one in node.attribute)
        return not is_trained and all(len(shapes.get(name, ())) == 1 for name in node.input[1:])
    constants = [name for name in node.input if name and name not in from_image]
    return node.op_type in _CELL_BY_CELL and all(_is_of_channels(shapes.get(name)) for name in constants)


def _is_of_channels(shape: tuple[int, ...] | None) -> bool:
    """Whether a constant is the same at every place of a map."""
    if shape is None:
        return False
    return math.prod(shape) == 1 or (len(shape) >= _BY_CHANNEL and shape[-2:] == (1, 1))


def _through_window(node: Any, reach: Reach, shapes: Mapping[str, tuple[int, ...]]) -> Reach | None:
    values = {one.name: one for one in node.attribute}
    kernel = tuple(values["kernel_shape"].ints) if "kernel_shape" in values else shapes.get(node.input[1], ())[2:]
    strides = tuple(values["strides"].ints) if "strides" in values else (1, 1)
    dilations = tuple(values["dilations"].ints) if "dilations" in values else (1, 1)
    pads = tuple(values["pads"].ints) if "pads" in values else (0, 0, 0, 0)
    is_told = "auto_pad" not in values or values["auto_pad"].s in (b"NOTSET", b"")
    is_rounded_up = "ceil_mode" in values and values["ceil_mode"].i != 0
    if not is_told or is_rounded_up or len(kernel) != 2 or len(pads) != 4 or len(node.output) != 1:
        return None
    wide = [(size - 1) * gap for size, gap in zip(kernel, dilations, strict=True)]
    # Padding beyond the kernel would make cells that see nothing of the image.
    if any(pads[axis] > wide[axis] or pads[axis + 2] > wide[axis] for axis in (0, 1)):
        return None
    return reach.through(_pair(kernel), _pair(strides), _pair(pads[:2]), _pair(dilations))


def _multiplications(node: Any, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Of one image: what a layer costs, near enough to choose by, with the writing of its output."""
    out = math.prod(shapes.get(node.output[0], (0,)))
    if node.op_type == "Conv":
        return out * (_WRITTEN + math.prod(shapes.get(node.input[1], (0,))[1:]))
    if node.op_type in ("Gemm", "MatMul"):
        return out * (_WRITTEN + shapes.get(node.input[0], (0,))[-1])
    return out * _WRITTEN


def _pair(values: Any) -> Pair:
    first, second = values
    return int(first), int(second)
