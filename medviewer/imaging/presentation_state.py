"""How an image was looked at, and what was drawn on it, as a DICOM presentation state (GSPS).

An archive can then show the image as the reader saw it: window, inversion, turns and flips, with
lines and numbers as graphics. Pixels are not copied, and nothing in it is measured again: for
numbers that software can use there is the structured report.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.valuerep import DSfloat

from medviewer.domain.errors import UsageError
from medviewer.domain.frozen import dataclass
from medviewer.domain.measurement import Point, Quantity
from medviewer.domain.shutter import Shutters
from medviewer.domain.study import Image, LookUpTable, PixelDescription, Window
from medviewer.imaging.derived_object import copy_elements, now_at, read_header, start_object, write_object
from medviewer.imaging.display import own_table
from medviewer.imaging.measurement_report import MEASUREMENT_BANNER, Measured, check_measured
from medviewer.imaging.measurement_shapes import graphics_of

_GSPS_STORAGE = "1.2.840.10008.5.1.4.1.1.11.1"
_SERIES_NUMBER = 9804
_LAYER = "MEASUREMENTS"
_MOST_CHARACTERS = 1024  # VR ST


@dataclass(frozen=True, slots=True)
class Presentation:
    """How an image is looked at: as ``app.session.View`` has it, with the window that is really used.

    Turns are counter-clockwise quarters, after the flips. ``shutters`` are the image's own, where they are in use.
    """

    window: Window | None
    inverted: bool = False
    quarter_turns: int = 0
    flip_horizontal: bool = False
    flip_vertical: bool = False
    shutters: Shutters | None = None


def write_presentation_state(
    image: Image, presentation: Presentation, measured: Sequence[Measured], *, path: Path
) -> None:
    """Write how one frame is shown, and what was measured on it, as a GSPS file in its study.

    Args:
        image: a greyscale image.
        presentation: how it is looked at. Without a window the image's own VOI LUT is used, if it has one.
        measured: of this image and frame; none is fine.
        path: where the file goes.

    Raises:
        UsageError: a colour image, or what :func:`check_measured` refuses.
        InputError: the image's file is gone or is another one now.
        StorageError: the disk is full, read-only or gone; no half file remains.

    Source: PS3.3 A.33.1; C.11.10 (identification), C.11.11 (relationship), C.10.4 (displayed area), C.10.5 (graphic
    annotation), C.10.6 (spatial transformation), C.11.1, C.11.6, C.11.8 (look-up tables),
    C.11.12 (shutters).
    """
    if image.description.samples_per_pixel != 1 or image.description.photometric_interpretation == "PALETTE COLOR":
        raise UsageError("A colour image has no greyscale presentation; save a picture or a report instead.")
    check_measured(measured, image)
    header = read_header(image)
    state = start_object(header, sop_class_uid=_GSPS_STORAGE, modality="PR", series_number=_SERIES_NUMBER)
    state.SeriesDescription = MEASUREMENT_BANNER
    # Type 2C, as no body part is told here: the image's own, and empty where it says none.
    copy_elements(header, state, ["Laterality"])
    if "Laterality" not in state:
        state.Laterality = None
    now = now_at(header)
    state.PresentationCreationDate = now.strftime("%Y%m%d")
    state.PresentationCreationTime = now.strftime("%H%M%S.%f")
    state.ContentLabel = "MEASUREMENTS"
    state.ContentDescription = MEASUREMENT_BANNER
    state.ContentCreatorName = None
    reference = _reference(image, header)
    series = Dataset()
    series.SeriesInstanceUID = header.SeriesInstanceUID
    series.ReferencedImageSequence = [reference]
    state.ReferencedSeriesSequence = [series]
    _turn(state, presentation)
    state.DisplayedAreaSelectionSequence = [_displayed_area(image, presentation, reference)]
    _add_values(state, image.description, presentation)
    if presentation.shutters is not None:
        _add_shutters(state, presentation.shutters)
    if measured:
        state.GraphicAnnotationSequence = [_annotation(measured, image.description, reference)]
        state.GraphicLayerSequence = [_layer()]
    write_object(state, header, path)


def _reference(image: Image, header: Dataset) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID = header.SOPClassUID
    reference.ReferencedSOPInstanceUID = header.SOPInstanceUID
    if image.number_of_frames > 1:
        reference.ReferencedFrameNumber = image.frame + 1
    return reference


def _turn(state: Dataset, presentation: Presentation) -> None:
    """Say flips and turns as the standard does: first a clockwise turn, then at most a horizontal flip.

    Ours are flips, then counter-clockwise turns. A vertical flip is a horizontal one and half a turn;
    a turn after a flip is the opposite turn before it.
    """
    is_flipped = presentation.flip_horizontal != presentation.flip_vertical
    quarters = presentation.quarter_turns if is_flipped else -presentation.quarter_turns
    state.ImageRotation = 90 * ((quarters + 2 * presentation.flip_vertical) % 4)
    state.ImageHorizontalFlip = "Y" if is_flipped else "N"


def _displayed_area(image: Image, presentation: Presentation, reference: Dataset) -> Dataset:
    """Show the whole image: its pixels that come to lie at the upper left and lower right, counted from 1."""
    description = image.description
    area = Dataset()
    area.ReferencedImageSequence = [reference]
    # Where on the stored image, from its middle, the corner is that is seen at the upper left.
    x, y = -1, -1
    for _ in range(presentation.quarter_turns % 4):  # a turn back, clockwise, as y grows downwards
        x, y = -y, x
    x = -x if presentation.flip_horizontal else x
    y = -y if presentation.flip_vertical else y
    ends = {-1: (1, 1), 1: (description.columns, description.rows)}
    area.DisplayedAreaTopLeftHandCorner = [ends[x][0], ends[y][1]]
    area.DisplayedAreaBottomRightHandCorner = [ends[-x][0], ends[-y][1]]
    area.PresentationSizeMode = "SCALE TO FIT"
    spacing = description.pixel_spacing_mm
    if spacing is not None:
        area.PresentationPixelSpacing = [_decimal(value) for value in spacing]
    else:
        # Whole numbers (VR IS): a ratio such as 4:3 is kept to a thousandth.
        area.PresentationPixelAspectRatio = [round(1000 * (description.pixel_aspect_ratio or 1.0)), 1000]
    return area


def _add_values(state: Dataset, description: PixelDescription, presentation: Presentation) -> None:
    """Give the whole way from stored values to grey: a presentation state replaces all that the image says."""
    if description.modality_lut is not None:
        item = _table(description.modality_lut, is_signed=description.is_signed)
        item.ModalityLUTType = description.rescale_type or "US"
        state.ModalityLUTSequence = [item]
    elif (description.rescale_slope, description.rescale_intercept) != (1.0, 0.0) or description.rescale_type:
        state.RescaleIntercept = _decimal(description.rescale_intercept)
        state.RescaleSlope = _decimal(description.rescale_slope)
        state.RescaleType = description.rescale_type or "US"
    voi = Dataset()
    window, luts = presentation.window, description.voi_luts
    table = own_table(description, window) if window is not None else luts[0] if luts else None
    if table is not None:
        is_signed = description.is_signed or description.rescale_intercept < 0
        voi.VOILUTSequence = [_table(table, is_signed=is_signed)]
        state.SoftcopyVOILUTSequence = [voi]
    elif window is not None:
        voi.WindowCenter = _decimal(window.center)
        voi.WindowWidth = _decimal(window.width)
        if window.function != "LINEAR":
            voi.VOILUTFunction = window.function
        state.SoftcopyVOILUTSequence = [voi]
    # The image's own photometric interpretation counts no more: what MONOCHROME1 turned round is said here.
    is_inverse = (description.photometric_interpretation == "MONOCHROME1") != presentation.inverted
    state.PresentationLUTShape = "INVERSE" if is_inverse else "IDENTITY"


def _add_shutters(state: Dataset, shutters: Shutters) -> None:
    """Cover what the image's own file covers: without a word of it others would show all (PS3.3 C.7.6.11)."""
    state.ShutterShape = [shape.shape for shape in shutters.shapes]
    for shape in shutters.shapes:
        pixels = [round(value + 0.5) for x, y in shape.points for value in (y, x)]  # row first, counted from 1
        if shape.shape == "RECTANGULAR":
            (left, upper), (right, lower) = shape.points
            state.ShutterLeftVerticalEdge, state.ShutterRightVerticalEdge = round(left) + 1, round(right)
            state.ShutterUpperHorizontalEdge, state.ShutterLowerHorizontalEdge = round(upper) + 1, round(lower)
        elif shape.shape == "CIRCULAR":
            state.CenterOfCircularShutter, state.RadiusOfCircularShutter = pixels, round(shape.radius)
        else:
            state.VerticesOfThePolygonalShutter = pixels
    red, green, blue = shutters.color
    state.ShutterPresentationValue = round(257 * (0.299 * red + 0.587 * green + 0.114 * blue))  # ITU-R BT.601


def _table(table: LookUpTable, *, is_signed: bool) -> Dataset:
    item = Dataset()
    kind = "SS" if is_signed else "US"
    first = table.first
    item.add_new("LUTDescriptor", kind, [_as_16_bits(len(table.values), kind), _as_16_bits(first, kind), table.bits])
    item.add_new("LUTData", "OW", table.values.astype("<u2").tobytes())
    return item


def _as_16_bits(value: int, kind: str) -> int:
    """Give a number as its 16 bits read in that representation; 65536 entries are told as 0 (PS3.3 C.11.1.1)."""
    bits = value & 0xFFFF
    return bits - 0x10000 if kind == "SS" and bits >= 0x8000 else bits


def _annotation(measured: Sequence[Measured], description: PixelDescription, reference: Dataset) -> Dataset:
    annotation = Dataset()
    annotation.ReferencedImageSequence = [reference]
    annotation.GraphicLayer = _LAYER
    annotation.GraphicObjectSequence = [
        _graphic(kind, points) for item in measured for kind, points in graphics_of(item.measurement)
    ]
    annotation.TextObjectSequence = [_text(item, description) for item in measured]
    return annotation


def _graphic(kind: str, points: Sequence[Point]) -> Dataset:
    item = Dataset()
    item.GraphicAnnotationUnits = "PIXEL"
    item.GraphicDimensions = 2
    item.NumberOfGraphicPoints = len(points)
    item.GraphicData = [value for point in points for value in point]
    item.GraphicType = kind
    if kind == "ELLIPSE" or (kind == "POLYLINE" and points[0] == points[-1]):
        item.GraphicFilled = "N"
    return item


def _text(item: Measured, description: PixelDescription) -> Dataset:
    column, row = item.measurement.points[-1]
    text = Dataset()
    text.UnformattedTextValue = "\r\n".join(_lines(item))[:_MOST_CHARACTERS]
    text.AnchorPointAnnotationUnits = "PIXEL"
    text.AnchorPoint = [min(column, description.columns), min(row, description.rows)]
    text.AnchorPointVisibility = "N"
    return text


def _lines(item: Measured) -> list[str]:
    label = [item.measurement.label] if item.measurement.label else []
    return label + [_line(quantity) for quantity in item.quantities]


def _line(quantity: Quantity) -> str:
    basis = f" ({quantity.basis})" if quantity.basis not in ("", "px") else ""
    number = f"{quantity.value:.4g}" if abs(quantity.value) < 1000 else f"{quantity.value:.1f}"
    return f"{quantity.name}: {number} {quantity.unit}".rstrip() + basis


def _layer() -> Dataset:
    layer = Dataset()
    layer.GraphicLayer = _LAYER
    layer.GraphicLayerOrder = 1
    layer.GraphicLayerRecommendedDisplayGrayscaleValue = 65535
    return layer


def _decimal(value: float) -> DSfloat:
    return DSfloat(value, auto_format=True)  # 16 characters at most (VR DS)
