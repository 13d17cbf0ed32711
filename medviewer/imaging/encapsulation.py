"""Where each compressed frame lies among the fragments of encapsulated pixel data.

Source: PS3.5 A.4 (encapsulation, Basic Offset Table), PS3.3 C.7.6.3.1.8 (Extended Offset Table).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from medviewer.domain.errors import InputError, TruncatedError
from medviewer.imaging import tags
from medviewer.imaging.source import ByteSource

_MAX_FRAGMENTS = 2_000_000
# How a code stream of each family begins: JPEG and JPEG-LS (SOI), JPEG 2000 (SOC), JP2 box.
_STARTS = (b"\xff\xd8", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")


class Fragment(NamedTuple):
    """One item of encapsulated pixel data: where its value lies; ``item`` is where its tag lies."""

    item: int
    offset: int
    length: int


def find_fragments(source: ByteSource, offset: int) -> tuple[tuple[int, ...], tuple[Fragment, ...]]:
    """Give the Basic Offset Table and all fragments of the pixel data that begin at ``offset``.

    A file that ends early gives the fragments that are there, the last one with the
    length that it should have had.

    Raises:
        InputError: something other than items follows.
    """
    fragments: list[Fragment] = []
    position = offset
    while True:
        head = source.at(position, 8)
        if len(head) < 8:
            break
        group, element, length = struct.unpack("<HHI", head)
        if group << 16 | element == tags.SEQUENCE_DELIMITER:
            break
        if group << 16 | element != tags.ITEM or len(fragments) > _MAX_FRAGMENTS:
            if not fragments:
                raise InputError(
                    "The compressed pixels are damaged: they do not begin with an item; ask for the file again."
                )
            break
        fragments.append(Fragment(position, position + 8, length))
        position += 8 + length
    if not fragments:
        raise TruncatedError("The file ends before its compressed pixels; ask for it to be sent again.")
    table, *rest = fragments
    raw = source.at(table.offset, min(table.length, 4 * _MAX_FRAGMENTS))
    return struct.unpack_from(f"<{len(raw) // 4}I", raw), tuple(rest)


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
    table, fragments = find_fragments(source, offset)
    if frames == 1:
        return (fragments,) if fragments else ()
    if len(fragments) == frames:
        return tuple((fragment,) for fragment in fragments)
    starts = {fragment.item: index for index, fragment in enumerate(fragments)}
    first = fragments[0].item if fragments else 0
    for offsets in (extended, table):
        begins = [starts.get(first + begin) for begin in offsets]
        known = [begin for begin in begins if begin is not None]
        if len(offsets) == frames and known == sorted(set(known)) and (len(known) == frames or _runs_out(begins)):
            return _split(fragments, known)
    by_marker = [index for index, fragment in enumerate(fragments) if source.at(fragment.offset, 8).startswith(_STARTS)]
    if len(by_marker) == frames and by_marker[0] == 0:
        return _split(fragments, by_marker)
    if len(fragments) < frames:
        return tuple((fragment,) for fragment in fragments)
    raise InputError(
        f"The file promises {frames} frames in {len(fragments)} pieces without saying which belong together; "
        "convert it to an uncompressed DICOM file with the program that made it."
    )


def _runs_out(begins: list[int | None]) -> bool:
    """Whether only the last frames are missing, as in a file that was cut off."""
    there = [begin is not None for begin in begins]
    return there[0] and sorted(there, reverse=True) == there


def _split(fragments: tuple[Fragment, ...], begins: list[int]) -> tuple[tuple[Fragment, ...], ...]:
    ends = [*begins[1:], len(fragments)]
    return tuple(fragments[begin:end] for begin, end in zip(begins, ends, strict=True))


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
