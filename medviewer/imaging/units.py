"""What the modality values of an image are counted in."""

from __future__ import annotations

from medviewer.domain.study import PixelDescription


def is_in_hounsfield(description: PixelDescription) -> bool:
    """Whether the values are Hounsfield units, as far as the file can be believed.

    A CT without a rescale type is in HU (PS3.3 C.8.2.1), and "US" says that the unit is unspecified
    (C.11.1.1.2). Values that cannot go below zero are not in HU either, whatever the file claims
    by leaving the type out: air is -1000.
    """
    if description.rescale_type:
        return description.rescale_type == "HU"
    can_be_negative = description.is_signed or description.rescale_intercept < 0
    return description.modality == "CT" and (can_be_negative or description.modality_lut is not None)


def value_unit(description: PixelDescription) -> str:
    """Give the unit of the modality values ("HU", "Bq/ml"), or "" where the file names none that can be believed."""
    if is_in_hounsfield(description):
        return "HU"
    if description.value_unit:
        return description.value_unit
    return "" if description.rescale_type in ("", "US", "HU") else description.rescale_type


def reading_scale(description: PixelDescription) -> tuple[float, str]:
    """Give the factor from modality values to what readers count in, and its unit: SUVbw where the file allows it."""
    if description.suv_factor is not None:
        return description.suv_factor, "SUVbw"
    return 1.0, value_unit(description)
