"""Films as AVI files of JPEG images (Motion JPEG): players of every system and presentation programs open them.

Source: "AVI RIFF File Reference" and "OpenDML AVI" of Microsoft for the chunks; each image is a
whole JPEG (ISO/IEC 10918-1, JFIF), so any frame can be cut out and read by itself.
"""

from __future__ import annotations

import struct
from io import BytesIO
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from medviewer.domain.errors import TooLargeError
from medviewer.imaging.film_writer import FilmWriter

RIFF = b"RIFF"
MOST_BYTES = 1_000_000_000  # players read sizes and places as signed 32 bits, some of them only up to 1 GB
_QUALITY = 95
_MOST_SIDE_PX = 16_383
_HAS_INDEX, _KEY_FRAME = 0x10, 0x10
_RATE_SCALE = 1000  # frames a second, in thousandths
_INDEX_ENTRY_BYTES = 16
_HEADER_BYTES = 224  # up to the first image


class AviWriter(FilmWriter):
    """A film as an AVI file of JPEG images."""

    most_side_px, most_px = _MOST_SIDE_PX, _MOST_SIDE_PX**2

    def __init__(self, file: BinaryIO, rate_hz: float) -> None:
        super().__init__(file, rate_hz)
        self._entries: list[tuple[int, int]] = []  # where each image lies behind "movi", and its size
        self._file.write(bytes(_HEADER_BYTES))
        self._end = _HEADER_BYTES

    def _write(self, pixels: npt.NDArray[np.uint8]) -> None:
        content = _jpeg(pixels)
        if self._end + len(content) + (len(self._entries) + 1) * (_INDEX_ENTRY_BYTES + 8) > MOST_BYTES:
            raise TooLargeError("The film would be larger than 1 GB: choose fewer images.")
        self._entries.append((self._end - _HEADER_BYTES + 4, len(content)))
        chunk = _chunk(b"00dc", content)
        self._file.write(chunk)
        self._end += len(chunk)

    def _complete(self) -> None:
        """Write the index, and the header, which holds what is known only now."""
        places = (struct.pack("<4sIII", b"00dc", _KEY_FRAME, place, size) for place, size in self._entries)
        index = _chunk(b"idx1", b"".join(places))
        self._file.write(index)
        self._file.seek(0)
        self._file.write(self._header(self._end + len(index)))

    def _header(self, total: int) -> bytes:
        rows, columns = self._shape[:2]
        count, largest = len(self._entries), max(size for _, size in self._entries)
        rate = round(self._rate_hz * _RATE_SCALE)
        main = struct.pack(
            "<14I", round(1e6 / self._rate_hz), round(largest * self._rate_hz), 0, _HAS_INDEX, count, 0, 1, largest,
            columns, rows, 0, 0, 0, 0,
        )  # fmt: skip
        stream = struct.pack(
            "<4s4sIHHIIIIIIII4H", b"vids", b"MJPG", 0, 0, 0, 0, _RATE_SCALE, rate, 0, count, largest, 0xFFFFFFFF, 0,
            0, 0, columns, rows,
        )  # fmt: skip
        bitmap = struct.pack("<IiiHH4sIiiII", 40, columns, rows, 1, 24, b"MJPG", rows * columns * 3, 0, 0, 0, 0)
        streams = _list(b"strl", _chunk(b"strh", stream) + _chunk(b"strf", bitmap))
        header = _list(b"hdrl", _chunk(b"avih", main) + streams)
        movie = b"LIST" + struct.pack("<I", self._end - _HEADER_BYTES + 4) + b"movi"
        whole = RIFF + struct.pack("<I", total - 8) + b"AVI " + header + movie
        assert len(whole) == _HEADER_BYTES  # noqa: S101 - else it would reach into the first image
        return whole


def _jpeg(pixels: npt.NDArray[np.uint8]) -> bytes:
    """One image as players expect it: baseline, standard tables, half the colour resolution, all of the brightness."""
    from PIL import Image as PillowImage  # noqa: PLC0415 - only who films needs it

    out = BytesIO()
    PillowImage.fromarray(np.ascontiguousarray(pixels)).save(out, "JPEG", quality=_QUALITY, subsampling="4:2:0")
    return out.getvalue()


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def _list(name: bytes, content: bytes) -> bytes:
    return _chunk(b"LIST", name + content)
