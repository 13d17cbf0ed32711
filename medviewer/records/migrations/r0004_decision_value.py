"""What a reader reports instead of a result that they changed.

Frozen: it says what a store of this revision looks like, whatever ``tables.py`` becomes.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the reader's own value to decisions; those from before have none."""
    op.add_column("decision", sa.Column("value", sa.Text, nullable=False, server_default=""))
