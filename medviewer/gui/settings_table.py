"""Settings by name and value, as text that can be changed, with what each means."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from PySide6.QtCore import QEvent, QModelIndex, QPersistentModelIndex, QSignalBlocker, Qt, Signal
from PySide6.QtGui import QColor, QIcon, QResizeEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTreeWidget,
    QTreeWidgetItem,
    QWidget,
)

from medviewer.gui import theme
from medviewer.gui.icons import icon
from medviewer.gui.text import plain_tooltip, tr, visible

_ROW_PX = 26
_AROUND_PX = 44  # the heads, and the border with its padding
_NAME, _VALUE, _MEANING = range(3)
_NAME_PX, _VALUE_PX = 124, 108
_LEAST_PX = 440  # with less, what a setting means has no room beside it


class _ReadOnly(QStyledItemDelegate):
    """Names are not for changing."""

    def createEditor(  # noqa: N802 - Qt's name
        self,
        parent: QWidget,  # noqa: ARG002
        option: QStyleOptionViewItem,  # noqa: ARG002
        index: QModelIndex | QPersistentModelIndex,  # noqa: ARG002
    ) -> QWidget:
        """No editor."""
        return None  # type: ignore[return-value]  # Qt takes none for "cannot be edited"


class SettingsTable(QTreeWidget):
    """One row a setting, as high as all of them: the panel around it scrolls. Enter, F2 or typing changes a value.

    ``chosen`` says which setting the reader is at.
    """

    chosen = Signal(str)

    def __init__(
        self, settings: Mapping[str, str], changed: Callable[[str, str], None], meanings: Mapping[str, str]
    ) -> None:
        super().__init__()
        self._meanings, self._refused = meanings, dict[str, str]()
        self._rows: dict[str, QTreeWidgetItem] = {}
        self.setProperty("kind", "table")
        self.setAccessibleName(tr("Settings"))
        self.setColumnCount(3)
        self.setHeaderLabels([tr("Setting"), tr("Value"), tr("What it is")])
        self.setRootIsDecorated(False)
        self.setUniformRowHeights(True)
        for column in (_NAME, _MEANING):
            self.setItemDelegateForColumn(column, _ReadOnly(self))
        self.setEditTriggers(
            QAbstractItemView.EditTrigger.DoubleClicked
            | QAbstractItemView.EditTrigger.EditKeyPressed
            | QAbstractItemView.EditTrigger.AnyKeyPressed
        )
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        for name, value in settings.items():
            row = QTreeWidgetItem([name, value, ""])
            row.setFlags(row.flags() | Qt.ItemFlag.ItemIsEditable)
            self.addTopLevelItem(row)
            self._rows[name] = row
        self.setFixedHeight(_AROUND_PX + _ROW_PX * max(len(settings), 1))
        self.show_refused({})
        self._share_room()
        self.itemChanged.connect(lambda row, _column: changed(row.text(_NAME), row.text(_VALUE).strip()))
        self.currentItemChanged.connect(lambda row, _before: self.chosen.emit(row.text(_NAME) if row else ""))

    def show_refused(self, refused: Mapping[str, str]) -> None:
        """Have the values that cannot be used stand out, with the reason in the place of what they mean."""
        t = theme.tokens()
        self._refused = dict(refused)
        with QSignalBlocker(self):  # nothing was changed
            for name, row in self._rows.items():
                reason = refused.get(name, "")
                said = visible(reason or self._meanings.get(name, ""))
                row.setIcon(_VALUE, icon("octagon-alert", t.alarm) if reason else QIcon())
                row.setForeground(_VALUE, QColor(t.alarm if reason else t.text))
                row.setForeground(_MEANING, QColor(t.alarm if reason else t.secondary))
                row.setText(_MEANING, said)
                for column in (_NAME, _MEANING):
                    row.setToolTip(column, plain_tooltip(said))
                row.setToolTip(_VALUE, plain_tooltip(row.text(_VALUE)))
        self.viewport().update()

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802 - Qt's name
        """The colours of another theme."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.StyleChange:
            self.show_refused(self._refused)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 - Qt's name
        """What a setting means is left to the line below where it has no room."""
        super().resizeEvent(event)
        self._share_room()

    def _share_room(self) -> None:
        has_room = self.width() >= _LEAST_PX and any(self._meanings.values())
        self.setColumnHidden(_MEANING, not has_room)
        head = self.header()
        head.setStretchLastSection(False)
        for column in (_NAME, _VALUE):
            fixed, stretched = QHeaderView.ResizeMode.Fixed, QHeaderView.ResizeMode.Stretch
            head.setSectionResizeMode(column, fixed if has_room else stretched)
        head.setSectionResizeMode(_MEANING, QHeaderView.ResizeMode.Stretch)
        if has_room:
            self.setColumnWidth(_NAME, _NAME_PX)
            self.setColumnWidth(_VALUE, _VALUE_PX)
