"""The record store on disks that fill up, vanish, forbid and lie, and under kill -9."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
import traceback
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest
import sqlalchemy as sa
from alembic import op
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medviewer.domain.answer import Decision, Subject
from medviewer.domain.case import Observation
from medviewer.domain.errors import MedViewerError, RecordError, StorageError
from medviewer.domain.measurement import new_measurement
from medviewer.records import database, migrations, tables
from medviewer.records.audit import AuditEvent, AuditTrail
from medviewer.records.record import Allergy, Document, Identifier, Medication, PatientRecord
from medviewer.records.store import RecordStore

pytestmark = pytest.mark.reliability

RECORD = PatientRecord("k", (Identifier("", "9RG1"),), "CompressedSamples^RG1", "1940-03-05", "F")
SUBJECT = Subject(("/films/a.dcm", "1.2.9", 0), "chest", "ab" * 32)
LENGTH = new_measurement("length", [(1.5, 2.5), (3.0, 4.0)], ("1.2.9", 0))
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "records.db"


def _files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


# --- kill -9 ---------------------------------------------------------------------------------------------------

_WRITER = textwrap.dedent("""
    import sys
    from pathlib import Path
    from medviewer.domain.answer import Subject
    from medviewer.records.audit import AuditEvent, AuditTrail
    from medviewer.records.store import RecordStore
    store = RecordStore(Path(sys.argv[1]))
    trail = AuditTrail(store.database, Path(sys.argv[1]).with_name("audit"))
    n = 0
    while True:
        store.save_answer(Subject(("/films/a.dcm", "1.2.9", 0), "chest", "ab"), str(n))
        trail.append(AuditEvent("answer.saved", "writer", str(n)))
        print(n, flush=True)
        n += 1
""")


_MEASURER = textwrap.dedent("""
    import sys
    from pathlib import Path
    from medviewer.domain.measurement import new_measurement
    from medviewer.records.store import RecordStore
    store = RecordStore(Path(sys.argv[1]))
    n = 0
    while True:
        measurement = new_measurement("length", [(0, 0), (n, n)], ("1.2.9", 0), label=str(n))
        store.save_measurement(measurement)
        if n % 3 == 2:
            store.delete_measurement(measurement.uid)
        print(n, flush=True)
        n += 1
""")


def _killed_after(program: str, path: Path, acknowledged: int) -> int:
    """The last number that a writer said it had stored, when it was killed after so many."""
    writer = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert writer.stdout is not None
    with writer.stdout as said:
        last = [int(said.readline()) for _ in range(acknowledged)][-1]
        writer.send_signal(signal.SIGKILL)
        last = max([last, *(int(line) for line in said if line.endswith("\n"))])
    assert writer.wait() == -signal.SIGKILL
    return last


@pytest.mark.parametrize("acknowledged", [1, 7, 20])
def test_kill_minus_nine_loses_no_measurement_and_brings_back_no_deleted_one(path: Path, acknowledged: int) -> None:
    last = _killed_after(_MEASURER, path, acknowledged)
    with RecordStore(path) as store:
        found = [int(m.label) for m in store.measurements_for(("", "1.2.9", 0))]
        assert [n for n in found if n <= last] == [n for n in range(last + 1) if n % 3 != 2]
        assert len(found) <= last + 2, "at most the one that was not acknowledged"


@pytest.mark.parametrize("acknowledged", [1, 7, 20])
def test_kill_minus_nine_loses_nothing_acknowledged(path: Path, acknowledged: int) -> None:
    last = _killed_after(_WRITER, path, acknowledged)
    with RecordStore(path) as store:
        saved = [int(answer.result_json) for answer in store.answers_for("1.2.9")]
        assert saved == list(range(saved[0], -1, -1)), "in order, without a gap"
        assert saved[0] >= last
        report = AuditTrail(store.database, path.with_name("audit")).verify()
        assert report.ok, report.sentence
        assert report.count > last
        store.save_answer(SUBJECT, "after")
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_every_connection_syncs_fully_and_keeps_a_log(path: Path) -> None:
    """What kill -9 cannot show, a power cut would: the settings that make a commit reach the disk."""
    with RecordStore(path) as store, store.database.read() as connection:
        asked = ("journal_mode", "synchronous", "foreign_keys", "trusted_schema")
        values = [connection.execute(sa.text(f"PRAGMA {name}")).scalar() for name in asked]
    assert values == ["wal", 2, 1, 0]  # synchronous 2 is FULL


# --- full disk -------------------------------------------------------------------------------------------------


def test_a_full_disk_is_said_loses_nothing_and_heals(path: Path) -> None:
    """RLIMIT_FSIZE makes every write beyond a size fail, as a full disk does."""
    big = replace(RECORD, documents=(Document("Letter", "2004-08-26", "x" * 4_000_000),))
    with RecordStore(path) as store:
        before = store.save_record(RECORD)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
        try:
            with pytest.raises(StorageError, match="free") as caught:
                store.save_record(big)
            assert store.record_for("9RG1") == before
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert str(caught.value).count(".") == 1
        assert "9RG1" not in str(caught.value)
        assert store.save_record(big).documents == big.documents
    with RecordStore(path) as again:
        assert (again.record_for("9RG1") or RECORD).documents == big.documents


def test_a_disk_that_is_full_from_the_start_is_said(path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, hard))
    try:
        with pytest.raises(StorageError):
            RecordStore(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with RecordStore(path) as store:
        assert store.save_record(RECORD) == RECORD


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (sqlite3.SQLITE_FULL, StorageError, "disk is full"),
        (sqlite3.SQLITE_IOERR_WRITE, StorageError, "free space"),
        (sqlite3.SQLITE_IOERR_FSYNC, StorageError, "disk is connected"),
        (sqlite3.SQLITE_READONLY_DIRECTORY, StorageError, "read-only"),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, StorageError, "another program"),
        (sqlite3.SQLITE_CANTOPEN, StorageError, "cannot be opened"),
        (sqlite3.SQLITE_CORRUPT_INDEX, RecordError, "damaged"),
        (sqlite3.SQLITE_NOTADB, RecordError, "damaged"),
    ],
)
def test_each_failure_of_the_disk_has_its_sentence(
    path: Path, monkeypatch: pytest.MonkeyPatch, code: int, kind: type[MedViewerError], words: str
) -> None:
    error = sqlite3.OperationalError("any words")
    error.sqlite_errorcode = code

    def fail(*_: object) -> None:
        raise error

    with RecordStore(path) as store:
        before = store.save_record(RECORD)
        with monkeypatch.context() as patched:
            patched.setattr("sqlalchemy.engine.default.DefaultDialect.do_commit", fail)
            with pytest.raises(kind, match=words) as caught:
                store.save_record(replace(RECORD, documents=(Document("Letter"),)))
            with pytest.raises(kind, match=words):
                store.save_measurement(LENGTH)
        assert store.measurements_for("1.2.9") == ()
        assert "any words" not in str(caught.value)
        assert store.record_for("9RG1") == before


def test_an_unexpected_error_of_the_database_carries_no_identity(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    number = "-".join(("CANARY", "NUMBER"))  # put together here, so that no line of source in the traceback holds it

    def fail(_self: object, cursor: sqlite3.Cursor, statement: str, parameters: tuple[str, ...], _: object) -> None:
        if "identifier" in statement:
            assert number in parameters
            raise sqlite3.OperationalError("a mistake of ours")
        cursor.execute(statement, parameters)

    with RecordStore(path) as store, monkeypatch.context() as patched:
        patched.setattr("sqlalchemy.engine.default.DefaultDialect.do_execute", fail)
        with pytest.raises(sa.exc.OperationalError) as caught:
            store.record_for(number)
    told = "".join(traceback.format_exception(caught.value))
    assert "a mistake of ours" in told
    assert number not in told


# --- read-only, locked, gone -----------------------------------------------------------------------------------


def test_a_locked_store_says_so_and_works_afterwards(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_BUSY_TIMEOUT_S", 0.0)
    with RecordStore(path) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="in use by another program"):
            store.save_record(RECORD)
        assert store.record_for("9RG1") is None, "reading goes on"
        other.execute("ROLLBACK")
        other.close()
        assert store.save_record(RECORD) == RECORD


def test_a_store_that_was_deleted_under_us_accepts_nothing(path: Path) -> None:
    with RecordStore(path) as store:
        store.save_record(RECORD)
        path.rename(path.with_suffix(".away"))
        with pytest.raises(StorageError, match="moved or deleted"):
            store.save_answer(SUBJECT, "{}")
        path.with_suffix(".away").rename(path)
        store.save_answer(SUBJECT, "{}")
    with RecordStore(path) as again:
        assert len(again.answers_for("1.2.9")) == 1


def test_a_folder_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageError, match="cannot be opened"):
        RecordStore(tmp_path / "file" / "records.db")
    with pytest.raises(StorageError, match="cannot be opened"):
        RecordStore(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere; the next test stands in")
def test_a_read_only_folder_is_said(path: Path) -> None:
    path.parent.mkdir()
    path.parent.chmod(0o500)
    with pytest.raises(StorageError, match="read-only"):
        RecordStore(path)
    path.parent.chmod(0o700)


def test_a_read_only_place_is_said(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("medviewer.records.database.os.open", forbid)
    with pytest.raises(StorageError, match="read-only"):
        RecordStore(path)


def test_the_store_and_its_side_files_are_readable_by_their_owner_alone(path: Path) -> None:
    with RecordStore(path) as store:
        store.save_record(RECORD)
        AuditTrail(store.database, path.with_name("audit")).append(AuditEvent("study.opened", "reader"))
        names = {p.name for p in path.parent.iterdir() if p.is_file()}
        assert {"records.db", "records.db-wal"} <= names
        for file in path.parent.rglob("*"):
            assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file.name


# --- damage ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content", [b"not a database, but long enough to have a header" * 100, b"SQLite format 3\0" + b"\xff" * 5000]
)
def test_a_file_that_is_no_store_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(RecordError, match="damaged and was left as it is"):
        RecordStore(path)
    assert path.read_bytes() == content


def test_a_database_of_another_program_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()
    with pytest.raises(RecordError, match="another program"):
        RecordStore(path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("bookmarks",)]
    connection.close()


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a store that holds a record and an answer."""
    path = tmp_path_factory.mktemp("healthy") / "records.db"
    with RecordStore(path) as store:
        store.save_record(RECORD)
        store.save_answer(SUBJECT, "{}")
    return path.read_bytes()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**20), st.binary(min_size=1, max_size=200), st.none() | st.integers(0, 2**20))
def test_a_damaged_store_never_crashes_and_never_invents(
    tmp_path: Path, healthy: bytes, start: int, garbage: bytes, end: int | None
) -> None:
    path = Path(tempfile.mkdtemp(dir=tmp_path)) / "records.db"
    content = bytearray(healthy)
    start %= len(content)
    content[start : start + len(garbage)] = garbage
    if end is not None:
        del content[1 + end % len(content) :]
    path.write_bytes(content)
    said = "."
    try:
        with RecordStore(path) as store:
            record = store.record_for("9RG1")
            assert record is None or Identifier("", "9RG1") in record.identifiers
            store.answers_for("1.2.9")
            store.save_answer(SUBJECT, "{}")
    except MedViewerError as error:
        said = str(error)
    assert said.endswith(".")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("patient.name", b"\xff\xfe"),
        ("patient.sex", b"F"),
        ("observation.value", "ninety"),
        ("observation.time", "yesterday"),
        ("observation.unit", b"x"),
        ("answer.path_json", "{"),
        ("answer.frame", "one"),
        ("measurement.points_json", "{"),
        ("measurement.points_json", "[[1, 2]]"),
        ("measurement.points_json", "[[1, 2], [NaN, 4]]"),
        ("measurement.points_json", "[[1, 2], null]"),
        ("measurement.kind", "volume"),
        ("measurement.created", "yesterday"),
        ("measurement.created", "2026-01-02T00:00:00"),
        ("measurement.known_mm", 12.0),
        ("measurement.frame", "0x"),
    ],
)
def test_values_that_are_not_what_was_written_are_refused(path: Path, column: str, value: object) -> None:
    reading = Observation("8867-4", "Heart rate", 90.0, "/min", datetime(2004, 8, 26, tzinfo=UTC))
    with RecordStore(path) as store:
        store.save_record(replace(RECORD, observations=(reading,)))
        store.save_answer(SUBJECT, "{}")
        store.save_measurement(LENGTH)
    table, name = column.split(".")
    with sqlite3.connect(path) as connection:
        cast = "CAST(? AS TEXT)" if isinstance(value, bytes) and name == "name" else "?"
        connection.execute(f"UPDATE {table} SET {name} = {cast}", (value,))  # noqa: S608
    connection.close()
    with RecordStore(path) as store, pytest.raises(RecordError, match="damaged"):
        {"answer": store.answers_for, "measurement": store.measurements_for}.get(table, store.record_for)(
            "1.2.9" if table in ("answer", "measurement") else "9RG1"
        )


@pytest.mark.parametrize(("at", "value"), [(44, b"\0\0\0\x09"), (0, b"x"), (None, b"CREATE TABLE patienu")])
def test_a_damaged_header_or_schema_is_said(path: Path, at: int | None, value: bytes) -> None:
    with RecordStore(path) as store:
        store.save_record(RECORD)
    content = bytearray(path.read_bytes())
    start = (
        content.index(b"CREATE TABLE patient") if at is None else at
    )  # 44: the schema format (SQLite file format 1.3.8)
    content[start : start + len(value)] = value
    path.write_bytes(content)
    with pytest.raises(RecordError, match="damaged"), RecordStore(path) as store:
        store.record_for("9RG1")


def test_a_flipped_bit_in_a_number_does_not_give_one_patient_the_record_of_another(path: Path) -> None:
    RecordStore(path).close()
    with RecordStore(path) as store:
        store.save_record(RECORD)
    content = path.read_bytes()
    # The row holds key and number side by side; the index that finds it holds the number alone and stays as it was.
    assert content.count(b"k9RG1") == 1
    path.write_bytes(content.replace(b"k9RG1", b"k9RG3"))
    with RecordStore(path) as store, pytest.raises(RecordError, match="damaged"):
        store.record_for("9RG1")


# --- versions --------------------------------------------------------------------------------------------------


def test_a_store_of_a_newer_medviewer_is_refused_and_left_alone(path: Path) -> None:
    RecordStore(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(RecordError, match="newer MedViewer"):
        RecordStore(path)
    assert path.read_bytes() == before


def _next_step(fails: bool = False) -> ModuleType:
    step = ModuleType("next_step")

    def upgrade() -> None:
        op.add_column("patient", sa.Column("ward", sa.Text, nullable=False, server_default="unknown"))
        if fails:
            raise sqlite3.OperationalError("the step failed half-way")

    vars(step).update(revision="next", down_revision=tables.SCHEMA_REVISION, upgrade=upgrade)
    return step


def _columns(path: Path) -> list[str]:
    with sqlite3.connect(path) as connection:
        names = [row[1] for row in connection.execute("PRAGMA table_info(patient)")]
    connection.close()
    return names


def test_an_older_store_is_backed_up_and_migrated(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RecordStore(path) as store:
        store.save_record(RECORD)
    monkeypatch.setattr(migrations, "REVISIONS", (*migrations.REVISIONS, _next_step()))
    monkeypatch.setattr(database, "SCHEMA_REVISION", "next")
    with RecordStore(path) as store:
        assert store.record_for("9RG1") == RECORD
    assert "ward" in _columns(path)
    (backup,) = path.parent.glob(f"records.db.backup-{tables.SCHEMA_REVISION}-*")
    assert stat.S_IMODE(backup.stat().st_mode) & 0o077 == 0
    assert "ward" not in _columns(backup)
    monkeypatch.undo()
    with RecordStore(backup) as old:
        assert old.record_for("9RG1") == RECORD
    RecordStore(backup).close()
    assert len(list(path.parent.glob(f"records.db.backup-{tables.SCHEMA_REVISION}-*"))) == 1, (
        "an up-to-date store is not backed up"
    )


def test_a_store_from_before_measurements_is_backed_up_and_takes_them(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(migrations, "REVISIONS", migrations.REVISIONS[:1])
        patched.setattr(database, "SCHEMA_REVISION", "0001")
        with RecordStore(path) as old:
            old.save_answer(SUBJECT, "{}")
        with sqlite3.connect(path) as connection:  # today's code cannot write a record into tables of then
            connection.execute(
                "INSERT INTO patient VALUES ('k', ?, ?, 'F', '', 0, 1, 1, 0, 1)", (RECORD.name, RECORD.birth_date)
            )
            connection.execute("INSERT INTO identifier (patient_key, system, value) VALUES ('k', '', '9RG1')")
            connection.execute(
                "INSERT INTO allergy (patient_key, text, code, criticality, reaction, recorded, status)"
                " VALUES ('k', 'Penicillin', '', 'high', 'anaphylaxis', '1987', 'active')"
            )
            connection.execute(
                "INSERT INTO medication (patient_key, text, code, status, started, dosage_text)"
                " VALUES ('k', 'Warfarin', '', 'stopped', '2003', '')"
            )
        connection.close()
    kept = replace(
        RECORD,
        allergies=(Allergy("Penicillin", "", "high", "anaphylaxis", "1987", "active"),),
        medications=(Medication("Warfarin", "", "stopped", "2003"),),
    )
    with RecordStore(path) as store:
        assert store.record_for("9RG1") == kept
        assert len(store.answers_for("1.2.9")) == 1
        assert store.measurements_for("1.2.9") == ()
        store.save_measurement(LENGTH)
    assert len(list(path.parent.glob("records.db.backup-0001-*"))) == 1
    with RecordStore(path) as again:
        assert again.measurements_for("1.2.9") == (LENGTH,)


def test_a_store_from_before_changed_values_keeps_its_decisions(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(migrations, "REVISIONS", migrations.REVISIONS[:3])
        patched.setattr(database, "SCHEMA_REVISION", "0003")
        RecordStore(path).close()
        with sqlite3.connect(path) as connection:
            connection.execute(
                "INSERT INTO decision (sop_instance_uid, path_json, frame, model_id, model_sha256, method, finding, kind,"
                " reason, time, saved) VALUES ('1.2.9', '\"/a\"', 0, 'm', 'd', '', '', 'changed', 'why', 't', 's')"
            )
        connection.close()
    with RecordStore(path) as store:
        assert [one.decision for one in store.decisions_for("1.2.9")] == [Decision("changed", "why", "t")]
        store.save_decision(SUBJECT, Decision("changed", "lateral view", "t2", "collapse"))
    with RecordStore(path) as again:
        assert again.decisions_for("1.2.9")[0].decision.value == "collapse"


def test_a_migration_that_fails_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RecordStore(path) as store:
        store.save_record(RECORD)
    with monkeypatch.context() as patched:
        patched.setattr(migrations, "REVISIONS", (*migrations.REVISIONS, _next_step(fails=True)))
        patched.setattr(database, "SCHEMA_REVISION", "next")
        with pytest.raises(sqlite3.OperationalError, match="half-way"):
            RecordStore(path)
    assert "ward" not in _columns(path)
    with RecordStore(path) as store:
        assert store.record_for("9RG1") == RECORD


def test_without_room_for_the_backup_nothing_is_migrated(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RecordStore(path) as store:
        store.save_record(RECORD)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(migrations, "REVISIONS", (*migrations.REVISIONS, _next_step()))
        patched.setattr(database, "SCHEMA_REVISION", "next")
        patched.setattr("medviewer.records.database.os.fsync", full)
        with pytest.raises(StorageError):
            RecordStore(path)
    assert "ward" not in _columns(path)
    assert [name for name in _files(path.parent) if "backup" in name] == []


def test_the_migrations_make_exactly_the_tables(path: Path) -> None:
    with RecordStore(path) as store, store.database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.METADATA) == []


def test_the_migrations_are_one_chain_that_ends_at_the_known_revision(tmp_path: Path) -> None:
    """Alembic's own reading of the folder agrees with the list that is imported."""
    folder = Path(migrations.__file__).parent
    (tmp_path / "env.py").write_text("")
    script = ScriptDirectory(str(tmp_path), version_locations=[str(folder)])
    assert script.get_heads() == [tables.SCHEMA_REVISION]
    assert [s.revision for s in reversed(list(script.walk_revisions()))] == [r.revision for r in migrations.REVISIONS]


def test_an_up_to_date_store_opens_without_alembic_and_fhir(path: Path) -> None:
    RecordStore(path).close()
    code = "import sys; from pathlib import Path; from medviewer.records.store import RecordStore; RecordStore(Path(sys.argv[1])).close(); import medviewer.records.fhir; print([m for m in ('alembic', 'fhir', 'pydantic') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_a_store_that_another_program_is_just_making_is_waited_for(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    done = threading.Timer(0.3, other.rollback)
    done.start()
    with RecordStore(path) as store:  # SQLite says at once that the file is locked
        assert store.save_record(RECORD) == RECORD
    done.join()
    other.close()


def test_a_store_that_another_program_keeps_for_itself_is_said_to_be_in_use(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medviewer.records.database._BUSY_TIMEOUT_S", 0.1)
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="in use by another program"):
            RecordStore(path)


def test_two_programs_may_make_the_store_at_once(path: Path) -> None:
    code = "import sys; from pathlib import Path; from medviewer.records.store import RecordStore; RecordStore(Path(sys.argv[1])).close()"
    running = [subprocess.Popen([sys.executable, "-c", code, str(path)], cwd=ROOT) for _ in range(3)]
    assert [program.wait() for program in running] == [0, 0, 0]
    with RecordStore(path) as store:
        assert store.save_record(RECORD) == RECORD
