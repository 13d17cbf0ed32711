"""The same network with its weights shuffled, layer by layer from the output down: what an explanation must notice.

A map that stays the same when the network has forgotten everything shows the picture, not the network.
Each layer's own values are put in random order: their distribution stays, what was learned is gone.

A model has two graphs, one that answers and one with gradients, and both must forget the same. The second holds
copies of the first one's weights, some transposed or mirrored, as the gradient of a convolution needs them. They are
found by their values; a graph in which that leaves anything behind is noticed, since its logits then differ.

Source: Adebayo et al., "Sanity checks for saliency maps", NeurIPS 2018, section 3 (cascading randomization).
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medviewer.domain.errors import ModelError
from medviewer.inference.card import Card, Role
from medviewer.inference.card_json import CARD_NAME
from medviewer.inference.loading import read_file

if TYPE_CHECKING:
    import onnx

NETWORKS: tuple[Role, ...] = ("model", "explain", "cam")
_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum"})
_LEAST_VALUES = 2

Arrays = dict[str, npt.NDArray[Any]]


def n_layers(card: Card) -> int:
    """How many layers with weights the network has."""
    return len(_layers(_parse(card, "model")))


def write_randomised(card: Card, folder: Path, layers: int, seed: int = 2018) -> Path:
    """Write a model folder with the same card, whose upper ``layers`` layers have their weights shuffled.

    It has no reference answers, since those are of the trained network.

    Args:
        card: of the model, whose files are not changed.
        folder: receives the files; made if it is not there.
        layers: how many, counted from the output; 0 is the model as it is.
        seed: of the order.

    Returns:
        ``folder``.

    Raises:
        ModelError: the graphs cannot be read, or a weight of the one is in no other as it must be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    chance = np.random.default_rng(seed)
    main = _parse(card, "model")
    shuffled = _shuffled(main, layers, chance)
    files: list[dict[str, Any]] = []
    for file in card.files:
        if file.role == "reference":
            continue
        content = read_file(card.folder, file)
        if file.role in NETWORKS:
            content = _rewritten(_parse(card, file.role), shuffled)
        (folder / file.path).write_bytes(content)
        entry = next(dict(entry) for entry in card.document["files"] if entry["path"] == file.path)
        files.append(entry | {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)})
    document = {**card.document, "files": files}
    # What was measured is the trained network's, not this one's.
    document["explain"] = {k: v for k, v in document.get("explain", {}).items() if k != "sanity"}
    if not document["explain"]:
        del document["explain"]
    (folder / CARD_NAME).write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    return folder


def _parse(card: Card, role: Role) -> onnx.ModelProto:
    import onnx  # noqa: PLC0415 - only who takes a network apart needs it

    try:
        return onnx.load_model_from_string(read_file(card.folder, card.require(role)))
    except (ValueError, TypeError, RuntimeError) as error:  # protobuf's own
        raise ModelError(f"The network of {card.id} cannot be taken apart; install the model again.") from error


def _arrays(model: onnx.ModelProto) -> Arrays:
    from onnx import numpy_helper  # noqa: PLC0415

    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return {
        name: array
        for name, array in found.items()
        if np.issubdtype(array.dtype, np.floating) and array.size >= _LEAST_VALUES
    }


def _layers(model: onnx.ModelProto) -> list[tuple[str, ...]]:
    """The names of each layer's weights and biases, the output's first."""
    arrays = _arrays(model)
    found: dict[tuple[str, ...], None] = {}
    for node in reversed(model.graph.node):
        own = tuple(name for name in node.input if name in arrays)
        if node.op_type in _WEIGHTED and any(arrays[name].ndim > 1 for name in own):
            found[own] = None
    taken: dict[tuple[int, float], list[Any]] = {}
    layers = []
    for own in found:
        # A head may be there twice, for the logits and for the map: it is one layer.
        fresh = tuple(name for name in own if not _is_among(arrays[name], taken))
        for name in fresh:
            taken.setdefault(_signature(arrays[name]), []).append(arrays[name])
        if fresh:
            layers.append(fresh)
    return layers


def _is_among(array: Any, taken: Mapping[tuple[int, float], list[Any]]) -> bool:
    return any(_like(array, one, one) is not None for one in taken.get(_signature(array), ()))


def _shuffled(model: onnx.ModelProto, layers: int, chance: np.random.Generator) -> list[tuple[Any, Any]]:
    """Pairs of a weight as it was and as it is to be, for the upper layers."""
    arrays = _arrays(model)
    pairs = []
    for name in itertools.chain.from_iterable(_layers(model)[:layers]):
        values = arrays[name]
        mixed = chance.permutation(values.ravel()).reshape(values.shape)
        if np.array_equal(mixed, values):  # a few values may come to lie as they did
            mixed = np.roll(values.ravel(), 1).reshape(values.shape)
        pairs.append((values, mixed))
    return pairs


def _rewritten(model: onnx.ModelProto, pairs: list[tuple[Any, Any]]) -> bytes:
    """The graph's bytes with every copy of a weight replaced, in whichever way it is laid out."""
    from onnx import numpy_helper  # noqa: PLC0415

    by_sum: dict[tuple[int, float], list[tuple[Any, Any]]] = {}
    for pair in pairs:
        by_sum.setdefault(_signature(pair[0]), []).append(pair)
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if not np.issubdtype(array.dtype, np.floating) or array.size < _LEAST_VALUES:
            continue
        for before, after in by_sum.get(_signature(array), ()):
            if (new := _like(array, before, after)) is not None:
                tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(new), tensor.name))
                break
    return bytes(model.SerializeToString())


def _signature(array: npt.NDArray[Any]) -> tuple[int, float]:
    """The same for all layouts of the same values, and hardly ever for others."""
    return array.size, float(np.sort(array.ravel())[:: max(1, array.size // 64)].astype(np.float64).sum())


def _like(found: Any, before: Any, after: Any) -> Any:
    """``after`` laid out as ``found`` lays out ``before``; None if it holds other values."""
    for was, becomes in zip(_layouts(before), _layouts(after), strict=True):
        if np.array_equal(was.ravel(), found.ravel()):
            return becomes.reshape(found.shape)
    return None


def _layouts(array: Any) -> Iterator[Any]:
    """A weight as it is, and as gradients use it: axes exchanged, kernels turned by half a turn."""
    turned = array[..., ::-1, ::-1] if array.ndim > 2 else array
    for one in (array, turned):
        yield one
        yield np.swapaxes(one, 0, 1) if one.ndim > 1 else one


def stages(layers: int) -> tuple[int, ...]:
    """How many layers are shuffled at each step of the cascade: one, four, sixteen, ... all."""
    return tuple(sorted({min(4**k, layers) for k in range(layers.bit_length())}))


def check_agreement(answers: Mapping[Role, npt.NDArray[np.floating]], model_id: str) -> None:
    """Refuse graphs of one model that no longer answer alike: one of them still knows what the other forgot.

    Args:
        answers: by role, the logits ``(n, labels)`` of the same images.
        model_id: for the message.

    Raises:
        ModelError: they differ by more than rounding.
    """
    first, *others = answers.values()
    if not all(np.allclose(first, other, rtol=1e-2, atol=1e-2) for other in others):
        raise ModelError(f"The graphs of {model_id} cannot be randomised alike, so that check was left out.")
