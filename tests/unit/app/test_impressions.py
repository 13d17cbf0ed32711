"""Read first, AI after: nothing of a model is told before an impression is in the trail, and no version is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from medviewer.app import impressions
from medviewer.app.on_screen import (
    current_answer,
    current_attribution,
    decidable_answer,
    has_withheld_answer,
    impressions_of,
    is_withheld,
)
from medviewer.domain.errors import StorageError
from medviewer.records.audit import AuditTrail
from tests.radiographs import write_radiograph

if TYPE_CHECKING:
    from medviewer.app.application import Application


@pytest.fixture
def reading_first(opened: Application) -> Application:
    opened.run_command("app.prefer", ("read_first", True))
    opened.run_command("model.run")
    return opened


def trail(app: Application) -> list[dict[str, Any]]:
    entries = app.records._opened()[1].entries()
    return [json.loads(entry.event.detail) for entry in entries if entry.event.what == impressions.EVENT]


def test_nothing_of_the_result_is_on_screen_before_an_impression(reading_first: Application, tmp_path: Path) -> None:
    app = reading_first
    assert app.state.answers
    assert app.state.attributions
    assert has_withheld_answer(app.state)
    assert (current_answer(app.state), current_attribution(app.state), decidable_answer(app.state)) == (None,) * 3
    app.run_command("finding.accept")
    app.run_command("file.save_results", tmp_path / "out")
    assert not app.state.decisions
    assert not (tmp_path / "out").exists()


def test_an_impression_lets_the_result_appear_once_it_is_in_the_trail(
    reading_first: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = reading_first
    seen: list[bool] = []
    append = AuditTrail.append

    def watched(self: AuditTrail, event: Any) -> Any:
        if event.what == impressions.EVENT:
            seen.append(is_withheld(app.state))
        return append(self, event)

    monkeypatch.setattr(AuditTrail, "append", watched)
    app.run_command("model.impression", "  Consolidation in the right lower field. ")
    assert seen == [True]
    assert current_answer(app.state) is not None
    (written,) = impressions_of(app.state)
    assert (written.text, written.after_ai) == ("Consolidation in the right lower field.", False)
    assert [(row["text"], row["after_ai"]) for row in trail(app)] == [(written.text, False)]


def test_an_impression_that_cannot_be_kept_shows_nothing(
    reading_first: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = reading_first

    def full(_self: AuditTrail, _event: Any) -> Any:
        raise StorageError("The disk is full; free some space.")

    monkeypatch.setattr(AuditTrail, "append", full)
    app.run_command("model.impression", "Clear.")
    assert is_withheld(app.state)
    assert app.state.notice is not None
    assert app.state.notice.text.startswith(impressions.NOT_KEPT)


def test_what_is_written_after_the_result_was_seen_stands_beside_the_first_version(
    reading_first: Application, tmp_path: Path
) -> None:
    app = reading_first
    app.run_command("model.impression", "Clear.")
    app.run_command("model.impression", "Pneumonia after all.")
    both = [("Clear.", False), ("Pneumonia after all.", True)]
    assert [(one.text, one.after_ai) for one in impressions_of(app.state)] == both
    assert [(row["text"], row["after_ai"]) for row in trail(app)] == both
    app.run_command("file.save_results", tmp_path / "out")
    saved = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert [(one["text"], one["after_ai"]) for one in saved["impressions"]] == both
    assert saved["impressions"][0]["time"] <= saved["impressions"][1]["time"]


def test_undo_and_redo_do_not_reach_it(reading_first: Application) -> None:
    app = reading_first
    app.run_command("view.invert")
    app.run_command("model.impression", "Clear.")
    written = impressions_of(app.state)
    app.run_command("edit.undo")
    assert not app.state.view.inverted
    assert impressions_of(app.state) == written
    app.run_command("edit.redo")
    assert impressions_of(app.state) == written


def test_who_saw_the_result_before_writes_no_first_impression(opened: Application) -> None:
    """Also if the mode is put on only then."""
    opened.run_command("model.run")
    assert current_answer(opened.state) is not None
    opened.run_command("model.read_first")
    assert is_withheld(opened.state)
    opened.run_command("model.impression", "I knew it.")
    assert [one.after_ai for one in impressions_of(opened.state)] == [True]


def test_another_image_has_an_impression_of_its_own(reading_first: Application, tmp_path: Path) -> None:
    app = reading_first
    app.run_command("model.impression", "Clear.")
    app.run_command("file.open_files", [write_radiograph(tmp_path / "b.dcm")])
    app.run_command("model.run")
    assert app.state.selection is not None
    assert app.state.selection.image.path.name == "b.dcm"
    assert is_withheld(app.state)
    assert current_answer(app.state) is None
    assert impressions_of(app.state) == ()


def test_without_the_mode_results_are_shown_at_once(opened: Application) -> None:
    opened.run_command("model.run")
    assert not is_withheld(opened.state)
    assert current_answer(opened.state) is not None


@pytest.mark.parametrize("words", ["", "  \n ", "x" * (impressions.LONGEST + 1)])
def test_no_words_or_too_many_are_not_kept(reading_first: Application, words: str) -> None:
    reading_first.run_command("model.impression", words)
    assert is_withheld(reading_first.state)
    assert trail(reading_first) == []
    assert reading_first.state.notice is not None


def test_the_choice_is_remembered(opened: Application) -> None:
    opened.run_command("model.read_first")
    assert opened.state.read_first
    assert opened.settings.read_first
    opened.run_command("model.read_first")
    assert not opened.settings.read_first
