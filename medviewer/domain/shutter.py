"""Display shutters: what of an image is covered, so that bright rims and blades do not dazzle.

Source: PS3.3 C.7.6.11 (Display Shutter), C.7.6.15 (Bitmap Display Shutter), C.11.12 (Presentation State Shutter).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot
from typing import Literal

import numpy as np

from medviewer.domain.frozen import dataclass
from medviewer.domain.measurement import Point


@dataclass(frozen=True, slots=True)
class Shutter:
    """What is seen lies inside; all else is covered. Numbers are (column, row) of the image.

    ``points`` are two opposite corners of a rectangle, the middle of a circle, or the corners of a polygon;
    ``radius`` is of the circle, in columns.
    """

    shape: Literal["RECTANGULAR", "CIRCULAR", "POLYGONAL"]
    points: tuple[Point, ...]
    radius: float = 0.0

    def leaves_open(self, point: Point, aspect: float = 1.0) -> bool:
        """Whether a place is seen; ``aspect`` is height over width of a pixel."""
        x, y = point
        if self.shape == "RECTANGULAR":
            (left, top), (right, bottom) = self.points
            return min(left, right) <= x <= max(left, right) and min(top, bottom) <= y <= max(top, bottom)
        if self.shape == "CIRCULAR":
            return hypot(x - self.points[0][0], (y - self.points[0][1]) * aspect) <= self.radius
        # A ray from the place to the left crosses the outline of a polygon an odd number of times.
        sides = zip(self.points, (*self.points[1:], self.points[0]), strict=True)
        return sum((a[1] > y) != (b[1] > y) and x > a[0] + (y - a[1]) * (b[0] - a[0]) / (b[1] - a[1])
                   for a, b in sides) % 2 == 1  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Shutters:
    """All shutters of one image: a place is seen where each of them leaves it open.

    Attributes:
        shapes: outside of any of them is covered.
        bitmap: ``(rows, columns)`` bool of the image, where it is covered; None without one.
        color: red, green, blue of what covers, 0 to 255, sRGB.
    """

    shapes: tuple[Shutter, ...] = ()
    bitmap: np.ndarray | None = None
    color: tuple[int, int, int] = (0, 0, 0)

    def fits(self, rows: int, columns: int) -> bool:
        """Whether the bitmap is as large as the image, as the standard asks; shapes fit any."""
        return self.bitmap is None or self.bitmap.shape == (rows, columns)

    def covers(self, points: Sequence[Point], aspect: float = 1.0) -> bool:
        """Whether any of some places, (column, row), is covered."""
        return any(self._covers(point, aspect) for point in points)

    def _covers(self, point: Point, aspect: float) -> bool:
        if not all(shape.leaves_open(point, aspect) for shape in self.shapes):
            return True
        if self.bitmap is None:
            return False
        row, column = int(point[1] // 1), int(point[0] // 1)
        rows, columns = self.bitmap.shape
        return 0 <= row < rows and 0 <= column < columns and bool(self.bitmap[row, column])
