"""Images that are copies of each other, or nearly: they must never be learned from and judged on at once.

Archives that were put together from stills hold one frame under several names, a moment later,
mirrored, or with other marks on it. Where patients are not published, this is the only
grouping that can be had, and it is no proof that two images are of two patients.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from medviewer.inference.preprocessing import prepare
from medviewer.training.reading import Grey

# BreastMNIST: above 0.94 nearly all pairs are one frame twice, seen one by one; below 0.93 chance resemblance begins.
NEAR = 0.94
_SIDE = 28


def near_copies(images: Sequence[Grey], groups: Sequence[str] = (), limit: float = NEAR) -> npt.NDArray[np.int64]:
    """Return the group ``(n,)`` of each image: the lowest index of all that it is linked with.

    Two images are linked if the correlation of their greys, at 28 x 28 pixels, is above
    ``limit``, one of them mirrored or not, or if they have one name in ``groups``. Whoever is linked with a
    member is in the group. A flat image correlates with none.

    Args:
        images: each ``(rows, columns)``; any sizes.
        groups: what is known to belong together, by name; empty: nothing.
        limit: of the correlation.
    """
    steps = [{"op": "resize", "rows": _SIDE, "columns": _SIDE}]
    small = np.concatenate([prepare(image.astype(np.float32), steps).tensor for image in images])
    plain = _standardised(small)
    near = np.maximum(plain @ plain.T, plain @ _standardised(small[:, :, ::-1]).T) > limit
    if len(groups):
        _, named = np.unique(np.asarray(groups), return_inverse=True)
        near |= named[:, None] == named[None]
    np.fill_diagonal(near, val=True)
    lowest = np.arange(len(images))
    while True:
        spread = np.where(near, lowest[None], len(images)).min(axis=1)
        if np.array_equal(spread, lowest):
            return lowest
        lowest = spread


def grouped_folds(
    labels: npt.NDArray[np.int64], groups: npt.NDArray[np.int64], n_folds: int, seed: int
) -> npt.NDArray[np.int64]:
    """Return the fold ``(n,)`` of each case: no group in two folds, both classes spread evenly.

    Args:
        labels: ``(n,)`` of 0 and 1.
        groups: ``(n,)``.
        n_folds: how many.
        seed: another seed, other folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # noqa: PLC0415 - training only, and slow to load

    fold = np.zeros(len(labels), dtype=np.int64)
    splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    for index, (_, held_out) in enumerate(splitter.split(labels, labels, groups)):
        fold[held_out] = index
    return fold


def _standardised(images: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the rows whose scalar products are correlations."""
    flat = images.reshape(len(images), -1).astype(np.float64)
    flat -= flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.asarray(np.where(length > 1e-6, flat / np.maximum(length, 1e-6), 0.0))
