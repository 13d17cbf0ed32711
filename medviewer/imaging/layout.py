"""Where a file's frames are: kept, so that scrolling does not read the header again, but never for another object.

A path says little. A stick or disc may have been exchanged, and the file that lies there
now may have the same name, size and time as the one before.
"""

from __future__ import annotations

import io
import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import BinaryIO, NamedTuple

from medviewer.domain.frozen import dataclass
from medviewer.imaging import tags
from medviewer.imaging.encapsulation import Fragment, frame_fragments
from medviewer.imaging.header import Header, inflated, parse_header, stamp_of, unreadable
from medviewer.imaging.pixel_format import PixelFormat, read_pixel_format
from medviewer.imaging.source import ByteSource

_MAX_LAYOUTS = 64
_MAX_HEADERS = 4096  # of a scan: one large study
_MAX_HEADER_BYTES = 32 * 2**10  # a header with more in it is read again
# The UID of the object stands within these bytes, in the file meta information and again in the data set.
_HEAD_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a file's frames are, and what tells whether it says what it said when it was opened."""

    header: Header
    format: PixelFormat
    fragments: tuple[tuple[Fragment, ...], ...]
    stamp: str


class _Identity(NamedTuple):
    """What tells one content of a path from the next.

    The times tell a rewritten file, but FAT (sticks), discs and Windows keep no time of
    change that nobody can set; there the first bytes tell another object.
    """

    path: str
    device: int
    inode: int
    changed_ns: int
    modified_ns: int
    size: int
    head: bytes


_layouts: OrderedDict[_Identity, Layout] = OrderedDict()
_headers: OrderedDict[_Identity, Header] = OrderedDict()
_layouts_lock = Lock()
# The last deflated file of several frames: without it each frame would inflate all of them again.
_kept: tuple[_Identity, bytes] | None = None
_kept_lock = Lock()


def scan_header(path: Path, parse: Callable[[ByteSource], Header] = parse_header) -> Header:
    """Read a header as :func:`read_header` does, and keep it for when the pixels of this very content are read.

    Args:
        path: of the file.
        parse: reads the header as :func:`parse_header` does.

    Raises:
        As :func:`read_header`.
    """
    try:
        with io.FileIO(path) as file:  # its own small buffer is all that a header needs
            source = ByteSource(file)
            identity = _identity(path, file, source)
            header = parse(source)
    except OSError as error:
        raise unreadable(error) from error
    is_plain = header.pixels is not None and not header.is_encapsulated and not header.is_deflated
    if is_plain and _size(header) <= _MAX_HEADER_BYTES:
        with _layouts_lock:
            _headers[identity] = header
            while len(_headers) > _MAX_HEADERS:
                _headers.popitem(last=False)
    return header


def _size(header: Header) -> int:
    """How many bytes of the file are kept with it, at most."""
    pixels = header.pixels
    if pixels is not None and pixels.offset <= _MAX_HEADER_BYTES:
        return pixels.offset
    return sum(map(len, header.dataset.values.values()))


def open_layout(path: Path, file: io.FileIO) -> tuple[Layout, ByteSource]:
    """Give the layout of an open file, and the bytes that it points into.

    Raises:
        InputError: as :func:`parse_header`, :func:`read_pixel_format` and :func:`frame_fragments`.
    """
    source = ByteSource(file)
    identity = _identity(path, file, source)
    layout = _layout_of(identity, source)
    if layout.header.is_deflated:
        source = ByteSource.of_bytes(_content_of(identity, layout, source))
    return layout, source


def forget() -> None:
    """Give back the memory of what is kept."""
    global _kept  # noqa: PLW0603 - one file for the process, behind its lock
    with _layouts_lock:
        _layouts.clear()
        _headers.clear()
    with _kept_lock:
        _kept = None


def _identity(path: Path, file: BinaryIO | io.FileIO, source: ByteSource) -> _Identity:
    status = _status(file)
    return _Identity(
        str(path),
        status.st_dev,
        status.st_ino,
        status.st_ctime_ns,
        status.st_mtime_ns,
        status.st_size,
        source.at(0, _HEAD_BYTES),
    )


def _status(file: BinaryIO | io.FileIO) -> os.stat_result:
    return os.fstat(file.fileno())  # of what is open: the path may lead elsewhere by now


def _layout_of(identity: _Identity, source: ByteSource) -> Layout:
    with _layouts_lock:
        known = _headers.get(identity)
        layout = _layouts.get(identity) if known is None else None
        if layout is not None:
            _layouts.move_to_end(identity)
            return layout
    if known is not None:  # of plain pixels, whose layout takes no longer than keeping it
        return Layout(known, read_pixel_format(known), (), stamp_of(known))
    header = parse_header(source)
    format_ = read_pixel_format(header)
    fragments: tuple[tuple[Fragment, ...], ...] = ()
    if header.is_encapsulated and header.pixels is not None:
        extended = tuple(int(value) for value in header.dataset.numbers(tags.EXTENDED_OFFSET_TABLE))
        fragments = frame_fragments(source, header.pixels.offset, format_.frames, extended)
    layout = Layout(header, format_, fragments, stamp_of(header))
    with _layouts_lock:
        _layouts[identity] = layout
        while len(_layouts) > _MAX_LAYOUTS:
            _layouts.popitem(last=False)
    return layout


def _content_of(identity: _Identity, layout: Layout, source: ByteSource) -> bytes:
    """Give a deflated file's content; its size is limited where it is inflated."""
    global _kept  # noqa: PLW0603 - as above
    if layout.format.frames == 1:
        return inflated(source)
    with _kept_lock:  # held while inflating: threads that read ahead want the same file
        if _kept is None or _kept[0] != identity:
            _kept = None  # not two at a time
            _kept = identity, inflated(source)
        return _kept[1]
