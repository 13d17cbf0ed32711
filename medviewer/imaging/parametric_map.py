"""What the values of a parametric map stand for.

Source: PS3.3 C.7.6.16.2.11 (Real World Value Mapping), A.75 (Parametric Map IOD).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from medviewer.domain.study import RealWorldValues
from medviewer.imaging import tags
from medviewer.imaging.dataset import DataSet

PARAMETRIC_MAP_STORAGE = "1.2.840.10008.5.1.4.1.1.30"

_EXPLANATIONS = frozenset({"130401", "130402", "130403", "130404"})  # visual explanation and its kinds (CID 217)
_NO_UNIT = "1"  # UCUM: a number without a unit


def read_real_world(items: Sequence[DataSet]) -> RealWorldValues | None:
    """Give the mapping from stored values to what they stand for; None unless the file gives one straight line.

    Several mappings are several readings of one value, and which is meant is not said.
    """
    if len(items) != 1:
        return None
    item = items[0]
    slope, intercept = item.number(tags.REAL_WORLD_VALUE_SLOPE), item.number(tags.REAL_WORLD_VALUE_INTERCEPT)
    if slope is None or intercept is None or slope == 0 or max(abs(slope), abs(intercept)) > 1e12:
        return None
    unit = item.item(tags.MEASUREMENT_UNITS_CODE_SEQUENCE)
    code = unit.text(tags.CODE_VALUE)
    return RealWorldValues(
        slope, intercept, "" if code == _NO_UNIT else code, item.text(tags.LUT_LABEL),
        _end(item, tags.DOUBLE_FLOAT_REAL_WORLD_VALUE_FIRST_VALUE_MAPPED, tags.REAL_WORLD_VALUE_FIRST_VALUE_MAPPED),
        _end(item, tags.DOUBLE_FLOAT_REAL_WORLD_VALUE_LAST_VALUE_MAPPED, tags.REAL_WORLD_VALUE_LAST_VALUE_MAPPED),
        any(_names_explanation(definition) for definition in item.items(tags.QUANTITY_DEFINITION_SEQUENCE)),
    )  # fmt: skip


def _names_explanation(definition: DataSet) -> bool:
    code = definition.item(tags.CONCEPT_CODE_SEQUENCE)
    is_standard = code.text(tags.CODING_SCHEME_DESIGNATOR) == "DCM"
    return is_standard and code.text(tags.CODE_VALUE) in _EXPLANATIONS


def _end(item: DataSet, *either: int) -> float | None:
    """An end of the range that is mapped; of float values the one, of whole numbers the other attribute."""
    found = (item.number(tag) for tag in either)
    return next((value for value in found if value is not None and math.isfinite(value)), None)
