"""Changes that leave the diagnosis alone, made to a whole batch at once.

Children with pneumonia were filmed differently from healthy ones: lying down, with
another exposure, with wires, nearer the tube. A network learns those first, scores
.999 on patients of the same archive and gets worse everywhere else. Each change
below takes one such hint away: it varies what an archive decides (exposure, borders,
markers, crop, sharpness, compression) and keeps what disease decides.

All functions take and give ``(n, 1, rows, columns)`` float32 in 0..1 and draw from
the generator that they are given, and only from it.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional


def augment(images: Tensor, size: int, generator: Generator, strength: float = 1.0) -> Tensor:
    """Return a changed copy of each image, resampled to ``(n, 1, size, size)``.

    Args:
        images: ``(n, 1, rows, columns)`` in 0..1.
        size: rows and columns of the result.
        generator: the only source of chance.
        strength: 0 only resamples; 1 is what the recipe was chosen with.
    """
    x = _move(images, size, generator, strength)
    x = _sometimes(0.30 * strength, x, _exchange_histograms(x, generator), generator)
    x = _expose(x, generator, strength)
    x = _sometimes(0.30 * strength, x, _light_unevenly(x, generator), generator)
    x = _sometimes(0.35 * strength, x, _refocus(x, generator), generator)
    x = _sometimes(0.35 * strength, x, _add_noise(x, generator), generator)
    x = _sometimes(0.30 * strength, x, _compress(x, generator), generator)
    x = _sometimes(0.35 * strength, x, _mask_borders(x, generator), generator)
    return _sometimes(0.50 * strength, x, _cover(x, generator), generator)


def augment_lightly(images: Tensor, size: int, generator: Generator, strength: float = 1.0) -> Tensor:
    """Return a changed copy of each image: moved a little, exposed otherwise, with grain; for images of few pixels.

    Blocks and wires would cover most of a lesion of five pixels, and what was outside is mostly reflected: a
    border would be the largest thing in the image. Now and then there is one. Arguments as for :func:`augment`.
    """
    n = len(images)
    angle = _uniform(n, -0.15, 0.15, generator) * strength
    mirror = 1.0 - 2.0 * (torch.rand(n, generator=generator) < 0.5).float()
    matrix = torch.zeros(n, 2, 3)
    matrix[:, 0, 0] = torch.cos(angle) * (1 + _uniform(n, -0.12, 0.12, generator) * strength) * mirror
    matrix[:, 0, 1] = -torch.sin(angle)
    matrix[:, 1, 0] = torch.sin(angle) * mirror
    matrix[:, 1, 1] = torch.cos(angle) * (1 + _uniform(n, -0.12, 0.12, generator) * strength)
    matrix[:, :, 2] = (torch.rand(n, 2, generator=generator) - 0.5) * 0.24 * strength
    grid = functional.affine_grid(matrix, [n, 1, size, size], align_corners=False)
    moved = functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    changed = _add_noise(_expose(moved, generator, 0.6 * strength), generator)
    return _sometimes(0.2 * strength, changed, _mask_borders(changed, generator), generator)


def _uniform(n: int, low: float, high: float, generator: Generator) -> Tensor:
    """Return ``(n,)`` even draws."""
    return torch.rand(n, generator=generator) * (high - low) + low


def _sometimes(chance: float, x: Tensor, changed: Tensor, generator: Generator) -> Tensor:
    """Take the changed version of each image with the given chance."""
    chosen = torch.rand(len(x), 1, 1, 1, generator=generator) < chance
    return torch.where(chosen, changed, x)


def _move(x: Tensor, size: int, generator: Generator, strength: float) -> Tensor:
    """Turn, zoom, squeeze, shear, shift and mirror; fill what was outside with one grey."""
    n = len(x)
    angle = _uniform(n, -12, 12, generator) * strength * math.pi / 180
    zoom = torch.exp(_uniform(n, math.log(0.72), math.log(1.18), generator) * strength)
    squeeze = torch.exp(_uniform(n, -0.15, 0.15, generator) * strength)
    shear = _uniform(n, -0.08, 0.08, generator) * strength
    mirror = 1.0 - 2.0 * (torch.rand(n, generator=generator) < 0.5 * min(strength, 1.0)).float()
    matrix = torch.zeros(n, 2, 3)
    matrix[:, 0, 0] = torch.cos(angle) * zoom * squeeze * mirror
    matrix[:, 0, 1] = -torch.sin(angle) * zoom + shear
    matrix[:, 1, 0] = torch.sin(angle) * zoom * mirror
    matrix[:, 1, 1] = torch.cos(angle) * zoom / squeeze
    matrix[:, :, 2] = (torch.rand(n, 2, generator=generator) - 0.5) * 0.24 * strength
    fill = torch.rand(n, 1, 1, 1, generator=generator) * 0.5
    fill = torch.where(torch.rand(n, 1, 1, 1, generator=generator) < 0.6, torch.zeros_like(fill), fill)
    grid = functional.affine_grid(matrix, [n, 1, size, size], align_corners=False)
    return functional.grid_sample(x - fill, grid, mode="bilinear", align_corners=False) + fill


def _exchange_histograms(x: Tensor, generator: Generator) -> Tensor:
    """Give each image the grey distribution of another one, of either class, in part.

    Exposure, film and window are all in the histogram; after this they say nothing
    about the class, while the order of greys, which is anatomy, is untouched.
    """
    n = len(x)
    levels = torch.linspace(0, 1, 33)
    quantiles = torch.quantile(x[:, 0, ::4, ::4].flatten(1), levels, dim=1).T.contiguous()
    other = quantiles[torch.randperm(n, generator=generator)]
    share = _uniform(n, 0.3, 1.0, generator)[:, None]
    target = quantiles * (1 - share) + other * share
    # Piecewise linear map of each image's own quantiles onto the target's.
    flat = x.flatten(1).contiguous()
    upper = torch.searchsorted(quantiles, flat).clamp(1, 32)
    x0, x1 = quantiles.gather(1, upper - 1), quantiles.gather(1, upper)
    y0, y1 = target.gather(1, upper - 1), target.gather(1, upper)
    place = ((flat - x0) / (x1 - x0).clamp_min(1e-4)).clamp(0, 1)
    return (y0 + place * (y1 - y0)).reshape(x.shape)


def _expose(x: Tensor, generator: Generator, strength: float) -> Tensor:
    """Vary gamma, contrast and brightness, with saturation at both ends."""
    n = len(x)
    gamma = torch.exp(_uniform(n, -0.6, 0.6, generator) * strength).view(n, 1, 1, 1)
    contrast = torch.exp(_uniform(n, -0.5, 0.3, generator) * strength).view(n, 1, 1, 1)
    brightness = (_uniform(n, -0.12, 0.12, generator) * strength).view(n, 1, 1, 1)
    return ((x.clamp(0, 1) ** gamma - 0.5) * contrast + 0.5 + brightness).clamp(0, 1)


def _light_unevenly(x: Tensor, generator: Generator) -> Tensor:
    """Add a slow ramp of brightness, as the tube's heel effect and scatter do."""
    field = (torch.rand(len(x), 1, 3, 3, generator=generator) - 0.5) * 0.3
    return (x + functional.interpolate(field, x.shape[-2:], mode="bicubic", align_corners=False)).clamp(0, 1)


def _blurred(x: Tensor, sigma: float) -> Tensor:
    """Return ``x`` after a Gaussian of ``sigma`` pixels."""
    reach = max(1, math.ceil(2.5 * sigma))
    taps = torch.exp(-(torch.arange(-reach, reach + 1).float() ** 2) / (2 * sigma**2))
    taps = taps / taps.sum()
    x = functional.pad(x, (reach, reach, reach, reach), mode="replicate")
    return functional.conv2d(functional.conv2d(x, taps.view(1, 1, 1, -1)), taps.view(1, 1, -1, 1))


def _refocus(x: Tensor, generator: Generator) -> Tensor:
    """Blur or sharpen: scanners, resizing and processing software differ."""
    soft = _blurred(x, float(_uniform(1, 0.5, 1.8, generator)))
    amount = _uniform(len(x), -1.0, 1.0, generator).view(-1, 1, 1, 1)
    # 1 is the blurred image, 0 the image itself, -1 the image with its edges doubled.
    return (x + amount * (soft - x)).clamp(0, 1)


def _add_noise(x: Tensor, generator: Generator) -> Tensor:
    """Add quantum noise, fine or as coarse as two pixels."""
    noise = torch.randn(x.shape, generator=generator)
    if torch.rand(1, generator=generator) < 0.5:
        noise = 2 * functional.avg_pool2d(noise, 3, 1, 1)
    return (x + noise * _uniform(len(x), 0.0, 0.05, generator).view(-1, 1, 1, 1)).clamp(0, 1)


def _compress(x: Tensor, generator: Generator) -> Tensor:
    """Round each 8x8 block's cosine coefficients, as JPEG does."""
    n, _, rows, columns = x.shape
    k = torch.arange(8).float()
    basis = torch.cos((2 * k[None] + 1) * k[:, None] * math.pi / 16) * 0.5
    basis[0] *= math.sqrt(0.5)
    # Coarser for higher frequencies, as in the standard's example table (T.81, K.1).
    table = (16 + 6 * (k[:, None] + k[None])) / 255
    step = table * _uniform(n, 0.3, 2.5, generator).view(n, 1, 1, 1, 1)
    blocks = x[:, 0].reshape(n, rows // 8, 8, columns // 8, 8).transpose(2, 3)
    coefficients = torch.round(basis @ blocks @ basis.T / step) * step
    back = (basis.T @ coefficients @ basis).transpose(2, 3)
    return back.reshape(x.shape).clamp(0, 1)


def _mask_borders(x: Tensor, generator: Generator) -> Tensor:
    """Cover up to 12% at each side: collimation, film edges, black frames."""
    n, _, rows, columns = x.shape
    widths = _uniform(4 * n, -0.08, 0.12, generator).view(4, n, 1, 1).clamp_min(0)
    row = torch.linspace(0, 1, rows).view(1, rows, 1)
    column = torch.linspace(0, 1, columns).view(1, 1, columns)
    outside = (row < widths[0]) | (row > 1 - widths[1]) | (column < widths[2]) | (column > 1 - widths[3])
    grey = torch.where(
        torch.rand(n, 1, 1, 1, generator=generator) < 0.7,
        torch.zeros(n, 1, 1, 1),
        torch.rand(n, 1, 1, 1, generator=generator),
    )
    return torch.where(outside[:, None], grey, x)


def _cover(x: Tensor, generator: Generator) -> Tensor:
    """Lay three rectangles on the image: letters, clips and wires, or a hidden region."""
    n, _, rows, columns = x.shape
    row = torch.arange(rows).view(1, rows, 1)
    column = torch.arange(columns).view(1, 1, columns)
    for low, high in ((0.03, 0.10), (0.03, 0.10), (0.08, 0.28)):
        top, left = _uniform(n, -0.05, 0.95, generator) * rows, _uniform(n, -0.05, 0.95, generator) * columns
        height = _uniform(n, low, high, generator) * rows
        width = _uniform(n, low, high, generator) * columns
        inside = (row >= top.view(n, 1, 1)) & (row < (top + height).view(n, 1, 1))
        inside = inside & (column >= left.view(n, 1, 1)) & (column < (left + width).view(n, 1, 1))
        x = torch.where(inside[:, None], torch.rand(n, 1, 1, 1, generator=generator), x)
    return x
