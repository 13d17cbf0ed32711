"""Units of recorded values (UCUM), converted only where that needs no knowledge of the substance.

mmHg become kPa and Fahrenheit Celsius whatever is measured. mg/dL become mmol/L only with a
molar mass, which a unit does not say: such a value is refused, never guessed. So are units that are
not in the table, and other ways of writing ("bpm"): case matters in UCUM.

Source: The Unified Code for Units of Measure, https://ucum.org/ucum (curly braces annotate, and say
nothing of the unit).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_ANNOTATION = re.compile(r"\{[^{}]*\}")

# Unit -> (dimension, factor, offset): value in the dimension's own unit = value * factor + offset.
_UNITS: Mapping[str, tuple[str, float, float]] = {
    "1": ("number", 1.0, 0.0),
    "%": ("number", 0.01, 0.0),
    "/min": ("rate", 1.0, 0.0),
    "/s": ("rate", 60.0, 0.0),
    "Hz": ("rate", 60.0, 0.0),
    "/h": ("rate", 1 / 60, 0.0),
    "mm[Hg]": ("pressure", 1.0, 0.0),
    "cm[H2O]": ("pressure", 98.0665 / 133.322387415, 0.0),  # of conventional water at 4 degrees
    "kPa": ("pressure", 1000 / 133.322387415, 0.0),
    "Pa": ("pressure", 1 / 133.322387415, 0.0),
    "Cel": ("temperature", 1.0, 0.0),
    "K": ("temperature", 1.0, -273.15),
    "[degF]": ("temperature", 5 / 9, -160 / 9),
    "s": ("time", 1 / 3600, 0.0),
    "min": ("time", 1 / 60, 0.0),
    "h": ("time", 1.0, 0.0),
    "d": ("time", 24.0, 0.0),
    "m": ("length", 1.0, 0.0),
    "cm": ("length", 0.01, 0.0),
    "mm": ("length", 0.001, 0.0),
    "[in_i]": ("length", 0.0254, 0.0),
    "kg": ("mass", 1.0, 0.0),
    "g": ("mass", 1e-3, 0.0),
    "mg": ("mass", 1e-6, 0.0),
    "[lb_av]": ("mass", 0.45359237, 0.0),
    "L": ("volume", 1.0, 0.0),
    "mL": ("volume", 1e-3, 0.0),
    "L/min": ("flow", 1.0, 0.0),
    "mL/min": ("flow", 1e-3, 0.0),
    "L/h": ("flow", 1 / 60, 0.0),
    "mL/h": ("flow", 1e-3 / 60, 0.0),
    "g/L": ("mass concentration", 1.0, 0.0),
    "g/dL": ("mass concentration", 10.0, 0.0),
    "mg/dL": ("mass concentration", 0.01, 0.0),
    "mg/L": ("mass concentration", 1e-3, 0.0),
    "ug/L": ("mass concentration", 1e-6, 0.0),
    "ug/mL": ("mass concentration", 1e-3, 0.0),
    "ng/mL": ("mass concentration", 1e-6, 0.0),
    "mol/L": ("substance concentration", 1.0, 0.0),
    "mmol/L": ("substance concentration", 1e-3, 0.0),
    "umol/L": ("substance concentration", 1e-6, 0.0),
    "nmol/L": ("substance concentration", 1e-9, 0.0),
    "10*9/L": ("count concentration", 1.0, 0.0),
    "10*12/L": ("count concentration", 1e3, 0.0),
    "10*3/uL": ("count concentration", 1.0, 0.0),
    "10*6/uL": ("count concentration", 1e3, 0.0),
    "/uL": ("count concentration", 1e-3, 0.0),
    "/nL": ("count concentration", 1.0, 0.0),
    "U/L": ("catalytic concentration", 1.0, 0.0),
    "kU/L": ("catalytic concentration", 1e3, 0.0),
    "U/mL": ("catalytic concentration", 1e3, 0.0),
    "kg/m2": ("mass per area", 1.0, 0.0),
}


def bare_unit(unit: str) -> str:
    """The unit without annotations: ``{beats}/min`` is ``/min``, ``{score}`` is ``1``."""
    return _ANNOTATION.sub("", unit.strip()) or "1"


def convert(value: float, unit: str, wanted: str) -> float | None:
    """The value in another unit of the same dimension.

    Args:
        value: as recorded, in ``unit``.
        unit: UCUM.
        wanted: UCUM.

    Returns:
        The very number where the units are the same; None where one cannot become the other, or
        a unit is not known and not the same.

    >>> convert(98.6, "[degF]", "Cel"), convert(5, "mmol/L", "mg/dL")
    (37.0, None)
    """
    have, want = bare_unit(unit), bare_unit(wanted)
    if have == want:
        return value
    source, target = _UNITS.get(have), _UNITS.get(want)
    if source is None or target is None or source[0] != target[0]:
        return None
    found = (value * source[1] + source[2] - target[2]) / target[1]
    return float(f"{found:.12g}")  # 37, not 37.00000000000001
