"""Where slices lie: their order, their distance, and what is odd about them.

Positions decide, never slice thickness or file names, as long as there are positions;
what decided is said. An affine is given only where it puts every slice in its place.

Source: PS3.3 C.7.6.2 (Image Plane), 10.7 (pixel spacing). Patient coordinates are LPS, mm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from medviewer.domain.study import Caveat, Image, Plane, Stack, StackOrder

_SAME_PLACE_MM = 1e-3
_EVEN_SHARE = 0.01  # a distance off by more than this share of the usual one is uneven
_MISPLACED_SHARE = 0.1  # a slice off its place on the regular grid by more than this cannot be placed by an affine
_TILT_DEGREES = 0.1
_TURNED_PIXELS = 0.5  # a corner that lies off by more than this share of a pixel is told of


def order_stack(images: Sequence[Image]) -> Stack:
    """Put images that share a geometry in display order and say where they lie.

    Args:
        images: of one series, with one orientation and size (or without any plane).

    Returns:
        The stack: by position along the normal, else (frames of one file) as they are in it, else by instance
        number, else by acquisition time, else by file name; with its affine if the slices are even.
    """
    if len(images) == 1:
        return _stack_of_one(images[0])
    planes = [image.description.plane for image in images]
    if all(plane is not None for plane in planes):
        return _order_by_position(images, [plane for plane in planes if plane is not None])
    ordered, order = _order_without_positions(images)
    spacing = _in_plane(images[0])
    return Stack(tuple(ordered), order, None, (spacing[1], spacing[0], None))


def _in_plane(image: Image) -> tuple[float | None, float | None]:
    spacing = image.description.pixel_spacing_mm
    return (None, None) if spacing is None else spacing


def _stack_of_one(image: Image) -> Stack:
    between_rows, between_columns = _in_plane(image)
    plane = image.description.plane
    affine = None
    if plane is not None:
        # One slice has no distance to the next: the third axis is the normal, a millimetre long.
        affine = _affine(image, plane.position, np.array(plane.normal))
    return Stack((image,), "single", affine, (between_columns, between_rows, None))


def _affine(image: Image, position: Sequence[float], step: np.ndarray) -> np.ndarray | None:
    plane, spacing = image.description.plane, image.description.pixel_spacing_mm
    if plane is None or spacing is None:
        return None
    affine = np.eye(4)
    affine[:3, 0] = np.array(plane.row_cosine) * spacing[1]
    affine[:3, 1] = np.array(plane.column_cosine) * spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = position
    return affine


def _order_without_positions(images: Sequence[Image]) -> tuple[list[Image], StackOrder]:
    if len({image.path for image in images}) == 1:
        return sorted(images, key=lambda image: image.frame), "frame number"
    numbers = {image.instance_number for image in images}
    if None not in numbers and len(numbers) > 1:
        return sorted(images, key=lambda image: (image.instance_number or 0, str(image.path), image.frame)), (
            "instance number"
        )
    times = {image.acquisition_time for image in images}
    if "" not in times and len(times) > 1:
        return sorted(images, key=lambda image: (image.acquisition_time, str(image.path), image.frame)), (
            "acquisition time"
        )
    return sorted(images, key=lambda image: (str(image.path), image.frame)), "file name"


def _order_by_position(images: Sequence[Image], planes: Sequence[Plane]) -> Stack:
    normal = np.array(planes[0].normal)
    positions = np.array([plane.position for plane in planes])
    along = positions @ normal
    ties = [(image.instance_number or 0, image.acquisition_time, str(image.path), image.frame) for image in images]
    # Distances closer than a micrometre are one place: rounding in the file must not decide.
    places = np.round(along / _SAME_PLACE_MM).tolist()
    ranks = sorted(range(len(images)), key=lambda index: (places[index], ties[index]))
    ordered = tuple(images[index] for index in ranks)
    positions, along = positions[ranks], along[ranks]

    gaps = np.diff(along)
    turned, turned_mm = _turned(ordered, along)
    warnings = (*_warnings(gaps, positions, normal), *turned)
    if any(caveat.code == "slices.crossing" for caveat in turned):  # then distances and tilt mean nothing
        warnings = tuple(caveat for caveat in warnings if caveat.code in ("slices.duplicate", "slices.crossing"))
    codes = {warning.code for warning in warnings}
    between_rows, between_columns = _in_plane(ordered[0])
    if codes & {"slices.duplicate", "slices.crossing"}:
        return Stack(ordered, "position", None, (between_columns, between_rows, None), warnings)
    step = (positions[-1] - positions[0]) / (len(ordered) - 1)
    on_grid = positions[0] + np.arange(len(ordered))[:, None] * step
    off = float(np.abs(positions - on_grid).max()) + turned_mm
    spacing = float(np.median(gaps))
    is_regular = off <= _MISPLACED_SHARE * spacing
    affine = _affine(ordered[0], positions[0], step) if is_regular else None
    return Stack(ordered, "position", affine, (between_columns, between_rows, spacing), warnings)


def _warnings(gaps: np.ndarray, positions: np.ndarray, normal: np.ndarray) -> tuple[Caveat, ...]:
    found: list[Caveat] = []
    same = int((gaps < _SAME_PLACE_MM).sum())
    if same:
        found.append(Caveat("slices.duplicate", f"{same} of the images lie at the place of another one."))
    distinct = gaps[gaps >= _SAME_PLACE_MM]
    if len(distinct) > 1:
        usual = float(np.median(distinct))
        ratios = distinct / usual
        whole = np.round(ratios)
        is_missing = (whole >= 2) & (np.abs(ratios - whole) <= _MISPLACED_SHARE)
        if is_missing.any():
            count = int((whole[is_missing] - 1).sum())
            found.append(
                Caveat("slices.missing", f"{count} slices seem to be missing: gaps are multiples of {usual:g} mm.")
            )
        is_uneven = (np.abs(ratios - 1) > _EVEN_SHARE) & ~is_missing
        if is_uneven.any():
            found.append(
                Caveat(
                    "slices.irregular",
                    f"The distance between slices varies from {distinct.min():.4g} to {distinct.max():.4g} mm.",
                )
            )
    tilt = _tilt_degrees(positions, normal)
    if tilt > _TILT_DEGREES:
        found.append(
            Caveat("slices.tilt", f"The slices are stacked at {tilt:.1f} degrees to their normal (gantry tilt).")
        )
    return tuple(found)


def _turned(images: Sequence[Image], along: np.ndarray) -> tuple[tuple[Caveat, ...], float]:
    """Whether slices are turned against the first one, and how far their corners lie off by it, in mm.

    A series may hold cosines of different rounding, which moves nothing by a pixel, or slices that were made around
    an axis, a part of a degree apart: those are no planes side by side, though their first pixels say so.
    """
    planes = [image.description.plane for image in images]
    spacing = images[0].description.pixel_spacing_mm
    directions = {(plane.row_cosine, plane.column_cosine) for plane in planes if plane is not None}
    if len(directions) == 1 or spacing is None:
        return (), 0.0
    axes = np.array([(plane.row_cosine, plane.column_cosine) for plane in planes if plane is not None])
    turns = axes - axes[0]
    rows, columns = images[0].description.rows, images[0].description.columns
    across, down = (columns - 1) * spacing[1] * turns[:, 0], (rows - 1) * spacing[0] * turns[:, 1]
    corners = np.stack([across, down, across + down])
    off = float(np.linalg.norm(corners, axis=2).max())
    if off <= _TURNED_PIXELS * min(spacing):
        return (), off
    degrees = math.degrees(2 * math.asin(min(1.0, float(np.linalg.norm(turns, axis=2).max()) / 2)))
    gaps = np.diff(along + corners @ np.cross(*axes[0]), axis=1)
    if gaps.min() < -_SAME_PLACE_MM:
        text = f"The slices cross each other: they are turned by up to {degrees:.2f} degrees."
        return (Caveat("slices.crossing", text),), off
    text = (
        f"The slices are turned against each other by up to {degrees:.2f} degrees: in other planes, places may be "
        f"off by up to {off:.1f} mm."
    )
    return (Caveat("slices.turned", text),), off


def _tilt_degrees(positions: np.ndarray, normal: np.ndarray) -> float:
    way = positions[-1] - positions[0]
    along = float(way @ normal)
    across = float(np.linalg.norm(way - along * normal))
    return math.degrees(math.atan2(across, abs(along))) if along else 0.0
