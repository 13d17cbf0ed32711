"""A table of labels beside a hospital's own archive of DICOM files or pictures.

One row an image, columns by name: ``file`` (below the table's folder, or a whole path) or
``sop_instance_uid`` (looked for below the table's folder), ``label`` (a class), ``patient``
(anything that is the same for all images of one person), and, if wanted, ``split`` (where the
patient goes; in all rows or none) and ``sha256`` (of the file). Any other column tells subgroups.

A row that cannot be used is named with its reason; a table that contradicts itself is refused,
for nobody can know which half of a contradiction is true.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from medviewer.domain.errors import InputError
from medviewer.domain.frozen import dataclass
from medviewer.domain.study import Image
from medviewer.imaging.scan import images_of, scan
from medviewer.training.data import SPLITS, ClassFolders, LabelledImage, read_table
from medviewer.training.reading import PICTURES

_FILE, _UID, _LABEL, _PATIENT, _SPLIT, _DIGEST = "file", "sop_instance_uid", "label", "patient", "split", "sha256"
_OURS = (_FILE, _UID, _LABEL, _PATIENT, _SPLIT, _DIGEST)
_NOTHING = frozenset({"", "nan", "na", "n/a", "none", "null"})


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of the table, with the number that a spreadsheet shows."""

    number: int
    values: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.values.get(column, "")

    @property
    def name(self) -> str:
        return self[_FILE] or self[_UID] or f"row {self.number}"

    def problem(self) -> str:
        """Say why the row cannot be used, whatever lies in the folder."""
        if not (self[_FILE] or self[_UID]):
            return f"row {self.number} names no file"
        if self[_LABEL].lower() in _NOTHING:
            return f"row {self.number} has no label"
        if self[_PATIENT].lower() in _NOTHING:
            return f"row {self.number} has no patient: the image could be learned from and validated on"
        return ""


def read_label_table(table: Path, classes: Sequence[str]) -> ClassFolders:
    """List the images that a label table names; decode none.

    Args:
        table: the CSV file, in UTF-8.
        classes: the labels to expect, in the order of their numbers.

    Raises:
        InputError: the table cannot be read, lacks a column, or contradicts itself: two rows of
            one image, an unknown label or split, a patient in two splits.
    """
    rows = _rows(table)
    unusable = [(row.name, problem) for row in rows if (problem := row.problem())]
    rows = [row for row in rows if not row.problem()]
    _check_labels(table, rows, classes)
    _check_splits(table, rows)
    found = _images_by_uid(table.parent) if any(not row[_FILE] for row in rows) else {}
    images: list[LabelledImage] = []
    for row in rows:
        made = _image(row, table.parent, classes, found)
        if isinstance(made, str):
            unusable.append((row.name, made))
        else:
            images.append(made)
    _check_once(table, images, rows)
    images.sort(key=lambda image: image.name)
    return ClassFolders(table, tuple(classes), tuple(images), tuple(unusable), is_table=True)


def _rows(table: Path) -> list[_Row]:
    columns, read = read_table(table)
    rows = [_Row(number, values) for number, values in read]
    missing = [name for name in (_LABEL, _PATIENT) if name not in columns]
    if missing or (_FILE not in columns and _UID not in columns):
        lacking = missing[0] if missing else f"{_FILE} or {_UID}"
        raise InputError(f"{table.name} has no column {lacking}; it needs {_FILE} or {_UID}, {_LABEL}, {_PATIENT}.")
    return rows


def _check_labels(table: Path, rows: Sequence[_Row], classes: Sequence[str]) -> None:
    for row in rows:
        if row[_LABEL] not in classes:
            expected = ", ".join(classes)
            raise InputError(
                f"Row {row.number} of {table.name} has the unknown label {row[_LABEL]!r}; expected {expected}."
            )


def _check_splits(table: Path, rows: Sequence[_Row]) -> None:
    """Refuse splits that are unknown, given for some rows only, or two for one patient."""
    given = [row for row in rows if row[_SPLIT]]
    if given and len(given) < len(rows):
        empty = next(row for row in rows if not row[_SPLIT])
        raise InputError(f"Row {empty.number} of {table.name} has no split while others have one; fill in all or none.")
    seen: dict[str, _Row] = {}
    for row in given:
        if row[_SPLIT] not in SPLITS:
            expected = ", ".join(SPLITS)
            raise InputError(
                f"Row {row.number} of {table.name} has the unknown split {row[_SPLIT]!r}; there are {expected}."
            )
        first = seen.setdefault(row[_PATIENT], row)
        if first[_SPLIT] != row[_SPLIT]:
            raise InputError(
                f"Rows {first.number} and {row.number} of {table.name} put one patient into {first[_SPLIT]} and "
                f"{row[_SPLIT]}; keep each patient in one split."
            )


def _check_once(table: Path, images: Sequence[LabelledImage], rows: Sequence[_Row]) -> None:
    """Refuse a table that names one image twice, by whichever names."""
    numbers: dict[str, int] = {}
    for row in rows:
        first = numbers.setdefault(row.name, row.number)
        if first != row.number:
            raise InputError(f"Rows {first} and {row.number} of {table.name} name the same image {row.name}; keep one.")
    places: dict[object, str] = {}
    for image in images:
        place = image.image.sop_instance_uid if image.image is not None else image.path.resolve()
        other = places.setdefault(place, image.name)
        if other != image.name:
            first, second = sorted((numbers[other], numbers[image.name]))
            raise InputError(f"Rows {first} and {second} of {table.name} name the same image {image.name}; keep one.")


def _images_by_uid(folder: Path) -> dict[str, list[Image]]:
    """Return the DICOM images below a folder, frames together."""
    found: dict[str, list[Image]] = defaultdict(list)
    for image in images_of(scan([folder])):
        found[image.sop_instance_uid].append(image)
    return found


def _image(row: _Row, folder: Path, classes: Sequence[str], by_uid: Mapping[str, list[Image]]) -> LabelledImage | str:
    """Return the image of a row, or why there is none."""
    frames = list(by_uid.get(row[_UID], ()))
    path = folder / row[_FILE] if row[_FILE] else (frames[0].file if frames else None)
    if path is None:
        return f"no image with this UID lies below {folder}"
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if row[_DIGEST] and row[_DIGEST].lower() != digest:
        return "is not the file that was labelled: its sha256 is another one than in the table"
    if path.suffix.lower() not in PICTURES:
        frames = frames or list(images_of(scan([path])))
        if not frames or frames[0].kind != "DICOM":
            return "is neither a DICOM image nor a JPEG or PNG file"
        if row[_UID] and row[_UID] != frames[0].sop_instance_uid:
            return "holds another SOP Instance UID than the table says"
        if len(frames) > 1:
            return f"holds {len(frames)} frames or copies; the model takes one image"
    # "nan" is what a program wrote of an empty cell; "none" may be a value, as of implants.
    facts = {n: "" if value.lower() == "nan" else value for n, value in row.values.items() if n not in _OURS}
    label, split = classes.index(row[_LABEL]), row[_SPLIT]
    return LabelledImage(path, row.name, label, row[_PATIENT], digest, split, facts, frames[0] if frames else None)
