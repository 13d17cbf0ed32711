"""Several images at each place: the volumes that they make, and what tells one volume from the next.

A beating heart, contrast that arrives, b-values, echoes: one series, many volumes of the same
places. They are told apart only where the files leave no doubt, that is where one attribute has,
at every place, one value for every volume, and no other attribute says otherwise.

Source: PS3.3 C.7.6.16.2.2 (Frame Content), C.7.6.16.2.7 (Cardiac Synchronization), C.7.6.16.2.20 (Temporal
Position), C.8.3.1 (MR Image), C.8.9.4 (PET Image), C.8.13.5 (MR functional groups).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from medviewer.domain.study import AxisName, Image, SecondAxis
from medviewer.imaging import tags
from medviewer.imaging.dataset import DataSet

_SAME_PLACE_MM = 1e-3  # as in geometry: closer along the normal is one place
_SAME_POSITION_MM = 0.01  # images of one place may not be shifted within their plane
_DAY_S = 86400.0
_HALF_DAY_S = _DAY_S / 2


class _Candidate(NamedTuple):
    """An attribute that may be the second axis."""

    keyword: str
    name: AxisName
    unit: str
    is_clock: bool = False  # counted from the first image; the time of the day means nothing here


_CANDIDATES = (
    _Candidate("DiffusionBValue", "b-value", "s/mm²"),
    _Candidate("EchoTime", "echo", "ms"),
    _Candidate("InversionTime", "inversion", "ms"),
    _Candidate("TriggerTime", "time", "ms"),
    _Candidate("FrameReferenceTime", "time", "ms"),
    _Candidate("TemporalPositionTimeOffset", "time", "s"),
    _Candidate("AcquisitionDateTime", "time", "s", is_clock=True),
    _Candidate("AcquisitionTime", "time", "s", is_clock=True),
    _Candidate("TemporalPosition", "time", ""),
    _Candidate("EchoNumber", "echo", ""),
    _Candidate("AcquisitionNumber", "acquisition", ""),
)
"""The best first: a physical quantity before a number that only counts."""


def read_axis_values(dataset: DataSet, group: Callable[[int], DataSet]) -> dict[str, float]:
    """Read what may tell an image from others of the same place.

    Args:
        dataset: of the file.
        group: gives the frame's functional group of a sequence tag, or the data set where there is none.

    Returns:
        Finite numbers by keyword; of a frame's own functional groups, else of the file.
    """
    content = group(tags.FRAME_CONTENT_SEQUENCE)
    cardiac = group(tags.CARDIAC_SYNCHRONIZATION_SEQUENCE)
    found = {
        "DiffusionBValue": group(tags.MR_DIFFUSION_SEQUENCE).number(tags.DIFFUSION_B_VALUE),
        "EchoTime": _first(
            group(tags.MR_ECHO_SEQUENCE).number(tags.EFFECTIVE_ECHO_TIME), dataset.number(tags.ECHO_TIME)
        ),
        "InversionTime": dataset.number(tags.INVERSION_TIME),
        "TriggerTime": _first(
            cardiac.number(tags.NOMINAL_CARDIAC_TRIGGER_DELAY_TIME), dataset.number(tags.TRIGGER_TIME)
        ),
        "FrameReferenceTime": dataset.number(tags.FRAME_REFERENCE_TIME),
        "TemporalPositionTimeOffset": group(tags.TEMPORAL_POSITION_SEQUENCE).number(tags.TEMPORAL_POSITION_TIME_OFFSET),
        "TemporalPosition": _first(
            content.number(tags.TEMPORAL_POSITION_INDEX), dataset.number(tags.TEMPORAL_POSITION_IDENTIFIER)
        ),
        "EchoNumber": dataset.number(tags.ECHO_NUMBERS),
        "AcquisitionNumber": dataset.number(tags.ACQUISITION_NUMBER),
        **_clock(dataset, content),
    }
    return {keyword: value for keyword, value in found.items() if value is not None and math.isfinite(value)}


def split_volumes(images: Sequence[Image]) -> tuple[tuple[Image, ...], SecondAxis] | None:
    """Tell the volumes of images that share a geometry apart.

    Args:
        images: of one orientation, size and spacing.

    Returns:
        The images, volume after volume in the order of the axis, each in the order of its places along
        the normal, with the axis. None where no image shares its place with another, or where the volumes
        are not complete, or where two attributes tell them apart in different ways.
    """
    places = _places(images)
    if places is None or len(places) == len(images):
        return None
    if len({len(place) for place in places}) != 1 or _has_twins(images):
        return None
    found: tuple[_Candidate, list[list[int]]] | None = None
    for candidate in _CANDIDATES:
        volumes = _volumes(images, places, candidate)
        if volumes is None:
            continue
        if found is not None and _as_sets(found[1]) != _as_sets(volumes):
            return None  # nothing says which of the two is meant
        found = found or (candidate, volumes)
    if found is None:
        return None
    candidate, volumes = found
    ordered = tuple(images[index] for volume in volumes for index in volume)
    values = [image.axis_values[candidate.keyword] for image in ordered]
    start = min(values) if candidate.is_clock else 0.0
    axis = SecondAxis(candidate.name, candidate.unit, tuple(value - start for value in values), len(places))
    return ordered, axis


def shares_places(images: Sequence[Image]) -> bool:
    """Whether images lie at the place of others and something that tells volumes apart differs among them."""
    places = _places(images)
    if places is None or len(places) == len(images):
        return False
    return any(
        len({image.axis_values.get(candidate.keyword) for image in images}) > 1
        for candidate in _CANDIDATES
        if not candidate.is_clock  # slices are never made at one time
    )


def _places(images: Sequence[Image]) -> list[list[int]] | None:
    """The images at each place, by their index, in order along the normal; None if some have no place."""
    planes = [image.description.plane for image in images]
    known = [plane for plane in planes if plane is not None]
    if len(known) != len(images):
        return None
    positions = [plane.position for plane in known]
    along = (np.array(positions) @ np.array(known[0].normal)).tolist()  # plain numbers: each is looked at by itself
    places: list[list[int]] = []
    for index in sorted(range(len(along)), key=along.__getitem__):
        if places and along[index] - along[places[-1][0]] < _SAME_PLACE_MM:
            first = positions[places[-1][0]]
            if max(abs(a - b) for a, b in zip(positions[index], first, strict=True)) > _SAME_POSITION_MM:
                return None
            places[-1].append(index)
        else:
            places.append([index])
    return places


def _has_twins(images: Sequence[Image]) -> bool:
    """Whether two files claim to be one image: either may be the wrong one, so no volume is made of them."""
    return len({(image.sop_instance_uid, image.frame) for image in images}) != len(images)


def _volumes(images: Sequence[Image], places: list[list[int]], candidate: _Candidate) -> list[list[int]] | None:
    """The volumes that an attribute tells apart: indices, place after place; None where there is any doubt.

    The n-th volume takes the n-th value of every place. Values may differ a little between places, but
    all of one volume must lie before all of the next.
    """
    if any(candidate.keyword not in image.axis_values for image in images):
        return None
    values = np.array([image.axis_values[candidate.keyword] for image in images])
    if candidate.keyword == "AcquisitionTime" and np.ptp(values) > _HALF_DAY_S:
        return None  # without a date, midnight puts the last before the first
    ranked = np.array([sorted(place, key=values.__getitem__) for place in places])  # (places, volumes)
    sorted_values = values[ranked]
    if (sorted_values[:, :-1].max(axis=0) >= sorted_values[:, 1:].min(axis=0)).any():
        return None
    volumes: list[list[int]] = ranked.T.tolist()
    return volumes


def _as_sets(volumes: list[list[int]]) -> set[frozenset[int]]:
    return {frozenset(volume) for volume in volumes}


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def _clock(dataset: DataSet, content: DataSet) -> Mapping[str, float | None]:
    """When the image was made, in seconds: of an absolute clock where there is a date, else of its day."""
    stamp = content.text(tags.FRAME_ACQUISITION_DATE_TIME) or dataset.text(tags.ACQUISITION_DATE_TIME)
    time = dataset.text(tags.ACQUISITION_TIME)
    if stamp:
        return {"AcquisitionDateTime": _seconds(stamp)}
    date = dataset.text(tags.ACQUISITION_DATE)
    if date and time:
        return {"AcquisitionDateTime": _seconds(date + time)}
    return {"AcquisitionTime": _seconds("20000101" + time) if time else None}


_STAMP = re.compile(r"(\d{14})(\.\d{1,6})?")


def _seconds(stamp: str) -> float | None:
    """Read YYYYMMDDHHMMSS and a fraction as seconds; None for less, or with an offset from UTC, which is rare."""
    match = _STAMP.fullmatch(stamp.strip())
    if match is None:
        return None
    try:
        whole = datetime.strptime(match[1], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    return whole.timestamp() + float(match[2] or 0.0)
