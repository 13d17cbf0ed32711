"""A result belongs to its image, its model and its method; a failure is never a finding."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from medviewer.app import analysis, findings, model_shelf
from medviewer.app.model_shelf import open_case
from medviewer.app.on_screen import current_answer, current_attribution
from medviewer.app.stack_asking import confirmed_for, question_behind
from medviewer.app.state import QueueItem
from medviewer.domain.errors import InputError, WorkerDiedError
from medviewer.domain.progress import StopToken, no_progress
from medviewer.inference.card_json import CARD_NAME
from medviewer.inference.catalogue import Catalogue
from medviewer.records.audit import AuditTrail
from tests.fakes import HEAD, MODEL_ID, make_model, model_graph
from tests.radiographs import write_radiograph
from tests.unit.app.conftest import OTHER_ID

if TYPE_CHECKING:
    from medviewer.app.application import Application
    from tests.fakes import FakeEngine


def test_running_gives_an_answer_and_then_its_heat_map(opened: Application) -> None:
    opened.run_command("model.run")
    found = current_answer(opened.state)
    assert found is not None
    subject, answer = found
    assert answer.status == "answer"
    assert opened.state.selection is not None
    assert subject.image_key == opened.state.selection.image.key
    assert subject.model_id == MODEL_ID
    attribution = current_attribution(opened.state)
    assert attribution is not None
    assert attribution.method == "grad-cam"
    assert attribution.placed.shape == (96, 80)
    assert attribution.faithfulness is not None
    assert opened.state.provider.startswith("Running on: CPU, because")
    assert opened.state.jobs == ()


def test_another_method_is_worked_out_when_it_is_chosen_and_only_once(
    opened: Application, fake_engine: FakeEngine
) -> None:
    opened.run_command("model.run")
    opened.run_command("explain.method", "occlusion")
    attribution = current_attribution(opened.state)
    assert attribution is not None
    assert attribution.method == "occlusion"
    calls = len(fake_engine.calls)
    opened.run_command("explain.method", "grad-cam")
    opened.run_command("explain.method", "occlusion")
    assert len(fake_engine.calls) == calls
    assert current_attribution(opened.state) is attribution


def test_an_unknown_method_model_or_colour_map_is_refused(opened: Application) -> None:
    for command_id in ("explain.method", "model.select", "explain.color_map"):
        opened.run_command(command_id, "nonsense")
        assert opened.state.notice is not None
        assert opened.state.notice.level == "alarm"
        opened.notify("info", "")
    assert (opened.state.overlay.method, opened.state.overlay.color_map) == ("grad-cam", "magma")
    assert opened.state.model_id == MODEL_ID


def test_a_failed_run_takes_the_old_result_away_and_says_why(opened: Application, fake_engine: FakeEngine) -> None:
    opened.run_command("model.run")
    fake_engine.failure = WorkerDiedError("The model's process ended; run it again.")
    opened.run_command("model.run")
    assert current_answer(opened.state) is None
    assert current_attribution(opened.state) is None
    assert list(opened.state.analysis_problem.values()) == ["The model's process ended; run it again."]
    opened.run_command("model.run")
    assert current_answer(opened.state) is not None
    assert not opened.state.analysis_problem


def test_when_the_check_of_a_map_is_interrupted_the_answer_stands(
    opened: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_arguments: object) -> None:
        raise WorkerDiedError("The process that runs models ended unexpectedly (killed); there is no result.")

    with monkeypatch.context() as broken:
        broken.setattr(analysis, "weigh_map", die)
        opened.run_command("model.run")
    found = current_attribution(opened.state)
    assert current_answer(opened.state) is not None
    assert found is not None
    assert found.faithfulness is None
    assert opened.state.notice is not None
    assert opened.state.notice.level == "caution"
    assert opened.state.notice.text == "The check against random maps was interrupted; the answer stands."
    opened.run_command("model.run")
    assert opened.state.notice is None


def test_a_failure_is_said_until_the_same_work_succeeds(opened: Application, tmp_path: Path) -> None:
    opened.run_command("model.run")
    (tmp_path / "file").write_text("")
    opened.run_command("file.save_results", tmp_path / "file" / "out")
    failure = opened.state.notice
    assert failure is not None
    assert failure.level == "alarm"
    opened.run_command("model.run")
    assert opened.state.notice is failure, "another kind of work says nothing of the disk"
    opened.run_command("file.save_results", tmp_path / "out")
    assert opened.state.notice is not None
    assert opened.state.notice.level == "info"


def test_what_a_failed_job_said_goes_when_the_same_kind_of_job_succeeds(opened: Application) -> None:
    def fail(*_arguments: object) -> None:
        raise InputError("The slices could not be read.")

    opened.start_job("volume", fail, lambda _result: None)
    assert opened.state.notice is not None
    assert opened.state.notice.text == "The slices could not be read."
    opened.start_job("save", lambda *_arguments: None, lambda _result: None)
    assert opened.state.notice is not None
    opened.start_job("volume", lambda *_arguments: None, lambda _result: None)
    assert opened.state.notice is None


def test_what_one_model_failed_at_is_not_said_of_another(two_models: Application, fake_engine: FakeEngine) -> None:
    key = two_models.state.selection.image.key  # type: ignore[union-attr]
    fake_engine.failure = WorkerDiedError("The model's process ended; run it again.")
    two_models.run_command("model.run")
    assert list(two_models.state.analysis_problem) == [(key, MODEL_ID)]
    two_models.run_command("model.select", OTHER_ID)
    two_models.run_command("model.run")
    assert current_answer(two_models.state) is not None
    assert list(two_models.state.analysis_problem) == [(key, MODEL_ID)]
    fake_engine.failure = WorkerDiedError("No heat map.")
    two_models.run_command("explain.method", "occlusion")
    assert two_models.state.analysis_problem[key, OTHER_ID] == "No heat map."
    two_models.run_command("model.run")
    assert list(two_models.state.analysis_problem) == [(key, MODEL_ID)]


def test_another_images_result_is_not_shown(opened: Application, tmp_path: Path) -> None:
    opened.run_command("model.run")
    kept = opened.state.answers
    opened.run_command("file.open_files", [write_radiograph(tmp_path / "b.dcm", patient_id="B2", name="Beta^Ben")])
    assert kept
    assert current_answer(opened.state) is None


def test_run_when_opened_runs_by_itself(application: Application, tmp_path: Path) -> None:
    application.remember(run_when_opened=True)
    application.run_command("file.open_files", [write_radiograph(tmp_path / "a.dcm")])
    assert current_attribution(application.state) is not None


def test_without_being_asked_no_model_runs(opened: Application, fake_engine: FakeEngine) -> None:
    assert fake_engine.calls == []


def test_confirming_a_guard_runs_again_with_it(application: Application, tmp_path: Path) -> None:
    application.run_command("file.open_files", [write_radiograph(tmp_path / "a.dcm", ViewPosition="")])
    application.run_command("model.run")
    assert level_of(application, "view.unknown") == "warn"
    application.run_command("model.confirm", "view.unknown")
    assert level_of(application, "view.unknown") == "ok"


def test_what_was_confirmed_for_one_model_is_not_confirmed_for_another(two_models: Application, tmp_path: Path) -> None:
    app = two_models
    app.run_command("file.open_files", [write_radiograph(tmp_path / "b.dcm", ViewPosition="")])
    app.run_command("model.select", MODEL_ID)
    app.run_command("model.confirm", "view.unknown")
    assert level_of(app, "view.unknown") == "ok"
    app.run_command("model.select", OTHER_ID)
    app.run_command("model.run")
    assert level_of(app, "view.unknown") == "warn"
    app.run_command("model.confirm", "view.unknown")
    assert level_of(app, "view.unknown") == "ok"


def test_what_was_confirmed_is_given_to_the_same_model_in_the_queue_and_to_no_other(
    two_models: Application, tmp_path: Path
) -> None:
    app = two_models
    app.run_command("file.open_files", [write_radiograph(tmp_path / "b.dcm", ViewPosition="")])
    app.run_command("model.select", MODEL_ID)
    app.run_command("model.confirm", "view.unknown")
    now = app.state.selection
    assert now is not None
    asked = [question_behind(app, now, model_id)(StopToken(), no_progress) for model_id in (MODEL_ID, OTHER_ID)]
    assert [question.case.confirmed for question in asked] == [{"view.unknown"}, frozenset()]


def test_an_image_that_a_new_model_is_tried_on_brings_no_confirmation(application: Application, tmp_path: Path) -> None:
    application.run_command("file.open_files", [write_radiograph(tmp_path / "a.dcm", ViewPosition="")])
    application.run_command("model.confirm", "view.unknown")
    case = open_case(application.state)
    assert case is not None
    assert not case.confirmed


def replace_model(app: Application, tmp_path: Path, **changes: Any) -> None:
    """Another model of the same id takes the place of the bundled one, as the shelf does it."""
    make_model(tmp_path / "replaced" / MODEL_ID, **changes)
    app.engine.catalogue = Catalogue([tmp_path / "replaced"])
    model_shelf._adopt(app, frozenset({MODEL_ID}))


@pytest.mark.parametrize("changes", [{"version": "9.9.9"}, {"graph": model_graph(1, head=-HEAD[:1])}])
def test_what_a_model_said_goes_with_the_model(opened: Application, tmp_path: Path, changes: dict[str, Any]) -> None:
    opened.run_command("model.run")
    opened.run_command("finding.accept")
    model_shelf._adopt(opened, opened.engine.catalogue.refresh())
    assert current_answer(opened.state) is not None, "nothing has changed"
    replace_model(opened, tmp_path, **changes)
    assert current_answer(opened.state) is None
    assert not opened.state.attributions
    assert not opened.state.decisions
    assert opened.state.notice is not None
    assert opened.state.notice.text == findings.REPLACED
    opened.run_command("model.run")
    assert current_answer(opened.state) is not None


def test_an_answer_that_comes_after_its_model_went_is_not_taken(
    opened: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is replaced, and what it said before forgotten, while its last answer is on its way."""
    ask = analysis.ask

    def replaced_meanwhile(*given: Any) -> Any:
        asked = ask(*given)
        replace_model(opened, tmp_path, version="9.9.9")
        return asked

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(analysis, "ask", replaced_meanwhile)
        opened.run_command("model.run")
    assert not opened.state.answers
    assert not opened.state.attributions
    assert opened.state.notice is not None
    assert opened.state.notice.text == findings.REPLACED
    opened.run_command("model.run")
    assert current_answer(opened.state) is not None


def test_a_map_of_another_network_never_stands_beside_an_answer(
    opened: Application, fake_engine: FakeEngine, tmp_path: Path
) -> None:
    """Not even where the network is replaced while the answer is on screen, and nobody has said so yet."""
    opened.run_command("model.run")
    make_model(tmp_path / "replaced" / MODEL_ID, graph=model_graph(1, head=-HEAD[:1]))
    fake_engine.catalogue = Catalogue([tmp_path / "replaced"])
    opened.run_command("explain.method", "occlusion")
    assert current_answer(opened.state) is not None
    assert current_attribution(opened.state) is None


def level_of(app: Application, code: str) -> str:
    found = current_answer(app.state)
    assert found is not None
    return next(guard.level for guard in found[1].guards if guard.code == code)


def test_decisions_are_saved_beside_the_answer_and_undo_is_too(opened: Application) -> None:
    opened.run_command("model.run")
    found = current_answer(opened.state)
    assert found is not None
    subject = found[0]
    opened.run_command("finding.reject", "motion blur")
    opened.run_command("edit.undo")
    opened.run_command("finding.accept")
    store = opened.records.store()
    kept = [(d.decision.kind, d.decision.reason) for d in store.decisions_for(subject.image_key)]
    assert kept == [("accepted", ""), ("withdrawn", ""), ("rejected", "motion blur")]
    assert opened.state.decisions[subject].kind == "accepted"
    saved = store.answers_for(subject.image_key)
    assert json.loads(saved[0].result_json)["status"] == "answer"


def test_a_rejection_without_a_reason_is_asked_for_and_can_be_cancelled(opened: Application) -> None:
    opened.run_command("model.run")
    opened.run_command("finding.reject")  # nobody to ask
    assert not opened.state.decisions


def test_a_new_run_has_no_old_decision(opened: Application) -> None:
    opened.run_command("model.run")
    opened.run_command("finding.accept", "fine")
    opened.run_command("model.run")
    assert not opened.state.decisions


def test_undoing_a_view_change_does_not_sign_the_answer_of_a_later_run(opened: Application) -> None:
    opened.run_command("model.run")
    opened.run_command("finding.accept", "fine")
    opened.run_command("view.invert")
    opened.run_command("model.run")
    found = current_answer(opened.state)
    assert found is not None
    opened.run_command("edit.undo")
    assert not opened.state.view.inverted
    assert not opened.state.decisions
    opened.run_command("edit.undo")  # the acceptance itself belonged to the answer that is gone
    opened.run_command("edit.redo")
    assert not opened.state.decisions
    kept = [d.decision.kind for d in opened.records.store().decisions_for(found[0].image_key)]
    assert kept == ["accepted"]


def test_what_was_done_is_in_the_audit_trail(opened: Application, medviewer_home: Path) -> None:
    opened.run_command("model.run")
    opened.run_command("finding.accept", "fine")
    trail = AuditTrail(opened.records.store().database, medviewer_home / "audit")
    assert [entry.event.what for entry in trail.entries()][-3:] == ["model.run", "model.explain", "finding.accepted"]
    assert trail.verify().ok


def test_saving_writes_the_result_and_says_so(opened: Application, tmp_path: Path) -> None:
    opened.run_command("model.run")
    opened.run_command("finding.accept", "fine")
    out = tmp_path / "out"
    opened.run_command("file.save_results", out)
    document = json.loads((out / "result.json").read_text(encoding="utf-8"))
    assert document["status"] == "answer"
    assert opened.state.notice is not None
    assert opened.state.notice.level == "info"


def test_no_notice_names_the_folder_that_results_go_to(opened: Application, tmp_path: Path) -> None:
    """It is often named after the patient, whose identity may be hidden."""
    opened.run_command("model.run")
    opened.run_command("file.save_results", tmp_path / "DOE_JANE_1940")
    assert opened.state.notice is not None
    assert opened.state.notice.text == f"{len(list((tmp_path / 'DOE_JANE_1940').iterdir()))} files were saved."
    (tmp_path / "DOE_JOHN_1941").write_text("a file")
    opened.run_command("file.save_results", tmp_path / "DOE_JOHN_1941")
    assert opened.state.notice.level == "alarm"
    assert "not saved" in opened.state.notice.text
    assert "DOE" not in opened.state.notice.text


def test_saving_with_the_identity_hidden_says_that_the_files_carry_it(opened: Application, tmp_path: Path) -> None:
    opened.run_command("model.run")
    opened.run_command("view.hide_identity")
    out = tmp_path / "out"
    opened.run_command("file.save_results", out)
    n = len(list(out.iterdir()))
    assert opened.state.notice is not None
    assert opened.state.notice.level == "caution"
    assert opened.state.notice.text == (
        f"{n} files were saved. They carry the patient's name and number; hiding affects the screen only."
    )


def test_hiding_the_identity_takes_the_last_notice_away(opened: Application) -> None:
    opened.notify("caution", "DOE_JANE.dcm cannot be read.")
    opened.run_command("view.hide_identity")
    assert opened.state.notice is None
    opened.notify("caution", "The disk is full.")
    opened.run_command("view.hide_identity")
    assert opened.state.notice is not None


def test_a_full_disk_while_saving_is_said(opened: Application, tmp_path: Path) -> None:
    opened.run_command("model.run")
    (tmp_path / "file").write_text("in the way")
    opened.run_command("file.save_results", tmp_path / "file" / "out")
    assert opened.state.notice is not None
    assert opened.state.notice.level == "alarm"


def test_the_overlay_is_changed_undoably_and_within_bounds(opened: Application) -> None:
    for value in (0.1, 0.2, 7):
        opened.run_command("explain.opacity", value)
    assert opened.state.overlay.opacity == 1.0
    opened.run_command("explain.color_map", "viridis")
    opened.run_command("explain.toggle")
    assert not opened.state.overlay.visible
    for _ in range(3):
        opened.run_command("edit.undo")
    assert (opened.state.overlay.opacity, opened.state.overlay.color_map, opened.state.overlay.visible) == (
        0.5,
        "magma",
        True,
    )


def test_what_a_model_said_goes_when_its_card_is_corrected(opened: Application) -> None:
    """The same network under the same version: only what the label is called was wrong."""
    opened.run_command("model.run")
    opened.run_command("model.confirm", "view.unknown")
    card = opened.engine.catalogue.card(MODEL_ID).folder / CARD_NAME
    document = json.loads(card.read_text())
    document["labels"][0]["name"] = "effusion"
    card.write_text(json.dumps(document))
    model_shelf._adopt(opened, opened.engine.catalogue.refresh())
    assert current_answer(opened.state) is None
    selection = opened.state.selection
    assert selection is not None
    assert not confirmed_for(opened, selection.image.key, MODEL_ID), "it was another card that was answered"


def test_what_a_replaced_model_failed_at_is_not_said_of_the_new_one(
    opened: Application, fake_engine: FakeEngine, tmp_path: Path
) -> None:
    fake_engine.failure = WorkerDiedError("The model's process ended; run it again.")
    opened.run_command("model.run")
    assert opened.state.selection is not None
    ended = QueueItem(1, opened.state.selection, MODEL_ID, "failed", "The model's process ended; run it again.")
    other = replace(ended, number=2, model_id="another")
    opened.session.update(queue=(ended, other))
    model_shelf._adopt(opened, opened.engine.catalogue.refresh())
    assert opened.state.analysis_problem, "nothing has changed"
    replace_model(opened, tmp_path, version="9.9.9")
    assert not opened.state.analysis_problem
    assert opened.state.queue == (other,)


def test_who_closes_the_dialog_at_the_last_moment_has_the_new_model_all_the_same(
    opened: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened.run_command("model.run")
    posted: list[Callable[[], None]] = []
    monkeypatch.setattr(opened, "post", posted.append)
    monkeypatch.setattr(opened.jobs, "_post", posted.append)
    shelf = model_shelf.ModelShelf(opened, lambda: None)
    folder = opened.engine.catalogue.card(MODEL_ID).folder

    def change() -> None:
        shutil.rmtree(folder)
        make_model(folder, version="9.9.9")

    shelf._change(change, "The model is installed.")
    shelf.close()
    for call in posted:
        call()
    assert opened.engine.catalogue.card(MODEL_ID).version == "9.9.9"
    assert opened.state.models_changed == 1
    assert current_answer(opened.state) is None
