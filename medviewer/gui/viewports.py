"""The viewports of the layout, in their grid: each shows its own pane of the state."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QGridLayout, QWidget

from medviewer.app.hanging_protocol import MOST_COLUMNS, MOST_ROWS
from medviewer.app.on_screen import pane_state
from medviewer.app.picture import Picture
from medviewer.app.state import State
from medviewer.gui.reference_lines import Line, lines_on
from medviewer.gui.viewport import Viewport

Pictures = Callable[[int, State], Picture | None]

_GAP_PX = 2


class Viewports(QWidget):
    """As many viewports as the layout has; what the reader does in one of them makes it the active one."""

    requested = Signal(str, object)
    menu_requested = Signal(QPoint)  # global position

    def __init__(self, pictures: Pictures, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._pictures = pictures
        self._state = State()
        self._viewports: list[Viewport] = []
        self._shown: tuple[object, ...] = ()
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(_GAP_PX)
        self._add_viewport()
        self._arrange()

    @property
    def active(self) -> Viewport:
        """The viewport in which the reader works."""
        return self._viewports[self._state.active]

    @property
    def visible(self) -> tuple[Viewport, ...]:
        """The viewports of the layout, row by row."""
        return tuple(self._viewports[: self._count])

    @property
    def _count(self) -> int:
        return self._state.layout[0] * self._state.layout[1]

    def addAction(self, action: QAction) -> None:  # type: ignore[override]  # noqa: N802 - Qt's name, one of its forms
        """Let an action's keys work in every viewport that has the focus."""
        super().addAction(action)
        for viewport in self._viewports:
            viewport.addAction(action)

    def removeAction(self, action: QAction) -> None:  # noqa: N802 - Qt's name
        """Let an action's keys work in no viewport any more."""
        super().removeAction(action)
        for viewport in self._viewports:
            viewport.removeAction(action)

    def show_state(self, old: State | None, new: State) -> None:
        """Give each viewport its pane."""
        had_focus = self.active.hasFocus()
        self._state = new
        while len(self._viewports) < self._count:
            self._add_viewport()
        arrangement = (new.layout, new.is_maximised, new.active if new.is_maximised else 0)
        if arrangement != self._shown:
            self._shown = arrangement
            self._arrange()
        for index, viewport in enumerate(self.visible):
            before = pane_state(old, index) if old is not None and index < old.layout[0] * old.layout[1] else None
            viewport.show_state(before, pane_state(new, index))
            if index != new.active:
                viewport.stop_measuring()
            viewport.show_place(self._lines(index), is_active=self._count > 1 and index == new.active)
        self.setFocusProxy(self.active)
        if had_focus and not self.active.hasFocus():
            self.active.setFocus(Qt.FocusReason.OtherFocusReason)

    def _lines(self, index: int) -> tuple[Line, ...]:
        """Where the images of the other viewports cut this one's."""
        if self._count == 1 or self._state.is_maximised:
            return ()
        others = {other: pane_state(self._state, other) for other in range(self._count) if other != index}
        return lines_on(pane_state(self._state, index), others)

    def _add_viewport(self) -> None:
        index = len(self._viewports)
        viewport = Viewport(lambda state: self._pictures(index, state))
        viewport.touched.connect(lambda: self.requested.emit("layout.activate", index))
        viewport.requested.connect(self.requested)
        viewport.menu_requested.connect(self.menu_requested)
        viewport.addActions(self.actions())
        self._viewports.append(viewport)

    def _arrange(self) -> None:
        rows, columns = (1, 1) if self._state.is_maximised else self._state.layout
        while self._grid.count():
            self._grid.takeAt(0)
        shown = [self._state.active] if self._state.is_maximised else range(rows * columns)
        for place, index in enumerate(shown):
            self._grid.addWidget(self._viewports[index], place // columns, place % columns)
        for index, viewport in enumerate(self._viewports):
            viewport.setVisible(index in shown)
        for number in range(max(MOST_ROWS, MOST_COLUMNS)):
            # A row or column without viewports takes no room.
            self._grid.setRowStretch(number, int(number < rows))
            self._grid.setColumnStretch(number, int(number < columns))
