"""The tool bar: the few things used all day, each an icon with its word."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QAction, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QToolBar, QToolButton, QWidget

from medviewer.app.state import State
from medviewer.gui.actions import MEASURING_TOOLS, Actions
from medviewer.gui.icons import icon
from medviewer.gui.text import set_tooltip, tr

_LAYOUT = "layout"  # not one command but all of that menu
_ROW = (
    "file.open_folder", "", "tool.window", "tool.pan", "tool.zoom", "tool.scroll", "tool.length", _LAYOUT, "",
    "view.fit", "view.invert", "view.rotate_right", "view.flip_horizontal", "view.reset", "",
    "explain.toggle", "model.run",
)  # fmt: skip
_EXTRA_PX = 48  # separators and margins of the row


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
        self._buttons = [self.menu_button]
        self._words_px = 0  # that the row needs with its words; 0: not measured in this language
        self.menu_button.setIcon(icon("menu"))
        self.menu_button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.menu_button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.menu_button.setProperty("kind", "quiet")
        self.menu_button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.addWidget(self.menu_button)
        for command_id in _ROW:
            if command_id in MEASURING_TOOLS:
                self._add_measuring()
            elif command_id == _LAYOUT:
                self._add_layout()
            elif command_id:
                self._add(self._actions.action(command_id))
            else:
                self.addSeparator()
        filler = QWidget()
        filler.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        filler.setProperty("kind", "clear")
        self.addWidget(filler)
        self._add(self._actions.action("help.palette"))

    def show_state(self, old: State | None, new: State) -> None:
        """Show the measuring tool used last; speak the language."""
        chosen = f"tool.{new.tool}"
        if chosen in MEASURING_TOOLS and self.measure_button.defaultAction() is not self._actions.action(chosen):
            self.measure_button.setDefaultAction(self._actions.action(chosen))
            self._words_px = 0
            self._fit()
        if old is not None and old.language == new.language:
            return
        self.menu_button.setText(tr("Menu"))
        self._words_px = 0
        set_tooltip(self.menu_button, tr("All commands"))
        self.layout_button.setText(tr("Layout"))
        set_tooltip(self.layout_button, tr("Several viewports, priors, other planes"))
        for button, menu in (
            (self.menu_button, self._actions.whole_menu(self)),
            (self.layout_button, self._actions.menu_of(_LAYOUT, self)),
        ):
            earlier = button.menu()
            button.setMenu(menu)
            if earlier is not None:
                earlier.deleteLater()
        self.measure_button.setAccessibleName(tr("Measure"))
        self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 - Qt's name
        """A narrow window shows the icons without their words, rather than hide the last ones."""
        super().resizeEvent(event)
        self._fit()

    def _add_measuring(self) -> None:
        """One button for all that measures: it takes the tool used last, its arrow offers the others."""
        self._add(self._actions.action("tool.length"))
        self.measure_button = self._buttons[-1]
        self.measure_button.setPopupMode(QToolButton.ToolButtonPopupMode.MenuButtonPopup)
        self.measure_button.setMenu(self._actions.measuring_menu(self))

    def _add_layout(self) -> None:
        """One button for how many viewports there are and what lies in them."""
        self.layout_button = QToolButton()
        self.layout_button.setIcon(icon("layout-grid"))
        self.layout_button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.layout_button.setProperty("kind", "quiet")
        self.layout_button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._buttons.append(self.layout_button)
        self.addWidget(self.layout_button)

    def _fit(self) -> None:
        if self._words_px == 0:
            self._use_style(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
            self._words_px = sum(button.sizeHint().width() + 4 for button in self._buttons) + _EXTRA_PX
        has_room = self.width() >= self._words_px
        style = Qt.ToolButtonStyle.ToolButtonTextBesideIcon if has_room else Qt.ToolButtonStyle.ToolButtonIconOnly
        self._use_style(style)

    def _use_style(self, style: Qt.ToolButtonStyle) -> None:
        for button in self._buttons:
            if button is not self.menu_button and button.toolButtonStyle() != style:
                button.setToolButtonStyle(style)

    def _add(self, action: QAction) -> None:
        button = QToolButton()
        self._buttons.append(button)
        button.setDefaultAction(action)
        button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        button.setProperty("kind", "quiet")
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.addWidget(button)
