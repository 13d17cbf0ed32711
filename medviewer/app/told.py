"""What a model is told of a patient beside the images: an age on which file and record agree, sex, recorded values."""

from __future__ import annotations

import math
import re
from datetime import date, timedelta
from typing import NamedTuple

from medviewer.domain.case import Case, Observation, TextObservation
from medviewer.domain.study import Patient, Study
from medviewer.records.record import PatientRecord, age_at, iso_date, parse_moment

_STATED = re.compile(r"(\d{3})([DWMY])")
_DAYS_A_YEAR = 365.25
_YEARS = {"D": 1 / _DAYS_A_YEAR, "W": 7 / _DAYS_A_YEAR, "M": 1 / 12, "Y": 1.0}
_TOLERANCE_YEARS = 1.0  # a birthday in between, or a study that is dated on another day


class Age(NamedTuple):
    """An age in years; None where nobody tells it, or ``told`` names ages that cannot all be true."""

    years: float | None
    told: tuple[int, ...] = ()


class Told(NamedTuple):
    """What a model was told; equal where it would be told the same again."""

    age: Age
    sex: str | None
    values: tuple[Observation | TextObservation, ...]
    medicines: tuple[str, ...] | None
    allergies: tuple[str, ...] | None


def told_of(case: Case) -> Told:
    """What a case says of the patient beside the images."""
    values: tuple[Observation | TextObservation, ...] = (*case.observations, *case.text_observations)
    return Told(Age(case.age_years, case.ages_told), case.sex, values, case.medicines, case.allergies)


class _Span(NamedTuple):
    """From the youngest to the oldest that a patient can be who is told to be of some age."""

    youngest: float
    oldest: float


def age_of(patient: Patient, study: Study, record: PatientRecord | None = None) -> Age:
    """The patient's age at the study: from the dates if both are whole, else as the file states it.

    The record is asked last. Nothing is guessed (PS3.5 6.2, AS), and none of ages that are more than a year apart is
    taken: one of them may be another patient's.
    """
    day = _day_of(study)
    births = [patient.birth_date, record.birth_date if record is not None else ""]
    stated = _stated(study)
    spans = [*(_by_birth(birth, day) for birth in births if day is not None), stated]
    told = [span for span in spans if span is not None]
    if told and max(span.youngest for span in told) - min(span.oldest for span in told) > _TOLERANCE_YEARS:
        return Age(None, tuple(sorted({math.floor(span.youngest) for span in told})))
    whole = [age_at(birth, day) for birth in births] if day is not None else [None, None]
    known = (whole[0], stated.youngest if stated is not None else None, whole[1])
    return Age(next((age for age in known if age is not None), None))


def _day_of(study: Study) -> date | None:
    made = parse_moment(iso_date(study.date))
    return made[0].date() if made is not None and made[1] in ("day", "time") else None


def _stated(study: Study) -> _Span | None:
    found = _STATED.fullmatch(study.patient_age.strip())
    if found is None:
        return None
    unit = _YEARS[found[2]]
    return _Span(int(found[1]) * unit, (int(found[1]) + 1) * unit)


def _by_birth(birth_date: str, day: date) -> _Span | None:
    """The ages that a birth date allows on a day; below zero where it lies behind that day."""
    exact = age_at(birth_date, day)
    if exact is not None:
        return _Span(exact, exact)
    parsed = parse_moment(iso_date(birth_date))
    if parsed is None:
        return None
    earliest = parsed[0].date()
    length = {"year": 365, "month": 30}.get(parsed[1], 0)
    latest = min(earliest, date.max - timedelta(days=length)) + timedelta(days=length)
    return _Span((day - latest).days / _DAYS_A_YEAR, (day - earliest).days / _DAYS_A_YEAR)
