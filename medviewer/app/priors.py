"""Which image of an earlier study stands beside the one on screen.

Three questions, one after the other. What can never stand there: the other side, and a localizer beside a stack. What
makes two stacks comparable: side, view, body part, stack or single image, plane, slices or what was projected from
them. Of the studies that are as comparable, the latest; and in that study the stack that was made most alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import log

from medviewer.app.hanging_match import (
    FOR_PROCESSING,
    as_far_along,
    facing,
    is_before,
    is_of_other_side,
    plane_name,
    side_of,
)
from medviewer.app.hanging_protocol import is_same_kind
from medviewer.app.state import Selection
from medviewer.domain.study import Image, Series, Stack

_LOCALIZER_WORDS = frozenset({
    "SCOUT", "SCOUTS", "TOPOGRAM", "TOPO", "LOCALIZER", "LOCALISER", "LOC", "LOCS", "SURVIEW", "SCANOGRAM", "SCANO",
    "定位", "定位像", "定位片",
})  # fmt: skip
_SURVEY = "SURVEY"  # so Philips calls the localizers of MR; of CT and films it is a search of the whole skeleton
# The plane is known by where the images lie, and each maker calls it otherwise.
_PLANE_WORDS = frozenset({"AX", "AXIAL", "TRA", "TRANS", "TRANSVERSE", "COR", "CORONAL", "SAG", "SAGITTAL", "OBL"})
_PROJECTIONS = frozenset({"MIP", "MINIP", "PROJECTION IMAGE"})
_AXES = ("EchoTime", "InversionTime", "DiffusionBValue")


def earlier_stacks(own: Iterable[Selection], now: Selection) -> list[Selection]:
    """The stacks of the same kind of modality, as hanging protocols know it, in earlier studies.

    Args:
        own: the first image of every stack of the patient.
        now: the image on screen.
    """
    return [
        one for one in own if is_before(one.study, now.study) and is_same_kind(one.series.modality, now.series.modality)
    ]


def prior_of(earlier: Sequence[Selection], now: Selection) -> Selection | None:
    """The image of an earlier study to stand beside the one on screen; None if none of them may."""
    possible = [one for one in earlier if is_localizer(now) or not is_localizer(one)]
    fitting = [one for one in (_as_seen(one, now) for one in possible) if one is not None]
    return max(
        fitting,
        key=lambda one: (_comparable(one, now), one.study.date, one.study.time, _likeness(one, now)),
        default=None,
    )


def is_localizer(one: Selection) -> bool:
    """Whether a stack was made to plan the others; by what the file says it is, else by what it is called."""
    kind = one.stack.acquisition.image_type
    words = _words(one)
    is_survey = _SURVEY in words and one.series.modality == "MR"
    return "LOCALIZER" in kind or is_survey or not words.isdisjoint(_LOCALIZER_WORDS)


def _as_seen(prior: Selection, now: Selection) -> Selection | None:
    """The image of an earlier stack to look at beside the one on screen; None if every one is of the other side."""
    first = as_far_along(now, prior.stack)
    places = [replace(prior, index=at) for at in range(prior.stack.slices)]
    fitting = [one for one in places if not is_of_other_side(one, now)]
    return max(fitting, key=lambda one: (_same_view(one, now), -abs(one.index - first)), default=None)


def _same_view(one: Selection, other: Selection) -> int:
    """How far side and view are the same, the side first."""
    return 2 * (side_of(one) == side_of(other)) + (
        one.image.description.view_position == other.image.description.view_position
    )


def _comparable(one: Selection, now: Selection) -> tuple[int, ...]:
    """Whether two images can be compared at all, the weightiest first: a later study does not make up for it."""
    return (
        is_localizer(one) == is_localizer(now),
        _same_view(one, now),
        not _are_other_parts(one, now),
        (one.stack.slices > 1) == (now.stack.slices > 1),
        _plane(one.image) == _plane(now.image),
        _is_raw(one) == _is_raw(now),
        _is_projected(one) == _is_projected(now),
    )


def _are_other_parts(one: Selection, other: Selection) -> bool:
    """Whether both files name a part of the body, and not the same; many name none."""
    a, b = _body_part(one.series, one.image), _body_part(other.series, other.image)
    return bool(a and b) and a != b


def _body_part(series: Series, image: Image) -> str:
    return (image.description.body_part_examined or series.body_part_examined).upper()


def _is_raw(one: Selection) -> bool:
    return one.image.description.sop_class_uid in FOR_PROCESSING


def _is_projected(one: Selection) -> bool:
    """Whether each image shows many slices at once: beside slices it shows other things at each place."""
    return not _PROJECTIONS.isdisjoint((*one.stack.acquisition.image_type, *_words(one)))


def _plane(image: Image) -> str:
    return plane_name(image) or ("oblique" if image.description.plane is not None else "")


def _parallel(one: Image, other: Image) -> float:
    """1 for images that lie the same way in the patient, 0 across each other; oblique ones differ within their name."""
    return abs(facing(one, other))


def _likeness(one: Selection, now: Selection) -> float:
    """How alike two stacks were made, for the choice within one study.

    What the image shows (echo, b-value, contrast medium, what the series is called) weighs more than how fine it is.
    """
    a, b = one.stack.acquisition, now.stack.acquisition
    return (
        6 * _shared_share(_words(one), _words(now))
        + 4 * _shared_share(set(a.image_type), set(b.image_type))
        + 4 * _parallel(one.image, now.image)
        + sum(3 * _closeness(one.image.axis_values.get(axis), now.image.axis_values.get(axis)) for axis in _AXES)
        + 3 * (bool(a.contrast_agent) == bool(b.contrast_agent))
        + 3 * _closeness(_thickness_mm(one.stack), _thickness_mm(now.stack))
        + 2 * (a.kernel == b.kernel)
        + 2 * (_body_part(one.series, one.image) == _body_part(now.series, now.image))
        + (one.series.modality == now.series.modality)
        + (a.protocol_name == b.protocol_name)
    )


def _words(one: Selection) -> set[str]:
    """The words by which a series is called, without what the geometry says better."""
    text = f"{one.series.description} {one.stack.acquisition.protocol_name}".upper()
    found = (re.sub(r"^(T[12])WI?$", r"\1", word) for word in re.findall(r"[^\W_]+", text))
    return {word for word in found if word not in _PLANE_WORDS}


def _shared_share(one: set[str], other: set[str]) -> float:
    """The share of words that both have, 0 to 1."""
    return len(one & other) / len(one | other) if one or other else 1.0


def _closeness(one: float | None, other: float | None) -> float:
    """1 for the same number, 0 for one that is twice as large or more, or known of one only."""
    if one is None or other is None or min(one, other) <= 0:
        return float(one == other)
    return max(0.0, 1.0 - abs(log(one / other)) / log(2))


def _thickness_mm(stack: Stack) -> float | None:
    return stack.acquisition.thickness_mm or stack.spacing_mm[2]
