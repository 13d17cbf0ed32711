"""A blend that reads notes as one ONNX graph, held against what was learned before anybody can pick it up."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

from medviewer.domain.errors import ModelError
from medviewer.training.gradient_graph import OPSET, quiet_exporter, remove_traces
from medviewer.training.note_blend import Whole
from medviewer.training.text_networks import NoteNetwork

INPUTS, OUTPUTS = ("ids", "mask"), ("logits", "parts")
TOLERANCE = 1e-3
# Recurrent networks have been exported such that they ran at the example's batch alone.
_BATCHES = (1, 3, 8)
_EXAMPLE = 2


def write_graph(network: NoteNetwork, path: Path, length: int, n_pieces: int) -> float:
    """Write ``model.onnx``: ``ids``, ``mask`` ``(N, length)`` in; ``logits`` ``(N, C)``, ``parts`` ``(N, P, C)`` out.

    Returns:
        The largest difference from what was learned, over batches of 1, 3 and 8 made-up notes.

    Raises:
        ModelError: it is above :data:`TOLERANCE`.
    """
    example = tuple(torch.from_numpy(array) for array in synthetic_notes(_EXAMPLE, length, n_pieces))
    batch = torch.export.Dim("batch", min=1, max=4096)
    with tempfile.TemporaryDirectory() as folder, quiet_exporter():
        raw = Path(folder) / "raw.onnx"
        torch.onnx.export(
            network, example, raw, dynamo=True, verbose=False, opset_version=OPSET, external_data=False,
            dynamic_shapes=({0: batch}, {0: batch}), input_names=list(INPUTS), output_names=list(OUTPUTS),
        )  # fmt: skip
        model = onnx.load(raw)
    remove_traces(model)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return check_graph_of(network, path, length, n_pieces)


def check_graph_of(network: NoteNetwork, path: Path, length: int, n_pieces: int) -> float:
    """Return the largest difference between a file and a network; see :func:`write_graph`."""
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    largest = 0.0
    for n in _BATCHES:
        notes = synthetic_notes(n, length, n_pieces)
        found = session.run(list(OUTPUTS), dict(zip(INPUTS, notes, strict=True)))
        for mine, theirs in zip(found, answers(network, *notes), strict=True):
            difference = float(np.abs(mine - theirs).max())
            if mine.shape != theirs.shape or not difference <= TOLERANCE:
                raise ModelError(f"The exported {path.name} differs from what was learned by {difference:.1e}.")
            largest = max(largest, difference)
    return largest


def answers(network: NoteNetwork, ids: Whole, mask: Whole) -> tuple[np.ndarray, np.ndarray]:
    """Return what the network says, as float32 arrays."""
    with torch.inference_mode():
        logits, parts = network(torch.from_numpy(ids), torch.from_numpy(mask))
    return logits.numpy(), parts.numpy()


def write_reference(network: NoteNetwork, path: Path, length: int, n_pieces: int) -> None:
    """Write made-up notes with the answers that were learned, of which the graph must remind."""
    notes = synthetic_notes(4, length, n_pieces)
    named = {f"input.{name}": array for name, array in zip(INPUTS, notes, strict=True)}
    named |= {f"output.{name}": array for name, array in zip(OUTPUTS, answers(network, *notes), strict=True)}
    np.savez_compressed(path, **named)  # type: ignore[arg-type]


def synthetic_notes(n: int, length: int, n_pieces: int) -> tuple[Whole, Whole]:
    """Return made-up ``ids`` and ``mask`` ``(n, length)``, the same on every machine: short to full."""
    chance = np.random.default_rng(20230502)
    used = np.linspace(min(12, length), length, n).astype(np.int64)
    mask = (np.arange(length) < used[:, None]).astype(np.int64)
    pieces = chance.integers(0, n_pieces, (n, length)).astype(np.int64)
    often = chance.integers(0, n_pieces, 40).astype(np.int64)  # some stand there several times, as words do
    ids = np.where(chance.random((n, length)) < 0.3, often[chance.integers(0, len(often), (n, length))], pieces)
    return ids * mask, mask
