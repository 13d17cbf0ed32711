"""The store's tables, as the newest migration leaves them (a test compares the two)."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, ForeignKey, Index, Integer, MetaData, Table, Text, UniqueConstraint
from sqlalchemy.schema import SchemaItem

SCHEMA_REVISION = "0006"
"""The migration that makes these tables; a store at another revision is migrated or refused."""

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _text(*names: str) -> tuple[Column[str], ...]:
    return tuple(Column(name, Text, nullable=False) for name in names)


PATIENT = Table(
    "patient",
    METADATA,
    Column("key", Text, primary_key=True),
    *_text("name", "birth_date", "sex", "search_text"),
    Column("is_sample", Boolean, nullable=False),
    # False: known from image headers alone; an import then sets name, birth date and sex.
    Column("is_imported", Boolean, nullable=False),
    # Whether a source said anything at all: an empty list is "none known" only then.
    Column("has_allergies", Boolean, nullable=False),
    Column("has_conditions", Boolean, nullable=False),
    Column("has_medications", Boolean, nullable=False),
)

IDENTIFIER = Table(
    "identifier",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("patient_key", Text, ForeignKey("patient.key", ondelete="CASCADE"), nullable=False, index=True),
    *_text("system", "value"),
    UniqueConstraint("system", "value"),
)


def _facts(name: str, *columns: SchemaItem) -> Table:
    """A table of dated facts of a patient, kept in their order."""
    return Table(
        name,
        METADATA,
        Column("number", Integer, primary_key=True),
        Column("patient_key", Text, ForeignKey("patient.key", ondelete="CASCADE"), nullable=False, index=True),
        *columns,
    )


def _added(*names: str) -> tuple[Column[str], ...]:
    """Texts that came with a later migration: empty in rows from before."""
    return tuple(Column(name, Text, nullable=False, server_default="") for name in names)


ALLERGY = _facts(
    "allergy", *_text("text", "code", "criticality", "reaction", "recorded", "status"), *_added("stated", "origin")
)
CONDITION = _facts(
    "condition",
    *_text("text", "code", "clinical_status", "onset", "verification"),
    *_added("ended", "stated", "origin"),
)
MEDICATION = _facts(
    "medication", *_text("text", "code", "status", "started", "dosage_text"), *_added("ended", "stated", "origin")
)
OBSERVATION = _facts(
    "observation",
    *_text("code", "display"),
    Column("value", Float, nullable=False),
    *_text("unit", "time"),
    *_added("origin"),
)
TEXT_RESULT = _facts("text_result", *_text("code", "display", "text", "time"), *_added("origin"))
ENCOUNTER = _facts("encounter", *_text("text", "kind", "start", "end"))
DOCUMENT = _facts("document", *_text("title", "date", "text"))
STUDY_MARK = _facts("study_mark", *_text("study_instance_uid", "date", "modality", "description"))

OPENED_STUDY = Table(
    "opened_study",
    METADATA,
    Column("number", Integer, primary_key=True),
    # Null: the file holds no Patient ID, so that the study belongs to no record.
    Column("patient_key", Text, ForeignKey("patient.key", ondelete="CASCADE"), nullable=True, index=True),
    *_text("study_instance_uid", "date", "modality", "description"),
    # Who the image says it is of: compared with the record each time, never merged into it.
    *_text("patient_id", "issuer", "patient_name", "birth_date", "sex"),
    *_text("paths_json", "opened"),
    UniqueConstraint("study_instance_uid", "patient_id", "issuer", "patient_name", "birth_date", "sex"),
)


def _about_a_result(name: str, *columns: SchemaItem) -> Table:
    return Table(
        name,
        METADATA,
        Column("number", Integer, primary_key=True),
        *_text("sop_instance_uid", "path_json"),
        Column("frame", Integer, nullable=False),
        *_text("model_id", "model_sha256", "method", "finding"),
        *columns,
        Column("saved", Text, nullable=False),
        Index(f"ix_{name}_sop_instance_uid", "sop_instance_uid", "frame"),
    )


ANSWER = _about_a_result("answer", *_text("result_json"))
DECISION = _about_a_result(
    "decision", *_text("kind", "reason", "time"), Column("value", Text, nullable=False, server_default="")
)

# Rows are added and never changed: the newest of a uid counts, the ones before are its history.
MEASUREMENT = Table(
    "measurement",
    METADATA,
    Column("number", Integer, primary_key=True),
    *_text("uid", "sop_instance_uid"),
    Column("frame", Integer, nullable=False),
    *_text("kind", "points_json", "label", "author", "created"),
    Column("known_mm", Float, nullable=True),
    Column("is_deleted", Boolean, nullable=False),
    *_text("saved"),
    Index("ix_measurement_uid", "uid"),
    Index("ix_measurement_sop_instance_uid", "sop_instance_uid", "frame"),
)

# Rows are added and never changed: the newest of a frame says whether it is a key image.
KEY_IMAGE = Table(
    "key_image",
    METADATA,
    Column("number", Integer, primary_key=True),
    *_text("sop_instance_uid"),
    Column("frame", Integer, nullable=False),
    Column("is_marked", Boolean, nullable=False),
    *_text("author", "saved"),
    Index("ix_key_image_sop_instance_uid", "sop_instance_uid", "frame"),
)

AUDIT = Table(
    "audit",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=False),
    *_text("time", "who", "what", "subject", "detail", "previous", "digest"),
)
