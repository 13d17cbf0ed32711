"""What a data set holds, told before anything is learned from it.

Written as JSON for programs and as one page for people. It says what a training would trip
over, or worse, would not notice: a part without a class, the same file under two patients, a
column that never changes, a column that gives the label away.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.domain.errors import StorageError
from medviewer.domain.frozen import dataclass
from medviewer.training.data import COPY_ELSEWHERE, SPLITS, ClassFolders, has_published_names, splits_of
from medviewer.training.data_page import data_page
from medviewer.training.metrics import Truth
from medviewer.training.own_data import origin_of
from medviewer.training.subgroups import groups_of_column, many_numbers
from medviewer.whole_file import write_whole

SCHEMA = "medviewer-data/1"
JSON_FILE, PAGE_FILE = "data.json", "data.html"
# A text column with more values is an identifier, not a subgroup.
_MOST_VALUES = 24
_MISSING_SHARE = 0.2
_RARE_SHARE = 0.05
_GIVEN_AWAY = 0.99
# What copies do to the figures, by whether they may be on both sides.
_COPIES: Mapping[bool, Mapping[str, str]] = {
    False: {"en": "they are kept together, so that none is both learned from and judged on"},
    True: {
        "en": "some may be both learned from and judged on, and the figures are too good for it",
        "zh": "其中有些可能既用于训练又用于判断，结果因此偏高",
    },
}

Column = Sequence[str] | npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class DataTable:
    """Any data set as rows: images, stays, notes or molecules.

    Attributes:
        path: where it lies.
        names: of the rows.
        labels: of the rows, as text.
        classes: every label there should be.
        patients: whom each row is of; what is split.
        splits: where each row goes.
        expected_splits: every split there should be.
        digests: of each row's content; empty where there is none to compare.
        columns: what else is known of each row, by name: text, "" where missing, or numbers, NaN where missing.
        groups: of columns of numbers that make subgroups, which rows are in which, by name of the column and the group.
        unusable: ``(name, reason)`` of rows that cannot be used.
        digest: of the whole.
        learned: the digests of what is learned from, which tell whether it is published; empty: that of the whole.
        has_published_names: of films, whether their names are the published ones.
        needed: the parts in which the recipe refuses to learn without a case of every class.
        refuses_copies: whether it refuses rows of the same content in two parts.
        parts_copies: whether rows of the same content may be on both sides: learned from, and judged on.
        refusals: why else it refuses these data, a sentence each.
        unit: what ``patients`` are and are counted as, in words.
    """

    path: Path
    names: Sequence[str]
    labels: Sequence[str]
    classes: Sequence[str]
    patients: Sequence[str]
    splits: Sequence[str]
    expected_splits: Sequence[str] = SPLITS
    digests: Sequence[str] = ()
    columns: Mapping[str, Column] = field(default_factory=dict)
    groups: Mapping[str, Mapping[str, Truth]] = field(default_factory=dict)
    unusable: Sequence[tuple[str, str]] = ()
    digest: str = ""
    learned: Sequence[str] = ()
    has_published_names: bool = False
    needed: Sequence[str] = ()
    refuses_copies: bool = False
    parts_copies: bool = False
    refusals: Sequence[str] = ()
    unit: str = "patients"


def images_table(found: ClassFolders, seed: int) -> DataTable:
    """Return labelled images as rows, with the split that a training of this seed would make."""
    where = splits_of(found, seed)
    columns, groups = _columns_of_table(found)
    return DataTable(
        path=found.root,
        names=[image.name for image in found.images],
        labels=[found.classes[image.label] for image in found.images],
        classes=found.classes,
        patients=[image.group for image in found.images],
        splits=[where[image.group] for image in found.images],
        digests=[image.digest for image in found.images],
        columns=columns,
        groups=groups,
        unusable=found.unusable,
        digest=found.digest,
        has_published_names=has_published_names(found),
        needed=SPLITS,
        refuses_copies=True,
    )


def _columns_of_table(found: ClassFolders) -> tuple[dict[str, Column], dict[str, Mapping[str, Truth]]]:
    """Return the columns of a label table, and the subgroups that numbers make, as an evaluation makes them."""
    columns: dict[str, Column] = {}
    groups: dict[str, Mapping[str, Truth]] = {}
    for name in sorted({name for image in found.images for name in image.facts} - {COPY_ELSEWHERE}):
        values = [image.facts.get(name, "") for image in found.images]
        numbers = many_numbers(values)
        columns[name] = values if numbers is None else numbers
        if numbers is not None:
            parts = groups_of_column(name, values)
            groups[name] = {part.removeprefix(f"{name}: "): members for part, members in parts.items()}
    return columns, groups


def describe_data(table: DataTable, recipe: str = "") -> dict[str, Any]:
    """Return the content of ``data.json``; see ``docs/json.md``.

    Args:
        table: the rows.
        recipe: whose published data they may be.
    """
    digests = table.learned or [table.digest]
    is_published, origin = origin_of(recipe, digests, has_published_names=table.has_published_names)
    columns = {name: _column(table, name) for name in table.columns}
    copies = _duplicates(table)
    report: dict[str, Any] = {
        "schema": SCHEMA,
        "path": str(table.path),
        "digest": table.digest,
        "is_published": is_published,
        "origin": origin,
        "n": len(table.names),
        "n_patients": len(set(table.patients)),
        "unit": table.unit,
        "per_class": {name: Counter(table.labels)[name] for name in table.classes},
        "splits": {name: _split(table, name) for name in table.expected_splits},
        "columns": columns,
        "duplicates": copies,
        "copies": {"n": sum(len(one["names"]) - 1 for one in copies), "are_parted": table.parts_copies},
        "unusable": [{"name": name, "reason": reason} for name, reason in table.unusable],
    }
    report["problems"] = [
        *(_problem(text, stops=True) for text in table.refusals),
        *_problems_of_splits(report, table),
        *_problems_of_rows(report, table),
        *_problems_of_columns(columns, report["n"]),
    ]
    return report


def write_data_report(
    table: DataTable, out: Path, recipe: str = "", progress: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Write ``data.json`` and ``data.html`` and return what they hold; tell whether the data are the published ones.

    Args:
        table: the rows.
        out: the folder for the files.
        recipe: whose published data they may be.
        progress: called with that line, and with one on copies where there are any.

    Raises:
        StorageError: the folder cannot be written.
    """
    report = describe_data(table, recipe)
    if report["origin"]:
        progress(report["origin"])
    if n := report["copies"]["n"]:
        progress(f"{n} of {report['n']} cases are copies of another one: {_COPIES[table.parts_copies]['en']}.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"The data report cannot be written to {out} ({error.strerror}).") from error
    write_whole(out / PAGE_FILE, data_page(report).encode())
    write_whole(out / JSON_FILE, (json.dumps(report, indent=1, ensure_ascii=False) + "\n").encode())
    return report


def with_copies(text: Mapping[str, str], report: Mapping[str, Any]) -> dict[str, str]:
    """Return what the card says that a model was judged on; also that copies make it too good, where they do."""
    if not report["copies"]["n"] or not report["copies"]["are_parted"]:
        return dict(text)
    n, of, why = report["copies"]["n"], report["n"], _COPIES[True]
    return {
        "en": f"{text['en']}. {n} of {of} cases are copies of another one: {why['en']}",
        "zh": f"{text['zh']}。{of}例中有{n}例与另一例内容相同：{why['zh']}",
    }


def _split(table: DataTable, split: str) -> dict[str, Any]:
    rows = [index for index, name in enumerate(table.splits) if name == split]
    counts = Counter(table.labels[index] for index in rows)
    return {
        "n": len(rows),
        "n_patients": len({table.patients[index] for index in rows}),
        "per_class": {name: counts[name] for name in table.classes},
    }


def _column(table: DataTable, name: str) -> dict[str, Any]:
    """Return how much of a column is missing, whether it changes, its range, and its values or subgroups."""
    values = table.columns[name]
    parts: Mapping[str, Truth] | None
    if isinstance(values, np.ndarray):
        there = values[np.isfinite(values)]
        entry = {"kind": "number", "missing": len(values) - len(there), "n_values": len(np.unique(there))}
        quantiles = np.percentile(there, (0, 50, 100)) if len(there) else ()
        entry["min_median_max"] = [round(float(q), 6) for q in quantiles]
        parts = table.groups.get(name)
    else:
        counts = Counter(value for value in values if value)
        entry = {"kind": "text", "missing": len(values) - counts.total(), "n_values": len(counts)}
        is_identifier = len(counts) > _MOST_VALUES
        parts = None if is_identifier else {one: np.array([one == v for v in values]) for one in sorted(counts)}
    if parts is None:
        return entry
    labels = np.array(table.labels)
    groups = {part: Counter(labels[members].tolist()) for part, members in parts.items() if members.any()}
    told = {part: {label: counts[label] for label in table.classes} for part, counts in groups.items()}
    return entry | {"values": told, "gives_label_away": _gives_away(groups)}


def _gives_away(groups: Mapping[str, Counter[str]]) -> bool:
    """Whether the value says the label nearly always, though the labels are not nearly always one."""
    n = sum(counts.total() for counts in groups.values())
    if n == 0:
        return False
    known = sum(max(counts.values()) for counts in groups.values()) / n
    guessed = max(sum(groups.values(), Counter()).values()) / n
    return known >= _GIVEN_AWAY and guessed < 1 - 2 * (1 - _GIVEN_AWAY)


def _duplicates(table: DataTable) -> list[dict[str, Any]]:
    """Return the rows of equal content, and whether they differ in label, patient or split."""
    same: dict[str, list[int]] = defaultdict(list)
    for index, digest in enumerate(table.digests):
        if digest:
            same[digest].append(index)
    return [
        {
            "names": [table.names[index] for index in rows],
            "other_label": len({table.labels[index] for index in rows}) > 1,
            "other_patient": len({table.patients[index] for index in rows}) > 1,
            "other_split": len({table.splits[index] for index in rows}) > 1,
        }
        for rows in same.values()
        if len(rows) > 1
    ]


def _problem(text: str, *, stops: bool) -> dict[str, Any]:
    return {"text": text, "stops_training": stops}


def _problems_of_splits(report: Mapping[str, Any], table: DataTable) -> list[dict[str, Any]]:
    found = []
    for name, split in report["splits"].items():
        if lacking := [label for label, count in split["per_class"].items() if count == 0]:
            said = f"The part {name} has no case of {', '.join(lacking)}."
            found.append(_problem(said, stops=name in table.needed))
    split_of: dict[str, str] = {}
    torn = {p for p, s in zip(table.patients, table.splits, strict=True) if split_of.setdefault(p, s) != s}
    found += [_problem(f"The patient {patient} is in two parts.", stops=False) for patient in sorted(torn)]
    rarest = min(report["per_class"].values(), default=0)
    if report["n"] and 0 < rarest < _RARE_SHARE * report["n"]:
        found.append(_problem(f"The rarest class has {rarest} of {report['n']} cases.", stops=False))
    return found


def _problems_of_rows(report: Mapping[str, Any], table: DataTable) -> list[dict[str, Any]]:
    found = []
    for copies in report["duplicates"]:
        both = " and ".join(copies["names"][:2])
        if copies["other_split"]:
            found.append(_problem(f"{both} are the same, and in two parts.", stops=table.refuses_copies))
        elif copies["other_label"]:
            found.append(_problem(f"{both} are the same, and have two labels.", stops=False))
        elif copies["other_patient"]:
            found.append(_problem(f"{both} are the same, and of two patients.", stops=False))
    if n := len(report["unusable"]):
        found.append(_problem(f"{n} of {n + report['n']} rows cannot be used; they are listed below.", stops=False))
    return found


def _problems_of_columns(columns: Mapping[str, Mapping[str, Any]], n: int) -> list[dict[str, Any]]:
    found = []
    for name, column in columns.items():
        if column["n_values"] == 0:
            found.append(f"The column {name} is empty.")
        elif column["n_values"] == 1:
            found.append(f"The column {name} has one value only: another one will never have been learned from.")
        if column.get("gives_label_away"):
            found.append(f"The column {name} gives the label away: it may be learned instead of the disease.")
        if 0 < _MISSING_SHARE * n < column["missing"] < n:
            found.append(f"The column {name} is missing in {column['missing']} of {n} rows.")
    return [_problem(text, stops=False) for text in found]
