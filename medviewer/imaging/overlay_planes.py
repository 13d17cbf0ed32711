"""The overlay planes of a file: drawings of one bit a pixel over its image.

Source: PS3.3 C.9.2 (Overlay Plane), C.9.3 (Multi-frame Overlay); PS3.5 8.1.2 (bits in words, the
first in the lowest). Planes kept in unused bits of the pixels were retired, but archives hold them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from medviewer.domain.frame import OverlayPlane
from medviewer.imaging import tags
from medviewer.imaging.dataset import DataSet

_MOST_PIXELS = 1 << 28  # a plane that claims more is not one
_SIZES = frozenset(tags.OVERLAY_ROWS + group for group in tags.OVERLAY_GROUPS)


def read_overlays(dataset: DataSet, frame: int, raw: npt.NDArray[np.integer] | None = None) -> tuple[OverlayPlane, ...]:
    """Give the planes that lie over one frame; a plane that makes no sense is left out.

    Args:
        dataset: of the file.
        frame: 0-based.
        raw: the frame's samples with all their bits, for planes kept in unused ones; None where
            those bits are not known.
    """
    planes = (_read_plane(dataset, group, frame, raw) for group in _groups(dataset))
    return tuple(plane for plane in planes if plane is not None)


def has_embedded_overlay(dataset: DataSet) -> bool:
    """Whether a plane lies in unused bits of the pixels."""
    return any(_is_embedded(dataset, group) for group in _groups(dataset))


def _groups(dataset: DataSet) -> list[int]:
    """The groups that the file has: nearly always none, and this is asked for every frame."""
    if _SIZES.isdisjoint(dataset.values):
        return []
    return [group for group in tags.OVERLAY_GROUPS if tags.OVERLAY_ROWS + group in dataset.values]


def _is_embedded(dataset: DataSet, group: int) -> bool:
    has_size = dataset.integer(tags.OVERLAY_ROWS + group) is not None
    return has_size and not dataset.raw(tags.OVERLAY_DATA + group)


def _read_plane(dataset: DataSet, group: int, frame: int, raw: npt.NDArray[np.integer] | None) -> OverlayPlane | None:
    rows, columns = (dataset.integer(tag + group) for tag in (tags.OVERLAY_ROWS, tags.OVERLAY_COLUMNS))
    if not rows or not columns or rows < 0 or columns < 0 or rows * columns > _MOST_PIXELS:
        return None
    if _is_embedded(dataset, group):
        mask = _embedded(dataset, group, raw)
    else:
        mask = _separate(dataset, group, (rows, columns), frame)
    if mask is None or not mask.any():
        return None
    origin = dataset.numbers(tags.OVERLAY_ORIGIN + group)
    row, column = (int(value) - 1 for value in origin) if len(origin) == 2 and np.isfinite(origin).all() else (0, 0)
    name = dataset.text(tags.OVERLAY_LABEL + group) or dataset.text(tags.OVERLAY_DESCRIPTION + group)
    mask.flags.writeable = False
    return OverlayPlane(mask, row, column, dataset.text(tags.OVERLAY_TYPE + group) == "R", name, group)


def _separate(dataset: DataSet, group: int, shape: tuple[int, int], frame: int) -> npt.NDArray[np.bool_] | None:
    """A plane with bits of its own; those of one frame if it has several."""
    count = dataset.integer(tags.NUMBER_OF_FRAMES_IN_OVERLAY + group) or 1
    first = dataset.integer(tags.IMAGE_FRAME_ORIGIN + group) or 1
    own = frame - (first - 1) if count > 1 else 0
    if not 0 <= own < count:
        return None
    data = np.frombuffer(dataset.raw(tags.OVERLAY_DATA + group), np.uint8)
    is_swapped = not dataset.is_little_endian and dataset.representations.get(tags.OVERLAY_DATA + group) != "OB"
    if is_swapped and len(data) % 2 == 0:
        data = data.reshape(-1, 2)[:, ::-1].ravel()
    size = shape[0] * shape[1]
    begin = own * size
    if len(data) * 8 < begin + size:
        return None
    bits = np.unpackbits(data[begin // 8 : -(-(begin + size) // 8)], bitorder="little")
    return bits[begin % 8 : begin % 8 + size].reshape(shape).astype(bool)


def _embedded(dataset: DataSet, group: int, raw: npt.NDArray[np.integer] | None) -> npt.NDArray[np.bool_] | None:
    """A plane in one bit of each sample."""
    bit = dataset.integer(tags.OVERLAY_BIT_POSITION + group)
    if raw is None or bit is None or raw.ndim != 2 or not 0 <= bit < 8 * raw.dtype.itemsize:
        return None
    return np.asarray((raw.view(f"u{raw.dtype.itemsize}") >> bit) & 1, bool)
