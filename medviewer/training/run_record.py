"""What happened in each step of a run: lines of JSON that can be read while it goes on.

Each line is an object with ``kind``: ``step`` (``step`` counted from 1 over the whole run,
``epoch``, ``loss``, ``rate``, the share of the peak learning rate) or ``epoch`` (the entry of
the history). A run that goes on from a checkpoint takes back the lines after it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

from medviewer.domain.errors import RuntimeMissingError
from medviewer.whole_file import storage_error, write_whole

FILE = "record.jsonl"
BY_PLAN: dict[str, Any] = {"score": None, "by_plan": True}
"""What the entry of an epoch says where the last one is taken by plan, and none is chosen by a score."""
Told: TypeAlias = Callable[[Path, Mapping[str, Any]], None]


def _nobody(folder: Path, line: Mapping[str, Any]) -> None:
    """Tell nobody."""


def read_record(folder: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a run's record; one that was being written when the process ended is left out."""
    try:
        text = (folder / FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("}\n")]


class RunRecord:
    """Writes the record, and the same figures for TensorBoard if a folder is given.

    Args:
        folder: of the run.
        n_steps: how many steps the run has made; later ones in the file are taken back.
        tensorboard: where event files go; None: nowhere.
        is_by_plan: whether no epoch has a score; earlier versions wrote its number in the place of one.
        told: called with (folder, line) for each line, first those that are kept.

    Raises:
        RuntimeMissingError: the package that writes event files is not installed.
        StorageError: the disk is full or cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        n_steps: int,
        tensorboard: Path | None = None,
        told: Told = _nobody,
        *,
        is_by_plan: bool = False,
    ) -> None:
        kept = [line for line in read_record(folder) if line["step"] <= n_steps]
        if is_by_plan:
            kept = [line | BY_PLAN if line["kind"] == "epoch" else line for line in kept]
        write_whole(folder / FILE, "".join(map(_line, kept)).encode())
        self._events = _event_writer(tensorboard, n_steps) if tensorboard else None
        self._file = (folder / FILE).open("a", encoding="utf-8")
        self._tell = partial(told, folder)
        for line in kept:
            self._tell(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        with contextlib.suppress(OSError):  # what could not be written has been said
            self._file.close()
        if self._events is not None:
            self._events.close()

    def step(self, step: int, epoch: int, loss: float, rate: float) -> None:
        """Write what one step gave."""
        self._write({"kind": "step", "step": step, "epoch": epoch, "loss": loss, "rate": rate})
        self._draw("train", step, {"loss": loss, "rate": rate})

    def epoch(self, step: int, entry: Mapping[str, Any]) -> None:
        """Write what one epoch gave: its entry of the history."""
        self._write({"kind": "epoch", "step": step, **entry})
        self._draw("epoch", step, entry)

    def _write(self, line: Mapping[str, Any]) -> None:
        try:
            self._file.write(_line(line))
            self._file.flush()
        except OSError as error:
            raise storage_error(FILE, error) from error
        self._tell(line)

    def _draw(self, name: str, step: int, values: Mapping[str, Any]) -> None:
        if self._events is None:
            return
        for key, value in values.items():
            if isinstance(value, Mapping):
                self._draw(f"{name}/{key}", step, value)
            elif isinstance(value, int | float) and not isinstance(value, bool):
                self._events.add_scalar(f"{name}/{key}", value, step)


def _line(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry, ensure_ascii=False) + "\n"


def _event_writer(folder: Path, n_steps: int) -> Any:
    try:
        from tensorboardX import SummaryWriter  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise RuntimeMissingError("Event files need the package tensorboardX: pip install tensorboardX.") from error
    return SummaryWriter(str(folder), purge_step=n_steps + 1 if n_steps else None)
