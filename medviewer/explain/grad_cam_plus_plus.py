"""Grad-CAM++: Grad-CAM whose channels are weighed place by place, so that several spots of one finding all count.

Grad-CAM weighs a channel by its mean gradient, so that a channel that answers to a
small spot counts less than one that answers to a large one. Grad-CAM++ weighs each
place by how much it alone would have to explain of the logit.

The values keep their sign; the published map is their positive part. Only what
raises the logit takes part in the weights, as in the source.

Source: Chattopadhay, Sarkar, Howlader and Balasubramanian, "Grad-CAM++: generalized
gradient-based visual explanations for deep convolutional networks", WACV 2018,
equations 10 and 19, for the exponential of the logit as the class score.
"""

from __future__ import annotations

import numpy as np

from medviewer.domain.errors import ModelError
from medviewer.explain.grad_cam import feature_map_and_gradient
from medviewer.explain.question import Question, Saliency


def grad_cam_plus_plus(question: Question) -> Saliency:
    """Return the Grad-CAM++ of the finding on the network's feature grid; up to a constant, in logits.

    Raises:
        ModelError: the feature map has no places, or was not rectified: with negative
            features the weights of the paper may be anything, even infinite.
    """
    feature_map, gradient = feature_map_and_gradient(question)
    if (feature_map < 0).any():
        raise ModelError(
            f"The feature map of {question.card.id} has negative values, for which Grad-CAM++ is not made; "
            "use Grad-CAM."
        )
    rising = np.maximum(gradient, 0).astype(np.float64)
    # With the exponential as score, the second and third derivatives are powers of the first.
    whole = feature_map.sum(axis=(1, 2), keepdims=True, dtype=np.float64)
    alpha = np.where(rising > 0, 1 / (2 + whole * rising), 0)
    weights = (alpha * rising).sum(axis=(1, 2))
    return Saliency(np.tensordot(weights, feature_map, axes=1).astype(np.float32))
