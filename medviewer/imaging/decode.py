"""One frame's pixels, from a file that may be damaged or hostile.

Uncompressed frames are read in the calling thread: only the bytes of that frame.
Compressed ones are decoded in worker processes, because decoders crash and hang on
bad data; one that does costs one image and nothing else.
"""

from __future__ import annotations

import atexit
import hashlib
import io
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from medviewer.domain.errors import DecodeError, InputError, TruncatedError
from medviewer.domain.frame import ColorProfile, Frame
from medviewer.domain.progress import StopToken
from medviewer.domain.study import Caveat, Image
from medviewer.imaging import code_stream, tags
from medviewer.imaging.codecs import (
    HTJ2K_LOSSLESS,
    HTJ2K_LOSSLESS_RPCL,
    JPEG_2000_LOSSLESS,
    JPEG_2000_SYNTAXES,
    JPEG_LOSSLESS,
    JPEG_LOSSLESS_FIRST_ORDER,
    JPEG_LS,
    JPEG_LS_NEAR,
    JPEG_LS_SYNTAXES,
    JPEG_SYNTAXES,
    RLE,
    FrameSpec,
)
from medviewer.imaging.color_profile import DAMAGED, NOT_TRIED, Found, find_profile
from medviewer.imaging.decode_pool import DecodePool
from medviewer.imaging.display import has_useless_window
from medviewer.imaging.encapsulation import read_fragments
from medviewer.imaging.header import unreadable
from medviewer.imaging.layout import Layout, forget, open_layout
from medviewer.imaging.native import read_native, read_raw
from medviewer.imaging.overlay_planes import Samples, embedded_bits, read_overlays
from medviewer.imaging.photometric import apply_palette, read_palette, to_rgb
from medviewer.imaging.pixel_format import is_native
from medviewer.imaging.shutters import read_frame_shutters
from medviewer.imaging.source import ByteSource
from medviewer.imaging.volume_file import read_slice

_EXACT = frozenset({RLE, JPEG_LOSSLESS, JPEG_LOSSLESS_FIRST_ORDER, JPEG_LS})
_EXACT_JPEG_2000 = frozenset({JPEG_2000_LOSSLESS, HTJ2K_LOSSLESS, HTJ2K_LOSSLESS_RPCL})
_NO_OVERLAY = Caveat(
    "overlay.hidden", "A drawing that the file keeps inside its pixels is not shown: compression has not kept it."
)
_USELESS_WINDOW = Caveat(
    "window.outside",
    "The file's window lies wholly outside of the image's values: the image opens with one made of its values.",
)
_END_MARKER = b"\xff\xd9"
_MAX_PROFILES = 64
_MOST_TRIALS = 3  # of a profile whose trial ends or is late: each may cost a process, and seconds

_pool = DecodePool()
# Profiles by their digest: whether they can be used (None: no trial has told), and the number of trials.
_tried: OrderedDict[str, tuple[bool | None, int]] = OrderedDict()


def read_frame(
    image: Image, *, stop: StopToken | None = None, into: np.ndarray | None = None, as_indices: bool = False
) -> Frame:
    """Read and decode one frame.

    May be called from any thread, and from several at once.

    Args:
        image: of a scan.
        stop: gives up; a decoder that is running is ended.
        into: memory of a larger block for the stored values, used where a copy can be saved; what was
            in it is lost, and whether the frame lies there is for the caller to see.
        as_indices: of an image with a palette, the numbers and not the colours that they stand for.

    Returns:
        The frame, read-only. Where the file ends inside an uncompressed frame, the
        missing rows are as dark as the darkest of the rest (black in colour), are counted, and a caveat
        ``truncated`` says so.

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
        with io.FileIO(image.file) as file:  # what is read here is read whole: a buffer would only copy
            layout, source = open_layout(image.file, file)
            if as_indices:
                layout = replace(layout, format=replace(layout.format, photometric=_without_palette(layout)))
            return _read(image, layout, source, stop, into)
    except OSError as error:
        raise unreadable(error) from error
    except MemoryError as error:
        raise InputError("This image needs more memory than there is; close other studies and try again.") from error


def _read_other(image: Image, stop: StopToken | None) -> Frame:
    if image.kind != "picture":
        return read_slice(image, stop)
    from medviewer.imaging.picture_file import read_picture  # noqa: PLC0415 - Pillow is for pictures only

    return read_picture(image)


def usable_profile(found: Found, *, stop: StopToken | None = None) -> tuple[ColorProfile | None, Caveat | None]:
    """Give a colour profile once it has been tried out, or what the reader must be told of it.

    May be called from any thread. Another process is asked, until it answers, once for each profile.

    Raises:
        Stopped: ``stop`` was used.
    """
    if found.data is None:
        return None, found.caveat
    digest = hashlib.sha256(found.data).hexdigest()
    said, trials = _tried.get(digest, (None, 0))
    if said is None and trials < _MOST_TRIALS:
        try:
            said = _pool.try_profile(found.data, stop=stop)
        except DecodeError:  # no process could be started, which says nothing of the profile
            return None, NOT_TRIED
        _tried[digest] = said, trials + 1
        while len(_tried) > _MAX_PROFILES:
            _tried.popitem(last=False)
    if said is None:
        return None, NOT_TRIED
    return (ColorProfile(digest, found.data), None) if said else (None, DAMAGED)


def warm_up() -> None:
    """Start a decoding process ahead of the first compressed image. Slow: call it from a background thread."""
    _pool.warm_up()


def worker_pids() -> tuple[int, ...]:
    """Give the process ids of the decoding processes, for diagnosis."""
    return _pool.worker_pids()


def shutdown() -> None:
    """End the decoding processes and forget what was read; the next compressed frame starts them again."""
    _pool.shutdown()
    forget()


atexit.register(shutdown)


def check_unchanged(image: Image, layout: Layout) -> None:
    """Refuse a file that is not the one any more that an image was found in.

    A path says little: a stick may have been exchanged, and another person's image may lie there now.

    Raises:
        InputError: it is another.
    """
    format_ = layout.format
    is_same_object = layout.header.dataset.text(tags.SOP_INSTANCE_UID) == image.sop_instance_uid
    is_same_size = (format_.rows, format_.columns) == (image.description.rows, image.description.columns)
    is_as_it_was = image.stamp in ("", layout.stamp)
    if not (is_same_object and is_same_size and is_as_it_was and image.frame < format_.frames):
        raise InputError("The file has changed since it was opened; open it again.")


def caveats_of(image: Image, stored: np.ndarray, found: Iterable[Caveat]) -> tuple[Caveat, ...]:
    """Give what the reader must be told of an image, with what was found while its stored values were read."""
    is_useless = bool(image.description.windows) and has_useless_window(Frame(stored, image.description))
    also = (*found, _USELESS_WINDOW) if is_useless else found
    return (*image.warnings, *(caveat for caveat in also if caveat not in image.warnings))


def _read(image: Image, layout: Layout, source: ByteSource, stop: StopToken | None, into: np.ndarray | None) -> Frame:
    header, format_ = layout.header, layout.format
    check_unchanged(image, layout)
    caveats: list[Caveat] = [*format_.guesses]
    bits = embedded_bits(header.dataset, format_.used_bits, format_.bits_allocated)
    if is_native(header):
        samples, complete = read_native(source, header, format_, image.frame, caveats, into)
        raw = read_raw(source, header, format_, image.frame) if bits else None
    else:
        samples, raw = _read_compressed(image, layout, source, caveats, bits, stop)
        complete = format_.rows
    stored = _to_stored(samples, layout)
    if stored.ndim == 3 and complete < format_.rows:
        stored[complete:] = 0
    stored.setflags(write=False)
    profile: ColorProfile | None = None
    if stored.ndim == 3:
        profile, doubt = usable_profile(find_profile(header.dataset, source, image.frame), stop=stop)
        caveats += [doubt] if doubt is not None else []
    all_caveats = caveats_of(image, stored, caveats)
    shutters = read_frame_shutters(header.dataset, image.frame)
    words = Samples(raw, format_.used_bits) if raw is not None else None
    overlays = read_overlays(header.dataset, image.frame, words, source)
    return Frame(stored, image.description, all_caveats, overlays, profile, shutters, format_.rows - complete)


def _read_compressed(
    image: Image,
    layout: Layout,
    source: ByteSource,
    caveats: list[Caveat],
    overlay_bits: frozenset[int],
    stop: StopToken | None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Give the samples as :func:`read_native` does; and with all their bits, if all ``overlay_bits`` are among them."""
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
    if decoded.is_doubtful:
        caveats.append(
            Caveat(
                "truncated.inside",
                "The compressed pixels are damaged: part of the image is missing or wrong.",
            )
        )
    if decoded.refusals:
        caveats.append(
            Caveat("decode.fallback", f"The first decoder refused this image; it was read by {decoded.codec} instead.")
        )
    precision = _word_bits(data, layout, overlay_bits)
    raw = decoded.pixels if overlay_bits and max(overlay_bits) < precision > format_.high_bit else None
    if overlay_bits and raw is None:
        caveats.append(_NO_OVERLAY)
    samples = _without_unused_bits(decoded.pixels, precision, layout)
    if syntax in JPEG_2000_SYNTAXES and not precision:
        return _with_sign_of_stream(samples, data, layout, caveats), raw
    return _with_sign(samples, format_.is_signed, format_.bits_stored), raw


def _has_end(data: bytes, syntax: str) -> bool:
    """Whether a code stream is closed by its end mark; padding after it is allowed."""
    if syntax not in JPEG_2000_SYNTAXES | JPEG_SYNTAXES | JPEG_LS_SYNTAXES:
        return True
    return _END_MARKER in data[-64:] or data.rstrip(b"\0").endswith(_END_MARKER)


def _word_bits(data: bytes, layout: Layout, overlay_bits: frozenset[int]) -> int:
    """How many bits of its words a code stream has kept as they were; 0 where it has not, or has no unused ones.

    Not where values may have been changed: an error of one could carry into another bit. JPEG 2000 says itself
    what its values are, and is only taken for words where the file says that a drawing lies in them.
    """
    syntax, format_ = layout.header.transfer_syntax_uid, layout.format
    if syntax in JPEG_2000_SYNTAXES:
        stream = code_stream.jpeg_2000_precision(data) if overlay_bits and syntax in _EXACT_JPEG_2000 else None
        return stream[0] if stream is not None and stream[0] > max(overlay_bits) else 0
    if syntax not in _EXACT and not (syntax == JPEG_LS_NEAR and code_stream.jpeg_ls_near(data) == 0):
        return 0
    return format_.bits_allocated if syntax == RLE else code_stream.jpeg_precision(data) or 0


def _without_unused_bits(pixels: np.ndarray, precision: int, layout: Layout) -> np.ndarray:
    """Remove what old files keep beside the stored bits (overlays), as uncompressed pixels are cleaned."""
    format_ = layout.format
    if precision <= format_.bits_stored:
        return pixels
    plain = pixels.view(f"u{pixels.dtype.itemsize}")
    below = format_.high_bit + 1 - format_.bits_stored if precision > format_.high_bit else 0
    return np.asarray((plain >> below) & plain.dtype.type((1 << format_.bits_stored) - 1))


def _with_sign_of_stream(pixels: np.ndarray, data: bytes, layout: Layout, caveats: list[Caveat]) -> np.ndarray:
    """Give the decoded pixels of JPEG 2000 the type that the code stream says, which counts before the header."""
    format_ = layout.format
    is_signed, bits = format_.is_signed, format_.bits_stored
    stream = code_stream.jpeg_2000_precision(data)
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
    return _with_sign(pixels, is_signed, bits)


def _with_sign(pixels: np.ndarray, is_signed: bool, bits: int) -> np.ndarray:
    """Give decoded pixels of so many bits the type that they are said to have."""
    size = pixels.dtype.itemsize
    if not is_signed:
        return pixels if pixels.dtype.kind == "u" else pixels.view(f"u{size}")
    signed = pixels.view(f"i{size}")
    shift = 8 * size - bits
    if shift > 0 and pixels.dtype.kind == "u":
        return np.asarray((signed << shift) >> shift)
    return signed


def _without_palette(layout: Layout) -> str:
    photometric = layout.format.photometric
    return "MONOCHROME2" if photometric == "PALETTE COLOR" else photometric


def _to_stored(samples: np.ndarray, layout: Layout) -> np.ndarray:
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
