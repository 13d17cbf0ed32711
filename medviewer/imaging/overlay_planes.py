"""The overlay planes of a file: drawings of one bit a pixel over its image.

Source: PS3.3 C.9.2 (Overlay Plane), C.9.3 (Multi-frame Overlay); PS3.5 8.1.2 (bits in words, the
first in the lowest). Planes kept in unused bits of the pixels were retired, but archives hold them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from medviewer.domain.frame import OverlayPlane
from medviewer.domain.frozen import dataclass
from medviewer.imaging import tags
from medviewer.imaging.dataset import DataSet
from medviewer.imaging.source import ByteSource

_MOST_PIXELS = 1 << 28  # a plane that claims more is not one
_SIZES = frozenset(tags.OVERLAY_ROWS + group for group in tags.OVERLAY_GROUPS)


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """The samples of a frame with all their bits, for planes kept in the unused ones.

    Attributes:
        raw: (rows, columns), as they lie in the file.
        used: the bits that hold the pixels; what lies in them is no drawing.
    """

    raw: npt.NDArray[np.integer]
    used: range


def read_overlays(
    dataset: DataSet, frame: int, samples: Samples | None = None, source: ByteSource | None = None
) -> tuple[OverlayPlane, ...]:
    """Give the planes that lie over one frame; a plane that makes no sense is left out.

    Args:
        dataset: of the file.
        frame: 0-based.
        samples: of the frame; None where its bits are not known.
        source: what the payloads of the data set point into; without it planes that are very large are left out.
    """
    planes = (_read_plane(dataset, group, frame, samples, source) for group in _groups(dataset))
    return tuple(plane for plane in planes if plane is not None)


def has_embedded_overlay(dataset: DataSet) -> bool:
    """Whether a plane lies in unused bits of the pixels."""
    return any(_is_embedded(dataset, group) for group in _groups(dataset))


def embedded_bits(dataset: DataSet, used: range, allocated: int) -> frozenset[int]:
    """Give the bits of a sample in which planes lie; none that holds a part of a pixel, or that a sample has not."""
    bits = (
        dataset.integer(tags.OVERLAY_BIT_POSITION + group) for group in _groups(dataset) if _is_embedded(dataset, group)
    )
    return frozenset(bit for bit in bits if bit is not None and 0 <= bit < allocated and bit not in used)


def _groups(dataset: DataSet) -> list[int]:
    """The groups that the file has: nearly always none, and this is asked for every frame."""
    if _SIZES.isdisjoint(dataset.values):
        return []
    return [group for group in tags.OVERLAY_GROUPS if tags.OVERLAY_ROWS + group in dataset.values]


def _is_embedded(dataset: DataSet, group: int) -> bool:
    """Whether the file has no element for the plane's bits; an empty one is a plane that was taken out."""
    has_size = dataset.integer(tags.OVERLAY_ROWS + group) is not None
    data = tags.OVERLAY_DATA + group
    return has_size and data not in dataset.values and data not in dataset.payloads


def _read_plane(
    dataset: DataSet, group: int, frame: int, samples: Samples | None, source: ByteSource | None
) -> OverlayPlane | None:
    rows, columns = (dataset.integer(tag + group) for tag in (tags.OVERLAY_ROWS, tags.OVERLAY_COLUMNS))
    if not rows or not columns or rows < 0 or columns < 0 or rows * columns > _MOST_PIXELS:
        return None
    if _is_embedded(dataset, group):
        mask = _embedded(dataset, group, samples)
    else:
        mask = _separate(dataset, group, (rows, columns), frame, source)
    if mask is None or not mask.any():
        return None
    origin = dataset.numbers(tags.OVERLAY_ORIGIN + group)
    row, column = (int(value) - 1 for value in origin) if len(origin) == 2 and np.isfinite(origin).all() else (0, 0)
    name = dataset.text(tags.OVERLAY_LABEL + group) or dataset.text(tags.OVERLAY_DESCRIPTION + group)
    mask.flags.writeable = False
    return OverlayPlane(mask, row, column, dataset.text(tags.OVERLAY_TYPE + group) == "R", name, group)


def _separate(
    dataset: DataSet, group: int, shape: tuple[int, int], frame: int, source: ByteSource | None
) -> npt.NDArray[np.bool_] | None:
    """A plane with bits of its own; those of one frame if it has several."""
    count = dataset.integer(tags.NUMBER_OF_FRAMES_IN_OVERLAY + group) or 1
    first = dataset.integer(tags.IMAGE_FRAME_ORIGIN + group)
    # One drawing without an origin is for all frames; with one it is for the frame that is named.
    is_for_all = count == 1 and (not first or (dataset.integer(tags.NUMBER_OF_FRAMES) or 1) == 1)
    own = 0 if is_for_all else frame - ((first or 1) - 1)
    if not 0 <= own < count:
        return None
    size = shape[0] * shape[1]
    # Whole words, whose bytes are the other way round where they are big endian.
    begin = own * size // 16 * 2
    end = -(-(own + 1) * size // 16) * 2
    value = _bytes(dataset, group, begin, end, source)
    data = np.frombuffer(value, np.uint8)
    is_swapped = not dataset.is_little_endian and _representation(dataset, group) != "OB"
    if is_swapped and len(data) % 2 == 0:
        data = data.reshape(-1, 2)[:, ::-1].ravel()
    skipped = own * size - begin * 8
    if len(data) * 8 < skipped + size:
        return None
    bits = np.unpackbits(data, bitorder="little")
    return bits[skipped : skipped + size].reshape(shape).astype(bool)


def _bytes(dataset: DataSet, group: int, begin: int, end: int, source: ByteSource | None) -> bytes:
    """Some bytes of a plane's element; fewer where it ends before."""
    place = dataset.payloads.get(tags.OVERLAY_DATA + group)
    if place is None:
        return dataset.raw(tags.OVERLAY_DATA + group)[begin:end]
    return source.at(place.offset + begin, min(end, place.length) - begin) if source is not None else b""


def _representation(dataset: DataSet, group: int) -> str:
    place = dataset.payloads.get(tags.OVERLAY_DATA + group)
    return dataset.representations.get(tags.OVERLAY_DATA + group, "") if place is None else place.representation


def _embedded(dataset: DataSet, group: int, samples: Samples | None) -> npt.NDArray[np.bool_] | None:
    """A plane in one bit of each sample, which holds no part of a pixel."""
    bit = dataset.integer(tags.OVERLAY_BIT_POSITION + group)
    if samples is None or bit is None or bit in samples.used or samples.raw.ndim != 2:
        return None
    size = samples.raw.dtype.itemsize
    if not 0 <= bit < 8 * size:
        return None
    return np.asarray((samples.raw.view(f"u{size}") >> bit) & 1, bool)
