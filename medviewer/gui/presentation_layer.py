"""What a presentation state lays over the image: graphics and words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter, QPainterPath, QPen, QPolygonF, QTransform

from medviewer.domain.measurement import Point
from medviewer.domain.presentation import (
    Annotation,
    Appearance,
    DisplayedArea,
    Graphic,
    PresentationState,
    TextObject,
    Units,
    from_display,
)
from medviewer.gui import theme
from medviewer.gui.placing import Placement
from medviewer.gui.text import visible

_WIDTH = 1.5
_RIM = 1.25
_POINT_PX = 3.0
_GAP_PX = 6.0


class AnnotationPainter:
    """Draws the graphics and words of a presentation state, layer upon layer, at one width at any zoom.

    Words are anybody's: without ``has_words`` they stay away, as they may name the patient.
    """

    def __init__(
        self, placed: Placement, state: PresentationState, appearance: Appearance, *, has_words: bool = True
    ) -> None:
        self._placed, self._presentation, self._has_words = placed, state, has_words
        self._annotations = appearance.annotations
        self._area = appearance.area or DisplayedArea(0, 0, placed.columns, placed.rows)

    def paint(self, painter: QPainter) -> None:
        """Draw them all."""
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for annotation in self._annotations:
            ink, rim = _inks(annotation)
            for graphic in annotation.graphics:
                self._paint_graphic(painter, graphic, ink, rim)
            for text in annotation.texts if self._has_words else ():
                self._paint_text(painter, text, ink, rim)
        painter.restore()

    def points(self, points: Sequence[Point], units: Units) -> list[QPointF]:
        """Places of the viewport."""
        if units == "DISPLAY":
            turns, flip = self._presentation.quarter_turns, self._presentation.flip_horizontal
            points = [from_display(p, self._area, quarter_turns=turns, flip_horizontal=flip) for p in points]
        return [self._placed.transform.map(QPointF(*point)) for point in points]

    def _paint_graphic(self, painter: QPainter, graphic: Graphic, ink: QColor, rim: QColor) -> None:
        path = graphic_path(graphic, self.points(graphic.points, graphic.units))
        _stroke(painter, path, ink, rim)
        if graphic.is_filled or graphic.kind == "POINT":
            painter.fillPath(path, ink)

    def _paint_text(self, painter: QPainter, text: TextObject, ink: QColor, rim: QColor) -> None:
        font = theme.text_font(theme.SMALL_PX, QFont.Weight.Medium)
        words = "\n".join(visible(line) for line in text.text.splitlines())
        size = QFontMetricsF(font).boundingRect(QRectF(0, 0, 4000, 4000), 0, words).size()
        anchor = self.points([text.anchor], text.anchor_units)[0] if text.anchor is not None else None
        if text.box is not None:
            room = QPolygonF(self.points(text.box, text.box_units)).boundingRect()
        else:
            assert anchor is not None  # noqa: S101 - a text has one of both
            room = QRectF(anchor + QPointF(_GAP_PX, -size.height() / 2), size)
        side = {"LEFT": Qt.AlignmentFlag.AlignLeft, "CENTER": Qt.AlignmentFlag.AlignHCenter}
        place = side.get(text.justification, Qt.AlignmentFlag.AlignRight) | Qt.AlignmentFlag.AlignTop
        flags = int(place | Qt.TextFlag.TextDontClip)
        painter.setFont(font)
        if anchor is not None and text.is_anchor_visible:
            line = QPainterPath(_nearest(painter.boundingRect(room, flags, words), anchor))
            line.lineTo(anchor)
            _stroke(painter, line, ink, rim)
        for ink_, shifts in ((rim, ((-1, 0), (1, 0), (0, -1), (0, 1))), (ink, ((0, 0),))):
            painter.setPen(ink_)
            for x, y in shifts:
                painter.drawText(room.translated(x, y), flags, words)


def graphic_path(graphic: Graphic, points: Sequence[QPointF]) -> QPainterPath:
    """The lines of a graphic through places of the viewport."""
    path = QPainterPath()
    if graphic.kind == "POINT":
        path.addEllipse(points[0], _POINT_PX, _POINT_PX)
    elif graphic.kind == "CIRCLE":
        radius = math.hypot(points[1].x() - points[0].x(), points[1].y() - points[0].y())
        path.addEllipse(points[0], radius, radius)
    elif graphic.kind == "ELLIPSE":
        path.addEllipse(QPointF(0, 0), 1.0, 1.0)
        path = _axes(points).map(path)
    elif graphic.kind == "POLYLINE":
        path.addPolygon(QPolygonF(list(points)))
    else:
        path = _through(points)
    return path


def _axes(points: Sequence[QPointF]) -> QTransform:
    """From a circle of radius 1 to the ellipse whose axes end in the four points."""
    one, other = (points[1] - points[0]) / 2, (points[3] - points[2]) / 2
    middle = (points[0] + points[1]) / 2
    return QTransform(one.x(), one.y(), other.x(), other.y(), middle.x(), middle.y())


def _through(points: Sequence[QPointF]) -> QPainterPath:
    """A smooth curve through all points (Catmull-Rom); the standard leaves the kind of curve open."""
    is_closed = points[0] == points[-1] and len(points) > 3
    before, after = (points[-2], points[1]) if is_closed else (points[0], points[-1])
    around = [before, *points, after]
    path = QPainterPath(points[0])
    for index in range(1, len(around) - 2):
        start, end = around[index], around[index + 1]
        path.cubicTo(start + (end - around[index - 1]) / 6, end - (around[index + 2] - start) / 6, end)
    return path


def _inks(annotation: Annotation) -> tuple[QColor, QColor]:
    """The layer's grey, or the tint of all marks; and a rim that stands out from it on any image."""
    t = theme.tokens()
    if annotation.grey is None:
        return theme.color(t.overlay_text), theme.color(t.viewport, 0.75)
    grey = round(255 * annotation.grey)
    return QColor(grey, grey, grey), theme.color(t.viewport if grey > 110 else t.overlay_text, 0.75)


def _stroke(painter: QPainter, path: QPainterPath, ink: QColor, rim: QColor) -> None:
    for pen in (QPen(rim, _WIDTH + 2 * _RIM), QPen(ink, _WIDTH)):
        pen.setCapStyle(Qt.PenCapStyle.RoundCap)
        pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
        painter.strokePath(path, pen)


def _nearest(room: QRectF, point: QPointF) -> QPointF:
    return QPointF(min(max(point.x(), room.left()), room.right()), min(max(point.y(), room.top()), room.bottom()))
