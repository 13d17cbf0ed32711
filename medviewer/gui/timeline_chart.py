"""Dated values as small charts under each other, one row a quantity, on one time axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from PySide6.QtCore import QEvent, QPoint, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QFont, QHelpEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from medviewer.domain.case import Observation
from medviewer.gui import theme
from medviewer.gui.text import plain_tooltip, tr, visible
from medviewer.gui.vital_signs import short_name
from medviewer.records.record import format_observation, with_zone

_ROW_PX, _TOP_PX, _AXIS_PX, _LABEL_PX, _RIGHT_PX = 56, 16, 20, 124, 36
_HIT_PX = 12


@dataclass(frozen=True, slots=True)
class Quantity:
    """All values of one kind in one unit, oldest first."""

    name: str
    unit: str
    values: tuple[Observation, ...]


def quantities(observations: Sequence[Observation]) -> tuple[Quantity, ...]:
    """The observations by what they measure; values in different units are never put on one scale."""
    groups: dict[tuple[str, str], list[Observation]] = {}
    for one in observations:
        groups.setdefault((one.code or one.display, one.unit), []).append(one)
    made = [
        Quantity(short_name(own[0]), own[0].unit, tuple(sorted(own, key=lambda o: with_zone(o.time))))
        for own in groups.values()
    ]
    return tuple(made)


def time_ticks(start: datetime, end: datetime, most: int = 4) -> list[tuple[datetime, str]]:
    """Round moments between two, at most ``most``, with words as precise as their distance asks for."""
    steps: tuple[tuple[timedelta, str], ...] = (
        (timedelta(minutes=10), "%H:%M"),
        (timedelta(hours=1), "%H:%M"),
        (timedelta(hours=3), "%H:%M"),
        (timedelta(hours=6), "%H:%M"),
        (timedelta(days=1), "%m-%d"),
        (timedelta(days=2), "%m-%d"),
        (timedelta(days=7), "%m-%d"),
        (timedelta(days=14), "%m-%d"),
    )
    for step, pattern in steps:
        if (end - start) / step <= most:
            first = _ceiling(start, step)
            count = max(int((end - first) / step) + 1, 0) if first <= end else 0
            return [(first + i * step, (first + i * step).strftime(pattern)) for i in range(count)]
    return _month_ticks(start, end, most)


def span_words(start: datetime, end: datetime) -> str:
    """What the ticks leave out: the day of times, the year of days.

    >>> span_words(datetime(2003, 12, 30), datetime(2004, 1, 4))
    '2003 – 2004'
    """
    pattern = "%Y-%m-%d" if end - start <= timedelta(hours=36) else "%Y"
    first, last = start.strftime(pattern), end.strftime(pattern)
    return first if first == last else f"{first} – {last}"


def _ceiling(moment: datetime, step: timedelta) -> datetime:
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    whole = -((midnight - moment) // step)  # steps since midnight, rounded up
    return midnight + whole * step


def _month_ticks(start: datetime, end: datetime, most: int) -> list[tuple[datetime, str]]:
    months = (end.year - start.year) * 12 + end.month - start.month
    step = next((s for s in (1, 3, 6, 12, 24, 60, 120, 240) if months / s <= most), 600)
    count = start.year * 12 + start.month  # the first of the month after start
    count += -count % step
    ticks = []
    while count // 12 <= min(end.year, 9998):
        moment = start.replace(year=count // 12, month=count % 12 + 1, day=1, hour=0, minute=0, second=0, microsecond=0)
        if moment > end:
            break
        if moment >= start:
            ticks.append((moment, moment.strftime("%Y" if step >= 12 else "%Y-%m")))
        count += step
    return ticks


class TimelineChart(QWidget):
    """One row a quantity: name, latest value with unit, and the curve; dates below, the study as a dashed line."""

    def __init__(
        self, rows: Sequence[Quantity], mark: datetime | None = None, mark_name: str = "", parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._rows = tuple(rows)
        self._mark = with_zone(mark) if mark is not None else None
        self._mark_name = mark_name
        times = [with_zone(o.time) for row in self._rows for o in row.values]
        times += [self._mark] if self._mark is not None else []
        self._span = _padded(min(times), max(times)) if times else None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("; ".join(f"{row.name} {_latest(row)}" for row in self._rows))

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """A row for each quantity and one for the dates."""
        return QSize(320, _TOP_PX + len(self._rows) * _ROW_PX + _AXIS_PX)

    def minimumSizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """As high as it wants to be, in any width."""
        return QSize(200, self.sizeHint().height())

    def x_of(self, moment: datetime) -> float:
        """Where a moment lies, in widget pixels."""
        left, right = float(_LABEL_PX), float(self.width() - _RIGHT_PX)
        if self._span is None:
            return left
        start, end = self._span
        return left + (right - left) * ((with_zone(moment) - start) / (end - start))

    def point_of(self, row: int, observation: Observation) -> QPointF:
        """Where a value lies, in widget pixels."""
        values = [o.value for o in self._rows[row].values]
        low, high = min(values), max(values)
        share = 0.5 if high == low else (observation.value - low) / (high - low)
        top = _TOP_PX + row * _ROW_PX
        return QPointF(self.x_of(observation.time), top + _ROW_PX - 12 - share * (_ROW_PX - 24))

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802, ARG002 - Qt's name and arguments
        """Draw it."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._draw_axis(painter)
        for number, row in enumerate(self._rows):
            self._draw_label(painter, number, row)
            self._draw_curve(painter, number, row)
        self._draw_mark(painter)

    def event(self, event: QEvent) -> bool:
        """Say date and value of the point under the mouse."""
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            found = self.value_at(event.pos())
            if found is None:
                QToolTip.hideText()
            else:
                words = f"{found.time:%Y-%m-%d %H:%M}\n{format_observation(found)}"
                QToolTip.showText(event.globalPos(), plain_tooltip(words), self)
            return True
        return super().event(event)

    def value_at(self, place: QPoint) -> Observation | None:
        """The value whose point is nearest to a place, if one is near."""
        number = (place.y() - _TOP_PX) // _ROW_PX
        if not 0 <= number < len(self._rows):
            return None
        near = min(self._rows[number].values, key=lambda o: abs(self.x_of(o.time) - place.x()))
        return near if abs(self.x_of(near.time) - place.x()) <= _HIT_PX else None

    def _draw_axis(self, painter: QPainter) -> None:
        t = theme.tokens()
        if self._span is None:
            return
        bottom = _TOP_PX + len(self._rows) * _ROW_PX
        painter.setFont(theme.text_font(theme.SMALL_PX))
        painter.setPen(theme.color(t.secondary))
        area = QRectF(0, bottom, _LABEL_PX - 12, _AXIS_PX)
        painter.drawText(area, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, span_words(*self._span))
        last_right = 0.0
        room = max(int((self.width() - _LABEL_PX - _RIGHT_PX) / 44), 2)
        for moment, words in time_ticks(*self._span, room):
            x = self.x_of(moment)
            painter.setPen(QPen(theme.color(t.line), 1))
            painter.drawLine(QPointF(x, _TOP_PX), QPointF(x, bottom))
            width = painter.fontMetrics().horizontalAdvance(words) + 4
            left = min(max(x - width / 2, _LABEL_PX - 12.0), self.width() - width)
            if left < last_right + 4:
                continue
            last_right = left + width
            painter.setPen(theme.color(t.secondary))
            painter.drawText(QRectF(left, bottom, width, _AXIS_PX), Qt.AlignmentFlag.AlignCenter, words)

    def _draw_label(self, painter: QPainter, number: int, row: Quantity) -> None:
        t = theme.tokens()
        top = _TOP_PX + number * _ROW_PX
        area = QRectF(0, top + 10, _LABEL_PX - 12, 18)
        flags = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        for words, tint, weight, size in (
            (row.name, t.secondary, QFont.Weight.Normal, theme.SMALL_PX),
            (_latest(row), t.text, QFont.Weight.DemiBold, theme.TEXT_PX),
        ):
            painter.setFont(theme.text_font(size, weight))
            painter.setPen(theme.color(tint))
            shown = painter.fontMetrics().elidedText(words, Qt.TextElideMode.ElideRight, int(area.width()))
            painter.drawText(area, flags, shown)
            area.translate(0, 18)
        painter.setPen(QPen(theme.color(t.line), 1))
        painter.drawLine(0, top, self.width(), top)
        self._draw_range(painter, top, row)

    def _draw_range(self, painter: QPainter, top: int, row: Quantity) -> None:
        """The highest and lowest value at the right: each row has its own scale."""
        values = [o.value for o in row.values]
        painter.setFont(theme.text_font(theme.SMALL_PX))
        painter.setPen(theme.color(theme.tokens().secondary))
        area = QRectF(self.width() - _RIGHT_PX + 6, top + 4, _RIGHT_PX - 6, 16)
        ends = (max(values), min(values)) if max(values) > min(values) else (values[0],)
        for place, value in enumerate(ends):
            shift = (_ROW_PX - 24) * (place if len(ends) > 1 else 0.5)
            flags = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
            painter.drawText(area.translated(0, shift), flags, f"{value:.4g}")

    def _draw_curve(self, painter: QPainter, number: int, row: Quantity) -> None:
        t = theme.tokens()
        points = [self.point_of(number, o) for o in row.values]
        painter.setPen(QPen(theme.color(t.accent, 0.6), 1.5))
        painter.drawPolyline(points)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.color(t.accent))
        for point in points:
            painter.drawEllipse(point, 3, 3)

    def _draw_mark(self, painter: QPainter) -> None:
        if self._mark is None:
            return
        t = theme.tokens()
        x = self.x_of(self._mark)
        painter.setPen(QPen(theme.color(t.text), 1, Qt.PenStyle.DashLine))
        painter.drawLine(QPointF(x, _TOP_PX - 2), QPointF(x, _TOP_PX + len(self._rows) * _ROW_PX))
        if self._mark_name:
            painter.setFont(theme.text_font(theme.SMALL_PX))
            width = painter.fontMetrics().horizontalAdvance(self._mark_name) + 8
            area = QRectF(min(x - width / 2, self.width() - width), 0, width, _TOP_PX - 2)
            painter.setPen(theme.color(t.secondary))
            painter.drawText(area, Qt.AlignmentFlag.AlignCenter, self._mark_name)


def _latest(row: Quantity) -> str:
    return visible(format_observation(row.values[-1])) if row.values else tr("no value")


def _padded(start: datetime, end: datetime) -> tuple[datetime, datetime]:
    """A little room at both ends; a day where all is at one moment."""
    room = (end - start) * 0.04 or timedelta(hours=12)
    try:
        return start - room, end + room
    except OverflowError:  # the first or last days of the calendar
        return start, end if end > start else start + timedelta(microseconds=1)
