"""What ONNX has no backward for, said in operations that it has.

Each function here takes the place of one PyTorch backward primitive while a
network is traced (:mod:`medviewer.training.gradient_graph`). Only gradients
that flow to the *input* are wanted, never to the weights, which makes most of
them forwards in disguise: the gradient of a convolution is a convolution with
its filter turned round.

Choices of form are made for ONNX Runtime on a CPU. It keeps convolutions in a
blocked memory layout and so are Add, Mul and the activations; anything else
costs a copy there and back. So a filter turned round is a plain Conv where it can
be, and the mask of a ReLU is a very steep HardSigmoid and a Mul.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch._decomp import get_decompositions
from torch.onnx.ops import symbolic as onnx_symbolic

aten: Any = torch.ops.aten

STEEP = 2.0**100

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
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
    indices: Tensor,
) -> Tensor:
    """Return each gradient to the pixel that won its window; windows that overlap add up."""
    if not ceil_mode and set(dilation) == {1}:
        indices = _winners(
            gradient, x, (list(kernel) * 2)[:2], (list(stride or kernel) * 2)[:2], (list(padding) * 2)[:2]
        )
    zero = torch.zeros_like(x).flatten(2)
    return zero.scatter_add(2, indices.flatten(2), gradient.flatten(2)).reshape(x.shape)


def _winners(gradient: Tensor, x: Tensor, kernel: Sequence[int], stride: Sequence[int], edge: Sequence[int]) -> Tensor:
    """Return which pixel of ``x`` each window's maximum is, the first of equals, as pooling's own indices.

    ONNX Runtime's pooling is several times slower when it is asked for indices. A convolution with filters that
    each pick one pixel lays the windows out instead, and their first largest is found at once.
    """
    channels, rows, columns = (int(n) for n in x.shape[1:])
    high, wide = (int(n) for n in gradient.shape[2:])
    cells = kernel[0] * kernel[1]
    pick = torch.eye(cells).reshape(cells, 1, *kernel).repeat(channels, 1, 1, 1)
    windows = aten.convolution(x, pick, None, list(stride), list(edge), [1, 1], False, [0, 0], channels)
    down, right = torch.meshgrid(torch.arange(kernel[0]), torch.arange(kernel[1]), indexing="ij")
    row = down.reshape(cells, 1, 1) + torch.arange(high).reshape(1, -1, 1) * stride[0] - edge[0]
    column = right.reshape(cells, 1, 1) + torch.arange(wide).reshape(1, 1, -1) * stride[1] - edge[1]
    is_inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
    # Zeros stand outside the image, where nothing may win; real values stay far above this.
    outside = torch.where(is_inside, 0.0, torch.finfo(torch.float32).min / 2)
    first = (windows.reshape(-1, channels, cells, high, wide) + outside).argmax(dim=2)
    corner = (torch.arange(high) * stride[0] - edge[0])[:, None] * columns + torch.arange(wide) * stride[1] - edge[1]
    winners: Tensor = first + first.div(kernel[1], rounding_mode="trunc") * (columns - kernel[1]) + corner
    return winners


def average_pool_backward(  # noqa: PLR0913, PLR0917 - the primitive's own signature
    gradient: Tensor,
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,  # noqa: ARG001
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    """Spread each gradient evenly over its window: pooling is linear along each axis."""
    n_cells = kernel[0] * kernel[1]
    is_tiling = list(kernel) == list(stride or kernel) and not any(padding)
    if is_tiling and all(int(x.shape[2 + i]) == int(gradient.shape[2 + i]) * kernel[i] for i in (0, 1)):
        return _repeated(gradient / float(divisor_override or n_cells), kernel)
    matrices = []
    for axis, (size, across, edge) in enumerate(zip(kernel, stride or kernel, padding, strict=True)):
        rows = int(x.shape[2 + axis])
        first = [i * across - edge for i in range(int(gradient.shape[2 + axis]))]
        windows = [(max(start, 0), min(start + size, rows)) for start in first]
        if divisor_override is not None:
            counts = [float(divisor_override) ** 0.5] * len(first)
        elif count_include_pad:
            # With ceil_mode the last window may leave even the padded image: that part never counts.
            counts = [float(min(start + size, rows + edge) - start) for start in first]
        else:
            counts = [float(end - start) for start, end in windows]
        matrices.append(_averaging_matrix(rows, windows, counts))
    return _spread(gradient, matrices[0], matrices[1])


def _repeated(y: Tensor, times: Sequence[int]) -> Tensor:
    """Return ``y`` with each cell repeated along rows and columns: an operator that keeps the blocked layout."""
    scales = torch.tensor([1.0, 1.0, *map(float, times)])
    shape = [*y.shape[:2], y.shape[2] * times[0], y.shape[3] * times[1]]
    how: dict[str, Any] = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return onnx_symbolic("Resize", (y, None, scales), how, dtype=y.dtype, shape=shape, version=13)


def _averaging_matrix(size: int, windows: Sequence[tuple[int, int]], counts: Sequence[float]) -> Tensor:
    """Return ``(windows, size)``: the pixels of one axis that each window sums, divided by its count."""
    rows = [
        [1 / count if start <= i < end else 0.0 for i in range(size)]
        for (start, end), count in zip(windows, counts, strict=True)
    ]
    return torch.tensor(rows)


def _spread(gradient: Tensor, along_rows: Tensor, along_columns: Tensor) -> Tensor:
    """Return ``along_rows.T @ gradient @ along_columns``, each constant on the right, where it needs no batch."""
    return ((gradient @ along_columns).transpose(2, 3) @ along_rows).transpose(2, 3)


def adaptive_average_pool_backward(gradient: Tensor, x: Tensor) -> Tensor:
    """Spread each gradient evenly over the cell that it averages."""
    sizes, cells = [int(n) for n in x.shape[2:]], [int(n) for n in gradient.shape[2:]]
    if cells == [1, 1]:
        return (gradient / float(sizes[0] * sizes[1])).expand(x.shape)
    matrices = []
    for size, n in zip(sizes, cells, strict=True):
        windows = [(i * size // n, -(-(i + 1) * size // n)) for i in range(n)]
        matrices.append(_averaging_matrix(size, windows, [float(end - start) for start, end in windows]))
    return _spread(gradient, matrices[0], matrices[1])


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
    return gradient * _step_up(y, threshold)


def hardtanh_backward(gradient: Tensor, x: Tensor, low: float, high: float) -> Tensor:
    """Let the gradient through where ReLU6 (or any clip) did not cut.

    The mask is taken from the clipped value, which the forward has already, and not
    from ``x``: runtimes can then fuse the clip into the convolution before it.
    """
    y = aten.hardtanh(x, low, high)
    return gradient * _step_up(y, low) * _step_down(y, high)


def _step_up(y: Tensor, edge: float) -> Tensor:
    """Return 1 where ``y > edge``, else 0."""
    return _hard_sigmoid(y, STEEP, -edge * STEEP)


def _step_down(y: Tensor, edge: float) -> Tensor:
    """Return 1 where ``y < edge``, else 0."""
    return _hard_sigmoid(y, -STEEP, edge * STEEP)


def _hard_sigmoid(y: Tensor, slope: float, offset: float) -> Tensor:
    """Return ``clip(slope * y + offset, 0, 1)`` as the one ONNX operator that it is.

    With a very steep slope this is a step; a power of two keeps the edge exact.
    """
    return onnx_symbolic("HardSigmoid", (y,), {"alpha": slope, "beta": offset}, dtype=y.dtype, shape=y.shape, version=6)
