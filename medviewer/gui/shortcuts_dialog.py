"""The list of shortcuts, made from the command table, so that it can never be wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import QDialog, QGridLayout, QHBoxLayout, QVBoxLayout, QWidget

from medviewer.app.commands import MENUS, Command
from medviewer.gui.cards import ScrollColumn, section
from medviewer.gui.command_palette import native_keys
from medviewer.gui.dialogs import add_close, size_on_screen
from medviewer.gui.text import PlainLabel, tr, tr_pick


def shortcut_rows(commands: Iterable[Command], menu: str) -> Iterator[tuple[str, str]]:
    """The (title, keys) of every command of a menu that has a shortcut."""
    for command in commands:
        if command.menu != menu:
            continue
        title = tr_pick(command.title)
        keys = tuple(k for k in (command.shortcut, *command.more_shortcuts) if k)
        if keys:
            yield title, "  ".join(native_keys(k) for k in keys)
        for choice in command.choices:
            if choice.shortcut:
                yield f"{title}: {tr_pick(choice.title)}", native_keys(choice.shortcut)


class ShortcutsDialog(QDialog):
    """Two columns of commands with their keys, and what the mouse does."""

    def __init__(self, commands: Iterable[Command], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        every = tuple(commands)
        self.setWindowTitle(tr("Shortcuts"))
        self.resize(size_on_screen(QSize(720, 560), self.screen().availableSize()))
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 12)
        scroll = ScrollColumn(margin=20)
        scroll.setAccessibleName(tr("Shortcuts"))
        whole.addWidget(scroll, 1)
        scroll.column.addWidget(PlainLabel(tr("Shortcuts"), "hero"))
        columns = QHBoxLayout()
        columns.setSpacing(32)
        scroll.column.addLayout(columns)
        sections = [(tr_pick(title), list(shortcut_rows(every, menu))) for menu, title in MENUS.items()]
        sections.append((tr("Mouse"), mouse_rows()))
        for half in _halves([s for s in sections if s[1]]):
            column = QVBoxLayout()
            column.setSpacing(16)
            for title, rows in half:
                column.addWidget(_table(title, rows))
            column.addStretch(1)
            columns.addLayout(column, 1)
        add_close(self, whole)


def mouse_rows() -> list[tuple[str, str]]:
    """What the mouse does on an image."""
    return [
        (tr("The tool in use (window at first)"), tr("drag left")),
        (tr("Move the image"), tr("drag middle")),
        (tr("Zoom"), tr("drag right, Ctrl + wheel")),
        (tr("Next or previous image"), tr("wheel")),
    ]


Section = tuple[str, list[tuple[str, str]]]


def _halves(sections: list[Section]) -> tuple[list[Section], list[Section]]:
    """The sections in two columns of about the same height, in their order."""
    total = sum(len(rows) + 2 for _, rows in sections)
    left: list[Section] = []
    while sections and sum(len(rows) + 2 for _, rows in left) < total / 2:
        left.append(sections.pop(0))
    return left, sections


def _table(title: str, rows: list[tuple[str, str]]) -> QWidget:
    box = QWidget()
    box.setProperty("kind", "clear")
    grid = QGridLayout(box)
    grid.setContentsMargins(0, 0, 0, 0)
    grid.setHorizontalSpacing(12)
    grid.setVerticalSpacing(6)
    grid.setColumnStretch(0, 1)
    grid.addWidget(section(title), 0, 0, 1, 2)
    for number, (what, keys) in enumerate(rows, start=1):
        grid.addWidget(PlainLabel(what, wrap=True), number, 0)
        grid.addWidget(PlainLabel(keys, "keys"), number, 1, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    return box
