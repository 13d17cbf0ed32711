"""A narrower copy of a network of inverted residual blocks: channels that others can stand in for are taken out.

In each block a 1x1 convolution widens, another filters each channel in space, and a third narrows what is left. Only
channels between the first and the third are taken out, so that the block's own input and output, and with them the
rest of the network, keep their shapes. Which channels go, and what the third convolution then does with the others, is
decided by how well the block's output on calibration images is met (least squares): one channel after the other goes,
each time the one whose loss can best be made up for. Nothing is learned again, and nothing but ONNX is needed.

Sources: He, Zhang and Sun, "Channel Pruning for Accelerating Very Deep Neural Networks" (2017), for rebuilding the
output of a layer; Hassibi and Stork, "Second order derivatives for network pruning: Optimal Brain Surgeon" (1993), for
the order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.domain.errors import UsageError
from medviewer.domain.frozen import dataclass
from medviewer.training.scoring import Progress

Floats = npt.NDArray[np.float64]
Tensors = Sequence[npt.NDArray[np.float32]]

N_PLACES = 8192  # of feature maps, over all images: several times as many as a block has channels
_WIDTH = 8  # channels are kept in this many: so many floats a processor multiplies at once
_RIDGE = 1e-4  # of the mean variance: keeps channels that say nearly the same from cancelling each other


@dataclass(frozen=True, slots=True)
class _Block:
    """The three convolutions of a block, as nodes of a graph; ``inside`` and ``outside`` are the third's ends."""

    widen: Any
    filter: Any
    narrow: Any

    @property
    def inside(self) -> str:
        return str(self.narrow.input[0])

    @property
    def outside(self) -> str:
        return str(self.narrow.output[0])


def pruned(content: bytes, input_name: str, images: Tensors, progress: Progress, *, share: float = 0.5) -> bytes:
    """Return a network with a share of the channels inside its blocks.

    Args:
        content: a float32 network.
        input_name: its input.
        images: ``(channels, rows, columns)`` each, prepared as the card says: on these the blocks are rebuilt.
        progress: called with one line of text at a time.
        share: of the channels of each block that stay.

    Raises:
        UsageError: it has no such block.
    """
    import onnx  # noqa: PLC0415 - an extra

    model = onnx.load_from_string(content)
    blocks = list(_blocks(model.graph))
    if not blocks:
        raise UsageError("This network has no inverted residual blocks, of which alone channels can be taken out.")
    del model.graph.value_info[:]  # shapes that no longer hold
    wanted = _seen(content, input_name, images, [block.outside for block in blocks])
    for number, (block, target) in enumerate(zip(blocks, wanted, strict=True), start=1):
        progress(f"block {number} of {len(blocks)}")
        # What reaches this block is what the narrower blocks before it let through.
        (given,) = _seen(model.SerializeToString(), input_name, images, [block.inside])
        n_kept = min(given.shape[1], _WIDTH * max(1, round(share * given.shape[1] / _WIDTH)))
        kept, weights, bias = rebuilt(given, target, n_kept)
        _narrow(model.graph, block, kept, weights, bias)
    written: bytes = model.SerializeToString()
    return written


def rebuilt(given: Floats, wanted: Floats, n_kept: int) -> tuple[npt.NDArray[np.intp], Floats, Floats]:
    """Return which channels stay, and how the output is made of them.

    Args:
        given: ``(places, channels)`` of a block's inside.
        wanted: ``(places, outputs)`` of its outside.
        n_kept: how many channels stay.

    Returns:
        ``(n_kept,)`` rising numbers of channels, ``(n_kept, outputs)`` weights, ``(outputs,)`` bias.
    """
    centre, middle = given.mean(axis=0), wanted.mean(axis=0)
    x, y = given - centre, wanted - middle
    gram = x.T @ x
    gram[np.diag_indices_from(gram)] += _RIDGE * max(float(np.trace(gram)) / len(gram), np.finfo(np.float64).tiny)
    inverse = np.linalg.inv(gram)
    weights = inverse @ (x.T @ y)
    stays = np.ones(len(gram), dtype=bool)
    for _ in range(len(gram) - n_kept):
        # By how much the squared error grows if this one goes and the others make up for it.
        cost = np.where(stays, (weights**2).sum(axis=1) / np.diag(inverse), np.inf)
        goes = int(np.argmin(cost))
        column = inverse[:, goes] / inverse[goes, goes]
        weights = weights - np.outer(column, weights[goes])
        inverse = inverse - np.outer(column, inverse[goes])
        inverse[goes, goes] = 1.0  # its row and column are nothing now; the diagonal is only divided by
        stays[goes] = False
    kept = np.flatnonzero(stays)
    return kept, weights[kept], middle - centre[kept] @ weights[kept]


class _Nodes:
    """A graph by what makes and what reads each value."""

    def __init__(self, graph: Any) -> None:
        self.made_by = {name: node for node in graph.node for name in node.output}
        self.shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
        read = [name for node in graph.node for name in node.input] + [value.name for value in graph.output]
        self._readers = Counter(read)

    def is_own(self, node: Any) -> bool:
        """Whether it is a convolution with a bias, whose weights are constants that no other node uses."""
        weights = node.input[1:]
        is_whole = node.op_type == "Conv" and len(weights) == 2
        return is_whole and all(name in self.shapes and self._readers[name] == 1 for name in weights)

    def convolution_before(self, node: Any) -> Any:
        """Return the convolution that a node's input comes from, through what works on each value alone; or None."""
        name = node.input[0]
        while (found := self.made_by.get(name)) is not None and self._readers[name] == 1:
            if self.is_own(found):
                return found
            if found.op_type not in ("Clip", "Relu"):
                return None
            name = found.input[0]
        return None

    def width(self, node: Any) -> int:
        """Return how many channels a convolution gives."""
        return int(self.shapes[node.input[1]][0])


def _blocks(graph: Any) -> Iterator[_Block]:
    """Give the blocks from the input to the output: convolutions whose outputs nothing else reads."""
    nodes = _Nodes(graph)
    for narrow in graph.node:
        if not nodes.is_own(narrow) or not _is_pointwise(narrow, nodes.shapes[narrow.input[1]]):
            continue
        each = nodes.convolution_before(narrow)
        if each is None or not _groups(each) == nodes.width(each) > 1:
            continue
        widen = nodes.convolution_before(each)
        if widen is not None and _groups(widen) == 1:
            yield _Block(widen, each, narrow)


def _is_pointwise(node: Any, shape: tuple[int, ...]) -> bool:
    return _groups(node) == 1 and shape[2:] == (1, 1) and all(step == 1 for step in _numbers(node, "strides"))


def _groups(node: Any) -> int:
    return next((int(attribute.i) for attribute in node.attribute if attribute.name == "group"), 1)


def _numbers(node: Any, name: str) -> list[int]:
    return next((list(attribute.ints) for attribute in node.attribute if attribute.name == name), [])


def _seen(content: bytes, input_name: str, images: Tensors, names: Sequence[str]) -> list[Floats]:
    """Return what feature maps hold, ``(places, channels)`` each, always at the same places of each image."""
    import onnx  # noqa: PLC0415 - an extra
    import onnxruntime  # noqa: PLC0415 - an extra

    model = onnx.load_from_string(content)
    del model.graph.output[:]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    seen: list[list[npt.NDArray[np.float32]]] = [[] for _ in names]
    for number, image in enumerate(images):
        for index, values in enumerate(session.run(list(names), {input_name: image[None]})):
            flat = values[0].reshape(values.shape[1], -1).T
            n = min(len(flat), -(-N_PLACES // len(images)))
            seen[index].append(flat[np.sort(np.random.default_rng(number).permutation(len(flat))[:n])])
    return [np.concatenate(each).astype(np.float64) for each in seen]


def _narrow(graph: Any, block: _Block, kept: npt.NDArray[np.intp], weights: Floats, bias: Floats) -> None:
    """Leave only some channels inside a block, and make its output of them."""
    from onnx import numpy_helper  # noqa: PLC0415 - an extra

    tensors = {tensor.name: tensor for tensor in graph.initializer}

    def put(name: str, values: npt.NDArray[Any]) -> None:
        tensors[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name))

    for node in (block.widen, block.filter):
        for name in node.input[1:]:
            put(name, numpy_helper.to_array(tensors[name])[kept])
    for attribute in block.filter.attribute:
        if attribute.name == "group":
            attribute.i = len(kept)
    put(block.narrow.input[1], weights.T[:, :, None, None])
    put(block.narrow.input[2], bias)
