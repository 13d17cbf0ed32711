"""How a picture is composed: how much it varies at each scale and in each direction, and where it is light.

No network learned it, so none can have forgotten it. Ultrasound has grain at every scale, another along the beam
than across it, and grows darker with depth; a ramp, a disc or a radiograph is composed otherwise, although the
network's own features, or the directions in which the training images vary, may call it usual.

Sources: the discrete cosine transform (Ahmed, Natarajan and Rao 1974), whose energies by frequency and direction
describe texture as those of Fourier's do (Weszka, Dyer and Rosenfeld 1976).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

SMALLEST = 28
"""Rows and columns that a picture must have at least."""

_BANDS = (0, 1, 2, 3, 5, 8, 13, 28)  # half waves across the picture: the first of each band, and the end of the last
_STRIPS = 7
_SHARES = (0.05, 0.275, 0.5, 0.725, 0.95)
_FLOOR = 1e-3  # energy below which nothing is told apart: what rounding to 8 bits leaves in a smooth picture

N_TEXTURE = (len(_BANDS) - 1) ** 2 - 1 + 2 * _STRIPS + len(_SHARES)


def texture(pictures: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Describe how pictures are composed, whatever their size.

    Args:
        pictures: ``(n, 1, rows, columns)`` as a network is given them, at least :data:`SMALLEST` each way.

    Returns:
        ``(n, N_TEXTURE)``: the logarithm of the energy in 48 bands of vertical and horizontal frequency, row by row
        from the lowest and without the mean; the mean grey of 7 strips from top to bottom and of 7 from left to
        right; and the greys below which 5%, 27.5%, half, 72.5% and 95% of the pixels lie.
    """
    x = pictures[:, 0].astype(np.float64)
    energy = (_cosines(x.shape[1]) @ x @ _cosines(x.shape[2]).T) ** 2
    across = np.add.reduceat(np.add.reduceat(energy, _BANDS[:-1], axis=1), _BANDS[:-1], axis=2)
    width = np.diff(_BANDS)
    bands = np.log(across / np.outer(width, width) + _FLOOR).reshape(len(x), -1)[:, 1:]
    strips = [
        np.stack([strip.mean(axis=(1, 2)) for strip in np.array_split(x, _STRIPS, axis=axis)], axis=1)
        for axis in (1, 2)
    ]
    greys = np.quantile(x.reshape(len(x), -1), _SHARES, axis=1).T
    return np.concatenate([bands, *strips, greys], axis=1)


@lru_cache(maxsize=8)
def _cosines(size: int) -> npt.NDArray[np.float64]:
    """The lowest cosines over so many pixels, ``(SMALLEST, size)``, scaled so that size changes no picture's energy."""
    wave, place = np.arange(SMALLEST)[:, None], np.arange(size)[None] + 0.5
    basis = np.cos(np.pi * wave * place / size) * np.sqrt(2 * SMALLEST) / size
    basis[0] /= np.sqrt(2)
    return np.asarray(basis)
