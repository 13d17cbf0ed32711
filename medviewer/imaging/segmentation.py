"""DICOM segmentations: binary, fractional and label maps, placed by what each frame says of its place.

Frames may come in any order, and their numbers mean nothing: each names its segment and its position.

Source: PS3.3 A.51 (Segmentation IOD), C.8.20 (Segmentation modules), C.10.7.1.1 (CIELab).
"""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType

import numpy as np

from medviewer.domain.errors import GeometryError, InputError, TooLargeError, UnsupportedError
from medviewer.domain.layer import LabelFrame, LabelPlane, Segment, Segmentation
from medviewer.domain.presentation import References
from medviewer.domain.progress import Progress, StopToken, no_progress
from medviewer.domain.study import Caveat, Image, Plane, Stack
from medviewer.imaging import tags
from medviewer.imaging.cielab import rgb_of_lab
from medviewer.imaging.dataset import DataSet
from medviewer.imaging.decode import read_frame
from medviewer.imaging.header import read_header
from medviewer.imaging.label_planes import pixels_by_plane, plane_of
from medviewer.imaging.presentation_reading import read_references
from medviewer.imaging.reslice import PlaneGrid
from medviewer.imaging.scalar_layer import is_made_on_image

MAX_BYTES = 2**30  # of the masks in memory
_SAME_PLACE_MM = 1e-3
_GAP = 1.5  # times the thickness: planes that far apart are not neighbours
_NO_PLANE = Plane((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))  # of what lies on an image's pixels

FRACTIONS = "The segments are fractional: what is at least half of a voxel is outlined."


def read_segmentation(stack: Stack, *, progress: Progress = no_progress, stop: StopToken | None = None) -> Segmentation:
    """Read the frames of a segmentation that lie parallel, or on the pixels of the one image that they were made on.

    Args:
        stack: of a segmentation object.
        progress: told after each frame.
        stop: gives up between frames.

    Raises:
        GeometryError: the file does not say where its frames lie.
        UnsupportedError: a kind of segmentation that is not known.
        InputError: the file cannot be read, or has been replaced.
        TooLargeError: the segments take too much memory.
        Stopped: ``stop`` was used.
    """
    first = stack.images[0]
    on = first.made_on if is_made_on_image(stack) else None
    plane, spacing = check_segmentation(stack) if on is None else (_NO_PLANE, (1.0, 1.0))
    dataset = read_header(first.file).dataset
    if dataset.text(tags.SOP_INSTANCE_UID) != first.sop_instance_uid:
        raise InputError("The file has changed since it was opened; open it again.")
    kind = dataset.text(tags.SEGMENTATION_TYPE)
    if kind not in ("BINARY", "FRACTIONAL", "LABELMAP"):
        raise UnsupportedError(f"Segmentations of the type “{kind}” are not read; export it as a binary one.")
    frames: list[LabelFrame] = []
    caveats: dict[Caveat, None] = {}
    size = 0
    for index, image in enumerate(stack.images, start=1):
        frame = read_frame(image, stop=stop, as_indices=True)
        caveats |= dict.fromkeys(frame.caveats)
        for number, mask in _masks(kind, frame.stored, dataset, image.frame):
            one = _cropped(number, mask, image)
            frames += one
            size += sum(cropped.mask.nbytes for cropped in one)
        if size > MAX_BYTES:
            raise TooLargeError("The segments take too much memory; look at the segmentation by itself.")
        progress(index, len(stack.images), "Reading the layer")
    shape = (first.description.rows, first.description.columns)
    return Segmentation(
        _segments(dataset, frames), tuple(frames), plane.row_cosine, plane.column_cosine, spacing,
        _thickness_mm(stack, dataset) if on is None else 0.0, first.frame_of_reference_uid, _references(dataset),
        remark=FRACTIONS if kind == "FRACTIONAL" else "", caveats=tuple(caveats),
        on=on, as_plane=_on_pixels(frames, shape) if on is not None else None, shape=shape,
    )  # fmt: skip


def _on_pixels(frames: list[LabelFrame], shape: tuple[int, int]) -> LabelPlane:
    """The segments on the pixels of their own frames, which are those of the image that they were made on."""
    masks: dict[int, np.ndarray] = {}
    for frame in frames:
        mask = masks.setdefault(frame.segment, np.zeros(shape, bool))
        rows, columns = frame.mask.shape
        mask[frame.row : frame.row + rows, frame.column : frame.column + columns] |= frame.mask
    return plane_of(masks)


def check_segmentation(stack: Stack) -> tuple[Plane, tuple[float, float]]:
    """Give the plane and the spacing of the first frame, before anything is read.

    Raises:
        GeometryError: the file does not say where its frames lie.
    """
    planes = [image.description.plane for image in stack.images]
    first, spacing = planes[0], stack.images[0].description.pixel_spacing_mm
    if first is None or None in planes or spacing is None or not stack.images[0].frame_of_reference_uid:
        raise GeometryError("The segmentation does not say where it lies in the patient; look at it by itself.")
    return first, spacing


def lay_segmentation(layer: Segmentation, grid: PlaneGrid) -> LabelPlane:
    """Give the segments on a plane; the nearest voxel decides, as far as the segmentation reaches.

    Args:
        layer: of the plane's frame of reference.
        grid: the pixels wanted.
    """
    return plane_of(masks_on(layer, grid))


def masks_on(layer: Segmentation, grid: PlaneGrid) -> dict[int, np.ndarray]:
    """Give the masks ``(rows, columns)`` of the segments that a plane meets, by their numbers."""
    right, down = np.array(layer.row_cosine), np.array(layer.column_cosine)
    normal = np.cross(right, down)
    if not layer.frames:
        return {}
    places = np.array([frame.position for frame in layer.frames]) @ normal
    along, of_place = np.unique(np.round(places / _SAME_PLACE_MM), return_inverse=True)
    masks: dict[int, np.ndarray] = {}
    for pixels in pixels_by_plane(grid, normal, along * _SAME_PLACE_MM, layer.thickness_mm):
        looked_up: dict[tuple[float, float, float], tuple[np.ndarray, np.ndarray]] = {}
        for index in np.flatnonzero(of_place == pixels.plane):
            frame = layer.frames[index]
            if frame.position not in looked_up:  # segments of one plane share its place
                away = pixels.points - np.array(frame.position)
                looked_up[frame.position] = (
                    np.rint(away @ down / layer.spacing_mm[0]).astype(np.intp),
                    np.rint(away @ right / layer.spacing_mm[1]).astype(np.intp),
                )
            here = _inside(frame, *looked_up[frame.position])
            if len(here):
                mask = masks.setdefault(frame.segment, np.zeros(grid.shape, bool))
                mask[pixels.rows[here], pixels.columns[here]] = True
    return masks


def _inside(frame: LabelFrame, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Which of some pixels (by their row and column of the whole plane) lie in a frame's mask."""
    bottom, right = frame.row + frame.mask.shape[0], frame.column + frame.mask.shape[1]
    near = np.flatnonzero((rows >= frame.row) & (rows < bottom))
    near = near[(columns[near] >= frame.column) & (columns[near] < right)]
    return np.asarray(near[frame.mask[rows[near] - frame.row, columns[near] - frame.column]])


def _masks(kind: str, stored: np.ndarray, dataset: DataSet, frame: int) -> Iterator[tuple[int, np.ndarray]]:
    """The segments of a frame, each with its mask."""
    if stored.ndim != 2:
        raise UnsupportedError("The segmentation is in colour, which is not read; export it as a binary one.")
    if kind == "LABELMAP":
        for number in np.unique(stored):
            if number != 0:  # the background (PS3.3 C.8.20.2.3.3)
                yield int(number), stored == number
        return
    per_frame = dataset.items(tags.PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE)
    own = per_frame[frame] if frame < len(per_frame) else DataSet()
    shared = dataset.item(tags.SHARED_FUNCTIONAL_GROUPS_SEQUENCE)
    named = own.items(tags.SEGMENT_IDENTIFICATION_SEQUENCE) or shared.items(tags.SEGMENT_IDENTIFICATION_SEQUENCE)
    number = named[0].integer(tags.REFERENCED_SEGMENT_NUMBER) if named else None
    if number is None:
        raise InputError("A frame of the segmentation does not say which segment it is of; ask for the file again.")
    if kind == "FRACTIONAL":
        most = dataset.integer(tags.MAXIMUM_FRACTIONAL_VALUE) or 255
        yield number, stored.astype(np.float32) >= most / 2
    else:
        yield number, stored > 0


def _cropped(segment: int, mask: np.ndarray, image: Image) -> list[LabelFrame]:
    """A frame without its empty border; nothing of an empty one, or of one that lies nowhere."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    plane = image.description.plane or (_NO_PLANE if image.made_on is not None else None)
    if not len(rows) or plane is None:
        return []
    part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].copy()
    return [LabelFrame(segment, plane.position, int(rows[0]), int(columns[0]), part)]


def _thickness_mm(stack: Stack, dataset: DataSet) -> float:
    """How thick a plane is: the distance between neighbours; of planes with others missing in between, their own."""
    planes = [image.description.plane for image in stack.images]
    normal = np.array(planes[0].normal) if planes[0] is not None else np.zeros(3)
    along = np.sort([float(np.array(plane.position) @ normal) for plane in planes if plane is not None])
    gaps = np.diff(along)
    gaps = gaps[gaps >= _SAME_PLACE_MM]
    measures = dataset.item(tags.SHARED_FUNCTIONAL_GROUPS_SEQUENCE).item(tags.PIXEL_MEASURES_SEQUENCE)
    for item in dataset.items(tags.PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE)[:1]:
        measures = item.items(tags.PIXEL_MEASURES_SEQUENCE)[0] if item.items(tags.PIXEL_MEASURES_SEQUENCE) else measures
    told = [measures.number(tag) for tag in (tags.SPACING_BETWEEN_SLICES, tags.SLICE_THICKNESS)]
    between, thick = (abs(value) if value is not None and 0 < abs(value) < 1e4 else None for value in told)
    smallest = float(gaps.min()) if len(gaps) else None
    if between is not None and (smallest is None or smallest >= between * (1 - 1 / 8)):
        return between
    if smallest is None:
        return thick or 0.0
    return smallest if thick is None or smallest <= _GAP * thick else thick


def _segments(dataset: DataSet, frames: list[LabelFrame]) -> tuple[Segment, ...]:
    """The segments that the file describes, then those that only frames name."""
    found: dict[int, Segment] = {}
    for item in dataset.items(tags.SEGMENT_SEQUENCE):
        number = item.integer(tags.SEGMENT_NUMBER)
        if number is not None:
            lab = item.numbers(tags.RECOMMENDED_DISPLAY_CIELAB_VALUE)
            color = rgb_of_lab((lab[0], lab[1], lab[2])) if len(lab) == 3 else None
            found.setdefault(number, Segment(number, item.text(tags.SEGMENT_LABEL), color))
    drawn = {frame.segment for frame in frames}
    for number in sorted(drawn - found.keys()):
        found[number] = Segment(number, "")
    return tuple(segment for number, segment in found.items() if number in drawn)


def _references(dataset: DataSet) -> References:
    """The images that the file says it was made on; their frames stand beside what each plane was derived from."""
    listed = [
        one
        for series in dataset.items(tags.REFERENCED_SERIES_SEQUENCE)
        for one in series.items(tags.REFERENCED_INSTANCE_SEQUENCE)
    ]
    groups = [
        dataset.item(tags.SHARED_FUNCTIONAL_GROUPS_SEQUENCE),
        *dataset.items(tags.PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE),
    ]
    derived = [
        one
        for group in groups
        for derivation in group.items(tags.DERIVATION_IMAGE_SEQUENCE)
        for one in derivation.items(tags.SOURCE_IMAGE_SEQUENCE)
    ]
    return MappingProxyType({**read_references(listed), **read_references(derived)})
