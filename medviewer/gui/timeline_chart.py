"""Dated values as small charts under each other, one row a quantity, on one time axis.

pyqtgraph draws, zooms and pans; names, values and limits are labels of Qt, so that they are plain
text, are cut where they are too long, and can be read aloud. Imported when a record has values.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QEvent, QPoint, QPointF, QSize, Qt, Signal
from PySide6.QtGui import QFocusEvent, QFontMetrics, QKeyEvent, QMouseEvent, QPen, QResizeEvent, QWheelEvent
from PySide6.QtWidgets import QGridLayout, QSizePolicy, QWidget

from medviewer.domain.case import Observation
from medviewer.gui import theme
from medviewer.gui.cards import line
from medviewer.gui.quantity import Quantity, latest, short_number
from medviewer.gui.text import ElidedLabel, PlainLabel, set_tooltip, tr
from medviewer.gui.time_axis import HEIGHT_PX, TimeAxis, span_words
from medviewer.records.record import format_observation, placed, time_words, with_zone

_ROW_PX, _TOP_PX, _LABEL_PX, _RIGHT_PX = 56, 16, 124, 36
_EDGE_PX = 12  # between the highest and lowest point and the border of a row
_HIT_PX = 12
_LEAST_S = 300.0  # as far as the axis has words for
_PAD = _EDGE_PX / (_ROW_PX - 2 * _EDGE_PX)


class _Curve(NamedTuple):
    """One row as it is drawn: seconds from the origin, and heights from 0 (lowest value) to 1 (highest)."""

    view: pg.ViewBox
    line: pg.PlotCurveItem
    dots: pg.ScatterPlotItem
    seconds: np.ndarray
    heights: np.ndarray


class _Canvas(pg.GraphicsView):  # type: ignore[misc]  # pyqtgraph has no types
    """pyqtgraph's drawing area inside a panel that scrolls: the wheel belongs to the panel unless Ctrl is held."""

    left = Signal()
    wants_all = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent, background=None)
        self.setProperty("kind", "clear")
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the chart as a whole takes the keyboard
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)
        self.centralLayout.setSpacing(0)

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802 - Qt's name
        """Zoom along time with Ctrl; else let the panel scroll."""
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            super().wheelEvent(event)
        else:
            event.ignore()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """Back to the whole time."""
        event.accept()
        self.wants_all.emit()

    def leaveEvent(self, event: QEvent) -> None:  # noqa: N802 - Qt's name
        """No point under the mouse."""
        super().leaveEvent(event)
        self.left.emit()


class TimelineChart(QWidget):
    """One row a quantity: name, latest value with unit, and the curve; dates below, the study as a dashed line.

    Drag moves through time, Ctrl and wheel or + and - zoom, a double click or Escape shows all again;
    the arrow keys go from value to value.
    """

    def __init__(
        self, rows: Sequence[Quantity], mark: datetime | None = None, mark_name: str = "", parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._rows = tuple(rows)
        self._zone = mark.tzinfo if mark is not None else None  # all is told by the study's clock, else by ours
        self._mark = with_zone(mark) if mark is not None else None
        times = [placed(o.time, self._zone) for row in self._rows for o in row.values]
        times += [self._mark] if self._mark is not None else []
        start, end = _padded(min(times), max(times)) if times else _padded(*[datetime.now().astimezone()] * 2)
        self._origin, self._span_s = start, (end - start).total_seconds()
        self._chosen: tuple[int, int] | None = None
        self._right_px = _right_width(self._rows)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setAccessibleName("; ".join(f"{row.name} {latest(row)}" for row in self._rows))
        self._canvas = _Canvas(self)
        self._axis = TimeAxis(start, len(self._rows) * _ROW_PX, self._zone)
        self._marks: list[pg.InfiniteLine] = []
        self._curves: list[_Curve] = []
        for row in self._rows:
            self._add_curve(row)
        self._ring = pg.ScatterPlotItem(size=11, pxMode=True)
        self._ring.setZValue(10)
        self._span_label = PlainLabel("", "small")
        self._mark_label = PlainLabel(mark_name, "small", self)
        self._readout = PlainLabel("", "", self)
        self._readout.setProperty("kind", "overlay")
        self._readout.setMargin(6)
        self._lay_out()
        self._dress()
        self._canvas.scene().sigMouseMoved.connect(self._hovered)
        self._canvas.left.connect(self._unhovered)
        self._canvas.wants_all.connect(self.show_all)
        self._range_changed()

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """A row for each quantity and one for the dates."""
        return QSize(320, _TOP_PX + len(self._rows) * _ROW_PX + HEIGHT_PX)

    def minimumSizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """As high as it wants to be, in any width."""
        return QSize(200, self.sizeHint().height())

    def span(self) -> tuple[datetime, datetime]:
        """The time in view."""
        low, high = self._range_s()
        return self._axis.moment(low), self._axis.moment(high)

    def show_all(self) -> None:
        """Show the whole time again."""
        self._set_range(0.0, self._span_s)

    def zoom(self, factor: float, about: datetime | None = None) -> None:
        """Show ``factor`` times the time in view, around a moment (default: the middle)."""
        low, high = self._range_s()
        center = self._seconds(about) if about is not None else (low + high) / 2
        self._set_range(center - (center - low) * factor, center + (high - center) * factor)

    def point_of(self, row: int, observation: Observation) -> QPointF:
        """Where a value lies, in widget pixels."""
        return self._place(row, self._rows[row].values.index(observation))

    def value_at(self, place: QPoint) -> Observation | None:
        """The value whose point is nearest to a place, if one is near."""
        found = self._near(QPointF(place))
        return self._rows[found[0]].values[found[1]] if found is not None else None

    def readout(self) -> str:
        """What is said of the value under the mouse or chosen with the keyboard; empty if none is."""
        return self._readout.text() if self._chosen is not None else ""

    def event(self, event: QEvent) -> bool:
        """Keep the arrow keys from the window's shortcuts while the chart has the keyboard."""
        if event.type() == QEvent.Type.ShortcutOverride and isinstance(event, QKeyEvent) and self._wish_of(event):
            event.accept()
            return True
        if event.type() == QEvent.Type.DevicePixelRatioChange:
            self._dress()
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 - Qt's name
        """Go to another value, zoom, or show all."""
        wish = self._wish_of(event)
        if wish is None:
            super().keyPressEvent(event)
            return
        kind, amount = wish
        if kind == "all":
            self.show_all()
        elif kind == "zoom":
            self.zoom(amount, self._rows[self._chosen[0]].values[self._chosen[1]].time if self._chosen else None)
        elif self._curves:
            self._step(kind, int(amount))

    def focusInEvent(self, event: QFocusEvent) -> None:  # noqa: N802 - Qt's name
        """Show where the keyboard is: on the latest value of the first row."""
        super().focusInEvent(event)
        is_key = event.reason() in (Qt.FocusReason.TabFocusReason, Qt.FocusReason.BacktabFocusReason)
        if is_key and self._curves and self._chosen is None:
            self._choose(0, len(self._rows[0].values) - 1)

    def focusOutEvent(self, event: QFocusEvent) -> None:  # noqa: N802 - Qt's name
        """Nothing is chosen any more."""
        super().focusOutEvent(event)
        self._clear_choice()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 - Qt's name
        """Labels that follow the curves go with them."""
        super().resizeEvent(event)
        self._range_changed()

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802 - Qt's name
        """Another theme has other colours."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and getattr(self, "_tokens", None) not in (None, theme.tokens()):
            self._dress()

    def _add_curve(self, row: Quantity) -> None:
        view = pg.ViewBox(enableMenu=False, defaultPadding=0.0)
        view.setMouseEnabled(x=True, y=False)
        view.setLimits(xMin=0.0, xMax=self._span_s, minXRange=min(_LEAST_S, self._span_s))
        view.setRange(xRange=(0.0, self._span_s), yRange=(-_PAD, 1 + _PAD), padding=0.0, disableAutoRange=True)
        seconds, heights = np.array([self._seconds(o.time) for o in row.values]), _heights(row)
        # The two items of a PlotDataItem by themselves: making it costs more than both.
        drawn = pg.PlotCurveItem(seconds, heights, antialias=True)
        dots = pg.ScatterPlotItem(seconds, heights, antialias=True, size=6, pen=None)
        for item in (drawn, dots):
            view.addItem(item, ignoreBounds=True)
        if self._mark is not None:
            self._marks.append(pg.InfiniteLine(self._seconds(self._mark), angle=90))
            view.addItem(self._marks[-1], ignoreBounds=True)
        self._curves.append(_Curve(view, drawn, dots, seconds, heights))

    def _lay_out(self) -> None:
        inside, last = self._canvas.centralLayout, 2 * len(self._rows) + 1
        inside.setContentsMargins(_LABEL_PX, _TOP_PX, self._right_px, 0)
        for number, curve in enumerate(self._curves):
            inside.addItem(curve.view, number, 0)
            inside.setRowFixedHeight(number, _ROW_PX)
        inside.addItem(self._axis, len(self._rows), 0)
        if self._curves:
            first, *others = (curve.view for curve in self._curves)
            self._axis.linkToView(first)
            for view in others:
                view.setXLink(first)
            first.sigXRangeChanged.connect(self._range_changed)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(0)
        grid.addWidget(self._canvas, 0, 0, last + 1, 3)
        grid.setRowMinimumHeight(0, _TOP_PX)
        grid.setColumnMinimumWidth(0, _LABEL_PX - 12)
        grid.setColumnStretch(1, 1)
        for number, row in enumerate(self._rows):
            self._add_words(grid, 2 * number + 1, row)
        grid.setRowMinimumHeight(last, HEIGHT_PX)
        grid.addWidget(self._span_label, last, 0)
        set_tooltip(self._span_label, tr("Drag to move through time, Ctrl and wheel to zoom, double click to show all"))
        for label in (self._mark_label, self._readout):
            label.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
            label.raise_()
            label.hide()

    def _add_words(self, grid: QGridLayout, at: int, row: Quantity) -> None:
        top, bottom = Qt.AlignmentFlag.AlignTop, Qt.AlignmentFlag.AlignBottom
        rule = line()
        rule.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        grid.addWidget(rule, at, 0, 1, 3, top)
        for offset in (0, 1):
            grid.setRowMinimumHeight(at + offset, _ROW_PX // 2)
        grid.addWidget(ElidedLabel(row.name, "small"), at, 0, bottom)
        grid.addWidget(ElidedLabel(latest(row), "strong"), at + 1, 0, top)
        values = [o.value for o in row.values]
        right = Qt.AlignmentFlag.AlignRight
        if max(values) == min(values):
            grid.addWidget(
                PlainLabel(short_number(values[0]), "small"), at, 2, 2, 1, right | Qt.AlignmentFlag.AlignVCenter
            )
            return
        for value, offset, place in ((max(values), 0, top), (min(values), 1, bottom)):
            label = PlainLabel(short_number(value), "small")
            label.setContentsMargins(0, 4 * (1 - offset), 0, 4 * offset)
            grid.addWidget(label, at + offset, 2, right | place)

    def _dress(self) -> None:
        t = self._tokens = theme.tokens()
        ratio = self.devicePixelRatioF()  # pens that do not zoom with the curve count the screen's own pixels
        pen = QPen(theme.color(t.accent, 0.7), 1.5 * ratio)
        dash = QPen(theme.color(t.secondary), ratio)
        dash.setDashPattern([4, 3])  # rows are a multiple of 7 px: the line goes on through them
        for one in (pen, dash):
            one.setCosmetic(True)
        for curve in self._curves:
            curve.line.setPen(pen)
            curve.dots.setBrush(theme.color(t.accent))
        for mark in self._marks:
            mark.setPen(dash)
        self._ring.setPen(pg.mkPen(theme.color(t.text), width=2 * ratio))
        self._ring.setBrush(theme.color(t.accent))
        self._axis.dress()

    def _seconds(self, moment: datetime) -> float:
        return (placed(moment, self._zone) - self._origin).total_seconds()

    def _range_s(self) -> tuple[float, float]:
        if not self._curves:
            return 0.0, self._span_s
        low, high = self._curves[0].view.viewRange()[0]
        return float(low), float(high)

    def _set_range(self, low: float, high: float) -> None:
        """Show these seconds, moved and cut such that they lie within the whole."""
        width = min(max(high - low, min(_LEAST_S, self._span_s)), self._span_s)
        low = min(max((low + high - width) / 2, 0.0), self._span_s - width)
        if self._curves:
            self._curves[0].view.setXRange(low, low + width, padding=0.0)  # the others follow

    def _range_changed(self) -> None:
        start, end = self.span()
        self._span_label.setText(span_words(start, end))
        self._place_mark_label()
        if self._chosen is not None:
            self._place_readout()

    def _place_mark_label(self) -> None:
        low, high = self._range_s()
        at = self._seconds(self._mark) if self._mark is not None else low - 1
        self._mark_label.setVisible(low <= at <= high and bool(self._mark_label.text()))
        width = self._mark_label.sizeHint().width()
        left = min(max(self._x_of(at) - width / 2, 0), self.width() - width)
        self._mark_label.setGeometry(round(left), 0, width, _TOP_PX - 2)

    def _x_of(self, seconds: float) -> float:
        low, high = self._range_s()
        return _LABEL_PX + (seconds - low) / (high - low) * (self.width() - _LABEL_PX - self._right_px)

    def _place(self, row: int, index: int) -> QPointF:
        curve = self._curves[row]
        share = (1 + _PAD - curve.heights[index]) / (1 + 2 * _PAD)
        return QPointF(self._x_of(curve.seconds[index]), _TOP_PX + (row + share) * _ROW_PX)

    def _near(self, place: QPointF) -> tuple[int, int] | None:
        row = int((place.y() - _TOP_PX) // _ROW_PX)
        if not 0 <= row < len(self._curves):
            return None
        low, high = self._range_s()
        plot_px = self.width() - _LABEL_PX - self._right_px
        wanted = low + (place.x() - _LABEL_PX) / max(plot_px, 1) * (high - low)
        seconds = self._curves[row].seconds
        index = int(np.argmin(np.abs(seconds - wanted)))
        is_seen = low <= seconds[index] <= high
        return (row, index) if is_seen and abs(self._x_of(seconds[index]) - place.x()) <= _HIT_PX else None

    def _hovered(self, place: QPointF) -> None:
        found = self._near(place)
        if found is not None:
            self._choose(*found)
        elif not self.hasFocus():
            self._clear_choice()

    def _unhovered(self) -> None:
        if not self.hasFocus():
            self._clear_choice()

    def _wish_of(self, event: QKeyEvent) -> tuple[str, float] | None:
        """What a key means here; None if nothing."""
        if event.modifiers() & ~(Qt.KeyboardModifier.ShiftModifier | Qt.KeyboardModifier.KeypadModifier):
            return None
        wish = _KEYS.get(Qt.Key(event.key()))
        is_whole = self._range_s() == (0.0, self._span_s)
        return None if wish is not None and wish[0] == "all" and is_whole else wish

    def _step(self, kind: str, amount: int) -> None:
        row, index = self._chosen or (0, len(self._rows[0].values) - 1)
        if kind == "row":
            moment = self._curves[row].seconds[index]
            row = min(max(row + amount, 0), len(self._rows) - 1)
            index = int(np.argmin(np.abs(self._curves[row].seconds - moment)))  # the nearest in time
        else:
            index = min(max(index + amount, 0), len(self._rows[row].values) - 1)
        self._bring_into_view(float(self._curves[row].seconds[index]))
        self._choose(row, index)

    def _bring_into_view(self, seconds: float) -> None:
        low, high = self._range_s()
        if not low <= seconds <= high:
            self._set_range(seconds - (high - low) / 2, seconds + (high - low) / 2)

    def _choose(self, row: int, index: int) -> None:
        if self._chosen == (row, index):
            return
        self._clear_choice()
        self._chosen = (row, index)
        curve, value = self._curves[row], self._rows[row].values[index]
        self._ring.setData([curve.seconds[index]], [curve.heights[index]])
        curve.view.addItem(self._ring, ignoreBounds=True)
        words = f"{format_observation(value)}\n{time_words(value.time, self._zone)}"
        self._readout.setText(words)
        self.setAccessibleDescription(f"{self._rows[row].name}: {self._readout.text()}")
        self._place_readout()

    def _clear_choice(self) -> None:
        if self._chosen is not None:
            self._curves[self._chosen[0]].view.removeItem(self._ring)
        self._chosen = None
        self._readout.hide()
        self.setAccessibleDescription("")

    def _place_readout(self) -> None:
        """Beside its point: over it, or under it in the first row; never over the edge."""
        if self._chosen is None:
            return
        low, high = self._range_s()
        self._readout.setVisible(bool(low <= self._curves[self._chosen[0]].seconds[self._chosen[1]] <= high))
        self._readout.adjustSize()
        point, size = self._place(*self._chosen), self._readout.size()
        left = min(max(point.x() - size.width() / 2, 0), self.width() - size.width())
        top = point.y() - size.height() - 10
        self._readout.move(round(left), round(top if top >= 0 else point.y() + 10))


_KEYS = {
    Qt.Key.Key_Left: ("value", -1),
    Qt.Key.Key_Right: ("value", 1),
    Qt.Key.Key_Home: ("value", -(10**9)),
    Qt.Key.Key_End: ("value", 10**9),
    Qt.Key.Key_Up: ("row", -1),
    Qt.Key.Key_Down: ("row", 1),
    Qt.Key.Key_Plus: ("zoom", 0.5),
    Qt.Key.Key_Equal: ("zoom", 0.5),
    Qt.Key.Key_Minus: ("zoom", 2.0),
    Qt.Key.Key_Escape: ("all", 0),
}


def _heights(row: Quantity) -> np.ndarray:
    """The values from 0 (lowest) to 1 (highest); halved first, as their distance may exceed the largest float."""
    values = np.array([o.value for o in row.values]) / 2
    distance = values.max() - values.min()
    return (values - values.min()) / distance if distance > 0 else np.full(len(values), 0.5)


def _right_width(rows: Sequence[Quantity]) -> int:
    """Room for the widest number at the right."""
    metrics = QFontMetrics(theme.text_font(theme.SMALL_PX))
    ends = [end for row in rows for end in (min(o.value for o in row.values), max(o.value for o in row.values))]
    return max([_RIGHT_PX, *(metrics.horizontalAdvance(short_number(value)) + 10 for value in ends)])


def _padded(start: datetime, end: datetime) -> tuple[datetime, datetime]:
    """A little room at both ends; a day where all is at one moment."""
    room = (end - start) * 0.04 or timedelta(hours=12)
    try:
        return start - room, end + room
    except OverflowError:  # the first or last days of the calendar
        return start, end if end > start else start + timedelta(microseconds=1)
