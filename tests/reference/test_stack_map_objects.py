"""The heat map of a stack as a Parametric Map, and the report of it, judged by others: dciodvfy, highdicom, SimpleITK."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest

from medviewer.app.answering import Asking, answer_stack
from medviewer.app.on_screen import selections
from medviewer.app.result import Result
from medviewer.app.results import save_results
from medviewer.domain.errors import InputError, UsageError
from medviewer.imaging.outline_object import write_outlines
from medviewer.imaging.scan import scan
from medviewer.imaging.stack_map_object import write_stack_map
from medviewer.imaging.stack_outlines import write_stack_outlines
from tests import stack_models
from tests.outline_models import make_outlines
from tests.reference.test_dicom_out import errors_of, inconsistencies, run, tool
from tests.stack_models import HOT, MODEL_ID, ORIENTATIONS, StackEngine, write_stack

MAP, REPORT = "map-occlusion.pm.dcm", "finding.sr.dcm"
ASKING = Asking(methods=("occlusion",), outputs=frozenset(("maps", "report", "capture", "segments")))
WHOLE = {"AccessionNumber": "", "ReferringPhysicianName": "", "PatientBirthDate": "", "PatientSex": "", "StudyTime": ""}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[StackEngine]:
    with stack_models.open_engine(tmp_path / "models") as made:
        yield made


def answered(engine: StackEngine, folder: Path, orientation: str, **changes: object) -> Result:
    write_stack(folder, orientation, **WHOLE, **changes)  # type: ignore[arg-type]
    return answer_stack(engine, MODEL_ID, next(selections(scan([folder]))), asking=ASKING)


@pytest.mark.reliability
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_others_find_no_error_and_the_hottest_place_where_it_is(
    engine: StackEngine, tmp_path: Path, orientation: str
) -> None:
    result = answered(engine, tmp_path / "ct", orientation)
    paths = save_results(tmp_path / "out", result, outputs=ASKING.outputs)
    assert [path.name for path in paths if path.suffix == ".dcm"] == [MAP, REPORT, "capture.sc.dcm"]
    for path in paths:
        if path.suffix == ".dcm":
            assert errors_of(path) == [], path.name
            assert inconsistencies(result.image.path, path) == [], path.name
            assert run(tool("dcmdump"), path).returncode == 0
    found = pydicom.dcmread(tmp_path / "out" / MAP)
    read = hd.pm.ParametricMap.from_dataset(found)
    frames = [np.frombuffer(read.get_raw_frame(n + 1), "<f4").reshape(found.Rows, found.Columns) for n in range(16)]
    values = np.stack(frames)
    assert np.array_equal(values, found.pixel_array, equal_nan=True)
    place = place_of(found, values)
    assert np.abs(place - HOT).max() < stack_models.SIDE_MM / 8  # half a box
    [report] = [pydicom.dcmread(path) for path in paths if path.name == REPORT]
    named = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert {one.ReferencedSOPInstanceUID for one in named} == {one.sop_instance_uid for one in result.slices}


def place_of(found: pydicom.Dataset, values: np.ndarray) -> np.ndarray:
    """Where the hottest pixels lie, by what the object itself says (LPS mm)."""
    shared = found.SharedFunctionalGroupsSequence[0]
    spacing = np.array(shared.PixelMeasuresSequence[0].PixelSpacing, float)
    cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    starts = [
        np.array(own.PlanePositionSequence[0].ImagePositionPatient, float)
        for own in found.PerFrameFunctionalGroupsSequence
    ]
    places = [
        starts[n] + r * spacing[0] * cosines[3:] + c * spacing[1] * cosines[:3]
        for n, r, c in np.argwhere(values >= np.nanmax(values) * 0.99)
    ]
    return np.asarray(np.mean(places, axis=0))


def test_another_program_draws_it_at_its_place(engine: StackEngine, tmp_path: Path) -> None:
    """SimpleITK reads the map's frames as a volume of its own and finds the hottest voxel in the patient."""
    sitk = pytest.importorskip("SimpleITK")
    result = answered(engine, tmp_path / "ct", "coronal upside down")
    save_results(tmp_path / "out", result, outputs=ASKING.outputs)
    found = pydicom.dcmread(tmp_path / "out" / MAP)
    shared, own = found.SharedFunctionalGroupsSequence[0], found.PerFrameFunctionalGroupsSequence
    spacing = [float(v) for v in shared.PixelMeasuresSequence[0].PixelSpacing]
    cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    first, last = (np.array(own[n].PlanePositionSequence[0].ImagePositionPatient, float) for n in (0, -1))
    normal = (last - first) / np.linalg.norm(last - first)
    image = sitk.GetImageFromArray(np.nan_to_num(found.pixel_array))
    image.SetOrigin(first.tolist())
    image.SetSpacing([spacing[1], spacing[0], float(np.linalg.norm(last - first)) / (len(own) - 1)])
    image.SetDirection(np.column_stack([cosines[:3], cosines[3:], normal]).ravel().tolist())
    n, r, c = (
        int(v) for v in np.unravel_index(int(np.argmax(np.nan_to_num(found.pixel_array))), found.pixel_array.shape)
    )
    place = np.array(image.TransformIndexToPhysicalPoint((c, r, n)))
    assert np.abs(place - HOT).max() <= stack_models.SIDE_MM / 8


def test_a_large_stack_has_a_map_of_few_pixels_at_the_same_place(engine: StackEngine, tmp_path: Path) -> None:
    result = answered(engine, tmp_path / "ct", "axial")
    save_results(tmp_path / "small", result, outputs=ASKING.outputs)
    [attribution] = result.attributions
    assert attribution.volume is not None
    fine = attribution.volume
    many = replace(
        fine,
        edges=(fine.edges[0], fine.edges[1] * 20, fine.edges[2] * 20),
        voxels=(16, 320, 320),
        spacing_mm=(fine.spacing_mm[0] / 20, fine.spacing_mm[1] / 20),
    )
    shift = np.array(fine.plane.row_cosine) + np.array(fine.plane.column_cosine)
    moved = fine.positions - shift * fine.spacing_mm[0] / 2 * (1 - 1 / 20)  # the same outer edge
    slices = tuple(
        replace(
            one,
            description=replace(
                one.description,
                rows=320,
                columns=320,
                pixel_spacing_mm=many.spacing_mm,
                plane=replace(one.description.plane, position=tuple(float(v) for v in place)),
            ),
        )
        for one, place in zip(result.slices, moved, strict=True)
    )
    big = replace(attribution, volume=replace(many, positions=moved))
    write_stack_map(slices, big, result.answer.findings[0], path=tmp_path / "big.dcm")
    found = pydicom.dcmread(tmp_path / "big.dcm")
    assert (found.NumberOfFrames, found.Rows, found.Columns) == (16, 107, 107)
    assert np.abs(place_of(found, found.pixel_array) - HOT).max() < stack_models.SIDE_MM / 8
    assert errors_of(tmp_path / "big.dcm") == []


def one_file(folder: Path, orientation: str) -> Path:
    """The slices of a stack as the frames of one file, made by highdicom."""
    slices = [pydicom.dcmread(path) for path in write_stack(folder, orientation, **WHOLE)]
    for one in slices:
        one.ImageType, one.BurnedInAnnotation, one.PatientPosition = ["ORIGINAL", "PRIMARY", "AXIAL"], "NO", "HFS"
        one.Manufacturer, one.AcquisitionNumber, one.KVP = "Nobody", 1, "100"
        one.SeriesDate = one.ContentDate = one.AcquisitionDate = "20240301"
        one.SeriesTime = one.ContentTime = one.AcquisitionTime = "120000"
    made = hd.legacy.LegacyConvertedEnhancedCTImage(
        slices, series_instance_uid="2.25.44", series_number=2, sop_instance_uid="2.25.45", instance_number=1
    )
    (folder / "whole").mkdir()
    made.save_as(folder / "whole" / "frames.dcm")
    return folder / "whole"


def test_slices_in_one_file_are_named_by_their_frames(engine: StackEngine, tmp_path: Path) -> None:
    selection = next(selections(scan([one_file(tmp_path / "ct", "coronal")])))
    result = answer_stack(engine, MODEL_ID, selection, asking=ASKING)
    save_results(tmp_path / "out", result, outputs=ASKING.outputs)
    found = pydicom.dcmread(tmp_path / "out" / MAP)
    assert [errors_of(tmp_path / "out" / name) for name in (MAP, REPORT)] == [[], []]
    assert np.abs(place_of(found, found.pixel_array) - HOT).max() < stack_models.SIDE_MM / 8
    assert len(found.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 1
    by_number = {image.frame + 1: image for image in result.slices}
    for own in found.PerFrameFunctionalGroupsSequence:
        source = own.DerivationImageSequence[0].SourceImageSequence[0]
        plane = by_number[int(source.ReferencedFrameNumber)].description.plane
        assert plane is not None
        assert [float(v) for v in own.PlanePositionSequence[0].ImagePositionPatient] == pytest.approx(plane.position)


def test_outlines_on_frames_of_one_file_are_put_together(tmp_path: Path) -> None:
    images = next(selections(scan([one_file(tmp_path / "ct", "sagittal")]))).stack.images
    parts = []
    for number, image in enumerate(images):
        parts.append((image, tmp_path / f"{number}.seg.dcm"))
        write_outlines(image, make_outlines(16, 16), path=parts[-1][1])
    write_stack_outlines(parts, path=tmp_path / "whole.seg.dcm")
    assert errors_of(tmp_path / "whole.seg.dcm") == []
    read = hd.seg.segread(tmp_path / "whole.seg.dcm")
    masks = read.get_pixels_by_source_frame(str(images[0].sop_instance_uid), list(range(1, 17)))
    assert masks.shape[:3] == (16, 16, 16)
    assert (masks[..., 1] > 0).any(axis=(1, 2)).all()
    swapped = [(parts[1][0], parts[0][1]), (parts[0][0], parts[1][1]), *parts[2:]]
    with pytest.raises(InputError, match="of another image"):
        write_stack_outlines(swapped, path=tmp_path / "no.dcm")


def test_without_a_frame_of_reference_the_rest_is_saved_and_the_reason_told(
    engine: StackEngine, tmp_path: Path
) -> None:
    result = answered(engine, tmp_path / "ct", "axial", FrameOfReferenceUID="")
    save_results(tmp_path / "out", result, outputs=ASKING.outputs)
    document = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert [one["file"] for one in document["not_written"]] == [MAP, "attention-occlusion.seg.dcm"]
    assert "in which frame of reference" in document["not_written"][0]["reason"]
    assert document["explanations"][0]["stack"]["hottest_mm"] == pytest.approx(HOT.tolist())
    assert errors_of(tmp_path / "out" / REPORT) == []


def test_a_map_of_another_stack_is_not_written(engine: StackEngine, tmp_path: Path) -> None:
    result = answered(engine, tmp_path / "ct", "axial")
    [attribution], [finding] = result.attributions, result.answer.findings
    with pytest.raises(UsageError, match="another stack"):
        write_stack_map(result.slices[:-1], attribution, finding, path=tmp_path / "a.dcm")
    with pytest.raises(UsageError, match="another finding"):
        write_stack_map(result.slices, attribution, replace(finding, label="other"), path=tmp_path / "a.dcm")
    assert not (tmp_path / "a.dcm").exists()
