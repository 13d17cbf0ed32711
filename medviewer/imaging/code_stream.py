"""What a compressed frame says of itself, whatever the DICOM header says: read from its first markers.

Source: ISO 10918-1 annex B (JPEG), ISO 14495-1 annex C (JPEG-LS), ISO 15444-1 annex A (JPEG 2000).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

_SOI = b"\xff\xd8"
_SIZ = b"\xff\x4f\xff\x51"  # SOC and SIZ, which always follow each other
_COD = 0xFF52
_FRAME_HEADERS = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
_SOS = 0xDA
_LOOK_BYTES = 4096  # JP2 boxes before the code stream


class Segment(NamedTuple):
    """One marker segment of a JPEG or JPEG-LS stream: its marker, and its content without the length."""

    marker: int
    content: bytes
    end: int  # where the next byte of the stream stands


def jpeg_segments(data: bytes) -> Iterator[Segment]:
    """Give the marker segments up to the first scan, that one included; nothing for other streams."""
    position = 2 if data.startswith(_SOI) else len(data)
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        end = position + 2 + int(struct.unpack_from(">H", data, position + 2)[0])
        yield Segment(marker, data[position + 4 : end], end)
        if marker == _SOS:
            return
        position = end


def size(data: bytes) -> tuple[int, int, int] | None:
    """Give (rows, columns, components) of a JPEG, JPEG-LS or JPEG 2000 stream; None if it does not say."""
    siz = _siz(data, 42)
    if siz >= 0:
        right, bottom, left, top = struct.unpack_from(">4I", data, siz + 8)
        return bottom - top, right - left, struct.unpack_from(">H", data, siz + 40)[0]
    for segment in jpeg_segments(data):
        if segment.marker in _FRAME_HEADERS and len(segment.content) >= 6:
            rows, columns, components = struct.unpack_from(">HHB", segment.content, 1)
            return (rows, columns, components) if rows and columns else None
    return None


def jpeg_precision(data: bytes) -> int | None:
    """Give the bits of a sample of a JPEG or JPEG-LS stream."""
    for segment in jpeg_segments(data):
        if segment.marker in _FRAME_HEADERS and segment.content:
            return segment.content[0]
    return None


def jpeg_2000_precision(data: bytes) -> tuple[int, bool] | None:
    """Give (bits, is signed) of the first component of a JPEG 2000 stream."""
    siz = _siz(data, 43)
    if siz < 0:
        return None
    precision = data[siz + 42]
    return (precision & 0x7F) + 1, bool(precision & 0x80)


def jpeg_ls_near(data: bytes) -> int | None:
    """Give by how much a value of a JPEG-LS stream may differ from what it was; 0 is lossless."""
    for marker, content, _ in jpeg_segments(data):
        if marker == _SOS and content and len(content) >= 4 + 2 * content[0]:
            return content[1 + 2 * content[0]]
    return None


def is_irreversible(data: bytes) -> bool:
    """Whether a JPEG 2000 stream says that it is lossy; one that says nothing of the kind may still be."""
    position = _siz(data, 42) + 2
    while 2 <= position <= len(data) - 4:
        marker, length = struct.unpack_from(">HH", data, position)
        if marker == _COD:
            return len(data) > position + 13 and data[position + 13] == 0
        position += 2 + length if marker >> 8 == 0xFF and length >= 2 else len(data)
    return False


def _siz(data: bytes, needed: int) -> int:
    """Give where a JPEG 2000 stream begins, if so many of its bytes are there; else a number below -2."""
    start = data.find(_SIZ, 0, _LOOK_BYTES)
    return start if start >= 0 and len(data) >= start + needed else -3
