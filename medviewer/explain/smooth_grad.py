"""SmoothGrad: the gradient, averaged over the image and copies of it with a little noise.

A network's gradient jumps from pixel to pixel where its units switch on and off.
What remains in the mean over nearby images depends less on where exactly they do.

Among so many noisy copies one or two lie within rounding of a kink that matters, so these
gradients decide in double precision.

The mean keeps its sign: a positive value says that a brighter pixel speaks more for
the finding. The noise is the image's own (:mod:`medviewer.explain.sampling`), so
that the map is the same each time.

Source: Smilkov, Thorat, Kim, Viegas and Wattenberg, "SmoothGrad: removing noise by
adding noise", 2017, section 2; noise of 15% and 50 copies are the paper's.
"""

from __future__ import annotations

import numpy as np

from medviewer.explain.question import FloatArray, Question, Saliency
from medviewer.explain.sampling import chance_of

COPIES = 50
NOISE = 0.15
"""Standard deviation of the noise, as a part of the image's range of values."""


def smooth_grad(question: Question) -> Saliency:
    """Return the mean gradient of the logit, on the input grid, in logits per unit of the input, signed.

    The error is how far the maps of two halves of the copies differ, as 1 - correlation.
    """
    chance = chance_of(question, "smooth-grad")
    halves = np.zeros((2, *question.tensor.shape))
    for part in question.batches(COPIES):
        question.progress(part.start, COPIES, "SmoothGrad")
        noise = draw_noise(question.tensor, chance, part.stop - part.start)
        gradients = question.run(question.tensor + noise, "explain", ["d_x"], is_exact=True)["d_x"]
        for place, gradient in enumerate(gradients, start=part.start):
            halves[place % 2] += gradient
    question.progress(COPIES, COPIES, "SmoothGrad")
    return Saliency((halves.sum(axis=0) / COPIES).sum(axis=0).astype(np.float32), disagreement(halves[0], halves[1]))


def draw_noise(tensor: FloatArray, chance: np.random.Generator, n: int) -> FloatArray:
    """Return the noise of ``n`` copies of an image, ``(n, ...)`` as the image."""
    return np.float32(NOISE * np.ptp(tensor)) * chance.standard_normal((n, *tensor.shape), np.float32)


def disagreement(one: np.ndarray, other: np.ndarray) -> float:
    """Return 1 - the correlation of two maps; 1 where one of them is the same everywhere."""
    a, b = (np.asarray(values, np.float64) - values.mean() for values in (one, other))
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return 1 - float((a * b).sum()) / size if size > 0 else 1.0
