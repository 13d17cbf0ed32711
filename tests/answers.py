"""Answers, heat maps and DICOM sources that tests of what MedViewer writes are made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

from medviewer.domain.answer import Answer, Attribution, Faithfulness, Finding, GuardResult, Provenance
from medviewer.domain.frame import Frame
from medviewer.domain.study import Image, PixelDescription

PROVENANCE = Provenance(
    model_id="fake-chest",
    model_version="1.2.3",
    model_sha256="ab" * 32,
    runtime="onnx 1.31.0",
    provider="CPU",
    provider_reason="no GPU runtime is installed",
    input_sha256="cd" * 32,
    started="2025-06-01T10:00:00+00:00",
    elapsed_s=0.25,
    versions={"onnxruntime": "1.31.0"},
)
PNEUMONIA = Finding("pneumonia", "SCT:233604007", 0.873, 0.41, True, (0.81, 0.92), "Finds 95 of 100.")
EFFUSION = Finding("effusion", "SCT:60046008", 0.07, 0.5, False)
AGE_WARNING = GuardResult("age.outside", "warn", "The patient is 64 years old; the model has seen children of 1 to 5.")


def make_answer(*findings: Finding, **changes: Any) -> Answer:
    """An answer with a warning; ``findings`` replace its one finding."""
    known: dict[str, Any] = {
        "status": "answer",
        "model_title": "Fake chest model",
        "guards": (GuardResult("modality", "ok", "The modality is CR."), AGE_WARNING),
        "provenance": PROVENANCE,
        "findings": findings or (PNEUMONIA,),
        "calibration": {"method": "temperature", "temperature": 2.0, "ece_after": 0.02},
        "validated_on": "Children of 1 to 5 years in one hospital.",
    }
    return Answer(**{**known, **changes})


def make_abstention() -> Answer:
    """An answer that is none."""
    guard = GuardResult("view", "abstain", "The model knows frontal views only; this one is lateral.")
    return make_answer(status="abstained", guards=(guard,), findings=())


def make_attribution(rows: int, columns: int, method: str = "grad-cam", **changes: Any) -> Attribution:
    """A heat map with one hot spot; its outermost columns were never seen by the network."""
    placed = np.zeros((rows, columns), np.float32)
    placed[rows // 4 : rows // 2, columns // 4 : columns // 2] = 1.0
    placed[:, :2] = placed[:, -2:] = np.nan
    known: dict[str, Any] = {
        "method": method,
        "method_title": method.replace("-", " ").title(),
        "finding": "pneumonia",
        "saliency": np.ones((4, 4), np.float32),
        "model_to_image": np.eye(3),
        "placed": placed,
        "error": None,
        "error_name": "",
        "faithfulness": Faithfulness(97.0, 88.0, 50, "Better than 97% of random maps."),
        "elapsed_s": 0.1,
        "provenance": PROVENANCE,
    }
    return Attribution(**{**known, **changes})


def make_radiograph(
    path: Path, *, rows: int = 96, columns: int = 80, raw: dict[int, bytes] | None = None, **changes: Any
) -> Image:
    """Write a small chest radiograph and give it as the scan would; ``changes`` are attributes, None removes one.

    ``raw`` elements are written as the bytes that they are, whatever the character set.
    """
    ds = Dataset()
    known: dict[str, Any] = {
        "SOPClassUID": ComputedRadiographyImageStorage, "SOPInstanceUID": generate_uid(prefix=None),
        "StudyInstanceUID": generate_uid(prefix=None), "SeriesInstanceUID": generate_uid(prefix=None),
        "Modality": "CR", "PatientName": "Doe^Jane", "PatientID": "4711", "PatientBirthDate": "20200101", "PatientSex": "F",
        "StudyDate": "20240601", "StudyTime": "101500", "AccessionNumber": "A1", "ReferringPhysicianName": "Roe^Richard",
        "StudyID": "S1", "SeriesNumber": 1, "InstanceNumber": 1, "ImageType": ["ORIGINAL", "PRIMARY"],
        "BodyPartExamined": "CHEST", "ViewPosition": "PA", "PatientOrientation": ["L", "F"],
        "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "Rows": rows, "Columns": columns,
        "BitsAllocated": 16, "BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0,
        "PixelData": np.random.default_rng(1).integers(0, 4096, (rows, columns)).astype("<u2").tobytes(),
    }  # fmt: skip
    for keyword, value in {**known, **changes}.items():
        if value is not None:
            setattr(ds, keyword, value)
    if "PixelData" in ds:
        ds["PixelData"].VR = "OW"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if "SOPInstanceUID" not in ds:
        ds.file_meta.MediaStorageSOPInstanceUID = generate_uid(prefix=None)
    for tag, value in (raw or {}).items():
        element = pydicom.dataelem.RawDataElement(
            pydicom.tag.Tag(tag), pydicom.datadict.dictionary_VR(tag), len(value), value, 0, False, True
        )
        ds._dict[element.tag] = element
    ds.set_original_encoding(False, True, ds._character_set)  # or pydicom would read and write them anew
    ds.save_as(path, enforce_file_format=True)
    orientation = known["PatientOrientation"] if "PatientOrientation" not in changes else changes["PatientOrientation"]
    description = PixelDescription(
        modality="CR", rows=rows, columns=columns, bits_stored=12, body_part_examined="CHEST", view_position="PA",
        patient_orientation=tuple(orientation) if orientation else None,
        sop_class_uid=str(ds.SOPClassUID), transfer_syntax_uid=str(ExplicitVRLittleEndian),
    )  # fmt: skip
    return Image(path, 0, str(ds.get("SOPInstanceUID", "")), description)


def frame_of(image: Image) -> Frame:
    """The pixels that :func:`make_radiograph` wrote."""
    ds = pydicom.dcmread(image.path)
    return Frame(ds.pixel_array, image.description)
