"""One SQLite file that holds what was acknowledged, whatever happens to the program or the disk."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from medviewer.domain.errors import MedViewerError, RecordError, StorageError
from medviewer.records.tables import SCHEMA_REVISION

_BUSY_TIMEOUT_S = 5.0
_LOOK_S = 0.02

_FULL = "The patient records could not be written because the disk is full: free some space and try again."
_FAILED = (
    "The patient records could not be read or written: check that the disk is connected, healthy and has free space,"
    " then try again."
)
_READ_ONLY = "The patient records cannot be changed because their folder is read-only: allow writing to it or move it."
_BUSY = "The patient records are in use by another program: close it and try again."
_CANNOT_OPEN = "The patient records cannot be opened: check that their folder exists and may be read and written."
DAMAGED = (
    "The file of the patient records is damaged and was left as it is: put a backup in its place, or move it away"
    " to start with an empty one."
)
_MOVED = "The file of the patient records was moved or deleted while it was open: put it back and start again."

_BY_CODE = {
    sqlite3.SQLITE_FULL: StorageError(_FULL),
    sqlite3.SQLITE_IOERR: StorageError(_FAILED),
    sqlite3.SQLITE_READONLY: StorageError(_READ_ONLY),
    sqlite3.SQLITE_BUSY: StorageError(_BUSY),
    sqlite3.SQLITE_LOCKED: StorageError(_BUSY),
    sqlite3.SQLITE_CANTOPEN: StorageError(_CANNOT_OPEN),
    sqlite3.SQLITE_PERM: StorageError(_CANNOT_OPEN),
    sqlite3.SQLITE_AUTH: StorageError(_CANNOT_OPEN),
    sqlite3.SQLITE_CORRUPT: RecordError(DAMAGED),
    sqlite3.SQLITE_NOTADB: RecordError(DAMAGED),
}
# What SQLite or its driver say, without a code of their own, when text is no text any more or the schema was hit:
# the tables are ours, so that one that is not there was there before.
_SIGNS_OF_DAMAGE = ("decode", "unsupported file format", "no such table", "no such column")


def open_engine(path: Path) -> Engine:
    """The engine on the store's file: the only place that knows how a connection is made.

    Write-ahead log with a full sync at every commit: what was acknowledged
    survives the end of the process and of the power. Transactions are begun
    explicitly, so that changes of the schema are part of them too, and a writer
    takes its lock at once instead of failing half-way.
    """
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        connect_args={"timeout": _BUSY_TIMEOUT_S, "check_same_thread": False},
        hide_parameters=True,  # an error that reaches the log must not carry the patient with it
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # SQLAlchemy begins, not the driver
        cursor = connection.cursor()
        try:
            _use_write_ahead_log(cursor)
            for pragma in ("synchronous=FULL", "foreign_keys=ON", "trusted_schema=OFF"):
                cursor.execute(f"PRAGMA {pragma}")
        finally:
            cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        is_writing = connection.get_execution_options().get("is_writing")
        if is_writing is not None:  # a backup runs outside any transaction
            connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN")

    return engine


def _use_write_ahead_log(cursor: DBAPICursor) -> None:
    """Make the file one with a write-ahead log, unless it is; another program that does the same now is waited for.

    SQLite itself does not wait then: both may hold what the other one needs.
    """
    last = time.monotonic() + _BUSY_TIMEOUT_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= last:
                raise
            time.sleep(_LOOK_S)
        else:
            return


class Database:
    """A migrated store that any thread may read and write; writers take turns."""

    def __init__(self, path: Path) -> None:
        """Open the store, making or migrating it first if need be.

        Raises:
            StorageError: the place cannot be read or written.
            RecordError: the file is damaged, not ours, or of a newer MedViewer.
        """
        self.path = path
        self._writing = threading.Lock()
        self._is_closed = False
        _make_private_file(path)
        self._engine = open_engine(path)
        try:
            self._migrate()
        except BaseException:
            self._engine.dispose()
            raise
        self._file_id = _file_id(path)

    def close(self) -> None:
        """Close every connection; the write-ahead log is folded into the file. Closing twice is fine."""
        with self._writing:
            self._is_closed = True
            self._engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that sees one unchanging state of the store."""
        with self._connected(is_writing=False) as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction: all of it is on the disk when the block ends, or none of it.

        Raises:
            StorageError: the disk is full, read-only or gone; nothing was changed.
            RecordError: the file is damaged.
        """
        with self._writing, self._connected(is_writing=True) as connection, connection.begin():
            yield connection
            # A deleted file can still be written to on some systems: what goes there is lost.
            if _file_id(self.path) != self._file_id:
                raise StorageError(_MOVED)

    @contextmanager
    def _connected(self, *, is_writing: bool) -> Iterator[Connection]:
        if self._is_closed:
            raise RecordError("The patient records are closed: open them again to go on.")
        with _clear_errors(), self._engine.connect() as connection:
            yield connection.execution_options(is_writing=is_writing)

    def _migrate(self) -> None:
        with self._connected(is_writing=False) as connection, connection.begin():
            revision = _revision(connection)
        if revision == SCHEMA_REVISION:
            return
        # Loaded only now: Alembic costs a fifth of a second that an up-to-date store need not pay.
        from medviewer.records.migrations import REVISIONS  # noqa: PLC0415

        known = [step.revision for step in REVISIONS]
        if revision is not None and revision not in known:
            raise RecordError("The patient records were made by a newer MedViewer: update MedViewer to open them.")
        if revision is not None:
            with _clear_errors():
                self._back_up(revision)
        with self._connected(is_writing=True) as connection, connection.begin():
            _run_steps(connection)

    def _back_up(self, revision: str) -> Path:
        """Copy the store beside itself before it is changed; whole, or not there."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        target = self.path.with_name(f"{self.path.name}.backup-{revision}-{stamp}")
        partial = target.with_name(target.name + ".part")
        try:
            partial.unlink(missing_ok=True)
            _make_private_file(partial)
            with self._engine.connect() as connection:
                connection.execute(text("VACUUM INTO :target"), {"target": str(partial)})
            _sync(partial)
            partial.replace(target)
        except OSError as error:
            raise StorageError(_FAILED) from error
        finally:
            partial.unlink(missing_ok=True)
        return target


def _revision(connection: Connection) -> str | None:
    """The schema revision of the store; None if the file is still empty."""
    tables = set(connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'")).scalars())
    if not tables:
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")) if "alembic_version" in tables else None
    revision = found.scalar() if found is not None else None
    if revision is None:
        raise RecordError("The file chosen for the patient records belongs to another program: choose another place.")
    return str(revision)


def _run_steps(connection: Connection) -> None:
    """Bring the store to the newest revision, in the transaction that is open."""
    from alembic.operations import Operations  # noqa: PLC0415
    from alembic.runtime.migration import MigrationContext  # noqa: PLC0415

    from medviewer.records.migrations import REVISIONS  # noqa: PLC0415

    # Read again under the lock: another program may have been quicker.
    revision = _revision(connection)
    known = [step.revision for step in REVISIONS]
    context = MigrationContext.configure(connection)
    with Operations.context(context):
        for step in REVISIONS[known.index(revision) + 1 if revision is not None else 0 :]:
            step.upgrade()
    connection.execute(text("CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) PRIMARY KEY)"))
    connection.execute(text("DELETE FROM alembic_version"))
    connection.execute(text("INSERT INTO alembic_version VALUES (:revision)"), {"revision": known[-1]})


@contextmanager
def _clear_errors() -> Iterator[None]:
    """Turn what the disk or the file did into one sentence; our own mistakes stay as they are."""
    try:
        yield
    except DBAPIError as error:
        meant = _meaning(error.orig)
        if meant is None:
            raise
        raise meant from error
    except sqlite3.Error as error:  # raised while connecting
        meant = _meaning(error)
        if meant is None:
            raise
        raise meant from error
    except UnicodeDecodeError as error:  # text that we wrote is text: the file was changed since
        raise RecordError(DAMAGED) from error


def _meaning(error: BaseException | None) -> MedViewerError | None:
    code = getattr(error, "sqlite_errorcode", None)
    if code in (None, sqlite3.SQLITE_ERROR):
        return RecordError(DAMAGED) if any(words in str(error) for words in _SIGNS_OF_DAMAGE) else None
    known = _BY_CODE.get(code & 0xFF)  # the low byte is the primary code
    return type(known)(str(known)) if known is not None else None


def _make_private_file(path: Path) -> None:
    """Make the file, readable by its owner alone; SQLite gives its side files the same rights."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except PermissionError as error:
        raise StorageError(_READ_ONLY) from error
    except OSError as error:
        raise StorageError(_CANNOT_OPEN) from error


def _file_id(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
