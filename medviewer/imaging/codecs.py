"""Which decoder reads which compressed transfer syntax: a table of plain functions.

Only worker processes call these (see :mod:`medviewer.imaging.decode_worker`), because
some of the libraries behind them crash or hang on damaged data. The order within a row
is the order in which they are tried: first what is fast and survived mutated data best,
then what reads more. A library that is not installed is passed over.

None of them converts colours: what a code stream's own transform hides (JPEG 2000's
RCT and ICT) comes out as RGB, everything else as the file's photometric interpretation
says, and :mod:`medviewer.imaging.photometric` does the rest in one place.

Source: PS3.5 annex A.4 and section 8.2.
"""

from __future__ import annotations

import contextlib
import importlib
import struct
import sys
from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

import numpy as np

from medviewer.domain.frozen import dataclass
from medviewer.imaging import code_stream
from medviewer.imaging.jpeg_check import decode_if_whole, ends_elsewhere

JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
JPEG_SPECTRAL = "1.2.840.10008.1.2.4.53"
JPEG_PROGRESSIVE = "1.2.840.10008.1.2.4.55"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.57"
JPEG_LOSSLESS_FIRST_ORDER = "1.2.840.10008.1.2.4.70"
JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_LS_NEAR = "1.2.840.10008.1.2.4.81"
JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.90"
JPEG_2000 = "1.2.840.10008.1.2.4.91"
HTJ2K_LOSSLESS = "1.2.840.10008.1.2.4.201"
HTJ2K_LOSSLESS_RPCL = "1.2.840.10008.1.2.4.202"
HTJ2K = "1.2.840.10008.1.2.4.203"
RLE = "1.2.840.10008.1.2.5"

JPEG_2000_SYNTAXES = frozenset({JPEG_2000_LOSSLESS, JPEG_2000, HTJ2K_LOSSLESS, HTJ2K_LOSSLESS_RPCL, HTJ2K})
JPEG_SYNTAXES = frozenset(
    {JPEG_BASELINE, JPEG_EXTENDED, JPEG_SPECTRAL, JPEG_PROGRESSIVE, JPEG_LOSSLESS, JPEG_LOSSLESS_FIRST_ORDER}
)
JPEG_LS_SYNTAXES = frozenset({JPEG_LS, JPEG_LS_NEAR})
LOSSY_SYNTAXES = frozenset({JPEG_BASELINE, JPEG_EXTENDED, JPEG_SPECTRAL, JPEG_PROGRESSIVE})
MAYBE_LOSSY_SYNTAXES = frozenset({JPEG_LS_NEAR, JPEG_2000, HTJ2K})


class FrameSpec(NamedTuple):
    """What a decoder must give, from the DICOM header."""

    transfer_syntax_uid: str
    rows: int
    columns: int
    samples: int
    bits_allocated: int
    bits_stored: int
    is_signed: bool
    photometric: str
    planar: int


@dataclass(frozen=True, slots=True)
class Codec:
    """One decoder: ``decode(data, spec)`` gives ``(rows, columns)`` or ``(rows, columns, samples)``."""

    name: str
    decode: Callable[[bytes, FrameSpec], np.ndarray]


def _imagecodecs() -> ModuleType:
    import imagecodecs  # noqa: PLC0415 - heavy, and only workers may load it

    return imagecodecs


def _imagecodecs_jpeg(data: bytes, spec: FrameSpec) -> np.ndarray:
    # Naming the same space for both ends keeps libjpeg from guessing a conversion; the file's own word counts.
    space = None if spec.samples == 1 else "rgb" if spec.photometric == "RGB" else "ycbcr"
    return np.asarray(_imagecodecs().jpeg8_decode(data, colorspace=space, outcolorspace=space))


def _imagecodecs_lossless_jpeg(data: bytes, spec: FrameSpec) -> np.ndarray:  # noqa: ARG001 - the common signature
    return np.asarray(_imagecodecs().jpegsof3_decode(data))


def _imagecodecs_jpeg_ls(data: bytes, spec: FrameSpec) -> np.ndarray:  # noqa: ARG001
    return np.asarray(_imagecodecs().jpegls_decode(data))


def _imagecodecs_jpeg_2000(data: bytes, spec: FrameSpec) -> np.ndarray:  # noqa: ARG001
    return np.asarray(_imagecodecs().jpeg2k_decode(data, planar=False, numthreads=1))


def _openjpeg(data: bytes, spec: FrameSpec) -> np.ndarray:  # noqa: ARG001
    import openjpeg  # noqa: PLC0415 - only workers may load it

    return np.asarray(openjpeg.decode(data))  # type: ignore[attr-defined]


def _charls(data: bytes, spec: FrameSpec) -> np.ndarray:
    import jpeg_ls  # noqa: PLC0415 - only workers may load it

    buffer, info = jpeg_ls.decode_pixel_data(data)
    samples = int(info["components"])
    flat = np.frombuffer(buffer, np.uint8 if int(info["bits_per_sample"]) <= 8 else np.uint16)
    if samples > 1 and int(info["interleave_mode"]) == 0:
        return flat.reshape(samples, spec.rows, spec.columns).transpose(1, 2, 0)
    return flat.reshape((spec.rows, spec.columns, samples) if samples > 1 else (spec.rows, spec.columns))


def _pylibjpeg_rle(data: bytes, spec: FrameSpec) -> np.ndarray:
    from rle.utils import decode_pixel_data  # noqa: PLC0415 - only workers may load it

    buffer = decode_pixel_data(
        data,
        version=2,
        rows=spec.rows,
        columns=spec.columns,
        samples_per_pixel=spec.samples,
        bits_allocated=spec.bits_allocated,
        byteorder="<",
    )
    return _planes(np.frombuffer(buffer, f"<u{spec.bits_allocated // 8}"), spec)


def _own_rle(data: bytes, spec: FrameSpec) -> np.ndarray:
    """Read RLE in plain Python (PS3.5 annex G): slow, but it reads what the fast one refuses."""
    width = spec.bits_allocated // 8
    count, *offsets = struct.unpack_from("<16I", data)
    if count != width * spec.samples:
        raise ValueError(f"{count} RLE segments where {width * spec.samples} are needed")
    ends = [*offsets[1:count], len(data)]
    pixels = spec.rows * spec.columns
    segments = [_rle_segment(data[begin:end], pixels) for begin, end in zip(offsets[:count], ends, strict=True)]
    # Segments come most significant byte first, sample by sample.
    stacked = np.stack(segments).reshape(spec.samples, width, pixels)
    values = np.zeros((spec.samples, pixels), f"<u{width}")
    for index in range(width):
        values |= stacked[:, index].astype(values.dtype) << (8 * (width - 1 - index))
    return _planes(values.ravel(), spec)


def _rle_segment(data: bytes, pixels: int) -> np.ndarray:
    out = bytearray()
    position = 0
    while position < len(data) - 1 and len(out) < pixels:
        control = data[position]
        if control < 128:
            out += data[position + 1 : position + 2 + control]
            position += control + 2
        elif control > 128:
            out += data[position + 1 : position + 2] * (257 - control)
            position += 2
        else:
            position += 1
    if len(out) < pixels:
        raise ValueError("an RLE segment ends early")
    return np.frombuffer(bytes(out[:pixels]), np.uint8)


def _planes(flat: np.ndarray, spec: FrameSpec) -> np.ndarray:
    if spec.samples == 1:
        return flat.reshape(spec.rows, spec.columns)
    return flat.reshape(spec.samples, spec.rows, spec.columns).transpose(1, 2, 0)


def _gdcm(data: bytes, spec: FrameSpec) -> np.ndarray:
    # python-gdcm imports a module "dl" that no longer exists; a file of that name in the
    # working directory would be run. None in its place makes the import fail instead.
    sys.modules.setdefault("dl", None)  # type: ignore[arg-type]
    import gdcm  # noqa: PLC0415 - only workers may load it

    gdcm.Trace.WarningOff()
    gdcm.Trace.ErrorOff()
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(data)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((spec.columns, spec.rows, 1))
    image.SetDataElement(element)
    kind = gdcm.PhotometricInterpretation.GetPIType(spec.photometric)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
    if spec.samples > 1:
        image.SetPlanarConfiguration(spec.planar)
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(spec.transfer_syntax_uid)))
    image.SetPixelFormat(
        gdcm.PixelFormat(spec.samples, spec.bits_allocated, spec.bits_stored, spec.bits_stored - 1, int(spec.is_signed))
    )
    buffer = image.GetBuffer().encode("utf-8", "surrogateescape")
    flat = np.frombuffer(buffer, f"<u{spec.bits_allocated // 8}")
    if spec.samples > 1 and spec.planar == 1 and spec.transfer_syntax_uid not in JPEG_LS_SYNTAXES:
        return _planes(flat, spec)
    return flat.reshape((spec.rows, spec.columns, spec.samples) if spec.samples > 1 else (spec.rows, spec.columns))


_LOSSY_JPEG = (Codec("libjpeg-turbo", _imagecodecs_jpeg), Codec("gdcm", _gdcm))
_LOSSLESS_JPEG = (
    Codec("libjpeg-turbo", _imagecodecs_jpeg),
    Codec("jpegsof3", _imagecodecs_lossless_jpeg),
    Codec("gdcm", _gdcm),
)
_JPEG_LS = (Codec("pyjpegls", _charls), Codec("imagecodecs", _imagecodecs_jpeg_ls), Codec("gdcm", _gdcm))
_JPEG_2000 = (Codec("openjpeg", _openjpeg), Codec("imagecodecs", _imagecodecs_jpeg_2000), Codec("gdcm", _gdcm))
_HTJ2K = (Codec("openjpeg", _openjpeg), Codec("imagecodecs", _imagecodecs_jpeg_2000))

CODECS: dict[str, tuple[Codec, ...]] = {
    JPEG_BASELINE: _LOSSY_JPEG,
    JPEG_EXTENDED: _LOSSY_JPEG,
    JPEG_SPECTRAL: (Codec("libjpeg-turbo", _imagecodecs_jpeg),),
    JPEG_PROGRESSIVE: (Codec("libjpeg-turbo", _imagecodecs_jpeg),),
    JPEG_LOSSLESS: _LOSSLESS_JPEG,
    JPEG_LOSSLESS_FIRST_ORDER: _LOSSLESS_JPEG,
    JPEG_LS: _JPEG_LS,
    JPEG_LS_NEAR: _JPEG_LS,
    JPEG_2000_LOSSLESS: _JPEG_2000,
    JPEG_2000: _JPEG_2000,
    HTJ2K_LOSSLESS: _HTJ2K,
    HTJ2K_LOSSLESS_RPCL: _HTJ2K,
    HTJ2K: _HTJ2K,
    RLE: (Codec("pylibjpeg-rle", _pylibjpeg_rle), Codec("own", _own_rle)),
}


def preload() -> None:
    """Import the usual libraries ahead of the first frame, so that its deadline is for decoding alone."""
    for name in ("imagecodecs", "imagecodecs._jpeg8", "PIL.Image", "openjpeg", "rle", "jpeg_ls"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


class Decoded(NamedTuple):
    """A frame as a codec gave it, and what the codecs tried before it said."""

    pixels: np.ndarray
    codec: str
    refusals: tuple[str, ...]
    is_doubtful: bool = False  # the code stream ends before or after the picture


class NoCodecError(Exception):
    """No decoder could read the frame; the message says what each one answered."""


def decode_with_codecs(data: bytes, spec: FrameSpec) -> Decoded:
    """Decode one compressed frame with the first codec that gives an array of the right shape.

    Raises:
        NoCodecError: none did.
    """
    shape = (spec.rows, spec.columns) if spec.samples == 1 else (spec.rows, spec.columns, spec.samples)
    size = None if spec.transfer_syntax_uid == RLE else code_stream.size(data)
    if size is not None and size != (spec.rows, spec.columns, spec.samples):
        # Some decoders would fit the values into the promised shape, as a sheared picture.
        raise NoCodecError(
            f"they are {size[1]} x {size[0]} with {size[2]} samples, not {spec.columns} x {spec.rows} "
            f"with {spec.samples} as the header says"
        )
    whole = _strictly(data, spec)
    if whole is not None and whole.shape == shape:
        return Decoded(whole, "libjpeg-turbo", ())
    refusals: list[str] = []
    for codec in CODECS[spec.transfer_syntax_uid]:
        try:
            pixels = codec.decode(data, spec)
        except ImportError:
            refusals.append(f"{codec.name} is not installed")
            continue
        except Exception as error:  # noqa: BLE001 - each library has its own errors; the next one is tried
            refusals.append(f"{codec.name}: {str(error) or type(error).__name__}")
            continue
        if pixels.shape == (*shape, 1):
            pixels = pixels[..., 0]
        if pixels.shape == shape and pixels.dtype.kind in "iu" and pixels.dtype.itemsize <= 4:
            return Decoded(pixels, codec.name, tuple(refusals), _is_doubtful(data, pixels, spec))
        refusals.append(f"{codec.name}: gives {pixels.shape} {pixels.dtype} where {shape} is promised")
    raise NoCodecError("; ".join(refusals))


def _strictly(data: bytes, spec: FrameSpec) -> np.ndarray | None:
    """Decode a frame in the one way that notices damage at no cost; None where it does not apply, or found some."""
    if spec.transfer_syntax_uid not in (JPEG_BASELINE, JPEG_EXTENDED) or spec.samples > 1:
        return None
    try:
        return decode_if_whole(data)
    except Exception:  # noqa: BLE001 - as with any decoder; the next one is tried
        return None


def _is_doubtful(data: bytes, pixels: np.ndarray, spec: FrameSpec) -> bool:
    """Whether a decoder has filled in or passed over something; it does so in silence."""
    if spec.transfer_syntax_uid not in JPEG_SYNTAXES:
        return False
    try:
        return ends_elsewhere(data, pixels)
    except ImportError:
        return False
    except Exception:  # noqa: BLE001 - damaged tables and lengths fail in many ways; a healthy stream in none
        return True
