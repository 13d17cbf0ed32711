"""How well two outlines of one thing fit: overlap, and how far their edges lie apart.

Sources: Dice, "Measures of the amount of ecologic association between species", Ecology 1945; Jaccard 1912;
Huttenlocher et al., "Comparing images using the Hausdorff distance", PAMI 1993; Maier-Hein et al., "Metrics reloaded",
Nature Methods 2024, on what to do where one of the two is empty.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from medviewer.domain.frozen import dataclass

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

_PERCENT = 95.0
_AT_ONCE = 4_000_000  # distances in memory


@dataclass(frozen=True, slots=True)
class Fit:
    """How a model's mask fits a reference.

    Attributes:
        reference, found: pixels inside of each.
        dice, jaccard: None where both are empty: nothing can overlap, and a model that outlines nothing where nothing
            is must not be paid for with a perfect score; 0 where one is.
        hd95: the 95th percentile of the distances from each edge to the other, the larger of the two directions, in the
            unit of the spacing; None where one is empty, as an edge that is not there has no distance.
    """

    reference: int
    found: int
    dice: float | None
    jaccard: float | None
    hd95: float | None

    @property
    def is_of_both(self) -> bool:
        """Whether there is something in each."""
        return self.reference > 0 and self.found > 0


def fit_of(reference: Mask, found: Mask, spacing: tuple[float, float] = (1.0, 1.0)) -> Fit:
    """Compare two masks of one image.

    Args:
        reference: ``(rows, columns)``, what people outlined.
        found: likewise, what the model did.
        spacing: between rows and between columns.
    """
    a, b = int(np.count_nonzero(reference)), int(np.count_nonzero(found))
    both = int(np.count_nonzero(reference & found))
    if a + b == 0:
        return Fit(0, 0, None, None, None)
    distance = None
    if a and b:
        edges = [_edge(mask) * np.array(spacing) for mask in (reference, found)]
        distance = max(_percentile(_nearest(*edges)), _percentile(_nearest(*reversed(edges))))
    return Fit(a, b, 2 * both / (a + b), both / (a + b - both), distance)


def _edge(mask: Mask) -> Floats:
    """The pixels ``(n, 2)`` of a mask that have one of four neighbours outside; the border of the image is outside."""
    around = np.pad(mask, 1)
    inner = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    return np.argwhere(mask & ~inner).astype(np.float64)


def _nearest(points: Floats, others: Floats) -> Floats:
    """How far each point is from the nearest of the others."""
    step = max(1, _AT_ONCE // len(others))
    found = np.empty(len(points))
    for start in range(0, len(points), step):
        some = points[start : start + step]
        squares = ((some[:, None] - others[None]) ** 2).sum(axis=2)
        found[start : start + step] = np.sqrt(squares.min(axis=1))
    return found


def _percentile(distances: Floats) -> float:
    return float(np.percentile(distances, _PERCENT))
