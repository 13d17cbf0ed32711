"""Which pixels belong to a region: those whose centre lies inside, by one rule for every shape."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medviewer.domain.frozen import dataclass
from medviewer.domain.measurement import Measurement, Point


@dataclass(frozen=True, slots=True, eq=False)
class PixelRegion:
    """The pixels of a region of interest.

    Attributes:
        row: of the mask's first row in the image.
        column: of the mask's first column in the image.
        mask: ``(rows, columns)`` bool, only as large as the region.
    """

    row: int
    column: int
    mask: np.ndarray

    def of(self, pixels: np.ndarray) -> np.ndarray:
        """Give the region's pixels, ``(n,)``, of an image ``(rows, columns)``."""
        rows, columns = self.mask.shape
        return np.asarray(
            pixels[self.row : self.row + rows, self.column : self.column + columns][self.mask], pixels.dtype
        )


def pixels_inside(measurement: Measurement, shape: tuple[int, int]) -> PixelRegion:
    """Give the pixels whose centre, (column + 0.5, row + 0.5), lies inside a rectangle, ellipse or freehand outline.

    A centre exactly on the left or upper edge is inside, on the right or lower edge outside, so that two
    regions that share an edge share no pixel; the rim of an ellipse is inside. An outline that crosses
    itself is filled by the even-odd rule. What lies beyond the image is left out.

    Args:
        measurement: of such a kind.
        shape: (rows, columns) of the image.
    """
    points = np.array(measurement.points, np.float64)
    # Pixels whose centre may lie in the region: c + 0.5 between its least and greatest column.
    low = np.maximum(np.ceil(points.min(axis=0) - 0.5), 0).astype(int)
    high = np.minimum(np.floor(points.max(axis=0) - 0.5), np.array(shape[::-1]) - 1).astype(int)
    if (high < low).any():
        return PixelRegion(int(low[1]), int(low[0]), np.zeros((0, 0), bool))
    x = np.arange(low[0], high[0] + 1) + 0.5
    y = np.arange(low[1], high[1] + 1) + 0.5
    if measurement.kind == "ellipse":
        mask = _ellipse(points, x, y)
    elif measurement.kind == "rectangle":
        (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
        mask = np.outer((y >= top) & (y < bottom), (x >= left) & (x < right))
    else:
        mask = fill_polygon(points, x, y)
    return PixelRegion(int(low[1]), int(low[0]), mask)


def _ellipse(corners: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    center, radii = corners.mean(axis=0), np.abs(corners[1] - corners[0]) / 2
    if not radii.all():
        return np.zeros((len(y), len(x)), bool)
    across, down = ((x - center[0]) / radii[0]) ** 2, ((y - center[1]) / radii[1]) ** 2
    return np.asarray(down[:, None] + across[None, :] <= 1.0)


def fill_polygon(points: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Fill an outline, by the even-odd rule.

    Row by row: every edge that crosses a row of centres turns inside to outside for all that is right of it.

    Args:
        points: ``(n, 2)`` (column, row), closed from the last to the first.
        x: columns of the centres, rising.
        y: rows of the centres.

    Returns:
        ``(len(y), len(x))`` bool.
    """
    flips = np.zeros((len(y), len(x) + 1), np.int32)
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        rows = np.flatnonzero((y0 <= y) != (y1 <= y))
        if rows.size:
            crossing = x0 + (y[rows] - y0) * ((x1 - x0) / (y1 - y0))
            first = np.searchsorted(x, crossing, side="left")
            np.add.at(flips, (rows, first), 1)
    return np.asarray(np.cumsum(flips, axis=1)[:, :-1] % 2 == 1)


def polygon_area(points: Sequence[Point]) -> float:
    """Give the area of an outline that does not cross itself, in pixels (the shoelace formula)."""
    x, y = np.array(points, np.float64).T
    # From the first point: far from the origin the products would eat the digits.
    x, y = x - x[0], y - y[0]
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def crosses_itself(points: Sequence[Point]) -> bool:
    """Whether two edges of a closed outline that are not neighbours meet: cross, or touch in a point.

    Lines that cross in a vertex touch there, so what touches counts. Points on the straight way between
    their neighbours, repeated ones, and a way to a point and back again enclose nothing and are left out before.
    """
    start = _without_straight_points(points)
    end = np.roll(start, -1, axis=0)
    low, high = np.minimum(start, end), np.maximum(start, end)
    (left, top), (right, bottom) = low.T.copy(), high.T.copy()
    for index in range(len(start) - 2):
        # The last edge is the neighbour of the first one.
        rest = slice(index + 2, None if index else len(start) - 1)
        # Most edges are nowhere near this one: boxes are compared before directions.
        is_near = (left[rest] <= right[index]) & (right[rest] >= left[index])
        is_near &= (top[rest] <= bottom[index]) & (bottom[rest] >= top[index])
        near = index + 2 + np.flatnonzero(is_near)
        a, b = start[index], end[index]
        from_edge = _side(a, b, start[near]) * _side(a, b, end[near])
        direction = end[near] - start[near]
        from_other = _cross(direction, a - start[near]) * _cross(direction, b - start[near])
        if ((from_edge <= 0) & (from_other <= 0)).any():
            return True
    return False


def _without_straight_points(points: Sequence[Point]) -> np.ndarray:
    """The same outline without points that lie on one line with both of their neighbours; ``(n, 2)``."""
    kept: list[Point] = []
    for point in points:
        kept.append(point)
        while len(kept) > 2 and _is_straight(*kept[-3:]):
            del kept[-2]
    while len(kept) > 2 and (_is_straight(kept[-2], kept[-1], kept[0]) or _is_straight(kept[-1], kept[0], kept[1])):
        del kept[-1 if _is_straight(kept[-2], kept[-1], kept[0]) else 0]
    return np.array(kept, np.float64)


def _is_straight(a: Point, b: Point, c: Point) -> bool:
    return (b[0] - a[0]) * (c[1] - a[1]) == (b[1] - a[1]) * (c[0] - a[0])


def _side(a: np.ndarray, b: np.ndarray, points: np.ndarray) -> np.ndarray:
    return _cross(np.broadcast_to(b - a, points.shape), points - a)


def _cross(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.asarray(np.sign(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]))
