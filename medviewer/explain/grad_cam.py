"""Grad-CAM: which places of the last feature map raise the logit.

The last feature map still knows where things are, coarsely, and the layers
before it have turned grey values into something like findings. Grad-CAM adds
up its channels, each by how much the logit rises with it.

Where the head is a global average and one linear layer, those weights are the
linear layer's own: the map is then the class activation map, which is one more
output of the forward pass, and needs no gradient: the live heat map.

The values keep their sign; the published map is their positive part, which is
what the overlay draws.

Source: Selvaraju et al., "Grad-CAM: visual explanations from deep networks via
gradient-based localization", ICCV 2017, section 3.
"""

from __future__ import annotations

import numpy as np

from medviewer.domain.errors import ModelError
from medviewer.explain.class_activation import class_activation, has_analytic_map
from medviewer.explain.question import FloatArray, Question, Saliency
from medviewer.inference.card import Role


def grad_cam(question: Question) -> Saliency:
    """Return the Grad-CAM of the finding on the network's feature grid.

    Each value is in logits; with a global average and a linear head they add up to
    the logit, but for the head's constant.

    Raises:
        ModelError: the model has neither a ``cam`` output nor a gradient graph, or its
            feature map has no places (as of some transformers).
    """
    if has_analytic_map(question):
        return class_activation(question)
    feature_map, gradient = feature_map_and_gradient(question)
    weights = gradient.mean(axis=(1, 2), dtype=np.float64)
    return Saliency(np.tensordot(weights, feature_map, axes=1).astype(np.float32))


def feature_map_and_gradient(question: Question) -> tuple[FloatArray, FloatArray]:
    """Return the last feature map and the logit's gradient there, both ``(channels, h, w)``.

    Raises:
        ModelError: the feature map has no places.
    """
    role: Role = "cam" if question.card.file("cam") else "explain"
    found = question.run(question.tensor[None], role, ["feature_map", "d_feature_map"])
    feature_map, gradient = found["feature_map"][0], found["d_feature_map"][0]
    if feature_map.ndim != 3:
        raise ModelError(f"The feature map of {question.card.id} has no rows and columns; choose another method.")
    return feature_map, gradient
