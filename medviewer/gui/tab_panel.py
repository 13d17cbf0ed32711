"""A panel behind a tab: drawn when somebody looks at it, and not at every step of the wheel."""

from __future__ import annotations

from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QWidget

from medviewer.app.state import State
from medviewer.gui.text import use_language


class TabPanel(QWidget):
    """Keeps the latest state; its kinds say in ``_draw`` what is shown of it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._state = State()

    def show_state(self, old: State | None, new: State) -> None:  # noqa: ARG002 - as every part of the window
        """Draw what has changed, as soon as somebody looks."""
        use_language(new.language)
        self._state = new
        if self.isVisible():
            self._draw()

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802 - Qt's name
        """Draw what came while another tab was in front."""
        super().showEvent(event)
        self._draw()

    def _draw(self) -> None:
        """Show the state."""
        raise NotImplementedError
