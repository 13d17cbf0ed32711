"""Doctor-patient dialogues with the section of the note that each became, as MTS-Dialog publishes them.

Comma-separated tables with the columns ``ID``, ``section_header``, ``section_text`` and ``dialogue``; every row is
used or listed with its reason.

Source: Ben Abacha, Yim, Fan, Lin. An Empirical Study of Clinical Note Generation from Doctor-Patient Encounters.
EACL 2023 (data: CC BY 4.0).
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.domain.case import Case
from medviewer.domain.errors import InputError
from medviewer.domain.frozen import dataclass
from medviewer.inference.card import CardFile, InputSpec, input_spec
from medviewer.inference.inputs import text
from medviewer.inference.inputs.adapter import Missing
from medviewer.training.data_report import DataTable

VOCABULARY = "vocab.txt"
COLUMNS = ("ID", "section_header", "section_text", "dialogue")
# The published files' names begin so, by split. Only training is learned from; the others judge.
_SETS = {
    "training": "MTS-Dialog-TrainingSet",
    "validation": "MTS-Dialog-ValidationSet",
    "test-1": "MTS-Dialog-TestSet-1",
    "test-2": "MTS-Dialog-TestSet-2",
}
# Never looked at by a training: what is left for the judging of a model that is finished.
LEFT_FOR_EVALUATION = "test-2"
_LARGEST = 64_000_000  # bytes of a table
_NOTHING = frozenset({"nan", "null", "none", "n/a", "na"})  # how tables spell that there is nothing


@dataclass(frozen=True, slots=True)
class Dialogue:
    """One row: ``name`` as the table has it, ``section`` as its header names it."""

    name: str
    section: str
    text: str

    @property
    def group(self) -> str:
        """Return what all copies of the dialogue share: its words, whatever their case and spaces."""
        return hashlib.sha256(" ".join(self.text.casefold().split()).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Dialogues:
    """A table: its usable rows, ``(name, reason)`` of the others, and the sha256 of its file."""

    path: Path
    rows: Sequence[Dialogue]
    unusable: Sequence[tuple[str, str]]
    digest: str


def find_tables(data: Path) -> dict[str, Path]:
    """Return the tables below ``data`` by split; a table by itself is named as its file.

    Raises:
        InputError: there is none, or there are two of one split.
    """
    if data.is_file():
        split = next((split for split, name in _SETS.items() if data.stem.startswith(name)), data.stem)
        return {split: data}
    found: dict[str, Path] = {}
    for split, name in _SETS.items():
        paths = sorted(data.glob(f"{name}*.csv"))
        if len(paths) > 1:
            both = " and ".join(path.name for path in paths)
            raise InputError(f"{data} holds {both}: which is the table {split!r} nobody knows; keep one of them there.")
        if paths:
            found[split] = paths[0]
    if not found:
        names = ", ".join(f"{name}*.csv" for name in _SETS.values())
        raise InputError(f"{data} holds no table of dialogues; it needs {names}, or name one CSV file.")
    return found


def read_dialogues(path: Path) -> Dialogues:
    """Read one table.

    Raises:
        InputError: it cannot be read, is no such table, or has no usable row.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError(f"{path} is larger than any table of dialogues; choose another file.")
        content = path.read_bytes()
        table = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        _check_columns(path, table.fieldnames or ())
        rows = [(index, row) for index, row in enumerate(table, start=1)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a CSV table in UTF-8 ({error}); save it so.") from error
    used: list[Dialogue] = []
    unusable: list[tuple[str, str]] = []
    for index, row in rows:
        name = f"{path.stem} row {index} (ID {row.get('ID') or 'missing'})"
        if reason := _unusable_because(row):
            unusable.append((name, reason))
        else:
            used.append(Dialogue(name, row["section_header"].strip().upper(), row["dialogue"]))
    if not used:
        raise InputError(f"{path} has no row with a dialogue and its section; see that it is the right table.")
    return Dialogues(path, used, unusable, hashlib.sha256(content).hexdigest())


def without_copies(sets: Mapping[str, Dialogues], learned: str = "training") -> dict[str, Dialogues]:
    """Take out of one table what stands in another as well: nothing is judged on what was learned. It is listed."""
    where = {row.group: split for split, found in sets.items() if split != learned for row in found.rows}
    table = sets[learned]
    copies = [(row.name, f"the same dialogue is in {where[row.group]}") for row in table.rows if row.group in where]
    rows = [row for row in table.rows if row.group not in where]
    return {**sets, learned: replace(table, rows=rows, unusable=[*table.unusable, *copies])}


def _check_columns(path: Path, found: Sequence[str]) -> None:
    """Refuse a table of another layout: a column that nobody knows may hold what must not be learned."""
    missing = [name for name in COLUMNS if name not in found]
    unknown = [name for name in found if name not in COLUMNS]
    if missing or unknown or len(set(found)) != len(found):
        said = [f"lacks the columns {', '.join(missing)}"] if missing else []
        said += [f"has unknown columns {', '.join(unknown)}"] if unknown else []
        said = said or ["names a column twice"]
        raise InputError(f"{path} {' and '.join(said)}; a table of dialogues has {', '.join(COLUMNS)}, each once.")


def _unusable_because(row: Mapping[str | None, object]) -> str:
    """Return why a row cannot be used; empty if it can."""
    if None in row or None in row.values():
        return "it has not one cell for each column"
    dialogue, section = str(row["dialogue"]).strip(), str(row["section_header"]).strip()
    if not dialogue or dialogue.casefold() in _NOTHING:
        return "its dialogue is empty"
    if not section or section.casefold() in _NOTHING:
        return "it names no section"
    return ""


def input_document(length: int) -> dict[str, Any]:
    """Return the card's input: word pieces as BERT's released tokenizer cuts them, and where they end."""
    tensors = [{"part": part, "name": part, "dtype": "int64", "shape": [None, length]} for part in ("ids", "mask")]
    steps = [{"op": "lowercase"}, {"op": "strip_accents"}, {"op": "wordpiece", "length": length}]
    document = {"kind": "text", "name": "dialogue", "tensors": tensors, "vocabulary": VOCABULARY}
    return {**document, "languages": ["en"], "preprocessing": steps}


@contextlib.contextmanager
def input_of(pieces: Sequence[str], length: int) -> Iterator[InputSpec]:
    """Give the card's input with its vocabulary, before there is a card."""
    content = vocabulary_text(pieces).encode()
    file = CardFile("vocabulary", VOCABULARY, hashlib.sha256(content).hexdigest(), len(content))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / VOCABULARY).write_bytes(content)
        yield input_spec(input_document(length), Path(folder), (file,))


def vocabulary_text(pieces: Sequence[str]) -> str:
    """Return the file of a vocabulary: one piece a line."""
    return "".join(f"{piece}\n" for piece in pieces)


def encode_dialogues(rows: Sequence[Dialogue], spec: InputSpec) -> dict[str, npt.NDArray[np.int64]]:
    """Return the graph's inputs by part, ``(n, length)`` each, by the very adapter that serves.

    Raises:
        InputError: a dialogue is one that the viewer would refuse; it is named.
    """
    found = []
    for row in rows:
        raw = text.pull(Case(note=row.text), spec)
        if isinstance(raw, Missing):
            raise InputError(f"{row.name} is longer than any note; take it out of the table.")
        found.append(text.encode(raw, spec).tensors)
    return {tensor.part: np.stack([one[tensor.name] for one in found]) for tensor in spec.tensors}


def dialogues_table(data: Path, sets: Mapping[str, Dialogues]) -> DataTable:
    """Return dialogues as rows of a data report; copies across splits are found by their words."""
    rows = [(split, row) for split, found in sets.items() for row in found.rows]
    return DataTable(
        path=data,
        names=[row.name for _, row in rows],
        labels=[row.section for _, row in rows],
        classes=sorted({row.section for _, row in rows}),
        patients=[row.group for _, row in rows],
        splits=[split for split, _ in rows],
        expected_splits=tuple(sets),
        digests=[row.group for _, row in rows],
        columns={"words": np.array([len(row.text.split()) for _, row in rows], np.float64)},
        unusable=[entry for found in sets.values() for entry in found.unusable],
        digest=" ".join(found.digest for found in sets.values()),
        learned=[found.digest for split, found in sets.items() if split == "training"],
    )
