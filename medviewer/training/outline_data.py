"""Images with masks that people drew: pictures and masks of the same names, or DICOM images with Segmentations."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from medviewer.domain.errors import InputError, MedViewerError
from medviewer.domain.frame import Frame
from medviewer.domain.frozen import dataclass
from medviewer.domain.layer import Segmentation
from medviewer.domain.presentation import are_named
from medviewer.domain.study import Collection, Image, PixelDescription, Stack
from medviewer.imaging.decode import read_frame
from medviewer.imaging.planes import grid_of
from medviewer.imaging.scale import scale_at
from medviewer.imaging.scan import scan
from medviewer.imaging.segmentation import masks_on, read_segmentation
from medviewer.training.data import read_grey
from medviewer.training.outline_metrics import Mask

PICTURES = frozenset((".png", ".jpg", ".jpeg"))
LAYOUT = (
    "it must hold images/ and masks/ with files of the same names (masks/LABEL/ of a model with several labels), or "
    "DICOM images with DICOM Segmentations of them"
)


@dataclass(frozen=True, slots=True)
class OutlinedCase:
    """One image with what people outlined on it.

    Attributes:
        name: of the image's file, or what tells it from others below the data folder.
        patient: what is drawn as one in the bootstrap.
        digest: SHA-256 of the image's file and its masks'.
        read: the image and the mask of each label; raises InputError where they cannot be used.
    """

    name: str
    patient: str
    digest: str
    read: Callable[[], tuple[Frame, Mapping[str, Mask]]]


@dataclass(frozen=True, slots=True)
class Outlined:
    """All cases of a folder, and ``(name, reason)`` of what cannot be used."""

    cases: tuple[OutlinedCase, ...]
    unusable: tuple[tuple[str, str], ...]

    @property
    def digest(self) -> str:
        """SHA-256 over the names and contents of all cases."""
        lines = sorted(f"{case.name} {case.digest}\n" for case in self.cases)
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def find_outlined(root: Path, labels: Sequence[str]) -> Outlined:
    """List images that have masks; decode none.

    Args:
        root: holds ``images/`` and ``masks/``, or DICOM files in any folders.
        labels: of the model.

    Raises:
        InputError: neither is there.
    """
    if (root / "images").is_dir() and (root / "masks").is_dir():
        return _of_folders(root, labels)
    return _of_dicom(root, labels)


def spacing_mm(frame: Frame) -> tuple[float, float] | None:
    """How large a pixel is, between rows and between columns; None where the file gives nothing to trust."""
    rows, columns = frame.stored.shape[:2]
    scale = scale_at([(0.0, 0.0), (float(columns), float(rows))], frame.description)
    return (scale.down, scale.across) if scale.units == ("mm", "mm") else None


def _of_folders(root: Path, labels: Sequence[str]) -> Outlined:
    folders = [root / "masks" / label for label in labels]
    if len(labels) == 1 and not folders[0].is_dir():
        folders = [root / "masks"]
    if missing := [folder.name for folder in folders if not folder.is_dir()]:
        raise InputError(f"{root.name}/masks has no folder {missing[0]}: {LAYOUT}.")
    by_stem = [{path.stem: path for path in sorted(folder.iterdir()) if path.is_file()} for folder in folders]
    cases, unusable = [], []
    for path in sorted((root / "images").iterdir()):
        masks = [own.get(path.stem) for own in by_stem]
        if not path.is_file():
            continue
        found = [mask for mask in masks if mask is not None]
        if len(found) < len(labels):
            without = ", ".join(label for label, mask in zip(labels, masks, strict=True) if mask is None)
            unusable.append((path.name, f"It has no mask of {without}."))
            continue
        cases.append(_case_of_files(path, dict(zip(labels, found, strict=True))))
    return _with_cases(cases, unusable, root)


def _case_of_files(path: Path, masks: Mapping[str, Path]) -> OutlinedCase:
    digest = hashlib.sha256()
    for one in (path, *masks.values()):
        digest.update(one.read_bytes())

    def read() -> tuple[Frame, Mapping[str, Mask]]:
        frame = _frame_of(path)
        shape = frame.stored.shape[:2]
        drawn = {label: _mask_of(mask) for label, mask in masks.items()}
        for label, mask in drawn.items():
            if mask.shape != shape:
                raise InputError(f"The mask of {label} has {mask.shape[0]} x {mask.shape[1]} pixels and the image "
                                 f"{shape[0]} x {shape[1]}.")  # fmt: skip
        return frame, drawn

    return OutlinedCase(path.name, path.name, digest.hexdigest(), read)


def _mask_of(path: Path) -> Mask:
    """What is not black is inside; of a JPEG, whose edges are blurred, what is brighter than half."""
    return np.asarray(read_grey(path) > (127 if path.suffix.lower() in (".jpg", ".jpeg") else 0), np.bool_)


def _frame_of(path: Path) -> Frame:
    """A picture, or the one image of a DICOM file."""
    if path.suffix.lower() in PICTURES:
        grey = read_grey(path)
        described = PixelDescription(
            modality="", rows=grey.shape[0], columns=grey.shape[1], samples_per_pixel=1,
            photometric_interpretation="MONOCHROME2", bits_stored=8, is_signed=False,
        )  # fmt: skip
        return Frame(grey, described)
    images = [image for _, stack in _stacks(scan([path])) for image in stack.images]
    if len(images) != 1:
        raise InputError("It is no file with one image.")
    return read_frame(images[0])


def _of_dicom(root: Path, labels: Sequence[str]) -> Outlined:
    collection = scan([root])
    unusable = [(problem.path.name, problem.reason) for problem in collection.problems if problem.status == "refused"]
    layers: list[Segmentation] = []
    images: list[tuple[str, Image]] = []
    for patient, stack in _stacks(collection):
        if stack.images[0].description.modality != "SEG":
            images += [(patient, image) for image in stack.images]
            continue
        try:
            layers.append(read_segmentation(stack))
        except MedViewerError as error:
            unusable.append((stack.images[0].path.name, str(error)))
    known = [layer for layer in layers if _segments(layer, labels)]
    cases = []
    for patient, image in images:
        own = [layer for layer in known if are_named(layer.references, image.sop_instance_uid, image.frame)]
        if own:
            cases.append(_case_of_dicom(image, patient, own, labels))
    return _with_cases(cases, unusable, root)


def _stacks(collection: Collection) -> Iterator[tuple[str, Stack]]:
    for patient in collection.patients:
        for study in patient.studies:
            for series in study.series:
                for stack in series.stacks:
                    yield patient.key or patient.patient_id, stack


def _segments(layer: Segmentation, labels: Sequence[str]) -> dict[int, str]:
    """Which of the labels each segment is of, by its number."""
    names = {label.casefold(): label for label in labels}
    return {
        one.number: names[one.label.strip().casefold()]
        for one in layer.segments
        if one.label.strip().casefold() in names
    }


def _case_of_dicom(image: Image, patient: str, layers: Sequence[Segmentation], labels: Sequence[str]) -> OutlinedCase:
    frame_words = f" (frame {image.frame})" if image.number_of_frames > 1 else ""
    digest = hashlib.sha256(image.file.read_bytes())
    for layer in layers:
        for one in layer.frames:
            digest.update(
                f"{one.segment} {one.position} {one.row} {one.column}".encode() + np.packbits(one.mask).tobytes()
            )

    def read() -> tuple[Frame, Mapping[str, Mask]]:
        shape = (image.description.rows, image.description.columns)
        drawn = {label: np.zeros(shape, np.bool_) for label in labels}
        for layer in layers:
            names = _segments(layer, labels)
            for number, mask in _masks(layer, image, shape).items():
                if number in names:
                    drawn[names[number]] |= mask
        return read_frame(image), drawn

    return OutlinedCase(f"{image.path.name}{frame_words}", patient, digest.hexdigest(), read)


def _masks(layer: Segmentation, image: Image, shape: tuple[int, int]) -> Mapping[int, Mask]:
    """The masks of a segmentation on one of the images that it was made on."""
    if layer.on is not None:
        if layer.shape != shape:
            raise InputError("Its segmentation is of another size.")
        masks: dict[int, Mask] = {}
        for one in layer.frames:
            whole = masks.setdefault(one.segment, np.zeros(shape, np.bool_))
            whole[one.row : one.row + one.mask.shape[0], one.column : one.column + one.mask.shape[1]] |= one.mask
        return masks
    grid = grid_of(image.description)
    if grid is None or layer.frame_of_reference_uid != image.frame_of_reference_uid:
        raise InputError("Its segmentation lies in another frame of reference.")
    return masks_on(layer, grid)


def _with_cases(cases: list[OutlinedCase], unusable: list[tuple[str, str]], root: Path) -> Outlined:
    if not cases:
        reason = f" ({unusable[0][0]}: {unusable[0][1]})" if unusable else ""
        raise InputError(f"There is no image with masks in {root.name}{reason}: {LAYOUT}.")
    return Outlined(tuple(cases), tuple(unusable))
