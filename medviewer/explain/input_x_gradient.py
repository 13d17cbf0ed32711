"""Input x gradient: what each pixel would contribute if the network were a straight line.

For a linear network the products add up to the logit, but for its constant. For a
deep one they are its tangent at the image: one gradient, where integrated gradients
take dozens on the way. A pixel whose prepared value is 0 (mid grey) counts nothing.

Source: Shrikumar, Greenside, Shcherbina and Kundaje, "Not just a black box: learning
important features through propagating activation differences", 2016.
"""

from __future__ import annotations

import numpy as np

from medviewer.explain.question import Question, Saliency
from medviewer.explain.saliency import input_gradient


def input_x_gradient(question: Question) -> Saliency:
    """Return each pixel's value times the logit's gradient there, on the input grid, in logits, signed."""
    return Saliency(np.asarray((question.tensor * input_gradient(question)).sum(axis=0), np.float32))
