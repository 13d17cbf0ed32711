"""The values of a record over time: the chart, made when the library that draws it is there."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime

from PySide6.QtWidgets import QVBoxLayout, QWidget

from medviewer.gui.cards import button, clear, section
from medviewer.gui.more_rows import offer
from medviewer.gui.quantity import Quantity
from medviewer.gui.text import PlainLabel, tr

Then = Callable[[], None]
LoadCharts = Callable[[Then], None]
"""Imports what draws charts, in any thread, then calls back in the window's own."""

_MODULE = "medviewer.gui.timeline_chart"
_SHOWN_QUANTITIES = 12  # each costs the window 3 ms or more


def import_charts() -> None:
    """Bring pyqtgraph: a fifth of a second, which the window must not wait for."""
    import medviewer.gui.timeline_chart  # noqa: F401, PLC0415 - see above


def load_now(then: Then) -> None:
    """Import it here and wait."""
    import_charts()
    then()


class ValuesSection(QWidget):
    """A heading, the chart of the first quantities, and a button for the others."""

    def __init__(self, rows: tuple[Quantity, ...], mark: datetime | None) -> None:
        super().__init__()
        self.setProperty("kind", "clear")
        self._rows, self._mark = rows, mark
        self._count, self._is_drawn = _SHOWN_QUANTITIES, False
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(8)
        self._place = QVBoxLayout()
        self._place.addWidget(PlainLabel(tr("Drawing…"), "secondary"))
        self._more = button("", kind="quiet")
        self._more.clicked.connect(self._show_more)
        whole.addWidget(section(tr("Values over time")))
        whole.addLayout(self._place)
        whole.addWidget(self._more)
        offer(self._more, len(rows) - self._count, _SHOWN_QUANTITIES)

    def draw_if_ready(self) -> None:
        """Draw the chart if it is not drawn and can be."""
        if not self._is_drawn and hasattr(sys.modules.get(_MODULE), "TimelineChart"):
            self._draw()

    def _draw(self) -> None:
        from medviewer.gui.timeline_chart import TimelineChart  # noqa: PLC0415 - brings pyqtgraph

        self._is_drawn = True
        clear(self._place)
        self._place.addWidget(TimelineChart(self._rows[: self._count], self._mark, tr("study")))
        offer(self._more, len(self._rows) - self._count, _SHOWN_QUANTITIES)

    def _show_more(self) -> None:
        self._count += _SHOWN_QUANTITIES
        self._is_drawn = False
        self.draw_if_ready()
