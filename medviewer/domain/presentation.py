"""Presentation states: how somebody wishes images to be seen, kept apart from the images.

Source: PS3.3 A.33 (presentation states), C.10.4 (Displayed Area), C.10.5 (Graphic
Annotation), C.10.6 (Spatial Transformation), C.11.1, C.11.6, C.11.8 (look-up tables), C.11.12 (shutters),
C.11.15 (ICC Profile).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

from medviewer.domain.frame import ColorProfile, OverlayPlane
from medviewer.domain.frozen import dataclass
from medviewer.domain.measurement import Point
from medviewer.domain.shutter import Shutters
from medviewer.domain.study import LookUpTable, Window

T = TypeVar("T")
GraphicKind = Literal["POINT", "POLYLINE", "INTERPOLATED", "CIRCLE", "ELLIPSE"]
Units = Literal["PIXEL", "DISPLAY"]
Justification = Literal["LEFT", "CENTER", "RIGHT"]
References = Mapping[str, frozenset[int]]
"""Images by their SOP Instance UID, with the frames (0-based) that are meant; an empty set means all."""
Scope = tuple[References | None, T]
"""Something with the images that it is for; None means all that the presentation state names."""


@dataclass(frozen=True, slots=True)
class Graphic:
    """A shape. Points are (column, row) of the image as everywhere, or shares of the displayed area (DISPLAY)."""

    kind: GraphicKind
    points: tuple[Point, ...]
    units: Units = "PIXEL"
    is_filled: bool = False


@dataclass(frozen=True, slots=True)
class TextObject:
    """Words: in a box, at an anchor, or in a box that a line joins with its anchor. Plain text of the file."""

    text: str
    box: tuple[Point, Point] | None = None
    box_units: Units = "PIXEL"
    justification: Justification = "LEFT"
    anchor: Point | None = None
    anchor_units: Units = "PIXEL"
    is_anchor_visible: bool = False


@dataclass(frozen=True, slots=True)
class Annotation:
    """What is drawn in one layer. ``grey`` is the layer's wish, 0 to 1; None where it has none."""

    order: int = 0
    grey: float | None = None
    graphics: tuple[Graphic, ...] = ()
    texts: tuple[TextObject, ...] = ()


@dataclass(frozen=True, slots=True)
class DisplayedArea:
    """The part of the image to be seen: edges in (column, row) of the image, which may lie outside it.

    ``magnification`` is screen pixels per image pixel where the size is fixed; else the part fits.
    ``aspect`` is height over width of a pixel, None where the state does not say.
    """

    left: float
    top: float
    right: float
    bottom: float
    magnification: float | None = None
    aspect: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Appearance:
    """What a presentation state says of one frame.

    Attributes:
        slope, intercept, modality_lut: from stored to modality values, in the place of what the image says.
        voi: window or table; None means that the whole range of values is seen.
        is_greyscale: whether the values are transformed at all; a colour state leaves them.
        is_inverse: low values are bright.
        presentation_lut: over the grey levels, from black to white.
        area: None: the whole image.
        shutters: None: nothing is covered, whatever the image says.
        overlay_groups: of the image's own overlay planes those that are seen, as their group's number.
        overlays: planes that the state brings along.
        profile: of the image's colours, in the place of the image's own; None leaves that.
    """

    slope: float = 1.0
    intercept: float = 0.0
    modality_lut: LookUpTable | None = None
    voi: Window | LookUpTable | None = None
    is_greyscale: bool = True
    is_inverse: bool = False
    presentation_lut: LookUpTable | None = None
    area: DisplayedArea | None = None
    annotations: tuple[Annotation, ...] = ()
    shutters: Shutters | None = None
    overlay_groups: frozenset[int] = frozenset()
    overlays: tuple[OverlayPlane, ...] = ()
    profile: ColorProfile | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PresentationState:
    """A presentation state as its file has it; its texts are of the file and are shown as plain text.

    ``quarter_turns`` are counter-clockwise, after the flip, as a view's. ``common`` is what holds for all
    images; what is for some of them stands beside it. ``not_understood`` names what is not shown, in words.
    """

    sop_instance_uid: str
    study_instance_uid: str
    patient_id: str
    label: str
    description: str
    images: References
    quarter_turns: int = 0
    flip_horizontal: bool = False
    common: Appearance = Appearance()
    voi: tuple[Scope[Window | LookUpTable], ...] = ()
    areas: tuple[Scope[DisplayedArea], ...] = ()
    annotations: tuple[Scope[Annotation], ...] = ()
    not_understood: tuple[str, ...] = ()

    def names(self, sop_instance_uid: str, frame: int) -> bool:
        """Whether it is for that frame."""
        return are_named(self.images, sop_instance_uid, frame)

    def for_image(self, sop_instance_uid: str, frame: int) -> Appearance | None:
        """What it says of a frame; None if it is not for it."""
        if not self.names(sop_instance_uid, frame):
            return None

        def own(scoped: Sequence[Scope[T]]) -> list[T]:
            return [one for where, one in scoped if where is None or are_named(where, sop_instance_uid, frame)]

        common = self.common
        drawn = sorted(own(self.annotations), key=lambda annotation: annotation.order)
        return Appearance(
            common.slope, common.intercept, common.modality_lut, next(iter(own(self.voi)), None),
            common.is_greyscale, common.is_inverse, common.presentation_lut, next(iter(own(self.areas)), None),
            tuple(drawn), common.shutters, common.overlay_groups, common.overlays, common.profile,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class KeyObjects:
    """What a Key Object Selection document says (PS3.3 A.35.4).

    ``title`` is of the file: plain text. ``is_rejection``: its images are not to be used.
    """

    sop_instance_uid: str
    study_instance_uid: str
    patient_id: str
    title: str
    is_rejection: bool
    images: References


def are_named(images: References, sop_instance_uid: str, frame: int) -> bool:
    """Whether a frame is among those that are meant."""
    frames = images.get(sop_instance_uid)
    return frames is not None and (not frames or frame in frames)


def from_display(point: Point, area: DisplayedArea, *, quarter_turns: int, flip_horizontal: bool) -> Point:
    """Give the place on the image, (column, row), of shares of the displayed area as it is seen.

    Args:
        point: (across, down) from 0 to 1, from the upper left corner as the state shows the image.
        area: the state's own.
        quarter_turns: counter-clockwise, after the flip.
        flip_horizontal: whether the state mirrors the image.
    """
    across, down = point[0] - 0.5, point[1] - 0.5
    for _ in range(quarter_turns % 4):  # a turn back, clockwise, as rows grow downwards
        across, down = -down, across
    across = -across if flip_horizontal else across
    column = (area.left + area.right) / 2 + across * (area.right - area.left)
    row = (area.top + area.bottom) / 2 + down * (area.bottom - area.top)
    return column, row
