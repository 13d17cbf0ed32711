"""How values become colour and opacity in a 3D view: presets that a window shifts and widens."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from medviewer.domain.frozen import dataclass
from medviewer.domain.study import Window

Mode = Literal["composite", "maximum"]
Point = tuple[float, float, float, float, float]


@dataclass(frozen=True, slots=True)
class Transfer:
    """Colour and opacity over a window of values.

    Attributes:
        name: as the reader knows it.
        window: modality values; its lower end is 0 and its upper end 1 of ``points``.
        points: (place in the window, opacity of 1 mm, red, green, blue), all 0 to 1 and rising in place;
            linear between them, constant beyond.
        mode: composited from front to back, or the brightest value of each ray (MIP).
    """

    name: str
    window: Window
    points: tuple[Point, ...]
    mode: Mode = "composite"

    def at(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        """``(n, 4)`` float32 of opacity per mm, red, green and blue for ``(n,)`` modality values."""
        place = (values - self.window.center) / self.window.width + 0.5
        points = np.array(self.points)
        return np.stack([np.interp(place, points[:, 0], points[:, i]) for i in range(1, 5)], axis=1).astype(np.float32)


_BONE: tuple[Point, ...] = (
    (0.0, 0.0, 0.55, 0.25, 0.15), (0.3, 0.12, 0.80, 0.55, 0.38), (0.6, 0.6, 0.95, 0.86, 0.70),
    (1.0, 0.95, 1.0, 0.98, 0.92),
)  # fmt: skip
_VESSELS: tuple[Point, ...] = (
    (0.0, 0.0, 0.40, 0.03, 0.03), (0.2, 0.08, 0.70, 0.10, 0.07), (0.5, 0.5, 0.93, 0.42, 0.25),
    (1.0, 0.9, 1.0, 0.94, 0.84),
)  # fmt: skip
_LUNG: tuple[Point, ...] = (
    (0.0, 0.0, 0.3, 0.45, 0.7), (0.10, 0.0, 0.3, 0.45, 0.7), (0.25, 0.014, 0.5, 0.65, 0.9),
    (0.55, 0.035, 0.75, 0.8, 0.9), (0.75, 0.15, 1.0, 0.8, 0.7), (0.9, 0.03, 0.95, 0.65, 0.55),
    (1.0, 0.0, 0.9, 0.6, 0.5),
)  # fmt: skip
_TISSUE: tuple[Point, ...] = (
    (0.0, 0.0, 0.85, 0.62, 0.48), (0.25, 0.03, 0.85, 0.62, 0.48), (0.5, 0.35, 0.86, 0.52, 0.42),
    (0.75, 0.6, 0.92, 0.78, 0.66), (1.0, 0.9, 1.0, 0.96, 0.9),
)  # fmt: skip
_SURFACE: tuple[Point, ...] = (
    (0.0, 0.0, 0.55, 0.5, 0.45), (0.3, 0.1, 0.75, 0.70, 0.62), (0.6, 0.5, 0.90, 0.86, 0.78),
    (1.0, 0.9, 1.0, 0.98, 0.94),
)  # fmt: skip
_GREY: tuple[Point, ...] = ((0.0, 0.0, 0.0, 0.0, 0.0), (1.0, 1.0, 1.0, 1.0, 1.0))

_HOUNSFIELD = (
    Transfer("Bone", Window(375, 450), _BONE),
    Transfer("Vessels", Window(300, 320), _VESSELS),
    Transfer("Lung and airways", Window(-600, 800), _LUNG),
    Transfer("Soft tissue", Window(40, 400), _TISSUE),
    Transfer("MIP", Window(500, 1400), _GREY, "maximum"),
)
_SHARES: tuple[tuple[str, tuple[float, float], tuple[Point, ...], Mode], ...] = (
    ("Surface", (50.0, 95.0), _SURFACE, "composite"),
    ("Bright half", (50.0, 99.5), _SURFACE, "composite"),
    ("Brightest tenth", (90.0, 99.9), _SURFACE, "composite"),
    ("Brightest hundredth", (98.0, 99.95), _VESSELS, "composite"),
    ("MIP", (1.0, 99.95), _GREY, "maximum"),
)
COUNT = len(_HOUNSFIELD)
"""How many presets every volume has."""
SHARES = tuple(sorted({share for _, shares, _, _ in _SHARES for share in shares}))
"""The percentiles that presets are made from where the values have no fixed unit."""


def presets(percentiles: dict[float, float] | None) -> tuple[Transfer, ...]:
    """The presets of a volume, in the order of their numbers.

    Args:
        percentiles: the volume's values below which each of :data:`SHARES` lies; None for Hounsfield units,
            which have fixed presets.
    """
    if percentiles is None:
        return _HOUNSFIELD
    made = []
    for name, (first, last), points, mode in _SHARES:
        low, high = percentiles[first], percentiles[last]
        made.append(Transfer(name, Window((low + high) / 2, max(high - low, 1e-9)), points, mode))
    return tuple(made)


def shifted(transfer: Transfer, center: float, width: float) -> Transfer:
    """The same colours over another window."""
    return replace(transfer, window=Window(center, max(width, 1e-9)))
