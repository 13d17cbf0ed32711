"""Whether a JPEG stream and the picture that was decoded from it end at the same place.

Decoders go on where the data make no sense: they fill what is missing and pass over what
is left, and say nothing. After a damage the lengths of the codes are others, so that the
decoder nearly always runs out of data before its last pixel, or has some left after it.
That is what is looked for here; a change of values that moves nothing cannot be seen.

Source: ISO 10918-1 annexes B (markers), C and F (Huffman codes), H (lossless).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from medviewer.imaging.code_stream import Segment, jpeg_segments

if TYPE_CHECKING:
    from PIL import Image

_SEQUENTIAL = (0xC0, 0xC1)
_LOSSLESS = 0xC3
_DHT, _SOS, _DRI = 0xC4, 0xDA, 0xDD
_END = b"\xff\xd9"
_SLACK = 2  # bytes: the last one, and one that an encoder may have added after its last code
_AHEAD = b"\x55" * 8  # as much as libjpeg looks ahead; with the usual tables too little for one block
_SHRINK = 8  # of all sizes that libjpeg draws the fastest: the codes are read all the same
_TELLING = 32  # differences other than 0 that the compared end must hold
_MOST_SAMPLES = 8192  # encoded again, so that it takes a fraction of the time of decoding
_FILL_BITS = 8 * _SLACK + 7


class _Stream(NamedTuple):
    segments: dict[int, bytes]  # by marker, the last of each kind; Huffman tables joined
    frame: Segment
    head: bytes
    scan: bytes


def ends_elsewhere(data: bytes, pixels: np.ndarray) -> bool:
    """Whether the code stream ends before or after the picture.

    False where that is not known: progressive streams, several scans, restart markers or
    subsampling in a lossless stream. Restart markers in another one hide all but the last
    interval.

    Args:
        data: a JPEG stream with its end mark.
        pixels: as they were decoded.
    """
    stream = _parse(data)
    if stream is None:
        return False
    if stream.frame.marker == _LOSSLESS:
        is_plain = _DRI not in stream.segments and len(set(stream.frame.content[7::3])) == 1
        return is_plain and _lossless_ends_elsewhere(stream, pixels)
    return _read_by_pieces(stream, _SHRINK) is None


def _parse(data: bytes) -> _Stream | None:
    """Give the parts of a stream of one scan; None for what is not looked into."""
    segments: dict[int, bytes] = {}
    frame: Segment | None = None
    end = data.rfind(_END)
    for segment in jpeg_segments(data):
        if segment.marker in (*_SEQUENTIAL, _LOSSLESS):
            frame = segment
        joined = segments.get(_DHT, b"") if segment.marker == _DHT else b""
        segments[segment.marker] = joined + segment.content
    scan = segments.get(_SOS)
    if frame is None or scan is None or len(frame.content) < 6 or end < segment.end or scan[:1] != frame.content[5:6]:
        return None
    return _Stream(segments, frame, data[: segment.end], data[segment.end : end].rstrip(b"\xff"))


def decode_if_whole(data: bytes) -> np.ndarray | None:
    """Decode 8-bit grey while looking where it ends, which takes no longer than decoding; None for anything else."""
    stream = _parse(data)
    if (
        stream is None
        or stream.frame.marker == _LOSSLESS
        or (stream.frame.content[0], stream.frame.content[5]) != (8, 1)
    ):
        return None
    picture = _read_by_pieces(stream, 1)
    return None if picture is None else np.asarray(picture)


def _read_by_pieces(stream: _Stream, shrink: int) -> Image.Image | None:
    """Read the codes with a libjpeg that can be fed by pieces (Pillow's), and see when it draws the last row."""
    from PIL import Image  # noqa: PLC0415 - only workers need it

    rows, columns, components = struct.unpack_from(">HHB", stream.frame.content, 1)
    head = bytearray(stream.head)
    head[stream.frame.end - len(stream.frame.content)] = 8  # codes of 12-bit samples are read in the same way
    picture = Image.new("L", (-(-columns // shrink), -(-rows // shrink)))
    last = (0, picture.height - 1, picture.width, picture.height)
    untouched = bytes(index % 2 * 255 for index in range(picture.width))
    picture.paste(Image.frombytes("L", (picture.width, 1), untouched), last)
    mode = "L" if components == 1 else "YCbCr"
    decoder = Image._getdecoder("L", "jpeg", ("L", mode), (shrink, 0))  # there is no public one
    decoder.setimage(picture.im, (0, 0, *picture.size))
    first = bytes(head) + stream.scan[:-_SLACK]
    used, _ = decoder.decode(first)
    if used < 0 or picture.crop(last).tobytes() != untouched:
        return None  # the picture is whole, and the stream is not at its end
    decoder.decode(first[used:] + stream.scan[-_SLACK:] + _AHEAD)
    if picture.crop(last).tobytes() == untouched:
        return None  # the stream is at its end, and the picture is not whole
    return picture


def _lossless_ends_elsewhere(stream: _Stream, pixels: np.ndarray) -> bool:
    """Encode the last rows again: what comes out must be the end of the stream."""
    samples = pixels if pixels.ndim == 3 else pixels[..., np.newaxis]
    most = max(1, min(len(samples), _MOST_SAMPLES // samples[0].size))
    differences = _differences(stream, samples, 1)
    if np.count_nonzero(differences) < _TELLING:  # flat rows are alike wherever they end
        differences = _differences(stream, samples, most)
    expected = _encoded(stream, differences)
    if expected is None:
        return True  # there is no code for such a difference
    there = stream.scan[-(len(expected) // 4 + 16) :].replace(b"\xff\0", b"\xff")
    bits = np.unpackbits(np.frombuffer(there, np.uint8))
    for fill in range(min(_FILL_BITS, len(bits) - len(expected)) + 1):
        end = len(bits) - fill
        rest = (bits[end : end + fill % 8], bits[end + fill % 8 :])  # of the last byte, and an added one
        if all(len(set(part)) <= 1 for part in rest) and np.array_equal(bits[end - len(expected) : end], expected):
            return False
    return True


def _differences(stream: _Stream, samples: np.ndarray, count: int) -> np.ndarray:
    """Give the last rows' differences to their predictions, (rows, columns, components), modulo 2 ** 16 (H.1.2)."""
    scan = stream.segments[_SOS]
    predictor, shift = scan[-3], scan[-1] & 15
    top = max(0, len(samples) - count - 1)
    values = samples[top:].astype(np.int64) >> shift
    a, b, c = np.zeros_like(values), np.zeros_like(values), np.zeros_like(values)
    a[:, 1:], b[1:], c[1:, 1:] = values[:, :-1], values[:-1], values[:-1, :-1]
    predictions = (a, a, b, c, a + b - c, a + ((b - c) >> 1), b + ((a - c) >> 1), (a + b) >> 1)
    predicted = predictions[predictor & 7].copy()
    predicted[:, 0] = b[:, 0]
    predicted[0] = a[0]
    predicted[0, 0] = 1 << (stream.frame.content[0] - shift - 1)
    found = (values - predicted)[-count:]
    return ((found + (1 << 15) - 1) & 0xFFFF) - (1 << 15) + 1


def _encoded(stream: _Stream, differences: np.ndarray) -> np.ndarray | None:
    """Give the bits of the differences (H.1.2.2); None if a table lacks a code."""
    tables = _tables(stream.segments.get(_DHT, b""))
    scan = stream.segments[_SOS]
    wanted = [scan[2 + 2 * index] >> 4 for index in range(scan[0])]
    if any(table not in tables for table in wanted) or len(wanted) != differences.shape[2]:
        return None
    codes = np.stack([tables[table][0] for table in wanted])
    lengths = np.stack([tables[table][1] for table in wanted])
    component = np.broadcast_to(np.arange(len(wanted)), differences.shape)
    category = np.ceil(np.log2(np.abs(differences) + 1)).astype(np.int64)
    extra = np.where(category < 16, category, 0)  # of 32768 there is only one
    bits = np.where(differences < 0, differences - 1, differences) & ((1 << extra) - 1)
    if (lengths[component, category] == 0).any():
        return None
    words = ((codes[component, category] << extra) | bits).ravel().astype(">u4")
    width = (lengths[component, category] + extra).ravel()
    spread = np.unpackbits(words.view(np.uint8)).reshape(-1, 32)
    return np.asarray(spread[np.arange(32) >= 32 - width[:, np.newaxis]])


def _tables(content: bytes) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Give (codes, their lengths) by category of each Huffman table (annex C)."""
    tables: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    while len(content) >= 17:
        codes, lengths = np.zeros(256, np.int64), np.zeros(256, np.int64)
        code, position = 0, 17
        for length, count in enumerate(content[1:17], start=1):
            for category in content[position : position + count]:
                codes[category], lengths[category] = code, length
                code += 1
            position += count
            code <<= 1
        tables[content[0] & 15] = codes, lengths
        content = content[position:]
    return tables
