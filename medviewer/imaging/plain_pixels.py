"""Uncompressed slices that lie in their files as they lie in memory: read side by side, without Python in between.

To make sure that a file still holds what was opened takes Python, of which there is one at a time; to
copy its bytes into new memory does not. So some files are made sure of, then read by two threads.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack

import numpy as np

from medviewer.domain.frozen import dataclass
from medviewer.domain.progress import StopToken
from medviewer.domain.study import Caveat, Image
from medviewer.imaging.decode import caveats_of, check_unchanged
from medviewer.imaging.header import unreadable
from medviewer.imaging.layout import open_layout
from medviewer.imaging.native import clean, sample_type
from medviewer.imaging.overlay_planes import embedded_bits
from medviewer.imaging.pixel_format import PixelFormat, is_native
from medviewer.imaging.source import ByteSource

_AT_ONCE = 32  # open files; to hand work to another thread takes as long as reading one of them


@dataclass(frozen=True, slots=True)
class _Open:
    """A file that was made sure of, and the room for its pixels."""

    source: ByteSource
    offset: int
    format: PixelFormat
    room: np.ndarray

    def read(self) -> bool:
        """Fill the room; give whether the file held all of it."""
        target = self.room.reshape(-1).view(np.uint8).data
        try:
            is_whole = self.source.read_into(self.offset, target) == len(target)
        except OSError:  # said by whoever reads it with all care
            return False
        if is_whole:
            clean(self.room, self.format)
        return is_whole


def read_plain(
    images: Sequence[Image], block: np.ndarray, stop: StopToken | None = None
) -> Iterator[tuple[Caveat, ...] | None]:
    """Read stored values as :func:`medviewer.imaging.decode.read_frame` does, where nothing else is to be done.

    Args:
        images: of a scan.
        block: ``(images, rows, columns)`` of the stored values' type; gets what was read.
        stop: gives up between images.

    Yields:
        For each image in order its caveats once it was read; None for what ``read_frame`` is to read, or to refuse.

    Raises:
        InputError: a file is gone, or changed.
        Stopped: ``stop`` was used.
    """
    with ThreadPoolExecutor(1, "plain-pixels") as other:
        for begin in range(0, len(images), _AT_ONCE):
            part = range(begin, min(begin + _AT_ONCE, len(images)))
            with ExitStack() as files:
                opened = [_opened(images[index], block[index], files) for index in part]
                half = len(opened) // 2  # in a row: two threads in one large page of memory would wait for each other
                theirs = other.submit(_read_all, opened[half:], stop)
                try:
                    found = _read_all(opened[:half], stop)
                finally:
                    wait((theirs,))  # a file that is closed under it may be another one's by then
                found += theirs.result()
            for one, is_read, index in zip(opened, found, part, strict=True):
                guesses = one.format.guesses if one is not None else ()
                yield caveats_of(images[index], block[index], guesses) if is_read else None


def _read_all(opened: Sequence[_Open | None], stop: StopToken | None) -> list[bool]:
    found = []
    for one in opened:
        if stop is not None:
            stop.raise_if_stopped()
        found.append(one is not None and one.read())
    return found


def _opened(image: Image, room: np.ndarray, files: ExitStack) -> _Open | None:
    """Open an image's file; None where its pixels are to be read in another way."""
    if image.kind != "DICOM":
        return None
    try:
        file = files.enter_context(io.FileIO(image.file))
        layout, source = open_layout(image.file, file)
    except OSError as error:
        raise unreadable(error) from error
    check_unchanged(image, layout)
    header, format_ = layout.header, layout.format
    pixels = header.pixels
    is_grey = format_.samples == 1 and format_.photometric != "PALETTE COLOR"
    if pixels is None or header.is_deflated or not is_native(header) or not is_grey or format_.bits_allocated < 8:
        return None
    length = format_.frame_bits // 8
    begin = image.frame * length
    is_there = begin + length <= min(pixels.length, source.size - pixels.offset)
    is_same = room.shape == (format_.rows, format_.columns) and room.dtype == sample_type(header, format_)
    is_swapped = format_.bits_allocated == 8 and not header.encoding.is_little_endian
    if not is_there or not is_same or is_swapped:
        return None
    if embedded_bits(header.dataset, format_.used_bits, format_.bits_allocated):
        return None
    return _Open(source, pixels.offset + begin, format_, room)
