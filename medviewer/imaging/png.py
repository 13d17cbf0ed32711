"""Pictures into files: whole, or not at all."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from medviewer.domain.errors import UsageError
from medviewer.whole_file import write_whole


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Save an 8-bit picture as a PNG file that is either complete or not there.

    Args:
        path: where the file goes; an existing file is replaced.
        pixels: ``(rows, columns)`` or ``(rows, columns, 3)`` uint8.

    Raises:
        StorageError: the disk is full, read-only or gone; the old file is untouched.
        UsageError: the pixels are not such an array.
    """
    if pixels.dtype != np.uint8 or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)):
        raise UsageError("A PNG picture is made from 8-bit grey or RGB pixels; convert the image for display first.")
    encoded = io.BytesIO()
    PillowImage.fromarray(np.ascontiguousarray(pixels)).save(encoded, format="PNG", compress_level=3)
    write_whole(path, encoded.getvalue())
