"""Pictures into files: whole, or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from medviewer.domain.errors import StorageError, UsageError

_REASONS = {
    errno.ENOSPC: "the disk is full; free some space or choose another folder",
    errno.EDQUOT: "your disk quota is used up; free some space or choose another folder",
    errno.EROFS: "the disk is read-only; choose another folder",
    errno.EACCES: "writing there is not permitted; choose another folder",
    errno.EPERM: "writing there is not permitted; choose another folder",
    errno.ENOENT: "the folder does not exist; create it or choose another one",
    errno.ENOTDIR: "the folder is a file; choose another folder",
}


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Save an 8-bit picture as a PNG file that is either complete or not there.

    The picture is written beside its final place and moved there in one step, so
    that a full disk or a lost power supply leaves the old file or none, never half
    a new one.

    Args:
        path: where the file goes; an existing file is replaced.
        pixels: ``(rows, columns)`` or ``(rows, columns, 3)`` uint8.

    Raises:
        StorageError: the disk is full, read-only or gone; the old file is untouched.
        UsageError: the pixels are not such an array.
    """
    if pixels.dtype != np.uint8 or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)):
        raise UsageError("A PNG picture is made from 8-bit grey or RGB pixels; convert the image for display first.")
    temporary: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".medviewer-", suffix=".part")
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            PillowImage.fromarray(np.ascontiguousarray(pixels)).save(file, format="PNG", compress_level=3)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        temporary = None
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, f"the system says: {error.strerror or error}")
        raise StorageError(f"The picture {path.name} was not saved: {reason}.") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _umask() -> int:
    """The permissions that the user's other new files do not get; mkstemp gives none to others."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
