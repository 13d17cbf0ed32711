"""How much memory a run will take, worked out from the graph before anything is allocated.

Walking the graph in its order, each tensor lives from the operator that makes it to the last one that reads it;
the largest sum of what lives at one moment, with the inputs, is what a run needs. What an operator uses
inside (a convolution's unrolled patches) and shapes that depend on values are not seen, so it is a lower
bound that is near: what it refuses could not have run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.domain.errors import EngineError
from medviewer.domain.frozen import dataclass

_LARGEST_SHAPE = 1024  # elements: constants from which shapes are worked out; weights are larger
# The last three are the system's words and PyTorch's, whose allocator has no class of its own on a processor.
_OUT_OF_MEMORY = (
    "bad_alloc", "failed to allocate", "out of memory", "bfcarena", "cuda failure 2",
    "can't allocate memory", "cannot allocate memory", "not enough memory",
)  # fmt: skip

_WARM_SHARE = 0.25  # of the limit, for models that are kept open

Arrays = Mapping[str, npt.NDArray[Any]]
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(slots=True, eq=False)
class Outline:
    """A graph without its weights, from which the memory of a run is worked out.

    Attributes:
        is_batched: every input and output has the batch as its first axis, so that a run can be made in parts.
    """

    is_batched: bool
    _model: Any
    _known: dict[tuple[tuple[str, tuple[int, ...]], ...], int] = field(default_factory=dict)

    def peak_bytes(self, shapes: Shapes) -> int:
        """What a run with inputs of these shapes has in memory at once, without the weights."""
        form = tuple(sorted(shapes.items()))
        if form not in self._known:
            self._known[form] = _peak_bytes(self._model, shapes)
        return self._known[form]


def outline_of(data: bytes) -> Outline:
    """Read the outline of an ONNX file whose graph has been checked by :mod:`medviewer.inference.loading`."""
    import onnx  # noqa: PLC0415 - only the worker process pays it

    loaded = onnx.load_model_from_string(data)
    whole = loaded.graph
    names = {tensor.name for tensor in whole.initializer}
    given = [value for value in whole.input if value.name not in names]
    # A message of its own: one from which weights are taken away keeps their memory as long as it lives.
    model = onnx.ModelProto(ir_version=loaded.ir_version)
    model.opset_import.extend(loaded.opset_import)
    graph = model.graph
    graph.name = whole.name
    graph.input.extend(given)
    graph.output.extend(whole.output)
    constants = {node.output[0]: tensor for node in whole.node for tensor in _constant(node)}
    large = {name for name, tensor in constants.items() if math.prod(tensor.dims) > _LARGEST_SHAPE}
    graph.node.extend(node for node in whole.node if not large.intersection(node.output))
    named = [*((tensor.name, tensor) for tensor in whole.initializer), *((name, constants[name]) for name in large)]
    for name, tensor in named:
        if math.prod(tensor.dims) > _LARGEST_SHAPE:
            graph.input.append(onnx.helper.make_tensor_value_info(name, tensor.data_type, list(tensor.dims)))
        else:
            graph.initializer.append(tensor)
    return Outline(_has_one_batch([*given, *whole.output]), model)


def _constant(node: Any) -> list[Any]:
    """The tensor that a node stands for, if it is one that stands for a tensor."""
    return [one.t for one in node.attribute if one.HasField("t")] if node.op_type == "Constant" else []


def batch_size(inputs: Arrays) -> int:
    """How many items a request holds; 1 if its inputs do not agree."""
    sizes = {array.shape[0] if array.ndim else 0 for array in inputs.values()}
    return max(1, sizes.pop()) if len(sizes) == 1 else 1


def parts(inputs: Arrays, size: int) -> list[dict[str, npt.NDArray[Any]]]:
    """The same request in batches of at most ``size`` items, in order."""
    n = batch_size(inputs)
    return [{name: array[start : start + size] for name, array in inputs.items()} for start in range(0, n, size)]


def joined(found: Sequence[Sequence[npt.NDArray[Any]]]) -> list[npt.NDArray[Any]]:
    """The outputs of parts put together again, in order."""
    return [np.concatenate(arrays) for arrays in zip(*found, strict=True)]


def largest_batch(outline: Outline, inputs: Arrays, room_bytes: int) -> int:
    """How many items fit at once.

    Args:
        outline: of the graph.
        inputs: the whole request.
        room_bytes: what may still be allocated.

    Raises:
        EngineError: not even one does; the sentence says how much it needs.
    """
    size = batch_size(inputs)
    while True:
        part = parts(inputs, size)[0] if outline.is_batched else inputs
        needed = outline.peak_bytes(_shapes(part))
        if needed <= room_bytes:
            return size
        if size == 1 or not outline.is_batched:
            raise EngineError(
                f"This run needs about {_megabytes(needed)} of memory and its process has {_megabytes(room_bytes)} "
                "left; there is no result. Choose a smaller image or another model."
            )
        size = (size + 1) // 2


class Budget:
    """What may still be allocated in this process.

    Args:
        limit_bytes: for everything.
        used_bytes: says how much of it is used now. Asking takes as long as a small network, so what was found
            to fit once is remembered.
    """

    def __init__(self, limit_bytes: int, used_bytes: Callable[[], int]) -> None:
        self._limit, self._used = limit_bytes, used_bytes
        self._fits: set[tuple[str, tuple[tuple[str, tuple[int, ...]], ...]]] = set()
        self._held: dict[str, int] = {}  # by model: its session keeps what its largest run took, for the next one

    def room_bytes(self, key: str) -> int:
        """What a run of this model may take."""
        return self._limit - self._used() + self._held.get(key, 0)

    def is_known(self, key: str, inputs: Arrays) -> bool:
        """Whether a request of this form was found to fit."""
        return (key, tuple((name, array.shape) for name, array in inputs.items())) in self._fits

    def note(self, key: str, inputs: Arrays, outline: Outline) -> None:
        """Remember that a request of this form fits."""
        self._fits.add((key, tuple((name, array.shape) for name, array in inputs.items())))
        self._held[key] = max(self._held.get(key, 0), outline.peak_bytes(_shapes(inputs)))

    def forget(self, key: str) -> None:
        """A model was released."""
        self._fits.clear()
        self._held.pop(key, None)

    def may_stay_warm(self, models: Mapping[str, Any]) -> bool:
        """Whether so many open models leave enough for runs: each takes about twice its file and what it holds."""
        taken = sum(2 * model.size_bytes + self._held.get(key, 0) for key, model in models.items())
        return bool(taken <= self._limit * _WARM_SHARE)


def allocated_bytes() -> int:
    """What this process has allocated, as its limit counts it: address space where that is limited, else memory."""
    import psutil  # noqa: PLC0415 - only the worker process pays it

    memory = psutil.Process().memory_info()
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return int(memory.rss)
    is_limited = resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY
    return int(memory.vms if is_limited else memory.rss)


def in_parts_words(size: int, whole: int) -> str:
    """How a run was made, if not at once: goes on after the reason of the provider."""
    return f"; it ran in batches of {size}, because memory is short" if size < whole else ""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a runtime's failure means that memory ran out; most only say so in prose."""
    # By name, since PyTorch (torch.OutOfMemoryError) must not be loaded to ask.
    is_named = any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__)
    return is_named or isinstance(error, MemoryError) or any(mark in str(error).lower() for mark in _OUT_OF_MEMORY)


def _shapes(inputs: Arrays) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in inputs.items()}


def _megabytes(count: int) -> str:
    return f"{max(count, 0) / 2**20:,.0f} MB"


def _has_one_batch(values: Sequence[Any]) -> bool:
    """Whether the first axis of all is left open, and by the same name."""
    firsts = [value.type.tensor_type.shape.dim[:1] for value in values]
    names = {dims[0].dim_param if dims else "" for dims in firsts}
    return len(names) == 1 and names != {""}


def _peak_bytes(model: Any, shapes: Shapes) -> int:
    sizes = _sizes(model, shapes)
    weights = {value.name for value in model.graph.input} - set(shapes)
    weights |= {tensor.name for tensor in model.graph.initializer}
    nodes, kept = list(model.graph.node), {value.name for value in model.graph.output}
    last = {name: index for index, node in enumerate(nodes) for name in node.input}
    living = sum(sizes.get(name, 0) for name in shapes)
    peak = living
    for index, node in enumerate(nodes):
        living += sum(sizes.get(name, 0) for name in node.output)
        peak = max(peak, living)
        ended = {name for name in (*node.input, *node.output) if last.get(name, index) == index}
        living -= sum(sizes.get(name, 0) for name in ended - kept - weights - set(shapes))
    return peak


def _sizes(model: Any, shapes: Shapes) -> dict[str, int]:
    """Bytes of every tensor whose shape can be told."""
    import onnx  # noqa: PLC0415 - only the worker process pays it

    asked = onnx.ModelProto()
    asked.CopyFrom(model)
    for value in asked.graph.input:
        for dim, size in zip(value.type.tensor_type.shape.dim, shapes.get(value.name, ()), strict=False):
            dim.dim_value = size
    for value in asked.graph.output:  # what they say of their shape, open axes included, must not stand against it
        value.type.tensor_type.ClearField("shape")
    try:
        graph = onnx.shape_inference.infer_shapes(asked, data_prop=True).graph
    except Exception:  # noqa: BLE001 - nothing can be told of it: the limit of the process is left
        graph = asked.graph
    return {value.name: _bytes_of(value) for value in (*graph.input, *graph.value_info, *graph.output)}


def _bytes_of(value: Any) -> int:
    import onnx  # noqa: PLC0415

    tensor = value.type.tensor_type
    dims = [dim.dim_value for dim in tensor.shape.dim]
    if not tensor.HasField("shape") or any(size <= 0 for size in dims) or not tensor.elem_type:
        return 0
    try:
        return int(math.prod(dims) * onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).itemsize)
    except (KeyError, TypeError):  # strings
        return 0
