"""A map over the boxes of a stack, laid on any plane through the patient: a slice of the stack, or one that was cut."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from medviewer.domain.volume_map import VolumeMap
from medviewer.imaging.reslice import PlaneGrid

Floats = npt.NDArray[np.float64]

_ROWS_AT_A_TIME = 128  # bounds the memory of a plane of any size
_EDGE = 1e-6  # of a voxel: rounding must not cut the border off
_STILL = 1e-9  # of a voxel a pixel: less does not move
_UPRIGHT = 0.05  # of a voxel from the first slice to any other: less is no lean


def map_on_plane(boxes: VolumeMap, grid: PlaneGrid) -> npt.NDArray[np.float32]:
    """What a map says where each pixel of a plane lies in the patient.

    Linear between the middles of the boxes and constant over the outer half of those at the border, as maps of one
    image are drawn. Off the stack it is NaN: "not examined" must not look like "examined and unimportant".

    Args:
        boxes: the map, in the frame of reference of the plane.
        grid: the plane's pixels.

    Returns:
        ``(rows, columns)`` float32.
    """
    rows, columns = grid.shape
    start = np.array(grid.plane.position)
    down = np.array(grid.plane.column_cosine) * grid.spacing_mm[0]
    right = np.array(grid.plane.row_cosine) * grid.spacing_mm[1]
    moves = [np.abs(_directions(boxes) @ way) > _STILL for way in (down, right)]
    if not (moves[0] & moves[1]).any() and np.abs(_leans(boxes)).max() < _UPRIGHT:
        along_rows = _voxels_of(boxes, start + np.arange(rows)[:, None] * down)
        along_columns = _voxels_of(boxes, start + np.arange(columns)[:, None] * right)
        return _upright(boxes, along_rows, along_columns, moves[1])
    placed = np.empty(grid.shape, np.float32)
    across = start + np.arange(columns)[:, None] * right
    for first in range(0, rows, _ROWS_AT_A_TIME):
        some = np.arange(first, min(first + _ROWS_AT_A_TIME, rows))
        placed[some] = _values_at(boxes, across[None] + some[:, None, None] * down)
    return placed


def _upright(
    boxes: VolumeMap,
    along_rows: tuple[Floats, ...],
    along_columns: tuple[Floats, ...],
    moves_right: npt.NDArray[np.bool_],
) -> npt.NDArray[np.float32]:
    """On a plane along the axes of the stack each axis changes with the rows or the columns alone: fast at any size."""
    weights, names = [], []
    seen = [np.ones(len(along_rows[0]), np.bool_), np.ones(len(along_columns[0]), np.bool_)]
    for axis, name in enumerate("abc"):
        is_right = bool(moves_right[axis])
        at = (along_columns if is_right else along_rows)[axis]
        edges, voxels = boxes.edges[axis], boxes.voxels[axis]
        seen[is_right] &= (at >= -_EDGE) & (at <= voxels + _EDGE)
        low, high, share = _between(at, edges)
        weight = np.zeros((len(at), len(edges) - 1))
        np.add.at(weight, (np.arange(len(at)), low), 1 - share)
        np.add.at(weight, (np.arange(len(at)), high), share)
        weights.append(weight)
        names.append(("j" if is_right else "i") + name)
    found = np.einsum(f"{','.join(names)},abc->ij", *weights, boxes.values.astype(np.float64), optimize=True)
    return np.where(seen[0][:, None] & seen[1], found, np.nan).astype(np.float32)


def _values_at(boxes: VolumeMap, points: Floats) -> npt.NDArray[np.float32]:
    """Values at ``(..., 3)`` LPS mm."""
    pairs, is_on = [], np.ones(points.shape[:-1], np.bool_)
    for at, edges, voxels in zip(_voxels_of(boxes, points), boxes.edges, boxes.voxels, strict=True):
        is_on &= (at >= -_EDGE) & (at <= voxels + _EDGE)
        pairs.append(_between(at, edges))
    found = np.zeros(points.shape[:-1], np.float64)
    for corner in range(8):
        weight: Floats = np.ones(points.shape[:-1], np.float64)
        index = []
        for axis, (low, high, share) in enumerate(pairs):
            is_high = bool(corner >> axis & 1)
            index.append(high if is_high else low)
            weight = weight * (share if is_high else 1 - share)
        found += weight * boxes.values[tuple(index)]
    return np.where(is_on, found, np.nan).astype(np.float32)


def _between(at: Floats, edges: Floats) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Floats]:
    """The boxes on both sides of each place, and the share of the second."""
    middles = (edges[:-1] + edges[1:]) / 2
    place = np.interp(at, middles, np.arange(len(middles)))
    low = np.minimum(place.astype(np.intp), max(len(middles) - 2, 0))
    return low, np.minimum(low + 1, len(middles) - 1), np.asarray(place - low, np.float64)


def _directions(boxes: VolumeMap) -> Floats:
    """``(3, 3)``: how many voxels along each axis a step of a millimetre goes, by L, P and H."""
    step = max(float(np.median(np.diff(boxes.along))), _EDGE)
    axes = (boxes.plane.normal, boxes.plane.column_cosine, boxes.plane.row_cosine)
    sizes = np.array([[step], [boxes.spacing_mm[0]], [boxes.spacing_mm[1]]], np.float64)
    return np.asarray(np.array(axes, np.float64) / sizes, np.float64)


def _voxels_of(boxes: VolumeMap, points: Floats) -> tuple[Floats, Floats, Floats]:
    """Where points lie in the stack: slice, row and column, counted from the outer edge of the first voxel."""
    away = points - boxes.positions[0]
    along, places = away @ np.array(boxes.plane.normal), boxes.along
    ends = (places[1] - places[0]) / 2, (places[-1] - places[-2]) / 2  # a slice reaches half a step to each side
    known = np.concatenate([[places[0] - ends[0]], places, [places[-1] + ends[1]]])
    numbers = np.concatenate([[0.0], np.arange(len(places)) + 0.5, [float(len(places))]])
    slices = np.interp(along, known, numbers, left=-1.0, right=len(places) + 1.0)
    over = [np.interp(along, places, lean) for lean in _leans(boxes)]
    rows = away @ np.array(boxes.plane.column_cosine) / boxes.spacing_mm[0] - over[0] + 0.5
    columns = away @ np.array(boxes.plane.row_cosine) / boxes.spacing_mm[1] - over[1] + 0.5
    return np.asarray(slices, np.float64), rows, columns


def _leans(boxes: VolumeMap) -> Floats:
    """``(2, slices)``: how far each slice lies sideways of the first one, in rows and in columns."""
    away = boxes.positions - boxes.positions[0]
    rows = away @ np.array(boxes.plane.column_cosine) / boxes.spacing_mm[0]
    return np.stack([rows, away @ np.array(boxes.plane.row_cosine) / boxes.spacing_mm[1]])
