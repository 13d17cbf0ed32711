"""Presentation states out of files: ours and those of others, as far as they are understood.

They come from anywhere, so they are read by the same bounded reader as images. What is not
understood is named, and a state whose grey levels or geometry cannot be kept is refused whole.

Source: PS3.3 A.33.1 (greyscale) and A.33.2 (colour), with the modules that :mod:`medviewer.domain.presentation` names.
"""

from __future__ import annotations

import io
import math
import re
from pathlib import Path
from typing import cast, get_args

from medviewer.domain.errors import UnsupportedError
from medviewer.domain.frame import ColorProfile, OverlayPlane
from medviewer.domain.measurement import Point
from medviewer.domain.presentation import (
    Annotation,
    Appearance,
    DisplayedArea,
    Graphic,
    GraphicKind,
    Justification,
    PresentationState,
    References,
    Scope,
    TextObject,
    Units,
)
from medviewer.domain.study import LookUpTable, VoiFunction, Window
from medviewer.imaging import tags
from medviewer.imaging.color_profile import Found, find_profile
from medviewer.imaging.dataset import DataSet
from medviewer.imaging.decode import usable_profile
from medviewer.imaging.description import read_look_up_table
from medviewer.imaging.header import Header, inflated, read_header, unreadable
from medviewer.imaging.overlay_planes import read_overlays
from medviewer.imaging.pixel_format import PRESENTATION_STATES
from medviewer.imaging.shutters import read_shutters, shutter_group
from medviewer.imaging.source import ByteSource

_GREYSCALE, _COLOUR = "1.2.840.10008.5.1.4.1.1.11.1", "1.2.840.10008.5.1.4.1.1.11.2"
_MOST_OBJECTS = 5_000  # of graphics and texts
_MOST_POINTS = 100_000  # of all shapes together
_FARTHEST = 1e6  # pixels; no image has as many
_LINE_END = re.compile("␍␊|␍|␊")  # the reader of elements makes all controls visible; here lines are meant
_ENOUGH_POINTS = {"POINT": 1, "POLYLINE": 2, "INTERPOLATED": 2, "CIRCLE": 2, "ELLIPSE": 4}


class NotPresentationStateError(UnsupportedError):
    """The file is something else."""


def read_presentation_state(path: Path) -> PresentationState:
    """Give what a presentation state says.

    Raises:
        InputError: the file cannot be read.
        NotPresentationStateError: it is no presentation state.
        UnsupportedError: it is of another kind than greyscale or colour, names no image, or changes
            grey levels or geometry in a way that is not understood.
    """
    header = read_header(path)
    if not header.sop_class_uid.startswith(PRESENTATION_STATES):
        raise NotPresentationStateError("The file is no presentation state; open one that is.")
    if header.sop_class_uid not in (_GREYSCALE, _COLOUR):
        raise UnsupportedError(
            "Of presentation states only those for greyscale and colour images are shown; this one is of another kind."
        )
    is_greyscale = header.sop_class_uid == _GREYSCALE
    profile = Found() if is_greyscale else _find_profile(path, header)
    return _Reading(header.dataset, profile, is_greyscale=is_greyscale).state()


def _find_profile(path: Path, header: Header) -> Found:
    try:
        with io.FileIO(path) as file:
            source = ByteSource(file)
            content = ByteSource.of_bytes(inflated(source)) if header.is_deflated else source
            return find_profile(header.dataset, content, 0)
    except OSError as error:
        raise unreadable(error) from error


class _Reading:
    """One file; collects what was not understood."""

    def __init__(self, root: DataSet, profile: Found, *, is_greyscale: bool) -> None:
        self._root, self._profile, self._is_greyscale = root, profile, is_greyscale
        self._not_understood: dict[str, None] = {}
        self._points = self._objects = 0

    def state(self) -> PresentationState:
        root = self._root
        images = read_references(
            [item for series in root.items(tags.REFERENCED_SERIES_SEQUENCE)
             for item in series.items(tags.REFERENCED_IMAGE_SEQUENCE)]
        )  # fmt: skip
        if not images:
            raise UnsupportedError("The presentation state names no image, so it cannot be shown.")
        rotation = root.integer(tags.IMAGE_ROTATION) or 0
        if rotation % 90:
            raise UnsupportedError(
                f"The presentation state turns images by {rotation} degrees, which is not understood."
            )
        is_flipped = root.text(tags.IMAGE_HORIZONTAL_FLIP) == "Y"
        # The standard turns clockwise first and flips then; a view flips first and turns counter-clockwise.
        quarters = (rotation // 90) * (1 if is_flipped else -1) % 4
        if root.items(tags.MASK_SUBTRACTION_SEQUENCE):
            raise UnsupportedError("The presentation state subtracts a mask from the images, which is not understood.")
        common = self._common()
        return PresentationState(
            sop_instance_uid=root.text(tags.SOP_INSTANCE_UID),
            study_instance_uid=root.text(tags.STUDY_INSTANCE_UID),
            patient_id=root.text(tags.PATIENT_ID),
            label=root.text(tags.CONTENT_LABEL),
            description=root.text(tags.CONTENT_DESCRIPTION),
            images=images,
            quarter_turns=quarters,
            flip_horizontal=is_flipped,
            common=common,
            voi=self._voi(common) if self._is_greyscale else (),
            areas=self._areas(),
            annotations=self._annotations(),
            not_understood=self._named(),
        )

    def _named(self) -> tuple[str, ...]:
        if self._root.items(tags.COMPOUND_GRAPHIC_SEQUENCE):
            self._name("compound graphics")
        return tuple(self._not_understood)

    def _name(self, what: str) -> None:
        self._not_understood[what] = None

    def _common(self) -> Appearance:
        root = self._root
        slope, intercept = root.number(tags.RESCALE_SLOPE), root.number(tags.RESCALE_INTERCEPT)
        luts = [read_look_up_table(item, is_signed=False) for item in root.items(tags.MODALITY_LUT_SEQUENCE)]
        tables = [read_look_up_table(item, is_signed=False) for item in root.items(tags.PRESENTATION_LUT_SEQUENCE)]
        if None in luts or None in tables or slope == 0:
            raise UnsupportedError("A look-up table of the presentation state makes no sense, so it cannot be shown.")
        planes = read_overlays(root, 0)
        own, groups = self._overlays(planes)
        return Appearance(
            slope=1.0 if slope is None else slope,
            intercept=intercept or 0.0,
            modality_lut=luts[0] if luts else None,
            is_greyscale=self._is_greyscale,
            is_inverse=root.text(tags.PRESENTATION_LUT_SHAPE) == "INVERSE",
            presentation_lut=tables[0] if tables else None,
            shutters=read_shutters(root, planes, self._name),
            overlay_groups=groups,
            overlays=own,
            profile=self._usable_profile(),
        )

    def _usable_profile(self) -> ColorProfile | None:
        """What the state takes the images' colours for; without one they stay as the images say."""
        profile, doubt = usable_profile(self._profile)
        if doubt is not None:
            self._name("its colour profile")
        return profile

    def _overlays(self, planes: tuple[OverlayPlane, ...]) -> tuple[tuple[OverlayPlane, ...], frozenset[int]]:
        """Planes that the state brings along, and the groups of the images' own that it switches on."""
        shutter = shutter_group(self._root)  # which is no drawing (PS3.3 C.7.6.15)
        named = {group for group in tags.OVERLAY_GROUPS if self._root.text(tags.OVERLAY_ACTIVATION_LAYER + group)}
        active = {group for group in named if group != shutter}
        brought = tuple(plane for plane in planes if plane.group in active)
        return brought, frozenset(active - {plane.group for plane in brought})

    def _voi(self, common: Appearance) -> tuple[Scope[Window | LookUpTable], ...]:
        found: list[Scope[Window | LookUpTable]] = []
        for item in self._root.items(tags.SOFTCOPY_VOI_LUT_SEQUENCE):
            table = next(iter(item.items(tags.VOI_LUT_SEQUENCE)), None)
            # The first value mapped has a sign where modality values do.
            read = _window(item) if table is None else read_look_up_table(table, is_signed=common.intercept < 0)
            if read is None:
                raise UnsupportedError("The window of the presentation state makes no sense, so it cannot be shown.")
            found.append((_scope(item), read))
        return tuple(found)

    def _areas(self) -> tuple[Scope[DisplayedArea], ...]:
        found: list[Scope[DisplayedArea]] = []
        for item in self._root.items(tags.DISPLAYED_AREA_SELECTION_SEQUENCE):
            first = _points(item, tags.DISPLAYED_AREA_TOP_LEFT_HAND_CORNER)
            last = _points(item, tags.DISPLAYED_AREA_BOTTOM_RIGHT_HAND_CORNER)
            if len(first) != 1 or len(last) != 1:
                self._name("displayed area")
                continue
            mode = item.text(tags.PRESENTATION_SIZE_MODE)
            if mode == "TRUE SIZE":
                self._name("true size")
            ratio = item.number(tags.PRESENTATION_PIXEL_MAGNIFICATION_RATIO)
            is_fixed = mode == "MAGNIFY" and ratio is not None and 0.01 <= ratio <= 64
            # Whole pixels, counted from 1: their outer edges.
            columns, rows = sorted((first[0][0], last[0][0])), sorted((first[0][1], last[0][1]))
            area = DisplayedArea(
                columns[0] - 1, rows[0] - 1, columns[1], rows[1], ratio if is_fixed else None, _aspect(item)
            )
            found.append((_scope(item), area))
        return tuple(found)

    def _annotations(self) -> tuple[Scope[Annotation], ...]:
        layers = {
            item.text(tags.GRAPHIC_LAYER): (
                item.integer(tags.GRAPHIC_LAYER_ORDER) or 0,
                _share(item.number(tags.GRAPHIC_LAYER_RECOMMENDED_DISPLAY_GRAYSCALE_VALUE)),
            )
            for item in self._root.items(tags.GRAPHIC_LAYER_SEQUENCE)
        }
        found: list[Scope[Annotation]] = []
        for item in self._root.items(tags.GRAPHIC_ANNOTATION_SEQUENCE):
            order, grey = layers.get(item.text(tags.GRAPHIC_LAYER), (0, None))
            graphics = tuple(filter(None, map(self._graphic, item.items(tags.GRAPHIC_OBJECT_SEQUENCE))))
            texts = tuple(filter(None, map(self._text, item.items(tags.TEXT_OBJECT_SEQUENCE))))
            found.append((_scope(item), Annotation(order, grey, graphics, texts)))
        return tuple(found)

    def _graphic(self, item: DataSet) -> Graphic | None:
        kind, units = item.text(tags.GRAPHIC_TYPE), _units(item, tags.GRAPHIC_ANNOTATION_UNITS)
        points = _points(item, tags.GRAPHIC_DATA)
        self._points += len(points)
        if kind not in get_args(GraphicKind) or units is None:
            self._name("graphics of an unknown kind")
            return None
        if len(points) < _ENOUGH_POINTS[kind] or not self._has_room() or self._points > _MOST_POINTS:
            self._name("some graphics")
            return None
        return Graphic(cast("GraphicKind", kind), points, units, item.text(tags.GRAPHIC_FILLED) == "Y")

    def _text(self, item: DataSet) -> TextObject | None:
        corners = [
            *_points(item, tags.BOUNDING_BOX_TOP_LEFT_HAND_CORNER),
            *_points(item, tags.BOUNDING_BOX_BOTTOM_RIGHT_HAND_CORNER),
        ]
        anchors = _points(item, tags.ANCHOR_POINT)
        box_units = _units(item, tags.BOUNDING_BOX_ANNOTATION_UNITS)
        anchor_units = _units(item, tags.ANCHOR_POINT_ANNOTATION_UNITS)
        box = (corners[0], corners[1]) if len(corners) == 2 and box_units is not None else None
        anchor = anchors[0] if len(anchors) == 1 and anchor_units is not None else None
        text = _LINE_END.sub("\n", item.text(tags.UNFORMATTED_TEXT_VALUE)).replace("␉", " ")
        if not text or (box is None and anchor is None) or not self._has_room():
            self._name("some text")
            return None
        justified = item.text(tags.BOUNDING_BOX_TEXT_HORIZONTAL_JUSTIFICATION)
        return TextObject(
            text, box, box_units or "PIXEL",
            cast("Justification", justified) if justified in get_args(Justification) else "LEFT",
            anchor, anchor_units or "PIXEL", item.text(tags.ANCHOR_POINT_VISIBILITY) == "Y",
        )  # fmt: skip

    def _has_room(self) -> bool:
        self._objects += 1
        return self._objects <= _MOST_OBJECTS


def read_references(items: list[DataSet]) -> dict[str, frozenset[int]]:
    """Give the images, and of each the frames, that items of a sequence name (PS3.3 table 10-3)."""
    found: dict[str, frozenset[int]] = {}
    for item in items:
        uid = item.text(tags.REFERENCED_SOP_INSTANCE_UID)
        frames = frozenset(int(n) - 1 for n in item.numbers(tags.REFERENCED_FRAME_NUMBER) if math.isfinite(n))
        if not uid:
            continue
        is_whole = not frames or found.get(uid) == frozenset()
        found[uid] = frozenset() if is_whole else found.get(uid, frozenset()) | frames
    return found


def _scope(item: DataSet) -> References | None:
    named = item.items(tags.REFERENCED_IMAGE_SEQUENCE)
    return read_references(named) if named else None


def _window(item: DataSet) -> Window | None:
    center, width = item.number(tags.WINDOW_CENTER), item.number(tags.WINDOW_WIDTH)
    function = item.text(tags.VOI_LUT_FUNCTION) or "LINEAR"
    if center is None or width is None or function not in get_args(VoiFunction):
        return None
    least = 1.0 if function == "LINEAR" else 0.0
    if width < least or width <= 0:
        return None
    return Window(center, width, cast("VoiFunction", function), item.text(tags.WINDOW_EXPLANATION))


def _aspect(item: DataSet) -> float | None:
    """Height over width of a pixel."""
    for tag in (tags.PRESENTATION_PIXEL_SPACING, tags.PRESENTATION_PIXEL_ASPECT_RATIO):
        values = item.numbers(tag)
        if len(values) == 2 and all(math.isfinite(value) and value > 0 for value in values):
            return min(max(values[0] / values[1], 0.01), 100.0)
    return None


def _points(item: DataSet, tag: int) -> tuple[Point, ...]:
    """Pairs of numbers; none where one is no number or no place on any image."""
    values = item.numbers(tag)
    if len(values) % 2 or not all(math.isfinite(value) and abs(value) < _FARTHEST for value in values):
        return ()
    return tuple((float(x), float(y)) for x, y in zip(values[::2], values[1::2], strict=True))


def _units(item: DataSet, tag: int) -> Units | None:
    units = item.text(tag)
    return cast("Units", units) if units in get_args(Units) else None


def _share(value: float | None) -> float | None:
    """A P-value of 16 bits as a share of white."""
    return min(max(value / 65535, 0.0), 1.0) if value is not None else None
