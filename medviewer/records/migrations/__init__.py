"""The store's history: one module a step, oldest first.

Each is an ordinary Alembic revision (``revision``, ``down_revision``,
``upgrade``). They are imported as modules and not searched for on the disk, so
that they are found the same from a source tree, a wheel and a frozen program.
Steps go forward only: the way back is the backup made before each.
"""

from __future__ import annotations

from types import ModuleType

from medviewer.records.migrations import (
    r0001_first,
    r0002_measurements,
    r0003_key_images,
    r0004_decision_value,
    r0005_account_times,
    r0006_origins,
)

REVISIONS: tuple[ModuleType, ...] = (
    r0001_first,
    r0002_measurements,
    r0003_key_images,
    r0004_decision_value,
    r0005_account_times,
    r0006_origins,
)
