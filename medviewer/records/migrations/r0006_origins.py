"""Which resources state a fact, so that it leaves the record when they take it back.

Frozen: it says what a store of this revision looks like, whatever ``tables.py`` becomes.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_TABLES = ("allergy", "condition", "medication", "observation", "text_result")


def upgrade() -> None:
    """Add the origins; of what was imported before, nothing is known."""
    for table in _TABLES:
        op.add_column(table, sa.Column("origin", sa.Text, nullable=False, server_default=""))
