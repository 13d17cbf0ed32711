"""Measurements out of structured reports (TID 1500): ours whole, those of others as far as they are understood.

Reports come from anywhere, so they are read by the same bounded reader as images. A group
that is not understood is named with its reason and never turned into something like it.

Source: PS3.16 TID 1500, 1501, 1410, 300; PS3.3 C.18.6.1 (spatial coordinates).
"""

from __future__ import annotations

import json
import math
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from datetime import UTC, datetime
from pathlib import Path

from medviewer.domain.errors import UnsupportedError, UsageError
from medviewer.domain.frozen import dataclass
from medviewer.domain.measurement import KINDS, Measurement, MeasurementKind, Point, cut_plane_of
from medviewer.domain.study import PixelDescription, zone_of
from medviewer.imaging import tags
from medviewer.imaging.dataset import DataSet
from medviewer.imaging.header import read_header
from medviewer.imaging.measurement_codes import AUTHOR, KIND, LABEL, PLANE
from medviewer.imaging.measurement_shapes import Graphic, circle_corners, graphics_of, own_points, recognised
from medviewer.imaging.planes import to_patient
from medviewer.imaging.reslice import PlaneGrid
from medviewer.imaging.scale import pixel_aspect

_IMAGING_MEASUREMENT_REPORT = ("126000", "DCM")
_MEASUREMENT_GROUP = ("125007", "DCM")
_TRACKING_IDENTIFIER = ("112039", "DCM")
_TRACKING_UID = ("112040", "DCM")
_PERSON_OBSERVER = ("121008", "DCM")
_DEVICE_OBSERVER = ("121013", "DCM")
_DATE_TIME = re.compile(r"(\d{14})(?:\.(\d{1,6}))?([+-]\d{4})?")
_MOST_GROUPS = 10_000
_SAME_PLACE_MM = 0.01  # places are told in 32 bits


@dataclass(frozen=True, slots=True)
class ReadReport:
    """What a report holds.

    Attributes:
        sop_instance_uid: of the report.
        study_instance_uid: that it says it belongs to; to be compared with that of the images.
        measurements: what was understood. Each names its image: show it on that one only.
        not_understood: one sentence for each other group. Its text is of the file: show it as plain text.
        without_frame: the UIDs of those measurements whose image is named without a frame, which means all of its
            frames (PS3.3 Table 10-3): theirs is the first, if the image has one frame only.
        circles: centre and a point of the circumference of what others drew as circles, by the measurement's UID.
    """

    sop_instance_uid: str
    study_instance_uid: str
    measurements: tuple[Measurement, ...]
    not_understood: tuple[str, ...]
    without_frame: frozenset[str] = frozenset()
    circles: Mapping[str, tuple[Point, Point]] = field(default_factory=dict)

    def drawn_on(self, measurement: Measurement, description: PixelDescription) -> Measurement:
        """A measurement as it lies on the pixels of its image, whose shape says which of them a circle holds."""
        circle = self.circles.get(measurement.uid)
        if circle is None:
            return measurement
        return replace(measurement, points=circle_corners(*circle, pixel_aspect(description)))

    def names_frame(self, measurement: Measurement, number_of_frames: int) -> bool:
        """Whether it is told on which frame of its image, of so many frames, a measurement was drawn."""
        return number_of_frames == 1 or measurement.uid not in self.without_frame


class _NotUnderstoodError(Exception):
    """The group is no measurement of ours; the text says why."""


def read_measurement_report(path: Path) -> ReadReport:
    """Give the measurements of a structured report.

    Of our own reports every measurement comes back equal to the one that was written. Of others, lengths,
    angles, long and short axes, closed outlines, ellipses along the axes, circles and points on plain
    images are understood; their numbers are not taken over but measured again on the image.

    Raises:
        InputError: the file cannot be read.
        UnsupportedError: it is no imaging measurement report.
    """
    root = read_header(path).dataset
    if _code(root, tags.CONCEPT_NAME_CODE_SEQUENCE) != _IMAGING_MEASUREMENT_REPORT:
        raise UnsupportedError("The file is no imaging measurement report (TID 1500); open one that is.")
    found: list[Measurement] = []
    problems: list[str] = []
    uids: set[str] = set()
    without_frame: set[str] = set()
    circles: dict[str, tuple[Point, Point]] = {}
    for number, group in enumerate(_groups(root), start=1):
        if number > _MOST_GROUPS:
            problems.append(f"The report holds more than {_MOST_GROUPS:,} measurements; the others were not read.")
            break
        try:
            measurement, has_frame, circle = _measurement(root, group, number)
        except (_NotUnderstoodError, UsageError) as reason:
            problems.append(f"{_name(group, number)}: {reason}")
            continue
        if measurement.uid in uids:
            problems.append(f"{_name(group, number)}: another measurement of the report has the same UID.")
        else:
            uids.add(measurement.uid)
            found.append(measurement)
            without_frame |= set() if has_frame else {measurement.uid}
            if circle is not None:
                circles[measurement.uid] = circle
    return ReadReport(
        root.text(tags.SOP_INSTANCE_UID), root.text(tags.STUDY_INSTANCE_UID), tuple(found), tuple(problems),
        frozenset(without_frame), circles,
    )  # fmt: skip


def _groups(item: DataSet) -> Iterator[DataSet]:
    for child in item.items(tags.CONTENT_SEQUENCE):
        if child.text(tags.VALUE_TYPE) == "CONTAINER":
            if _code(child, tags.CONCEPT_NAME_CODE_SEQUENCE) == _MEASUREMENT_GROUP:
                yield child
            else:
                yield from _groups(child)


def _measurement(root: DataSet, group: DataSet, number: int) -> tuple[Measurement, bool, tuple[Point, Point] | None]:
    """What a group says, whether it names the frame of its image, and the circle that it is, if another drew one."""
    told = _text(group, PLANE[:2])
    if told:
        return _on_plane(root, group, told), True, None
    graphics, (image, frame) = _graphics(group)
    kind = _own_kind(group)
    known_mm: float | None = None
    circle: tuple[Point, Point] | None = None
    if kind is not None:
        points = own_points(kind, graphics)
        known_mm = next((value for _, value in _numbers(group)), None) if kind == "calibration" else None
    else:
        found = recognised(graphics, [concept for concept, _ in _numbers(group)])
        if found is None:
            raise _NotUnderstoodError("what was drawn is of a kind that MedViewer does not know.")
        kind, points = found
        if graphics[0].kind == "CIRCLE":
            circle = graphics[0].points[0], graphics[0].points[1]
    if points is None:
        raise _NotUnderstoodError("what was drawn does not fit its kind.")
    if _own_kind(group) is not None:
        uid, label, author = _text(group, _TRACKING_UID), _text(group, LABEL[:2]), _text(group, AUTHOR[:2])
    else:
        # The tracking UID of others is that of a lesion, which they measure on many images.
        uid, label = _made_uid(root, number), _text(group, _TRACKING_IDENTIFIER)
        author = _text(root, _PERSON_OBSERVER) or _text(root, _DEVICE_OBSERVER)
    made = Measurement(uid, kind, points, image, frame or 0, _time(root, group), label, author, known_mm)
    return made, frame is not None, circle


def _on_plane(root: DataSet, group: DataSet, told: str) -> Measurement:
    """What we drew on a plane that was cut: as we told it to ourselves, if the places in the patient say the same."""
    try:
        own = json.loads(told)
        image, frame = own["image"]
        points = tuple((float(column), float(row)) for column, row in own["points"])
        cut = cut_plane_of(own["plane"])
        kind = _own_kind(group)
        if kind is None:
            raise _NotUnderstoodError("it does not say what was drawn.")
        made = Measurement(
            _text(group, _TRACKING_UID), kind, points, str(image), int(frame), _time(root, group),
            _text(group, LABEL[:2]), _text(group, AUTHOR[:2]), plane=cut,
        )  # fmt: skip
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError) as error:
        raise _NotUnderstoodError("the plane that it was drawn on is not told in a way that is understood.") from error
    grid = PlaneGrid(cut.plane, cut.spacing_mm, cut.shape)
    expected = [tuple(map(float, to_patient(grid, *point))) for _, line in graphics_of(made) for point in line]
    seen: list[tuple[float, ...]] = []
    for item, _concept in _drawn(group):
        numbers = item.numbers(tags.GRAPHIC_DATA)
        places = list(zip(numbers[::3], numbers[1::3], numbers[2::3], strict=False))
        if item.text(tags.VALUE_TYPE) != "SCOORD3D" or not places:
            raise _NotUnderstoodError("it was not drawn in the patient, though it says so.")
        seen += places
    is_same = bool(seen) and all(_is_among(place, expected) for place in seen)
    if not is_same or not all(_is_among(place, seen) for place in expected):
        raise _NotUnderstoodError("its places in the patient are not those of its plane.")
    return made


def _is_among(place: Sequence[float], others: Sequence[Sequence[float]]) -> bool:
    return any(math.dist(place, other) < _SAME_PLACE_MM for other in others)


def _own_kind(group: DataSet) -> MeasurementKind | None:
    for child in group.items(tags.CONTENT_SEQUENCE):
        if _code(child, tags.CONCEPT_NAME_CODE_SEQUENCE) == KIND[:2]:
            value, _ = _code(child, tags.CONCEPT_CODE_SEQUENCE)
            if value not in KINDS:
                raise _NotUnderstoodError("it is of a kind that only a newer MedViewer knows.")
            return value
    return None


def _graphics(group: DataSet) -> tuple[list[Graphic], tuple[str, int | None]]:
    """Give what was drawn, each graphic once, and the one image and frame (None: not told) it was drawn on."""
    graphics: list[Graphic] = []
    images: set[tuple[str, int | None]] = set()
    for item, concept in _drawn(group):
        if item.text(tags.VALUE_TYPE) == "SCOORD3D":
            raise _NotUnderstoodError("it lies in space and not on one image.")
        if item.text(tags.PIXEL_ORIGIN_INTERPRETATION) == "VOLUME":
            raise _NotUnderstoodError("it lies on a whole slide and not on one frame.")
        numbers = item.numbers(tags.GRAPHIC_DATA)
        points = tuple(zip(numbers[::2], numbers[1::2], strict=False))
        graphic = Graphic(item.text(tags.GRAPHIC_TYPE), points, concept)
        if not any((g.kind, g.points) == (graphic.kind, graphic.points) for g in graphics):
            graphics.append(graphic)
        images.add(_image(item))
    if len(images) != 1:
        raise _NotUnderstoodError("it was not drawn on exactly one image.")
    return graphics, images.pop()


def _drawn(item: DataSet, concept: tuple[str, str] = ("", "")) -> Iterator[tuple[DataSet, tuple[str, str]]]:
    """Give the coordinates of a group and of its numbers, each with the concept of the number it is under."""
    for child in item.items(tags.CONTENT_SEQUENCE):
        kind = child.text(tags.VALUE_TYPE)
        if kind in ("SCOORD", "SCOORD3D"):
            yield child, concept
        elif kind == "NUM":
            yield from _drawn(child, _code(child, tags.CONCEPT_NAME_CODE_SEQUENCE))


def _image(item: DataSet) -> tuple[str, int | None]:
    references = [
        reference
        for child in item.items(tags.CONTENT_SEQUENCE)
        if child.text(tags.VALUE_TYPE) == "IMAGE"
        for reference in child.items(tags.REFERENCED_SOP_SEQUENCE)
    ]
    if len(references) != 1:
        raise _NotUnderstoodError("it does not say on which image it was drawn.")
    uid = references[0].text(tags.REFERENCED_SOP_INSTANCE_UID)
    frames = references[0].numbers(tags.REFERENCED_FRAME_NUMBER)
    if not frames:
        return uid, None
    if len(frames) != 1 or not 1 <= frames[0] <= 1e9:
        raise _NotUnderstoodError("it does not say on which frame it was drawn.")
    return uid, int(frames[0]) - 1


def _numbers(group: DataSet) -> list[tuple[tuple[str, str], float | None]]:
    """Give concept and value of every number of a group."""
    return [
        (
            _code(child, tags.CONCEPT_NAME_CODE_SEQUENCE),
            child.item(tags.MEASURED_VALUE_SEQUENCE).number(tags.NUMERIC_VALUE),
        )
        for child in group.items(tags.CONTENT_SEQUENCE)
        if child.text(tags.VALUE_TYPE) == "NUM"
    ]


def _code(item: DataSet, sequence: int) -> tuple[str, str]:
    code = item.item(sequence)
    return code.text(tags.CODE_VALUE), code.text(tags.CODING_SCHEME_DESIGNATOR)


def _text(item: DataSet, concept: tuple[str, str]) -> str:
    """Give the text, name or UID that stands directly under an item by this concept; "" if there is none."""
    for child in item.items(tags.CONTENT_SEQUENCE):
        if _code(child, tags.CONCEPT_NAME_CODE_SEQUENCE) == concept:
            values = (child.text(tag) for tag in (tags.TEXT_VALUE, tags.PERSON_NAME, tags.CONTENT_UID))
            return next((value for value in values if value), "")
    return ""


def _name(group: DataSet, number: int) -> str:
    label = _text(group, _TRACKING_IDENTIFIER)[:64]
    return f"Measurement {number} ({label})" if label else f"Measurement {number}"


def _made_uid(root: DataSet, number: int) -> str:
    """Give a UID that is the same each time the report is read."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'{root.text(tags.SOP_INSTANCE_UID)} {number}').int}"


def _time(root: DataSet, group: DataSet) -> datetime:
    """Give when it was measured; the time of the report where the group tells none."""
    found = _DATE_TIME.fullmatch(group.text(tags.OBSERVATION_DATE_TIME))
    found = found or _DATE_TIME.fullmatch(root.text(tags.CONTENT_DATE) + root.text(tags.CONTENT_TIME))
    if found is None:
        return datetime.fromtimestamp(0, UTC)
    zone = zone_of(found[3] or root.text(tags.TIMEZONE_OFFSET_FROM_UTC))
    if found[3] and zone is None:
        return datetime.fromtimestamp(0, UTC)
    try:
        moment = datetime.strptime(f"{found[1]}.{found[2] or 0}", "%Y%m%d%H%M%S.%f")  # noqa: DTZ007 - has one next
        return moment.astimezone() if zone is None else moment.replace(tzinfo=zone)  # without a zone: local time
    except (ValueError, OverflowError, OSError):  # the last by systems that know no local time of that year
        return datetime.fromtimestamp(0, UTC)
