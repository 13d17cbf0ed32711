"""The bytes of a file, read as they are needed and never past the end."""

from __future__ import annotations

import io
import os
import zlib
from typing import BinaryIO

from medviewer.domain.errors import InputError, TooLargeError

# A deflated data set may inflate a thousandfold, so its size says nothing; this much is enough for every
# deflated object in use (secondary captures, structured reports, single images).
MAX_INFLATED_BYTES = 256 * 2**20
_HAS_PREADV = hasattr(os, "preadv")  # not in Windows
_READ_AHEAD = 16 * 2**10


class ByteSource:
    """Random access to a file's bytes through one small buffer.

    A length that a file claims is never allocated: ``at`` gives at most what is
    there. The file is read, not memory-mapped, because a mapped file that
    shrinks or vanishes (a pulled-out stick) kills the process.
    """

    __slots__ = ("_buffer", "_file", "_start", "size")

    def __init__(self, file: BinaryIO | io.FileIO) -> None:
        self._file = file
        self.size = os.fstat(file.fileno()).st_size if isinstance(file, io.FileIO) else file.seek(0, io.SEEK_END)
        self._start = 0
        self._buffer = b""

    @property
    def block(self) -> tuple[bytes, int]:
        """The bytes that were read last, and where they begin in the file."""
        return self._buffer, self._start

    @classmethod
    def of_bytes(cls, data: bytes) -> ByteSource:
        """Give the same access to bytes in memory."""
        return cls(io.BytesIO(data))

    def at(self, offset: int, count: int) -> bytes:
        """Give up to ``count`` bytes from ``offset``; fewer at the end of the file."""
        begin = offset - self._start
        if begin < 0 or begin + count > len(self._buffer):
            if offset < 0 or offset >= self.size or count <= 0:
                return b""
            self._file.seek(offset)
            self._buffer = self._read(min(max(count, _READ_AHEAD), self.size - offset))
            self._start, begin = offset, 0
        return self._buffer[begin : begin + count]

    def _read(self, count: int) -> bytes:
        """Read on where the system gives less than it was asked for, which is no end."""
        data = self._file.read(count) or b""
        while len(data) < count and (more := self._file.read(count - len(data))):
            data += more
        return data

    def read_into(self, offset: int, target: memoryview) -> int:
        """Fill ``target`` from ``offset`` without a copy; give the number of bytes that were there."""
        if offset >= self.size:
            return 0
        done = 0
        while done < len(target):
            got = self._read_some(offset + done, target[done:] if done else target)
            if not got:
                break
            done += got
        return done

    def _read_some(self, offset: int, target: memoryview) -> int:
        if _HAS_PREADV and isinstance(self._file, io.FileIO):  # one call to the system instead of two
            return os.preadv(self._file.fileno(), [target], offset)
        self._file.seek(offset)
        return self._file.readinto(target)  # type: ignore[union-attr]


def inflate(source: ByteSource, offset: int) -> bytes:
    """Undo the deflate compression of a whole data set (PS3.5 A.5), with a cap.

    Raises:
        TooLargeError: it would grow beyond ``MAX_INFLATED_BYTES``.
        InputError: the compressed bytes are damaged.
    """
    decompressor = zlib.decompressobj(-zlib.MAX_WBITS)
    parts: list[bytes] = []
    total = 0
    while offset < source.size and not decompressor.eof:
        chunk = source.at(offset, 2**20)
        offset += len(chunk)
        while chunk and not decompressor.eof:
            try:
                part = decompressor.decompress(chunk, 2**24)
            except zlib.error as error:
                raise InputError(
                    "The file's compressed (deflated) content is damaged; ask for it to be sent again."
                ) from error
            chunk = decompressor.unconsumed_tail
            total += len(part)
            if total > MAX_INFLATED_BYTES:
                raise TooLargeError(
                    "The file's compressed (deflated) content grows beyond the limit of "
                    f"{MAX_INFLATED_BYTES >> 20} MB; it is not opened. "
                    "If you trust its source, convert it to an uncompressed DICOM file first."
                )
            parts.append(part)
    return b"".join(parts)
