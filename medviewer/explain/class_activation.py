"""Class activation maps: for every finding at once, from one forward pass.

Where the head is a global average and one linear layer, the logit is a sum over
places: each place's features times the layer's weights. The network then gives
that sum's parts as one more output (``cam``), and nothing has to be differentiated.
It is Grad-CAM's map of such a network, exactly.

Source: Zhou, Khosla, Lapedriza, Oliva and Torralba, "Learning deep features for
discriminative localization", CVPR 2016, section 2; for the equality Selvaraju et
al., "Grad-CAM", ICCV 2017, section 3.
"""

from __future__ import annotations

import numpy as np

from medviewer.explain.question import FloatArray, Question, Saliency


def class_activation(question: Question) -> Saliency:
    """Return the finding's class activation map on the network's feature grid, in logits, signed.

    Its values add up to the logit, but for the head's constant.
    """
    return Saliency(class_activation_maps(question)[question.finding])


def class_activation_maps(question: Question) -> FloatArray:
    """Return the map of every finding, ``(findings, h, w)``, from one forward pass."""
    maps = question.run(question.tensor[None], "model", ["cam"])["cam"][0]
    # The output's mean is the logit; its parts are wanted, whose sum is.
    return np.asarray(maps / np.float32(maps.shape[-2] * maps.shape[-1]), np.float32)


def has_analytic_map(question: Question) -> bool:
    """Whether the model gives the maps of all classes in its forward pass."""
    return any(output.name == "cam" for output in question.card.outputs)
