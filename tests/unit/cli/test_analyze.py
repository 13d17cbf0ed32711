"""``analyze``, ``models`` and ``audit`` from words to files, with the tiny network in numpy."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medviewer.app.settings import home
from medviewer.cli import analyze as analyze_module
from medviewer.cli import audit as audit_module
from medviewer.cli import main
from medviewer.cli import models as models_module
from medviewer.domain.answer import Answer
from medviewer.domain.errors import EngineError, StorageError, WorkerDiedError
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.engine import Verification
from medviewer.records.audit import AuditTrail
from medviewer.records.store import RecordStore
from tests import fakes
from tests.answers import make_abstention, make_radiograph

engines: list[fakes.FakeEngine] = []


class Remembered(fakes.FakeEngine):
    """The fake engine, kept for the test to look at."""

    def __init__(self, catalogue: Catalogue, **options: Any) -> None:
        super().__init__(catalogue, **options)
        engines.append(self)


@pytest.fixture(autouse=True)
def _engine(monkeypatch: pytest.MonkeyPatch) -> None:
    engines.clear()
    monkeypatch.setattr(analyze_module, "Engine", Remembered)
    monkeypatch.setattr(models_module, "Engine", Remembered)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    fakes.make_model(tmp_path / "models" / fakes.MODEL_ID)
    return tmp_path / "models"


def arguments(tmp_path: Path, folder: Path, *more: str, path: Path | None = None) -> list[str]:
    source = path or make_radiograph(tmp_path / "a.dcm", StudyDate="20240601", PatientBirthDate="20200101").path
    out = str(tmp_path / "out")
    return ["--models", str(folder), "analyze", str(source), "--model", fakes.MODEL_ID, "--out", out, *more]


def test_analyze_saves_what_the_engine_said(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(tmp_path, folder, "--json")) == 0
    told = capsys.readouterr()
    printed = json.loads(told.out)
    assert printed == json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert printed["schema"] == "medviewer.result/1"
    assert printed["status"] == "answer"
    [finding] = printed["findings"]
    assert 0 <= finding["probability"] <= 1
    assert finding["threshold"] == 0.5
    assert printed["model"]["sha256"] == Catalogue([folder]).card(fakes.MODEL_ID).sha256
    assert set(printed["outputs"]) == {"finding.sr.dcm", "capture.sc.dcm"}
    assert engines[0].is_closed
    assert "Traceback" not in told.err


def test_a_model_that_two_folders_may_be_is_not_asked(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two own trainings of a recipe have one id; an answer of the other one would be a wrong result."""
    other = fakes.make_model(tmp_path / "models" / "second", version="2.0.0")
    assert main(arguments(tmp_path, folder)) == 3
    told = capsys.readouterr().err
    assert f"{folder / fakes.MODEL_ID}, {other}" in told
    assert "Keep one of them there, and remove the others or move them elsewhere." in told
    assert not (tmp_path / "out").exists()
    assert engines == []


def test_analyze_for_people(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = make_radiograph(tmp_path / "a.dcm", StudyDate="20240601", PatientBirthDate="19600101").path
    assert main(arguments(tmp_path, folder, path=source)) == 0
    told = capsys.readouterr().out
    assert "probability 0." in told
    assert "warn: " in told
    assert "unverified: the files match the card, but no publisher that you trust has signed it" in told
    assert "result.json" in told
    assert told.splitlines()[-1] == "AI result - research use only - not for diagnosis"


def test_a_method_asked_for_twice_is_made_once(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    explain = ["--explain", "occlusion", "--explain", "grad-cam", "--explain", "occlusion"]
    assert main(arguments(tmp_path, folder, *explain, "--json")) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [e["method"] for e in printed["explanations"]] == ["occlusion", "grad-cam"]
    assert (tmp_path / "out" / "overlay.png").read_bytes() == (tmp_path / "out" / "overlay-occlusion.png").read_bytes()


@pytest.mark.reliability
def test_an_abstention_is_4_and_writes_no_finding(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lateral = make_radiograph(tmp_path / "a.dcm", ViewPosition="LL", PatientBirthDate="20200101")
    assert main(arguments(tmp_path, folder, "--explain", "grad-cam", path=lateral.path)) == 4
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["result.json"]
    document = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert (document["status"], document["findings"]) == ("abstained", [])
    assert document["reasons"]
    assert document["reasons"][0] in capsys.readouterr().out


def test_the_answer_is_about_the_patient_in_the_file(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases: list[Any] = []

    def ask(self: Any, case: Any, model_id: str, **_: Any) -> Answer:
        cases.append(case)
        return make_abstention()

    monkeypatch.setattr(fakes.FakeEngine, "ask", ask)
    source = make_radiograph(tmp_path / "a.dcm", StudyDate="20240601", PatientBirthDate="20200601", PatientSex="M")
    main(arguments(tmp_path, folder, path=source.path))
    assert cases[0].age_years == pytest.approx(4.0, abs=0.01)
    assert cases[0].sex == "M"
    assert np.array_equal(cases[0].images[0].stored, np.frombuffer(_pixels(source.path), "<u2").reshape(96, 80))


def _pixels(path: Path) -> bytes:
    import pydicom

    return bytes(pydicom.dcmread(path).PixelData)


def test_unknown_method_or_model_is_said_before_anything_is_read(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(tmp_path, folder, "--explain", "magic", path=tmp_path / "not there")) == 2
    assert "“magic”; there are: grad-cam" in capsys.readouterr().err
    fakes.make_model(folder / "plain", id="plain", explain=None)
    words = arguments(tmp_path, folder, "--explain", "integrated-gradients", path=tmp_path / "not there")
    assert main([word if word != fakes.MODEL_ID else "plain" for word in words]) == 2
    assert "there are: occlusion" in capsys.readouterr().err
    words[words.index(fakes.MODEL_ID)] = "crystal-ball"
    assert main(words) == 2
    assert fakes.MODEL_ID in capsys.readouterr().err
    assert main(["--models", str(tmp_path / "nowhere"), *words[2:]]) == 2
    assert "--models" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_several_frames_need_a_choice(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = np.zeros((2, 96, 80), np.uint16)
    source = make_radiograph(
        tmp_path / "a.dcm", NumberOfFrames=2, PixelData=frames.tobytes(), SOPClassUID="1.2.840.10008.5.1.4.1.1.7.3"
    )
    assert main(arguments(tmp_path, folder, path=source.path)) == 2
    assert "choose one with --frame 0 to 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"), [(WorkerDiedError("The process ended; try again."), 1), (EngineError("No memory."), 1)]
)
def test_a_failed_engine_writes_nothing(
    tmp_path: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Any,
    code: int,
) -> None:
    def fail(self: Any, *_: Any, **__: Any) -> Answer:
        raise error

    monkeypatch.setattr(fakes.FakeEngine, "ask", fail)
    assert main(arguments(tmp_path, folder)) == code
    assert capsys.readouterr().err == f"medviewer: {error}\n"
    assert not (tmp_path / "out").exists()
    assert engines[0].is_closed


def test_ctrl_c_while_the_model_runs_ends_the_engine(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(self: Any, *_: Any, **__: Any) -> Answer:
        raise KeyboardInterrupt

    monkeypatch.setattr(fakes.FakeEngine, "ask", interrupted)
    assert main(arguments(tmp_path, folder)) == 130
    assert engines[0].is_closed
    assert not (tmp_path / "out").exists()
    assert "Cancelled." in capsys.readouterr().err


def test_what_was_asked_is_in_the_audit_trail(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "verify", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["count"] == 0
    assert not home().exists()  # looking makes nothing
    assert main(arguments(tmp_path, folder)) == 0
    capsys.readouterr()
    assert main(["audit", "verify", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["schema"], report["ok"], report["count"]) == ("medviewer.audit/1", True, 2)
    with RecordStore(home() / "records.sqlite") as store:
        entries = AuditTrail(store.database, home() / "audit").entries()
    assert [entry.event.what for entry in entries] == ["model.run", "results.saved"]
    assert "Doe" not in "".join(str(entry) for entry in entries)


def test_each_heat_map_is_in_the_audit_trail(tmp_path: Path, folder: Path) -> None:
    assert main(arguments(tmp_path, folder, "--explain", "grad-cam", "--explain", "occlusion")) == 0
    with RecordStore(home() / "records.sqlite") as store:
        events = [entry.event for entry in AuditTrail(store.database, home() / "audit").entries()]
    assert [event.what for event in events] == ["model.run", "model.explain", "model.explain", "results.saved"]
    said = [event.detail for event in events[1:3]]
    assert said == [f"{fakes.MODEL_ID} 1.2.3 {method} pneumonia" for method in ("grad-cam", "occlusion")]
    assert events[1].subject == events[0].subject != ""


@pytest.mark.parametrize(("wanted", "target"), [((), "pneumonia"), (("--finding", "effusion"), "effusion")])
def test_a_heat_map_is_of_the_finding_that_was_named_else_of_the_one_in_question(
    wanted: tuple[str, ...], target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = fakes.make_model_of_three(tmp_path / "models" / fakes.MODEL_ID).parent
    assert main(arguments(tmp_path, folder, "--explain", "grad-cam", *wanted)) == 0
    result = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert max(result["findings"], key=lambda one: one["probability"])["label"] == "nodule"  # below its threshold
    assert [one["target"] for one in result["explanations"]] == [target]
    assert f"  Grad-CAM for {target}: " in capsys.readouterr().out


def test_a_finding_is_refused_before_anything_runs(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fakes.make_model_of_three(folder / fakes.MODEL_ID)
    note = tmp_path / "note.txt"
    note.write_text("Cough.", encoding="utf-8")
    given = ["--models", str(folder), "analyze", "--model", fakes.MODEL_ID, "--out", str(tmp_path / "out")]
    for line, words in (
        (arguments(tmp_path, folder, "--explain", "grad-cam", "--finding", "gout"),
         "The model fake-chest does not report “gout”; it reports: pneumonia, effusion, nodule."),
        (arguments(tmp_path, folder, "--finding", "effusion"),
         "--finding says what a heat map is of: give --explain METHOD too."),
        ([*given, "--note", str(note), "--explain", "occlusion", "--finding", "effusion"],
         "--finding is about heat maps of images; leave it out with --record, --note or --smiles."),
    ):  # fmt: skip
        assert main(line) == 2
        assert capsys.readouterr().err == f"medviewer: {words}\n"
    assert not engines


def test_a_broken_audit_trail_is_3(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(tmp_path, folder)) == 0
    for path in home().glob("records.sqlite*"):
        path.unlink()
    capsys.readouterr()
    assert main(["audit", "verify"]) == 3
    assert "cut off" in capsys.readouterr().out


@pytest.mark.reliability
@pytest.mark.parametrize("is_there", [True, False])
def test_a_trail_is_not_called_empty_where_none_can_be_written(
    is_there: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Path] = []

    def refuse(*, dir: Path) -> None:  # noqa: A002 - tempfile's name
        asked.append(dir)
        raise OSError(errno.EROFS, "Read-only file system")

    if is_there:
        home().mkdir(parents=True)
    monkeypatch.setattr(audit_module.tempfile, "TemporaryFile", refuse)
    assert main(["audit", "verify", "--json"]) == 3
    told = capsys.readouterr()
    assert told.out == ""
    assert f"There is no audit trail in {home()}, and none can be written there" in told.err
    assert "MEDVIEWER_HOME" in told.err
    [place] = asked
    assert home() == place if is_there else home().is_relative_to(place)


@pytest.mark.parametrize("kind", ["a damaged file", "a folder in its place", "no folder to look in"])
def test_an_audit_trail_that_cannot_be_read_is_not_called_whole(
    kind: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    if kind == "a damaged file":
        home().mkdir(parents=True)
        (home() / "records.sqlite").write_bytes(b"no database" * 500)
    elif kind == "a folder in its place":
        (home() / "records.sqlite").mkdir(parents=True)
    else:
        home().write_bytes(b"")
    assert main(["audit", "verify"]) == 3
    told = capsys.readouterr()
    assert told.out == ""
    assert len(told.err.splitlines()) == 1
    assert str(home()) in told.err


def test_an_audit_trail_that_cannot_be_written_costs_nobody_the_answer(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home().parent.mkdir(parents=True, exist_ok=True)
    home().write_text("a file where the folder should be")
    assert main(arguments(tmp_path, folder)) == 0
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"The audit trail was not written in {home()}: ")
    assert line.endswith("or set MEDVIEWER_HOME to a folder that you may write to.")
    document = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert document["audit_written"] is False


@pytest.mark.reliability
def test_an_answer_that_cannot_be_saved_is_told(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("a file where the folder should be")
    source = make_radiograph(tmp_path / "a.dcm", StudyDate="20240601", PatientBirthDate="19600101").path
    assert main(arguments(tmp_path, folder, "--explain", "occlusion", path=source)) == 1
    told = capsys.readouterr()
    for words in ("probability 0.", "warn: ", "than chance: ", "AI result - research use only - not for diagnosis"):
        assert words in told.out
    assert "saved:" not in told.out
    assert told.err.startswith("medviewer: Nothing was saved: a file stands where the folder should be; choose another")
    assert main(arguments(tmp_path, folder, "--json", path=source)) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["status"], document["outputs"], document["audit_written"]) == ("answer", [], True)


@pytest.mark.reliability
def test_an_answer_that_cannot_be_told_is_saved(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_line: str) -> None:
        raise StorageError("The output could not be written: No space left on device; send it to another disk.")

    monkeypatch.setattr(analyze_module, "say", full)
    assert main(arguments(tmp_path, folder)) == 1
    assert "The output could not be written" in capsys.readouterr().err
    assert (tmp_path / "out" / "result.json").exists()


def listed(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    code = main([*words, "--json"])
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, document


def test_models_are_listed_with_what_is_wrong(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, document = listed(capsys, "--models", str(folder), "models")
    assert (code, document["schema"]) == (0, "medviewer.models/1")
    [model] = document["models"]
    assert (model["id"], model["usable"], model["problem"]) == (fakes.MODEL_ID, True, "")
    assert model["labels"] == [{"label": "pneumonia", "code": "SCT:233604007", "threshold": 0.5}]
    assert "card" not in model
    broken = fakes.make_model(folder / "broken", id="broken")
    (broken / "model.onnx").write_bytes(b"other bytes")
    code, document = listed(capsys, "--models", str(folder), "models", "list")
    assert code == 3
    problems = {m["id"]: m["problem"] for m in document["models"]}
    assert problems[fakes.MODEL_ID] == ""
    assert problems["broken"]
    assert main(["--models", str(folder), "models"]) == 3
    assert "broken: cannot be used: " in capsys.readouterr().out


def test_models_show_gives_the_card(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, document = listed(capsys, "--models", str(folder), "models", "show", fakes.MODEL_ID)
    card = json.loads((folder / fakes.MODEL_ID / "model.json").read_text(encoding="utf-8"))
    assert document["models"][0]["card"] == card
    assert main(["--models", str(folder), "models", "show", fakes.MODEL_ID]) == 0
    told = capsys.readouterr().out
    assert "not for: Patients." in told
    assert "auc 0.900" in told
    assert main(["--models", str(folder), "models", "show"]) == 2
    assert main(["--models", str(folder), "models", "show", "other"]) == 2
    assert fakes.MODEL_ID in capsys.readouterr().err


def test_models_verify(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, document = listed(capsys, "--models", str(folder), "models", "verify")
    assert (code, document["schema"]) == (0, "medviewer.models-verify/1")
    assert [(r["id"], r["passed"]) for r in document["results"]] == [(fakes.MODEL_ID, True)]
    assert engines[-1].is_closed
    bad = Verification(fakes.MODEL_ID, "onnx", "cpu", False, 3, float("inf"), 1e-3, 0.1, "The answers differ.")
    monkeypatch.setattr(fakes.FakeEngine, "verify", lambda _self, _id, **_: [bad, replace(bad, passed=True)])
    code, document = listed(capsys, "--models", str(folder), "models", "verify", fakes.MODEL_ID)
    assert code == 3
    assert document["results"][0]["largest_error"] is None
    assert main(["--models", str(folder), "models", "verify"]) == 3
    assert "The answers differ." in capsys.readouterr().out


def test_a_model_that_cannot_be_verified_is_named(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / fakes.MODEL_ID / "model.onnx").write_bytes(b"other bytes")
    code, document = listed(capsys, "--models", str(folder), "models", "verify")
    assert code == 3
    assert document["results"] == []
    assert document["problems"][0]["id"] == fakes.MODEL_ID


def test_models_that_may_not_be_read_are_not_called_absent(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(models_module.os, "access", lambda _path, _mode: False)
    assert main(["--models", str(folder), "models"]) == 3
    assert "not permitted" in capsys.readouterr().err


def test_no_models_at_all_is_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    for action in ("list", "verify"):
        assert main(["--models", str(tmp_path / "empty"), "models", action]) == 0
        assert capsys.readouterr().out == "No models are installed.\n"
