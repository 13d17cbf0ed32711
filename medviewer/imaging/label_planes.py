"""From labels in the patient to outlines on a plane: which pixels lie in which plane of the object, and their edges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from medviewer.domain.layer import LabelPlane, PackedMask
from medviewer.imaging.reslice import PlaneGrid

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

MOST_CORNERS = 60_000  # more, as of a network that outlines noise, take minutes to trace and seconds to draw
MOST_EDGES = 1_000_000  # of pixels, along the outlines: a second of tracing
_SLACK_MM = 1e-3  # rounding of positions must not leave a slice without its label


class Pixels(NamedTuple):
    """The pixels of a grid that lie in one plane of an object, and where they lie: ``(n, 3)`` LPS mm."""

    plane: int
    rows: Indices
    columns: Indices
    points: Floats


def pixels_by_plane(grid: PlaneGrid, normal: Floats, along: Floats, thickness_mm: float) -> Iterator[Pixels]:
    """Give, for each plane of an object, the pixels of a grid for which it is the nearest.

    Args:
        grid: the pixels wanted.
        normal: of the object's planes.
        along: ``(planes,)`` where they lie along it, in mm from the origin; rising.
        thickness_mm: pixels farther than half of it from every plane are in none.
    """
    rows, columns = (axis.ravel() for axis in np.indices(grid.shape))
    right = np.array(grid.plane.row_cosine) * grid.spacing_mm[1]
    down = np.array(grid.plane.column_cosine) * grid.spacing_mm[0]
    depth = (
        float(np.array(grid.plane.position) @ normal) + columns * float(right @ normal) + rows * float(down @ normal)
    )
    nearest = np.searchsorted((along[1:] + along[:-1]) / 2, depth)
    is_in = np.abs(depth - along[nearest]) <= thickness_mm / 2 + _SLACK_MM
    chosen = np.flatnonzero(is_in)
    if not len(chosen):
        return
    chosen = chosen[np.argsort(nearest[chosen], kind="stable")]
    planes, starts = np.unique(nearest[chosen], return_index=True)
    for plane, own in zip(planes, np.split(chosen, starts[1:]), strict=True):
        points = np.array(grid.plane.position) + columns[own, None] * right + rows[own, None] * down
        yield Pixels(int(plane), rows[own], columns[own], points)


def plane_of(masks: Mapping[int, npt.NDArray[np.bool_]]) -> LabelPlane:
    """Segments on a plane by their numbers: as outlines, those with too many corners for it as their pixels.

    Args:
        masks: ``(rows, columns)`` of each segment.
    """
    outlines: dict[int, tuple[Floats, ...]] = {}
    ragged: dict[int, PackedMask] = {}
    for number, mask in sorted(masks.items()):
        if is_ragged(mask):
            ragged[number] = PackedMask((mask.shape[0], mask.shape[1]), np.packbits(mask))
        else:
            outlines[number] = outlines_of(mask)
    return LabelPlane(outlines, ragged)


def is_ragged(mask: npt.NDArray[np.bool_]) -> bool:
    """Whether the outlines of a mask would be too long to be traced and drawn; found without tracing them.

    Args:
        mask: ``(rows, columns)``.
    """
    filled = np.flatnonzero(mask.any(axis=1))
    if not len(filled):
        return False
    inside = np.pad(mask[filled[0] : filled[-1] + 1], 1)
    above, below = inside[:-1], inside[1:]
    edges = np.count_nonzero(above ^ below) + np.count_nonzero(inside[:, :-1] ^ inside[:, 1:])
    # Of the four pixels around a place: an odd number inside makes a corner, two that touch only there make two.
    odd = above[:, :-1] ^ above[:, 1:] ^ below[:, :-1] ^ below[:, 1:]
    crossed = (above[:, :-1] == below[:, 1:]) & (above[:, 1:] == below[:, :-1]) & (above[:, :-1] != above[:, 1:])
    corners = np.count_nonzero(odd) + 2 * np.count_nonzero(crossed)
    return bool(corners > MOST_CORNERS or edges > MOST_EDGES)


def outlines_of(mask: npt.NDArray[np.bool_]) -> tuple[Floats, ...]:
    """Give the edges of a mask as closed outlines along the borders of its pixels.

    Args:
        mask: ``(rows, columns)``.

    Returns:
        ``(n, 2)`` (column, row) from the corner of the first pixel; corners only. A pixel is in the mask
        if its centre is inside an odd number of them.
    """
    filled = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(filled[0]):
        return ()
    top, left = int(filled[0][0]), int(filled[1][0])
    inside = np.pad(mask[top : filled[0][-1] + 1, left : filled[1][-1] + 1], 1)
    width = inside.shape[1] + 1
    # Each edge runs with its pixel on the right: to the right above it, down on its right side, and back.
    ways = (
        (inside[1:, :] & ~inside[:-1, :], (1, 0), (1, 1)), (inside[:-1, :] & ~inside[1:, :], (1, 1), (1, 0)),
        (inside[:, :-1] & ~inside[:, 1:], (0, 1), (1, 1)), (inside[:, 1:] & ~inside[:, :-1], (1, 1), (0, 1)),
    )  # fmt: skip
    starts: list[Indices] = []
    ends: list[Indices] = []
    for is_edge, begin, end in ways:
        rows, columns = np.nonzero(is_edge)
        starts.append((rows + begin[0]) * width + columns + begin[1])
        ends.append((rows + end[0]) * width + columns + end[1])
    chains = _chained(np.concatenate(starts).tolist(), np.concatenate(ends).tolist())
    return tuple(_corners(np.array(chain), width) + np.array([left - 1, top - 1]) for chain in chains)


def _chained(starts: list[int], ends: list[int]) -> Iterator[list[int]]:
    """Edges put together to closed ways."""
    after: dict[int, list[int]] = {}
    for start, end in zip(starts, ends, strict=True):
        after.setdefault(start, []).append(end)
    while after:
        first = next(iter(after))
        chain, at = [first], first
        while True:
            following = after[at]
            to = following.pop()
            if not following:
                del after[at]
            if to == first:
                break
            chain.append(to)
            at = to
        yield chain


def _corners(chain: Indices, width: int) -> Floats:
    """The points of a way at which it turns, as (column, row)."""
    points = np.stack([chain % width, chain // width], axis=1)
    before = points - np.roll(points, 1, axis=0)
    turns = np.any(before != np.roll(points, -1, axis=0) - points, axis=1)
    return np.asarray(points[turns], np.float64)
