"""ZIP archives, unpacked with suspicion: nothing leaves our folder, and nothing grows without a limit.

Hospitals hand out studies as ZIP files; so does anybody who wants to fill a disk. The
list of members is bounded before it is read, what they claim is bounded before one is
unpacked, and a member's name is only ever shown, never used as a name on the disk.

Source: PKWARE APPNOTE 6.3.10; Fifield, "A better zip bomb" (2019), for what the limits are against.
"""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import field
from pathlib import Path

from medviewer.domain.errors import InputError, TooLargeError, UnsupportedError
from medviewer.domain.frozen import dataclass
from medviewer.domain.progress import StopToken

MAX_MEMBERS = 100_000
MAX_TOTAL_BYTES = 32 * 2**30
MAX_RATIO = 200  # of all that comes out to the archive's own size, beyond FREE_BYTES
FREE_BYTES = 64 * 2**20  # black images shrink a thousandfold, so that a ratio says nothing about small archives
MAX_DIRECTORY_BYTES = 16 * 2**20
MAX_DEPTH = 2  # an archive, and the archives in it

_SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")
# Documents and programs that are ZIP archives inside, which nobody means when they open a study.
_NOT_MEANT = frozenset(
    {".docx", ".xlsx", ".pptx", ".docm", ".xlsm", ".odt", ".ods", ".odp", ".epub"}
    | {".jar", ".war", ".apk", ".whl", ".egg", ".npz", ".mrb", ".kmz", ".xpi", ".ora"}
)
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OverflowError, struct.error, RuntimeError)
_CHUNK = 2**20


@dataclass(slots=True)
class Budget:
    """What one archive, with the archives in it, has taken of the limits.

    Attributes:
        archive_size: of the outermost archive, in bytes: what the ratio refers to.
        free_bytes: on the disk that members are unpacked to.
    """

    archive_size: int
    free_bytes: int
    members: int = 0
    total_bytes: int = 0

    def take(self, members: int, total_bytes: int) -> None:
        """Count what an archive claims.

        Raises:
            TooLargeError: it goes beyond a limit; the message names it.
        """
        self.members += members
        self.total_bytes += total_bytes
        if self.members > MAX_MEMBERS:
            raise TooLargeError(f"The ZIP archive holds more than {MAX_MEMBERS:,} files; it is not opened.")
        if self.total_bytes > max(FREE_BYTES, MAX_RATIO * self.archive_size):
            raise TooLargeError(
                f"The ZIP archive would grow to more than {MAX_RATIO} times its size; it is not opened. "
                "If you trust its source, unpack it yourself and open the folder."
            )
        if self.total_bytes > MAX_TOTAL_BYTES:
            raise TooLargeError(
                f"The ZIP archive would unpack to more than {MAX_TOTAL_BYTES >> 30} GB; it is not opened. "
                "If you trust its source, unpack it yourself and open the folder."
            )
        if self.total_bytes > self.free_bytes:
            raise TooLargeError(
                f"Unpacking the ZIP archive takes {self.total_bytes / 2**20:,.0f} MB, and the disk has only "
                f"{self.free_bytes / 2**20:,.0f} MB free; free some space and open it again."
            )


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive.

    Attributes:
        path: the archive's path with the member's name behind it: to show, never to open.
        refusal: why it is not unpacked; None if it may be.
    """

    path: Path
    info: zipfile.ZipInfo = field(repr=False)
    refusal: InputError | None


def is_archive(head: bytes, path: Path) -> bool:
    """Whether a file that begins so is a ZIP archive that was meant as one."""
    return head.startswith(_SIGNATURES) and path.suffix.lower() not in _NOT_MEANT


class Archive:
    """An open archive whose claims are within the limits."""

    def __init__(self, file: Path, shown: Path, budget: Budget) -> None:
        """Read the list of members.

        Args:
            file: where the archive lies.
            shown: the path to show for it.
            budget: gets what it claims.

        Raises:
            TooLargeError: a limit is exceeded; the message names it.
            InputError: it is damaged or cannot be read.
        """
        self._file = _BoundedFile(file)
        try:
            self._zip = zipfile.ZipFile(self._file)
            infos = [info for info in self._zip.infolist() if not info.is_dir()]
            budget.take(len(infos), sum(info.file_size for info in infos))
        except (*_DAMAGED, NotImplementedError) as error:
            self._file.close()
            raise InputError("The ZIP archive is incomplete or damaged; ask for it to be sent again.") from error
        except BaseException:
            self._file.close()
            raise
        self.members = tuple(_members(infos, shown))

    def close(self) -> None:
        """Close the file."""
        self._zip.close()
        self._file.close()

    def unpack(self, member: Member, target: Path, stop: StopToken | None) -> None:
        """Write a member's bytes to ``target``; they are never more than it claims.

        Raises:
            InputError: it is damaged, or there is no place for it.
            Stopped: ``stop`` was used.
        """
        try:
            # zipfile gives at most the claimed size, which the budget has counted, and compares the checksum.
            with self._zip.open(member.info) as source, target.open("xb") as out:
                while chunk := source.read(_CHUNK):
                    if stop is not None:
                        stop.raise_if_stopped()
                    out.write(chunk)
        except (*_DAMAGED, NotImplementedError) as error:
            raise InputError("It is damaged inside the ZIP archive; ask for the archive to be sent again.") from error
        except OSError as error:
            raise InputError(
                f"It cannot be unpacked ({error.strerror or 'unknown reason'}); check the disk and open it again."
            ) from error


class _BoundedFile(io.BufferedReader):
    """The archive's file; a list of members that is too long is refused before it is in memory."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self._size = path.stat().st_size

    def read(self, size: int | None = -1, /) -> bytes:
        """Read at most as much as a list of members may take."""
        rest = self._size - self.tell()
        if min(rest if size is None or size < 0 else size, rest) > MAX_DIRECTORY_BYTES:
            raise TooLargeError(
                f"The ZIP archive's list of files is larger than {MAX_DIRECTORY_BYTES >> 20} MB; it is not opened."
            )
        return super().read(size)


def _members(infos: list[zipfile.ZipInfo], shown: Path) -> Iterator[Member]:
    taken: dict[str, int] = {}
    for info in infos:
        parts = [part for part in info.filename.replace("\\", "/").split("/") if part not in ("", ".")]
        name = "/".join(parts) or "(no name)"
        count = taken[name] = taken.get(name, 0) + 1
        while count > 1 and f"{name} ({count})" in taken:
            count += 1
        if count > 1:  # archives may hold two files of one name; each is shown
            name = f"{name} ({count})"
            taken[name] = 1
        yield Member(Path(f"{shown}/{name}"), info, _refusal(info, parts))


def _refusal(info: zipfile.ZipInfo, parts: list[str]) -> InputError | None:
    if ".." in parts:
        return InputError("Its name in the ZIP archive leads out of the archive; it is not unpacked.")
    if stat.S_ISLNK(info.external_attr >> 16):
        return InputError("A link inside the ZIP archive; it is not followed.")
    if info.flag_bits & 0x1:
        return UnsupportedError("Encrypted inside the ZIP archive: unpack it with its password first.")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # Their decompressors in Python give all that a chunk holds at once, however much that is.
        return UnsupportedError("Packed in a way that is not read (only stored and deflated are): unpack it first.")
    return None
