"""What readers measured on images, with its history.

Frozen: it says what a store of this revision looks like, whatever ``tables.py`` becomes.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the table of measurements."""
    op.create_table(
        "measurement",
        sa.Column("number", sa.Integer, primary_key=True),
        *_text("uid", "sop_instance_uid"),
        sa.Column("frame", sa.Integer, nullable=False),
        *_text("kind", "points_json", "label", "author", "created"),
        sa.Column("known_mm", sa.Float, nullable=True),
        sa.Column("is_deleted", sa.Boolean, nullable=False),
        *_text("saved"),
    )
    op.create_index("ix_measurement_uid", "measurement", ["uid"])
    op.create_index("ix_measurement_sop_instance_uid", "measurement", ["sop_instance_uid", "frame"])


def _text(*names: str) -> tuple[sa.Column[str], ...]:
    return tuple(sa.Column(name, sa.Text, nullable=False) for name in names)
