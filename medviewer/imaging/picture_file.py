"""PNG and JPEG pictures, as an addition to studies: of nobody, without a size in millimetres."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageOps

from medviewer.domain.errors import DecodeError, InputError, TooLargeError
from medviewer.domain.frame import Frame
from medviewer.domain.study import Caveat, Image, PixelDescription
from medviewer.imaging.volume_file import NO_IDENTITY

MAX_PIXELS = 80_000_000  # below Pillow's own limit, beyond which it warns and then refuses
_SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
_ORIENTATION = 0x0112  # EXIF 2.32, 4.6.4
_BOMBS = (PillowImage.DecompressionBombError, PillowImage.DecompressionBombWarning)
_DAMAGED = (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error, KeyError, IndexError, TypeError)
_GREY, _GREY_16 = ("1", "L", "LA"), ("I;16", "I;16B", "I;16L", "I")


def describe_picture(file: Path, shown: Path) -> Image | None:
    """Give the picture in a file, turned as its EXIF says; None if it is neither PNG nor JPEG.

    Raises:
        TooLargeError: more than ``MAX_PIXELS``.
        DecodeError: it is damaged.
    """
    with file.open("rb") as stream:
        head = stream.read(32)
    if not head.startswith(_SIGNATURES):
        return None
    try:
        with _opened(file) as picture:
            columns, rows = picture.size
            mode, turn = picture.mode, picture.getexif().get(_ORIENTATION, 1)
            is_animated = getattr(picture, "n_frames", 1) > 1
    except _DAMAGED as error:
        raise DecodeError("The picture is damaged; ask for it to be sent again.") from error
    if turn in (5, 6, 7, 8):
        rows, columns = columns, rows
    is_grey = mode in _GREY + _GREY_16
    description = PixelDescription(
        modality="",
        rows=rows,
        columns=columns,
        samples_per_pixel=1 if is_grey else 3,
        photometric_interpretation="MONOCHROME2" if is_grey else "RGB",
        bits_stored=16 if mode in _GREY_16 else 8,
        no_measuring_because="A picture does not say how large a pixel is.",
        is_lossy=head.startswith(_SIGNATURES[1]),
    )
    caveats = [NO_IDENTITY]
    if turn in range(2, 9):
        caveats.append(Caveat("picture.turned", "Shown turned as the camera noted in the file (EXIF)."))
    if mode in ("LA", "RGBA", "PA"):
        caveats.append(Caveat("picture.transparency", "The picture's transparency is not shown."))
    if head.startswith(_SIGNATURES[0]) and head[24] == 16 and not is_grey:
        caveats.append(Caveat("picture.bits", "The picture's 16-bit colours are shown with 8 bits."))
    if is_animated:
        caveats.append(Caveat("picture.animated", "Only the first frame of the animated picture is shown."))
    return Image(shown, 0, "", description, warnings=tuple(caveats), kind="picture", stamp=_stamp(file),
                 unpacked=None if file == shown else file)  # fmt: skip


def _opened(file: Path) -> PillowImage.Image:
    try:
        picture = PillowImage.open(file, formats=("PNG", "JPEG"))
    except _BOMBS as error:
        raise _too_large() from error
    if picture.size[0] * picture.size[1] > MAX_PIXELS:
        picture.close()
        raise _too_large()
    return picture


def _too_large() -> TooLargeError:
    return TooLargeError(f"The picture claims more than {MAX_PIXELS // 10**6} million pixels; it is not opened.")


def _stamp(file: Path) -> str:
    status = file.stat()
    with file.open("rb") as stream:
        return f"{status.st_size}:{status.st_mtime_ns}:{zlib.crc32(stream.read(4096))}"


def read_picture(image: Image) -> Frame:
    """Read a picture's pixels: uint8 or uint16 grey, or RGB of 8 bits.

    Raises:
        InputError: the file is gone, changed or damaged.
    """
    if _stamp(image.file) != image.stamp:
        raise InputError("The file has changed since it was opened; open it again.")
    try:
        with _opened(image.file) as picture:
            turned = ImageOps.exif_transpose(picture)
            if turned.mode in _GREY_16:
                stored = np.array(turned).astype(np.uint16)
            else:
                stored = np.array(turned.convert("L" if turned.mode in _GREY else "RGB"))
    except _DAMAGED as error:
        raise DecodeError("The picture is damaged; ask for it to be sent again.") from error
    stored.setflags(write=False)
    if stored.shape[:2] != (image.description.rows, image.description.columns):
        raise InputError("The file has changed since it was opened; open it again.")
    return Frame(stored, image.description, image.warnings)
