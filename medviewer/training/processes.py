"""Several processes that learn as one: started by ``torchrun``, on one machine or many.

Each process takes its share of every batch; gradients are averaged so that a step is the
step of one process with the whole batch. Two things would spoil that and are shared too:
shares of unequal size are weighed by their size, and the statistics of batch normalisation
are taken over the whole batch (PyTorch does that on graphics cards only; here it holds on
processors as well). Of a batch that is smaller than the number of processes, those that are
left over take a case that counts for nothing: networks cannot run on none. What is drawn by
chance while learning, such as dropout, is drawn by each process for itself.

Only the first process validates, writes and speaks.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from medviewer.domain.errors import TrainingError
from medviewer.domain.frozen import dataclass

if distributed.is_available():
    # Its functions take the group of that moment as a default: imported later, by the first wrapped
    # network, they would keep it for ever, and its threads would end while the interpreter does (SIGABRT).
    import torch.distributed.nn

T = TypeVar("T")

# The first process validates while the others wait for it.
_PATIENCE = timedelta(hours=6)
_KIND = "_medviewer_own_kind"


@dataclass(frozen=True, slots=True)
class Processes:
    """Who learns together.

    Attributes:
        rank: which one this is, from 0.
        n: how many there are.
        device: where this one calculates.
    """

    rank: int
    n: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this process validates, writes and speaks."""
        return self.rank == 0

    def own(self, chosen: Tensor) -> tuple[Tensor, float]:
        """Return this process' share of a batch of indices ``(n,)``, consecutive ones, and the weight of its loss.

        Weights have the mean 1 over processes. With more processes than cases some have the weight 0, and the first
        case as a stand-in: each must take part in what all do together.
        """
        if self.n == 1:
            return chosen, 1.0
        own = torch.tensor_split(chosen, self.n)[self.rank]
        return (own, len(own) * self.n / len(chosen)) if len(own) else (chosen[:1], 0.0)

    def share(self, value: T | None) -> T:
        """Return to every process what the first one gives."""
        held = [value]
        if self.n > 1:
            distributed.broadcast_object_list(held, src=0)
        return held[0]  # type: ignore[return-value]  # the first process always gives one

    def gather(self, value: T) -> list[T]:
        """Return what every process gives, by rank."""
        if self.n == 1:
            return [value]
        every: list[Any] = [None] * self.n
        distributed.all_gather_object(every, value)
        return every

    def mean(self, loss: Tensor, share: float) -> float:
        """Return the loss of the whole batch from those of its parts, each weighed by ``share``."""
        if self.n == 1:
            return loss.item()
        total = loss.detach() * share
        distributed.all_reduce(total)
        return float(total.item())

    def joined(self, network: nn.Module) -> nn.Module:
        """Return a network whose gradients are those of all processes, averaged."""
        if self.n == 1:
            return network
        return nn.parallel.DistributedDataParallel(network)


def this_device(local_rank: int = 0) -> torch.device:
    """Return the graphics card of this process if there is one, else the processor."""
    return torch.device("cuda", local_rank) if torch.cuda.is_available() else torch.device("cpu")


@contextlib.contextmanager
def joined_processes() -> Iterator[Processes]:
    """Join the processes that ``torchrun`` started; alone if it did not.

    Raises:
        TrainingError: the others could not be reached.
    """
    n, rank, local = (int(os.environ.get(name, default)) for name, default in _VARIABLES)
    device = this_device(local)
    if n == 1:
        yield Processes(0, 1, device)
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise TrainingError(
            f"The other {n - 1} processes could not be reached ({type(error).__name__}); "
            "check the address given to torchrun and the network between the machines."
        ) from error
    try:
        yield Processes(rank, n, device)
    finally:
        distributed.destroy_process_group()


_VARIABLES = (("WORLD_SIZE", "1"), ("RANK", "0"), ("LOCAL_RANK", "0"))


class _Sum(torch.autograd.Function):
    """Sum over processes, of values and of gradients."""

    @staticmethod
    def forward(_: Any, values: Tensor) -> Tensor:
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        distributed.all_reduce(total)
        return total


class SharedBatchNorm(_BatchNorm):
    """Batch normalisation with the statistics of the whole batch, whichever process holds its cases.

    Attributes:
        counts: whether the cases of this process are part of the batch; else they are stand-ins.

    Source: Ioffe and Szegedy, "Batch Normalization" (2015), with sums over processes.
    """

    counts: bool = True

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002 - PyTorch's name
        """Any number of dimensions: channels are the second."""

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` ``(n, channels, ...)`` normalised, and move the running statistics."""
        if not self.training:
            return super().forward(x)
        axes = [axis for axis in range(x.ndim) if axis != 1]
        weight = float(self.counts)
        n_own = torch.tensor([x.numel() / x.shape[1]], dtype=x.dtype, device=x.device)
        total = _Sum.apply(weight * torch.cat([x.sum(axes), n_own]))  # type: ignore[no-untyped-call]
        n = total[-1].detach()
        mean = total[:-1] / n
        shape = [1, -1, *[1] * (x.ndim - 2)]
        centred = x - mean.view(shape)
        # A second sum, of squares about the mean: the square of the sum would cancel.
        variance = _Sum.apply(weight * centred.square().sum(axes)) / n  # type: ignore[no-untyped-call]
        self._move(mean.detach(), variance.detach() * n / (n - 1).clamp_min(1))
        y: Tensor = centred * torch.rsqrt(variance + self.eps).view(shape)
        return y if self.weight is None else y * self.weight.view(shape) + self.bias.view(shape)

    def _move(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics as :class:`torch.nn.BatchNorm2d` does."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        momentum = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance, momentum)


def share_batch_norm(network: nn.Module) -> None:
    """Have every batch normalisation of the network take its statistics over all processes, in place."""
    for layer in network.modules():
        if isinstance(layer, _BatchNorm) and not isinstance(layer, SharedBatchNorm):
            setattr(layer, _KIND, type(layer))
            layer.__class__ = SharedBatchNorm


def count_in_batch_norm(network: nn.Module, *, counts: bool) -> None:
    """Say whether the cases of this process are part of the batch that is learned from next."""
    for layer in network.modules():
        if isinstance(layer, SharedBatchNorm):
            layer.counts = counts


def own_batch_norm(network: nn.Module) -> None:
    """Undo :func:`share_batch_norm`."""
    for layer in network.modules():
        if isinstance(layer, SharedBatchNorm) and hasattr(layer, _KIND):
            layer.__class__ = getattr(layer, _KIND)
            delattr(layer, _KIND)
