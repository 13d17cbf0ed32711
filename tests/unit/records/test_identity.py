"""When an image and a record can be of the same person, and when they contradict each other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medviewer.domain.study import Patient
from medviewer.records.identity import mismatch
from medviewer.records.record import Identifier, PatientRecord

RECORD = PatientRecord("k", (Identifier("", "9RG1"),), "CompressedSamples^RG1", "1940-03-05", "F")


def _patient(**changes: str) -> Patient:
    return Patient(
        **{"patient_id": "9RG1", "name": "CompressedSamples^RG1", "birth_date": "19400305", "sex": "F", **changes}
    )


def test_the_same_person_is_no_contradiction() -> None:
    assert mismatch(RECORD, _patient()) == ""


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"name": "Doe^RG1"}, "in name:"),
        ({"birth_date": "19400306"}, "in birth date:"),
        ({"birth_date": "1940.03.06"}, "in birth date:"),
        ({"sex": "M"}, "in sex:"),
        ({"patient_id": "9RG2"}, "in patient ID:"),
        ({"issuer": "Elsewhere"}, "in patient ID:"),
        ({"name": "Doe^Jane", "birth_date": "19500101", "sex": "M"}, "in name, birth date and sex:"),
    ],
)
def test_a_contradiction_is_named_without_its_values(changes: dict[str, str], named: str) -> None:
    sentence = mismatch(RECORD, _patient(**changes))
    assert named in sentence
    assert sentence.count(".") == 1
    for value in ("CompressedSamples", "Doe", "1940", "9RG"):
        assert value not in sentence


@pytest.mark.parametrize("field", ["name", "birth_date", "sex", "patient_id"])
def test_what_one_side_does_not_know_is_no_contradiction(field: str) -> None:
    assert mismatch(RECORD, _patient(**{field: ""})) == ""
    assert mismatch(PatientRecord("k"), _patient()) == ""


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("DOE^JANE", "Doe^Jane"),
        ("Doe^Jane^Mary", "Doe^Jane"),
        ("Doe^Jane^^Dr^PhD", "Doe^Jane"),
        ("Doe^J", "Doe^Jane"),
        ("Müller^Jörg", "Mueller^Joerg"),
        ("Müller^Jörg", "Muller^Jorg"),
        ("O'Brien^Siân", "OBrien^Sian"),
        ("Anna-Maria^Schmidt", "Schmidt^Anna Maria"),
        ("Zhang^Xiaodong=张^小东", "张小东"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "山田^太郎"),
        ("ヤマダ^タロウ", "ﾔﾏﾀﾞ^ﾀﾛｳ"),
        ("Doe^Jane", "Doe"),
        ("Doe^Jane", "张^小东"),
    ],
)
def test_ways_of_writing_one_name_agree(first: str, second: str) -> None:
    for a, b in ((first, second), (second, first)):
        assert mismatch(PatientRecord("k", name=a), Patient("", name=b)) == ""


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Doe^Jane", "Doe^John"),
        ("Doe^Jane", "Roe^Jane"),
        ("Doe^J", "Doe^Kim"),
        ("张^小东", "张^小冬"),
        ("Li^Wei=李^伟", "Li^Na=李^娜"),
        ("Doe^Anna^Anna", "Doe^Anna^Eve"),
    ],
)
def test_different_names_contradict(first: str, second: str) -> None:
    for a, b in ((first, second), (second, first)):
        assert "name" in mismatch(PatientRecord("k", name=a), Patient("", name=b))


@pytest.mark.parametrize(
    ("known", "contradicts"), [("1940", False), ("1940-03", False), ("1941", True), ("1940-04", True)]
)
def test_an_incomplete_birth_date_is_compared_as_far_as_it_goes(known: str, contradicts: bool) -> None:
    assert bool(mismatch(PatientRecord("k", birth_date=known), Patient("", birth_date="19400305"))) is contradicts


@given(st.text(max_size=20), st.text(max_size=20), st.sampled_from(["", "M", "F", "O"]))
def test_any_name_agrees_with_itself(name: str, birth_date: str, sex: str) -> None:
    record = PatientRecord("k", name=name, birth_date=birth_date, sex=sex)
    assert mismatch(record, Patient("", name=name, birth_date=birth_date, sex=sex)) == ""


@given(st.text(max_size=20), st.text(max_size=20))
def test_the_comparison_does_not_depend_on_the_side(first: str, second: str) -> None:
    one = mismatch(PatientRecord("k", name=first), Patient("", name=second))
    assert one == mismatch(PatientRecord("k", name=second), Patient("", name=first))
