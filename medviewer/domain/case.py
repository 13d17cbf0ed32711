"""What a model may know of a patient: everything but who it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from medviewer.domain.frame import Frame


@dataclass(frozen=True, slots=True)
class Observation:
    """A dated value: a vital sign, a laboratory result.

    ``code`` is a LOINC code, ``unit`` a UCUM unit, ``time`` local time as recorded.
    """

    code: str
    display: str
    value: float
    unit: str
    time: datetime


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """An immutable snapshot without identity: the only thing that models ever see.

    ``None`` means unknown, never normal.
    """

    images: tuple[Frame, ...] = ()
    age_years: float | None = None
    sex: str | None = None  # DICOM CS: "M", "F", "O"
    observations: tuple[Observation, ...] = ()
    note: str | None = None
    medicines: tuple[str, ...] | None = None
    allergies: tuple[str, ...] | None = None
    confirmed: frozenset[str] = frozenset()  # guard codes that the reader has confirmed, e.g. "view.unknown"
