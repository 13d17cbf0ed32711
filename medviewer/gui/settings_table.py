"""Settings by name and value, as text that can be changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTreeWidget,
    QTreeWidgetItem,
    QWidget,
)

from medviewer.gui.text import tr

_ROW_PX = 26
_AROUND_PX = 44  # the heads, and the border with its padding


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
    """One row a setting, as high as all of them: the panel around it scrolls. Enter, F2 or typing changes a value."""

    def __init__(self, settings: Mapping[str, str], changed: Callable[[str, str], None]) -> None:
        super().__init__()
        self.setProperty("kind", "table")
        self.setAccessibleName(tr("Settings"))
        self.setColumnCount(2)
        self.setHeaderLabels([tr("Setting"), tr("Value")])
        self.setRootIsDecorated(False)
        self.setUniformRowHeights(True)
        self.setItemDelegateForColumn(0, _ReadOnly(self))
        self.setEditTriggers(
            QAbstractItemView.EditTrigger.DoubleClicked
            | QAbstractItemView.EditTrigger.EditKeyPressed
            | QAbstractItemView.EditTrigger.AnyKeyPressed
        )
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.header().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        for name, value in settings.items():
            row = QTreeWidgetItem([name, value])
            row.setFlags(row.flags() | Qt.ItemFlag.ItemIsEditable)
            self.addTopLevelItem(row)
        self.setFixedHeight(_AROUND_PX + _ROW_PX * max(len(settings), 1))
        self.itemChanged.connect(lambda row, _column: changed(row.text(0), row.text(1).strip()))
