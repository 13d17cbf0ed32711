"""What headers said, kept, so that a folder that was opened before opens quickly.

A file counts as unchanged if size, times and file number are the same; then its header is
taken from here. Pixels are always read from the file, which names itself once more then.
The index is a convenience: a damaged or locked one costs time, never the study.

It holds identity, as the files do: it is made for its owner only, and forgets folders and
files that are gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from medviewer.imaging import tags
from medviewer.imaging.dataset import DataSet, Encoding, PixelElement
from medviewer.imaging.header import Header

FILE_NAME = "headers.sqlite"
MAX_ENTRY_BYTES = 256 * 2**10
MAX_FILE_BYTES = 512 * 2**20
_FRESH_S = 2.0  # a file that was changed just now may change again without a new time
_FORM = 3  # of an entry; what is kept depends on the wanted attributes too
_VERSION = zlib.crc32(repr((_FORM, sorted(tags.VALUE_REPRESENTATIONS.items()))).encode()) & 0x7FFFFFFF or 1
_TABLE = (
    "CREATE TABLE IF NOT EXISTS headers (folder BLOB, name BLOB, stamp TEXT, entry BLOB, PRIMARY KEY (folder, name))"
)
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
REBUILT = "The index of files that were opened before was damaged; it is built anew."


class _Row(NamedTuple):
    stamp: str
    entry: bytes


class HeaderIndex:
    """The headers that are known, in one SQLite file. Used by one thread, as a context manager.

    Attributes:
        remark: one sentence for the reader if the index had to be rebuilt, else "".
    """

    def __init__(self, path: Path) -> None:
        self.remark = ""
        self._path = path
        self._folders: dict[bytes, dict[bytes, _Row]] = {}
        self._seen: dict[bytes, set[bytes]] = {}
        self._new: list[tuple[bytes, bytes, str, bytes]] = []
        self._database: sqlite3.Connection | None = None
        self._attempt(self._open)

    def __enter__(self) -> HeaderIndex:
        return self

    def __exit__(self, *_error: object) -> None:
        self._attempt(self._write)
        self._close()

    def header(self, path: Path, read: Callable[[Path], Header]) -> Header:
        """Give the header of a file: the known one if the file is unchanged, else what ``read`` gives.

        Raises:
            OSError, InputError: as ``read``.
        """
        if self._database is None:
            return read(path)
        status = path.stat()
        folder, name = os.path.split(os.fsencode(os.path.abspath(path)))
        self._seen.setdefault(folder, set()).add(name)
        stamp = ":".join(
            map(str, (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev))
        )
        row = self._rows(folder).get(name)
        if row is not None and row.stamp == stamp:
            known = unpack_header(row.entry)
            if known is not None:
                return known
        header = read(path)
        if max(status.st_mtime, status.st_ctime) < time.time() - _FRESH_S:
            entry = pack_header(header)
            if len(entry) <= MAX_ENTRY_BYTES:
                self._new.append((folder, name, stamp, entry))
        return header

    def _rows(self, folder: bytes) -> dict[bytes, _Row]:
        rows = self._folders.get(folder)
        if rows is None:
            rows = self._folders[folder] = {}
            self._attempt(lambda database: rows.update(_load(database, folder)))
        return rows

    def _attempt(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """Do something with the file; one that is damaged starts anew, one that cannot be used is not used."""
        try:
            if self._database is None:
                self._database = self._connect()
            work(self._database)
        except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
            self._close()
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE and not self.remark:
                self.remark = REBUILT
                with contextlib.suppress(OSError):
                    self._path.unlink()
                self._attempt(self._open)

    def _connect(self) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        return sqlite3.connect(self._path, timeout=0.2, isolation_level=None)

    def _open(self, database: sqlite3.Connection) -> None:
        for pragma in ("synchronous=NORMAL", "secure_delete=ON", "trusted_schema=OFF"):
            database.execute(f"PRAGMA {pragma}")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version != _VERSION or self._path.stat().st_size > MAX_FILE_BYTES:
            database.execute("DROP TABLE IF EXISTS headers")
            database.execute("VACUUM")
            database.execute(f"PRAGMA user_version={_VERSION}")
        database.execute(_TABLE)

    def _write(self, database: sqlite3.Connection) -> None:
        database.execute("BEGIN IMMEDIATE")
        database.executemany("INSERT OR REPLACE INTO headers VALUES (?, ?, ?, ?)", self._new)
        for (folder,) in database.execute("SELECT DISTINCT folder FROM headers").fetchall():
            if not os.path.isdir(folder):
                database.execute("DELETE FROM headers WHERE folder = ?", (folder,))
        for folder, rows in self._folders.items():
            if rows.keys() - self._seen[folder]:
                there = set(os.listdir(folder))
                gone = [(folder, name) for name in rows.keys() - there]
                database.executemany("DELETE FROM headers WHERE folder = ? AND name = ?", gone)
        database.execute("COMMIT")

    def _close(self) -> None:
        if self._database is not None:
            with contextlib.suppress(sqlite3.Error):
                self._database.close()
            self._database = None


def _load(database: sqlite3.Connection, folder: bytes) -> dict[bytes, _Row]:
    query = "SELECT name, stamp, entry FROM headers WHERE folder = ?"
    return {name: _Row(stamp, entry) for name, stamp, entry in database.execute(query, (folder,))}


def pack_header(header: Header) -> bytes:
    """Write a header as bytes: a checksum, then JSON in which byte strings are Latin-1 text."""
    pixels = list(header.pixels) if header.pixels is not None else None
    encoding = [header.encoding.is_explicit, header.encoding.is_little_endian]
    form = [
        header.transfer_syntax_uid, header.sop_class_uid, encoding, pixels, header.file_size,
        header.content_size, header.is_deflated, header.is_truncated, header.first_bytes.decode("latin-1"),
        _pack_dataset(header.dataset),
    ]  # fmt: skip
    data = json.dumps(form, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    return zlib.crc32(data).to_bytes(4, "little") + data


def unpack_header(entry: bytes) -> Header | None:
    """Give the header that was packed; None if the bytes are not what was written."""
    if not isinstance(entry, bytes) or zlib.crc32(entry[4:]).to_bytes(4, "little") != entry[:4]:
        return None
    try:
        form = json.loads(entry[4:].decode("utf-8", "surrogatepass"))
        syntax, sop_class, encoding, pixels, file_size, content_size, is_deflated, is_truncated, first, dataset = form
        elements = _unpack_dataset(dataset)
        return Header(
            dataset=elements,
            transfer_syntax_uid=syntax,
            sop_class_uid=elements.text(tags.SOP_CLASS_UID) or sop_class,
            encoding=Encoding(*encoding),
            pixels=None if pixels is None else PixelElement(*pixels),
            file_size=file_size,
            content_size=content_size,
            is_deflated=is_deflated,
            is_truncated=is_truncated,
            first_bytes=first.encode("latin-1"),
        )
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None


def _pack_dataset(dataset: DataSet) -> list[Any]:
    return [
        dataset.is_little_endian,
        dataset.character_sets,
        [[tag, dataset.representations.get(tag), value.decode("latin-1")] for tag, value in dataset.values.items()],
        [[tag, [_pack_dataset(item) for item in items]] for tag, items in dataset.sequences.items()],
        list(dataset.payloads.values()),
    ]


def _unpack_dataset(form: list[Any]) -> DataSet:
    is_little_endian, character_sets, values, sequences, payloads = form
    return DataSet(
        is_little_endian,
        tuple(character_sets),
        {tag: value.encode("latin-1") for tag, _representation, value in values},
        {tag: representation for tag, representation, _value in values if representation is not None},
        {tag: [_unpack_dataset(item) for item in items] for tag, items in sequences},
        {place[0]: PixelElement(*place) for place in payloads},
    )
