"""What dialogs share: a size that the screen has room for, and a foot that stays while the rest scrolls."""

from __future__ import annotations

from PySide6.QtCore import QSize
from PySide6.QtWidgets import QDialog, QHBoxLayout, QVBoxLayout, QWidget

from medviewer.gui.cards import button
from medviewer.gui.text import tr

_AROUND_PX = QSize(16, 48)  # frame and title of the window, which the screen must have room for too


def size_on_screen(wanted: QSize, screen: QSize) -> QSize:
    """The wanted size, or what fits on a screen that is smaller (1920x1080 at 200% is 960x540)."""
    return wanted.boundedTo(screen - _AROUND_PX)


def add_close(dialog: QDialog, whole: QVBoxLayout, *others: QWidget) -> None:
    """The foot of a dialog that has nothing to be confirmed; ``others`` stand at its left."""
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
