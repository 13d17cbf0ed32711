"""Integrated gradients: how the logit is made up, pixel by pixel, on the way from nothing to the image.

The gradient at the image alone says little: a network that is already sure is
flat there. Added up along the straight way from an empty image, the pixels'
shares sum to the whole change of the logit. How far they miss that sum is the
method's own error, and it is reported.

Source: Sundararajan, Taly and Yan, "Axiomatic attribution for deep networks",
ICML 2017; the integral by Gauss-Legendre quadrature.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from medviewer.explain.question import Question, Saliency, mean_grey

STEPS = (32, 64, 128)
"""How many places on the way are tried: the next more only while the error is too large."""

TOLERATED_GAP = 0.05


def integrated_gradients(question: Question) -> Saliency:
    """Return each pixel's share of the logit's rise over the mean-grey image, on the input grid.

    The error is the completeness gap: how far the shares' sum misses the rise of the
    logit, as a fraction of that rise; infinite where the logit does not change.
    """
    baseline = mean_grey(question.tensor)
    at_image, at_baseline = question.scores(np.stack([question.tensor, baseline]))
    rise = float(at_image - at_baseline)
    total = sum(STEPS)
    for done, steps in enumerate(STEPS):
        shares = integrate(question, baseline, steps, sum(STEPS[:done]), total)
        missed = abs(float(shares.sum()) - rise)
        gap = missed / abs(rise) if rise else float("inf")
        if gap <= TOLERATED_GAP:
            break
    question.progress(total, total, "Integrated gradients")
    return Saliency(shares.astype(np.float32), gap)


def integrate(
    question: Question, baseline: npt.NDArray[np.float32], steps: int, done: int = 0, total: int = 0
) -> npt.NDArray[np.float64]:
    """Return the shares of all pixels, ``(rows, columns)``, from ``steps`` gradients on the way."""
    places, weights = np.polynomial.legendre.leggauss(steps)
    places, weights = (places + 1) / 2, weights / 2
    difference = question.tensor - baseline
    gradient = np.zeros(question.tensor.shape, np.float64)
    for part in question.batches(steps):
        question.progress(done + part.start, total or steps, "Integrated gradients")
        batch = (baseline + places[part, None, None, None] * difference).astype(np.float32)
        d_x = question.run(batch, "explain", ["d_x"])["d_x"]
        gradient += np.tensordot(weights[part], d_x.astype(np.float64), axes=1)
    return np.asarray((gradient * difference).sum(axis=0), np.float64)
