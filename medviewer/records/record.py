"""The patient record: who the patient is and what is known of them, as dated facts.

Shaped after FHIR R4, cut to what stands beside an image. Everything is kept as
it was recorded: units are never converted here, and what nobody wrote down
stays unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import field
from datetime import date, datetime, tzinfo
from typing import Literal, NamedTuple

from medviewer.domain.case import Case, Observation, TextObservation, is_whole_day
from medviewer.domain.frozen import dataclass

AllergyStatus = Literal["not recorded", "none known", "recorded"]
Precision = Literal["year", "month", "day", "time"]
TimelineKind = Literal[
    "study", "observation", "text result", "condition", "medication", "allergy", "encounter", "document"
]

# SNOMED CT and IPS statements that something is absent for one class of substances only:
# they must be shown, but are neither an allergy nor "no known allergies".
PARTIAL_ABSENCE_CODES = frozenset(
    {"SCT:409137002", "SCT:428607008", "SCT:429625007"}
    | {f"IPS:no-known-{kind}-allergies" for kind in ("medication", "environmental", "food")}
)
# A medicine with one of these states was not being taken (FHIR medication statement and request status).
_NOT_TAKEN = frozenset({"completed", "stopped", "cancelled", "not-taken", "draft", "intended", "entered-in-error"})
_NOT_ACTIVE_ALLERGY = frozenset({"inactive", "resolved"})
# UCUM codes whose customary way of writing differs from the code itself.
UNIT_TEXT = {
    "mm[Hg]": "mmHg", "Cel": "°C", "[degF]": "°F", "10*9/L": "×10⁹/L", "10*12/L": "×10¹²/L", "10*3/uL": "×10³/µL",
    "umol/L": "µmol/L", "ug/L": "µg/L", "mL/min/{1.73_m2}": "mL/min/1.73 m²", "kg/m2": "kg/m²", "1": "",
}  # fmt: skip
_ISO = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2})(T\d{2}:\d{2}.*)?)?)?")


class Identifier(NamedTuple):
    """A number given to the patient, with who gave it; equal only if both are equal.

    ``system`` is the assigning authority (FHIR identifier system, DICOM Issuer
    of Patient ID); empty where the source names none, which is a domain of its
    own: an identifier without issuer never equals one that has an issuer.
    """

    system: str
    value: str


@dataclass(frozen=True, slots=True)
class Allergy:
    """An allergy or intolerance. Dates are ISO 8601, as precise as they were recorded."""

    text: str
    code: str = ""  # scheme:value, e.g. "SCT:91936005"
    criticality: str = ""  # FHIR: low, high, unable-to-assess
    reaction: str = ""
    recorded: str = ""
    status: str = ""  # FHIR clinical status: active, inactive, resolved
    stated: str = ""  # when its source last said so: tells which of two accounts is the newer
    origin: str = field(default="", compare=False)  # which resources state it: see ``records.origin``

    @property
    def is_partial_absence(self) -> bool:
        """Whether this states that a class of allergies is absent ("no known drug allergy")."""
        return self.code in PARTIAL_ABSENCE_CODES


@dataclass(frozen=True, slots=True)
class Condition:
    """A problem or diagnosis."""

    text: str
    code: str = ""
    clinical_status: str = ""  # FHIR: active, recurrence, relapse, inactive, remission, resolved
    onset: str = ""
    verification: str = ""  # FHIR: confirmed, provisional, differential, unconfirmed; empty: not said
    ended: str = ""
    stated: str = ""  # as of an allergy
    origin: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Medication:
    """A medicine that was ordered or is taken."""

    text: str
    code: str = ""
    status: str = ""  # FHIR: active, completed, stopped, on-hold, ...
    started: str = ""
    dosage_text: str = ""
    ended: str = ""
    stated: str = ""  # as of an allergy
    origin: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class TextResult:
    """An observation that is no plain number: a word ("ex-smoker"), a bound ("< 5 mg/L")."""

    code: str
    display: str
    text: str
    time: str = ""
    origin: str = field(default="", compare=False)  # as of an allergy


@dataclass(frozen=True, slots=True)
class Encounter:
    """A visit or a stay."""

    text: str
    kind: str = ""  # FHIR v3-ActCode, e.g. AMB, IMP, EMER
    start: str = ""
    end: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """A note or letter, as plain text."""

    title: str
    date: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class StudyMark:
    """That a study was made: a mark on the timeline. ``date`` is ISO 8601."""

    study_instance_uid: str
    date: str = ""
    modality: str = ""  # several are joined with "/"
    description: str = ""


@dataclass(frozen=True, slots=True)
class PatientRecord:
    """All that is known of one patient.

    ``None`` for allergies, conditions or medications means that nobody recorded
    any: show "not recorded", never "none". An empty tuple means that a source
    states there are none ("no known allergy").

    Attributes:
        key: the store's own name for the record; says nothing about the patient.
        name: DICOM person name, ``family^given^middle^prefix^suffix``, with further
            writings after ``=``; or plain text where the source gives no parts.
        birth_date: ISO 8601, as precise as recorded; empty if unknown.
        sex: DICOM "M", "F", "O"; empty if unknown.
        is_sample: invented data of nobody (tagged HTEST): show it as such.
        withdrawn: of an import: facts that their source takes back, as it states them. Not stored, as all that follows.
        deleted: of an import: origins of resources that are not there any more.
        unsaid: of an import: fields of which it takes back that there are none.
        corrected: of an import: those of its results that take the place of others of the same moment.
        misplaced: of an import: values of a period at its beginning, where earlier versions of the program put them.
    """

    key: str
    identifiers: tuple[Identifier, ...] = ()
    name: str = ""
    birth_date: str = ""
    sex: str = ""
    allergies: tuple[Allergy, ...] | None = None
    conditions: tuple[Condition, ...] | None = None
    medications: tuple[Medication, ...] | None = None
    observations: tuple[Observation, ...] = ()
    text_results: tuple[TextResult, ...] = ()
    encounters: tuple[Encounter, ...] = ()
    documents: tuple[Document, ...] = ()
    studies: tuple[StudyMark, ...] = ()
    is_sample: bool = False
    withdrawn: tuple[Allergy | Condition | Medication | Observation | TextResult, ...] = ()
    deleted: tuple[str, ...] = ()
    unsaid: frozenset[str] = frozenset()
    corrected: tuple[Observation | TextResult, ...] = ()
    misplaced: tuple[Observation | TextResult, ...] = ()

    @property
    def allergy_status(self) -> AllergyStatus:
        """What may be said of allergies; "none known" only where a source states it."""
        if self.allergies is None:
            return "not recorded"
        return "recorded" if self.allergies else "none known"


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One dated fact, ready to be drawn.

    ``time`` places it (the earliest moment that its date allows, with a time zone);
    ``when`` is the date as precise as it was recorded, ready to be shown. ``states`` are codes
    (FHIR status and the like), ``ended`` is a recorded end: whoever shows them has the words.
    """

    time: datetime
    kind: TimelineKind
    title: str
    detail: str
    study_instance_uid: str | None
    when: str
    states: tuple[str, ...] = ()
    ended: str = ""


def parse_moment(text: str) -> tuple[datetime, Precision] | None:
    """The earliest moment that an ISO 8601 date allows, and how precise the date is.

    A date without a time zone is local time as recorded; one that is told to the day only is a whole day to
    ``is_whole_day``. None if the text is not a date (nothing is guessed).

    >>> parse_moment("2004-08")[1]
    'month'
    """
    match = _ISO.fullmatch(text)
    if match is None:
        return None
    year, month, day, time = match.groups()
    try:
        if time is not None:
            return datetime.fromisoformat(text), "time"
        moment = datetime(int(year), int(month or 1), int(day or 1))  # noqa: DTZ001 - local, as recorded
    except ValueError:
        return None
    return moment, "day" if day else "month" if month else "year"


def time_words(moment: datetime, zone: tzinfo | None = None) -> str:
    """When a value was recorded as people read it; the date alone where no more was recorded.

    All that stands side by side is told by one clock: that of ``zone``, or this computer's where that is None.
    """
    if is_whole_day(moment):
        return moment.strftime("%Y-%m-%d")
    return as_told_in(zone, moment).strftime("%Y-%m-%d %H:%M")


def as_told_in(zone: tzinfo | None, moment: datetime) -> datetime:
    """The same moment by the clock of a time zone; None for this computer's."""
    try:
        return with_zone(moment).astimezone(zone)
    except (OverflowError, ValueError, OSError):  # the very first and last days of the calendar
        return with_zone(moment)


def with_zone(moment: datetime) -> datetime:
    """The moment with a time zone, so that any two can be compared; without one it is local time.

    The very first and last days of the calendar cannot be moved between zones and keep their clock time.
    """
    if moment.tzinfo is not None:
        return moment
    try:
        return moment.astimezone()
    except (OverflowError, ValueError, OSError):
        return moment.replace(tzinfo=datetime.now().astimezone().tzinfo)


def placed(moment: datetime, zone: tzinfo | None = None) -> datetime:
    """The moment with a time zone, to be drawn and sorted among others by the clock of ``zone`` (see time_words).

    A whole day begins at that clock's midnight: nobody recorded another zone.
    """
    return moment.replace(tzinfo=zone) if zone is not None and is_whole_day(moment) else with_zone(moment)


def age_at(birth_date: str, when: date) -> float | None:
    """The patient's age in years; its whole part is the age in completed years.

    Args:
        birth_date: ISO 8601 (``1940-03-05``) or DICOM DA (``19400305``).
        when: the day of the film or of the measurement.

    Returns:
        None if the birth date is unknown, incomplete or after ``when``: an age that
        may be a year off must not pass an age check.
    """
    parsed = parse_moment(iso_date(birth_date))
    if parsed is None or parsed[1] not in ("day", "time"):
        return None
    born = parsed[0].date()
    day = when.date() if isinstance(when, datetime) else when
    if day < born:
        return None
    years = day.year - born.year - ((day.month, day.day) < (born.month, born.day))
    since = (day - _birthday(born, years)).days
    return years + since / (_birthday(born, years + 1) - _birthday(born, years)).days


def iso_date(text: str) -> str:
    """A DICOM date (``YYYYMMDD``, or the older ``YYYY.MM.DD``) as ISO 8601; any other text as it is."""
    stripped = text.strip()
    match = re.fullmatch(r"(\d{4})(\d{2})(\d{2})|(\d{4})\.(\d{2})\.(\d{2})", stripped)
    return "-".join(part for part in match.groups() if part) if match else stripped


def format_observation(observation: Observation) -> str:
    """The value with its unit as clinicians write it: ``148 mmHg``. The value is not rounded or converted."""
    value = f"{observation.value:.12g}"
    unit = UNIT_TEXT.get(observation.unit, observation.unit)
    return f"{value}{unit}" if unit == "%" else f"{value} {unit}".rstrip()


def timeline(record: PatientRecord, zone: tzinfo | None = None) -> tuple[TimelineEntry, ...]:
    """Every dated fact of the record, newest first; what has no usable date is left out. Of ``zone`` see time_words."""
    return tuple(sorted(_entries(record, zone), key=lambda entry: entry.time, reverse=True))


def snapshot(record: PatientRecord, at: datetime) -> Case:
    """What a model may know of the patient at that moment: no identity, nothing from later.

    A result that came after the film must not help to read the film, so
    observations, medicines and allergies dated after ``at`` are left out. A value
    of which only the day is known may be of its last minute.

    Returns:
        A case without images; ``None`` means unknown, never normal.
    """
    moment = with_zone(at)
    medicines = None
    if record.medications is not None:
        begun = (m for m in record.medications if m.status not in _NOT_TAKEN and not _is_after(m.started, moment))
        medicines = tuple(m.text for m in begun if not is_over(m.ended, at))
    return Case(
        age_years=age_at(record.birth_date, at),
        sex=record.sex or None,
        observations=tuple(_nameless(o) for o in record.observations if not _may_be_later(o.time, at)),
        text_observations=tuple(_words_at(record, at)),
        at=at,
        medicines=medicines,
        allergies=_allergies_at(record, moment),
    )


def _nameless(one: Observation) -> Observation:
    """The value without where it came from, as of a record that was just read from a file."""
    return Observation(one.code, one.display, one.value, one.unit, one.time) if one.origin else one


def is_over(ended: str, at: datetime) -> bool:
    """Whether a recorded end lies before a moment, at the latest that its precision allows; no date is no end."""
    parsed = parse_moment(ended)
    if parsed is None:
        return False
    if parsed[1] == "time":
        return with_zone(parsed[0]) <= with_zone(at)
    return at.date().isoformat()[: len(ended)] > ended


def _may_be_later(time: datetime, at: datetime) -> bool:
    if not is_whole_day(time):
        return with_zone(time) > with_zone(at)
    # The day as the clock at ``at`` tells it: nobody recorded another zone.
    is_day_over = (at.hour, at.minute, at.second) == (23, 59, 59)
    return time.date() > at.date() or (time.date() == at.date() and not is_day_over)


def _words_at(record: PatientRecord, at: datetime) -> Iterator[TextObservation]:
    """Coded results in words, up to a moment; without a time what may be from before it and may be from later."""
    for one in record.text_results:
        parsed = parse_moment(one.time)
        if not one.code or (parsed is not None and _is_later(*parsed, at)):
            continue
        is_before = parsed is not None and parsed[1] in ("day", "time") and not _may_be_later(parsed[0], at)
        yield TextObservation(one.code, one.display, one.text, parsed[0] if parsed is not None and is_before else None)


def _is_later(earliest: datetime, precision: Precision, at: datetime) -> bool:
    """Whether all that a recorded date allows lies after a moment; a day is one of the clock at ``at``."""
    return with_zone(earliest) > with_zone(at) if precision == "time" else earliest.date() > at.date()


def _allergies_at(record: PatientRecord, moment: datetime) -> tuple[str, ...] | None:
    if record.allergies is None:
        return None
    allergies = tuple(
        a.text
        for a in record.allergies
        if not a.is_partial_absence and a.status not in _NOT_ACTIVE_ALLERGY and not _is_after(a.recorded, moment)
    )
    # "No known drug allergy" alone, or only a later entry, says nothing about all allergies at that time.
    return allergies if allergies or not record.allergies else None


def _is_after(text: str, moment: datetime) -> bool:
    """Whether a recorded date lies behind a moment, at the earliest that its precision allows."""
    parsed = parse_moment(text)
    # Days as the clock at the moment tells them, as of values.
    return parsed is not None and placed(parsed[0], moment.tzinfo) > moment


def _birthday(born: date, years: int) -> date:
    """The n-th birthday; someone born on 29 February has it on 1 March in other years."""
    try:
        return born.replace(year=born.year + years)
    except ValueError:
        return date(born.year + years, 3, 1)


def _entries(record: PatientRecord, zone: tzinfo | None) -> Iterator[TimelineEntry]:
    for o in record.observations:
        title, value = o.display or o.code, format_observation(o)
        yield TimelineEntry(placed(o.time, zone), "observation", title, value, None, time_words(o.time, zone))
    for fact in _dated(record):
        parsed = parse_moment(fact.date)
        if parsed is not None:
            yield TimelineEntry(
                placed(parsed[0], zone), fact.kind, fact.title, fact.detail, fact.uid, shown_moment(fact.date, zone),
                tuple(filter(None, fact.states)), fact.ended,
            )  # fmt: skip


def shown_moment(text: str, zone: tzinfo | None = None) -> str:
    """Return a recorded date or time as people read it, as precise as it was recorded; other text as it is.

    Of ``zone`` see :func:`time_words`.

    >>> shown_moment("2004-08-25"), shown_moment("2004-08")
    ('2004-08-25', '2004-08')
    """
    parsed = parse_moment(text)
    if parsed is None or parsed[1] != "time":
        return text
    return as_told_in(zone, parsed[0]).strftime("%Y-%m-%d %H:%M")


class _Dated(NamedTuple):
    date: str
    kind: TimelineKind
    title: str
    detail: str = ""
    states: tuple[str, ...] = ()
    ended: str = ""
    uid: str | None = None


def _dated(record: PatientRecord) -> Iterator[_Dated]:
    for s in record.studies:
        title = s.description or s.modality or "Study"
        yield _Dated(s.date, "study", title, s.modality, uid=s.study_instance_uid)
    for t in record.text_results:
        yield _Dated(t.time, "text result", t.display or t.code, t.text)
    for c in record.conditions or ():
        yield _Dated(c.onset, "condition", c.text, "", (c.clinical_status, c.verification), c.ended)
    for m in record.medications or ():
        yield _Dated(m.started, "medication", m.text, m.dosage_text, (m.status,), m.ended)
    for a in record.allergies or ():
        yield _Dated(a.recorded, "allergy", a.text, a.reaction, (a.status,))
    for e in record.encounters:
        yield _Dated(e.start, "encounter", e.text or e.kind or "Visit", ended=e.end)
    for d in record.documents:
        yield _Dated(d.date, "document", d.title)
