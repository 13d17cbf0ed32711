"""BreastMNIST as published: one ``.npz`` file with images and labels of its parts (MedMNIST v2, CC BY 4.0).

Source: Yang et al., "MedMNIST v2", Scientific Data 2023; made from BUSI (Al-Dhabyani et al., Data in Brief 2020).
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.domain.errors import InputError
from medviewer.training.copies import near_copies
from medviewer.training.data import COPY_ELSEWHERE, ClassFolders, LabelledImage, label_table

FILE = "breastmnist.npz"
CLASSES = ("BENIGN_OR_NORMAL", "MALIGNANT")
PARTS = ("train", "val", "test")
# In the file 0 is malignant and 1 is "normal, benign"; ours are the other way round: 1 is what is looked for.
_MALIGNANT, _OTHER = 0, 1
_LARGEST_SIDE, _MOST = 512, 20_000


def published_file(root: Path) -> Path | None:
    """Return the file of this form that ``root`` is or holds, whatever it is called; None if it holds none.

    One that is called :data:`FILE` goes before everything else in a folder; a label table and class folders go
    before a file of another name.

    Raises:
        InputError: there are several, and none is called :data:`FILE`.
    """
    if not root.is_dir():
        return root if root.suffix.lower() == ".npz" else None
    if (root / FILE).is_file():
        return root / FILE
    if label_table(root) is not None or any((root / name).is_dir() for name in CLASSES):
        return None
    try:
        found = sorted(path for path in root.iterdir() if path.suffix.lower() == ".npz" and _has_parts(path))
    except OSError:  # who looks for class folders says so
        return None
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise InputError(f"{root} holds several files of this form ({names}); give the one that is meant.")
    return found[0] if found else None


def read_breastmnist(path: Path, classes: Sequence[str]) -> ClassFolders:
    """List the images of every part that the file has.

    ``split`` of an image is its part, ``group`` the images that are near copies of each other, over
    all parts: no patient is published. The fact :data:`~medviewer.training.data.COPY_ELSEWHERE` says whether
    one lies in another part.

    Args:
        path: the file, with ``train_images`` ``(n, rows, columns)`` uint8 and ``train_labels`` ``(n, 1)``, and
            likewise ``val`` and ``test``; one part is enough.
        classes: must be :data:`CLASSES`.

    Raises:
        InputError: the file cannot be read, its arrays are not as described, or the classes are others.
    """
    if tuple(classes) != CLASSES:
        raise InputError(f"{path.name} is read as BreastMNIST, whose classes are {', '.join(CLASSES)}; not these data.")
    arrays = _arrays(path)
    parts = [part for part in PARTS if f"{part}_images" in arrays or f"{part}_labels" in arrays]
    if not parts:
        raise InputError(f"{path.name} holds no train_images, val_images or test_images; it is no MedMNIST file.")
    pixels: list[npt.NDArray[np.uint8]] = []
    labels: list[int] = []
    names: list[tuple[str, str]] = []
    for part in parts:
        images, numbers = _checked(path, part, arrays)
        pixels += list(images)
        labels += [int(number == _MALIGNANT) for number in numbers]
        names += [(part, f"{CLASSES[int(number == _MALIGNANT)]}/{part}-{i:05d}") for i, number in enumerate(numbers)]
    group = near_copies(pixels)
    splits = np.array([part for part, _ in names])
    listed = [
        LabelledImage(
            path, name, labels[i], f"copies-{group[i]}", hashlib.sha256(pixels[i].tobytes()).hexdigest(), part,
            {COPY_ELSEWHERE: "yes" if bool((splits[group == group[i]] != part).any()) else "no"}, pixels=pixels[i],
        )
        for i, (part, name) in enumerate(names)
    ]  # fmt: skip
    return ClassFolders(path, CLASSES, tuple(sorted(listed, key=lambda image: image.name)))


def part_digests(found: ClassFolders) -> dict[str, str]:
    """Return one sha256 for each part; of images that are in none, one for all."""
    parts = sorted({image.split for image in found.images})
    return {
        part: replace(found, images=tuple(image for image in found.images if image.split == part)).digest
        for part in parts
    }


def _arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files if name.split("_")[0] in PARTS}
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or 'damaged'}); download it again.") from error
    except (ValueError, EOFError, zipfile.BadZipFile, TypeError, AttributeError) as error:
        raise InputError(f"{path.name} is no .npz file of arrays, or is damaged; download it again.") from error


def _has_parts(path: Path) -> bool:
    """Whether the file has an array of a part; what is in it is not read."""
    try:
        with zipfile.ZipFile(path) as stored:
            names = {name.removesuffix(".npy") for name in stored.namelist()}
    except (OSError, zipfile.BadZipFile):
        return False
    return any(f"{part}_{what}" in names for part in PARTS for what in ("images", "labels"))


def _checked(
    path: Path, part: str, arrays: dict[str, npt.NDArray[Any]]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return the images and labels of a part, if they are what they should be."""
    images, labels = arrays.get(f"{part}_images"), arrays.get(f"{part}_labels")
    if images is None or labels is None:
        raise InputError(f"{path.name} has only one of {part}_images and {part}_labels; both are needed.")
    is_grey = images.ndim == 3 and images.dtype == np.uint8 and 1 <= min(images.shape[1:]) <= max(images.shape[1:])
    if not is_grey or max(images.shape[1:]) > _LARGEST_SIDE or not 1 <= len(images) <= _MOST:
        found = f"{images.dtype} {images.shape}"
        raise InputError(
            f"{part}_images of {path.name} are not grey images (n, rows, columns) of uint8; found {found}."
        )
    if labels.shape not in ((len(images),), (len(images), 1)) or labels.dtype.kind not in "iu":
        raise InputError(
            f"{part}_labels of {path.name} are not one whole number for each of {len(images)} images; "
            f"found {labels.dtype} {labels.shape}."
        )
    numbers = labels.reshape(-1).astype(np.int64)
    if not np.isin(numbers, (_MALIGNANT, _OTHER)).all():
        raise InputError(f"{part}_labels of {path.name} hold other numbers than 0 (malignant) and 1 (normal, benign).")
    return images, numbers
