"""What a map over the boxes of a stack of slices says, with where each box lies in the patient."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from medviewer.domain.frozen import dataclass
from medviewer.domain.study import Plane

_STRONGEST = 0.995  # of the positive boxes: as of a map of one image


@dataclass(frozen=True, slots=True, eq=False)
class VolumeMap:
    """Values of boxes that fill a stack, in the order of its slices, rows and columns.

    One value a box, not one a voxel: a stack of 500 slices would take half a gigabyte, and a map of 4 x 4 x 4
    boxes says no more for it.

    Attributes:
        values: ``(n_slices, n_rows, n_columns)`` float32; larger speaks more for the finding.
        edges: for each of the three axes where its boxes begin and end, one more than there are boxes, in voxels
            from the outer edge of the first one (whose centre is at 0.5).
        positions: ``(slices, 3)`` LPS mm, the centre of each slice's first voxel, rising along the normal.
        plane: of the first slice.
        spacing_mm: between rows and between columns.
        voxels: slices, rows and columns of the stack.
    """

    values: npt.NDArray[np.float32]
    edges: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]
    positions: npt.NDArray[np.float64]
    plane: Plane
    spacing_mm: tuple[float, float]
    voxels: tuple[int, int, int]

    @property
    def along(self) -> npt.NDArray[np.float64]:
        """``(slices,)`` how far along the normal each slice lies, in mm from the first one."""
        return np.asarray((self.positions - self.positions[0]) @ np.array(self.plane.normal), np.float64)

    @property
    def strongest(self) -> float:
        """The value that is drawn as the strongest on every slice alike; 0 if none is positive."""
        positive = self.values[np.isfinite(self.values) & (self.values > 0)]
        return float(np.quantile(positive, _STRONGEST, method="higher")) if positive.size else 0.0

    @property
    def hottest(self) -> npt.NDArray[np.float64] | None:
        """The middle of the box that speaks most for the finding, in LPS mm; None if none speaks for it.

        Of equal boxes the one nearest the middle of them all, so that it is not left to their order.
        """
        if self.strongest <= 0:
            return None
        boxes = np.argwhere(self.values == np.nanmax(self.values))
        middles = np.array(
            [[(edge[i] + edge[i + 1]) / 2 for edge, i in zip(self.edges, box, strict=True)] for box in boxes]
        )
        return self.to_patient(middles[int(np.argmin(np.linalg.norm(middles - middles.mean(axis=0), axis=1)))])

    def to_patient(self, voxel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Where a place in the stack, (slice, row, column) counted as ``edges`` are, lies in LPS mm."""
        slices = np.arange(len(self.positions), dtype=np.float64) + 0.5
        first = np.array([_extended(float(voxel[0]), slices, self.positions[:, axis]) for axis in range(3)])
        down = np.array(self.plane.column_cosine) * ((voxel[1] - 0.5) * self.spacing_mm[0])
        right = np.array(self.plane.row_cosine) * ((voxel[2] - 0.5) * self.spacing_mm[1])
        return np.asarray(first + down + right, np.float64)


def _extended(at: float, places: npt.NDArray[np.float64], values: npt.NDArray[np.float64]) -> float:
    """Linear between places, and on beyond the outermost by the nearest step."""
    index = int(np.clip(np.searchsorted(places, at) - 1, 0, len(places) - 2))
    share = (at - places[index]) / (places[index + 1] - places[index])
    return float(values[index] + share * (values[index + 1] - values[index]))
