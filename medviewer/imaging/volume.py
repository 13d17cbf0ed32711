"""A stack's files into one volume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from itertools import repeat

import numpy as np

from medviewer.domain.errors import GeometryError, InputError
from medviewer.domain.frame import Frame
from medviewer.domain.progress import Progress, StopToken, no_progress
from medviewer.domain.study import Caveat, Image, PixelDescription, Plane, Stack, Window
from medviewer.domain.volume import Volume
from medviewer.imaging.decode import read_frame
from medviewer.imaging.display import default_window, modality_values
from medviewer.imaging.header import NATIVE_SYNTAXES
from medviewer.imaging.plain_pixels import read_plain
from medviewer.imaging.reslice import padding_value
from medviewer.imaging.suv import common_suv
from medviewer.imaging.units import is_in_hounsfield

_SAME_PLACE_MM = 1e-3  # as in geometry: closer than a micrometre is one place
_SAMPLE = 1 << 20  # values: enough for the range of a volume
_DECODERS = 2  # threads that wait for processes


def read_volume(stack: Stack, *, progress: Progress = no_progress, stop: StopToken | None = None) -> Volume:
    """Read every slice of a stack into one block.

    Stored values keep their type, so that a thousand slices of 512 x 512 take half a
    gigabyte and not two. Of slices at one place the first counts. Rows that a file does not hold are padding.

    Args:
        stack: two slices or more of one orientation, greyscale, with position and spacing; one volume, as
            :meth:`Stack.volume_at` gives it.
        progress: told after each slice.
        stop: gives up between slices.

    Raises:
        GeometryError: the files do not say where the slices lie, or they are several volumes.
        InputError: the images are in colour, or a slice cannot be read.
        Stopped: ``stop`` was used.
    """
    if stack.axis is not None:
        raise GeometryError(
            f"The series holds {stack.axis.size} volumes of the same places, and planes are cut through one; "
            "choose one of them."
        )
    images = _placed(stack)
    first = read_frame(images[0], stop=stop)
    if first.is_color:
        raise InputError("Colour images cannot be cut in other planes; choose a greyscale series.")
    is_uniform = len({_scaling(image) for image in images}) == 1
    shape = (len(images), *first.stored.shape)
    stored = np.empty(shape, first.stored.dtype if is_uniform else np.float32)
    caveats = dict.fromkeys((*stack.warnings, *_duplicates(stack, images)))
    found, missing = _fill(stored, images, first, progress, stop, is_uniform=is_uniform)
    caveats |= found
    description = images[0].description
    if not is_uniform:
        description = replace(
            description, rescale_slope=1.0, rescale_intercept=0.0, modality_lut=None, pixel_padding_range=None,
            rescale_type=_common_type([image.description for image in images]),
        )  # fmt: skip
    if missing:
        stored, description = _without_missing(stored, description, missing)
    stored.flags.writeable = False
    factor, reason = common_suv([image.description for image in images])
    description = replace(description, suv_factor=factor, no_suv_because=reason)
    description = replace(description, windows=_windows(images, stored, description))
    positions = np.array([_plane(image).position for image in images])
    return Volume(stored, positions, description, tuple(caveats))


def _fill(
    stored: np.ndarray,
    images: Sequence[Image],
    first: Frame,
    progress: Progress,
    stop: StopToken | None,
    *,
    is_uniform: bool,
) -> tuple[dict[Caveat, None], dict[int, int]]:
    """Read all slices into the block; give their caveats, and how many rows are missing at the end of which."""
    missing: dict[int, int] = {}
    done = 0

    def fill(index: int, found: tuple[Caveat, ...] | None) -> tuple[Caveat, ...]:
        nonlocal done
        if stop is not None:
            stop.raise_if_stopped()
        if found is None:
            room = stored[index]
            frame = first if index == 0 else read_frame(images[index], stop=stop, into=room if is_uniform else None)
            values = _checked(frame, stored, is_uniform=is_uniform)
            if not np.may_share_memory(values, room):
                room[:] = values
            if frame.missing_rows:
                missing[index] = frame.missing_rows
            found = frame.caveats
        done += 1
        progress(done, len(images), "Reading slices")
        return found

    is_plain = all(image.description.transfer_syntax_uid in NATIVE_SYNTAXES for image in images)
    read = read_plain(images, stored, stop) if is_plain and is_uniform else repeat(None, len(images))
    with nullcontext() if is_plain else ThreadPoolExecutor(_DECODERS) as pool:
        found = [caveat for told in (pool.map if pool else map)(fill, range(len(images)), read) for caveat in told]
    return dict.fromkeys(found), missing


def _common_type(descriptions: Sequence[PixelDescription]) -> str:
    """What modality values are counted in: of a CT that leaves it out, its scaling has told, which is gone now."""
    in_hounsfield = [is_in_hounsfield(one) for one in descriptions]
    if any(in_hounsfield):
        return "HU" if all(in_hounsfield) else "US"
    return descriptions[0].rescale_type


def _without_missing(
    stored: np.ndarray, description: PixelDescription, missing: Mapping[int, int]
) -> tuple[np.ndarray, PixelDescription]:
    """The block with padding, of which nothing is cut or drawn, where slices have no rows of their own."""
    value: float = np.nan
    if stored.dtype.kind != "f":
        if description.pixel_padding_range is None:
            dtype, value = padding_value(stored.dtype, description.bits_stored, is_signed=description.is_signed)
            stored = stored.astype(dtype, copy=False)
            description = replace(description, pixel_padding_range=(value, value))
        else:
            value = description.pixel_padding_range[0]
    for index, rows in missing.items():
        stored[index, -rows:] = value
    return stored, description


def _windows(images: Sequence[Image], stored: np.ndarray, description: PixelDescription) -> tuple[Window, ...]:
    """The windows that the slices have in common; else one over the values of the whole volume.

    MR scanners write another window into every slice: that of the first one, often empty, would
    show all else white. One for the volume also keeps planes from flickering while they move.
    """
    own = images[0].description.windows
    if own and all(image.description.windows == own for image in images):
        return own
    step = max(1, round((stored.size / _SAMPLE) ** (1 / 3)))
    sample = stored[::step, ::step, ::step].ravel()
    padding = description.pixel_padding_range
    if padding is not None:
        sample = sample[(sample < padding[0]) | (sample > padding[1])]
    frame = Frame(sample.reshape(1, -1), replace(description, windows=(), voi_luts=()))
    return (replace(default_window(frame), name=""),)


def _placed(stack: Stack) -> list[Image]:
    """The slices in order, one at each place.

    Raises:
        GeometryError: there are not two places.
    """
    if stack.order != "position" or stack.images[0].description.pixel_spacing_mm is None:
        raise GeometryError(
            "The files do not say where each slice lies in the patient, so no other plane can be cut; "
            "look at the slices as they are."
        )
    positions = np.array([_plane(image).position for image in stack.images])
    images: list[Image] = []
    last = -np.inf
    for image, along in zip(stack.images, (positions @ _plane(stack.images[0]).normal).tolist(), strict=True):
        if along - last >= _SAME_PLACE_MM:
            images.append(image)
            last = along
    if len(images) < len(stack.images) and any(caveat.code == "axis.incomplete" for caveat in stack.warnings):
        raise GeometryError(
            "Several images lie at the same place and the files do not tell which of them belong together, so no "
            "other plane can be cut; look at the slices as they are."
        )
    if any(caveat.code == "slices.crossing" for caveat in stack.warnings):
        raise GeometryError(
            "The slices of the series cross each other, so no other plane can be cut; look at the slices as they are."
        )
    if len(images) < 2:
        raise GeometryError("All slices lie at one place, so no other plane can be cut.")
    return images


def _plane(image: Image) -> Plane:
    plane = image.description.plane
    assert plane is not None  # noqa: S101 - a stack in order of position has a plane on every image
    return plane


def _duplicates(stack: Stack, images: Sequence[Image]) -> tuple[Caveat, ...]:
    left_out = len(stack.images) - len(images)
    if not left_out:
        return ()
    words = "1 slice lies" if left_out == 1 else f"{left_out} slices lie"
    return (Caveat("slices.left-out", f"{words} at the place of another one and are left out of other planes."),)


def _scaling(image: Image) -> tuple[object, ...]:
    d = image.description
    return (d.rescale_slope, d.rescale_intercept, id(d.modality_lut) if d.modality_lut else 0, d.pixel_padding_range)


def _checked(frame: Frame, stored: np.ndarray, *, is_uniform: bool) -> np.ndarray:
    values = frame.stored if is_uniform else _modality_values(frame)
    if values.shape != stored.shape[1:] or values.dtype != stored.dtype:
        raise InputError("The slices of the series are stored in different ways, so no other plane can be cut.")
    return values


def _modality_values(frame: Frame) -> np.ndarray:
    """A slice in the modality's unit; NaN for padding, which has another value in each slice once it is rescaled."""
    values = modality_values(frame)
    padding = frame.description.pixel_padding_range
    if padding is not None:
        values[(frame.stored >= padding[0]) & (frame.stored <= padding[1])] = np.nan
    return values
