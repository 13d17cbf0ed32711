"""How the samples of an image lie in its file, checked before a byte of them is read or allocated."""

from __future__ import annotations

from collections.abc import Hashable

from medviewer.domain.errors import InputError, NoPixelsError, TooLargeError, TruncatedError, UnsupportedError
from medviewer.domain.frozen import dataclass
from medviewer.domain.study import Caveat
from medviewer.imaging import tags
from medviewer.imaging.codecs import CODECS
from medviewer.imaging.dataset import DataSet
from medviewer.imaging.header import NATIVE_SYNTAXES, Header, uid_name

RT_STRUCTURE_SET_STORAGE = "1.2.840.10008.5.1.4.1.1.481.3"
PRESENTATION_STATES = "1.2.840.10008.5.1.4.1.1.11."
"""With which the SOP Classes of all presentation states begin."""
MAX_FRAME_BYTES = 2**30
MAX_OBJECT_BYTES = 64 * 2**30
MAX_FRAMES = 100_000
MAX_EXPANSION = 1000  # claimed pixels over the size of the file
# All that a format is made of. The slices of a series say the same, and it is asked for at each of them.
_TAGS = (
    tags.ROWS, tags.COLUMNS, tags.BITS_ALLOCATED, tags.BITS_STORED, tags.HIGH_BIT, tags.SAMPLES_PER_PIXEL,
    tags.PHOTOMETRIC_INTERPRETATION, tags.PLANAR_CONFIGURATION, tags.PIXEL_REPRESENTATION, tags.NUMBER_OF_FRAMES,
)  # fmt: skip
_MAX_KNOWN = 64
_MAX_KNOWN_BYTES = 256  # a hostile file's values may be of any length
_GREY_SPACES = frozenset({"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"})
_COLOR_SPACES = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT"})


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """How the samples of one frame lie in the file (PS3.3 C.7.6.3)."""

    rows: int
    columns: int
    samples: int
    photometric: str
    planar: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    is_signed: bool
    is_float: bool
    frames: int
    guesses: tuple[Caveat, ...] = ()  # what the file had to say and does not

    @property
    def frame_bits(self) -> int:
        """Bits of one frame as it is stored uncompressed."""
        samples = 2 if self.photometric == "YBR_FULL_422" and self.samples == 3 else self.samples
        return self.rows * self.columns * samples * self.bits_allocated

    @property
    def used_bits(self) -> range:
        """The bits of a sample that hold its value; old files keep overlays in the others."""
        return range(self.high_bit + 1 - self.bits_stored, self.high_bit + 1)


_NO_PHOTOMETRIC = Caveat(
    "photometric.guessed", "The file does not say whether small values are dark: shown as if they were."
)
_NO_SIGN = Caveat(
    "sign.guessed", "The file does not say whether its values can be negative: read as if they could not."
)

_known: dict[Hashable, PixelFormat] = {}


def read_pixel_format(header: Header) -> PixelFormat:
    """Give the layout of the pixels, after checking that it makes sense and fits the file.

    Raises:
        NoPixelsError: a valid object without an image.
        TruncatedError: the file ends before its pixels.
        TooLargeError: the claimed size is beyond the budget, or absurd for the file's size.
        UnsupportedError: a layout that MedViewer does not read.
        InputError: contradictory or missing numbers.
    """
    dataset, pixels = header.dataset, header.pixels
    if pixels is None:
        raise _no_pixels(header)
    is_float = pixels.tag != tags.PIXEL_DATA
    key = (
        is_float, dataset.is_little_endian, dataset.character_sets,
        tuple(map(dataset.values.get, _TAGS)), tuple(map(dataset.representations.get, _TAGS)),
    )  # fmt: skip
    format_ = _known.get(key)
    if format_ is None:
        format_ = _read_format(dataset, is_float=is_float)
        if len(_known) >= _MAX_KNOWN:
            _known.clear()
        if sum(len(dataset.values.get(tag, b"")) for tag in _TAGS) <= _MAX_KNOWN_BYTES:
            _known[key] = format_
    _check_readable(header, format_)
    check_size(format_, header)
    return format_


def _read_format(dataset: DataSet, *, is_float: bool) -> PixelFormat:
    rows, columns = dataset.integer(tags.ROWS), dataset.integer(tags.COLUMNS)
    if not rows or not columns or rows < 0 or columns < 0:
        raise InputError("The file's header does not say how many rows and columns the image has; it cannot be shown.")
    bits_allocated = dataset.integer(tags.BITS_ALLOCATED) or 0
    bits_stored = dataset.integer(tags.BITS_STORED) or bits_allocated
    high_bit = dataset.integer(tags.HIGH_BIT)
    photometric = dataset.text(tags.PHOTOMETRIC_INTERPRETATION)
    sign = dataset.integer(tags.PIXEL_REPRESENTATION)
    guesses: tuple[Caveat, ...] = () if photometric else (_NO_PHOTOMETRIC,)
    guesses += () if is_float or sign in (0, 1) else (_NO_SIGN,)
    format_ = PixelFormat(
        rows=rows,
        columns=columns,
        samples=dataset.integer(tags.SAMPLES_PER_PIXEL) or 1,
        photometric=photometric or "MONOCHROME2",
        planar=dataset.integer(tags.PLANAR_CONFIGURATION) or 0,
        bits_allocated=bits_allocated,
        bits_stored=bits_stored,
        high_bit=bits_stored - 1 if high_bit is None else high_bit,
        is_signed=sign == 1,
        is_float=is_float,
        frames=max(1, dataset.integer(tags.NUMBER_OF_FRAMES) or 1),
        guesses=guesses,
    )
    _check_format(format_)
    return format_


def _no_pixels(header: Header) -> InputError:
    if header.is_truncated:
        return TruncatedError("The file ends before its pixels; it is incomplete, ask for it to be sent again.")
    if header.sop_class_uid == RT_STRUCTURE_SET_STORAGE:
        return NoPixelsError("RT structures: understood; the panel Layers lays them over the images they belong to.")
    if header.sop_class_uid.startswith(PRESENTATION_STATES):
        return NoPixelsError(
            "A presentation state: understood; it is offered for the images that it names when they are opened with it."
        )
    name = uid_name(header.sop_class_uid) or "DICOM object"
    return NoPixelsError(f"{name}: understood, but it holds no image to show.")


def _check_format(format_: PixelFormat) -> None:
    if format_.samples not in (1, 3):
        raise UnsupportedError(
            f"Images with {format_.samples} samples a pixel are not supported; convert it to grey or RGB."
        )
    widths = (32, 64) if format_.is_float else (1, 8, 16, 32)
    if format_.bits_allocated not in widths:
        raise UnsupportedError(
            f"Pixels of {format_.bits_allocated} bits are not supported; export it with 8 or 16 bits a pixel."
        )
    if not 1 <= format_.bits_stored <= format_.bits_allocated:
        raise InputError(
            f"The header contradicts itself: {format_.bits_stored} bits stored in {format_.bits_allocated} allocated."
        )
    if not format_.bits_stored - 1 <= format_.high_bit < format_.bits_allocated:
        raise InputError(
            f"The header contradicts itself: high bit {format_.high_bit} for {format_.bits_stored} bits stored."
        )
    if format_.samples == 3 and format_.bits_allocated > 16:
        raise UnsupportedError("Colour images of more than 16 bits a sample are not supported; export it with 8 bits.")


def _check_readable(header: Header, format_: PixelFormat) -> None:
    """Refuse what no decoder here reads, by its name, before it is offered to the reader."""
    syntax = header.transfer_syntax_uid
    if header.is_encapsulated and syntax in NATIVE_SYNTAXES:
        raise InputError("The header says that the pixels are uncompressed, but they are not; ask for the file again.")
    if not header.is_encapsulated and syntax in CODECS:
        raise InputError("The header says that the pixels are compressed, but they are not; ask for the file again.")
    if syntax not in CODECS and syntax not in NATIVE_SYNTAXES:
        raise UnsupportedError(
            f"The transfer syntax {syntax} ({uid_name(syntax) or 'unknown'}) is not supported; "
            "convert the file to an uncompressed one with the program that made it."
        )
    known = _COLOR_SPACES if format_.samples == 3 else _GREY_SPACES
    if format_.photometric not in known:
        kind = "Colours" if format_.samples == 3 else "Grey values"
        raise UnsupportedError(
            f"{kind} stored as {format_.photometric} are not supported; export the image as RGB or MONOCHROME2."
        )


def check_size(format_: PixelFormat, header: Header) -> None:
    """Refuse what is beyond the budget, or absurd for the size of the file.

    Raises:
        TooLargeError: it is.
    """
    frame_bytes = format_.frame_bits / 8
    claimed = frame_bytes * format_.frames
    what = f"{format_.columns} x {format_.rows} pixels x {format_.frames:,} frames"
    if frame_bytes > MAX_FRAME_BYTES:
        raise TooLargeError(
            f"The file claims {what}: a frame of {_size(frame_bytes)} is over the limit of {_size(MAX_FRAME_BYTES)}; "
            "ask for it to be sent again."
        )
    if claimed > MAX_OBJECT_BYTES or format_.frames > MAX_FRAMES:
        raise TooLargeError(
            f"The file claims {what} ({_size(claimed)}); the limit is {MAX_FRAMES:,} frames "
            f"and {_size(MAX_OBJECT_BYTES)}."
        )
    if claimed > MAX_EXPANSION * header.content_size:
        raise TooLargeError(
            f"The file claims {what} ({_size(claimed)}) but holds only {_size(header.content_size)}; "
            "it is damaged, ask for it to be sent again."
        )


def _size(count: float) -> str:
    for unit in ("bytes", "KB", "MB", "GB", "TB"):
        if count < 1024 or unit == "TB":
            break
        count /= 1024
    return f"{count:.3g} {unit}"


def is_native(header: Header) -> bool:
    """Whether the pixels are uncompressed."""
    return header.transfer_syntax_uid in NATIVE_SYNTAXES and not header.is_encapsulated
