"""Pictures of a voxel block, ray by ray on the CPU.

All rays of a parallel projection share their steps, so a picture is made layer by layer from
front to back: SimpleITK looks a layer of the block up where it lies in the patient (linear
between voxels), and what is seen of it is laid behind what is there already. Layers and parts
of them where nothing can be seen are left out. Only the worker process imports this.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import SimpleITK

from medviewer.domain.frozen import dataclass
from medviewer.imaging.camera import Box, Look
from medviewer.imaging.transfer import Transfer
from medviewer.imaging.voxel_block import Codes, VoxelBlock

_CELL = 8  # voxels along each side of the cells in which nothing may be seen
_LAYER = 16  # steps that are looked up at once
_TILE = 96  # pixels along each side of the parts of a layer that are looked up at once
_SOLID = 0.02  # of the light: what lies behind less is not seen
_AMBIENT, _DIFFUSE, _SPECULAR, _SHINE = 0.30, 0.70, 0.18, 24
_STEP = 0.75  # voxels: the shortest step
_EDGE = 1  # pixels around a layer, for the slope of the values

sitk: Any = SimpleITK  # it has no types

Picture = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


class Outdated(Exception):  # noqa: N818 - not a failure: nobody wants the picture any more
    """A picture was given up."""


class _Level(NamedTuple):
    """The block at one fineness: its image in voxel coordinates, and the way there from the patient."""

    image: Any
    from_patient: Floats


@dataclass(frozen=True, slots=True)
class _Table:
    """What each code looks like at one length of step."""

    opacity: npt.NDArray[np.float32]
    color: npt.NDArray[np.float32]
    is_seen: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Part:
    """A box of the picture's grid: first and end of columns, rows and steps."""

    low: tuple[int, int, int]
    high: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class _Grid:
    """Where the voxels of a picture lie: its pixels, and the steps of their rays.

    Attributes:
        pixel_mm, step_mm: between pixels, and along each ray.
        to_patient: ``(4, 4)`` from (column, row, step, 1) to LPS mm; step 0 lies at the camera's centre.
    """

    pixel_mm: float
    step_mm: float
    to_patient: Floats

    @classmethod
    def of(cls, look: Look, block: VoxelBlock) -> _Grid:
        camera = look.camera
        pixel = camera.height_mm / look.shape[0]
        step = max(pixel, _STEP * block.spacing_mm)  # between voxels there is nothing new to see
        matrix = np.eye(4)
        matrix[:3, :3] = np.stack([camera.right, camera.down, camera.ahead], axis=1) * (pixel, pixel, step)
        middle = np.array([(look.shape[1] - 1) / 2, (look.shape[0] - 1) / 2, 0.0])
        matrix[:3, 3] = np.array(camera.center) - matrix[:3, :3] @ middle
        return cls(pixel, step, matrix)


class RayCaster:
    """Makes pictures of one block.

    Args:
        codes: ``(slices, rows, columns)`` uint16.
        block: what they mean and where they lie.
    """

    def __init__(self, codes: Codes, block: VoxelBlock) -> None:
        self._block = block
        self._least, self._most = _cells(codes, np.minimum), _cells(codes, np.maximum)
        image = sitk.GetImageFromArray(codes)
        self._fine = _Level(image, np.asarray(np.linalg.inv(block.to_patient), np.float64))

    @cached_property
    def _coarse(self) -> _Level:
        """Voxels of twice the size, as means, for pictures with large pixels."""
        factors = [2 if size > 1 else 1 for size in self._fine.image.GetSize()]
        image = sitk.BinShrink(self._fine.image, factors)
        image.SetSpacing((1.0, 1.0, 1.0))
        image.SetOrigin((0.0, 0.0, 0.0))
        to_fine = np.diag([*map(float, factors), 1.0])
        to_fine[:3, 3] = (np.array(factors) - 1) / 2
        return _Level(image, np.asarray(np.linalg.inv(self._block.to_patient @ to_fine), np.float64))

    def picture(self, look: Look, is_outdated: Callable[[], bool] = lambda: False) -> Picture:
        """``(rows, columns, 3)`` uint8, black where nothing is seen.

        Raises:
            Outdated: ``is_outdated`` said so between two layers.
        """
        grid = _Grid.of(look, self._block)
        table = self._table(look.transfer, grid.step_mm)
        level = self._coarse if grid.pixel_mm >= 2 * self._block.spacing_mm else self._fine
        canvas = _Canvas(look, grid)
        to_voxels = _to_voxels(grid, level)
        boxes = _Boxes.seen(self, table, look, grid)
        for part in boxes.parts(look, grid):
            if is_outdated():
                raise Outdated
            if canvas.is_solid(part):
                continue
            layer = _look_up(level.image, to_voxels, part)
            is_shown = _is_in(part, grid, look.box_mm) if look.box_mm is not None else None
            if look.transfer.mode == "maximum":
                canvas.keep_largest(layer, part, is_shown)
            else:
                canvas.lay_behind(layer, part, table, is_shown)
        return canvas.finished(table)

    def _table(self, transfer: Transfer, step_mm: float) -> _Table:
        seen = transfer.at(self._block.values())
        opacity = 1.0 - (1.0 - np.clip(seen[:, 0], 0, 0.999)) ** np.float32(step_mm)
        opacity[0] = 0.0  # code 0 is nothing
        return _Table(opacity.astype(np.float32), np.ascontiguousarray(seen[:, 1:]), opacity > 1e-4)

    @property
    def cells(self) -> tuple[Codes, Codes]:
        """The least and the largest code in and beside each cell."""
        return self._least, self._most

    @property
    def block(self) -> VoxelBlock:
        """What the pictures are of."""
        return self._block


class _Canvas:
    """The picture as it grows from front to back."""

    def __init__(self, look: Look, grid: _Grid) -> None:
        self._pixels_a_step = grid.step_mm / grid.pixel_mm
        self._is_maximum = look.transfer.mode == "maximum"
        self._left = np.ones(look.shape, np.float32)  # of the light, that passes
        self._color = np.zeros((*look.shape, 3), np.float32)
        self._largest = np.zeros(look.shape, np.uint16)

    def is_solid(self, part: _Part) -> bool:
        """Whether nothing behind this part of the picture could be seen."""
        return not self._is_maximum and bool((self._left[_window(part)] < _SOLID).all())

    def keep_largest(self, layer: Codes, part: _Part, is_shown: Mask | None) -> None:
        """Keep the largest code on each ray, of what is shown."""
        inner = layer[_EDGE:-_EDGE, _EDGE:-_EDGE, _EDGE:-_EDGE]
        if is_shown is not None:
            inner = inner * is_shown
        where = _window(part)
        self._largest[where] = np.maximum(self._largest[where], inner.max(axis=0))

    def lay_behind(self, layer: Codes, part: _Part, table: _Table, is_shown: Mask | None) -> None:
        """Lay what is seen of a layer behind what is there, step by step.

        A face that was cut is lit by how values change there, not by the cut: edges on the steps would be stripes.
        """
        inner = layer[_EDGE:-_EDGE, _EDGE:-_EDGE, _EDGE:-_EDGE]
        where = _window(part)
        is_seen = table.is_seen[inner]
        is_seen &= self._left[where] >= _SOLID
        if is_shown is not None:
            is_seen &= is_shown
        step, row, column = np.nonzero(is_seen)
        codes = inner[step, row, column]
        opacity = table.opacity[codes]
        color = _lit(table.color[codes], _slope(layer, (step, row, column), self._pixels_a_step))
        left, whole = self._left[where], self._color[where]
        ends = np.searchsorted(step, np.arange(len(inner) + 1))
        for first, end in pairwise(ends):
            at = row[first:end], column[first:end]
            passed = left[at]
            share = passed * opacity[first:end]
            whole[at] += share[:, None] * color[first:end]
            left[at] = passed - share

    def finished(self, table: _Table) -> Picture:
        """As 8-bit colours."""
        color = table.color[self._largest] * (self._largest > 0)[..., None] if self._is_maximum else self._color
        return np.rint(np.clip(color, 0, 1) * 255).astype(np.uint8)


class _Boxes:
    """The cells of a block in which something may be seen, as places on the picture's grid."""

    def __init__(self, middles: Floats, reach: Floats) -> None:
        self._middles = middles  # (n, 3) column, row, step
        self._reach = reach

    @classmethod
    def seen(cls, caster: RayCaster, table: _Table, look: Look, grid: _Grid) -> _Boxes:
        least, most = caster.cells
        counted = np.concatenate([[0], np.cumsum(_is_drawn(table, look.transfer))])
        slices, rows, columns = np.nonzero(counted[most.astype(np.intp) + 1] > counted[least.astype(np.intp)])
        voxels = np.stack([columns, rows, slices], axis=1) * float(_CELL) + (_CELL - 1) / 2
        if look.box_mm is not None:
            voxels = voxels[_may_reach(np.asarray(voxels, np.float64), caster.block.to_patient, look.box_mm)]
        to_grid = np.linalg.inv(grid.to_patient) @ caster.block.to_patient
        middles = voxels @ to_grid[:3, :3].T + to_grid[:3, 3]
        reach = np.abs(to_grid[:3, :3]).sum(axis=1) * (_CELL / 2 + 2)
        return cls(middles, reach)

    def parts(self, look: Look, grid: _Grid) -> list[_Part]:
        """Layers from front to back, each cut to where something may be seen."""
        if not len(self._middles):
            return []
        low = np.floor((self._middles - self._reach).min(axis=0)).astype(int)
        high = np.ceil((self._middles + self._reach).max(axis=0)).astype(int) + 1
        first, last = int(low[2]), int(high[2])
        if look.front_mm is not None:
            first = max(first, int(np.ceil(look.front_mm / grid.step_mm)))
        found = []
        for start in range(first, last, _LAYER):
            end = min(start + _LAYER, last)
            depth = self._middles[:, 2]
            here = self._middles[(depth + self._reach[2] >= start) & (depth - self._reach[2] <= end)]
            if len(here):
                found += _tiles(here, self._reach, (start, end), look.shape)
        return found


def _may_reach(voxels: Floats, to_patient: Floats, box_mm: Box) -> npt.NDArray[np.bool_]:
    """Which cells, by their middles, reach into a box of the patient."""
    places = voxels @ to_patient[:3, :3].T + to_patient[:3, 3]
    reach = np.abs(to_patient[:3, :3]).sum(axis=1) * (_CELL / 2 + 2)
    low, high = (np.array(corner) for corner in box_mm)
    return np.asarray(((places + reach >= low) & (places - reach <= high)).all(axis=1))


def _is_in(part: _Part, grid: _Grid, box_mm: Box) -> Mask:
    """``(steps, rows, columns)``: which places of a part lie in a box of the patient."""
    column, row, step = (np.arange(*ends, dtype=np.float32) for ends in zip(part.low, part.high, strict=True))
    matrix = grid.to_patient.astype(np.float32)
    is_in = np.ones((len(step), len(row), len(column)), bool)
    for axis, (low, high) in enumerate(zip(*box_mm, strict=True)):
        of_step = matrix[axis, 2] * step[:, None, None] + matrix[axis, 3]
        place = of_step + matrix[axis, 1] * row[:, None] + matrix[axis, 0] * column
        is_in &= (place >= low) & (place <= high)
    return is_in


def _tiles(middles: Floats, reach: Floats, steps: tuple[int, int], shape: tuple[int, int]) -> list[_Part]:
    """The tiles of the picture that cells reach into."""
    counts = [-(-size // _TILE) for size in shape]
    low = np.floor((middles - reach)[:, 1::-1] / _TILE).astype(np.intp)
    high = np.floor((middles + reach)[:, 1::-1] / _TILE).astype(np.intp) + 1
    low, high = np.clip(low, 0, counts), np.clip(high, 0, counts)
    # Each cell's rectangle of tiles is marked at its corners; summed up from there, all its tiles count it.
    marks = np.zeros((counts[0] + 1, counts[1] + 1), np.int64)
    for rows, columns, mark in ((low, low, 1), (low, high, -1), (high, low, -1), (high, high, 1)):
        np.add.at(marks, (rows[:, 0], columns[:, 1]), mark)
    is_reached = marks.cumsum(axis=0).cumsum(axis=1) > 0
    found = []
    for row, column in np.argwhere(is_reached).tolist():
        top, left = row * _TILE, column * _TILE
        bottom, right = min(top + _TILE, shape[0]), min(left + _TILE, shape[1])
        found.append(_Part((left, top, steps[0]), (right, bottom, steps[1])))
    return found


def _is_drawn(table: _Table, transfer: Transfer) -> npt.NDArray[np.bool_]:
    if transfer.mode == "composite":
        return table.is_seen
    is_bright = table.color.max(axis=1) > 0
    is_bright[0] = False
    return np.asarray(is_bright)


def _cells(codes: Codes, least: np.ufunc) -> Codes:
    """The least (or largest) code of each cell and of the voxels right after it, which share in what lies between."""
    found = codes
    for axis in range(3):
        starts = np.arange(0, found.shape[axis], _CELL)
        after = found.take(starts[1:], axis)
        found = least.reduceat(found, starts, axis)
        before = tuple(slice(0, -1) if a == axis else slice(None) for a in range(3))
        if len(starts) > 1:
            found[before] = least(found[before], after)
    return found


def _to_voxels(grid: _Grid, level: _Level) -> Any:
    matrix = level.from_patient @ grid.to_patient
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(matrix[:3, :3].ravel().tolist())
    transform.SetTranslation(matrix[:3, 3].tolist())
    return transform


def _look_up(image: Any, to_voxels: Any, part: _Part) -> Codes:
    """``(steps, rows, columns)`` codes of a part and one more on every side, linear between voxels; 0 outside."""
    size = [high - low + 2 * _EDGE for low, high in zip(part.low, part.high, strict=True)]
    start = [float(low - _EDGE) for low in part.low]
    found = sitk.Resample(
        image, size, to_voxels, sitk.sitkLinear, start, (1.0, 1.0, 1.0), np.eye(3).ravel().tolist(), 0.0,
        sitk.sitkUInt16,
    )  # fmt: skip
    return np.asarray(sitk.GetArrayFromImage(found), np.uint16)


def _window(part: _Part) -> tuple[slice, slice]:
    return slice(part.low[1], part.high[1]), slice(part.low[0], part.high[0])


class _Slope(NamedTuple):
    """How values change around points: along the line of sight and altogether, in codes a pixel."""

    ahead: npt.NDArray[np.float32]
    length: npt.NDArray[np.float32]


def _slope(layer: Codes, at: tuple[np.ndarray, ...], pixels_a_step: float) -> _Slope:
    values = layer.ravel()
    _, rows, columns = layer.shape
    step, row, column = at
    place = ((step + _EDGE) * rows + row + _EDGE) * columns + column + _EDGE
    ahead, down, across = (
        values[place + stride].astype(np.float32) - values[place - stride] for stride in (rows * columns, columns, 1)
    )
    ahead /= np.float32(pixels_a_step)
    return _Slope(np.abs(ahead), np.sqrt(ahead * ahead + down * down + across * across))


def _lit(color: npt.NDArray[np.float32], slope: _Slope) -> npt.NDArray[np.float32]:
    """Light from where the reader is: surfaces that face the reader are bright; where nothing changes, so is all."""
    facing = np.ones_like(slope.ahead)
    np.divide(slope.ahead, slope.length, out=facing, where=slope.length > 0)
    shade = _AMBIENT + _DIFFUSE * facing
    gleam = _SPECULAR * facing**_SHINE * (slope.length > 0)
    return np.asarray(color * shade[:, None] + gleam[:, None], np.float32)
