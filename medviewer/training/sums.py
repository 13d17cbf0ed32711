"""Whether data are as they were when somebody wrote down their sums: a file ``SHA256SUMS`` beside them.

The file is as ``sha256sum FILE ... > SHA256SUMS`` writes it; a line of the file itself, which was being written then,
is passed over. Data without one are read all the same.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

from medviewer.domain.errors import InputError

FILE = "SHA256SUMS"
# A name with a backslash or a line break is written with a backslash before the sum, and escaped.
_LINE = re.compile(r"(\\?)([0-9a-fA-F]{64}) [ *](.+)")
_ESCAPED = {"\\\\": "\\", "\\n": "\n", "\\r": "\r"}


def check_sums(data: Path) -> int:
    """Compare every file that :data:`FILE` names with its sum; return how many those are, 0 without such a file.

    Args:
        data: the folder that holds it, or a file beside it.

    Raises:
        InputError: a file is not there or another one, or the sums cannot be read; the first is named.
    """
    sums = (data if data.is_dir() else data.parent) / FILE
    if not sums.is_file():
        return 0
    wanted = _read(sums)
    for name, digest in wanted:
        path = sums.parent / name
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError as error:
            raise InputError(f"{name} is named in {sums}, but is not there; get it again.") from error
        except (OSError, ValueError) as error:  # a name that no file can have
            raise InputError(f"{path} cannot be read ({getattr(error, 'strerror', error)}).") from error
        if found != digest:
            raise InputError(f"{name} is not the file that {sums} names, its sha256 is another one; get it again.")
    return len(wanted)


def say_sums(data: Path, say: Callable[[str], None]) -> None:
    """Compare as :func:`check_sums` does, and say how many files those were; nothing of data without sums.

    Raises:
        InputError: as there.
    """
    if n := check_sums(data):
        say(f"files that are as {FILE} says: {n}")


def _read(sums: Path) -> list[tuple[str, str]]:
    """Return names and digests in the order of the lines."""
    try:
        lines = sums.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{sums} cannot be read; make it again with sha256sum, or remove it.") from error
    found = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise InputError(
                f"Line {number} of {sums} is not as sha256sum writes it; make the file again, or remove it."
            )
        name = match[3]
        if match[1]:
            name = re.sub(r"\\[\\nr]", lambda escaped: _ESCAPED[escaped[0]], name)
        if (sums.parent / name) != sums:
            found.append((name, match[2].lower()))
    if not found:
        raise InputError(f"{sums} names no file; make it again with sha256sum, or remove it.")
    return found
