"""Moments in intensive care stays: the hours before each, and what was measured in the hours after it.

A forecast is made at the last observation before a full hour, as the viewer makes it from a record
that ends there. A variable takes part in a moment if it was measured in the six hours before: without a
value that is recent there is nothing to go on from, and nothing to compare with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.domain.errors import InputError
from medviewer.domain.frozen import dataclass
from medviewer.inference.card import input_spec
from medviewer.inference.inputs.quantity import quantities
from medviewer.training.physionet import Stay
from medviewer.training.stays import FACTORS, VARIABLES, FloatArray, input_documents, joined_of, known_fields

TARGETS = ("HR", "MAP", "SaO2", "RespRate")
WINDOW_H = 24
AHEAD_H = 6
RECENT_H = 6
MOMENTS_H = (12, 18, 24, 30, 36, 42)
GRID = {"hours": WINDOW_H, "origin": "last", "least_values": 12}

COLUMNS = tuple([one.name for one in VARIABLES].index(name) for name in TARGETS)


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Moments of stays, encoded; ``V`` variables of :data:`TARGETS`, ``H`` hours ahead, in the card's units.

    Attributes:
        joined: ``(n, 24, 3 * variables)`` of the hours before: z-scores, masks, ages.
        fields: ``(n, 2 * fields)`` of the patient.
        stay: ``(n,)`` which of the stays each is of.
        truth: ``(n, V, H)`` mean of what was measured in each hour after; NaN where nothing was, or where the
            variable does not take part.
        last: ``(n, V)`` last value; NaN where the variable does not take part.
        mean: ``(n, V)`` mean of the last six hours; likewise.
    """

    joined: FloatArray
    fields: FloatArray
    stay: npt.NDArray[np.int64]
    truth: FloatArray
    last: FloatArray
    mean: FloatArray

    def where(self, chosen: npt.NDArray[Any]) -> Moments:
        """Return some of them."""
        return Moments(*(getattr(self, name)[chosen] for name in self.__slots__))


def documents_of(stays: Sequence[Stay]) -> list[dict[str, Any]]:
    """Return the card's inputs: the hours before a moment, and the patient."""
    return input_documents(stays, **GRID)


def moments_of(stays: Sequence[Stay], documents: Sequence[Mapping[str, Any]]) -> Moments:
    """Encode every moment at which some variable takes part, through the adapters of the card's inputs.

    Raises:
        InputError: there is none.
    """
    hours, about = (input_spec(document) for document in documents)
    ranges = {one.name: one.plausible for one in quantities(hours)}
    rows: list[tuple[Any, ...]] = []
    for index, stay in enumerate(stays):
        fields = known_fields(stay, about)
        measured = {name: _measured(stay, name, ranges[name]) for name in TARGETS}
        times = np.array([time for time, name, _ in stay.observations if name in FACTORS])
        for hour in MOMENTS_H:
            before = times[times <= hour]
            if not len(before):
                continue
            now = float(before[-1])
            parts = [_around(*measured[name], now) for name in TARGETS]
            if not any(np.isfinite(truth).any() for truth, _, _ in parts):
                continue
            start = now - WINDOW_H
            window = [(time - start, name, value) for time, name, value in stay.observations if start <= time <= now]
            rows.append((joined_of(window, hours), fields, index, *(np.array(one) for one in zip(*parts, strict=True))))
    if not rows:
        raise InputError("No stay has a value to forecast in the hours after any moment; nothing can be learned here.")
    joined, fields, of_stay, *around = (np.array(column) for column in zip(*rows, strict=True))
    return Moments(joined, fields, of_stay.astype(np.int64), *(one.astype(np.float32) for one in around))


def _measured(stay: Stay, name: str, plausible: tuple[float, float] | None) -> tuple[Any, Any]:
    """Return times and plausible values of a variable."""
    low, high = plausible or (-np.inf, np.inf)
    rows = [(time, value * FACTORS[name]) for time, own, value in stay.observations if own == name]
    found = np.array([row for row in rows if low <= row[1] <= high], np.float64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _around(times: Any, values: Any, now: float) -> tuple[Any, float, float]:
    """Return the truth of each hour after ``now``, the last value, and the mean of the last hours; NaN for none."""
    recent = values[(times > now - RECENT_H) & (times <= now)]
    if not len(recent):
        return np.full(AHEAD_H, np.nan), np.nan, np.nan
    hour = np.ceil(times - now).astype(int)  # 1: up to an hour after
    truth = [values[hour == ahead].mean() if (hour == ahead).any() else np.nan for ahead in range(1, AHEAD_H + 1)]
    return np.array(truth), float(recent[-1]), float(recent.mean())
