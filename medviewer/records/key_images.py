"""Key images as rows of the store, and back. Works inside the caller's transaction.

Nothing is ever changed or removed: each mark and each removal of one adds a row, and the
newest row of a frame says whether it is a key image now.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

from sqlalchemy import Connection, func, insert, select

from medviewer.domain.frozen import dataclass
from medviewer.records.rows import checked, well_formed
from medviewer.records.tables import KEY_IMAGE


@dataclass(frozen=True, slots=True)
class StoredKeyMark:
    """One state of a frame in its history."""

    is_marked: bool
    author: str
    saved: str  # ISO 8601, UTC


def add_mark(connection: Connection, sop_instance_uid: str, frame: int, *, is_marked: bool, author: str) -> None:
    """Keep that a frame is a key image now, or is none any more."""
    values = {
        "sop_instance_uid": sop_instance_uid,
        "frame": frame,
        "is_marked": is_marked,
        "author": well_formed(author),
        "saved": datetime.now(UTC).isoformat(timespec="microseconds"),
    }
    connection.execute(insert(KEY_IMAGE).values(**values))


def history_of(connection: Connection, sop_instance_uid: str, frame: int) -> tuple[StoredKeyMark, ...]:
    """Every state of a frame, newest first."""
    table = KEY_IMAGE.c
    query = select(KEY_IMAGE).where(table.sop_instance_uid == sop_instance_uid, table.frame == frame)
    rows = connection.execute(query.order_by(table.number.desc())).mappings()
    found = (checked(row, KEY_IMAGE) for row in rows)
    return tuple(StoredKeyMark(row["is_marked"], row["author"], row["saved"]) for row in found)


def marked_among(connection: Connection, sop_instance_uids: Collection[str]) -> frozenset[tuple[str, int]]:
    """Which frames of some images are key images now, as (SOP Instance UID, frame)."""
    table = KEY_IMAGE.c
    newest = select(func.max(table.number)).group_by(table.sop_instance_uid, table.frame)
    query = select(KEY_IMAGE).where(table.number.in_(newest), table.is_marked.is_(True))
    wanted = set(sop_instance_uids)
    rows = (checked(row, KEY_IMAGE) for row in connection.execute(query).mappings())
    return frozenset((row["sop_instance_uid"], row["frame"]) for row in rows if row["sop_instance_uid"] in wanted)
