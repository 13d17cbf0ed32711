"""What a model may know of a patient: everything but who it is."""

from __future__ import annotations

from dataclasses import field
from datetime import datetime

from medviewer.domain.frame import Frame
from medviewer.domain.frozen import dataclass
from medviewer.domain.volume import Volume


@dataclass(frozen=True, slots=True)
class Observation:
    """A dated value: a vital sign, a laboratory result.

    ``code`` is a LOINC code, ``unit`` a UCUM unit, ``time`` local time as recorded: a whole day where no more was
    (:func:`is_whole_day`). ``origin`` belongs to the record (``records.origin``); in a case it is empty.
    """

    code: str
    display: str
    value: float
    unit: str
    time: datetime
    origin: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class TextObservation:
    """A dated observation whose value is a word, such as a level of consciousness.

    A model never sees the word itself, only the number that its card gives for it. ``time`` is as of an observation;
    None: it was recorded, but nobody can tell whether before the case's moment. Nothing may be taken from such a
    one, except that something was recorded.
    """

    code: str
    display: str
    text: str
    time: datetime | None


def is_whole_day(moment: datetime) -> bool:
    """Whether only the day of a value was recorded: midnight without a zone.

    A source that tells the time tells its zone too (FHIR R4, dateTime).
    """
    return moment.tzinfo is None and not any((moment.hour, moment.minute, moment.second, moment.microsecond))


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
    volumes: tuple[Volume, ...] = ()
    text_observations: tuple[TextObservation, ...] = ()
    smiles: tuple[str, ...] = ()  # molecules in question, as SMILES
    at: datetime | None = None  # the moment that the case is about; nothing in it is from later
    ages_told: tuple[int, ...] = ()  # ages that contradict each other; none of them is taken then
