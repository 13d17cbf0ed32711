"""A long list in a panel: its beginning, and a button that says how many more there are and shows them in parts.

A widget a row costs the window a quarter of a millisecond; a record may have thousands.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from PySide6.QtWidgets import QPushButton, QVBoxLayout, QWidget

from medviewer.gui.cards import button
from medviewer.gui.text import for_button, tr

STEP = 50


class MoreRows(QWidget):
    """Rows below each other; those that are not shown yet are not made yet either."""

    def __init__(self, rows: Iterator[QWidget], total: int, first: int, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("kind", "clear")
        self._rows, self._left = rows, total
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(8)
        self._more = button("", kind="quiet")
        self._more.clicked.connect(lambda: self._show(STEP))
        self._column.addWidget(self._more)
        self._show(first)

    def _show(self, count: int) -> None:
        for row in islice(self._rows, min(count, self._left)):
            self._column.insertWidget(self._column.count() - 1, row)
        self._left = max(self._left - count, 0)
        offer(self._more, self._left, STEP)


def offer(more: QPushButton, left: int, step: int) -> None:
    """Say on a button how many more it shows, and of how many; hide it if there are none."""
    words = tr("Show {n} of {total} more") if left > step else tr("Show {n} more")
    more.setText(for_button(words.format(n=min(left, step), total=left)))
    more.setVisible(left > 0)
