"""What a segmentation model outlined on all slices of a stack, as one DICOM Segmentation: frames by segment, place."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.sr.codedict import codes
from pydicom.uid import SegmentationStorage

from medviewer.domain.errors import GeometryError, InputError
from medviewer.domain.frozen import dataclass
from medviewer.domain.study import Image
from medviewer.imaging.derived_frame import describe_pixels, describe_segmentation, has_place, index_by, place_frames
from medviewer.imaging.derived_object import (
    ObjectReference,
    copy_elements,
    read_header,
    reference_of,
    start_object,
    write_object,
)

_SERIES = 9809
_BY_SEGMENT = (0x0062000B, 0x0062000A, "Referenced Segment Number")
_BY_POSITION = (0x00200032, 0x00209113, "Image Position (Patient)")
_SAID_BY_EACH = (
    "SeriesDescription", "ContentDescription", "ContentLabel", "ContentCreatorName", "DeviceSerialNumber",
    "ContributingEquipmentSequence",
)  # fmt: skip
NOT_TOGETHER = "so their outlines are not put together; they stay one file a slice."


@dataclass(frozen=True, slots=True, eq=False)
class _Drawn:
    """One segment on one slice."""

    number: int
    place: int  # of the slice in the stack, from 0
    image: Image
    mask: np.ndarray


def write_stack_outlines(slices: Sequence[tuple[Image, Path]], *, path: Path) -> ObjectReference:
    """Put the outlines of slices, each in a Segmentation of its own, together into one of the whole stack.

    Segments keep their numbers and what is said of them. A frame is there for each segment on each slice where it is
    not empty: all of the first segment, slice after slice as they lie, then of the second.

    Args:
        slices: in the order in which they lie, each with what :func:`~medviewer.imaging.outline_object.write_outlines`
            wrote of it; slices on which nothing was outlined are left out. At least one.
        path: where the file goes.

    Returns:
        How a report names it.

    Raises:
        GeometryError: a slice does not say where it lies, or they are of other sizes, directions or spacings.
        InputError: the files are of different models, or one is gone or is another one now.
        StorageError: the disk is full, read-only or gone; no half file remains.

    Source: PS3.3 A.51 (Segmentation IOD), C.7.6.17 (Multi-frame Dimension), C.8.20.
    """
    images = [image for image, _ in slices]
    _check_alike(images)
    parts = [_read(part) for _, part in slices]
    drawn = sorted(_drawn(images, parts), key=lambda one: (one.number, one.place))
    first, header = images[0], read_header(images[0])
    result = start_object(header, sop_class_uid=SegmentationStorage, modality="SEG", series_number=_SERIES)
    copy_elements(parts[0], result, _SAID_BY_EACH)
    describe_pixels(result, header, first)
    planes = [one.image.description.plane for one in drawn]
    place_frames(
        result,
        header,
        [one.image for one in drawn],
        planes=[plane for plane in planes if plane is not None],
        spacing_mm=first.description.pixel_spacing_mm or (1.0, 1.0),
        shape=(first.description.rows, first.description.columns),
        derivation=codes.DCM.SegmentationImageDerivation,
    )
    _name_segments(result, drawn)
    describe_segmentation(result, [one.mask for one in drawn])
    result.SegmentsOverlap = "YES" if _do_overlap(drawn) else "NO"
    result.SegmentSequence = _segments(parts, drawn, images)
    write_object(result, header, path)
    return reference_of(result)


def _check_alike(images: Sequence[Image]) -> None:
    first = images[0].description
    for image in images:
        d = image.description
        if not has_place(image):
            raise GeometryError(f"A slice does not say where it lies in the patient, {NOT_TOGETHER}")
        same_size = (d.rows, d.columns, d.pixel_spacing_mm) == (first.rows, first.columns, first.pixel_spacing_mm)
        assert d.plane is not None and first.plane is not None  # noqa: S101, PT018 - it has a place
        directions = [(*plane.row_cosine, *plane.column_cosine) for plane in (d.plane, first.plane)]
        is_parallel = np.allclose(directions[0], directions[1], atol=1e-4)
        is_together = image.frame_of_reference_uid == images[0].frame_of_reference_uid
        if not (same_size and is_parallel and is_together):
            raise GeometryError(f"The slices are not of one size and direction, {NOT_TOGETHER}")


def _read(path: Path) -> Dataset:
    try:
        return pydicom.dcmread(path)
    except (InvalidDicomError, OSError, ValueError, LookupError, AttributeError) as error:
        raise InputError(f"“{path.name}” of a slice cannot be read; analyse it again.") from error


def _drawn(images: Sequence[Image], parts: Sequence[Dataset]) -> list[_Drawn]:
    found = []
    labels = [item.SegmentLabel for item in parts[0].SegmentSequence]
    for place, (image, part) in enumerate(zip(images, parts, strict=True)):
        is_same = [item.SegmentLabel for item in part.SegmentSequence] == labels
        if not is_same or part.DeviceSerialNumber != parts[0].DeviceSerialNumber:
            raise InputError(f"The outlines of the slices are of different models, {NOT_TOGETHER}")
        source = part.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
        frame_number = image.frame + 1 if image.number_of_frames > 1 else None
        named = source.get("ReferencedFrameNumber")
        if (source.ReferencedSOPInstanceUID, named) != (image.sop_instance_uid, frame_number):
            raise InputError(f"The outlines of a slice are of another image, {NOT_TOGETHER}")
        pixels = np.atleast_3d(part.pixel_array) if part.NumberOfFrames == 1 else part.pixel_array
        frames = pixels.reshape(int(part.NumberOfFrames), part.Rows, part.Columns)
        for own, frame in zip(part.PerFrameFunctionalGroupsSequence, frames, strict=True):
            number = int(own.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
            found.append(_Drawn(number, place, image, frame > 0))
    return found


def _name_segments(result: Dataset, drawn: Sequence[_Drawn]) -> None:
    """Say which segment each frame is of, and find frames by it and by their place."""
    places = {place: at for at, place in enumerate(sorted({one.place for one in drawn}), start=1)}
    for own, one in zip(result.PerFrameFunctionalGroupsSequence, drawn, strict=True):
        identification = Dataset()
        identification.ReferencedSegmentNumber = one.number
        own.SegmentIdentificationSequence = [identification]
        content = own.FrameContentSequence[0]
        content.InStackPositionNumber = places[one.place]
        content.DimensionIndexValues = [one.number, places[one.place]]
    index_by(result, _BY_SEGMENT, _BY_POSITION)


def _do_overlap(drawn: Sequence[_Drawn]) -> bool:
    """Whether two segments share a pixel of one slice; frames of different slices never do."""
    taken: dict[int, np.ndarray] = {}
    for one in drawn:
        before = taken.get(one.place)
        if before is not None and (before & one.mask).any():
            return True
        taken[one.place] = one.mask if before is None else before | one.mask
    return False


def _segments(parts: Sequence[Dataset], drawn: Sequence[_Drawn], images: Sequence[Image]) -> list[Dataset]:
    """What is said of each segment, by a slice on which it was outlined where there is one."""
    by_place = {image.key: part for image, part in zip(images, parts, strict=True)}
    shown = {one.number: by_place[one.image.key] for one in reversed(drawn)}
    segments = []
    for item in parts[0].SegmentSequence:
        number = int(item.SegmentNumber)
        source = shown.get(number, parts[0]).SegmentSequence
        segments.append(copy.deepcopy(next(one for one in source if int(one.SegmentNumber) == number)))
    return segments
