"""Display shutters out of images and presentation states.

Source: PS3.3 C.7.6.11 (Display Shutter, also as the functional group Frame Display Shutter), C.7.6.15 (Bitmap Display
Shutter), C.11.12 (Presentation State Shutter).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from medviewer.domain.frame import OverlayPlane
from medviewer.domain.measurement import Point
from medviewer.domain.shutter import Shutter, Shutters
from medviewer.imaging import tags
from medviewer.imaging.cielab import rgb_of_lab
from medviewer.imaging.dataset import DataSet

_MOST_CORNERS = 100_000
_FARTHEST = 1e6  # pixels; no image has as many
_FIRST_OVERLAY_GROUP = 0x6000


def read_shutters(holder: DataSet, planes: tuple[OverlayPlane, ...], name: Callable[[str], None]) -> Shutters | None:
    """Give the shutters of a data set or item; None where it has none.

    Args:
        holder: of the attributes.
        planes: the overlay planes of a presentation state, one of which may be a bitmap.
        name: is told of each shutter that cannot be shown, in words.
    """
    read = {"RECTANGULAR": _rectangle, "CIRCULAR": _circle, "POLYGONAL": _polygon}
    shapes: list[Shutter] = []
    bitmap = None
    for kind in holder.texts(tags.SHUTTER_SHAPE):
        shape = read[kind](holder) if kind in read else None
        if kind == "BITMAP":
            bitmap = _bitmap(holder, planes)
        if shape is not None:
            shapes.append(shape)
        elif kind != "BITMAP" or bitmap is None:
            name("a bitmap shutter" if kind == "BITMAP" else "a shutter of another shape")
    mask = bitmap.mask if bitmap is not None else None
    return Shutters(tuple(shapes), mask, _color(holder)) if shapes or bitmap is not None else None


def read_frame_shutters(dataset: DataSet, frame: int) -> Shutters | None:
    """Give the shutters that an image's own file wishes for a frame (0-based); one that makes no sense is left out."""
    if not dataset.sequences and tags.SHUTTER_SHAPE not in dataset.values:
        return None  # nearly all, and this is asked of every slice of a series
    per_frame = dataset.items(tags.PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE)
    groups = (
        per_frame[frame] if frame < len(per_frame) else DataSet(),
        dataset.item(tags.SHARED_FUNCTIONAL_GROUPS_SEQUENCE),
    )
    own = (group.item(tags.FRAME_DISPLAY_SHUTTER_SEQUENCE) for group in groups)
    holder = next((item for item in own if item.texts(tags.SHUTTER_SHAPE)), dataset)
    return read_shutters(holder, (), lambda _words: None) if holder.raw(tags.SHUTTER_SHAPE) else None


def shutter_group(holder: DataSet) -> int | None:
    """Give the overlay group that a bitmap shutter is kept in, counted as :class:`OverlayPlane` does."""
    number = holder.integer(tags.SHUTTER_OVERLAY_GROUP)
    return (number - _FIRST_OVERLAY_GROUP) << 16 if number is not None else None


def _rectangle(holder: DataSet) -> Shutter | None:
    left, right, upper, lower = (
        holder.integer(tag)
        for tag in (
            tags.SHUTTER_LEFT_VERTICAL_EDGE, tags.SHUTTER_RIGHT_VERTICAL_EDGE,
            tags.SHUTTER_UPPER_HORIZONTAL_EDGE, tags.SHUTTER_LOWER_HORIZONTAL_EDGE,
        )
    )  # fmt: skip
    if left is None or right is None or upper is None or lower is None:
        return None
    return Shutter("RECTANGULAR", ((left - 1, upper - 1), (right, lower)))


def _circle(holder: DataSet) -> Shutter | None:
    middle = _pixels(holder, tags.CENTER_OF_CIRCULAR_SHUTTER)
    radius = holder.number(tags.RADIUS_OF_CIRCULAR_SHUTTER)
    if len(middle) != 1 or radius is None or not 0 < radius < _FARTHEST:
        return None
    return Shutter("CIRCULAR", middle, radius)


def _polygon(holder: DataSet) -> Shutter | None:
    corners = _pixels(holder, tags.VERTICES_OF_THE_POLYGONAL_SHUTTER)
    return Shutter("POLYGONAL", corners) if 3 <= len(corners) <= _MOST_CORNERS else None


def _bitmap(holder: DataSet, planes: tuple[OverlayPlane, ...]) -> OverlayPlane | None:
    """The plane that the state names, which lies on the image pixel on pixel."""
    group = shutter_group(holder)
    return next((one for one in planes if one.group == group and (one.row, one.column) == (0, 0)), None)


def _pixels(holder: DataSet, tag: int) -> tuple[Point, ...]:
    """Pixels as shutters name them, row first and counted from 1: their centres."""
    values = holder.numbers(tag)
    if len(values) % 2 or not all(math.isfinite(value) and abs(value) < _FARTHEST for value in values):
        return ()
    return tuple((column - 0.5, row - 0.5) for row, column in zip(values[::2], values[1::2], strict=True))


def _color(holder: DataSet) -> tuple[int, int, int]:
    """What covers: the colour for colour screens, else the grey (a P-value of 16 bits), else black."""
    lab = holder.numbers(tags.SHUTTER_PRESENTATION_COLOR_CIELAB_VALUE)
    if len(lab) == 3:
        return rgb_of_lab((lab[0], lab[1], lab[2]))
    grey = round(255 * min(max(holder.number(tags.SHUTTER_PRESENTATION_VALUE) or 0.0, 0.0), 65535.0) / 65535)
    return grey, grey, grey
