"""The list of shortcuts, made from the command table so that it can never be wrong; any of them can be changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QBrush, QKeySequence
from PySide6.QtWidgets import (
    QHBoxLayout,
    QHeaderView,
    QKeySequenceEdit,
    QLineEdit,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from medviewer.app.commands import MENUS, Command
from medviewer.app.shortcuts import (
    MOST_KEYS,
    NO_CHANGES,
    Changes,
    choice_place,
    give,
    keys_in_use,
    normal_keys,
    owner_of,
    reset,
)
from medviewer.domain.frozen import dataclass
from medviewer.gui import theme
from medviewer.gui.actions import native_keys
from medviewer.gui.cards import button
from medviewer.gui.dialogs import Dialog, add_close, size_on_screen
from medviewer.gui.text import PlainLabel, plain_tooltip, tr, tr_pick, visible

_PLACE = Qt.ItemDataRole.UserRole
_FIELD_PX = 160


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the list: what keys can be given to."""

    place: str
    title: str
    menu: str


def rows_of(commands: Iterable[Command]) -> tuple[Row, ...]:
    """Every command that a menu has, and each choice of those that offer some."""
    found = []
    for command in commands:
        if command.menu not in MENUS:
            continue
        title = tr_pick(command.title)
        if not command.needs_argument:
            found.append(Row(command.id, title, command.menu))
        for number, choice in enumerate(command.choices):
            found.append(Row(choice_place(command.id, number), f"{title}: {tr_pick(choice.title)}", command.menu))
    return tuple(found)


class ShortcutsDialog(Dialog):
    """Commands with their keys by menu, what the mouse does, and a field that gives the chosen command other keys.

    ``commands`` is the table with its own keys, ``changes`` what the reader has made of them.
    ``use`` is called with all changes after each step: they hold at once.
    """

    def __init__(
        self,
        commands: Iterable[Command],
        changes: Changes = NO_CHANGES,
        use: Callable[[Changes], None] = lambda _changes: None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._table = {row.id: row for row in commands}
        self._rows = rows_of(self._table.values())
        self._changes = changes
        self._use = use
        self.setWindowTitle(tr("Shortcuts"))
        self.resize(size_on_screen(QSize(680, 640), self.screen().availableSize()))
        self.search = QLineEdit()
        self.list = QTreeWidget()
        self.keys = QKeySequenceEdit()
        self.said = PlainLabel("", "secondary", wrap=True)
        self.replace = button(tr("Use these keys"))
        self.add = button(tr("Add"))
        self.remove = button(tr("No keys"))
        self.reset = button(tr("Reset"))
        self.reset_all = button(tr("Reset all"))
        self._lay_out()
        self._connect()
        self._fill()

    @property
    def changes(self) -> Changes:
        """What the reader has made of the table's keys."""
        return self._changes

    def choose(self, place: str) -> None:
        """Choose the line of a command or of a choice."""
        self.list.setCurrentItem(self._items[place])

    def _lay_out(self) -> None:
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 16, 0, 12)
        whole.setSpacing(12)
        head = QHBoxLayout()
        head.setContentsMargins(20, 0, 20, 0)
        head.addWidget(PlainLabel(tr("Shortcuts"), "hero"), 1)
        self.search.setPlaceholderText(tr("Search commands and keys"))
        self.search.setAccessibleName(tr("Search commands and keys"))
        self.search.setClearButtonEnabled(True)
        head.addWidget(self.search, 1)
        whole.addLayout(head)
        body = QVBoxLayout()
        body.setContentsMargins(12, 0, 12, 0)
        self.list.setAccessibleName(tr("Shortcuts"))
        self.list.setProperty("kind", "table")
        self.list.setColumnCount(2)
        self.list.setHeaderHidden(True)
        self.list.setIndentation(8)
        self.list.setRootIsDecorated(False)
        self.list.setUniformRowHeights(True)
        self.list.header().setStretchLastSection(False)
        self.list.header().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.list.header().setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)
        body.addWidget(self.list)
        whole.addLayout(body, 1)
        whole.addLayout(self._editor())
        add_close(self, whole, self.reset_all)

    def _editor(self) -> QVBoxLayout:
        column = QVBoxLayout()
        column.setContentsMargins(20, 0, 20, 0)
        column.setSpacing(8)
        column.addWidget(self.said)
        row = QHBoxLayout()
        row.setSpacing(8)
        self.keys.setMaximumSequenceLength(1)
        self.keys.setMinimumWidth(_FIELD_PX)
        self.keys.setAccessibleName(tr("Press the new keys"))
        for inner in self.keys.findChildren(QLineEdit):  # which has the keyboard in its place
            inner.setAccessibleName(tr("Press the new keys"))
        row.addWidget(self.keys, 1)
        for one in (self.replace, self.add, self.remove, self.reset):
            row.addWidget(one)
        column.addLayout(row)
        return column

    def _connect(self) -> None:
        self.search.textChanged.connect(self._filter)
        self.list.currentItemChanged.connect(lambda *_: self._start())
        self.keys.keySequenceChanged.connect(lambda _keys: self._judge())
        self.replace.clicked.connect(lambda: self._give((self._typed,)))
        self.add.clicked.connect(lambda: self._give((*self._present, self._typed)))
        self.remove.clicked.connect(lambda: self._give(()))
        self.reset.clicked.connect(lambda: self._take(reset(self._table, self._changes, self._place)))
        self.reset_all.clicked.connect(lambda: self._take(NO_CHANGES))

    def _fill(self) -> None:
        self._items: dict[str, QTreeWidgetItem] = {}
        self._groups: list[tuple[QTreeWidgetItem, list[QTreeWidgetItem]]] = []
        for menu, title in MENUS.items():
            rows = [row for row in self._rows if row.menu == menu]
            if rows:
                lines = self._add_group(tr_pick(title), [(row.title, "") for row in rows])
                for row, item in zip(rows, lines, strict=True):
                    self._items[row.place] = item
                    item.setData(0, _PLACE, row.place)
        by_hand = (
            *self._add_group(tr("Mouse"), mouse_rows()),
            *self._add_group(tr("Pointer without a mouse"), pointer_rows()),
        )
        for item in by_hand:
            item.setForeground(1, QBrush(theme.color(theme.tokens().secondary)))
            item.setFlags(Qt.ItemFlag.ItemIsEnabled)
        self._show_keys()
        self.list.expandAll()
        self.list.setCurrentItem(next(iter(self._items.values())))

    def _add_group(self, title: str, texts: list[tuple[str, str]]) -> list[QTreeWidgetItem]:
        group = _group(self.list, title)
        lines = [QTreeWidgetItem(group, list(pair)) for pair in texts]
        self._groups.append((group, lines))
        return lines

    def _show_keys(self) -> None:
        t = theme.tokens()
        in_use = keys_in_use(self._table, self._changes)
        for place, item in self._items.items():
            item.setText(1, "  ".join(native_keys(k) for k in in_use[place]))
            is_own = place in self._changes
            item.setForeground(1, QBrush(theme.color(t.accent if is_own else t.secondary)))
            item.setToolTip(1, plain_tooltip(tr("changed by you") if is_own else ""))
        self.reset_all.setEnabled(bool(self._changes))
        self._start()

    @property
    def _place(self) -> str:
        item = self.list.currentItem()
        return str(item.data(0, _PLACE) or "") if item is not None else ""

    @property
    def _present(self) -> tuple[str, ...]:
        return keys_in_use(self._table, self._changes).get(self._place, ())

    @property
    def _typed(self) -> str:
        return normal_keys(self.keys.keySequence().toString(QKeySequence.SequenceFormat.PortableText))

    def _start(self) -> None:
        """Begin with an empty field for the chosen line."""
        self.keys.clear()
        self._judge()

    def _judge(self) -> None:
        """Say what the typed keys mean now, and offer what can be done with them."""
        place, typed = self._place, self._typed
        for line in self.keys.findChildren(QLineEdit):
            line.setPlaceholderText(tr("Press the new keys"))  # each clear() sets Qt's own English words again
        owner = owner_of(self._table, self._changes, typed) if typed else ""
        is_taken = owner not in ("", place)
        self.keys.setEnabled(bool(place))
        self.replace.setEnabled(bool(place and typed))
        self.replace.setText(tr("Move here") if is_taken else tr("Use these keys"))
        self.add.setEnabled(bool(place and typed) and owner != place and len(self._present) < MOST_KEYS)
        self.remove.setEnabled(bool(self._present))
        self.reset.setEnabled(place in self._changes)
        self.said.setText(self._words(place, typed, owner))
        self.said.set_role("caution" if is_taken else "secondary")

    def _words(self, place: str, typed: str, owner: str) -> str:
        if not place:
            return tr("Choose a command to change its keys.")
        keys = visible(native_keys(typed))
        if not self.keys.keySequence().isEmpty() and not typed:  # a sequence without keys is true in Python
            return tr("These keys cannot be used; choose others.")
        if not typed:
            return tr("Keys for: {command}").format(command=self._title(place))
        if owner == place:
            return tr("{keys} is already here.").format(keys=keys)
        if owner:
            return tr("{keys} is {command}; move it here?").format(keys=keys, command=self._title(owner))
        return tr("{keys} is free.").format(keys=keys)

    def _title(self, place: str) -> str:
        return next((row.title for row in self._rows if row.place == place), place)

    def _give(self, keys: tuple[str, ...]) -> None:
        self._take(give(self._table, self._changes, self._place, keys))

    def _take(self, changes: Changes) -> None:
        self._changes = changes
        self._use(changes)
        self._show_keys()

    def _filter(self, typed: str) -> None:
        """Show the lines that have what was typed in their title or keys."""
        wanted = typed.casefold().strip()
        for group, lines in self._groups:
            for line in lines:
                line.setHidden(not any(wanted in line.text(column).casefold() for column in (0, 1)))
            group.setHidden(all(line.isHidden() for line in lines))


def mouse_rows() -> list[tuple[str, str]]:
    """What the mouse does on an image."""
    return [
        (tr("The tool in use (window at first)"), tr("drag left")),
        (tr("Move the image"), tr("drag middle")),
        (tr("Zoom"), tr("drag right, Ctrl + wheel")),
        (tr("Next or previous image"), tr("wheel")),
        (tr("Next or previous time, echo or b-value"), tr("Shift + wheel")),
        (tr("Show this place in every viewport"), tr("Shift + move")),
        (tr("One viewport or all"), tr("double click")),
    ]


def pointer_rows() -> list[tuple[str, str]]:
    """What can be done on an image without a mouse, beside the commands."""
    return [
        (tr("Show the pointer; set a point; take and let go a measurement"), tr("Space")),
        (tr("Move the pointer"), tr("arrows; Shift: far, Ctrl: by one pixel")),
        (tr("Put the pointer away"), tr("Esc")),
    ]


def _group(tree: QTreeWidget, title: str) -> QTreeWidgetItem:
    """A heading that nothing can be done with."""
    group = QTreeWidgetItem(tree, [title])
    font = theme.text_font(theme.SMALL_PX)
    font.setBold(True)
    group.setFont(0, font)
    group.setForeground(0, QBrush(theme.color(theme.tokens().secondary)))
    group.setFlags(Qt.ItemFlag.ItemIsEnabled)
    group.setFirstColumnSpanned(True)
    return group
