"""One Segmentation of all slices of a stack, judged by others: dciodvfy, dcentvfy, highdicom, pydicom."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest

from medviewer.app.batch_plan import image_name, plan_batch
from medviewer.app.on_screen import selections
from medviewer.app.results import RESULT_NAME
from medviewer.app.stack_outlines import StackOutlines
from medviewer.cli import analyze as analyze_module
from medviewer.cli import main
from medviewer.domain.errors import GeometryError, InputError
from medviewer.imaging.outline_object import write_outlines
from medviewer.imaging.planes import grid_of
from medviewer.imaging.scan import scan
from medviewer.imaging.segmentation import lay_segmentation, read_segmentation
from medviewer.imaging.stack_outlines import write_stack_outlines
from medviewer.inference.card import read_card
from tests import outline_models
from tests.dicom_maker import make_dataset, write_dataset
from tests.outline_models import block_mask, make_outlines, picture
from tests.reference.test_dicom_out import errors_of, inconsistencies

ROWS, COLUMNS, SLICES = 32, 48, 5
BARE = (3,)  # slices that are black all over: nothing bright is outlined there
WHOLE: dict[str, Any] = {
    "StudyDate": "20240301", "StudyTime": "", "StudyID": "1", "AccessionNumber": "", "ReferringPhysicianName": "",
    "PatientBirthDate": "", "PatientSex": "", "SeriesNumber": 1, "FrameOfReferenceUID": "2.25.9",
    "PixelSpacing": [0.5, 0.5], "SliceThickness": 2.0, "ImageOrientationPatient": [0, 1, 0, 0, 0, -1],
}  # fmt: skip


@pytest.fixture(autouse=True)
def _engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analyze_module, "Engine", outline_models.OutlineEngine)


def write_series(folder: Path, **changes: Any) -> list[Path]:
    """Sagittal slices with the known blocks, numbered against the order in which they lie."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(SLICES):
        own = {
            "ImagePositionPatient": [10.0 - 2 * number, 5.0, 20.0],
            "InstanceNumber": SLICES - number,
            "SOPInstanceUID": f"2.25.{900 + number}",
            **WHOLE,
            **changes,
        }
        stored = picture(ROWS, COLUMNS) if number not in BARE else np.zeros((ROWS, COLUMNS), np.uint16)
        paths.append(write_dataset(folder / f"{number}.dcm", make_dataset(stored, **own)))
    return paths


def analyze(tmp_path: Path, *more: str) -> int:
    spec = dict(outline_models.card_document([])["inputs"][0])
    outline_models.make(
        tmp_path / "models" / outline_models.MODEL_ID,
        inputs=[{**spec, "modality": ["CT"], "view": [], "body_part": []}],
    )
    command = ["--models", str(tmp_path / "models"), "analyze", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    return main([*command, "--model", outline_models.MODEL_ID, *more])


def stack_file(tmp_path: Path) -> Path:
    [path] = (tmp_path / "out").glob("study-*/outlines-*.seg.dcm")
    return path


def test_a_series_gives_one_segmentation_that_others_find_no_error_in(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "in")
    assert analyze(tmp_path) == 0
    path = stack_file(tmp_path)
    assert errors_of(path) == []
    assert inconsistencies(paths[0], path) == []
    [told] = json.loads((path.parent / "result.json").read_text(encoding="utf-8"))["stacks"]
    assert told == {"model": outline_models.MODEL_ID, "file": path.name, "slices": 5, "outlined": 5, "reason": ""}


def test_highdicom_reads_each_slice_and_segment_where_it_is(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "in")
    assert analyze(tmp_path) == 0
    read = hd.seg.segread(stack_file(tmp_path))
    assert read.number_of_segments == 2
    assert [s.SegmentLabel for s in read.SegmentSequence] == ["bright", "dark"]
    uids = [str(pydicom.dcmread(path).SOPInstanceUID) for path in paths]
    found = read.get_pixels_by_source_instance(uids)
    images = {one.sop_instance_uid: one for one in next(selections(scan([tmp_path / "in"]))).stack.images}
    for number, uid in enumerate(uids):
        [own] = (tmp_path / "out").glob(f"study-*/{image_name(images[uid])}-*/outlines.seg.dcm")
        alone = hd.seg.segread(own).get_pixels_by_source_instance([uid], ignore_spatial_locations=True)
        np.testing.assert_array_equal(found[number], alone[0])
        assert (found[number, ..., 0] > 0).any() == (number not in BARE)
        if number not in BARE:
            assert ((found[number, ..., 1] > 0) != block_mask("dark", ROWS, COLUMNS)).sum() <= 4  # corners are rounded
    frames = pydicom.dcmread(stack_file(tmp_path)).PerFrameFunctionalGroupsSequence
    order = [
        (
            own.SegmentIdentificationSequence[0].ReferencedSegmentNumber,
            own.PlanePositionSequence[0].ImagePositionPatient[0],
        )
        for own in frames
    ]
    # All of the first segment, then of the second; within each as the slices lie: along their normal, from L to R.
    assert [segment for segment, _ in order] == [1] * (SLICES - len(BARE)) + [2] * SLICES
    across = [float(x) for segment, x in order if segment == 2]
    assert across in (sorted(across), sorted(across, reverse=True))
    indices = [tuple(own.FrameContentSequence[0].DimensionIndexValues) for own in frames]
    assert indices == sorted(set(indices))


def test_the_viewer_lays_it_over_the_slices(tmp_path: Path) -> None:
    write_series(tmp_path / "in")
    assert analyze(tmp_path) == 0
    layer = read_segmentation(next(selections(scan([stack_file(tmp_path)]))).stack)
    for image in next(selections(scan([tmp_path / "in"]))).stack.images:
        grid = grid_of(image.description)
        assert grid is not None
        plane = lay_segmentation(layer, grid)
        rows, columns = np.argwhere(block_mask("dark", ROWS, COLUMNS)).mean(axis=0)
        assert 2 in plane.segments_at(columns + 0.5, rows + 0.5)


def test_going_on_puts_all_slices_together_and_a_call_that_finds_nothing_leaves_no_old_file(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "in")
    kept = [path.read_bytes() for path in paths]
    for path in paths[3:]:
        path.unlink()
    assert analyze(tmp_path) == 0
    assert len(pydicom.dcmread(stack_file(tmp_path)).ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 3
    for path, content in zip(paths, kept, strict=True):
        if not path.exists():
            path.write_bytes(content)
    assert analyze(tmp_path) == 0
    names = sorted(path.name for path in (tmp_path / "out").glob("study-*/outlines-*.seg.dcm"))
    whole = [pydicom.dcmread(path) for path in (tmp_path / "out").glob("study-*/outlines-*.seg.dcm")]
    assert max(len(one.ReferencedSeriesSequence[0].ReferencedInstanceSequence) for one in whole) == SLICES, names


def test_what_no_result_lists_is_not_put_together(tmp_path: Path) -> None:
    """A call that was killed while it took an earlier result away leaves outlines that are of no result."""
    write_series(tmp_path / "in")
    assert analyze(tmp_path) == 0
    out = tmp_path / "out"
    cards = [read_card(tmp_path / "models" / outline_models.MODEL_ID)]
    plan = plan_batch(scan([tmp_path / "in"]), cards, (), out)
    other = out / plan.questions[1].name
    unlisted = json.loads((other / RESULT_NAME).read_bytes()) | {"outputs": []}
    (other / RESULT_NAME).write_text(json.dumps(unlisted), encoding="utf-8")
    [told] = StackOutlines(out, plan.questions).of_study(plan.studies[0])
    assert (told.slices, told.outlined) == (SLICES, SLICES - 1)
    used = pydicom.dcmread(stack_file(tmp_path)).ReferencedSeriesSequence[0].ReferencedInstanceSequence
    gone = plan.questions[1].selection.image.sop_instance_uid
    assert gone not in {item.ReferencedSOPInstanceUID for item in used}


@pytest.mark.reliability
def test_a_slice_without_a_result_is_not_put_together_as_one_without_an_outline(tmp_path: Path) -> None:
    """A volume would be measured too small, and nobody could see why."""
    paths = write_series(tmp_path / "in")
    whole = paths[2].read_bytes()
    paths[2].write_bytes(whole[:-200])
    assert analyze(tmp_path) == 4
    [path] = (tmp_path / "out").glob("study-*/result.json")
    [told] = json.loads(path.read_text(encoding="utf-8"))["stacks"]
    assert (told["file"], told["slices"], told["outlined"]) == ("", SLICES, SLICES - 1)
    assert told["reason"].startswith("1 of the 5 slices has no result, so their outlines are not put together")
    assert not list((tmp_path / "out").glob("study-*/outlines-*"))
    paths[2].write_bytes(whole)
    assert analyze(tmp_path) == 0
    assert len(pydicom.dcmread(stack_file(tmp_path)).ReferencedSeriesSequence[0].ReferencedInstanceSequence) == SLICES


def test_slices_without_a_place_stay_one_file_each(tmp_path: Path) -> None:
    write_series(tmp_path / "in", FrameOfReferenceUID="")
    assert analyze(tmp_path) == 0
    [path] = (tmp_path / "out").glob("study-*/result.json")
    [told] = json.loads(path.read_text(encoding="utf-8"))["stacks"]
    assert told["file"] == ""
    assert "does not say where it lies in the patient" in told["reason"]
    assert not list((tmp_path / "out").glob("study-*/outlines-*"))
    assert len(list((tmp_path / "out").glob("study-*/*/outlines.seg.dcm"))) == SLICES


def test_what_does_not_belong_together_is_not_put_together(tmp_path: Path) -> None:
    write_series(tmp_path / "in")
    images = next(selections(scan([tmp_path / "in"]))).stack.images
    parts = []
    for number, image in enumerate(images):
        parts.append(tmp_path / f"{number}.seg.dcm")
        write_outlines(image, make_outlines(ROWS, COLUMNS), path=parts[-1])
    pairs = list(zip(images, parts, strict=True))
    out = tmp_path / "whole.dcm"
    with pytest.raises(InputError, match="of another image"):
        write_stack_outlines([(images[0], parts[1]), *pairs[1:]], path=out)
    other = pydicom.dcmread(parts[2])
    other.DeviceSerialNumber = "cd" * 32
    other.save_as(parts[2])
    with pytest.raises(InputError, match="different models"):
        write_stack_outlines(pairs, path=out)
    parts[1].write_bytes(b"nothing")
    with pytest.raises(InputError, match="cannot be read"):
        write_stack_outlines(pairs, path=out)
    write_series(tmp_path / "turned", ImageOrientationPatient=[0, 1, 0, 1, 0, 0], SOPInstanceUID="2.25.77")
    turned = next(selections(scan([tmp_path / "turned" / "0.dcm"]))).image
    with pytest.raises(GeometryError, match="not of one size and direction"):
        write_stack_outlines([pairs[0], (turned, parts[0])], path=out)
    assert not out.exists()
