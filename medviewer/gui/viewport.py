"""The viewport: one image, drawn right and quickly, with the words and marks that belong to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QEvent, QPoint, QPointF, QRectF, QSize, QSizeF, Qt, Signal
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

from medviewer.app.layer_planes import Laid, laid_on, of_other_volumes
from medviewer.app.linking import shown_grid
from medviewer.app.on_screen import appearance_of, shown_presentation
from medviewer.app.panes import pane_numbers
from medviewer.app.picture import Picture
from medviewer.app.state import State
from medviewer.domain.answer import Attribution
from medviewer.domain.frame import Frame
from medviewer.domain.layer import ScalarLayer
from medviewer.domain.measurement import KINDS
from medviewer.domain.study import Window
from medviewer.gui import fidelity_strip, theme, viewport_marks
from medviewer.gui.corner_text import Corners, Shown, cine_words, corners, fidelity, probe_text, spoken
from medviewer.gui.document_words import words_of_file
from medviewer.gui.drawings import DrawingsLayer
from medviewer.gui.gestures import Gesture, begin, wheel_zoom
from medviewer.gui.image_painter import ImagePainter, Magnifier, Seen
from medviewer.gui.key_pointer import KeyPointer
from medviewer.gui.layer_painter import LayerPainter
from medviewer.gui.layer_words import absent_lines, layer_lines, probe_lines, quantity_words
from medviewer.gui.measurement_layer import MeasurementLayer
from medviewer.gui.measurement_tool import MeasurementTool, Wish
from medviewer.gui.overlay import HeatMaps, OverlayLayer
from medviewer.gui.placing import Placement
from medviewer.gui.plane_drag import PlaneDrag, grasp
from medviewer.gui.presentation_layer import AnnotationPainter
from medviewer.gui.reference_lines import Line, paint_crosshair, paint_lines
from medviewer.gui.region_layer import paint_region_legend
from medviewer.gui.shutter_layer import ShutterLayer
from medviewer.gui.text import tr, visible
from medviewer.imaging.orientation import Letters, orientation_letters
from medviewer.imaging.planes import to_patient
from medviewer.imaging.scale import pixel_aspect

Pictures = Callable[[State], Picture | None]

_DRAWING_KEYS = frozenset((Qt.Key.Key_Escape, Qt.Key.Key_Return, Qt.Key.Key_Enter))
_SMALL_PX = QSize(280, 280)  # a viewport below it has no room for all corner text
_LEAST_PX = QSize(400, 320)  # of all viewports together: a screen of 720 x 430 has room for them beside a panel
_WHEEL_NOTCH = 120  # eighths of a degree, as mice report one click of the wheel


class Viewport(QWidget):
    """Shows the selected image and turns the mouse into commands."""

    requested = Signal(str, object)
    menu_requested = Signal(QPoint)  # global position
    touched = Signal()  # the reader is about to do something here

    def __init__(self, pictures: Pictures, parent: QWidget | None = None, *, is_second: bool = False) -> None:
        super().__init__(parent)
        self._is_second = is_second  # of the second image window
        self._pictures = pictures
        self._state = State()
        self._overlay = OverlayLayer()
        self._layers = LayerPainter()
        self._drawings = DrawingsLayer()
        self._shutters = ShutterLayer()
        self._measurements = MeasurementLayer()
        self._measuring = MeasurementTool(self._measurements)
        self._pointer = KeyPointer(self._measuring)
        self._corners = viewport_marks.CornerPainter()
        self._image = ImagePainter()
        self._magnifier = Magnifier()
        self._gesture: Gesture | None = None
        self._plane_drag: PlaneDrag | None = None
        self._cursor: QPointF | None = None
        self._wheel = 0
        self._lines: tuple[Line, ...] = ()
        self._is_active = False
        self._shape = (1, 1)
        self._sharpness = 1.0  # pixels drawn for one of the screen
        self._said: fidelity_strip.Parts = ()  # in the strip by the last paint
        self.painted_heat_maps: HeatMaps | None = None  # what the last paint laid over the image
        self.painted_frame: Frame | None = None  # what the last paint on the screen showed
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """As large as there is room."""
        return QSize(800, 800)

    def minimumSizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Small enough for a laptop with both panels open, however many viewports there are."""
        rows, columns = self._shape
        return QSize(_LEAST_PX.width() // max(columns, 2), _LEAST_PX.height() // max(rows, 2))

    def show_state(self, old: State | None, new: State) -> None:
        """Draw what has changed."""
        self._state = new
        if new.frame is None:
            self.painted_frame = None  # nobody's pixels are kept behind their back
        if old is None or not _is_same_stack(old, new):
            self._gesture = None
        if new.cut is None:
            self._plane_drag = None
        self._measuring.follow(new)
        if old is None or old.tool != new.tool:
            self._use_cursor()
        if old is None or any(getattr(old, name) is not getattr(new, name) for name in _SPOKEN_FROM):
            self.setAccessibleName(tr("Image"))
            self.setAccessibleDescription(spoken(new))
        if old is None or any(getattr(old, name) is not getattr(new, name) for name in _DRAWN_FROM):
            self.update()

    def stand_in(self, shape: tuple[int, int]) -> None:
        """Be one of so many rows and columns of viewports."""
        if shape != self._shape:
            self._shape = shape
            self.updateGeometry()

    def show_place(self, lines: tuple[Line, ...], *, is_active: bool) -> None:
        """Draw where other viewports' images cut this one, and whether the reader works here."""
        if (lines, is_active) != (self._lines, self._is_active):
            self._lines, self._is_active = lines, is_active
            self.update()

    def stop_measuring(self) -> None:
        """Give up what is being drawn or moved: the reader went to another viewport."""
        if self._measuring.is_busy:
            self._measuring.cancel()
            self.update()

    def placement(self) -> Placement | None:
        """How the image lies in the viewport now; None without pixels."""
        return self.placed_for(self._state)

    def window_shown(self) -> Window | None:
        """The window that the image is drawn with; None where there is none (colour)."""
        picture = self._picture()
        if picture is None or self._state.frame is None or self._state.frame.is_color:
            return None
        return self._state.view.window or picture.default_window

    def letters(self) -> Letters:
        """The orientation letters as they are drawn."""
        now, view = self._state.selection, self._state.view
        if now is None:
            return Letters("", "", "", "")
        frame = self._state.frame
        return orientation_letters(
            frame.description if self._state.cut is not None and frame is not None else now.image.description,
            quarter_turns=view.quarter_turns,
            flip_horizontal=view.flip_horizontal,
            flip_vertical=view.flip_vertical,
        )

    def placed_for(self, state: State) -> Placement | None:
        """How the image of a state would lie in the viewport; None without pixels."""
        frame = state.frame
        if frame is None:
            return None
        size = QSizeF(self._image_area().size())
        rows, columns = frame.stored.shape[:2]
        appearance = appearance_of(state)
        area = appearance.area if appearance is not None else None
        aspect = area.aspect if area is not None and area.aspect is not None else pixel_aspect(frame.description)
        return Placement(size, self.devicePixelRatioF(), columns, rows, aspect, state.view, area)

    @property
    def painted_attribution(self) -> Attribution | None:
        """The heat map that the last paint laid over the image, the first one of a difference."""
        return self.painted_heat_maps.attribution if self.painted_heat_maps is not None else None

    def drawn(self, state: State, *, sharpness: float = 1.0) -> QImage:
        """The viewport as it would be with this state, without what belongs to the mouse and the layout.

        ``sharpness`` is how many pixels the picture has for one of the screen, for paper.
        """
        ratio = self.devicePixelRatioF() * sharpness
        image = QImage(self.size() * ratio, QImage.Format.Format_RGB32)
        image.setDevicePixelRatio(ratio)
        kept = self._state, self._cursor, self._is_active, self._lines, self.painted_heat_maps, self._said
        lines = self._lines if state.selection is self._state.selection else ()  # they are of the image on screen
        self._state, self._cursor, self._is_active, self._lines = state, None, False, lines
        self._sharpness = sharpness
        painter = QPainter(image)
        try:
            self._paint(painter)
        finally:
            painter.end()
            self._state, self._cursor, self._is_active, self._lines, self.painted_heat_maps, self._said = kept
            self._sharpness = 1.0
        return image

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802, ARG002 - Qt's name and arguments
        """Draw the image, the heat map if it belongs to it, and the marks."""
        painter = QPainter(self)
        try:
            self._paint(painter)
        finally:
            painter.end()  # left open by a failure, it would take the program down
        self.painted_frame = self._state.frame

    def _paint(self, painter: QPainter) -> None:
        painter.fillRect(self.rect(), theme.color(theme.tokens().viewport))
        placed = self.placement()
        self.painted_heat_maps = None
        shown: Shown | None = None
        laid = laid_on(self._state)
        picture = self._picture() if placed is not None else None
        if placed is not None:
            level = self._image.paint(painter, placed, picture, self._sharpness) if picture is not None else 0
            self._layers.paint(painter, placed, laid)
            self._shutters.paint(painter, self._state, placed)
            self.painted_heat_maps = self._overlay.paint(
                painter, self._state, placed.transform, placed.size, placed.ratio
            )
            shown = self._shown(placed, level, laid)
        if placed is not None:
            self._drawings.paint(painter, self._state, placed.transform)
            self._paint_annotations(painter, placed)
            self._paint_layer_bar(painter, laid, shown)  # below the lines: their handles are grasped there
            paint_lines(painter, placed, self._lines)
            paint_crosshair(painter, placed, self._state)
            self._paint_measurements(painter, placed, shown)
            if self._state.is_magnifying and self._cursor is not None and picture is not None:
                seen = Seen(self._state, picture, laid, self._measuring.shapes(self._state))
                self._magnifier.paint(painter, seen, placed, self._cursor)
            if self._cursor is not None:  # else this is drawn for elsewhere
                self._pointer.paint(painter)
        self._said = ()
        if self._state.selection is not None:
            self._paint_marks(painter, shown)
        else:
            viewport_marks.paint_empty(painter, QRectF(self.rect()), self._state.vacancy, is_second=self._is_second)
        if self._is_active:
            viewport_marks.paint_active(painter, QRectF(self.rect()))

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """Begin a drag: the tool on the left, pan in the middle, zoom on the right."""
        self.touched.emit()
        self.setFocus(Qt.FocusReason.MouseFocusReason)
        placed = self.placement()
        if placed is None or self._gesture is not None or self._plane_drag is not None:
            return
        if event.button() == Qt.MouseButton.LeftButton and not self._measures_at(event.position()):
            self._plane_drag = grasp(placed, self._lines, event.position())
            if self._plane_drag is not None:
                return
        if event.button() == Qt.MouseButton.LeftButton and self._press_measuring(placed, event.position()):
            return
        self._gesture = begin(event.button(), event.position(), self._state, placed, self.window_shown())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """Go on with a drag, or read the value under the cursor."""
        self._cursor, self._pointer.at = event.position(), None
        if self._gesture is None and event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            self._point(event.position())
        placed = self.placement()
        if placed is not None and self._plane_drag is not None:
            wish = self._plane_drag.moved(self._state, placed, event.position())
            if wish is not None:
                self.requested.emit(*wish)
        elif placed is not None and self._gesture is None:
            if self._measuring.move(placed, event.position()):
                self.update()
            elif not event.buttons():
                self._use_cursor(placed)
        if self._gesture is not None:
            now = self._state.selection
            wish = self._gesture.moved(event.position(), now.index if now is not None else 0)
            if wish is not None:
                self.requested.emit(*wish)
        if (self._state.corner_text == "all" or self._state.is_magnifying) and self._state.frame is not None:
            self.update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """End a drag; the right button without a drag asks for the menu."""
        gesture, placed = self._gesture, self.placement()
        if event.button() == Qt.MouseButton.LeftButton and self._plane_drag is not None:
            self._plane_drag = None
            self.requested.emit("view.settle", None)  # the next tilt is undone by itself
            return
        if event.button() == Qt.MouseButton.LeftButton and placed is not None and gesture is None:
            self._request(self._measuring.release(placed, event.position()))
        if gesture is not None and event.button() == gesture.button:
            self._gesture = None
            if gesture.has_moved:
                self.requested.emit("view.settle", None)
        if event.button() == Qt.MouseButton.RightButton and (gesture is None or not gesture.has_moved):
            hit = self._measurements.hit(self._state, placed, event.position()) if placed is not None else None
            if hit is not None:  # the menu is about what lies under the mouse
                self.requested.emit("measure.select", hit.measurement.uid)
            self.menu_requested.emit(event.globalPosition().toPoint())

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """Give the viewport the whole room, or fit the image; while measuring, the second of two clicks."""
        placed = self.placement()
        if event.button() == Qt.MouseButton.LeftButton and placed is not None and self._measures_at(event.position()):
            closed = self._measuring.close_outline()
            self._request(closed)
            if not closed:
                self._press_measuring(placed, event.position())
        elif event.button() == Qt.MouseButton.LeftButton:
            self.requested.emit("view.fit" if self._shape == (1, 1) else "layout.maximise", None)

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802 - Qt's name
        """Scroll through the slices, with Shift in time (or echoes, b-values), or zoom about the cursor with Ctrl."""
        event.accept()
        self.touched.emit()
        # Some systems turn the wheel's axis while Shift is held.
        self._wheel += event.angleDelta().y() or event.angleDelta().x()
        notches = int(self._wheel / _WHEEL_NOTCH)
        self._wheel -= notches * _WHEEL_NOTCH
        if not notches:
            return
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            placed = self.placement()
            if placed is not None:
                self.requested.emit("view.place", wheel_zoom(placed, event.position(), notches))
        elif self._state.selection is None:
            return
        elif event.modifiers() & Qt.KeyboardModifier.ShiftModifier and self._state.selection.stack.axis is not None:
            self.requested.emit("image.show_volume", self._state.selection.volume_number - notches)
        else:
            self.requested.emit("image.show", self._state.selection.index - notches)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:  # noqa: N802 - Qt's name
        """Only the keyboard's menu key: the mouse asks on release, as the right button also zooms."""
        if event.reason() == QContextMenuEvent.Reason.Keyboard:
            self.menu_requested.emit(self.mapToGlobal(self.rect().center()))

    def leaveEvent(self, event: object) -> None:  # noqa: N802, ARG002 - Qt's name and arguments
        """No cursor, no value under it; that of the keyboard stays."""
        self._cursor = self._pointer.at
        self.update()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802, ARG002 - Qt's name and arguments
        """What fits is another size now."""
        self.update()

    def event(self, event: QEvent) -> bool:
        """While something is drawn or moved, Esc and Enter are not the window's shortcuts; the strip has a tooltip."""
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            fidelity_strip.tell(self, event, self._said)
            return True
        is_key = event.type() == QEvent.Type.ShortcutOverride and isinstance(event, QKeyEvent)
        if is_key and self._measuring.is_busy and event.key() in _DRAWING_KEYS:  # type: ignore[attr-defined]
            event.accept()
            return True
        # A reader may have given Space to a command: it shows the pointer only where it means nothing else.
        if is_key and self._pointer.at is not None and self._pointer.wants(event):  # type: ignore[arg-type]
            event.accept()
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 - Qt's name
        """Keys are shortcuts of the command table; only what is being drawn has some of its own."""
        if self._measuring.is_busy and event.key() in _DRAWING_KEYS:
            if event.key() == Qt.Key.Key_Escape:
                self._measuring.cancel()
            else:
                self._request(self._measuring.close_outline())
            self.update()
            return
        placed = self.placement()
        if placed is None or not self._pointer.wants(event):
            event.ignore()
            return
        self.touched.emit()
        self._request(self._pointer.press(event, self._state, placed, self._image_area()))
        self._cursor = self._pointer.at
        if self._cursor is not None and self._state.frame is not None:
            value = self._probe_text(self._state.frame, *placed.image_point(self._cursor))
            self.setAccessibleDescription(", ".join(part for part in (spoken(self._state), value) if part))
        self.update()

    def _press_measuring(self, placed: Placement, at: QPointF) -> bool:
        """Let the press begin or go on with a measurement; says whether it was for one."""
        pressed = self._measuring.press(self._state, placed, at)
        self._request(pressed.wishes)
        if pressed.is_taken:
            self.update()
        return pressed.is_taken

    def _measures_at(self, at: QPointF) -> bool:
        placed = self.placement()
        is_measuring = self._state.tool in KINDS or self._measuring.is_busy
        return is_measuring or (placed is not None and self._measurements.hit(self._state, placed, at) is not None)

    def _request(self, wishes: Sequence[Wish]) -> None:
        for wish in wishes:
            self.requested.emit(*wish)

    def _use_cursor(self, placed: Placement | None = None) -> None:
        """A cross to measure with; another shape over what can be grasped."""
        hit = None
        if placed is not None and self._cursor is not None and not self._measuring.is_busy:
            hit = self._measurements.hit(self._state, placed, self._cursor)
        drag = None
        if hit is None and placed is not None and self._cursor is not None and self._state.tool not in KINDS:
            drag = grasp(placed, self._lines, self._cursor)
        if drag is not None:
            self.setCursor(Qt.CursorShape.SizeAllCursor if drag.middle is None else Qt.CursorShape.PointingHandCursor)
        elif hit is not None:
            self.setCursor(Qt.CursorShape.SizeAllCursor if hit.handle is None else Qt.CursorShape.PointingHandCursor)
        elif self._state.tool in KINDS:
            self.setCursor(Qt.CursorShape.CrossCursor)
        else:
            self.unsetCursor()

    def _image_area(self) -> QRectF:
        """Where the image lies: all but the strip that says how faithful it is."""
        return QRectF(0, 0, self.width(), max(self.height() - fidelity_strip.STRIP_PX, 1))

    def _picture(self) -> Picture | None:
        return self._pictures(self._state)

    def _point(self, where: QPointF) -> None:
        """Ask every viewport of the same frame of reference to show the place under the cursor."""
        placed, grid = self.placement(), shown_grid(self._state)
        if placed is not None and grid is not None and len(pane_numbers(self._state)) > 1:
            self.touched.emit()
            place = to_patient(grid, *placed.image_point(where))
            self.requested.emit("layout.point", tuple(float(value) for value in place))

    def _paint_annotations(self, painter: QPainter, placed: Placement) -> None:
        shown, appearance = shown_presentation(self._state), appearance_of(self._state)
        if shown is not None and appearance is not None and self._state.drawings_shown:
            has_words = not self._state.identity_hidden
            AnnotationPainter(placed, shown, appearance, has_words=has_words).paint(painter)

    def _paint_measurements(self, painter: QPainter, placed: Placement, shown: Shown | None) -> None:
        shapes = self._measuring.shapes(self._state)
        area = self._image_area()
        taken = viewport_marks.taken_rects(area, self._texts(shown), self.letters()) if shapes else ()
        self._measurements.paint(painter, placed, area, shapes, taken)

    def _texts(self, shown: Shown | None) -> Corners:
        is_small = self.width() < _SMALL_PX.width() or self.height() < _SMALL_PX.height()
        most = viewport_marks.lines_above_side_letters(self._image_area()) if is_small else 99
        return corners(self._state, shown, is_small=is_small, most=most)

    def _paint_layer_bar(self, painter: QPainter, laid: Sequence[Laid], shown: Shown | None) -> None:
        scalar = next((one for one in laid if isinstance(one.source, ScalarLayer)), None)
        if scalar is not None and isinstance(scalar.source, ScalarLayer):
            words = f"{visible(scalar.source.modality)}  {quantity_words(scalar.source)}"
            if self._has_room_for_bar(shown):
                viewport_marks.paint_layer_bar(painter, self._image_area(), scalar, words)
        picture = self._picture()
        if picture is None:
            return
        bar = viewport_marks.palette_bar_of(picture.frame.description, self._state.view, self.window_shown())
        # Beside the edge that is free; where heat map and layer have both, the corner still names the palette.
        is_left = scalar is None
        is_free = self._has_room_for_bar(shown) if is_left else self.painted_heat_maps is None
        if bar is not None and is_free:
            viewport_marks.paint_palette_bar(painter, self._image_area(), bar, is_left=is_left)

    def _has_room_for_bar(self, shown: Shown | None) -> bool:
        """Whether a bar beside the left edge leaves all words free: in a small viewport who it is counts for more."""
        area = self._image_area()
        bar = viewport_marks.layer_bar_rect(area, with_words=True)
        taken = viewport_marks.taken_rects(area, self._texts(shown), self.letters())
        return not any(bar.intersects(one) for one in taken)

    def _paint_marks(self, painter: QPainter, shown: Shown | None) -> None:
        state = self._state
        area = self._image_area()
        self._said = fidelity(state, shown)
        fidelity_strip.paint_strip(painter, QRectF(self.rect()), self._said)
        self._corners.paint(painter, area, self._texts(shown))
        if state.frame is not None:
            viewport_marks.paint_letters(painter, area, self.letters())
        if self.painted_heat_maps is not None:
            viewport_marks.paint_color_bar(painter, area, state, self.painted_heat_maps)
        paint_region_legend(painter, area, state)
        if state.frame_problem:
            viewport_marks.paint_problem(painter, area, state.frame_problem)
        elif state.frame is None:
            viewport_marks.paint_reading(painter, area)

    def _probe_text(self, frame: Frame, column: float, row: float) -> str:
        """What lies under the mouse, and as which grey it is shown."""
        text, picture, view = probe_text(frame, column, row), self._picture(), self._state.view
        is_there = row < frame.stored.shape[0] - frame.missing_rows
        if not text or not is_there or picture is None or picture.frame.stored is not frame.stored:
            return text
        level = picture.level_at(view.window, view.inverted, int(row // 1), int(column // 1))
        return f"{text}  {tr('grey {n}').format(n=level)}" if level is not None else text

    def _shown(self, placed: Placement, level: int, laid: Sequence[Laid]) -> Shown:
        """What is drawn, with what lies under the mouse."""
        state = self._state
        probe, layer_probe = "", tuple[str, ...]()
        if self._cursor is not None and state.frame is not None:
            column, row = placed.image_point(self._cursor)
            probe = self._probe_text(state.frame, column, row)
            layer_probe = tuple(words_of_file(state, line) for line in probe_lines(laid, column, row))
        over = state.selection.series.modality if state.selection is not None else ""
        lines = layer_lines(laid, over, is_slab=state.cut is not None and state.cut.slab_mm > 0)
        lines = (*lines, *absent_lines(of_other_volumes(state)))
        if state.is_playing and (self._is_active or self._shape == (1, 1)):
            lines = (*lines, cine_words(state))
        return Shown(placed.zoom, state.view.zoom is None, self.window_shown(), level, probe, layer_probe, lines)


_DRAWN_FROM = (
    "selection", "cut", "vacancy", "crosshair", "drawings_shown", "shutters_shown", "presentations", "key_images",
    "keys_only", "key_objects", "frame", "frame_problem", "view", "overlay", "heat_map", "answers", "attributions",
    "measurements", "values", "selected_measurement", "tool", "model_id", "record_mismatch", "corner_text",
    "identity_hidden", "is_magnifying", "is_playing", "cine_pace", "language", "layers", "layers_shown",
    "layer_sources", "laid", "read_first", "impressions", "is_partial",
)  # fmt: skip


_SPOKEN_FROM = ("selection", "cut", "vacancy", "identity_hidden", "language")


def _is_same_stack(old: State, new: State) -> bool:
    """Whether a drag goes on: through the images of one stack, or the planes of one volume, and never to another."""
    if old.selection is None or new.selection is None or (old.cut is None) != (new.cut is None):
        return False
    return old.selection.stack_key == new.selection.stack_key
