"""What a model may know of the patient."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from medviewer.app.analysis import age_years, build_case
from medviewer.domain.case import Observation
from medviewer.domain.study import Patient, Study
from medviewer.records.record import Identifier, PatientRecord
from tests.fakes import make_frame


@pytest.mark.parametrize(
    ("birth", "date", "stated", "expected"),
    [
        ("19400305", "20040826", "", 64.477),
        ("19400305", "20040826", "063Y", 64.477),  # the dates are the better witness
        ("", "20040826", "063Y", 63.0),
        ("", "", "006M", 0.5),
        ("", "", "004W", 28 / 365.25),
        ("", "", "010D", 10 / 365.25),
        ("1940", "20040826", "", None),
        ("", "20040826", "63Y", None),
        ("", "", "", None),
    ],
)
def test_age_at_the_study(birth: str, date: str, stated: str, expected: float | None) -> None:
    age = age_years(Patient("1", birth_date=birth), Study("1", date=date, patient_age=stated))
    assert age == (None if expected is None else pytest.approx(expected, abs=2e-3))


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


def test_without_a_record_nothing_is_assumed() -> None:
    case = build_case(make_frame(), Patient("1"), Study("1"), None)
    assert (case.age_years, case.sex, case.medicines, case.allergies) == (None, None, None, None)
