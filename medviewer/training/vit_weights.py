"""Weights of a vision transformer, learned elsewhere, to begin with: a ``.safetensors`` file by timm's names.

timm (PyTorch Image Models) names the parts of its ``vit_*`` and ``deit_*`` models ``patch_embed.proj``,
``pos_embed``, ``blocks.0.attn.qkv`` and so on. Everything of such a file is used but its class and
distillation tokens and its head, which ours has not. A colour image of three equal channels gives the same
as one channel with the filters summed; positions are interpolated to our grid, as timm does.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

from torch import Tensor

from medviewer.domain.errors import InputError
from medviewer.training.networks_vit import SmallViT, at_side
from medviewer.training.xrayvision import read_weights

_NOT_OURS = re.compile(r"(cls_token|dist_token|head(_dist)?\.(weight|bias))")
_PREFIXES = ("cls_token", "dist_token")  # each has a position of its own, before those of the squares
_PARTS = {
    "attn.qkv": "qkv",
    "attn.proj": "out",
    "mlp.fc1": "mlp.0",
    "mlp.fc2": "mlp.2",
    "norm1": "norm1",
    "norm2": "norm2",
}


def load_timm_weights(network: SmallViT, path: Path) -> None:
    """Fill a network, all but its linear layer, with published weights.

    Args:
        network: filled in place; its tokens come from one convolution (``is_early`` is false).
        path: a ``.safetensors`` file, or a state dictionary of PyTorch. Only tensors are read, never code.

    Raises:
        InputError: it cannot be read, lacks a tensor, holds one that the network has not, or one of another
            shape; the tensor is named, with both shapes. The network is as it was.
    """
    published = read_weights(path)
    wanted = _names(network)
    theirs = {name.replace("fc_norm.", "norm."): name for name in published if not _NOT_OURS.fullmatch(name)}
    if missing := sorted(set(wanted) - set(theirs)):
        raise InputError(f"{path.name} lacks “{missing[0]}” ({len(missing)} in all); {_CURE}")
    if strange := sorted(set(theirs) - set(wanted)):
        raise InputError(f"{path.name} holds “{theirs[strange[0]]}”, which this network has not; {_CURE}")
    state = network.state_dict()
    found: dict[str, Tensor] = {}
    for name, ours in wanted.items():
        tensor = published[theirs[name]].float()
        if name == "pos_embed":
            tensor = _positions(tensor, sum(prefix in published for prefix in _PREFIXES), state[ours], path)
        elif name == "patch_embed.proj.weight" and tensor.dim() == 4:
            tensor = tensor.sum(1, keepdim=True)
        if tensor.shape != state[ours].shape:
            raise _misfit(path, theirs[name], tensor, state[ours])
        found[ours] = tensor
    network.load_state_dict(found, strict=False)


_CURE = "give a vision transformer by timm's names, and its shape as patch, width, depth and heads."


def _names(network: SmallViT) -> dict[str, str]:
    """Return our name of each of timm's tensors."""
    pairs = {"pos_embed": "positions"}
    named = {"patch_embed.proj": "embed", "norm": "norm"}
    for index in range(len(network.blocks)):
        named |= {f"blocks.{index}.{theirs}": f"blocks.{index}.{ours}" for theirs, ours in _PARTS.items()}
    return pairs | {f"{theirs}.{one}": f"{ours}.{one}" for theirs, ours in named.items() for one in ("weight", "bias")}


def _positions(tensor: Tensor, n_prefixes: int, ours: Tensor, path: Path) -> Tensor:
    """Return positions for our grid, without those of the tokens before the squares."""
    if tensor.dim() != 3 or tensor.shape[0] != 1 or tensor.shape[2] != ours.shape[2]:
        raise _misfit(path, "pos_embed", tensor, ours)
    squares = tensor[:, n_prefixes:]
    if math.isqrt(squares.shape[1]) ** 2 != squares.shape[1] or not squares.shape[1]:
        raise InputError(
            f"The positions in {path.name} are of {squares.shape[1]} squares, which are no grid as high as wide; "
            "give a transformer that was learned on such images."
        )
    return at_side(squares, math.isqrt(ours.shape[1]))


def _misfit(path: Path, name: str, tensor: Tensor, ours: Tensor) -> InputError:
    theirs, wanted = tuple(tensor.shape), tuple(ours.shape)
    return InputError(f"“{name}” in {path.name} has the shape {theirs}, and this network's is {wanted}; {_CURE}")
