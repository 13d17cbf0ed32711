"""A folder of our own for what had to be unpacked: nobody else reads it, and nothing of it stays."""

from __future__ import annotations

import atexit
import contextlib
import shutil
import tempfile
from pathlib import Path
from threading import Lock

_PREFIX = "medviewer-"
_folders: set[Path] = set()
_lock = Lock()


class PrivateFolder:
    """Gives file names of our own in a temporary folder with rights for its owner only (0700).

    The folder is made when the first name is asked for, and removed by :meth:`remove`,
    at the latest when the program ends. What is in it may hold patient data, so it
    must not depend on anybody remembering it.
    """

    def __init__(self) -> None:
        self._path: Path | None = None
        self._count = 0
        self._is_removed = False

    def new_path(self) -> Path:
        """Give a path at which there is no file yet; never a name that came from outside.

        Raises:
            OSError: the system gives no temporary folder, or this one was removed.
        """
        with _lock:
            if self._is_removed:
                raise FileNotFoundError(2, "the study was closed")
            if self._path is None:
                self._path = Path(tempfile.mkdtemp(prefix=_PREFIX))  # with rights 0700
                _folders.add(self._path)
            self._count += 1
            return self._path / f"{self._count:06d}"

    def free_bytes(self) -> int:
        """Give the free space of the disk that the folder is, or will be, on."""
        return shutil.disk_usage(tempfile.gettempdir()).free

    def remove(self) -> None:
        """Remove the folder with all that is in it; doing so twice is doing it once."""
        with _lock:
            self._is_removed = True
            path, self._path = self._path, None
            _folders.discard(path or Path())
        if path is not None:
            shutil.rmtree(path, ignore_errors=True)


def discard(path: Path) -> None:
    """Remove one file that is not needed; if it cannot be, its folder takes it along."""
    with contextlib.suppress(OSError):
        path.unlink()


@atexit.register
def _remove_all() -> None:
    for path in list(_folders):
        shutil.rmtree(path, ignore_errors=True)
