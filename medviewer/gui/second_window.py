"""The second image window: viewports of the same patient and session for another screen."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QCloseEvent
from PySide6.QtWidgets import QVBoxLayout, QWidget

from medviewer.app.on_screen import scene_of
from medviewer.app.state import State
from medviewer.gui.status_bar import ResearchStrip
from medviewer.gui.text import PlainLabel, tr
from medviewer.gui.viewports import Pictures, Viewports


class SecondWindow(QWidget):
    """Images alone: menus, lists and results stay in the first window, keys work in both.

    It is one of two views of one state; closing it asks for that, as every other wish of the reader.
    """

    def __init__(self, pictures: Pictures, close: Callable[[], None]) -> None:
        super().__init__(None, Qt.WindowType.Window)
        self._close = close
        self.viewports = Viewports(pictures, window=1)
        self.strip = ResearchStrip()
        self.waiting = PlainLabel("", "secondary")
        self.waiting.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.waiting.setContentsMargins(12, 4, 12, 4)
        self.waiting.hide()
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(0)
        for widget, stretch in ((self.waiting, 0), (self.viewports, 1), (self.strip, 0)):
            rows.addWidget(widget, stretch)

    def show_state(self, old: State | None, new: State) -> None:
        """Draw what differs."""
        self.viewports.show_state(old, new)
        self.strip.show_state(old, new)
        words = _why_waiting(new)
        if words != self.waiting.text():
            self.waiting.setText(words)
        if self.waiting.isHidden() == bool(words):
            self.waiting.setVisible(bool(words))

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802 - Qt's name
        """A window moved to a screen of another scale is drawn anew."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.DevicePixelRatioChange:
            for viewport in self.viewports.visible:
                viewport.update()

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802 - Qt's name
        """The reader's wish goes the way of all commands; the window hides when the state has none any more."""
        event.ignore()
        self._close()


def _why_waiting(state: State) -> str:
    """Why nothing can be done in these viewports now; empty where all can."""
    if state.reading is not None:
        return tr("A document is open in the first window: close it to work here.")
    if scene_of(state) is not None:
        return tr("The 3D view is open in the first window: close it to work here.")
    return ""
