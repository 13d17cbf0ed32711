"""The tool bar: the few things used all day, each an icon with its word."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QSizePolicy, QToolBar, QToolButton, QWidget

from medviewer.app.session import State
from medviewer.gui.actions import Actions
from medviewer.gui.icons import icon
from medviewer.gui.text import set_tooltip, tr

_ROW = (
    "file.open_folder", "", "tool.window", "tool.pan", "tool.zoom", "tool.scroll", "", "view.fit", "view.actual_size",
    "view.invert", "view.rotate_right", "view.flip_horizontal", "view.reset", "", "explain.toggle", "model.run",
)  # fmt: skip


class ToolBar(QToolBar):
    """Menu, open, tools, view, model, and the way to every other command."""

    def __init__(self, actions: Actions) -> None:
        super().__init__()
        self._actions = actions
        self.setObjectName("tools")
        self.setMovable(False)
        self.setFloatable(False)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.PreventContextMenu)
        self.setIconSize(QSize(16, 16))
        self.menu_button = QToolButton()
        self.menu_button.setIcon(icon("menu"))
        self.menu_button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.menu_button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.menu_button.setProperty("kind", "quiet")
        self.menu_button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.addWidget(self.menu_button)
        for command_id in _ROW:
            if command_id:
                self._add(self._actions.action(command_id))
            else:
                self.addSeparator()
        filler = QWidget()
        filler.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        filler.setProperty("kind", "clear")
        self.addWidget(filler)
        self._add(self._actions.action("help.palette"))

    def show_state(self, old: State | None, new: State) -> None:
        """Speak the language."""
        if old is not None and old.language == new.language:
            return
        self.menu_button.setText(tr("Menu"))
        set_tooltip(self.menu_button, tr("All commands"))
        earlier = self.menu_button.menu()
        self.menu_button.setMenu(self._actions.whole_menu(self))
        if earlier is not None:
            earlier.deleteLater()

    def _add(self, action: QAction) -> None:
        button = QToolButton()
        button.setDefaultAction(action)
        button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        button.setProperty("kind", "quiet")
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.addWidget(button)
