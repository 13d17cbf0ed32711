"""The command table is whole: every row can be found, said in both languages, and asked for by its keys."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from medviewer.app.commands import COMMANDS, MENUS, command
from medviewer.app.state import State
from medviewer.domain.errors import UsageError

if TYPE_CHECKING:
    from medviewer.app.application import Application

# The contract between the panels and the application.
ASKED_FOR = [
    "file.open_folder",
    "file.open_files",
    "file.open_recent",
    "file.open_sample",
    "file.save_results",
    "file.close",
    "app.quit",
    "view.fit",
    "view.actual_size",
    "view.zoom_in",
    "view.zoom_out",
    "view.invert",
    "view.rotate_left",
    "view.rotate_right",
    "view.flip_horizontal",
    "view.flip_vertical",
    "view.reset",
    "view.preset",
    "view.window",
    "view.place",
    "view.smooth",
    "view.corner_text",
    "view.hide_identity",
    "view.panels",
    "image.next",
    "image.previous",
    "image.first",
    "image.last",
    "image.show",
    "image.select",
    "series.next",
    "series.previous",
    "tool.window",
    "tool.pan",
    "tool.zoom",
    "tool.scroll",
    "model.run",
    "model.select",
    "model.confirm",
    "job.cancel",
    "explain.method",
    "explain.toggle",
    "explain.opacity",
    "explain.threshold",
    "explain.color_map",
    "finding.accept",
    "finding.reject",
    "finding.change",
    "edit.undo",
    "edit.redo",
    "help.palette",
    "help.shortcuts",
    "help.about",
    "app.language",
]


@pytest.mark.parametrize("command_id", ASKED_FOR)
def test_every_command_of_the_contract_is_there(command_id: str) -> None:
    assert command(command_id).id == command_id


def test_an_unknown_command_is_an_error(application: Application) -> None:
    with pytest.raises(UsageError, match="no command"):
        application.run_command("view.nonsense")


def test_titles_are_in_both_languages_and_menus_exist() -> None:
    for row in COMMANDS.values():
        titles = [row.title, *(choice.title for choice in row.choices)]
        assert all(set(title) == {"en", "zh"} and all(title.values()) for title in titles), row.id
        assert row.menu in ("", *MENUS), row.id
        assert row.menu or row.needs_argument, f"{row.id} can be reached by nobody"


def test_no_two_commands_share_a_shortcut() -> None:
    keys = Counter(
        key
        for row in COMMANDS.values()
        for key in (row.shortcut, *row.more_shortcuts, *(choice.shortcut for choice in row.choices))
        if key
    )
    assert not [key for key, count in keys.items() if count > 1]


def test_the_keys_that_readers_know() -> None:
    known = {
        "T": "tool.pan", "W": "tool.window", "S": "tool.scroll", "Z": "tool.zoom", "I": "view.corner_text",
        "Esc": "view.reset", "Up": "image.previous", "Down": "image.next", "Left": "series.previous",
        "Right": "series.next", "Home": "image.first", "End": "image.last", "H": "view.flip_horizontal",
        "V": "view.flip_vertical", "Ctrl+Z": "edit.undo", "Ctrl+Y": "edit.redo", "Ctrl+K": "help.palette",
        "F1": "help.shortcuts", "?": "help.shortcuts", "Tab": "view.panels", "X": "explain.toggle",
    }  # fmt: skip
    for key, command_id in known.items():
        row = command(command_id)
        assert key in (row.shortcut, *row.more_shortcuts)
    assert {c.shortcut: c.argument for c in command("view.preset").choices} == {str(n): n for n in range(10)}


def test_every_icon_is_there() -> None:
    icons = Path(__file__).parents[3] / "resources" / "icons"
    assert not [row.id for row in COMMANDS.values() if row.icon and not (icons / f"{row.icon}.svg").is_file()]


def test_nothing_that_needs_an_image_can_be_run_without_one(application: Application) -> None:
    before = application.state
    for command_id in ("view.fit", "image.next", "model.run", "finding.accept", "file.save_results", "edit.undo"):
        assert not command(command_id).enabled(State())
        application.run_command(command_id)
    assert application.state is before
