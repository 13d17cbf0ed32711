"""``analyze`` with a model of whole stacks: one result a stack, whatever else lies in the folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medviewer.cli import analyze as analyze_module
from medviewer.cli import main
from tests import stack_models
from tests.radiographs import write_radiograph
from tests.stack_models import HOT, MODEL_ID, known_probability, write_stack


@pytest.fixture(autouse=True)
def _engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analyze_module, "Engine", stack_models.StackEngine)


def analyze(tmp_path: Path, *more: str) -> int:
    stack_models.make(tmp_path / "models" / MODEL_ID)
    command = ["--models", str(tmp_path / "models"), "analyze", str(tmp_path / "in"), "--model", MODEL_ID]
    return main([*command, "--out", str(tmp_path / "out"), *more])


def test_each_stack_is_asked_about_once_and_shown_where_its_map_is_hottest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_stack(tmp_path / "in" / "a", "axial")
    write_stack(
        tmp_path / "in" / "b", "coronal", SeriesInstanceUID="2.25.31", StudyInstanceUID="2.25.32", PatientID="B"
    )
    write_radiograph(tmp_path / "in" / "film.dcm")
    assert analyze(tmp_path, "--explain", "occlusion", "--also", "maps", "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["counts"]["questions"] == 2
    results = sorted((tmp_path / "out").glob("study-*/*/result.json"))
    assert len(results) == 2
    for path in results:
        document = json.loads(path.read_text(encoding="utf-8"))
        assert document["findings"][0]["probability"] == pytest.approx(known_probability(), abs=1e-5)
        assert document["slices"] == 16
        assert document["explanations"][0]["stack"]["hottest_mm"] == pytest.approx(HOT.tolist())
        assert document["explanations"][0]["map_file"] == "map-occlusion.pm.dcm"
        assert (path.parent / "overlay.png").stat().st_size > 0


def test_the_same_command_goes_on_and_asks_anew_where_a_slice_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = write_stack(tmp_path / "in")
    assert analyze(tmp_path) == 0
    assert "1 question: 1 answer," in capsys.readouterr().out
    assert analyze(tmp_path) == 0
    assert "1 of them answered by an earlier call" in capsys.readouterr().out
    paths[9].write_bytes(paths[9].read_bytes() + b"\0\0")
    analyze(tmp_path)
    assert "answered by an earlier call" not in capsys.readouterr().out


def test_a_film_alone_is_refused_with_the_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    write_radiograph(tmp_path / "in" / "film.dcm")
    assert analyze(tmp_path) == 3
    assert "the series holds a single image" in capsys.readouterr().err


def test_one_slice_of_it_cannot_be_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_stack(tmp_path / "in")
    assert analyze(tmp_path, "--frame", "3") == 2
    assert "a whole stack of slices" in capsys.readouterr().err
