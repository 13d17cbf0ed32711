"""The National Early Warning Score 2: how ill an adult is, from six vital signs and whether oxygen is given.

Source: Royal College of Physicians, "National Early Warning Score (NEWS) 2: Standardising the
assessment of acute-illness severity in the NHS", London 2017, chart 1. SpO2 scale 2 is for patients
with hypercapnic respiratory failure, and only where a competent clinician decided so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

VERSION = "1.0.0"

# Points of each row of the chart: (up to and including, points), the last one without an end.
_Row = list[tuple[float | None, int]]
TABLE: Mapping[str, _Row] = {
    "respiration_rate": [(8, 3), (11, 1), (20, 0), (24, 2), (None, 3)],
    "spo2_scale_1": [(91, 3), (93, 2), (95, 1), (None, 0)],
    "spo2_scale_2_air": [(83, 3), (85, 2), (87, 1), (None, 0)],
    "spo2_scale_2_oxygen": [(83, 3), (85, 2), (87, 1), (92, 0), (94, 1), (96, 2), (None, 3)],
    "oxygen": [(0, 0), (None, 2)],
    "systolic_pressure": [(90, 3), (100, 2), (110, 1), (219, 0), (None, 3)],
    "pulse": [(40, 3), (50, 1), (90, 0), (110, 1), (130, 2), (None, 3)],
    "consciousness": [(0, 0), (None, 3)],  # 0 is alert; new confusion, voice, pain and unresponsive are not
    "temperature": [(35.0, 3), (36.0, 1), (38.0, 0), (39.0, 1), (None, 2)],
}
FIELDS = (
    "respiration_rate",
    "spo2",
    "spo2_scale",
    "oxygen",
    "systolic_pressure",
    "pulse",
    "consciousness",
    "temperature",
)
"""What the card's table must hold, in this order: /min, %, 1 or 2, L/min, mm[Hg], /min, 0 = alert, Cel."""

PARTS = ("respiration_rate", "spo2", "oxygen", "systolic_pressure", "pulse", "consciousness", "temperature")
"""Columns of the output ``parts``."""

Array = npt.NDArray[np.float32]


def run(values: npt.NDArray[np.floating[Any]], mask: npt.NDArray[np.floating[Any]]) -> dict[str, Array]:
    """Score some patients.

    Args:
        values: ``(n, fields)`` in the order and units of :data:`FIELDS`.
        mask: ``(n, fields)``, 1 where there is a value; a part without one is not a number.

    Returns:
        ``score`` ``(n, 2)``: the total, and the highest single parameter; ``parts`` ``(n, parts)``.
    """
    column = {name: _recorded(name, values[:, index], mask[:, index]) for index, name in enumerate(FIELDS)}
    has_oxygen = column["oxygen"] > 0
    on_scale_2 = np.where(
        has_oxygen,
        _points("spo2_scale_2_oxygen", column["spo2"]),
        _points("spo2_scale_2_air", column["spo2"]),
    )
    is_known = ~np.isnan(column["spo2_scale"] + column["oxygen"])
    spo2 = np.where(column["spo2_scale"] == 2, on_scale_2, _points("spo2_scale_1", column["spo2"]))
    points = {name: _points(name, column[name]) for name in PARTS if name != "spo2"}
    points["spo2"] = np.where(is_known, spo2, np.nan)
    parts = np.stack([points[name] for name in PARTS], axis=1)
    score = np.stack([parts.sum(axis=1), parts.max(axis=1)], axis=1)
    return {"score": score.astype(np.float32), "parts": parts.astype(np.float32)}


def _recorded(name: str, column: npt.NDArray[Any], known: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """The values with the digits of the chart: tenths of a degree, else whole numbers; halves go up.

    Oxygen keeps its digits: half a litre is oxygen.
    """
    values = np.where(known > 0, column.astype(np.float64), np.nan)
    if name == "oxygen":
        return values
    per_unit = 10 if name == "temperature" else 1
    # The input is float32: 38.05 may come as 38.049999.
    return np.floor(values * per_unit + 0.5 + 1e-4) / per_unit


def _points(row: str, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    bounds = np.array([np.inf if end is None else end for end, _ in TABLE[row]])
    points = np.array([points for _, points in TABLE[row]], np.float64)
    place = np.searchsorted(bounds + 1e-9, np.nan_to_num(values), side="left")
    return np.where(np.isnan(values), np.nan, points[np.minimum(place, len(points) - 1)])
