"""A graphics card that is only pretended: what PyTorch refuses on a real one is refused here too.

Tensors on it say that they lie elsewhere and keep their numbers on the processor. One of the processor must not meet
them, and none of them becomes an array before it was brought back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

CARD = torch.device("meta")  # a name that PyTorch knows without a card; "cuda" asks for a driver
_PROCESSOR = torch.device("cpu")


class OnCard(Tensor):
    """A tensor on the card; ``held`` are its numbers."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> OnCard:
        made: OnCard = Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype, device=CARD
        )
        return made

    def __init__(self, held: Tensor) -> None:
        self.held = held

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(
        cls, function: Any, _: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given, shape = tree_flatten((args, dict(kwargs or {})))
        # A single number of the processor may meet anything.
        strangers = [x for x in given if isinstance(x, Tensor) and not isinstance(x, OnCard) and x.ndim]
        if strangers and function is not torch.ops.aten.copy_.default:
            raise RuntimeError(f"Expected all tensors to be on the same device: {function} meets one of the processor.")
        args, named = tree_unflatten([x.held if isinstance(x, OnCard) else _here(x) for x in given], shape)
        made = function(*args, **named)
        if _PROCESSOR in [x for x in given if isinstance(x, torch.device)]:  # brought back
            return made
        same = {id(x.held): x for x in given if isinstance(x, OnCard)}  # what was changed in place
        return tree_map(lambda x: (same[id(x)] if id(x) in same else OnCard(x)) if isinstance(x, Tensor) else x, made)


class PretendedCard(TorchFunctionMode):
    """Within it tensors can be brought to :data:`CARD`, and made there."""

    def __torch_function__(
        self, function: Callable[..., Any], _: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = dict(kwargs or {})
        # Two functions would make tensors on the card by themselves, where nothing is kept.
        if function is torch.where:
            args = [torch.tensor(x) if isinstance(x, int | float) else x for x in args]
        if function is Tensor.__getitem__ and isinstance(args[0], OnCard):  # an index may come from anywhere
            return OnCard(function(*tree_map(lambda x: x.held if isinstance(x, OnCard) else x, tuple(args))))
        is_brought = CARD in [x for x in (*args, *named.values()) if isinstance(x, torch.device)]
        if not is_brought or any(isinstance(x, OnCard) for x in args):
            return function(*args, **named)
        return OnCard(function(*map(_here, args), **{name: _here(x) for name, x in named.items()}))


def to_card(network: nn.Module) -> nn.Module:
    """Bring a network to the card, in place; it learns nothing there."""
    for module in network.modules():
        for name, x in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(OnCard(x.detach()), requires_grad=False))
        for name, x in list(module.named_buffers(recurse=False)):
            setattr(module, name, OnCard(x))
    return network


def _here(x: Any) -> Any:
    return _PROCESSOR if isinstance(x, torch.device) else x
