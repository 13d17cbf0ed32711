"""``inspect`` and ``render``: what is in files, and what it looks like."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medviewer.app.settings import home
from medviewer.cli.choice import choose_image, choose_stack, choose_volume
from medviewer.cli.parser import STANDARD_INPUT
from medviewer.cli.terminal import clear_progress, print_json, progress, say, tell
from medviewer.domain.errors import UsageError
from medviewer.domain.frame import Frame
from medviewer.domain.study import Collection, Document, Image, Patient, SecondAxis, Series, Stack, Study, Window
from medviewer.imaging.decode import read_frame, shutdown
from medviewer.imaging.display import automatic_window, own_windows, to_display
from medviewer.imaging.index import FILE_NAME
from medviewer.imaging.png import write_png
from medviewer.imaging.reslice import range_mm, reslice, standard_grid
from medviewer.imaging.scan import scan
from medviewer.imaging.volume import read_volume

INSPECT_SCHEMA = "medviewer.inspect/1"


def inspect(arguments: argparse.Namespace) -> int:
    """Say what is in files and folders; 3 if some of it cannot be used."""
    collection = scan(_paths(arguments.paths), progress=progress, index=home() / FILE_NAME)
    clear_progress()
    for remark in collection.remarks:
        tell(remark)
    document = collection_document(collection)
    if arguments.json:
        print_json(document)
    else:
        for line in _lines(document):
            say(line)
    return 3 if any(file["status"] == "refused" for file in document["files"]) else 0


_MOST_LIST_BYTES = 64 * 2**20


def _paths(given: Sequence[Path]) -> list[Path]:
    """Put the list on standard input in the place of ``-``."""
    paths: list[Path] = []
    listed: list[Path] | None = None
    for path in given:
        if path != STANDARD_INPUT:
            paths.append(path)
        elif listed is None:
            listed = _listed_paths()
            paths += listed
    return paths


def _listed_paths() -> list[Path]:
    """Read paths from standard input: ended by NUL if there is one (``find -print0``), else one a line.

    Raises:
        UsageError: there are none, or too many.
    """
    data = b"" if sys.stdin is None else sys.stdin.buffer.read(_MOST_LIST_BYTES + 1)
    if len(data) > _MOST_LIST_BYTES:
        raise UsageError(
            f"The list on standard input is longer than {_MOST_LIST_BYTES >> 20} MB; name folders instead."
        )
    parts = data.split(b"\0") if b"\0" in data else [line.removesuffix(b"\r") for line in data.split(b"\n")]
    paths = [Path(os.fsdecode(part)) for part in parts if part]
    if not paths:
        raise UsageError("There is no path on standard input; send one a line, or separated by NUL.")
    return paths


def collection_document(collection: Collection) -> dict[str, Any]:
    """Give the JSON of ``inspect``: every file once, then patients, studies, series and stacks."""
    files: dict[str, dict[str, str]] = {}
    for problem in collection.problems:
        files[str(problem.path)] = {"path": str(problem.path), "status": problem.status, "reason": problem.reason}
    for path in collection.shown:
        # A file that is shown with a caveat is shown; the caveat stays as its reason.
        reason = files.get(str(path), {}).get("reason", "")
        files[str(path)] = {"path": str(path), "status": "shown", "reason": reason}
    return {
        "schema": INSPECT_SCHEMA,
        "files": [files[path] for path in sorted(files)],
        "patients": [_patient(patient) for patient in collection.patients],
    }


def _patient(patient: Patient) -> dict[str, Any]:
    return {
        "patient_id": patient.patient_id,
        "issuer": patient.issuer,
        "studies": [_study(study) for study in patient.studies],
    }


def _study(study: Study) -> dict[str, Any]:
    return {
        "study_instance_uid": study.study_instance_uid,
        "description": study.description,
        "date": study.date,
        "series": [_series(series) for series in study.series],
        "documents": [_document(document) for document in study.documents],
    }


def _document(document: Document) -> dict[str, Any]:
    return {
        "path": str(document.path),
        "kind": document.kind,
        "title": document.title,
        "date": document.date,
        "time": document.time,
        "modality": document.modality,
        "series_instance_uid": document.series_instance_uid,
        "sop_instance_uid": document.sop_instance_uid,
        "sop_class_uid": document.sop_class_uid,
    }


def _series(series: Series) -> dict[str, Any]:
    return {
        "series_instance_uid": series.series_instance_uid,
        "modality": series.modality,
        "description": series.description,
        "number": series.number,
        "body_part_examined": series.body_part_examined,
        "frame_of_reference_uid": series.frame_of_reference_uid,
        "stacks": [_stack(stack) for stack in series.stacks],
    }


def _stack(stack: Stack) -> dict[str, Any]:
    description = stack.images[0].description
    return {
        "images": [_image(image) for image in stack.images],
        "order": stack.order,
        "shape": [description.columns, description.rows, stack.slices],
        "spacing_mm": [_finite(spacing) for spacing in stack.spacing_mm],
        "affine": None if stack.affine is None else [[float(value) for value in row] for row in stack.affine],
        "warnings": [{"code": caveat.code, "text": caveat.text} for caveat in stack.warnings],
        "axis": None if stack.axis is None else _axis(stack.axis),
    }


def _axis(axis: SecondAxis) -> dict[str, Any]:
    return {
        "name": axis.name,
        "unit": axis.unit,
        "size": axis.size,
        "slices": axis.slices,
        "values": list(axis.values),
    }


def _image(image: Image) -> dict[str, Any]:
    description = image.description
    return {
        "path": str(image.path),
        "frame": image.frame,
        "sop_instance_uid": image.sop_instance_uid,
        "sop_class_uid": description.sop_class_uid,
        "transfer_syntax_uid": description.transfer_syntax_uid,
        "instance_number": image.instance_number,
        "rows": description.rows,
        "columns": description.columns,
        "photometric_interpretation": description.photometric_interpretation,
        "pixel_spacing_mm": None if description.pixel_spacing_mm is None else list(description.pixel_spacing_mm),
        "spacing_source": description.spacing_source,
        "no_measuring_because": description.no_measuring_because,
        "warnings": [{"code": caveat.code, "text": caveat.text} for caveat in image.warnings],
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


_DOCUMENT_WORDS = {"report": "Report", "pdf": "PDF", "waveform": "Waveform"}


def _lines(document: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for patient in document["patients"]:
        lines.append(f"Patient {patient['patient_id'] or '(no number)'}")
        for study in patient["studies"]:
            lines.append(f"  Study {study['date']} {study['description']}".rstrip())
            for series in study["series"]:
                lines.append(f"    Series {series['modality']} {series['description']}".rstrip())
                lines += [line for stack in series["stacks"] for line in _stack_lines(stack)]
            for one in study["documents"]:
                lines.append(f"    {_DOCUMENT_WORDS[one['kind']]} {one['date']} {one['title']}".rstrip())
    counts = dict.fromkeys(("shown", "read", "refused"), 0)
    for file in document["files"]:
        counts[file["status"]] += 1
        if file["reason"]:
            lines.append(f"{file['path']}: {file['status']}: {file['reason']}")
    noun = "file" if len(document["files"]) == 1 else "files"
    lines.append(f"{len(document['files'])} {noun}: " + ", ".join(f"{n} {status}" for status, n in counts.items()))
    return lines


def _stack_lines(stack: dict[str, Any]) -> list[str]:
    columns, rows, slices = stack["shape"]
    warnings = "".join(f"; {warning['text']}" for warning in stack["warnings"])
    axis = stack["axis"]
    volumes = "" if axis is None else f" x {axis['size']} ({axis['name']})"
    line = f"      {columns} x {rows} x {slices}{volumes}, in order of {stack['order']}{warnings}"
    return [line, *_image_lines(stack["images"])]


def _image_lines(images: Sequence[dict[str, Any]]) -> list[str]:
    """Name each file with what is peculiar about its images; what holds for all of a stack is said once."""
    found: dict[str, Counter[str]] = {}
    for image in images:
        for warning in image["warnings"]:
            found.setdefault(warning["text"], Counter())[image["path"]] += 1
    lines: list[str] = []
    for text, places in found.items():
        if places.total() == len(images) and len(places) > 1:
            lines.append(f"        all {len(images)} images: {text}")
        else:
            lines += [f"        {path}{f' ({n} images)' if n > 1 else ''}: {text}" for path, n in places.items()]
    return lines


_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def _check_place(path: Path) -> None:
    """Refuse to replace anything but a picture: the source itself is one slip of the keyboard away.

    Raises:
        UsageError: something else lies there, or the name promises another kind of picture.
    """
    if path.suffix.lower() != ".png":
        raise UsageError(f"The picture is a PNG file; choose a name that ends in .png instead of {path.name}.")
    try:
        with path.open("rb") as file:
            start = file.read(len(_PNG_SIGNATURE)) if path.is_file() else b""
    except OSError:
        return  # not there, or not readable: whether it can be written is known when it is
    if start and start != _PNG_SIGNATURE:
        raise UsageError(f"{path} is there and is no PNG picture; it was not replaced, choose another name with --out.")


def render(arguments: argparse.Namespace) -> int:
    """Write the pixels that the window would show, at stored size, as an 8-bit PNG file."""
    window = None
    if arguments.window is not None:
        center, width = arguments.window
        if not (math.isfinite(center) and math.isfinite(width) and width > 0):
            raise UsageError("A window needs a finite centre and a width above 0: --window C W.")
        window = Window(center, width)
    _check_place(arguments.out)
    try:
        frame, what = _cut_plane(arguments) if arguments.plane else _stored_frame(arguments)
    finally:
        shutdown()
    if isinstance(arguments.voi, int):
        window = _own_window(frame, arguments.voi)
    pixels = to_display(frame, window)
    write_png(arguments.out, pixels)
    for caveat in frame.caveats:
        tell(caveat.text)
    if frame.shutters is not None:
        tell("The file's display shutter is left out: the picture shows what it covers.")
    tell(f"{arguments.out}: {what}, {pixels.shape[1]} x {pixels.shape[0]} pixels")
    return 0


def _own_window(frame: Frame, number: int) -> Window:
    """The window or look-up table of the file that was asked for; 0 is one of the image's values."""
    if number == 0:
        return automatic_window(frame)
    ways = own_windows(frame)
    if number > len(ways):
        raise UsageError(f"The file has {len(ways)} windows and look-up tables of its own; choose another --voi.")
    return ways[number - 1]


def _stored_frame(arguments: argparse.Namespace) -> tuple[Frame, str]:
    if any(option is not None for option in (arguments.at, arguments.slab, arguments.slab_mm, arguments.volume)):
        raise UsageError("--at, --slab, --slab-mm and --volume say where and how a plane is cut; add --plane.")
    image = choose_image(arguments.path, arguments.frame, needs_frame=False).image
    return read_frame(image), f"frame {image.frame}"


def _cut_plane(arguments: argparse.Namespace) -> tuple[Frame, str]:
    if arguments.frame is not None:
        raise UsageError("--frame names a stored image and --plane a new one; use one of them.")
    if arguments.slab is not None and arguments.slab_mm is None:
        raise UsageError("A slab needs its thickness: --slab-mm MM.")
    stack = choose_volume(choose_stack(arguments.path), arguments.volume)
    volume = read_volume(stack, progress=progress)
    clear_progress()
    at = sum(range_mm(volume, arguments.plane)) / 2 if arguments.at is None else arguments.at
    grid = standard_grid(volume, arguments.plane, at)
    frame = reslice(volume, grid, slab_mm=arguments.slab_mm or 0.0, slab=arguments.slab or "mean")
    return frame, f"{arguments.plane} at {at:g} mm, pixels of {grid.spacing_mm[0]:g} mm"
