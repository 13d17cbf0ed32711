"""The record's own rules: dates, ages, what was not recorded, and what a model may know."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medviewer.domain.case import Case, Observation
from medviewer.records.record import (
    Allergy,
    Condition,
    Encounter,
    Identifier,
    Medication,
    PatientRecord,
    StudyMark,
    TextResult,
    age_at,
    format_observation,
    iso_date,
    parse_moment,
    shown_moment,
    snapshot,
    time_words,
    timeline,
)
from tests.time_zones import in_zone

FILM = datetime(2004, 8, 26, 18, 50, tzinfo=UTC)


def _observation(time: datetime, code: str = "8867-4", value: float = 90.0, unit: str = "/min") -> Observation:
    return Observation(code, "Heart rate", value, unit, time)


@pytest.mark.parametrize(
    ("birth_date", "when", "years"),
    [
        ("1940-03-05", date(2004, 8, 26), 64),
        ("19400305", date(2004, 8, 26), 64),
        ("1940.03.05", date(2004, 3, 4), 63),
        ("1940-03-05", date(2004, 3, 5), 64),
        ("2004-02-29", date(2005, 2, 28), 0),
        ("2004-02-29", date(2005, 3, 1), 1),
        ("2004-02-29", date(2008, 2, 29), 4),
        ("2004-08-26", date(2004, 8, 26), 0),
    ],
)
def test_age_is_in_completed_years(birth_date: str, when: date, years: int) -> None:
    age = age_at(birth_date, when)
    assert age is not None
    assert int(age) == years


@pytest.mark.parametrize("birth_date", ["", "1940", "1940-03", "2004-08-27", "unknown", "1940-02-30"])
def test_an_age_that_is_not_certain_is_unknown(birth_date: str) -> None:
    assert age_at(birth_date, date(2004, 8, 26)) is None


@given(st.dates(), st.integers(0, 40_000))
def test_age_grows_with_time_and_agrees_with_counting_birthdays(born: date, days: int) -> None:
    try:
        when = born + timedelta(days=days)
        age, later = age_at(born.isoformat(), when), age_at(born.isoformat(), when + timedelta(days=1))
    except (OverflowError, ValueError):
        return  # beyond the calendar
    assert age is not None
    assert later is not None
    assert age < later
    birthdays = sum(
        (born.month, born.day) <= (12, 31) and _reached(born, year, when)
        for year in range(born.year + 1, when.year + 1)
    )
    assert int(age) == birthdays


def _reached(born: date, year: int, when: date) -> bool:
    return (year, born.month, born.day) <= (when.year, when.month, when.day)


def test_absent_allergy_information_is_not_recorded_and_never_none() -> None:
    assert PatientRecord("k").allergy_status == "not recorded"
    assert PatientRecord("k", allergies=()).allergy_status == "none known"
    assert PatientRecord("k", allergies=(Allergy("Penicillin"),)).allergy_status == "recorded"
    assert snapshot(PatientRecord("k"), FILM).allergies is None
    assert snapshot(PatientRecord("k", allergies=()), FILM).allergies == ()


@pytest.mark.parametrize("code", ["SCT:409137002", "IPS:no-known-food-allergies"])
def test_no_known_drug_allergy_says_nothing_of_other_allergies(code: str) -> None:
    record = PatientRecord("k", allergies=(Allergy("No known drug allergy", code),))
    assert snapshot(record, FILM).allergies is None
    both = PatientRecord("k", allergies=(Allergy("No known food allergy", code), Allergy("Latex")))
    assert snapshot(both, FILM).allergies == ("Latex",)


@pytest.mark.parametrize("computer", ["Asia/Shanghai", "UTC", "America/Los_Angeles"])
def test_what_began_on_a_later_day_of_the_films_clock_is_not_known_yet(computer: str) -> None:
    film = datetime(2024, 5, 1, 23, 30, tzinfo=timezone(timedelta(hours=-5)))
    days = ("2024-05-01", "2024-05-02", "2024-05", "2024-06")
    record = PatientRecord(
        "k",
        medications=tuple(Medication(day, status="active", started=day) for day in days),
        allergies=tuple(Allergy(day, recorded=day) for day in days),
        observations=(_observation(film),),
    )
    with in_zone(computer):
        case = snapshot(record, film)
        assert case.medicines == case.allergies == ("2024-05-01", "2024-05")
        assert [entry.when for entry in timeline(record, film.tzinfo) if entry.kind != "allergy"] == [
            "2024-06", "2024-05-02", "2024-05-01 23:30", "2024-05-01", "2024-05",
        ]  # fmt: skip


def test_a_snapshot_holds_nothing_from_after_its_moment() -> None:
    record = PatientRecord(
        "k",
        birth_date="1940-03-05",
        sex="F",
        observations=(_observation(FILM - timedelta(hours=1)), _observation(FILM + timedelta(hours=1))),
        medications=(
            Medication("Amlodipine", status="active", started="1996-10"),
            Medication("Aspirin", status="stopped", started="2000"),
            Medication("Oxygen", status="active", started="2004-08-28"),
        ),
        allergies=(
            Allergy("Penicillin", recorded="1987-05-12"),
            Allergy("Latex", recorded="2010"),
            Allergy("Dust", status="resolved"),
        ),
    )
    case = snapshot(record, FILM)
    assert [o.time for o in case.observations] == [FILM - timedelta(hours=1)]
    assert case.medicines == ("Amlodipine",)
    assert case.allergies == ("Penicillin",)
    assert case.sex == "F"
    assert case.age_years is not None
    assert int(case.age_years) == 64


@pytest.mark.parametrize(
    ("day", "at", "is_known"),
    [
        (26, FILM, False),  # it may be of the evening
        (25, FILM, True),
        (26, FILM.replace(hour=23, minute=59, second=59), True),
        (26, datetime(2004, 8, 26, 23, 59, 59), True),  # noqa: DTZ001
        (27, FILM.replace(hour=23, minute=59, second=59), False),
        (26, datetime(2004, 8, 27, 0, 30, tzinfo=timezone(timedelta(hours=14))), True),  # the clock there counts
    ],
)
def test_a_value_of_which_only_the_day_is_known_counts_from_the_next_day_on(
    day: int, at: datetime, is_known: bool
) -> None:
    value = _observation(datetime(2004, 8, day))  # noqa: DTZ001
    assert bool(snapshot(PatientRecord("k", observations=(value,)), at).observations) is is_known


def test_a_value_of_midnight_is_no_value_of_the_whole_day() -> None:
    night = _observation(datetime(2004, 8, 26, tzinfo=UTC))
    record = PatientRecord("k", observations=(night, _observation(datetime(2004, 8, 25))))  # noqa: DTZ001
    assert snapshot(record, FILM).observations == record.observations
    assert [entry.when for entry in timeline(record)] == ["2004-08-26 00:00", "2004-08-25"]


@pytest.mark.parametrize(
    ("ended", "is_taken"),
    [
        ("", True),
        ("someday", True),
        ("2003", False),
        ("2004", True),  # it may have ended after the film
        ("2004-08", True),
        ("2004-07", False),
        ("2004-08-26", True),
        ("2004-08-25", False),
        ("2004-08-26T18:49:00+00:00", False),
        ("2004-08-26T18:49:00-04:00", True),
    ],
)
def test_a_medicine_that_has_ended_is_not_taken_any_more(ended: str, is_taken: bool) -> None:
    record = PatientRecord("k", medications=(Medication("Warfarin", "", "active", "2001", ended=ended),))
    assert snapshot(record, FILM).medicines == (("Warfarin",) if is_taken else ())


def test_a_snapshot_has_no_identity() -> None:
    record = PatientRecord(
        "key-canary",
        (Identifier("issuer-canary", "id-canary"),),
        "name-canary^x",
        "1940-03-05",
        documents=(),
        studies=(StudyMark("uid-canary", "2004-08-26"),),
    )
    case = snapshot(record, FILM)
    assert "canary" not in repr(case)
    assert "1940" not in repr(case)
    assert isinstance(case, Case)


def test_unknown_sex_and_medicines_are_none() -> None:
    case = snapshot(PatientRecord("k"), FILM)
    assert (case.sex, case.age_years, case.medicines, case.observations) == (None, None, None, ())
    assert snapshot(PatientRecord("k", medications=()), FILM).medicines == ()


def test_the_timeline_is_newest_first_and_keeps_the_precision_of_its_dates() -> None:
    record = PatientRecord(
        "k",
        allergies=(Allergy("Penicillin", reaction="Rash", recorded="1987"),),
        conditions=(
            Condition("Weight loss", onset="2004-06", clinical_status="active"),
            Condition("Gout", onset="as a child"),
        ),
        medications=(Medication("Amlodipine", started="1996-10", dosage_text="1 a day"),),
        observations=(Observation("8480-6", "Systolic", 142.0, "mm[Hg]", datetime(2004, 8, 26, 9, 5)),),  # noqa: DTZ001
        text_results=(TextResult("72166-2", "Smoking", "Ex-smoker", "2004-08-16"),),
        encounters=(Encounter("Clinic", start="2004-08-16T14:30:00+02:00"),),
        studies=(StudyMark("1.2.3", "2004-08-26", "CR", "THORAX"), StudyMark("1.2.4", "", "CT")),
    )
    with in_zone("Europe/Berlin"):
        entries = timeline(record)
    assert [(e.when, e.kind) for e in entries] == [
        ("2004-08-26 09:05", "observation"),
        ("2004-08-26", "study"),
        ("2004-08-16 14:30", "encounter"),
        ("2004-08-16", "text result"),
        ("2004-06", "condition"),
        ("1996-10", "medication"),
        ("1987", "allergy"),
    ]
    assert entries[0].detail == "142 mmHg"
    assert [e.study_instance_uid for e in entries if e.kind == "study"] == ["1.2.3"]


@given(
    st.lists(st.datetimes(timezones=st.none() | st.timezones() | st.just(timezone(timedelta(hours=14)))), max_size=8)
)
def test_times_with_and_without_zone_can_be_ordered(times: list[datetime]) -> None:
    record = PatientRecord("k", observations=tuple(_observation(time) for time in times))
    entries = timeline(record)
    assert len(entries) == len(times)
    assert all(a.time >= b.time for a, b in pairwise(entries))


@given(st.text(max_size=30))
def test_no_text_breaks_the_reading_of_dates(text: str) -> None:
    parsed = parse_moment(text)
    assert parsed is None or text[:4].isdigit()
    assert iso_date(text) is not None


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (142.0, "mm[Hg]", "142 mmHg"),
        (37.4, "Cel", "37.4 °C"),
        (93.0, "%", "93%"),
        (1.0, "", "1"),
        (5.4, "mg/dL", "5.4 mg/dL"),
        (0.1 + 0.2, "L", "0.3 L"),
    ],
)
def test_values_are_shown_with_their_own_unit(value: float, unit: str, shown: str) -> None:
    assert format_observation(Observation("x", "x", value, unit, FILM)) == shown


@pytest.mark.parametrize(
    ("recorded", "shown"),
    [("2004-08-25T17:45:00-04:00", "2004-08-25 17:45"), ("2004-08-25", "2004-08-25"), ("2004-08", "2004-08"),
     ("spring", "spring"), ("", "")],
)  # fmt: skip
def test_a_moment_is_shown_as_precisely_as_it_was_recorded(recorded: str, shown: str) -> None:
    assert shown_moment(recorded, timezone(timedelta(hours=-4))) == shown


def test_all_times_are_told_by_one_clock() -> None:
    there = datetime.fromisoformat("2004-08-26T02:45:00+08:00")
    record = PatientRecord(
        "k",
        observations=(_observation(there), _observation(datetime(2004, 8, 24))),  # noqa: DTZ001 - a day has no clock
        encounters=(Encounter("Clinic", "AMB", "2004-08-25T14:30:00+00:00", "2004-08-25T11:00:00-04:00"),),
    )
    for place, times in (
        (UTC, ["2004-08-25 18:45", "2004-08-25 14:30", "2004-08-24", "2004-08-25 15:00"]),
        (there.tzinfo, ["2004-08-26 02:45", "2004-08-25 22:30", "2004-08-24", "2004-08-25 23:00"]),
    ):
        entries = timeline(record, place)
        assert [*(entry.when for entry in entries), shown_moment(entries[1].ended, place)] == times
    with in_zone("Asia/Shanghai"):
        assert [entry.when for entry in timeline(record)] == times[:3], "without one, this computer's clock"
    assert time_words(datetime.max.replace(tzinfo=timezone(-timedelta(hours=4))), there.tzinfo) == "9999-12-31 23:59"
