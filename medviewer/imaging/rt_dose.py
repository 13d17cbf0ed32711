"""Where the planes of a radiotherapy dose lie, and what its values are counted in.

The frames of an RT Dose object have one Image Position; how far each lies from the first
says the Grid Frame Offset Vector, in one of two ways. A vector that fits neither way, or
both with another result, places nothing.

Source: PS3.3 C.8.8.3 (RT Dose module), C.8.8.3.2 (Grid Frame Offset Vector).
"""

from __future__ import annotations

import math
from dataclasses import replace

from medviewer.domain.study import Caveat, PixelDescription, Plane
from medviewer.imaging import tags
from medviewer.imaging.dataset import DataSet

RT_DOSE_STORAGE = "1.2.840.10008.5.1.4.1.1.481.2"

_SAME_MM = 1e-3
_AXIAL = 1e-4  # how far a cosine of an axial plane may be off 1
_UNITS = {"GY": "Gy", "RELATIVE": ""}
_WHOLE = "PLAN"

UNPLACED = Caveat("dose.frames", "The file does not say where each plane of the dose lies, so it is not placed.")
UNSCALED = Caveat("dose.scaling", "The file does not say how its values become a dose: stored values are shown.")


def describe_dose(
    description: PixelDescription, dataset: DataSet, frame: int, frames: int
) -> tuple[PixelDescription, tuple[Caveat, ...]]:
    """Give the description of one plane of a dose: in its place, with its unit.

    Args:
        description: as the file's common attributes say: the place of the first plane.
        dataset: the file's attributes.
        frame: 0-based.
        frames: how many there are.
    """
    caveats: list[Caveat] = []
    plane = description.plane
    if plane is not None and frames > 1:
        plane = _frame_plane(plane, dataset.numbers(tags.GRID_FRAME_OFFSET_VECTOR), frame, frames)
        if plane is None:
            caveats.append(UNPLACED)
    scaling = dataset.number(tags.DOSE_GRID_SCALING)
    is_scaled = scaling is not None and 0 < scaling < 1e12
    if not is_scaled:
        caveats.append(UNSCALED)
    placed = replace(
        description,
        plane=plane,
        rescale_slope=scaling if scaling is not None and is_scaled else 1.0,
        rescale_intercept=0.0,
        value_unit=_UNITS.get(dataset.text(tags.DOSE_UNITS), "") if is_scaled else "",
        value_name=_name(dataset),
    )
    return placed, tuple(caveats)


def _name(dataset: DataSet) -> str:
    """What kind of dose it is; and of what, unless of the whole plan: that of one beam or one fraction is a part."""
    summed = dataset.text(tags.DOSE_SUMMATION_TYPE)
    parts = dataset.text(tags.DOSE_TYPE), "" if summed == _WHOLE else summed.replace("_", " ")
    return ", ".join(part for part in parts if part)


def _frame_plane(plane: Plane, offsets: tuple[float, ...], frame: int, frames: int) -> Plane | None:
    """Where a frame lies; None where the offsets do not say it."""
    if len(offsets) != frames or not all(math.isfinite(value) and abs(value) < 1e6 for value in offsets):
        return None
    x, y, z = plane.position
    along = plane.normal
    is_axial = abs(abs(plane.row_cosine[0]) - 1) < _AXIAL and abs(abs(plane.column_cosine[1]) - 1) < _AXIAL
    is_relative = offsets[0] == 0
    is_absolute = is_axial and abs(offsets[0] - z) < _SAME_MM
    if is_relative and is_absolute and along[2] < 0:
        return None  # both ways fit, and lead to opposite sides
    if is_relative:
        far = offsets[frame]
        return replace(plane, position=(x + far * along[0], y + far * along[1], z + far * along[2]))
    return replace(plane, position=(x, y, offsets[frame])) if is_absolute else None
