"""Heat maps as DICOM objects, judged by others: dciodvfy, dcentvfy, dcmtk, highdicom, pydicom, SimpleITK."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes

from medviewer.app.result import Result
from medviewer.app.results import save_results
from medviewer.domain.answer import Attribution, Finding
from medviewer.domain.errors import InputError, UsageError
from medviewer.domain.frame import Frame
from medviewer.domain.study import Image
from medviewer.explain.methods import METHODS
from medviewer.explain.overlay import normalise_map
from medviewer.imaging.heat_map_object import write_heat_map, write_heat_map_segment
from medviewer.imaging.outline_object import write_outlines
from medviewer.imaging.scan import images_of, scan
from medviewer.inference.placement import grid_to_network, place_saliency
from tests.answers import EFFUSION, PNEUMONIA, PROVENANCE, make_answer, make_attribution, make_radiograph
from tests.layer_objects import write_ct
from tests.outline_models import make_outlines
from tests.reference.test_dicom_out import KINDS, errors_of, inconsistencies, make_source, run, scanned, tool

SQUARE = 224  # pixels of a network's input
CELLS = 7
MAP, SEGMENT = "map.pm.dcm", "map.seg.dcm"


def make_slice(tmp_path: Path) -> Image:
    """One slice of a CT that is turned in the patient, so that no axis is a pixel's."""
    turned = [0.8, 0.6, 0.0, 0.0, 0.0, -1.0]
    folder = tmp_path / "ct"
    empty = {"AccessionNumber": "", "StudyID": "", "ReferringPhysicianName": ""}
    write_ct(folder, ImageOrientationPatient=turned, PixelSpacing=[3.0, 2.0], **empty)
    return scanned(folder)[7]


def hot_map(image: Image, row: float, column: float) -> Attribution:
    """A map of 7 x 7 cells, hottest in the one over a place of the image; the network saw the middle square only."""
    rows, columns = image.description.rows, image.description.columns
    side = min(rows, columns)
    to_image = np.array([
        [side / SQUARE, 0, 0.5 * side / SQUARE - 0.5 + (rows - side) / 2],
        [0, side / SQUARE, 0.5 * side / SQUARE - 0.5 + (columns - side) / 2],
        [0, 0, 1],
    ]) @ grid_to_network((CELLS, CELLS), (SQUARE, SQUARE))  # fmt: skip
    cell = np.linalg.inv(to_image) @ (row, column, 1)
    rr, cc = np.indices((CELLS, CELLS))
    saliency = np.exp(-((rr - cell[0]) ** 2 + (cc - cell[1]) ** 2)).astype(np.float32) - 0.2
    placed = place_saliency(saliency, to_image, (rows, columns))
    return make_attribution(rows, columns, saliency=saliency, model_to_image=to_image, placed=placed)


def written(source: Image, out: Path, made: Attribution | None = None) -> tuple[Path, Path]:
    rows, columns = source.description.rows, source.description.columns
    made = made or make_attribution(rows, columns)
    parts, strongest = normalise_map(made.placed)
    write_heat_map(source, made, PNEUMONIA, strongest=strongest, path=out / MAP)
    mask = np.nan_to_num(parts, nan=0.0) >= 0.5
    criterion = "at least 0.5 of the strongest value"
    write_heat_map_segment(source, made, PNEUMONIA, mask=mask, criterion=criterion, path=out / SEGMENT)
    return out / MAP, out / SEGMENT


def source_of(kind: str, tmp_path: Path) -> Image:
    if kind == "no-side":
        return make_radiograph(tmp_path / "source.dcm", BodyPartExamined="HAND")
    return make_slice(tmp_path) if kind == "slice" else make_source(kind, tmp_path)


EVERY = [*KINDS, "no-side", "slice"]


@pytest.mark.reliability
@pytest.mark.parametrize("kind", EVERY)
def test_others_find_no_error_and_one_patient(kind: str, tmp_path: Path) -> None:
    source = source_of(kind, tmp_path)
    for path in written(source, tmp_path):
        assert errors_of(path) == [], path.name
        assert inconsistencies(source.path, path) == [], path.name
        assert run(tool("dcmdump"), path).returncode == 0


@pytest.mark.parametrize("kind", EVERY)
def test_highdicom_and_pydicom_read_the_values_that_were_written(kind: str, tmp_path: Path) -> None:
    source = source_of(kind, tmp_path)
    made = make_attribution(source.description.rows, source.description.columns)
    map_path, segment_path = written(source, tmp_path, made)
    found = pydicom.dcmread(map_path)
    assert found.pixel_array.dtype == np.float32
    assert np.array_equal(found.pixel_array, made.placed, equal_nan=True)
    read = hd.pm.ParametricMap.from_dataset(pydicom.dcmread(map_path))
    raw = np.frombuffer(read.get_raw_frame(1), "<f4").reshape(made.placed.shape)
    assert np.array_equal(raw, made.placed, equal_nan=True)
    segmentation = hd.seg.segread(segment_path)
    mask = segmentation.get_pixels_by_source_instance(
        [source.sop_instance_uid], ignore_spatial_locations=True, segment_numbers=[1]
    )
    assert np.array_equal(mask[0, ..., 0] > 0, np.nan_to_num(made.placed) >= 0.5)
    assert np.array_equal(pydicom.dcmread(segment_path).pixel_array > 0, np.nan_to_num(made.placed) >= 0.5)


def test_the_map_says_what_its_values_are_and_who_made_them(tmp_path: Path) -> None:
    found = pydicom.dcmread(written(make_source("plain", tmp_path), tmp_path)[0])
    [mapping] = found.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence
    assert (mapping.LUTLabel, mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept) == ("Grad Cam", 1.0, 0.0)
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "1"
    assert (mapping.DoubleFloatRealWorldValueFirstValueMapped, mapping.DoubleFloatRealWorldValueLastValueMapped) == (
        0,
        1,
    )
    said = [
        (item.ConceptNameCodeSequence[0].CodeMeaning, item.get("TextValue") or item.ConceptCodeSequence[0].CodeMeaning)
        for item in mapping.QuantityDefinitionSequence
    ]
    assert said[:3] == [
        ("Quantity", "Gradient-weighted class activation"), ("Measurement Method", "Grad Cam"),
        ("Finding", "pneumonia"),
    ]  # fmt: skip
    assert ("Algorithm Parameters", "model sha256: " + "ab" * 32) in said
    model = found.ContributingEquipmentSequence[0]
    assert (model.ManufacturerModelName, model.SoftwareVersions) == ("fake-chest", "1.2.3")
    assert model.DeviceSerialNumber == "ab" * 32
    assert "unverified" in model.ContributionDescription
    assert found.ContentQualification == "RESEARCH"
    assert "research use only" in found.SeriesDescription


@pytest.mark.parametrize("method", [row.id for row in METHODS])
def test_each_method_is_coded_as_what_it_is(method: str, tmp_path: Path) -> None:
    source = make_source("plain", tmp_path)
    made = make_attribution(source.description.rows, source.description.columns, method)
    path, _ = written(source, tmp_path, made)
    [mapping] = pydicom.dcmread(path).SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence
    [kind] = mapping.QuantityDefinitionSequence[0].ConceptCodeSequence
    expected = {
        "class-activation": ("130402", "DCM", "Class activation"),
        "grad-cam": ("130403", "DCM", "Gradient-weighted class activation"),
        "grad-cam-plus-plus": ("130403", "DCM", "Gradient-weighted class activation"),
    }
    said = (kind.CodeValue, kind.CodingSchemeDesignator, kind.CodeMeaning)
    assert said == expected.get(method, ("130404", "DCM", "Saliency"))
    assert errors_of(path) == []


def test_the_segment_is_never_called_a_lesion(tmp_path: Path) -> None:
    text = str(pydicom.dcmread(written(make_source("plain", tmp_path), tmp_path)[1]))
    [segment] = hd.seg.segread(tmp_path / SEGMENT).SegmentSequence
    assert segment.SegmentLabel == "Where the model looked (pneumonia)"
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Visual explanation"
    assert "lesion" not in text.replace("not the outline of a lesion", "")
    assert "model sha256" in text


@pytest.mark.reliability
def test_a_projection_is_given_no_place_in_the_patient(tmp_path: Path) -> None:
    source = make_radiograph(tmp_path / "source.dcm", ImagerPixelSpacing=["0.2", "0.2"])
    paths = written(source, tmp_path)
    for path in paths:
        text = str(pydicom.dcmread(path))
        for invented in ("Pixel Spacing", "Image Position (Patient)", "Image Orientation (Patient)"):
            assert invented not in text
        assert "Spatial Locations Preserved         CS: 'YES'" in text
    assert "FrameOfReferenceUID" not in pydicom.dcmread(paths[1])


@pytest.mark.reliability
@pytest.mark.parametrize(
    ("attributes", "shape"),
    [({"PixelAspectRatio": ["5", "4"]}, [5, 4]), ({"ImagerPixelSpacing": [0.4, 0.2]}, [2, 1]), ({}, None)],
)
def test_segments_of_a_projection_have_its_pixels_shape(
    tmp_path: Path, attributes: dict[str, Any], shape: list[int] | None
) -> None:
    """Nothing else tells that these are no squares (type 1C, PS3.3 C.7.6.3.1.7): they would lie there squashed."""
    (source,) = images_of(scan([make_radiograph(tmp_path / "source.dcm", **attributes).path]))
    attribution, mask = make_attribution(96, 80), np.eye(96, 80, dtype=bool)
    paths = tmp_path / "seg.dcm", tmp_path / "outlines.dcm"
    write_heat_map_segment(source, attribution, PNEUMONIA, mask=mask, criterion="hot", path=paths[0])
    write_outlines(source, make_outlines(96, 80), path=paths[1])
    for path in paths:
        assert errors_of(path) == []
        ratio = pydicom.dcmread(path).get("PixelAspectRatio")
        assert (ratio if ratio is None else list(ratio)) == shape


def test_two_images_never_share_a_frame_of_reference_of_their_own(tmp_path: Path) -> None:
    alone = set()
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        source = make_radiograph(folder / "source.dcm")
        again = {pydicom.dcmread(written(source, folder)[0]).FrameOfReferenceUID for _ in range(2)}
        assert len(again) == 1
        alone |= again
    assert len(alone) == 2


@pytest.mark.reliability
def test_the_hot_spot_lies_where_it_was_in_the_patient(tmp_path: Path) -> None:
    """Drawn by another program: the map is laid over the slice by SimpleITK, which places both by their own files."""
    sitk = pytest.importorskip("SimpleITK")
    source = make_slice(tmp_path)
    row, column = 12.0, 27.0
    path, segment_path = written(source, tmp_path, hot_map(source, row, column))
    found = pydicom.dcmread(path)
    shared, own = found.SharedFunctionalGroupsSequence[0], found.PerFrameFunctionalGroupsSequence[0]
    assert found.FrameOfReferenceUID == pydicom.dcmread(source.path).FrameOfReferenceUID
    cosines = np.array([float(v) for v in shared.PlaneOrientationSequence[0].ImageOrientationPatient]).reshape(2, 3)
    spacing = [float(v) for v in shared.PixelMeasuresSequence[0].PixelSpacing]
    laid = sitk.GetImageFromArray(np.nan_to_num(found.pixel_array, nan=-1.0)[None])
    laid.SetSpacing((spacing[1], spacing[0], float(shared.PixelMeasuresSequence[0].SliceThickness)))
    laid.SetOrigin([float(v) for v in own.PlanePositionSequence[0].ImagePositionPatient])
    laid.SetDirection(np.column_stack([*cosines, np.cross(*cosines)]).ravel().tolist())
    image = sitk.ReadImage(str(source.path))
    on_image = sitk.GetArrayFromImage(sitk.Resample(laid, image, sitk.Transform(), sitk.sitkNearestNeighbor, -2.0))[0]
    seen = np.unravel_index(on_image.argmax(), on_image.shape)
    half_a_cell = min(on_image.shape) / CELLS / 2
    assert abs(seen[0] - row) <= half_a_cell
    assert abs(seen[1] - column) <= half_a_cell
    place = image.TransformContinuousIndexToPhysicalPoint((column, row, 0.0))
    hottest = laid.TransformIndexToPhysicalPoint([int(v) for v in (seen[1], seen[0], 0)])
    assert np.linalg.norm(np.subtract(place, hottest)) <= half_a_cell * np.hypot(*spacing)
    volume = hd.seg.segread(segment_path).get_volume()
    mask = volume.array[..., 0] if volume.array.ndim == 4 else volume.array
    inside = volume.map_indices_to_reference(np.argwhere(mask > 0)).mean(axis=0)
    assert np.linalg.norm(inside - place) <= 2 * half_a_cell * np.hypot(*spacing)


@pytest.mark.reliability
def test_on_a_radiograph_the_hot_spot_lies_on_the_same_pixels(tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    source = make_radiograph(tmp_path / "source.dcm", rows=128, columns=90)
    row, column = 40.0, 70.0
    path, _ = written(source, tmp_path, hot_map(source, row, column))
    values = pydicom.dcmread(path).pixel_array
    image = sitk.GetArrayFromImage(sitk.ReadImage(str(source.path)))[0]
    assert values.shape == image.shape
    seen = np.unravel_index(np.nanargmax(values), values.shape)
    assert np.abs(np.subtract(seen, (row, column))).max() <= 90 / CELLS / 2
    assert np.isnan(values[:19]).all()  # of the 128 rows, the network saw the middle 90
    assert np.isfinite(values[19:109]).all()


def test_a_map_of_another_finding_size_or_image_is_not_written(tmp_path: Path) -> None:
    source = make_radiograph(tmp_path / "source.dcm")
    good = make_attribution(96, 80)
    path = tmp_path / MAP
    refused: list[tuple[Attribution, Finding]] = [
        (good, EFFUSION),
        (make_attribution(80, 96), PNEUMONIA),
        (make_attribution(96, 80, placed=np.full((96, 80), np.nan, np.float32)), PNEUMONIA),
    ]
    for made, finding in refused:
        with pytest.raises(UsageError):
            write_heat_map(source, made, finding, strongest=1.0, path=path)
    nothing = np.zeros((96, 80), bool)
    with pytest.raises(UsageError, match="lower it"):
        write_heat_map_segment(source, good, PNEUMONIA, mask=nothing, criterion="x", path=path)
    make_radiograph(tmp_path / "source.dcm")
    with pytest.raises(InputError, match="replaced"):
        write_heat_map(source, good, PNEUMONIA, strongest=1.0, path=path)
    assert not path.exists()


@pytest.mark.parametrize("strongest", [1.0, 0.0505666123, 3.3333333e-7, 123456.789])
def test_the_window_goes_from_nothing_to_the_strongest(strongest: float, tmp_path: Path) -> None:
    source = make_radiograph(tmp_path / "source.dcm")
    made = make_attribution(96, 80)
    write_heat_map(
        source, replace(made, placed=made.placed * strongest), PNEUMONIA, strongest=strongest, path=tmp_path / MAP
    )
    [window] = pydicom.dcmread(tmp_path / MAP).SharedFunctionalGroupsSequence[0].FrameVOILUTSequence
    center, width = float(window.WindowCenter), float(window.WindowWidth)
    assert abs(center - width / 2) <= 1e-12 * width
    assert width == pytest.approx(strongest, rel=1e-5)
    assert errors_of(tmp_path / MAP) == []


@pytest.mark.parametrize("verified", [True, False])
def test_whether_the_model_is_signed_is_said(verified: bool, tmp_path: Path) -> None:
    source = make_radiograph(tmp_path / "source.dcm")
    made = make_attribution(96, 80, provenance=replace(PROVENANCE, is_verified=verified))
    text = str(pydicom.dcmread(written(source, tmp_path, made)[0]))
    assert ("signature: verified" in text) is verified
    assert ("signature: unverified" in text) is not verified


@pytest.mark.reliability
@pytest.mark.parametrize("kind", ["RG1", "utf8", "slice"])
def test_the_report_names_the_objects_and_every_reader_finds_them(kind: str, tmp_path: Path) -> None:
    source = source_of(kind, tmp_path)
    made = make_attribution(source.description.rows, source.description.columns)
    everything = frozenset(("report", "capture", "maps", "segments", "keys"))
    frame = Frame(np.zeros(made.placed.shape, np.uint16), source.description)
    result = Result(source, frame, make_answer(PNEUMONIA), (made,))
    out = tmp_path / "out"
    save_results(out, result, outputs=everything)
    report = hd.sr.srread(out / "finding.sr.dcm")
    objects = [pydicom.dcmread(out / name) for name in ("map-grad-cam.pm.dcm", "attention-grad-cam.seg.dcm")]
    named = hd.sr.utils.find_content_items(
        report, name=codes.DCM.VisualExplanation, value_type=hd.sr.ValueTypeValues.IMAGE, recursive=True
    )
    assert [item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in named] == [
        one.SOPInstanceUID for one in objects
    ]
    for one in objects:
        assert report.content.get_image_measurement_groups()
        evidence = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
        assert one.SeriesInstanceUID in [series.SeriesInstanceUID for series in evidence]
    paths = sorted(out.glob("*.dcm"))
    assert len(paths) == 5
    for path in paths:
        assert errors_of(path) == [], path.name
    assert inconsistencies(source.path, *paths) == []
    tree = run(tool("dsrdump"), "-Er", "+Pl", out / "finding.sr.dcm")
    assert tree.returncode == 0, tree.stderr
    assert tree.stdout.count('"Visual explanation"') == 2
