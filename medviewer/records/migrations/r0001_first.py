"""The first store: patients and their facts, opened studies, results, the audit trail.

Frozen: it says what a store of this revision looks like, whatever ``tables.py`` becomes.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_FACTS = {
    "allergy": ("text", "code", "criticality", "reaction", "recorded", "status"),
    "condition": ("text", "code", "clinical_status", "onset", "verification"),
    "medication": ("text", "code", "status", "started", "dosage_text"),
    "text_result": ("code", "display", "text", "time"),
    "encounter": ("text", "kind", "start", "end"),
    "document": ("title", "date", "text"),
    "study_mark": ("study_instance_uid", "date", "modality", "description"),
}
_SUBJECT = ("model_id", "model_sha256", "method", "finding")


def upgrade() -> None:
    """Make every table in an empty file."""
    op.create_table(
        "patient",
        sa.Column("key", sa.Text, primary_key=True),
        *_text("name", "birth_date", "sex", "search_text"),
        *_flags("is_sample", "is_imported", "has_allergies", "has_conditions", "has_medications"),
    )
    op.create_table(
        "identifier",
        *_owned(),
        *_text("system", "value"),
        sa.UniqueConstraint("system", "value", name="uq_identifier_system"),
    )
    op.create_index("ix_identifier_patient_key", "identifier", ["patient_key"])
    for name, columns in _FACTS.items():
        op.create_table(name, *_owned(), *_text(*columns))
        op.create_index(f"ix_{name}_patient_key", name, ["patient_key"])
    op.create_table(
        "observation",
        *_owned(),
        *_text("code", "display"),
        sa.Column("value", sa.Float, nullable=False),
        *_text("unit", "time"),
    )
    op.create_index("ix_observation_patient_key", "observation", ["patient_key"])
    _opened_study()
    _results()
    _audit()


def _opened_study() -> None:
    identity = ("patient_id", "issuer", "patient_name", "birth_date", "sex")
    op.create_table(
        "opened_study",
        *_owned(nullable=True),
        *_text("study_instance_uid", "date", "modality", "description", *identity, "paths_json", "opened"),
        sa.UniqueConstraint("study_instance_uid", *identity, name="uq_opened_study_study_instance_uid"),
    )
    op.create_index("ix_opened_study_patient_key", "opened_study", ["patient_key"])


def _results() -> None:
    for name, columns in {"answer": ("result_json",), "decision": ("kind", "reason", "time")}.items():
        op.create_table(
            name,
            sa.Column("number", sa.Integer, primary_key=True),
            *_text("sop_instance_uid", "path_json"),
            sa.Column("frame", sa.Integer, nullable=False),
            *_text(*_SUBJECT, *columns, "saved"),
        )
        op.create_index(f"ix_{name}_sop_instance_uid", name, ["sop_instance_uid", "frame"])


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        *_text("time", "who", "what", "subject", "detail", "previous", "digest"),
    )
    # A first fence against our own mistakes; the hash chain is what shows a deliberate change.
    for action in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER audit_no_{action.lower()} BEFORE {action} ON audit "
            "BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END"
        )


def _text(*names: str) -> tuple[sa.Column[str], ...]:
    return tuple(sa.Column(name, sa.Text, nullable=False) for name in names)


def _flags(*names: str) -> tuple[sa.Column[bool], ...]:
    return tuple(sa.Column(name, sa.Boolean, nullable=False) for name in names)


def _owned(*, nullable: bool = False) -> tuple[sa.Column[int], sa.Column[str]]:
    return (
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("patient_key", sa.Text, sa.ForeignKey("patient.key", ondelete="CASCADE"), nullable=nullable),
    )
