"""Other planes through a volume: axial, coronal, sagittal, oblique, and slabs of them.

Every pixel of a new plane is looked up where it lies in the patient, between the eight
voxels around it, from the positions that the files give: a leaning stack (gantry tilt)
comes out straight, uneven distances are respected, and where slices are missing there is
nothing. The result is a :class:`~medviewer.domain.frame.Frame` with its own plane and
spacing, so that everything that shows, letters and measures an image does so here too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from medviewer.domain.errors import GeometryError, UsageError
from medviewer.domain.frame import Frame
from medviewer.domain.frozen import dataclass
from medviewer.domain.study import Plane
from medviewer.domain.volume import Volume

PlaneName = Literal["axial", "coronal", "sagittal"]
Slab = Literal["mean", "max", "min"]
Floats = npt.NDArray[np.float64]

# Right and down on the screen, in LPS: the patient faces the reader, stands upright, or looks to the left.
_DIRECTIONS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "axial": ((1, 0, 0), (0, 1, 0)),
    "coronal": ((1, 0, 0), (0, 0, -1)),
    "sagittal": ((0, 1, 0), (0, 0, -1)),
}
NORMAL_AXIS = {"axial": 2, "coronal": 1, "sagittal": 0}
"""Which LPS axis runs across each plane."""
Axes = tuple[tuple[float, float, float], tuple[float, float, float]]
"""Right and down on the screen as unit vectors in LPS, perpendicular: of an oblique plane."""
_GAP = 1.5  # times the usual distance: between slices that far apart one is missing
_MAX_PIXELS = 4096 * 4096
_EDGE = 1e-6  # of a voxel: rounding must not cut the border off


@dataclass(frozen=True, slots=True)
class PlaneGrid:
    """The pixels of a plane to cut.

    Attributes:
        plane: where it lies; ``position`` is the centre of the first pixel.
        spacing_mm: between rows and between columns.
        shape: rows and columns.
    """

    plane: Plane
    spacing_mm: tuple[float, float]
    shape: tuple[int, int]


class _Places(NamedTuple):
    """Where pixels lie between voxels: fractional indices of any shapes that broadcast; NaN where nothing is."""

    slices: Floats
    rows: Floats
    columns: Floats


def axes_of(name: PlaneName) -> Axes:
    """Right and down of a plane of the patient; see :func:`standard_grid`."""
    right, down = _DIRECTIONS[name]
    return right, down


def across(name: PlaneName, axes: Axes | None = None) -> Floats:
    """The unit vector across a plane, on the side of L, P or H that the plane of that name has; ``axes`` if oblique."""
    right, down = axes or _DIRECTIONS[name]
    normal: Floats = np.cross(np.array(right, np.float64), np.array(down, np.float64))
    return normal if normal[NORMAL_AXIS[name]] >= 0 else -normal


def standard_grid(volume: Volume, name: PlaneName, at_mm: float, axes: Axes | None = None) -> PlaneGrid:
    """The whole volume's extent in a plane of the patient, or one that was tilted from it, with square pixels.

    Args:
        volume: to be cut.
        name: which plane. Axial has R on the left and A on top, coronal R and H, sagittal A and H.
        at_mm: how far from the origin along :func:`across` (LPS: axial z, coronal y, sagittal x).
        axes: right and down of an oblique plane.

    Raises:
        UsageError: there is nothing of the volume at that place.
    """
    low, high = range_mm(volume, name, axes)
    if not np.isfinite(at_mm) or not low - _EDGE <= at_mm <= high + _EDGE:
        raise UsageError(f"The volume has no {name} plane at {at_mm:g} mm: it reaches from "
                         f"{low:.1f} to {high:.1f} mm.")  # fmt: skip
    right, down = (np.array(direction, np.float64) for direction in axes or _DIRECTIONS[name])
    pixel = min(*volume.spacing_mm, volume.slice_spacing_mm)
    start, sizes = across(name, axes) * at_mm, []
    for direction in (down, right):
        along = volume.corners @ direction
        start = start + direction * along.min()
        sizes.append(int(np.floor((along.max() - along.min()) / pixel + _EDGE)) + 1)
    return PlaneGrid(_plane(start, right, down), (pixel, pixel), (sizes[0], sizes[1]))


def range_mm(volume: Volume, name: PlaneName, axes: Axes | None = None) -> tuple[float, float]:
    """From where to where the volume reaches across a plane, in mm along :func:`across`."""
    along = volume.corners @ across(name, axes)
    return float(along.min()), float(along.max())


def reslice(
    volume: Volume, grid: PlaneGrid, *, slab_mm: float = 0.0, slab: Slab = "mean", smooth: bool = True
) -> Frame:
    """Cut a plane out of a volume.

    Args:
        volume: greyscale.
        grid: the pixels wanted.
        slab_mm: thickness; 0 is the plane alone. Planes half a voxel apart are combined, as many
            to each side.
        slab: how: the mean, the maximum (MIP) or the minimum (MinIP).
        smooth: linear between voxels; else the nearest voxel.

    Returns:
        ``(rows, columns)`` in the stored type (rounded), with the plane, the spacing and the caveats of
        the volume. Pixels outside of the volume, in a gap, or beside padding have a padding value.

    Raises:
        GeometryError: the grid is not two perpendicular directions, or absurdly large.
        UsageError: a slab of negative thickness.
    """
    _check(grid, slab_mm)
    normal = np.array(grid.plane.normal)
    step = 0.5 * min(*volume.spacing_mm, volume.slice_spacing_mm)
    reach = int(np.floor(0.5 * slab_mm / step + _EDGE))
    sampler = _Sampler(volume, smooth=smooth)
    total: npt.NDArray[np.float32] | None = None
    count = np.zeros(grid.shape, np.int32)
    for index in range(-reach, reach + 1):
        layer = sampler.sample(_moved(grid, normal * (index * step)))
        if reach == 0:
            total = layer
            break
        total = _combined(total, layer, slab, count)
    assert total is not None  # noqa: S101 - there is one layer at least
    if reach and slab == "mean":
        with np.errstate(invalid="ignore"):
            total = np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)
    return _as_frame(total, volume, grid)


class _Sampler:
    """Looks a volume up at any places."""

    def __init__(self, volume: Volume, *, smooth: bool) -> None:
        self._volume = volume
        self._smooth = smooth
        self._along = volume.along
        self._axes = np.array(volume.plane.row_cosine), np.array(volume.plane.column_cosine)
        # How far each slice's first pixel is shifted within its own plane, in columns and rows.
        away = volume.positions - volume.positions[0]
        self._shift = tuple(
            away @ axis / spacing for axis, spacing in zip(self._axes, reversed(volume.spacing_mm), strict=True)
        )

    def sample(self, grid: PlaneGrid) -> npt.NDArray[np.float32]:
        """The values on a plane; NaN where there is nothing."""
        places = self._places(grid)
        if self._is_separable(places):
            return self._look_up_straight(places, grid.shape)
        full = _Places(*(np.broadcast_to(part, grid.shape) for part in places))
        out = np.empty(grid.shape, np.float32)
        rows = max(1, (1 << 16) // grid.shape[1])
        for row in range(0, grid.shape[0], rows):  # what is in between stays in the processor's cache
            out[row : row + rows] = self._look_up(_Places(*(part[row : row + rows] for part in full)))
        return out

    def _places(self, grid: PlaneGrid) -> _Places:
        """Where each pixel of a grid lies among the voxels."""
        right, down = np.array(grid.plane.row_cosine), np.array(grid.plane.column_cosine)
        start = np.array(grid.plane.position) - self._volume.positions[0]
        across = np.arange(grid.shape[1]) * grid.spacing_mm[1]
        below = np.arange(grid.shape[0])[:, None] * grid.spacing_mm[0]

        def project(axis: Floats) -> Floats:
            """Distance along an axis, without the dimension along which it does not change."""
            total: Floats = np.full((1, 1), float(start @ axis))
            for steps, direction in ((across, right), (below, down)):
                share = float(direction @ axis)
                if abs(share) > 1e-9:
                    total = total + steps * share
            return total

        depth = project(np.array(self._volume.plane.normal))
        slices = self._slice_at(depth)
        indices: list[Floats] = []
        for axis, spacing, shift in zip(self._axes, reversed(self._volume.spacing_mm), self._shift, strict=True):
            lean = np.interp(depth, self._along, shift) if np.abs(shift).max() > 1e-9 else np.zeros((1, 1))
            index: Floats = project(axis) / spacing - lean
            indices.append(index)
        return _Places(slices, indices[1], indices[0])

    def _slice_at(self, depth: Floats) -> Floats:
        """The fractional slice at a distance along the normal; NaN off the ends and where slices are missing."""
        along, last = self._along, len(self._along) - 1
        place = np.interp(depth, along, np.arange(len(along)))
        slack = _EDGE * self._volume.slice_spacing_mm
        place = np.where((depth < -slack) | (depth > along[-1] + slack), np.nan, place)
        gaps = np.diff(along)
        below = np.clip(np.nan_to_num(place).astype(np.intp), 0, last - 1)
        is_between = (gaps[below] > _GAP * self._volume.slice_spacing_mm) & (place != np.rint(place))
        return np.asarray(np.where(is_between, np.nan, place))

    def _is_separable(self, places: _Places) -> bool:
        """Whether each voxel axis runs along one axis of the plane at most, and each of those has one at most."""
        shapes = [part.shape for part in places]
        along = [next((axis for axis in (0, 1) if shape[axis] > 1), None) for shape in shapes]
        if any(shape[0] > 1 and shape[1] > 1 for shape in shapes):
            return False
        used = [axis for axis in along if axis is not None]
        return len(used) == len(set(used))

    def _neighbours(self, place: Floats, size: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
        """The voxel before each place and the share of the next one; NaN outside."""
        inside = (place >= -_EDGE) & (place <= size - 1 + _EDGE)
        bounded = np.clip(np.nan_to_num(place), 0, size - 1)
        if not self._smooth:
            bounded = np.rint(bounded)
        first = np.minimum(bounded.astype(np.intp), max(size - 2, 0))
        return first, np.where(inside, bounded - first, np.nan).astype(np.float32)

    def _values(self, block: np.ndarray) -> npt.NDArray[np.float32]:
        """Stored values as numbers to reckon with; padding is NaN, so that it never mixes with anatomy."""
        values = block.astype(np.float32)
        padding = self._volume.description.pixel_padding_range
        if padding is not None:
            values[(block >= padding[0]) & (block <= padding[1])] = np.nan
        return values

    def _look_up_straight(self, places: _Places, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
        """Without rotation one axis is interpolated after the other, on far fewer values."""
        stored = self._volume.stored
        firsts, shares = zip(
            *(self._neighbours(part.ravel(), size) for part, size in zip(places, stored.shape, strict=True)),
            strict=True,
        )
        # What is one place on an axis is cut first: the rest is a picture, not a block.
        order = sorted(range(3), key=lambda axis: places[axis].size)
        result: np.ndarray = stored
        is_read = False
        for axis in order:
            first, share = firsts[axis], shares[axis]
            low = self._values(result.take(first, axis)) if not is_read else result.take(first, axis)
            after = np.minimum(first + 1, stored.shape[axis] - 1)
            weight = share.reshape([-1 if a == axis else 1 for a in range(3)])
            if np.all((share == 0) | np.isnan(share)):
                result = low + weight * 0
            else:
                high = self._values(result.take(after, axis)) if not is_read else result.take(after, axis)
                result = _mixed(low, high, weight)
            is_read = True
        along_rows = next((axis for axis in range(3) if places[axis].shape[0] > 1), None)
        along_columns = next((axis for axis in range(3) if places[axis].shape[1] > 1), None)
        axes = [axis for axis in (along_rows, along_columns) if axis is not None]
        rest = [axis for axis in range(3) if axis not in axes]
        picture = result.transpose(*rest, *axes)
        picture = picture.reshape(
            shape[0] if along_rows is not None else 1, shape[1] if along_columns is not None else 1
        )
        return np.ascontiguousarray(np.broadcast_to(picture, shape), np.float32)

    def _look_up(self, places: _Places) -> npt.NDArray[np.float32]:
        stored = self._volume.stored
        (z, dz), (y, dy), (x, dx) = (
            self._neighbours(part, size) for part, size in zip(places, stored.shape, strict=True)
        )
        z1, y1, x1 = (np.minimum(first + 1, size - 1) for first, size in zip((z, y, x), stored.shape, strict=True))
        planes = []
        for slices in (z, z1):
            lines = [
                _mixed(self._values(stored[slices, rows, x]), self._values(stored[slices, rows, x1]), dx)
                for rows in (y, y1)
            ]
            planes.append(_mixed(lines[0], lines[1], dy))
        return _mixed(planes[0], planes[1], dz)


def _mixed(
    low: npt.NDArray[np.float32], high: npt.NDArray[np.float32], share: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Linear between two values; a value that has no share cannot spoil the other."""
    mixed = low + (high - low) * share
    mixed = np.where(share == 0, low, mixed)
    return np.asarray(np.where(share == 1, high, mixed), np.float32)


def _combined(
    total: npt.NDArray[np.float32] | None, layer: npt.NDArray[np.float32], slab: Slab, count: npt.NDArray[np.int32]
) -> npt.NDArray[np.float32]:
    if slab != "mean":
        return layer if total is None else (np.fmax if slab == "max" else np.fmin)(total, layer)
    is_there = np.isfinite(layer)
    count += is_there
    values = np.where(is_there, layer, np.float32(0))
    return values if total is None else total + values


def _as_frame(values: npt.NDArray[np.float32], volume: Volume, grid: PlaneGrid) -> Frame:
    """Values in the stored type again, with a padding value that no voxel has."""
    dtype = volume.stored.dtype
    is_empty = ~np.isfinite(values)
    description = replace(
        volume.description, plane=grid.plane, pixel_spacing_mm=grid.spacing_mm, rows=grid.shape[0],
        columns=grid.shape[1], spacing_source="patient plane", ultrasound_regions=(),
    )  # fmt: skip
    if dtype.kind == "f":
        stored = values.astype(dtype)
    else:
        wide, padding = padding_value(dtype, description.bits_stored, is_signed=description.is_signed)
        if description.pixel_padding_range is not None:
            padding = int(description.pixel_padding_range[0])
        stored = np.where(is_empty, padding, np.rint(np.where(is_empty, 0, values))).astype(wide)
        if is_empty.any() and description.pixel_padding_range is None:
            description = replace(description, pixel_padding_range=(padding, padding))
    stored.flags.writeable = False
    return Frame(stored, description, volume.caveats)


def padding_value(dtype: np.dtype, bits_stored: int, *, is_signed: bool) -> tuple[np.dtype, int]:
    """A type that holds all stored values and one more, and that one."""
    has_room = bits_stored < 8 * dtype.itemsize
    if not has_room:
        dtype = np.dtype(np.int32 if dtype.itemsize < 4 else np.int64)  # a dose may use all of its 32 bits
    limits = np.iinfo(dtype)
    return dtype, int(limits.min if is_signed or not has_room else limits.max)


def _check(grid: PlaneGrid, slab_mm: float) -> None:
    right, down = np.array(grid.plane.row_cosine), np.array(grid.plane.column_cosine)
    is_sound = (
        np.isfinite([*grid.plane.position, *right, *down, *grid.spacing_mm]).all()
        and abs(np.linalg.norm(right) - 1) < 1e-3
        and abs(np.linalg.norm(down) - 1) < 1e-3
        and abs(float(right @ down)) < 1e-3
        and min(grid.spacing_mm) > 0
    )
    if not is_sound:
        raise GeometryError("The plane to cut is not two perpendicular directions with a distance between pixels.")
    if min(grid.shape) < 1 or grid.shape[0] * grid.shape[1] > _MAX_PIXELS:
        raise GeometryError(f"A plane of {grid.shape[0]} x {grid.shape[1]} pixels cannot be cut; choose larger pixels.")
    if not 0 <= slab_mm < 1e4:
        raise UsageError("A slab is 0 mm thick or more; give its thickness in mm.")


def _moved(grid: PlaneGrid, by: Floats) -> PlaneGrid:
    position = tuple(float(value) for value in np.array(grid.plane.position) + by)
    return replace(grid, plane=replace(grid.plane, position=(position[0], position[1], position[2])))


def _plane(position: Floats, right: Floats, down: Floats) -> Plane:
    def triple(vector: Floats) -> tuple[float, float, float]:
        return float(vector[0]), float(vector[1]), float(vector[2])

    return Plane(triple(position), triple(right), triple(down))
