"""RISE: cover the image at random, many times, and see in which pictures the finding is still there.

Like occlusion it needs nothing of the network but its answer. Its covers are soft
and leave half of the image at a time, so that two places that stand in for each other
are also tried together. What is covered becomes the image's mean grey.

Each answer is taken from the mean of all answers, which changes the map only by a
constant and rids it of most of the noise of the masks; the values are then signed:
above zero, the logit is higher where the pixel is seen.

Source: Petsiuk, Das and Saenko, "RISE: randomized input sampling for explanation of
black-box models", BMVC 2018, section 3; grids of 7 x 7 with half of the cells open are
the paper's. It takes 4,000 to 8,000 masks; 1,000 are what a reader waits for on a
laptop's processor, and how far that falls short is reported.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from medviewer.explain.question import FloatArray, Question, Saliency, mean_grey
from medviewer.explain.sampling import chance_of
from medviewer.explain.smooth_grad import disagreement

MASKS = 1000
CELLS = 7
OPEN = 0.5


def rise(question: Question) -> Saliency:
    """Return how much higher the logit is where a pixel is seen, on the input grid, in logits, signed.

    The error is how far the maps of two halves of the masks differ, as 1 - correlation.
    """
    chance, empty = chance_of(question, "rise"), mean_grey(question.tensor)
    # All that is needed of the masks are three sums, so that memory does not grow with their number.
    shape = (2, *question.shape)
    weighed, seen, scores, counts = np.zeros(shape), np.zeros(shape), np.zeros(2), np.zeros(2)
    for part in question.batches(MASKS):
        question.progress(part.start, MASKS, "RISE")
        masks = draw_masks(chance, part.stop - part.start, question.shape)
        found = question.scores(empty + masks[:, None] * (question.tensor - empty))
        for half in (0, 1):
            own = slice((part.start + half) % 2, None, 2)
            weighed[half] += np.tensordot(found[own], masks[own], axes=1)
            seen[half] += masks[own].sum(axis=0, dtype=np.float64)
            scores[half] += found[own].sum()
            counts[half] += len(found[own])
    question.progress(MASKS, MASKS, "RISE")
    whole = _centred(weighed.sum(axis=0), seen.sum(axis=0), scores.sum(), counts.sum())
    halves = [_centred(weighed[i], seen[i], scores[i], counts[i]) for i in (0, 1)]
    return Saliency(whole.astype(np.float32), disagreement(halves[0], halves[1]))


def _centred(
    weighed: npt.NDArray[np.float64], seen: npt.NDArray[np.float64], scores: float, n: float
) -> npt.NDArray[np.float64]:
    """Return the sum over masks of (score - mean score) times mask, as a mean over what was open."""
    return np.asarray((weighed - scores / n * seen) / (n * OPEN), np.float64)


def draw_masks(chance: np.random.Generator, n: int, shape: tuple[int, int]) -> FloatArray:
    """Return ``n`` soft masks, ``(n, rows, columns)`` in 0..1: grids of random cells, enlarged and shifted.

    Bilinear, and shifted by up to a cell, so that no edge of the grid stays in one place.
    """
    grids = (chance.random((n, CELLS + 1, CELLS + 1)) < OPEN).astype(np.float32)
    shifts = chance.random((n, 2))
    across = [_hats(shape[axis], shifts[:, axis]) for axis in (0, 1)]
    return np.asarray(across[0] @ grids @ across[1].transpose(0, 2, 1), np.float32)


def _hats(size: int, shifts: npt.NDArray[np.float64]) -> FloatArray:
    """Return ``(n, size, CELLS + 1)``: the shares of the cells in each pixel, for each shift (in cells)."""
    cell = size / CELLS
    at = (np.arange(size) + 0.5) / cell + shifts[:, None] - 0.5
    away = np.abs(np.clip(at, 0, CELLS)[..., None] - np.arange(CELLS + 1))
    return np.asarray(np.maximum(0, 1 - away), np.float32)
