"""What its source takes back leaves the record, whenever it came; what somebody still says stays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from medviewer.records.fhir import ImportedRecords, read_bundle
from medviewer.records.record import PatientRecord, snapshot
from medviewer.records.store import RecordStore

PATIENT: dict[str, Any] = {"resourceType": "Patient", "id": "p1", "identifier": [{"value": "42"}]}
WHOSE = {"reference": "Patient/p1"}
SERVER = "https://hospital.example/fhir"
UUID = "0f5cf1a6-3f1d-4d1e-9a35-0d3f3b6f1c11"
EARLY, LATE = "2024-01-01T08:00:00Z", "2024-06-01T08:00:00Z"


def _coded(code: str, text: str) -> dict[str, Any]:
    return {"coding": [{"system": "http://snomed.info/sct", "code": code}], "text": text}


def _verified(code: str) -> dict[str, Any]:
    return {"verificationStatus": {"coding": [{"code": code}]}}


def _of(state: str) -> dict[str, Any]:
    return {"clinicalStatus": {"coding": [{"code": state}]}}


def _allergy(**changes: Any) -> dict[str, Any]:
    own = {"resourceType": "AllergyIntolerance", "id": "1", "code": _coded("91936005", "Penicillin"), "patient": WHOSE}
    return {**own, **changes}


def _problem(**changes: Any) -> dict[str, Any]:
    own = {"resourceType": "Condition", "id": "1", "code": _coded("90560007", "Gout"), "subject": WHOSE}
    return {**own, "onsetDateTime": "2003", **changes}


def _medicine(**changes: Any) -> dict[str, Any]:
    own = {"resourceType": "MedicationStatement", "id": "1", "subject": WHOSE, "status": "active"}
    return {**own, "medicationCodeableConcept": _coded("372756006", "Warfarin"), **changes}


def _value(value: float | None = 90, **changes: Any) -> dict[str, Any]:
    code = {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]}
    own = {"resourceType": "Observation", "id": "1", "status": "final", "code": code, "subject": WHOSE}
    told = {} if value is None else {"valueQuantity": {"value": value, "unit": "/min"}}
    when = {} if "effectivePeriod" in changes else {"effectiveDateTime": EARLY}
    return {**own, **when, **told, **changes}


FACTS = {"allergies": _allergy, "conditions": _problem, "medications": _medicine, "observations": _value}
STATED = [name for name in FACTS if name != "observations"]


class Hospital:
    """A store, and files that come one after the other."""

    def __init__(self, folder: Path) -> None:
        self.store = RecordStore(folder / "records.db")
        self._file = folder / "bundle.json"

    def read(self, *entries: dict[str, Any], kind: str = "collection") -> ImportedRecords:
        listed = [
            {"resource": PATIENT},
            *(one if "request" in one or "fullUrl" in one else {"resource": one} for one in entries),
        ]
        self._file.write_text(json.dumps({"resourceType": "Bundle", "type": kind, "entry": listed}), encoding="utf-8")
        return read_bundle(self._file)

    def comes(self, *entries: dict[str, Any], kind: str = "collection") -> PatientRecord:
        """The record after one more file, which says the same when it comes a second time."""
        imported = self.read(*entries, kind=kind)
        record = self.store.save_record(imported.records[0])
        assert self.store.save_record(imported.records[0]) == record, "importing twice changes nothing"
        return record

    def forget_origins(self) -> None:
        """As a store that an earlier version of the program wrote."""
        with self.store.database.write() as connection:
            for table in ("allergy", "condition", "medication", "observation", "text_result"):
                connection.exec_driver_sql(f"UPDATE {table} SET origin = ''")  # noqa: S608 - names of ours


@pytest.fixture
def hospital(tmp_path: Path) -> Iterator[Hospital]:
    made = Hospital(tmp_path)
    with made.store:
        yield made


def _withdrawn(name: str, fact: dict[str, Any]) -> dict[str, Any]:
    is_verified = name in ("allergies", "conditions")
    return {**fact, **(_verified("entered-in-error") if is_verified else {"status": "entered-in-error"})}


def _deleted(fact: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"request": {"method": "DELETE", "url": f"{fact['resourceType']}/{fact['id']}"}, **more}


@pytest.mark.parametrize("is_old_store", [False, True])
@pytest.mark.parametrize("name", FACTS)
def test_what_was_entered_in_error_leaves_the_record(hospital: Hospital, name: str, *, is_old_store: bool) -> None:
    fact = FACTS[name]()
    assert len(getattr(hospital.comes(fact), name)) == 1
    if is_old_store:
        hospital.forget_origins()
    after = getattr(hospital.comes(_withdrawn(name, fact)), name)
    assert after == (() if name == "observations" else None), "nobody says that there are none"


@pytest.mark.parametrize("name", ["allergies", "conditions"])
def test_what_was_refuted_leaves_the_record(hospital: Hospital, name: str) -> None:
    hospital.comes(FACTS[name](**_verified("unconfirmed")))
    assert getattr(hospital.comes(FACTS[name](**_verified("refuted"))), name) is None
    later = [FACTS[name](meta={"lastUpdated": EARLY}), FACTS[name](meta={"lastUpdated": LATE}, **_verified("refuted"))]
    assert getattr(hospital.comes(*later), name) is None


@pytest.mark.parametrize("name", FACTS)
@pytest.mark.parametrize("place", ["", SERVER])
def test_what_was_deleted_leaves_the_record(hospital: Hospital, name: str, place: str) -> None:
    fact = FACTS[name]()
    url = f"{SERVER}/{fact['resourceType']}/1"
    hospital.comes({"resource": fact, "fullUrl": url} if place else fact, FACTS[name](id="2"))
    gone = _deleted(fact, fullUrl=url) if place else _deleted(fact)
    assert len(getattr(hospital.comes(_deleted(FACTS[name](id="3")), kind="transaction"), name)) >= 1
    after = hospital.comes(gone, _deleted(FACTS[name](id="2")), kind="transaction" if not place else "history")
    assert not getattr(after, name)
    assert getattr(after, name) is None or name == "observations"


def test_a_deletion_in_a_history_takes_its_earlier_versions_along(hospital: Hospital) -> None:
    hospital.comes(_allergy())
    hospital.forget_origins()
    imported = hospital.read(_deleted(_allergy(), response={"lastModified": LATE}), _allergy(), kind="history")
    assert imported.records[0].allergies is None
    assert hospital.store.save_record(imported.records[0]).allergies is None
    kept_by_server = _deleted(_allergy(), resource=_allergy())
    assert hospital.comes(kept_by_server, kind="history").allergies is None
    made_again = _allergy(meta={"lastUpdated": "2024-07-01T08:00:00Z"})
    again = hospital.comes(made_again, _deleted(_allergy(), response={"lastModified": LATE}), kind="history")
    assert [a.text for a in again.allergies or ()] == ["Penicillin"]


def test_a_deletion_of_which_nobody_can_tell_whose_it_was_removes_nothing_and_says_so(hospital: Hospital) -> None:
    hospital.comes(_allergy())
    other = {"resourceType": "Patient", "id": "p2", "identifier": [{"value": "43"}]}
    conditional = {"request": {"method": "DELETE", "url": "AllergyIntolerance?identifier=x"}}
    imported = hospital.read(
        other, _deleted(_allergy()), conditional, _deleted({"resourceType": "Encounter", "id": "1"})
    )
    assert ["nothing was removed" in one.reason for one in imported.problems] == [True] * 3
    for record in imported.records:
        hospital.store.save_record(record)
    alone = hospital.read(_deleted({"resourceType": "Encounter", "id": "1"}))
    assert ["nothing was removed" in one.reason for one in alone.problems] == [True]
    known = hospital.store.record_for("42")
    assert known is not None
    assert len(known.allergies or ()) == 1


@pytest.mark.parametrize(
    ("name", "changes", "state"),
    [
        ("medications", {"status": "stopped", "effectivePeriod": {"start": "2023-05", "end": "2024"}}, "stopped"),
        ("allergies", _of("inactive") | {"code": {"text": "penicillin"}}, "inactive"),
        ("conditions", _of("resolved") | {"onsetDateTime": "2003-05"}, "resolved"),
    ],
)
def test_a_resource_that_has_ended_renews_itself(
    hospital: Hospital, name: str, changes: dict[str, Any], state: str
) -> None:
    """Though its words or its beginning are others now: the account before does not stay beside it."""
    hospital.comes(FACTS[name](id=UUID))
    (only,) = getattr(hospital.comes(FACTS[name](id=UUID, **changes)), name)
    assert state in (getattr(only, "status", ""), getattr(only, "clinical_status", ""))


def test_a_plain_number_that_another_medicine_has_renews_nothing(hospital: Hospital) -> None:
    """Files may count their entries: the first of one file is not the first of another."""
    hospital.comes(_medicine(effectivePeriod={"start": "2003"}))
    after = hospital.comes(
        _medicine(effectivePeriod={"start": "2010"}), _medicine(id="2", effectivePeriod={"start": "2011"})
    )
    assert [m.started for m in after.medications or ()] == ["2003", "2010", "2011"]
    hospital.comes(_allergy())
    after = hospital.comes(_allergy(code=_coded("111088007", "Latex")))
    assert [a.text for a in after.allergies or ()] == ["Penicillin", "Latex"]


def test_of_several_versions_in_a_file_the_newest_counts(hospital: Hospital) -> None:
    versions = [
        _medicine(meta={"lastUpdated": LATE}, status="stopped"),
        _medicine(meta={"lastUpdated": EARLY}, effectivePeriod={"start": "2003"}),
    ]
    for listed in (versions, versions[::-1]):
        (only,) = hospital.read(*listed, kind="history").records[0].medications or ()
        assert only.status == "stopped"


@pytest.mark.parametrize("name", STATED)
def test_what_another_resource_states_stays(hospital: Hospital, name: str) -> None:
    hospital.comes(FACTS[name](id="1"))
    hospital.comes(FACTS[name](id="2"))
    assert len(getattr(hospital.comes(_withdrawn(name, FACTS[name](id="3"))), name)) == 1, "never told by that one"
    assert len(getattr(hospital.comes(_withdrawn(name, FACTS[name](id="2"))), name)) == 1
    assert getattr(hospital.comes(_withdrawn(name, FACTS[name](id="1"))), name) is None


def test_a_value_that_several_resources_state_stays_until_all_have_taken_it_back(hospital: Hospital) -> None:
    hospital.comes(_value(id="1"), _value(id="2"))
    assert len(hospital.comes(_value(id="3")).observations) == 1
    for name in "31":
        assert len(hospital.comes(_value(id=name, status="entered-in-error")).observations) == 1
    assert hospital.comes(_value(id="2", status="entered-in-error")).observations == ()


def test_what_the_same_file_still_states_loses_nothing(hospital: Hospital) -> None:
    hospital.comes(_allergy(criticality="high"))
    hospital.forget_origins()
    twice = {key: value for key, value in _allergy(**_verified("entered-in-error")).items() if key != "id"}
    (only,) = hospital.comes(_allergy(id="2"), twice).allergies or ()
    assert only.criticality == "high"
    newer = _allergy(id="2", meta={"lastUpdated": LATE})
    older = _allergy(id="2", meta={"lastUpdated": EARLY}, **_verified("entered-in-error"))
    latex = _allergy(id="3", code=_coded("111088007", "Latex"))
    assert [a.text for a in hospital.comes(newer, latex, older).allergies or ()] == ["Penicillin", "Latex"]


@pytest.mark.parametrize("name", FACTS)
def test_another_server_takes_nothing_back(hospital: Hospital, name: str) -> None:
    fact = FACTS[name]()
    ours, theirs = (f"https://{server}.example/fhir/{fact['resourceType']}/1" for server in ("ours", "theirs"))
    hospital.comes({"resource": fact, "fullUrl": ours})
    hospital.comes({"resource": _withdrawn(name, fact), "fullUrl": theirs})
    assert len(getattr(hospital.comes(_deleted(fact, fullUrl=theirs), kind="history"), name)) == 1


def test_a_medicine_that_is_withdrawn_without_its_name_is_found_by_where_it_lies(hospital: Hospital) -> None:
    order = {key: value for key, value in _medicine().items() if key != "medicationCodeableConcept"}
    order["medicationReference"] = {"reference": "Medication/m"}
    drug = {"resourceType": "Medication", "id": "m", "code": _coded("372756006", "Warfarin")}
    assert len(hospital.comes(order, drug).medications or ()) == 1
    assert hospital.comes(_withdrawn("medications", order)).medications is None


@pytest.mark.parametrize("name", STATED)
def test_of_two_accounts_that_it_may_mean_a_withdrawal_takes_neither(hospital: Hospital, name: str) -> None:
    is_medicine = name == "medications"
    differently = {"dosage": [{"text": "night"}]} if is_medicine else _of("inactive") | _verified("confirmed")
    hospital.comes(FACTS[name](id="1"), FACTS[name](id="2", **differently))
    hospital.forget_origins()
    nameless = {key: value for key, value in FACTS[name]().items() if key != "id"}
    either = {"dosage": [{"text": "noon"}]} if is_medicine else {}
    left = getattr(hospital.comes(_withdrawn(name, nameless | either)), name)
    assert len(left) == 2


def test_none_known_that_is_taken_back_is_not_recorded(hospital: Hospital) -> None:
    none = _allergy(code=_coded("716186003", "No known allergy"))
    for taken_back in (none | _verified("entered-in-error"), none | _of("inactive"), _deleted(none)):
        assert hospital.comes(none).allergies == ()
        assert hospital.comes(_allergy(id="other", **_verified("refuted"))).allergies == ()
        assert hospital.comes(taken_back).allergies is None
    assert hospital.comes(none, _withdrawn("allergies", none | {"id": "2"})).allergies == ()


def test_a_value_that_was_entered_in_error_goes_whatever_it_is_said_to_have_been(hospital: Hospital) -> None:
    later = {"effectiveDateTime": LATE}
    for changed in (_value(1), _value(None), _value(None, valueString="see note")):
        assert [o.value for o in hospital.comes(_value(), _value(70, id="2")).observations] == [90, 70]
        assert [o.value for o in hospital.comes({**changed, "status": "entered-in-error"}).observations] == [70]
    hospital.comes(_value())
    kept = hospital.comes(_value(1, status="entered-in-error", **later))
    assert len(kept.observations) == 2, "a plain number of another moment may be another's"
    assert len(hospital.comes(_value(None, status="entered-in-error", **later)).observations) == 2
    hospital.comes(_value(id=UUID))
    assert len(hospital.comes(_value(1, id=UUID, status="entered-in-error", **later)).observations) == 2


def test_a_correction_takes_the_place_of_what_its_resource_said(hospital: Hospital) -> None:
    """Also of one of two values of a moment, as of both arms."""
    hospital.comes(_value(), _value(70, id="2"))
    assert sorted(o.value for o in hospital.comes(_value(91, status="corrected")).observations) == [70, 91]
    germ = _value(None, id="w", valueString="Growth")
    hospital.comes(germ)
    (text,) = hospital.comes({**germ, "status": "amended", "valueString": "No growth"}).text_results
    assert text.text == "No growth"


def test_an_identifier_names_a_resource_unless_several_share_it(hospital: Hospital) -> None:
    def named(value: float, name: str, order: str, **changes: Any) -> dict[str, Any]:
        return _value(value, id=name, identifier=[{"system": "urn:lab", "value": order}], **changes)

    hospital.comes(named(90, "a", "7"))
    assert hospital.comes(named(1, "b", "7", status="entered-in-error")).observations == ()
    hospital.comes(named(90, "a", "8"), named(70, "c", "8"))
    left = hospital.comes(named(1, "b", "8", status="entered-in-error")).observations
    assert [o.value for o in left] == [90, 70]


def test_models_never_see_where_a_value_came_from(hospital: Hospital) -> None:
    (imported,) = hospital.read(_value(), _allergy()).records
    assert imported.observations[0].origin == "Observation/1"
    assert snapshot(imported, datetime(2024, 7, 1, tzinfo=UTC)).observations[0].origin == ""
    stored = hospital.store.save_record(imported)
    assert {fact.origin for fact in (*stored.observations, *(stored.allergies or ()))} == {""}


def test_a_value_of_a_period_that_stood_at_its_beginning_moves_to_its_end(hospital: Hospital) -> None:
    """Earlier versions of the program put it there: an import again must not leave it twice."""
    period = {"effectivePeriod": {"start": EARLY, "end": "2024-01-01T20:00:00Z"}}
    hospital.comes(_value(), _value(70, id="2"))
    hospital.forget_origins()
    after = hospital.comes(_value(**period))
    assert sorted((o.time.hour, o.value) for o in after.observations) == [(8, 70), (20, 90)]
    # What was measured at the beginning stays, now that where it came from is known.
    hospital.comes(_value(id="3"))
    assert len(hospital.comes(_value(**period)).observations) == 3
    hospital.forget_origins()
    assert len(hospital.comes(_value(**period), _value(id="3")).observations) == 3
