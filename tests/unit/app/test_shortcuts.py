"""Keys can be changed: no sequence ever has two places, and a broken file gives the table's own."""

from __future__ import annotations

import json
import logging
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medviewer.app.commands import COMMANDS
from medviewer.app.settings import SettingsFile
from medviewer.app.shortcuts import (
    NO_CHANGES,
    checked,
    give,
    keys_in_use,
    normal_keys,
    owner_of,
    places,
    reset,
    with_changes,
)

if TYPE_CHECKING:
    from pathlib import Path

    from medviewer.app.application import Application

PLACES = [place for place, _ in places(COMMANDS)]
SEQUENCES = st.sampled_from(["Ctrl+E", "F", "Ctrl++", "Up", "F1", "Ctrl+Alt+J", "Esc", "F8", "Shift+S", "7"])


def conflicts(changes: object) -> list[str]:
    used = Counter(normal_keys(k) for keys in keys_in_use(COMMANDS, checked(COMMANDS, changes)).values() for k in keys)
    return [keys for keys, count in used.items() if count > 1]


def test_the_default_shortcuts_have_no_conflict_and_can_all_be_used() -> None:
    every = [key for _, keys in places(COMMANDS) for key in keys]
    assert all(map(normal_keys, every))
    assert not conflicts(NO_CHANGES)


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("ctrl+o", "Ctrl+O"), ("Shift+Ctrl+a", "Ctrl+Shift+A"), ("Ctrl++", "Ctrl++"), ("+", "+"), ("?", "?"),
        ("pgup", "PgUp"), ("F24", "F24"), ("Ctrl+", ""), ("Ctrl", ""), ("", ""), ("Ctrl+K, X", ""), ("Hyper+Q", ""),
        ("F99", ""), (" ", ""), ("\x00", ""), ("ß", "ß"), ("Alt+ä", "Alt+Ä"),
    ],
)  # fmt: skip
def test_sequences_are_written_in_one_way(written: str, normal: str) -> None:
    assert normal_keys(written) == normal


def test_keys_move_from_the_command_that_had_them() -> None:
    assert owner_of(COMMANDS, NO_CHANGES, "ctrl+e") == "layout.prior"
    changes = give(COMMANDS, NO_CHANGES, "view.fit", ("Ctrl+E",))
    assert dict(changes) == {"view.fit": ("Ctrl+E",), "layout.prior": ()}
    assert owner_of(COMMANDS, changes, "Ctrl+E") == "view.fit"
    assert owner_of(COMMANDS, changes, "F") == ""
    table = with_changes(COMMANDS, changes)
    assert (table["view.fit"].shortcut, table["layout.prior"].shortcut) == ("Ctrl+E", "")


def test_a_choice_can_have_other_keys() -> None:
    changes = give(COMMANDS, NO_CHANGES, "view.preset#7", ("Ctrl+Alt+L",))
    assert with_changes(COMMANDS, changes)["view.preset"].choices[7].shortcut == "Ctrl+Alt+L"


def test_reset_brings_back_the_own_keys_from_whoever_has_them() -> None:
    changes = give(COMMANDS, NO_CHANGES, "view.fit", ("Ctrl+E",))
    back = reset(COMMANDS, changes, "layout.prior")
    assert keys_in_use(COMMANDS, back)["layout.prior"] == ("Ctrl+E",)
    assert keys_in_use(COMMANDS, back)["view.fit"] == ()
    assert reset(COMMANDS, back, "view.fit") == NO_CHANGES


@given(st.lists(st.tuples(st.sampled_from(PLACES), st.lists(SEQUENCES, max_size=3, unique=True)), max_size=6))
def test_whatever_is_given_no_sequence_has_two_places(steps: list[tuple[str, list[str]]]) -> None:
    changes = NO_CHANGES
    for place, keys in steps:
        changes = give(COMMANDS, changes, place, tuple(keys))
        assert checked(COMMANDS, changes) == changes
        assert keys_in_use(COMMANDS, changes)[place] == tuple(keys) or not keys
    assert not conflicts(changes)


@given(
    st.dictionaries(
        st.sampled_from([*PLACES, "no.such", "view.preset#99"]), st.lists(SEQUENCES | st.text(), max_size=3)
    )
)
def test_a_file_never_gives_a_sequence_two_places(given_changes: dict[str, list[str]]) -> None:
    assert not conflicts(given_changes)
    assert set(checked(COMMANDS, given_changes)) <= set(PLACES)


def test_what_cannot_be_used_is_left_out_with_a_line_that_quotes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    entries = {
        "view.fit": ["Ctrl+Alt+F", "Kowalska"], "no.such": ["Ctrl+J"], "view.invert": 7, "view.smooth": ["Ctrl+E"],
    }  # fmt: skip
    (tmp_path / "settings.json").write_text(json.dumps({"shortcuts": entries}))
    with caplog.at_level(logging.INFO):
        loaded = SettingsFile(tmp_path).load().shortcuts
    assert dict(loaded) == {"view.fit": ("Ctrl+Alt+F",)}
    assert "4 entries" in caplog.text
    assert not any(word in caplog.text for word in ("Kowalska", "no.such", "Ctrl"))


def test_changed_shortcuts_are_shown_and_kept(application: Application) -> None:
    changes = give(COMMANDS, NO_CHANGES, "view.fit", ("Ctrl+Alt+F",))
    application.run_command("app.shortcuts", changes)
    assert application.state.shortcuts == changes
    assert SettingsFile(application.home).load().shortcuts == changes
