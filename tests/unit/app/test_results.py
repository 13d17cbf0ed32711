"""What is saved, that it is whole or not there, and that nothing of another answer stays or slips in."""

from __future__ import annotations

import errno
import json
import math
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image as PillowImage
from pydicom.uid import CTImageStorage

from medviewer import whole_file
from medviewer.app import result as result_module
from medviewer.app.result import Output
from medviewer.app.result_objects import capture_text
from medviewer.app.results import RESULT_NAME, Result, result_document, save_results
from medviewer.domain.answer import (
    Decision,
    Evidence,
    Faithfulness,
    Forecast,
    Neighbours,
    Score,
    ScorePart,
    SurvivalCurve,
)
from medviewer.domain.errors import StorageError, UsageError
from medviewer.domain.study import Plane
from medviewer.explain.faithfulness import sentence
from medviewer.imaging.display import to_display
from medviewer.imaging.secondary_capture import Caution
from tests.answers import (
    EFFUSION,
    PNEUMONIA,
    PROVENANCE,
    frame_of,
    make_abstention,
    make_answer,
    make_attribution,
    make_radiograph,
)


def make_result(tmp_path: Path, *methods: str, **changes: Any) -> Result:
    image = make_radiograph(
        tmp_path / "source.dcm", PatientName="Secret^Name", PatientID="SECRET-4711", PatientOrientation=None
    )
    maps = tuple(make_attribution(96, 80, method) for method in methods)
    known: dict[str, Any] = {"image": image, "frame": frame_of(image), "answer": make_answer(), "attributions": maps}
    return Result(**{**known, **changes})


def names(out: Path) -> set[str]:
    return {path.name for path in out.iterdir()}


def read(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / RESULT_NAME).read_text(encoding="utf-8"))
    return found


def test_saves_everything_and_lists_it(tmp_path: Path) -> None:
    out = tmp_path / "out" / "deep"
    paths = save_results(out, make_result(tmp_path, "grad-cam", "occlusion"))
    expected = ["overlay.png", "overlay-grad-cam.png", "overlay-occlusion.png", "finding.sr.dcm", "capture.sc.dcm"]
    assert [path.name for path in paths] == [RESULT_NAME, *expected]
    assert names(out) == {RESULT_NAME, *expected}
    assert read(out)["outputs"] == expected


def test_result_json_is_as_documented(tmp_path: Path) -> None:
    decision = Decision("accepted", "clear", "2025-06-01T12:00:00+00:00")
    near = replace(PNEUMONIA, neighbours=Neighbours(20, 18, "Of 20, 18."))
    result = make_result(tmp_path, "grad-cam", answer=make_answer(near, EFFUSION), decision=decision)
    save_results(tmp_path / "out", result)
    document = read(tmp_path / "out")
    assert document["schema"] == "medviewer.result/1"
    assert "research use only" in document["notice"]
    assert document["model"] == {
        "id": "fake-chest", "version": "1.2.3", "sha256": "ab" * 32, "title": "Fake chest model", "verified": False,
    }  # fmt: skip
    assert document["status"] == "answer"
    assert document["findings"][0] == {
        "label": "pneumonia", "code": "SCT:233604007", "probability": 0.873, "threshold": 0.41, "flagged": True,
        "stability": {"low": 0.81, "high": 0.92}, "meaning": "Finds 95 of 100.",
        "neighbours": {"n": 20, "positive": 18, "sentence": "Of 20, 18.", "on": ""},
    }  # fmt: skip
    assert document["findings"][1]["stability"] is None
    assert document["findings"][1]["neighbours"] is None
    assert [g["level"] for g in document["guards"]] == ["ok", "warn"]
    assert document["calibration"]["temperature"] == 2.0
    [explanation] = document["explanations"]
    assert explanation["file"] == "overlay-grad-cam.png"
    assert explanation["faithfulness"]["deletion_percentile"] == 97.0
    assert explanation["error"] is None
    provenance = document["provenance"]
    assert (provenance["input_sha256"], provenance["provider"]) == ("cd" * 32, "CPU")
    assert {"medviewer", "onnxruntime"} <= set(provenance["versions"])
    assert document["decision"] == {
        "kind": "accepted", "assessment": "accept", "value": None, "reason": "clear", "time": "2025-06-01T12:00:00+00:00",
    }  # fmt: skip
    assert document["not_written"] == []


def test_every_field_is_in_the_documentation(tmp_path: Path) -> None:
    decision = Decision("accepted", "clear", "2025-06-01T12:00:00+00:00")
    document = result_document(make_result(tmp_path, "grad-cam", decision=decision), [], [("a", "b")])
    text = (Path(__file__).parents[3] / "docs" / "json.md").read_text(encoding="utf-8")

    def fields(value: Any) -> set[str]:
        if isinstance(value, dict):
            return set(value) | {name for inner in value.values() for name in fields(inner)}
        return {name for inner in value for name in fields(inner)} if isinstance(value, list) else set()

    data_named = set(PROVENANCE.versions) | {"medviewer"} | set(make_answer().calibration)
    marks = ("`{}`", ".{}`", "`{}[]`")
    missing = {name for name in fields(document) - data_named if not any(mark.format(name) in text for mark in marks)}
    assert missing - {"schema", "low", "high"} == set()


@pytest.mark.reliability
def test_result_json_holds_no_identity(tmp_path: Path) -> None:
    result = make_result(tmp_path, "grad-cam")
    save_results(tmp_path / "out", result)
    text = (tmp_path / "out" / RESULT_NAME).read_text(encoding="utf-8")
    header = pydicom.dcmread(result.image.path)
    for secret in ("Secret", "SECRET", str(tmp_path), header.SOPInstanceUID, header.StudyInstanceUID, "20240601"):
        assert str(secret) not in text


@pytest.mark.reliability
def test_an_abstention_leaves_only_its_reasons(tmp_path: Path) -> None:
    out = tmp_path / "out"
    paths = save_results(out, make_result(tmp_path, answer=make_abstention()))
    assert [path.name for path in paths] == [RESULT_NAME]
    assert names(out) == {RESULT_NAME}
    document = read(out)
    assert (document["status"], document["findings"], document["outputs"]) == ("abstained", [], [])
    assert document["reasons"] == ["The model knows frontal views only; this one is lateral."]


@pytest.mark.reliability
def test_no_old_finding_stays_beside_a_new_result(tmp_path: Path) -> None:
    out = tmp_path / "out"
    save_results(out, make_result(tmp_path, "grad-cam", "occlusion"))
    (out / "notes.txt").write_text("the reader's own")
    save_results(out, make_result(tmp_path, "grad-cam"))
    assert "overlay-occlusion.png" not in names(out)
    save_results(out, make_result(tmp_path, answer=make_abstention()))
    assert names(out) == {RESULT_NAME, "notes.txt"}


@pytest.mark.parametrize(
    "old",
    [
        '{"schema": "medviewer.result/1", "outputs": ["../precious", "notes.txt", "overlay/../../precious", 7]}',
        '{"schema": "something else", "outputs": ["overlay-mine.png"]}',
        '{"schema": "medviewer.result/1", "outputs": 7}',
        "[" * 100_000,
        "not json",
    ],
)
def test_an_old_result_cannot_name_files_that_are_not_its_own(tmp_path: Path, old: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    kept = [tmp_path / "precious", out / "notes.txt", out / "overlay-mine.png"]
    for path in kept:
        path.write_text("keep")
    (out / RESULT_NAME).write_text(old)
    save_results(out, make_result(tmp_path, answer=make_abstention()))
    assert all(path.exists() for path in kept)


def test_the_overlay_lies_where_the_map_is_and_nowhere_else(tmp_path: Path) -> None:
    result = make_result(tmp_path, "grad-cam", opacity=1.0, threshold=0.5)
    out = tmp_path / "out"
    save_results(out, result)
    drawn = np.asarray(PillowImage.open(out / "overlay.png"))
    assert drawn.shape == (96, 80, 3)
    grey = np.repeat(to_display(result.frame)[..., None], 3, axis=2)
    hot = np.nan_to_num(result.attributions[0].placed) > 0.5
    assert np.array_equal(drawn[~hot], grey[~hot])
    assert not np.array_equal(drawn[hot], grey[hot])
    assert (out / "overlay.png").read_bytes() == (out / "overlay-grad-cam.png").read_bytes()
    capture = pydicom.dcmread(out / "capture.sc.dcm").pixel_array
    assert np.array_equal(capture[:96, :80], drawn)


def test_without_heat_maps_the_capture_shows_the_image(tmp_path: Path) -> None:
    result = make_result(tmp_path, inverted=True)
    save_results(tmp_path / "out", result)
    capture = pydicom.dcmread(tmp_path / "out" / "capture.sc.dcm").pixel_array
    grey = to_display(result.frame, invert=True)
    assert np.array_equal(capture[:96, :80], np.repeat(grey[..., None], 3, axis=2))
    assert not (tmp_path / "out" / "overlay.png").exists()


def test_a_method_that_explains_two_findings_gets_two_pictures(tmp_path: Path) -> None:
    maps = tuple(make_attribution(96, 80, finding=name) for name in ("pneumonia", "Pleural effusion / left"))
    save_results(tmp_path / "out", make_result(tmp_path, attributions=maps))
    files = [e["file"] for e in read(tmp_path / "out")["explanations"]]
    assert files == ["overlay-grad-cam-pneumonia.png", "overlay-grad-cam-pleural-effusion-left.png"]
    assert set(files) <= names(tmp_path / "out")


def test_a_number_that_is_none_is_null(tmp_path: Path) -> None:
    calibration = {"temperature": math.inf, "method": "temperature"}
    attribution = make_attribution(96, 80, error=math.nan, error_name="gap")
    result = make_result(tmp_path, answer=make_answer(calibration=calibration), attributions=(attribution,))
    save_results(tmp_path / "out", result)
    document = read(tmp_path / "out")
    assert document["calibration"]["temperature"] is None
    assert document["explanations"][0]["error"] is None


@pytest.mark.reliability
@pytest.mark.parametrize("field", ["model_sha256", "card_sha256", "input_sha256"])
def test_refuses_a_heat_map_of_another_answer(tmp_path: Path, field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Before anything is drawn: the report would refuse it too, but only after the picture.
    monkeypatch.setattr(result_module, "blend", lambda *_, **__: pytest.fail("a stranger's map was drawn"))
    stranger = make_attribution(96, 80, provenance=replace(PROVENANCE, **{field: "00" * 32}))
    with pytest.raises(UsageError, match="another answer"):
        save_results(tmp_path / "out", make_result(tmp_path, attributions=(stranger,)))
    assert not (tmp_path / "out").exists()


@pytest.mark.reliability
def test_refuses_a_heat_map_or_pixels_of_another_shape(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="another answer"):
        save_results(tmp_path / "out", make_result(tmp_path, attributions=(make_attribution(80, 96),)))
    image = make_radiograph(tmp_path / "other.dcm", rows=50, columns=60)
    with pytest.raises(UsageError, match="not those of the image"):
        save_results(tmp_path / "out", make_result(tmp_path, image=image))
    with pytest.raises(UsageError, match="abstained"):
        save_results(tmp_path / "out", make_result(tmp_path, "grad-cam", answer=make_abstention()))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", [RESULT_NAME, "finding.sr.dcm", "capture.sc.dcm"])
def test_the_image_itself_is_never_replaced(tmp_path: Path, name: str) -> None:
    result = make_result(tmp_path)
    source = result.image.path
    place = tmp_path / "out" / name
    place.parent.mkdir()
    place.hardlink_to(source)
    before = source.read_bytes()
    with pytest.raises(UsageError, match="choose another folder"):
        save_results(place.parent, result)
    assert place.read_bytes() == before
    assert [path.name for path in place.parent.iterdir()] == [name]


@pytest.mark.parametrize(
    ("keyword", "uid", "reason"),
    [
        ("StudyInstanceUID", None, "no Study UID"),
        ("SeriesInstanceUID", None, "no Series UID"),
        ("SOPInstanceUID", None, "no SOP Instance UID"),
        ("StudyInstanceUID", "1.2.abc", "an invalid Study UID"),
        ("SeriesInstanceUID", "..", "an invalid Series UID"),
        ("SOPInstanceUID", "1." + "2" * 80, "an invalid SOP Instance UID"),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR UI", "ignore:The value length")
def test_an_image_without_ids_still_gets_its_answer(tmp_path: Path, keyword: str, uid: str | None, reason: str) -> None:
    image = make_radiograph(tmp_path / "other.dcm", **{keyword: uid})
    result = make_result(tmp_path, "grad-cam", image=image)
    save_results(tmp_path / "out", result)
    document = read(tmp_path / "out")
    assert [entry["file"] for entry in document["not_written"]] == ["finding.sr.dcm", "capture.sc.dcm"]
    assert reason in document["not_written"][0]["reason"]
    assert names(tmp_path / "out") == {RESULT_NAME, "overlay.png", "overlay-grad-cam.png"}


@pytest.mark.parametrize("thickness", [b"5,0 ", b"1\\2 ", b"-1", b"1e99", b"nan "])
def test_a_slice_thickness_that_is_no_number_is_not_known(tmp_path: Path, thickness: bytes) -> None:
    image = make_radiograph(tmp_path / "other.dcm", raw={0x00180050: thickness}, SOPClassUID=CTImageStorage)
    plane = Plane((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    description = replace(image.description, plane=plane, pixel_spacing_mm=(1.0, 1.0))
    image = replace(image, description=description, frame_of_reference_uid="1.2.3")
    result = make_result(tmp_path, "grad-cam", image=image)
    save_results(tmp_path / "out", result, outputs=frozenset({"maps", "segments"}))
    assert read(tmp_path / "out")["not_written"] == []
    for name in ("map-grad-cam.pm.dcm", "attention-grad-cam.seg.dcm"):
        shared = pydicom.dcmread(tmp_path / "out" / name).SharedFunctionalGroupsSequence[0]
        assert "PixelSpacing" in shared.PixelMeasuresSequence[0]
        assert shared.PixelMeasuresSequence[0].get("SliceThickness") == (1e99 if thickness == b"1e99" else None)


@pytest.mark.parametrize(
    ("damaged", "keyword"),
    [
        ({0x001021C0: b"\x01\x00\x01"}, "PregnancyStatus"),
        ({0x00081110: b"\xff" * 4}, "ReferencedStudySequence"),
        ({0x00082218: b"\xff" * 4}, "AnatomicRegionSequence"),
    ],
)
def test_a_damaged_header_costs_the_objects_that_copy_it_and_not_the_answer(
    tmp_path: Path, damaged: dict[int, bytes], keyword: str
) -> None:
    result = make_result(tmp_path, "grad-cam", image=make_radiograph(tmp_path / "other.dcm", raw=damaged))
    save_results(tmp_path / "out", result)
    document = read(tmp_path / "out")
    refused = {one["file"]: one["reason"] for one in document["not_written"]}
    assert set(refused) == {"finding.sr.dcm", "capture.sc.dcm"} - set(document["outputs"])
    assert f"damaged value ({keyword}), so no DICOM result can be filed with it" in refused["capture.sc.dcm"]
    assert document["findings"]


def test_several_body_parts_are_no_part_of_which_there_is_one(tmp_path: Path) -> None:
    image = make_radiograph(tmp_path / "other.dcm", raw={0x00180015: b"CHEST\\HAND "})
    save_results(tmp_path / "out", make_result(tmp_path, image=image))
    assert read(tmp_path / "out")["not_written"] == []
    assert pydicom.dcmread(tmp_path / "out" / "capture.sc.dcm").Laterality == ""


@pytest.mark.parametrize("fails_at", range(1, 6))
def test_a_disk_that_fills_up_at_any_file_leaves_nothing_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    out = tmp_path / "out"
    save_results(out, make_result(tmp_path, "occlusion"))
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    result = make_result(tmp_path, "grad-cam", answer=make_answer(EFFUSION))
    count = 0

    def full(descriptor: int) -> None:
        nonlocal count
        count += 1
        if count == fails_at:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(whole_file.os, "fsync", full)
    with pytest.raises(StorageError, match="the disk is full; free some space or choose another folder"):
        save_results(out, result)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_folder_made_in_vain_goes_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    result = make_result(tmp_path, "grad-cam")
    monkeypatch.setattr(whole_file.os, "fsync", full)
    with pytest.raises(StorageError):
        save_results(tmp_path / "out", result)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", ["a file", "a file/inside", "gone"])
def test_a_place_that_is_no_folder_is_one_sentence(tmp_path: Path, place: str) -> None:
    (tmp_path / "a file").write_text("x")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    with pytest.raises(StorageError, match="choose another folder") as caught:
        save_results(tmp_path / place, make_result(tmp_path))
    assert "\n" not in str(caught.value)


def test_result_json_is_moved_into_place_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[str] = []
    real = Path.replace

    def spy(self: Path, target: Path) -> Path:
        if Path(target).parent == tmp_path / "out":
            moved.append(Path(target).name)
        return real(self, target)

    monkeypatch.setattr(Path, "replace", spy)
    paths = save_results(tmp_path / "out", make_result(tmp_path, "grad-cam"))
    assert moved[-1] == RESULT_NAME
    assert sorted(moved) == sorted(path.name for path in paths)


def test_the_capture_calls_what_nobody_calibrated_an_output(tmp_path: Path) -> None:
    lines = capture_text(make_result(tmp_path, answer=make_answer(calibration={"method": "none"})))
    assert ": output " in lines[0]
    assert not any("probability" in line for line in lines[:1])


def test_the_picture_says_what_the_report_says(tmp_path: Path) -> None:
    lines = capture_text(make_result(tmp_path, "grad-cam"))
    text = "\n".join(lines)
    assert "pneumonia: probability 0.87, threshold 0.41, flagged" in text
    assert "not a lesion's outline" in text
    assert "fake-chest 1.2.3" in text
    assert "Reader" not in text
    cautions = [line for line in lines if isinstance(line, Caution)]
    assert "64 years old" in cautions[0]
    assert cautions[0].startswith("Warning: ")


def test_the_picture_names_the_finding_that_the_colours_are_of_where_there_are_others(tmp_path: Path) -> None:
    several = capture_text(make_result(tmp_path, "grad-cam", answer=make_answer(EFFUSION, PNEUMONIA)))
    assert "Colours: Grad Cam for pneumonia, where the model looked, not a lesion's outline" in several
    single = capture_text(make_result(tmp_path, "grad-cam"))
    assert "Colours: Grad Cam, where the model looked, not a lesion's outline" in single


def test_the_picture_gives_the_threshold_with_its_own_digits(tmp_path: Path) -> None:
    finding = replace(PNEUMONIA, threshold=0.285, probability=0.2846, flagged=False)
    lines = capture_text(make_result(tmp_path, answer=make_answer(finding)))
    assert lines[0] == "pneumonia: probability 0.2846, threshold 0.285, not flagged"
    lines = capture_text(make_result(tmp_path, answer=make_answer(replace(finding, threshold=0.28))))
    assert lines[0].startswith("pneumonia: probability 0.285, threshold 0.28")


@pytest.mark.reliability
@pytest.mark.parametrize(
    ("decision", "line"),
    [
        (Decision("rejected", "Masses,\nnot pneumonia", "2025-06-01T12:00:00+00:00"), "Reader: rejected - Masses, not pneumonia"),
        (Decision("accepted", "", "2025-06-01T12:00:00+00:00"), "Reader: accepted"),
        (Decision("withdrawn", "", "2025-06-01T12:00:00+00:00"), None),
    ],
)  # fmt: skip
def test_the_picture_says_what_the_reader_decided(tmp_path: Path, decision: Decision, line: str | None) -> None:
    lines = capture_text(make_result(tmp_path, decision=decision))
    assert [words for words in lines if words.startswith("Reader")] == ([line] if line else [])


@pytest.mark.reliability
@pytest.mark.parametrize(("percentile", "is_caution"), [(98.0, False), (60.0, True), (None, True)])
def test_the_picture_says_how_far_its_colours_can_be_believed(
    tmp_path: Path, percentile: float | None, is_caution: bool
) -> None:
    words = "Whether this map is better than a random one was not checked."
    judged = None
    if percentile is not None:
        words = sentence(percentile, 99.0)
        judged = Faithfulness(percentile, 99.0, 50, words)
    shown = make_attribution(96, 80, faithfulness=judged)
    lines = capture_text(make_result(tmp_path, attributions=(shown,)))
    [line] = [line for line in lines if line == words]
    assert isinstance(line, Caution) is is_caution


EVERYTHING: frozenset[Output] = frozenset(("report", "capture", "maps", "segments", "keys"))


def test_what_is_wanted_is_saved_and_nothing_else(tmp_path: Path) -> None:
    result = make_result(tmp_path, "grad-cam", "occlusion")
    pictures = {RESULT_NAME, "overlay.png", "overlay-grad-cam.png", "overlay-occlusion.png"}
    objects = {
        "report": {"finding.sr.dcm"}, "capture": {"capture.sc.dcm"}, "keys": {"flagged.ko.dcm"},
        "maps": {"map-grad-cam.pm.dcm", "map-occlusion.pm.dcm"},
        "segments": {"attention-grad-cam.seg.dcm", "attention-occlusion.seg.dcm"},
    }  # fmt: skip
    for wanted in sorted(EVERYTHING):
        save_results(tmp_path / "out", result, outputs=frozenset((wanted,)))
        assert names(tmp_path / "out") == pictures | objects[wanted]
        assert set(read(tmp_path / "out")["outputs"]) == names(tmp_path / "out") - {RESULT_NAME}
    save_results(tmp_path / "out", result, outputs=EVERYTHING, pdf=b"%PDF-1.4 page")
    assert names(tmp_path / "out") == pictures.union({"report.pdf"}, *objects.values())
    assert (tmp_path / "out" / "report.pdf").read_bytes() == b"%PDF-1.4 page"
    first, second = read(tmp_path / "out")["explanations"]
    assert (first["map_file"], second["segment_file"]) == ("map-grad-cam.pm.dcm", "attention-occlusion.seg.dcm")
    save_results(tmp_path / "out", result, outputs=frozenset())
    assert names(tmp_path / "out") == pictures
    assert read(tmp_path / "out")["explanations"][0]["map_file"] is None


@pytest.mark.reliability
def test_only_a_flagged_image_is_named_by_a_document(tmp_path: Path) -> None:
    clear = replace(PNEUMONIA, probability=0.2, flagged=False)
    save_results(tmp_path / "out", make_result(tmp_path, answer=make_answer(clear)), outputs=EVERYTHING)
    assert "flagged.ko.dcm" not in names(tmp_path / "out")
    save_results(tmp_path / "out", make_result(tmp_path, answer=make_answer(clear, EFFUSION)), outputs=EVERYTHING)
    assert "flagged.ko.dcm" not in names(tmp_path / "out")


@pytest.mark.reliability
def test_an_abstention_has_no_object_whatever_is_wanted(tmp_path: Path) -> None:
    result = make_result(tmp_path, answer=make_abstention())
    save_results(tmp_path / "out", result, outputs=EVERYTHING, pdf=b"%PDF-1.4 page")
    assert names(tmp_path / "out") == {RESULT_NAME, "report.pdf"}


def test_a_map_that_speaks_for_nothing_has_no_segment_and_the_rest_is_saved(tmp_path: Path) -> None:
    against = make_attribution(96, 80, placed=np.full((96, 80), -0.5, np.float32))
    save_results(tmp_path / "out", make_result(tmp_path, attributions=(against,)), outputs=EVERYTHING)
    document = read(tmp_path / "out")
    assert [(one["file"], "nothing to segment" in one["reason"]) for one in document["not_written"]] == [
        ("attention-grad-cam.seg.dcm", True)
    ]
    assert {"map-grad-cam.pm.dcm", "finding.sr.dcm", "flagged.ko.dcm"} <= names(tmp_path / "out")


def test_the_segment_is_what_the_picture_shows(tmp_path: Path) -> None:
    placed = np.linspace(-1, 1, 96 * 80, dtype=np.float32).reshape(96, 80)
    made = make_attribution(96, 80, placed=placed)
    save_results(tmp_path / "out", make_result(tmp_path, attributions=(made,), threshold=0.6), outputs=EVERYTHING)
    mask = pydicom.dcmread(tmp_path / "out" / "attention-grad-cam.seg.dcm").pixel_array > 0
    strongest = np.quantile(placed[placed > 0], 0.995, method="higher")
    assert np.array_equal(mask, placed / strongest >= np.float32(0.6))


@pytest.mark.parametrize(
    ("kind", "assessment"), [("accepted", "accept"), ("rejected", "reject"), ("changed", "modify"), ("withdrawn", None)]
)
def test_a_decision_is_told_in_the_words_of_the_profile_too(tmp_path: Path, kind: Any, assessment: str | None) -> None:
    decision = Decision(kind, "why", "2025-06-01T12:00:00+00:00", "Lobar collapse")
    document = result_document(make_result(tmp_path, decision=decision), [], [])
    assert document["decision"]["kind"] == kind
    assert document["decision"]["assessment"] == assessment
    assert document["decision"]["value"] == "Lobar collapse"
    if kind == "changed":
        assert "Reader: changed: Lobar collapse - why" in capture_text(make_result(tmp_path, decision=decision))


SCORE = Score(
    "news2", "", "NEWS2", 7.0, 0.0, 20.0, "high", True, "Urgent review.", (ScorePart("rr", "Breathing", 3.0),)
)
CURVE = SurvivalCurve("death", "", "Death", (1.0, 2.0), "a", (0.9, 0.8), 2.0, "C 0.77")
FORECAST = Forecast(
    "hr", "", "Heart rate", "/min", (1.0, 6.0), (80.0, 90.0), (70.0, 75.0), (90.0, 110.0), 0.9, "90 of 100"
)


def test_other_outcomes_are_told_with_what_they_rest_on_and_are_no_findings(tmp_path: Path) -> None:
    evidence = (
        Evidence("rr", "Breathing rate", "26 /min", datetime(2025, 6, 1, 10, tzinfo=UTC)),
        Evidence("x", "X", "1", None),
    )
    answer = replace(make_answer(), findings=(), outcomes=(SCORE, CURVE, FORECAST), evidence=evidence)
    save_results(tmp_path / "out", make_result(tmp_path, answer=answer), outputs=EVERYTHING)
    document = read(tmp_path / "out")
    assert [one["kind"] for one in document["outcomes"]] == ["score", "survival", "forecast"]
    assert (document["outcomes"][0]["value"], document["outcomes"][0]["parts"][0]["name"]) == (7.0, "rr")
    assert document["outcomes"][1]["survival"] == [0.9, 0.8]
    assert [(one["value"], one["hours_before"]) for one in document["evidence"]] == [("26 /min", None), ("1", None)]
    assert all("time" not in one for one in document["evidence"])  # no dates of a patient
    assert [one["file"] for one in document["not_written"]] == ["finding.sr.dcm"]
    assert "flagged.ko.dcm" not in names(tmp_path / "out")
