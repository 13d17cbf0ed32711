from __future__ import annotations

import pytest
from PySide6.QtCore import QCoreApplication, Qt
from PySide6.QtWidgets import QApplication

from medviewer.app.commands import COMMANDS
from medviewer.gui.about_dialog import AboutDialog
from medviewer.gui.cards import ScrollColumn
from medviewer.gui.findings_panel import FindingsPanel
from medviewer.gui.record_panel import RecordPanel
from medviewer.gui.shortcuts_dialog import ShortcutsDialog
from medviewer.gui.text import PlainLabel
from tests.gui import panel_states as made
from tests.gui.reader import pixels


@pytest.fixture
def column(qtbot) -> ScrollColumn:
    one = ScrollColumn()
    qtbot.addWidget(one)
    for number in range(60):
        one.column.addWidget(PlainLabel(f"Condition {number}"))
    one.resize(300, 200)
    one.show()
    QCoreApplication.processEvents()
    return one


@pytest.mark.parametrize(
    ("key", "start", "moves"),
    [
        (Qt.Key.Key_Down, 0, 1),
        (Qt.Key.Key_Up, 200, -1),
        (Qt.Key.Key_PageDown, 0, 1),
        (Qt.Key.Key_PageUp, 400, -1),
    ],
)
def test_the_keyboard_scrolls(column, qtbot, key: Qt.Key, start: int, moves: int) -> None:
    bar = column.verticalScrollBar()
    bar.setValue(start)
    qtbot.keyClick(column, key)
    assert (bar.value() - start) * moves > 0


def test_home_and_end_go_to_both_ends(column, qtbot) -> None:
    bar = column.verticalScrollBar()
    qtbot.keyClick(column, Qt.Key.Key_End)
    assert bar.value() == bar.maximum() > 0
    qtbot.keyClick(column, Qt.Key.Key_Home)
    assert bar.value() == 0


def test_the_tab_key_reaches_it_and_a_rim_says_so(column, qtbot) -> None:
    assert column.focusPolicy() == Qt.FocusPolicy.TabFocus  # a click on a panel takes no keys from the image
    column.activateWindow()
    column.clearFocus()
    before = pixels(column)
    column.setFocus(Qt.FocusReason.TabFocusReason)
    qtbot.waitUntil(column.hasFocus)
    after = pixels(column)
    assert (before[0] != after[0]).any()
    assert (before[60:140, 20:280] == after[60:140, 20:280]).all()  # nothing moves


def test_the_list_of_shortcuts_can_be_read_with_the_keyboard(qtbot) -> None:
    dialog = ShortcutsDialog(COMMANDS.values())
    qtbot.addWidget(dialog)
    dialog.resize(640, 300)
    dialog.show()
    dialog.activateWindow()
    qtbot.waitUntil(lambda: QApplication.focusWidget() is not None)
    for _ in range(12):
        focused = QApplication.focusWidget()
        if focused is not dialog.list:
            qtbot.keyClick(focused, Qt.Key.Key_Tab)
    assert QApplication.focusWidget() is dialog.list
    qtbot.keyClick(dialog.list, Qt.Key.Key_End)
    assert dialog.list.verticalScrollBar().value() > 0


@pytest.mark.parametrize("kind", [FindingsPanel, RecordPanel, AboutDialog])
def test_a_column_that_the_tab_key_reaches_has_a_name_to_be_read_aloud(qtbot, kind: type) -> None:
    arguments = {FindingsPanel: (made.MODELS, made.METHODS)}
    holder = kind(*arguments.get(kind, ()))
    qtbot.addWidget(holder)
    assert all(column.accessibleName() for column in holder.findChildren(ScrollColumn))
