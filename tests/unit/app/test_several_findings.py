"""Of an answer with several findings, map, comparison and results are of one: that in question or the reader's choice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from medviewer.app import analysis
from medviewer.app.on_screen import attributions_of, current_attribution, second_attribution, shown_finding
from medviewer.app.settings import SettingsFile
from medviewer.app.start import running_application
from medviewer.domain.answer import finding_in_question
from medviewer.inference.catalogue import Catalogue
from medviewer.records.audit import AuditTrail
from tests.answers import EFFUSION, PNEUMONIA
from tests.conftest import InlineExecutor
from tests.fakes import MODEL_ID, make_model_of_three
from tests.radiographs import write_radiograph

if TYPE_CHECKING:
    from medviewer.app.application import Application
    from tests.fakes import FakeEngine


@pytest.fixture
def app(fake_engine: FakeEngine, medviewer_home: Path, tmp_path: Path) -> Iterator[Application]:
    """An image is open and was analysed for three findings. All work is done at once."""
    make_model_of_three(tmp_path / "models" / MODEL_ID)
    fake_engine.catalogue = Catalogue([tmp_path / "models"])
    with running_application(medviewer_home, lambda call: call(), fake_engine, InlineExecutor) as made:
        made.run_command("file.open_files", [write_radiograph(tmp_path / "a.dcm")])
        made.run_command("model.run")
        yield made


def test_in_question_is_the_most_probable_flagged_finding_and_else_the_most_probable() -> None:
    below = EFFUSION.__class__("nodule", "99TEST:nodule", 0.95, 0.97, False)
    assert finding_in_question((EFFUSION, below, PNEUMONIA)) is PNEUMONIA
    assert finding_in_question((EFFUSION, below)) is below
    assert finding_in_question(()) is None


def of_what(app: Application) -> list[str]:
    """The finding of each map that is shown or could be."""
    return [one.finding for one in attributions_of(app.state)]


def test_the_map_is_of_the_flagged_finding_though_another_is_more_probable(app: Application) -> None:
    assert shown_finding(app.state) == "pneumonia"
    assert of_what(app) == ["pneumonia"]


def test_another_finding_can_be_chosen_and_undone(app: Application, fake_engine: FakeEngine) -> None:
    first = current_attribution(app.state)
    app.run_command("explain.finding", "effusion")
    other = current_attribution(app.state)
    assert other is not None
    assert (other.finding, other.faithfulness is None) == ("effusion", False)
    app.run_command("edit.undo")
    assert current_attribution(app.state) is first
    calls = len(fake_engine.calls)
    app.run_command("explain.finding", "effusion")
    assert current_attribution(app.state) is other
    assert len(fake_engine.calls) == calls, "what is known is not worked out again"


@pytest.mark.reliability
def test_a_map_of_one_finding_never_stands_for_another(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app.jobs, "start", lambda *_: None)  # it is still being worked out
    app.run_command("explain.finding", "nodule")
    assert shown_finding(app.state) == "nodule"
    assert current_attribution(app.state) is None
    assert of_what(app) == []


@pytest.mark.reliability
def test_two_methods_that_are_compared_are_of_one_finding(app: Application) -> None:
    app.run_command("explain.compare", "occlusion")
    for label in ("effusion", "nodule"):
        app.run_command("explain.finding", label)
        first, second = current_attribution(app.state), second_attribution(app.state)
        assert first is not None
        assert second is not None
        assert (first.method, first.finding) == ("grad-cam", label)
        assert (second.method, second.finding) == ("occlusion", label)


def test_a_choice_is_of_its_answer_and_the_next_image_begins_with_its_own(app: Application, tmp_path: Path) -> None:
    app.run_command("explain.finding", "nodule")
    app.run_command("file.open_files", [write_radiograph(tmp_path / "b.dcm")])
    app.run_command("model.run")
    assert shown_finding(app.state) == "pneumonia"
    assert of_what(app) == ["pneumonia"]


def test_the_choice_is_not_remembered_with_the_settings(app: Application, medviewer_home: Path) -> None:
    app.run_command("explain.finding", "nodule")
    app.close()
    text = SettingsFile(medviewer_home).path.read_text(encoding="utf-8")
    assert json.loads(text)["overlay"]["chosen"] is None


def test_a_finding_that_the_answer_does_not_have_is_refused(app: Application) -> None:
    app.run_command("explain.finding", "gout")
    assert app.state.notice is not None
    assert app.state.notice.text == "The answer has no finding “gout”; it has: pneumonia, effusion, nodule."
    assert shown_finding(app.state) == "pneumonia"


def test_a_map_whose_check_was_cut_short_is_worked_out_again(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as cut:
        cut.setattr(analysis, "weigh_map", lambda _engine, _question, attribution, *_: attribution)
        app.run_command("explain.finding", "nodule")
    app.run_command("explain.finding", "pneumonia")
    app.run_command("explain.finding", "nodule")
    found = current_attribution(app.state)
    assert found is not None
    assert found.faithfulness is not None


@pytest.mark.reliability
def test_what_is_saved_is_of_the_chosen_finding(app: Application, tmp_path: Path) -> None:
    app.run_command("explain.finding", "effusion")
    app.run_command("file.save_results", tmp_path / "out")
    result = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert [one["target"] for one in result["explanations"]] == ["effusion"]


def test_each_explanation_is_in_the_audit_trail(app: Application, medviewer_home: Path) -> None:
    app.run_command("explain.finding", "effusion")
    trail = AuditTrail(app.records.store().database, medviewer_home / "audit")
    assert app.state.selection is not None
    uid = app.state.selection.image.sop_instance_uid
    kept = [(one.event.subject, one.event.detail) for one in trail.entries() if one.event.what == "model.explain"]
    assert kept == [(uid, f"{MODEL_ID} 1.2.3 grad-cam {label}") for label in ("pneumonia", "effusion")]


def test_work_on_the_map_of_another_finding_is_stopped(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    app.run_command("explain.finding", "effusion")
    stopped: list[str] = []
    monkeypatch.setattr(app.jobs, "stop", stopped.append)
    app.run_command("explain.finding", "pneumonia")  # its map is there: nothing new takes the place of what runs
    assert stopped == ["explain", "compare"]
