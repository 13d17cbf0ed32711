"""A volume made ready to be looked at in 3D: even, of one type, and no larger than there is room for.

Each voxel becomes a 16-bit code. Code 0 is nothing (padding); code ``c`` is the modality value
``offset + (c - 1) * scale``. Where the files put every slice at its even place, one affine says
where each voxel lies in the patient, also in oblique and leaning stacks; where they do not,
there is no such block and no 3D view.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from medviewer.domain.errors import GeometryError, InputError, TooLargeError
from medviewer.domain.frame import Frame
from medviewer.domain.frozen import dataclass
from medviewer.domain.study import Caveat, Stack
from medviewer.domain.volume import Volume
from medviewer.imaging.display import modality_values
from medviewer.imaging.transfer import SHARES
from medviewer.imaging.units import is_in_hounsfield

MAX_VOXELS = 256 * 2**20  # half a gigabyte of codes
_UNEVEN = 0.1  # of the distance between slices: farther from its even place a slice would be seen out of place
_CODES = 65534  # beside 0, which is nothing; and one is left for rounding
_SAMPLE = 1 << 20
_SMALLEST_SCALE = 1e-30

Codes = npt.NDArray[np.uint16]


@dataclass(frozen=True, slots=True, eq=False)
class VoxelBlock:
    """Where the voxels of a 3D view lie and what their codes mean. Holds no voxels.

    Attributes:
        shape: (slices, rows, columns) of voxels.
        to_patient: ``(4, 4)`` from (column, row, slice, 1) to LPS mm; voxel centres are whole numbers.
        scale, offset: of the codes, in the modality's unit.
        shrunk: how many stored voxels (slices, rows, columns) were averaged into one.
        percentiles: values below which shares of the voxels lie; None where the values are Hounsfield units.
        unit: of the values; may be empty.
        caveats: of the volume, and of what was done to it.
    """

    shape: tuple[int, int, int]
    to_patient: npt.NDArray[np.float64]
    scale: float
    offset: float
    shrunk: tuple[int, int, int]
    percentiles: dict[float, float] | None
    unit: str
    caveats: tuple[Caveat, ...]

    @property
    def corners(self) -> npt.NDArray[np.float64]:
        """``(8, 3)`` LPS mm: the outermost voxel centres."""
        ends = np.array([[c, r, s] for s in (0, 1) for r in (0, 1) for c in (0, 1)], float)
        ends *= np.array(self.shape[::-1]) - 1
        return np.asarray(ends @ self.to_patient[:3, :3].T + self.to_patient[:3, 3], np.float64)

    @property
    def spacing_mm(self) -> float:
        """The smallest distance between voxels."""
        return float(np.linalg.norm(self.to_patient[:3, :3], axis=0).min())

    def values(self) -> npt.NDArray[np.float64]:
        """``(65536,)`` the modality value of each code; that of 0 means nothing."""
        return np.asarray(self.offset + (np.arange(65536) - 1.0) * self.scale, np.float64)


def check_stack(stack: Stack) -> None:
    """Say no before the slices are read, where their headers already do.

    Raises:
        GeometryError: the files do not say where the slices lie.
        InputError: the images are in colour.
    """
    first = stack.images[0].description
    if stack.order != "position" or first.pixel_spacing_mm is None:
        raise GeometryError(
            "The files do not say where each slice lies in the patient, so there is no 3D view; "
            "look at the slices as they are."
        )
    if not first.photometric_interpretation.startswith("MONOCHROME"):
        raise InputError("Colour images have no 3D view; choose a greyscale series.")


def make_block(volume: Volume, *, max_voxels: int = MAX_VOXELS) -> VoxelBlock:
    """Work out how a volume is shown in 3D.

    Raises:
        GeometryError: the slices do not lie at even distances, or on one straight line.
        TooLargeError: even averaged it would be too large.
        InputError: it holds no value at all.
    """
    step = _even_step(volume)
    shrunk = _shrink_factors(volume, max_voxels)
    low, high = _range(volume)
    is_exact = volume.stored.dtype.kind in "ui" and volume.description.rescale_slope == 1.0 and high - low <= _CODES
    scale = 1.0 if is_exact else max((high - low) / _CODES, _SMALLEST_SCALE)
    columns = np.array(volume.plane.row_cosine) * volume.spacing_mm[1]
    rows = np.array(volume.plane.column_cosine) * volume.spacing_mm[0]
    to_patient = np.eye(4)
    to_patient[:3, :3] = np.stack([columns, rows, step], axis=1) * np.array(shrunk[::-1])
    # The middle of the first voxels that were averaged is the middle of the first voxel made of them.
    middle = (np.array(shrunk[::-1]) - 1) / 2
    to_patient[:3, 3] = volume.positions[0] + np.stack([columns, rows, step], axis=1) @ middle
    is_hounsfield = is_in_hounsfield(volume.description)
    return VoxelBlock(
        shape=_shrunk_shape(volume.stored.shape, shrunk), to_patient=to_patient, scale=scale, offset=low,
        shrunk=shrunk, percentiles=None if is_hounsfield else _percentiles(volume),
        unit="HU" if is_hounsfield else "", caveats=(*volume.caveats, *_shrink_caveat(shrunk)),
    )  # fmt: skip


def slices_of(volume: Volume, block: VoxelBlock) -> Iterator[Codes]:
    """The codes of a block, ``(rows, columns)`` uint16, slice by slice: never a second copy of the volume."""
    thick = block.shrunk[0]
    for first in range(0, volume.stored.shape[0], thick):
        values = np.stack([_values(volume, index) for index in range(first, min(first + thick, len(volume.stored)))])
        yield _coded(_averaged(values, block.shrunk), block)


def _even_step(volume: Volume) -> npt.NDArray[np.float64]:
    """From one slice to the next, LPS mm."""
    positions = volume.positions
    count = len(positions)
    step = (positions[-1] - positions[0]) / (count - 1)
    even = positions[0] + np.arange(count)[:, None] * step
    between = float(step @ np.array(volume.plane.normal))
    if np.linalg.norm(positions - even, axis=1).max() > _UNEVEN * between:
        raise GeometryError(
            "The slices do not lie at even distances, or some are missing, so a 3D view would be distorted; "
            "use Other planes (MPR), which leave the gaps empty."
        )
    return np.asarray(step, np.float64)


def _shrink_factors(volume: Volume, max_voxels: int) -> tuple[int, int, int]:
    """How many voxels become one along each axis, the finest first, until there is room."""
    factors = [1, 1, 1]
    spacing = (volume.slice_spacing_mm, *volume.spacing_mm)
    while np.prod(_shrunk_shape(volume.stored.shape, factors), dtype=float) > max_voxels:
        open_axes = [axis for axis in range(3) if volume.stored.shape[axis] >= 2 * factors[axis]]
        if not open_axes:
            raise TooLargeError("The series is too large for a 3D view; choose one with fewer or smaller slices.")
        finest = min(open_axes, key=lambda axis: spacing[axis] * factors[axis])
        factors[finest] *= 2
    return factors[0], factors[1], factors[2]


def _shrunk_shape(shape: tuple[int, ...], factors: tuple[int, ...] | list[int]) -> tuple[int, int, int]:
    slices, rows, columns = (-(-size // factor) for size, factor in zip(shape, factors, strict=True))
    return slices, rows, columns


def _shrink_caveat(shrunk: tuple[int, int, int]) -> tuple[Caveat, ...]:
    if shrunk == (1, 1, 1):
        return ()
    slices, rows, columns = shrunk
    text = f"The series is large: {columns} x {rows} x {slices} voxels are averaged into one for the 3D view."
    return (Caveat("volume.averaged", text),)


def _values(volume: Volume, index: int) -> npt.NDArray[np.float32]:
    """One slice in the modality's unit; NaN where there is nothing."""
    stored = volume.stored[index]
    values = modality_values(Frame(stored, volume.description))
    padding = volume.description.pixel_padding_range
    if padding is not None:
        values[(stored >= padding[0]) & (stored <= padding[1])] = np.nan
    values[~np.isfinite(values)] = np.nan
    return values


def _range(volume: Volume) -> tuple[float, float]:
    low, high = np.inf, -np.inf
    for index in range(len(volume.stored)):
        values = _values(volume, index)
        low = min(low, float(np.fmin.reduce(values, axis=None, initial=np.inf)))
        high = max(high, float(np.fmax.reduce(values, axis=None, initial=-np.inf)))
    if not np.isfinite([low, high]).all():
        raise InputError("The slices hold no values that can be shown; choose another series.")
    return low, high


def _percentiles(volume: Volume) -> dict[float, float]:
    step = max(1, round((volume.stored.size / _SAMPLE) ** (1 / 3)))
    chosen = [_values(volume, index)[::step, ::step].ravel() for index in range(0, len(volume.stored), step)]
    values = np.concatenate(chosen)
    values = values[np.isfinite(values)]
    found = np.percentile(values, SHARES) if values.size else np.zeros(len(SHARES))
    return dict(zip(SHARES, (float(value) for value in found), strict=True))


def _averaged(values: npt.NDArray[np.float32], shrunk: tuple[int, int, int]) -> npt.NDArray[np.float32]:
    """``(slices, rows, columns)`` to ``(rows, columns)`` means of what is there; NaN where nothing is."""
    if shrunk == (1, 1, 1):
        return np.asarray(values[0], np.float32)
    _, down, across = shrunk
    rows, columns = values.shape[1:]
    wide = ((0, 0), (0, -rows % down), (0, -columns % across))
    padded = np.pad(values, wide, constant_values=np.nan)
    cells = padded.reshape(len(values), padded.shape[1] // down, down, padded.shape[2] // across, across)
    is_there = np.isfinite(cells)
    count = is_there.sum(axis=(0, 2, 4))
    total = np.where(is_there, cells, 0).sum(axis=(0, 2, 4), dtype=np.float64)
    means: npt.NDArray[np.float32] = np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)
    return means


def _coded(values: npt.NDArray[np.float32], block: VoxelBlock) -> Codes:
    codes = np.rint((values - block.offset) / block.scale) + 1
    return np.where(np.isfinite(values), np.clip(codes, 1, 65535), 0).astype(np.uint16)
