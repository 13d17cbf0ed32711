"""A gradient graph whose network decides in double precision: which units are on, and which pixel wins a pooling.

A gradient of a network with ReLUs jumps where one of them goes on or off. In single precision a unit whose input is
all but zero is on or off by rounding; of many samples one or two meet such a unit, and are off by a hundredth.
Here all that depends on the image alone is worked out in double precision, and the way back, on which nothing is
decided, in single precision as before.

ONNX Runtime has no convolution of doubles on a processor: each is taken apart into a product of matrices. Either the
pixels that each output sees are laid out and multiplied (few channels in), or the channels are multiplied for every
place of the filter and the products are shifted and added (few channels out). It takes a little more than twice the
time of the graph itself, and twice its memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import onnx

_SELECTOR = "selector"
_DECIDES = frozenset({"Relu", "MaxPool", "LeakyRelu", "Clip", "ArgMax"})
_WIDE = " in double"


class NotTakenApartError(Exception):
    """The graph holds what this module cannot write in double precision."""


def in_double(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """Rewrite a gradient graph (see :mod:`medviewer.training.gradient_graph`) so that it decides in double precision.

    Args:
        model: checked, with one input beside ``selector``; it is not changed.

    Returns:
        A graph with the same inputs and outputs; None where nothing is decided (a network without ReLU or pooling
        has the same gradient in both), and where the graph holds what cannot be written so.
    """
    import onnx  # noqa: PLC0415 - only the worker process pays it

    if not any(node.op_type in _DECIDES for node in model.graph.node):
        return None
    given = [value.name for value in model.graph.input]
    if len(given) != 2 or _SELECTOR not in given:
        return None
    (image,) = (name for name in given if name != _SELECTOR)
    try:
        written: onnx.ModelProto = _Writer(onnx.shape_inference.infer_shapes(model), image).write()
        onnx.checker.check_model(written)
    except (NotTakenApartError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        return None
    return written


class _Writer:
    """Writes the nodes of one graph anew, in their order."""

    def __init__(self, model: Any, image: str) -> None:
        self._model, self._graph = model, model.graph
        values = (*self._graph.input, *self._graph.value_info, *self._graph.output)
        self._types = {value.name: value.type.tensor_type for value in values}
        self._weights = {tensor.name: tensor for tensor in self._graph.initializer}
        self._from_x = _reached(self._graph.node, image)
        self._from_selector = _reached(self._graph.node, _SELECTOR)
        self._readers: dict[str, list[Any]] = {}
        for node in self._graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
        self._kept = {value.name for value in self._graph.output}
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}
        self._widened: set[str] = set()  # values that exist in double precision too

    def write(self) -> Any:
        """The whole graph."""
        import onnx  # noqa: PLC0415

        for node in self._graph.node:
            if self._is_decided_by_x(node):
                self._write_in_double(node)
            else:
                self._nodes.append(node)
        used = {name for node in self._nodes for name in node.input}
        written = onnx.ModelProto()
        written.CopyFrom(self._model)
        graph = written.graph
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(self._nodes)
        graph.initializer.extend(tensor for tensor in self._graph.initializer if tensor.name in used)
        graph.initializer.extend(tensor for name, tensor in self._constants.items() if name in used)
        return written

    def _is_decided_by_x(self, node: Any) -> bool:
        made = set(node.output)
        return bool(made & self._from_x) and not made & self._from_selector

    def _write_in_double(self, node: Any) -> None:
        writers = {
            "Conv": self._convolution, "AveragePool": self._average, "GlobalAveragePool": self._whole_average,
            "BatchNormalization": self._normalisation, "HardSigmoid": self._mask, "Cast": self._cast,
        }  # fmt: skip
        writers.get(node.op_type, self._same)(node)
        for name in node.output:
            if not self._is_float(name):
                continue
            self._widened.add(name)
            outside = any(not self._is_decided_by_x(reader) for reader in self._readers.get(name, ()))
            if outside or name in self._kept:
                self._add("Cast", [name + _WIDE], name, to=_type("FLOAT"))

    # operators

    def _same(self, node: Any) -> None:
        """The operator itself, which ONNX Runtime has for doubles, or the session does not open."""
        import onnx  # noqa: PLC0415

        if node.op_type in {"LSTM", "GRU"} or any(one.HasField("g") or one.graphs for one in node.attribute):
            raise NotTakenApartError(node.op_type)
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = [self._wide(name) for name in node.input]
        copy.output[:] = [name + _WIDE if self._is_float(name) else name for name in node.output]
        self._nodes.append(copy)

    def _cast(self, node: Any) -> None:
        """What was made a float is made a double."""
        wanted = _type("DOUBLE") if self._is_float(node.output[0]) else _attributes(node)["to"]
        self._add("Cast", [self._wide(node.input[0])], *self._outputs(node), to=wanted)

    def _mask(self, node: Any) -> None:
        """A HardSigmoid, so steep that it says what was let through."""
        given = _attributes(node)
        slope, start = (np.array(given.get(name, usual)) for name, usual in (("alpha", 0.2), ("beta", 0.5)))
        risen = self._add("Mul", [self._wide(node.input[0]), self._constant(slope)])
        if start:
            risen = self._add("Add", [risen, self._constant(start)])
        self._add("Clip", [risen, *(self._constant(np.array(end)) for end in (0.0, 1.0))], *self._outputs(node))

    def _normalisation(self, node: Any) -> None:
        if _attributes(node).get("training_mode") or len(node.output) != 1:
            raise NotTakenApartError("BatchNormalization")
        self._same(node)

    def _average(self, node: Any) -> None:
        given = _attributes(node)
        if len(given["kernel_shape"]) != 2 or given.get("auto_pad", b"NOTSET") not in {b"NOTSET", b""}:
            raise NotTakenApartError("AveragePool")
        if given.get("ceil_mode") or (any(given.get("pads", ())) and not given.get("count_include_pad")):
            raise NotTakenApartError("AveragePool")
        total = self._add("Sum", self._seen(self._wide(node.input[0]), node, given["kernel_shape"]))
        count = self._constant(np.array(float(math.prod(given["kernel_shape"]))))
        self._add("Div", [total, count], *self._outputs(node))

    def _whole_average(self, node: Any) -> None:
        axes = self._constant(np.arange(2, len(self._shape(node.input[0]))))
        self._add("ReduceMean", [self._wide(node.input[0]), axes], *self._outputs(node), keepdims=1)

    def _convolution(self, node: Any) -> None:
        given = _attributes(node)
        weights, *biases = (self._weight(name) for name in node.input[1:] if name)
        outputs, inputs, *kernel = weights.shape
        if len(kernel) != 2 or given.get("auto_pad", b"NOTSET") not in {b"NOTSET", b""}:
            raise NotTakenApartError("Conv")
        x, before, after = self._wide(node.input[0]), self._shape(node.input[0]), self._shape(node.output[0])
        if given.get("group", 1) != 1:
            if biases:
                raise NotTakenApartError("Conv of groups")
            self._laid_out(node, x, weights, after)
            return
        is_moved = any(given.get("pads", ())) or any(by != 1 for by in given.get("strides", ()))
        is_product = kernel == [1, 1] and not is_moved
        if is_product or inputs > outputs:
            # (place in the filter and output, input) times (n, input, pixel)
            table = weights.transpose(2, 3, 0, 1).reshape(-1, inputs)
            products = self._product(table, x, [0, inputs, math.prod(before[2:])])
            if is_product:
                made = products
            else:
                maps = self._add("Reshape", [products, self._constant(np.array([0, len(table), *before[2:]]))])
                made = self._add("Sum", self._seen(maps, node, kernel, outputs))
        else:
            # (output, place in the filter and input) times (n, place in the filter and input, pixel)
            table = weights.transpose(0, 2, 3, 1).reshape(outputs, -1)
            seen = self._add("Concat", self._seen(x, node, kernel), axis=1)
            made = self._product(table, seen, [0, table.shape[1], math.prod(after[2:])])
        wide = [name + _WIDE for name in node.output]
        form = self._constant(np.array([0, outputs, *after[2:]]))
        if not biases:
            self._add("Reshape", [made, form], *wide)
        else:
            made = self._add("Reshape", [made, form])
            self._add("Add", [made, self._constant(biases[0].reshape(1, -1, 1, 1), is_shared=False)], *wide)

    def _laid_out(self, node: Any, x: str, weights: npt.NDArray[np.float64], after: Sequence[int]) -> None:
        """Every pixel that a pooling chooses from, laid out by filters that pick one each."""
        cells, channels = math.prod(weights.shape[2:]), _attributes(node)["group"]
        picks = np.eye(cells).reshape(cells, 1, *weights.shape[2:])
        if not np.array_equal(weights, np.tile(picks, (channels, 1, 1, 1))):
            raise NotTakenApartError("Conv of groups")  # so many small products take seven times as long
        one = self._constant(np.array([0, channels, 1, *after[2:]]))
        seen = [self._add("Reshape", [maps, one]) for maps in self._seen(x, node, weights.shape[2:])]
        form = self._constant(np.array([0, len(weights), *after[2:]]))
        self._add("Reshape", [self._add("Concat", seen, axis=2), form], *(name + _WIDE for name in node.output))

    def _product(self, table: npt.NDArray[np.float64], maps: str, form: Sequence[int]) -> str:
        flat = self._add("Reshape", [maps, self._constant(np.array(form))])
        return self._add("MatMul", [self._constant(table, is_shared=False), flat])

    # parts of operators

    def _seen(self, maps: str, node: Any, kernel: Sequence[int], of_place: int = 0) -> list[str]:
        """What each place of a filter sees of maps ``(n, channels, rows, columns)``.

        With ``of_place``, of so many channels that belong to the place; of all of them otherwise.
        """
        given = _attributes(node)
        edge, step = given.get("pads", [0] * 4), given.get("strides", [1, 1])
        spread, after = given.get("dilations", [1, 1]), self._shape(node.output[0])[2:]
        if any(edge):
            maps = self._add("Pad", [maps, self._constant(np.array([0, 0, *edge[:2], 0, 0, *edge[2:]]))])
        seen = []
        for place, (down, right) in enumerate(product(range(kernel[0]), range(kernel[1]))):
            first = [down * spread[0], right * spread[1]]
            last = [begin + (n - 1) * by + 1 for begin, n, by in zip(first, after, step, strict=True)]
            axes, steps = [2, 3], list(step)
            if of_place:
                first, last = [place * of_place, *first], [(place + 1) * of_place, *last]
                axes, steps = [1, *axes], [1, *steps]
            cut = [self._constant(np.array(one)) for one in (first, last, axes, steps)]
            seen.append(self._add("Slice", [maps, *cut]))
        return seen

    def _add(self, kind: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        from onnx import helper  # noqa: PLC0415

        name = output or f"part {len(self._nodes)} in double"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def _constant(self, array: npt.NDArray[Any], *, is_shared: bool = True) -> str:
        from onnx import numpy_helper  # noqa: PLC0415

        name = f"constant {array.dtype} {array.tolist()}" if is_shared else f"constant {len(self._constants)}"
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def _wide(self, name: str) -> str:
        """The value in double precision, if it is of floats."""
        if not name or not self._is_float(name):
            return name
        wide = name + _WIDE
        if name in self._weights:
            if wide not in self._constants:
                from onnx import numpy_helper  # noqa: PLC0415

                self._constants[wide] = numpy_helper.from_array(self._weight(name), wide)
        elif name not in self._widened:
            self._widened.add(name)
            self._add("Cast", [name], wide, to=_type("DOUBLE"))
        return wide

    def _outputs(self, node: Any) -> list[str]:
        return [name + _WIDE if self._is_float(name) else name for name in node.output]

    def _weight(self, name: str) -> npt.NDArray[np.float64]:
        from onnx import numpy_helper  # noqa: PLC0415

        if name not in self._weights:
            raise NotTakenApartError("weights that are calculated")
        return np.asarray(numpy_helper.to_array(self._weights[name]), np.float64)

    def _is_float(self, name: str) -> bool:
        if name in self._weights:
            return bool(self._weights[name].data_type == _type("FLOAT"))
        if name not in self._types:
            raise NotTakenApartError("a value of unknown type")
        return bool(self._types[name].elem_type == _type("FLOAT"))

    def _shape(self, name: str) -> list[int]:
        """Sizes of the axes, 0 for that of the batch."""
        sizes = [dim.dim_value for dim in self._types[name].shape.dim]
        if len(sizes) < 2 or not all(sizes[1:]):
            raise NotTakenApartError("maps of any size")
        return [0, *sizes[1:]]


def _reached(nodes: Sequence[Any], start: str) -> set[str]:
    """The values that depend on one."""
    reached = {start}
    for node in nodes:
        if not reached.isdisjoint(node.input):
            reached.update(node.output)
    return reached


def _attributes(node: Any) -> dict[str, Any]:
    from onnx import helper  # noqa: PLC0415

    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _type(name: str) -> int:
    from onnx import TensorProto  # noqa: PLC0415

    return int(getattr(TensorProto, name))
