"""Two heat maps of one finding against each other: where they differ, and whether they point to the same places.

Methods measure in different units, so that two maps have no common scale but this: each value
as a part of its own map's strongest evidence. That is the one scale on which both are drawn and
subtracted.

Agreement is no proof. Two methods that ask one network may be wrong together; where they
contradict each other, at least one of them does not show where the network looked.

Source: rank correlation of explanations as in Adebayo et al., "Sanity checks for saliency maps", NeurIPS
2018; the colours are even steps in CIELAB (CIE 15:2004) of blue and of yellow away from black, which most
colour-blind eyes tell apart.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from medviewer.explain.overlay import Bytes, FloatArray, normalise_map
from medviewer.inference.placement import grid_to_network, place_saliency

GRID = 14
"""Rows and columns on which two maps are compared: finer, single pixels would count, of which no method is sure."""

NONE = 128  # the level of no difference
_LIGHTEST, _STRONGEST_CHROMA = 85.0, (60.0, 75.0)  # L*, C* at the ends, as far as a screen shows them
_HUES = (265.0, 90.0)  # degrees of blue and of yellow


def difference(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return how much more strongly the first map marks each place than the second.

    Args:
        first: ``(rows, columns)`` placed on the image, signed; NaN where nothing was examined.
        second: another map of the same image, in any unit.

    Returns:
        ``(rows, columns)`` float32 in -1..1: the difference of the positive evidence, each as a part of its
        own strongest; NaN where one of them did not examine.
    """
    return np.asarray(normalise_map(first)[0] - normalise_map(second)[0], np.float32)


def difference_levels(values: FloatArray) -> Bytes:
    """Return a difference as levels: 255 is only in the first, 1 only in the second, :data:`NONE` no difference."""
    return np.asarray(np.round(NONE + 127 * np.nan_to_num(values, nan=0.0)), np.uint8)


def difference_table(*, opacity: float, threshold: float) -> Bytes:
    """Return colour and opacity of each level, ``(256, 4)`` uint8 RGBA: yellow for the first, blue for the second.

    As for the maps themselves, opacity grows from nothing at the threshold, and no difference is always clear.
    """
    away = np.abs(np.arange(256) - NONE) / 127
    above = np.clip((away - threshold) / max(1 - threshold, 1e-6), 0, 1)
    table = np.empty((256, 4), np.uint8)
    table[:, :3] = _colors()
    table[:, 3] = np.round(255 * np.clip(opacity, 0, 1) * above)
    return table


@lru_cache(maxsize=1)
def _colors() -> Bytes:
    away = np.clip((np.arange(256) - NONE) / 127, -1, 1)
    hue = np.radians(np.where(away < 0, *_HUES))
    chroma = np.where(away < 0, *_STRONGEST_CHROMA) * np.abs(away)
    lightness = _LIGHTEST * np.abs(away)
    y = (lightness + 16) / 116
    xyz = np.stack([_unfolded(y + chroma * np.cos(hue) / 500), _unfolded(y), _unfolded(y - chroma * np.sin(hue) / 200)])
    linear: npt.NDArray[np.float64] = np.clip(_XYZ_TO_RGB @ (xyz * _D65[:, None]), 0, 1)
    rgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    colors: Bytes = np.asarray(np.round(255 * rgb.T), np.uint8)
    colors.setflags(write=False)
    return colors


_D65 = np.array([0.95047, 1.0, 1.08883])
_XYZ_TO_RGB = np.array(  # IEC 61966-2-1
    [[3.2404542, -1.5371385, -0.4985314], [-0.9692660, 1.8760108, 0.0415560], [0.0556434, -0.2040259, 1.0572252]]
)


def _unfolded(t: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(np.where(t > 6 / 29, t**3, 3 * (6 / 29) ** 2 * (t - 4 / 29)), np.float64)


def agreement(first: FloatArray, second: FloatArray) -> float | None:
    """Return the rank correlation (Spearman) of the positive evidence of two maps; None if one of them is flat.

    Args:
        first: ``(h, w)`` over the whole of the network's input, on any grid; signed.
        second: another map of the same input, on the same or another grid.
    """
    a, b = (_ranks(_on_grid(np.maximum(values, 0))) for values in (first, second))
    spread = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / spread if spread > 0 else None


def agreement_sentence(found: float | None) -> str:
    """Say in one plain sentence what an agreement means."""
    if found is None:
        return "One of the two maps is empty: there is nothing to compare."
    if found >= 0.7:
        return "The two methods point to largely the same places."
    if found >= 0.4:
        return "The two methods point to partly the same places."
    if found > -0.4:
        return "The two methods point to different places: at most one of them shows where the model looked."
    return "The two methods point to opposite places: at most one of them shows where the model looked."


def _on_grid(values: FloatArray) -> npt.NDArray[np.float64]:
    """Return the map on the common grid: finer ones averaged over its cells, coarser ones interpolated."""
    if min(values.shape) < GRID:
        coarse = (values.shape[0], values.shape[1])
        return place_saliency(values, grid_to_network(coarse, (GRID, GRID)), (GRID, GRID)).astype(np.float64)
    bands = [band.mean(axis=0, dtype=np.float64) for band in np.array_split(values, GRID, axis=0)]
    return np.stack([cell.mean(axis=1) for cell in np.array_split(np.stack(bands), GRID, axis=1)], axis=1)


def _ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return each cell's rank, from the middle; equals share theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts - 1) / 2
    ranks = mean_rank[inverse.ravel()]
    return np.asarray(ranks - ranks.mean(), np.float64)
