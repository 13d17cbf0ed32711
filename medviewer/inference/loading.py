"""The bytes of a model file, once they are known to be safe to hand to a runtime.

A model file is code from elsewhere. It is opened once, never through a link out
of its folder, read under a cap, and hashed; what is hashed is what is parsed and
what the runtime gets, so nothing can be swapped in between. Only ONNX with
everything inside one file and npz without pickles are read at all: a pickle,
TorchScript or ``.pt2`` file can run any code when it is opened.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medviewer.domain.errors import CardError, DigestError, UnsafeModelError

if TYPE_CHECKING:
    from medviewer.inference.card import CardFile

MODEL_LIMIT_BYTES = 2 << 30  # protobuf itself cannot hold more
ARRAYS_LIMIT_BYTES = 512 << 20
TENSOR_LIMIT_ELEMENTS = 1 << 29
_BLOCK_BYTES = 1 << 20  # hashed at a time: what fits the processor's cache is not written to memory
NODE_LIMIT = 100_000
STANDARD_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
CONTROL_FLOW = frozenset({"If", "Loop", "Scan"})
# Operators that make tensors out of a few bytes of graph: their size is bounded below.
_SHAPE_MAKERS = frozenset({"ConstantOfShape", "Expand", "Tile", "Range", "Resize", "Upsample", "Pad"})
_SUFFIXES = {
    "model": (".onnx",),
    "explain": (".onnx",),
    "cam": (".onnx",),
    "reference": (".npz",),
    "ood": (".npz",),
    "neighbours": (".npz",),
    "vocabulary": (".txt", ".json"),
    "int8": (".onnx",),
    "fp16": (".onnx",),
    "pruned": (".onnx",),
}
_TRUSTED_SUFFIX = ".pt2"  # of a network that this machine's own training wrote: see medviewer.inference.trust


def read_file(folder: Path, file: CardFile, *, is_trusted: bool = False) -> bytes:
    """Read one file of a model folder, exactly as its card describes it.

    Args:
        folder: the model's folder.
        file: the card's entry for it.
        is_trusted: its digest is on this machine's trust list, so that a ``.pt2`` may be read.

    Returns:
        Bytes whose SHA-256 is the card's.

    Raises:
        CardError: the file is missing or unreadable.
        UnsafeModelError: it is of a refused kind, a link, or not a plain file.
        DigestError: its size or digest is not the card's.
    """
    with _described(folder, file, is_trusted=is_trusted) as stream:
        data = stream.read(file.size + 1)
    if len(data) != file.size or hashlib.sha256(data).hexdigest() != file.sha256:
        raise _changed(folder, file)
    return data


def check_file(folder: Path, file: CardFile, *, is_trusted: bool = False) -> None:
    """See that one file of a model folder is the one that its card describes, without keeping it.

    Whoever uses the file reads it with :func:`read_file`, which checks it again.

    Args and raises: as :func:`read_file`.
    """
    digest, left, block = hashlib.sha256(), file.size + 1, memoryview(bytearray(_BLOCK_BYTES))
    with _described(folder, file, is_trusted=is_trusted) as stream:
        while n_bytes := stream.readinto(block[:left]):  # to the end, or one byte beyond what the card says
            digest.update(block[:n_bytes])
            left -= n_bytes
    if digest.hexdigest() != file.sha256:
        raise _changed(folder, file)


def _changed(folder: Path, file: CardFile) -> DigestError:
    return DigestError(
        f"“{file.path}” of the model “{folder.name}” is not the file that its card describes "
        "(size or SHA-256 differ); install the model again."
    )


def _described(folder: Path, file: CardFile, *, is_trusted: bool) -> BufferedReader:
    """Open the file that a card describes, if it is one that may be opened and as long as the card says."""
    suffix, allowed = Path(file.path).suffix.lower(), _SUFFIXES[file.role]
    if suffix not in allowed and not (is_trusted and file.role == "model" and suffix == _TRUSTED_SUFFIX):
        raise UnsafeModelError(
            f"“{file.path}” is refused: the role “{file.role}” takes a {' or '.join(allowed)} file, "
            "and formats that can run code when opened (pickle, TorchScript, .pt, .pt2) are never read."
        )
    if Path(file.path).name != file.path:
        raise UnsafeModelError(f"“{file.path}” is refused: a card names only files in its own folder.")
    if file.size > MODEL_LIMIT_BYTES:
        raise UnsafeModelError(f"“{file.path}” is refused: {file.size} bytes are more than a model may have.")
    return _open_plain(folder / file.path, file.size)


def _open_plain(path: Path, size: int) -> BufferedReader:
    """Open a regular file of ``size`` bytes that is no symbolic link.

    A hard link is harmless: its bytes are hashed like any others, and never opened by name again.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        if path.is_symlink():  # where O_NOFOLLOW does not exist
            raise UnsafeModelError(f"“{path.name}” is refused: it is a link; a model's files must be in its folder.")
        descriptor = os.open(path, flags)
    except OSError as error:
        raise CardError(f"The model file “{path.name}” cannot be read: {error.strerror}.") from error
    try:
        _check_plain(os.fstat(descriptor), path.name, size)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _check_plain(status: os.stat_result, name: str, size: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UnsafeModelError(f"“{name}” is refused: it is not a plain file.")
    if status.st_size != size:
        raise DigestError(f"“{name}” has {status.st_size} bytes and its card says {size}; install the model again.")


def read_arrays(folder: Path, file: CardFile) -> dict[str, npt.NDArray[Any]]:
    """Read an npz of a model folder: plain arrays, bounded before they are unpacked.

    Raises:
        CardError, UnsafeModelError, DigestError: as :func:`read_file`; also if the
            archive is not one, would unpack to too much, or holds objects.
    """
    data = read_file(folder, file)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(max(member.file_size, _claimed_bytes(archive, member)) for member in archive.infolist())
        if unpacked > ARRAYS_LIMIT_BYTES:
            raise UnsafeModelError(f"“{file.path}” is refused: it would unpack to {unpacked >> 20} MB.")
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise UnsafeModelError(f"“{file.path}” is refused: it is not a plain npz file ({error}).") from error


def _claimed_bytes(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> int:
    """What numpy would allocate for one array: its header may claim more than follows."""
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
    return math.prod(shape) * dtype.itemsize


def check_graph(data: bytes, *, name: str, control_flow: Iterable[str] = ()) -> int:
    """Parse an ONNX graph and refuse whatever could reach beyond plain arithmetic.

    Args:
        data: the file's bytes, whose digest has been checked.
        name: how to call it in messages.
        control_flow: which of If, Loop and Scan the card declares.

    Returns:
        The opset version of the standard domain.

    Raises:
        UnsafeModelError: not ONNX, or: other operator domains, own functions, external
            data, undeclared control flow, sparse or oversized tensors, too many nodes.
    """
    import onnx  # noqa: PLC0415 - a quarter of a second; only the worker process pays it

    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:
        raise UnsafeModelError(f"“{name}” is refused: it is not a complete ONNX file.") from error
    problem = next(_problems(model, frozenset(control_flow)), "")
    if problem:
        raise UnsafeModelError(f"“{name}” is refused: {problem}.")
    return max(int(entry.version) for entry in model.opset_import if entry.domain in {"", "ai.onnx"})


def _problems(model: Any, declared: frozenset[str]) -> Iterator[str]:
    """What is wrong with a graph, worst first; lazy, so that the first one ends the search."""
    foreign = sorted({entry.domain for entry in model.opset_import} - STANDARD_DOMAINS)
    if foreign:
        yield f"it uses operators outside the ONNX standard ({foreign[0]})"
    if model.functions:
        yield "it defines functions of its own"
    if model.training_info:
        yield "it carries training information"
    if not any(entry.domain in {"", "ai.onnx"} and entry.version > 0 for entry in model.opset_import):
        yield "it names no ONNX opset"
    if not model.graph.node:
        yield "its graph is empty"
    count = 0
    for graph in _graphs(model.graph):
        count += len(graph.node)
        if count > NODE_LIMIT:
            yield f"it has more than {NODE_LIMIT} operators"
        yield from _tensor_problems(graph)
        yield from _node_problems(graph, declared)


def _node_problems(graph: Any, declared: frozenset[str]) -> Iterator[str]:
    for node in graph.node:
        if node.domain not in STANDARD_DOMAINS:
            yield f"it uses the operator {node.op_type} of the foreign domain {node.domain}"
        if node.op_type in CONTROL_FLOW - declared:
            yield f"it contains {node.op_type}, which its card does not declare"


def _tensor_problems(graph: Any) -> Iterator[str]:
    if graph.sparse_initializer:
        yield "it has sparse weights"
    constants = [a.t for node in graph.node for a in node.attribute if a.HasField("t")]
    constants += [t for node in graph.node for a in node.attribute for t in a.tensors]
    for tensor in (*graph.initializer, *constants):
        if tensor.data_location != 0 or tensor.external_data:
            yield f"the weights “{tensor.name}” lie outside the file"
        if any(size < 0 for size in tensor.dims):
            yield f"the weights “{tensor.name}” have a negative size"
        elements = math.prod(max(size, 1) for size in tensor.dims)
        if elements > TENSOR_LIMIT_ELEMENTS:
            yield f"the weights “{tensor.name}” claim {elements} numbers"
    yield from _claimed_sizes(graph)


def _claimed_sizes(graph: Any) -> Iterator[str]:
    """Find constants that would be blown up to an absurd shape when the graph runs.

    Sizes that depend on the input cannot be seen here; the worker's memory limit bounds them.
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    constants |= {
        node.output[0]: attribute.t
        for node in graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.HasField("t")
    }
    for node in graph.node:
        if node.op_type in _SHAPE_MAKERS:
            largest = max((_elements(constants[name]) for name in node.input if name in constants), default=0)
            if largest > TENSOR_LIMIT_ELEMENTS:
                yield f"the operator {node.op_type} would make a tensor of {largest} numbers"


def _elements(tensor: Any) -> int:
    """How many numbers a tensor of this shape has, if ``tensor`` is a shape."""
    from onnx import TensorProto, numpy_helper  # noqa: PLC0415

    if tensor.data_type != TensorProto.INT64 or len(tensor.dims) != 1 or tensor.dims[0] > 16:
        return 0
    return math.prod(max(abs(int(size)), 1) for size in numpy_helper.to_array(tensor).tolist())


def _graphs(graph: Any, depth: int = 0) -> Iterator[Any]:
    """This graph and those inside If, Loop and Scan."""
    if depth > 8:
        raise UnsafeModelError("The model is refused: its control flow is nested more than 8 deep.")
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g, depth + 1)
            for inner in attribute.graphs:
                yield from _graphs(inner, depth + 1)
