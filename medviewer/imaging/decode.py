"""One frame's pixels, from a file that may be damaged or hostile.

Uncompressed frames are read in the calling thread: only the bytes of that frame.
Compressed ones are decoded in worker processes, because decoders crash and hang on
bad data; one that does costs one image and nothing else.
"""

from __future__ import annotations

import atexit
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np

from medviewer.domain.errors import DecodeError, InputError, TruncatedError
from medviewer.domain.frame import Frame
from medviewer.domain.progress import StopToken
from medviewer.domain.study import Caveat, Image
from medviewer.imaging import tags
from medviewer.imaging.codecs import JPEG_2000_SYNTAXES, JPEG_LS_SYNTAXES, JPEG_SYNTAXES, FrameSpec
from medviewer.imaging.decode_pool import DecodePool
from medviewer.imaging.encapsulation import Fragment, frame_fragments, read_fragments
from medviewer.imaging.header import Header, inflated, parse_header, unreadable
from medviewer.imaging.native import read_native
from medviewer.imaging.photometric import apply_palette, read_palette, to_rgb
from medviewer.imaging.pixel_format import PixelFormat, is_native, read_pixel_format
from medviewer.imaging.source import ByteSource
from medviewer.imaging.volume import read_slice

_MAX_LAYOUTS = 64
_END_MARKER = b"\xff\xd9"


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where a file's frames are; kept, so that scrolling does not read the header again."""

    header: Header
    format: PixelFormat
    fragments: tuple[tuple[Fragment, ...], ...]


_layouts: OrderedDict[tuple[str, int, int], _Layout] = OrderedDict()
_layouts_lock = Lock()
_pool = DecodePool()


def read_frame(image: Image, *, stop: StopToken | None = None) -> Frame:
    """Read and decode one frame.

    May be called from any thread, and from several at once.

    Args:
        image: of a scan.
        stop: gives up; a decoder that is running is ended.

    Returns:
        The frame, read-only. Where the file ends inside an uncompressed frame, the
        missing rows are black and a caveat ``truncated`` says so.

    Raises:
        TruncatedError: the file ends before this frame, or inside its compressed data.
        TooLargeError: the file claims more than it may.
        UnsupportedError: the transfer syntax or colour space is not read; names it.
        DecodeError: the compressed pixels are damaged.
        InputError: the file is gone, changed, or cannot be read.
        Stopped: ``stop`` was used.
    """
    if stop is not None:
        stop.raise_if_stopped()
    try:
        if image.kind != "DICOM":
            return _read_other(image, stop)
        with image.file.open("rb") as file:
            source = ByteSource(file)
            layout = _layout_of(image.file, source)
            if layout.header.is_deflated:
                source = inflated(source)
            return _read(image, layout, source, stop)
    except OSError as error:
        raise unreadable(error) from error
    except MemoryError as error:
        raise InputError("This image needs more memory than there is; close other studies and try again.") from error


def _read_other(image: Image, stop: StopToken | None) -> Frame:
    if image.kind != "picture":
        return read_slice(image, stop)
    from medviewer.imaging.picture_file import read_picture  # noqa: PLC0415 - Pillow is for pictures only

    return read_picture(image)


def warm_up() -> None:
    """Start a decoding process ahead of the first compressed image. Slow: call it from a background thread."""
    _pool.warm_up()


def worker_pids() -> tuple[int, ...]:
    """Give the process ids of the decoding processes, for diagnosis."""
    return _pool.worker_pids()


def shutdown() -> None:
    """End the decoding processes; the next compressed frame starts them again."""
    _pool.shutdown()


atexit.register(shutdown)


def _layout_of(path: Path, source: ByteSource) -> _Layout:
    status = path.stat()
    key = (str(path), status.st_mtime_ns, status.st_size)
    with _layouts_lock:
        layout = _layouts.get(key)
        if layout is not None:
            _layouts.move_to_end(key)
            return layout
    header = parse_header(source)
    format_ = read_pixel_format(header)
    fragments: tuple[tuple[Fragment, ...], ...] = ()
    if header.is_encapsulated and header.pixels is not None:
        extended = tuple(int(value) for value in header.dataset.numbers(tags.EXTENDED_OFFSET_TABLE))
        fragments = frame_fragments(source, header.pixels.offset, format_.frames, extended)
    layout = _Layout(header, format_, fragments)
    with _layouts_lock:
        _layouts[key] = layout
        while len(_layouts) > _MAX_LAYOUTS:
            _layouts.popitem(last=False)
    return layout


def _read(image: Image, layout: _Layout, source: ByteSource, stop: StopToken | None) -> Frame:
    header, format_ = layout.header, layout.format
    # A path says little: a stick may have been exchanged, and another person's image may lie there now.
    is_same_object = header.dataset.text(tags.SOP_INSTANCE_UID) == image.sop_instance_uid
    is_same_size = (format_.rows, format_.columns) == (image.description.rows, image.description.columns)
    if not (is_same_object and is_same_size and image.frame < format_.frames):
        raise InputError("The file has changed since it was opened; open it again.")
    caveats: list[Caveat] = []
    if is_native(header):
        samples = read_native(source, header, format_, image.frame, caveats)
    else:
        samples = _read_compressed(image, layout, source, caveats, stop)
    stored = _to_stored(samples, layout)
    stored.setflags(write=False)
    return Frame(stored, image.description, (*image.warnings, *(c for c in caveats if c not in image.warnings)))


def _read_compressed(
    image: Image, layout: _Layout, source: ByteSource, caveats: list[Caveat], stop: StopToken | None
) -> np.ndarray:
    header, format_ = layout.header, layout.format
    syntax = header.transfer_syntax_uid
    if image.frame >= len(layout.fragments) or not layout.fragments[image.frame]:
        raise TruncatedError("The file ends before this image's pixels; ask for it to be sent again.")
    data = read_fragments(source, layout.fragments[image.frame])
    if not _has_end(data, syntax):
        caveats.append(Caveat("truncated", "The compressed pixels have no end mark: part of the image may be missing."))
    spec = FrameSpec(
        syntax,
        format_.rows,
        format_.columns,
        format_.samples,
        format_.bits_allocated,
        format_.bits_stored,
        format_.is_signed,
        format_.photometric,
        format_.planar,
    )
    decoded = _pool.decode(data, spec, stop=stop)
    if decoded.refusals:
        caveats.append(
            Caveat("decode.fallback", f"The first decoder refused this image; it was read by {decoded.codec} instead.")
        )
    return _with_sign(decoded.pixels, data, layout, caveats)


def _has_end(data: bytes, syntax: str) -> bool:
    """Whether a code stream is closed by its end mark; padding after it is allowed."""
    if syntax not in JPEG_2000_SYNTAXES | JPEG_SYNTAXES | JPEG_LS_SYNTAXES:
        return True
    return _END_MARKER in data[-64:] or data.rstrip(b"\0").endswith(_END_MARKER)


def _with_sign(pixels: np.ndarray, data: bytes, layout: _Layout, caveats: list[Caveat]) -> np.ndarray:
    """Give decoded pixels the type that the header (or, for JPEG 2000, the code stream) says."""
    format_ = layout.format
    is_signed, bits = format_.is_signed, format_.bits_stored
    if layout.header.transfer_syntax_uid in JPEG_2000_SYNTAXES:
        stream = _jpeg_2000_precision(data)
        if stream is not None and format_.samples == 1:
            bits, stream_is_signed = stream
            if stream_is_signed != is_signed:
                caveats.append(
                    Caveat(
                        "jpeg2000.sign",
                        f"Header and code stream disagree on whether values are signed; the code stream "
                        f"({'signed' if stream_is_signed else 'unsigned'}) is used.",
                    )
                )
            is_signed = stream_is_signed
    size = pixels.dtype.itemsize
    if not is_signed:
        return pixels if pixels.dtype.kind == "u" else pixels.view(f"u{size}")
    signed = pixels.view(f"i{size}")
    shift = 8 * size - bits
    if shift > 0 and pixels.dtype.kind == "u":
        return np.asarray((signed << shift) >> shift)
    return signed


def _jpeg_2000_precision(data: bytes) -> tuple[int, bool] | None:
    """Read (bits, is signed) of the first component from the SIZ segment (ISO 15444-1 A.5.1)."""
    start = data.find(b"\xff\x4f\xff\x51")
    if start < 0 or len(data) < start + 43:
        return None
    precision = data[start + 42]
    return (precision & 0x7F) + 1, bool(precision & 0x80)


def _to_stored(samples: np.ndarray, layout: _Layout) -> np.ndarray:
    """Turn samples into what a Frame holds: grey as it is, colour as RGB of the full 8 or 16 bits."""
    format_ = layout.format
    if format_.photometric == "PALETTE COLOR":
        palette = read_palette(layout.header.dataset, is_signed=format_.is_signed)
        return apply_palette(samples, palette)
    if format_.samples == 1:
        return samples
    if samples.dtype.kind != "u" or samples.dtype.itemsize > 2:
        raise DecodeError("The colour pixels are signed or wider than 16 bits, which is not supported; export as RGB.")
    full = 8 * samples.dtype.itemsize
    if format_.bits_stored < full:
        top = (1 << format_.bits_stored) - 1
        samples = (samples.astype(np.uint32) * ((1 << full) - 1) // top).astype(samples.dtype)
    return to_rgb(samples, format_.photometric)
