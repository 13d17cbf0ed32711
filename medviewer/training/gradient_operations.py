"""What ONNX has no backward for, said in operations that it has.

Each function here takes the place of one PyTorch backward primitive while a
network is traced (:mod:`medviewer.training.gradient_graph`). Only gradients
that flow to the *input* are wanted, never to the weights, which makes most of
them forwards in disguise: the gradient of a convolution is a convolution with
its filter turned round.

Choices of form are made for ONNX Runtime on a CPU: plain Conv is several times
as fast there as a depthwise ConvTranspose, and a product with a 0/1 mask is
faster than Where.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 - its name everywhere
from torch import Tensor
from torch._decomp import get_decompositions

aten: Any = torch.ops.aten

Decompositions: TypeAlias = dict[Any, Callable[..., Any]]


def decompositions() -> Decompositions:
    """Return the table of backward primitives and what is traced in their place."""
    borrowed = (  # PyTorch's own, which are forward operations already
        "native_layer_norm_backward native_group_norm_backward gelu_backward _softmax_backward_data "
        "_log_softmax_backward_data select_backward slice_backward sigmoid_backward tanh_backward silu_backward "
        "mish_backward hardswish_backward hardsigmoid_backward leaky_relu_backward elu_backward softplus_backward "
        "embedding_dense_backward upsample_nearest2d_backward"
    )
    table: Decompositions = dict(get_decompositions([getattr(aten, name) for name in borrowed.split()]))
    table |= {
        aten.convolution_backward.default: convolution_backward,
        aten.max_pool2d_with_indices_backward.default: max_pool_backward,
        aten.avg_pool2d_backward.default: average_pool_backward,
        aten._adaptive_avg_pool2d_backward.default: adaptive_average_pool_backward,
        aten.native_batch_norm_backward.default: batch_norm_backward,
        aten.threshold_backward.default: threshold_backward,
        aten.hardtanh_backward.default: hardtanh_backward,
    }
    return table


def convolution_backward(  # noqa: PLR0913, PLR0917 - the primitive's own signature
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    bias_sizes: Sequence[int] | None,  # noqa: ARG001
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],  # noqa: ARG001
    groups: int,
    mask: Sequence[bool],
) -> tuple[Tensor, None, None]:
    """Return the gradient of a convolution's input, and nothing for its weights."""
    if mask[1] or mask[2]:
        raise AssertionError("weights are constants here")
    n = x.dim() - 2
    step, pad, dilate = (list(v) * n if len(v) == 1 else list(v) for v in (stride, padding, dilation))
    if transposed:
        return aten.convolution(gradient, weight, None, step, pad, dilate, False, [0] * n, groups), None, None
    reach = [dilate[i] * (weight.shape[2 + i] - 1) for i in range(n)]
    if all(s == 1 for s in step) and all(r >= p for r, p in zip(reach, pad, strict=True)):
        turned = _turned(weight, groups)
        outer = [r - p for r, p in zip(reach, pad, strict=True)]
        return aten.convolution(gradient, turned, None, step, outer, dilate, False, [0] * n, groups), None, None
    # Sizes that the stride does not divide leave rows at the end that no window saw.
    rest = [
        int(x.shape[2 + i]) - ((int(gradient.shape[2 + i]) - 1) * step[i] - 2 * pad[i] + reach[i] + 1) for i in range(n)
    ]
    return aten.convolution(gradient, weight, None, step, pad, dilate, True, rest, groups), None, None


def _turned(weight: Tensor, groups: int) -> Tensor:
    """Return a filter bank turned round in space with its inputs and outputs exchanged, group by group."""
    outputs, inputs, *kernel = weight.shape
    by_group = weight.reshape(groups, outputs // groups, inputs, *kernel).transpose(1, 2)
    exchanged = by_group.reshape(groups * inputs, outputs // groups, *kernel)
    axes = [2 + i for i, size in enumerate(kernel) if size > 1]
    return exchanged.flip(axes) if axes else exchanged


def max_pool_backward(  # noqa: PLR0913, PLR0917 - the primitive's own signature
    gradient: Tensor,
    x: Tensor,
    kernel: Sequence[int],  # noqa: ARG001
    stride: Sequence[int],  # noqa: ARG001
    padding: Sequence[int],  # noqa: ARG001
    dilation: Sequence[int],  # noqa: ARG001
    ceil_mode: bool,  # noqa: ARG001
    indices: Tensor,
) -> Tensor:
    """Return each gradient to the pixel that won its window; windows that overlap add up."""
    zero = torch.zeros_like(x).flatten(2)
    return zero.scatter_add(2, indices.flatten(2), gradient.flatten(2)).reshape(x.shape)


def average_pool_backward(  # noqa: PLR0913, PLR0917 - the primitive's own signature
    gradient: Tensor,
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    """Spread each gradient evenly over its window: pooling is linear along each axis."""
    if divisor_override is not None:
        kernel_area = float(kernel[0] * kernel[-1]) / divisor_override
        return kernel_area * average_pool_backward(gradient, x, kernel, stride, padding, ceil_mode, True, None)
    step = stride or kernel
    matrices = [
        _pooling_matrix(
            int(x.shape[2 + i]), int(gradient.shape[2 + i]), kernel[i], step[i], padding[i], count_include_pad
        )
        for i in (0, 1)
    ]
    return matrices[0].T @ gradient @ matrices[1]


def _pooling_matrix(size: int, n: int, kernel: int, stride: int, padding: int, count_padding: bool) -> Tensor:
    """Return ``(n, size)``: which pixels of one axis each window averages, and with what weight."""
    matrix = torch.zeros(n, size)
    for i in range(n):
        start, end = i * stride - padding, i * stride - padding + kernel
        # With ceil_mode the last window may leave the padded image: that part never counts.
        counted = min(end, size + padding) - start if count_padding else min(end, size) - max(start, 0)
        matrix[i, max(start, 0) : min(end, size)] = 1.0 / counted
    return matrix


def adaptive_average_pool_backward(gradient: Tensor, x: Tensor) -> Tensor:
    """Spread each gradient evenly over the cell that it averages."""
    matrices = []
    for axis in (2, 3):
        size, n = int(x.shape[axis]), int(gradient.shape[axis])
        matrix = torch.zeros(n, size)
        for i in range(n):
            start, end = (i * size) // n, -((-(i + 1) * size) // n)
            matrix[i, start:end] = 1.0 / (end - start)
        matrices.append(matrix)
    if all(m.shape[0] == 1 for m in matrices):
        return (gradient / float(matrices[0].shape[1] * matrices[1].shape[1])).expand(x.shape)
    return matrices[0].T @ gradient @ matrices[1]


def batch_norm_backward(  # noqa: PLR0913, PLR0917 - the primitive's own signature
    gradient: Tensor,
    x: Tensor,
    weight: Tensor | None,
    running_mean: Tensor,  # noqa: ARG001
    running_var: Tensor,
    save_mean: Tensor,  # noqa: ARG001
    save_invstd: Tensor,  # noqa: ARG001
    train: bool,
    eps: float,
    mask: Sequence[bool],  # noqa: ARG001
) -> tuple[Tensor, None, None]:
    """Scale by what batch normalisation scales by; in evaluation it is a line."""
    if train:
        raise AssertionError("explained in evaluation mode")
    scale = torch.rsqrt(running_var + eps)
    if weight is not None:
        scale = scale * weight
    return gradient * scale.reshape([1, -1] + [1] * (x.dim() - 2)), None, None


def threshold_backward(gradient: Tensor, y: Tensor, threshold: float) -> Tensor:
    """Let the gradient through where ReLU did."""
    if threshold == 0:
        # ReLU's output is never negative, so its sign is the mask.
        return gradient * F.relu(y).sign()
    return gradient * (y > threshold).to(gradient.dtype)


def hardtanh_backward(gradient: Tensor, x: Tensor, low: float, high: float) -> Tensor:
    """Let the gradient through where ReLU6 (or any clip) did not cut.

    The mask is taken from the clipped value, which the forward has already, and not
    from ``x``: runtimes can then fuse the clip into the convolution before it.
    """
    y: Tensor = aten.hardtanh(x, low, high)
    above = y if low == 0 else y - low
    return gradient * (above * (high - y)).sign()
