"""MONAI bundles: their ``metadata.json`` is read, the ONNX file inside is imported, and nothing of theirs is run.

A bundle's config files name Python classes to be made and called; opening one with MONAI
runs code. Here only two files of it are looked at: ``configs/metadata.json``, as data,
and a network in ONNX.

Its images are guessed to be read as MONAI reads them: the first axis runs across, as of arrays of (x, y).

Source: MONAI Bundle Specification (docs.monai.io, mb_specification); monai.data.image_reader (of PILReader
``reverse_indexing`` and of PydicomReader ``swap_ij`` are True).
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path, PurePosixPath
from typing import Any

from medviewer.domain.errors import InputError, ModelError, TooLargeError
from medviewer.domain.frozen import dataclass
from medviewer.domain.progress import StopToken
from medviewer.imaging.archive import Archive, Budget, is_archive
from medviewer.inference.card_json import CARD_NAME
from medviewer.inference.loading import MODEL_LIMIT_BYTES

METADATA = PurePosixPath("configs/metadata.json")
_LIMIT_BYTES = 1 << 20
_MODALITIES = {
    "CT": ("CT",), "MR": ("MR",), "MRI": ("MR",), "US": ("US",), "MG": ("MG",), "CR": ("CR",), "DX": ("DX",),
    "XRAY": ("CR", "DX"), "X-RAY": ("CR", "DX"), "CXR": ("CR", "DX"), "PT": ("PT",), "PET": ("PT",),
}  # fmt: skip
_RANGES = {(0.0, 1.0): "unit", (-1.0, 1.0): "signed", (0.0, 255.0): "byte", (-1024.0, 1024.0): "xrv"}


@dataclass(frozen=True, slots=True)
class Brought:
    """A network to import: its ONNX file, better guesses for the questions, and what goes on the card beside."""

    network: Path
    hints: Mapping[str, Any] = field(default_factory=dict)
    card: Mapping[str, Any] = field(default_factory=dict)


def is_bundle(path: Path) -> bool:
    """Whether a folder is a MONAI bundle."""
    return (path / METADATA).is_file()


def is_bundle_archive(path: Path) -> bool:
    """Whether a file is a ZIP archive that holds a MONAI bundle, and no model folder; only its list is read.

    Raises:
        InputError: the archive is damaged or claims too much.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(4)
    except OSError as error:
        raise InputError(f"“{path.name}” cannot be read: {error.strerror}.") from error
    if not is_archive(head, path):
        return False
    archive = Archive(path, path, Budget(path.stat().st_size, shutil.disk_usage(tempfile.gettempdir()).free))
    try:
        names = [PurePosixPath(member.info.filename.replace("\\", "/")) for member in archive.members]
    finally:
        archive.close()
    return any(name.parts[-2:] == METADATA.parts for name in names) and all(name.name != CARD_NAME for name in names)


def read_bundle(folder: Path) -> Brought:
    """What a bundle's metadata say, and where its network lies.

    Raises:
        InputError: the metadata cannot be read.
        ModelError: it is for no 2D images, or holds no ONNX file; says what to export.
    """
    metadata = _read_metadata(folder / METADATA)
    given, gives = _format(metadata, "inputs"), _format(metadata, "outputs")
    if len(_listed(given.get("spatial_shape")) or (0, 0)) != 2:
        raise ModelError(
            "The bundle's network is not for 2D images (metadata.json says so); only those can be imported."
        )
    hints: dict[str, Any] = {name: value for name, value in _hints(metadata, given, gives).items() if value}
    more = {"version": _version(_text(metadata.get("version")))}
    said = metadata.get("references")
    references = [text[:2000] for text in ([said] if isinstance(said, str) else _listed(said)) if isinstance(text, str)]
    return Brought(_network(folder), hints, more | ({"references": references} if references else {}))


def unpack_bundle(path: Path, folder: Path, stop: StopToken | None) -> None:
    """Unpack a bundle's metadata and ONNX files, and nothing else of it, under names of our own.

    Raises:
        InputError: the archive is damaged, too large, or holds no bundle.
        Stopped: ``stop`` was used.
    """
    archive = Archive(path, path, Budget(path.stat().st_size, shutil.disk_usage(folder).free))
    try:
        names = {PurePosixPath(member.info.filename.replace("\\", "/")): member for member in archive.members}
        found = [name for name in names if name.parts[-2:] == METADATA.parts]
        if len(found) != 1:
            raise InputError("The ZIP archive holds no MONAI bundle (configs/metadata.json), or several.")
        home = found[0].parent.parent
        wanted = {METADATA: found[0]} | {
            PurePosixPath("models") / name.name: name
            for name in names
            if name.parent == home / "models" and name.suffix in (".onnx", ".pt", ".ts")
        }
        for target, name in wanted.items():
            member = names[name]
            if member.refusal is not None:
                raise member.refusal
            if member.info.file_size > (_LIMIT_BYTES if target == METADATA else MODEL_LIMIT_BYTES):
                raise TooLargeError(f"“{name.name}” in the ZIP archive is too large; the archive is refused.")
            place = folder / target
            place.parent.mkdir(parents=True, exist_ok=True)
            if target.suffix in (".pt", ".ts"):
                place.touch()  # only that it is there is told, to say what to export: it is never opened
            else:
                archive.unpack(member, place, stop)
    finally:
        archive.close()


def _read_metadata(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            raw = stream.read(_LIMIT_BYTES + 1)
        document = json.loads(raw[:_LIMIT_BYTES].decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError("The bundle's metadata.json cannot be read; ask its makers for it.") from error
    if not isinstance(document, dict):
        raise InputError("The bundle's metadata.json is no JSON object; ask its makers for it.")
    return document


def _format(metadata: Mapping[str, Any], side: str) -> dict[str, Any]:
    formats = metadata.get("network_data_format", {})
    values = formats.get(side, {}) if isinstance(formats, dict) else {}
    entries = [value for value in values.values() if isinstance(value, dict)] if isinstance(values, dict) else []
    if side == "inputs" and len(entries) != 1:
        raise ModelError(f"The bundle's network takes {len(entries)} inputs; only those of one image can be imported.")
    return entries[0] if entries else {}


def _hints(metadata: Mapping[str, Any], given: Mapping[str, Any], gives: Mapping[str, Any]) -> dict[str, Any]:
    names = gives.get("channel_def")
    ordered = [names[key] for key in sorted(names, key=_number)] if isinstance(names, dict) else _listed(names)
    labels = [str(name).strip().replace(" ", "_") for name in ordered]
    shape = _listed(given.get("spatial_shape"))
    sides = [side for side in shape if isinstance(side, int) and not isinstance(side, bool)]
    span = given.get("value_range")
    values = _RANGES.get((float(span[0]), float(span[1]))) if _is_pair(span) and span is not None else None
    return {
        "title": _text(metadata.get("name"))[:200],
        "labels": labels,
        "modality": _MODALITIES.get(str(given.get("modality", "")).upper(), ()),
        # Its readers give arrays of (x, y) unless told otherwise, and spatial_shape is in the same order.
        "first_axis": "across",
        "rows": sides[1] if len(sides) == 2 else None,
        "columns": sides[0] if len(sides) == 2 else None,
        "values": values,
        "output": "probabilities" if gives.get("type") == "probabilities" else None,
        "intended_use": (_text(metadata.get("intended_use")) or _text(metadata.get("description")))[:2000],
        "licence": _text(metadata.get("copyright"))[:500],
    }


def _text(value: Any) -> str:
    """A text of a bundle; what is none, such as null, says nothing."""
    return value if isinstance(value, str) else ""


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(v, int | float) for v in value)


def _number(text: str) -> tuple[int, str]:
    return (int(text), "") if text.isdigit() else (1 << 30, text)


def _version(text: str) -> str:
    parts = text.split(".")
    return text if len(parts) == 3 and all(part.isdigit() for part in parts) else "1.0.0"


def _network(folder: Path) -> Path:
    models = folder / "models"
    found = sorted(models.glob("*.onnx")) if models.is_dir() else []
    named = [path for path in found if path.name == "model.onnx"]
    if len(found) == 1 or named:
        return (named or found)[0]
    if found:
        raise ModelError(
            "The bundle holds several ONNX files and none is called models/model.onnx; import one by name."
        )
    raise ModelError(
        "The bundle holds its network as PyTorch or TorchScript only, which can run code when opened and is never "
        "read. Export it where you trust it: python -m monai.bundle onnx_export --net_id network_def "
        "--filepath models/model.onnx --ckpt_file models/model.pt --meta_file configs/metadata.json "
        "--config_file configs/inference.json; then import it again."
    )
