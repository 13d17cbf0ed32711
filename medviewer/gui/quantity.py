"""What is charted: all values of one kind in one unit, and their words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo

from medviewer.domain.case import Observation
from medviewer.domain.frozen import dataclass
from medviewer.gui.text import visible
from medviewer.gui.vital_signs import short_name
from medviewer.records.record import format_observation, placed


@dataclass(frozen=True, slots=True)
class Quantity:
    """All values of one kind in one unit, oldest first."""

    name: str
    unit: str
    values: tuple[Observation, ...]


def quantities(observations: Sequence[Observation], zone: tzinfo | None = None) -> tuple[Quantity, ...]:
    """The observations by what they measure; values in different units are never put on one scale.

    Of ``zone``, by whose clock they are sorted, see :func:`medviewer.records.record.placed`.
    """
    groups: dict[tuple[str, str], list[Observation]] = {}
    for one in observations:
        groups.setdefault((one.code or one.display, one.unit), []).append(one)
    made = [
        Quantity(short_name(own[0]), own[0].unit, tuple(sorted(own, key=lambda o: placed(o.time, zone))))
        for own in groups.values()
    ]
    return tuple(made)


def latest(row: Quantity) -> str:
    """The newest value with its unit."""
    return visible(format_observation(row.values[-1]))


def short_number(value: float) -> str:
    """A limit of a scale, short: six digits at most."""
    return f"{value:.6g}"
