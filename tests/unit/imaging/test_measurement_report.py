"""Measurements in a structured report: to whom they belong, where they lie, and the same again when read."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from highdicom import sr
from highdicom.spatial import ImageToReferenceTransformer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from medviewer.domain.errors import InputError, MedViewerError, UnsupportedError, UsageError
from medviewer.domain.measurement import KINDS, Measurement, MeasurementKind, Point, Quantity, new_measurement
from medviewer.domain.study import Image
from medviewer.imaging import measurement_reading
from medviewer.imaging.description import describe_images
from medviewer.imaging.header import read_header
from medviewer.imaging.measurement_codes import SCHEME, quantity_codes
from medviewer.imaging.measurement_reading import ReadReport, read_measurement_report
from medviewer.imaging.measurement_report import Measured, write_measurement_report
from medviewer.imaging.measuring import measure
from tests import samples
from tests.answers import frame_of, make_radiograph
from tests.dicom_maker import make_dataset, write_dataset

POINTS: dict[MeasurementKind, tuple[Point, ...]] = {
    "length": ((1.25, 2.0), (30.0, 40.5)),
    "angle": ((1.0, 2.0), (20.0, 20.0), (40.0, 5.25)),
    "cobb": ((1.0, 1.0), (20.0, 4.0), (1.0, 30.0), (20.0, 28.0)),
    "bidirectional": ((5.0, 5.0), (30.0, 5.0), (15.0, 2.0), (15.0, 12.0)),
    "rectangle": ((20.1, 3.3), (3.0, 30.0)),
    "ellipse": ((40.7, 20.1), (5.5, 5.0)),
    "freehand": ((1.0, 1.0), (30.1, 2.0), (20.0, 30.3), (2.0, 9.0)),
    "probe": ((3.3, 4.4),),
    "cardiothoracic": ((20.0, 20.0), (50.0, 20.0), (10.0, 40.0), (70.0, 60.0)),
    "calibration": ((1.0, 1.0), (50.0, 1.0)),
}


def measured(image: Image, kind: MeasurementKind, *points: Point, **more: Any) -> Measured:
    known = 12.3 if kind == "calibration" else None
    made = new_measurement(kind, points or POINTS[kind], (image.sop_instance_uid, image.frame), known_mm=known, **more)
    return Measured(image, made, measure(made, frame_of(image)))


def written(tmp_path: Path, *items: Measured) -> pydicom.Dataset:
    write_measurement_report(items, path=tmp_path / "m.dcm")
    return pydicom.dcmread(tmp_path / "m.dcm")


def groups(report: pydicom.Dataset) -> list[Dataset]:
    return [
        child
        for container in report.ContentSequence
        if container.ConceptNameCodeSequence[0].CodeValue == "126010"
        for child in container.ContentSequence
    ]


def children(item: Dataset, kind: str) -> list[Dataset]:
    return [child for child in item.get("ContentSequence", []) if child.ValueType == kind]


# --- what is written -------------------------------------------------------------------------------------------


@pytest.mark.reliability
def test_ours_come_back_equal(tmp_path: Path) -> None:
    image = make_radiograph(tmp_path / "s.dcm", SpecificCharacterSet="ISO_IR 192")
    items = [measured(image, kind, label=f"{kind} 肿块", author="Dr. Müller") for kind in KINDS]
    items += [measured(image, kind) for kind in KINDS]
    report = written(tmp_path, *items)
    found = read_measurement_report(tmp_path / "m.dcm")
    assert found.not_understood == ()
    assert found.measurements == tuple(item.measurement for item in items)
    assert found.study_instance_uid == report.StudyInstanceUID
    assert found.sop_instance_uid == report.SOPInstanceUID


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), st.sampled_from(list(KINDS)), st.integers(-12 * 60, 12 * 60))
def test_any_points_and_times_come_back_equal(
    tmp_path: Path, data: st.DataObject, kind: MeasurementKind, minutes: int
) -> None:
    image = make_radiograph(tmp_path / "s.dcm", TimezoneOffsetFromUTC="+0530")
    count = data.draw(st.integers(KINDS[kind].fewest, min(KINDS[kind].most, 12)))
    place = st.tuples(st.floats(0, 80, width=32), st.floats(0, 96, width=32))
    points = data.draw(st.lists(place, min_size=count, max_size=count, unique=True))
    known = data.draw(st.floats(0.001, 9e4)) if kind == "calibration" else None
    made = new_measurement(kind, points, (image.sop_instance_uid, 0), known_mm=known)
    made = replace(made, created=made.created.astimezone(timezone(timedelta(minutes=minutes))))
    written(tmp_path, Measured(image, made, (Quantity("length", known or 1.0, "mm", "calibrated"),)))
    assert read_measurement_report(tmp_path / "m.dcm").measurements == (made,)


def test_numbers_have_concept_unit_and_what_they_rest_on(tmp_path: Path) -> None:
    image = make_radiograph(tmp_path / "s.dcm")
    line = measured(image, "length")
    line = replace(line, quantities=(Quantity("length", 12.345, "mm", "at detector", "Mind this."),))
    (group,) = groups(written(tmp_path, line))
    (number,) = children(group, "NUM")
    assert number.ConceptNameCodeSequence[0].CodeValue == "410668003"
    value = number.MeasuredValueSequence[0]
    assert float(value.NumericValue) == 12.345
    unit = value.MeasurementUnitsCodeSequence[0]
    assert (unit.CodeValue, unit.CodingSchemeDesignator) == ("mm", "UCUM")
    (method,) = children(number, "CODE")
    assert method.ConceptNameCodeSequence[0].CodeMeaning == "Measurement Method"
    assert method.ConceptCodeSequence[0].CodeValue == "at-detector"
    assert "length: Mind this." in [text.TextValue for text in children(group, "TEXT")]


def test_every_quantity_has_a_code_that_a_report_can_hold(tmp_path: Path) -> None:
    image = make_radiograph(tmp_path / "s.dcm")
    color = replace(frame_of(image), stored=np.zeros((96, 80, 3), np.uint8))
    quantities = [q for kind in KINDS for q in measured(image, kind).quantities]
    quantities += measure(measured(image, "probe").measurement, color)
    for statistic in ("mean", "SD", "minimum", "maximum"):
        quantities += [Quantity(statistic, 1.0, "HU"), Quantity(f"SUVbw {statistic}", 1.0, "g/ml")]
    quantities += [Quantity("SUVbw", 1.0, "g/ml"), Quantity("value", 1.0, "a very long unit of somebody")]
    quantities += [Quantity(name, 1.0, "cm/s") for name in ("horizontal", "vertical")]
    for quantity in quantities:
        for code in quantity_codes(quantity):
            if code is not None:
                value, scheme, meaning = code
                assert 1 <= len(value) <= 16
                assert 1 <= len(scheme) <= 16
                assert 1 <= len(meaning) <= 64
    assert quantity_codes(Quantity("mean", 1.0, "HU"))[0][0] == "112031"
    assert quantity_codes(Quantity("SUVbw maximum", 1.0, "g/ml"))[0][0] == "126401"
    assert quantity_codes(Quantity("mean", 1.0, "OD"))[2][:2] == ("OD", SCHEME)


@pytest.mark.reliability
def test_coordinates_are_not_shifted_by_half_a_pixel(tmp_path: Path) -> None:
    """The centre of the first pixel, as we write it, lies at Image Position for an independent reader."""
    place = {"ImagePositionPatient": [10, 20, 30], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
    path = write_dataset(tmp_path / "ct.dcm", make_dataset(PixelSpacing=[0.5, 0.7], **place))
    (image,) = describe_images(read_header(path), path)
    made = new_measurement("length", [(0.5, 0.5), (8, 8)], (image.sop_instance_uid, 0))
    report = written(tmp_path, Measured(image, made, measure(made, frame_of(image))))
    (coordinates,) = children(children(groups(report)[0], "NUM")[0], "SCOORD")
    data = np.array(coordinates.GraphicData, float).reshape(-1, 2)
    assert data.tolist() == [[0.5, 0.5], [8, 8]]
    # highdicom's transformer takes SCOORD coordinates: the corner of the first pixel is (0, 0).
    to_patient = ImageToReferenceTransformer([10, 20, 30], [1, 0, 0, 0, 1, 0], [0.5, 0.7])
    assert np.allclose(to_patient(data)[0], [10, 20, 30])
    assert float(np.linalg.norm(np.diff(to_patient(data), axis=0))) == pytest.approx(
        measure(made, frame_of(image))[0].value, rel=1e-6
    )


def test_an_ellipse_is_told_by_its_long_axis_first(tmp_path: Path) -> None:
    image = make_radiograph(tmp_path / "s.dcm")
    for corners, long in ((((10, 10), (50, 30)), (40, 0)), (((10, 10), (30, 50)), (0, 40))):
        (group,) = groups(written(tmp_path, measured(image, "ellipse", *corners)))
        (region,) = children(group, "SCOORD")
        a, b, c, d = np.array(region.GraphicData).reshape(4, 2)
        assert region.GraphicType == "ELLIPSE"
        assert tuple(b - a) == long
        assert tuple(d - c) == tuple(20 if extent == 0 else 0 for extent in long)
        assert tuple((a + b) / 2) == tuple((c + d) / 2)


def test_patient_and_study_are_those_of_the_images(tmp_path: Path) -> None:
    image = make_radiograph(tmp_path / "s.dcm")
    report, header = written(tmp_path, measured(image, "length")), pydicom.dcmread(image.path)
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "StudyInstanceUID", "AccessionNumber"):
        assert report[keyword] == header[keyword]
    assert report.SeriesInstanceUID != header.SeriesInstanceUID
    assert "not for diagnosis" in report.SeriesDescription
    assert "AI" not in report.SeriesDescription
    assert report.VerificationFlag == "UNVERIFIED"
    assert "not for diagnosis" in report.ContentSequence[-1].ContentSequence[0].TextValue


def test_two_images_of_one_study_are_both_named(tmp_path: Path) -> None:
    study = {"StudyInstanceUID": "2.25.77"}
    first = make_radiograph(tmp_path / "a.dcm", SeriesInstanceUID="2.25.78", **study)
    second = make_radiograph(tmp_path / "b.dcm", SeriesInstanceUID="2.25.79", **study)
    third = make_radiograph(tmp_path / "c.dcm", SeriesInstanceUID="2.25.79", **study)
    items = [measured(image, "length") for image in (first, second, third, first)]
    report = written(tmp_path, *items)
    series = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    named = {s.SeriesInstanceUID: [r.ReferencedSOPInstanceUID for r in s.ReferencedSOPSequence] for s in series}
    assert named == {
        "2.25.78": [first.sop_instance_uid],
        "2.25.79": [second.sop_instance_uid, third.sop_instance_uid],
    }
    assert read_measurement_report(tmp_path / "m.dcm").measurements == tuple(item.measurement for item in items)


def test_the_frame_of_a_multi_frame_image_is_kept(tmp_path: Path) -> None:
    image = replace(make_radiograph(tmp_path / "s.dcm"), frame=4, number_of_frames=7)
    report = written(tmp_path, measured(image, "length"))
    (number,) = children(groups(report)[0], "NUM")
    reference = children(children(number, "SCOORD")[0], "IMAGE")[0].ReferencedSOPSequence[0]
    assert reference.ReferencedFrameNumber == 5
    assert read_measurement_report(tmp_path / "m.dcm").measurements[0].frame == 4


def test_an_image_named_without_a_frame_leaves_the_frame_open(tmp_path: Path) -> None:
    """PS3.3 Table 10-3: without a frame number all frames are meant."""
    image = make_radiograph(tmp_path / "s.dcm")
    written(tmp_path, measured(image, "length"))
    read = read_measurement_report(tmp_path / "m.dcm")
    (made,) = read.measurements
    assert read.without_frame == {made.uid}
    assert read.names_frame(made, 1)
    assert not read.names_frame(made, 7)
    written(tmp_path, measured(replace(image, number_of_frames=7), "length"))
    read = read_measurement_report(tmp_path / "m.dcm")
    assert read.without_frame == set()
    assert read.names_frame(read.measurements[0], 7)


# --- what does not belong together -----------------------------------------------------------------------------


@pytest.mark.reliability
@pytest.mark.parametrize("changes", [{"sop_instance_uid": "1.2.4"}, {"frame": 1}])
def test_a_measurement_of_another_image_is_not_written(changes: dict[str, Any], tmp_path: Path) -> None:
    item = measured(make_radiograph(tmp_path / "s.dcm"), "length")
    with pytest.raises(UsageError, match="another image"):
        written(tmp_path, replace(item, measurement=replace(item.measurement, **changes)))
    assert not (tmp_path / "m.dcm").exists()


@pytest.mark.reliability
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "two studies"),
        ({"StudyInstanceUID": "2.25.77", "PatientID": "another"}, "two different patients"),
        ({"StudyInstanceUID": "2.25.77", "PatientName": "Somebody^Else"}, "two different patients"),
        ({"StudyInstanceUID": "2.25.77", "PatientBirthDate": "19010101"}, "two different patients"),
        ({"StudyInstanceUID": "2.25.77", "IssuerOfPatientID": "OTHER"}, "two different patients"),
    ],
)
def test_images_of_two_studies_or_patients_are_not_mixed(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    first = make_radiograph(tmp_path / "a.dcm", StudyInstanceUID="2.25.77")
    second = make_radiograph(tmp_path / "b.dcm", **changes)
    with pytest.raises(UsageError, match=words):
        written(tmp_path, measured(first, "length"), measured(second, "length"))
    assert not (tmp_path / "m.dcm").exists()


@pytest.mark.reliability
def test_a_file_that_was_replaced_gets_no_report(tmp_path: Path) -> None:
    item = measured(make_radiograph(tmp_path / "s.dcm"), "length")
    make_radiograph(tmp_path / "s.dcm", PatientName="Somebody^Else")
    with pytest.raises(InputError, match="replaced"):
        written(tmp_path, item)


def test_nothing_twice_nothing_outside_and_nothing_not_finite_is_written(tmp_path: Path) -> None:
    item = measured(make_radiograph(tmp_path / "s.dcm"), "length")
    outside = replace(item.measurement, points=((1.0, 1.0), (81.0, 1.0)))
    for wrong, words in (
        ((), "no measurement"),
        ((item, item), "twice"),
        ((replace(item, measurement=outside),), "outside"),
        ((replace(item, quantities=()),), "no finite numbers"),
        ((replace(item, quantities=(Quantity("length", math.nan, "mm"),)),), "no finite numbers"),
    ):
        with pytest.raises(UsageError, match=words):
            written(tmp_path, *wrong)
    assert not (tmp_path / "m.dcm").exists()


# --- reports of others -----------------------------------------------------------------------------------------

Change = Callable[[Dataset], None]


def changed(tmp_path: Path, kind: MeasurementKind, change: Change, *, is_ours: bool = True) -> ReadReport:
    """A report of one measurement after a change to its group."""
    report = written(tmp_path, measured(make_radiograph(tmp_path / "s.dcm"), kind, label="Lesion 1"))
    (group,) = groups(report)
    if not is_ours:
        group.ContentSequence = [
            c
            for c in group.ContentSequence
            if c.ValueType not in ("CODE", "TEXT") or c.ConceptNameCodeSequence[0].CodingSchemeDesignator != SCHEME
        ]
    change(group)
    report.save_as(tmp_path / "changed.dcm")
    return read_measurement_report(tmp_path / "changed.dcm")


def coordinates(group: Dataset) -> list[Dataset]:
    return children(group, "SCOORD") + [c for n in children(group, "NUM") for c in children(n, "SCOORD")]


def draws(graphic_type: str, *numbers: float) -> Change:
    def change(group: Dataset) -> None:
        for item in coordinates(group):
            item.GraphicType, item.GraphicData = graphic_type, list(numbers)

    return change


def same(_: Dataset) -> None:
    """No change."""


@pytest.mark.parametrize(
    ("kind", "change", "expected_kind", "expected"),
    [
        ("length", same, "length", POINTS["length"]),
        ("angle", same, "angle", POINTS["angle"]),
        ("cobb", same, "cobb", POINTS["cobb"]),
        ("cobb", draws("POLYLINE", 1, 2, 3, 4, 5, 6, 7, 9), "cobb", ((1, 2), (3, 4), (5, 6), (7, 9))),
        ("bidirectional", same, "bidirectional", POINTS["bidirectional"]),
        ("freehand", same, "freehand", POINTS["freehand"]),
        ("probe", same, "probe", POINTS["probe"]),
        ("freehand", draws("CIRCLE", 20, 30, 23, 34), "ellipse", ((15, 25), (25, 35))),
        ("freehand", draws("ELLIPSE", 5, 10, 25, 10, 15, 5, 15, 15), "ellipse", ((5, 5), (25, 15))),
        ("freehand", draws("ELLIPSE", 15, 5, 15, 35, 10, 20, 20, 20), "ellipse", ((10, 5), (20, 35))),
    ],
)
def test_what_others_draw_is_read_where_it_is_understood(
    kind: MeasurementKind, change: Change, expected_kind: str, expected: Any, tmp_path: Path
) -> None:
    found = changed(tmp_path, kind, change, is_ours=False)
    assert found.not_understood == ()
    (measurement,) = found.measurements
    assert measurement.kind == expected_kind
    assert np.allclose(measurement.points, expected)
    assert (measurement.label, measurement.author) == ("Lesion 1", "MedViewer")


@pytest.mark.parametrize(
    ("spacing_mm", "corners"),
    [
        ((1.0, 1.0), ((15, 25), (25, 35))),
        ((2.0, 1.0), ((20 - 73**0.5, 30 - 73**0.5 / 2), (20 + 73**0.5, 30 + 73**0.5 / 2))),
    ],
)
def test_a_circle_of_others_is_round_in_the_patient(
    spacing_mm: tuple[float, float], corners: Any, tmp_path: Path
) -> None:
    """Centre (20, 30), through (23, 34): with pixels twice as high as wide its radius is the root of 9 + 64."""
    found = changed(tmp_path, "freehand", draws("CIRCLE", 20, 30, 23, 34), is_ours=False)
    description = make_radiograph(tmp_path / "s.dcm").description
    image = replace(description, pixel_spacing_mm=spacing_mm)
    assert np.allclose(found.drawn_on(found.measurements[0], image).points, corners)
    other = changed(tmp_path, "freehand", draws("ELLIPSE", 5, 10, 25, 10, 15, 5, 15, 15), is_ours=False)
    assert other.drawn_on(other.measurements[0], image) == other.measurements[0]


def _no_image(group: Dataset) -> None:
    for item in coordinates(group):
        item.ContentSequence = []


def _two_frames(group: Dataset) -> None:
    for item in coordinates(group):
        item.ContentSequence[0].ReferencedSOPSequence[0].ReferencedFrameNumber = [1, 2]


def _frame_zero(group: Dataset) -> None:
    for item in coordinates(group):
        item.ContentSequence[0].ReferencedSOPSequence[0].ReferencedFrameNumber = 0


def _two_images(group: Dataset) -> None:
    coordinates(group)[1].ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID = "1.2.4"


def _in_space(group: Dataset) -> None:
    for item in coordinates(group):
        item.ValueType = "SCOORD3D"


def _whole_slide(group: Dataset) -> None:
    for item in coordinates(group):
        item.PixelOriginInterpretation = "VOLUME"


def _unknown_kind(group: Dataset) -> None:
    for item in children(group, "CODE"):
        item.ConceptCodeSequence[0].CodeValue = "volume"


def _no_uid(group: Dataset) -> None:
    group.ContentSequence = [c for c in group.ContentSequence if c.ValueType != "UIDREF"]


def _no_number(group: Dataset) -> None:
    del children(group, "NUM")[0].MeasuredValueSequence


@pytest.mark.reliability
@pytest.mark.parametrize(
    ("kind", "change", "is_ours", "words"),
    [
        ("length", _no_image, False, "on which image"),
        ("length", _two_frames, False, "on which frame"),
        ("length", _frame_zero, True, "on which frame"),
        ("cobb", _two_images, True, "exactly one image"),
        ("length", _in_space, False, "in space"),
        ("length", _whole_slide, False, "whole slide"),
        ("rectangle", draws("ELLIPSE", 5, 10, 25, 12, 15, 5, 14, 15), False, "does not know"),
        ("cardiothoracic", same, False, "does not know"),
        ("length", draws("POLYLINE", 1, 2, 3, 4, 5, 6), False, "does not know"),
        ("length", draws("POLYLINE", 1, 2, math.nan, 4), False, "finite place"),
        ("length", _unknown_kind, True, "newer MedViewer"),
        ("length", _no_uid, True, "valid UID"),
        ("length", draws("POLYLINE", 1, 2, 3, 4, 5, 6), True, "takes 2 points"),
        ("ellipse", draws("ELLIPSE", 5, 10, 25, 12, 15, 5, 14, 15), True, "does not fit"),
        ("rectangle", draws("POLYLINE", 5, 10, 25, 12), True, "does not fit"),
        ("probe", draws("POLYLINE", 5, 10), True, "does not fit"),
        ("cobb", draws("POLYLINE", 1, 1, 2, 2, 3, 3), True, "does not fit"),
        ("calibration", _no_number, True, "known length"),
    ],
)
def test_what_is_not_understood_is_named_and_not_guessed(
    kind: MeasurementKind, change: Change, is_ours: bool, words: str, tmp_path: Path
) -> None:
    found = changed(tmp_path, kind, change, is_ours=is_ours)
    assert found.measurements == ()
    (sentence,) = found.not_understood
    assert sentence.startswith("Measurement 1 (Lesion 1): ")
    assert words in sentence


def test_one_lesion_on_two_images_is_two_measurements(tmp_path: Path) -> None:
    image = make_radiograph(tmp_path / "s.dcm")
    report = written(tmp_path, measured(image, "length"), measured(image, "angle"))
    for group in groups(report):
        for item in children(group, "UIDREF"):
            item.UID = "2.25.99"
    report.save_as(tmp_path / "ours.dcm")
    ours = read_measurement_report(tmp_path / "ours.dcm")
    assert [m.uid for m in ours.measurements] == ["2.25.99"]
    assert "same UID" in ours.not_understood[0]
    for group in groups(report):
        group.ContentSequence = [c for c in group.ContentSequence if c.ValueType != "CODE"]
    report.save_as(tmp_path / "theirs.dcm")
    theirs = read_measurement_report(tmp_path / "theirs.dcm")
    assert len({m.uid for m in theirs.measurements}) == 2
    assert read_measurement_report(tmp_path / "theirs.dcm") == theirs, "the same each time"


@pytest.mark.parametrize(
    ("observed", "zone", "expected"),
    [
        ("20260102030405.5+0100", "", datetime(2026, 1, 2, 2, 4, 5, 500_000, UTC)),
        ("20260102030405", "-0430", datetime(2026, 1, 2, 7, 34, 5, 0, UTC)),
        ("nonsense", "+0000", datetime(2026, 3, 4, 5, 6, 7, 0, UTC)),
        ("", "+0000", datetime(2026, 3, 4, 5, 6, 7, 0, UTC)),
        ("20261302030405", "+0000", datetime(1970, 1, 1, tzinfo=UTC)),
        ("20260102030405+9900", "+0000", datetime(1970, 1, 1, tzinfo=UTC)),
        ("20260102030405+1500", "+0000", datetime(1970, 1, 1, tzinfo=UTC)),
        ("20260102030405", "+0160", datetime(2026, 1, 2, 3, 4, 5).astimezone()),  # as of a study: no zone, local time
        ("20260102030405.000025-0000", "+0100", datetime(2026, 1, 2, 3, 4, 5, 25, UTC)),
    ],
)
def test_times_are_those_of_the_report(observed: str, zone: str, expected: datetime, tmp_path: Path) -> None:
    report = written(tmp_path, measured(make_radiograph(tmp_path / "s.dcm"), "length"))
    with pydicom.config.disable_value_validation():
        report.ContentDate, report.ContentTime = "20260304", "050607"
        groups(report)[0].add_new(0x0040A032, "DT", observed)
        if zone:
            report.TimezoneOffsetFromUTC = zone
        report.save_as(tmp_path / "m.dcm")
    (measurement,) = read_measurement_report(tmp_path / "m.dcm").measurements
    assert measurement.created == expected


def test_a_time_that_the_system_cannot_place_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some systems know no local time of years that are far away."""

    class Elsewhere(datetime):
        def astimezone(self, _zone: Any = None) -> Any:
            raise OSError(22, "Invalid argument")

    report = written(tmp_path, measured(make_radiograph(tmp_path / "s.dcm"), "length"))
    groups(report)[0].add_new(0x0040A032, "DT", "00010203040506")
    report.save_as(tmp_path / "m.dcm")
    monkeypatch.setattr(measurement_reading, "datetime", Elsewhere)
    (measurement,) = read_measurement_report(tmp_path / "m.dcm").measurements
    assert measurement.created == datetime(1970, 1, 1, tzinfo=UTC)


def test_other_files_are_refused(tmp_path: Path) -> None:
    image = make_radiograph(tmp_path / "s.dcm")
    with pytest.raises(UnsupportedError, match="TID 1500"):
        read_measurement_report(image.path)
    (tmp_path / "x").write_bytes(b"nothing")
    with pytest.raises(MedViewerError):
        read_measurement_report(tmp_path / "x")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**20), st.binary(min_size=1, max_size=40))
def test_a_damaged_report_never_crashes(tmp_path: Path, start: int, garbage: bytes) -> None:
    path = tmp_path / "whole.dcm"
    if not path.exists():
        image = make_radiograph(tmp_path / "s.dcm")
        write_measurement_report([measured(image, kind) for kind in KINDS], path=path)
    content = bytearray(path.read_bytes())
    start %= len(content)
    content[start : start + len(garbage)] = garbage
    (tmp_path / "damaged.dcm").write_bytes(content)
    try:
        found = read_measurement_report(tmp_path / "damaged.dcm")
    except MedViewerError:
        return
    assert all(isinstance(m, Measurement) for m in found.measurements)


def test_reports_of_highdicom_are_read_as_far_as_they_are_understood() -> None:
    corpus = samples.corpus()
    if corpus is None:
        pytest.skip("no corpus: set MEDVIEWER_CORPUS")
    path = corpus / "highdicom" / "sr_document_with_multiple_groups.dcm"
    found = read_measurement_report(path)
    expected = [g for g in sr.srread(path).content.get_planar_roi_measurement_groups() if g.roi is not None]
    ours = {m.label: np.array(m.points) for m in found.measurements}
    assert ours
    for group in expected:
        if group.tracking_identifier in ours and getattr(group.roi, "graphic_type", None) is not None:
            is_circle = group.roi.graphic_type.value == "CIRCLE"
            center = group.roi.value[0] if is_circle else np.mean(group.roi.value, axis=0)
            assert np.allclose(ours[group.tracking_identifier].mean(axis=0), center)
    assert len(found.not_understood) + len(found.measurements) == 4
