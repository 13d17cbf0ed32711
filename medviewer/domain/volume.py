"""A stack of parallel slices as one block of voxels, each in its place in the patient."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from medviewer.domain.frozen import dataclass
from medviewer.domain.study import Caveat, PixelDescription, Plane


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """The pixels of a stack with the position of every slice. Identity-free.

    Slices lie where the files put them: distances may vary and slices may be missing or
    lean (gantry tilt). Nothing is moved onto an even grid.

    Attributes:
        stored: ``(slices, rows, columns)`` stored values, as in :class:`~medviewer.domain.frame.Frame`;
            modality values (float32, NaN for padding) where the slices are scaled differently. Read-only.
        positions: ``(slices, 3)`` LPS mm, the centre of each slice's first pixel, rising along the normal.
        description: how to read the values; its plane and spacing are those of the first slice.
        caveats: what the reader must be told.
    """

    stored: np.ndarray
    positions: npt.NDArray[np.float64]
    description: PixelDescription
    caveats: tuple[Caveat, ...] = ()

    @property
    def plane(self) -> Plane:
        """The plane of the first slice."""
        assert self.description.plane is not None  # noqa: S101 - read_volume refuses a stack without
        return self.description.plane

    @property
    def spacing_mm(self) -> tuple[float, float]:
        """Between rows and between columns."""
        assert self.description.pixel_spacing_mm is not None  # noqa: S101 - as above
        return self.description.pixel_spacing_mm

    @property
    def along(self) -> npt.NDArray[np.float64]:
        """``(slices,)`` how far along the normal each slice lies, in mm from the first one."""
        return np.asarray((self.positions - self.positions[0]) @ np.array(self.plane.normal), np.float64)

    @property
    def slice_spacing_mm(self) -> float:
        """The usual distance between slices, along the normal."""
        return float(np.median(np.diff(self.along)))

    @property
    def corners(self) -> npt.NDArray[np.float64]:
        """``(8, 3)`` LPS mm: the outermost voxel centres."""
        rows, columns = self.stored.shape[1:]
        across = np.array(self.plane.row_cosine) * self.spacing_mm[1] * (columns - 1)
        down = np.array(self.plane.column_cosine) * self.spacing_mm[0] * (rows - 1)
        ends = (self.positions[0], self.positions[-1])
        return np.array([end + a * across + d * down for end in ends for d in (0, 1) for a in (0, 1)])
