"""Patient records that nobody would think of, for property tests."""

from __future__ import annotations

from datetime import timedelta, timezone

from hypothesis import strategies as st

from medviewer.domain.case import Observation
from medviewer.records.record import (
    Allergy,
    Condition,
    Document,
    Encounter,
    Identifier,
    Medication,
    PatientRecord,
    StudyMark,
    TextResult,
)

TEXT = st.text(max_size=12)
CJK = st.sampled_from(
    ["张^小东", "山田^太郎=やまだ^たろう", "<img src=x>", "' OR 1=1--", "100%", "a_b", "\x00", "İ", "ﬁ", "\u2028"]
)
DATES = st.sampled_from(["", "2004", "2004-08", "2004-08-26"])
MOMENTS = st.datetimes(
    timezones=st.none() | st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
)

ALLERGIES = st.builds(Allergy, TEXT, TEXT, TEXT, TEXT, DATES, TEXT, DATES)
CONDITIONS = st.builds(Condition, TEXT, TEXT, TEXT, DATES, TEXT, DATES, DATES)
MEDICATIONS = st.builds(Medication, TEXT, TEXT, TEXT, DATES, TEXT, DATES, DATES)
OBSERVATIONS = st.builds(Observation, TEXT, TEXT, st.floats(allow_nan=False, allow_infinity=False), TEXT, MOMENTS)
IDENTIFIERS = st.builds(Identifier, TEXT.map(str.strip), st.text(max_size=12).map(str.strip).filter(bool))


def _several(facts: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(facts, max_size=3).map(tuple)


RECORDS = st.builds(
    PatientRecord,
    key=st.uuids().map(lambda number: number.hex),
    identifiers=st.lists(IDENTIFIERS, min_size=1, max_size=3, unique=True).map(tuple),
    name=TEXT | CJK,
    birth_date=DATES,
    sex=st.sampled_from(["", "M", "F", "O"]),
    allergies=st.none() | _several(ALLERGIES),
    conditions=st.none() | _several(CONDITIONS),
    medications=st.none() | _several(MEDICATIONS),
    observations=_several(OBSERVATIONS),
    text_results=_several(st.builds(TextResult, TEXT, TEXT, TEXT, DATES)),
    encounters=_several(st.builds(Encounter, TEXT, TEXT, DATES, DATES)),
    documents=_several(st.builds(Document, TEXT, DATES, TEXT)),
    studies=st.lists(
        st.builds(StudyMark, TEXT, DATES, TEXT, TEXT), max_size=3, unique_by=lambda s: s.study_instance_uid
    ).map(tuple),
    is_sample=st.booleans(),
)
