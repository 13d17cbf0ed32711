"""A result as it is saved: the answer, its image as shown, its heat maps, the decision. Light to import."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Literal

import numpy as np

from medviewer.domain.answer import Answer, Attribution, Decision, Impression
from medviewer.domain.frame import Frame
from medviewer.domain.frozen import dataclass
from medviewer.domain.presentation import Appearance
from medviewer.domain.shutter import Shutters
from medviewer.domain.study import Image, Problem, Window
from medviewer.explain.overlay import blend, blend_regions, strongest_of
from medviewer.imaging.covering import covered_pixels
from medviewer.imaging.display import to_display
from medviewer.imaging.presenting import presented
from medviewer.imaging.scale import pixel_aspect

Output = Literal["report", "capture", "maps", "segments", "keys"]
USUAL: frozenset[Output] = frozenset(("report", "capture"))
"""What is saved beside JSON and pictures unless something else is wanted."""


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """One answer with all that is saved beside it.

    ``image`` and ``frame`` are the image that the answer is about. ``window`` None
    means the image's own default. ``attributions`` are the heat maps, in the order wanted.
    ``is_in_audit_trail`` tells whether the run was recorded; None if that is not known yet.
    ``impressions`` are what the reader wrote of the image, the first version first. ``appearance`` is the
    presentation state with which the image was shown; None without one. ``is_covered`` tells whether shutters cover
    what they should, as they do unless the reader has put them aside. ``slices`` are those of the stack that was
    analysed as a whole; then ``image`` is the one of them that is shown. Empty where the answer is of one image.
    ``at`` is up to when the patient's record counted, and ``problems`` what of it could not be used; None and nothing
    where none was given.
    """

    image: Image
    frame: Frame
    answer: Answer
    attributions: tuple[Attribution, ...] = ()
    decision: Decision | None = None
    window: Window | None = None
    inverted: bool = False
    color_map: str = "magma"
    opacity: float = 0.5
    threshold: float = 0.2
    is_in_audit_trail: bool | None = None
    impressions: tuple[Impression, ...] = ()
    appearance: Appearance | None = None
    is_covered: bool = True
    slices: tuple[Image, ...] = ()
    at: datetime | None = None
    problems: tuple[Problem, ...] = ()


def pictures_of(result: Result) -> tuple[np.ndarray, np.ndarray | None]:
    """The image as shown, and with its first heat map or what was outlined (None without): ``(rows, columns, 3)``."""
    display = as_shown(result)
    plain = np.repeat(display[..., None], 3, axis=2) if display.ndim == 2 else display
    if result.attributions:
        return plain, overlay_of(display, result.attributions[0], result)
    return plain, outlined(display, result) if result.answer.regions else None


def as_shown(result: Result) -> np.ndarray:
    """The image as the reader saw it, ``(rows, columns)`` or ``(rows, columns, 3)`` uint8.

    Without the colours of a palette: a heat map lies over it, and could be taken for them.
    """
    frame, wish = result.frame, result.appearance
    if wish is not None:
        frame = replace(frame, description=presented(frame.description, wish), profile=wish.profile or frame.profile)
    display = to_display(frame, result.window, invert=result.inverted)
    shutters = wish.shutters if wish is not None else frame.shutters
    return _covered(display, shutters, pixel_aspect(frame.description)) if shutters and result.is_covered else display


def _covered(display: np.ndarray, shutters: Shutters, aspect: float) -> np.ndarray:
    """The image with what shutters cover in their grey or colour: a name may be burnt in there."""
    covered = covered_pixels(shutters, (display.shape[0], display.shape[1]), aspect)
    if display.ndim == 2 and len(set(shutters.color)) > 1:
        display = np.repeat(display[..., None], 3, axis=2)
    color = shutters.color if display.ndim == 3 else shutters.color[0]
    return np.where(covered[..., None] if display.ndim == 3 else covered, np.array(color, np.uint8), display)


def outlined(display: np.ndarray, result: Result) -> np.ndarray:
    """What the model outlined over the image as shown, ``(rows, columns, 3)`` uint8."""
    return blend_regions(display, result.answer.regions, opacity=result.opacity)


def overlay_of(display: np.ndarray, attribution: Attribution, result: Result) -> np.ndarray:
    """A heat map over the image as shown, ``(rows, columns, 3)`` uint8."""
    return blend(
        display,
        attribution.placed,
        color_map=result.color_map,
        opacity=result.opacity,
        threshold=result.threshold,
        strongest=strongest_of(attribution),
    )
