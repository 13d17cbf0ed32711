"""Published algorithms for which captum has no class, on PyTorch as their authors wrote them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


def cam_by_hooks(network: Any, layer: Any, x: Tensor, finding: int, *, plus_plus: bool = False) -> np.ndarray:
    """Grad-CAM or Grad-CAM++ as ``pytorch-grad-cam`` works them out, before its last rectification.

    Activations by a forward hook on the layer, their gradient by a hook on the activation, one
    backward pass to the input, weights in numpy.

    Source: J. Gildenblat and contributors, pytorch-grad-cam (MIT), ``activations_and_gradients.py``,
    ``grad_cam.py`` and ``grad_cam_plusplus.py``; its 1e-6 in the denominator of Grad-CAM++ is left out.
    """
    kept: dict[str, Tensor] = {}

    def forward_hook(_module: Any, _inputs: Any, output: Tensor) -> None:
        kept["activations"] = output.detach()
        output.register_hook(lambda gradient: kept.update(gradients=gradient.detach()))

    handle = layer.register_forward_hook(forward_hook)
    try:
        network(x.detach().clone().requires_grad_(True))[:, finding].sum().backward()
    finally:
        handle.remove()
    a, g = kept["activations"].numpy(), kept["gradients"].numpy()
    if not plus_plus:
        weights = np.mean(g, axis=(2, 3))
    else:
        squares, cubes = g**2, g**3
        denominator = 2 * squares + a.sum(axis=(2, 3))[:, :, None, None] * cubes
        alpha = np.where(g != 0, squares / np.where(denominator != 0, denominator, 1), 0)
        weights = np.sum(np.maximum(g, 0) * alpha, axis=(2, 3))
    return np.asarray((weights[:, :, None, None] * a).sum(axis=1))


@torch.no_grad()
def rise_map(network: Any, x: Tensor, empty: Tensor, masks: Tensor, finding: int) -> np.ndarray:
    """RISE as its authors work it out, with logits centred on their mean.

    Source: V. Petsiuk, ``eclique/RISE`` (MIT), ``explanations.py``: stack the masked images, run them, and
    multiply the scores with the masks, over their number and the part of them that is open.
    """
    stack = masks[:, None] * x + (1 - masks[:, None]) * empty
    scores = torch.cat([network(part)[:, finding] for part in stack.split(20)]).double()
    flat = masks.flatten(1).double()
    return ((scores - scores.mean()) @ flat / len(masks) / 0.5).reshape(masks.shape[1:]).numpy()


@torch.no_grad()
def attention_rollout_of(network: Any, x: Tensor) -> np.ndarray:
    """Attention rollout as its authors work it out, averaged over the tokens that the head averages.

    Source: S. Abnar, ``samiraabnar/attention_flow``, ``attention_graph_util.py``, ``compute_joint_attention``:
    residual connections as an identity that is added, rows made to sum to 1, and the joint attention
    of each layer the product with that of the layer below.
    """
    attentions: list[np.ndarray] = []
    handles = [
        block.register_forward_hook(lambda _m, _i, output: attentions.append(output[1][0].double().numpy()))
        for block in network.blocks
    ]
    try:
        network(x)
    finally:
        for handle in handles:
            handle.remove()
    att_mat = np.stack([attention.mean(axis=0) for attention in attentions])
    aug_att_mat = att_mat + np.eye(att_mat.shape[1])[None, ...]
    aug_att_mat = aug_att_mat / aug_att_mat.sum(axis=-1)[..., None]
    joint = np.zeros(aug_att_mat.shape)
    joint[0] = aug_att_mat[0]
    for i in range(1, len(joint)):
        joint[i] = aug_att_mat[i].dot(joint[i - 1])
    side = round(att_mat.shape[1] ** 0.5)
    return np.asarray(joint[-1].mean(axis=0).reshape(side, side))
