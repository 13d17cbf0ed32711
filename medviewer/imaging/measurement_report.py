"""Measurements as a DICOM structured report (TID 1500), in the study of the images that they were made on.

Each measurement is a group with its own tracking UID: what was drawn as spatial
coordinates on its image and frame, and every number with its unit and what it rests on.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import highdicom as hd
import numpy as np
from highdicom import sr
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ComprehensiveSRStorage
from pydicom.valuerep import DT

from medviewer.domain.errors import UsageError
from medviewer.domain.measurement import Measurement, Point, Quantity
from medviewer.domain.study import Image
from medviewer.imaging.derived_object import now_at, read_header, start_object, write_object
from medviewer.imaging.measurement_codes import (
    AUTHOR,
    BASES,
    KIND,
    LABEL,
    SCHEME,
    CodeTriplet,
    kind_code,
    quantity_codes,
)

MEASUREMENT_BANNER = "Measurements - research use only - not for diagnosis"
_SERIES_NUMBER = 9803
_OUTLINES = ("rectangle", "ellipse", "freehand")
# Which of the two lines a number comes of; the other numbers come of all that was drawn.
_LINES = {"long axis": 0, "short axis": 1, "heart width": 0, "thorax width": 1}


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
    pixel: the same as in :class:`Measurement`, so that nothing is shifted by half a pixel.
    The author's name is told as unverified text; the observer is this program.

    Args:
        measured: at least one; images may differ, but are of one study and one patient.
        path: where the file goes.

    Raises:
        UsageError: nothing to write; a measurement of another image or frame than the one beside it; a point
            outside its image; one UID twice; a number that is not finite; images of two studies or patients.
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
    report = start_object(header, sop_class_uid=ComprehensiveSRStorage, modality="SR", series_number=_SERIES_NUMBER)
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
        rows, columns = own.description.rows, own.description.columns
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
    measurement = item.measurement
    frames = [item.image.frame + 1] if item.image.number_of_frames > 1 else None
    source = sr.SourceImageForRegion(header.SOPClassUID, header.SOPInstanceUID, frames)
    shared: dict[str, Any] = {
        "tracking_identifier": sr.TrackingIdentifier(
            hd.UID(measurement.uid), measurement.label or f"MedViewer {measurement.kind}"
        ),
        "qualitative_evaluations": [sr.QualitativeEvaluation(_concept(KIND), _concept(kind_code(measurement.kind)))],
    }
    shapes = graphics(measurement)
    group: _Group
    if measurement.kind in _OUTLINES:
        ((graphic_type, points),) = shapes
        region = sr.ImageRegion(graphic_type, np.array(points), source)
        numbers = [_number(quantity, None) for quantity in item.quantities]
        group = sr.PlanarROIMeasurementsAndQualitativeEvaluations(
            referenced_region=region, measurements=numbers, **shared
        )
    else:
        coordinates = [sr.CoordinatesForMeasurement(kind, np.array(points), source) for kind, points in shapes]
        numbers = [_number(q, _its_coordinates(q, coordinates)) for q in item.quantities]
        group = sr.MeasurementsAndQualitativeEvaluations(measurements=numbers, **shared)
    group[0].ObservationDateTime = _time(measurement, header)
    group[0].ContentSequence.extend(_texts(item))
    return group


def graphics(measurement: Measurement) -> list[tuple[str, list[Point]]]:
    """Give what was drawn as graphics of the standard: (graphic type, points), in the measurement's coordinates.

    An ellipse is told by the ends of its longer axis and then of its shorter one, a closed outline
    by a POLYLINE that ends where it began (PS3.3 C.18.6.1.2).
    """
    points = list(measurement.points)
    if measurement.kind == "ellipse":
        (x0, y0), (x1, y1) = points
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        across, down = [(x0, y), (x1, y)], [(x, y0), (x, y1)]
        return [("ELLIPSE", across + down if abs(x1 - x0) >= abs(y1 - y0) else down + across)]
    if measurement.kind == "rectangle":
        (x0, y0), (x1, y1) = points
        return [("POLYLINE", [(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)])]
    if measurement.kind == "freehand":
        return [("POLYLINE", [*points, points[0]])]
    if measurement.kind == "probe":
        return [("POINT", points)]
    if len(points) == 4:
        return [("POLYLINE", points[:2]), ("POLYLINE", points[2:])]
    return [("POLYLINE", points)]


def _its_coordinates(
    quantity: Quantity, drawn: list[sr.CoordinatesForMeasurement]
) -> list[sr.CoordinatesForMeasurement]:
    line = _LINES.get(quantity.name)
    return drawn if line is None else [drawn[line]]


def _number(quantity: Quantity, coordinates: list[sr.CoordinatesForMeasurement] | None) -> sr.Measurement:
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
    texts = [(LABEL, measurement.label), (AUTHOR, measurement.author)]
    found = [sr.TextContentItem(_concept(name), text, "CONTAINS") for name, text in texts if text]
    remarks = [f"{quantity.name}: {quantity.remark}" for quantity in item.quantities if quantity.remark]
    return found + [sr.TextContentItem(codes.DCM.Comment, remark, "CONTAINS") for remark in remarks]


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
