"""From display grey to the network's input, by steps written on the model's card.

The vocabulary is closed: a card lists steps as data, ``[{"op": "resize", ...},
...]``, and only the operations of :data:`OPERATIONS` exist. The same
function feeds training and serving, so a network can never meet an image
prepared in another way than the ones it learned from.

Numpy only, so that the window can prepare an image without loading a runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from medviewer.domain.errors import CardError, InputError
from medviewer.domain.frozen import dataclass

FloatImage: TypeAlias = npt.NDArray[np.float32]
Transform: TypeAlias = npt.NDArray[np.float64]


_ROUNDING = 1e-5  # of the values: what resizing leaves in a flat image, and must not be blown up to a picture
_LARGEST_SIDE = 8192  # pixels; more is a slip of the card, and would fill the memory


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the network is given, and where it lies on the image.

    Attributes:
        tensor: ``(1, rows, columns)`` float32.
        model_to_image: ``(3, 3)`` float64, homogeneous: takes (row, column, 1) of a
            pixel centre on the network's grid to (row, column, 1) on the image.
    """

    tensor: FloatImage
    model_to_image: Transform


def prepare(
    values: npt.NDArray[np.float32], steps: Sequence[Mapping[str, Any]], *, pixel_aspect: float = 1.0
) -> Prepared:
    """Run a card's preprocessing steps over one greyscale image.

    Args:
        values: ``(rows, columns)`` display grey of any range: after the modality
            LUT and the VOI LUT, bright is dense (MONOCHROME1 already inverted).
        steps: the card's ``preprocessing`` list, in order; each has ``op`` and that
            operation's own parameters.
        pixel_aspect: the height of a pixel over its width: the shape that ``pad`` keeps is the patient's.

    Returns:
        The network's input and the transform back to the image.

    Raises:
        CardError: a step names an unknown operation, or has wrong parameters.
        InputError: the image is empty, not two-dimensional, or has values that are
            not numbers.
    """
    if values.ndim != 2 or min(values.shape, default=0) < 1:
        raise InputError(f"The model needs one greyscale image (rows, columns); this one has the shape {values.shape}.")
    image = np.asarray(values, dtype=np.float32)
    if not np.isfinite(image).all():
        raise InputError("The image holds values that are not numbers; it cannot be analysed.")
    to_image = np.eye(3)
    for step in steps:
        image, step_to_before = _run(step, image, pixel_aspect)
        to_image = to_image @ step_to_before
        pixel_aspect *= float(step_to_before[0, 0] / step_to_before[1, 1])
    return Prepared(np.ascontiguousarray(image[None], dtype=np.float32), to_image)


def _run(step: Mapping[str, Any], image: FloatImage, pixel_aspect: float) -> tuple[FloatImage, Transform]:
    """Run one step; say in the card's own words what is wrong with it, if anything."""
    parameters = dict(step)
    name = parameters.pop("op", None)
    operation = OPERATIONS.get(name) if isinstance(name, str) else None
    if operation is None:
        known = ", ".join(sorted(OPERATIONS))
        raise CardError(f"The model's card asks for the unknown preprocessing step {name!r}; known are {known}.")
    given = {"pixel_aspect": pixel_aspect} if operation is _resize else {}
    try:
        return operation(image, **given, **parameters)
    except (TypeError, ValueError) as error:
        raise CardError(
            f"The model's card has wrong parameters for the preprocessing step {name!r}: {error}."
        ) from error


def _resize(
    image: FloatImage, *, pixel_aspect: float, rows: int, columns: int, mode: str = "area", aspect: str = "stretch"
) -> tuple[FloatImage, Transform]:
    """Bring the image to ``(rows, columns)`` with an antialiased bilinear filter.

    ``aspect="stretch"`` fills the grid and squeezes the image; ``"pad"`` keeps its
    shape, of which a pixel may be higher than wide, and fills the rest, on both sides, with the image's darkest value;
    ``"crop"`` keeps it too, and leaves out what is not in the middle: that the network never sees.
    """
    has_size = 1 <= rows <= _LARGEST_SIDE and 1 <= columns <= _LARGEST_SIDE
    if mode != "area" or aspect not in {"stretch", "pad", "crop"} or not has_size:
        raise ValueError(f"mode {mode!r}, aspect {aspect!r}, {rows} x {columns}")
    inner = (rows, columns)
    if aspect == "pad":
        height, width = image.shape[0] * pixel_aspect, float(image.shape[1])
        scale = min(rows / height, columns / width)
        inner = (min(rows, max(1, round(height * scale))), min(columns, max(1, round(width * scale))))
    first = (0, 0)
    if aspect == "crop":
        first, image = _middle(image, rows / columns / pixel_aspect)
    small = filtered(filtered(image, inner[0]).T, inner[1]).T
    before = ((rows - inner[0]) // 2, (columns - inner[1]) // 2)
    if inner != (rows, columns):
        framed = np.full((rows, columns), image.min(), dtype=np.float32)
        framed[before[0] : before[0] + inner[0], before[1] : before[1] + inner[1]] = small
        small = framed
    transform = np.eye(3)
    for axis in (0, 1):
        step = image.shape[axis] / inner[axis]
        # Centres, not corners: pixel 0's centre lies half a pixel inside the image.
        transform[axis, axis] = step
        transform[axis, 2] = first[axis] + (0.5 - before[axis]) * step - 0.5
    return small, transform


def _middle(image: FloatImage, shape: float) -> tuple[tuple[int, int], FloatImage]:
    """The largest middle part whose rows over columns are ``shape``, and where it begins.

    Where one pixel is left over, the part lies a pixel later, as of ``size // 2 - part // 2``.
    """
    rows, columns = image.shape
    part = (min(rows, max(1, round(columns * shape))), min(columns, max(1, round(rows / shape))))
    first = (rows // 2 - part[0] // 2, columns // 2 - part[1] // 2)
    return first, image[first[0] : first[0] + part[0], first[1] : first[1] + part[1]]


def filtered(image: FloatImage, size: int) -> FloatImage:
    """Resample the first axis to ``size`` with a triangle filter as wide as the reduction.

    This is what Pillow's BILINEAR does (and the usual way such data sets were made
    small): no aliasing when shrinking, plain linear interpolation when enlarging.
    """
    if image.shape[0] == size:
        return image
    step = image.shape[0] / size
    reach = max(step, 1.0)
    centres = (np.arange(size) + 0.5) * step - 0.5
    # Only the rows under the filter are touched. A matrix product would be shorter, but
    # its library's threads fight with the runtime's for the same cores.
    first = np.floor(centres - reach).astype(np.int64)
    small = np.zeros((size, image.shape[1]), dtype=np.float32)
    total = np.zeros(size)
    for tap in range(2 * int(np.ceil(reach)) + 2):
        index = first + tap
        weight = np.clip(1.0 - np.abs(index - centres) / reach, 0.0, None)
        weight[(index < 0) | (index >= image.shape[0])] = 0.0
        small += weight[:, None].astype(np.float32) * image[np.clip(index, 0, image.shape[0] - 1)]
        total += weight
    return np.asarray(small / total[:, None], dtype=np.float32)


def _percentile_window(image: FloatImage, *, low: float, high: float) -> tuple[FloatImage, Transform]:
    """Stretch the grey between two percentiles of this image to 0..1 and clip the rest.

    How dark or light the film was exposed, and which window the archive stored,
    then no longer reaches the network. A flat image becomes 0 everywhere.
    """
    if not 0 <= low < high <= 100:
        raise ValueError(f"percentiles {low} and {high}")
    bottom, top = np.percentile(image, (low, high))
    width = float(top - bottom)
    if width <= _ROUNDING * max(abs(float(bottom)), abs(float(top))):
        return np.zeros_like(image), np.eye(3)
    return np.clip((image - np.float32(bottom)) / np.float32(width), 0, 1), np.eye(3)


def _clip(image: FloatImage, *, low: float, high: float) -> tuple[FloatImage, Transform]:
    """Bound the values."""
    if not low < high:
        raise ValueError(f"bounds {low} and {high}")
    return np.clip(image, np.float32(low), np.float32(high)), np.eye(3)


def _normalise(image: FloatImage, *, mean: float, std: float) -> tuple[FloatImage, Transform]:
    """Subtract ``mean`` and divide by ``std``, both fixed on the card."""
    if std <= 0:
        raise ValueError(f"std {std}")
    return (image - np.float32(mean)) / np.float32(std), np.eye(3)


def _standardise(image: FloatImage) -> tuple[FloatImage, Transform]:
    """Subtract this image's own mean and divide by its own standard deviation."""
    std = float(image.std())
    is_flat = std <= _ROUNDING * float(np.abs(image).max())
    return (image - image.mean()) / np.float32(1.0 if is_flat else std), np.eye(3)


OPERATIONS: Mapping[str, Callable[..., tuple[FloatImage, Transform]]] = {
    "resize": _resize,
    "percentile_window": _percentile_window,
    "clip": _clip,
    "normalise": _normalise,
    "standardise": _standardise,
}
