from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import Qt

from medviewer.app.commands import COMMANDS, Choice, Command
from medviewer.app.hanging_protocol import BUILT_IN
from medviewer.app.state import State
from medviewer.gui.command_palette import CommandPalette, entries_of, fuzzy_score
from tests.gui import panel_states as made
from tests.gui.seen import Asked


def row(command_id: str, title: str, **more: object) -> Command:
    made_row = Command(
        command_id, {"en": title, "zh": title}, run=lambda _app, _argument: None, enabled=lambda _state: True
    )
    return replace(made_row, **more)  # type: ignore[arg-type]


TABLE = (
    row("view.zoom_in", "Zoom in", menu="view", shortcut="Ctrl++"),
    row("view.flip", "Flip left-right", menu="view", shortcut="H"),
    row("model.run", "Run model", enabled=lambda state: state.selection is not None),
    row("view.place", "Place", needs_argument=True),
    row(
        "view.preset", "Preset", needs_argument=True,
        choices=(Choice(0, {"en": "Automatic", "zh": "自动"}, "0"), Choice(3, {"en": "Lung", "zh": "肺"}, "3")),
    ),
)  # fmt: skip


@pytest.fixture
def palette(qtbot) -> CommandPalette:
    one = CommandPalette(TABLE)
    qtbot.addWidget(one)
    return one


def titles(palette: CommandPalette) -> list[str]:
    return [palette.list.item(i).text() for i in range(palette.list.count())]


def test_commands_that_need_an_argument_are_offered_with_their_choices_only() -> None:
    found = [(e.title, e.argument, e.shortcut) for e in entries_of(TABLE, State())]
    assert found == [
        ("Zoom in", None, "Ctrl++"), ("Flip left-right", None, "H"), ("Run model", None, ""),
        ("Preset: Automatic", 0, "0"), ("Preset: Lung", 3, "3"),
    ]  # fmt: skip


def test_the_real_table_is_offered_without_arguments_that_nobody_can_give() -> None:
    offered = {e.command_id for e in entries_of(COMMANDS.values(), replace(made.explained(), hanging=BUILT_IN))}
    assert offered == {c.id for c in COMMANDS.values() if not c.needs_argument or c.choices}
    assert "model.run" in offered


def test_typing_filters_and_enter_runs(palette, qtbot) -> None:
    asked = Asked(palette)
    palette.show_for(made.opened())
    qtbot.keyClicks(palette.line, "lung")
    assert titles(palette) == ["Preset: Lung"]
    qtbot.keyClick(palette.line, Qt.Key.Key_Return)
    assert asked.calls == [("view.preset", 3)]
    assert palette.isHidden()


def test_the_arrow_keys_move_while_typing_goes_on(palette, qtbot) -> None:
    asked = Asked(palette)
    palette.show_for(made.opened())
    qtbot.keyClick(palette.line, Qt.Key.Key_Down)
    qtbot.keyClick(palette.line, Qt.Key.Key_Return)
    assert asked.calls == [("view.flip", None)]


def test_what_makes_no_sense_now_cannot_be_run(palette, qtbot) -> None:
    asked = Asked(palette)
    palette.show_for(State())
    qtbot.keyClicks(palette.line, "run model")
    assert titles(palette) == ["Run model"]
    qtbot.keyClick(palette.line, Qt.Key.Key_Return)
    assert asked.calls == []
    assert palette.isVisible()


def test_nothing_found_says_so(palette, qtbot) -> None:
    palette.show_for(State())
    qtbot.keyClicks(palette.line, "qqq")
    assert titles(palette) == ["No command fits; try fewer letters."]
    qtbot.keyClick(palette.line, Qt.Key.Key_Return)
    assert palette.isVisible()


def test_it_opens_empty_every_time(palette, qtbot) -> None:
    palette.show_for(State())
    qtbot.keyClicks(palette.line, "zoom")
    palette.show_for(State())
    assert palette.line.text() == ""
    assert len(titles(palette)) == 5


@pytest.mark.parametrize(
    ("typed", "title"), [("zi", "Zoom in"), ("flr", "Flip left-right"), ("肺", "预设: 肺"), ("", "Any")]
)
def test_letters_in_order_fit(typed: str, title: str) -> None:
    assert fuzzy_score(typed, title) is not None


def test_the_beginning_of_words_counts_more() -> None:
    assert (fuzzy_score("zi", "Zoom in") or 0) > (fuzzy_score("zi", "Horizontal line") or 0)
    assert (fuzzy_score("open", "Open folder") or 0) > (fuzzy_score("open", "Look over the pen") or 0)


@given(st.text(alphabet="abcdef "), st.text(alphabet="abcdef "))
def test_letters_fit_exactly_if_they_occur_in_that_order(typed: str, title: str) -> None:
    rest = iter(title)
    in_order = all(letter in rest for letter in typed.replace(" ", ""))
    # A jump to the beginning of a word may pass over letters, so that the search may give up on what is in order;
    # it must never find what is not.
    if fuzzy_score(typed, title) is not None:
        assert in_order
