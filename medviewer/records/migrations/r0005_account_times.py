"""When facts ended, and when their source said so: which of two accounts of a patient is the newer.

Frozen: it says what a store of this revision looks like, whatever ``tables.py`` becomes.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_ADDED = {"allergy": ("stated",), "condition": ("ended", "stated"), "medication": ("ended", "stated")}


def upgrade() -> None:
    """Add the dates; of what was imported before, nothing is known."""
    for table, names in _ADDED.items():
        for name in names:
            op.add_column(table, sa.Column(name, sa.Text, nullable=False, server_default=""))
