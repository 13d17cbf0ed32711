"""The command palette: type a few letters of what you want, press Enter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from PySide6.QtCore import QEvent, QObject, QRect, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QPainter, QPen
from PySide6.QtWidgets import (
    QDialog,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QVBoxLayout,
    QWidget,
)

from medviewer.app.commands import MENUS, Command, choices_now
from medviewer.app.shortcuts import with_changes
from medviewer.app.state import State
from medviewer.domain.frozen import dataclass
from medviewer.gui import theme
from medviewer.gui.actions import native_keys
from medviewer.gui.study_rows import Index
from medviewer.gui.text import tr, tr_pick, use_language, visible

_WIDTH_PX, _HEIGHT_PX, _ROW_PX = 560, 420, 32


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the palette: a command, perhaps with one of its arguments."""

    command_id: str
    argument: Any
    title: str
    menu: str
    shortcut: str
    is_enabled: bool


def entries_of(commands: Iterable[Command], state: State) -> tuple[Entry, ...]:
    """Every command that means something without asking further, and each choice of those that have some."""
    return tuple(_entries(commands, state))


def _entries(commands: Iterable[Command], state: State) -> Iterator[Entry]:
    for command in commands:
        menu = tr_pick(MENUS[command.menu]) if command.menu in MENUS else ""
        title, is_enabled = tr_pick(command.title), command.enabled(state)
        if not command.needs_argument:
            yield Entry(command.id, None, title, menu, native_keys(command.shortcut), is_enabled)
        for choice in choices_now(command, state):
            words = f"{title}: {visible(tr_pick(choice.title))}"
            yield Entry(command.id, choice.argument, words, menu, native_keys(choice.shortcut), is_enabled)


def fuzzy_score(wanted: str, title: str) -> float | None:
    """How well typed letters fit a title, larger is better; None if they do not occur in that order.

    Letters that follow each other or begin a word count more; a short title wins among equals.

    >>> fuzzy_score("zi", "Zoom in") > fuzzy_score("zi", "Horizontal flip")
    True
    """
    letters, text = wanted.casefold().replace(" ", ""), title.casefold()
    score, place = 0.0, -1
    for letter in letters:
        found = text.find(letter, place + 1)
        if found < 0:
            return None
        at_word = found == 0 or not text[found - 1].isalnum()
        # A later letter that begins a word is meant more often than the next one inside a word.
        begin = _next_word_start(text, letter, place + 1)
        if begin is not None and found != place + 1 and not at_word:
            found, at_word = begin, True
        score += 3.0 if found == place + 1 else 2.0 if at_word else 0.5
        place = found
    return score - 0.01 * len(text)


def _next_word_start(text: str, letter: str, start: int) -> int | None:
    starts = (i for i in range(start, len(text)) if text[i] == letter and (i == 0 or not text[i - 1].isalnum()))
    return next(starts, None)


class CommandPalette(QDialog):
    """A list of all commands that is filtered while typing; keyboard only, the mouse works too."""

    requested = Signal(str, object)

    def __init__(self, commands: Iterable[Command], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._commands = tuple(commands)
        self._entries: tuple[Entry, ...] = ()
        self.setWindowFlags(Qt.WindowType.Dialog | Qt.WindowType.FramelessWindowHint)
        self.setProperty("kind", "overlay")
        self.resize(_WIDTH_PX, _HEIGHT_PX)
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 12, 12, 12)
        column.setSpacing(8)
        self.line = QLineEdit()
        self.line.setClearButtonEnabled(False)
        self.line.textChanged.connect(self._filter)
        self.line.installEventFilter(self)
        self.list = QListWidget()
        self.list.setItemDelegate(_EntryPainter(self.list))
        self.list.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.itemActivated.connect(self._run)
        self.list.itemClicked.connect(self._run)
        column.addWidget(self.line)
        column.addWidget(self.list, 1)

    def show_for(self, state: State) -> None:
        """Open in the upper middle of the window, with what can be done now."""
        use_language(state.language)
        self.line.setPlaceholderText(tr("Search commands"))
        self.line.setAccessibleName(tr("Search commands"))
        self.setWindowTitle(tr("Commands"))
        table = with_changes({row.id: row for row in self._commands}, state.shortcuts)
        self._entries = entries_of(table.values(), state)
        self.line.clear()
        self._filter("")
        window = self.parentWidget()
        if window is not None:
            place = window.mapToGlobal(window.rect().topLeft())
            self.move(place.x() + (window.width() - self.width()) // 2, place.y() + max(48, window.height() // 8))
        self.show()
        self.line.setFocus()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Up, down, page keys and Enter act on the list while the text field has the focus."""
        if event.type() == QEvent.Type.KeyPress and isinstance(event, QKeyEvent):
            steps = {Qt.Key.Key_Down: 1, Qt.Key.Key_Up: -1, Qt.Key.Key_PageDown: 8, Qt.Key.Key_PageUp: -8}
            key = Qt.Key(event.key())
            if key in steps:
                self._step(steps[key])
                return True
            if key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
                item = self.list.currentItem()
                if item is not None:
                    self._run(item)
                return True
        return super().eventFilter(watched, event)

    def event(self, event: QEvent) -> bool:
        """Go away when the reader turns to something else."""
        if event.type() == QEvent.Type.WindowDeactivate:
            self.reject()
        return super().event(event)

    def _filter(self, typed: str) -> None:
        scored = [(fuzzy_score(typed, entry.title), entry) for entry in self._entries]
        fitting = [(score, entry) for score, entry in scored if score is not None]
        if typed.strip():
            fitting.sort(key=lambda pair: (not pair[1].is_enabled, -pair[0]))
        self.list.clear()
        for _, entry in fitting:
            item = QListWidgetItem(entry.title)
            item.setData(Qt.ItemDataRole.UserRole, entry)
            if not entry.is_enabled:
                item.setFlags(Qt.ItemFlag.NoItemFlags)
            self.list.addItem(item)
        if not fitting:
            nothing = QListWidgetItem(tr("No command fits; try fewer letters."))
            nothing.setFlags(Qt.ItemFlag.NoItemFlags)
            self.list.addItem(nothing)
        self.list.setCurrentRow(-1)
        self._step(1)

    def _step(self, step: int) -> None:
        """Move to the next line that can be run, in the direction of ``step``."""
        usable = [i for i in range(self.list.count()) if self.list.item(i).flags() & Qt.ItemFlag.ItemIsEnabled]
        if not usable:
            return
        row = self.list.currentRow()
        at = usable.index(row) if row in usable else -1
        self.list.setCurrentRow(usable[min(max(at + step, 0), len(usable) - 1)])

    def _run(self, item: QListWidgetItem) -> None:
        entry = item.data(Qt.ItemDataRole.UserRole)
        if isinstance(entry, Entry) and entry.is_enabled:
            self.accept()
            self.requested.emit(entry.command_id, entry.argument)


class _EntryPainter(QStyledItemDelegate):
    """Title left, menu behind it, shortcut right."""

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:  # noqa: N802, ARG002 - Qt's name
        """One line."""
        return QSize(200, _ROW_PX)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        """Draw one line."""
        t = theme.tokens()
        entry = index.data(Qt.ItemDataRole.UserRole)
        is_entry = isinstance(entry, Entry)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        box = option.rect.adjusted(0, 1, 0, -1)
        if option.state & QStyle.StateFlag.State_Selected:
            painter.setBrush(theme.color(t.hover))
            painter.setPen(QPen(theme.color(t.accent), 1))
            painter.drawRoundedRect(box.adjusted(1, 0, -1, 0), theme.RADIUS_PX, theme.RADIUS_PX)
        text = box.adjusted(12, 0, -12, 0)
        if is_entry and entry.shortcut:
            text.setRight(_paint_keys(painter, text, entry.shortcut) - 8)
        painter.setFont(theme.text_font())
        painter.setPen(theme.color(t.text if is_entry and entry.is_enabled else t.edge))
        title = index.data(Qt.ItemDataRole.DisplayRole)
        shown = painter.fontMetrics().elidedText(title, Qt.TextElideMode.ElideRight, text.width())
        painter.drawText(text, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, shown)
        if is_entry and entry.menu:
            used = painter.fontMetrics().horizontalAdvance(shown)
            painter.setFont(theme.text_font(theme.SMALL_PX))
            painter.setPen(theme.color(t.secondary if entry.is_enabled else t.edge))
            rest = text.adjusted(used + 12, 0, 0, 0)
            if rest.width() > painter.fontMetrics().horizontalAdvance(entry.menu):
                painter.drawText(rest, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, entry.menu)
        painter.restore()


def _paint_keys(painter: QPainter, area: QRect, keys: str) -> int:
    """Draw a shortcut as a key cap at the right end; returns where it begins."""
    t = theme.tokens()
    painter.setFont(theme.text_font(theme.SMALL_PX))
    width = painter.fontMetrics().horizontalAdvance(keys) + 12
    cap = QRect(area.right() - width, area.center().y() - 9, width, 20)
    painter.setBrush(theme.color(t.ground))
    painter.setPen(QPen(theme.color(t.line), 1))
    painter.drawRoundedRect(cap, 4, 4)
    painter.setPen(theme.color(t.secondary))
    painter.drawText(cap, Qt.AlignmentFlag.AlignCenter, keys)
    return cap.left()
