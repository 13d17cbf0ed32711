"""The dates under charts: round moments with words as precise as their distance asks for."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo

import pyqtgraph as pg
from PySide6.QtGui import QFontMetricsF

from medviewer.gui import theme
from medviewer.records.record import as_told_in

HEIGHT_PX = 20
_OVERHANG_PX = 12  # words may stand out over the ends of the axis by this much
_STEPS: tuple[tuple[timedelta, str], ...] = (
    (timedelta(minutes=1), "%H:%M"),
    (timedelta(minutes=5), "%H:%M"),
    (timedelta(minutes=10), "%H:%M"),
    (timedelta(hours=1), "%H:%M"),
    (timedelta(hours=3), "%H:%M"),
    (timedelta(hours=6), "%H:%M"),
    (timedelta(days=1), "%m-%d"),
    (timedelta(days=2), "%m-%d"),
    (timedelta(days=7), "%m-%d"),
    (timedelta(days=14), "%m-%d"),
)


def time_ticks(start: datetime, end: datetime, most: int = 4) -> list[tuple[datetime, str]]:
    """Round moments between two, at most ``most`` or one more, with words as precise as their distance asks for."""
    for step, pattern in _STEPS:
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
    if end - start <= timedelta(hours=36):
        return f"{start:%Y-%m-%d}" if start.date() == end.date() else f"{start:%Y-%m-%d}–{end:%m-%d}"
    return f"{start:%Y}" if start.year == end.year else f"{start:%Y} – {end:%Y}"


class TimeAxis(pg.AxisItem):  # type: ignore[misc]  # pyqtgraph has no types
    """pyqtgraph's axis with our ticks, whose lines reach up through all rows of a chart.

    ``DateAxisItem`` would name months in English and put its words too close for a narrow panel.
    The axis counts seconds from ``origin``; its words are told by the clock of ``zone`` (None: this computer's).
    """

    def __init__(self, origin: datetime, lines_px: int, zone: tzinfo | None = None) -> None:
        super().__init__("bottom")
        self._origin, self._zone = origin, zone
        self._words: dict[float, str] = {}
        self.setHeight(HEIGHT_PX)
        self.setStyle(tickLength=-lines_px, tickTextOffset=4, hideOverlappingLabels=_OVERHANG_PX)
        self.setTickFont(theme.text_font(theme.SMALL_PX))
        self.setZValue(-1)  # lines lie under the curves
        self.enableAutoSIPrefix(False)

    def dress(self) -> None:
        """Take the colours of the theme in use."""
        t = theme.tokens()
        self.setPen(None)  # lines between rows are drawn already
        self.setTickPen(theme.color(t.line))
        self.setTextPen(theme.color(t.secondary))

    def moment(self, seconds: float) -> datetime:
        """The moment at a place on the axis."""
        return as_told_in(self._zone, self._origin + timedelta(seconds=seconds))

    def tickValues(self, minVal: float, maxVal: float, size: float) -> list[tuple[float, list[float]]]:  # noqa: N802, N803
        """As many ticks as have room for their words."""
        metrics = QFontMetricsF(theme.text_font(theme.SMALL_PX))
        start, end = self.moment(minVal), self.moment(maxVal)
        self._words = {}
        for most in range(max(int(size / 34), 3), 0, -1):
            ticks = time_ticks(start, end, most)
            if not ticks:
                break  # coarser steps miss this time altogether
            places = {(moment - self._origin).total_seconds(): words for moment, words in ticks}
            first, *others = places
            gap = (others[0] - first) / (maxVal - minVal) * size if others else size
            is_roomy = gap >= max(metrics.horizontalAdvance(words) for words in places.values()) + 8
            self._words = places if is_roomy or not others else {first: places[first]}
            if is_roomy:
                break
        return [(1.0, list(self._words))]

    def tickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:  # noqa: ARG002, N802
        """Their words."""
        return [self._words[value] for value in values]


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
