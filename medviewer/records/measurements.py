"""Measurements as rows of the store, and back. Works inside the caller's transaction.

Nothing is ever changed or removed: each save and each deletion adds a row, and the newest
row of a measurement says what it is now. What was deleted can be shown and brought back.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select

from medviewer.domain.errors import RecordError, UsageError
from medviewer.domain.frozen import dataclass
from medviewer.domain.measurement import CutPlane, Measurement, Point, Where, cut_plane_of
from medviewer.records.database import DAMAGED
from medviewer.records.rows import checked, stored_time, well_formed
from medviewer.records.tables import MEASUREMENT

_OWN = ("number", "is_deleted", "saved")


@dataclass(frozen=True, slots=True)
class StoredMeasurement:
    """One state of a measurement in its history."""

    measurement: Measurement
    is_deleted: bool
    saved: str  # ISO 8601, UTC


def add_state(connection: Connection, measurement: Measurement, *, is_deleted: bool) -> None:
    """Keep a new state of a measurement.

    Raises:
        RecordError: a measurement of that UID is of another image or another kind.
    """
    history = history_of(connection, measurement.uid)
    if history and _identity(history[0].measurement) != _identity(measurement):
        raise RecordError("A measurement of another image or kind has the same UID: it was not saved; draw it again.")
    values = {
        "uid": measurement.uid,
        "sop_instance_uid": measurement.sop_instance_uid,
        "frame": measurement.frame,
        "kind": measurement.kind,
        "points_json": json.dumps(_drawn(measurement)),
        "label": well_formed(measurement.label),
        "author": well_formed(measurement.author),
        "created": measurement.created.isoformat(),
        "known_mm": measurement.known_mm,
        "is_deleted": is_deleted,
        "saved": datetime.now(UTC).isoformat(timespec="microseconds"),
    }
    connection.execute(insert(MEASUREMENT).values(**values))


def history_of(connection: Connection, uid: str) -> tuple[StoredMeasurement, ...]:
    """Every state of a measurement, newest first."""
    query = select(MEASUREMENT).where(MEASUREMENT.c.uid == uid).order_by(MEASUREMENT.c.number.desc())
    return _stored(connection.execute(query).mappings())


def current_of(connection: Connection, sop_instance_uid: str, frame: int | None) -> tuple[Measurement, ...]:
    """The measurements of an image that are not deleted, in the order in which they were first saved.

    Args:
        connection: in a transaction.
        sop_instance_uid: of the image.
        frame: 0-based; None for all.
    """
    table = MEASUREMENT.c
    # The newest row of each, deletions included: a state before it must not show through.
    here = select(table.uid).where(table.sop_instance_uid == sop_instance_uid)
    newest = select(func.max(table.number).label("last"), func.min(table.number).label("first"))
    found = newest.where(table.uid.in_(here)).group_by(table.uid).subquery()
    query = select(MEASUREMENT).join(found, table.number == found.c.last)
    query = query.where(table.sop_instance_uid == sop_instance_uid, table.is_deleted.is_(False))
    if frame is not None:
        query = query.where(table.frame == frame)
    rows = connection.execute(query.order_by(found.c.first)).mappings()
    return tuple(stored.measurement for stored in _stored(rows))


def current_among(connection: Connection, sop_instance_uids: Collection[str]) -> tuple[Measurement, ...]:
    """The measurements of any of some images, as :func:`current_of` gives them, image by image."""
    measured = connection.execute(select(MEASUREMENT.c.sop_instance_uid).distinct()).scalars()
    wanted = set(sop_instance_uids)
    return tuple(m for uid in measured if uid in wanted for m in current_of(connection, uid, None))


def _identity(measurement: Measurement) -> tuple[Where, str]:
    return measurement.where, measurement.kind


def _drawn(measurement: Measurement) -> object:
    """The points; with the plane that they lie on, where that is no image."""
    if measurement.plane is None:
        return measurement.points
    return {"points": measurement.points, "plane": asdict(measurement.plane)}


def _read_drawn(text: str) -> tuple[tuple[Point, ...], CutPlane | None]:
    drawn = json.loads(text)
    is_on_plane = isinstance(drawn, dict)
    points = tuple((float(column), float(line)) for column, line in (drawn["points"] if is_on_plane else drawn))
    if not is_on_plane:
        return points, None
    return points, cut_plane_of(drawn["plane"])


def _stored(rows: Iterable[Any]) -> tuple[StoredMeasurement, ...]:
    return tuple(_state(checked(row, MEASUREMENT)) for row in rows)


def _state(row: dict[str, Any]) -> StoredMeasurement:
    try:
        points, plane = _read_drawn(row["points_json"])
        fields = {name: row[name] for name in row if name not in (*_OWN, "points_json", "created")}
        measurement = Measurement(points=points, plane=plane, created=stored_time(row["created"]), **fields)
    except (ValueError, TypeError, KeyError, UsageError) as error:  # what we wrote is valid: the file was changed since
        raise RecordError(DAMAGED) from error
    return StoredMeasurement(measurement, row["is_deleted"], row["saved"])
