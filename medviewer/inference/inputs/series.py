"""Observations over time, on a grid of hours: for each variable its value, whether it was measured, how long ago.

Source of the three channels: Che et al., "Recurrent neural networks for multivariate time series
with missing values", Scientific Reports 8, 6085 (2018); Lipton, Kale and Wetzel, "Directly
modeling missing data in sequences with RNNs", MLHC 2016.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from medviewer.domain.anchor import TimeCell
from medviewer.domain.answer import GuardLevel
from medviewer.domain.case import Case, is_whole_day
from medviewer.domain.frozen import dataclass
from medviewer.inference.card import InputSpec, Text
from medviewer.inference.data_guard_texts import span
from medviewer.inference.inputs.adapter import Arrays, Doubt, Encoded, Group, Missing, Used
from medviewer.inference.inputs.quantity import (
    implausible,
    in_unit,
    is_of,
    plain,
    problems_of,
    quantities,
    unfamiliar,
)

GROUP_H = 6.0
_DAY_H = 24.0

Grid = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class SeriesRaw:
    """Observations in the card's units, in order of time.

    Attributes:
        hours: ``(n,)`` since the grid begins.
        columns: ``(n,)`` which of the card's variables each is.
        values: ``(n,)``.
        start: when the grid begins; None in training data without dates.
        times: when each was recorded; empty in training data without dates.
        at: the moment that the case is about; None where there is none.
        unplaced: the variable of each value of the grid's days of which only the day is known. They have no place on
            a grid of hours, and none of them is among the others.
        worded: the variable of each record on the grid that is a bound or words, and no value.
    """

    hours: npt.NDArray[np.float64]
    columns: npt.NDArray[np.intp]
    values: npt.NDArray[np.float64]
    start: datetime | None = None
    times: tuple[datetime, ...] = ()
    at: datetime | None = None
    unplaced: tuple[int, ...] = ()
    worded: tuple[int, ...] = ()


def observations(hours: Sequence[float], names: Sequence[str], values: Sequence[float], spec: InputSpec) -> SeriesRaw:
    """Observations for training: hours since the grid begins, variables by name, values in the card's units.

    What lies outside of the grid, and variables that the card does not name, are left out, as at serving.
    """
    columns = {one.name: index for index, one in enumerate(quantities(spec))}
    rows = [(h, columns[n], v) for h, n, v in zip(hours, names, values, strict=True) if n in columns]
    return _raw([row for row in rows if 0 <= row[0] <= spec.document["hours"]])


def problems(spec: InputSpec) -> Iterator[str]:
    """Contradictions of the card's input."""
    yield from problems_of(spec)
    cells = spec.document["hours"] / spec.document["step_h"]
    if cells != int(cells) or cells > 10_000:
        yield f"the hours of {spec.name} are not a whole number of cells, or too many"
    width = len(quantities(spec))
    for tensor in spec.tensors:
        if tensor.shape[1:] != (int(cells), 3 * width if tensor.part == "joined" else width):
            yield f"{tensor.name} has not the shape [null, cells, variables]"
    if any(tensor.part in ("age", "joined") for tensor in spec.tensors) and _cap_h(spec) is None:
        yield f"{spec.name} gives the age of values and no step says up to how many hours"


def pull(case: Case, spec: InputSpec) -> SeriesRaw | Missing:
    """The case's observations of the card's variables that lie on the grid.

    A stay is judged where the case's moment lies in it and the hours that the model looks at have passed: hours to
    come would be encoded as "not measured". They are counted from the first value, which is a little after admission,
    so that the last cell need not be over.
    """
    doubts: dict[str, Doubt] = {}
    rows: list[tuple[datetime, int, float]] = []
    for one in case.observations:
        column = _column_of(one.code, spec)
        if column is None:
            continue
        value = in_unit(one, quantities(spec)[column])
        if isinstance(value, Doubt):
            doubts[value.name] = value
        else:
            rows.append((one.time, column, value))
    if doubts:  # one wrong unit among many values must not pass because the others are right
        return Missing(tuple(doubts), tuple(doubts.values()))
    placed = [row for row in rows if not _has_no_hour(row[0], spec)]
    start = _start(case, [time for time, _, _ in placed], spec)
    stay = _doubt_of_stay(case, start, [time for time, _, _ in placed], spec)
    if stay is not None and stay.code == "stay_is_over":
        return Missing((spec.name,), (stay,))
    raw = _on_grid(placed, start, spec)
    days = [(time, column) for time, column, _ in rows if _has_no_hour(time, spec)]
    of_days = tuple(column for time, column in days if _is_day_of(time, start, spec))
    raw = replace(raw, at=case.at, unplaced=of_days, worded=_worded(case, start, spec))
    usable = Counter(raw.columns[_plausible(raw, spec)].tolist())
    absent = [one for i, one in enumerate(quantities(spec)) if one.is_required and not usable[i]]
    if absent:
        names = tuple(one.name for one in absent)
        unplaced = {doubt.name: doubt for doubt in _unplaced(raw, spec, "abstain")}
        worded = {quantities(spec)[column].name for column in raw.worded}
        missing = (
            Doubt("no_number" if one.name in worded else "missing", "abstain", one.name, {"name": one.title})
            for one in absent
        )
        told = tuple(unplaced.get(doubt.name, doubt) for doubt in missing)
        return Missing(names, told if stay is None else (*told, stay))
    if stay is not None:
        return Missing((spec.name,), (stay,))
    least = int(spec.document.get("least_values", 1))
    if sum(usable.values()) < least:
        counts: dict[str, Text | str] = {"found": str(sum(usable.values())), "least": str(least)}
        counts["hours"] = plain(float(spec.document["hours"]))
        few = Doubt("too_few", "abstain", spec.name, counts)
        return Missing((spec.name,), (few, *_unplaced(raw, spec, "warn"), *_left_as_words(raw, spec)))
    return raw


def examine(raw: SeriesRaw, spec: InputSpec) -> tuple[list[Doubt], list[Used]]:
    """Values that are left out, columns that never varied in training, hours not looked at; the last value of each."""
    doubts: list[Doubt] = [*_unplaced(raw, spec, "warn"), *_left_as_words(raw, spec)]
    used: list[Used] = []
    fits = _plausible(raw, spec)
    since = _hours_after(raw, spec)
    if spec.document["origin"] == "first" and since > float(spec.document["step_h"]):
        hours = plain(float(spec.document["hours"]))
        doubts.append(Doubt("grid_is_over", "warn", "", {"hours": hours, "age": span(since)}))
    gap = float(spec.document["hours"]) - float(raw.hours.max(initial=0.0))
    if spec.document["origin"] != "first" and gap > float(spec.document["step_h"]):
        doubts.append(Doubt("grid_ends_later", "warn", "", {"age": span(gap)}))
    for index, one in enumerate(quantities(spec)):
        own = raw.columns == index
        n_out = int((own & ~fits).sum())
        if n_out and one.plausible is not None:
            low, high = (plain(bound) for bound in one.plausible)
            facts: dict[str, Text | str] = {
                "name": one.title,
                "n": str(n_out),
                "low": low,
                "high": high,
                "unit": one.unit,
            }
            doubts.append(Doubt("left_out", "warn", one.name, facts))
        places = np.flatnonzero(own & fits)
        strange = (unfamiliar(float(raw.values[place]), one) for place in places)
        doubts += [doubt for doubt in strange if doubt is not None][:1]
        if len(places):
            last = int(places[-1])
            time = raw.times[last] if raw.times else None
            used.append(Used(one.name, one.title, f"{plain(float(raw.values[last]))} {one.unit}".strip(), time))
    return doubts, used


def is_recent(raw: SeriesRaw, spec: InputSpec, name: str, hours: float) -> bool:
    """Whether a plausible value of a variable was measured in the last hours of the grid."""
    column = [one.name for one in quantities(spec)].index(name)
    own = raw.hours[(raw.columns == column) & _plausible(raw, spec)]
    return bool((own > float(spec.document["hours"]) - hours).any())


def encode(raw: SeriesRaw, spec: InputSpec) -> Encoded:
    """``values``, ``mask`` and ``age``, each ``(cells, variables)``; ``joined`` has the three side by side.

    A value that was never measured is 0 after ``z_score``, its mask 0 and its age 1.
    """
    grid, observed = _grid(raw, spec)
    age = _age(observed, spec)
    if _has(spec, "carry_forward"):
        grid = _carried(grid)
    if _has(spec, "z_score"):
        columns = quantities(spec)
        grid = (grid - np.array([one.mean for one in columns])) / np.array([one.std for one in columns])
    return Encoded(_tensors(np.nan_to_num(grid, nan=0.0), observed.astype(np.float64), age, spec))


def groups(raw: SeriesRaw, spec: InputSpec) -> list[Group]:
    """One a variable and window of hours in which it was measured, with all cells to which its values were carried."""
    _, observed = _grid(raw, spec)
    step = float(spec.document["step_h"])
    width = max(1, round(float(spec.document.get("group_h", GROUP_H)) / step))
    is_carried = _has(spec, "carry_forward")
    found = []
    for column, one in enumerate(quantities(spec)):
        for first in range(0, len(observed), width):
            end = min(first + width, len(observed))
            cells = np.flatnonzero(observed[first:end, column]) + first
            if not len(cells):
                continue
            later = np.flatnonzero(observed[end:, column])
            until = end + int(later[0]) if len(later) else len(observed)
            seen, reached = np.zeros_like(observed), np.zeros_like(observed)
            seen[cells, column] = True
            reached[cells[0] : until, column] = True
            filled = reached if is_carried else seen
            anchor = TimeCell(spec.name, one.name, (first * step, end * step))
            found.append(Group(anchor, _masks(filled, seen, reached, spec)))
    return found


def baseline(raw: SeriesRaw, spec: InputSpec) -> Arrays:
    """A series in which nothing was measured; a value that is no z-score has the training data's mean."""
    shape = _grid(raw, spec)[0].shape
    usual = 0.0 if _has(spec, "z_score") else np.array([one.mean for one in quantities(spec)])
    return _tensors(np.broadcast_to(usual, shape), np.zeros(shape), np.ones(shape), spec)


def _raw(rows: Sequence[tuple[float, int, float]]) -> SeriesRaw:
    ordered = sorted(rows, key=lambda row: row[0])
    return SeriesRaw(
        np.array([row[0] for row in ordered], np.float64),
        np.array([row[1] for row in ordered], np.intp),
        np.array([row[2] for row in ordered], np.float64),
    )


def _on_grid(rows: Sequence[tuple[datetime, int, float]], start: datetime | None, spec: InputSpec) -> SeriesRaw:
    """Those of a record that lie on the grid."""
    if start is None:
        return _raw([])
    found = [(_hours(start, time), time, column, value) for time, column, value in rows]
    found = [one for one in found if 0 <= one[0] <= float(spec.document["hours"])]
    found.sort(key=lambda one: one[0])
    raw = _raw([(hours, column, value) for hours, _, column, value in found])
    return replace(raw, start=start, times=tuple(time for _, time, _, _ in found))


def _doubt_of_stay(case: Case, start: datetime | None, times: Sequence[datetime], spec: InputSpec) -> Doubt | None:
    """Why the stay cannot be judged at the case's moment: it is over by then, or has not lasted long enough."""
    if start is None or case.at is None or spec.document["origin"] != "first":
        return None
    length = float(spec.document["hours"])
    since = _hours(max(times, key=datetime.timestamp), case.at)
    if since > length:
        return Doubt("stay_is_over", "abstain", spec.name, {"age": span(since)})
    lasted = _hours(start, case.at)
    if lasted < length - float(spec.document["step_h"]):
        facts: dict[str, Text | str] = {"found": plain(max(0.0, math.floor(lasted))), "hours": plain(length)}
        return Doubt("stay_goes_on", "abstain", spec.name, facts)
    return None


def _hours_after(raw: SeriesRaw, spec: InputSpec) -> float:
    """How long before the case's moment the grid ended; 0 where it did not, or there is no moment."""
    if raw.start is None or raw.at is None:
        return 0.0
    return max(0.0, _hours(raw.start, raw.at) - float(spec.document["hours"]))


def _has_no_hour(time: datetime, spec: InputSpec) -> bool:
    """Whether a value is known to the day only, on a grid whose cells are shorter."""
    return is_whole_day(time) and float(spec.document["step_h"]) < _DAY_H


def _is_day_of(day: datetime, start: datetime | None, spec: InputSpec) -> bool:
    """Whether a whole day touches the grid, by the grid's own clock; without a grid any may."""
    if start is None:
        return True
    return start.date() <= day.date() <= _later(start, float(spec.document["hours"])).date()


def _unplaced(raw: SeriesRaw, spec: InputSpec, level: GuardLevel) -> list[Doubt]:
    """What was left out because only its day is known, variable by variable."""
    columns = quantities(spec)
    counts = sorted(Counter(raw.unplaced).items())
    return [
        Doubt("no_time_of_day", level, columns[column].name, {"name": columns[column].title, "n": str(n)})
        for column, n in counts
    ]


def _column_of(code: str, spec: InputSpec) -> int | None:
    return next((i for i, q in enumerate(quantities(spec)) if is_of(code, q) is not None), None)


def _worded(case: Case, start: datetime | None, spec: InputSpec) -> tuple[int, ...]:
    """The variables of the grid's records that are no numbers ("> 20 mmol/L"), one for each record."""
    if start is None:
        return ()
    timed = [(one.time, one.code) for one in case.text_observations if one.time is not None]
    on_grid = (
        code
        for time, code in timed
        if not _has_no_hour(time, spec) and 0 <= _hours(start, time) <= float(spec.document["hours"])
    )
    return tuple(column for code in on_grid if (column := _column_of(code, spec)) is not None)


def _left_as_words(raw: SeriesRaw, spec: InputSpec) -> list[Doubt]:
    columns = quantities(spec)
    counts = sorted(Counter(raw.worded).items())
    return [
        Doubt("no_numbers", "warn", columns[column].name, {"name": columns[column].title, "n": str(n)})
        for column, n in counts
    ]


def _start(case: Case, times: Sequence[datetime], spec: InputSpec) -> datetime | None:
    """When the grid begins; None if there is nothing to place on it."""
    if not times:
        return None
    if spec.document["origin"] == "first":
        return _begin_of_stay(times, float(spec.document["hours"]))
    end = case.at if case.at is not None else max(times, key=datetime.timestamp)
    return _later(end, -float(spec.document["hours"]))


def _begin_of_stay(times: Sequence[datetime], hours: float) -> datetime:
    """The first observation of the last stay: what is further apart than a grid is long is of different ones."""
    ordered = sorted(times, key=datetime.timestamp)
    begins = [b for a, b in pairwise(ordered) if _hours(a, b) > hours]
    return begins[-1] if begins else ordered[0]


def _later(time: datetime, hours: float) -> datetime:
    """So many hours later as clocks run, whatever is done to them meanwhile, as in spring and autumn."""
    return datetime.fromtimestamp(time.timestamp() + 3600 * hours, time.tzinfo)


def _hours(start: datetime, time: datetime) -> float:
    return (time.timestamp() - start.timestamp()) / 3600


def _plausible(raw: SeriesRaw, spec: InputSpec) -> npt.NDArray[np.bool_]:
    columns = quantities(spec)
    pairs = zip(raw.columns.tolist(), raw.values.tolist(), strict=True)
    return np.array([not implausible(value, columns[column]) for column, value in pairs], np.bool_)


def _grid(raw: SeriesRaw, spec: InputSpec) -> tuple[Grid, npt.NDArray[np.bool_]]:
    """Values ``(cells, variables)``, NaN where nothing was measured, and where something was."""
    step = float(spec.document["step_h"])
    cells = round(float(spec.document["hours"]) / step)
    fits = _plausible(raw, spec)
    # The very end of the grid is part of its last cell.
    rows = np.minimum((raw.hours[fits] / step).astype(np.intp), cells - 1)
    columns, values = raw.columns[fits], raw.values[fits]
    shape = (cells, len(quantities(spec)))
    observed = np.zeros(shape, np.bool_)
    observed[rows, columns] = True
    if _has(spec, "mean"):
        total, times = np.zeros(shape), np.zeros(shape)
        np.add.at(total, (rows, columns), values)
        np.add.at(times, (rows, columns), 1)
        return np.where(observed, total / np.maximum(times, 1), np.nan), observed
    grid = np.full(shape, np.nan)
    for row, column, value in zip(rows.tolist(), columns.tolist(), values.tolist(), strict=True):
        grid[row, column] = value  # in order of time: the last one stays
    return grid, observed


def _carried(grid: Grid) -> Grid:
    """Each cell without a value has that of the last cell before it that has one."""
    index = np.where(np.isnan(grid), -1, np.arange(len(grid))[:, None])
    last = np.maximum.accumulate(index, axis=0)
    return np.where(last >= 0, np.take_along_axis(grid, np.maximum(last, 0), axis=0), np.nan)


def _age(observed: npt.NDArray[np.bool_], spec: InputSpec) -> Grid:
    """Hours since the last value, as a part of the cap: 0 in a cell with a value, 1 where there was none before."""
    cells = np.arange(len(observed))[:, None]
    last = np.maximum.accumulate(np.where(observed, cells, -1), axis=0)
    hours = (cells - last) * float(spec.document["step_h"])
    return np.where(last >= 0, np.minimum(hours / (_cap_h(spec) or 1.0), 1.0), 1.0)


def _tensors(values: Grid, mask: Grid, age: Grid, spec: InputSpec) -> Arrays:
    parts = {"values": values, "mask": mask, "age": age}
    parts["joined"] = np.concatenate([values, mask, age], axis=1)
    return {tensor.name: parts[tensor.part].astype(tensor.dtype) for tensor in spec.tensors}


def _masks(
    filled: npt.NDArray[np.bool_], seen: npt.NDArray[np.bool_], reached: npt.NDArray[np.bool_], spec: InputSpec
) -> dict[str, npt.NDArray[np.bool_]]:
    parts = {"values": filled, "mask": seen, "age": reached}
    parts["joined"] = np.concatenate([filled, seen, reached], axis=1)
    return {tensor.name: parts[tensor.part] for tensor in spec.tensors}


def _has(spec: InputSpec, operation: str) -> bool:
    return any(step["op"] == operation for step in spec.preprocessing)


def _cap_h(spec: InputSpec) -> float | None:
    return next((float(step["cap_h"]) for step in spec.preprocessing if step["op"] == "age"), None)
