"""The bundled sample: invented, marked as such, right in its codes, and of the patient on the demo film."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pydicom
import pytest
from fhir.resources.R4B.bundle import Bundle

from medviewer.domain.study import Patient
from medviewer.records.fhir import read_bundle
from medviewer.records.identity import mismatch
from medviewer.records.record import PatientRecord, age_at, snapshot, timeline
from medviewer.records.store import RecordStore
from medviewer.resources import resource
from tests.samples import package_file


@pytest.fixture(scope="module")
def path() -> Path:
    return resource("sample-record.json")


@pytest.fixture(scope="module")
def record(path: Path) -> PatientRecord:
    imported = read_bundle(path)
    assert imported.problems == ()
    (found,) = imported.records
    return found


def test_it_is_the_patient_of_the_film(record: PatientRecord, tmp_path: Path) -> None:
    film = pydicom.dcmread(package_file("RG1_UNCR.dcm"), stop_before_pixels=True)
    patient = Patient(
        film.PatientID, film.get("IssuerOfPatientID", ""), str(film.PatientName), film.PatientBirthDate, film.PatientSex
    )
    assert mismatch(record, patient) == ""
    with RecordStore(tmp_path / "r.db") as store:
        stored = store.save_record(record)
        assert store.record_for(patient.patient_id, patient.issuer) == stored
        assert store.save_record(record) == stored
    assert int(age_at(record.birth_date, datetime.strptime(film.StudyDate, "%Y%m%d").date()) or 0) == 64  # noqa: DTZ007


def test_it_is_valid_r4_and_every_resource_says_that_it_is_invented(path: Path, record: PatientRecord) -> None:
    bundle = json.loads(path.read_text(encoding="utf-8"))
    Bundle.model_validate(bundle)
    for part in (bundle, *(entry["resource"] for entry in bundle["entry"])):
        (tag,) = part["meta"]["tag"]
        assert (tag["code"], tag["display"]) == ("HTEST", "sample data; not a real person")
    assert record.is_sample


def test_it_has_what_the_panel_shows(record: PatientRecord) -> None:
    assert [a.text for a in record.allergies or ()] == ["Penicillin", "Iodinated contrast media"]
    assert all(a.criticality == "high" and a.reaction for a in record.allergies or ())
    assert len(record.conditions or ()) >= 4
    assert len(record.medications or ()) >= 3
    wanted = {
        "8867-4",
        "8480-6",
        "8462-4",
        "59408-5",
        "8310-5",
        "9279-1",
        "29463-7",
        "1988-5",
        "718-7",
        "14682-9",
        "33914-3",
    }
    assert wanted <= {o.code for o in record.observations}
    assert [s.date for s in record.studies] == ["2002-11-14"]
    kinds = {entry.kind for entry in timeline(record)}
    assert kinds >= {
        "study",
        "observation",
        "text result",
        "condition",
        "medication",
        "allergy",
        "encounter",
        "document",
    }
    assert [document.title for document in record.documents] == ["Conversation at admission"]


# What each code means and in which unit it is given: from LOINC, SNOMED CT and the WHO ATC index, not from the file.
_LOINC = {
    "8867-4": ("Heart rate", "/min", 30, 220),
    "8480-6": ("Systolic blood pressure", "mm[Hg]", 70, 220),
    "8462-4": ("Diastolic blood pressure", "mm[Hg]", 40, 130),
    "59408-5": ("Oxygen saturation in Arterial blood by Pulse oximetry", "%", 70, 100),
    "8310-5": ("Body temperature", "Cel", 34, 42),
    "9279-1": ("Respiratory rate", "/min", 8, 40),
    "29463-7": ("Body weight", "kg", 35, 150),
    "8302-2": ("Body height", "cm", 130, 200),
    "1988-5": ("C reactive protein [Mass/volume] in Serum or Plasma", "mg/L", 0, 400),
    "718-7": ("Hemoglobin [Mass/volume] in Blood", "g/dL", 5, 20),
    "14682-9": ("Creatinine [Moles/volume] in Serum or Plasma", "umol/L", 30, 900),
    "33914-3": (
        "Glomerular filtration rate [Volume Rate/Area] in Serum or Plasma by Creatinine-based formula (MDRD)/1.73 sq M",
        "mL/min/{1.73_m2}",
        5,
        130,
    ),
}
_OTHER = {
    "SCT:91936005": "Allergy to penicillin",
    "SCT:293637006": "Allergy to contrast media",
    "SCT:66857006": "Hemoptysis",
    "SCT:267024001": "Abnormal weight loss",
    "SCT:13645005": "Chronic obstructive lung disease",
    "SCT:59621000": "Essential hypertension",
    "ATC:C08CA01": "amlodipine",
    "ATC:R03AC02": "salbutamol",
    "ATC:R03BB04": "tiotropium bromide",
    "ATC:B01AC06": "acetylsalicylic acid",
}


def test_its_codes_units_and_values_are_right(path: Path, record: PatientRecord) -> None:
    for o in record.observations:
        _, unit, low, high = _LOINC[o.code]
        assert o.unit == unit
        assert low <= o.value <= high, o
    displays: dict[str, Any] = {}
    for entry in json.loads(path.read_text(encoding="utf-8"))["entry"]:
        part = entry["resource"]
        concepts = [
            part.get("code"),
            part.get("medicationCodeableConcept"),
            *(c["code"] for c in part.get("component", ())),
        ]
        for coding in (coding for concept in concepts if concept for coding in concept["coding"]):
            displays[coding["code"]] = coding["display"]
    facts = [*(record.allergies or ()), *(record.conditions or ()), *(record.medications or ())]
    assert {fact.code for fact in facts} == set(_OTHER)
    for code, meaning in {**{k: v[0] for k, v in _LOINC.items()}, **_OTHER}.items():
        assert displays[code.partition(":")[2] or code] == meaning


def test_egfr_agrees_with_creatinine(record: PatientRecord) -> None:
    """Levey et al., Ann Intern Med 1999;130:461 (four variables, 186): the formula of that time."""
    by_time = {(o.code, o.time): o.value for o in record.observations}
    pairs = [(time, value) for (code, time), value in by_time.items() if code == "14682-9"]
    assert len(pairs) == 3
    for time, creatinine in pairs:
        expected = 186 * (creatinine / 88.4) ** -1.154 * 64**-0.203 * 0.742
        assert by_time["33914-3", time] == pytest.approx(expected, abs=0.5)


def test_a_model_sees_its_values_before_the_film_wherever_the_machine_stands(record: PatientRecord) -> None:
    case = snapshot(
        record, datetime(2004, 8, 26, 4, 50, tzinfo=UTC)
    )  # 18:50 at UTC+14, the earliest reading of the film's time
    assert len(case.observations) == len(record.observations)
    assert case.medicines is not None
    assert not any("Acetylsalicylic" in medicine for medicine in case.medicines)
    assert case.allergies == ("Penicillin", "Iodinated contrast media")
