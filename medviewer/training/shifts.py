"""What another hospital might have done to the same radiograph.

Validation patients come from the archive that the network learned from, so plain
validation cannot see a shortcut. These fixed changes can: each keeps the diagnosis
and alters one habit of the archive. They choose the epoch, and every evaluation
report shows them.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from medviewer.training.reading import Grey as Pixels
from medviewer.training.reading import Mapped, as_bytes

Grey: TypeAlias = npt.NDArray[np.uint8]


def _scaled(image: Grey, change: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]) -> Grey:
    """Apply a change of grey, defined on 0..1."""
    return np.asarray(np.rint(np.clip(change(image / 255.0), 0, 1) * 255), dtype=np.uint8)


def as_it_is(image: Pixels) -> Pixels:
    """Return the image itself."""
    return image


def low_contrast(image: Grey) -> Grey:
    """Halve the contrast, and lighten: an over-wide window."""
    return _scaled(image, lambda x: 0.5 * x + 0.35)


def dark_gamma(image: Grey) -> Grey:
    """Darken the middle greys (gamma 1.8), and saturate the whites."""
    return _scaled(image, lambda x: (x * 1.1) ** 1.8)


def bright_gamma(image: Grey) -> Grey:
    """Lighten the middle greys (gamma 0.55)."""
    return _scaled(image, lambda x: x**0.55)


def contrast(image: Grey, share: float) -> Grey:
    """Keep a share of the contrast, about the middle grey."""
    return _scaled(image, lambda x: 0.5 + (x - 0.5) * share)


def crop(image: Grey) -> Grey:
    """Cut a tenth off each side: collimation and body size no longer show."""
    rows, columns = image.shape
    return image[rows // 10 : rows - rows // 10, columns // 10 : columns - columns // 10]


def black_frame(image: Grey) -> Grey:
    """Put the image in a black frame of a twelfth at each side."""
    rows, columns = image.shape
    return np.pad(image, ((rows // 12, rows // 12), (columns // 12, columns // 12)))


def blur(image: Grey, pixels: float = 1.5) -> Grey:
    """Blur by so many pixels of 224 across the image's width."""
    from PIL import Image, ImageFilter  # noqa: PLC0415 - an extra; only who shifts needs it

    radius = image.shape[1] * pixels / 224
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius)), dtype=np.uint8)


def jpeg(image: Grey, quality: int = 15) -> Grey:
    """Compress as JPEG of a quality of 100 at 224 pixels a side, the size that the network sees."""
    from PIL import Image  # noqa: PLC0415

    small = Image.fromarray(image).resize((224, 224), Image.Resampling.BILINEAR)
    file = io.BytesIO()
    small.save(file, "JPEG", quality=quality)
    with Image.open(file) as stored:
        return np.asarray(stored.convert("L"), dtype=np.uint8)


def noise(image: Grey, deviation: float = 0.04) -> Grey:
    """Add grain with a standard deviation as a share of the grey range, the same at each call."""
    grain = np.random.default_rng(0).normal(0, deviation, image.shape)
    return _scaled(image, lambda x: x + grain)


def _of_bytes(shift: Callable[[Grey], Grey]) -> Callable[[Pixels], Pixels]:
    """Take any grey; what is not uint8 becomes so first."""
    return lambda image: shift(as_bytes(image))


SHIFTS: Mapping[str, Callable[[Pixels], Pixels]] = {
    "as it is": as_it_is,
    "low contrast": _of_bytes(low_contrast),
    "dark gamma": _of_bytes(dark_gamma),
    "bright gamma": _of_bytes(bright_gamma),
    "crop": _of_bytes(crop),
    "black frame": _of_bytes(black_frame),
    "blur": _of_bytes(blur),
    "jpeg": _of_bytes(jpeg),
    "noise": _of_bytes(noise),
}

STRENGTHS: Mapping[str, tuple[str, Mapping[float, Callable[[Pixels], Pixels]]]] = {
    "noise": (
        "standard deviation, as a share of the grey range",
        {0: as_it_is, **{value: _of_bytes(partial(noise, deviation=value)) for value in (0.02, 0.04, 0.08, 0.16)}},
    ),
    "blur": (
        "pixels of 224 across the image",
        {0: as_it_is, **{value: _of_bytes(partial(blur, pixels=value)) for value in (0.75, 1.5, 3.0, 6.0)}},
    ),
    "contrast": (
        "share of the contrast that is lost",
        {0: as_it_is, **{value: _of_bytes(partial(contrast, share=1 - value)) for value in (0.25, 0.5, 0.75, 0.9)}},
    ),
    "jpeg": (
        "100 minus the quality, at 224 pixels a side",
        {0: as_it_is, **{value: _of_bytes(partial(jpeg, quality=100 - value)) for value in (50, 70, 85, 95)}},
    ),
}
"""Changes of growing strength: by kind, the unit of the strength and what each does; 0 does nothing."""


def shifted(images: Sequence[Pixels], name: str) -> Sequence[Pixels]:
    """Return images under one of :data:`SHIFTS`, each made when it is asked for."""
    return Mapped(images, SHIFTS[name])
