"""What goes to the terminal: JSON and results to standard output, everything for people to standard error."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, TextIO

from medviewer.domain.errors import StorageError


def print_json(document: Any) -> None:
    """Print a document as JSON that survives every locale, pipe and file name: only ASCII, no NaN."""
    _put(sys.stdout, json.dumps(document, indent=1, ensure_ascii=True, allow_nan=False) + "\n")


def print_json_line(document: Any) -> None:
    """Print a document as one line of JSON: one of many, each read while the work goes on."""
    _put(sys.stdout, json.dumps(document, ensure_ascii=True, allow_nan=False) + "\n")


def say(text: str) -> None:
    """Print a line of the result for people."""
    _write(sys.stdout, text)


def tell(text: str) -> None:
    """Print a remark; it is never part of the result."""
    _write(sys.stderr, text)


def is_watched() -> bool:
    """Whether somebody sees standard error; closed (``2>&-``), Python gives None for it."""
    return sys.stderr is not None and sys.stderr.isatty()


def progress(done: int, total: int, text: str) -> None:
    """Tell how far the work is, on one line that is written over, where somebody can see it."""
    if is_watched():
        share = f"{min(done, total) * 100 // total:3d} % " if total else ""
        sys.stderr.write(f"\r\x1b[K{_plain(share + text)[:100]}")
        if total and done >= total:
            sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


def clear_progress() -> None:
    """Take the progress line away before something else is printed."""
    if is_watched():
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


def _write(stream: TextIO | None, text: str) -> None:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    _put(stream, _plain(text).encode(encoding, "backslashreplace").decode(encoding) + "\n")


def _put(stream: TextIO | None, text: str) -> None:
    """Write at once, so that a full disk or a reader that went away is known here and not when Python ends.

    Raises:
        BrokenPipeError: whoever read has gone.
        StorageError: the output goes to a file on a full disk.
    """
    if stream is None:  # closed before the program started: nobody wants to hear it
        return
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        # What is left in the buffer would be tried, and complained about, once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if isinstance(error, BrokenPipeError):
            raise
        raise StorageError(f"The output could not be written: {error.strerror}; send it to another disk.") from error


def _plain(text: str) -> str:
    """Spell out control characters: what a file says, or is called, must not steer the terminal or add lines."""
    return "".join(c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode("ascii") for c in text)
