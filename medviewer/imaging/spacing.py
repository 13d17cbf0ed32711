"""How large a pixel is, what that size refers to, and when nothing may be measured.

Source: PS3.3 10.7.1.3 (Pixel Spacing, Imager Pixel Spacing and calibration).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from medviewer.domain.frozen import dataclass
from medviewer.domain.study import SpacingSource, UltrasoundRegion
from medviewer.imaging import tags
from medviewer.imaging.dataset import DataSet
from medviewer.imaging.ultrasound import has_axis, read_regions

# A pixel of a sensible image is between a tenth of a micrometre (microscopy) and a decimetre.
_SMALLEST_MM, _LARGEST_MM = 1e-4, 100.0
_SAME_SHARE = 1e-3  # a magnification is of some percent
# Images whose pixels lie in the plane that is looked at, even where the file does not say where that plane is.
_PLANE_MODALITIES = frozenset({"CT", "MR", "PT", "NM", "US", "IVUS", "OPT", "SM", "SEG", "RTDOSE"})


@dataclass(frozen=True, slots=True)
class Spacing:
    """Millimetres (between rows, between columns) and what they refer to, or why there are none."""

    mm: tuple[float, float] | None
    source: SpacingSource | None
    reason: str = ""


def read_spacing(dataset: DataSet, measures: DataSet, modality: str, *, has_plane: bool) -> Spacing:
    """Give the pixel spacing that may be used for measuring.

    Where ultrasound regions are described, they have the sizes, and a spacing that is missing is no reason.
    On a radiograph the detector's spacing is not the patient's: what lies away from the
    detector is magnified. So the source of the number goes with it wherever it is shown.

    Args:
        dataset: the image's attributes.
        measures: where Pixel Spacing itself stands: ``dataset``, or the Pixel Measures
            item of a multi-frame image.
        modality: tells whether the pixels lie in the plane that is looked at.
        has_plane: the image's place in the patient is known.
    """
    pixel = measures.numbers(tags.PIXEL_SPACING) or dataset.numbers(tags.PIXEL_SPACING)
    imager = dataset.numbers(tags.IMAGER_PIXEL_SPACING)
    problem = _problem(pixel or imager) if pixel or imager else "The file gives no pixel spacing."
    if problem:
        regions = read_regions(dataset)
        return Spacing(None, None, why_unmeasured(regions) if regions else problem)
    chosen = pixel or imager
    return Spacing((chosen[0], chosen[1]), _source(dataset, pixel, imager, modality, has_plane=has_plane))


def why_unmeasured(regions: Sequence[UltrasoundRegion]) -> str:
    """Say why nothing can be measured in an image with these ultrasound regions, which alone count; "" if it can."""
    has_size = any(has_axis(region, axis) for region in regions for axis in (0, 1))
    return "" if has_size else "The file gives no physical units for its ultrasound regions."


def read_aspect_ratio(dataset: DataSet) -> float | None:
    """Give the height of a pixel over its width (PS3.3 C.7.6.3.1.7); None where the file does not say it usably.

    It tells the shape of a pixel where nothing tells its size.
    """
    values = dataset.numbers(tags.PIXEL_ASPECT_RATIO)
    if len(values) < 2 or not all(math.isfinite(value) and value > 0 for value in values[:2]):
        return None
    ratio = values[0] / values[1]
    return ratio if 0.01 <= ratio <= 100 else None


def _source(
    dataset: DataSet, pixel: tuple[float, ...], imager: tuple[float, ...], modality: str, *, has_plane: bool
) -> SpacingSource:
    if pixel and (has_plane or modality in _PLANE_MODALITIES):
        return "patient plane"
    if not pixel:
        return "at detector"
    # Pixel Spacing that differs from the detector's, or names its calibration, has been corrected for magnification.
    is_other = bool(imager) and not _problem(imager) and not _are_alike(pixel, imager)
    return "calibrated" if is_other or dataset.text(tags.PIXEL_SPACING_CALIBRATION_TYPE) else "at detector"


def _are_alike(pixel: tuple[float, ...], imager: tuple[float, ...]) -> bool:
    """Whether two spacings are one: written with other digits, or from 32-bit floats, and not corrected."""
    return all(math.isclose(a, b, rel_tol=_SAME_SHARE) for a, b in zip(pixel[:2], imager[:2], strict=True))


def _problem(values: tuple[float, ...]) -> str:
    """Say why these numbers are no pixel spacing; "" if they are."""
    if len(values) < 2:
        return "The file gives an incomplete pixel spacing."
    if not all(math.isfinite(value) for value in values[:2]):
        return "The file gives a pixel spacing that is not a number."
    if values[0] == 0 or values[1] == 0:
        return "The file gives a pixel spacing of 0."
    if min(values[:2]) < 0:
        return "The file gives a negative pixel spacing."
    if min(values[:2]) < _SMALLEST_MM or max(values[:2]) > _LARGEST_MM:
        return f"The file gives a pixel spacing of {values[0]:g} x {values[1]:g} mm, which cannot be right."
    return ""
