"""From paths to the files below them: each once, in the order of their names."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from medviewer.domain.errors import InputError
from medviewer.domain.progress import StopToken
from medviewer.domain.study import Problem
from medviewer.imaging.header import unreadable

_LEADS_OUT = "A link that leads out of the chosen folder is not followed; open what it leads to by itself."


class Walk:
    """Every file below some paths, once; folders that links lead back to are not entered again.

    A path that was chosen may be a link itself. Links below it are followed only to what was chosen too: on a disc or
    in a folder from elsewhere they could lead to any file of this computer.
    """

    def __init__(self, problems: list[Problem], stop: StopToken | None) -> None:
        self._problems = problems
        self._stop = stop
        self._folders: set[tuple[int, int]] = set()
        self._seen: dict[tuple[int, int], Path] = {}
        self._given: set[str] = set()
        self._chosen: list[Path] = []

    def files(self, paths: Sequence[Path]) -> Iterator[Path]:
        """Give regular files in the order of their names; what cannot be entered becomes a problem."""
        self._chosen = [Path(os.path.realpath(_shown_of(path))) for path in paths]
        for path in paths:
            try:
                if path.is_dir():
                    yield from self._folder(path)
                elif _is_directory_of_a_disc(path):
                    yield from self._folder(path.parent)
                else:
                    yield from self._file(path)
            except OSError as error:
                self._refuse(path, unreadable(error))

    def _refuse(self, path: Path, error: InputError) -> None:
        self._problems.append(Problem(path, str(error)))

    def _folder(self, folder: Path) -> Iterator[Path]:
        pending = [folder]
        while pending:
            if self._stop is not None:
                self._stop.raise_if_stopped()
            current = pending.pop()
            try:
                status = current.stat()
                if (status.st_dev, status.st_ino) in self._folders:
                    continue
                self._folders.add((status.st_dev, status.st_ino))
                with os.scandir(current) as entries:
                    in_order = sorted(entries, key=lambda entry: entry.name)
                    names = [entry for entry in in_order if self._may_follow(entry)]
                    folders = [Path(entry.path) for entry in names if _is_folder(entry)]
                    files = [Path(entry.path) for entry in names if not _is_folder(entry)]
            except OSError as error:
                self._refuse(current, unreadable(error))
                continue
            for file in files:
                yield from self._file(file)
            pending.extend(reversed(folders))

    def _may_follow(self, entry: os.DirEntry[str]) -> bool:
        """Whether an entry lies in what was chosen; a link out of it becomes a problem."""
        if not entry.is_symlink():
            return True
        target = Path(os.path.realpath(entry.path))
        if not os.path.exists(target) or any(target.is_relative_to(chosen) for chosen in self._chosen):
            return True  # of one that leads nowhere its own row tells
        self._refuse(Path(entry.path), InputError(_LEADS_OUT))
        return False

    def _file(self, path: Path) -> Iterator[Path]:
        if str(path) in self._given:
            return
        self._given.add(str(path))
        try:
            status = path.stat()
        except OSError as error:
            self._refuse(path, unreadable(error))
            return
        if not stat.S_ISREG(status.st_mode):
            self._refuse(path, InputError("Neither a file nor a folder (a device or a pipe); it is not opened."))
            return
        key = (status.st_dev, status.st_ino)
        # File systems without file numbers give 0 for all.
        first = self._seen.setdefault(key, path) if status.st_ino else path
        if first is not path:
            self._problems.append(Problem(path, f"The same file as {first.name} by another name; shown once.", "read"))
            return
        yield path


def _shown_of(path: Path) -> Path:
    """The folder that is entered for a path, or the file itself."""
    try:
        return path.parent if _is_directory_of_a_disc(path) else path
    except OSError:  # told when it is read
        return path


def _is_directory_of_a_disc(path: Path) -> bool:
    return path.name.upper() == "DICOMDIR" and path.is_file()


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself: its own row says so, the rest of its folder is not lost
        return False
