"""Measurements as a DICOM structured report (TID 1500), in the study of the images that they were made on.

Each measurement is a group with its own tracking UID: what was drawn as spatial
coordinates on its image and frame, or in the patient where it was drawn on a plane that
was cut, and every number with its unit and what it rests on.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

import highdicom as hd
import numpy as np
from highdicom import sr
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import Comprehensive3DSRStorage, ComprehensiveSRStorage
from pydicom.valuerep import DT

from medviewer.domain.errors import UsageError
from medviewer.domain.frozen import dataclass
from medviewer.domain.measurement import CutPlane, Measurement, Point, Quantity
from medviewer.domain.study import Image
from medviewer.imaging.derived_object import now_at, read_header, start_object, write_object
from medviewer.imaging.measurement_codes import (
    AUTHOR,
    BASES,
    KIND,
    LABEL,
    PLANE,
    SCHEME,
    CodeTriplet,
    kind_code,
    quantity_codes,
)
from medviewer.imaging.measurement_shapes import graphics_of
from medviewer.imaging.planes import to_patient
from medviewer.imaging.reslice import PlaneGrid

MEASUREMENT_BANNER = "Measurements - research use only - not for diagnosis"
_SERIES_NUMBER = 9803
_OUTLINES = ("rectangle", "ellipse", "freehand")
# Which of the two lines a number comes of; the other numbers come of all that was drawn.
_LINES = {"long axis": 0, "short axis": 1, "heart width": 0, "thorax width": 1}


_Drawn: TypeAlias = sr.CoordinatesForMeasurement | sr.CoordinatesForMeasurement3D
_Group: TypeAlias = sr.PlanarROIMeasurementsAndQualitativeEvaluations | sr.MeasurementsAndQualitativeEvaluations


@dataclass(frozen=True, slots=True)
class Measured:
    """A measurement with its image and the numbers that :func:`medviewer.imaging.measuring.measure` gave."""

    image: Image
    measurement: Measurement
    quantities: tuple[Quantity, ...]


def write_measurement_report(measured: Sequence[Measured], *, path: Path) -> None:
    """Write measurements of one study as a DICOM SR file.

    Coordinates are in the pixels of the stored image, (0, 0) at the upper left corner of the first
    pixel: the same as in :class:`Measurement`, so that nothing is shifted by half a pixel. What was drawn on a
    plane that was cut is told in mm in the patient (SCOORD3D), with the plane beside it, for ourselves.
    The author's name is told as unverified text; the observer is this program.

    Args:
        measured: at least one; images may differ, but are of one study and one patient.
        path: where the file goes.

    Raises:
        UsageError: nothing to write; a measurement of another image or frame than the one beside it; a point
            outside its image; one UID twice; a number that is not finite; images of two studies or patients; a
            plane without a frame of reference.
        InputError: an image's file is gone or is another one now.
        StorageError: the disk is full, read-only or gone; no half file remains.

    Source: PS3.16 TID 1500, 1501, 1410, 300 and 320; PS3.3 A.35.3, C.18.6 (spatial coordinates).
    """
    if not measured:
        raise UsageError("There is no measurement to save: draw one first.")
    check_measured(measured)
    images = {item.image.key: item.image for item in measured}
    headers = {key: read_header(image) for key, image in images.items()}
    header = _one_study(list(headers.values()))
    is_in_space = any(item.measurement.plane is not None for item in measured)
    sop_class = Comprehensive3DSRStorage if is_in_space else ComprehensiveSRStorage
    report = start_object(header, sop_class_uid=sop_class, modality="SR", series_number=_SERIES_NUMBER)
    report.SeriesDescription = MEASUREMENT_BANNER
    report.CompletionFlag = "COMPLETE"
    report.VerificationFlag = "UNVERIFIED"
    report.PreliminaryFlag = "PRELIMINARY"
    report.PerformedProcedureCodeSequence = []
    report.ReferencedPerformedProcedureStepSequence = []
    report.CurrentRequestedProcedureEvidenceSequence = [evidence(list(headers.values()))]
    report.CodingSchemeIdentificationSequence = [
        hd.coding_schemes.CodingSchemeIdentificationItem(
            SCHEME, name="MedViewer", responsible_organization="The MedViewer project"
        )
    ]
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(
            observer_device_context=sr.ObserverContext(codes.DCM.Device, observer())
        ),
        procedure_reported=codes.SCT.ImagingProcedure,
        imaging_measurements=[_group(item, headers[item.image.key]) for item in measured],
    )
    content[0].ContentSequence.append(_banner())
    report.update(content[0])
    write_object(report, header, path)


def check_measured(measured: Sequence[Measured], image: Image | None = None) -> None:
    """Refuse what does not belong together.

    Args:
        measured: measurements with their images.
        image: the only image they may be of; None for any.

    Raises:
        UsageError: a measurement of another image or frame, a point outside, a UID twice, or a number that is
            not finite.
    """
    if len({item.measurement.uid for item in measured}) != len(measured):
        raise UsageError("The same measurement is there twice; save it once.")
    for item in measured:
        own, measurement = item.image, item.measurement
        is_other = image is not None and own.key != image.key
        if is_other or (measurement.sop_instance_uid, measurement.frame) != (own.sop_instance_uid, own.frame):
            raise UsageError("A measurement belongs to another image and was not saved with this one.")
        cut = measurement.plane
        rows, columns = cut.shape if cut is not None else (own.description.rows, own.description.columns)
        if not all(0 <= x <= columns and 0 <= y <= rows for x, y in measurement.points):
            raise UsageError("A point of a measurement lies outside its image: draw it again.")
        if not item.quantities or not all(math.isfinite(quantity.value) for quantity in item.quantities):
            raise UsageError("A measurement has no finite numbers: measure it again before saving.")


_PATIENT = ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex")


def _one_study(headers: Sequence[Dataset]) -> Dataset:
    first = headers[0]
    for header in headers[1:]:
        if header.StudyInstanceUID != first.StudyInstanceUID:
            raise UsageError("The measurements are of two studies: save each study by itself.")
        if any(str(header.get(keyword) or "") != str(first.get(keyword) or "") for keyword in _PATIENT):
            raise UsageError("The images name two different patients, so no report can be about both.")
    return first


def evidence(headers: Sequence[Dataset]) -> Dataset:
    """Name every image that is referred to, once, under its series."""
    study = Dataset()
    study.StudyInstanceUID = headers[0].StudyInstanceUID
    by_series: dict[str, dict[str, Dataset]] = {}
    for header in headers:
        instance = Dataset()
        instance.ReferencedSOPClassUID = header.SOPClassUID
        instance.ReferencedSOPInstanceUID = header.SOPInstanceUID
        by_series.setdefault(header.SeriesInstanceUID, {})[header.SOPInstanceUID] = instance
    study.ReferencedSeriesSequence = []
    for uid, instances in by_series.items():
        series = Dataset()
        series.SeriesInstanceUID = uid
        series.ReferencedSOPSequence = list(instances.values())
        study.ReferencedSeriesSequence.append(series)
    return study


def observer() -> sr.DeviceObserverIdentifyingAttributes:
    """This program, as the observer of what it writes."""
    uid = f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, 'medviewer').int}"
    return sr.DeviceObserverIdentifyingAttributes(uid=uid, name="MedViewer", manufacturer_name="MedViewer")


def _group(item: Measured, header: Dataset) -> _Group:
    group = _made_group(item, header)
    group[0].ObservationDateTime = _time(item.measurement, header)
    group[0].ContentSequence.extend(_texts(item))
    return group


def _made_group(item: Measured, header: Dataset) -> _Group:
    measurement = item.measurement
    if measurement.plane is not None:
        return _group_in_space(item, header, measurement.plane)
    frames = [item.image.frame + 1] if item.image.number_of_frames > 1 else None
    source = sr.SourceImageForRegion(header.SOPClassUID, header.SOPInstanceUID, frames)
    shared = _shared(measurement)
    shapes = graphics_of(measurement)
    if measurement.kind in _OUTLINES:
        ((graphic_type, points),) = shapes
        region = sr.ImageRegion(graphic_type, np.array(points), source)
        numbers = [_number(quantity, None) for quantity in item.quantities]
        return sr.PlanarROIMeasurementsAndQualitativeEvaluations(
            referenced_region=region, measurements=numbers, **shared
        )
    coordinates = [sr.CoordinatesForMeasurement(kind, np.array(points), source) for kind, points in shapes]
    numbers = [_number(q, _its_coordinates(q, coordinates)) for q in item.quantities]
    return sr.MeasurementsAndQualitativeEvaluations(measurements=numbers, **shared)


def _group_in_space(item: Measured, header: Dataset, cut: CutPlane) -> _Group:
    """What was drawn on a plane that was cut: in mm in the patient, as no stored image has it."""
    measurement = item.measurement
    reference = str(header.get("FrameOfReferenceUID") or "")
    if not reference:
        raise UsageError("The series has no frame of reference, so its planes cannot be told in a report.")
    shared = _shared(measurement)
    shapes = [(kind, points_in_space(cut, points)) for kind, points in graphics_of(measurement)]
    if measurement.kind in _OUTLINES:
        ((graphic_type, places),) = shapes
        kind = "POLYGON" if graphic_type == "POLYLINE" else graphic_type  # in space an outline is closed by name
        region = sr.ImageRegion3D(kind, places, reference)
        numbers = [_number(quantity, None) for quantity in item.quantities]
        return sr.PlanarROIMeasurementsAndQualitativeEvaluations(
            referenced_region=region, measurements=numbers, **shared
        )
    coordinates = [sr.CoordinatesForMeasurement3D(kind, places, reference) for kind, places in shapes]
    numbers = [_number(q, _its_coordinates(q, coordinates)) for q in item.quantities]
    return sr.MeasurementsAndQualitativeEvaluations(measurements=numbers, **shared)


def _shared(measurement: Measurement) -> dict[str, Any]:
    return {
        "tracking_identifier": sr.TrackingIdentifier(
            hd.UID(measurement.uid), measurement.label or f"MedViewer {measurement.kind}"
        ),
        "qualitative_evaluations": [sr.QualitativeEvaluation(_concept(KIND), _concept(kind_code(measurement.kind)))],
    }


def points_in_space(cut: CutPlane, points: Sequence[Point]) -> np.ndarray:
    """Points of a plane that was cut, ``(n, 3)`` in LPS mm."""
    grid = PlaneGrid(cut.plane, cut.spacing_mm, cut.shape)
    return np.array([to_patient(grid, *point) for point in points], np.float64)


def _its_coordinates(quantity: Quantity, drawn: Sequence[_Drawn]) -> Sequence[_Drawn]:
    line = _LINES.get(quantity.name)
    return drawn if line is None else [drawn[line]]


def _number(quantity: Quantity, coordinates: Sequence[_Drawn] | None) -> sr.Measurement:
    name, derivation, unit = quantity_codes(quantity)
    basis = BASES.get(quantity.basis)
    return sr.Measurement(
        _concept(name),
        quantity.value,
        _concept(unit),
        derivation=_concept(derivation) if derivation is not None else None,
        method=_concept(basis) if basis is not None else None,
        referenced_coordinates=coordinates,
    )


def _texts(item: Measured) -> list[sr.TextContentItem]:
    measurement = item.measurement
    texts = [(LABEL, measurement.label), (AUTHOR, measurement.author), (PLANE, drawn_on_plane(measurement))]
    found = [sr.TextContentItem(_concept(name), text, "CONTAINS") for name, text in texts if text]
    remarks = [f"{quantity.name}: {quantity.remark}" for quantity in item.quantities if quantity.remark]
    return found + [sr.TextContentItem(codes.DCM.Comment, remark, "CONTAINS") for remark in remarks]


def drawn_on_plane(measurement: Measurement) -> str:
    """The plane that was cut, the image it goes by and the points on it, as text that only we read; else empty."""
    if measurement.plane is None:
        return ""
    image = measurement.sop_instance_uid, measurement.frame
    told = {"image": image, "points": measurement.points, "plane": asdict(measurement.plane)}
    return json.dumps(told, separators=(",", ":"))


def _banner() -> sr.ContainerContentItem:
    remarks = sr.ContainerContentItem(
        sr.CodedConcept("C0034375", "UMLS", "Qualitative Evaluations"), relationship_type="CONTAINS"
    )
    remarks.ContentSequence = sr.ContentSequence(
        [sr.TextContentItem(codes.DCM.Comment, f"{MEASUREMENT_BANNER}.", "CONTAINS")]
    )
    return remarks


def _time(measurement: Measurement, header: Dataset) -> DT:
    told = measurement.created.astimezone(now_at(header).tzinfo)
    # dcmtk up to 3.6.9 refuses the offset +0000; without one, the zone is that of the object's other dates.
    return DT(told.strftime("%Y%m%d%H%M%S.%f%z").removesuffix("+0000"))


def _concept(code: CodeTriplet) -> sr.CodedConcept:
    return sr.CodedConcept(*code)
