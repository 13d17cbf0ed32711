"""A picture of a result as a DICOM secondary capture, for archives that show nothing else.

The picture leaves MedViewer, so that what it is has to be burnt into its pixels:
a research result. The words stand in a strip below the image, never on the anatomy.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import SecondaryCaptureImageStorage

from medviewer.domain.errors import UsageError
from medviewer.domain.study import Image
from medviewer.imaging.derived_object import BANNER, now_at, read_header, start_object, write_object
from medviewer.imaging.orientation import orientation_letters
from medviewer.resources import resource

_SERIES_NUMBER = 9802
_LEAST_WIDTH = 512  # columns; a smaller image gets a wider canvas, or its words could not be read
_LEAST_FONT = 14  # pixels
_STRIP, _CAUTION, _WORDS = (16, 18, 22), (255, 191, 64), (235, 238, 242)
_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def write_secondary_capture(source: Image, rgb: np.ndarray, *, text: Sequence[str], path: Path) -> None:
    """Write a picture of the source image, with a result on it, into the source's study.

    The picture keeps its place at the top left, pixel on pixel with the source, so
    that sides and directions stay what they were; the canvas grows downwards (and
    to the right for small images) for the banner and the text. It carries no pixel
    spacing: results are to be read here, not measured.

    Args:
        source: the image that the picture shows, not turned, flipped or cropped.
        rgb: ``(rows, columns, 3)`` uint8, of the source's size.
        text: lines below the banner, for example one a finding.
        path: where the file goes.

    Raises:
        UsageError: the picture is not 8-bit RGB of the source's size.
        InputError: the source's file is gone or is another one now.
        StorageError: the disk is full, read-only or gone; no half file remains.

    Source: PS3.3 A.8.1 (Secondary Capture Image IOD), C.7.6.1 (General Image), C.8.6.
    """
    rows, columns = source.description.rows, source.description.columns
    if rgb.dtype != np.uint8 or rgb.shape != (rows, columns, 3):
        raise UsageError(
            f"A capture of this image needs 8-bit RGB of {rows} rows and {columns} columns, not turned or cropped."
        )
    header = read_header(source)
    pixels = with_strip(rgb, text)
    capture = start_object(
        header, sop_class_uid=SecondaryCaptureImageStorage, modality="OT", series_number=_SERIES_NUMBER
    )
    _describe(capture, header, source, text)
    _set_pixels(capture, pixels)
    write_object(capture, header, path)


def with_strip(rgb: np.ndarray, text: Sequence[str]) -> np.ndarray:
    """Give the picture with a strip below it that holds the banner and the text.

    Args:
        rgb: ``(rows, columns, 3)`` uint8; comes back unchanged at the top left.
        text: lines; long ones are wrapped.

    Returns:
        ``(rows + strip, max(columns, 512), 3)`` uint8.
    """
    rows, columns = rgb.shape[:2]
    width = max(columns, _LEAST_WIDTH)
    size = max(_LEAST_FONT, width // 56)
    font = _font(size)
    margin = size // 2
    lines = _wrapped(BANNER, font, width - 2 * margin)
    n_banner = len(lines)
    for line in text:
        lines += _wrapped(_drawable(line, font), font, width - 2 * margin)
    step = size * 4 // 3
    height = rows + 2 * margin + step * len(lines)
    if max(height, width) > 65_535:
        raise UsageError("The image is too large for a DICOM capture with text; save the overlay as PNG instead.")
    canvas = PillowImage.new("RGB", (width, height), _STRIP)
    canvas.paste(PillowImage.fromarray(rgb), (0, 0))
    draw = ImageDraw.Draw(canvas)
    for i, line in enumerate(lines):
        fill = _CAUTION if i < n_banner else _WORDS
        draw.text((margin, rows + margin + i * step), line, font=font, fill=fill)
    return np.asarray(canvas)


def _font(size: int) -> _Font:
    """The window's own font where it is bundled, else the one inside Pillow."""
    for name in ("Inter.ttf", "InterVariable.ttf", "Inter-Regular.ttf"):
        try:
            return ImageFont.truetype(str(resource(f"fonts/{name}")), size)
        except OSError:  # not bundled under this name, or unreadable: words matter more than their shape
            continue
    return ImageFont.load_default(size)


def _drawable(text: str, font: _Font) -> str:
    """Put a question mark for what the font has no shape for: an empty box would say nothing."""
    missing = bytes(font.getmask("\U0010ffff"))
    return "".join(c if c.isspace() or bytes(font.getmask(c)) != missing else "?" for c in text)


def _wrapped(text: str, font: _Font, width: int) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines or [""]


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
    letters = orientation_letters(source.description)
    capture.PatientOrientation = [letters.right, letters.bottom] if letters.right and letters.bottom else None
    # Which side it is: whatever the source says of it, and nothing that it does not.
    for keyword in ("BodyPartExamined", "Laterality", "ImageLaterality", "AnatomicRegionSequence"):
        if header.get(keyword):
            capture[keyword] = header[keyword]
    # Once lossy, always lossy (PS3.3 C.7.6.1.1.5).
    for keyword in ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"):
        if header.get(keyword) is not None:
            capture[keyword] = header[keyword]
    if source.description.is_lossy:
        capture.LossyImageCompression = "01"
    capture.SourceImageSequence = [_reference(header, source)]


def _reference(header: Dataset, source: Image) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID = header.SOPClassUID
    reference.ReferencedSOPInstanceUID = header.SOPInstanceUID
    if source.number_of_frames > 1:
        reference.ReferencedFrameNumber = source.frame + 1
    purpose = Dataset()
    code = codes.DCM.SourceImageForImageProcessingOperation
    purpose.CodeValue, purpose.CodingSchemeDesignator, purpose.CodeMeaning = code.value, "DCM", code.meaning
    reference.PurposeOfReferenceCodeSequence = [purpose]
    reference.SpatialLocationsPreserved = "YES"
    return reference


def _set_pixels(capture: Dataset, pixels: np.ndarray) -> None:
    capture.Rows, capture.Columns = pixels.shape[:2]
    capture.SamplesPerPixel = 3
    capture.PhotometricInterpretation = "RGB"
    capture.PlanarConfiguration = 0
    capture.BitsAllocated = capture.BitsStored = 8
    capture.HighBit = 7
    capture.PixelRepresentation = 0
    content = pixels.tobytes()
    capture.PixelData = content + b"\0" * (len(content) % 2)
