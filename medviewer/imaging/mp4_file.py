"""Films as MP4 files with AV1: what browsers and today's players open, at a part of the size of JPEG images.

AV1 is free of licences and fees. It is encoded where Pillow writes AVIF, which holds the very same stream: each
group of images becomes an AVIF sequence, whose samples are taken out and put one after the other into an MP4 file.

Source: ISO/IEC 14496-12 (boxes), "AV1 Codec ISO Media File Format Binding" (sample entry ``av01``) and "AV1 Image File
Format" of the Alliance for Open Media.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from medviewer.domain.errors import TooLargeError, UnsupportedError
from medviewer.domain.frozen import dataclass
from medviewer.imaging.film_writer import FilmWriter

FILE_TYPE = b"ftyp"
MOST_BYTES = 2_000_000_000  # some players read places in the file as signed 32 bits
GROUP, GROUP_PX = 8, 8_000_000
"""Images between two that can be jumped to, and their pixels; as many are in memory, and as many are encoded before a
reader who cancels is heard."""

_QUALITY, _SPEED = 97, 8
_MOST_SIDE_PX, _MOST_PX = 16_384, 35_651_584  # of AV1's level 6, the highest that decoders have
_TICKS = 1000  # of the time between two images
_DELIMITER = b"\x12\x00"  # between images in a stream; in a file they are apart anyway
_BRANDS = b"isom" + struct.pack(">I", 512) + b"isom" + b"iso2" + b"av01" + b"mp41"
_MATRIX = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)  # neither turned nor scaled
_UNDETERMINED = 0x55C4  # "und" in five bits a letter: the language
_ENTRY_BYTES = 78  # of a VisualSampleEntry before the boxes in it
_HOLDERS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl"})


def can_write() -> bool:
    """Whether the installed Pillow encodes AV1: some have no AVIF, some cannot write it."""
    try:
        _encoded([np.zeros((16, 16, 3), np.uint8)])
    except UnsupportedError:
        return False
    return True


class Mp4Writer(FilmWriter):
    """A film as an MP4 file with AV1.

    Raises:
        UnsupportedError: the installed Pillow does not encode AV1.
    """

    most_side_px, most_px = _MOST_SIDE_PX, _MOST_PX

    def __init__(self, file: BinaryIO, rate_hz: float) -> None:
        if not can_write():
            raise UnsupportedError("The film cannot be encoded as MP4 here; save an AVI film instead.")
        super().__init__(file, rate_hz)
        self._waiting: list[npt.NDArray[np.uint8]] = []
        self._sizes: list[int] = []
        self._settings: Mapping[bytes, bytes] = {}
        file.write(_box(FILE_TYPE, _BRANDS))
        self._start = file.tell()
        file.write(_box(b"mdat", b""))

    def _write(self, pixels: npt.NDArray[np.uint8]) -> None:
        self._waiting.append(pixels)
        if len(self._waiting) == self._group:
            self._encode()

    def _complete(self) -> None:
        """Write what waits, the size of the data, and the tables, which hold what is known only now."""
        if self._waiting:
            self._encode()
        end = self._file.tell()
        self._file.write(self._movie())
        self._file.seek(self._start)
        self._file.write(struct.pack(">I", end - self._start))

    @property
    def _group(self) -> int:
        """How many images of this size are encoded together."""
        rows, columns = self._shape[:2]
        return max(1, min(GROUP, GROUP_PX // (rows * columns)))

    def _encode(self) -> None:
        """Encode the images that wait, the first of them by itself."""
        group = _encoded(self._waiting)
        if self._file.tell() + sum(map(len, group.samples)) > MOST_BYTES:
            raise TooLargeError("The film would be larger than 2 GB: choose fewer images.")
        self._settings = self._settings or group.settings
        assert group.settings == self._settings  # noqa: S101 - one encoder, one size
        for sample in group.samples:
            self._file.write(sample)
            self._sizes.append(len(sample))
        self._waiting = []

    def _movie(self) -> bytes:
        ticks_hz, length = round(_TICKS * self._rate_hz), len(self._sizes) * _TICKS
        rows, columns = self._shape[:2]
        header = struct.pack(">5I", 0, 0, ticks_hz, length, 0x10000) + struct.pack(">H10x", 0x100) + _MATRIX
        track = struct.pack(">5I8x2hH2x", 0, 0, 1, 0, length, 0, 0, 0) + _MATRIX
        track += struct.pack(">II", columns << 16, rows << 16)
        media = struct.pack(">4I2H", 0, 0, ticks_hz, length, _UNDETERMINED, 0)
        handler = struct.pack(">4x4s12x", b"vide") + b"Video\0"
        data = _box(b"dinf", _full(b"dref", struct.pack(">I", 1) + _full(b"url ", b"", flags=1)))
        information = _full(b"vmhd", bytes(8), flags=1) + data + self._tables()
        about = _full(b"mdhd", media) + _full(b"hdlr", handler) + _box(b"minf", information)
        whole = _full(b"tkhd", track, flags=3) + _box(b"mdia", about)
        return _box(b"moov", _full(b"mvhd", header + bytes(24) + struct.pack(">I", 2)) + _box(b"trak", whole))

    def _tables(self) -> bytes:
        """What each image is, how long it is shown, where it lies, and which ones can be jumped to."""
        rows, columns = self._shape[:2]
        count = len(self._sizes)
        entry = struct.pack(">6xH16x2H2I4xH32xHh", 1, columns, rows, 0x480000, 0x480000, 1, 24, -1)
        assert len(entry) == _ENTRY_BYTES  # noqa: S101 - else what follows would be read as something else
        entry += b"".join(_box(name, content) for name, content in self._settings.items())
        first_ones = range(1, count + 1, self._group)
        return _box(
            b"stbl",
            _full(b"stsd", struct.pack(">I", 1) + _box(b"av01", entry))
            + _full(b"stts", struct.pack(">3I", 1, count, _TICKS))
            + _full(b"stsc", struct.pack(">4I", 1, 1, count, 1))
            + _full(b"stsz", struct.pack(f">II{count}I", 0, count, *self._sizes))
            + _full(b"stco", struct.pack(">II", 1, self._start + 8))
            + _full(b"stss", struct.pack(f">I{len(first_ones)}I", len(first_ones), *first_ones)),
        )


@dataclass(frozen=True, slots=True)
class _Group:
    """Encoded images, and the boxes that say how they are decoded: ``av1C`` and ``colr``."""

    samples: tuple[bytes, ...]
    settings: Mapping[bytes, bytes]


def _encoded(images: Sequence[npt.NDArray[np.uint8]]) -> _Group:
    """Encode images with half the colour resolution and all of the brightness, as every player decodes it.

    Raises:
        UnsupportedError: the installed Pillow does not encode them.
    """
    from PIL import Image as PillowImage  # noqa: PLC0415 - only who films needs it

    pictures = [PillowImage.fromarray(np.ascontiguousarray(image)) for image in images]
    rest = pictures[1:] or pictures[:1]  # a single image would be a still; its double is left out again
    out = BytesIO()
    how: Any = {"quality": _QUALITY, "speed": _SPEED, "subsampling": "4:2:0", "duration": 100, "codec": "aom"}
    try:
        pictures[0].save(out, "AVIF", save_all=True, append_images=rest, **how)
    except (KeyError, ValueError, RuntimeError, OSError) as error:  # no AVIF at all; no such encoder; it failed
        raise UnsupportedError("The film cannot be encoded as MP4 here; save an AVI film instead.") from error
    content = out.getvalue()
    found = dict(_boxes(content, 0, len(content)))
    where, _ = found[b"stco"]
    assert struct.unpack_from(">I", content, where + 4)[0] == 1  # noqa: S101 - libavif writes one chunk
    place = struct.unpack_from(">I", content, where + 8)[0]
    where, _ = found[b"stsz"]
    even, count = struct.unpack_from(">II", content, where + 4)
    sizes = [even] * count if even else struct.unpack_from(f">{count}I", content, where + 12)
    samples = []
    for size in sizes:
        samples.append(content[place : place + size].removeprefix(_DELIMITER))
        place += size
    where, end = found[b"stsd"]
    inner = dict(_boxes(content, where + 8 + 8 + _ENTRY_BYTES, end))
    settings = {name: content[slice(*inner[name])] for name in (b"av1C", b"colr")}
    return _Group(tuple(samples[: len(images)]), settings)


def _boxes(content: bytes, start: int, end: int) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """Yield the boxes by name with where their contents begin and end; those that hold the tables opened."""
    while start < end:
        size, name = struct.unpack_from(">I4s", content, start)
        if name in _HOLDERS:
            yield from _boxes(content, start + 8, start + size)
        else:
            yield name, (start + 8, start + size)
        start += size


def _box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), name) + content


def _full(name: bytes, content: bytes, flags: int = 0) -> bytes:
    """A box with a version, which is 0, and flags."""
    return _box(name, struct.pack(">I", flags) + content)
