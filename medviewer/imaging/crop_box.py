"""The box of the patient that a 3D view shows: its six faces, each moved along an axis of the patient.

A box is the least and the greatest LPS coordinates (mm) that are shown. Its faces are named by the side of the
patient that they look to.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from medviewer.imaging.camera import Box, Side

Floats = npt.NDArray[np.float64]

FACES: Mapping[Side, tuple[int, int]] = MappingProxyType(
    {"R": (0, -1), "L": (0, 1), "A": (1, -1), "P": (1, 1), "F": (2, -1), "H": (2, 1)}
)
"""The LPS axis across each side of the patient, and which way along it (1: where it grows) is out of the box."""
LEAST_SHARE = 0.02  # of the volume, that stays between two faces: something is always seen
EDGES = tuple((a, b) for a in range(8) for b in range(a + 1, 8) if (a ^ b).bit_count() == 1)
"""Pairs of corners of :func:`corners_of` between which an edge runs."""


def whole_box(corners: Floats) -> Box:
    """The box of a whole volume, by ``(8, 3)`` LPS mm between which it lies."""
    return _box(corners.min(axis=0), corners.max(axis=0))


def face_of(box: Box, side: Side) -> float:
    """Where a face lies on its axis, LPS mm."""
    axis, way = FACES[side]
    return box[1 if way > 0 else 0][axis]


def taken_mm(box: Box, side: Side, whole: Box) -> float:
    """How much of the whole is cut away at a side."""
    return abs(face_of(whole, side) - face_of(box, side))


def extent_mm(box: Box, side: Side) -> float:
    """How far a box reaches along the axis of a side."""
    axis, _ = FACES[side]
    return box[1][axis] - box[0][axis]


def with_face(box: Box, side: Side, at_mm: float, whole: Box) -> Box:
    """The box with a face moved to a place on its axis: never out of the whole, nor up to the face across."""
    axis, way = FACES[side]
    low, high = (list(corner) for corner in box)
    least = LEAST_SHARE * extent_mm(whole, side)
    if way > 0:
        high[axis] = min(max(at_mm, low[axis] + least), whole[1][axis])
    else:
        low[axis] = max(min(at_mm, high[axis] - least), whole[0][axis])
    return _box(low, high)


def is_whole(box: Box, whole: Box) -> bool:
    """Whether nothing is cut away."""
    return bool(np.allclose(box, whole))


def corners_of(box: Box) -> Floats:
    """``(8, 3)`` LPS mm; the bits of a corner's number say where it is greatest: 1 for x, 2 for y, 4 for z."""
    return np.array([[box[number >> axis & 1][axis] for axis in range(3)] for number in range(8)], np.float64)


def middle_of_face(box: Box, side: Side) -> Floats:
    """``(3,)`` LPS mm."""
    axis, _ = FACES[side]
    middle = np.array(box, np.float64).mean(axis=0)
    middle[axis] = face_of(box, side)
    return np.asarray(middle, np.float64)


def _box(low: npt.ArrayLike, high: npt.ArrayLike) -> Box:
    (a, b, c), (d, e, f) = (np.asarray(corner, np.float64).tolist() for corner in (low, high))
    return (a, b, c), (d, e, f)
