"""An image's description as a presentation state wishes it: the way from stored values to grey.

A presentation state replaces all that the image says of that way, its photometric interpretation too.

Source: PS3.4 N.2 (Softcopy Presentation State transformations), PS3.3 C.11.6 (Presentation LUT).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from medviewer.domain.presentation import Appearance
from medviewer.domain.study import LookUpTable, PixelDescription, Window
from medviewer.imaging.display import possible_values


def presented(description: PixelDescription, appearance: Appearance) -> PixelDescription:
    """Give the description with which the picture is made; measuring goes on with the image's own."""
    if not appearance.is_greyscale or description.samples_per_pixel != 1:
        return description
    values = replace(
        description,
        rescale_slope=appearance.slope,
        rescale_intercept=appearance.intercept,
        modality_lut=_with_sign(appearance.modality_lut, is_signed=description.is_signed),
        presentation_lut=appearance.presentation_lut,
        photometric_interpretation="MONOCHROME1" if appearance.is_inverse else "MONOCHROME2",
        windows=(),
        voi_luts=(),
    )
    low, high = possible_values(values)
    if isinstance(appearance.voi, LookUpTable):
        table = _with_sign(appearance.voi, is_signed=low < 0)
        return replace(values, voi_luts=(table,) if table is not None else ())
    window = appearance.voi or Window((low + high) / 2, max(high - low, 1e-9), "LINEAR_EXACT")
    return replace(values, windows=(window,))


def changes_values(description: PixelDescription, appearance: Appearance) -> bool:
    """Whether the state's values in the modality's unit are others than the image's own."""
    if not appearance.is_greyscale or description.samples_per_pixel != 1:
        return False
    if description.modality_lut is not None or appearance.modality_lut is not None:
        own, other = description.modality_lut, _with_sign(appearance.modality_lut, is_signed=description.is_signed)
        return own is None or other is None or own.first != other.first or not np.array_equal(own.values, other.values)
    own_line = (description.rescale_slope, description.rescale_intercept)
    return not np.allclose(own_line, (appearance.slope, appearance.intercept), rtol=1e-9, atol=1e-9)


def _with_sign(table: LookUpTable | None, *, is_signed: bool) -> LookUpTable | None:
    """The first value mapped has the sign of the values; a file in implicit VR does not say which."""
    if table is None or not is_signed or table.first < 1 << 15:
        return table
    return replace(table, first=table.first - (1 << 16))
