"""Named fields of a case, as a row of numbers: the newest value of each, from about one moment.

Words become numbers only by the card's own list. What was not recorded is missing, and named; where
the card has a default for it, the default is taken and said: only if nothing at all was recorded. What
is recorded of such a field stands until something else is (:attr:`Quantity.is_standing`): it is neither
held to the moment of the others nor part of it, and that it is older than they are is said. Where two records of
one moment contradict each other, neither is taken.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from medviewer.domain.anchor import Field
from medviewer.domain.answer import GuardLevel
from medviewer.domain.case import Case, is_whole_day
from medviewer.domain.frozen import dataclass
from medviewer.inference.card import InputSpec, Text
from medviewer.inference.data_guard_texts import span
from medviewer.inference.inputs.adapter import Arrays, Doubt, Encoded, Group, Missing, Used
from medviewer.inference.inputs.quantity import (
    Quantity,
    implausible,
    in_unit,
    is_of,
    plain,
    problems_of,
    quantities,
    unfamiliar,
)
from medviewer.inference.units import bare_unit

_DAY_H = 24
_ROUNDED = 0.005  # how far one value in two units may seem apart: 98.5 °F beside 36.9 °C
_ASSUMED = Text("not recorded; taken as the card says", "未记录，按模型卡的规定取值")


@dataclass(frozen=True, slots=True, eq=False)
class TableRaw:
    """One value a field, in the card's unit and order; NaN where there is none.

    ``used`` are the recorded values behind them. ``newest`` is the time of the newest one of those that
    belong to one moment and ``at`` the moment that the case is about.
    """

    values: npt.NDArray[np.float64]
    used: tuple[Used, ...] = ()
    newest: datetime | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Found:
    """A candidate for a field: the recorded value, or why it is refused. ``unit``: as recorded; None for a word."""

    rank: int
    time: datetime | None
    value: float
    used: Used
    refused: Doubt | None = None
    unit: str | None = None


def row(values: Sequence[float | None], spec: InputSpec) -> TableRaw:
    """A row for training: values in the card's units and order, None where there is none."""
    array = np.array([np.nan if value is None else value for value in values], np.float64)
    if array.shape != (len(quantities(spec)),):
        raise ValueError(f"{len(quantities(spec))} fields, not {array.shape}")
    return TableRaw(array)


def problems(spec: InputSpec) -> Iterator[str]:
    """Contradictions of the card's input."""
    yield from problems_of(spec)
    names = [one.name for one in quantities(spec)]
    for tensor in spec.tensors:
        if tensor.shape[1:] != (len(names),):
            yield f"{tensor.name} has not one column for each field"
    for step in spec.preprocessing:
        if not set(step.get("fields", ())) <= set(names):
            yield f"the step {step['op']} names a field that there is not"


def pull(case: Case, spec: InputSpec) -> TableRaw | Missing:
    """The newest value of each field; those too far from the newest of all are not taken, unless they stand."""
    columns = quantities(spec)
    found = [_standing(case, one) if one.is_standing else _newest(case, one, spec) for one in columns]
    pairs = zip(found, columns, strict=True)
    times = (one.time for one, field in pairs if one is not None and not field.is_standing)
    newest = max((time for time in times if time is not None), default=None, key=_moment)
    together = spec.document.get("together_h")
    fields: list[str] = []
    doubts: list[Doubt] = []
    values, used = [], []
    for one, candidate in zip(columns, found, strict=True):
        is_stale = False
        if candidate is not None and together is not None and not one.is_standing:
            is_stale = _is_before(candidate.time, newest, together)
        value = np.nan if candidate is None or is_stale else candidate.value
        if candidate is not None and candidate.refused is not None and not is_stale:
            fields.append(one.name)
            doubts.append(candidate.refused)
        elif np.isnan(value) and one.default is not None:
            value = one.default
            used.append(Used(one.name, one.title, _word(one.default, one), None, _ASSUMED))
        elif np.isnan(value) and one.is_required:
            fields.append(one.name)
            why = "stale" if is_stale else "undated" if any(_unplaced(case, one)) else "missing"
            doubts.append(Doubt(why, "abstain", one.name, {"name": one.title}))
        elif candidate is not None and not is_stale:
            used.append(candidate.used)
        values.append(value)
    if fields:
        return Missing(tuple(fields), tuple(doubts), tuple(used))
    return TableRaw(np.array(values, np.float64), tuple(used), newest, case.at)


_OLDER: tuple[tuple[str, GuardLevel], ...] = (("abstain_older_h", "abstain"), ("warn_older_h", "warn"))


def examine(raw: TableRaw, spec: InputSpec) -> tuple[list[Doubt], tuple[Used, ...]]:
    """Implausible values, columns that never varied in training, what was assumed, and how old it all is."""
    doubts: list[Doubt] = []
    for value, one in zip(raw.values, quantities(spec), strict=True):
        if np.isnan(value):
            continue
        strange = unfamiliar(float(value), one)
        if strange is not None:
            doubts.append(strange)
        if implausible(float(value), one) and one.plausible is not None:
            low, high = (plain(bound) for bound in one.plausible)
            facts: dict[str, Text | str] = {
                "name": one.title,
                "found": plain(float(value)),
                "low": low,
                "high": high,
                "unit": one.unit,
            }
            doubts.append(Doubt("implausible", "abstain", one.name, facts))
    titles = {one.name: one.title for one in quantities(spec)}
    doubts += [
        Doubt("assumed", "warn", used.name, {"name": titles[used.name], "found": used.value})
        for used in raw.used
        if used.note == _ASSUMED
    ]
    doubts += _stood(raw, spec)
    if raw.newest is not None and raw.at is not None:
        hours = (_moment(raw.at) - _moment(raw.newest)) / 3600
        for name, level in _OLDER:
            limit = spec.document.get(name)
            if limit is not None and hours > limit:
                key = "old" if level == "warn" else "too_old"
                doubts.append(Doubt(key, level, "", {"age": span(hours), "limit": plain(limit)}))
                break
    return doubts, raw.used


def encode(raw: TableRaw, spec: InputSpec) -> Encoded:
    """``values`` ``(fields,)`` after the card's steps, 0 where there is none; ``mask`` is 1 where there is one."""
    known = ~np.isnan(raw.values)
    return Encoded(_tensors(np.where(known, raw.values, 0.0), known, spec))


def _tensors(values: npt.NDArray[np.float64], known: npt.NDArray[np.bool_], spec: InputSpec) -> Arrays:
    columns = quantities(spec)
    names = [one.name for one in columns]
    for step in spec.preprocessing:
        if step["op"] == "log1p":
            chosen = np.isin(names, step["fields"]) & known
            values = np.where(chosen, np.log1p(np.maximum(values, 0.0)), values)
        else:
            mean, std = np.array([one.mean for one in columns]), np.array([one.std for one in columns])
            values = np.where(known, (values - mean) / std, 0.0)
    parts = {"values": values, "mask": known}
    return {tensor.name: parts[tensor.part].astype(tensor.dtype) for tensor in spec.tensors}


def groups(raw: TableRaw, spec: InputSpec) -> list[Group]:
    """One a field that has a value."""
    size = len(raw.values)
    return [
        Group(Field(spec.name, one.name), {tensor.name: np.arange(size) == index for tensor in spec.tensors})
        for index, one in enumerate(quantities(spec))
        if not np.isnan(raw.values[index])
    ]


def baseline(raw: TableRaw, spec: InputSpec) -> Arrays:
    """The usual value of each field in its place, as the card names it: else the training data's mean."""
    values = np.array([one.baseline for one in quantities(spec)])
    return _tensors(values, ~np.isnan(raw.values), spec)


def _newest(case: Case, field: Quantity, spec: InputSpec | None = None) -> _Found | None:
    """The newest record of a field; of one moment that whose code the card prefers.

    Words that are known to the day only are left out: nobody can tell whether they belong to the others' moment. So
    are numbers, where the card wants values nearer to each other than a day is long.
    """
    if field.source == "age_years":
        return _simple(field, case.age_years, "" if case.age_years is None else plain(float(int(case.age_years))))
    if field.source == "sex":
        number = field.categories.get((case.sex or "").casefold())
        return _simple(field, number, case.sex or "")
    is_near = spec is not None and spec.document.get("together_h", _DAY_H) < _DAY_H
    numbers = (one for one in _numbers(case, field) if not (is_near and _is_unplaced(one)))
    candidates = [*numbers, *(one for one in _words(case, field) if not _is_unplaced(one))]
    last = max(candidates, key=lambda one: (_moment(one.time), -one.rank), default=None)
    return None if last is None else _uncontradicted(last, candidates, field)


def _standing(case: Case, field: Quantity) -> _Found | None:
    """What is in force of a field whose records hold until another one; refused where nobody can tell which it is."""
    if field.source != "observation":
        return _newest(case, field)
    candidates = [*_numbers(case, field), *_words(case, field)]
    if not candidates:
        return None
    last = max(candidates, key=lambda one: (_latest(one), -one.rank))
    rivals = (one for one in candidates if one is not last and one.value != last.value and _may_follow(one, last))
    if last.time is not None and next(rivals, None) is None:
        return _uncontradicted(last, candidates, field)
    doubt = Doubt("undated", "abstain", field.name, {"name": field.title})
    return _Found(last.rank, last.time, np.nan, last.used, doubt)


def _uncontradicted(last: _Found, candidates: Sequence[_Found], field: Quantity) -> _Found:
    """The newest record, refused where another one of the same code and moment is refused or says something else."""
    same = [one for one in candidates if one.rank == last.rank and _moment(one.time) == _moment(last.time)]
    refused = next((one for one in same if one.refused is not None), None)
    if refused is not None:
        return refused
    if all(_agree(last, one) for one in same):
        return last
    recorded = "; ".join(dict.fromkeys(one.used.value for one in same))
    doubt = Doubt("contradiction", "abstain", field.name, {"name": field.title, "found": recorded})
    return _Found(last.rank, last.time, np.nan, last.used, doubt)


def _agree(one: _Found, other: _Found) -> bool:
    """Whether two records of one moment can both be true: a word says whether there is any, a number how much."""
    if (one.unit is None) != (other.unit is None):
        return bool(one.value) == bool(other.value)
    if one.unit != other.unit:
        return math.isclose(one.value, other.value, rel_tol=_ROUNDED)
    return one.value == other.value


def _may_follow(one: _Found, last: _Found) -> bool:
    """Whether a record may be newer than the one that seems to be the newest: the time of one of them is not known."""
    return (_is_unplaced(one) or _is_unplaced(last)) and (one.time is None or _latest(one) > _moment(last.time))


def _latest(one: _Found) -> float:
    """The last second at which something may have been recorded."""
    is_day = one.time is not None and is_whole_day(one.time)
    return _moment(one.time) + (timedelta(days=1).total_seconds() - 1 if is_day else 0)


def _is_unplaced(one: _Found) -> bool:
    return one.time is None or is_whole_day(one.time)


def _unplaced(case: Case, field: Quantity) -> Iterator[_Found]:
    """What is recorded for a field of which nobody can tell the moment."""
    return (one for one in (*_numbers(case, field), *_words(case, field)) if _is_unplaced(one))


def _stood(raw: TableRaw, spec: InputSpec) -> Iterator[Doubt]:
    """What was recorded before the values of one moment, further than they may be apart, and is taken to hold still."""
    together = spec.document.get("together_h")
    for one in quantities(spec):
        used = next((used for used in raw.used if used.name == one.name), None)
        if not one.is_standing or used is None or together is None or not _is_before(used.time, raw.newest, together):
            continue
        if used.time is not None and raw.newest is not None and (age := _age(used.time, raw.newest)) is not None:
            yield Doubt("stands", "warn", one.name, {"name": one.title, "found": used.value, "age": age})


def _age(time: datetime, newest: datetime) -> Text | None:
    """How long before another moment something was recorded; in days, where only its day is known."""
    if not is_whole_day(time):
        return span((_moment(newest) - _moment(time)) / 3600)
    days = (newest.date() - time.date()).days
    if days <= 0:
        return None
    return Text("1 day", "1 天") if days == 1 else span(24.0 * days)


def _simple(field: Quantity, value: float | None, word: str) -> _Found | None:
    return None if value is None else _Found(0, None, value, Used(field.name, field.title, word, None))


def _numbers(case: Case, field: Quantity) -> Iterator[_Found]:
    for one in case.observations:
        rank = is_of(one.code, field)
        if rank is None:
            continue
        # What the card takes as words has no unit: a number under that code may count something else.
        value = _wordless(field) if field.categories and not field.unit else in_unit(one, field)
        recorded = f"{plain(one.value)} {one.unit}".strip()
        if isinstance(value, Doubt):
            yield _Found(rank, one.time, np.nan, Used(field.name, field.title, recorded, one.time), value)
            continue
        note = Text("")
        shown = f"{plain(value)} {field.unit}".strip() if field.unit else recorded
        if value != one.value:
            note = Text(f"converted from {recorded}", f"由 {recorded} 换算")
        used = Used(field.name, field.title, shown, one.time, note)
        yield _Found(rank, one.time, value, used, unit=bare_unit(one.unit))


def _words(case: Case, field: Quantity) -> Iterator[_Found]:
    for one in case.text_observations:
        rank = is_of(one.code, field)
        if rank is None:
            continue
        number = field.categories.get(one.text.strip().casefold())
        used = Used(field.name, field.title, one.text.strip(), one.time)
        if number is not None:
            yield _Found(rank, one.time, number, used)
            continue
        yield _Found(rank, one.time, np.nan, used, _wordless(field))


def _wordless(field: Quantity) -> Doubt:
    if not field.categories:
        return Doubt("no_number", "abstain", field.name, {"name": field.title})
    known = ", ".join(field.categories)
    return Doubt("not_understood", "abstain", field.name, {"name": field.title, "expected": known})


def _word(value: float, field: Quantity) -> str:
    """A category's own word; a number with its unit."""
    word = next((word for word, number in field.categories.items() if number == value), None)
    return word if word is not None else f"{plain(value)} {field.unit}".strip()


def _moment(time: datetime | None) -> float:
    """Seconds, to compare moments; without a time zone local time is meant. No time is before all others."""
    return float("-inf") if time is None else time.timestamp()


def _is_before(time: datetime | None, other: datetime | None, hours: float) -> bool:
    """Whether ``time`` lies more than so many hours before ``other``; what has no time (an age) does not."""
    if time is None or other is None:
        return False
    return _moment(other) - _moment(time) > timedelta(hours=hours).total_seconds()
