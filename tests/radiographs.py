"""Small DICOM files that tests make: whole, valid for reading, of patients who do not exist."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, CTImageStorage, ExplicitVRLittleEndian, generate_uid

from tests import fakes


def write_radiograph(path: Path, *, patient_id: str = "A1", name: str = "Alpha^Anna", **changes: Any) -> Path:
    """A frontal chest radiograph of 96 rows and 80 columns with made-up pixels."""
    seed = sum(map(ord, patient_id))
    pixels = np.random.default_rng(seed).integers(0, 4096, (96, 80)).astype(np.uint16)
    tags = {
        "PatientID": patient_id,
        "PatientName": name,
        "PatientBirthDate": "20010203",
        "PatientSex": "F",
        "Modality": "CR",
        "BodyPartExamined": "CHEST",
        "ViewPosition": "PA",
        "PatientOrientation": ["L", "F"],
        "StudyDate": "20050203",
        "StudyDescription": "Chest",
    }
    return _write(path, ComputedRadiographyImageStorage, pixels, tags | changes)


def write_films(root: Path, n: int) -> Path:
    """``n`` pictures in class folders with published names, of which the tiny network of ``fakes`` can tell something."""
    for number, image in enumerate(fakes.images(n)):
        folder = root / ("NORMAL" if number % 2 else "PNEUMONIA")
        folder.mkdir(parents=True, exist_ok=True)
        grey = (image[0] - image.min()) / np.ptp(image) * 255
        name = f"IM-{number:04}-0001.png" if number % 2 else f"person{number}_virus_{number}.png"
        Image.fromarray(np.uint8(grey)).save(folder / name)
    return root


def write_slices(folder: Path, count: int, *, patient_id: str = "C1", name: str = "Gamma^Carl") -> list[Path]:
    """A CT series of ``count`` slices, 5 mm apart, each of its own even grey."""
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    paths = []
    for number in range(count):
        pixels = np.full((64, 64), 1000 + number, np.int16)
        tags = {
            "PatientID": patient_id,
            "PatientName": name,
            "PatientBirthDate": "19500101",
            "PatientSex": "M",
            "Modality": "CT",
            "StudyInstanceUID": study,
            "SeriesInstanceUID": series,
            "FrameOfReferenceUID": frame,
            "InstanceNumber": number + 1,
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "ImagePositionPatient": [0, 0, 5 * number],
            "PixelSpacing": [1, 1],
            "RescaleSlope": 1,
            "RescaleIntercept": -1024,
            "RescaleType": "HU",
            "PixelRepresentation": 1,
            "BitsStored": 16,
            "HighBit": 15,
        }
        paths.append(_write(folder / f"{number:03}.dcm", CTImageStorage, pixels, tags))
    return paths


def _write(path: Path, sop_class: str, pixels: np.ndarray, tags: dict[str, Any]) -> Path:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID = sop_class
    ds.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
    ds.Rows, ds.Columns = pixels.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.InstanceNumber = 1
    for keyword, value in tags.items():
        setattr(ds, keyword, value)
    ds.PixelData = pixels.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path
