"""How large a pixel is where something is measured, and what that rests on."""

from __future__ import annotations

import math
from collections.abc import Sequence

from medviewer.domain.errors import UsageError
from medviewer.domain.frozen import dataclass
from medviewer.domain.measurement import Basis, Measurement, Point
from medviewer.domain.study import PixelDescription
from medviewer.imaging.ultrasound import has_axis, region_of


@dataclass(frozen=True, slots=True)
class Scale:
    """The size of a pixel.

    Attributes:
        across: between columns, in the first of ``units``.
        down: between rows, in the second of ``units``.
        units: ("mm", "mm") or ("px", "px"); other pairs inside an ultrasound region whose axes are not both
            lengths, with "" for an axis that has none.
        basis: what this rests on.
        remark: why the unit is no millimetre; "" if it is one.
        aspect: height over width of a pixel, for angles and ratios; also known where the size is not.
    """

    across: float
    down: float
    units: tuple[str, str]
    basis: Basis
    remark: str = ""
    aspect: float = 1.0

    @property
    def is_plane(self) -> bool:
        """Whether both axes are lengths of one unit, so that there are diagonals, angles and areas."""
        return self.units in (("mm", "mm"), ("px", "px"))

    @property
    def decimals(self) -> int:
        """How many a length is told with at least: the last one is worth no more than two pixels."""
        sizes = [size for size, unit in zip((self.across, self.down), self.units, strict=True) if unit == "mm"]
        return max(1, math.ceil(-math.log10(2 * min(sizes)) - 1e-9)) if sizes and min(sizes) > 0 else 1

    def offset(self, start: Point, end: Point) -> tuple[float, float]:
        """Give how far it is from one point to another along both axes, in ``units``."""
        return (end[0] - start[0]) * self.across, (end[1] - start[1]) * self.down

    def distance(self, start: Point, end: Point) -> float:
        """Give the length of a line, in the unit of both axes."""
        return math.hypot(*self.offset(start, end))

    def shape_offset(self, start: Point, end: Point) -> tuple[float, float]:
        """Give an offset whose direction is true to the picture, in widths of a pixel."""
        return end[0] - start[0], (end[1] - start[1]) * self.aspect


def scale_at(points: Sequence[Point], description: PixelDescription, calibration: Measurement | None = None) -> Scale:
    """Give the size of a pixel for a measurement with these points.

    In order: the ultrasound region that holds them all, the reader's calibration, the file's spacing, pixels.
    Where the file describes ultrasound regions nothing else counts: a spacing cannot be true for all of them.

    Raises:
        UsageError: the calibration is none, or its line has no length.
    """
    if description.ultrasound_regions:
        return _in_region(points, description)
    if calibration is not None:
        rows, columns = calibrated_spacing(calibration, description)
        return Scale(columns, rows, ("mm", "mm"), "calibrated", aspect=rows / columns)
    spacing, source = description.pixel_spacing_mm, description.spacing_source
    if spacing is None or source is None:
        return _pixels(description, description.no_measuring_because or "The file gives no pixel spacing.")
    return Scale(spacing[1], spacing[0], ("mm", "mm"), source, aspect=spacing[0] / spacing[1])


def calibrated_spacing(calibration: Measurement, description: PixelDescription) -> tuple[float, float]:
    """Give mm (between rows, between columns) from a line whose length the reader knows.

    The shape of a pixel is the file's, where it says one; only the size is the reader's.

    Raises:
        UsageError: no calibration, a line without length, or an image with ultrasound regions, which have
            scales of their own.
    """
    if calibration.kind != "calibration" or calibration.known_mm is None:
        raise UsageError("Only a line of known length can calibrate an image: draw a calibration.")
    if description.ultrasound_regions:
        raise UsageError("This ultrasound image has regions with scales of their own; it cannot be calibrated as one.")
    aspect = pixel_aspect(description)
    (x0, y0), (x1, y1) = calibration.points
    widths = math.hypot(x1 - x0, (y1 - y0) * aspect)
    if widths == 0:
        raise UsageError("The calibration's line has no length: draw it along something of known length.")
    between_columns = calibration.known_mm / widths
    return between_columns * aspect, between_columns


def _in_region(points: Sequence[Point], description: PixelDescription) -> Scale:
    region = region_of(description.ultrasound_regions, points)
    if isinstance(region, str):
        return _pixels(description, region)
    sizes, units = [], []
    for axis in (0, 1):
        size, unit = (abs(region.delta[axis]), region.units[axis]) if has_axis(region, axis) else (0.0, "")
        sizes.append(size * 10 if unit == "cm" else size)
        units.append("mm" if unit == "cm" else unit)
    aspect = sizes[1] / sizes[0] if units == ["mm", "mm"] else 1.0
    return Scale(sizes[0], sizes[1], (units[0], units[1]), "ultrasound region", aspect=aspect)


def _pixels(description: PixelDescription, reason: str) -> Scale:
    return Scale(1.0, 1.0, ("px", "px"), "px", reason, pixel_aspect(description))


def pixel_sizes_mm(description: PixelDescription) -> tuple[float, ...]:
    """Give every size that a pixel has in mm, of rows and of columns; nothing where the files do not say one.

    An ultrasound image has those of all its regions that are pictures; what surrounds them has none.
    """
    if not description.ultrasound_regions:
        spacing = description.pixel_spacing_mm
        return () if spacing is None or description.spacing_source is None else spacing
    return tuple(
        abs(size) * 10
        for region in description.ultrasound_regions
        if region.units == ("cm", "cm") and has_axis(region, 0) and has_axis(region, 1)
        for size in region.delta
    )


def pixel_aspect(description: PixelDescription) -> float:
    """Give the height of a pixel over its width; 1 where the file says neither its size nor its shape.

    The picture and what is measured outside ultrasound regions rest on this one number: a circle looks like one.
    """
    spacing = description.pixel_spacing_mm
    return spacing[0] / spacing[1] if spacing is not None else description.pixel_aspect_ratio or 1.0
