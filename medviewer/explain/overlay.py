"""The colours of a heat map, and the heat map over the grey image.

The tables are perceptually uniform: equal steps of the map look equal, also in
grey and to most colour-blind eyes. A rainbow draws edges where there are none.

Only positive evidence is drawn. What speaks against a finding is in the numbers,
but in the same picture it would look like something found.

Source: the colour maps of S. van der Walt, N. Smith and E. Firing (CC0), and
cividis: Nuñez, Anderton and Renslow, PLoS ONE 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from medviewer.domain.answer import Attribution, Region
from medviewer.domain.errors import UsageError

Bytes = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]

_STEP = 3
# Every third colour of 256, RRGGBB; what lies between is interpolated, to within two grey levels.
_COLORS = {
    "magma": (
        "00000401010802020d04041406051a0907200c0926100b2d130d34160f3b1a10421e11492211502712582c115f31116536106b"
        "3b0f70400f744510774a10794f127b54137d59157e5d177f621980671b806b1d81701f817521817922827e2482832681882781"
        "8c2981912b81962c809b2e7fa02f7fa5317eaa337dae347bb3367ab83779bd3977c23b75c73d73cc3f71d0416fd5446dd9466b"
        "de4968e24d66e55064e95462ec5860ef5d5ef2625df4675cf66c5cf7725cf9785dfa7d5efb835ffc8961fc8e64fd9467fd9a6a"
        "fe9f6dfea571feaa74feb078feb67cfebb81fec185fec68afecc8ffed194fed799fddc9efde2a3fde7a9fcecaefcf2b4fcf7b9"
        "fcfdbf"
    ),
    "inferno": (
        "00000401010802020e04031407051b0a07220d0829110a30150b37190c3e1e0c45230c4c280b532d0b59320a5e3809623d0965"
        "420a68470b6a4c0c6b510e6c550f6d5a116e5f136e64156e69166e6d186e721a6e771c6d7c1d6d801f6c85216b8a226a8f2469"
        "9326679827669d2964a22b62a62d60ab2f5eb0315bb43359b93556bd3853c13a50c63d4dca404ace4347d24644d54a41d94d3d"
        "dd513ae05536e35933e65d2fe9612beb6628ee6a24f06f20f2741cf47918f67e14f78410f8890cf98e09fa9407fb9906fc9f07"
        "fca50afcaa0ffcb014fbb61afbbc21fac228f9c72ff8cd37f7d340f5d949f4df53f3e55df2ea69f1ef75f2f482f4f88ef8fb9a"
        "fcffa4"
    ),
    "viridis": (
        "440154450559460a5d470e61471365481769481b6d481f70482374482677472a7a472e7c46327e453581443983433d84424086"
        "4144873f47883e4a893d4e8a3b518b3a548c38588c375b8d355e8d34618d32648e31678e306a8e2e6d8e2d708e2c728e2b758e"
        "2a788e297b8e277e8e26818e25838e24868e23898e228c8d218f8d20928c1f948c1f978b1f9a8a1e9d891fa0881fa28721a585"
        "22a88425ab8227ad812ab07f2eb37c32b67a37b8783bbb7540bd7246c06f4cc26c52c56958c7655ec96265cb5e6ccd5a73d056"
        "7ad15181d34d89d54890d74398d83ea0da39a8db34b0dd2fb8de29c0df25c8e020d0e11cd8e219dfe318e7e419efe51cf6e620"
        "fde725"
    ),
    "cividis": (
        "00224e00255300275800295d002b62002d68002f6d0031700533710f35701637701c396f213b6e263d6e2a3f6d2e416d32436d"
        "35456c39486c3c4a6c3f4c6c424e6c45506c48526c4b546c4e566c51586d545a6d565c6d595e6e5c616e5e636f61656f646770"
        "666970696b716c6d726e6f737172747374757676767878777b7a787e7c78807f788381798683798985788c88788f8a78928c78"
        "948e779791779a93769d9576a09875a39a74a69c74a99f73aca172afa471b3a670b6a96fb9ab6dbcae6cbfb06bc2b369c5b568"
        "c8b866ccba64cfbd62d2c060d5c25ed9c55cdcc859dfca57e2cd54e6d051e9d34eedd54af0d846f3db42f7de3efbe138fee434"
        "fee838"
    ),
}

COLOR_MAPS = tuple(_COLORS)


FILL = 0.35  # of the opacity: what is outlined stays visible inside its outline
_EDGES_ACROSS = 350  # widths of an edge across the longer side of a picture
_STRONGEST = 0.995
_SAMPLE = 1 << 16


def color_table(name: str, *, opacity: float, threshold: float) -> Bytes:
    """Return the colour and opacity of each of the 256 levels of :func:`to_levels`.

    Opacity grows with the value, from nothing at the threshold: the anatomy stays
    visible, a weak signal looks weak, and no hard edge is drawn that could be taken for
    the outline of something. Level 0 (no positive evidence, or not examined) is always
    fully transparent.

    Args:
        name: one of :data:`COLOR_MAPS`.
        opacity: of the strongest value, 0 to 1.
        threshold: values up to this part of the strongest are not drawn, 0 to 1.

    Returns:
        ``(256, 4)`` uint8 RGBA, colours not multiplied by the opacity.

    Raises:
        UsageError: there is no such table; the message names those there are.
    """
    above = (np.arange(256) / 255 - threshold) / max(1 - threshold, 1e-6)
    alpha = 255 * np.clip(opacity, 0, 1) * np.clip(above, 0, 1)
    alpha[255] = 255 * np.clip(opacity, 0, 1)
    table = np.empty((256, 4), np.uint8)
    table[:, :3] = _colors(name)
    table[:, 3] = np.round(alpha)
    return table


@lru_cache(maxsize=len(_COLORS))
def _colors(name: str) -> Bytes:
    if name not in _COLORS:
        raise UsageError(f"There is no colour map “{name}”; there are: {', '.join(COLOR_MAPS)}.")
    knots = np.frombuffer(bytes.fromhex("".join(_COLORS[name])), np.uint8).reshape(-1, 3)
    at = np.arange(len(knots)) * _STEP
    colors = np.stack([np.interp(np.arange(256), at, channel) for channel in knots.T.astype(float)], axis=1)
    colors = np.round(colors).astype(np.uint8)
    colors.setflags(write=False)
    return colors


def strongest_of(attribution: Attribution) -> float | None:
    """The value that is drawn as the strongest of a stack's map, on every slice alike; None where the map has its own.

    Each slice by its own strongest would make nothing look like something.
    """
    return attribution.volume.strongest if attribution.volume is not None else None


def normalise_map(placed: FloatArray, strongest: float | None = None) -> tuple[FloatArray, float]:
    """Return the positive evidence as a part of its strongest, and that value.

    The strongest is the value that half a percent of the positive pixels reach: a map of
    single pixels, such as integrated gradients', would else be invisible beside one speck.

    Args:
        placed: ``(rows, columns)``, signed; NaN where nothing was examined.
        strongest: if another value is to be drawn as 1 (:func:`strongest_of`).

    Returns:
        ``(rows, columns)`` float32 in 0..1, 0 where evidence is negative and NaN where
        nothing was examined; and the value that is drawn as 1, 0 if none is positive.
    """
    finite = np.isfinite(placed)
    positive = placed[finite & (placed > 0)]
    if positive.size == 0 or strongest == 0:
        return np.where(finite, np.float32(0), np.float32(np.nan)), strongest or 0.0
    if strongest is None:
        sample = positive[:: max(1, positive.size // _SAMPLE)]  # sorting millions of pixels would hold the window up
        strongest = float(np.quantile(sample, _STRONGEST, method="higher"))
    return (np.clip(placed, 0, strongest) / strongest).astype(np.float32), float(strongest)


def to_levels(placed: FloatArray, strongest: float | None = None) -> Bytes:
    """Return a map as 256 levels, 255 the strongest; 0 is no positive evidence, or not examined."""
    parts, _ = normalise_map(placed, strongest)
    return np.round(np.nan_to_num(parts, nan=0.0) * 255).astype(np.uint8)


def blend(
    display: Bytes,
    placed: FloatArray,
    *,
    color_map: str = "magma",
    opacity: float = 0.5,
    threshold: float = 0.0,
    strongest: float | None = None,
) -> npt.NDArray[np.uint8]:
    """Lay a heat map over the image as shown, for a picture file.

    Args:
        display: ``(rows, columns)`` uint8 grey, or ``(rows, columns, 3)`` RGB.
        placed: ``(rows, columns)``; where it is NaN the image is left as it is.
        color_map: one of :data:`COLOR_MAPS`.
        opacity: of the strongest value, 0 to 1.
        threshold: see :func:`color_table`.
        strongest: the value that is drawn as such; None for the map's own.

    Returns:
        ``(rows, columns, 3)`` uint8 RGB.

    Raises:
        UsageError: the two have different sizes, or there is no such colour map.
    """
    if display.shape[:2] != placed.shape:
        raise UsageError(f"A heat map of {placed.shape} cannot lie on an image of {display.shape[:2]} pixels.")
    base = display if display.ndim == 3 else np.repeat(display[..., None], 3, axis=2)
    table = color_table(color_map, opacity=opacity, threshold=threshold).astype(np.uint16)
    levels = to_levels(placed, strongest)
    alpha = table[levels, 3][..., None]
    mixed = base * (255 - alpha) + table[levels, :3] * alpha
    return np.asarray((mixed + 127) // 255, np.uint8)


def blend_regions(display: Bytes, regions: Sequence[Region], *, opacity: float = 0.5) -> npt.NDArray[np.uint8]:
    """Lay what a model outlined over the image as shown, for a picture file: a clear fill and a firm edge.

    Args:
        display: ``(rows, columns)`` uint8 grey, or ``(rows, columns, 3)`` RGB.
        regions: each in its own colour, the last one on top.
        opacity: of the fill, 0 to 1; the edge is always drawn whole, inside the mask.

    Returns:
        ``(rows, columns, 3)`` uint8 RGB.

    Raises:
        UsageError: a region is of another size than the image.
    """
    base = display if display.ndim == 3 else np.repeat(display[..., None], 3, axis=2)
    drawn = base.astype(np.uint16)
    alpha = round(255 * FILL * float(np.clip(opacity, 0, 1)))
    width = max(1, round(max(display.shape[:2]) / _EDGES_ACROSS))
    for region in regions:
        if region.shape != display.shape[:2]:
            raise UsageError(f"An outline of {region.shape} cannot lie on an image of {display.shape[:2]} pixels.")
        ink, mask = np.array(region.color, np.uint16), region.mask
        drawn[mask] = (drawn[mask] * (255 - alpha) + ink * alpha + 127) // 255
        drawn[_edge(mask, width)] = ink
    return drawn.astype(np.uint8)


def _edge(mask: npt.NDArray[np.bool_], width: int) -> npt.NDArray[np.bool_]:
    """The pixels of a mask that lie within ``width`` of its edge; the border of the image is an edge too."""
    inside = mask
    for _ in range(width):
        around = np.pad(inside, 1)
        inside = inside & around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    return mask & ~inside
