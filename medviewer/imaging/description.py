"""From a file's header to the images in it, each with what is needed to show and measure it."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeAlias

import numpy as np

from medviewer.domain.study import Caveat, Image, LookUpTable, PixelDescription, Plane, VoiFunction, Window
from medviewer.imaging import code_stream, tags
from medviewer.imaging.codecs import JPEG_LS_NEAR, LOSSY_SYNTAXES, MAYBE_LOSSY_SYNTAXES
from medviewer.imaging.dataset import DataSet
from medviewer.imaging.functional_groups import FunctionalGroups
from medviewer.imaging.header import Header, stamp_of
from medviewer.imaging.parametric_map import PARAMETRIC_MAP_STORAGE, read_real_world
from medviewer.imaging.pixel_format import PixelFormat, read_pixel_format
from medviewer.imaging.rt_dose import RT_DOSE_STORAGE, describe_dose
from medviewer.imaging.second_axis import read_axis_values
from medviewer.imaging.spacing import Spacing, read_aspect_ratio, read_spacing
from medviewer.imaging.suv import read_suv
from medviewer.imaging.ultrasound import read_regions

SEGMENTATION_STORAGES = frozenset({"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"})
"""The SOP Classes of segmentations: by frames, and as a label map."""

_VOI_FUNCTIONS: dict[str, VoiFunction] = {"LINEAR_EXACT": "LINEAR_EXACT", "SIGMOID": "SIGMOID"}


def describe_images(header: Header, path: Path) -> tuple[Image, ...]:
    """Give every frame of a file as an image.

    Raises:
        InputError: as :func:`read_pixel_format`.
    """
    format_ = read_pixel_format(header)
    dataset = header.dataset
    caveats = missing_pixels(header, format_)
    shared = dataset.item(tags.SHARED_FUNCTIONAL_GROUPS_SEQUENCE)
    per_frame = dataset.items(tags.PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE)
    common = _describe_common(header, format_)
    single = None if per_frame else _describe_frame(common, FunctionalGroups(dataset, shared, DataSet()))
    frame_rate, is_rate_mean = _frame_rate_hz(dataset)
    stamp = stamp_of(header)
    images: list[Image] = []
    tables: dict[tuple[int, bool], LookUpTable | None] = {}
    for frame in range(format_.frames):
        groups = FunctionalGroups(dataset, shared, per_frame[frame] if frame < len(per_frame) else DataSet(), tables)
        description, found = single or _describe_frame(common, groups)
        if header.sop_class_uid == RT_DOSE_STORAGE:
            description, doubts = describe_dose(description, dataset, frame, format_.frames)
            found = found + doubts
        images.append(
            Image(
                path=path,
                frame=frame,
                sop_instance_uid=dataset.text(tags.SOP_INSTANCE_UID),
                description=description,
                instance_number=dataset.integer(tags.INSTANCE_NUMBER),
                number_of_frames=format_.frames,
                acquisition_time=acquisition_time(groups),
                frame_rate_hz=frame_rate,
                is_rate_mean=is_rate_mean,
                axis_values=read_axis_values(dataset, groups.item),
                warnings=caveats + found,
                stamp=stamp,
                frame_of_reference_uid=dataset.text(tags.FRAME_OF_REFERENCE_UID),
                made_on=_made_on(groups) if _lies_on_pixels(header, description) else None,
            )
        )
    return tuple(images)


def _lies_on_pixels(header: Header, description: PixelDescription) -> bool:
    """Whether a frame has its place on another image's pixels: a map, or segments without a place of their own."""
    is_unplaced = header.sop_class_uid in SEGMENTATION_STORAGES and description.plane is None
    return is_unplaced or header.sop_class_uid == PARAMETRIC_MAP_STORAGE


def _made_on(groups: FunctionalGroups) -> tuple[str, int | None] | None:
    """The one image that a frame was derived from with every pixel left where it was (PS3.3 C.7.6.16.2.6).

    Without a frame all frames of that image are meant (Table 10-3).
    """
    derived = [
        source
        for derivation in groups.items(tags.DERIVATION_IMAGE_SEQUENCE)
        for source in derivation.items(tags.SOURCE_IMAGE_SEQUENCE)
    ]
    if len(derived) != 1 or derived[0].text(tags.SPATIAL_LOCATIONS_PRESERVED) != "YES":
        return None
    uid, frame = derived[0].text(tags.REFERENCED_SOP_INSTANCE_UID), derived[0].integer(tags.REFERENCED_FRAME_NUMBER)
    return (uid, frame - 1 if frame is not None else None) if uid else None


def missing_pixels(header: Header, format_: PixelFormat) -> tuple[Caveat, ...]:
    """Say how much of an uncompressed image its file does not hold; nothing where it is whole."""
    pixels = header.pixels
    if pixels is None or header.is_encapsulated:
        return ()
    there = min(pixels.length, header.content_size - pixels.offset)
    if there * 8 < format_.frame_bits * format_.frames:
        share = 100 * there * 8 / (format_.frame_bits * format_.frames)
        return (Caveat("truncated", f"The file holds only {share:.0f}% of the pixels that its header promises."),)
    return ()


def _frame_rate_hz(dataset: DataSet) -> tuple[float | None, bool]:
    """Give the rate at which frames are meant to be played (PS3.3 C.7.6.5): the wish first, then how they were made.

    The second value says that it is a mean, as the frames did not follow each other evenly.
    """
    for tag in (tags.RECOMMENDED_DISPLAY_FRAME_RATE, tags.CINE_RATE):
        rate = _positive(dataset.number(tag))
        if rate is not None:
            return min(rate, _MAX_RATE_HZ), False
    frame_time_ms = _positive(dataset.number(tags.FRAME_TIME))
    if frame_time_ms is not None:
        return min(1000 / frame_time_ms, _MAX_RATE_HZ), False
    steps_ms = np.array(dataset.numbers(tags.FRAME_TIME_VECTOR)[1:])  # the first stands for the first frame
    mean_ms = float(steps_ms.mean()) if len(steps_ms) and np.isfinite(steps_ms).all() and steps_ms.min() >= 0 else 0.0
    if not 0 < mean_ms < math.inf:
        return None, False
    is_uneven = bool((np.abs(steps_ms - mean_ms) > _UNEVEN * mean_ms).any())
    return min(1000 / mean_ms, _MAX_RATE_HZ), is_uneven


_UNEVEN = 0.1  # less is rounding to whole milliseconds, which no eye sees
_MAX_RATE_HZ = 120.0  # more is no rate at which anything is looked at


def acquisition_time(groups: FunctionalGroups) -> str:
    """Give when a frame was acquired, as the file writes it; "" where it does not."""
    content = groups.item(tags.FRAME_CONTENT_SEQUENCE)
    return (
        content.text(tags.FRAME_ACQUISITION_DATE_TIME)
        or groups.dataset.text(tags.ACQUISITION_DATE_TIME)
        or groups.dataset.text(tags.ACQUISITION_TIME)
    )


def _describe_common(header: Header, format_: PixelFormat) -> PixelDescription:
    """Describe what all frames of a file share."""
    dataset = header.dataset
    suv = read_suv(dataset, header.sop_class_uid)
    burnt_in = {"YES": True, "NO": False}.get(dataset.text(tags.BURNED_IN_ANNOTATION))
    return PixelDescription(
        modality=dataset.text(tags.MODALITY),
        rows=format_.rows,
        columns=format_.columns,
        samples_per_pixel=format_.samples,
        photometric_interpretation=format_.photometric,
        bits_stored=format_.bits_stored,
        is_signed=format_.is_signed,
        pixel_padding_range=_padding_range(dataset, format_),
        body_part_examined=dataset.text(tags.BODY_PART_EXAMINED),
        view_position=dataset.text(tags.VIEW_POSITION) or _coded_view(dataset),
        pixel_aspect_ratio=read_aspect_ratio(dataset),
        ultrasound_regions=read_regions(dataset),
        value_unit=suv.unit,
        suv_factor=suv.factor,
        no_suv_because=suv.reason,
        sop_class_uid=header.sop_class_uid,
        transfer_syntax_uid=header.transfer_syntax_uid,
        is_lossy=_is_lossy(header, format_),
        lossy_ratio=_positive(dataset.number(tags.LOSSY_IMAGE_COMPRESSION_RATIO)),
        has_burnt_in_annotation=burnt_in,
    )


def _is_lossy(header: Header, format_: PixelFormat) -> bool | None:
    """Whether compression has changed the values; None where neither header nor code stream tells."""
    syntax = header.transfer_syntax_uid
    if header.dataset.text(tags.LOSSY_IMAGE_COMPRESSION) == "01" or syntax in LOSSY_SYNTAXES:
        return True
    if syntax not in MAYBE_LOSSY_SYNTAXES:
        return False
    if syntax == JPEG_LS_NEAR:
        # Only the first frame is looked at, and the others may be another matter.
        is_exact = code_stream.jpeg_ls_near(header.first_bytes) == 0
        return (None if format_.frames > 1 else False) if is_exact else True
    # A reversible transform proves nothing: bits may have been left out after it.
    return True if code_stream.is_irreversible(header.first_bytes) else None


# PS3.16 CID 4010 and 4014, in SNOMED CT and in the SNOMED RT that older systems write, as View Position says it.
_VIEWS = {
    **dict.fromkeys(("272479007", "R-10214", "R-40888"), "PA"),
    **dict.fromkeys(("399348003", "R-10206"), "AP"),
    **dict.fromkeys(("399173006", "R-10236"), "LL"),
    **dict.fromkeys(("399198007", "R-10232"), "RL"),
    **dict.fromkeys(("399368009", "R-10226"), "MLO"),
    **dict.fromkeys(("399162004", "R-10242"), "CC"),
    **dict.fromkeys(("399033003", "R-10202"), ""),  # frontal: from before or from behind is not said
}


def _coded_view(dataset: DataSet) -> str:
    """Give the view that a digital radiograph states by a code instead of a word; "" if it states none."""
    item = dataset.item(tags.VIEW_CODE_SEQUENCE)
    code = item.text(tags.CODE_VALUE)
    return _VIEWS.get(code, item.text(tags.CODE_MEANING).upper() or code)


def _positive(value: float | None) -> float | None:
    return value if value is not None and value > 0 else None


def _padding_range(dataset: DataSet, format_: PixelFormat) -> tuple[float, float] | None:
    """Give the stored values that are padding (PS3.3 C.7.5.1.1.2, C.7.6.24, C.7.6.25), with the sign of the pixels."""
    if format_.is_float:
        return _float_padding_range(dataset, format_)
    value = dataset.integer(tags.PIXEL_PADDING_VALUE)
    if value is None:
        return None
    limit = dataset.integer(tags.PIXEL_PADDING_RANGE_LIMIT)
    first = _as_stored(value, format_)
    last = first if limit is None else _as_stored(limit, format_)
    return min(first, last), max(first, last)


def _float_padding_range(dataset: DataSet, format_: PixelFormat) -> tuple[float, float] | None:
    """Floats have elements of their own; what is no number needs none, as it never has a value."""
    value_tag, limit_tag = _FLOAT_PADDING if format_.bits_allocated == 32 else _DOUBLE_PADDING
    ends = [number for tag in (value_tag, limit_tag) for number in dataset.numbers(tag)[:1]]
    if not dataset.numbers(value_tag) or any(math.isnan(end) for end in ends):
        return None
    return min(ends), max(ends)


_FLOAT_PADDING = tags.FLOAT_PIXEL_PADDING_VALUE, tags.FLOAT_PIXEL_PADDING_RANGE_LIMIT
_DOUBLE_PADDING = tags.DOUBLE_FLOAT_PIXEL_PADDING_VALUE, tags.DOUBLE_FLOAT_PIXEL_PADDING_RANGE_LIMIT


def _as_stored(value: int, format_: PixelFormat) -> int:
    """Read a 16-bit attribute with the sign of the pixels: writers mix up US and SS."""
    if format_.is_signed and value >= 1 << 15:
        return value - (1 << 16)
    if not format_.is_signed and value < 0:
        return value + (1 << 16)
    return value


_Vector: TypeAlias = tuple[float, float, float]
_WRONG_PLACE = frozenset({"geometry.not-finite", "geometry.orientation"})


def _describe_frame(common: PixelDescription, groups: FunctionalGroups) -> tuple[PixelDescription, tuple[Caveat, ...]]:
    caveats: list[Caveat] = []
    plane = read_plane(groups, caveats)
    measures = groups.item(tags.PIXEL_MEASURES_SEQUENCE)
    spacing = read_spacing(groups.with_detector(), measures, common.modality, has_plane=plane is not None)
    if any(caveat.code in _WRONG_PLACE for caveat in caveats):
        # Numbers that contradict themselves put the spacing beside them in doubt too.
        spacing = Spacing(None, None, "The file's image orientation or position makes no sense.")
    slope, intercept = _rescale(groups, caveats)
    values = groups.item(tags.PIXEL_VALUE_TRANSFORMATION_SEQUENCE)
    modality_luts = [
        read_look_up_table(item, is_signed=common.is_signed)
        for item in groups.dataset.items(tags.MODALITY_LUT_SEQUENCE)
    ]
    modality_lut = modality_luts[0] if modality_luts else None
    is_signed_input = common.is_signed and modality_lut is None
    may_be_negative = is_signed_input or intercept < 0
    is_map = common.sop_class_uid == PARAMETRIC_MAP_STORAGE
    description = replace(
        common,
        plane=plane,
        pixel_spacing_mm=spacing.mm,
        spacing_source=spacing.source,
        no_measuring_because=spacing.reason,
        rescale_slope=slope,
        rescale_intercept=intercept,
        rescale_type=values.text(tags.RESCALE_TYPE),
        modality_lut=modality_lut,
        windows=read_windows(groups.item(tags.FRAME_VOI_LUT_SEQUENCE), caveats),
        voi_luts=groups.voi_luts(partial(read_look_up_table, is_signed=may_be_negative), is_signed=may_be_negative),
        image_laterality=groups.laterality(),
        patient_orientation=groups.patient_orientation(),
        real_world=read_real_world(groups.items(tags.REAL_WORLD_VALUE_MAPPING_SEQUENCE)) if is_map else None,
    )
    return description, tuple(caveats)


def read_plane(groups: FunctionalGroups, caveats: list[Caveat]) -> Plane | None:
    """Give where a frame lies in the patient; None where the file does not say, or what makes no sense, a caveat."""
    position = groups.item(tags.PLANE_POSITION_SEQUENCE).numbers(tags.IMAGE_POSITION_PATIENT)
    cosines = groups.item(tags.PLANE_ORIENTATION_SEQUENCE).numbers(tags.IMAGE_ORIENTATION_PATIENT)
    if not position and not cosines:
        return None
    if len(position) != 3 or len(cosines) != 6:
        caveats.append(Caveat("geometry.incomplete", "The image's place in the patient is incomplete and not used."))
        return None
    if not all(math.isfinite(value) and abs(value) < 1e6 for value in position + cosines):
        caveats.append(Caveat("geometry.not-finite", "The image's place in the patient is not a number and not used."))
        return None
    axes = _unit_axes(cosines)
    if axes is None:
        caveats.append(
            Caveat(
                "geometry.orientation", "The image's orientation is not two perpendicular unit vectors and not used."
            )
        )
        return None
    return Plane((position[0], position[1], position[2]), *axes)


@lru_cache(maxsize=256)  # the slices of a series lie alike
def _unit_axes(cosines: tuple[float, ...]) -> tuple[_Vector, _Vector] | None:
    """The directions of rows and columns, each of length one; None if they are not perpendicular unit vectors."""
    lengths = math.hypot(*cosines[:3]), math.hypot(*cosines[3:])
    product = sum(a * b for a, b in zip(cosines[:3], cosines[3:], strict=True))
    # 16 characters of a decimal string leave more than enough digits; larger errors mean that the numbers are wrong.
    if abs(lengths[0] - 1) > 0.01 or abs(lengths[1] - 1) > 0.01 or abs(product) > 0.01:
        return None
    a, b = lengths
    # Minus zero finds what plus zero gave: it is made plus zero, or the files read before would decide.
    x, y, z, u, v, w = (cosine + 0.0 for cosine in cosines)
    return (x / a, y / a, z / a), (u / b, v / b, w / b)


def _rescale(groups: FunctionalGroups, caveats: list[Caveat]) -> tuple[float, float]:
    values = groups.item(tags.PIXEL_VALUE_TRANSFORMATION_SEQUENCE)
    slopes, intercepts = values.numbers(tags.RESCALE_SLOPE), values.numbers(tags.RESCALE_INTERCEPT)
    slope = slopes[0] if slopes else 1.0
    intercept = intercepts[0] if intercepts else 0.0
    if not (math.isfinite(slope) and math.isfinite(intercept)) or abs(slope) > 1e12 or abs(intercept) > 1e12:
        caveats.append(
            Caveat("rescale.not-finite", "The rescale slope or intercept is not a number: stored values are shown.")
        )
        return 1.0, 0.0
    if slope == 0:
        caveats.append(Caveat("rescale.zero", "The rescale slope is 0: stored values are shown."))
        return 1.0, 0.0
    return slope, intercept


def read_windows(source: DataSet, caveats: list[Caveat]) -> tuple[Window, ...]:
    """Give the file's sane windows (PS3.3 C.11.2.1.2); of each other one a caveat."""
    centers, widths = source.numbers(tags.WINDOW_CENTER), source.numbers(tags.WINDOW_WIDTH)
    names = source.texts(tags.WINDOW_EXPLANATION)
    function = _VOI_FUNCTIONS.get(source.text(tags.VOI_LUT_FUNCTION), "LINEAR")
    least = 1.0 if function == "LINEAR" else 0.0
    windows = []
    for index, (center, width) in enumerate(zip(centers, widths, strict=False)):
        is_sane = math.isfinite(center) and math.isfinite(width) and abs(center) < 1e12 and width < 1e12
        if not is_sane or width < least or width <= 0:
            caveats.append(
                Caveat("window.invalid", f"A window of width {width:g} in the file makes no sense and is not used.")
            )
            continue
        windows.append(Window(center, width, function, names[index] if index < len(names) else ""))
    return tuple(windows)


def read_look_up_table(item: DataSet, *, is_signed: bool) -> LookUpTable | None:
    """Read a LUT (PS3.3 C.11.1.1.1): entries, first value mapped, bits; None if it is unusable."""
    descriptor = item.numbers(tags.LUT_DESCRIPTOR)
    if len(descriptor) != 3:
        return None
    count, first, bits = (int(value) for value in descriptor)
    count = count & 0xFFFF or 1 << 16
    if is_signed and first >= 1 << 15:
        first -= 1 << 16
    values = lut_entries(item.raw(tags.LUT_DATA), count, is_little_endian=item.is_little_endian)
    if values is None:
        return None
    return LookUpTable(values, first, bits if 8 <= bits <= 16 else 16, item.text(tags.LUT_EXPLANATION))


def lut_entries(data: bytes, count: int, *, is_little_endian: bool) -> np.ndarray | None:
    """Give a table's entries: 16 bits each, or 8 where the data are that short; None if they are too few."""
    if len(data) >= 2 * count:
        return np.frombuffer(data, "<u2" if is_little_endian else ">u2", count).astype(np.uint16)
    if len(data) >= count:
        return np.frombuffer(data, np.uint8, count).astype(np.uint16)
    return None
