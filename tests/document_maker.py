"""Documents that tests make: structured reports, encapsulated PDFs and waveforms of nobody, wrong where a test wants it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom.data
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from medviewer.domain.study import Document
from medviewer.imaging.scan import documents_of, scan
from tests.dicom_maker import write_dataset

BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"
ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.104.1"
GENERAL_ECG = "1.2.840.10008.5.1.4.1.1.9.1.2"


def shipped(name: str) -> Path:
    """A test file that pydicom brings with it."""
    return Path(pydicom.data.__file__).parent / "test_files" / name


def the_document(path: Path) -> Document:
    """The one document of a file."""
    (found,) = documents_of(scan([path]))
    return found


def document_dataset(sop_class: str, **attributes: Any) -> Dataset:
    """What all documents say of patient, study and themselves."""
    dataset = Dataset()
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID = "2.25.1"
    dataset.SeriesInstanceUID = "2.25.22"
    dataset.PatientID = "T1"
    dataset.PatientName = "Test^Object"
    dataset.ContentDate, dataset.ContentTime = "20240131", "140500"
    for name, value in attributes.items():
        setattr(dataset, name, value)
    return dataset


def code(meaning: str, value: str = "1", scheme: str = "99TEST") -> Dataset:
    made = Dataset()
    made.CodeValue, made.CodingSchemeDesignator, made.CodeMeaning = value, scheme, meaning
    return made


def item(
    kind: str, concept: Dataset | str = "", *children: Dataset, relationship: str = "CONTAINS", **more: Any
) -> Dataset:
    """A content item."""
    made = Dataset()
    made.RelationshipType, made.ValueType = relationship, kind
    if concept:
        made.ConceptNameCodeSequence = [code(concept) if isinstance(concept, str) else concept]
    if children:
        made.ContentSequence = list(children)
    for name, value in more.items():
        setattr(made, name, value)
    return made


def image_item(sop_instance_uid: str, *frames: int) -> Dataset:
    """A reference to an image."""
    reference = Dataset()
    reference.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    reference.ReferencedSOPInstanceUID = sop_instance_uid
    if frames:
        reference.ReferencedFrameNumber = list(frames)
    return item("IMAGE", "Source", ReferencedSOPSequence=[reference])


def write_report(path: Path, *items: Dataset, syntax: str = ExplicitVRLittleEndian, **attributes: Any) -> Path:
    """A structured report that holds these items."""
    dataset = document_dataset(BASIC_TEXT_SR, Modality="SR", ValueType="CONTAINER", **attributes)
    dataset.ConceptNameCodeSequence = [code("Radiology Report")]
    if items:
        dataset.ContentSequence = list(items)
    return write_dataset(path, dataset, syntax)


def make_pdf(
    pages: int = 1, size: tuple[int, int] = (200, 300), *, catalog: bytes = b"", trailer: bytes = b""
) -> bytes:
    """A PDF whose pages are white with a red square: 100 points large, 50 from the left and from the top."""
    width, height = size
    kids = " ".join(f"{3 + 2 * number} 0 R" for number in range(pages))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R " + catalog + b" >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {pages} >>".encode(),
    ]
    for number in range(pages):
        drawn = f"1 0 0 rg 50 {height - 150} 100 100 re f".encode()
        box = f"/MediaBox [0 0 {width} {height}] /Contents {4 + 2 * number} 0 R"
        objects.append(f"<< /Type /Page /Parent 2 0 R {box} >>".encode())
        objects.append(b"<< /Length %d >>\nstream\n%b\nendstream" % (len(drawn), drawn))
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    end = b"trailer << /Size %d /Root 1 0 R %b >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, trailer, len(out))
    return out + head + table + end


LOCKED = b"/ID [<00><00>] /Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <%b> /U <%b> >>" % (b"11" * 32, b"22" * 32)
"""For ``trailer``: encrypted such that the empty password does not open it."""


def write_pdf(path: Path, data: bytes, **attributes: Any) -> Path:
    """A DICOM file that encapsulates ``data`` as PDF."""
    dataset = document_dataset(ENCAPSULATED_PDF, Modality="DOC", MIMETypeOfEncapsulatedDocument="application/pdf")
    dataset.DocumentTitle = "Discharge letter"
    dataset.EncapsulatedDocumentLength = len(data)
    dataset.EncapsulatedDocument = data + b"\0" * (len(data) % 2)
    for name, value in attributes.items():
        setattr(dataset, name, value)
    return write_dataset(path, dataset)


def channel(label: str = "Lead II", **attributes: Any) -> Dataset:
    """A channel in microvolts with the sensitivity 1."""
    made = Dataset()
    made.ChannelLabel = label
    made.ChannelSensitivity, made.ChannelSensitivityCorrectionFactor, made.ChannelBaseline = "1", "1", "0"
    made.ChannelSensitivityUnitsSequence = [code("microvolt", "uV", "UCUM")]
    for name, value in attributes.items():
        if value is None:
            delattr(made, name)
        else:
            setattr(made, name, value)
    return made


def multiplex_group(stored: np.ndarray, channels: Sequence[Dataset], interpretation: str, **attributes: Any) -> Dataset:
    """A group of (samples, channels) stored integers, 500 samples a second."""
    made = Dataset()
    made.WaveformOriginality = "ORIGINAL"
    made.NumberOfWaveformChannels, made.NumberOfWaveformSamples = stored.shape[1], stored.shape[0]
    made.SamplingFrequency = "500"
    made.MultiplexGroupLabel = "RHYTHM"
    made.ChannelDefinitionSequence = list(channels)
    made.WaveformBitsAllocated = 8 * stored.dtype.itemsize
    made.WaveformSampleInterpretation = interpretation
    made.WaveformData = stored.tobytes()
    made["WaveformData"].VR = "OB" if stored.dtype.itemsize == 1 else "OW"
    for name, value in attributes.items():
        if value is None:
            delattr(made, name)
        else:
            setattr(made, name, value)
    return made


def write_waveform(path: Path, *groups: Dataset, syntax: str = ExplicitVRLittleEndian, **attributes: Any) -> Path:
    """An ECG of these groups."""
    dataset = document_dataset(GENERAL_ECG, Modality="ECG", **attributes)
    if groups:
        dataset.WaveformSequence = list(groups)
    return write_dataset(path, dataset, syntax)
