"""What a segmentation model outlined, as files: numbers, digests, pictures, DICOM objects, or why there is none."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medviewer.app.region_results import color_word, region_lines
from medviewer.app.result import Result
from medviewer.app.results import save_results
from medviewer.domain.answer import Answer
from medviewer.domain.errors import UsageError
from medviewer.explain.overlay import blend_regions
from tests.answers import frame_of, make_radiograph
from tests.outline_models import make_outlines, make_region

ROWS, COLUMNS = 96, 80


def saved(tmp_path: Path, answer: Answer, **changes: Any) -> dict[str, Any]:
    image = make_radiograph(tmp_path / "a.dcm", **changes)
    save_results(tmp_path / "out", Result(image, frame_of(image), answer))
    found: dict[str, Any] = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    return found


def test_a_result_tells_areas_and_digests_and_which_segment_is_which(tmp_path: Path) -> None:
    answer = make_outlines(ROWS, COLUMNS)
    document = saved(tmp_path, answer)
    assert document["outputs"] == ["overlay.png", "outlines.seg.dcm", "finding.sr.dcm", "capture.sc.dcm"]
    assert document["not_written"] == document["findings"] == document["outcomes"] == []
    for number, (told, region) in enumerate(zip(document["regions"], answer.regions, strict=True), start=1):
        assert told["mask_sha256"] == hashlib.sha256(bytes(region.mask.astype(np.uint8).ravel())).hexdigest()
        assert told["shape"] == [ROWS, COLUMNS]
        assert (told["pixels"], told["share"]) == (region.mask.sum(), region.mask.mean())
        assert (told["area_mm2"], told["area_basis"], told["no_area_because"]) == (region.area_mm2, "at detector", None)
        assert (told["file"], told["segment_number"]) == ("outlines.seg.dcm", number)
        assert told["color"] == list(region.color)
    assert {name.name for name in (tmp_path / "out").iterdir()} == {*document["outputs"], "result.json"}


def test_nothing_outlined_is_a_result_without_a_segmentation(tmp_path: Path) -> None:
    answer = make_outlines(ROWS, COLUMNS, empty=frozenset(["bright", "dark"]))
    document = saved(tmp_path, answer)
    assert [told["pixels"] for told in document["regions"]] == [0, 0]
    assert [told["mean_probability"] for told in document["regions"]] == [None, None]
    assert [told["file"] for told in document["regions"]] == [None, None]
    [refused] = document["not_written"]
    assert refused["file"] == "outlines.seg.dcm"
    assert "Nothing was outlined" in refused["reason"]
    assert "finding.sr.dcm" in document["outputs"]


def test_an_image_without_uids_gives_the_numbers_and_says_why_no_object(tmp_path: Path) -> None:
    document = saved(tmp_path, make_outlines(ROWS, COLUMNS), StudyInstanceUID=None)
    assert document["regions"][0]["pixels"] > 0
    assert document["regions"][0]["file"] is None
    assert {refused["file"] for refused in document["not_written"]} >= {"outlines.seg.dcm", "finding.sr.dcm"}


@pytest.mark.reliability
def test_an_outline_of_another_image_is_never_saved_beside_this_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="another image"):
        saved(tmp_path, make_outlines(COLUMNS, ROWS))
    assert not (tmp_path / "out").exists()


def test_the_picture_shows_each_outline_in_its_colour_and_leaves_the_rest(tmp_path: Path) -> None:
    answer = make_outlines(ROWS, COLUMNS)
    saved(tmp_path, answer)
    from PIL import Image as Picture

    with Picture.open(tmp_path / "out" / "overlay.png") as opened:
        drawn = np.asarray(opened.convert("RGB")).astype(int)
    inside = answer.regions[0].mask | answer.regions[1].mask
    assert (np.ptp(drawn[~inside], axis=1) == 0).all()  # grey as before
    for region in answer.regions:
        rows, columns = (np.flatnonzero(region.mask.any(axis=axis)) for axis in (1, 0))
        assert tuple(drawn[rows[0], columns[0]]) == region.color  # its edge
        assert np.ptp(drawn[rows[0] + 5, columns[0] + 5]) > 0  # its fill


def test_a_fill_leaves_the_image_visible_and_an_edge_stays_without_one() -> None:
    mask = np.zeros((40, 40), bool)
    mask[10:30, 10:30] = True
    region = make_region("bright", mask)
    grey = np.arange(1600, dtype=np.uint16).reshape(40, 40).astype(np.uint8)
    filled, bare = (blend_regions(grey, [region], opacity=opacity) for opacity in (1.0, 0.0))
    middle = (slice(15, 25), slice(15, 25))
    assert np.ptp(filled[middle][..., 0].astype(int)) > 20
    np.testing.assert_array_equal(bare[middle], np.repeat(grey[middle][..., None], 3, axis=2))
    assert tuple(bare[10, 10]) == region.color
    with pytest.raises(UsageError, match="cannot lie"):
        blend_regions(grey[:20], [region])


def test_people_read_the_area_or_why_there_is_none() -> None:
    mask = np.zeros((10, 10), bool)
    mask[:5, :4] = True
    assert region_lines(make_region("dark", mask, area_mm2=12.4)) == [
        "dark (cyan): 12.4 mm2 (at detector), 20.0% of the image, network's mean probability inside 0.93 (not calibrated)",
        "  Dice 0.95 on 20 made-up images.",
    ]
    [line, _] = region_lines(make_region("dark", mask, area_mm2=0.0312))
    assert "0.031 mm2" in line  # a spacing of 0.04 mm: not 0 of what takes a fifth of the image
    because = "The file gives no pixel spacing."
    [line, _] = region_lines(make_region("dark", mask, area_mm2=None, basis="", remark=because))
    assert f"20 pixels (no area in mm2: {because})" in line
    nothing = make_region("dark", mask & False, measured="")  # which nobody has measured
    assert region_lines(nothing) == ["dark: nothing outlined above the threshold (0.5)"]


@pytest.mark.parametrize(
    ("color", "word"),
    [
        ((255, 0, 0), "red"), ((255, 160, 40), "orange"), ((255, 230, 0), "yellow"), ((92, 197, 143), "green"),
        ((76, 201, 240), "cyan"), ((0, 60, 255), "blue"), ((180, 140, 255), "violet"), ((244, 154, 193), "pink"),
        ((255, 0, 30), "red"), ((250, 250, 250), "white"), ((128, 128, 128), "grey"), ((10, 0, 0), "black"),
    ],
)  # fmt: skip
def test_colours_are_called_as_people_call_them(color: tuple[int, int, int], word: str) -> None:
    assert color_word(color) == word
