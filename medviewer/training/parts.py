"""The images of each split, ready to learn from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medviewer.domain.errors import InputError
from medviewer.inference.preprocessing import prepare
from medviewer.training.batches import Part, Pixels
from medviewer.training.data import (
    SPLITS,
    ClassFolders,
    LabelledImage,
    duplicates_across,
    find_images,
    keep_decodable,
    label_table,
    read_class_folders,
    splits_of,
)
from medviewer.training.data_report import DataTable, images_table
from medviewer.training.neighbours import N_NEIGHBOURS
from medviewer.training.reading import Grey, Mapped

# Of images that are read when they are needed, this much is kept at the size that is learned from.
_KEPT_BYTES = 2**31


def read_parts(
    data: Path, classes: Sequence[str], seed: int, progress: Callable[[str], None]
) -> tuple[ClassFolders, dict[str, Part]]:
    """Read the images and split them by patient; tell what cannot be used.

    Class folders are held in memory. The images of a label table are decoded once, to know
    which can be, and from then on read again when they are needed.

    Raises:
        InputError: the data cannot be used, see :func:`split_parts`, or are too few for the neighbours of an answer.
    """
    pixels: Pixels
    if label_table(data) is None:
        found, pixels = read_class_folders(data, classes)
    else:
        found = keep_decodable(find_images(data, classes), lambda *_: None)
        pixels = Mapped(found.images, LabelledImage.read)
    for name, reason in found.unusable:
        progress(f"not used: {name}: {reason}")
    parts = split_parts(found, pixels, seed)
    if why := _too_few(len(parts["train"].labels)):
        raise InputError(why)
    progress(", ".join(f"{name} {len(part.labels)}" for name, part in parts.items()))
    return found, parts


def films_table(found: ClassFolders, seed: int) -> DataTable:
    """Return films as rows of a data report, with what :func:`read_parts` refuses beside what any images lack."""
    table = images_table(found, seed)
    why = _too_few(list(table.splits).count("train"))
    return replace(table, refusals=[why] if why else [])


def _too_few(n: int) -> str:
    """Why ``n`` training images are too few; empty if they are not."""
    needed = N_NEIGHBOURS
    if n >= needed:
        return ""
    return f"Too few images to learn from: the part train has {n}, and at least {needed} are needed; add more data."


def split_parts(found: ClassFolders, pixels: Pixels, seed: int) -> dict[str, Part]:
    """Return the images of each split.

    Raises:
        InputError: a split lacks a class, or identical files lie in two splits under
            the names of different patients.
    """
    where = splits_of(found, seed)
    if copies := duplicates_across(found.images, where):
        raise InputError(f"{copies[0][0]} and {copies[0][1]} are the same image of two patients; remove one of them.")
    names = np.array([where[image.group] for image in found.images])
    labels = np.array([image.label for image in found.images], dtype=np.int64)
    parts = {}
    for name in SPLITS:
        parts[name] = part_of(Part(pixels, labels), np.flatnonzero(names == name))
    for name, part in parts.items():
        lacking = [title for label, title in enumerate(found.classes) if label not in part.labels]
        if lacking:
            raise InputError(
                f"Too few patients: the part {name!r} of {found.root} lacks a class, {lacking[0]}; add more data."
            )
    return parts


def part_of(part: Part, chosen: npt.NDArray[np.intp]) -> Part:
    """Return some of the images, by their indices."""
    return Part(Mapped(chosen.tolist(), part.pixels.__getitem__), part.labels[chosen])


def of_one_size(part: Part, size: int) -> Part:
    """Return a part whose images all have ``size`` rows and columns, so that they fit in one array."""
    step = {"op": "resize", "rows": size, "columns": size}

    def squared(image: Grey) -> Grey:
        if image.shape == (size, size):
            return image
        square = prepare(image.astype(np.float32), [step]).tensor[0]
        return np.asarray(np.rint(square), dtype=np.uint8) if image.dtype == np.uint8 else square

    return Part(Mapped(part.pixels, squared, keep_bytes=_KEPT_BYTES), part.labels)


def learned_from(parts: Mapping[str, Part], size: int) -> dict[str, Part]:
    """Return what the loop is given: ``train`` at one size, and the validations; never ``report``."""
    return {"train": of_one_size(parts["train"], size), "tune": parts["tune"], "block": parts["block"]}
