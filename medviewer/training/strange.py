"""Pictures that are no images of the kind a model learned from, made up or changed, to measure its guards with.

Nothing is fitted to them. What a guard does with them is told on the model's card, kind by kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from medviewer.training.reading import Grey as Pixels
from medviewer.training.reading import as_bytes

Grey: TypeAlias = npt.NDArray[np.uint8]
Picture: TypeAlias = npt.NDArray[np.floating]

SIDE = 112
_SEED = 20
_PERIODS = (2, 4, 7, 14, 28)
_NOISES = (0.02, 0.05, 0.1, 0.2)  # standard deviations, as shares of the ramp
_BLURS = (0.5, 1, 2, 4, 7, 14)  # of 28 pixels across

CHANGES: Mapping[str, Callable[[Pixels], Pixels]] = {
    "inverted": lambda image: 255 - as_bytes(image),
    "turned by 90 degrees to the left": np.rot90,
    "turned by 90 degrees to the right": lambda image: np.rot90(image, -1),
    "upside down": lambda image: image[::-1],
}
"""What makes another picture of an image of the kind, by name."""


def made_up() -> dict[str, list[Grey]]:
    """Return pictures by kind, always the same, each :data:`SIDE` pixels a side and from black to white."""
    chance = np.random.default_rng(_SEED)
    kinds: Mapping[str, Callable[[np.random.Generator], Iterator[Picture]]] = {
        "ramps in four directions": lambda _: _turned(_DOWN, _DOWN**2, np.sqrt(_DOWN)),
        "slanting ramps": lambda _: _turned(_DOWN + _RIGHT, 2 * _DOWN + _RIGHT, _DOWN + 2 * _RIGHT),
        "ramps with noise": _noisy_ramps,
        "discs": _discs,
        "soft spots": _spots,
        "checkerboards": lambda _: ((np.floor(n * _DOWN) + np.floor(n * _RIGHT)) % 2 for n in _PERIODS),
        "stripes": lambda _: _turned(*(np.floor(n * _DOWN) % 2 for n in _PERIODS)),
        "steps": lambda _: _turned(*(np.floor(n * _DOWN) for n in _PERIODS)),
        "waves": lambda _: _turned(*(np.sin(2 * np.pi * n * _DOWN) for n in _PERIODS)),
        "black with a bright corner": _corners,
        "letters": _letters,
        "rectangles": _rectangles,
        "noise": _noises,
        "blurred noise": _blurred,
        "clouds": _clouds,
    }
    return {kind: [_as_grey(picture) for picture in make(chance)] for kind, make in kinds.items()}


_DOWN, _RIGHT = (np.mgrid[0:SIDE, 0:SIDE] + 0.5) / SIDE


def _as_grey(picture: Picture) -> Grey:
    low, high = picture.min(), picture.max()
    return np.asarray(np.rint(255 * (picture - low) / (high - low)), dtype=np.uint8)


def _turned(*pictures: Picture) -> Iterator[Picture]:
    """Give each picture in four directions."""
    for picture in pictures:
        yield from (np.rot90(picture, quarter) for quarter in range(4))


def _noisy_ramps(chance: np.random.Generator) -> Iterator[Picture]:
    for share in _NOISES:
        for ramp in _turned(_DOWN):
            yield ramp + chance.normal(0, share, ramp.shape)


def _far(chance: np.random.Generator) -> Picture:
    """Return how far each pixel is from somewhere near the middle, 1 at a distance by chance."""
    down, right = chance.uniform(0.3, 0.7, 2)
    return np.asarray(np.hypot(_DOWN - down, _RIGHT - right) / chance.uniform(0.1, 0.35))


def _discs(chance: np.random.Generator) -> Iterator[Picture]:
    for _ in range(10):
        disc = np.asarray(_far(chance) < 1, dtype=np.float64)
        yield from (disc, -disc)


def _spots(chance: np.random.Generator) -> Iterator[Picture]:
    for _ in range(10):
        spot = np.exp(-0.5 * _far(chance) ** 2)
        yield from (spot, -spot)


def _corners(chance: np.random.Generator) -> Iterator[Picture]:
    for _ in range(5):
        width = chance.uniform(0.1, 0.4)
        yield from _turned(
            np.asarray(np.maximum(_DOWN, _RIGHT) < width, dtype=np.float64), np.exp(-(_DOWN + _RIGHT) / width)
        )


def _letters(chance: np.random.Generator) -> Iterator[Picture]:
    """Give rows of marks of 5 x 3 dots, as letters have, small and large, dark on light and light on dark."""
    for dot in (1, 1, 2, 2, 3, 4, 5, 6):
        rows, columns = SIDE // (7 * dot) + 1, SIDE // (4 * dot) + 1
        marks = chance.random((rows, columns, 5, 3)) < 0.6
        marks &= chance.random((rows, columns, 1, 1)) < 0.85  # gaps between words
        lines = np.pad(marks, ((0, 0), (0, 0), (1, 1), (0, 1))).transpose(0, 2, 1, 3).reshape(rows * 7, columns * 4)
        page = np.kron(lines, np.ones((dot, dot)))[:SIDE, :SIDE]
        yield from (page, -page)


def _rectangles(chance: np.random.Generator) -> Iterator[Picture]:
    for _ in range(20):
        picture = np.zeros((SIDE, SIDE))
        for _ in range(8):
            top, left, height, width = chance.integers(5, SIDE // 2, 4)
            picture[top : top + height, left : left + width] += chance.uniform(-1, 1)
        yield picture


def _noises(chance: np.random.Generator) -> Iterator[Picture]:
    for side in (28, 56, SIDE):
        for _ in range(3):
            uniform, normal = chance.random((side, side)), chance.normal(0, 1, (side, side))
            for grain in (uniform, normal, chance.exponential(1, (side, side))):
                yield np.kron(grain, np.ones((SIDE // side, SIDE // side)))


def _blurred(chance: np.random.Generator) -> Iterator[Picture]:
    for pixels in _BLURS:
        for _ in range(5):
            yield _filtered(chance, partial(_gaussian, sigma=pixels * SIDE / 28))


def _clouds(chance: np.random.Generator) -> Iterator[Picture]:
    for _ in range(30):
        steep = chance.uniform(0.7, 2)
        yield _filtered(chance, partial(_falling, steep=steep))


def _gaussian(frequency: Picture, sigma: float) -> Picture:
    """Return what a Gaussian of ``sigma`` pixels leaves of each frequency."""
    return np.asarray(np.exp(-2 * (np.pi * frequency * sigma) ** 2))


def _falling(frequency: Picture, steep: float) -> Picture:
    return np.asarray(1 / np.maximum(frequency, 1 / SIDE) ** steep)


def _filtered(chance: np.random.Generator, share: Callable[[Picture], Picture]) -> Picture:
    """Return noise of whose frequencies (cycles a pixel) such shares are left."""
    rows, columns = np.meshgrid(np.fft.fftfreq(SIDE), np.fft.fftfreq(SIDE), indexing="ij")
    spectrum = np.fft.fft2(chance.normal(size=(SIDE, SIDE))) * share(np.hypot(rows, columns))
    return np.asarray(np.fft.ifft2(spectrum).real)
