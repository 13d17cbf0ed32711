"""Captum's maps, given the random numbers of ours, in the precision of the network's weights."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import captum.attr as captum_attr
import numpy as np
import torch
from captum.attr._core.gradient_shap import InputBaselineXGradient
from torch import Tensor

from medviewer.explain.gradient_shap import SAMPLES, draw
from medviewer.explain.question import Question, mean_grey
from medviewer.explain.sampling import chance_of
from medviewer.explain.smooth_grad import COPIES, draw_noise

GRADIENT_METHODS = ("integrated-gradients", "gradient-shap", "smooth-grad", "saliency", "input-x-gradient")
AT_ONCE = 16  # images that captum is given at a time


def by_captum(network: Any, question: Question, method: str, finding: int, *, steps: int) -> np.ndarray:
    """Return captum's map ``(rows, columns)`` of a gradient method; ``steps`` are those of integrated gradients."""
    dtype = network.linear.weight.dtype
    x = torch.from_numpy(question.tensor[None]).to(dtype).requires_grad_(True)
    flat = torch.from_numpy(mean_grey(question.tensor)[None]).to(dtype)
    if method == "saliency":
        found = captum_attr.Saliency(network).attribute(x, target=finding)
    elif method == "input-x-gradient":
        found = captum_attr.InputXGradient(network).attribute(x, target=finding)
    elif method == "integrated-gradients":
        integral = captum_attr.IntegratedGradients(network)
        found = integral.attribute(x, flat, target=finding, n_steps=steps, method="gausslegendre")
    elif method == "smooth-grad":
        found = _smooth_grad(network, question, x, finding)
    else:
        found = _gradient_shap(network, question, x, finding)
    return found.detach().numpy()[0, 0]


def _smooth_grad(network: Any, question: Question, x: Tensor, finding: int) -> Tensor:
    noise = torch.from_numpy(draw_noise(question.tensor, chance_of(question, "smooth-grad"), COPIES)).to(x.dtype)
    rest = iter(noise.split(AT_ONCE))
    tunnel = captum_attr.NoiseTunnel(captum_attr.Saliency(network))
    with patch.object(torch, "normal", lambda _mean, _spread: next(rest)):
        return tunnel.attribute(
            x, nt_samples=COPIES, nt_samples_batch_size=AT_ONCE, stdevs=1.0, target=finding, abs=False
        )


def _gradient_shap(network: Any, question: Question, x: Tensor, finding: int) -> Tensor:
    drawn, explainer = draw(question, SAMPLES), InputBaselineXGradient(network)
    total = torch.zeros_like(x)
    for part in (slice(start, start + AT_ONCE) for start in range(0, SAMPLES, AT_ONCE)):
        greys = torch.from_numpy(drawn.greys[part]).to(x.dtype)[:, None, None, None]
        greys = greys.expand(-1, *x.shape[1:]).contiguous()
        images = x.detach().expand(len(greys), -1, -1, -1).contiguous()
        with patch.object(np.random, "uniform", lambda _low, _high, _n, part=part: drawn.places[part]):
            total += explainer.attribute(images, greys, target=finding).sum(dim=0, keepdim=True)
    return total / SAMPLES


def gap(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return 1 - the correlation of two maps."""
    return float(1 - np.corrcoef(ours.ravel().astype(np.float64), theirs.ravel().astype(np.float64))[0, 1])


def worst_difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return the largest difference of two maps, as a part of the largest value of ``theirs``."""
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())
