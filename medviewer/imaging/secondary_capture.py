"""A picture of a result as a DICOM secondary capture, for archives that show nothing else.

The picture leaves MedViewer, so that what it is has to be burnt into its pixels:
a research result. The words stand in a strip below the image, never on the anatomy;
only the letters of the patient's sides stand at its edges, as in every viewer: a
picture that travels alone must say which side is which.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from medviewer.domain.errors import UsageError
from medviewer.domain.study import Image
from medviewer.imaging.derived_frame import describe_shape, describe_side, reference_to
from medviewer.imaging.derived_object import BANNER, now_at, read_header, start_object, write_object
from medviewer.imaging.orientation import Letters, orientation_letters
from medviewer.resources import resource

_SERIES_NUMBER = 9802
_LEAST_WIDTH = 512  # columns; a smaller image gets a wider canvas, or its words could not be read
_LEAST_FONT = 14  # pixels
_LEAST_LETTERED = 5  # sizes of the letters that an image must have each way to bear them
_STRIP, _CAUTION, _WORDS = (16, 18, 22), (255, 191, 64), (235, 238, 242)
_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
_NO_LETTERS = Letters("", "", "", "")


class Caution(str):
    """A line of the text that warns: it is drawn in the colour of warnings."""

    __slots__ = ()


def write_secondary_capture(source: Image, rgb: np.ndarray, *, text: Sequence[str], path: Path) -> None:
    """Write a picture of the source image, with a result on it, into the source's study.

    The picture keeps its place at the top left, pixel on pixel with the source, so
    that sides and directions stay what they were; the canvas grows downwards (and
    to the right for small images) for the banner and the text. It carries no pixel
    spacing: results are to be read here, not measured. The shape of a pixel stays the source's.

    Args:
        source: the image that the picture shows, not turned, flipped or cropped.
        rgb: ``(rows, columns, 3)`` uint8, of the source's size.
        text: lines below the banner, for example one a finding; a :class:`Caution` is in amber.
        path: where the file goes.

    Raises:
        UsageError: the picture is not 8-bit RGB of the source's size.
        InputError: the source's file is gone or is another one now.
        StorageError: the disk is full, read-only or gone; no half file remains.

    Source: PS3.3 A.8.1 (Secondary Capture Image IOD), C.7.6.1 (General Image), C.7.6.3.1.7 (Pixel Aspect Ratio), C.8.6.
    """
    rows, columns = source.description.rows, source.description.columns
    if rgb.dtype != np.uint8 or rgb.shape != (rows, columns, 3):
        raise UsageError(
            f"A capture of this image needs 8-bit RGB of {rows} rows and {columns} columns, not turned or cropped."
        )
    header = read_header(source)
    pixels = with_strip(rgb, text, orientation_letters(source.description))
    capture = start_object(
        header, sop_class_uid=SecondaryCaptureImageStorage, modality="OT", series_number=_SERIES_NUMBER
    )
    _describe(capture, header, source, text)
    _set_pixels(capture, pixels)
    describe_shape(capture, source)
    write_object(capture, header, path)


def with_strip(rgb: np.ndarray, text: Sequence[str], letters: Letters = _NO_LETTERS) -> np.ndarray:
    """Give the picture with a strip below it that holds the banner and the text.

    Args:
        rgb: ``(rows, columns, 3)`` uint8; comes back at the top left, unchanged but for the letters.
        text: lines; long ones are wrapped.
        letters: the patient's sides at the four edges; empty where nothing is known.

    Returns:
        ``(rows + strip, max(columns, 512), 3)`` uint8.
    """
    rows, columns = rgb.shape[:2]
    width = max(columns, _LEAST_WIDTH)
    size = max(_LEAST_FONT, width // 56)
    fonts = _fonts(size)
    margin = size // 2
    lines = [
        (line, _CAUTION if isinstance(words, Caution) else _WORDS)
        for words in (Caution(BANNER), *text)
        for line in _wrapped(words, fonts, width - 2 * margin)
    ]
    step = size * 4 // 3
    height = rows + 2 * margin + step * len(lines)
    if max(height, width) > 65_535:
        raise UsageError("The image is too large for a DICOM capture with text; save the overlay as PNG instead.")
    canvas = PillowImage.new("RGB", (width, height), _STRIP)
    canvas.paste(PillowImage.fromarray(rgb), (0, 0))
    draw = ImageDraw.Draw(canvas)
    _draw_letters(draw, letters, rows, columns, size)
    for i, (line, color) in enumerate(lines):
        x, baseline = float(margin), rows + margin + i * step + size
        for font, run in _runs(line, fonts):
            draw.text((x, baseline), run, font=font, fill=color, anchor="ls")
            x += font.getlength(run)
    return np.asarray(canvas)


def _draw_letters(draw: ImageDraw.ImageDraw, letters: Letters, rows: int, columns: int, size: int) -> None:
    """Put each letter in the middle of its edge, with a dark rim that keeps it readable on white bone."""
    if min(rows, columns) < _LEAST_LETTERED * size:
        return  # they would meet in the middle of so small a picture, and hide it
    font, rim = _fonts(size)[0], max(2, size // 8)
    margin = size // 2 + rim
    for words, place, anchor in (
        (letters.left, (margin, rows // 2), "lm"),
        (letters.right, (columns - margin, rows // 2), "rm"),
        (letters.top, (columns // 2, margin), "mt"),
        (letters.bottom, (columns // 2, rows - margin), "mb"),
    ):
        if words:
            draw.text(place, words, font=font, fill=_WORDS, anchor=anchor, stroke_width=rim, stroke_fill=_STRIP)


def _fonts(size: int) -> list[_Font]:
    """The window's own fonts, Latin before Chinese; the one inside Pillow is the last resort."""
    fonts: list[_Font] = []
    for name in ("fonts/Inter-Regular.otf", "fonts/NotoSansSC-Regular.otf"):
        # An incomplete installation must not cost the reader the words.
        with contextlib.suppress(OSError):
            fonts.append(_font(str(resource(name)), size))
    return [*fonts, _last_resort(size)]


@lru_cache(maxsize=8)
def _font(path: str, size: int) -> _Font:
    return ImageFont.truetype(path, size)


@lru_cache(maxsize=8)
def _last_resort(size: int) -> _Font:
    return ImageFont.load_default(size)


def _runs(text: str, fonts: Sequence[_Font]) -> list[tuple[_Font, str]]:
    """Split a line where the font has to change; "?" stands for what no font has, an empty box would say nothing."""
    runs: list[tuple[_Font, str]] = []
    for character in text:
        font = fonts[0] if character.isspace() else next((one for one in fonts if _draws(one, character)), None)
        drawn = character if font is not None else "?"
        font = font or fonts[0]
        if runs and runs[-1][0] is font:
            runs[-1] = (font, runs[-1][1] + drawn)
        else:
            runs.append((font, drawn))
    return runs


@lru_cache(maxsize=4096)
def _draws(font: _Font, character: str) -> bool:
    """Whether a font has a character. Asked for every one of a line that grows word by word: drawn once is enough."""
    return bytes(font.getmask(character)) != bytes(font.getmask("\U0010ffff"))


def _length(text: str, fonts: Sequence[_Font]) -> float:
    return sum(font.getlength(run) for font, run in _runs(text, fonts))


def _wrapped(text: str, fonts: Sequence[_Font], width: int) -> list[str]:
    """Break at spaces, and inside a word only where it is wider than the line, as Chinese is."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if _length(longer, fonts) <= width:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        for character in word:
            if lines[-1] and _length(lines[-1] + character, fonts) > width:
                lines.append("")
            lines[-1] += character
    return lines


def _describe(capture: Dataset, header: Dataset, source: Image, text: Sequence[str]) -> None:
    """Say what the picture is and which image it was made from."""
    now = now_at(header)
    capture.ConversionType = "WSD"
    capture.DateOfSecondaryCapture = now.strftime("%Y%m%d")
    capture.TimeOfSecondaryCapture = now.strftime("%H%M%S.%f")
    capture.SecondaryCaptureDeviceManufacturer = "MedViewer"
    capture.ImageType = ["DERIVED", "SECONDARY"]
    capture.BurnedInAnnotation = "YES"
    capture.DerivationDescription = "; ".join([BANNER, *text])[:1024]
    describe_side(capture, header, source)
    capture.SourceImageSequence = [reference_to(header, source)]


def _set_pixels(capture: Dataset, pixels: np.ndarray) -> None:
    capture.Rows, capture.Columns = pixels.shape[:2]
    capture.SamplesPerPixel = 3
    capture.PhotometricInterpretation = "RGB"
    capture.PlanarConfiguration = 0
    capture.BitsAllocated = capture.BitsStored = 8
    capture.HighBit = 7
    capture.PixelRepresentation = 0
    content = pixels.tobytes()
    capture.add_new("PixelData", "OB", content + b"\0" * (len(content) % 2))
