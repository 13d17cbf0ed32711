"""A pointer over the image that the keyboard moves: it reads values, measures, and moves points without a mouse."""

from __future__ import annotations

from PySide6.QtCore import QLineF, QPointF, QRectF, Qt
from PySide6.QtGui import QKeyEvent, QPainter, QPen

from medviewer.app.state import State
from medviewer.gui import theme
from medviewer.gui.measurement_tool import MeasurementTool, Wish
from medviewer.gui.placing import Placement

_ARROWS = {
    Qt.Key.Key_Left: QPointF(-1, 0), Qt.Key.Key_Right: QPointF(1, 0), Qt.Key.Key_Up: QPointF(0, -1),
    Qt.Key.Key_Down: QPointF(0, 1),
}  # fmt: skip
_STEP_PX, _FAR_PX, _NEAR_PX = 5.0, 25.0, 1.0  # plain, with Shift, with Ctrl
_ARM_PX, _HOLE_PX = 11.0, 3.0


class KeyPointer:
    """Space shows it, and is its button; arrows move it (Shift: far, Ctrl: by one pixel); Esc puts it away.

    Attributes:
        at: where it is, in the viewport's pixels; None while there is none.
    """

    def __init__(self, measuring: MeasurementTool) -> None:
        self._measuring = measuring
        self.at: QPointF | None = None

    def wants(self, event: QKeyEvent) -> bool:
        """Whether a key is for the pointer, and no shortcut."""
        held = event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier
        key = event.key()
        if key == Qt.Key.Key_Space:
            return held == Qt.KeyboardModifier.NoModifier
        is_one = held in (
            Qt.KeyboardModifier.NoModifier,
            Qt.KeyboardModifier.ShiftModifier,
            Qt.KeyboardModifier.ControlModifier,
        )
        if self.at is None or not is_one:
            return False
        return key in _ARROWS or (key == Qt.Key.Key_Escape and not self._measuring.is_busy)

    def press(self, event: QKeyEvent, state: State, placed: Placement, area: QRectF) -> tuple[Wish, ...]:
        """Do what a key says; returns the commands that come of it."""
        key = Qt.Key(event.key())
        if key == Qt.Key.Key_Escape:
            self.at = None
            return ()
        if self.at is None:
            self.at = area.center()
            return ()
        if key == Qt.Key.Key_Space:
            return self._click(state, placed, self.at)
        held = event.modifiers()
        step = _FAR_PX if held & Qt.KeyboardModifier.ShiftModifier else _STEP_PX
        moved = self.at + _ARROWS[key] * (_NEAR_PX if held & Qt.KeyboardModifier.ControlModifier else step)
        self.at = QPointF(
            min(max(moved.x(), area.left()), area.right()), min(max(moved.y(), area.top()), area.bottom())
        )
        self._measuring.move(placed, self.at)
        return ()

    def _click(self, state: State, placed: Placement, at: QPointF) -> tuple[Wish, ...]:
        """Set a point; over a measurement take it, and let it go where Space is pressed again."""
        if self._measuring.is_moving:
            return self._measuring.release(placed, at)
        wishes = self._measuring.press(state, placed, at).wishes
        return wishes if self._measuring.is_moving else (*wishes, *self._measuring.release(placed, at))

    def paint(self, painter: QPainter) -> None:
        """Draw it: a cross that leaves what it points at free."""
        if self.at is None:
            return
        t = theme.tokens()
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        arms = [QLineF(self.at + way * _HOLE_PX, self.at + way * _ARM_PX) for way in _ARROWS.values()]
        for ink, width in ((theme.color(t.viewport, 0.75), 4.0), (theme.color(t.measure_selected), 1.5)):
            painter.setPen(QPen(ink, width))
            painter.drawLines(arms)
        painter.restore()
