"""Two accounts of one patient: what changes, what stays, and that nothing recorded is lost."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medviewer.records.merge import merge, merge_studies
from medviewer.records.record import (
    Allergy,
    Condition,
    Encounter,
    Medication,
    PatientRecord,
    StudyMark,
    TextResult,
)
from tests.unit.records.strategies import ALLERGIES, CONDITIONS, MEDICATIONS

GENERIC = "SCT:419199007"  # "allergy to substance": the substance is in the words alone
EARLY, LATE = "2024-01-01T08:00:00+00:00", "2024-06-01T08:00:00+08:00"


def _merged(name: str, existing: tuple[Any, ...], incoming: tuple[Any, ...]) -> Any:
    key = PatientRecord("k")
    merged = merge(_with(key, name, existing), _with(key, name, incoming))
    assert merge(merged, _with(key, name, incoming)) == merged, "importing twice changes nothing"
    return getattr(merged, name)


def _with(record: PatientRecord, name: str, facts: tuple[Any, ...]) -> PatientRecord:
    return PatientRecord(record.key, **{name: facts})


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("allergies", Allergy("Peanut", GENERIC, "high", "anaphylaxis"), Allergy("Latex", GENERIC)),
        ("allergies", Allergy("Nuts", "SCT:1", "high", "anaphylaxis"), Allergy("Nuts", "SCT:1", "low", "rash")),
        ("conditions", Condition("Lung cancer", "SCT:363346000"), Condition("Bowel cancer", "SCT:363346000")),
        ("medications", Medication("Warfarin 1 mg", "ATC:B01"), Medication("Apixaban 5 mg", "ATC:B01")),
        (
            "text_results",
            TextResult("600-7", "Blood culture", "Staphylococcus aureus", EARLY),
            TextResult("600-7", "Blood culture", "No growth", EARLY),
        ),
    ],
)
def test_facts_of_one_code_and_other_words_are_two(name: str, first: Any, second: Any) -> None:
    assert _merged(name, (first,), (second,)) == (first, second)


def test_a_sparser_account_empties_nothing() -> None:
    full = Allergy("Penicillin", "SCT:91936005", "high", "anaphylaxis", "1987", "active")
    assert _merged("allergies", (full,), (Allergy("penicillin ", "SCT:91936005", "low"),)) == (
        Allergy("penicillin ", "SCT:91936005", "high", "anaphylaxis", "1987", "active"),
    )
    (graver,) = _merged("allergies", (Allergy("Nuts", "", "low"),), (Allergy("Nuts", "", "high"),))
    assert graver.criticality == "high"
    stay = Encounter("Ward", "IMP", "2024-01-01", "2024-01-09")
    assert _merged("encounters", (stay,), (Encounter("Ward", "IMP", "2024-01-01"),)) == (stay,)
    mark = StudyMark("1.2", "2024-01-01", "CT", "Thorax")
    assert merge_studies((mark,), (StudyMark("1.2", modality="CT/SR"),)) == (
        StudyMark("1.2", "2024-01-01", "CT/SR", "Thorax"),
    )
    assert merge_studies((StudyMark("", "2024-01-01"),), (StudyMark("", modality="CT"),)) == (
        StudyMark("", modality="CT"),
    ), "without a UID nobody knows that it is the same study"


def _warfarin(status: str, stated: str = "", **more: str) -> Medication:
    return Medication("Warfarin", "ATC:B01AA03", status, "2003", stated=stated, **more)


_ACCOUNTS = st.builds(
    _warfarin, st.sampled_from(["", "active", "stopped"]), st.sampled_from(["", EARLY, LATE]),
    ended=st.sampled_from(["", "2023"]), dosage_text=st.sampled_from(["", "1 a day"]),
)  # fmt: skip


@pytest.mark.parametrize("status", ["active", "stopped"])
def test_the_account_that_was_stated_later_counts_in_whichever_order_they_come(status: str) -> None:
    other = "stopped" if status == "active" else "active"
    for existing, incoming in permutations([_warfarin(other, EARLY, dosage_text="1 a day"), _warfarin(status, LATE)]):
        assert _merged("medications", (existing,), (incoming,)) == (_warfarin(status, LATE, dosage_text="1 a day"),)


def test_an_account_of_unknown_age_cannot_take_back_an_end() -> None:
    stopped, active = _warfarin("stopped"), _warfarin("active")
    assert _merged("medications", (active,), (stopped,)) == (stopped,)
    both = _merged("medications", (stopped,), (active,))
    assert both == (stopped, active), "nobody knows which is right"
    assert _merged("medications", both, (stopped,)) == (stopped,), "a further account that it has ended settles it"


def test_what_goes_on_again_has_no_end() -> None:
    ended = _warfarin("stopped", EARLY, ended="2023")
    assert _merged("medications", (ended,), (_warfarin("active", LATE),)) == (_warfarin("active", LATE),)
    assert _merged("medications", (ended,), (_warfarin("", LATE),)) == (_warfarin("stopped", EARLY, ended="2023"),)


def test_an_account_of_unknown_age_does_not_take_the_age_of_another() -> None:
    """Else the same file again would take back in silence that a medicine was stopped."""
    active, stopped = _warfarin("active", EARLY), _warfarin("stopped")
    seen = _merged("medications", (active,), (stopped,))
    assert seen == (stopped,)
    seen = _merged("medications", seen, (active,))
    assert seen == (stopped, active), "nobody knows which is right"
    assert _merged("medications", seen, (stopped,)) == seen
    assert _merged("medications", (active,), (_warfarin("active", dosage_text="1 a day"),)) == (
        _warfarin("active", EARLY, dosage_text="1 a day"),
    ), "both say that it goes on"
    closed = Condition("Asthma", "SCT:195967001", "", "2003", ended="2010", stated=EARLY)
    assert _merged("conditions", (replace(closed, ended="", stated=""),), (closed,)) == (closed,)


@given(*[st.lists(_ACCOUNTS, min_size=1, max_size=1).map(tuple)] * 2)
def test_a_stop_of_unknown_age_is_never_lost_to_a_repeated_import(
    first: tuple[Medication, ...], second: tuple[Medication, ...]
) -> None:
    stops = [one for one in second if one.status == "stopped" and not one.stated]
    seen = _merged("medications", _merged("medications", first, second), first)
    assert not stops or any(one.status == "stopped" for one in seen)


@pytest.mark.parametrize("is_older_first", [True, False])
def test_an_end_that_the_newer_account_no_longer_states_is_no_end(is_older_first: bool) -> None:
    """A medicine that was to end in March and is still taken in June is a current one."""
    planned, current = _warfarin("active", EARLY, ended="2024-03-31"), _warfarin("active", LATE)
    existing, incoming = (planned, current) if is_older_first else (current, planned)
    assert _merged("medications", (existing,), (incoming,)) == (current,)
    prolonged = _warfarin("active", LATE, ended="2024-12-31")
    assert _merged("medications", (planned,), (prolonged,)) == (prolonged,)
    problem = Condition("Asthma", "SCT:195967001", "active", "2003", ended="2010", stated=EARLY)
    again = Condition("Asthma", "SCT:195967001", "active", "2003", stated=LATE)
    assert _merged("conditions", (problem,), (again,)) == (again,)
    sparse = _warfarin("active")
    assert _merged("medications", (_warfarin("active", ended="2024-03-31"),), (sparse,)) == (
        _warfarin("active", ended="2024-03-31"),
    ), "nobody says that it is the newer"


def test_two_prescriptions_of_one_medicine_do_not_mix() -> None:
    morning, night = _warfarin("", dosage_text="morning"), _warfarin("stopped", dosage_text="night")
    assert _merged("medications", (morning, night), (morning, night)) == (morning, night)
    assert _merged("medications", (night, morning), (morning,)) == (night, morning)


@given(st.lists(ALLERGIES, max_size=4).map(tuple), st.lists(ALLERGIES, max_size=4).map(tuple))
def test_no_allergy_reaction_or_high_risk_is_ever_lost(
    existing: tuple[Allergy, ...], incoming: tuple[Allergy, ...]
) -> None:
    found = _merged("allergies", existing, incoming)
    for one in existing + incoming:
        assert any(
            (a.code, " ".join(a.text.casefold().split())) == (one.code, " ".join(one.text.casefold().split()))
            and one.reaction in ("", a.reaction)
            and (one.criticality != "high" or a.criticality == "high")
            for a in found
        )


@given(st.lists(CONDITIONS, max_size=4).map(tuple), st.lists(MEDICATIONS, max_size=4).map(tuple))
def test_an_import_of_the_same_again_changes_nothing(
    conditions: tuple[Condition, ...], medications: tuple[Medication, ...]
) -> None:
    assert _merged("conditions", conditions, conditions) == conditions
    assert _merged("medications", medications, medications) == medications
