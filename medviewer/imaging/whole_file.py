"""Bytes into files: whole, or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

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


def write_whole(path: Path, content: bytes) -> None:
    """Save bytes as a file that is either complete or not there.

    They are written beside the final place, forced to the disk, and moved there in
    one step: a full disk or a lost power supply leaves the old file or none.

    Raises:
        StorageError: the disk is full, read-only or gone; the old file is untouched.
    """
    temporary: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".medviewer-", suffix=".part")
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        temporary = None
    except OSError as error:
        raise storage_error(path.name, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _umask() -> int:
    """The permissions that the user's other new files do not get; mkstemp gives none to others."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
