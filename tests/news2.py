"""The NEWS2 chart as it is printed, to be read cell by cell, and a case with one set of vital signs."""

from __future__ import annotations

from datetime import datetime

from medviewer.domain.case import Case, Observation, TextObservation

AT = datetime(2024, 5, 2, 14, 30)  # noqa: DTZ001 - local, as recorded
CODES = {
    "respiration_rate": ("9279-1", "/min"),
    "spo2": ("59408-5", "%"),
    "oxygen": ("3151-8", "L/min"),
    "systolic_pressure": ("8480-6", "mm[Hg]"),
    "pulse": ("8867-4", "/min"),
    "temperature": ("8310-5", "Cel"),
}
WELL = {"respiration_rate": 16, "spo2": 97, "oxygen": 0, "systolic_pressure": 120, "pulse": 70, "temperature": 37.0}


def news2_case(
    *, consciousness: str = "Alert", scale: str = "", age_years: float | None = 64.0, **values: float
) -> Case:
    """An adult with everything recorded at one moment; ``values`` replace what is usual."""
    observations = tuple(
        Observation(CODES[name][0], name, float(value), CODES[name][1], AT)
        for name, value in {**WELL, **values}.items()
    )
    words = [TextObservation("67775-7", "Consciousness", consciousness, AT)] if consciousness else []
    if scale:
        words.append(TextObservation("NEWS2:spo2-scale", "SpO2 scale", scale, AT))
    return Case(age_years=age_years, sex="F", observations=observations, text_observations=tuple(words), at=AT)


# Royal College of Physicians, NEWS2, London 2017, chart 1: points 3 2 1 0 1 2 3 from left to right.
CHART = {
    "respiration_rate": ("≤8", "", "9–11", "12–20", "", "21–24", "≥25"),
    "spo2 scale 1": ("≤91", "92–93", "94–95", "≥96", "", "", ""),
    "spo2 scale 2 air": ("≤83", "84–85", "86–87", "≥88", "", "", ""),
    "spo2 scale 2 oxygen": ("≤83", "84–85", "86–87", "88–92", "93–94", "95–96", "≥97"),
    "systolic_pressure": ("≤90", "91–100", "101–110", "111–219", "", "", "≥220"),
    "pulse": ("≤40", "", "41–50", "51–90", "91–110", "111–130", "≥131"),
    "temperature": ("≤35.0", "", "35.1–36.0", "36.1–38.0", "38.1–39.0", "≥39.1", ""),
}
POINTS = (3, 2, 1, 0, 1, 2, 3)
LIMITS = {
    "respiration_rate": (0, 60),
    "spo2": (50, 100),
    "systolic_pressure": (40, 280),
    "pulse": (20, 220),
    "temperature": (30.0, 43.0),
}


def points_by_chart(row: str, value: float) -> int:
    """The points that the printed chart gives."""
    for cell, points in zip(CHART[row], POINTS, strict=True):
        if not cell:
            continue
        low, high = float("-inf"), float("inf")
        if cell.startswith("≤"):
            high = float(cell[1:])
        elif cell.startswith("≥"):
            low = float(cell[1:])
        else:
            low, high = (float(end) for end in cell.split("–"))
        if low <= value <= high:
            return points
    raise ValueError((row, value))
