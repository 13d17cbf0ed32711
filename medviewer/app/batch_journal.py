"""What has been asked and answered of many studies, in a file that is whole whenever the program ends.

One line of JSON an event, appended and forced to the disk before the work goes on. A kill can
cut off the last line only; that one is taken away when the journal is opened again. It holds no identity: questions
go by the names of their folders.
"""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from medviewer.domain.errors import UsageError
from medviewer.domain.frozen import dataclass
from medviewer.whole_file import is_writable, storage_error

JOURNAL_NAME = "journal.jsonl"
JOURNAL_SCHEMA = "medviewer.batch-journal/1"
_LOCK_NAME = ".medviewer-lock"
_FIRST_LINE = json.dumps({"schema": JOURNAL_SCHEMA}).encode() + b"\n"

Outcome = Literal["answer", "abstained", "failed"]


@dataclass(frozen=True, slots=True)
class Entry:
    """The last that is known of one question.

    ``stamp`` tells whether the image is still the same file, ``manner`` whether it is asked in the same way.
    ``outcome`` is empty from the beginning of the work until its end.
    """

    stamp: str
    manner: str
    outcome: Outcome | Literal[""] = ""
    reason: str = ""


class Journal:
    """The journal of one folder of results, which one program may write at a time.

    Args:
        folder: where the results go; made if it is not there.

    Raises:
        UsageError: another program writes there, or the journal is not one of ours.
        StorageError: it cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / JOURNAL_NAME
        self._lock = FileLock(folder / _LOCK_NAME, blocking=False)
        self._file: int | None = None
        self.entries: dict[str, Entry] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
            self._open()
        except Timeout:
            if not is_writable(folder):  # a file that cannot be made there looks like one that somebody has removed
                raise storage_error("The journal of the analysis", OSError(errno.EACCES, "")) from None
            raise UsageError(
                f"Another analysis is writing to {folder.name}; wait for its end, or choose another folder."
            ) from None
        except OSError as error:
            self.close()
            raise storage_error("The journal of the analysis", error) from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self.close()

    def begin(self, question: str, stamp: str, manner: str) -> None:
        """Note that a question is being asked; what was known of it before holds no more.

        Raises:
            StorageError: it could not be written.
        """
        self._append({"event": "begun", "question": question, "stamp": stamp, "manner": manner})

    def end(self, question: str, outcome: Outcome, reason: str = "") -> None:
        """Note how a question ended. When this returns, it is on the disk.

        Raises:
            StorageError: it could not be written.
        """
        self._append({"event": "ended", "question": question, "outcome": outcome, "reason": reason})

    def close(self) -> None:
        """Let other programs write there."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self._lock.release()

    def _open(self) -> None:
        data = self._path.read_bytes() if self._path.exists() else b""
        whole = b"" if _FIRST_LINE.startswith(data) and data != _FIRST_LINE else data[: data.rfind(b"\n") + 1]
        lines = [_event(line) for line in whole.split(b"\n")]
        if data and not _FIRST_LINE.startswith(data) and lines[0].get("schema") != JOURNAL_SCHEMA:
            raise UsageError(f"{JOURNAL_NAME} in the folder of the results is not of MedViewer; choose another folder.")
        for line in lines:
            self._take(line)
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)
        os.ftruncate(self._file, len(whole))  # a line that a kill cut off
        if not whole:
            self._append({"schema": JOURNAL_SCHEMA})

    def _append(self, event: dict[str, Any]) -> None:
        assert self._file is not None  # noqa: S101 - open
        line = json.dumps(event, ensure_ascii=True, allow_nan=False).encode() + b"\n"
        size = os.fstat(self._file).st_size
        try:
            with os.fdopen(self._file, "ab", buffering=0, closefd=False) as file:
                written = 0
                while written < len(line):  # a disk that is nearly full takes a part of it first
                    written += file.write(line[written:]) or 0
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, size)
            raise storage_error("The journal of the analysis", error) from error
        self._take(event)

    def _take(self, event: dict[str, Any]) -> None:
        name = event.get("question")
        if not isinstance(name, str):
            return
        if event.get("event") == "begun":
            self.entries[name] = Entry(str(event.get("stamp")), str(event.get("manner")))
        elif event.get("event") == "ended" and name in self.entries and event.get("outcome") in _OUTCOMES:
            begun = self.entries[name]
            self.entries[name] = Entry(begun.stamp, begun.manner, event["outcome"], str(event.get("reason", "")))


_OUTCOMES = ("answer", "abstained", "failed")


def _event(line: bytes) -> dict[str, Any]:
    """One line; one that is none says nothing, and its question is asked again."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return event if isinstance(event, dict) else {}
