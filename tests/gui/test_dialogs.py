from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QKeySequence
from PySide6.QtWidgets import QLineEdit, QPlainTextEdit, QPushButton

import medviewer
from medviewer.app.commands import COMMANDS
from medviewer.app.shortcuts import Changes
from medviewer.app.state import Restorable, RestorablePane, State
from medviewer.gui.about_dialog import AboutDialog, versions
from medviewer.gui.actions import native_keys
from medviewer.gui.empty_view import EmptyView
from medviewer.gui.shortcuts_dialog import ShortcutsDialog
from medviewer.gui.text import tr, use_language
from tests.gui.seen import Asked, all_words, is_offered, press, show, words


def lines(dialog: ShortcutsDialog) -> list[tuple[str, str]]:
    """The (title, keys) that are shown."""
    groups = [dialog.list.topLevelItem(i) for i in range(dialog.list.topLevelItemCount())]
    items = [group.child(i) for group in groups for i in range(group.childCount())]
    return [(item.text(0), item.text(1)) for item in items if not item.isHidden()]


def test_every_shortcut_of_the_table_is_listed(qtbot) -> None:
    dialog = ShortcutsDialog(COMMANDS.values())
    qtbot.addWidget(dialog)
    listed = lines(dialog)
    for command in COMMANDS.values():
        if command.menu and command.shortcut:
            keys = (command.shortcut, *command.more_shortcuts)
            assert (command.title["en"], "  ".join(map(native_keys, keys))) in listed
    assert ("Window preset: 3 (CT: subdural)", "3") in listed
    assert "drag left" in dict(listed).values()


def test_a_sequence_that_somebody_has_is_moved_only_when_asked(qtbot) -> None:
    used: list[Changes] = []
    dialog = ShortcutsDialog(COMMANDS.values(), use=used.append)
    qtbot.addWidget(dialog)
    dialog.choose("view.fit")
    dialog.keys.setKeySequence(QKeySequence("Ctrl+E"))
    assert "Ctrl+E is Compare with prior; move it here?" in words(dialog)
    assert not used
    press(dialog, "Move here")
    assert dict(used[-1]) == {"view.fit": ("Ctrl+E",), "layout.prior": ()}
    listed = dict(lines(dialog))
    assert (listed["Fit to window"], listed["Compare with prior"]) == ("Ctrl+E", "")


def test_keys_are_added_taken_away_and_reset(qtbot) -> None:
    dialog = ShortcutsDialog(COMMANDS.values())
    qtbot.addWidget(dialog)
    assert not is_offered(dialog, "Reset all")
    dialog.choose("view.fit")
    dialog.keys.setKeySequence(QKeySequence("Ctrl+Alt+F"))
    assert "Ctrl+Alt+F is free." in words(dialog)
    press(dialog, "Add")
    assert dict(dialog.changes) == {"view.fit": ("F", "Ctrl+Alt+F")}
    press(dialog, "No keys")
    assert dict(dialog.changes) == {"view.fit": ()}
    press(dialog, "Reset")
    assert not dialog.changes
    dialog.choose("view.preset#3")
    dialog.keys.setKeySequence(QKeySequence("F"))
    press(dialog, "Move here")
    press(dialog, "Reset all")
    assert not dialog.changes
    assert dict(lines(dialog))["Fit to window"] == "F"


def test_before_any_key_is_pressed_it_says_whose_keys_and_what_to_do(qtbot) -> None:
    use_language("zh")
    dialog = ShortcutsDialog(COMMANDS.values())
    qtbot.addWidget(dialog)
    dialog.choose("view.fit")
    assert dialog.said.text() == tr("Keys for: {command}").format(command="适合窗口")
    field = dialog.keys.findChild(QLineEdit)
    assert field.placeholderText() == tr("Press the new keys") != "Press the new keys"


def test_keys_are_pressed_into_the_field_and_found_by_searching(qtbot) -> None:
    dialog = ShortcutsDialog(COMMANDS.values())
    qtbot.addWidget(dialog)
    dialog.show()
    dialog.choose("view.fit")
    dialog.keys.setFocus()
    qtbot.keyClick(dialog.keys, Qt.Key.Key_J, Qt.KeyboardModifier.ControlModifier)
    assert "Ctrl+J is free." in words(dialog)
    dialog.search.setText("ctrl+e")
    assert [title for title, _ in lines(dialog)] == ["Compare with prior"]


def test_enter_in_the_search_closes_nothing_and_changes_no_keys(qtbot) -> None:
    used: list[Changes] = []
    dialog = ShortcutsDialog(COMMANDS.values(), use=used.append)
    qtbot.addWidget(dialog)
    dialog.show()
    dialog.search.setFocus()
    qtbot.keyClicks(dialog.search, "zoom")
    qtbot.keyClick(dialog.search, Qt.Key.Key_Return)
    qtbot.keyClick(dialog.search, Qt.Key.Key_Enter, Qt.KeyboardModifier.KeypadModifier)
    assert dialog.isVisible()
    assert not used
    close = next(one for one in dialog.findChildren(QPushButton) if one.text() == "Close")
    close.setFocus()
    qtbot.keyClick(close, Qt.Key.Key_Return)
    assert not dialog.isVisible()


def test_the_shortcuts_are_listed_in_chinese_too(qtbot) -> None:
    use_language("zh")
    dialog = ShortcutsDialog(COMMANDS.values())
    qtbot.addWidget(dialog)
    assert COMMANDS["file.open_folder"].title["zh"] in dict(lines(dialog))


def test_about_says_first_what_it_is_not_for(qtbot) -> None:
    dialog = AboutDialog()
    qtbot.addWidget(dialog)
    text = all_words(dialog)
    assert "Research use only, not for diagnosis" in text
    assert "not a medical device" in text
    assert f"Version {medviewer.__version__}" in text
    licences = dialog.findChild(QPlainTextEdit).toPlainText()
    assert "SIL OPEN FONT LICENSE" in licences
    assert "ISC License" in licences


def test_about_names_what_a_bug_report_needs() -> None:
    import numpy

    found = dict(versions())
    assert found["numpy"] == numpy.__version__
    assert {"Python", "PySide6-Essentials", "pydicom", "onnxruntime"} <= set(found)


@pytest.fixture
def empty(qtbot) -> EmptyView:
    view = EmptyView()
    qtbot.addWidget(view)
    return view


@pytest.mark.parametrize(
    ("title", "command"),
    [("Open folder", "file.open_folder"), ("Open files", "file.open_files"), ("Open sample", "file.open_sample")],
)
def test_the_empty_view_offers_where_to_begin(empty, title: str, command: str) -> None:
    asked = Asked(empty)
    press(empty, title)
    assert asked.calls == [(command, None)]


def test_recent_studies_can_be_opened_again(empty) -> None:
    asked = Asked(empty)
    show(empty, State(recent=("/data/R&D <b>study</b>", "/data/other")))
    shown = next(b for b in empty.findChildren(QPushButton) if "R&&D <b>study" in b.text())
    shown.click()
    assert asked.calls == [("file.open_recent", "/data/R&D <b>study</b>")]
    assert "&lt;b&gt;" in shown.toolTip()


def test_hidden_identity_hides_recent_paths(empty) -> None:
    show(empty, State(recent=("/data/Kowalska",)), State(recent=("/data/Kowalska",), identity_hidden=True))
    assert "Kowalska" not in all_words(empty)
    assert "Hidden with the identity" in all_words(empty)


def drop_on(view: EmptyView, data: QMimeData) -> tuple[bool, bool]:
    any_button, no_key = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    enter = QDragEnterEvent(view.rect().center(), Qt.DropAction.CopyAction, data, any_button, no_key)
    enter.ignore()
    view.dragEnterEvent(enter)
    drop = QDropEvent(QPointF(view.rect().center()), Qt.DropAction.CopyAction, data, any_button, no_key)
    drop.ignore()
    view.dropEvent(drop)
    return enter.isAccepted(), drop.isAccepted()


def test_files_can_be_dropped(empty, tmp_path: Path) -> None:
    asked = Asked(empty)
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(tmp_path / "肺 one.dcm")), QUrl.fromLocalFile(str(tmp_path))])
    assert drop_on(empty, data) == (True, True)
    assert asked.calls == [("file.open_files", [tmp_path / "肺 one.dcm", tmp_path])]


def test_what_is_no_file_of_this_computer_cannot_be_dropped(empty) -> None:
    asked = Asked(empty)
    data = QMimeData()
    data.setUrls([QUrl("https://example.org/study.zip")])
    assert drop_on(empty, data) == (False, False)
    assert asked.calls == []


def test_the_empty_view_says_research_use_in_both_languages(empty) -> None:
    show(empty, State(), State(language="zh"))
    assert "仅供研究，不用于诊断" in all_words(empty)


def test_the_empty_view_offers_what_was_open_after_a_crash(empty) -> None:
    asked = Asked(empty)
    left = State(restorable=Restorable(("/data/Kowalska",), (RestorablePane(0, "/data/Kowalska/1", "1.2.3", 0),)))
    show(empty, State(), left)
    assert "MedViewer ended without being closed." in all_words(empty)
    assert "Kowalska" in all_words(empty)
    press(empty, "Open what was open")
    press(empty, "No, thanks")
    assert asked.calls == [("file.restore", None), ("file.forget_restore", None)]
    show(empty, left, replace(left, identity_hidden=True))
    assert "Kowalska" not in all_words(empty)
    show(empty, left, State())
    assert "Ended unexpectedly" not in all_words(empty)
