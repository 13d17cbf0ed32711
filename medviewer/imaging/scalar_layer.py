"""A series as values to lay over another one: PET as SUV where the file allows it, dose in Gy, parametric maps.

Values are turned into their unit before anything is interpolated, and stay what they are:
outside of the volume, beside padding and in gaps there is nothing, which is not zero.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from medviewer.domain.errors import GeometryError, InputError, TooLargeError, UnsupportedError
from medviewer.domain.layer import ScalarLayer, ScalarPlane
from medviewer.domain.progress import Progress, StopToken, no_progress
from medviewer.domain.study import Image, PixelDescription, Stack
from medviewer.domain.volume import Volume
from medviewer.imaging.decode import read_frame
from medviewer.imaging.description import SEGMENTATION_STORAGES
from medviewer.imaging.display import to_modality
from medviewer.imaging.parametric_map import PARAMETRIC_MAP_STORAGE
from medviewer.imaging.reslice import PlaneGrid, Slab, reslice
from medviewer.imaging.rt_dose import RT_DOSE_STORAGE
from medviewer.imaging.suv import common_suv
from medviewer.imaging.units import value_unit
from medviewer.imaging.volume import read_volume

MAX_BYTES = 2**30  # of the values in memory
NOT_AN_OUTLINE = "It shows where a model looked, not the outline of a lesion."
_SUV_RANGE = (0.0, 10.0)
_SAMPLE = 1 << 20


def read_scalar_layer(stack: Stack, *, progress: Progress = no_progress, stop: StopToken | None = None) -> ScalarLayer:
    """Read a stack as values in their unit.

    Args:
        stack: greyscale, two slices or more in known places, of one frame of reference.
        progress: told after each slice.
        stop: gives up between slices.

    Raises:
        GeometryError: the files do not say where the values lie, or say it twice.
        TooLargeError: there are too many.
        InputError: the values cannot be read, or mean different things in different slices.
        Stopped: ``stop`` was used.
    """
    if is_made_on_image(stack):
        return _read_map(stack.images[0], stop)
    check_stack(stack)
    images = stack.images
    name, unit, scale, remark = _meaning(images)
    volume = read_volume(stack, progress=progress, stop=stop)
    values = np.empty(volume.stored.shape, np.float32)
    for index, stored in enumerate(volume.stored):
        if stop is not None:
            stop.raise_if_stopped()
        values[index] = _values(stored, volume.description, scale)
    values.setflags(write=False)
    plain = replace(
        volume.description, rescale_slope=1.0, rescale_intercept=0.0, modality_lut=None, pixel_padding_range=None,
        real_world=None, windows=(), voi_luts=(),
    )  # fmt: skip
    layer = ScalarLayer(
        Volume(values, volume.positions, plain, volume.caveats), plain.modality, name, unit, (0.0, 1.0),
        images[0].frame_of_reference_uid, remark,
    )  # fmt: skip
    return replace(layer, range=_range(layer))


def is_made_on_image(stack: Stack) -> bool:
    """Whether it lies pixel on pixel on the one image that it names, wherever that is: one map, or segments of one."""
    first = stack.images[0]
    if first.made_on is None or any(image.made_on != first.made_on for image in stack.images):
        return False
    return len(stack.images) == 1 or first.description.sop_class_uid in SEGMENTATION_STORAGES


def _read_map(image: Image, stop: StopToken | None) -> ScalarLayer:
    """A map of one image: its values have a place on that image's pixels, and need none in the patient."""
    frame = read_frame(image, stop=stop)
    name, unit, scale, remark = _meaning((image,))
    values = _values(frame.stored, image.description, scale).astype(np.float32)[None]
    values.setflags(write=False)
    plain = replace(image.description, real_world=None, windows=(), voi_luts=())
    volume = Volume(values, np.zeros((1, 3)), plain, frame.caveats)
    own = ScalarLayer(
        volume, plain.modality, name, unit, (0.0, 1.0), image.frame_of_reference_uid, remark, on=image.made_on
    )
    shown = image.description.windows[0] if image.description.windows else None
    if shown is None or shown.width <= 0:
        return replace(own, range=_range(own))
    return replace(own, range=(shown.center - shown.width / 2, shown.center + shown.width / 2))


def check_stack(stack: Stack) -> None:
    """Refuse what cannot be laid over anything, before it is read.

    Raises:
        GeometryError, TooLargeError, InputError: as :func:`read_scalar_layer`.
    """
    references = {image.frame_of_reference_uid for image in stack.images}
    if len(references) != 1 or "" in references:
        raise GeometryError("The series does not say in which frame of reference it lies; look at it by itself.")
    if len(stack.images) < 2:
        raise GeometryError("One slice is no volume, so it cannot be laid over other images; look at it by itself.")
    if stack.axis is not None or any(warning.code == "slices.duplicate" for warning in stack.warnings):
        raise GeometryError(
            "Several images of the series lie at one place, and which of them is meant is not said; "
            "look at it by itself."
        )
    if stack.order != "position" or stack.images[0].description.pixel_spacing_mm is None:
        raise GeometryError("The series does not say where each slice lies in the patient; look at it by itself.")
    d = stack.images[0].description
    if d.samples_per_pixel != 1 or d.photometric_interpretation == "PALETTE COLOR":
        raise InputError("Colour images cannot be laid over others; choose a greyscale series.")
    if len(stack.images) * d.rows * d.columns * 4 > MAX_BYTES:
        raise TooLargeError("The series is too large to be laid over another one; look at it by itself.")


def lay_scalar(layer: ScalarLayer, grid: PlaneGrid, *, slab_mm: float = 0.0, slab: Slab = "mean") -> ScalarPlane:
    """Give the values on a plane, interpolated where they lie in the patient.

    Args:
        layer: of the plane's frame of reference.
        grid: the pixels wanted.
        slab_mm: thickness, as of the image that it is laid over.
        slab: how values are combined.

    Raises:
        GeometryError: as :func:`reslice`.
    """
    stored = reslice(layer.volume, grid, slab_mm=slab_mm, slab=slab).stored
    return ScalarPlane(np.asarray(stored, np.float32))


def _values(stored: np.ndarray, description: PixelDescription, scale: float) -> np.ndarray:
    """Stored values in the layer's unit; NaN for padding and for what a map does not map."""
    wide = stored.astype(np.float64)
    mapping, padding = description.real_world, description.pixel_padding_range
    values = to_modality(wide, description) * scale
    if mapping is not None:
        values = wide * mapping.slope + mapping.intercept
        if mapping.first is not None:
            values[wide < mapping.first] = np.nan
        if mapping.last is not None:
            values[wide > mapping.last] = np.nan
    if padding is not None:
        values[(stored >= padding[0]) & (stored <= padding[1])] = np.nan
    values[~np.isfinite(values)] = np.nan
    return values


def _meaning(images: tuple[Image, ...]) -> tuple[str, str, float, str]:
    """The quantity, its unit, the factor from modality values, and what must be said."""
    d = images[0].description
    if any(image.description.real_world != d.real_world for image in images):
        raise UnsupportedError("The values of the map mean different things in different slices; look at it by itself.")
    if any(value_unit(image.description) != value_unit(d) for image in images):
        raise UnsupportedError("The slices of the series have different units; look at it by itself.")
    if d.real_world is not None:
        return d.real_world.name, d.real_world.unit, 1.0, NOT_AN_OUTLINE if d.real_world.is_explanation else ""
    if d.sop_class_uid == PARAMETRIC_MAP_STORAGE:
        return "", "", 1.0, "The file gives no single mapping to a unit: stored values are shown."
    if d.sop_class_uid == RT_DOSE_STORAGE:
        return d.value_name, d.value_unit, 1.0, "" if d.value_unit else "The file does not give the dose in Gy."
    if d.modality == "PT":
        factor, reason = common_suv([image.description for image in images])
        return ("SUVbw", "g/ml", factor, "") if factor is not None else ("", d.value_unit, 1.0, reason)
    return "", value_unit(d), 1.0, ""


def _range(layer: ScalarLayer) -> tuple[float, float]:
    """From nothing to the highest for what has a natural zero; else all but the outermost values."""
    stored = layer.volume.stored
    step = max(1, round((stored.size / _SAMPLE) ** (1 / 3)))
    sample = stored[::step, ::step, ::step]
    sample = sample[np.isfinite(sample)]
    if sample.size == 0:
        raise InputError("The series holds no value at all; look at it by itself.")
    low, high = (float(value) for value in np.percentile(sample, (0.1, 99.9)))
    if layer.name == "SUVbw":
        low, high = _SUV_RANGE[0], min(_SUV_RANGE[1], float(np.nanmax(stored)))
    elif layer.volume.description.sop_class_uid == RT_DOSE_STORAGE:
        low, high = 0.0, float(np.nanmax(stored))
    elif layer.modality in ("PT", "NM"):
        low = 0.0
    return (low, high) if high > low else (low, low + 1.0)
