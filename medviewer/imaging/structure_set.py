"""Radiotherapy structure sets: closed outlines of regions, in the planes in which they were drawn.

Source: PS3.3 A.19 (RT Structure Set IOD), C.8.8.5 (structure set), C.8.8.6 (ROI contours).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from medviewer.domain.errors import GeometryError, InputError, TooLargeError
from medviewer.domain.frozen import dataclass
from medviewer.domain.layer import Color, Contour, LabelPlane, Segment, StructureSet
from medviewer.domain.study import Patient
from medviewer.imaging import tags
from medviewer.imaging.dataset import DataSet
from medviewer.imaging.grouping import may_be_same, read_patient
from medviewer.imaging.header import read_header
from medviewer.imaging.label_planes import Pixels, outlines_of, pixels_by_plane
from medviewer.imaging.pixel_format import RT_STRUCTURE_SET_STORAGE
from medviewer.imaging.presentation_reading import read_references
from medviewer.imaging.reslice import PlaneGrid

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

MAX_POINTS = 20_000_000
_CLOSED = frozenset({"CLOSED_PLANAR", "CLOSEDPLANAR_XOR"})
_FLAT_MM = 0.2  # an outline that leaves its plane by more lies in none; places are text, often of tenths of a mm
_SAME_PLANE_MM = 0.01  # of outlines that are exactly flat
_PARALLEL = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class StructureFile:
    """A structure set that lies beside images: what must fit before it is laid over any of them.

    Attributes:
        path: of the file.
        sop_instance_uid: of the object.
        study_instance_uid: of its study.
        patient: whom the file names.
        references: the frames of reference that its regions lie in.
        label: the file's name of it; may be empty.
    """

    path: Path
    sop_instance_uid: str
    study_instance_uid: str
    patient: Patient
    references: frozenset[str]
    label: str = ""

    @property
    def key(self) -> tuple[str, str, int]:
        """Identifies it in this session, as an image's key does."""
        return (str(self.path), self.sop_instance_uid, 0)

    def is_of(self, patient: Patient) -> bool:
        """Whether it is of a patient: the same number (without one, the study), and nothing that speaks against it."""
        is_same_number = (self.patient.patient_id, self.patient.issuer) == (patient.patient_id, patient.issuer)
        is_known = bool(self.patient.patient_id) or self.study_instance_uid in {
            study.study_instance_uid for study in patient.studies
        }
        return is_same_number and is_known and may_be_same(self.patient, patient)


def find_structure_set(path: Path) -> StructureFile | None:
    """Give what a file says of itself if it is a structure set; None for any other.

    Raises:
        InputError: the file cannot be read.
    """
    header = read_header(path)
    if header.sop_class_uid != RT_STRUCTURE_SET_STORAGE:
        return None
    dataset = header.dataset
    regions = dataset.items(tags.STRUCTURE_SET_ROI_SEQUENCE)
    return StructureFile(
        path, dataset.text(tags.SOP_INSTANCE_UID), dataset.text(tags.STUDY_INSTANCE_UID), read_patient(dataset),
        frozenset(region.text(tags.REFERENCED_FRAME_OF_REFERENCE_UID) for region in regions) - {""},
        dataset.text(tags.STRUCTURE_SET_LABEL),
    )  # fmt: skip


def read_structure_set(path: Path, *, sop_instance_uid: str, frame_of_reference_uid: str) -> StructureSet:
    """Read the regions of a structure set that lie in one frame of reference.

    Args:
        path: of the file.
        sop_instance_uid: of the object that is expected there.
        frame_of_reference_uid: of the images that it is for; regions of others are left out.

    Raises:
        GeometryError: no region lies in that frame of reference.
        InputError: the file cannot be read or has been replaced, or holds no closed outline.
        TooLargeError: there are too many points.
    """
    dataset = read_header(path).dataset
    if dataset.text(tags.SOP_INSTANCE_UID) != sop_instance_uid:
        raise InputError("The file has changed since it was opened; open it again.")
    regions = {
        item.integer(tags.ROI_NUMBER): item.text(tags.ROI_NAME)
        for item in dataset.items(tags.STRUCTURE_SET_ROI_SEQUENCE)
        if item.text(tags.REFERENCED_FRAME_OF_REFERENCE_UID) == frame_of_reference_uid
    }
    if not regions:
        raise GeometryError(
            "The structures lie in another frame of reference, so where they belong on this image is not known."
        )
    segments: dict[int, Segment] = {}
    contours: list[Contour] = []
    references: dict[str, frozenset[int]] = {}
    left_out = points = 0
    for region in dataset.items(tags.ROI_CONTOUR_SEQUENCE):
        number = region.integer(tags.REFERENCED_ROI_NUMBER)
        if number is None or number not in regions:
            continue
        for item in region.items(tags.CONTOUR_SEQUENCE):
            outline = _outline(item)
            if outline is None:
                left_out += 1
                continue
            points += len(outline)
            if points > MAX_POINTS:
                raise TooLargeError(f"The structures have more than {MAX_POINTS:,} points; they cannot be shown.")
            segments.setdefault(number, Segment(number, regions[number], _color(region)))
            contours.append(Contour(number, outline))
            references |= read_references(item.items(tags.CONTOUR_IMAGE_SEQUENCE))
    if not contours:
        raise InputError("The structure set holds no closed outline; there is nothing of it to draw.")
    remarks = [f"{left_out} of its outlines are not closed and flat, and are left out."] if left_out else []
    single = sum(_is_single([one.points for one in contours if one.segment == number]) for number in segments)
    if single:
        remarks.append(f"Regions that lie in one plane only are not drawn where other planes cut it: {single}.")
    return StructureSet(
        tuple(segments.values()), tuple(contours), frame_of_reference_uid, remark="\n".join(remarks),
        references=MappingProxyType(references),
    )  # fmt: skip


def lay_structures(layer: StructureSet, grid: PlaneGrid, slice_mm: float | None) -> LabelPlane:
    """Give the regions on a plane.

    Where the outlines lie parallel to the plane, those of the nearest plane within half a slice are given as they
    were drawn. On other planes each pixel belongs to the nearest outlines, as far as half their distance.

    Args:
        layer: of the plane's frame of reference.
        grid: the pixels wanted.
        slice_mm: distance between the images that it is laid over; None takes that between the outlines.
    """
    found: dict[int, tuple[Floats, ...]] = {}
    for segment in layer.segments:
        own = [contour.points for contour in layer.contours if contour.segment == segment.number]
        outlines = _region_on(own, grid, slice_mm)
        if outlines:
            found[segment.number] = outlines
    return LabelPlane(found)


def _region_on(own: list[Floats], grid: PlaneGrid, slice_mm: float | None) -> tuple[Floats, ...]:
    """One region on a plane; outlines that lie in other directions are drawn apart."""
    found: list[Floats] = []
    facing = np.array(grid.plane.normal)
    for direction, members in _by_direction(_Outlines(own)):
        parallel = [own[index] for index in members]
        outlines = _Outlines(parallel)
        told = _planes_of(outlines, direction)
        seen = _planes_facing(outlines, told, direction, facing)
        if seen is not None:
            plane, places, between = seen
            away = np.abs(places - float(np.array(grid.plane.position) @ facing))
            nearest = int(np.argmin(away))
            reach = (slice_mm if slice_mm is not None else between) / 2
            if away[nearest] <= reach + _SAME_PLANE_MM:
                found += [_on_grid(points, grid) for points, at in zip(parallel, plane, strict=True) if at == nearest]
        elif told.between:
            met = pixels_by_plane(grid, direction, told.places, told.between)
            found += _cut(parallel, told.plane, met, direction, grid)
    return tuple(found)


def _cut(
    parallel: list[Floats], plane: Indices, met: Iterator[Pixels], normal: Floats, grid: PlaneGrid
) -> tuple[Floats, ...]:
    """Outlines in parallel planes, cut with a plane that is not parallel to them and whose pixels meet them."""
    mask = np.zeros(grid.shape, bool)
    across = np.cross(np.array(grid.plane.normal), normal)  # where the plane meets theirs
    across /= np.linalg.norm(across)
    away = np.cross(normal, across)
    for pixels in met:
        x, y = pixels.points @ across, pixels.points @ away
        is_in = np.zeros(len(x), bool)
        for points in (p for p, at in zip(parallel, plane, strict=True) if at == pixels.plane):
            is_in ^= _inside(x, y, points @ across, points @ away)
        mask[pixels.rows[is_in], pixels.columns[is_in]] = True
    return outlines_of(mask)


def _inside(x: Floats, y: Floats, px: Floats, py: Floats) -> npt.NDArray[np.bool_]:
    """Which places (x, y) lie inside an outline (px, py): an odd number of its edges is to their right."""
    qx, qy = np.roll(px, -1), np.roll(py, -1)
    is_near = (np.maximum(py, qy) >= y.min()) & (np.minimum(py, qy) <= y.max()) & (py != qy)
    is_in = np.zeros(len(x), bool)
    for x0, y0, x1, y1 in zip(px[is_near], py[is_near], qx[is_near], qy[is_near], strict=True):
        is_met = (y0 > y) != (y1 > y)
        is_in ^= is_met & (x0 + (y - y0) / (y1 - y0) * (x1 - x0) > x)
    return is_in


def _is_single(own: list[Floats]) -> bool:
    """Whether outlines of a region have no others beside them: how thick the region is there is not known."""
    outlines = _Outlines(own)
    return any(
        len(_planes_of(_Outlines([own[index] for index in members]), normal).places) == 1
        for normal, members in _by_direction(outlines)
    )


class _Planes(NamedTuple):
    """For each outline the number of its plane; where the planes lie along a direction; the distance between them.

    In mm; the distance is 0 of one plane.
    """

    plane: Indices
    places: Floats
    between: float


class _Outlines:
    """Several outlines at once: ``centres`` and ``areas`` (Newell's area vectors) are ``(outlines, 3)``."""

    def __init__(self, own: Sequence[Floats]) -> None:
        counts = np.array([len(points) for points in own])
        self._starts = np.cumsum(counts) - counts
        self._points = np.concatenate(own)
        self.centres = np.add.reduceat(self._points, self._starts) / counts[:, None]
        following = np.arange(1, len(self._points) + 1)
        following[self._starts + counts - 1] = self._starts
        around = self._points - np.repeat(self.centres, counts, axis=0)  # far from the origin digits are lost
        self.areas = np.add.reduceat(np.cross(around, around[following]), self._starts)

    def bend(self, normal: Floats) -> Floats:
        """How far each extends along a direction, in mm."""
        depth = self._points @ normal
        return np.asarray(np.maximum.reduceat(depth, self._starts) - np.minimum.reduceat(depth, self._starts))

    def bend_together(self, normal: Floats, plane: Indices) -> float:
        """How far the outlines of one plane extend along a direction together, in mm; of the plane that does most."""
        depth = self._points @ normal
        highest, lowest = np.full(plane.max() + 1, -np.inf), np.full(plane.max() + 1, np.inf)
        np.maximum.at(highest, plane, np.maximum.reduceat(depth, self._starts))
        np.minimum.at(lowest, plane, np.minimum.reduceat(depth, self._starts))
        return float((highest - lowest).max())


def _by_direction(outlines: _Outlines) -> Iterator[tuple[Floats, Indices]]:
    """Directions across the planes of outlines, each with the numbers of its outlines.

    Rounded places turn the direction of a small outline by degrees and hardly that of a large one. So the largest
    begins a group, all that is flat along its direction joins, and the direction is then that of all of them.
    """
    sizes = np.linalg.norm(outlines.areas, axis=1)
    left = np.argsort(-sizes, kind="stable")
    while len(left):
        largest = outlines.areas[left[0]] / sizes[left[0]]
        is_in = _is_across(outlines.areas[left] / sizes[left, None], largest, outlines.bend(largest)[left])
        is_in[0] = True
        areas = outlines.areas[left[is_in]]
        whole = (areas * np.sign(areas @ largest)[:, None]).sum(axis=0)
        yield whole / np.linalg.norm(whole), np.sort(left[is_in])
        left = left[~is_in]


def _is_across(directions: Floats, normal: Floats, bend: Floats | float) -> npt.NDArray[np.bool_]:
    """Whether a direction is across outlines: by their own directions, and by how far they extend along it."""
    likeness = np.abs(directions @ normal)
    # A narrow outline is flat from the side too: so far no rounding turns it.
    return np.asarray((likeness > 1 - _PARALLEL**2 / 2) | ((likeness > 0.5) & (bend <= _FLAT_MM)))


def _planes_facing(outlines: _Outlines, told: _Planes, direction: Floats, facing: Floats) -> _Planes | None:
    """The planes of outlines along another direction than their own; None where they are not across it.

    Outlines of one slice that lie far apart sideways leave a plane that is turned a little together, though each
    alone is flat along it: so they are looked at by slices.
    """
    if not _is_across(direction, facing, outlines.bend(facing).max()):
        return None
    seen = _planes_of(outlines, facing)
    # Of small outlines their own direction is told badly, and the other counts; but not where it tears slices apart.
    if len(seen.places) > len(told.places):
        along = np.bincount(told.plane, outlines.centres @ facing) / np.bincount(told.plane)
        seen = _Planes(told.plane, along, told.between)
    return seen if _is_across(direction, facing, outlines.bend_together(facing, seen.plane)) else None


def _planes_of(outlines: _Outlines, normal: Floats) -> _Planes:
    """The planes of outlines along a direction, rising.

    The distance is the least, and as much more as rounding may have taken from it: no plane between two is without
    them.

    Outlines of one slice lie as far apart as they are bent by rounding. Where planes themselves lie so near to each
    other, a chain of them would become one: then only what is nearer belongs together.
    """
    along = outlines.centres @ normal
    order = np.argsort(along, kind="stable")
    bend = float(outlines.bend(normal).max())
    near = min(max(2 * bend, _SAME_PLANE_MM), _FLAT_MM)
    while True:
        plane = np.empty(len(along), np.intp)
        plane[order] = np.concatenate([[0], np.cumsum(np.diff(along[order]) > near)])
        first = np.flatnonzero(np.diff(plane[order], prepend=-1))
        spans = np.maximum.reduceat(along[order], first) - along[order][first]
        if near <= _SAME_PLANE_MM or spans.max() <= near:
            places = np.bincount(plane, along) / np.bincount(plane)
            return _Planes(plane, places, float(np.diff(places).min()) + bend if len(places) > 1 else 0.0)
        near /= 2


def _on_grid(points: Floats, grid: PlaneGrid) -> Floats:
    away = points - np.array(grid.plane.position)
    columns = away @ np.array(grid.plane.row_cosine) / grid.spacing_mm[1] + 0.5
    rows = away @ np.array(grid.plane.column_cosine) / grid.spacing_mm[0] + 0.5
    return np.stack([columns, rows], axis=1)


def _outline(item: DataSet) -> Floats | None:
    """The points of a closed, flat outline; None for anything else."""
    numbers = np.array(item.numbers(tags.CONTOUR_DATA))
    is_closed = item.text(tags.CONTOUR_GEOMETRIC_TYPE) in _CLOSED
    if not is_closed or len(numbers) < 9 or len(numbers) % 3 or not (np.abs(numbers) < 1e6).all():
        return None
    points = numbers.reshape(-1, 3).astype(np.float64)
    alone = _Outlines([points])
    length = float(np.linalg.norm(alone.areas[0]))
    if length < 1e-6 or float(alone.bend(alone.areas[0] / length)[0]) > _FLAT_MM:
        return None
    return points


def _color(region: DataSet) -> Color | None:
    values = region.numbers(tags.ROI_DISPLAY_COLOR)
    if len(values) != 3 or not all(0 <= value <= 255 for value in values):
        return None
    return int(values[0]), int(values[1]), int(values[2])
