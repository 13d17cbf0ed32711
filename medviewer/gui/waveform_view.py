"""Signals on paper: an ECG as cardiologists read it, on the dark ground of the reading room.

Drag measures time and height (a caliper); the wheel scrolls, with Shift in time, with Ctrl it zooms.
"""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QLineF, QPointF, QRect, QRectF, Qt, Signal
from PySide6.QtGui import (
    QFont,
    QFontMetrics,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPolygonF,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QAbstractScrollArea, QFrame, QWidget

from medviewer.app.state import State
from medviewer.domain.frozen import dataclass
from medviewer.domain.waveform import Waveform
from medviewer.gui import theme
from medviewer.gui.document_words import without_identity
from medviewer.gui.text import tr, visible
from medviewer.gui.waveform_paper import GAIN_MM_MV, LEFT_MM, SPEED_MM_S, Heading, Paper, Row, lay_out, polylines

_RULER_PX = 24
_FOOT_PX = 28
_MM_PER_INCH = 25.4
_LEAST_GRID_PX = 2.5  # between fine lines; closer ones would be a grey area
_STEP_PX = 40
_TICK_PX = 6
_MOST_PX = 2**31 - 1  # of a scroll bar
_MOST_NOTES = 60


@dataclass(frozen=True, slots=True)
class Caliper:
    """What is being measured: two points on the paper in mm, and the strip of the first."""

    row: Row
    start: QPointF
    end: QPointF


class WaveformView(QAbstractScrollArea):
    """The paper, scrolled in both ways; ruler and scale stay in view."""

    requested = Signal(str, object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._waveform: Waveform | None = None
        self._paper = Paper((), (), 0.0, 0.0)
        self._notes, self._notes_px = "", 0
        self._marks: list[tuple[int | None, float, str]] = []  # group, seconds from its start, words
        self._zoom = 1.0
        self.caliper: Caliper | None = None
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.viewport().setCursor(Qt.CursorShape.CrossCursor)

    @property
    def px_per_mm(self) -> float:
        """How large a millimetre of paper is drawn; at zoom 1 as large as the screen says a millimetre is."""
        return self.logicalDpiX() / _MM_PER_INCH * self._zoom

    def show_waveform(self, waveform: Waveform, state: State) -> None:
        """Show a waveform, its zoom and what the file says of it."""
        reading = state.reading
        if waveform is not self._waveform:
            self._waveform, self._paper, self.caliper = waveform, lay_out(waveform), None
            self.horizontalScrollBar().setValue(0)
            self.verticalScrollBar().setValue(0)
        self._zoom = reading.zoom if reading is not None else 1.0
        patient = reading.patient if reading is not None and state.identity_hidden else None
        notes = []
        self._marks = []
        for one in waveform.annotations:
            words = visible(" ".join((without_identity(one.text, patient) if patient else one.text).split()))
            self._marks += [(one.group, seconds, words) for seconds in one.moments_s]
            notes += [] if one.moments_s else [words]
        self._marks.sort(key=lambda mark: mark[1])
        shown = [*dict.fromkeys(notes)][:_MOST_NOTES]
        if patient is not None and waveform.annotations:
            shown.insert(0, tr("Names are covered; free text may still tell who the patient is."))
        self._notes = "   ·   ".join(shown)
        self.setAccessibleName(tr("Waveform"))
        self.setAccessibleDescription(self._notes)
        self._measure_bars()
        self.viewport().update()

    def forget(self) -> None:
        """Hold nothing of a document that is not shown any more."""
        self._waveform, self._paper, self.caliper = None, Paper((), (), 0.0, 0.0), None
        self._notes, self._marks = "", []

    def _measure_bars(self) -> None:
        """Know how high the file's own words are, which lie above the paper, and how much can be scrolled."""
        scale, area = self.px_per_mm, self.viewport().size()
        self._notes_px = 0
        if self._notes:
            metrics = QFontMetrics(theme.text_font(theme.TEXT_PX))
            room = QRect(0, 0, max(area.width() - 24, 100), 10_000)
            self._notes_px = metrics.boundingRect(room, int(Qt.TextFlag.TextWordWrap), self._notes).height() + 12
        paper_px = round(self._paper.height_mm * scale) + self._notes_px
        inner = area.height() - _RULER_PX - _FOOT_PX
        for bar, whole, page in (
            (self.horizontalScrollBar(), round(self._paper.width_mm * scale), area.width()),
            (self.verticalScrollBar(), paper_px, inner),
        ):
            bar.setPageStep(max(page, 1))
            bar.setSingleStep(_STEP_PX)
            bar.setRange(0, min(max(whole - page, 0), _MOST_PX))

    # from paper to screen

    def _x(self, seconds: float) -> float:
        return (LEFT_MM + seconds * SPEED_MM_S) * self.px_per_mm - self.horizontalScrollBar().value()

    def _seconds(self, x: float) -> float:
        return ((x + self.horizontalScrollBar().value()) / self.px_per_mm - LEFT_MM) / SPEED_MM_S

    def _top(self, mm: float) -> float:
        return _RULER_PX + self._notes_px + mm * self.px_per_mm - self.verticalScrollBar().value()

    # drawing

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802, ARG002 - Qt's name and arguments
        """Draw the strips that are in view, then ruler and scale over them."""
        t = theme.tokens()
        painter = QPainter(self.viewport())
        try:
            area = QRectF(self.viewport().rect())
            painter.fillRect(area, theme.color(t.viewport))
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            self._paint_notes(painter)
            for heading in self._paper.headings:
                self._paint_heading(painter, heading)
            for row in self._paper.rows:
                strip = QRectF(0, self._top(row.top_mm), area.width(), row.height_mm * self.px_per_mm)
                if strip.intersects(area):
                    self._paint_row(painter, row, strip)
            self._paint_caliper(painter)
            self._paint_ruler(painter, area)
            self._paint_scale(painter, area)
        finally:
            painter.end()

    def _paint_notes(self, painter: QPainter) -> None:
        if self._notes:
            painter.setFont(theme.text_font(theme.TEXT_PX))
            painter.setPen(theme.color(theme.tokens().overlay_text))
            top = _RULER_PX - self.verticalScrollBar().value() + 6
            room = QRectF(12, top, max(self.viewport().width() - 24, 100), self._notes_px)
            painter.drawText(room, int(Qt.TextFlag.TextWordWrap), self._notes)

    def _paint_heading(self, painter: QPainter, heading: Heading) -> None:
        t = theme.tokens()
        group, top = heading.group, self._top(heading.top_mm)
        words = [visible(group.label) or tr("Group {n}").format(n=heading.index + 1)]
        words.append(tr("{n} Hz").format(n=f"{group.sampling_frequency_hz:g}"))
        words.append(tr("{n} s").format(n=f"{group.duration_s:g}"))
        if group.start_s:
            words.append(tr("starts at {n} s").format(n=f"{group.start_s:g}"))
        painter.setFont(theme.text_font(theme.TEXT_PX, QFont.Weight.DemiBold))
        painter.setPen(theme.color(t.overlay_text))
        height = (heading.height_mm - heading.marks_mm) * self.px_per_mm
        area = QRectF(12, top, self.viewport().width() - 24, height)
        painter.drawText(area, int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter), "   ".join(words))
        if heading.marks_mm:
            self._paint_marks(painter, heading, top + height)

    def _paint_marks(self, painter: QPainter, heading: Heading, top: float) -> None:
        """The moments that the file names, each with its words where there is room for them."""
        t = theme.tokens()
        painter.setFont(theme.text_font(theme.SMALL_PX - 2))
        metrics, free_from = painter.fontMetrics(), -1e9
        for group, seconds, words in self._marks:
            x = self._x(seconds)
            if group != heading.index or not -200 < x < self.viewport().width():
                continue
            painter.setPen(QPen(theme.color(t.accent), 1))
            bottom = top + heading.marks_mm * self.px_per_mm
            painter.drawLine(QPointF(x, bottom - _TICK_PX), QPointF(x, bottom))
            if x >= free_from:
                painter.setPen(theme.color(t.secondary))
                painter.drawText(QPointF(x, bottom - _TICK_PX - metrics.descent()), words)
                free_from = x + metrics.horizontalAdvance(words) + 8

    def _paint_row(self, painter: QPainter, row: Row, strip: QRectF) -> None:
        t, scale = theme.tokens(), self.px_per_mm
        painter.save()
        painter.setClipRect(strip)
        self._paint_grid(painter, row, strip)
        left, right = self._seconds(strip.left()), self._seconds(strip.right())
        # A pen of one pixel of the screen: Qt draws thicker lines many times slower.
        painter.setPen(QPen(theme.color(t.overlay_text), 0))
        for line in polylines(row, left, right, int(strip.width() * self.devicePixelRatioF())):
            x = (LEFT_MM + line[:, 0] * SPEED_MM_S) * scale - self.horizontalScrollBar().value()
            y = strip.top() + line[:, 1] * scale
            painter.drawPolyline(QPolygonF(list(map(QPointF, x.tolist(), y.tolist()))))
        if row.is_voltage:
            self._paint_calibration(painter, row, strip)
        self._paint_label(painter, row, strip)
        painter.restore()

    def _paint_grid(self, painter: QPainter, row: Row, strip: QRectF) -> None:
        """1 mm and 5 mm lines that meet time 0 and, for a voltage, 0 mV."""
        t, scale = theme.tokens(), self.px_per_mm
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, on=False)
        for step_mm, alpha in ((1, 0.16), (5, 0.38)):
            step = step_mm * scale
            if step < _LEAST_GRID_PX:
                continue
            painter.setPen(QPen(theme.color(t.alarm, alpha), 1))
            xs = _steps(self._x(0.0), step, strip.left(), strip.right())
            ys = _steps(strip.top() + row.zero_mm * scale, step, strip.top(), strip.bottom()) if row.is_voltage else []
            painter.drawLines([QLineF(x, strip.top(), x, strip.bottom()) for x in xs])
            painter.drawLines([QLineF(strip.left(), y, strip.right(), y) for y in ys])
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)

    def _paint_calibration(self, painter: QPainter, row: Row, strip: QRectF) -> None:
        """The pulse of 1 mV and 200 ms in front of the signal."""
        scale = self.px_per_mm
        zero, high = strip.top() + row.zero_mm * scale, strip.top() + (row.zero_mm - GAIN_MM_MV) * scale
        at = -self.horizontalScrollBar().value()
        xs = [at + mm * scale for mm in (2, 4, 4, 9, 9, 11)]
        ys = [zero, zero, high, high, zero, zero]
        painter.drawPolyline(QPolygonF([QPointF(x, y) for x, y in zip(xs, ys, strict=True)]))

    def _paint_label(self, painter: QPainter, row: Row, strip: QRectF) -> None:
        t = theme.tokens()
        words = visible(row.label.label) or tr("Channel {n}").format(n=row.channel + 1)
        if not row.is_voltage:
            high = row.zero + (row.zero_mm - 3) / row.mm_per_unit
            unit = visible(row.label.unit) or tr("no unit")
            words += "   " + tr("{low} to {high}, {unit}").format(low=f"{row.zero:g}", high=f"{high:g}", unit=unit)
        painter.setFont(theme.text_font(theme.TEXT_PX, QFont.Weight.DemiBold))
        width = painter.fontMetrics().horizontalAdvance(words)
        left = max(LEFT_MM * self.px_per_mm - self.horizontalScrollBar().value(), 8.0)  # beside the calibration mark
        box = QRectF(left, strip.top() + 3, width + 8, 18)
        painter.fillRect(box, theme.color(t.viewport, 0.7))
        painter.setPen(theme.color(t.overlay_text))
        painter.drawText(box, int(Qt.AlignmentFlag.AlignCenter), words)

    def _paint_ruler(self, painter: QPainter, area: QRectF) -> None:
        t = theme.tokens()
        painter.fillRect(QRectF(0, 0, area.width(), _RULER_PX), theme.color(t.panel))
        painter.setFont(theme.text_font(theme.SMALL_PX))
        second = SPEED_MM_S * self.px_per_mm
        step = max(1, int(np.ceil(48 / second)))
        first = max(0, int(np.floor(self._seconds(0) / step))) * step
        for number in range(first, int(self._seconds(area.width())) + 1, step):
            x = self._x(number)
            painter.setPen(QPen(theme.color(t.secondary), 1))
            painter.drawLine(QPointF(x, _RULER_PX - 6), QPointF(x, _RULER_PX))
            painter.drawText(QPointF(x + 4, _RULER_PX - 8), tr("{n} s").format(n=number))

    def _paint_scale(self, painter: QPainter, area: QRectF) -> None:
        """The scale in words; where no strip is a voltage there is none in height."""
        t = theme.tokens()
        strip = QRectF(0, area.height() - _FOOT_PX, area.width(), _FOOT_PX)
        painter.fillRect(strip, theme.color(t.panel))
        painter.setFont(theme.text_font(theme.SMALL_PX))
        painter.setPen(theme.color(t.text))
        has_voltage = any(row.is_voltage for row in self._paper.rows)
        words = tr("25 mm/s, 10 mm/mV") if has_voltage else tr("25 mm/s")
        small = tr("small square 40 ms, 0.1 mV") if has_voltage else tr("small square 40 ms")
        drag = tr("drag to measure")
        line = f"{words}   ·   {small}   ·   {self._zoom * 100:.0f} %   ·   {drag}"
        inner = strip.adjusted(12, 0, -12, 0)
        line = painter.fontMetrics().elidedText(line, Qt.TextElideMode.ElideRight, int(inner.width()))
        painter.drawText(inner, int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter), line)

    # the caliper

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """Begin to measure in the strip under the mouse; what was measured before goes."""
        self.caliper = None
        where = self._on_paper(event.position())
        row = next((r for r in self._paper.rows if r.top_mm <= where.y() < r.top_mm + r.height_mm), None)
        if event.button() == Qt.MouseButton.LeftButton and row is not None:
            self.caliper = Caliper(row, where, where)
        self.viewport().update()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """Measure up to here."""
        if self.caliper is not None and event.buttons() & Qt.MouseButton.LeftButton:
            self.caliper = Caliper(self.caliper.row, self.caliper.start, self._on_paper(event.position()))
            self.viewport().update()

    def _on_paper(self, at: QPointF) -> QPointF:
        scale = self.px_per_mm
        return QPointF((at.x() + self.horizontalScrollBar().value()) / scale, (at.y() - self._top(0.0)) / scale)

    def caliper_words(self) -> str:
        """What is measured: ms, the rate that this is as an interval between beats, and the height."""
        if self.caliper is None:
            return ""
        row, span = self.caliper.row, self.caliper.end - self.caliper.start
        ms = abs(span.x()) / SPEED_MM_S * 1000
        parts = [tr("{n} ms").format(n=f"{ms:.0f}")]
        if ms >= 1:
            parts.append(tr("{n}/min").format(n=f"{60_000 / ms:.0f}"))
        height = -span.y() / row.mm_per_unit
        if row.is_voltage:
            parts.append(tr("{n} mV").format(n=f"{-span.y() / GAIN_MM_MV:+.2f}"))
        else:
            parts.append(f"{height:+.3g} {visible(row.label.unit)}".strip())
        return "   ".join(parts)

    def _paint_caliper(self, painter: QPainter) -> None:
        if self.caliper is None or self.caliper.start == self.caliper.end:
            return
        t, scale = theme.tokens(), self.px_per_mm
        offset = QPointF(-self.horizontalScrollBar().value(), self._top(0.0))
        box = QRectF(self.caliper.start * scale + offset, self.caliper.end * scale + offset).normalized()
        painter.setPen(QPen(theme.color(t.measure), 1.5))
        painter.setBrush(theme.color(t.measure, 0.10))
        painter.drawRect(box)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        words = self.caliper_words()
        painter.setFont(theme.text_font(theme.TEXT_PX, QFont.Weight.DemiBold))
        width = painter.fontMetrics().horizontalAdvance(words) + 12
        left = min(max(box.left(), 4.0), self.viewport().width() - width - 4.0)
        above = box.top() - 22
        label = QRectF(left, above if above > _RULER_PX else box.bottom() + 4, width, 20)
        painter.fillRect(label, theme.color(t.viewport, 0.85))
        painter.drawText(label, int(Qt.AlignmentFlag.AlignCenter), words)

    # moving

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 - Qt's name
        """Know how much can be scrolled."""
        super().resizeEvent(event)
        self._measure_bars()

    def scrollContentsBy(self, _dx: int, _dy: int) -> None:  # noqa: N802 - Qt's name
        """Draw anew: ruler and labels stay where they are."""
        self.viewport().update()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 - Qt's name
        """Home and End go to the ends of time; Qt's own keys do the rest."""
        bar = self.horizontalScrollBar()
        if event.key() == Qt.Key.Key_Home:
            bar.setValue(0)
        elif event.key() == Qt.Key.Key_End:
            bar.setValue(bar.maximum())
        else:
            super().keyPressEvent(event)

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802 - Qt's name
        """The wheel scrolls, with Shift in time; with Ctrl it zooms."""
        turn = event.angleDelta()
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self.requested.emit("view.zoom_in" if turn.y() > 0 else "view.zoom_out", None)
        elif event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            bar = self.horizontalScrollBar()
            bar.setValue(bar.value() - (turn.y() or turn.x()))
        else:
            super().wheelEvent(event)
        event.accept()


def _steps(origin: float, step: float, low: float, high: float) -> list[float]:
    """The places between ``low`` and ``high`` that lie whole steps from ``origin``."""
    first = origin + np.ceil((low - origin) / step) * step
    return [float(place) for place in np.arange(first, high + step / 2, step) if place <= high]
