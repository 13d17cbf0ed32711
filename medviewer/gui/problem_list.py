"""Files that could not be shown, a line each with its reason: as many as a folder may hold."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QAbstractListModel, QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtWidgets import QAbstractItemView, QListView

from medviewer.domain.study import Problem
from medviewer.gui.text import plain_tooltip, tr, visible

_HEIGHT_PX = 200
_BATCH = 100  # lines that are measured at once; the others when the reader comes near them
_TOP = QModelIndex()

Index = QModelIndex | QPersistentModelIndex


class ProblemRows(QAbstractListModel):
    """The lines; their words are made when they come into sight."""

    def __init__(self) -> None:
        super().__init__()
        self._problems: Sequence[Problem] = ()
        self._is_hidden = False

    def replace(self, problems: Sequence[Problem], *, identity_hidden: bool) -> None:
        """Show other problems; without identity only that there are some: files are often named after the patient."""
        self.beginResetModel()
        self._problems, self._is_hidden = problems, identity_hidden and bool(problems)
        self.endResetModel()

    def rowCount(self, parent: Index = _TOP) -> int:  # noqa: N802 - Qt's name
        """How many lines."""
        return 0 if parent.isValid() else 1 if self._is_hidden else len(self._problems)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> str | None:
        """The name of the file and the reason; its place as tooltip."""
        if not index.isValid() or role not in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole):
            return None
        if self._is_hidden:
            return tr("Hidden with the identity")
        problem = self._problems[index.row()]
        if role == Qt.ItemDataRole.ToolTipRole:
            return plain_tooltip(str(problem.path))
        return f"{visible(problem.path.name)}\n{visible(tr(problem.reason))}"


class ProblemList(QListView):
    """The view of the lines."""

    def __init__(self, rows: ProblemRows) -> None:
        super().__init__()
        self.setModel(rows)
        self.setLayoutMode(QListView.LayoutMode.Batched)
        self.setBatchSize(_BATCH)
        self.setWordWrap(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideNone)
        self.setFixedHeight(_HEIGHT_PX)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
