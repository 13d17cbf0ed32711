"""Mouse drags over the image, turned into commands: window, pan, zoom, scroll."""

from __future__ import annotations

from dataclasses import field
from typing import Any

from PySide6.QtCore import QPointF, Qt

from medviewer.app.on_screen import is_white_low
from medviewer.app.state import State, Tool
from medviewer.domain.frozen import dataclass
from medviewer.domain.study import Window
from medviewer.gui.placing import Placement

_CLICK_PX = 4.0  # less is a click, not a drag
_WINDOW_STEPS = 400.0  # pixels of drag for the width that the drag began with
_ZOOM_PX = 150.0  # pixels of drag for a factor of e
_SCROLL_PX = 12.0  # pixels of drag an image
WHEEL_ZOOM = 1.2

Wish = tuple[str, Any]


@dataclass(slots=True)
class Gesture:
    """One drag, from where it began: each move gives the command that does all of it so far.

    Only scrolling is told step by step: planes move from where they are, and so do key images.
    """

    button: Qt.MouseButton
    tool: Tool
    start: QPointF
    placed: Placement
    window: Window | None
    is_reversed: bool
    has_moved: bool = field(default=False)
    scrolled: int = field(default=0)  # steps that were told

    def moved(self, point: QPointF, index: int) -> Wish | None:
        """The command for the mouse being at ``point``, while the image ``index`` of the stack is on screen."""
        delta = point - self.start
        if not self.has_moved and delta.manhattanLength() < _CLICK_PX:
            return None
        self.has_moved = True
        if self.tool == "window":
            return self._window(delta)
        if self.tool == "pan":
            return "view.place", (self.placed.zoom, self.placed.moved(delta))
        if self.tool == "zoom":
            # 2.718 ** (px / 150): equal drags are equal factors.
            zoom = self.placed.zoom * float(2.718281828 ** (-delta.y() / _ZOOM_PX))
            return "view.place", (zoom, self.placed.zoomed_about(self.start, zoom))
        step = int(delta.y() / _SCROLL_PX) - self.scrolled
        self.scrolled += step
        return ("image.show", index + step) if step else None

    def _window(self, delta: QPointF) -> Wish | None:
        """Right is wider; up is brighter (or darker, as preferred), whatever the photometric interpretation."""
        if self.window is None:
            return None
        step = max(self.window.width, 1e-6) / _WINDOW_STEPS
        width = max(self.window.width + delta.x() * step, min(1.0, self.window.width))
        level = self.window.center + (-delta.y() if self.is_reversed else delta.y()) * step
        return "view.window", Window(level, width, self.window.function)


def begin(
    button: Qt.MouseButton, point: QPointF, state: State, placed: Placement, window: Window | None
) -> Gesture | None:
    """The drag that a button begins; None for buttons that begin none."""
    tools: dict[Qt.MouseButton, Tool] = {
        Qt.MouseButton.LeftButton: state.tool,
        Qt.MouseButton.MiddleButton: "pan",
        Qt.MouseButton.RightButton: "zoom",
    }
    tool = tools.get(button)
    if tool not in ("window", "pan", "zoom", "scroll") or state.selection is None:
        return None
    return Gesture(button, tool, point, placed, window, is_reversed=is_white_low(state) == state.up_brightens)


def wheel_zoom(placed: Placement, point: QPointF, notches: int) -> tuple[float, tuple[float, float]]:
    """The place after turning the wheel: what is under the cursor stays there."""
    zoom = placed.zoom * WHEEL_ZOOM**notches
    return zoom, placed.zoomed_about(point, zoom)
