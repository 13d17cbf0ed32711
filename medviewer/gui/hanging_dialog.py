"""The reader's hanging protocols: a list in the order of priority, and the fields of the chosen one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import QHBoxLayout, QListWidget, QVBoxLayout, QWidget

from medviewer.app.commands import named
from medviewer.app.hanging_protocol import BUILT_IN, MOST_PROTOCOLS, HangingProtocol, Protocols, as_data, checked
from medviewer.domain.errors import InputError
from medviewer.gui.buttons import ButtonRow
from medviewer.gui.cards import ScrollColumn, button
from medviewer.gui.dialogs import Dialog, size_on_screen
from medviewer.gui.hanging_fields import HangingFields
from medviewer.gui.text import PlainLabel, tr, tr_pick, visible

_LIST_PX = 300


class HangingDialog(Dialog):
    """Edits protocols; they are used and kept only when they are saved.

    ``present`` makes a protocol of the layout on screen, ``use`` takes all protocols in their order.
    """

    def __init__(
        self,
        protocols: Protocols,
        present: Callable[[str], HangingProtocol],
        use: Callable[[Protocols], None],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._protocols = list(protocols)
        self._present, self._use = present, use
        self.setWindowTitle(tr("Hanging protocols"))
        self.resize(size_on_screen(QSize(900, 760), self.screen().availableSize()))
        self.list = QListWidget()
        self.fields = HangingFields()
        self.problem = PlainLabel("", "alarm", wrap=True)
        self.new, self.copy = button(tr("New from the layout on screen")), button(tr("Duplicate"))
        self.delete, self.reset = button(tr("Delete")), button(tr("Reset to the program's own"))
        self.up, self.down = button(tr("Up")), button(tr("Down"))
        self.cancel, self.save = button(tr("Cancel")), button(tr("Save"), kind="primary")
        self._lay_out()
        self._connect()
        self._fill(0)

    @property
    def protocols(self) -> Protocols:
        """The protocols as they are in the dialog now."""
        return tuple(self._protocols)

    def _lay_out(self) -> None:
        whole = QVBoxLayout(self)
        whole.setContentsMargins(20, 16, 20, 16)
        whole.setSpacing(12)
        whole.addWidget(PlainLabel(tr("Hanging protocols"), "hero"))
        said = tr("The first one that fits is used when a study is opened, unless it is kept for use by hand.")
        whole.addWidget(PlainLabel(said, "secondary", wrap=True))
        halves = QHBoxLayout()
        halves.setSpacing(16)
        left = QVBoxLayout()
        left.setSpacing(8)
        self.list.setAccessibleName(tr("Hanging protocols"))
        self.list.setFixedWidth(_LIST_PX)
        left.addWidget(self.list, 1)
        for group in ((self.up, self.down, self.copy, self.delete), (self.new,), (self.reset,)):
            row = ButtonRow(group)
            row.setFixedWidth(_LIST_PX)
            left.addWidget(row)
        halves.addLayout(left)
        scroll = ScrollColumn(margin=0)
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the fields are reached with Tab, and it follows them
        scroll.column.addWidget(self.fields)
        halves.addWidget(scroll, 1)
        whole.addLayout(halves, 1)
        self.problem.hide()
        whole.addWidget(self.problem)
        foot = QHBoxLayout()
        foot.addStretch(1)
        foot.addWidget(self.cancel)
        foot.addWidget(self.save)
        whole.addLayout(foot)
        self.give_enter(self.save)

    def _connect(self) -> None:
        self.list.currentRowChanged.connect(self._show_chosen)
        self.fields.changed.connect(self._take)
        self.new.clicked.connect(lambda: self._insert(self._present(self._free_name(tr("My protocol")))))
        self.copy.clicked.connect(self._duplicate)
        self.delete.clicked.connect(self._delete)
        self.reset.clicked.connect(self._start_over)
        self.up.clicked.connect(lambda: self._move(-1))
        self.down.clicked.connect(lambda: self._move(1))
        self.cancel.clicked.connect(self.reject)
        self.save.clicked.connect(self._save)

    def _fill(self, chosen: int) -> None:
        self.list.blockSignals(True)
        self.list.clear()
        for one in self._protocols:
            self.list.addItem(_line(one))
        self.list.setCurrentRow(min(chosen, len(self._protocols) - 1))
        self.list.blockSignals(False)
        self._show_chosen(self.list.currentRow())

    def _show_chosen(self, row: int) -> None:
        is_one = 0 <= row < len(self._protocols)
        self.fields.setEnabled(is_one)
        has_room = len(self._protocols) < MOST_PROTOCOLS
        self.new.setEnabled(has_room)
        self.copy.setEnabled(is_one and has_room)
        self.delete.setEnabled(is_one)
        self.up.setEnabled(is_one and row > 0)
        self.down.setEnabled(is_one and row < len(self._protocols) - 1)
        if is_one:
            self.fields.show_protocol(self._protocols[row])

    def _take(self, protocol: HangingProtocol) -> None:
        row = self.list.currentRow()
        self._protocols[row] = protocol
        self.list.item(row).setText(_line(protocol))

    def _insert(self, protocol: HangingProtocol) -> None:
        row = max(self.list.currentRow(), 0)
        self._protocols.insert(row, protocol)
        self._fill(row)

    def _duplicate(self) -> None:
        one = self._protocols[self.list.currentRow()]
        self._insert(replace(one, name=self._free_name(_title(one))))

    def _delete(self) -> None:
        row = self.list.currentRow()
        del self._protocols[row]
        self._fill(row)

    def _start_over(self) -> None:
        self._protocols = list(BUILT_IN)
        self._fill(0)

    def _move(self, step: int) -> None:
        row = self.list.currentRow()
        self._protocols.insert(row + step, self._protocols.pop(row))
        self._fill(row + step)

    def _free_name(self, wanted: str) -> str:
        """The name, with a number behind it that no other has."""
        taken = {one.name for one in self._protocols}
        base = wanted[:70]
        return next(name for n in range(2, MOST_PROTOCOLS + 3) if (name := f"{base} {n}") not in taken)

    def _save(self) -> None:
        try:
            checked(as_data(self.protocols))
        except InputError as error:
            self.problem.setText(tr(str(error)))
            self.problem.show()
            return
        self._use(self.protocols)
        self.accept()


def _title(protocol: HangingProtocol) -> str:
    return visible(tr_pick(named(protocol.name)))


def _line(protocol: HangingProtocol) -> str:
    title = _title(protocol)
    return title if protocol.when_opening else f"{title}  ({tr('by hand only')})"
