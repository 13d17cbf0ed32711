"""Where a waveform's signals lie on its paper: millimetres of time and height, as on an ECG strip.

25 mm are one second and 10 mm one millivolt, whatever the zoom; what is no voltage gets a height of its own,
which is written beside it. Sizes are in mm of paper until they are drawn.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from medviewer.domain.frozen import dataclass
from medviewer.domain.waveform import Channel, MultiplexGroup, Waveform

SPEED_MM_S = 25.0
GAIN_MM_MV = 10.0
LEFT_MM = 14.0  # calibration mark, before time 0
_HEADING_MM = 7.0
_MARKS_MM = 5.0
_PADDING_MM = 3.0
_LEAST_MV = (-0.5, 1.0)  # that a row has room for, so that flat leads keep their distance
_MOST_MV = 40.0
_PLAIN_MM = 30.0
_MILLIVOLTS = {"nV": 1e-6, "uV": 1e-3, "mV": 1.0, "V": 1e3}  # UCUM


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One signal on the paper.

    Attributes:
        group, channel: which it is.
        top_mm, height_mm: its strip, from the top of the paper.
        zero_mm: where ``zero`` lies, from the top of the strip.
        mm_per_unit: how high one unit of the channel is drawn.
        zero: the value on the line ``zero_mm``; 0 for voltages.
        is_voltage: whether the grid's 10 mm are one millivolt.
    """

    group: MultiplexGroup
    channel: int
    top_mm: float
    height_mm: float
    zero_mm: float
    mm_per_unit: float
    zero: float
    is_voltage: bool

    @property
    def label(self) -> Channel:
        """The channel that is drawn."""
        return self.group.channels[self.channel]


@dataclass(frozen=True, slots=True, eq=False)
class Heading:
    """A line above the signals of one group, with a lane for its marks."""

    index: int
    group: MultiplexGroup
    top_mm: float
    height_mm: float
    marks_mm: float  # of the height: the lane below the words


@dataclass(frozen=True, slots=True, eq=False)
class Paper:
    """All strips of a waveform, below each other."""

    headings: tuple[Heading, ...]
    rows: tuple[Row, ...]
    width_mm: float
    height_mm: float


def lay_out(waveform: Waveform) -> Paper:
    """Lay the groups of a waveform below each other, each with its own time from 0."""
    headings: list[Heading] = []
    rows: list[Row] = []
    top = 0.0
    longest = 0.0
    for index, group in enumerate(waveform.groups):
        has_marks = any(one.group == index and one.moments_s for one in waveform.annotations)
        marks = _MARKS_MM if has_marks else 0.0
        headings.append(Heading(index, group, top, _HEADING_MM + marks, marks))
        top += _HEADING_MM + marks
        for channel in range(len(group.channels)):
            row = _row(group, channel, top)
            rows.append(row)
            top += row.height_mm
        longest = max(longest, group.duration_s + max(0.0, *(channel.skew_s for channel in group.channels)))
    return Paper(tuple(headings), tuple(rows), LEFT_MM + longest * SPEED_MM_S + _PADDING_MM, top + _PADDING_MM)


def _row(group: MultiplexGroup, channel: int, top_mm: float) -> Row:
    values = group.samples[channel]
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    factor = _MILLIVOLTS.get(group.channels[channel].unit)
    if factor is not None and max(abs(low), abs(high)) * factor <= _MOST_MV:
        low_mv, high_mv = min(low * factor, _LEAST_MV[0]), max(high * factor, _LEAST_MV[1])
        height = (high_mv - low_mv) * GAIN_MM_MV + 2 * _PADDING_MM
        zero = _PADDING_MM + high_mv * GAIN_MM_MV
        return Row(group, channel, top_mm, height, zero, factor * GAIN_MM_MV, 0.0, is_voltage=True)
    span = high - low
    scale = _PLAIN_MM / span if span > 0 else 1.0
    return Row(
        group, channel, top_mm, _PLAIN_MM + 2 * _PADDING_MM, _PADDING_MM + _PLAIN_MM, scale, low, is_voltage=False
    )


def polylines(row: Row, from_s: float, to_s: float, columns: int) -> Iterator[np.ndarray]:
    """Give the part of a signal between two times as lines of (n, 2) points: seconds, mm below the strip's top.

    Where there are more samples than ``columns`` can show, each column keeps its lowest and highest: no spike is
    lost. A missing sample is a gap.
    """
    rate, values = row.group.sampling_frequency_hz, row.group.samples[row.channel]
    skew = row.label.skew_s
    first = max(int(np.floor((from_s - skew) * rate)) - 1, 0)
    last = min(int(np.ceil((to_s - skew) * rate)) + 2, len(values))
    if last - first < 1:
        return
    part = values[first:last]
    times = skew + np.arange(first, last) / rate
    step = len(part) // max(columns, 1)
    if step > 1:
        starts = np.arange(0, len(part), step)
        low, high = np.fmin.reduceat(part, starts), np.fmax.reduceat(part, starts)
        part = np.stack((low, high), axis=1).ravel()
        times = np.repeat(times[starts], 2)
    heights = row.zero_mm - (part.astype(np.float64) - row.zero) * row.mm_per_unit
    is_known = np.isfinite(heights)
    edges = np.flatnonzero(np.diff(np.concatenate(([False], is_known, [False])).astype(np.int8)))
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        yield np.stack((times[begin:end], heights[begin:end]), axis=1)
