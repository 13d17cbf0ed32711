"""Cohorts whose survival is published, as rows of named values with a time and an event.

A file is a CSV with a header, or an ARFF file as scikit-survival ships them (read here as text: nothing of
that package is imported). Every value must be there; a row that cannot be used is named with its reason.
"""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from medviewer.domain.errors import InputError
from medviewer.domain.frozen import dataclass
from medviewer.inference.card import InputSpec
from medviewer.inference.inputs.quantity import Quantity, quantities
from medviewer.inference.inputs.table import encode, row
from medviewer.training.data_report import DataTable
from medviewer.training.metrics import Floats, Truth

TIME, EVENT = "time", "event"
CLASSES = ("no event", "event")
_EVENTS: Mapping[str, bool] = {"0": False, "1": True, "no": False, "yes": True, "false": False, "true": True}
_MISSING = frozenset({"", "?", "na", "nan", "n/a", "null", "none"})
_LARGEST = 64 * 2**20  # bytes


@dataclass(frozen=True, slots=True, eq=False)
class Cohort:
    """Patients who were watched.

    Attributes:
        path: the file.
        values: ``(n, p)``, in the order and units of the fields.
        time: ``(n,)``, above zero, until the event or until nothing more is known.
        event: ``(n,)`` whether it was the event.
        rows: ``(n,)``, which row of the file each is, as a spreadsheet shows it: the names of the columns are row 1.
            Of an ARFF file, which of its data, from 1.
        unusable: ``(row, reason)`` of every other row.
        digest: sha256 of the file.
    """

    path: Path
    values: Floats
    time: Floats
    event: Truth
    rows: Sequence[int]
    unusable: Sequence[tuple[str, str]]
    digest: str

    def where(self, chosen: Truth) -> Cohort:
        """Return some of them."""
        rows = [row for row, is_chosen in zip(self.rows, chosen, strict=True) if is_chosen]
        values, time, event = self.values[chosen], self.time[chosen], self.event[chosen]
        return replace(self, values=values, time=time, event=event, rows=rows)

    @property
    def patients(self) -> list[int]:
        """Return of whom each row is, ``(n,)``: the first row that is equal in every field, time and event.

        Two people may be equal in all of that. To take copies for many people would say more than is known.
        """
        first: dict[tuple[float, ...], int] = {}
        known = np.column_stack([self.values, self.time, self.event]).tolist()
        return [first.setdefault(tuple(one), row) for row, one in zip(self.rows, known, strict=True)]

    @property
    def patients_digest(self) -> str:
        """Return one sha256 of who they are, the same in whichever file, form and order they come."""
        rows = np.column_stack([self.values, self.time, self.event]) + 0.0  # so that -0 is 0
        lines = sorted(",".join(f"{value:.6g}" for value in row) for row in rows)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def read_cohort(path: Path, spec: InputSpec, columns: Mapping[str, str] | None = None) -> Cohort:
    """Read a cohort with the fields of a card's table.

    Args:
        path: a ``.csv`` or ``.arff`` file.
        spec: the card's input; a word of a field's categories stands for its number.
        columns: what the file calls a field, ``time`` or ``event``, where that is another name.

    Raises:
        InputError: the file cannot be read, lacks a column, holds no usable row, or nobody has the event.
    """
    fields, named = quantities(spec), columns or {}
    content = _content(path)
    header, lines = _arff(content, path) if path.suffix.lower() == ".arff" else _csv(content, path)
    wanted = [named.get(name, name) for name in (*(one.name for one in fields), TIME, EVENT)]
    if lacking := [name for name in wanted if name not in header]:
        raise InputError(f"{path.name} has no column {lacking[0]}; it needs {', '.join(wanted)}.")
    places = [header.index(name) for name in wanted]
    values, times, events, rows, unusable = [], [], [], [], []
    for number, line in lines:
        if len(line) != len(header):
            unusable.append((f"row {number}", f"has {len(line)} values, not {len(header)}"))
            continue
        try:
            *given, time, event = (line[place] for place in places)
            found = [_value(text, field) for text, field in zip(given, fields, strict=True)]
            until, had = _time(time), _event(event)
        except ValueError as error:
            unusable.append((f"row {number}", str(error)))
            continue
        values.append(found)
        times.append(until)
        events.append(had)
        rows.append(number)
    if not values:
        first = unusable[0][1] if unusable else "none"
        raise InputError(f"{path.name} has no row that can be used; the first: {first}.")
    if not any(events):
        raise InputError(f"Nobody in {path.name} has the event; nothing can be learned or measured.")
    digest = hashlib.sha256(content.encode()).hexdigest()
    return Cohort(path, np.array(values), np.array(times), np.array(events, np.bool_), rows, unusable, digest)


def encoded(values: Floats, spec: InputSpec) -> Floats:
    """Return rows as the network is given them, ``(n, p)``: by the input's own ``encode``."""
    name = spec.tensors[0].name
    return np.stack([encode(row(list(one), spec), spec).tensors[name] for one in values]).astype(np.float64)


def columns_of(cohort: Cohort, spec: InputSpec) -> dict[str, list[str]]:
    """Return what each patient's value is in words, by field: a category by its first word, a number as it is."""
    found = {}
    for field, column in zip(quantities(spec), cohort.values.T, strict=True):
        words = {number: word for word, number in reversed(list(field.categories.items()))}
        found[field.name] = [words.get(value, f"{value:g}") for value in column.tolist()]
    return found


def stratified_folds(event: Truth, n_folds: int, seed: int) -> np.ndarray:
    """Return the fold ``(n,)`` of each patient; those with the event are spread evenly."""
    chance, fold = np.random.default_rng(seed), np.zeros(len(event), dtype=np.int64)
    for value in (False, True):
        members = np.flatnonzero(event == value)
        fold[chance.permutation(members)] = np.arange(len(members)) % n_folds
    return fold


def statistics(values: Floats, fields: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return fields of a card with the mean and deviation of these patients; one that never varies is marked so."""
    found = []
    for field, column in zip(fields, values.T, strict=True):
        spread = float(column.std())
        entry = {**field, "mean": round(float(column.mean()), 6), "std": round(spread, 6) if spread > 0 else 1.0}
        found.append(entry if spread > 0 else {**entry, "constant": float(column[0])})
    return found


def cohort_table(cohort: Cohort, spec: InputSpec) -> DataTable:
    """Return patients as the rows of a data report."""
    names = [f"row {number}" for number in cohort.rows]
    known = np.column_stack([cohort.values, cohort.time, cohort.event])
    columns = {one.name: cohort.values[:, index] for index, one in enumerate(quantities(spec))}
    return DataTable(
        path=cohort.path,
        names=names,
        labels=[CLASSES[int(had)] for had in cohort.event],
        classes=CLASSES,
        patients=names,
        splits=["all"] * len(names),
        expected_splits=("all",),
        digests=[",".join(map(repr, row)) for row in known.tolist()],
        columns={**columns, "time": cohort.time},
        unusable=cohort.unusable,
        digest=cohort.digest,
        parts_copies=True,  # folds are of rows: nobody knows which are of one patient
    )


def _content(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError(f"{path} is larger than 64 MB; it is no table of patients.")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name} is no text in UTF-8; save it again as CSV in UTF-8.") from error


def _csv(content: str, path: Path) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    lines = csv.reader(content.splitlines(), strict=True)
    try:
        # Empty ones count, as a spreadsheet shows them too.
        rows = [(number, [cell.strip() for cell in line]) for number, line in enumerate(lines, start=1) if line]
    except csv.Error as error:
        raise InputError(f"{path.name} is no CSV file ({error}).") from error
    if not rows:
        raise InputError(f"{path.name} is empty; its first row must name the columns.")
    header = [name.lower() for name in rows[0][1]]
    if len(set(header)) != len(header):
        raise InputError(f"{path.name} names a column twice; each column needs a name of its own.")
    return header, iter(rows[1:])


def _arff(content: str, path: Path) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Read the plain form: no sparse rows, no spaces in names."""
    header: list[str] = []
    lines = [line.strip() for line in content.splitlines() if line.strip() and not line.lstrip().startswith("%")]
    starts = [index for index, line in enumerate(lines) if line.lower() == "@data"]
    if not starts:
        raise InputError(f"{path.name} has no line @data; it is no ARFF file.")
    for line in lines[: starts[0]]:
        words = line.split(None, 2)
        if words[0].lower() == "@attribute" and len(words) > 1:
            header.append(words[1].strip("'\"").lower())
    rows = csv.reader(lines[starts[0] + 1 :], quotechar="'", skipinitialspace=True)
    return header, ((number, [cell.strip() for cell in line]) for number, line in enumerate(rows, start=1))


def _value(text: str, field: Quantity) -> float:
    """Read one value.

    Raises:
        ValueError: why the row cannot be used, in words.
    """
    if text.lower() in _MISSING:
        raise ValueError(f"{field.name} is missing")
    if (known := field.categories.get(text.casefold())) is not None:
        return known
    number = _number(text, field.name)
    if field.categories and number not in field.categories.values():
        raise ValueError(f"{field.name} is {text}; it is one of {', '.join(field.categories)}")
    low, high = field.plausible or (-math.inf, math.inf)
    if not low <= number <= high:
        raise ValueError(f"{field.name} is {text}, outside of {low:g} to {high:g}")
    return number


def _number(text: str, name: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{name} is {text!r}, which is no number") from None
    if not math.isfinite(number):
        raise ValueError(f"{name} is missing")
    return number


def _time(text: str) -> float:
    time = _number(text, TIME) if text.lower() not in _MISSING else math.nan
    if not time > 0:
        raise ValueError(f"{TIME} is {text or 'missing'}; it must be above zero")
    return time


def _event(text: str) -> bool:
    word = text.lower().removesuffix(".0")
    if word not in _EVENTS:
        raise ValueError(f"{EVENT} is {text or 'missing'}; it must be 0 or 1")
    return _EVENTS[word]
