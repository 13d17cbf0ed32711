"""Another theme while the window is open: the style sheet, and the icons that were tinted for the one before."""

from __future__ import annotations

from typing import cast

from PySide6.QtGui import QAction
from PySide6.QtWidgets import QAbstractButton, QApplication, QWidget

from medviewer.app.state import State
from medviewer.gui import theme
from medviewer.gui.icons import IconLabel, retinted


def dress(window: QWidget, state: State) -> None:
    """Dress the application as the state wants it, if it is not dressed so already."""
    qt = QApplication.instance()
    if theme.is_worn(state.theme, state.density) or not isinstance(qt, QApplication):
        return
    before = theme.tokens()
    theme.apply_theme(qt, cast("theme.ThemeName", state.theme), cast("theme.Density", state.density))
    for action in window.findChildren(QAction):
        action.setIcon(retinted(action.icon(), before))
    for button in window.findChildren(QAbstractButton):
        button.setIcon(retinted(button.icon(), before))
    for label in window.findChildren(IconLabel):
        label.retint(before)
    for widget in window.findChildren(QWidget):
        widget.update()  # what paints itself reads the tokens each time
