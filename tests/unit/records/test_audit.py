"""The audit trail shows whoever changed it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from medviewer.domain.errors import StorageError
from medviewer.records import audit
from medviewer.records.audit import ANCHOR_RENEWED, START, AuditEvent, AuditTrail
from medviewer.records.database import Database

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "records.db")
    yield opened
    opened.close()


@pytest.fixture
def trail(database: Database, tmp_path: Path) -> AuditTrail:
    made = AuditTrail(database, tmp_path / "anchor", clock=lambda: NOW)
    for n in range(6):
        made.append(AuditEvent("study.opened", "reader", f"subject {n}"))
    return made


def _tamper(database: Database, *statements: str) -> None:
    """Change the file as someone would who is not us: without the triggers."""
    with sqlite3.connect(database.path) as connection:
        connection.execute("DROP TRIGGER audit_no_update")
        connection.execute("DROP TRIGGER audit_no_delete")
        for statement in statements:
            connection.execute(statement)
    connection.close()


def test_an_untouched_trail_is_whole(trail: AuditTrail, database: Database, tmp_path: Path) -> None:
    report = trail.verify()
    assert (report.ok, report.first_bad, report.count) == (True, None, 6)
    assert report.head == trail.entries()[-1].digest
    again = AuditTrail(database, tmp_path / "anchor")
    again.append(AuditEvent("model.asked", "reader", "subject", "answer"))
    assert again.verify().ok
    assert [e.number for e in again.entries()] == list(range(1, 8))


def test_an_entry_says_who_when_and_what(trail: AuditTrail) -> None:
    entry = trail.append(AuditEvent("report.exported", "Dr 王", "key", "SR, SC"))
    assert trail.entries()[-1] == entry
    assert entry.time == "2026-01-02T03:04:05.000000+00:00"
    assert entry.event == AuditEvent("report.exported", "Dr 王", "key", "SR, SC")


def test_an_empty_trail_is_well(database: Database, tmp_path: Path) -> None:
    report = AuditTrail(database, tmp_path / "anchor").verify()
    assert (report.ok, report.head, report.count) == (True, START, 0)
    assert not (tmp_path / "anchor").exists(), "looking must not write"


@pytest.mark.parametrize("column", ["time", "who", "what", "subject", "detail", "previous", "digest"])
def test_a_changed_field_is_found_at_its_entry(trail: AuditTrail, database: Database, column: str) -> None:
    _tamper(database, f"UPDATE audit SET {column} = 'x' WHERE number = 3")  # noqa: S608
    report = trail.verify()
    assert not report.ok
    assert report.first_bad == 3


def test_a_deleted_entry_is_found(trail: AuditTrail, database: Database) -> None:
    _tamper(database, "DELETE FROM audit WHERE number = 3")
    assert trail.verify().first_bad == 3
    _tamper_again(database, "UPDATE audit SET number = number - 1 WHERE number > 3")
    assert trail.verify().first_bad == 3


def test_swapped_entries_are_found(trail: AuditTrail, database: Database) -> None:
    _tamper(
        database,
        "UPDATE audit SET number = 99 WHERE number = 2",
        "UPDATE audit SET number = 2 WHERE number = 4",
        "UPDATE audit SET number = 4 WHERE number = 99",
    )
    assert trail.verify().first_bad == 2


def test_a_cut_tail_is_found_and_stays_found(trail: AuditTrail, database: Database) -> None:
    _tamper(database, "DELETE FROM audit WHERE number > 4")
    report = trail.verify()
    assert (report.ok, report.first_bad) == (False, 5)
    for _ in range(4):  # going on past the old end must not heal it
        trail.append(AuditEvent("study.opened", "reader"))
        assert not trail.verify().ok


def test_a_rewritten_trail_is_found(trail: AuditTrail, database: Database, tmp_path: Path) -> None:
    """Someone who can write the store but not read the key makes a whole new chain of the same length."""
    _tamper(database, "DELETE FROM audit")
    forger = AuditTrail(database, tmp_path / "elsewhere")
    for _ in range(6):
        forger.append(AuditEvent("nothing.happened", "nobody"))
    assert forger.verify().ok
    report = trail.verify()
    assert (report.ok, report.first_bad) == (False, 6)


def test_an_emptied_trail_is_found(trail: AuditTrail, database: Database) -> None:
    _tamper(database, "DELETE FROM audit")
    assert trail.verify().first_bad == 1


@pytest.mark.parametrize("failing", ["the event", "the key"])
def test_a_trail_whose_first_event_was_never_written_is_empty_not_forged(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    trail = AuditTrail(database, tmp_path / "anchor")
    real = audit.write_whole

    def fail(path: object, *more: object, **named: object) -> None:
        if failing == "the event" or "audit.key" in str(path):
            raise StorageError("The disk is full.")
        real(path, *more, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(*((AuditTrail, "_add") if failing == "the event" else (audit, "write_whole")), fail)
    with pytest.raises(StorageError):
        trail.append(AuditEvent("study.opened", "reader"))
    monkeypatch.undo()
    report = trail.verify()
    assert (report.ok, report.count, report.sentence) == (True, 0, "The audit trail is empty.")
    trail.append(AuditEvent("study.opened", "reader"))
    assert [entry.event.what for entry in trail.entries()] == ["study.opened"]
    assert trail.verify().sentence == "The audit trail is whole."
    _tamper(database, "DELETE FROM audit")
    assert trail.verify().first_bad == 1


@pytest.mark.parametrize("left", ["audit.key", "audit.anchor"])
def test_an_emptied_trail_without_its_anchor_or_key_is_found_and_stays_marked(
    trail: AuditTrail, database: Database, tmp_path: Path, left: str
) -> None:
    _tamper(database, "DELETE FROM audit")
    for path in (tmp_path / "anchor").iterdir():
        if path.name != left:
            path.unlink()
    assert not trail.verify().ok
    trail.append(AuditEvent("study.opened", "reader"))
    assert [entry.event.what for entry in trail.entries()] == [ANCHOR_RENEWED, "study.opened"]
    assert "not anchored" in trail.verify().sentence


def test_a_program_that_waited_for_the_first_event_makes_no_second_key(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two programs start at once: the one that has to wait finds the key of the other."""
    one, other = (AuditTrail(database, tmp_path / "anchor") for _ in range(2))
    real = Database.write

    def late(self: Database) -> object:
        monkeypatch.undo()
        one.append(AuditEvent("study.opened", "one"))
        return real(self)

    monkeypatch.setattr(Database, "write", late)
    other.append(AuditEvent("study.opened", "other"))
    assert [entry.event.who for entry in other.entries()] == ["one", "other"]
    assert other.verify().sentence == "The audit trail is whole."


@pytest.mark.parametrize("known", [0, 3])
@pytest.mark.parametrize("when", ["before the entries are read", "after the entries are read"])
def test_what_another_program_adds_meanwhile_is_no_cut(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: int, when: str
) -> None:
    one, other = (AuditTrail(database, tmp_path / "anchor") for _ in range(2))
    for _ in range(known):
        one.append(AuditEvent("study.opened", "one"))
    real = Database.read

    @contextmanager
    def busy(self: Database) -> Iterator[Connection]:
        monkeypatch.undo()
        if when.startswith("before"):
            other.append(AuditEvent("study.opened", "other"))
        with real(self) as connection:
            yield connection
        if when.startswith("after"):
            other.append(AuditEvent("study.opened", "other"))

    monkeypatch.setattr(Database, "read", busy)
    report = one.verify()
    assert report.ok, report.sentence
    assert len(one.entries()) == known + 1


@pytest.mark.parametrize("damage", ["missing", "forged", "garbage", "key missing"])
def test_without_its_anchor_the_end_is_not_claimed(trail: AuditTrail, tmp_path: Path, damage: str) -> None:
    anchor, key = tmp_path / "anchor" / "audit.anchor", tmp_path / "anchor" / "audit.key"
    if damage == "missing":
        anchor.unlink()
    elif damage == "forged":
        anchor.write_text(anchor.read_text().replace('"number": 6', '"number": 5'))
    elif damage == "garbage":
        anchor.write_bytes(b"\xff[")
    else:
        key.unlink()
    report = trail.verify()
    assert not report.ok
    assert "anchor" in report.sentence
    trail.append(AuditEvent("study.opened", "reader"))
    assert [e.event.what for e in trail.entries()][-2:] == [ANCHOR_RENEWED, "study.opened"]
    renewed = trail.verify()
    assert renewed.ok
    assert "since entry 7" in renewed.sentence


def test_the_store_itself_refuses_changes(trail: AuditTrail, database: Database) -> None:
    for statement in ("UPDATE audit SET who = 'x'", "DELETE FROM audit"):
        with pytest.raises(IntegrityError, match="append-only"), database.write() as connection:
            connection.execute(text(statement))
    assert trail.verify().ok


def test_fields_cannot_run_into_each_other(database: Database, tmp_path: Path) -> None:
    trail = AuditTrail(database, tmp_path / "anchor", clock=lambda: NOW)
    trail.append(AuditEvent("ab", "c"))
    _tamper(database, "UPDATE audit SET what = 'a', who = 'bc'")
    assert not trail.verify().ok


def test_an_anchor_that_cannot_be_written_loses_no_event(
    trail: AuditTrail, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("medviewer.whole_file.os.fsync", full)
    trail.append(AuditEvent("study.opened", "reader", "canary"))
    monkeypatch.undo()
    assert len(trail.entries()) == 7
    assert trail.verify().ok
    assert "anchor" in caplog.text
    assert "canary" not in caplog.text
    assert sorted(p.name for p in (tmp_path / "anchor").iterdir()) == ["audit.anchor", "audit.key"]


def _tamper_again(database: Database, statement: str) -> None:
    with sqlite3.connect(database.path) as connection:
        connection.execute(statement)
    connection.close()
