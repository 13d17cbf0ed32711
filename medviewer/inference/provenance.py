"""How a result came about: the same words for an answer and for its explanation."""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

import medviewer
from medviewer.domain.answer import Provenance
from medviewer.inference.card import Card
from medviewer.inference.runtimes.providers import PROVIDERS

if TYPE_CHECKING:
    from medviewer.inference.engine import Loaded

LIBRARIES = {"onnx": "onnxruntime", "torch": "torch", "rule": "rule"}
"""What the version of each runtime is the version of."""


def tensor_sha256(tensor: npt.NDArray[np.float32]) -> str:
    """The digest of a network's input: its float32 values, little-endian, in order."""
    return hashlib.sha256(tensor.astype("<f4").tobytes()).hexdigest()


def inputs_sha256(card: Card, tensors: Mapping[str, npt.NDArray[Any]]) -> str:
    """The digest of all that a model is given, without the batch: of one image that of its tensor alone."""
    if card.is_of_one_image:
        return tensor_sha256(next(iter(tensors.values())))
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def provenance_of(
    card: Card,
    loaded: Loaded | None,
    tensors: npt.NDArray[np.float32] | Mapping[str, npt.NDArray[Any]] | None,
    started: datetime,
    clock: float,
) -> Provenance:
    """Say which model ran on what, where and when.

    Args:
        card: the model's.
        loaded: where it runs; None if it did not run, and then no provider is named.
        tensors: what it saw, the one tensor of an image or all by name; None if it came to nothing.
        started: when the question was put, UTC.
        clock: ``time.monotonic()`` at that moment.
    """
    versions = {"medviewer": medviewer.__version__, "python": platform.python_version(), "numpy": np.__version__}
    if loaded:
        versions[LIBRARIES[card.runtime]] = loaded.runtime_version
    named = tensors if isinstance(tensors, Mapping) or tensors is None else {card.inputs[0].name: tensors}
    return Provenance(
        model_id=card.id,
        model_version=card.version,
        model_sha256=card.sha256,
        runtime=card.runtime,
        provider=PROVIDERS.get(loaded.provider, loaded.provider) if loaded else "",
        provider_reason=loaded.reason if loaded else "the model was not run",
        input_sha256="" if named is None else inputs_sha256(card, named),
        started=started.isoformat(timespec="milliseconds"),
        elapsed_s=time.monotonic() - clock,
        versions=versions,
        is_verified=bool(card.signed_by),
        card_sha256=card.document_sha256,
    )
