"""Outlines as DICOM Segmentations and reports, judged by others: dciodvfy, dcentvfy, dcmtk, highdicom, pydicom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes

from medviewer.domain.answer import Answer
from medviewer.domain.errors import InputError, UsageError
from medviewer.domain.study import Image
from medviewer.imaging.outline_object import write_outlines
from medviewer.imaging.reslice import PlaneGrid
from medviewer.imaging.scan import scan
from medviewer.imaging.segmentation import lay_segmentation, read_segmentation
from medviewer.imaging.structured_report import write_structured_report
from tests.answers import make_radiograph
from tests.outline_models import make_outlines, make_region
from tests.reference.test_dicom_out import errors_of, inconsistencies, make_source, run, tool
from tests.reference.test_heat_map_objects import EVERY, source_of

SEG, SR = "outlines.seg.dcm", "finding.sr.dcm"


def written(source: Image, out: Path, answer: Answer | None = None) -> tuple[Path, Path, Answer]:
    made = answer or make_outlines(source.description.rows, source.description.columns)
    reference = write_outlines(source, made, path=out / SEG)
    write_structured_report(source, made, shown_by=[reference], path=out / SR)
    return out / SEG, out / SR, made


@pytest.mark.reliability
@pytest.mark.parametrize("kind", EVERY)
def test_others_find_no_error_and_one_patient(kind: str, tmp_path: Path) -> None:
    source = source_of(kind, tmp_path)
    segmentation, report, _ = written(source, tmp_path)
    for path in (segmentation, report):
        assert errors_of(path) == [], path.name
        assert inconsistencies(source.path, path) == [], path.name
        assert run(tool("dcmdump"), path).returncode == 0


@pytest.mark.parametrize("kind", EVERY)
def test_highdicom_and_pydicom_read_the_masks_that_were_written(kind: str, tmp_path: Path) -> None:
    source = source_of(kind, tmp_path)
    path, _, answer = written(source, tmp_path)
    read = hd.seg.segread(path)
    found = read.get_pixels_by_source_instance([source.sop_instance_uid], ignore_spatial_locations=True)
    frames = pydicom.dcmread(path).pixel_array
    for number, region in enumerate(answer.regions):
        np.testing.assert_array_equal(found[0, ..., number] > 0, region.mask)
        np.testing.assert_array_equal(frames[number] > 0, region.mask)
    assert (read.SegmentationType, read.SegmentsOverlap) == ("BINARY", "NO")


def test_segments_are_what_the_card_says(tmp_path: Path) -> None:
    path, _, answer = written(make_source("plain", tmp_path), tmp_path)
    read = hd.seg.segread(path)
    for number, region in enumerate(answer.regions, start=1):
        segment = read.get_segment_description(number)
        assert segment.segment_label == region.label
        assert segment.segmented_property_type.value == region.code.removeprefix("SCT:")
        assert segment.segmented_property_category == codes.SCT.AnatomicalStructure
        assert segment.algorithm_type == hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC
        [algorithm] = segment.SegmentationAlgorithmIdentificationSequence
        assert "model sha256" in algorithm.AlgorithmParameters
        shown = hd.color.CIELabColor.from_dicom_value(segment.RecommendedDisplayCIELabValue).to_rgb()
        assert max(abs(a - b) for a, b in zip(shown, region.color, strict=True)) <= 2
    assert "research use only" in read.SeriesDescription


def test_a_label_of_which_nothing_was_outlined_has_no_frame_and_keeps_its_number(tmp_path: Path) -> None:
    source = make_source("plain", tmp_path)
    rows, columns = source.description.rows, source.description.columns
    path, report, answer = written(source, tmp_path, make_outlines(rows, columns, empty=frozenset(["bright"])))
    read = hd.seg.segread(path)
    assert errors_of(path) == errors_of(report) == []
    assert (read.NumberOfFrames, [s.SegmentNumber for s in read.SegmentSequence]) == (1, [1, 2])
    [frame] = read.PerFrameFunctionalGroupsSequence
    assert frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber == 2
    np.testing.assert_array_equal(pydicom.dcmread(path).pixel_array > 0, answer.regions[1].mask)


def test_segments_that_overlap_say_so(tmp_path: Path) -> None:
    source = make_source("plain", tmp_path)
    mask = np.zeros((source.description.rows, source.description.columns), bool)
    mask[10:31, 7:20] = True  # an odd number of bits
    answer = make_outlines(*mask.shape)
    answer = make_outlines(*mask.shape, regions=(make_region("bright", mask), make_region("dark", ~mask | mask)))
    path = written(source, tmp_path, answer)[0]
    assert hd.seg.segread(path).SegmentsOverlap == "YES"
    assert errors_of(path) == []
    np.testing.assert_array_equal(pydicom.dcmread(path).pixel_array[0] > 0, mask)


def test_it_comes_back_as_a_layer_over_the_slice_that_it_was_made_on(tmp_path: Path) -> None:
    """Turned in the patient, with pixels that are not square: the very outlines, by place and not by number."""
    source = source_of("slice", tmp_path)
    path, _, answer = written(source, tmp_path)
    [patient] = scan([path]).patients
    layer = read_segmentation(patient.studies[0].series[0].stacks[0])
    d = source.description
    assert d.plane is not None
    assert d.pixel_spacing_mm is not None
    laid = lay_segmentation(layer, PlaneGrid(d.plane, d.pixel_spacing_mm, (d.rows, d.columns)))
    for number, region in enumerate(answer.regions, start=1):
        assert {tuple(map(tuple, one)) for one in laid.outlines[number]} == {
            tuple(map(tuple, one)) for one in region.outlines
        }
    assert [segment.label for segment in layer.segments] == ["bright", "dark"]
    wished = [segment.color for segment in layer.segments]
    for color, region in zip(wished, answer.regions, strict=True):
        assert color is not None
        assert max(abs(a - b) for a, b in zip(color, region.color, strict=True)) <= 2


def test_the_report_measures_each_outline_and_names_its_segment(tmp_path: Path) -> None:
    source = make_source("plain", tmp_path)
    path, report, answer = written(source, tmp_path)
    content = hd.sr.srread(report).content
    groups = content.get_planar_roi_measurement_groups()
    assert len(groups) == 2
    uid = pydicom.dcmread(path).SOPInstanceUID
    for number, (group, region) in enumerate(zip(groups, answer.regions, strict=True), start=1):
        assert group.finding_type.value == region.code.removeprefix("SCT:")
        place = group.referenced_segmentation_frame
        named = place[0].ReferencedSOPSequence[0]
        assert named.ReferencedSOPInstanceUID == uid
        assert (named.ReferencedSegmentNumber, "ReferencedFrameNumber" in named) == (number, False)
        [area] = group.get_measurements(name=codes.SCT.Area)
        assert (area.value, area.unit.value) == (pytest.approx(region.area_mm2), "mm2")
    evidence = pydicom.dcmread(report).CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    known = {series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for series in evidence}
    assert known == {source.sop_instance_uid, uid}
    assert groups[0].get_measurements(name=codes.DCM.Probability) == []  # nobody calibrated it


def test_an_outline_without_a_trustworthy_size_reports_pixels_and_why(tmp_path: Path) -> None:
    source = make_source("plain", tmp_path)
    mask = np.zeros((source.description.rows, source.description.columns), bool)
    mask[4:9, 4:9] = True
    because = "The file gives no pixel spacing."
    region = make_region("dark", mask, area_mm2=None, basis="", remark=because)
    answer = make_outlines(*mask.shape, regions=(region, make_region("bright", mask & False)))
    _, report, _ = written(source, tmp_path, answer)
    content = hd.sr.srread(report).content
    [group] = content.get_planar_roi_measurement_groups()
    assert group.get_measurements(name=codes.SCT.Area) == []
    assert f"No area in mm2: {because}" in texts_of(group)
    [empty] = content.get_image_measurement_groups()  # what was not found is no finding
    assert empty.finding_type is None
    [said] = empty.get_qualitative_evaluations()
    assert said.value.meaning == "Nothing outlined above the threshold"


def texts_of(group: Any) -> list[str]:
    """What is remarked in a measurement group."""
    return [item.TextValue for item in group[0].ContentSequence if item.ValueType == "TEXT"]


@pytest.mark.reliability
def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    source = make_source("plain", tmp_path)
    rows, columns = source.description.rows, source.description.columns
    with pytest.raises(UsageError, match="no segment"):
        write_outlines(source, make_outlines(rows, columns, empty=frozenset(["bright", "dark"])), path=tmp_path / SEG)
    with pytest.raises(UsageError, match="not of the image's size"):
        write_outlines(source, make_outlines(rows, columns + 1), path=tmp_path / SEG)
    other = make_radiograph(tmp_path / "other.dcm")
    other.path.replace(source.path)
    with pytest.raises(InputError, match="replaced"):
        write_outlines(source, make_outlines(rows, columns), path=tmp_path / SEG)
    assert not (tmp_path / SEG).exists()
