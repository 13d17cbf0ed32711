"""Intensive care stays of the PhysioNet/CinC Challenge 2012, as published: ``set-x/*.txt`` or ``set-x.zip``.

Each file is one stay: its first 48 hours as lines of ``Time,Parameter,Value``, general
descriptors at 00:00. Outcomes lie beside it in ``Outcomes-x.txt``. A stay is one patient,
so that sets, and any division of their stays, are divisions of patients.

Source: Silva et al., "Predicting in-hospital mortality of ICU patients", CinC 2012 (ODC-By 1.0).
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import TypeVar

from medviewer.domain.errors import InputError
from medviewer.domain.frozen import dataclass

HOURS = 48
DESCRIPTORS = ("Age", "Gender", "Height", "ICUType", "Weight")
_MAX_STAY_BYTES = 4 << 20
_MAX_STAYS = 100_000
_NAME = re.compile(r"(?:^|/)(\d{1,12})\.txt$")
_Name = TypeVar("_Name")
_TIME = re.compile(r"(\d{1,3}):([0-5]\d)")


@dataclass(frozen=True, slots=True)
class Stay:
    """One stay.

    Attributes:
        record_id: the challenge's RecordID.
        descriptors: of :data:`DESCRIPTORS`; what is not known (-1 in the files) is absent.
        observations: ``(hours since admission, parameter, value)`` in order of time; -1, the files' word for
            missing, is left out. A weight that was measured later is an observation.
        died: in hospital; None where no outcome is published.
    """

    record_id: int
    descriptors: Mapping[str, float]
    observations: tuple[tuple[float, str, float], ...]
    died: bool | None = None

    @property
    def content(self) -> str:
        """What two files of one stay share, whatever their RecordID; "" of one in which nothing was measured."""
        if not self.observations:
            return ""
        return hashlib.sha256(repr((sorted(self.descriptors.items()), self.observations)).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Stays:
    """The stays of one set, by RecordID; ``unusable`` has ``(name, reason)`` of every file that is not among them."""

    name: str
    stays: tuple[Stay, ...]
    digest: str
    unusable: tuple[tuple[str, str], ...] = field(default=())


def find_sets(root: Path) -> dict[str, Path]:
    """Give the sets below ``root`` by their letter: a folder ``set-x``, else ``set-x.zip``.

    Raises:
        InputError: there is none; it says what is expected.
    """
    try:
        names = sorted(root.iterdir())
    except OSError as error:
        raise InputError(f"The folder {root} cannot be read ({error.strerror}).") from error
    found: dict[str, Path] = {}
    for path in names:
        match = re.fullmatch(r"set-([a-z])(\.zip)?", path.name)
        if match and (path.is_dir() or (match[2] and match[1] not in found)):
            found[match[1]] = path
    if not found:
        raise InputError(f"{root} holds no set of the challenge; expected set-a.zip or set-a/, and Outcomes-a.txt.")
    return found


def read_stays(path: Path, outcomes: Path | None = None) -> Stays:
    """Read one set.

    Args:
        path: ``set-x`` or ``set-x.zip``.
        outcomes: ``Outcomes-x.txt``; None for the file of that name beside ``path``, if there is one.

    Raises:
        InputError: nothing in it can be used, the outcomes name a stay twice or one that is not there, or
            a stay has no outcome although others have.
    """
    letter = path.name.removeprefix("set-").removesuffix(".zip")
    table = outcomes or path.parent / f"Outcomes-{letter}.txt"
    died = _read_outcomes(table) if table.is_file() else {}
    total = hashlib.sha256()
    stays: dict[int, Stay] = {}
    unusable: list[tuple[str, str]] = []
    for name, content in _files(path):
        total.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode())
        try:
            stay = read_stay(name, content)
        except InputError as error:
            unusable.append((name, str(error)))
            continue
        if stay.record_id in stays:
            raise InputError(f"{path} holds the stay {stay.record_id} twice; remove one of them.")
        stays[stay.record_id] = Stay(stay.record_id, stay.descriptors, stay.observations, died.get(stay.record_id))
    if not stays:
        raise InputError(f"{path} holds no stay that can be read; expected files such as 132539.txt.")
    _check_outcomes(table, died, stays, {name for name, _ in unusable})
    total.update(table.read_bytes() if died else b"")
    return Stays(path.name, tuple(stays[key] for key in sorted(stays)), total.hexdigest(), tuple(unusable))


def check_apart(sets: Mapping[str, Stays]) -> None:
    """Refuse a stay that two sets hold: it would be learned from and judged on.

    Raises:
        InputError: there is one; it is named.
    """
    where: dict[int, str] = {}
    for found in sets.values():
        for stay in found.stays:
            if (other := where.setdefault(stay.record_id, found.name)) != found.name:
                raise InputError(f"The stay {stay.record_id} is in {other} and in {found.name}; remove it from one.")


def read_stay(name: str, content: bytes) -> Stay:
    """Read one file.

    Raises:
        InputError: it is not a file of the challenge, or a line of it cannot be understood.
    """
    match = _NAME.search(name)
    lines = content.decode("latin-1").splitlines()
    if match is None or not lines or lines[0].strip() != "Time,Parameter,Value":
        raise InputError("not a stay of the challenge (its first line is not Time,Parameter,Value)")
    descriptors: dict[str, float] = {}
    observations: list[tuple[float, str, float]] = []
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        hours, parameter, value = _line(line, number)
        if parameter == "RecordID":
            if int(value) != int(match[1]):
                raise InputError(f"it says that it is the stay {int(value)}")
        elif hours == 0 and parameter in DESCRIPTORS and parameter not in descriptors:
            descriptors[parameter] = value
        elif parameter and value >= 0 and hours <= HOURS:  # some lines of the files name no parameter
            observations.append((hours, parameter, value))
    known = {name: value for name, value in descriptors.items() if value >= 0}
    return Stay(int(match[1]), known, tuple(sorted(observations, key=lambda one: one[0])))


def _line(line: str, number: int) -> tuple[float, str, float]:
    parts = line.split(",")
    time = _TIME.fullmatch(parts[0].strip())
    try:
        value = float(parts[2])
    except (IndexError, ValueError):
        value = math.nan
    if time is None or len(parts) != 3 or not math.isfinite(value):
        raise InputError(f"its line {number} cannot be understood")
    return int(time[1]) + int(time[2]) / 60, parts[1].strip(), value


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Give name and content of every text file of a set, in order of names, with a cap on each."""
    try:
        if path.is_dir():
            for file in _few_enough(sorted(path.glob("*.txt")), path):
                with file.open("rb") as stream:
                    yield file.name, _capped(stream.read(_MAX_STAY_BYTES + 1), file.name)
            return
        with zipfile.ZipFile(path) as archive:
            names = sorted(name for name in archive.namelist() if name.endswith(".txt"))
            for name in _few_enough(names, path):
                with archive.open(name) as member:
                    yield name.rsplit("/", 1)[-1], _capped(member.read(_MAX_STAY_BYTES + 1), name)
    except (OSError, zipfile.BadZipFile, RuntimeError) as error:
        raise InputError(f"{path} cannot be read ({error}).") from error


def _few_enough(names: list[_Name], path: Path) -> list[_Name]:
    """Pass on the files of a set, unless there are too many: of some of them nobody would know that they were left."""
    if len(names) > _MAX_STAYS:
        raise InputError(f"{path} holds {len(names)} stays, and a set {_MAX_STAYS} at most; make several sets of it.")
    return names


def _capped(content: bytes, name: str) -> bytes:
    if len(content) > _MAX_STAY_BYTES:
        raise InputError(f"{name} is larger than any stay can be; is this a set of the challenge?")
    return content


def _read_outcomes(table: Path) -> dict[int, bool]:
    found: dict[int, bool] = {}
    try:
        rows = list(csv.DictReader(io.StringIO(table.read_text(encoding="latin-1"))))
        for row in rows:
            record_id, outcome = int(row["RecordID"]), row["In-hospital_death"].strip()
            if outcome not in ("0", "1"):
                raise InputError(f"{table.name}: the outcome of {record_id} is “{outcome}”; expected 0 or 1.")
            if record_id in found:
                raise InputError(f"{table.name} names the stay {record_id} twice; remove one of the lines.")
            found[record_id] = outcome == "1"
    except (OSError, KeyError, ValueError, AttributeError) as error:
        raise InputError(
            f"{table} is not a table of outcomes with the columns RecordID and In-hospital_death."
        ) from error
    return found


def _check_outcomes(table: Path, died: Mapping[int, bool], stays: Mapping[int, Stay], unusable: set[str]) -> None:
    if not died:
        return
    if without := sorted(key for key in stays if key not in died):
        raise InputError(f"{table.name} has no outcome for the stay {without[0]}, and for {len(without)} in all.")
    refused = {int(match[1]) for name in unusable if (match := _NAME.search(name))}
    if strange := sorted(set(died) - set(stays) - refused):
        raise InputError(f"{table.name} names the stay {strange[0]}, which is not in the set; {len(strange)} in all.")
