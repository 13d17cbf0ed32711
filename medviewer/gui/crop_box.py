"""The crop box over a 3D view: its edges, and on each face a handle for the mouse, the keys and screen readers."""

from __future__ import annotations

from collections.abc import Mapping
from math import hypot

import numpy as np
from PySide6.QtCore import QLineF, QPointF, QRectF, QSignalBlocker, Qt, Signal
from PySide6.QtGui import QEnterEvent, QFont, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QAbstractSlider, QWidget

from medviewer.app.state import Scene
from medviewer.domain.frozen import dataclass
from medviewer.gui import theme
from medviewer.gui.text import plain_tooltip, tr
from medviewer.imaging.camera import SIDES, Box, Camera, Side
from medviewer.imaging.crop_box import (
    EDGES,
    FACES,
    corners_of,
    extent_mm,
    face_of,
    middle_of_face,
    taken_mm,
    whole_box,
)

HANDLE_PX = 24
_HEAD_ON = 0.2  # of its length, that an axis must have in the picture for a face to follow the mouse along it
_STEP, _PAGE = 0.01, 0.05  # of the volume, for arrows and pages
_CLICK_PX = 4.0

_ARROWS = {
    Qt.Key.Key_Left: (-1.0, 0.0), Qt.Key.Key_Right: (1.0, 0.0), Qt.Key.Key_Up: (0.0, -1.0), Qt.Key.Key_Down: (0.0, 1.0),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Projection:
    """Where places of the patient lie in a widget that shows a picture.

    Attributes:
        camera: of the picture on screen.
        middle: of the picture, in the widget's pixels.
        px_a_mm: how large it is shown.
        right, bottom: where the widget's room for it ends.
    """

    camera: Camera
    middle: QPointF
    px_a_mm: float
    right: float
    bottom: float

    @classmethod
    def of(cls, camera: Camera, area: QRectF) -> Projection:
        """For a picture that fills the height of an area."""
        return cls(camera, area.center(), area.height() / camera.height_mm, area.right(), area.bottom())

    def point(self, place: np.ndarray) -> QPointF:
        """Where a place (LPS mm) is drawn."""
        away = place - np.array(self.camera.center)
        across, below = float(away @ self.camera.right), float(away @ self.camera.down)
        return self.middle + QPointF(across, below) * self.px_a_mm

    def outwards(self, side: Side) -> tuple[float, float]:
        """Pixels (right, down) that a face goes for each millimetre out of the box.

        A face that is looked at head-on does not move in the picture: dragged up it goes out, dragged down in.
        """
        axis, way = FACES[side]
        x, y = (way * direction[axis] * self.px_a_mm for direction in (self.camera.right, self.camera.down))
        return (x, y) if hypot(x, y) >= _HEAD_ON * self.px_a_mm else (0.0, -self.px_a_mm)

    def depth(self, side: Side) -> float:
        """How much a face looks away from the reader: -1 straight to the reader, 1 straight away."""
        axis, way = FACES[side]
        return way * self.camera.ahead[axis]


class CropHandle(QAbstractSlider):
    """One face's handle. To screen readers it is a slider of the millimetres that are cut away."""

    held = Signal()
    moved_to = Signal(float)  # LPS mm on the face's axis
    settled = Signal()

    def __init__(self, side: Side, parent: QWidget) -> None:
        super().__init__(parent)
        self.side: Side = side
        self._box: Box | None = None
        self._whole: Box | None = None
        self._outwards = (1.0, 0.0)
        self._press: tuple[QPointF, float] | None = None  # where in the parent, and where the face was
        self._has_moved = False
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setFixedSize(HANDLE_PX, HANDLE_PX)
        self.valueChanged.connect(self._value_wished)

    def show_at(self, projection: Projection, box: Box, whole: Box) -> None:
        """Lie on the face, and know which way it goes."""
        self._box, self._whole = box, whole
        if self._press is None:  # a drag goes on along the way on which it began
            self._outwards = projection.outwards(self.side)
        x, y = self._outwards
        self.setCursor(_cursor(x, y))
        middle = projection.point(middle_of_face(box, self.side))
        reach = HANDLE_PX / 2
        # A face that was zoomed out of the picture can still be taken, at its edge.
        x, y = (
            _within(middle.x(), reach, projection.right - reach),
            _within(middle.y(), reach, projection.bottom - reach),
        )
        middle = QPointF(x, y)
        self.move((middle - QPointF(reach, reach)).toPoint())
        with QSignalBlocker(self):  # what is shown is not what somebody wishes
            self.setRange(0, max(round(extent_mm(whole, self.side)), 1))
            self.setValue(round(taken_mm(box, self.side, whole)))
        self._name()

    def _name(self) -> None:
        assert self._box is not None and self._whole is not None  # noqa: S101, PT018 - only called once there are
        name = _names()[self.side]
        said = tr("{mm} mm cut away").format(mm=round(taken_mm(self._box, self.side, self._whole)))
        if (self.accessibleName(), self.accessibleDescription()) != (name, said):
            self.setAccessibleName(name)
            self.setAccessibleDescription(said)
            self.setToolTip(plain_tooltip(f"{name} · {said}"))

    def _value_wished(self, taken: int) -> None:
        """A screen reader set the value."""
        if self._whole is not None:
            _, way = FACES[self.side]
            self.moved_to.emit(face_of(self._whole, self.side) - way * taken)
            self.settled.emit()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802, ARG002 - Qt's name and arguments
        """A dot with the letter of its side; larger rim while it has the keys or the mouse."""
        t = theme.tokens()
        is_chosen = self.hasFocus() or self._press is not None
        painter = QPainter(self)
        try:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            rim = 3.0 if is_chosen else 1.5
            painter.setPen(QPen(theme.color(t.measure_selected if is_chosen or self.underMouse() else t.measure), rim))
            painter.setBrush(theme.color(t.viewport, 0.85))
            painter.drawEllipse(QRectF(self.rect()).adjusted(2, 2, -2, -2))
            painter.setPen(theme.color(t.overlay_text))
            painter.setFont(theme.text_font(theme.SMALL_PX, QFont.Weight.DemiBold))
            painter.drawText(QRectF(self.rect()), Qt.AlignmentFlag.AlignCenter, self.side)
        finally:
            painter.end()

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """Begin to drag."""
        if event.button() != Qt.MouseButton.LeftButton or self._box is None:
            event.ignore()
            return
        self._press = self.mapToParent(event.position()), face_of(self._box, self.side)
        self._has_moved = False
        self.update()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """Let the face follow the mouse along its axis."""
        if self._press is None:
            return
        start, face = self._press
        way = self.mapToParent(event.position()) - start
        if not self._has_moved:
            if way.manhattanLength() < _CLICK_PX:
                return
            self._has_moved = True
            self.held.emit()
        x, y = self._outwards
        out_mm = (way.x() * x + way.y() * y) / (x * x + y * y)
        self.moved_to.emit(face + FACES[self.side][1] * out_mm)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """End a drag."""
        if event.button() == Qt.MouseButton.LeftButton and self._press is not None:
            self._press = None
            self.update()
            if self._has_moved:
                self.settled.emit()

    def enterEvent(self, event: QEnterEvent) -> None:  # noqa: N802, ARG002 - Qt's name and arguments
        """Show that it can be taken."""
        self.update()

    def leaveEvent(self, event: object) -> None:  # noqa: N802, ARG002 - Qt's name and arguments
        """The mouse is gone."""
        self.update()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 - Qt's name
        """Arrows move the face as they point; PgDn cuts more away, PgUp less, Home nothing."""
        held = event.modifiers() & ~(Qt.KeyboardModifier.KeypadModifier | Qt.KeyboardModifier.ShiftModifier)
        out_mm = None if held or self._whole is None else self._key_mm(Qt.Key(event.key()))
        if out_mm is None or self._box is None:
            event.ignore()  # the 3D view's own
            return
        self.moved_to.emit(face_of(self._box, self.side) + FACES[self.side][1] * out_mm)
        self.settled.emit()

    def _key_mm(self, key: Qt.Key) -> float | None:
        """How far out of the box a key moves the face; None for a key that means nothing here."""
        assert self._whole is not None  # noqa: S101 - who calls has looked
        whole = extent_mm(self._whole, self.side)
        if key == Qt.Key.Key_Home:
            return whole
        if key in (Qt.Key.Key_PageUp, Qt.Key.Key_PageDown):
            return whole * (_PAGE if key == Qt.Key.Key_PageUp else -_PAGE)
        if key not in _ARROWS:
            return None
        across, below = _ARROWS[key]
        along = across * self._outwards[0] + below * self._outwards[1]
        is_out = along > 0 if abs(along) > 0.1 * hypot(*self._outwards) else across - below > 0
        return whole * (_STEP if is_out else -_STEP)


class CropBox:
    """The box of a 3D view and its six handles, which are children of the view."""

    def __init__(self, view: QWidget) -> None:
        self._view = view
        self.handles: Mapping[Side, CropHandle] = {side: CropHandle(side, view) for side in SIDES}
        for handle in self.handles.values():
            handle.hide()

    @property
    def has_focus(self) -> bool:
        """Whether the keys go to one of the handles."""
        return any(handle.hasFocus() for handle in self.handles.values())

    def follow(self, scene: Scene | None, area: QRectF) -> None:
        """Show the handles where they belong in the picture that is shown in an area, or none."""
        if scene is None or not scene.has_handles or scene.picture is None:
            if self.has_focus:
                self._view.setFocus(Qt.FocusReason.OtherFocusReason)
            for handle in self.handles.values():
                handle.hide()
            return
        projection, box, whole = _drawn(scene, area)
        for handle in self.handles.values():
            handle.show_at(projection, box, whole)
            handle.show()
        # Two faces that are looked at head-on lie on each other: the nearer one is for the mouse.
        for side in sorted(self.handles, key=projection.depth, reverse=True):
            self.handles[side].raise_()
        chosen = next((handle for handle in self.handles.values() if handle.hasFocus()), None)
        if chosen is not None:
            chosen.raise_()

    def paint(self, painter: QPainter, scene: Scene, area: QRectF) -> None:
        """Draw the edges; those that the box itself hides are dotted."""
        if not scene.has_handles or scene.picture is None:
            return
        projection, box, _whole = _drawn(scene, area)
        places = corners_of(box)
        points = [projection.point(place) for place in places]
        away = places @ np.array(projection.camera.ahead)
        farthest = int(np.argmax(away))
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for a, b in EDGES:
            style = Qt.PenStyle.DotLine if farthest in (a, b) else Qt.PenStyle.SolidLine
            for ink, width in ((theme.color(theme.tokens().viewport, 0.6), 3.0),
                               (theme.color(theme.tokens().measure), 1.2)):  # fmt: skip
                painter.setPen(QPen(ink, width, style))
                painter.drawLine(QLineF(points[a], points[b]))
        painter.restore()


def _drawn(scene: Scene, area: QRectF) -> tuple[Projection, Box, Box]:
    """By the picture on screen, which may be of a moment ago; the box is that of now, so that it follows the mouse."""
    assert scene.picture is not None  # noqa: S101 - who calls has looked
    whole = whole_box(scene.block.corners)
    return Projection.of(scene.picture.look.camera, area), scene.box_mm or whole, whole


def _names() -> Mapping[Side, str]:
    return {
        "A": tr("Front side of the crop box (A)"),
        "P": tr("Back side of the crop box (P)"),
        "R": tr("Right side of the crop box (R)"),
        "L": tr("Left side of the crop box (L)"),
        "H": tr("Upper side of the crop box (H)"),
        "F": tr("Lower side of the crop box (F)"),
    }


def _cursor(x: float, y: float) -> Qt.CursorShape:
    """The arrows that point along a direction of the screen."""
    if abs(x) > 2 * abs(y):
        return Qt.CursorShape.SizeHorCursor
    if abs(y) > 2 * abs(x):
        return Qt.CursorShape.SizeVerCursor
    return Qt.CursorShape.SizeFDiagCursor if x * y > 0 else Qt.CursorShape.SizeBDiagCursor


def _within(value: float, low: float, high: float) -> float:
    return min(max(value, low), max(low, high))
