"""The windows for CT on the digits 1 to 9: as in common teaching, and as the reader has changed them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from medviewer.domain.study import Window

Presets = Mapping[int, Window]

CT_PRESETS: Presets = MappingProxyType(
    {
        1: Window(40, 80, name="Brain"),
        2: Window(40, 40, name="Stroke"),
        3: Window(75, 200, name="Subdural"),
        4: Window(40, 400, name="Soft tissue"),
        5: Window(50, 350, name="Mediastinum"),
        6: Window(90, 150, name="Liver"),
        7: Window(-600, 1500, name="Lung"),
        8: Window(400, 2000, name="Bone"),
        9: Window(300, 600, name="Angio"),
    }
)
"""Hounsfield units."""
WIDTHS, LEVELS = (1, 20_000), (-10_000, 20_000)
"""What width and level may be, in Hounsfield units."""


def with_preset(presets: Presets, number: int, width: float, level: float) -> Presets:
    """The presets with another width and level of one; what is out of bounds is brought to them."""
    changed = replace(presets[number], center=_bounded(level, LEVELS), width=_bounded(width, WIDTHS))
    return MappingProxyType({**presets, number: changed})


def as_data(presets: Presets) -> dict[str, list[float]]:
    """What the reader has changed, to be kept: digit to width and level."""
    return {str(n): [one.width, one.center] for n, one in presets.items() if one != CT_PRESETS[n]}


def from_data(value: object) -> Presets:
    """The presets of what was kept; what of it cannot be used is left out."""
    presets = CT_PRESETS
    for digit, numbers in value.items() if isinstance(value, dict) else ():
        is_known = isinstance(digit, str) and digit.isdecimal() and int(digit) in CT_PRESETS and len(digit) == 1
        if not is_known or not isinstance(numbers, list) or len(numbers) != 2:
            continue
        if all(_is_number(one, bounds) for one, bounds in zip(numbers, (WIDTHS, LEVELS), strict=True)):
            presets = with_preset(presets, int(digit), *numbers)
    return presets


def _is_number(value: object, bounds: tuple[int, int]) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and bounds[0] <= value <= bounds[1]  # type: ignore[operator] # NaN is not


def _bounded(value: float, bounds: tuple[int, int]) -> float:
    return float(min(max(value, bounds[0]), bounds[1]))
