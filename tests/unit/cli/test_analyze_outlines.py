"""``analyze`` with a segmentation model: from words to numbers, pictures and a Segmentation that others read."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from medviewer.app.region_results import mask_sha256
from medviewer.cli import analyze as analyze_module
from medviewer.cli import main
from tests import outline_models
from tests.answers import make_radiograph
from tests.outline_models import block_mask, picture

ROWS, COLUMNS = 64, 48


@pytest.fixture(autouse=True)
def _engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analyze_module, "Engine", outline_models.OutlineEngine)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    outline_models.make(tmp_path / "models" / outline_models.MODEL_ID)
    return tmp_path / "models"


def film(path: Path, **changes: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    known = {"ImagerPixelSpacing": [0.5, 0.4], "PixelData": picture(ROWS, COLUMNS).astype("<u2").tobytes()}
    return make_radiograph(path, rows=ROWS, columns=COLUMNS, **{**known, **changes}).path


def analyze(models: Path, source: Path, *more: str) -> int:
    out = str(models.parent / "out")
    return main(
        ["--models", str(models), "analyze", str(source), "--model", outline_models.MODEL_ID, "--out", out, *more]
    )


def test_it_saves_areas_digests_a_picture_and_a_segmentation(
    tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert analyze(models, film(tmp_path / "a.dcm"), "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["outputs"] == ["overlay.png", "outlines.seg.dcm", "finding.sr.dcm", "capture.sc.dcm"]
    frames = pydicom.dcmread(tmp_path / "out" / "outlines.seg.dcm").pixel_array
    for told, frame, label in zip(document["regions"], frames, outline_models.LABELS, strict=True):
        assert told["label"] == label
        assert told["mask_sha256"] == mask_sha256(frame > 0)
        assert told["area_mm2"] == pytest.approx((frame > 0).sum() * 0.5 * 0.4)
        assert told["area_basis"] == "at detector"
        expected = block_mask(label, ROWS, COLUMNS)  # cells are 4 x 3 pixels: half of one is at most two
        assert ((frame > 0) != expected).sum() <= 2 * 2 * (expected.any(axis=0).sum() + expected.any(axis=1).sum())
    assert document["explanations"] == []
    assert document["calibration"] == {"method": "none"}


def test_people_read_what_was_outlined(tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert analyze(models, film(tmp_path / "a.dcm")) == 0
    told = capsys.readouterr().out
    assert "mm2 (at detector)" in told
    assert "bright (orange): " in told
    assert told.splitlines()[-1] == "AI result - research use only - not for diagnosis"


def test_without_a_spacing_pixels_are_told_and_why(
    tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert analyze(models, film(tmp_path / "a.dcm", ImagerPixelSpacing=None)) == 0
    assert "pixels (no area in mm2: The file gives no pixel spacing.)" in capsys.readouterr().out


@pytest.mark.reliability
def test_another_view_is_4_and_writes_no_outline(tmp_path: Path, models: Path) -> None:
    assert analyze(models, film(tmp_path / "a.dcm", ViewPosition="LL")) == 4
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["result.json"]


def test_an_outline_is_its_own_explanation(tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert analyze(models, film(tmp_path / "a.dcm"), "--explain", "occlusion") == 2
    assert "its own explanation" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_how_well_its_outlines_fit_is_told(tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = outline_models.card_document([])["labels"]
    del labels[1]["measured"]
    outline_models.make(models / outline_models.MODEL_ID, labels=labels)
    assert analyze(models, film(tmp_path / "a.dcm")) == 0
    assert capsys.readouterr().out.count("Dice 0.95 on 20 made-up images.") == 1
    assert main(["--models", str(models), "models", "show", outline_models.MODEL_ID]) == 0
    told = capsys.readouterr().out
    assert "bright: Dice 0.95 on 20 made-up images." in told
    assert "dark: nobody measured how well its outlines fit" in told


def test_what_there_is_not_of_outlines_is_said(
    tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert analyze(models, film(tmp_path / "a.dcm"), "--json") == 0
    assert "--also" not in capsys.readouterr().err
    assert analyze(models, film(tmp_path / "a.dcm"), "--also", "maps", "--also", "keys", "--json") == 0
    told = capsys.readouterr()
    assert f"--also keys maps: there is none of {outline_models.MODEL_ID}, which has no heat maps" in told.err
    assert "outlines.seg.dcm" in json.loads(told.out)["outputs"]


def test_many_studies_have_a_row_a_region(tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(2):
        film(tmp_path / "in" / f"{number}.dcm", PatientID=str(number))
    assert analyze(models, tmp_path / "in") == 0
    assert re.search(r"-tiny-outlines \(unverified\): bright 56\.8 mm2; dark 83\.2 mm2", capsys.readouterr().out)
    with (tmp_path / "out" / "summary.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == ["bright", "dark"] * 2
    assert all(float(row["area_mm2"]) > 0 and 0 < float(row["share"]) < 1 for row in rows)
    assert all(row["flagged"] == "" for row in rows)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert np.array([len(s["results"][0]["regions"]) for s in summary["studies"]]).tolist() == [2, 2]
