"""Whether an image and a record can belong to the same person."""

from __future__ import annotations

from medviewer.domain.person_name import names_differ
from medviewer.domain.study import Patient
from medviewer.records.record import Identifier, PatientRecord, iso_date, parse_moment


def identifier_of(patient: Patient) -> Identifier | None:
    """The patient's identifier as the file gives it; None if the file holds no Patient ID."""
    value = patient.patient_id.strip()
    return Identifier(patient.issuer.strip(), value) if value else None


def mismatch(record: PatientRecord, patient: Patient) -> str:
    """One sentence if image and record contradict each other; empty if they can be the same person.

    A result shown beside another person's record is worse than no result, so
    identifier, name, birth date and sex are all compared. What one side does
    not know is no contradiction. Names are compared without case, accents and
    order; a Latin and a Chinese writing cannot be compared with each other.
    The sentence names no value, so that it may stand in a report.
    """
    parts = []
    identifier = identifier_of(patient)
    if identifier is not None and record.identifiers and identifier not in record.identifiers:
        parts.append("patient ID")
    if names_differ(record.name, patient.name):
        parts.append("name")
    if _dates_differ(iso_date(record.birth_date), iso_date(patient.birth_date)):
        parts.append("birth date")
    image_sex = patient.sex.strip().upper()
    if record.sex and image_sex and record.sex != image_sex:
        parts.append("sex")
    if not parts:
        return ""
    named = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    return (
        f"The image and the patient record contradict each other in {named}: they may belong to different people,"
        " so no model is run until this is settled."
    )


def _dates_differ(first: str, second: str) -> bool:
    if parse_moment(first) is None or parse_moment(second) is None:
        return False
    length = min(len(first), len(second), 10)  # "1940" agrees with "1940-03-05"
    return first[:length] != second[:length]
