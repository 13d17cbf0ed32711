"""The parts of an ultrasound image that have physical axes, and what a pixel is along them.

A screen of an ultrasound machine shows several pictures side by side: two-dimensional
ones in centimetres, M-mode over seconds, velocities. A length means something inside one of them only.

Source: PS3.3 C.8.5.5 (US Region Calibration).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from medviewer.domain.measurement import Point
from medviewer.domain.study import UltrasoundRegion
from medviewer.imaging import tags
from medviewer.imaging.dataset import DataSet

# PS3.3 C.8.5.5.1.15; 0 is "none".
_UNITS = {
    1: "%", 2: "dB", 3: "cm", 4: "s", 5: "Hz", 6: "dB/s", 7: "cm/s", 8: "cm2", 9: "cm2/s", 10: "cm3", 11: "cm3/s",
    12: "deg",
}  # fmt: skip
_MOST_REGIONS = 256


def read_regions(dataset: DataSet) -> tuple[UltrasoundRegion, ...]:
    """Give the regions of an image, in the file's order; one that makes no sense is left out."""
    items = dataset.items(tags.ULTRASOUND_REGIONS_SEQUENCE)[:_MOST_REGIONS]
    return tuple(region for item in items if (region := _region(item)) is not None)


def _region(item: DataSet) -> UltrasoundRegion | None:
    corners = [
        item.integer(tag) for tag in (tags.REGION_MIN_X0, tags.REGION_MIN_Y0, tags.REGION_MAX_X1, tags.REGION_MAX_Y1)
    ]
    x0, y0, x1, y1 = (-1 if corner is None else corner for corner in corners)
    if not (0 <= x0 <= x1 and 0 <= y0 <= y1):
        return None
    x, y = item.integer(tags.REGION_REFERENCE_X0), item.integer(tags.REGION_REFERENCE_Y0)
    return UltrasoundRegion(
        first=(x0, y0),
        last=(x1, y1),
        units=(_unit(item, tags.REGION_UNITS_X), _unit(item, tags.REGION_UNITS_Y)),
        delta=(item.number(tags.REGION_DELTA_X) or 0.0, item.number(tags.REGION_DELTA_Y) or 0.0),
        reference_pixel=(x, y) if x is not None and y is not None else None,
        reference_value=(
            item.number(tags.REGION_REFERENCE_VALUE_X) or 0.0,
            item.number(tags.REGION_REFERENCE_VALUE_Y) or 0.0,
        ),
    )


def _unit(item: DataSet, tag: int) -> str:
    return _UNITS.get(item.integer(tag) or 0, "")


def region_of(regions: Sequence[UltrasoundRegion], points: Sequence[Point]) -> UltrasoundRegion | str:
    """Give the one region that all points lie in, or one sentence why there is none.

    Regions may overlap (a colour box on the two-dimensional picture, a grey bar in its corner). All
    that hold any of the points must then agree in units and size; a guess between them is not made.

    Args:
        regions: of the image.
        points: (column, row), (0, 0) at the corner of the first pixel.
    """
    holding = [{index for index, region in enumerate(regions) if _holds(region, point)} for point in points]
    if not all(holding):
        return "A point lies outside the ultrasound regions that the file describes."
    shared = set.intersection(*holding)
    if not shared:
        return "The points lie in different ultrasound regions."
    touched = [regions[index] for index in sorted(set.union(*holding))]
    if len({(region.units, region.delta) for region in touched}) > 1:
        return "Ultrasound regions of different scales overlap here."
    chosen = regions[min(shared)]
    if not any(has_axis(chosen, axis) for axis in (0, 1)):
        return "The file gives no physical units for this ultrasound region."
    return chosen


def has_axis(region: UltrasoundRegion, axis: int) -> bool:
    """Whether the file gives a unit and a size along an axis: 0 the columns, 1 the rows."""
    return bool(region.units[axis]) and math.isfinite(region.delta[axis]) and region.delta[axis] != 0


def _holds(region: UltrasoundRegion, point: Point) -> bool:
    """Whether a point lies on one of the region's pixels, their borders included."""
    return all(region.first[axis] <= point[axis] <= region.last[axis] + 1 for axis in (0, 1))
