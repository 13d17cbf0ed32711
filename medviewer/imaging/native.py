"""Uncompressed pixels: one frame's bytes, and no others.

Source: PS3.5 section 8 and annex D (how samples are packed), PS3.3 C.7.6.3.1 (bits and sign).
"""

from __future__ import annotations

import numpy as np

from medviewer.domain.errors import TruncatedError
from medviewer.domain.study import Caveat
from medviewer.imaging.header import Header
from medviewer.imaging.photometric import unpack_422
from medviewer.imaging.pixel_format import PixelFormat
from medviewer.imaging.source import ByteSource


def read_native(
    source: ByteSource,
    header: Header,
    format_: PixelFormat,
    frame: int,
    caveats: list[Caveat],
    into: np.ndarray | None = None,
) -> tuple[np.ndarray, int]:
    """Read one uncompressed frame.

    Args:
        source: the file, or its inflated content.
        header: of the file.
        format_: its pixel layout.
        frame: 0-based.
        caveats: gets ``truncated.rows`` if rows are missing; in grey images they are filled with the darkest value.
        into: memory for the samples, used if they fit as they lie in the file; what was in it is lost.

    Returns:
        ``(rows, columns)`` or ``(rows, columns, 3)`` samples as stored, in the file's
        colour space, without unused bits and with their sign; and how many rows of them
        are really there.

    Raises:
        TruncatedError: not even one row of the frame is there.
    """
    if format_.bits_allocated == 1:
        return _read_bits(source, header, format_, frame), format_.rows
    raw, there = _read_bytes(source, header, format_, frame, into)
    dtype = sample_type(header, format_)
    flat = raw.view(dtype)
    if not dtype.isnative:
        flat = flat.astype(dtype.newbyteorder("="))
    samples = clean(_shaped(flat, format_), format_)
    if there == len(raw):
        return samples, format_.rows
    complete = there * format_.rows // len(raw)
    _mark_missing(samples, format_, complete, caveats)
    return samples, complete


def read_raw(source: ByteSource, header: Header, format_: PixelFormat, frame: int) -> np.ndarray | None:
    """Give a grey frame's samples with all their bits, as they lie in the file; None where it has no such samples."""
    if format_.bits_allocated not in (8, 16, 32) or format_.samples != 1 or format_.is_float:
        return None
    raw, _ = _read_bytes(source, header, format_, frame)
    dtype = sample_type(header, format_)
    return raw.view(dtype).astype(dtype.newbyteorder("=")).reshape(format_.rows, format_.columns)


def sample_type(header: Header, format_: PixelFormat) -> np.dtype:
    """Give the type of the samples as they lie in the file."""
    order = "<" if header.encoding.is_little_endian else ">"
    kind = "f" if format_.is_float else "i" if format_.is_signed and format_.samples == 1 else "u"
    return np.dtype(f"{order}{kind}{format_.bits_allocated // 8}")


def _read_bytes(
    source: ByteSource, header: Header, format_: PixelFormat, frame: int, into: np.ndarray | None = None
) -> tuple[np.ndarray, int]:
    """Give the frame's bytes, zero where the file ends, and how many there were."""
    assert header.pixels is not None  # noqa: S101 - read_pixel_format has refused such a header
    length = format_.frame_bits // 8
    begin = frame * length
    # 8-bit samples in big endian words (OW) are swapped in pairs, which may straddle two frames.
    is_swapped = (
        format_.bits_allocated == 8 and not header.encoding.is_little_endian and header.pixels.representation == "OW"
    )
    lead = begin % 2 if is_swapped else 0
    wanted = lead + length + ((lead + length) % 2 if is_swapped else 0)
    is_room = into is not None and into.nbytes == wanted and into.flags.c_contiguous and into.flags.writeable
    raw = into.reshape(-1).view(np.uint8) if into is not None and is_room else np.empty(wanted, np.uint8)
    available = max(0, min(wanted, header.pixels.length - (begin - lead)))
    there = source.read_into(header.pixels.offset + begin - lead, raw.data[:available])
    raw[there:] = 0
    if is_swapped:
        raw = raw.view(">u2").astype("<u2").view(np.uint8)[lead : lead + length].copy()
        there = min(max(0, there - lead), length)
    return raw, there


def _read_bits(source: ByteSource, header: Header, format_: PixelFormat, frame: int) -> np.ndarray:
    """Read a frame of single bits: packed without gaps, frames included, the lowest bit first (PS3.5 8.1.1)."""
    assert header.pixels is not None  # noqa: S101 - as above
    begin = frame * format_.frame_bits
    first, last = begin // 8, (begin + format_.frame_bits + 7) // 8
    count = min(last, header.pixels.length) - first
    data = source.at(header.pixels.offset + first, count) if count > 0 else b""
    if len(data) < last - first:
        raise TruncatedError("The file ends before or inside this image; ask for it to be sent again.")
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    start = begin - 8 * first
    return _shaped(bits[start : start + format_.frame_bits].copy(), format_)


def _shaped(flat: np.ndarray, format_: PixelFormat) -> np.ndarray:
    rows, columns = format_.rows, format_.columns
    if format_.samples == 1:
        return flat.reshape(rows, columns)
    if format_.photometric == "YBR_FULL_422":
        return unpack_422(flat, rows, columns)
    if format_.planar == 1:
        return np.ascontiguousarray(flat.reshape(3, rows, columns).transpose(1, 2, 0))
    return flat.reshape(rows, columns, 3)


def clean(samples: np.ndarray, format_: PixelFormat) -> np.ndarray:
    """Remove what old files keep in the unused bits (overlays), and extend the sign; the samples themselves change.

    In place: fresh memory for each step would take ten times as long as the step.
    """
    unused = format_.bits_allocated - format_.bits_stored
    if format_.is_float or unused == 0:
        return samples
    above = format_.bits_allocated - 1 - format_.high_bit
    if samples.dtype.kind == "i":
        np.left_shift(samples, above, out=samples)
        np.right_shift(samples, unused, out=samples)
        return samples
    below = format_.high_bit + 1 - format_.bits_stored
    mask = (1 << format_.bits_stored) - 1
    if below:
        np.right_shift(samples, below, out=samples)
    np.bitwise_and(samples, samples.dtype.type(mask), out=samples)
    return samples


def _mark_missing(samples: np.ndarray, format_: PixelFormat, complete: int, caveats: list[Caveat]) -> None:
    is_by_plane = format_.samples == 3 and format_.planar == 1
    if complete == 0 or is_by_plane:
        raise TruncatedError("The file ends before or inside this image; ask for it to be sent again.")
    # The darkest there is: the least value, or the greatest where that is dark. A window that reaches lower draws
    # it grey, and values of our own would move windows that rest on the range. What is dark in a colour image
    # only its conversion to RGB says: zeros of YBR are green.
    is_inverse = format_.photometric == "MONOCHROME1"
    there = samples[:complete]
    samples[complete:] = there.max() if is_inverse else there.min()
    missing = format_.rows - complete
    caveats.append(
        Caveat(
            "truncated.rows",
            f"The file ends inside this image: {missing} of {format_.rows} rows are missing "
            "(drawn in the darkest shade of the rest).",
        )
    )
