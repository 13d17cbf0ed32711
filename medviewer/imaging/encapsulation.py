"""Where each compressed frame lies among the fragments of encapsulated pixel data.

Source: PS3.5 A.4 (encapsulation, Basic Offset Table), PS3.3 C.7.6.3.1.8 (Extended Offset Table).
"""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import NamedTuple

from medviewer.domain.errors import InputError, TruncatedError
from medviewer.imaging import tags
from medviewer.imaging.source import ByteSource

_MAX_FRAGMENTS = 2_000_000
# How a code stream of each family begins: JPEG and JPEG-LS (SOI), JPEG 2000 (SOC), JP2 box.
_STARTS = (b"\xff\xd8", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")
_END = b"\xff\xd9"  # of JPEG, JPEG-LS and JPEG 2000; padded to an even length, or further
_TAIL = 16
_FIRST_BYTES = 1024


class Fragment(NamedTuple):
    """One item of encapsulated pixel data: where its value lies; ``item`` is where its tag lies."""

    item: int
    offset: int
    length: int
    is_start: bool  # begins as a code stream begins
    follows_end: bool  # the one before it ends as a code stream ends


class Fragments(NamedTuple):
    """All items of encapsulated pixel data.

    Attributes:
        table: the Basic Offset Table.
        pieces: the fragments that are there.
        is_complete: the delimiter after the last one is there too.
    """

    table: tuple[int, ...]
    pieces: tuple[Fragment, ...]
    is_complete: bool


def find_fragments(source: ByteSource, offset: int) -> Fragments:
    """Give the Basic Offset Table and all fragments of the pixel data that begin at ``offset``.

    A file that ends early gives the fragments that are there, the last one with the
    length that it should have had.

    Raises:
        InputError: something other than items follows.
    """
    fragments: list[Fragment] = []
    position = offset
    is_complete = False
    while True:
        # One look a fragment: the end of the one before, this one's tag and length, and how it begins.
        lead = min(_TAIL, position)
        around = source.at(position - lead, lead + 16)
        head, start = around[lead : lead + 8], around[lead + 8 :]
        if len(head) < 8:
            break
        group, element, length = struct.unpack("<HHI", head)
        if group << 16 | element == tags.SEQUENCE_DELIMITER:
            is_complete = True
            break
        if group << 16 | element != tags.ITEM or len(fragments) > _MAX_FRAGMENTS:
            if not fragments:
                raise InputError(
                    "The compressed pixels are damaged: they do not begin with an item; ask for the file again."
                )
            break
        follows_end = around[:lead].rstrip(b"\0").endswith(_END)
        fragments.append(Fragment(position, position + 8, length, start[:length].startswith(_STARTS), follows_end))
        position += 8 + length
    if not fragments:
        raise TruncatedError("The file ends before its compressed pixels; ask for it to be sent again.")
    table, *rest = fragments
    raw = source.at(table.offset, min(table.length, 4 * _MAX_FRAGMENTS))
    return Fragments(struct.unpack_from(f"<{len(raw) // 4}I", raw), tuple(rest), is_complete)


def frame_fragments(
    source: ByteSource, offset: int, frames: int, extended: tuple[int, ...]
) -> tuple[tuple[Fragment, ...], ...]:
    """Give the fragments of each frame; fewer frames than promised if the file ends early.

    Args:
        source: the file.
        offset: of the first item (the Basic Offset Table).
        frames: as many as the header promises.
        extended: the Extended Offset Table, or empty.

    Raises:
        InputError: nothing tells where one frame ends and the next begins.
    """
    found = find_fragments(source, offset)
    pieces = found.pieces
    if frames == 1 or not pieces:
        return (pieces,) if pieces else ()
    for offsets in (extended, found.table):
        begins = _begins_by_table(pieces, offsets, frames)
        if begins is not None:
            return _split(pieces, begins)
    begins = _begins_by_marker(pieces, frames)
    if begins is not None:
        return _split(pieces, begins)
    # A fragment holds no more than one frame, so equal numbers in a whole file leave one reading. In RLE, which
    # has no markers, each frame is one fragment (PS3.5 A.4.2), also in a file that was cut off.
    is_even = found.is_complete and len(pieces) == frames
    has_no_markers = len(pieces) <= frames and not any(piece.is_start for piece in pieces)
    if is_even or has_no_markers:
        return tuple((piece,) for piece in pieces)
    raise InputError(
        f"The file promises {frames} frames in {len(pieces)} pieces without saying which belong together; "
        "convert it to an uncompressed DICOM file with the program that made it."
    )


def _begins_by_table(pieces: tuple[Fragment, ...], offsets: tuple[int, ...], frames: int) -> list[int] | None:
    """Give the first piece of each frame by an offset table; None if it contradicts itself or the pieces."""
    if len(offsets) != frames or offsets[0] != 0 or any(a >= b for a, b in pairwise(offsets)):
        return None
    origin, last = pieces[0].item, pieces[-1].item
    by_item = {piece.item: index for index, piece in enumerate(pieces)}
    # In a file that was cut off the last frames lie beyond the last piece; nothing else may be missing.
    begins = [by_item.get(origin + offset) for offset in offsets if origin + offset <= last]
    known = [begin for begin in begins if begin is not None]
    starts = {index for index, piece in enumerate(pieces) if piece.is_start}
    return known if len(known) == len(begins) and starts <= set(known) else None


def _begins_by_marker(pieces: tuple[Fragment, ...], frames: int) -> list[int] | None:
    """Give the first piece of each frame by how code streams begin; None if that leaves a doubt.

    Fewer than promised are the first ones, of a file that was cut off. A piece that goes
    on after an end mark belongs to another frame, whose own beginning is damaged: from
    there on nobody could count.
    """
    begins = [index for index, piece in enumerate(pieces) if piece.is_start]
    is_broken = any(piece.follows_end and not piece.is_start for piece in pieces[1:])
    return begins if pieces[0].is_start and len(begins) <= frames and not is_broken else None


def _split(pieces: tuple[Fragment, ...], begins: list[int]) -> tuple[tuple[Fragment, ...], ...]:
    return tuple(pieces[begin:end] for begin, end in zip(begins, [*begins[1:], len(pieces)], strict=True))


def read_fragments(source: ByteSource, fragments: tuple[Fragment, ...]) -> bytes:
    """Join one frame's fragments.

    Raises:
        TruncatedError: the file ends inside them.
    """
    parts = []
    for fragment in fragments:
        part = source.at(fragment.offset, fragment.length)
        if len(part) < fragment.length:
            raise TruncatedError("The file ends inside this image's compressed pixels; ask for it to be sent again.")
        parts.append(part)
    return b"".join(parts)


def first_bytes(source: ByteSource, offset: int) -> bytes:
    """Give the beginning of the first code stream of the pixel data at ``offset``, enough for its first markers."""
    table = source.at(offset, 8)
    if len(table) < 8:
        return b""
    return source.at(offset + 16 + int(struct.unpack_from("<I", table, 4)[0]), _FIRST_BYTES)
