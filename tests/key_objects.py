"""Key Object Selection documents that others write, made with pydicom."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import KeyObjectSelectionDocumentStorage, generate_uid

from tests.dicom_maker import write_dataset
from tests.presentations import item, reference


def write_document(
    path: Path,
    *images: Dataset,
    frames: Sequence[int] = (),
    code: tuple[str, str] = ("113000", "Of Interest"),
    **attributes: Any,
) -> Path:
    """A document that names some images of one series; attributes by keyword take the place of the images' own."""
    first = images[0]
    title = item(CodeValue=code[0], CodingSchemeDesignator="DCM", CodeMeaning=code[1])
    document = item(
        SOPClassUID=KeyObjectSelectionDocumentStorage, SOPInstanceUID=generate_uid(), Modality="KO",
        StudyInstanceUID=first.StudyInstanceUID, SeriesInstanceUID="2.25.901", PatientID=first.PatientID,
        PatientName=first.PatientName, SeriesNumber=8, InstanceNumber=1, ValueType="CONTAINER",
        ContinuityOfContent="SEPARATE", ConceptNameCodeSequence=[title],
        ContentSequence=[
            item(ValueType="IMAGE", RelationshipType="CONTAINS", ReferencedSOPSequence=[reference(image, frames)])
            for image in images
        ],
    )  # fmt: skip
    for name, value in attributes.items():
        setattr(document, name, value)
    return write_dataset(path, document)
