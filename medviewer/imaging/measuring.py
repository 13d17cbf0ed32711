"""From what a reader drew to numbers with their unit, what they rest on, and what must be read with them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from medviewer.domain.digits import length_number
from medviewer.domain.errors import GeometryError, UsageError
from medviewer.domain.frame import Frame
from medviewer.domain.measurement import Measurement, Point, Quantity
from medviewer.imaging.display import to_modality
from medviewer.imaging.roi import crosses_itself, pixels_inside, polygon_area
from medviewer.imaging.scale import Scale, calibrated_spacing, scale_at
from medviewer.imaging.units import value_unit

PARALLEL_WITHIN_DEG = 10.0
MOST_LEAN_DEG = 75.0  # of an end plate, from straight across the spine

_MIXED_AXES = (
    "The axes of this part of the ultrasound image are not both lengths: only a length along one of them can be"
    " measured here."
)


def measure(measurement: Measurement, frame: Frame, *, calibration: Measurement | None = None) -> tuple[Quantity, ...]:
    """Give the numbers of a measurement.

    Lengths are in mm, areas in mm2, angles in degrees; in px and px2 where the image cannot be measured, with
    the reason as the remark. Mean, SD (of a sample, n - 1), minimum and maximum are of the modality
    values (HU, Bq/ml, ...) of the pixels whose centre lies inside; padding, and what the file does not hold, is
    left out, and said. Colour has no such values. PET images add SUVbw where the file allows it.

    Args:
        measurement: what was drawn.
        frame: the pixels of the very image and frame that it was drawn on; a frame holds no identity, so the
            caller must see to that.
        calibration: the reader's calibration of the same image and frame; None uses the file's spacing.

    Returns:
        At least one quantity; all values are finite.

    Raises:
        UsageError: a point outside the image, a line without length where a direction is needed, a
            calibration of another image, axes that allow no such measurement, or a pixel without a number.

    Source: PS3.3 C.7.6.2.1.1 and 10.7.1.3 (spacing), C.8.5.5 (ultrasound), C.11.1 (modality values).
    """
    rows, columns = frame.stored.shape[:2]
    if not all(0 <= column <= columns and 0 <= row <= rows for column, row in measurement.points):
        raise UsageError("A point of the measurement lies outside the image: draw it again.")
    if calibration is not None and _image_of(calibration) != _image_of(measurement):
        raise UsageError("The calibration was made on another image: calibrate this one.")
    scale = scale_at(measurement.points, frame.description, calibration)
    quantities = _BY_KIND[measurement.kind](measurement, frame, scale)
    if not all(math.isfinite(quantity.value) for quantity in quantities):
        raise UsageError("The measurement gives no finite number; the file's spacing or values make no sense here.")
    return quantities


def distance_mm(
    affine: np.ndarray | None, point_a: tuple[float, float, float], point_b: tuple[float, float, float]
) -> float:
    """Give the distance of two voxels of a stack in the patient.

    Args:
        affine: ``Stack.affine``, ``(4, 4)``: voxel (column, row, slice), whole numbers at the voxels'
            **centres**, to LPS mm. A point of a :class:`Measurement` is 0.5 larger in both.
        point_a: (column, row, slice), continuous.
        point_b: the other one.

    Raises:
        GeometryError: the stack has no place in the patient, or a number is not finite.
    """
    if affine is None:
        raise GeometryError("The positions of these slices are not known, so nothing can be measured between them.")
    offset = affine[:3, :3] @ (np.array(point_b, np.float64) - np.array(point_a, np.float64))
    distance = float(np.linalg.norm(offset))
    if not math.isfinite(distance):
        raise GeometryError("The distance of the two points is not a finite number.")
    return distance


def _image_of(measurement: Measurement) -> tuple[str, int]:
    return measurement.sop_instance_uid, measurement.frame


def _line(name: str, scale: Scale, start: Point, end: Point) -> Quantity:
    if not scale.is_plane:
        raise UsageError(_MIXED_AXES)
    return Quantity(name, scale.distance(start, end), scale.units[0], scale.basis, scale.remark, scale.decimals)


def _length(measurement: Measurement, _frame: Frame, scale: Scale) -> tuple[Quantity, ...]:
    if scale.is_plane:
        return (_line("length", scale, *measurement.points),)
    # Seconds and centimetres have no hypotenuse: each axis is told by itself.
    offsets = scale.offset(*measurement.points)
    return tuple(
        Quantity(name, abs(offset), unit, scale.basis, decimals=scale.decimals)
        for name, offset, unit in zip(("horizontal", "vertical"), offsets, scale.units, strict=True)
        if unit
    )


def _angle(measurement: Measurement, _frame: Frame, scale: Scale) -> tuple[Quantity, ...]:
    first, vertex, last = measurement.points
    degrees = _angle_between(scale, vertex, first, vertex, last)
    return (Quantity("angle", degrees, "deg", scale.basis, scale.remark),)


def _cobb(measurement: Measurement, _frame: Frame, scale: Scale) -> tuple[Quantity, ...]:
    degrees = _acute(_angle_between(scale, *measurement.points))
    remark = ""
    if _may_be_beyond_right_angle(scale, *measurement.points):
        remark = (
            "The lines lean to opposite sides: of a curve of more than 90 degrees the angle is "
            f"{180.0 - degrees:.1f} degrees."
        )
    return (Quantity("Cobb angle", degrees, "deg", scale.basis, _joined(scale.remark, remark)),)


def _may_be_beyond_right_angle(scale: Scale, start_a: Point, end_a: Point, start_b: Point, end_b: Point) -> bool:
    """Whether two lines, taken for end plates across the way from one to the other, make more than 90 degrees.

    Lines have no direction, so that the smaller of their two angles is told; of a very severe curve it is the wrong
    one. Lines that run along the way between them, as of bones, are no end plates.
    """
    middles = (
        ((start_a[0] + end_a[0]) / 2, (start_a[1] + end_a[1]) / 2),
        ((start_b[0] + end_b[0]) / 2, (start_b[1] + end_b[1]) / 2),
    )
    along = math.atan2(*reversed(scale.shape_offset(*middles)))
    # How far each leans from straight across, -90 to 90 degrees.
    leans = []
    for start, end in ((start_a, end_a), (start_b, end_b)):
        right, down = scale.shape_offset(start, end)
        leans.append(math.degrees(math.remainder(math.atan2(down, right) - along - math.pi / 2, math.pi)))
    return max(map(abs, leans)) < MOST_LEAN_DEG and abs(leans[0] - leans[1]) > 90.0


def _angle_between(scale: Scale, start_a: Point, end_a: Point, start_b: Point, end_b: Point) -> float:
    """Give the angle between two directions, 0 to 180 degrees."""
    if not scale.is_plane:
        raise UsageError(_MIXED_AXES)
    (ax, ay), (bx, by) = scale.shape_offset(start_a, end_a), scale.shape_offset(start_b, end_b)
    if (ax, ay) == (0.0, 0.0) or (bx, by) == (0.0, 0.0):
        raise UsageError("A line without length has no direction: draw it again.")
    # Exact for small angles too, where the cosine alone has no digits left.
    return math.degrees(math.atan2(abs(ax * by - ay * bx), ax * bx + ay * by))


def _acute(degrees: float) -> float:
    """Of the two angles between lines that have no direction, give the smaller one, 0 to 90 degrees."""
    return min(degrees, 180.0 - degrees)


def _bidirectional(measurement: Measurement, _frame: Frame, scale: Scale) -> tuple[Quantity, ...]:
    points = measurement.points
    long, short = _line("long axis", scale, *points[:2]), _line("short axis", scale, *points[2:])
    if short.value > long.value:
        remark = _joined(short.remark, "The short axis is longer than the long axis.")
        short = Quantity(short.name, short.value, short.unit, short.basis, remark)
    return long, short


def _cardiothoracic(measurement: Measurement, _frame: Frame, scale: Scale) -> tuple[Quantity, ...]:
    points = measurement.points
    heart, thorax = _line("heart width", scale, *points[:2]), _line("thorax width", scale, *points[2:])
    apart = _acute(_angle_between(scale, *points))
    remark = ""
    if apart > PARALLEL_WITHIN_DEG:
        remark = f"The two lines are {apart:.0f} degrees from parallel: the ratio is doubtful."
    # By the shape of a pixel: the ratio needs no millimetres, only true proportions.
    widths = [math.hypot(*scale.shape_offset(*line)) for line in (points[:2], points[2:])]
    return Quantity("cardiothoracic ratio", widths[0] / widths[1], "", remark=remark), heart, thorax


def _calibration(measurement: Measurement, frame: Frame, _scale: Scale) -> tuple[Quantity, ...]:
    between_rows, between_columns = calibrated_spacing(measurement, frame.description)
    own = scale_at(measurement.points, frame.description)
    remark = ""
    if own.units[0] == "mm":
        length = length_number(own.distance(*measurement.points), own.decimals)
        remark = f"By the file's own spacing ({own.basis}) the line is {length} mm long."
    return (
        Quantity("length", measurement.known_mm or math.nan, "mm", "calibrated", remark, own.decimals),
        Quantity("spacing between rows", between_rows, "mm", "calibrated"),
        Quantity("spacing between columns", between_columns, "mm", "calibrated"),
    )


def _probe(measurement: Measurement, frame: Frame, _scale: Scale) -> tuple[Quantity, ...]:
    ((x, y),) = measurement.points
    rows, columns = frame.stored.shape[:2]
    row = min(int(y), rows - 1)
    if row >= rows - frame.missing_rows:
        raise UsageError("The file ends before this pixel: it holds no value.")
    pixel = frame.stored[row, min(int(x), columns - 1)]
    if frame.is_color:
        return tuple(Quantity(n, float(v), "") for n, v in zip(("red", "green", "blue"), pixel, strict=True))
    stored = float(pixel)
    if _is_padding(np.array([pixel]), frame).any():
        return (Quantity("stored value", stored, "", remark="This pixel is padding: it holds no value."),)
    value = float(to_modality(np.array([stored]), frame.description)[0])
    told = Quantity("value", value, value_unit(frame.description), remark=_no_suv(frame))
    factor = frame.description.suv_factor
    suv = () if factor is None else (Quantity("SUVbw", value * factor, "g/ml"),)
    return (Quantity("stored value", stored, ""), told, *suv)


def _region(measurement: Measurement, frame: Frame, scale: Scale) -> tuple[Quantity, ...]:
    region = pixels_inside(measurement, (frame.stored.shape[0], frame.stored.shape[1]))
    area = _area(measurement, scale, int(region.mask.sum()))
    if frame.is_color:
        remark = _joined(area.remark, "A colour image has no values to take the mean of.")
        count = Quantity("pixels", float(region.mask.sum()), "")
        return Quantity(area.name, area.value, area.unit, area.basis, remark), count
    chosen = region.of(frame.stored)
    is_missing = region.row + np.nonzero(region.mask)[0] >= frame.stored.shape[0] - frame.missing_rows
    is_used = ~_is_padding(chosen, frame) & np.isfinite(chosen) & ~is_missing
    skipped = int(chosen.size - is_used.sum())
    remark = f"{skipped} pixels of padding or without a number are left out." if skipped else ""
    if is_missing.any():
        remark = f"{skipped} pixels that the file does not hold, of padding or without a number, are left out."
    values = to_modality(chosen[is_used].astype(np.float64), frame.description)
    if not values.size:
        remark = remark or "No pixel has its centre inside."
    return area, *_statistics(values, frame), Quantity("pixels", float(values.size), "", remark=remark)


def _area(measurement: Measurement, scale: Scale, pixels: int) -> Quantity:
    per_pixel, unit, basis, remark = scale.across * scale.down, f"{scale.units[0]}2", scale.basis, scale.remark
    if not scale.is_plane:
        per_pixel, unit, basis, remark = 1.0, "px2", "px", "The axes here are not both lengths."
    if measurement.kind == "freehand":
        if crosses_itself(measurement.points):
            remark = _joined(remark, "The outline crosses itself: its area is that of the pixels inside.")
            return Quantity("area", pixels * per_pixel, unit, basis, remark)
        return Quantity("area", polygon_area(measurement.points) * per_pixel, unit, basis, remark)
    (x0, y0), (x1, y1) = measurement.points
    share = math.pi / 4 if measurement.kind == "ellipse" else 1.0
    return Quantity("area", share * abs(x1 - x0) * abs(y1 - y0) * per_pixel, unit, basis, remark)


def _statistics(values: np.ndarray, frame: Frame) -> tuple[Quantity, ...]:
    if not values.size:
        return ()
    unit, factor = value_unit(frame.description), frame.description.suv_factor
    numbers = [("mean", float(values.mean())), ("minimum", float(values.min())), ("maximum", float(values.max()))]
    if values.size > 1:
        numbers.insert(1, ("SD", float(values.std(ddof=1))))
    found = [Quantity(name, value, unit, remark=_no_suv(frame) if name == "mean" else "") for name, value in numbers]
    if factor is not None:
        found += [Quantity(f"SUVbw {name}", value * factor, "g/ml") for name, value in numbers]
    return tuple(found)


def _is_padding(stored: np.ndarray, frame: Frame) -> np.ndarray:
    padding = frame.description.pixel_padding_range
    if padding is None:
        return np.zeros(stored.shape, bool)
    return np.asarray((stored >= padding[0]) & (stored <= padding[1]))


def _no_suv(frame: Frame) -> str:
    reason = frame.description.no_suv_because
    return f"No SUV: {reason}" if reason else ""


def _joined(*sentences: str) -> str:
    return " ".join(sentence for sentence in sentences if sentence)


_BY_KIND: dict[str, Callable[[Measurement, Frame, Scale], tuple[Quantity, ...]]] = {
    "length": _length,
    "angle": _angle,
    "cobb": _cobb,
    "bidirectional": _bidirectional,
    "rectangle": _region,
    "ellipse": _region,
    "freehand": _region,
    "probe": _probe,
    "cardiothoracic": _cardiothoracic,
    "calibration": _calibration,
}
