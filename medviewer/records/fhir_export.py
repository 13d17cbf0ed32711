"""FHIR R4 out: a patient record as a Bundle that any FHIR system can read."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medviewer.domain.case import Observation, is_whole_day
from medviewer.records.fhir_codes import (
    ACT_CODES,
    DICOM_CODES,
    NAME_WRITING,
    NULL_FLAVOR,
    SCHEMES,
    TEST_DATA,
    UCUM,
    WRITINGS,
    coding_of,
)
from medviewer.records.record import (
    Allergy,
    Condition,
    Document,
    Encounter,
    Medication,
    PatientRecord,
    StudyMark,
    TextResult,
    parse_moment,
    with_zone,
)
from medviewer.whole_file import write_whole

_GENDER = {"M": "male", "F": "female", "O": "other"}
_STATUS_SYSTEM = "http://terminology.hl7.org/CodeSystem/"
# States that only an order can have.
_ORDER_STATUS = frozenset({"cancelled", "draft"})
# Units that are surely UCUM; any other goes out as the text it was recorded as, claiming nothing.
_UCUM_UNITS = frozenset(
    {
        *("%", "/min", "mm[Hg]", "Cel", "[degF]", "kg", "g", "cm", "m", "kg/m2", "kPa", "s", "ms", "L/min", "mm/h"),
        *("mg/L", "mg/dL", "g/L", "g/dL", "ug/L", "ng/mL", "pg/mL", "umol/L", "mmol/L", "U/L"),
        *("10*9/L", "10*12/L", "10*3/uL", "mL/min", "mL/min/{1.73_m2}"),
    }
)
_NONE_KNOWN: dict[str, tuple[str, dict[str, Any]]] = {
    "allergies": ("AllergyIntolerance", {"code": ("716186003", "No known allergy")}),
    "conditions": ("Condition", {"code": ("160245001", "No current problems or disability")}),
    "medications": ("MedicationStatement", {"medicationCodeableConcept": ("787481004", "No known medications")}),
}


def to_bundle(record: PatientRecord) -> dict[str, Any]:
    """The record as a FHIR R4 collection Bundle, as plain JSON.

    What was not recorded is not in it; "none known" is stated with its SNOMED CT
    code. Reading the Bundle again gives the same facts.
    """
    subject = {"reference": _urn(record, "Patient", 0)}
    resources = [("Patient", _patient(record)), *_stated_absences(record, subject), *_facts(record, subject)]
    entries = []
    for number, (kind, body) in enumerate(resources):
        content = {name: value for name, value in body.items() if value not in ("", None, [], {})}
        entries.append({"fullUrl": _urn(record, kind, number), "resource": {"resourceType": kind, **content}})
    bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    return {**bundle, "meta": _sample_tag()} if record.is_sample else bundle


def write_bundle(record: PatientRecord, path: Path) -> None:
    """Write the record as a FHIR R4 Bundle; the file is whole or not there.

    Raises:
        StorageError: it cannot be written; what stood at ``path`` is as it was.
    """
    text = json.dumps(to_bundle(record), ensure_ascii=False, indent=2, allow_nan=False)
    write_whole(path, text.encode())


def _facts(record: PatientRecord, subject: dict[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for allergy in record.allergies or ():
        yield "AllergyIntolerance", {"patient": subject, **_allergy(allergy)}
    for condition in record.conditions or ():
        yield "Condition", {"subject": subject, **_condition(condition)}
    for medication in record.medications or ():
        yield _medication(medication, subject)
    for observation in record.observations:
        yield "Observation", {"subject": subject, **_observation(observation)}
    for result in record.text_results:
        yield "Observation", {"subject": subject, **_text_result(result)}
    for encounter in record.encounters:
        yield "Encounter", {"subject": subject, **_encounter(encounter)}
    for document in record.documents:
        yield "DocumentReference", {"subject": subject, **_document(document)}
    for study in record.studies:
        yield "ImagingStudy", {"subject": subject, **_study(study)}


def _stated_absences(record: PatientRecord, subject: dict[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, (kind, fields) in _NONE_KNOWN.items():
        if getattr(record, name) != ():
            continue
        ((field, (code, display)),) = fields.items()
        concept = {"coding": [{"system": SCHEMES["SCT"], "code": code, "display": display}], "text": display}
        owner = "patient" if kind == "AllergyIntolerance" else "subject"
        body = {owner: subject, field: concept}
        if kind == "MedicationStatement":
            yield kind, {**body, "status": "unknown"}
        else:
            system = "allergyintolerance-clinical" if owner == "patient" else "condition-clinical"
            yield kind, {**body, "clinicalStatus": _status(system, "active")}


def _patient(record: PatientRecord) -> dict[str, Any]:
    identifiers = [
        {"system": i.system, "value": i.value} if i.system else {"value": i.value} for i in record.identifiers
    ]
    return {
        "meta": _sample_tag() if record.is_sample else None,
        "identifier": identifiers,
        "name": [
            _name(group, writing) for group, writing in zip(record.name.split("="), WRITINGS, strict=False) if group
        ],
        "gender": _GENDER.get(record.sex, "unknown"),
        "birthDate": record.birth_date,
    }


def _name(group: str, writing: str) -> dict[str, Any]:
    extension = [] if writing == "ABC" else [{"url": NAME_WRITING, "valueCode": writing}]
    if "^" not in group:
        return _filled({"extension": extension, "text": group})
    family, given, middle, prefix, suffix = (group.split("^") + [""] * 4)[:5]
    return _filled(
        {
            "extension": extension,
            "family": family,
            "given": [part for part in (given, middle) if part],
            "prefix": [prefix] if prefix else [],
            "suffix": [suffix] if suffix else [],
        }
    )


def _allergy(allergy: Allergy) -> dict[str, Any]:
    return {
        "meta": _updated(allergy.stated),
        "clinicalStatus": _status("allergyintolerance-clinical", allergy.status),
        "criticality": allergy.criticality,
        "code": _concept(allergy.code, allergy.text),
        "recordedDate": _date_time(allergy.recorded),
        "reaction": [{"manifestation": [{"text": allergy.reaction}]}] if allergy.reaction else [],
    }


def _condition(condition: Condition) -> dict[str, Any]:
    return {
        "meta": _updated(condition.stated),
        "clinicalStatus": _status("condition-clinical", condition.clinical_status),
        "verificationStatus": _status("condition-ver-status", condition.verification),
        "code": _concept(condition.code, condition.text),
        "onsetDateTime": _date_time(condition.onset),
        "abatementDateTime": _date_time(condition.ended),
    }


def _medication(medication: Medication, subject: dict[str, str]) -> tuple[str, dict[str, Any]]:
    dosage = [{"text": medication.dosage_text}] if medication.dosage_text else []
    body = {
        "meta": _updated(medication.stated),
        "subject": subject,
        "status": medication.status or "unknown",
        "medicationCodeableConcept": _concept(medication.code, medication.text),
    }
    started = _date_time(medication.started)
    if medication.status in _ORDER_STATUS:
        return "MedicationRequest", {**body, "intent": "order", "authoredOn": started, "dosageInstruction": dosage}
    period = _filled({"start": started, "end": _date_time(medication.ended)})
    return "MedicationStatement", {**body, "effectivePeriod": period, "dosage": dosage}


def _observation(observation: Observation) -> dict[str, Any]:
    quantity: dict[str, Any] = {"value": observation.value, "unit": observation.unit}
    if observation.unit in _UCUM_UNITS:
        quantity |= {"system": UCUM, "code": observation.unit}
    time = observation.time
    when = time.date().isoformat() if is_whole_day(time) else with_zone(time).isoformat()
    return {
        # The record does not keep whether a value was preliminary or final, so nothing is claimed.
        "status": "unknown",
        "code": _concept(observation.code, observation.display),
        "effectiveDateTime": when,
        "valueQuantity": _filled(quantity),
    }


def _text_result(result: TextResult) -> dict[str, Any]:
    return {
        "status": "unknown",
        "code": _concept(result.code, result.display),
        "effectiveDateTime": _date_time(result.time),
        "valueString": result.text,
    }


def _encounter(encounter: Encounter) -> dict[str, Any]:
    kind = {"system": ACT_CODES, "code": encounter.kind} if encounter.kind else {"system": NULL_FLAVOR, "code": "UNK"}
    return {
        "status": "unknown",
        "class": kind,
        "type": [{"text": encounter.text}] if encounter.text else [],
        "period": _filled({"start": _date_time(encounter.start), "end": _date_time(encounter.end)}),
    }


def _document(document: Document) -> dict[str, Any]:
    attachment = {
        "contentType": "text/plain; charset=utf-8",
        "data": base64.b64encode(document.text.encode("utf-8")).decode("ascii"),
        "title": document.title,
        "creation": _date_time(document.date),
    }
    return {"status": "current", "description": document.title, "content": [{"attachment": _filled(attachment)}]}


def _study(study: StudyMark) -> dict[str, Any]:
    modalities = [{"system": DICOM_CODES, "code": modality} for modality in study.modality.split("/") if modality]
    return {
        "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{study.study_instance_uid}"}],
        "status": "available",
        "modality": modalities,
        "started": _date_time(study.date),
        "description": study.description,
    }


def _concept(code: str, text: str) -> dict[str, Any]:
    return _filled({"coding": [coding_of(code)] if code else [], "text": text})


def _status(system: str, code: str) -> dict[str, Any] | None:
    return {"coding": [{"system": _STATUS_SYSTEM + system, "code": code}]} if code else None


def _date_time(text: str) -> str:
    """A date as FHIR takes it: a time needs its zone; what is no date is left out."""
    parsed = parse_moment(text)
    if parsed is None:
        return ""
    return with_zone(parsed[0]).isoformat() if parsed[1] == "time" and parsed[0].tzinfo is None else text


def _updated(stated: str) -> dict[str, str]:
    parsed = parse_moment(stated)
    return {"lastUpdated": with_zone(parsed[0]).isoformat()} if parsed is not None and parsed[1] == "time" else {}


def _filled(value: dict[str, Any]) -> dict[str, Any]:
    return {name: part for name, part in value.items() if part not in ("", None, [], {})}


def _sample_tag() -> dict[str, Any]:
    system, code = TEST_DATA
    return {"tag": [{"system": system, "code": code, "display": "sample data; not a real person"}]}


def _urn(record: PatientRecord, kind: str, number: int) -> str:
    return f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, f'{record.key}/{kind}/{number}')}"
