"""Bytes into files: whole, or not at all. Beside the layers, since images, records and settings are all saved so."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from medviewer.domain.errors import StorageError

_REASONS = {
    errno.ENOSPC: "the disk is full; free some space or choose another folder",
    errno.EFBIG: "the file system allows no file of this size; choose another folder",
    errno.EDQUOT: "your disk quota is used up; free some space or choose another folder",
    errno.EROFS: "the disk is read-only; choose another folder",
    errno.EACCES: "writing there is not permitted; choose another folder",
    errno.EPERM: "writing there is not permitted; choose another folder",
    errno.ENOENT: "the folder does not exist; create it or choose another one",
    errno.ENOTDIR: "a part of the path is a file, not a folder; choose another folder",
    errno.EISDIR: "a folder has that name; choose another name",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.EEXIST: "a file stands where the folder should be; choose another folder",
}


def storage_error(name: str, error: OSError) -> StorageError:
    """Turn the system's refusal into one sentence that says what to do.

    Args:
        name: what could not be saved, as the reader knows it; no patient's path.
        error: what the system said.
    """
    reason = _REASONS.get(error.errno or 0, f"the system says: {error.strerror or error}")
    return StorageError(f"{name} was not saved: {reason}.")


def is_writable(folder: Path) -> bool:
    """Whether a file can be made in a folder; its rights do not tell it of one as ``/proc``, where none ever can."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def write_whole(path: Path, content: bytes, *, is_private: bool = False) -> None:
    """Save bytes as a file that is either complete or not there (:func:`writing_whole`).

    Args:
        path: where the file goes; an existing one is replaced.
        content: all of it.
        is_private: only its owner may read it; else whoever may read the user's other new files.

    Raises:
        StorageError: the disk is full, read-only or gone, or a device has that name; the old file is untouched.
    """
    with writing_whole(path, is_private=is_private) as file:
        file.write(content)


@contextlib.contextmanager
def writing_whole(path: Path, *, is_private: bool = False) -> Iterator[BinaryIO]:
    """A file to write into that is complete in its place when the block ends, and nowhere if the block fails.

    It lies beside the final place, is forced to the disk, and moved there in one step: a
    full disk or a lost power supply leaves the old file or none. May be called from any thread.

    Args:
        path: where the file goes; an existing one is replaced.
        is_private: only its owner may read it; else whoever may read the user's other new files.

    Raises:
        StorageError: the disk is full, read-only or gone, or a device has that name; the old file is untouched.
    """
    # (os.path answers no where it may not look; the reason comes below, with the refusal.)
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        # To move a file onto a device would replace the device itself, for the whole computer.
        raise StorageError(f"{path.name} was not saved: a device or a pipe has that name; choose another one.")
    partial = path.with_name(f".medviewer-{secrets.token_hex(8)}.part")
    try:
        # The system applies the user's own mask: to ask for it would change it for all threads meanwhile.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(partial, flags, 0o600 if is_private else 0o666), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise storage_error(path.name, error) from error
    finally:
        # Gone after a success, and never there after a refusal; what cannot be removed either hides no reason.
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
