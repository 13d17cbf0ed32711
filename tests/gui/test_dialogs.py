from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QPlainTextEdit, QPushButton

import medviewer
from medviewer.app.commands import COMMANDS
from medviewer.app.session import State
from medviewer.gui.about_dialog import AboutDialog, versions
from medviewer.gui.command_palette import native_keys
from medviewer.gui.empty_view import EmptyView
from medviewer.gui.shortcuts_dialog import ShortcutsDialog
from medviewer.gui.text import use_language
from tests.gui.seen import Asked, all_words, press, show, words


def test_every_shortcut_of_the_table_is_listed(qtbot) -> None:
    dialog = ShortcutsDialog(COMMANDS.values())
    qtbot.addWidget(dialog)
    listed = words(dialog)
    for command in COMMANDS.values():
        if command.menu and command.shortcut:
            assert command.title["en"] in listed
            assert any(native_keys(command.shortcut) in text.split("  ") for text in listed)
    assert "drag left" in listed


def test_the_shortcuts_are_listed_in_chinese_too(qtbot) -> None:
    use_language("zh")
    dialog = ShortcutsDialog(COMMANDS.values())
    qtbot.addWidget(dialog)
    assert COMMANDS["file.open_folder"].title["zh"] in words(dialog)


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
