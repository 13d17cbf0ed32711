"""What a model may know of the patient."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from medviewer.app.analysis import build_case, minute_of, moment_of
from medviewer.app.record_models import case_of
from medviewer.app.told import Age
from medviewer.domain.case import Observation
from medviewer.domain.study import Patient, Study
from medviewer.records.record import Identifier, PatientRecord
from tests.fakes import make_frame
from tests.time_zones import in_zone


def test_a_case_holds_what_was_known_at_the_time_and_no_identity() -> None:
    early = Observation("8867-4", "Heart rate", 80, "/min", datetime(2004, 8, 26, 9, 0, tzinfo=UTC))
    late = Observation("8867-4", "Heart rate", 120, "/min", datetime(2005, 1, 1, 9, 0, tzinfo=UTC))
    record = PatientRecord(
        "k", (Identifier("", "secret-id"),), "Secret^Name", "1940-03-05", "F", observations=(early, late)
    )
    patient = Patient("secret-id", name="Secret^Name", birth_date="19400305", sex="F")
    case = build_case(make_frame(), patient, Study("1", date="20040826"), record, frozenset({"view.unknown"}))
    assert case.observations == (early,)
    assert case.age_years == pytest.approx(64.477, abs=2e-3)
    assert (case.sex, case.confirmed) == ("F", frozenset({"view.unknown"}))
    assert "secret" not in repr(case).lower()


def _breathing(value: float, clock: str) -> Observation:
    return Observation(
        "9279-1", "Respiratory rate", value, "/min", datetime.fromisoformat(f"2024-03-05T{clock}:00+08:00")
    )


@pytest.mark.parametrize(
    ("offset", "zone"),
    [("+0800", timedelta(hours=8)), ("-0430", timedelta(hours=-4, minutes=-30)), (" +0000", timedelta(0))]
    + [(wrong, None) for wrong in ("", "0800", "+08:00", "+8", "+1500", "+0860", "+08٠٠", "Z")],
)
def test_the_studys_own_zone_is_read_and_nothing_else_is_taken_for_one(offset: str, zone: timedelta | None) -> None:
    study = Study("1", date="20240305", time="100000", utc_offset=offset)
    for moment in (minute_of(study), moment_of(study)):
        assert moment is not None
        assert moment.utcoffset() == zone


def test_a_value_from_after_the_film_is_not_used_whatever_zone_this_computer_is_in() -> None:
    before, after = _breathing(14, "09:30"), _breathing(34, "17:30")
    record = PatientRecord("k", observations=(before, after))
    study = Study("1", date="20240305", time="100000.25", utc_offset="+0800")
    for zone in ("UTC", "Asia/Shanghai", "America/Los_Angeles"):
        with in_zone(zone):
            at = minute_of(study)
            assert at is not None
            assert case_of(record, at, Age(None), "").observations == (before,)
            late = Observation("9279-1", "", 40, "/min", datetime.fromisoformat("2024-03-06T00:30:00+08:00"))
            case = build_case(make_frame(), Patient("1"), study, replace(record, observations=(before, after, late)))
            assert case.observations == (before, after), "an image counts up to the end of its own day"


def test_without_a_record_nothing_is_assumed() -> None:
    case = build_case(make_frame(), Patient("1"), Study("1"), None)
    assert (case.age_years, case.sex, case.medicines, case.allergies) == (None, None, None, None)
