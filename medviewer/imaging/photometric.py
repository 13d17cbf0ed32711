"""Colour as the reader's screen wants it: RGB from whatever the file holds.

Source: PS3.3 C.7.6.3.1.2 (photometric interpretation), C.7.6.3.1.3 (planar configuration),
C.7.9 (palette colour look-up tables).
"""

from __future__ import annotations

import struct

import numpy as np

from medviewer.domain.errors import InputError, UnsupportedError
from medviewer.domain.frozen import dataclass
from medviewer.imaging import tags
from medviewer.imaging.dataset import DataSet
from medviewer.imaging.description import lut_entries

RGB_LIKE = frozenset({"RGB", "YBR_RCT", "YBR_ICT"})  # the decoders have undone RCT and ICT
_YBR = frozenset({"YBR_FULL", "YBR_FULL_422"})
_PALETTES = (
    (tags.RED_PALETTE_DESCRIPTOR, tags.RED_PALETTE_DATA, tags.RED_PALETTE_SEGMENTS),
    (tags.GREEN_PALETTE_DESCRIPTOR, tags.GREEN_PALETTE_DATA, tags.GREEN_PALETTE_SEGMENTS),
    (tags.BLUE_PALETTE_DESCRIPTOR, tags.BLUE_PALETTE_DATA, tags.BLUE_PALETTE_SEGMENTS),
)
_BLOCK_ROWS = 128


@dataclass(frozen=True, slots=True, eq=False)
class Palette:
    """A palette: ``colors[stored - first]`` is RGB, clamped at both ends."""

    colors: np.ndarray  # (n, 3) uint8
    first: int


def to_rgb(samples: np.ndarray, photometric: str) -> np.ndarray:
    """Give ``(rows, columns, 3)`` RGB of the same type.

    Raises:
        UnsupportedError: a colour space that MedViewer does not know; names it.
    """
    if photometric in RGB_LIKE:
        return samples
    if photometric in _YBR:
        return _ybr_to_rgb(samples)
    raise UnsupportedError(f"Colours stored as {photometric} are not supported; export the image as RGB.")


def _ybr_to_rgb(samples: np.ndarray) -> np.ndarray:
    """Undo YBR_FULL (PS3.3 C.7.6.3.1.2), in row blocks so that the floats stay small."""
    top = np.iinfo(samples.dtype).max
    middle = np.float32((int(top) + 1) // 2)
    rgb = np.empty_like(samples)
    for row in range(0, len(samples), _BLOCK_ROWS):
        block = samples[row : row + _BLOCK_ROWS].astype(np.float32)
        y, cb, cr = block[..., 0], block[..., 1] - middle, block[..., 2] - middle
        planes = (y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb)
        rgb[row : row + _BLOCK_ROWS] = np.clip(np.rint(np.stack(planes, axis=-1)), 0, top)
    return rgb


def unpack_422(flat: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Give full-size YBR from uncompressed YBR_FULL_422: two luminances share one colour, Y Y Cb Cr."""
    if columns % 2:
        raise UnsupportedError("YBR_FULL_422 images with an odd number of columns are not supported; export it as RGB.")
    quads = flat.reshape(rows, columns // 2, 4)
    full = np.empty((rows, columns, 3), flat.dtype)
    full[:, 0::2, 0], full[:, 1::2, 0] = quads[..., 0], quads[..., 1]
    for channel in (1, 2):
        full[..., channel] = np.repeat(quads[..., channel + 1], 2, axis=1)
    return full


def read_palette(dataset: DataSet, *, is_signed: bool) -> Palette:
    """Read the palette of a PALETTE COLOR image (PS3.3 C.7.6.3.1.5 and C.7.9).

    Raises:
        InputError: the palette is missing or damaged.
    """
    channels, firsts, widest = [], [], 0
    for descriptor_tag, data_tag, segment_tag in _PALETTES:
        descriptor = dataset.numbers(descriptor_tag)
        if len(descriptor) != 3:
            raise InputError(
                "The image needs a colour palette that the file does not hold; ask for it to be sent again."
            )
        count, first, bits = (int(value) for value in descriptor)
        count = count & 0xFFFF or 1 << 16
        if is_signed and first >= 1 << 15:
            first -= 1 << 16
        entries = _palette_entries(dataset, data_tag, segment_tag, count, bits)
        channels.append(entries)
        firsts.append(first)
        widest = max(widest, bits)
    if len(set(firsts)) != 1 or len({len(channel) for channel in channels}) != 1:
        raise InputError("The image's colour palette contradicts itself; ask for the file to be sent again.")
    entries = np.stack(channels, axis=-1)
    # 16-bit entries use the whole range by the standard; some writers put 8-bit values into them. All three
    # channels decide: one alone may be dark, and taken as it stands it would be as bright as the others.
    is_wide = widest > 8 and int(entries.max(initial=0)) > 255
    return Palette((entries >> 8 if is_wide else entries).astype(np.uint8), firsts[0])


def _palette_entries(dataset: DataSet, data_tag: int, segment_tag: int, count: int, bits: int) -> np.ndarray:
    segments = dataset.raw(segment_tag)
    if segments:
        entries: np.ndarray | None = _expand_segments(segments, dataset, bits)
        if entries is not None and len(entries) < count:
            entries = None
    else:
        entries = lut_entries(dataset.raw(data_tag), count, is_little_endian=dataset.is_little_endian)
    if entries is None:
        raise InputError("The image's colour palette is shorter than it says; ask for the file to be sent again.")
    return entries[:count]


def _expand_segments(data: bytes, dataset: DataSet, bits: int) -> np.ndarray:
    """Expand a segmented palette (PS3.3 C.7.9.2): discrete, linear and indirect segments."""
    order = "<" if dataset.is_little_endian else ">"
    code, width = ("H", 2) if bits > 8 else ("B", 1)
    words = struct.unpack(f"{order}{len(data) // width}{code}", data[: len(data) // width * width])
    out: list[int] = []
    _expand(words, width, (0, len(words)), out)
    return np.array(out, np.uint16)


def _expand(words: tuple[int, ...], width: int, span: tuple[int, int], out: list[int]) -> None:
    """Expand up to ``span[1]`` segments from word ``span[0]``; an indirect segment repeats earlier ones."""
    position, limit = span
    is_inner = limit != len(words)  # only the whole table is as long as its words; indirections may not nest
    for _ in range(limit):
        if position + 1 >= len(words) or len(out) > 1 << 16:
            return
        kind, length = words[position], words[position + 1]
        if kind == 0:
            out.extend(words[position + 2 : position + 2 + length])
            position += 2 + length
        elif kind == 1 and position + 2 < len(words) and out:
            begin, end = out[-1], words[position + 2]
            out.extend(round(begin + (end - begin) * step / length) for step in range(1, length + 1))
            position += 3
        elif kind == 2 and position + 3 < len(words) and not is_inner:
            # The offset is in bytes, in two words, the low one first.
            target = (words[position + 2] | words[position + 3] << 8 * width) // width
            _expand(words, width, (target, length), out)
            position += 4
        else:
            raise InputError("The image's segmented colour palette is damaged; ask for the file to be sent again.")


def apply_palette(stored: np.ndarray, palette: Palette) -> np.ndarray:
    """Give ``(rows, columns, 3)`` uint8."""
    index = np.clip(stored.astype(np.int64) - palette.first, 0, len(palette.colors) - 1)
    return palette.colors[index]
