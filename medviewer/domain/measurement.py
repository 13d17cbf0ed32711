"""What a reader measures on an image: where the points lie, and the numbers that come of them."""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Sequence
from dataclasses import field
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from medviewer.domain.errors import UsageError
from medviewer.domain.frozen import dataclass
from medviewer.domain.study import Plane, SpacingSource

Point: TypeAlias = tuple[float, float]
"""(column, row) of the stored image, as :class:`Measurement` says."""

MeasurementKind = Literal[
    "length", "angle", "cobb", "bidirectional", "rectangle", "ellipse", "freehand", "probe", "cardiothoracic",
    "calibration",
]  # fmt: skip
Basis = SpacingSource | Literal["ultrasound region", "px", ""]
"""What a length, area or angle rests on; "" where the number is none of these."""

_UID = re.compile(r"(?=.{1,64}\Z)(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")  # PS3.5 section 9.1
# Of images that others made: leading zeros are wrong, but archives live with them.
_IMAGE_UID = re.compile(r"(?=.{1,64}\Z)[0-9]+(\.[0-9]+)+")
_FARTHEST = 1e7  # no image has as many rows or columns
_MOST_OUTLINE_POINTS = 10_000
_SAME_MM, _SAME_COSINE = 1e-4, 1e-7  # nobody sees or moves a plane by less; rounding is far below


@dataclass(frozen=True, slots=True)
class KindRule:
    """How many points a kind takes, and what they are."""

    fewest: int
    most: int
    points: str


KINDS: dict[MeasurementKind, KindRule] = {
    "length": KindRule(2, 2, "the two ends"),
    "angle": KindRule(3, 3, "end, vertex, end"),
    "cobb": KindRule(4, 4, "the ends of one line, then of the other"),
    "bidirectional": KindRule(4, 4, "the ends of the long axis, then of the short one"),
    "rectangle": KindRule(2, 2, "two opposite corners"),
    "ellipse": KindRule(2, 2, "two opposite corners of the rectangle around it"),
    "freehand": KindRule(3, _MOST_OUTLINE_POINTS, "the outline, closed from the last point to the first"),
    "probe": KindRule(1, 1, "the point"),
    "cardiothoracic": KindRule(4, 4, "the ends of the heart's greatest width, then of the thorax's"),
    "calibration": KindRule(2, 2, "the two ends of a line of known length"),
}


@dataclass(frozen=True, slots=True)
class CutPlane:
    """A plane cut through a stack, on which a reader drew: enough to cut the very same one again.

    Attributes:
        plane: where it lies; the points of a measurement are on its pixels.
        spacing_mm: between its rows and between its columns.
        shape: its rows and columns.
        slab_mm: its thickness; 0 is the plane alone.
        slab: how the values of a thick one were combined: "mean", "max" or "min".
    """

    plane: Plane
    spacing_mm: tuple[float, float]
    shape: tuple[int, int]
    slab_mm: float = 0.0
    slab: str = "mean"

    def __post_init__(self) -> None:
        """Check.

        Raises:
            UsageError: not two perpendicular directions, no size, or a number that is not finite.
        """
        numbers = (*self.plane.position, *self.plane.row_cosine, *self.plane.column_cosine, *self.spacing_mm)
        right, down = np.array(self.plane.row_cosine), np.array(self.plane.column_cosine)
        is_sound = (
            all(math.isfinite(value) and abs(value) < _FARTHEST for value in (*numbers, self.slab_mm))
            and abs(np.linalg.norm(right) - 1) < 1e-3
            and abs(np.linalg.norm(down) - 1) < 1e-3
            and abs(float(right @ down)) < 1e-3
            and min(self.spacing_mm) > 0
            and min(self.shape) > 0
            and self.slab_mm >= 0
            and self.slab in ("mean", "max", "min")
        )
        if not is_sound:
            raise UsageError("A measurement on a cut plane needs to know where that plane lies.")

    def is_same(self, other: CutPlane) -> bool:
        """Whether two planes differ by no more than the rounding of their numbers: every pixel lies at one place."""
        if (self.shape, self.slab_mm, self.slab) != (other.shape, other.slab_mm, other.slab):
            return False
        mine, its = self.plane, other.plane
        apart = max(abs(a - b) for a, b in zip(mine.position, its.position, strict=True))
        one, another = ((*p.row_cosine, *p.column_cosine) for p in (mine, its))
        turned = max(abs(a - b) for a, b in zip(one, another, strict=True))
        spaced = max(abs(a - b) for a, b in zip(self.spacing_mm, other.spacing_mm, strict=True))
        return apart < _SAME_MM and turned < _SAME_COSINE and spaced < _SAME_COSINE


def cut_plane_of(told: Any) -> CutPlane:
    """A plane from what ``dataclasses.asdict`` made of it, as it comes out of JSON.

    Raises:
        KeyError, TypeError, ValueError, UsageError: it is no such thing.
    """
    position, right, down = (_triple(told["plane"][name]) for name in ("position", "row_cosine", "column_cosine"))
    rows, columns = told["shape"]
    between_rows, between_columns = told["spacing_mm"]
    return CutPlane(
        Plane(position, right, down),
        (float(between_rows), float(between_columns)),
        (int(rows), int(columns)),
        float(told["slab_mm"]),
        str(told["slab"]),
    )


def _triple(values: Any) -> tuple[float, float, float]:
    x, y, z = values
    return float(x), float(y), float(z)


Where: TypeAlias = tuple[str, int, CutPlane | None]
"""On what was measured: SOP Instance UID, 0-based frame, and the plane cut through that image's stack, if one was."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a reader drew on one frame of one image, and for what.

    Points are (column, row), continuous, on the *stored* image, whatever the flips, turns and
    zoom it was seen at: (0, 0) is the upper left **corner** of the first pixel and
    (columns, rows) the lower right corner of the last. The **centre** of the pixel in row r and
    column c is (c + 0.5, r + 0.5). So it is on screen (``gui.placing``), in the spatial coordinates of
    reports (PS3.3 C.18.6) and in the PIXEL units of presentation states (PS3.3 C.10.5). A voxel
    index, as ``Stack.affine`` takes it, is another thing: there the centre of the first pixel, where
    ``Plane.position`` lies, is 0. Take 0.5 away to get from a point to an index.

    Coordinates are rounded to 32-bit floats, the precision that DICOM keeps (VR FL), so that
    what was saved, sent and read again is equal to what was drawn.

    Attributes:
        uid: unique, a DICOM UID; stays when the measurement is moved or named anew.
        kind: one of :data:`KINDS`, which says what the points are.
        points: as many as the kind takes.
        sop_instance_uid: of the image.
        frame: of the image, 0-based.
        created: when, with time zone.
        label: the reader's name for it, on one line.
        author: who drew it, as they call themselves, on one line; proves nothing.
        known_mm: calibration only: how long the line is in truth.
        plane: the plane that was drawn on, cut through the stack to which the image belongs; None for the image itself.
    """

    uid: str
    kind: MeasurementKind
    points: tuple[Point, ...]
    sop_instance_uid: str
    frame: int
    created: datetime
    label: str = ""
    author: str = ""
    known_mm: float | None = None
    plane: CutPlane | None = None

    @property
    def where(self) -> Where:
        """On what it was drawn."""
        return self.sop_instance_uid, self.frame, self.plane

    def __post_init__(self) -> None:
        """Check and round.

        Raises:
            UsageError: an unknown kind, too few or too many points, a number that is not finite, a UID
                that is none, a time without zone, or a known length where there must be none or is none.
        """
        rule = KINDS.get(self.kind)
        if rule is None:
            raise UsageError(f"There is no measurement of kind {self.kind}: choose one of {', '.join(KINDS)}.")
        if not rule.fewest <= len(self.points) <= rule.most:
            count = f"{rule.fewest} to {rule.most}" if rule.fewest != rule.most else f"{rule.fewest}"
            raise UsageError(f"A measurement of kind {self.kind} takes {count} points ({rule.points}).")
        self._check_reference()
        if self.plane is not None and self.kind == "calibration":
            raise UsageError("A plane cut from a series cannot be calibrated: its size comes from the series.")
        if (self.known_mm is not None) != (self.kind == "calibration"):
            raise UsageError("A calibration, and nothing else, takes the known length of its line in mm.")
        if self.known_mm is not None:
            if not (math.isfinite(self.known_mm) and 1e-6 <= self.known_mm < 1e5):
                raise UsageError("The known length of a calibration is a number of millimetres above 0.")
            object.__setattr__(self, "known_mm", round(float(self.known_mm), 6))  # what a decimal string holds (VR DS)
        for name in ("label", "author"):
            object.__setattr__(self, name, " ".join(getattr(self, name).split()))
        object.__setattr__(self, "points", tuple(_rounded(point) for point in self.points))

    def _check_reference(self) -> None:
        if not (_UID.fullmatch(self.uid) and _IMAGE_UID.fullmatch(self.sop_instance_uid)):
            raise UsageError("A measurement needs a valid UID of its own and of its image: this image cannot hold one.")
        if self.frame < 0:
            raise UsageError("A measurement's frame is counted from 0.")
        if self.created.tzinfo is None:
            raise UsageError("A measurement's time needs a time zone.")


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number that comes of a measurement.

    Attributes:
        name: "length", "area", "mean", ...: the same words everywhere.
        value: finite.
        unit: "mm", "mm2", "deg", "HU", "px", ...; "" for a ratio or a count.
        basis: what a length, area or angle rests on; it is shown beside the number.
        remark: one sentence that must be read with the number; "" if there is nothing to say.
        decimals: of a length, how many people are told at least; it is no part of what was measured.
    """

    name: str
    value: float
    unit: str
    basis: Basis = ""
    remark: str = ""
    decimals: int = field(default=1, compare=False)


def new_measurement(
    kind: MeasurementKind,
    points: Sequence[Point],
    image: tuple[str, int] | Where,
    *,
    label: str = "",
    author: str = "",
    known_mm: float | None = None,
) -> Measurement:
    """Make a measurement of now, with a UID of its own.

    Args:
        kind: one of :data:`KINDS`.
        points: (column, row), as :class:`Measurement` says.
        image: (SOP Instance UID, 0-based frame), and the plane if one was cut.
        label: the reader's name for it.
        author: who drew it.
        known_mm: calibration only.

    Raises:
        UsageError: as :class:`Measurement`.
    """
    uid = f"2.25.{uuid.uuid4().int}"  # PS3.5 annex B.2
    sop_instance_uid, frame, plane = (*image, None)[:3]
    return Measurement(
        uid, kind, tuple(points), sop_instance_uid, frame, datetime.now(UTC), label, author, known_mm, plane
    )


def _rounded(point: Point) -> Point:
    column, row = point
    if not all(math.isfinite(value) and abs(value) < _FARTHEST for value in point):
        raise UsageError("A point of the measurement is not a finite place on the image: draw it again.")
    return float(np.float32(column)), float(np.float32(row))


assert set(KINDS) == set(get_args(MeasurementKind))  # noqa: S101 - the table and the type are one list
