"""``analyze --pdf``: the same page as in the window, without one; identity and language as asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pypdfium2
import pytest

from medviewer.cli import analyze as analyze_module
from medviewer.cli import main
from medviewer.gui.language import language
from tests import fakes
from tests.answers import make_radiograph


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qapp: Any) -> list[str]:
    monkeypatch.setattr(analyze_module, "Engine", fakes.FakeEngine)
    fakes.make_model(tmp_path / "models" / fakes.MODEL_ID)
    source = make_radiograph(tmp_path / "a.dcm", StudyDate="20240601", PatientBirthDate="20200101").path
    out = str(tmp_path / "out")
    return ["--models", str(tmp_path / "models"), "analyze", str(source), "--model", fakes.MODEL_ID, "--out", out]


def page(tmp_path: Path) -> str:
    return str(pypdfium2.PdfDocument(tmp_path / "out" / "report.pdf")[0].get_textpage().get_text_range())


@pytest.mark.reliability
def test_the_page_says_whose_it_is_only_if_asked(tmp_path: Path, words: list[str]) -> None:
    assert main([*words, "--pdf", "--explain", "grad-cam"]) == 0
    assert "Without identity" in page(tmp_path)
    assert "Jane" not in page(tmp_path)
    assert "calibrated probability" in page(tmp_path)
    assert main([*words, "--pdf", "--identity"]) == 0
    assert "Doe, Jane" in page(tmp_path)


def test_the_page_speaks_the_language_asked_for_and_the_program_its_own(tmp_path: Path, words: list[str]) -> None:
    assert main([*words, "--pdf", "--language", "zh"]) == 0
    assert "仅供研究，不用于诊断" in page(tmp_path)
    assert language() == "en"


def test_every_object_that_is_asked_for_is_there(tmp_path: Path, words: list[str]) -> None:
    also = ["--also", "maps", "--also", "segments", "--also", "keys", "--pdf", "--explain", "grad-cam"]
    assert main([*words, *also]) == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"map-grad-cam.pm.dcm", "attention-grad-cam.seg.dcm", "report.pdf", "finding.sr.dcm"} <= names


def test_identity_without_a_page_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--identity"]) == 2
    assert "give --pdf too" in capsys.readouterr().err
