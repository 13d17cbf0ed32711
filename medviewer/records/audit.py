"""Who did what and when: a trail that can be added to, and that shows when it was changed.

Each entry holds the digest of the one before, so that a changed, deleted or
moved entry breaks the chain. A cut-off tail leaves a whole chain behind;
therefore the number and digest of the last entry are also kept outside the
store, sealed with a key that the store does not hold (the anchor). After
Schneier and Kelsey, "Secure audit logs to support computer forensics" (1999),
with an anchor in the place of a trusted server: someone who can read the key
file can forge the trail.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import logging
import secrets
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, insert, select

from medviewer.domain.errors import StorageError
from medviewer.domain.frozen import dataclass
from medviewer.records.database import Database
from medviewer.records.rows import well_formed
from medviewer.records.tables import AUDIT
from medviewer.whole_file import write_whole

_LOG = logging.getLogger(__name__)

START = "0" * 64
"""What the first entry names as the digest of the one before it."""
ANCHOR_RENEWED = "audit.anchor-renewed"
"""The entry that says: the anchor was missing, the end of the trail before this point cannot be proven."""


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """Something that happened: ``what`` as ``noun.verb`` (``study.opened``), of which subject, in which words.

    Subject and detail may hold identifiers: the trail lives in the store and never goes to a log.
    """

    what: str
    who: str
    subject: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """An event as it stands in the trail. ``time`` is ISO 8601, UTC."""

    number: int  # from 1, without gaps
    time: str
    event: AuditEvent
    digest: str


@dataclass(frozen=True, slots=True)
class AuditReport:
    """Whether the trail is whole, and if not, where it first is not.

    Attributes:
        first_bad: number of the first entry that is changed, missing or out of place; None if all are well.
        head: digest of the last entry, to be written down elsewhere as a further proof.
        count: how many entries there are.
        sentence: the outcome in words.
    """

    ok: bool
    first_bad: int | None
    head: str
    count: int
    sentence: str


class _Seen(NamedTuple):
    """What a trail looked like: number and digest of its anchor, its entries, whether there never was an anchor."""

    anchor: tuple[int, str] | None
    rows: list[dict[str, Any]]
    is_unused: bool


class AuditTrail:
    """The trail of one store. May be used from any thread."""

    def __init__(
        self, database: Database, anchor_folder: Path, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """Use the trail of ``database``; ``anchor_folder`` holds the key and the anchor and must lie outside the store.

        Nothing is written before the first event.
        """
        self._database = database
        self._key_file = anchor_folder / "audit.key"
        self._anchor_file = anchor_folder / "audit.anchor"
        self._clock = clock
        self._lock = threading.Lock()

    def append(self, event: AuditEvent) -> AuditEntry:
        """Add an event; when this returns, it is on the disk.

        Raises:
            StorageError: it could not be written; the trail is as it was.
        """
        with self._lock:
            with self._database.write() as connection:
                # Read only now that no other program can write: two that begin together must not make two keys.
                key = self._read_key()
                anchor = _read_anchor(self._anchor_file, key) if key is not None else None
                last_number, last_digest = _last(connection)
                if anchor is None:
                    is_first = not last_number and key is None and not self._anchor_file.exists()
                    key = key or self._make_key(is_first=is_first)
                    if not is_first:
                        renewed = AuditEvent(ANCHOR_RENEWED, event.who, detail="the anchor was missing or unusable")
                        last_number, last_digest = self._add(connection, renewed, last_number, last_digest)
                # A cut tail must not be hidden by a fresh anchor: one that the trail does not continue stays.
                is_continued = anchor is None or _digest_of(connection, anchor[0]) == anchor[1]
                number, digest = self._add(connection, event, last_number, last_digest)
                time = connection.execute(select(AUDIT.c.time).where(AUDIT.c.number == number)).scalar_one()
            if key is not None and is_continued:
                self._write_anchor(key, number, digest)
        return AuditEntry(number, time, event, digest)

    def entries(self) -> tuple[AuditEntry, ...]:
        """The whole trail, oldest first, unchecked."""
        with self._database.read() as connection:
            rows = connection.execute(select(AUDIT).order_by(AUDIT.c.number)).mappings().all()
        return tuple(
            AuditEntry(r["number"], r["time"], AuditEvent(r["what"], r["who"], r["subject"], r["detail"]), r["digest"])
            for r in rows
        )

    def verify(self) -> AuditReport:
        """Whether every entry is there, unchanged and in order, up to the last one that was anchored."""
        with self._lock:
            seen = self._look()
            if seen.anchor is None:  # another program may have added the very first event in between
                seen = self._look()
        rows, anchor = seen.rows, seen.anchor
        head = rows[-1]["digest"] if rows else START
        broken = _first_broken(rows)
        if broken is not None:
            sentence = f"Entry {broken} of the audit trail was changed, removed or moved."
            return AuditReport(False, broken, head, len(rows), sentence)
        if anchor is None:
            if not rows and seen.is_unused:
                return AuditReport(True, None, head, 0, _whole(rows))
            sentence = "The chain of the audit trail is whole, but the anchor that proves its end is missing or forged."
            return AuditReport(False, None, head, len(rows), sentence)
        number, digest = anchor
        if number > len(rows):
            sentence = f"The end of the audit trail was cut off: entries {len(rows) + 1} to {number} are missing."
            return AuditReport(False, len(rows) + 1, head, len(rows), sentence)
        if number and rows[number - 1]["digest"] != digest:
            sentence = f"The audit trail was rewritten at or before entry {number}."
            return AuditReport(False, number, head, len(rows), sentence)
        return AuditReport(True, None, head, len(rows), _whole(rows))

    def _look(self) -> _Seen:
        """The anchor first, then the entries: what another program adds in between must not seem to be missing."""
        key = self._read_key()
        anchor = _read_anchor(self._anchor_file, key) if key is not None else None
        is_unused = key is None and not self._anchor_file.exists()
        with self._database.read() as connection:
            rows = [dict(row) for row in connection.execute(select(AUDIT).order_by(AUDIT.c.number)).mappings()]
        return _Seen(anchor, rows, is_unused)

    def _add(self, connection: Connection, event: AuditEvent, number: int, previous: str) -> tuple[int, str]:
        row: dict[str, Any] = {
            "number": number + 1,
            "time": self._clock().astimezone(UTC).isoformat(timespec="microseconds"),
            "who": well_formed(event.who),
            "what": well_formed(event.what),
            "subject": well_formed(event.subject),
            "detail": well_formed(event.detail),
            "previous": previous,
        }
        digest = _digest(row)
        connection.execute(insert(AUDIT).values(**row, digest=digest))
        return number + 1, digest

    def _read_key(self) -> bytes | None:
        try:
            key = self._key_file.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError("The key of the audit trail cannot be read: allow reading it and try again.") from error
        return key if len(key) == 32 else None

    def _make_key(self, *, is_first: bool) -> bytes:
        """Make the key; with the first one comes an anchor of nothing.

        The first event may yet fail to be written: a key without an anchor would look as if the anchor
        had been taken away, while an anchor of nothing proves that the trail is empty.
        """
        key = secrets.token_bytes(32)
        try:
            self._key_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if is_first:
                write_whole(self._anchor_file, _anchor(key, 0, START), is_private=True)
            write_whole(self._key_file, key, is_private=True)
        except (OSError, StorageError) as error:
            if is_first:
                with contextlib.suppress(OSError):
                    self._anchor_file.unlink(missing_ok=True)
            raise StorageError(
                "The key of the audit trail cannot be written: check that its folder may be written and the disk has"
                " space."
            ) from error
        return key

    def _write_anchor(self, key: bytes, number: int, digest: str) -> None:
        try:
            write_whole(self._anchor_file, _anchor(key, number, digest), is_private=True)
        except StorageError:
            # The event is safe; only the proof of the very end is older, and the next event renews it.
            _LOG.warning("The anchor of the audit trail could not be written.")


def _last(connection: Connection) -> tuple[int, str]:
    row = connection.execute(select(AUDIT.c.number, AUDIT.c.digest).order_by(AUDIT.c.number.desc()).limit(1)).first()
    return (row.number, row.digest) if row is not None else (0, START)


def _digest_of(connection: Connection, number: int) -> str | None:
    if number == 0:
        return START
    found: str | None = connection.execute(select(AUDIT.c.digest).where(AUDIT.c.number == number)).scalar()
    return found


def _digest(row: dict[str, Any]) -> str:
    names = ("number", "time", "who", "what", "subject", "detail", "previous")
    # A JSON list keeps the fields apart: no text of one can pass for the start of the next.
    return hashlib.sha256(json.dumps([row[name] for name in names]).encode("ascii")).hexdigest()


def _first_broken(rows: list[dict[str, Any]]) -> int | None:
    previous = START
    for expected, row in enumerate(rows, start=1):
        if row["number"] != expected or row["previous"] != previous or row["digest"] != _digest(row):
            return expected
        previous = row["digest"]
    return None


def _whole(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "The audit trail is empty."
    renewed = [str(row["number"]) for row in rows if row["what"] == ANCHOR_RENEWED]
    if not renewed:
        return "The audit trail is whole."
    return f"The audit trail is whole since entry {renewed[-1]}; the end before it was not anchored."


def _anchor(key: bytes, number: int, digest: str) -> bytes:
    return json.dumps({"number": number, "digest": digest, "seal": _seal(key, number, digest)}).encode("ascii")


def _seal(key: bytes, number: int, digest: str) -> str:
    return hmac.new(key, f"{number}:{digest}".encode("ascii"), hashlib.sha256).hexdigest()


def _read_anchor(path: Path, key: bytes) -> tuple[int, str] | None:
    """The sealed number and digest; None if the anchor is missing, damaged or forged."""
    try:
        anchor = json.loads(path.read_bytes())
        number, digest, seal = anchor["number"], anchor["digest"], anchor["seal"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    if not (isinstance(number, int) and isinstance(digest, str) and isinstance(seal, str)):
        return None
    is_ours = hmac.compare_digest(seal.encode("utf-8", "replace"), _seal(key, number, digest).encode("ascii"))
    return (number, digest) if is_ours else None
