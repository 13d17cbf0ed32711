"""Measurements over the image: thin lines that stay legible on white bone, and their values beside them."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter, QPainterPath, QPen, QTransform

from medviewer.app.on_screen import measurements_of, value_of
from medviewer.app.state import State
from medviewer.domain.frozen import dataclass
from medviewer.domain.measurement import Measurement
from medviewer.gui import theme
from medviewer.gui.measurement_shapes import handle_near, handles, is_on_line, screen_path
from medviewer.gui.measurement_words import has_remark, image_lines
from medviewer.gui.placing import Placement

_WIDTH, _SELECTED_WIDTH, _RIM = 1.5, 2.5, 1.25  # px on screen, at any zoom
_HANDLE_RADIUS, _SELECTED_RADIUS = 3.0, 4.0
_GAP_PX, _PADDING_PX = 10.0, 5.0
_LINE = 1.35
_MOST_IN_PEACE = 40  # labels that keep out of each other's way
_STEPS_AWAY = (0.7, -0.7, 1.2, -1.2, 1.8, -1.8, 2.5, -2.5, 3.5, -3.5)  # heights of a label up or down


@dataclass(frozen=True, slots=True)
class Hit:
    """What lies under the mouse: a point of a measurement, its lines, or its label (``handle`` None)."""

    measurement: Measurement
    handle: int | None = None
    is_label: bool = False


@dataclass(frozen=True, slots=True)
class Shape:
    """One measurement as it is to be drawn, with its words; ``must_be_whole`` if none of them may be left out."""

    measurement: Measurement
    lines: tuple[str, ...]
    is_selected: bool = False
    must_be_whole: bool = False


class MeasurementLayer:
    """Draws the measurements of the image on screen and knows what lies where."""

    def __init__(self) -> None:
        self.offsets: dict[str, QPointF] = {}  # where readers dragged labels to, from where they would stand
        self.labels: dict[str, QRectF] = {}  # where the last paint put them
        self._homes: dict[str, QPointF] = {}  # from where offsets are counted
        self._lines: dict[str, tuple[str, ...]] = {}  # that are shown of each label
        self._laid_out: list[tuple[Shape, QPainterPath]] = []
        self._laid_out_for: object = None
        self._taken: tuple[QRectF, ...] = ()

    def paint(
        self,
        painter: QPainter,
        placed: Placement,
        area: QRectF,
        shapes: Sequence[Shape],
        taken: Sequence[QRectF] = (),
    ) -> None:
        """Draw them: the selected one last, over the others; then all labels, off the places that are taken."""
        self._lay_out(placed, area, shapes, taken)
        painter.save()
        painter.setClipRect(area)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for shape, path in self._laid_out:
            _paint_shape(painter, placed.transform, shape, path)
        for shape, path in self._laid_out:
            if shape.measurement.uid in self.labels:
                self._paint_label(painter, shape, path)
        painter.restore()

    def _lay_out(self, placed: Placement, area: QRectF, shapes: Sequence[Shape], taken: Sequence[QRectF]) -> None:
        """Find where all of it goes; kept, as every move of the mouse paints the image anew."""
        key = (placed, QRectF(area), tuple(shapes), dict(self.offsets), tuple(taken))
        if key == self._laid_out_for:
            return
        self._laid_out_for = key
        self._taken = tuple(taken)
        self.labels, self._homes, self._lines = {}, {}, {}
        ordered = sorted(shapes, key=lambda shape: shape.is_selected)
        self._laid_out = [(s, screen_path(s.measurement.kind, s.measurement.points, placed.transform)) for s in ordered]
        for shape, path in reversed(self._laid_out):
            # Where there are very many, no room would be found anyway.
            is_crowded = len(ordered) > _MOST_IN_PEACE
            others = [] if is_crowded else [other for _, other in self._laid_out if other is not path]
            around = path.boundingRect().adjusted(-1, -1, 1, 1)
            if shape.lines and around.intersects(area):
                self._place_label(area, shape, path, others)

    def hit(self, state: State, placed: Placement, where: QPointF) -> Hit | None:
        """What of the measurements on screen lies there; points before lines before labels, the selected one first."""
        own = list(reversed(shown(state)))
        own.sort(key=lambda one: one.uid != state.selected_measurement)
        for one in own:
            handle = handle_near(one.kind, one.points, placed.transform, where)
            if handle is not None:
                return Hit(one, handle)
        for one in own:
            if is_on_line(screen_path(one.kind, one.points, placed.transform), where):
                return Hit(one)
        for one in own:
            if one.uid in self.labels and self.labels[one.uid].contains(where):
                return Hit(one, is_label=True)
        return None

    def offset_of(self, uid: str) -> QPointF:
        """Where a label stands now, from its home."""
        return self.labels[uid].topLeft() - self._homes[uid] if uid in self.labels else QPointF()

    def _place_label(self, area: QRectF, shape: Shape, path: QPainterPath, others: Sequence[QPainterPath]) -> None:
        """All lines where there is room, else the first one: the list beside the image has the rest."""
        uid, inner = shape.measurement.uid, area.adjusted(2, 2, -2, -2)
        whole, first = shape.lines, (f"{shape.lines[0]} …",)
        home = _beside(path, _label_size(whole))[0]
        self._homes[uid], self._lines[uid] = home.topLeft(), whole
        if uid in self.offsets:
            self.labels[uid] = _moved_into(home.translated(self.offsets[uid]), inner)
            return
        may_shorten = len(whole) > 1 and not shape.is_selected and not shape.must_be_whole
        for lines in (whole, first) if may_shorten else (whole,):
            box = self._room(inner, path, _label_size(lines), others)
            self._lines[uid] = lines
            if box is not None:
                self.labels[uid] = box
                return
        self.labels[uid] = _moved_into(_beside(path, _label_size(self._lines[uid]))[0], inner)

    def _paint_label(self, painter: QPainter, shape: Shape, path: QPainterPath) -> None:
        box = self.labels[shape.measurement.uid]
        if box not in _beside(path, box):  # a thread says what a label belongs to that does not stand beside it
            painter.setPen(QPen(_ink(shape), 1.25, Qt.PenStyle.DashLine))
            painter.drawLine(box.center(), _nearest_on(path, box.center()))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.color(theme.tokens().viewport, 0.8))
        painter.drawRoundedRect(box, 4, 4)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setFont(_label_font())
        painter.setPen(_ink(shape))
        left, top = box.left() + _PADDING_PX, box.top() + _PADDING_PX - 1 + QFontMetricsF(painter.font()).ascent()
        for number, line in enumerate(self._lines[shape.measurement.uid]):
            painter.drawText(QPointF(left, top + number * theme.SMALL_PX * _LINE), line)

    def _room(self, area: QRectF, path: QPainterPath, size: QRectF, others: Sequence[QPainterPath]) -> QRectF | None:
        """Beside the shape, in the viewport, over no other label and if possible no other shape; None without room."""
        near = _beside(path, size)
        away = [box.translated(0, step * size.height()) for step in _STEPS_AWAY for box in near[:2]]
        boxes = [box for box in (*near, *away) if area.contains(box)]
        labels = () if len(self.labels) > _MOST_IN_PEACE else (*self._taken, *self.labels.values())
        free = [box for box in boxes if not any(box.intersects(label) for label in labels)]
        clear = [box for box in free if not any(other.intersects(box) for other in others)]
        return next(iter((*clear, *free)), None)


def paint_lines_only(painter: QPainter, placed: Placement, shapes: Sequence[Shape]) -> None:
    """Draw measurements without their words, as under a glass."""
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    for shape in sorted(shapes, key=lambda shape: shape.is_selected):
        one = shape.measurement
        _paint_shape(painter, placed.transform, shape, screen_path(one.kind, one.points, placed.transform))


def shown(state: State) -> tuple[Measurement, ...]:
    """The measurements that the reader sees on the image on screen."""
    return () if state.corner_text == "none" or state.frame is None else measurements_of(state)


def shapes_of(state: State) -> tuple[Shape, ...]:
    """The measurements on screen with their words."""
    return tuple(_shape(state, one) for one in shown(state))


def _shape(state: State, one: Measurement) -> Shape:
    value = value_of(state, one)
    is_selected = one.uid == state.selected_measurement
    return Shape(
        one, image_lines(one, value, state), is_selected, must_be_whole=value is not None and has_remark(value)
    )


def _paint_shape(painter: QPainter, transform: QTransform, shape: Shape, path: QPainterPath) -> None:
    ink = _ink(shape)
    width = _SELECTED_WIDTH if shape.is_selected else _WIDTH
    rim = QPen(theme.color(theme.tokens().viewport, 0.75), width + 2 * _RIM)
    line = QPen(ink, width)
    for pen in (rim, line):
        pen.setCapStyle(Qt.PenCapStyle.RoundCap)
        pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
        painter.strokePath(path, pen)
    if shape.measurement.kind == "probe":
        return
    radius = _SELECTED_RADIUS if shape.is_selected else _HANDLE_RADIUS
    points = handles(shape.measurement.kind, shape.measurement.points)
    is_outline = shape.measurement.kind in ("rectangle", "ellipse", "freehand")
    for point in points if shape.is_selected or not is_outline else ():
        middle = transform.map(QPointF(*point))
        # Hollow: what lies under the end of a line is what the reader aims at.
        for pen in (QPen(theme.color(theme.tokens().viewport, 0.75), 1.25 + 2 * _RIM), QPen(ink, 1.25)):
            painter.setPen(pen)
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawEllipse(middle, radius, radius)


def _label_font() -> QFont:
    return theme.text_font(theme.SMALL_PX, QFont.Weight.Medium)


def _label_size(lines: Sequence[str]) -> QRectF:
    metrics = QFontMetricsF(_label_font())
    width = max(metrics.horizontalAdvance(line) for line in lines) + 2 * _PADDING_PX
    return QRectF(0, 0, width, len(lines) * theme.SMALL_PX * _LINE + 2 * _PADDING_PX - 2)


def _ink(shape: Shape) -> QColor:
    t = theme.tokens()
    return theme.color(t.measure_selected if shape.is_selected else t.measure)


def _beside(path: QPainterPath, size: QRectF) -> list[QRectF]:
    """Where a label may stand: at the shape's right or left end, below or above it."""
    around, points = path.boundingRect(), _corners(path)
    last, first = max(points, key=lambda p: p.x()), min(points, key=lambda p: p.x())
    lowest, highest = max(points, key=lambda p: p.y()), min(points, key=lambda p: p.y())
    width, height = size.width(), size.height()
    places = (
        QPointF(around.right() + _GAP_PX, last.y() - height / 2),
        QPointF(around.left() - _GAP_PX - width, first.y() - height / 2),
        QPointF(lowest.x() - width / 2, around.bottom() + _GAP_PX),
        QPointF(highest.x() - width / 2, around.top() - _GAP_PX - height),
    )
    return [QRectF(place, size.size()) for place in places]


def _moved_into(box: QRectF, area: QRectF) -> QRectF:
    moved = QRectF(box)
    moved.moveLeft(max(min(box.left(), area.right() - box.width()), area.left()))
    moved.moveTop(max(min(box.top(), area.bottom() - box.height()), area.top()))
    return moved


def _nearest_on(path: QPainterPath, where: QPointF) -> QPointF:
    """The nearest corner of a path."""
    return min(_corners(path), key=lambda p: (p - where).manhattanLength(), default=where)


def _corners(path: QPainterPath) -> list[QPointF]:
    return [QPointF(path.elementAt(i).x, path.elementAt(i).y) for i in range(path.elementCount())]
