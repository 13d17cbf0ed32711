"""The viewports of one image window, in their grid: each shows its own pane of the state."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QGridLayout, QWidget

from medviewer.app.hanging_protocol import MOST_COLUMNS, MOST_ROWS
from medviewer.app.on_screen import pane_state
from medviewer.app.panes import numbers_in, pane_numbers, seen_in, shape_of
from medviewer.app.picture import Picture
from medviewer.app.state import State
from medviewer.gui.reference_lines import Line, lines_on
from medviewer.gui.viewport import Viewport

Pictures = Callable[[int, State], Picture | None]

_GAP_PX = 2


class Viewports(QWidget):
    """As many viewports as the window has; what the reader does in one of them makes it the active one.

    ``window`` is 0 for the first image window, 1 for the second.
    """

    requested = Signal(str, object)
    menu_requested = Signal(QPoint)  # global position

    def __init__(self, pictures: Pictures, window: int = 0, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._pictures = pictures
        self._window = window
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
        """The viewport in which the reader works; the first that is seen where that is one of another window."""
        numbers = numbers_in(self._state, self._window)
        seen = seen_in(self._state, self._window)
        number = self._state.active if self._state.active in numbers else next(iter(seen), numbers.start)
        return self._viewports[number - numbers.start]

    @property
    def visible(self) -> tuple[Viewport, ...]:
        """The viewports of the window, row by row."""
        return tuple(self._viewports[: len(numbers_in(self._state, self._window))])

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
        numbers, shape = numbers_in(new, self._window), shape_of(new, self._window)
        while len(self._viewports) < len(numbers):
            self._add_viewport()
        arrangement = (shape, seen_in(new, self._window))
        if arrangement != self._shown:
            self._shown = arrangement
            self._arrange()
        has_others = len(pane_numbers(new)) > 1
        seen = {index: pane_state(new, index) for index in (*seen_in(new, 0), *seen_in(new, 1))}
        for index, viewport in zip(numbers, self.visible, strict=True):
            before = pane_state(old, index) if old is not None and index in pane_numbers(old) else None
            viewport.stand_in(shape)
            viewport.show_state(before, seen.get(index) or pane_state(new, index))
            if index != new.active:
                viewport.stop_measuring()
            viewport.show_place(_lines(seen, index), is_active=has_others and index == new.active)
        self.setFocusProxy(self.active)
        if had_focus and not self.active.hasFocus():
            self.active.setFocus(Qt.FocusReason.OtherFocusReason)

    def _add_viewport(self) -> None:
        index = numbers_in(self._state, self._window).start + len(self._viewports)
        viewport = Viewport(lambda state: self._pictures(index, state), self, is_second=self._window == 1)
        viewport.touched.connect(lambda: self.requested.emit("layout.activate", index))
        viewport.requested.connect(self.requested)
        viewport.menu_requested.connect(self.menu_requested)
        viewport.addActions(self.actions())
        self._viewports.append(viewport)

    def _arrange(self) -> None:
        rows, columns = shape_of(self._state, self._window)
        numbers, seen = numbers_in(self._state, self._window), seen_in(self._state, self._window)
        if len(seen) < len(numbers):
            rows, columns = 1, 1
        while self._grid.count():
            self._grid.takeAt(0)
        shown = [index - numbers.start for index in seen]
        for place, index in enumerate(shown):
            self._grid.addWidget(self._viewports[index], place // columns, place % columns)
        for index, viewport in enumerate(self._viewports):
            viewport.setVisible(index in shown)
        for number in range(max(MOST_ROWS, MOST_COLUMNS)):
            # A row or column without viewports takes no room.
            self._grid.setRowStretch(number, int(number < rows))
            self._grid.setColumnStretch(number, int(number < columns))


def _lines(seen: Mapping[int, State], index: int) -> tuple[Line, ...]:
    """Where the images of the other viewports that are seen, in both windows, cut this one's."""
    others = {other: state for other, state in seen.items() if other != index}
    return lines_on(seen[index], others) if others and index in seen else ()
