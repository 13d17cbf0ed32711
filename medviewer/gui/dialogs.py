"""What dialogs share: what Enter does, a size that the screen has room for, a foot that stays."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QDialog, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from medviewer.gui.cards import button
from medviewer.gui.text import tr

_AROUND_PX = QSize(16, 48)  # frame and title of the window, which the screen must have room for too


class Dialog(QDialog):
    """A dialog in which Enter presses the button that has the keyboard, or the one that it is given to.

    Qt alone would have it press whichever button comes next to a field: Cancel, Copy or Close.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._enters: QPushButton | None = None

    def give_enter(self, to: QPushButton) -> None:
        """Have Enter press this button wherever no other button has the keyboard."""
        self._enters = to
        to.setDefault(True)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 - Qt's name
        """Enter that no button and no field has taken for itself."""
        if event.key() not in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            super().keyPressEvent(event)
            return
        event.accept()
        is_plain = not event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier
        if is_plain and self._enters is not None and self._enters.isVisible():
            self._enters.click()  # which does nothing while it is disabled


def size_on_screen(wanted: QSize, screen: QSize) -> QSize:
    """The wanted size, or what fits on a screen that is smaller (1920x1080 at 200% is 960x540)."""
    return wanted.boundedTo(screen - _AROUND_PX)


def add_close(dialog: QDialog, whole: QVBoxLayout, *others: QWidget) -> QPushButton:
    """The foot of a dialog that has nothing to be confirmed, and its button; ``others`` stand at its left."""
    close = button(tr("Close"), kind="primary")
    close.clicked.connect(dialog.accept)
    foot = QHBoxLayout()
    foot.setContentsMargins(20, 0, 20, 0)
    for one in others:
        foot.addWidget(one)
    foot.addStretch(1)
    foot.addWidget(close)
    whole.addLayout(foot)
    close.setFocus()  # not what scrolls: its rim would draw the eye at once
    return close
