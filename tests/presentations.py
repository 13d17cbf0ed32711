"""Presentation states that tests make, by hand: what others write, and what nobody should."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import GrayscaleSoftcopyPresentationStateStorage, generate_uid

from tests.dicom_maker import write_dataset


def item(**attributes: Any) -> Dataset:
    """An item of a sequence; attributes by keyword."""
    made = Dataset()
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def reference(image: Dataset, frames: Sequence[int] = ()) -> Dataset:
    """Names an image, and of its frames (counted from 1) those that are meant."""
    made = item(ReferencedSOPClassUID=image.SOPClassUID, ReferencedSOPInstanceUID=image.SOPInstanceUID)
    if frames:
        made.ReferencedFrameNumber = list(frames)
    return made


def area(image: Dataset, first: Sequence[int] | None = None, last: Sequence[int] | None = None, **more: Any) -> Dataset:
    """A displayed area, by its first and last pixel (column, row; from 1)."""
    return item(
        DisplayedAreaTopLeftHandCorner=list(first or (1, 1)),
        DisplayedAreaBottomRightHandCorner=list(last or (image.Columns, image.Rows)),
        **{"PresentationSizeMode": "SCALE TO FIT", "PresentationPixelAspectRatio": [1, 1], **more},
    )


def make_state(*images: Dataset, frames: Sequence[int] = (), **attributes: Any) -> Dataset:
    """A greyscale state that shows the whole of some images of one series as stored; None removes an attribute."""
    first = images[0]
    state = item(
        SOPClassUID=GrayscaleSoftcopyPresentationStateStorage, SOPInstanceUID=generate_uid(), Modality="PR",
        StudyInstanceUID=first.StudyInstanceUID, SeriesInstanceUID="2.25.900", PatientID=first.PatientID,
        PatientName=first.PatientName, PatientBirthDate="", PatientSex="", StudyDate="", StudyTime="",
        AccessionNumber="", StudyID="", ReferringPhysicianName="", SeriesNumber=9, InstanceNumber=1, Manufacturer="",
        ContentLabel="STATE", ContentDescription="", PresentationCreationDate="20240101",
        PresentationCreationTime="120000", ContentCreatorName="", PresentationLUTShape="IDENTITY",
        ReferencedSeriesSequence=[
            item(
                SeriesInstanceUID=first.SeriesInstanceUID,
                ReferencedImageSequence=[reference(image, frames) for image in images],
            )
        ],
        DisplayedAreaSelectionSequence=[area(first)],
    )  # fmt: skip
    for name, value in attributes.items():
        if value is None:
            delattr(state, name)
        else:
            setattr(state, name, value)
    return state


def write_state(path: Path, *images: Dataset, **attributes: Any) -> Path:
    """Write it as a file."""
    return write_dataset(path, make_state(*images, **attributes))


def window(center: float, width: float, **more: Any) -> Dataset:
    """An item of the softcopy VOI LUT sequence."""
    return item(WindowCenter=str(center), WindowWidth=str(width), **more)


def overlay(mask: np.ndarray, group: int, layer: str = "") -> Dataset:
    """An overlay plane of ``(rows, columns)`` bool in a group (0x6000, ...); with a layer it is switched on."""
    plane = Dataset()
    for element, representation, value in (
        (0x0010, "US", mask.shape[0]), (0x0011, "US", mask.shape[1]), (0x0040, "CS", "G"), (0x0050, "SS", [1, 1]),
        (0x0100, "US", 1), (0x0102, "US", 0), (0x3000, "OB", _padded(np.packbits(mask, bitorder="little").tobytes())),
    ):  # fmt: skip
        plane.add_new((group, element), representation, value)
    if layer:
        plane.add_new((group, 0x1001), "CS", layer)
    return plane


def _padded(data: bytes) -> bytes:
    return data + bytes(len(data) % 2)


def table(values: Sequence[int], first: int = 0, bits: int = 16) -> Dataset:
    """An item with a look-up table."""
    made = Dataset()
    made.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(values), first, bits])
    made.add_new("LUTData", "OW", b"".join(int(value).to_bytes(2, "little") for value in values))
    return made


def graphic(kind: str, points: Sequence[float], units: str = "PIXEL", filled: str = "N") -> Dataset:
    """An item of the graphic object sequence; points as one list of numbers."""
    return item(
        GraphicAnnotationUnits=units, GraphicDimensions=2, NumberOfGraphicPoints=len(points) // 2,
        GraphicData=list(points), GraphicType=kind, GraphicFilled=filled,
    )  # fmt: skip


def text(words: str, **attributes: Any) -> Dataset:
    """An item of the text object sequence."""
    return item(UnformattedTextValue=words, **attributes)


def annotation(
    graphics: Sequence[Dataset] = (), texts: Sequence[Dataset] = (), layer: str = "ONE", **more: Any
) -> Dataset:
    """An item of the graphic annotation sequence."""
    made = item(GraphicLayer=layer, **more)
    if graphics:
        made.GraphicObjectSequence = list(graphics)
    if texts:
        made.TextObjectSequence = list(texts)
    return made
