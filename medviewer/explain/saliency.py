"""Saliency: how strongly the logit depends on each pixel, here and now.

The oldest of the gradient methods: the size of the logit's derivative. It says
that a pixel matters, not whether it speaks for the finding or against it.

Source: Simonyan, Vedaldi and Zisserman, "Deep inside convolutional networks:
visualising image classification models and saliency maps", ICLR workshop 2014,
section 3.1.
"""

from __future__ import annotations

import numpy as np

from medviewer.explain.question import FloatArray, Question, Saliency


def saliency(question: Question) -> Saliency:
    """Return the absolute gradient of the logit, on the input grid, in logits per unit of the input."""
    return Saliency(np.abs(input_gradient(question)).max(axis=0))


def input_gradient(question: Question) -> FloatArray:
    """Return the gradient of the logit at the image, ``(1, rows, columns)``, signed."""
    found = question.run(question.tensor[None], "explain", ["d_x"])
    return np.asarray(found["d_x"][0], np.float32)
