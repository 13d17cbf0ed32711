"""The 3D view: the picture that another process makes, with the words of any viewport; the mouse turns the volume."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from PySide6.QtCore import QEvent, QPoint, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QContextMenuEvent,
    QHelpEvent,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from medviewer.app.on_screen import scene_of
from medviewer.app.state import Scene, State
from medviewer.domain.frozen import dataclass
from medviewer.domain.study import PixelDescription, Window
from medviewer.gui import fidelity_strip, theme, viewport_marks
from medviewer.gui.corner_text import scene_corners, scene_fidelity
from medviewer.gui.crop_box import CropBox
from medviewer.gui.text import tr
from medviewer.imaging.camera import Camera, Side, moved, turned, zoomed
from medviewer.imaging.orientation import Letters, orientation_letters

_DEG_A_PX = 0.4
_CLICK_PX = 4.0  # less is a click, not a drag
_ZOOM_PX = 150.0  # pixels of drag for a factor of e, as over images
_WINDOW_STEPS = 400.0  # pixels of drag for the width that the drag began with
_WHEEL_ZOOM = 1.2
_WHEEL_NOTCH = 120.0
_TURN_DEG = 15.0
_HINT_PX = 820  # narrower there is no room for the hint beside the corner texts

Wish = tuple[str, object]

_KEYS: dict[int, Wish] = {
    Qt.Key.Key_Left: ("volume.turn", (-_TURN_DEG, 0.0)),
    Qt.Key.Key_Right: ("volume.turn", (_TURN_DEG, 0.0)),
    Qt.Key.Key_Up: ("volume.turn", (0.0, -_TURN_DEG)),
    Qt.Key.Key_Down: ("volume.turn", (0.0, _TURN_DEG)),
    Qt.Key.Key_Plus: ("volume.zoom_in", None),
    Qt.Key.Key_Equal: ("volume.zoom_in", None),
    Qt.Key.Key_Minus: ("volume.zoom_out", None),
    Qt.Key.Key_PageDown: ("volume.cut_deeper", None),
    Qt.Key.Key_PageUp: ("volume.cut_less", None),
    Qt.Key.Key_F: ("volume.fit", None),
    Qt.Key.Key_C: ("volume.handles", None),
    Qt.Key.Key_Escape: ("volume.reset", None),
    **{Qt.Key.Key_0 + n: ("volume.preset", n) for n in range(1, 6)},
}
"""What the image's own keys mean here; each is a command of the table with other keys of its own."""


@dataclass(slots=True)
class _Drag:
    """One drag, from where it began: each move says all of it so far."""

    button: Qt.MouseButton
    kind: str
    start: QPointF
    camera: Camera
    window: Window
    up_brightens: bool
    has_moved: bool = False

    def moved(self, point: QPointF, height: float) -> Wish:
        """The command for the mouse being at ``point`` in a picture of that height."""
        delta = point - self.start
        if self.kind == "turn":
            return "volume.camera", turned(self.camera, delta.x() * _DEG_A_PX, delta.y() * _DEG_A_PX)
        if self.kind == "pan":
            return "volume.camera", moved(self.camera, delta.x() / height, delta.y() / height)
        if self.kind == "zoom":
            return "volume.camera", zoomed(self.camera, float(2.718281828 ** (-delta.y() / _ZOOM_PX)))
        step = self.window.width / _WINDOW_STEPS
        level = self.window.center + (delta.y() if self.up_brightens else -delta.y()) * step
        return "volume.window", Window(level, max(self.window.width + delta.x() * step, step))


class VolumeView(QWidget):
    """Shows the 3D view of the stack on screen and turns the mouse into commands."""

    requested = Signal(str, object)
    menu_requested = Signal(QPoint)  # global position

    def __init__(self, shortcuts: Mapping[str, str] | None = None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._state = State()
        self._shortcuts = shortcuts if shortcuts is not None else {}
        self._corners = viewport_marks.CornerPainter()
        self._drag: _Drag | None = None
        self.crop = CropBox(self)
        for side, handle in self.crop.handles.items():
            handle.held.connect(partial(self.requested.emit, "volume.hold", None))
            handle.moved_to.connect(partial(self._crop_to, side))
            handle.settled.connect(partial(self.requested.emit, "volume.settle", None))
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """As large as there is room."""
        return QSize(800, 800)

    def minimumSizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Small enough for a laptop with both panels open."""
        return QSize(240, 240)

    def show_state(self, old: State | None, new: State) -> None:
        """Draw what has changed."""
        self._state = new
        if old is None or old.language != new.language:
            self.setAccessibleName(tr("3D view"))
        scene = scene_of(new)
        is_other = old is None or any(getattr(old, name) is not getattr(new, name) for name in _DRAWN_FROM)
        if is_other:
            self.crop.follow(scene, self._area())
        if scene is None:
            self._drag = None
            return
        if is_other:
            self.update()
        if old is None or scene_of(old) is None:
            self._tell_room()

    def letters(self) -> Letters:
        """The orientation letters as they are drawn: those of the picture on screen, not of the one that comes."""
        return _letters(scene_of(self._state))

    def drawn(self, state: State, *, plain: bool = False) -> QImage | None:
        """The view as it would be with this state, or the picture alone; None while there is none."""
        scene = scene_of(state)
        if scene is None or scene.picture is None:
            return None
        if plain:
            return _image(scene).copy()
        ratio = self.devicePixelRatioF()
        image = QImage(self.size() * ratio, QImage.Format.Format_RGB32)
        image.setDevicePixelRatio(ratio)
        painter = QPainter(image)
        try:
            self._paint(painter, state, scene, has_hint=False)
        finally:
            painter.end()
        return image

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802, ARG002 - Qt's name and arguments
        """Draw the picture and the marks."""
        painter = QPainter(self)
        try:
            scene = scene_of(self._state)
            if scene is not None:
                self._paint(painter, self._state, scene, has_hint=True)
        finally:
            painter.end()  # left open by a failure, it would take the program down

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802, ARG002 - Qt's name and arguments
        """Another size is another picture."""
        self._tell_room()
        self.crop.follow(scene_of(self._state), self._area())

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """Begin a drag: turn on the left (Shift: move, Ctrl: window), move in the middle, zoom on the right."""
        self.setFocus(Qt.FocusReason.MouseFocusReason)
        scene = scene_of(self._state)
        kind = _kind(event)
        if scene is None or self._drag is not None or not kind:
            return
        window, up = scene.transfer.window, self._state.up_brightens
        self._drag = _Drag(event.button(), kind, event.position(), scene.camera, window, up)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """Go on with a drag."""
        drag = self._drag
        if drag is None:
            return
        if not drag.has_moved:
            if (event.position() - drag.start).manhattanLength() < _CLICK_PX:
                return
            drag.has_moved = True
            self.requested.emit("volume.hold", None)
        self.requested.emit(*drag.moved(event.position(), self._area().height()))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """End a drag; the right button without a drag asks for the menu."""
        drag = self._drag
        if drag is None or event.button() != drag.button:
            return
        self._drag = None
        if drag.has_moved:
            self.requested.emit("volume.settle", None)
        elif event.button() == Qt.MouseButton.RightButton:
            self.menu_requested.emit(event.globalPosition().toPoint())

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802 - Qt's name
        """Zoom."""
        event.accept()
        scene = scene_of(self._state)
        if scene is not None:
            factor = _WHEEL_ZOOM ** (event.angleDelta().y() / _WHEEL_NOTCH)
            self.requested.emit("volume.camera", zoomed(scene.camera, factor))

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:  # noqa: N802 - Qt's name
        """Only the keyboard's menu key: the mouse asks on release, as the right button also zooms."""
        if event.reason() == QContextMenuEvent.Reason.Keyboard:
            self.menu_requested.emit(self.mapToGlobal(self.rect().center()))

    def event(self, event: QEvent) -> bool:
        """The strip has a tooltip."""
        scene = scene_of(self._state)
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent) and scene is not None:
            fidelity_strip.tell(self, event, scene_fidelity(self._state, scene))
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 - Qt's name
        """The image's own keys, which wait while it is hidden, turn and change the volume."""
        held = event.modifiers() & ~(Qt.KeyboardModifier.KeypadModifier | Qt.KeyboardModifier.ShiftModifier)
        wish = _KEYS.get(event.key()) if not held else None
        scene = scene_of(self._state)
        if event.key() == Qt.Key.Key_Escape and not held and scene is not None and scene.has_handles:
            wish = "volume.handles", None  # out of cropping first
        if wish is None:
            event.ignore()
        else:
            self.requested.emit(*wish)

    def _crop_to(self, side: Side, at_mm: float) -> None:
        self.requested.emit("volume.crop_to", (side, at_mm))

    def _area(self) -> QRectF:
        """Where the picture lies: all but the strip that says how faithful it is."""
        return QRectF(0, 0, self.width(), max(self.height() - fidelity_strip.STRIP_PX, 1))

    def _tell_room(self) -> None:
        if scene_of(self._state) is not None:
            size = self._area().size() * self.devicePixelRatioF()
            self.requested.emit("volume.room", (round(size.width()), round(size.height())))

    def _paint(self, painter: QPainter, state: State, scene: Scene, *, has_hint: bool) -> None:
        area = self._area()
        painter.fillRect(self.rect(), theme.color(theme.tokens().viewport))
        if scene.picture is not None:
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
            painter.drawImage(_place(scene, area), _image(scene))
            if has_hint:  # on screen: not in pictures that leave
                self.crop.paint(painter, scene, area)
            viewport_marks.paint_letters(painter, area, _letters(scene))
        fidelity_strip.paint_strip(painter, QRectF(self.rect()), scene_fidelity(state, scene))
        self._corners.paint(painter, area, scene_corners(state, scene))
        if scene.problem:
            viewport_marks.paint_problem(painter, area, scene.problem)
        elif scene.picture is None:
            viewport_marks.paint_reading(painter, area)
        elif has_hint and area.width() >= _HINT_PX and state.corner_text == "all":
            viewport_marks.paint_hint(painter, area, _hint(scene, self._shortcuts))


_DRAWN_FROM = ("selection", "scene", "corner_text", "identity_hidden", "language", "theme", "shortcuts", "is_partial")


def _kind(event: QMouseEvent) -> str:
    if event.button() == Qt.MouseButton.LeftButton:
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            return "window"
        return "pan" if event.modifiers() & Qt.KeyboardModifier.ShiftModifier else "turn"
    return {Qt.MouseButton.MiddleButton: "pan", Qt.MouseButton.RightButton: "zoom"}.get(event.button(), "")


def _hint(scene: Scene, shortcuts: Mapping[str, str]) -> str:
    if scene.has_handles:
        key = shortcuts.get("volume.uncrop", "")
        again = tr("{key}: all again").format(key=key) if key else ""
        return " · ".join(part for part in (tr("Dots: drag, or Tab and arrows"), again, tr("Esc: done")) if part)
    return tr("Drag: turn · Shift: move · Ctrl: window · Wheel: zoom · C: crop")


def _letters(scene: Scene | None) -> Letters:
    if scene is None or scene.picture is None:
        return Letters("", "", "", "")
    rows, columns = scene.picture.look.shape
    return orientation_letters(PixelDescription("", rows, columns, plane=scene.picture.look.camera.plane))


def _image(scene: Scene) -> QImage:
    assert scene.picture is not None  # noqa: S101 - who calls has looked
    pixels = scene.picture.pixels
    rows, columns = pixels.shape[:2]
    return QImage(pixels.data, columns, rows, columns * 3, QImage.Format.Format_RGB888)


def _place(scene: Scene, area: QRectF) -> QRectF:
    """Where the picture belongs: of full height, with square pixels, whatever shape the window has by now."""
    assert scene.picture is not None  # noqa: S101 - as above
    rows, columns = scene.picture.look.shape
    width = area.height() * columns / rows
    return QRectF(area.center().x() - width / 2, area.top(), width, area.height())
