"""DICOM files that tests make: small, of nobody, and wrong exactly where a test wants it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

PLACES = (0.0, 5.0, 10.0, 15.0)
AXIAL: dict[str, Any] = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [2, 2]}
Attributes = Callable[[int, int], dict[str, Any]]


def make_dataset(pixels: np.ndarray | None = None, **attributes: Any) -> Dataset:
    """A CT image of ``pixels`` (16-bit, or 8-bit RGB); attributes by keyword, None removes one."""
    stored = np.arange(64, dtype=np.uint16).reshape(8, 8) if pixels is None else pixels
    dataset = Dataset()
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID = "2.25.1"
    dataset.SeriesInstanceUID = "2.25.2"
    dataset.Modality = "CT"
    dataset.PatientID = "T1"
    dataset.PatientName = "Test^Object"
    dataset.Rows, dataset.Columns = stored.shape[:2]
    dataset.SamplesPerPixel = 3 if stored.ndim == 3 else 1
    dataset.PhotometricInterpretation = "RGB" if stored.ndim == 3 else "MONOCHROME2"
    if stored.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = 8 * stored.dtype.itemsize
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    dataset.PixelData = stored.tobytes()
    dataset["PixelData"].VR = "OW"
    for name, value in attributes.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    return dataset


_Target = TypeVar("_Target", Path, BytesIO)


def write_dataset(path: _Target, dataset: Dataset, syntax: str = ExplicitVRLittleEndian) -> _Target:
    """Write it as a DICOM file of that transfer syntax; compressed pixels must be encapsulated already."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", CTImageStorage)
    meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID", "2.25.3")
    dataset.file_meta = meta
    dcmwrite(path, dataset, enforce_file_format=True)
    return path


def write_compressed(path: Path, stream: bytes, syntax: str, dataset: Dataset) -> Path:
    """Write a code stream as the one frame of ``dataset``."""
    dataset.PixelData = encapsulate([stream])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return write_dataset(path, dataset, syntax)


def write_volumes(
    folder: Path, size: int, own: Attributes, *, places: tuple[float, ...] = PLACES, left_out: Iterable[int] = ()
) -> None:
    """``size`` volumes of slices whose pixels are 100 x volume + place, as files in any order."""
    numbers = list(range(size * len(places)))
    random.Random(5).shuffle(numbers)  # noqa: S311 - any shuffle will do
    for file_number, number in enumerate(numbers):
        volume, place = divmod(number, len(places))
        if number in left_out:
            continue
        position = {"ImagePositionPatient": [1, 2, places[place]]}
        dataset = make_dataset(
            np.full((6, 8), 100 * volume + place, np.int16), **AXIAL, **position, **own(volume, place)
        )
        write_dataset(folder / f"{file_number}.dcm", dataset)
