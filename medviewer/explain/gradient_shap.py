"""GradientSHAP: each pixel's expected share of the logit, over many notions of "nothing there".

Integrated gradients measure from one empty image, and a pixel that is exactly as grey
as that one cannot matter. Here the empty images are drawn: even greys between the
image's darkest and its brightest, each with its own place on the straight way to the
image. The mean of gradient times distance is an estimate of SHAP values, for a
network that is nearly additive on the way.

The greys and the places on the way are those of a golden lattice over both, shifted by
chance (the image's own, :mod:`medviewer.explain.sampling`): each pair is as likely as any
other, and together they lie evenly. 48 of them leave less to chance than 64 with places
drawn one from each of as many equal parts of the way: 1 - correlation with 1,024 and more
is 0.001 instead of 0.006 for a small network, 0.066 instead of 0.089 for a large one. No
noise is laid over the image.

Near an even grey whole maps of a network lie within rounding of the kinks of its ReLUs, and
one such sample can outweigh the rounding of all others, so that these gradients decide in
double precision.

Source: Lundberg and Lee, "A unified approach to interpreting model predictions", NIPS
2017; as an expectation of gradients Erion, Janizek, Sturmfels, Lundberg and Lee,
"Improving performance of deep learning models with axiomatic attribution priors and
expected gradients", Nature Machine Intelligence 2021, equation 3. Random shift: Cranley
and Patterson, "Randomization of number theoretic methods for multiple integration", SIAM
Journal on Numerical Analysis 1976.
"""

from __future__ import annotations

import numpy as np

from medviewer.domain.frozen import dataclass
from medviewer.explain.question import FloatArray, Question, Saliency
from medviewer.explain.sampling import chance_of

SAMPLES = 48
_GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True, slots=True, eq=False)
class Draws:
    """From which even grey each sample starts, and how far on its way to the image it is (0..1); both ``(n,)``."""

    greys: FloatArray
    places: FloatArray


def gradient_shap(question: Question) -> Saliency:
    """Return each pixel's expected share of the logit, on the input grid, in logits, signed.

    The error is the completeness gap: how far the shares' sum misses the rise of the
    logit over the mean of the empty images, as a fraction of that rise.
    """
    drawn = draw(question, SAMPLES)
    shares, empty = np.zeros(question.tensor.shape), np.zeros(SAMPLES)
    for part in question.batches(SAMPLES):
        question.progress(part.start, SAMPLES, "GradientSHAP")
        greys, places = (v[part, None, None, None].astype(np.float64) for v in (drawn.greys, drawn.places))
        batch = (greys + places * (question.tensor - greys)).astype(np.float32)
        d_x = question.run(batch, "explain", ["d_x"], is_exact=True)["d_x"]
        shares += (d_x * (question.tensor - greys)).sum(axis=0, dtype=np.float64) / SAMPLES
        empty[part] = question.scores(np.broadcast_to(greys, batch.shape).astype(np.float32))
    question.progress(SAMPLES, SAMPLES, "GradientSHAP")
    rise = float(question.scores(question.tensor[None])[0] - empty.mean())
    gap = abs(float(shares.sum()) - rise) / abs(rise) if rise else float("inf")
    return Saliency(shares.sum(axis=0).astype(np.float32), gap)


def draw(question: Question, n: int) -> Draws:
    """Return the samples of this image."""
    chance = chance_of(question, "gradient-shap")
    low, high = float(question.tensor.min()), float(question.tensor.max())
    shift = chance.random(2)
    greys = low + (high - low) * (np.arange(n) + shift[0]) / n
    places = (np.arange(n) * _GOLDEN + shift[1]) % 1
    return Draws(greys.astype(np.float32), places.astype(np.float32))
