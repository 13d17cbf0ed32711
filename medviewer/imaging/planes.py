"""How planes of one frame of reference lie to each other: lines where they meet, places on them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from medviewer.domain.study import PixelDescription
from medviewer.imaging.reslice import PlaneGrid

Point = npt.NDArray[np.float64]

_PARALLEL = 1e-3  # sine of the angle below which planes have no line in common that would mean anything


def grid_of(description: PixelDescription) -> PlaneGrid | None:
    """The pixels of an image as a grid in the patient; None where the file does not say where it lies."""
    plane, spacing = description.plane, description.pixel_spacing_mm
    if plane is None or spacing is None:
        return None
    return PlaneGrid(plane, spacing, (description.rows, description.columns))


def to_patient(grid: PlaneGrid, column: float, row: float) -> Point:
    """Where a point of an image lies, in LPS mm.

    Args:
        grid: of the image.
        column: in pixels, 0 at the left edge of the first pixel (its centre is 0.5).
        row: in pixels, 0 at the upper edge of the first pixel.
    """
    across = np.array(grid.plane.row_cosine) * ((column - 0.5) * grid.spacing_mm[1])
    down = np.array(grid.plane.column_cosine) * ((row - 0.5) * grid.spacing_mm[0])
    return np.asarray(np.array(grid.plane.position) + across + down, np.float64)


def to_image(grid: PlaneGrid, point: Point) -> tuple[float, float, float]:
    """The (column, row) of a place in the patient, as :func:`to_patient` counts, and its distance in mm in front."""
    away = np.asarray(point, np.float64) - np.array(grid.plane.position)
    column = float(away @ np.array(grid.plane.row_cosine)) / grid.spacing_mm[1] + 0.5
    row = float(away @ np.array(grid.plane.column_cosine)) / grid.spacing_mm[0] + 0.5
    return column, row, float(away @ np.array(grid.plane.normal))


def line_of(other: PlaneGrid, on: PlaneGrid) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """The line in which another image cuts this one: as far as that image reaches, as (column, row) of this one.

    None if they are parallel, or if the other one ends before it meets this plane.
    """
    if np.linalg.norm(np.cross(other.plane.normal, on.plane.normal)) < _PARALLEL:
        return None
    rows, columns = other.shape
    corners = [to_patient(other, column, row) for column, row in ((0, 0), (columns, 0), (columns, rows), (0, rows))]
    normal, position = np.array(on.plane.normal), np.array(on.plane.position)
    heights = [float((corner - position) @ normal) for corner in corners]
    met: list[Point] = []
    for index in range(4):
        a, b = heights[index], heights[(index + 1) % 4]
        if (a < 0) != (b < 0):
            share = a / (a - b)
            met.append(corners[index] + share * (corners[(index + 1) % 4] - corners[index]))
    if len(met) != 2:
        return None
    first, second = (to_image(on, point)[:2] for point in met)
    return first, second
