"""Which images readers marked as key images, with its history.

Frozen: it says what a store of this revision looks like, whatever ``tables.py`` becomes.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the table of key images."""
    op.create_table(
        "key_image",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("sop_instance_uid", sa.Text, nullable=False),
        sa.Column("frame", sa.Integer, nullable=False),
        sa.Column("is_marked", sa.Boolean, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("saved", sa.Text, nullable=False),
    )
    op.create_index("ix_key_image_sop_instance_uid", "key_image", ["sop_instance_uid", "frame"])
