"""The same picture, a little moved, turned or brighter: an answer worth having does not mind.

None of these changes alters what the image shows of the patient. How far the
probability moves under them is shown as a band beside it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SHIFT = 0.015  # of the side
ROTATION_DEGREES = 3.0
WINDOW = 0.05  # narrower and wider

FloatBatch = npt.NDArray[np.float32]


def variants(tensor: FloatBatch, bounds: tuple[float, float] | None = None) -> FloatBatch:
    """Six small label-preserving changes of one prepared image.

    Two shifts by 1.5% of the side, rotations by 3 degrees either way, and a window 5%
    narrower and wider. What comes in from outside repeats the border: a black bar would
    be a new object.

    Args:
        tensor: ``(1, rows, columns)`` float32, as prepared for the network.
        bounds: the values that prepared images may have; the results are clipped to them.

    Returns:
        ``(6, 1, rows, columns)`` float32.
    """
    image = tensor[0]
    low, high = bounds if bounds is not None else (float(image.min()), float(image.max()))
    middle = (low + high) / 2
    made = [
        _moved(image, 0.0, (SHIFT * image.shape[0], 0.0)),
        _moved(image, 0.0, (0.0, -SHIFT * image.shape[1])),
        _moved(image, ROTATION_DEGREES, (0.0, 0.0)),
        _moved(image, -ROTATION_DEGREES, (0.0, 0.0)),
        middle + (image - middle) / (1 - WINDOW),
        middle + (image - middle) / (1 + WINDOW),
    ]
    return np.asarray(np.clip(np.stack(made)[:, None], low, high), dtype=np.float32)


def _moved(image: npt.NDArray[np.float32], degrees: float, shift: tuple[float, float]) -> npt.NDArray[np.float32]:
    """Turn an image about its centre and shift it by (rows, columns), with linear interpolation."""
    rows, columns = image.shape
    centre = ((rows - 1) / 2, (columns - 1) / 2)
    row, column = np.mgrid[0:rows, 0:columns].astype(np.float64)
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    y, x = row - centre[0] - shift[0], column - centre[1] - shift[1]
    from_row = np.clip(cosine * y - sine * x + centre[0], 0, rows - 1)
    from_column = np.clip(sine * y + cosine * x + centre[1], 0, columns - 1)
    top, left = np.floor(from_row).astype(np.intp), np.floor(from_column).astype(np.intp)
    bottom, right = np.minimum(top + 1, rows - 1), np.minimum(left + 1, columns - 1)
    down, across = from_row - top, from_column - left
    upper = image[top, left] * (1 - across) + image[top, right] * across
    lower = image[bottom, left] * (1 - across) + image[bottom, right] * across
    return np.asarray(upper * (1 - down) + lower * down, dtype=np.float32)
