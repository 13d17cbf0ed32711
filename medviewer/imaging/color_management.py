"""Colours for the screen: from what a device recorded, by its ICC profile, to sRGB.

The work is done by littleCMS, which comes with Pillow. A profile is anybody's, so it is only used here after
it has been looked at (:mod:`medviewer.imaging.color_profile`) and tried out in a process that may die.

What is white on the slide or skin is the screen's white, and black its black: media-relative colorimetric, with
black point compensation. PS3.3 C.11.15.1.1 recommends that profiles are made for perceptual rendering, and
PS3.4 N.2.2.1 leaves the way to the screen open. The perceptual way needs a display profile that undoes it, which sRGB
as matrix and curve is not: it would move sRGB's own v4 profile by up to 111 of 255, this way moves it by none
(docs/decisions/0022-icc-profiles.md).
"""

from __future__ import annotations

import io
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from medviewer.domain.frame import ColorProfile

if TYPE_CHECKING:  # Pillow takes a while to import, and few images have a profile
    from PIL.ImageCms import ImageCmsTransform

_KEPT = 8  # transforms; a study has one profile, or one for each of its cameras
_BLOCK_ROWS = 512  # so that Pillow's copies stay small
_PROBE_STEP = 5  # levels; 140,608 colours are looked at


def to_srgb(pixels: np.ndarray, profile: ColorProfile) -> np.ndarray:
    """Give pixels as the screen shows them.

    Args:
        pixels: ``(rows, columns, 3)`` uint8, RGB as the device recorded it.
        profile: of the device.

    Returns:
        ``(rows, columns, 3)`` uint8, sRGB (IEC 61966-2-1); ``pixels`` itself where they are that already, within
        one level.
    """
    transform = _known_transform(profile)
    if transform is None:
        return pixels
    shown = np.empty_like(pixels, order="C")
    for row in range(0, len(pixels), _BLOCK_ROWS):
        block = slice(row, row + _BLOCK_ROWS)
        shown[block] = _applied(transform, pixels[block])
    return shown


def try_out(data: bytes) -> None:
    """Do with a profile all that :func:`to_srgb` will; for a process that may die of it.

    Raises:
        Exception: of any kind: the profile cannot be used.
    """
    corners = list(product(range(0, 256, 51), repeat=3))
    ramp = [(level,) * 3 for level in range(256)]
    _applied(_transform(data), np.array([corners + ramp], np.uint8))


@lru_cache(maxsize=_KEPT)
def _known_transform(profile: ColorProfile) -> ImageCmsTransform | None:
    """The transform, built once; None where it leaves colours as they are, as those of most profiles, sRGB, do."""
    transform = _transform(profile.data)
    levels = np.arange(0, 256, _PROBE_STEP, dtype=np.uint8)
    probe = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(len(levels), -1, 3)
    is_same = np.abs(_applied(transform, probe).astype(np.int16) - probe).max() <= 1
    return None if is_same else transform


def _transform(data: bytes) -> ImageCmsTransform:
    from PIL import ImageCms  # noqa: PLC0415 - as above

    return ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(data)),
        ImageCms.createProfile("sRGB"),
        "RGB",
        "RGB",
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )


def _applied(transform: ImageCmsTransform, pixels: np.ndarray) -> np.ndarray:
    from PIL import Image, ImageCms  # noqa: PLC0415 - as above

    picture = Image.fromarray(np.ascontiguousarray(pixels))
    ImageCms.applyTransform(picture, transform, inPlace=True)
    return np.asarray(picture)
