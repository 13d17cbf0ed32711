"""Grad-CAM: which places of the last feature map raise the logit.

The last feature map still knows where things are, coarsely, and the layers
before it have turned grey values into something like findings. Grad-CAM adds
up its channels, each by how much the logit rises with it.

Where the head is a global average and one linear layer, those weights are the
linear layer's own. The map of every class is then one more output of the forward
pass (``cam``), and equal to Grad-CAM: the live heat map.

The values keep their sign; the published map is their positive part, which is
what the overlay draws.

Source: Selvaraju et al., "Grad-CAM: visual explanations from deep networks via
gradient-based localization", ICCV 2017, section 3; for the head with a global
average Zhou et al., "Learning deep features for discriminative localization",
CVPR 2016.
"""

from __future__ import annotations

import numpy as np

from medviewer.domain.errors import ModelError
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
        return Saliency(class_activation_maps(question)[question.finding])
    role: Role = "cam" if question.card.file("cam") else "explain"
    found = question.run(question.tensor[None], role, ["feature_map", "d_feature_map"])
    feature_map, gradient = found["feature_map"][0], found["d_feature_map"][0]
    if feature_map.ndim != 3:
        raise ModelError(f"The feature map of {question.card.id} has no rows and columns; choose another method.")
    weights = gradient.mean(axis=(1, 2), dtype=np.float64)
    return Saliency(np.tensordot(weights, feature_map, axes=1).astype(np.float32))


def has_analytic_map(question: Question) -> bool:
    """Whether the model gives the maps of all classes in its forward pass."""
    return any(output.name == "cam" for output in question.card.outputs)


def class_activation_maps(question: Question) -> FloatArray:
    """Return the map of every finding, ``(findings, h, w)``, from one forward pass."""
    maps = question.run(question.tensor[None], "model", ["cam"])["cam"][0]
    # The output's mean is the logit. Grad-CAM's weights are a gradient averaged
    # over the grid, which makes it the sum.
    return np.asarray(maps / np.float32(maps.shape[-2] * maps.shape[-1]), np.float32)
