"""A patient record as rows of the store, and back. Works inside the caller's transaction."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import Boolean, Connection, Float, Integer, RowMapping, Table, Text, delete, insert, select
from sqlalchemy.types import TypeEngine

from medviewer.domain.case import Observation
from medviewer.domain.errors import RecordError
from medviewer.domain.study import Patient
from medviewer.records import tables
from medviewer.records.database import DAMAGED
from medviewer.records.identity import mismatch
from medviewer.records.merge import merge_studies
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

# What a value of each kind of column is when it comes back as it was written.
_PYTHON_TYPES: dict[type[TypeEngine[Any]], tuple[type, ...]] = {
    Text: (str,),
    Float: (float,),
    Integer: (int,),
    Boolean: (bool,),
}


class _Fact(Protocol):
    def __init__(self, **values: Any) -> None: ...  # every kind of fact is a dataclass of its table's columns


# Field of the record -> its table and its type.
_FACTS: dict[str, tuple[Table, type[_Fact]]] = {
    "allergies": (tables.ALLERGY, Allergy),
    "conditions": (tables.CONDITION, Condition),
    "medications": (tables.MEDICATION, Medication),
    "observations": (tables.OBSERVATION, Observation),
    "text_results": (tables.TEXT_RESULT, TextResult),
    "encounters": (tables.ENCOUNTER, Encounter),
    "documents": (tables.DOCUMENT, Document),
    "studies": (tables.STUDY_MARK, StudyMark),
}


def well_formed(text: str) -> str:
    """The text with ``?`` for half surrogates, which no file format can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def fold(text: str) -> str:
    """The text as it is searched, on one line: case, width and composition do not matter."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", well_formed(text)).casefold())
    return folded.replace("\n", " ")


def searchable(record: PatientRecord) -> tuple[str, ...]:
    """What a search looks in: the name, as written and with spaces, and every identifier."""
    return (record.name, record.name.replace("^", " "), *(identifier.value for identifier in record.identifiers))


def write_record(connection: Connection, record: PatientRecord, *, is_imported: bool) -> None:
    """Put the record in the place of what the store holds under its key."""
    for identifier in record.identifiers:
        if not identifier.value:
            raise RecordError("A patient identifier is empty: nothing was saved.")
    connection.execute(delete(tables.IDENTIFIER).where(tables.IDENTIFIER.c.patient_key == record.key))
    values = {
        "name": well_formed(record.name),
        "birth_date": well_formed(record.birth_date),
        "sex": well_formed(record.sex),
        "search_text": "\n".join(fold(part) for part in searchable(record)),
        "is_sample": record.is_sample,
        "is_imported": is_imported,
        "has_allergies": record.allergies is not None,
        "has_conditions": record.conditions is not None,
        "has_medications": record.medications is not None,
    }
    changed = connection.execute(tables.PATIENT.update().where(tables.PATIENT.c.key == record.key).values(**values))
    if not changed.rowcount:
        connection.execute(insert(tables.PATIENT).values(key=record.key, **values))
    _insert(
        connection,
        tables.IDENTIFIER,
        [
            {"patient_key": record.key, "system": well_formed(i.system), "value": well_formed(i.value)}
            for i in record.identifiers
        ],
    )
    for name, (table, _) in _FACTS.items():
        connection.execute(delete(table).where(table.c.patient_key == record.key))
        _insert(connection, table, [_row(fact, record.key) for fact in getattr(record, name) or ()])


def read_record(connection: Connection, key: str) -> PatientRecord | None:
    """The record under that key, with the opened studies whose images can be of this person.

    Without the origins of its facts: only merging asks for them, and no model may be given them.
    """
    record = _read(connection, key, without=("origin",))
    return _with_opened_studies(connection, record) if record is not None else None


def read_own_facts(connection: Connection, key: str) -> PatientRecord | None:
    """The record under that key as it was imported, without the studies that were opened."""
    return _read(connection, key)


def _read(connection: Connection, key: str, *, without: Sequence[str] = ()) -> PatientRecord | None:
    found = connection.execute(select(tables.PATIENT).where(tables.PATIENT.c.key == key)).mappings().first()
    if found is None:
        return None
    patient = checked(found, tables.PATIENT)
    facts = {name: _read_facts(connection, table, kind, key, without) for name, (table, kind) in _FACTS.items()}
    for name in ("allergies", "conditions", "medications"):
        if not patient[f"has_{name}"]:
            facts[name] = None
    return PatientRecord(
        key=key,
        identifiers=_read_identifiers(connection, key),
        name=patient["name"],
        birth_date=patient["birth_date"],
        sex=patient["sex"],
        is_sample=patient["is_sample"],
        **facts,
    )


def _with_opened_studies(connection: Connection, record: PatientRecord) -> PatientRecord:
    opened = tables.OPENED_STUDY
    rows = connection.execute(select(opened).where(opened.c.patient_key == record.key).order_by(opened.c.number))
    studies = [checked(row, opened) for row in rows.mappings()]
    marks = tuple(study_mark(row) for row in studies if not mismatch(record, header_patient(row)))
    if not marks:
        return record
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    return PatientRecord(**(values | {"studies": merge_studies(record.studies, tuple(dict.fromkeys(marks)))}))


def checked(row: RowMapping, table: Table) -> dict[str, Any]:
    """The row, if every value is still of its column's kind.

    SQLite hands out whatever a damaged file says; what is not of its kind must not reach the reader.

    Raises:
        RecordError: the file is damaged.
    """
    for column in table.columns:
        value = row.get(column.name)
        if value is not None and not isinstance(value, _PYTHON_TYPES[type(column.type)]):
            raise RecordError(DAMAGED)
        if value is None and column.name in row and not column.nullable:
            raise RecordError(DAMAGED)
    return dict(row)


def stored_time(text: str) -> datetime:
    """A time as it was written.

    Raises:
        RecordError: the file is damaged.
    """
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise RecordError(DAMAGED) from error


def study_mark(row: Mapping[str, Any]) -> StudyMark:
    """The mark of an opened study."""
    return StudyMark(row["study_instance_uid"], row["date"], row["modality"], row["description"])


def header_patient(row: Mapping[str, Any]) -> Patient:
    """Who the images of an opened study say they are of."""
    return Patient(row["patient_id"], row["issuer"], row["patient_name"], row["birth_date"], row["sex"])


def _read_identifiers(connection: Connection, key: str) -> tuple[Identifier, ...]:
    table = tables.IDENTIFIER
    rows = connection.execute(
        select(table.c.system, table.c.value).where(table.c.patient_key == key).order_by(table.c.number)
    )
    return tuple(Identifier(**checked(row, table)) for row in rows.mappings())


def _read_facts(connection: Connection, table: Table, kind: type[_Fact], key: str, without: Sequence[str]) -> Any:
    columns = [column for column in table.columns if column.name not in ("number", "patient_key", *without)]
    rows = connection.execute(select(*columns).where(table.c.patient_key == key).order_by(table.c.number))
    facts = [checked(row, table) for row in rows.mappings()]
    if table is tables.OBSERVATION:
        facts = [{**fact, "time": stored_time(fact["time"])} for fact in facts]
    return tuple(kind(**fact) for fact in facts)


def _row(fact: Any, key: str) -> dict[str, Any]:
    row: dict[str, Any] = {"patient_key": key}
    for field in fields(fact):
        value = getattr(fact, field.name)
        if isinstance(value, datetime):
            value = value.isoformat()
        if isinstance(value, float) and not math.isfinite(value):
            raise RecordError("An observation is not a finite number: nothing of this record was saved.")
        row[field.name] = well_formed(value) if isinstance(value, str) else value
    return row


def _insert(connection: Connection, table: Table, rows: Iterable[Mapping[str, Any]]) -> None:
    listed = list(rows)
    if listed:
        connection.execute(insert(table), listed)
