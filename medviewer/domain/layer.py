"""What is laid over an image from other objects: values with a colour map, and outlines with labels.

A layer lies where its own file puts it in the patient, and means a place only in its frame
of reference. What is drawn is its cut with one plane: :class:`ScalarPlane`, :class:`LabelPlane`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from medviewer.domain.frozen import dataclass
from medviewer.domain.presentation import References
from medviewer.domain.study import Caveat
from medviewer.domain.volume import Volume

Floats = npt.NDArray[np.float64]
Color = tuple[int, int, int]  # red, green, blue; 0 to 255


@dataclass(frozen=True, slots=True, eq=False)
class ScalarLayer:
    """Values that fill a part of the patient: uptake, dose, a parametric map.

    Attributes:
        volume: its ``stored`` are float32 values in ``unit``; NaN where there is none.
        modality: of the series, as the file says.
        name: of the quantity ("SUVbw"); "" where the file does not say.
        unit: UCUM; "" where there is none.
        range: from where to where it is coloured unless the reader says otherwise.
        frame_of_reference_uid: in which it lies.
        remark: one sentence on what the values are not; "" for nothing.
        title: the file's text for it; may be empty.
        on: the one image (SOP Instance UID, frame) on whose pixels its own lie; None: it lies where its volume does.
    """

    volume: Volume
    modality: str
    name: str
    unit: str
    range: tuple[float, float]
    frame_of_reference_uid: str
    remark: str = ""
    title: str = ""
    on: tuple[str, int | None] | None = None

    @property
    def as_plane(self) -> ScalarPlane:
        """The values on the pixels of the image that it was made on."""
        return ScalarPlane(self.volume.stored[0])

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a slice."""
        return self.volume.stored.shape[1], self.volume.stored.shape[2]

    @property
    def size_bytes(self) -> int:
        """What it keeps in memory."""
        return int(self.volume.stored.nbytes)

    @property
    def caveats(self) -> tuple[Caveat, ...]:
        """What the reader must be told."""
        return self.volume.caveats


@dataclass(frozen=True, slots=True)
class Segment:
    """One thing that is outlined. ``label`` is the file's text; ``color`` its wish, None where it has none."""

    number: int
    label: str
    color: Color | None = None


@dataclass(frozen=True, slots=True, eq=False)
class LabelFrame:
    """Where one segment is in one plane of a segmentation.

    Attributes:
        segment: its number.
        position: LPS mm of the centre of the plane's first pixel.
        row, column: of the plane, where the mask's first pixel lies.
        mask: ``(rows, columns)`` bool, no larger than it must be.
    """

    segment: int
    position: tuple[float, float, float]
    row: int
    column: int
    mask: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Segmentation:
    """Segments as voxels, in parallel planes that may lie at any distance; a plane has no segment or several.

    Attributes:
        segments: in the file's order.
        frames: every plane of every segment that is not empty.
        row_cosine, column_cosine: directions of all planes, LPS.
        spacing_mm: between rows and between columns.
        thickness_mm: how thick a plane is: what lies farther from all planes than half of it is outside.
        frame_of_reference_uid: in which it lies.
        references: the images, and of each the frames, that it was made on, as far as the file says it.
        modality: of the object.
        remark: one sentence on how it is drawn; "" for nothing.
        title: the file's text for it; may be empty.
        caveats: what the reader must be told.
        on: the one image (SOP Instance UID, frame) on whose pixels its own lie, where it has no place in the patient;
            None: it lies where its frames do.
        as_plane: then its segments on those pixels.
        shape: rows and columns of ``as_plane``.
    """

    segments: tuple[Segment, ...]
    frames: tuple[LabelFrame, ...]
    row_cosine: tuple[float, float, float]
    column_cosine: tuple[float, float, float]
    spacing_mm: tuple[float, float]
    thickness_mm: float
    frame_of_reference_uid: str
    references: References = field(default_factory=lambda: MappingProxyType({}))
    modality: str = "SEG"
    remark: str = ""
    title: str = ""
    caveats: tuple[Caveat, ...] = ()
    on: tuple[str, int | None] | None = None
    as_plane: LabelPlane | None = None
    shape: tuple[int, int] = (0, 0)

    @property
    def size_bytes(self) -> int:
        """What it keeps in memory."""
        own = self.as_plane.size_bytes if self.as_plane is not None else 0
        return own + sum(frame.mask.nbytes for frame in self.frames)


@dataclass(frozen=True, slots=True, eq=False)
class Contour:
    """One closed outline of a region, drawn in a plane: ``(n, 3)`` LPS mm."""

    segment: int
    points: Floats


@dataclass(frozen=True, slots=True, eq=False)
class StructureSet:
    """Regions as closed outlines in planes.

    Attributes:
        segments: the regions, in the file's order.
        contours: of all regions.
        frame_of_reference_uid: in which they lie.
        modality: of the object.
        remark: sentences on what is left out, each a line; "" for nothing.
        title: the file's text for it; may be empty.
        caveats: what the reader must be told.
        references: the images, and of each the frames, on which outlines were drawn, as far as the file says it.
    """

    segments: tuple[Segment, ...]
    contours: tuple[Contour, ...]
    frame_of_reference_uid: str
    modality: str = "RTSTRUCT"
    remark: str = ""
    title: str = ""
    caveats: tuple[Caveat, ...] = ()
    references: References = field(default_factory=lambda: MappingProxyType({}))

    @property
    def size_bytes(self) -> int:
        """What it keeps in memory."""
        return sum(contour.points.nbytes for contour in self.contours)


LayerSource = ScalarLayer | Segmentation | StructureSet


@dataclass(frozen=True, slots=True, eq=False)
class ScalarPlane:
    """A scalar layer on one plane: ``(rows, columns)`` float32 in the layer's unit, NaN where it does not reach."""

    values: npt.NDArray[np.float32]

    @property
    def size_bytes(self) -> int:
        """What it keeps in memory."""
        return int(self.values.nbytes)


@dataclass(frozen=True, slots=True, eq=False)
class PackedMask:
    """A mask in bits, row after row; ``shape`` is rows and columns."""

    shape: tuple[int, int]
    packed: npt.NDArray[np.uint8]

    @property
    def mask(self) -> npt.NDArray[np.bool_]:
        """``(rows, columns)``; unpacked anew each time."""
        rows, columns = self.shape
        return np.unpackbits(self.packed, count=rows * columns).reshape(rows, columns).astype(np.bool_)

    def holds(self, column: float, row: float) -> bool:
        """Whether a place, (column, row) from the corner of the first pixel, lies in it."""
        if not (0 <= row < self.shape[0] and 0 <= column < self.shape[1]):
            return False
        byte, bit = divmod(int(row) * self.shape[1] + int(column), 8)
        return bool(self.packed[byte] >> (7 - bit) & 1)


@dataclass(frozen=True, slots=True, eq=False)
class LabelPlane:
    """Segments on one plane: number -> closed outlines, ``(n, 2)`` (column, row) from the corner of the first pixel.

    A place is inside a segment if it is inside an odd number of its outlines. A segment with too many corners to be
    traced is in ``ragged`` instead, as its pixels.
    """

    outlines: dict[int, tuple[Floats, ...]]
    ragged: Mapping[int, PackedMask] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def size_bytes(self) -> int:
        """What it keeps in memory."""
        traced = sum(outline.nbytes for own in self.outlines.values() for outline in own)
        return traced + sum(mask.packed.nbytes for mask in self.ragged.values())

    def segments_at(self, column: float, row: float) -> tuple[int, ...]:
        """The numbers of the segments that a place lies in."""
        traced = [number for number, own in self.outlines.items() if _is_inside(own, column, row)]
        return tuple(sorted([*traced, *(number for number, mask in self.ragged.items() if mask.holds(column, row))]))


LayerPlane = ScalarPlane | LabelPlane


def _is_inside(outlines: tuple[Floats, ...], column: float, row: float) -> bool:
    """Count the edges to the right of a place."""
    crossed = 0
    for points in outlines:
        (x0, y0), (x1, y1) = points.T, np.roll(points, -1, axis=0).T
        is_met = (y0 > row) != (y1 > row)
        with np.errstate(divide="ignore", invalid="ignore"):
            at = x0 + (row - y0) / (y1 - y0) * (x1 - x0)
        crossed += int((is_met & (at > column)).sum())
    return crossed % 2 == 1
