"""Colours that DICOM stores as CIELab, for the screen.

Source: PS3.3 C.10.7.1.1 (encoding of CIELab values), CIE 15:2004 (CIELab), IEC 61966-2-1 (sRGB).
"""

from __future__ import annotations

import math

_D65 = (0.95047, 1.0, 1.08883)


def rgb_of_lab(stored: tuple[float, float, float]) -> tuple[int, int, int]:
    """Give the screen's colour (sRGB) of a CIELab value as DICOM stores it: 0 to 65535 for each (PS3.3 C.10.7.1.1)."""
    lightness, a, b = stored[0] * 100 / 65535, stored[1] * 255 / 65535 - 128, stored[2] * 255 / 65535 - 128
    fy = (lightness + 16) / 116
    x, y, z = (white * _unfolded(f) for white, f in zip(_D65, (fy + a / 500, fy, fy - b / 200), strict=True))
    linear = (
        3.2404542 * x - 1.5371385 * y - 0.4985314 * z,
        -0.9692660 * x + 1.8760108 * y + 0.0415560 * z,
        0.0556434 * x - 0.2040259 * y + 1.0572252 * z,
    )
    red, green, blue = (_as_level(value) for value in linear)
    return red, green, blue


def _unfolded(f: float) -> float:
    return f**3 if f > 6 / 29 else 3 * (6 / 29) ** 2 * (f - 4 / 29)


def _as_level(linear: float) -> int:
    shown = 12.92 * linear if linear <= 0.0031308 else 1.055 * math.pow(linear, 1 / 2.4) - 0.055
    return round(255 * min(max(shown, 0.0), 1.0))
