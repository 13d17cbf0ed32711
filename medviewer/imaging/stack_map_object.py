"""The heat map of a stack of slices as a DICOM Parametric Map: a frame a slice, each in its place in the patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from medviewer.domain.answer import Attribution, Finding
from medviewer.domain.errors import InputError, UsageError
from medviewer.domain.frozen import dataclass
from medviewer.domain.study import Image, Plane
from medviewer.domain.volume_map import VolumeMap
from medviewer.imaging.derived_frame import has_place, place_frames
from medviewer.imaging.derived_object import ObjectReference, read_header, reference_of, write_object
from medviewer.imaging.heat_map_object import describe_values, started_map
from medviewer.imaging.reslice import PlaneGrid
from medviewer.imaging.volume_map import map_on_plane

_MOST_ACROSS = 128  # pixels of a frame: the map is of a few boxes, and 500 slices of 512 x 512 would be half a gigabyte


@dataclass(frozen=True, slots=True)
class _Grid:
    """The pixels of every frame: each covers ``step`` x ``step`` of its slice."""

    step: int
    spacing_mm: tuple[float, float]
    shape: tuple[int, int]
    planes: tuple[Plane, ...]


def write_stack_map(
    slices: Sequence[Image], attribution: Attribution, finding: Finding, *, path: Path
) -> ObjectReference:
    """Write the heat map of a stack as a Parametric Map of 32-bit floats in the study of its slices.

    Args:
        slices: those that were analysed, in any order, each with its place.
        attribution: a map of this stack.
        finding: which it explains.
        path: where the file goes.

    Returns:
        How a report names it.

    Raises:
        UsageError: the map is of another finding or stack.
        InputError: the slices have no place in the patient; a source's file is gone or is another one now.
        StorageError: the disk is full, read-only or gone; no half file remains.

    Source: as :func:`~medviewer.imaging.heat_map_object.write_heat_map`; PS3.3 C.7.6.16.2.3 (Plane Position).
    """
    boxes = attribution.volume
    if boxes is None or attribution.finding != finding.label:
        raise UsageError("The heat map explains another finding; explain this one before saving it.")
    header = read_header(slices[0])
    if not all(has_place(image) for image in slices):
        raise InputError("The files do not say in which frame of reference the slices lie; save as JSON instead.")
    ordered = _in_place(slices, boxes)
    grid = _grid(ordered, boxes)
    frames = [map_on_plane(boxes, PlaneGrid(plane, grid.spacing_mm, grid.shape)) for plane in grid.planes]
    values = np.stack(frames)
    first = ordered[0]
    result = started_map(header, first, attribution)
    shared = place_frames(result, header, ordered, planes=grid.planes, spacing_mm=grid.spacing_mm, shape=grid.shape)
    describe_values(result, shared, values, attribution, finding, strongest=boxes.strongest)
    result.add_new("FloatPixelData", "OF", np.ascontiguousarray(values, "<f4").tobytes())
    write_object(result, header, path)
    return reference_of(result)


def _in_place(slices: Sequence[Image], boxes: VolumeMap) -> list[Image]:
    """The slices in the order of the map's positions."""
    normal = np.array(boxes.plane.normal)
    known = [(image, image.description.plane) for image in slices]
    placed = [(image, plane) for image, plane in known if plane is not None]  # all of them: the caller has looked
    placed.sort(key=lambda pair: float(np.array(pair[1].position) @ normal))
    ordered = [image for image, _ in placed]
    found = np.array([plane.position for _, plane in placed])
    if found.shape != boxes.positions.shape or np.abs(found - boxes.positions).max() > 1e-3:
        raise UsageError("The heat map is of another stack of slices; explain this one again before saving it.")
    return ordered


def _grid(ordered: Sequence[Image], boxes: VolumeMap) -> _Grid:
    rows, columns = boxes.voxels[1:]
    step = max(1, -(-max(rows, columns) // _MOST_ACROSS))
    spacing = boxes.spacing_mm[0] * step, boxes.spacing_mm[1] * step
    shift = (
        np.array(boxes.plane.column_cosine) * boxes.spacing_mm[0]
        + np.array(boxes.plane.row_cosine) * boxes.spacing_mm[1]
    )
    planes = []
    for image in ordered:
        plane = image.description.plane
        assert plane is not None  # noqa: S101 - those without were left out
        x, y, z = (float(value) for value in np.array(plane.position) + shift * (step - 1) / 2)
        planes.append(replace(plane, position=(x, y, z)))
    return _Grid(step, spacing, (-(-rows // step), -(-columns // step)), tuple(planes))
