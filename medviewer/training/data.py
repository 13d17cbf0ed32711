"""Folders of labelled images, read into memory, split by patient.

The split is a property of the data, not of a run: it is computed from patient
groups and a seed alone, so adding an image moves no other, and anyone with the
same files gets the same held-out patients.

Four parts:

``train``   learns.
``block``   the patients with the lowest numbers of each file-name family. Numbers
            follow the order of acquisition, so these were taken apart in time:
            a harder validation than random patients. Chooses the epoch.
``tune``    random patients. Chooses the epoch, calibration and threshold.
``report``  random patients. Chooses nothing; every published figure comes from here.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from medviewer.domain.errors import InputError
from medviewer.domain.frozen import dataclass
from medviewer.domain.study import Image
from medviewer.imaging.scale import pixel_aspect
from medviewer.training.reading import PICTURES, Grey, read_dicom_grey

SPLITS = ("train", "block", "tune", "report")
SHARES: Mapping[str, float] = {"block": 0.08, "tune": 0.09, "report": 0.11}
LABEL_TABLE = "labels.csv"
# A fact of an image: whether ("yes", "no") it has a near copy in another part of the data.
COPY_ELSEWHERE = "near copy in another part"

# The published names: person12_bacteria_45, IM-0115-0001, NORMAL2-IM-0383-0001-0002.
_PERSON = re.compile(r"^(person\d+_(?:bacteria|virus))_")
_NORMAL = re.compile(r"^((?:NORMAL\d*-)?IM-\d+)-")
_NAME_COLUMNS = "Name its columns file and patient_group, or move it elsewhere."
_NUMBER = re.compile(r"\d+(?!.*\d)")


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One file of a class folder, or one row of a label table.

    Attributes:
        path: where it lies.
        name: ``CLASS/file name``, or what the table calls it; stable across machines.
        label: index into :attr:`ClassFolders.classes`.
        group: the patient, as far as the file names or the table tell.
        digest: sha256 of the file's bytes.
        split: where the table puts it; empty where it leaves that to us.
        facts: what else the table says of it, by column; for subgroups.
        image: the DICOM image; None for a picture.
        pixels: where one file holds many images, this one's.
        is_film: the file is named as the published films are, in a class folder: see :func:`patients_of`.
    """

    path: Path
    name: str
    label: int
    group: str
    digest: str
    split: str = ""
    facts: Mapping[str, str] = field(default_factory=lambda: _NO_FACTS)
    image: Image | None = None
    pixels: Grey | None = field(default=None, compare=False, repr=False)
    is_film: bool = False

    def read(self) -> Grey:
        """Return its pixels, ``(rows, columns)``.

        Raises:
            InputError: they cannot be decoded, or show nothing.
        """
        grey = self.pixels
        if grey is None:
            grey = read_grey(self.path) if self.image is None else read_dicom_grey(self.image)
        if grey.min() == grey.max():
            raise InputError("The image is one grey all over and shows nothing; leave it out or replace it.")
        return grey

    @property
    def pixel_aspect(self) -> float:
        """The height of a pixel over its width, as the image has when it is served; 1 in a picture."""
        return 1.0 if self.image is None else pixel_aspect(self.image.description)


_NO_FACTS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ClassFolders:
    """A folder with one folder for each class, or with a label table.

    Attributes:
        root: the folder, or the table.
        classes: the names of the class folders, in the order of the labels.
        images: every usable file, sorted by name.
        unusable: ``(name, reason)`` of each file that cannot be used; never silent.
        is_table: labels and patients are those of a label table.
    """

    root: Path
    classes: tuple[str, ...]
    images: tuple[LabelledImage, ...]
    unusable: tuple[tuple[str, str], ...] = field(default=())
    is_table: bool = False

    @property
    def digest(self) -> str:
        """Return one sha256 over all file names and contents; of a table, over labels, patients and splits too."""
        total = hashlib.sha256()
        for image in self.images:
            told = f"\0{self.classes[image.label]}\0{image.group}\0{image.split}" if self.is_table else ""
            total.update(f"{image.name}\0{image.digest}{told}\n".encode())
        return total.hexdigest()

    @property
    def per_class(self) -> dict[str, int]:
        """Return the number of images of each class."""
        counts = Counter(image.label for image in self.images)
        return {name: counts[label] for label, name in enumerate(self.classes)}


def find_images(root: Path, classes: Sequence[str]) -> ClassFolders:
    """List the images of ``root/CLASS/`` with their patients and digests; decode none.

    A folder with a ``labels.csv``, or such a file itself, is read by
    :func:`medviewer.training.labels.read_label_table` instead, an ``.npz`` file, or the one in a folder of the
    classes of BreastMNIST, by :func:`medviewer.training.breastmnist.read_breastmnist`. Patient groups come from
    ``root.csv`` beside the folder (columns ``file``, ``patient_group`` and, to check contents,
    ``sha256``) where it exists, else from the published file names; a file that neither names
    counts as a patient of its own.

    Args:
        root: the folder that holds the class folders.
        classes: the class folders to expect, in the order of their labels.

    Raises:
        InputError: the folder cannot be read, a class folder is unknown or missing, or
            a class has no image.
    """
    from medviewer.training import breastmnist  # noqa: PLC0415 - it builds on this module

    is_theirs = tuple(classes) == breastmnist.CLASSES or root.suffix.lower() == ".npz"
    if is_theirs and (file := breastmnist.published_file(root)) is not None:
        return _with_every_class(breastmnist.read_breastmnist(file, classes))
    if (table := label_table(root)) is not None:
        from medviewer.training.labels import read_label_table  # noqa: PLC0415 - likewise

        return _with_every_class(read_label_table(table, classes))
    published, unusable = _published(root)
    lacks_groups = bool(published) and not any("patient_group" in row for row in published.values())
    images: list[LabelledImage] = []
    for label, folder in enumerate(_class_folders(root, classes)):
        for path in sorted(folder.iterdir()):
            name = f"{folder.name}/{path.name}"
            if path.suffix.lower() not in PICTURES:
                unusable.append((name, "not a JPEG or PNG file"))
                continue
            try:
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
            except OSError as error:
                unusable.append((name, f"cannot be read ({error.strerror})"))
                continue
            row = published.pop(name, {})
            if (wanted := row.get("sha256")) and wanted.lower() != digest:
                unusable.append((name, f"is not the published file: its sha256 is another one than in {root.name}.csv"))
                continue
            group = row.get("patient_group") or patient_group(path.name)
            images.append(LabelledImage(path, name, label, group, digest, is_film=_names_patient(path.name)))
    unusable += [(name, f"named in {root.name}.csv, but not there") for name in published]
    if lacks_groups and not all(_names_patient(image.path.name) for image in images):
        raise InputError(
            f"{root.name}.csv stands beside the images and has no column patient_group: nobody knows which images "
            f"are of one patient. {_NAME_COLUMNS}"
        )
    return _with_every_class(ClassFolders(root, tuple(classes), tuple(images), tuple(unusable)))


def label_table(root: Path) -> Path | None:
    """Return the label table that ``root`` is or holds."""
    if root.suffix.lower() == ".csv":
        return root
    return root / LABEL_TABLE if (root / LABEL_TABLE).is_file() else None


def read_class_folders(root: Path, classes: Sequence[str]) -> tuple[ClassFolders, list[Grey]]:
    """Find and decode every image, to be held in memory.

    Args:
        root: the folder that holds the class folders, or a label table.
        classes: the class folders to expect, in the order of their labels.

    Returns:
        What is usable (the rest is in ``unusable``), and the pixels in the same order,
        each ``(rows, columns)``.

    Raises:
        InputError: as :func:`find_images`, or no image of a class can be decoded.
    """
    pixels: list[Grey] = []
    return keep_decodable(find_images(root, classes), lambda _, grey: pixels.append(grey)), pixels


def keep_decodable(found: ClassFolders, look: Callable[[LabelledImage, Grey], None]) -> ClassFolders:
    """Decode every image once; those that cannot be, or show nothing, are moved to ``unusable``, with the reason.

    Args:
        found: what to decode.
        look: given each image with its pixels, in order.

    Raises:
        InputError: no image of a class can be used.
    """
    images: list[LabelledImage] = []
    unusable = list(found.unusable)
    for image in found.images:
        try:
            grey = image.read()
        except InputError as error:
            unusable.append((image.name, str(error)))
            continue
        look(image, grey)
        images.append(image)
    return _with_every_class(replace(found, images=tuple(images), unusable=tuple(unusable)))


def _with_every_class(found: ClassFolders) -> ClassFolders:
    """Pass on what was found, unless a class has nothing."""
    if empty := [name for name, count in found.per_class.items() if count == 0]:
        said = f"The class {empty[0]!r} in {found.root} has no usable image; add files of it."
        if found.unusable:
            name, reason = found.unusable[0]
            said += f" Left out as not usable: {len(found.unusable)}; the first is {name}: {reason}"
        raise InputError(said)
    return found


def _class_folders(root: Path, classes: Sequence[str]) -> list[Path]:
    """Return the folder of each class, after checking that nothing else is there."""
    try:
        present = {path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")}
    except OSError as error:
        raise InputError(f"The folder {root} cannot be read ({error.strerror}).") from error
    expected = ", ".join(classes)
    if unknown := sorted(present - set(classes)):
        raise InputError(f"{root} holds the unknown class folder {unknown[0]!r}; expected {expected}.")
    if missing := [name for name in classes if name not in present]:
        raise InputError(f"{root} has no class folder {missing[0]!r}; expected {expected}.")
    return [root / name for name in classes]


def read_grey(path: Path) -> npt.NDArray[np.uint8]:
    """Return a JPEG or PNG file as grey, ``(rows, columns)`` uint8, bright is dense.

    Raises:
        InputError: the file cannot be decoded.
    """
    from PIL import Image as Picture  # noqa: PLC0415 - only who decodes needs it

    try:
        with Picture.open(path) as image:
            if image.mode.startswith("I") or image.mode == "F":
                # 16-bit PNG: Pillow's own conversion to 8 bits cuts the values off at 255.
                wide = np.asarray(image, dtype=np.float64)
                return np.asarray(np.rint(wide / max(float(wide.max()), 1.0) * 255), dtype=np.uint8)
            return np.asarray(image.convert("L"), dtype=np.uint8)
    except (OSError, ValueError, SyntaxError, Picture.DecompressionBombError) as error:
        raise InputError(f"The image {path.name} cannot be decoded ({type(error).__name__}).") from error


def _published(root: Path) -> tuple[dict[str, dict[str, str]], list[tuple[str, str]]]:
    """Return file name -> row of the table beside the folder, if there is one, and the rows that name no file."""
    table = root.parent / f"{root.name}.csv"
    if not table.is_file():
        return {}, []
    columns, rows = read_table(table)
    if "file" not in columns:
        raise InputError(f"{table} stands beside the images and has no column file. {_NAME_COLUMNS}")
    found: dict[str, dict[str, str]] = {}
    nameless: list[tuple[str, str]] = []
    for number, row in rows:
        if not row["file"]:
            nameless.append((f"row {number} of {table.name}", "names no file"))
            continue
        if row["file"] in found:
            raise InputError(f"Row {number} of {table.name} names {row['file']} a second time; keep one.")
        found[row["file"]] = row
    return found, nameless


def read_table(table: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Return the columns of a CSV file, without blanks and in small letters, and its rows by the number of their line.

    A row without a value, as spreadsheets leave them behind, is none.

    Raises:
        InputError: it cannot be read, two columns have one name, or a row has more values than there are columns.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines, strict=True)
            columns = [name.strip().lower() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            rows = [(reader.line_num, row) for row in reader]
    except OSError as error:
        raise InputError(f"The table {table} cannot be read ({error.strerror}).") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"The table {table} is no CSV file in UTF-8; save it again as one.") from error
    if twice := [name for name, count in Counter(filter(None, columns)).items() if count > 1]:
        raise InputError(f"{table.name} has two columns {twice[0]}; keep the one that is meant.")
    if long := [number for number, row in rows if None in row]:
        raise InputError(
            f"Row {long[0]} of {table.name} has more values than there are columns; is a comma not quoted?"
        )
    stripped = [(number, {name: (value or "").strip() for name, value in row.items()}) for number, row in rows]
    return columns, [(number, row) for number, row in stripped if any(row.values())]


def patient_group(file_name: str) -> str:
    """Return the patient named in a published file name, else the name itself.

    >>> patient_group("person12_virus_45.jpeg"), patient_group("NORMAL2-IM-0383-0001.jpeg")
    ('person12_virus', 'NORMAL2-IM-0383')
    """
    found = _PERSON.match(file_name) or _NORMAL.match(file_name)
    return found.group(1) if found else Path(file_name).stem


def _names_patient(file_name: str) -> bool:
    return bool(_PERSON.match(file_name) or _NORMAL.match(file_name))


def has_published_names(found: ClassFolders) -> bool:
    """Whether every file is named as the published films of Kermany et al. are, in class folders of their own."""
    return not found.is_table and are_published_names(found.images)


def are_published_names(images: Sequence[LabelledImage]) -> bool:
    """Whether the sick are named as the published ones are, and the normal too: other viewers write IM-0001-0001."""
    return all((_PERSON if image.label else _NORMAL).match(image.name.rsplit("/", 1)[-1]) for image in images)


def split_key(group: str) -> str:
    """Return what must stay together in a split, of a published film.

    The names restart their numbers for bacteria and virus and for the two series of
    normals. Whether ``person12_bacteria`` and ``person12_virus`` are one child is not
    published, so we act as if they were.

    >>> split_key("person12_virus"), split_key("NORMAL2-IM-0383")
    ('person12', 'IM-0383')
    """
    return re.sub(r"_(bacteria|virus)$", "", re.sub(r"^NORMAL\d*-", "", group))


def patients_of(images: Iterable[LabelledImage]) -> dict[str, str]:
    """Return patient group -> patient: of published films by :func:`split_key`, of all others the group as it is.

    The numbers of one's own table or files mean what its maker says: ``IM-1`` and ``NORMAL-IM-1`` are two patients.
    """
    films = {image.group: image.is_film for image in sorted(images, key=lambda image: image.is_film)}
    return {group: split_key(group) if is_film else group for group, is_film in films.items()}


def split_patients(
    groups: Iterable[str],
    seed: int,
    *,
    patient: Callable[[str], str] = split_key,
    block: float = SHARES["block"],
    tune: float = SHARES["tune"],
    report: float = SHARES["report"],
) -> dict[str, str]:
    """Assign every patient group to one of :data:`SPLITS`.

    Args:
        groups: patient groups, any order, repeats allowed.
        seed: another seed, other random patients; the block stays.
        patient: gives the patient of a group.
        block: share of each numbered family's patients, from the lowest number up.
        tune: share of the remaining patients.
        report: share of the remaining patients.

    Returns:
        group -> split. Groups of one patient share a split.
    """
    unique = sorted(set(groups))
    families: dict[str, dict[int, str]] = defaultdict(dict)
    for group in unique:
        if number := _NUMBER.search(group):
            families[group[: number.start()] + group[number.end() :]][int(number.group())] = group
    early = {
        patient(numbered[number])
        for numbered in families.values()
        for number in sorted(numbered)[: int(block * len(numbered))]
    }
    return {group: _split(patient(group), early, seed, tune, report) for group in unique}


def _split(key: str, early: set[str], seed: int, tune: float, report: float) -> str:
    """Place one key by its own hash: no other patient has a say in it."""
    if key in early:
        return "block"
    draw = int.from_bytes(hashlib.sha256(f"{seed}/{key}".encode()).digest()[:8]) / 2**64
    if draw < tune:
        return "tune"
    return "report" if draw < tune + report else "train"


def splits_of(found: ClassFolders, seed: int, **shares: float) -> dict[str, str]:
    """Return patient group -> split: as the label table says, else as :func:`split_patients` does."""
    if any(image.split for image in found.images):
        return {image.group: image.split for image in found.images}
    patients = patients_of(found.images)
    return split_patients(patients, seed, patient=patients.__getitem__, **shares)


def duplicates_across(images: Sequence[LabelledImage], splits: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Return the names of identical files that the split put on different sides."""
    same: dict[str, list[LabelledImage]] = defaultdict(list)
    for image in images:
        same[image.digest].append(image)
    return [
        tuple(image.name for image in copies)
        for copies in same.values()
        if len({splits[image.group] for image in copies}) > 1
    ]
