"""What a model outlined, for files and for the command line: numbers with what they rest on, and the mask's digest."""

from __future__ import annotations

import colorsys
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from medviewer.domain.answer import Region
from medviewer.domain.digits import area_number, percent_number

_HUES = (  # up to which hue, of 360, a colour is called so
    (14, "red"), (42, "orange"), (68, "yellow"), (160, "green"), (200, "cyan"), (255, "blue"), (290, "violet"),
    (345, "pink"), (360, "red"),
)  # fmt: skip
NOTHING_OUTLINED = "nothing outlined above the threshold"


def regions_of(regions: Sequence[Region], file: str | None) -> list[dict[str, Any]]:
    """What ``result.json`` tells of each; ``file`` is the DICOM Segmentation beside it, None if there is none."""
    numbers = [number for number, region in enumerate(regions, start=1) if region.pixels]
    return [
        {
            "label": region.label,
            "code": region.code,
            "category": region.category,
            "title": region.title,
            "threshold": region.threshold,
            "pixels": region.pixels,
            "share": region.share,
            "area_mm2": region.area_mm2,
            "area_basis": region.basis or None,
            "no_area_because": region.remark or None,
            "mean_probability": region.mean_probability,
            "stability": {"low": region.stability[0], "high": region.stability[1]},
            "measured": region.measured,
            "color": list(region.color),
            "shape": list(region.shape),
            "mask_sha256": mask_sha256(region.mask),
            "file": file if number in numbers else None,
            "segment_number": number if file is not None and number in numbers else None,
        }
        for number, region in enumerate(regions, start=1)
    ]


def mask_sha256(mask: np.ndarray) -> str:
    """The digest of a mask: one byte a pixel, 1 inside and 0 outside, row after row."""
    return hashlib.sha256(np.ascontiguousarray(mask, np.uint8).tobytes()).hexdigest()


def region_lines(region: Region) -> list[str]:
    """One outline in a line or two, in English: the second is how well such outlines fitted those of people."""
    measured = [f"  {region.measured}"] if region.measured else []
    if not region.pixels:
        return [f"{region.label}: {NOTHING_OUTLINED} ({region.threshold:g})", *measured]
    numbers = f"{percent_number(region.share)}% of the image"
    if region.mean_probability is not None:
        numbers += f", network's mean probability inside {region.mean_probability:.2f} (not calibrated)"
    return [f"{region.label} ({color_word(region.color)}): {area_words(region)}, {numbers}", *measured]


def color_word(color: tuple[int, int, int]) -> str:
    """What people call a colour, for where a picture has no legend in colours."""
    hue, saturation, value = colorsys.rgb_to_hsv(*(level / 255 for level in color))
    if saturation < 0.15 or value < 0.15:
        return "white" if value > 0.85 else "grey" if value > 0.3 else "black"
    return next(word for most, word in _HUES if 360 * hue <= most)


def area_words(region: Region) -> str:
    """The area with what it rests on; pixels with the reason, where no area can be trusted."""
    if region.area_mm2 is None:
        return f"{region.pixels} pixels (no area in mm2: {region.remark})"
    return f"{area_number(region.area_mm2)} mm2 ({region.basis})"
