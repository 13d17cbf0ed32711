"""A known file is not read again; a changed one always is; a broken index costs nothing but time."""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pydicom.data
import pytest

from medviewer.domain.errors import MedViewerError
from medviewer.domain.study import Collection
from medviewer.imaging import index as module
from medviewer.imaging.header import Header, read_header
from medviewer.imaging.index import REBUILT, HeaderIndex, pack_header, unpack_header
from medviewer.imaging.scan import scan
from tests.dicom_maker import make_dataset, write_dataset

OWN = sorted(path for path in (Path(pydicom.data.__file__).parent / "test_files").rglob("*") if path.is_file())


@pytest.fixture(autouse=True)
def _later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The index takes files only some time after they were changed."""
    monkeypatch.setattr(module, "_FRESH_S", -3600.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for value in range(3):
        write(tmp_path / "in" / f"{value}.dcm", value)
    return tmp_path / "in"


def write(path: Path, value: int, **attributes: Any) -> Path:
    return write_dataset(path, make_dataset(np.full((8, 8), value, np.uint16), **attributes))


def headers_read(folder: Path, monkeypatch: pytest.MonkeyPatch, index: Path) -> tuple[list[str], Collection]:
    read: list[str] = []

    def counted(path: Path, _parse: object) -> Header:
        read.append(path.name)
        return read_header(path)

    with monkeypatch.context() as patch:
        patch.setattr("medviewer.imaging.scan.scan_header", counted)
        return read, scan([folder], index=index)


def names(collection: Collection) -> list[str]:
    return sorted(patient.name for patient in collection.patients)


def test_what_is_unchanged_is_not_read_and_what_changed_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = folder.parent / "data" / "headers.sqlite"
    first, before = headers_read(folder, monkeypatch, index)
    assert first == ["0.dcm", "1.dcm", "2.dcm"]
    again, after = headers_read(folder, monkeypatch, index)
    assert again == []
    assert after.shown == before.shown
    assert after.patients[0].name == before.patients[0].name
    write(folder / "1.dcm", 1, PatientID="P2", PatientName="Other^Person")
    (folder / "2.dcm").unlink()
    write(folder / "3.dcm", 3)
    changed, last = headers_read(folder, monkeypatch, index)
    assert changed == ["1.dcm", "3.dcm"]
    assert names(last) == ["Other^Person", "Test^Object"]
    assert len(last.shown) == 3


def test_a_file_of_the_same_size_and_time_is_told_by_its_number(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after copying with ``cp -p``, or a restored backup."""
    index = folder.parent / "headers.sqlite"
    scan([folder], index=index)
    path = folder / "0.dcm"
    times = path.stat()
    write(folder.parent / "other", 0, PatientName="Mest^Object")
    os.replace(folder.parent / "other", path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert headers_read(folder, monkeypatch, index)[0] == ["0.dcm"]


def test_a_file_that_was_changed_just_now_is_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FRESH_S", 3600.0)
    index = folder.parent / "headers.sqlite"
    scan([folder], index=index)
    assert len(headers_read(folder, monkeypatch, index)[0]) == 3


def test_every_header_comes_back_as_it_was() -> None:
    count = 0
    for path in OWN:
        try:
            header = read_header(path)
        except MedViewerError:
            continue
        assert unpack_header(pack_header(header)) == header
        count += 1
    assert count > 100


def test_a_changed_bit_is_not_believed() -> None:
    entry = pack_header(read_header(Path(pydicom.data.get_testdata_file("CT_small.dcm", download=False))))  # type: ignore[arg-type]
    for at in range(0, len(entry), 7):
        damaged = bytearray(entry)
        damaged[at] ^= 4
        assert unpack_header(bytes(damaged)) is None
    assert unpack_header(b"") is None
    assert unpack_header("text") is None  # type: ignore[arg-type]


@pytest.mark.parametrize("damage", ["text", "half", "zeros"])
def test_a_damaged_index_is_rebuilt_and_said(damage: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = folder.parent / "headers.sqlite"
    scan([folder], index=index)
    data = index.read_bytes()
    index.write_bytes({"text": b"no database " * 1000, "half": data[:5000], "zeros": data[:4096] + bytes(8192)}[damage])
    read, collection = headers_read(folder, monkeypatch, index)
    assert len(read) == 3
    assert collection.remarks == (REBUILT,)
    read, collection = headers_read(folder, monkeypatch, index)
    assert read == []
    assert collection.remarks == ()


def test_an_index_that_cannot_be_used_is_not_used(folder: Path) -> None:
    (folder.parent / "file").write_bytes(b"")
    assert len(scan([folder], index=folder.parent / "file" / "headers.sqlite").shown) == 3
    index = folder.parent / "headers.sqlite"
    scan([folder], index=index)
    holder = sqlite3.connect(index)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        assert len(scan([folder], index=index).shown) == 3
    finally:
        holder.close()


def test_another_form_of_the_entries_starts_anew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = folder.parent / "headers.sqlite"
    scan([folder], index=index)
    monkeypatch.setattr(module, "_VERSION", 77)
    read, collection = headers_read(folder, monkeypatch, index)
    assert (len(read), collection.remarks) == (3, ())
    assert headers_read(folder, monkeypatch, index)[0] == []


def test_an_index_that_grew_too_large_starts_anew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = folder.parent / "headers.sqlite"
    scan([folder], index=index)
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 1)
    assert len(headers_read(folder, monkeypatch, index)[0]) == 3


def test_a_header_that_is_too_large_is_not_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ENTRY_BYTES", 10)
    index = folder.parent / "headers.sqlite"
    scan([folder], index=index)
    assert len(headers_read(folder, monkeypatch, index)[0]) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="rights of another kind")
def test_the_index_is_private(folder: Path) -> None:
    index = folder.parent / "data" / "headers.sqlite"
    scan([folder], index=index)
    assert stat.S_IMODE(index.stat().st_mode) == 0o600
    assert stat.S_IMODE(index.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("is_whole_folder", [True, False])
def test_what_is_gone_is_forgotten(is_whole_folder: bool, folder: Path) -> None:
    index = folder.parent / "headers.sqlite"
    write(folder / "3.dcm", 3, PatientName="Canary^Name")
    scan([folder], index=index)
    assert b"Canary^Name" in index.read_bytes()
    if is_whole_folder:
        folder.rename(folder.with_name("moved"))
        with HeaderIndex(index):
            pass
    else:
        (folder / "3.dcm").unlink()
        scan([folder / "1.dcm"], index=index)
        assert b"Test^Object" in index.read_bytes()
    assert b"Canary^Name" not in index.read_bytes()
