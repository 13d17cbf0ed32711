"""Which pixels a shutter covers, and whether what was measured lies there in part."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from medviewer.domain.measurement import Measurement, MeasurementKind, Point
from medviewer.domain.shutter import Shutter, Shutters
from medviewer.imaging.roi import fill_polygon, pixels_inside

_LINES: dict[MeasurementKind, tuple[tuple[int, int], ...]] = {  # by the numbers of their points
    "length": ((0, 1),), "calibration": ((0, 1),), "angle": ((0, 1), (1, 2)), "cobb": ((0, 1), (2, 3)),
    "bidirectional": ((0, 1), (2, 3)), "cardiothoracic": ((0, 1), (2, 3)), "probe": (),
}  # fmt: skip
_PITCH = 0.25  # pixels between the places of a line that are looked at
_BESIDE = 1e-6  # pixels; on the edge of a covered pixel nothing is covered yet


@lru_cache(maxsize=32)  # asked whenever the words beside the image are written
def reaches_under(shutters: Shutters, measurement: Measurement, shape: tuple[int, int], aspect: float = 1.0) -> bool:
    """Whether a pixel of a region, a place on a line, or a point that was set is covered.

    A pixel is covered where its centre is, as it belongs to a region where its centre does.

    Args:
        shutters: of the image.
        measurement: on it.
        shape: (rows, columns) of the image.
        aspect: height over width of a pixel.
    """
    if shutters.covers(_points(measurement), aspect):
        return True
    masks = [] if shutters.bitmap is None or shutters.bitmap.shape != shape else [shutters.bitmap]
    if shutters.shapes:
        masks.append(_covered_by_shapes(shutters.shapes, shape, aspect))
    lines = _LINES.get(measurement.kind)
    if lines is None:
        region = pixels_inside(measurement, shape)
        return any(bool(region.of(mask).any()) for mask in masks)
    ends = [(measurement.points[a], measurement.points[b]) for a, b in lines]
    return any(_crosses(start, end, mask) for mask in masks for start, end in ends)


def covered_pixels(shutters: Shutters, shape: tuple[int, int], aspect: float = 1.0) -> npt.NDArray[np.bool_]:
    """The pixels whose centres are covered, ``(rows, columns)``; a bitmap of another size covers none.

    Args:
        shutters: of the image.
        shape: (rows, columns) of the image.
        aspect: height over width of a pixel.
    """
    covered = _covered_by_shapes(shutters.shapes, shape, aspect)
    if shutters.bitmap is not None and shutters.fits(*shape):
        covered = np.asarray(covered | shutters.bitmap, np.bool_)
    return covered


def _points(measurement: Measurement) -> tuple[Point, ...]:
    """What was set and is measured; of an ellipse where it is widest, for it does not reach the corners around it."""
    if measurement.kind != "ellipse":
        return measurement.points
    (left, top), (right, bottom) = measurement.points
    x, y = (left + right) / 2, (top + bottom) / 2
    return (left, y), (right, y), (x, top), (x, bottom)


@lru_cache(maxsize=2)
def _covered_by_shapes(shapes: tuple[Shutter, ...], shape: tuple[int, int], aspect: float) -> npt.NDArray[np.bool_]:
    """The pixels whose centres any of some shapes covers, ``(rows, columns)``."""
    y, x = (np.arange(size) + 0.5 for size in shape)
    seen = np.ones(shape, bool)
    for one in shapes:
        points = np.array(one.points, np.float64)
        if one.shape == "RECTANGULAR":
            (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
            seen &= np.outer((y >= top) & (y <= bottom), (x >= left) & (x <= right))
        elif one.shape == "CIRCULAR":
            column, row = points[0]
            seen &= np.hypot(x[None, :] - column, (y[:, None] - row) * aspect) <= one.radius
        else:
            seen &= fill_polygon(points, x, y)
    covered: npt.NDArray[np.bool_] = ~seen
    covered.setflags(write=False)
    return covered


def _crosses(start: Point, end: Point, covered: npt.NDArray[np.bool_]) -> bool:
    """Whether a line runs over a covered pixel; only its part on the image is looked at."""
    a, way = np.array(start), np.array(end) - np.array(start)
    size = np.array(covered.shape[::-1], np.float64)
    way[way == 0] = 1e-300  # it runs along an axis
    borders = np.sort([-a / way, (size - a) / way], axis=0)
    first, last = max(0.0, borders[0].max()), min(1.0, borders[1].min())
    if first > last:
        return False
    steps = int(np.ceil(np.abs(way).max() * (last - first) / _PITCH)) + 1
    places = a + np.linspace(first, last, steps + 1)[:, None] * way
    before, behind = (np.clip(np.floor(places + by), 0, size - 1).astype(int).T for by in (-_BESIDE, _BESIDE))
    touched = [covered[rows, columns] for rows in (before[1], behind[1]) for columns in (before[0], behind[0])]
    return bool(np.all(touched, axis=0).any())
