"""Paths in, patients out: every file is shown or has its reason."""

from __future__ import annotations

import filecmp
import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from medviewer.domain.errors import InputError, MedViewerError, NoPixelsError, without_data
from medviewer.domain.progress import Progress, StopToken, no_progress
from medviewer.domain.study import Collection, Image, Problem
from medviewer.imaging import tags
from medviewer.imaging.description import describe_images
from medviewer.imaging.grouping import Grouping
from medviewer.imaging.header import MEDIA_STORAGE_DIRECTORY, Header, read_header, uid_name, unreadable

logger = logging.getLogger(__name__)

_REPORT_EVERY_S = 0.3


def scan(
    paths: Sequence[Path],
    *,
    progress: Progress = no_progress,
    stop: StopToken | None = None,
    on_found: Callable[[Collection], None] | None = None,
) -> Collection:
    """Find the patients, studies, series and images in files and folders.

    Only headers are read. A file that cannot be used is one line in ``problems`` and
    never stops the rest; every file is in ``shown`` or in ``problems``, exactly once.

    Args:
        paths: files, and folders to search with all that is in them. A DICOMDIR
            stands for its folder.
        progress: told after each file.
        stop: ends the scan early.
        on_found: given what has been found so far, from the first image on, a few
            times a second, so that the first image can be drawn while the rest is read.

    Raises:
        Stopped: ``stop`` was used.
    """
    grouping = Grouping()
    problems: list[Problem] = []
    found = list(_Walk(problems, stop).files(paths))
    known: dict[str, Path] = {}
    last_report = -math.inf
    for done, path in enumerate(found, start=1):
        if stop is not None:
            stop.raise_if_stopped()
        problem = _add_file(path, grouping, known)
        if problem is not None:
            problems.append(problem)
        progress(done, len(found), "Reading headers")
        # The very first image goes out at once; later reports are paced, as each one groups all images anew.
        if on_found is not None and problem is None and done < len(found):
            now = time.monotonic()
            if now - last_report >= _REPORT_EVERY_S:
                on_found(grouping.collect(tuple(problems)))
                last_report = now
    collection = grouping.collect(tuple(problems))
    if on_found is not None:
        on_found(collection)
    return collection


class _Walk:
    """Every file below some paths, once; folders that links lead back to are not entered again."""

    def __init__(self, problems: list[Problem], stop: StopToken | None) -> None:
        self._problems = problems
        self._stop = stop
        self._folders: set[tuple[int, int]] = set()
        self._seen: dict[tuple[int, int], Path] = {}
        self._given: set[Path] = set()

    def files(self, paths: Sequence[Path]) -> Iterator[Path]:
        """Give regular files in the order of their names; what cannot be entered becomes a problem."""
        for path in paths:
            try:
                if path.is_dir():
                    yield from self._folder(path)
                elif path.name.upper() == "DICOMDIR" and path.is_file():
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
                    names = sorted(entries, key=lambda entry: entry.name)
                    folders = [Path(entry.path) for entry in names if _is_folder(entry)]
                    files = [Path(entry.path) for entry in names if not _is_folder(entry)]
            except OSError as error:
                self._refuse(current, unreadable(error))
                continue
            for file in files:
                yield from self._file(file)
            pending.extend(reversed(folders))

    def _file(self, path: Path) -> Iterator[Path]:
        if path in self._given:
            return
        self._given.add(path)
        try:
            status = path.stat()
        except OSError as error:
            self._refuse(path, unreadable(error))
            return
        if not path.is_file():
            self._refuse(path, InputError("Neither a file nor a folder (a device or a pipe); it is not opened."))
            return
        key = (status.st_dev, status.st_ino)
        # File systems without file numbers give 0 for all.
        first = self._seen.setdefault(key, path) if status.st_ino else path
        if first is not path:
            self._problems.append(Problem(path, f"The same file as {first.name} by another name; shown once.", "read"))
            return
        yield path


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself: its own row says so, the rest of its folder is not lost
        return False


def _add_file(path: Path, grouping: Grouping, known: dict[str, Path]) -> Problem | None:
    """Read one file into the grouping, or say why not."""
    try:
        header = read_header(path)
        problem = _not_an_image(header, path)
        if problem is not None:
            return problem
        images = describe_images(header, path)
        twin = known.setdefault(images[0].sop_instance_uid or str(path), path)
        if twin is not path and _is_same_content(twin, path):
            return Problem(path, f"An exact copy of {twin.name}, which is shown; nothing is lost.", "read")
        grouping.add(header, images)
    except NoPixelsError as error:
        return Problem(path, str(error), "read")
    except MedViewerError as error:
        return Problem(path, str(error))
    except (OSError, MemoryError) as error:
        reason = unreadable(error) if isinstance(error, OSError) else "It needs more memory than there is."
        return Problem(path, str(reason))
    except Exception as error:  # one bad file must never stop the rest, not even through a mistake of ours
        logger.error("Unexpected failure while reading a header", exc_info=without_data(error))  # noqa: TRY400 - without its message
        return Problem(path, "Unexpected: the header could not be read; please report it to the makers of MedViewer.")
    return None


def _not_an_image(header: Header, path: Path) -> Problem | None:
    if header.sop_class_uid == MEDIA_STORAGE_DIRECTORY or path.name.upper() == "DICOMDIR":
        return Problem(path, "A DICOMDIR (index of a disc): the images beside it are read directly.", "read")
    if header.pixels is None and not header.is_truncated and not header.dataset.text(tags.SOP_INSTANCE_UID):
        name = uid_name(header.sop_class_uid)
        return Problem(path, f"{name or 'DICOM data'}: understood, but it holds no image to show.", "read")
    return None


def _is_same_content(one: Path, other: Path) -> bool:
    return filecmp.cmp(one, other, shallow=False)


def images_of(collection: Collection) -> Iterator[Image]:
    """Give every image of a collection, in display order."""
    for patient in collection.patients:
        for study in patient.studies:
            for series in study.series:
                for stack in series.stacks:
                    yield from stack.images
