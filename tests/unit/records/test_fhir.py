"""FHIR R4 in and out: nothing lost, nothing invented, and one bad resource is one line."""

from __future__ import annotations

import base64
import copy
import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B.bundle import Bundle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medviewer.domain.case import Observation
from medviewer.domain.errors import RecordError, StorageError
from medviewer.records.fhir import ImportedRecords, read_bundle
from medviewer.records.fhir_export import to_bundle, write_bundle
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
    snapshot,
)
from medviewer.records.store import RecordStore

SCT, LN = "http://snomed.info/sct", "http://loinc.org"
PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "p1",
    "identifier": [{"system": "urn:hospital", "value": "42"}],
    "name": [{"family": "Doe", "given": ["Jane", "Mary"]}],
    "gender": "female",
    "birthDate": "1940-03-05",
}
OWN = {"subject": {"reference": "Patient/p1"}}


def _observation(**changes: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": LN, "code": "8867-4", "display": "Heart rate"}]},
        "effectiveDateTime": "2004-08-26T09:00:00+02:00",
        "valueQuantity": {"value": 90, "unit": "beats/minute", "system": "http://unitsofmeasure.org", "code": "/min"},
        **OWN,
        **changes,
    }


def _allergy(code: str = "91936005", system: str = SCT, **changes: Any) -> dict[str, Any]:
    concept = {"coding": [{"system": system, "code": code, "display": "Something"}]}
    return {"resourceType": "AllergyIntolerance", "code": concept, "patient": OWN["subject"], **changes}


def _read(tmp_path: Path, *resources: Any, meta: Any = None) -> ImportedRecords:
    path = tmp_path / "bundle.json"
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": r} for r in resources]}
    path.write_text(json.dumps({**bundle, "meta": meta} if meta else bundle), encoding="utf-8")
    return read_bundle(path)


def _only(imported: ImportedRecords) -> PatientRecord:
    assert imported.problems == ()
    (record,) = imported.records
    return record


def test_a_patient_is_read(tmp_path: Path) -> None:
    record = _only(_read(tmp_path, PATIENT))
    assert record.identifiers == (Identifier("urn:hospital", "42"),)
    assert (record.name, record.birth_date, record.sex) == ("Doe^Jane^Mary", "1940-03-05", "F")
    assert record.allergy_status == "not recorded"
    assert (record.conditions, record.medications) == (None, None)
    assert not record.is_sample


def test_numbers_keep_their_ucum_unit_and_their_time(tmp_path: Path) -> None:
    (reading,) = _only(_read(tmp_path, PATIENT, _observation())).observations
    assert reading == Observation(
        "8867-4", "Heart rate", 90.0, "/min", datetime(2004, 8, 26, 9, tzinfo=timezone(timedelta(hours=2)))
    )
    assert reading.time.isoformat() == "2004-08-26T09:00:00+02:00"


@pytest.mark.parametrize(("value", "unit"), [(5.4, "mg/dL"), (5.4, "mmol/L"), (98.6, "degF"), (1e-7, "mol/L")])
def test_units_are_kept_as_they_were_given(tmp_path: Path, value: float, unit: str) -> None:
    (reading,) = _only(
        _read(tmp_path, PATIENT, _observation(valueQuantity={"value": value, "unit": unit}))
    ).observations
    assert (reading.value, reading.unit) == (value, unit)


def test_blood_pressure_is_two_values(tmp_path: Path) -> None:
    panel = _observation(
        code={"coding": [{"system": LN, "code": "85354-9"}]},
        component=[
            {"code": {"coding": [{"system": LN, "code": code}]}, "valueQuantity": {"value": value, "unit": "mmHg"}}
            for code, value in (("8480-6", 142), ("8462-4", 80))
        ],
    )
    del panel["valueQuantity"]
    record = _only(_read(tmp_path, PATIENT, panel))
    assert [(o.code, o.value) for o in record.observations] == [("8480-6", 142.0), ("8462-4", 80.0)]


@pytest.mark.parametrize(
    ("changes", "text", "time"),
    [
        ({"valueQuantity": {"value": 5, "comparator": "<", "unit": "mg/L"}}, "< 5 mg/L", "2004-08-26T09:00:00+02:00"),
        ({"effectiveDateTime": "2004-08"}, "90 /min", "2004-08"),
        ({"valueQuantity": None, "valueString": "trace"}, "trace", "2004-08-26T09:00:00+02:00"),
        ({"valueQuantity": None, "valueBoolean": False}, "no", "2004-08-26T09:00:00+02:00"),
        (
            {"valueQuantity": None, "valueCodeableConcept": {"text": "Ex-smoker"}},
            "Ex-smoker",
            "2004-08-26T09:00:00+02:00",
        ),
    ],
)
def test_what_is_no_plain_number_stays_words(tmp_path: Path, changes: dict[str, Any], text: str, time: str) -> None:
    given_resource = {k: v for k, v in _observation(**changes).items() if v is not None}
    record = _only(_read(tmp_path, PATIENT, given_resource))
    assert record.observations == ()
    assert record.text_results == (TextResult("8867-4", "Heart rate", text, time),)


@pytest.mark.parametrize(
    ("code", "system", "status"),
    [
        ("716186003", SCT, "none known"),
        ("160244002", SCT, "none known"),
        ("no-known-allergies", "http://hl7.org/fhir/uv/ips/CodeSystem/absent-unknown-uv-ips", "none known"),
        ("no-allergy-info", "http://hl7.org/fhir/uv/ips/CodeSystem/absent-unknown-uv-ips", "not recorded"),
        ("91936005", SCT, "recorded"),
        ("409137002", SCT, "recorded"),  # no known *drug* allergy: to be shown, but not "none known"
        ("716186003", "http://example.org/other-codes", "recorded"),
    ],
)
def test_none_known_is_only_what_says_so(tmp_path: Path, code: str, system: str, status: str) -> None:
    assert _only(_read(tmp_path, PATIENT, _allergy(code, system))).allergy_status == status


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, "none known"),
        ({"clinicalStatus": {"coding": [{"code": "active"}]}}, "none known"),
        ({"verificationStatus": {"coding": [{"code": "confirmed"}]}}, "none known"),
        *(({"clinicalStatus": {"coding": [{"code": code}]}}, "not recorded") for code in ("inactive", "resolved")),
        *(
            ({"verificationStatus": {"coding": [{"code": code}]}}, "not recorded")
            for code in ("unconfirmed", "refuted")
        ),
    ],
)
def test_none_known_counts_only_while_it_is_said(tmp_path: Path, changes: dict[str, Any], status: str) -> None:
    assert _only(_read(tmp_path, PATIENT, _allergy("716186003", **changes))).allergy_status == status


@pytest.mark.parametrize(
    ("changes", "stated"),
    [
        ({"status": "unknown"}, ()),
        ({"status": "active"}, ()),
        ({"status": "stopped"}, None),
        ({"status": "active", "effectivePeriod": {"end": "2004"}}, None),
    ],
)
def test_no_medicines_and_no_problems_count_only_while_they_are_said(
    tmp_path: Path, changes: dict[str, Any], stated: tuple[()] | None
) -> None:
    none = {"coding": [{"system": SCT, "code": "787481004"}]}
    medicine = {"resourceType": "MedicationStatement", "medicationCodeableConcept": none, **OWN, **changes}
    assert _only(_read(tmp_path, PATIENT, medicine)).medications == stated
    problem = {"resourceType": "Condition", "code": {"coding": [{"system": SCT, "code": "160245001"}]}, **OWN}
    is_over = {"clinicalStatus": {"coding": [{"code": "resolved"}]}} if stated is None else {}
    assert _only(_read(tmp_path, PATIENT, {**problem, **is_over})).conditions == stated
    if stated is None:
        assert _only(_read(tmp_path, PATIENT, {**problem, "abatementDateTime": "2004"})).conditions is None


def test_an_allergy_outweighs_a_statement_of_none(tmp_path: Path) -> None:
    record = _only(_read(tmp_path, PATIENT, _allergy(), _allergy("716186003")))
    assert [a.code for a in record.allergies or ()] == ["SCT:91936005"]


def test_refuted_entries_are_left_out_and_withdrawn_ones_listed(tmp_path: Path) -> None:
    def verified(code: str) -> dict[str, Any]:
        return _allergy(verificationStatus={"coding": [{"code": code}]})

    imported = _read(
        tmp_path, PATIENT, verified("refuted"), verified("entered-in-error"), _observation(status="entered-in-error")
    )
    assert imported.records[0].allergies is None
    assert imported.records[0].observations == ()
    assert [p.reason for p in imported.problems] == [
        "entry 3 AllergyIntolerance: withdrawn by its source and left out.",
        "entry 4 Observation: withdrawn by its source and left out.",
    ]


def test_what_a_source_takes_back_or_corrects_leaves_the_record(tmp_path: Path) -> None:
    def word(**changes: Any) -> dict[str, Any]:
        own = _observation(id="w", code={"coding": [{"system": LN, "code": "600-7"}]}, **changes)
        return {name: value for name, value in own.items() if name != "valueQuantity"}

    first = [
        _observation(id="a"),
        _observation(id="b", effectiveDateTime="2004-08-26T08:00:00Z"),
        _observation(id="c", effectiveDateTime="2004-08-26T11:00:00+02:00"),
        _observation(id="d", effectiveDateTime="2004-08-25"),
        word(valueString="Growth"),
    ]
    later = [
        {**first[0], "status": "entered-in-error"},
        {**first[1], "status": "corrected", "valueQuantity": {**first[1]["valueQuantity"], "value": 81}},
        {**first[2], "id": "x", "status": "entered-in-error"}
        | {"valueQuantity": {**first[2]["valueQuantity"], "value": 1}},
        {**first[4], "status": "entered-in-error"},
    ]
    with RecordStore(tmp_path / "records.db") as store:
        before = store.save_record(_only(_read(tmp_path, PATIENT, *first)))
        assert [o.value for o in before.observations] == [90, 90, 90, 90]
        imported = _read(tmp_path, PATIENT, *later)
        assert sum("withdrawn by its source" in problem.reason for problem in imported.problems) == 3
        after = store.save_record(imported.records[0])
        # Of the third nobody can tell that it is meant: what is taken back has another id and another value.
        assert sorted((o.time.isoformat(), o.value) for o in after.observations) == [
            ("2004-08-25T00:00:00", 90),
            ("2004-08-26T08:00:00+00:00", 81),
            ("2004-08-26T11:00:00+02:00", 90),
        ]
        assert after.text_results == ()
        assert store.save_record(imported.records[0]) == after
        again = [{**first[0], "status": "entered-in-error"}, _observation(id="e")]
        said = store.save_record(_read(tmp_path, PATIENT, *again).records[0])
        assert len(said.observations) == 4, "what another entry of the same file still says stays"


def test_a_correction_of_one_of_two_values_of_a_moment_takes_neither_away(tmp_path: Path) -> None:
    """As of both arms: which of them is meant is not said, and no score takes one of values that contradict."""
    left, right = (_observation(valueQuantity={"value": value, "unit": "/min"}) for value in (90, 70))
    with RecordStore(tmp_path / "records.db") as store:
        store.save_record(_only(_read(tmp_path, PATIENT, left, right)))
        corrected = {**left, "status": "corrected", "valueQuantity": {"value": 91, "unit": "/min"}}
        after = store.save_record(_only(_read(tmp_path, PATIENT, corrected)))
    assert sorted(one.value for one in after.observations) == [70, 90, 91]


def test_a_value_of_a_period_is_known_at_its_end_and_not_before(tmp_path: Path) -> None:
    def measured(**period: str) -> PatientRecord:
        own = {
            name: value for name, value in _observation(effectivePeriod=period).items() if name != "effectiveDateTime"
        }
        return _only(_read(tmp_path, PATIENT, own))

    record = measured(start="2004-08-26T08:00:00Z", end="2004-08-26T20:00:00Z")
    film = datetime(2004, 8, 26, 10, tzinfo=UTC)
    assert snapshot(record, film).observations == ()
    assert [o.value for o in snapshot(record, film + timedelta(hours=10)).observations] == [90]
    (goes_on,) = measured(start="2004-08-26T08:00:00Z").observations
    assert goes_on.time == film - timedelta(hours=2)


@pytest.mark.parametrize("is_first", [True, False])
def test_of_two_versions_in_a_file_the_withdrawn_one_counts_unless_it_is_older(
    tmp_path: Path, *, is_first: bool
) -> None:
    def versions(told: str, withdrawn: str) -> list[dict[str, Any]]:
        final = _observation(id="a", **({"meta": {"lastUpdated": told}} if told else {}))
        taken_back = {**final, "status": "entered-in-error"} | (
            {"meta": {"lastUpdated": withdrawn}} if withdrawn else {}
        )
        return [taken_back, final] if is_first else [final, taken_back]

    early, late = "2004-08-26T10:00:00Z", "2004-08-27T10:00:00Z"
    for told, withdrawn, kept in (("", "", 0), (early, late, 0), (late, early, 1), (late, "", 0)):
        imported = _read(tmp_path, PATIENT, *versions(told, withdrawn))
        assert len(imported.records[0].observations) == kept, (told, withdrawn)
    other = _read(tmp_path, PATIENT, _observation(id="b"), _observation(id="a", status="entered-in-error"))
    assert len(other.records[0].observations) == 1


def test_one_bad_resource_is_one_line_and_hides_nothing(tmp_path: Path) -> None:
    bad: list[Any] = [
        {"resourceType": "Observation"},
        _observation(valueQuantity={"value": "ninety"}),
        _observation(effectiveDateTime="yesterday"),
        _observation(valueQuantity={"value": 1e400}),
        _observation(subject={"reference": "Patient/nobody"}),
        {k: v for k, v in _observation().items() if k != "subject"},
        {k: v for k, v in _observation().items() if k != "valueQuantity"},
        {k: v for k, v in _observation().items() if k != "effectiveDateTime"},
        {"resourceType": "Nonsense"},
        {"no": "type"},
        {"resourceType": ["Patient"]},
        "text",
        None,
        {"resourceType": "Patient", "name": [{"family": "Nobody"}]},
        {
            "resourceType": "MedicationStatement",
            "status": "active",
            "medicationReference": {"reference": "Medication/gone"},
            **OWN,
        },
        {"resourceType": "ImagingStudy", "status": "available", **OWN},
        _allergy(reaction="rash"),
        _observation(foo="bar"),
    ]
    imported = _read(tmp_path, *bad, PATIENT, _observation(), _allergy())
    (record,) = imported.records
    assert len(record.observations) == 1
    assert len(record.allergies or ()) == 1
    assert len(imported.problems) == len(bad)
    for problem in imported.problems:
        assert problem.status == "refused"
        assert "entry " in problem.reason
        assert problem.reason.endswith(".")
        assert "\n" not in problem.reason
        assert "Jane" not in problem.reason
        assert "42" not in problem.reason


def test_a_fact_without_its_patient_is_never_given_to_another(tmp_path: Path) -> None:
    second = {**PATIENT, "identifier": [{"system": "urn:hospital", "value": "43"}]}  # the same id, another person
    imported = _read(tmp_path, PATIENT, second, _observation())
    assert [r.observations for r in imported.records] == [(), ()]
    assert "named twice" in imported.problems[0].reason


def test_one_person_listed_twice_is_one_record(tmp_path: Path) -> None:
    second = {**PATIENT, "id": "p2", "identifier": [*PATIENT["identifier"], {"value": "99"}]}
    imported = _read(tmp_path, PATIENT, second, _observation(), _observation(subject={"reference": "Patient/p2"}))
    (record,) = imported.records
    assert len(record.identifiers) == 2
    assert len(record.observations) == 2


def test_references_by_full_url_are_followed(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    own = {"subject": {"reference": "urn:uuid:1"}}
    medicine = {"resourceType": "Medication", "code": {"text": "Amlodipine"}}
    statement = {
        "resourceType": "MedicationStatement",
        "status": "active",
        "medicationReference": {"reference": "urn:uuid:2"},
        **own,
    }
    entries = [("urn:uuid:3", statement), ("urn:uuid:1", PATIENT), ("urn:uuid:2", medicine)]
    bundle = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"fullUrl": u, "resource": r} for u, r in entries],
    }
    path.write_text(json.dumps(bundle))
    assert _only(read_bundle(path)).medications == (Medication("Amlodipine", "", "active"),)


def test_ndjson_is_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "export.ndjson"
    named = {**PATIENT, "name": [{"text": "Doe\u2028Jane"}]}  # a line separator that is not a line end
    lines = [json.dumps(named, ensure_ascii=False), "{broken", "", json.dumps(_observation()), "[1]"]
    path.write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8")
    imported = read_bundle(path)
    assert imported.records[0].name == "Doe\u2028Jane"
    assert len(imported.records[0].observations) == 1
    assert [p.reason for p in imported.problems] == ["Line 2: not JSON.", "Line 5: not JSON."]


@pytest.mark.parametrize("content", [b"", b"not json", b"\xff\xfe\x00", b"[" * 100_000, b'{"a": 1}\n{"b"'])
def test_a_file_that_is_not_fhir_is_refused_in_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(RecordError) as caught:
        read_bundle(path)
    assert str(caught.value).endswith("retry.")


def test_json_that_is_no_resource_is_one_problem(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"a": 1}')
    assert [p.reason for p in read_bundle(path).problems] == ["File: not a FHIR resource."]


def test_a_file_that_cannot_be_read_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        read_bundle(tmp_path / "absent.json")
    with pytest.raises(StorageError):
        read_bundle(tmp_path)


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        os.truncate(file.fileno(), 2**40)
    with pytest.raises(RecordError, match="larger than 256 MB"):
        read_bundle(path)


def test_resources_without_a_place_are_counted(tmp_path: Path) -> None:
    practitioners = [{"resourceType": "Practitioner", "id": str(n)} for n in range(3)]
    imported = _read(tmp_path, PATIENT, *practitioners)
    assert [(p.status, p.reason[:24]) for p in imported.problems] == [("read", "3 Practitioner resources")]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([{"use": "old", "family": "Maiden"}, {"use": "official", "family": "Doe"}, {"family": "Nick"}], "Doe"),
        ([{"text": "王小东"}], "王小东"),
        ([{"family": "D^o=e", "given": ["J"]}], "D o e^J"),
        ([{"family": "Doe", "given": ["J"], "prefix": ["Dr"], "suffix": ["PhD"]}], "Doe^J^^Dr^PhD"),
        ([{"family": "<b>Doe</b>"}], "<b>Doe</b>"),
        ([], ""),
    ],
)
def test_names(tmp_path: Path, names: list[dict[str, Any]], expected: str) -> None:
    resource = {k: v for k, v in {**PATIENT, "name": names}.items() if v}
    assert _only(_read(tmp_path, resource)).name == expected


def test_half_surrogates_are_a_problem_and_no_crash(tmp_path: Path) -> None:
    imported = _read(tmp_path, {**PATIENT, "name": [{"family": "Doe\ud800"}]}, _allergy())
    assert imported.records == ()
    assert [p.reason.partition(":")[0] for p in imported.problems] == ["entry 1 Patient", "entry 2 AllergyIntolerance"]


def test_a_retired_number_does_not_match(tmp_path: Path) -> None:
    numbers = [{"use": "old", "value": "1"}, {"value": " 2 "}, {"system": "urn:x"}]
    assert _only(_read(tmp_path, {**PATIENT, "identifier": numbers})).identifiers == (Identifier("", "2"),)


def test_test_data_is_marked(tmp_path: Path) -> None:
    tag = {"tag": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HTEST"}]}
    assert _only(_read(tmp_path, PATIENT, meta=tag)).is_sample
    assert _only(_read(tmp_path, {**PATIENT, "meta": tag})).is_sample


@pytest.mark.parametrize("wrong", [5, "x", {"system": "x"}])
def test_a_tag_of_the_wrong_kind_in_a_bundle_of_test_data_is_a_problem(wrong: object, tmp_path: Path) -> None:
    tag = {"tag": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HTEST"}]}
    imported = _read(tmp_path, {**PATIENT, "meta": {"tag": wrong}}, meta=tag)
    assert imported.records == ()
    assert "not valid FHIR R4" in imported.problems[0].reason


def test_importing_twice_changes_nothing(tmp_path: Path) -> None:
    resources = [
        PATIENT,
        _observation(id="o1"),
        _observation(id="o1"),
        _allergy(),
        {"resourceType": "Condition", "code": {"text": "Gout"}, **OWN},
    ]
    with RecordStore(tmp_path / "r.db") as store:
        first = store.save_record(_only(_read(tmp_path, *resources)))
        assert len(first.observations) == 1, "an exact repetition in one file is one fact"
        assert store.save_record(_only(_read(tmp_path, *resources))) == first


def test_when_an_account_was_stated_is_read_from_the_resource_else_from_its_bundle(tmp_path: Path) -> None:
    own, gathered = "2024-01-02T03:04:05.678+08:00", "2024-05-06T07:08:09Z"
    medicine = {
        "resourceType": "MedicationStatement",
        "status": "active",
        "medicationCodeableConcept": {"text": "Amlodipine"},
        **OWN,
    }
    path = tmp_path / "b.json"
    resources = (PATIENT, _allergy(meta={"lastUpdated": own}), medicine)
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": r} for r in resources]}
    for timestamp, expected in ((gathered, gathered), (5, ""), ("2024", "")):
        path.write_text(json.dumps({**bundle, "timestamp": timestamp}))
        record = _only(read_bundle(path))
        assert [a.stated for a in record.allergies or ()] == [own]
        assert [m.stated for m in record.medications or ()] == [expected]


FULL = PatientRecord(
    "key",
    (Identifier("urn:hospital", "42"), Identifier("", "9RG1")),
    "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "1940-03",
    "F",
    allergies=(
        Allergy(
            "Penicillin", "SCT:91936005", "high", "Rash, itching", "1987-05-12", "active", "2004-08-26T09:00:00+02:00"
        ),
        Allergy("Latex"),
    ),
    conditions=(
        Condition("Gout", "SCT:90560007", "resolved", "2001", "provisional", "2003-05", "2004-08-26T09:00:00+02:00"),
        Condition("Weight loss"),
    ),
    medications=(
        Medication("Amlodipine", "ATC:C08CA01", "stopped", "1996-10", "1 a day", "2004", "2004-08-26T09:00:00+02:00"),
        Medication("Oxygen", "http://example.org/codes|ox", "draft", "2004-08-26"),
        Medication("Something"),
    ),
    observations=(
        Observation(
            "8867-4", "Heart rate", 90.0, "/min", datetime(2004, 8, 26, 9, tzinfo=timezone(timedelta(hours=2)))
        ),
        Observation("8867-4", "Heart rate", 91.5, "beats per minute", datetime(2004, 8, 27)),  # noqa: DTZ001
        Observation(
            "http://example.org/codes|x",
            "X",
            -0.25,
            "",
            datetime(2004, 8, 27, 1, 2, 3, 4, timezone(-timedelta(hours=4))),
        ),
    ),
    text_results=(TextResult("72166-2", "Smoking", "Ex-smoker", "2004-08"), TextResult("", "CRP", "< 5 mg/L")),
    encounters=(Encounter("Clinic", "AMB", "2004-08-16T14:30:00+02:00", "2004-08-16"), Encounter("")),
    documents=(Document("Letter", "2004-08", "Dear colleague,\n王 <b>"), Document("Scan")),
    studies=(StudyMark("1.2.3", "2004-08-26", "CR/SR", "THORAX"), StudyMark("1.2.4")),
    is_sample=True,
)


def _again(record: PatientRecord, path: Path) -> PatientRecord:
    write_bundle(record, path)
    Bundle.model_validate_json(path.read_bytes())  # by an independent reader of R4
    return replace(_only(read_bundle(path)), key=record.key)


@pytest.mark.parametrize(
    "record",
    [
        FULL,
        PatientRecord("k", (Identifier("", "1"),)),
        PatientRecord("k", (Identifier("", "1"),), allergies=(), conditions=(), medications=()),
    ],
)
def test_what_is_exported_reads_back_the_same(tmp_path: Path, record: PatientRecord) -> None:
    back = _again(record, tmp_path / "out.json")
    assert back == record
    assert [o.time.isoformat() for o in back.observations] == [o.time.isoformat() for o in record.observations]


_WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc", "Z")), min_size=1, max_size=10)
_DAYS = st.sampled_from(["", "2004", "2004-08", "2004-08-26", "2004-08-26T09:00:00+02:00"])
_TIMES = st.datetimes(
    min_value=datetime(1900, 1, 1),  # noqa: DTZ001
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=8))]),
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.builds(
        PatientRecord,
        key=st.just("k"),
        identifiers=st.lists(
            st.builds(Identifier, st.just("") | _WORDS, _WORDS), min_size=1, max_size=2, unique=True
        ).map(tuple),
        name=_WORDS.map(lambda word: word.replace("^", "").replace("=", "")),
        birth_date=st.sampled_from(["", "1940", "1940-03-05"]),
        sex=st.sampled_from(["", "M", "F", "O"]),
        allergies=st.none()
        | st.lists(st.builds(Allergy, _WORDS, st.just("SCT:91936005"), st.just("low"), _WORDS, _DAYS), max_size=2).map(
            tuple
        ),
        conditions=st.none()
        | st.lists(st.builds(Condition, _WORDS, st.just(""), st.just("active"), _DAYS), max_size=2).map(tuple),
        medications=st.none()
        | st.lists(
            st.builds(Medication, _WORDS, st.just(""), st.sampled_from(["", "active", "cancelled"]), _DAYS, _WORDS),
            max_size=2,
        ).map(tuple),
        observations=st.lists(
            st.builds(Observation, st.just("8867-4"), _WORDS, st.floats(-1e12, 1e12), _WORDS, _TIMES), max_size=3
        ).map(tuple),
        text_results=st.lists(st.builds(TextResult, st.just("72166-2"), _WORDS, _WORDS, _DAYS), max_size=2).map(tuple),
        documents=st.lists(st.builds(Document, _WORDS, _DAYS, st.text(max_size=20)), max_size=2).map(tuple),
    )
)
def test_any_record_survives_fhir(tmp_path: Path, record: PatientRecord) -> None:
    medications = record.medications
    if medications is not None:  # orders come after statements
        record = replace(record, medications=tuple(sorted(medications, key=lambda m: m.status == "cancelled")))
    assert _again(record, tmp_path / "out.json") == record


def test_an_export_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.json"
    path.write_text("before")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("medviewer.whole_file.os.fsync", full)
    with pytest.raises(StorageError, match="disk is full"):
        write_bundle(FULL, path)
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]


_UNKNOWN = [{"url": "http://example.org/negated", "valueBoolean": True}]
_ORDER = {
    "resourceType": "MedicationRequest",
    "status": "active",
    "intent": "order",
    "medicationCodeableConcept": {"text": "Warfarin"},
    **OWN,
}
_VISIT = {"resourceType": "Encounter", "status": "finished", "class": {"code": "AMB"}, **OWN}
_STUDY = {
    "resourceType": "ImagingStudy",
    "status": "available",
    "identifier": [{"system": "urn:dicom:uid", "value": "urn:oid:1.2"}],
    **OWN,
}
_NOTE = {"resourceType": "DocumentReference", "status": "current", "content": [{"attachment": {"title": "X"}}], **OWN}


def test_what_is_said_to_be_about_the_patient_is_theirs(tmp_path: Path) -> None:
    own = _observation(focus=[{"reference": "Patient/p1/_history/2"}])
    assert [o.value for o in _only(_read(tmp_path, PATIENT, own)).observations] == [90]


@pytest.mark.parametrize(
    ("resource", "change", "reason"),
    [
        (_ORDER, {"intent": "proposal"}, "only proposed or planned"),
        (_ORDER, {"intent": "plan"}, "only proposed or planned"),
        (_ORDER, {"intent": "option"}, "only proposed or planned"),
        (_VISIT, {"status": "cancelled"}, "called off"),
        (_STUDY, {"status": "cancelled"}, "called off"),
        (_NOTE, {"status": "superseded"}, "newer document"),
        (_observation(), {"code": {}}, "does not say what was observed"),
        (_observation(), {"code": {"text": " "}}, "does not say what was observed"),
        (_observation(), {"focus": [{"reference": "Patient/unborn"}]}, "about somebody or something else"),
        (_observation(), {"focus": [OWN["subject"], {"display": "her donor"}]}, "about somebody or something else"),
        (_NOTE, {"docStatus": "entered-in-error"}, "withdrawn by its source"),
        (_observation(), {"modifierExtension": _UNKNOWN}, "changes what it means"),
        (_allergy(), {"modifierExtension": _UNKNOWN}, "changes what it means"),
        (_ORDER, {"dosageInstruction": [{"text": "1", "modifierExtension": _UNKNOWN}]}, "changes what it means"),
    ],
)
def test_what_is_no_fact_or_may_mean_another_is_refused_with_its_reason(
    tmp_path: Path, resource: dict[str, Any], change: dict[str, Any], reason: str
) -> None:
    def facts(record: PatientRecord) -> list[Any]:
        return [*(record.medications or ()), *record.encounters, *record.studies, *record.documents]

    whole = _only(_read(tmp_path, PATIENT, resource))
    assert len([*facts(whole), *whole.observations, *(whole.allergies or ())]) == 1
    imported = _read(tmp_path, PATIENT, {**resource, **change})
    (record,) = imported.records
    assert [*facts(record), *record.observations, *(record.allergies or ())] == []
    assert [reason in problem.reason for problem in imported.problems] == [True]


def test_a_patient_or_a_medicine_that_may_mean_something_else_is_not_used(tmp_path: Path) -> None:
    imported = _read(tmp_path, {**PATIENT, "modifierExtension": _UNKNOWN})
    assert imported.records == ()
    assert "changes what it means" in imported.problems[0].reason
    medicine = {"resourceType": "Medication", "id": "m", "code": {"text": "Warfarin"}}
    order = {k: v for k, v in _ORDER.items() if k != "medicationCodeableConcept"}
    order["medicationReference"] = {"reference": "Medication/m"}
    assert _only(_read(tmp_path, PATIENT, medicine, order)).medications == (Medication("Warfarin", "", "active"),)
    imported = _read(tmp_path, PATIENT, {**medicine, "modifierExtension": _UNKNOWN}, order)
    assert imported.records[0].medications is None
    assert [p.reason.partition(":")[0] for p in imported.problems] == [
        "entry 2 Medication",
        "entry 3 MedicationRequest",
    ]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"modifierExtension": _UNKNOWN}, "changes what it means"),
        ({"status": "entered-in-error"}, "its medicine was withdrawn by its source"),
    ],
)
def test_a_medicine_inside_its_order_is_checked_as_any_other(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    medicine = {"resourceType": "Medication", "id": "m", "code": {"text": "Warfarin"}}
    order = {k: v for k, v in _ORDER.items() if k != "medicationCodeableConcept"}
    order |= {"medicationReference": {"reference": "#m"}, "contained": [medicine]}
    assert _only(_read(tmp_path, PATIENT, order)).medications == (Medication("Warfarin", "", "active"),)
    imported = _read(tmp_path, PATIENT, order | {"contained": [medicine | change]})
    assert imported.records[0].medications is None
    assert [problem.reason.partition(": ")[0] for problem in imported.problems] == ["entry 2 MedicationRequest"]
    assert reason in imported.problems[0].reason


def test_ends_are_read(tmp_path: Path) -> None:
    taken = {"resourceType": "MedicationStatement", "status": "active", "medicationCodeableConcept": {"text": "X"}}
    taken |= {"effectivePeriod": {"start": "2001", "end": "2003-05"}, **OWN}
    gout = {"resourceType": "Condition", "code": {"text": "Gout"}, **OWN}
    record = _only(_read(tmp_path, PATIENT, taken, gout | {"abatementDateTime": "2003"}))
    assert [(m.started, m.ended) for m in record.medications or ()] == [("2001", "2003-05")]
    assert [c.ended for c in record.conditions or ()] == ["2003"]


def test_base64_may_be_broken_into_lines(tmp_path: Path) -> None:
    text = "Kein Anhalt für Infiltrate. " * 9
    data = base64.encodebytes(text.encode()).decode()
    assert "\n" in data.strip()
    note = _NOTE | {"content": [{"attachment": {"contentType": "text/plain", "data": data}}]}
    assert [d.text for d in _only(_read(tmp_path, PATIENT, note)).documents] == [text]


def test_a_document_that_cannot_be_decoded_is_a_problem(tmp_path: Path) -> None:
    def note(data: str) -> dict[str, Any]:
        return {
            "resourceType": "DocumentReference",
            "status": "current",
            "content": [{"attachment": {"contentType": "text/plain", "data": data}}],
            **OWN,
        }

    imported = _read(
        tmp_path,
        PATIENT,
        note("!!"),
        note(base64.b64encode(b"\xff").decode()),
        note(base64.b64encode("喂".encode()).decode()),
    )
    assert [d.text for d in imported.records[0].documents] == ["喂"]
    assert len(imported.problems) == 2


_BASE = [
    PATIENT,
    _observation(),
    _allergy(),
    {"resourceType": "Condition", "code": {"text": "Gout"}, **OWN},
    to_bundle(replace(FULL, identifiers=(Identifier("", "7"),)))["entry"][0]["resource"],
]
_JUNK = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.just([])
    | st.just({})
    | st.just([None])
    | st.just({"coding": "x"})
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_mutation_escapes_the_problem_list(tmp_path: Path, data: st.DataObject) -> None:
    resources = copy.deepcopy(_BASE)
    node: Any = data.draw(st.sampled_from(resources[1:]))
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = data.draw(st.sampled_from(keys))
        if isinstance(node[key], dict | list) and node[key] and data.draw(st.booleans()):
            node = node[key]
            continue
        node[key] = data.draw(_JUNK)
        break
    imported = _read(tmp_path, *resources)
    assert "Doe^Jane^Mary" in [r.name for r in imported.records]
