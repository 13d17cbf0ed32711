"""What is preferred holds at once, is remembered, and a broken file gives the default."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from medviewer.app.on_screen import selections
from medviewer.app.preferences import CHOICES, prefer, preferred
from medviewer.app.settings import Settings, SettingsFile
from medviewer.domain.errors import UsageError
from tests.document_maker import item, the_document, write_report
from tests.radiographs import write_radiograph

if TYPE_CHECKING:
    from medviewer.app.application import Application

EVERY = [(name, value) for name, values in CHOICES.items() for value in values]


@pytest.mark.parametrize(("name", "value"), EVERY)
def test_each_preference_is_used_and_kept(application: Application, name: str, value: str | bool) -> None:
    application.run_command("app.prefer", (name, value))
    assert preferred(application, name) == value
    assert getattr(SettingsFile(application.home).load(), name) == value


def test_the_first_choice_is_the_default() -> None:
    assert {name: getattr(Settings(), name) for name in CHOICES} == {name: v[0] for name, v in CHOICES.items()}
    assert set(CHOICES) <= {entry.name for entry in fields(Settings)}


def test_reset_brings_all_defaults_back(application: Application) -> None:
    for name, values in CHOICES.items():
        application.run_command("app.prefer", (name, values[-1]))
    application.run_command("app.reset_preferences")
    assert {name: preferred(application, name) for name in CHOICES} == {name: v[0] for name, v in CHOICES.items()}


@pytest.mark.parametrize(
    "choice", [("theme", "pink"), ("nothing", True), ("smooth", 1), ("theme", True), ("smooth", "x")]
)
def test_what_cannot_be_preferred_is_refused(application: Application, choice: tuple[str, str]) -> None:
    with pytest.raises(UsageError):
        prefer(application, choice)


def test_a_theme_of_a_newer_version_gives_the_default(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(json.dumps({"theme": "solar", "density": "x", "up_brightens": "no"}))
    assert SettingsFile(tmp_path).load() == Settings()


def test_undoing_something_else_leaves_a_preference_as_it_is(application: Application, tmp_path: Path) -> None:
    for name, patient in (("a", "A1"), ("b", "B2")):
        write_radiograph(tmp_path / f"{name}.dcm", patient_id=patient, name="Alpha^Anna")
    application.run_command("file.open_folder", tmp_path)
    first, second = selections(application.state.collection)
    application.run_command("image.select", second)
    application.run_command("image.select", first)
    application.run_command("view.invert")
    application.run_command("layout.use", (1, 2))
    application.run_command("app.prefer", ("smooth", False))
    views = [application.state.view, *(pane.view for pane in application.state.parked.values())]
    assert not any(view.smooth for view in views)
    for command in ("edit.undo", "edit.undo", "edit.redo"):
        application.run_command(command)
        assert not application.state.view.smooth
    assert application.state.view.inverted
    application.run_command("image.select", second)
    assert not application.state.view.smooth
    assert not application.settings.smooth


def test_a_preference_of_images_holds_for_those_behind_a_document(application: Application, tmp_path: Path) -> None:
    write_radiograph(tmp_path / "a.dcm", StudyInstanceUID="2.25.77")
    written = write_report(tmp_path / "b.dcm", item("TEXT", "Finding", TextValue="No"), StudyInstanceUID="2.25.77")
    application.run_command("file.open_folder", tmp_path)
    application.run_command("layout.use", (1, 2))
    application.run_command("document.show", the_document(written))
    application.run_command("app.prefer", ("smooth", False))
    application.run_command("document.close")
    assert not application.state.view.smooth
    assert not any(pane.view.smooth for pane in application.state.parked.values())


def test_a_preference_never_stands_before_what_can_be_undone(application: Application, tmp_path: Path) -> None:
    """Above all not where no image is on screen: nothing could show it undone, and nothing below it would be either."""
    application.run_command("file.open_files", [write_radiograph(tmp_path / "a.dcm")])
    application.run_command("view.invert")
    application.run_command("layout.use", (1, 2))
    application.run_command("layout.activate", 1)
    application.run_command("app.prefer", ("smooth", not application.state.view.smooth))
    application.run_command("view.fit")
    application.run_command("layout.activate", 0)
    application.run_command("edit.undo")  # the layout
    application.run_command("edit.undo")
    assert not application.state.view.inverted
    assert not application.session.has_past
