"""The place of a model that is made: for one process at a time, and without what a killed one left there.

What lies beside the place while a model is made has names that nobody else gives; so it can be removed.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from medviewer.domain.errors import StorageError, UsageError
from medviewer.whole_file import is_writable

PART = ".part"
_MADE = r"[a-z0-9_]{8}"  # as tempfile.mkdtemp draws it


def beside(out: Path, what: str) -> Path:
    """Return the hidden sibling of ``out`` that is called after it, for ``what``."""
    return out.with_name(f".{out.name}.medviewer-{what}")


@contextlib.contextmanager
def own_place(out: Path) -> Iterator[None]:
    """Have a place for oneself until the block ends, put right after a process that was killed.

    The operating system holds the lock and lets go of it with the process, however that ends.

    Raises:
        UsageError: another process makes a model there.
        StorageError: the disk is full, or nothing can be written there.
    """
    out = out.absolute()
    busy = f"Another process is making the model {out} now; wait for its end, or choose another --out."
    failed = (f"The model cannot be made at {out}", "choose another --out, or free some space.")
    with _locked(beside(out, "lock"), busy, failed):
        _put_right(out)
        yield


@contextlib.contextmanager
def own_checkpoints(folder: Path) -> Iterator[None]:
    """Have a folder of checkpoints for oneself until the block ends: two runs there would destroy each other's.

    The lock lies inside: the folder may be a disk of its own, or have two names.

    Raises:
        UsageError: another process keeps its run there.
        StorageError: the disk is full, or nothing can be written there.
    """
    folder = folder.absolute()
    busy = f"Another process keeps its run in {folder} now; wait for its end, or choose another folder for checkpoints."
    failed = (f"The run cannot be kept in {folder}", "choose another folder for checkpoints, or free some space.")
    with _locked(folder / ".medviewer-lock", busy, failed):
        yield


@contextlib.contextmanager
def _locked(path: Path, busy: str, failed: tuple[str, str]) -> Iterator[None]:
    """Hold the lock of a file until the block ends; between the two parts of ``failed`` stands the reason."""
    lock = FileLock(path, timeout=0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
        while not path.exists():  # whoever had it removed the file in this moment: others would lock another one
            lock.release()
            lock.acquire()
    except Timeout as error:
        if not is_writable(path.parent):  # a file that cannot be made there looks like one that somebody has removed
            why = f"nothing can be written in {path.parent}"
            raise StorageError(f"{failed[0]} ({why}); {failed[1]}") from error
        raise UsageError(busy) from error
    except OSError as error:
        raise StorageError(f"{failed[0]} ({error.strerror}); {failed[1]}") from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # a system that keeps files which are open removes it with the lock
            path.unlink()
        lock.release()


def _put_right(out: Path) -> None:
    """Put a model back that was to be replaced in the moment of the end, and remove what is not whole or not needed."""
    new, old = beside(out, "new"), beside(out, "old")
    names = "|".join(re.escape(path.name) for path in (beside(out, ""), beside(new, "")))
    ours = re.compile(rf"(?:{names}){_MADE}{re.escape(PART)}")
    with contextlib.suppress(OSError):
        if new.is_dir() and old.is_dir() and not out.exists():
            old.rename(out)
        for remains in (new, old, *(path for path in out.parent.iterdir() if ours.fullmatch(path.name))):
            shutil.rmtree(remains, ignore_errors=True)
