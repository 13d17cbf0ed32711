"""Paths in, patients out: every file is shown or has its reason."""

from __future__ import annotations

import filecmp
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from medviewer.domain.errors import InputError, MedViewerError, NoPixelsError, NotDicomError, Stopped, without_data
from medviewer.domain.progress import Progress, StopToken, no_progress
from medviewer.domain.study import Collection, Document, Image, Problem
from medviewer.imaging import tags
from medviewer.imaging.archive import MAX_DEPTH, Archive, Budget, Member, is_archive
from medviewer.imaging.description import describe_images
from medviewer.imaging.document import describe_document
from medviewer.imaging.grouping import Grouping, Place
from medviewer.imaging.header import MEDIA_STORAGE_DIRECTORY, Header, uid_name, unreadable
from medviewer.imaging.header_pattern import AlikeReader
from medviewer.imaging.index import HeaderIndex
from medviewer.imaging.layout import scan_header
from medviewer.imaging.private_folder import PrivateFolder, discard
from medviewer.imaging.slices_alike import KnownSlice
from medviewer.imaging.volume_file import describe_volume, read_volume_file, volume_image
from medviewer.imaging.walk import Walk

logger = logging.getLogger(__name__)

_REPORT_EVERY_S = 0.3
_MAX_SLICES = 64


def scan(
    paths: Sequence[Path],
    *,
    progress: Progress = no_progress,
    stop: StopToken | None = None,
    on_found: Callable[[Collection], None] | None = None,
    index: Path | None = None,
) -> Collection:
    """Find the patients, studies, series and images in files, folders and ZIP archives.

    Only headers are read. A file that cannot be used is one line in ``problems`` and
    never stops the rest; every file is in ``shown`` or in ``problems``, exactly once. An
    archive stands for its members, each as ``archive.zip/name``; the archive itself is
    named only if it cannot be opened.

    Args:
        paths: files, and folders to search with all that is in them. A DICOMDIR
            stands for its folder.
        progress: told after each file.
        stop: ends the scan early.
        on_found: given what has been found so far, from the first image on, a few
            times a second, so that the first image can be drawn while the rest is read.
        index: a file of ours that keeps headers, so that unchanged files need not be read again.

    Returns:
        What was found; its ``release`` removes what was unpacked.

    Raises:
        Stopped: ``stop`` was used.
    """
    if index is None:
        return _Scan(progress, stop, on_found).run(paths)
    with HeaderIndex(index) as known:
        return _Scan(progress, stop, on_found, known).run(paths)


class _Found(NamedTuple):
    """A file: the path to show for it, where it lies, and in how many archives."""

    path: Path
    file: Path
    depth: int = 0

    @property
    def unpacked(self) -> Path | None:
        """Where its bytes lie, if not at ``path``."""
        return self.file if self.depth else None


class _Scan:
    """One scan: what is found goes into the grouping, what is not an image into the problems."""

    def __init__(
        self,
        progress: Progress,
        stop: StopToken | None,
        on_found: Callable[[Collection], None] | None,
        index: HeaderIndex | None = None,
    ) -> None:
        self._progress, self._stop, self._on_found = progress, stop, on_found
        self._index = index
        self._grouping = Grouping()
        self._problems: list[Problem] = []
        self._known: dict[str, _Found] = {}
        self._headers = AlikeReader()
        self._slices: dict[bytes, KnownSlice] = {}  # by their series
        self._folder = PrivateFolder()
        self._done = self._total = 0
        self._last_report = -math.inf
        self._is_told = False
        self._given: frozenset[Path] = frozenset()

    def run(self, paths: Sequence[Path]) -> Collection:
        """Do the scan; see :func:`scan`."""
        try:
            self._given = frozenset(paths)
            files = list(Walk(self._problems, self._stop).files(paths))
            self._total = len(files)
            for path in files:
                self._take(_Found(path, path))
            collection = self._tell()
        except BaseException:
            if not self._is_told:  # else somebody shows these images; it is theirs to release them
                self._folder.remove()
            raise
        return collection

    def _collection(self) -> Collection:
        found = self._grouping.collect(tuple(self._problems))
        remarks = (self._index.remark,) if self._index is not None and self._index.remark else ()
        return replace(found, release=self._folder.remove, remarks=remarks)

    def _tell(self) -> Collection:
        collection = self._collection()
        if self._on_found is not None:
            self._is_told = True
            self._on_found(collection)
        return collection

    def _take(self, found: _Found, budget: Budget | None = None) -> bool:
        """Read one file into the grouping, or say why not; give whether it is needed any more."""
        if self._stop is not None:
            self._stop.raise_if_stopped()
        is_needed = True
        try:
            problem = self._add(found)
        except _IsArchive:
            self._take_archive(found, budget)
            return False
        if problem is not None:
            self._problems.append(problem)
            is_needed = problem.unpacked is not None
        self._done += 1
        self._progress(self._done, self._total, "Reading headers")
        # The very first image goes out at once; later reports are paced, as each one groups all images anew.
        if self._on_found is not None and problem is None and self._done < self._total:
            now = time.monotonic()
            if now - self._last_report >= _REPORT_EVERY_S:
                self._tell()
                self._last_report = now
        return is_needed

    def _add(self, found: _Found) -> Problem | None:
        path = found.path
        try:
            return self._add_image(found)
        except NoPixelsError as error:
            return Problem(path, str(error), "read")
        except Stopped:
            raise
        except MedViewerError as error:
            return Problem(path, str(error))
        except (OSError, MemoryError) as error:
            reason = unreadable(error) if isinstance(error, OSError) else "It needs more memory than there is."
            return Problem(path, str(reason))
        except _IsArchive:
            raise
        except Exception as error:  # one bad file must never stop the rest, not even through a mistake of ours
            logger.error("Unexpected failure while reading a header", exc_info=without_data(error))  # noqa: TRY400 - without its message
            return Problem(
                path, "Unexpected: the header could not be read; please report it to the makers of MedViewer."
            )

    def _add_image(self, found: _Found) -> Problem | None:
        path = found.path
        try:
            if self._index is not None and found.unpacked is None:
                header = self._index.header(path, self._read_header)
            else:
                header = self._read_header(found.file)
        except NotDicomError:
            if is_archive(_head(found.file), path):
                raise _IsArchive from None
            if self._add_other(found):
                return None
            raise
        known = self._slices.get(header.dataset.raw(tags.SERIES_INSTANCE_UID))
        image = known.image_of(header, path) if known is not None else None
        if known is not None and image is not None:
            copy = self._copy_of(found, image.sop_instance_uid)
            if copy is None:
                self._grouping.add_beside(known.place, image if not found.depth else _unpacked(image, found))
            return copy
        document = describe_document(header, path)
        if document is not None:
            copy = self._copy_of(found, document.sop_instance_uid)
            if copy is None:
                self._grouping.add_document(header, replace(document, unpacked=found.unpacked))
            return copy
        return self._add_described(header, found)

    def _add_described(self, header: Header, found: _Found) -> Problem | None:
        path = found.path
        problem = _not_an_image(header, path)
        if problem is not None:
            return problem
        try:
            images = describe_images(header, path)
        except NoPixelsError as error:  # it may say where regions lie, or how images wish to be seen
            return Problem(path, str(error), "read", found.unpacked)
        copy = self._copy_of(found, images[0].sop_instance_uid)
        if copy is not None:
            return copy
        if found.unpacked is not None:
            images = tuple(_unpacked(image, found) for image in images)
        place = self._grouping.add(header, images)
        self._keep(header, images, place)
        return None

    def _keep(self, header: Header, images: tuple[Image, ...], place: Place) -> None:
        """Let the next files of the series be described by this one."""
        series_uid, known = header.dataset.raw(tags.SERIES_INSTANCE_UID), KnownSlice.of(header, images, place)
        if known is None or not series_uid:
            return
        if len(self._slices) >= _MAX_SLICES:
            self._slices.clear()
        self._slices[series_uid] = known

    def _read_header(self, file: Path) -> Header:
        return scan_header(file, self._headers.parse)

    def _copy_of(self, found: _Found, sop_instance_uid: str) -> Problem | None:
        """Say of which file that is shown this one is a copy, byte for byte; None if of none."""
        twin = self._known.setdefault(sop_instance_uid or str(found.path), found)
        if twin is found or not filecmp.cmp(twin.file, found.file, shallow=False):
            return None
        return Problem(found.path, f"An exact copy of {twin.path.name}, which is shown; nothing is lost.", "read")

    def _add_other(self, found: _Found) -> bool:
        """Add a volume or a picture; give whether it is one."""
        volume = read_volume_file(found.file, found.path)
        if volume is not None:
            image = volume_image(volume, found.file, found.path)
            if volume.compressed_at is not None:
                image = replace(image, scratch=self._folder.new_path())
            self._grouping.add_unidentified(describe_volume(volume, image), f"{volume.kind} volume")
            return True
        # Pillow is not worth its time before there is something that is no DICOM.
        from medviewer.imaging.picture_file import describe_picture  # noqa: PLC0415

        picture = describe_picture(found.file, found.path)
        if picture is None:
            return False
        if found.path not in self._given:  # previews and logos lie beside many studies
            raise NoPixelsError("A picture beside other files; open it by itself to see it.")
        self._grouping.add_unidentified(((picture,),), "Picture")
        return True

    def _take_archive(self, found: _Found, budget: Budget | None) -> None:
        """Let an archive's members stand for it; they are unpacked one by one, so that the first is seen soon."""
        try:
            if found.depth >= MAX_DEPTH:
                raise InputError(
                    "A ZIP archive inside a ZIP archive inside another; only one archive in another is opened, "
                    "unpack it first."
                )
            budget = budget or Budget(found.file.stat().st_size, self._folder.free_bytes())
            archive = Archive(found.file, found.path, budget)
        except (MedViewerError, OSError, MemoryError) as error:
            self._refuse(found.path, error)
            return
        with closing(archive):
            if not archive.members:
                self._refuse(found.path, InputError("The ZIP archive is empty; ask for it to be sent again."))
                return
            self._total += len(archive.members) - 1
            for member in archive.members:
                self._take_member(archive, member, found.depth + 1, budget)

    def _take_member(self, archive: Archive, member: Member, depth: int, budget: Budget) -> None:
        try:
            if member.refusal is not None:
                raise member.refusal
            file = self._folder.new_path()
            try:
                archive.unpack(member, file, self._stop)
            except BaseException:
                discard(file)
                raise
        except Stopped:
            raise
        except (MedViewerError, OSError, MemoryError) as error:
            self._refuse(member.path, error)
            return
        if not self._take(_Found(member.path, file, depth), budget):
            discard(file)

    def _refuse(self, path: Path, error: MedViewerError | OSError | MemoryError) -> None:
        if isinstance(error, OSError):
            error = unreadable(error)
        reason = "It needs more memory than there is." if isinstance(error, MemoryError) else str(error)
        self._problems.append(Problem(path, reason))
        self._done += 1
        self._progress(self._done, self._total, "Reading headers")


def _unpacked(image: Image, found: _Found) -> Image:
    return replace(image, unpacked=found.unpacked)


class _IsArchive(Exception):  # noqa: N818 - no failure: there is more in it
    """The file is a ZIP archive."""


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(16)


def _not_an_image(header: Header, path: Path) -> Problem | None:
    if header.sop_class_uid == MEDIA_STORAGE_DIRECTORY or path.name.upper() == "DICOMDIR":
        return Problem(path, "A DICOMDIR (index of a disc): the images beside it are read directly.", "read")
    if header.pixels is None and not header.is_truncated and not header.dataset.text(tags.SOP_INSTANCE_UID):
        name = uid_name(header.sop_class_uid)
        return Problem(path, f"{name or 'DICOM data'}: understood, but it holds no image to show.", "read")
    return None


def documents_of(collection: Collection) -> Iterator[Document]:
    """Give every document of a collection, in display order."""
    for patient in collection.patients:
        for study in patient.studies:
            yield from study.documents


def images_of(collection: Collection) -> Iterator[Image]:
    """Give every image of a collection, in display order."""
    for patient in collection.patients:
        for study in patient.studies:
            for series in study.series:
                for stack in series.stacks:
                    yield from stack.images
