"""How a result came about: the same words for an answer and for its explanation."""

from __future__ import annotations

import hashlib
import platform
import time
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

import medviewer
from medviewer.domain.answer import Provenance
from medviewer.inference.card import Card
from medviewer.inference.runtimes.providers import PROVIDERS

if TYPE_CHECKING:
    from medviewer.inference.engine import Loaded


def tensor_sha256(tensor: npt.NDArray[np.float32]) -> str:
    """The digest of a network's input: its float32 values, little-endian, in order."""
    return hashlib.sha256(tensor.astype("<f4").tobytes()).hexdigest()


def provenance_of(
    card: Card, loaded: Loaded | None, tensor: npt.NDArray[np.float32] | None, started: datetime, clock: float
) -> Provenance:
    """Say which model ran on what, where and when.

    Args:
        card: the model's.
        loaded: where it runs; None if it did not run, and then no provider is named.
        tensor: what it saw; None if it came to nothing.
        started: when the question was put, UTC.
        clock: ``time.monotonic()`` at that moment.
    """
    versions = {"medviewer": medviewer.__version__, "python": platform.python_version(), "numpy": np.__version__}
    if loaded:
        versions["onnxruntime"] = loaded.runtime_version
    return Provenance(
        model_id=card.id,
        model_version=card.version,
        model_sha256=card.sha256,
        runtime="onnx",
        provider=PROVIDERS[loaded.provider] if loaded else "",
        provider_reason=loaded.reason if loaded else "the model was not run",
        input_sha256="" if tensor is None else tensor_sha256(tensor),
        started=started.isoformat(timespec="milliseconds"),
        elapsed_s=time.monotonic() - clock,
        versions=versions,
    )
