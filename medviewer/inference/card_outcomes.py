"""What a model reports that does not classify, as its card describes it: scores, survival curves, forecasts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from medviewer.domain.frozen import dataclass
from medviewer.inference.card import Text


@dataclass(frozen=True, slots=True)
class Band:
    """Part of a score's scale: from ``start`` up to the next band."""

    start: float
    title: Text
    flagged: bool
    meaning: Text


@dataclass(frozen=True, slots=True)
class OutcomeSpec:
    """What a score, a survival curve or a forecast is: its scale, its bands, its times.

    ``parts`` are the names and titles of what a score is the sum of, in the order of the output
    ``parts``. ``nominal`` is how much of what comes true a forecast's band is to hold.
    ``measured`` says how true the outcome was, of how many, on whom. ``recent``: the outcome is given
    only if that variable was measured in the last so many hours.
    """

    name: str
    code: str
    code_meaning: str
    title: Text
    unit: str = ""
    lowest: float = 0.0
    highest: float = 0.0
    bands: tuple[Band, ...] = ()
    parts: tuple[tuple[str, Text], ...] = ()
    times: tuple[float, ...] = ()
    horizon: float = 0.0
    nominal: float = 0.0
    measured: Text = field(default_factory=lambda: Text(""))
    recent: tuple[str, float] | None = None


def read_outcome(d: Mapping[str, Any]) -> OutcomeSpec:
    """One entry of a validated card's ``outcomes``."""
    code = d["code"]
    bands = tuple(
        Band(float(b["from"]), Text.read(b["title"]), bool(b.get("flagged", False)), Text.read(b.get("meaning")))
        for b in d.get("bands", ())
    )
    numbers = {name: float(d.get(name, 0.0)) for name in ("lowest", "highest", "horizon", "nominal")}
    return OutcomeSpec(
        name=d["name"],
        code=f"{code['scheme']}:{code['value']}",
        code_meaning=code["meaning"],
        title=Text.read(d["title"]),
        unit=d.get("unit", ""),
        bands=bands,
        parts=tuple((part["name"], Text.read(part["title"])) for part in d.get("parts", ())),
        times=tuple(float(time) for time in d.get("times", ())),
        measured=Text.read(d.get("measured")),
        recent=(recent["variable"], float(recent["hours"])) if (recent := d.get("recent")) else None,
        **numbers,
    )
