"""A run between two steps, in a file that is whole or the one before.

Whatever ends the process, a power cut included, the file in the folder is complete. A run
that goes on from it draws, learns and chooses exactly what it would have without the break.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medviewer.domain.errors import InputError, UsageError
from medviewer.whole_file import write_whole

FILE = "run.pt"
_VERSION = 1


def weights_digest(network: nn.Module) -> str:
    """Return one sha256 over the names and bytes of everything that a network has learned."""
    total = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        total.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        total.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def write_tensors(path: Path, state: Mapping[str, Any]) -> None:
    """Write tensors, numbers and text as a file that is whole or not there.

    Raises:
        StorageError: the disk is full or cannot be written.
    """
    # Through memory: a half-written archive of torch is no error that it would tell.
    content = io.BytesIO()
    torch.save(dict(state), content)
    write_whole(path, content.getvalue())


def write_checkpoint(folder: Path, state: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Write where a run stands.

    Args:
        folder: of the run; it exists.
        state: tensors, numbers, text, lists and dictionaries of them.
        identity: what a run must have in common with this one to go on from here.

    Raises:
        StorageError: the disk is full or cannot be written; the checkpoint before stays.
    """
    write_tensors(folder / FILE, {"version": _VERSION, "identity": json.dumps(identity, sort_keys=True), **state})


def read_checkpoint(folder: Path, identity: Mapping[str, Any], whole: Path | None = None) -> dict[str, Any] | None:
    """Return where a run stands, or None if the folder holds none.

    Args:
        folder: of the run, or of a part of it.
        identity: as :func:`write_checkpoint` was given.
        whole: of the run with all its parts, which have to go together; default: ``folder``.

    Raises:
        UsageError: it is a run with other settings or other data.
        InputError: the file is damaged or of another version.
    """
    _remove_remains(folder)
    whole = whole or folder
    try:
        state: dict[str, Any] = torch.load(folder / FILE, map_location="cpu", weights_only=True)
        theirs = json.loads(state["identity"])
    except FileNotFoundError:
        return None
    except Exception as error:  # torch names no one error for a damaged file
        raise InputError(
            f"The checkpoint {folder / FILE} cannot be read ({type(error).__name__}); remove it to begin anew."
        ) from error
    if state.get("version") != _VERSION:
        raise InputError(f"The checkpoint {folder / FILE} is of another version; remove {whole} to begin anew.")
    ours = json.loads(json.dumps(identity))
    if ours != theirs:
        raise UsageError(
            f"{whole} keeps a run with another {_difference(theirs, ours)}; give the same settings and data, "
            "or remove that folder to begin anew."
        )
    return state


def load_chosen(network: nn.Module, folder: Path) -> list[dict[str, Any]]:
    """Load the chosen epoch of a finished run, and return the run's history.

    Raises:
        InputError: the folder holds no finished run.
    """
    try:
        history: list[dict[str, Any]] = json.loads((folder / "history.json").read_text(encoding="utf-8"))
        chosen = next(entry for entry in history if entry.get("chosen"))
        weights = torch.load(folder / f"epoch-{chosen['epoch']}.pt", map_location="cpu", weights_only=True)
        network.load_state_dict(weights)
    except (OSError, ValueError, StopIteration, RuntimeError) as error:
        raise InputError(f"{folder} holds no finished training to resume from ({type(error).__name__}).") from error
    network.eval()
    # Runs from before scores were written were judged by the worst of their validations.
    chosen.setdefault("score", chosen.get("worst"))
    return history


def _difference(theirs: Any, ours: Any) -> str:
    """Name what differs, with both values."""
    if not isinstance(theirs, dict) or not isinstance(ours, dict):
        return f"identity ({theirs}, not {ours})"
    name = next(key for key in sorted({*theirs, *ours}) if theirs.get(key) != ours.get(key))
    if isinstance(theirs.get(name), dict) and isinstance(ours.get(name), dict):
        return _difference(theirs[name], ours[name])
    return f"{name} ({theirs.get(name)}, not {ours.get(name)})"


def _remove_remains(folder: Path) -> None:
    """Remove the parts of files that a killed process left."""
    for path in folder.glob(".medviewer-*.part"):
        path.unlink(missing_ok=True)
