"""The journal is whole wherever it is cut off, and goes on from there."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from medviewer.app.batch_journal import JOURNAL_NAME, Entry, Journal
from medviewer.domain.errors import StorageError, UsageError


def write(folder: Path) -> dict[str, Entry]:
    with Journal(folder) as journal:
        journal.begin("study-1/a", "s1", "m")
        journal.end("study-1/a", "answer")
        journal.begin("study-2/b", "s2", "m")
        journal.end("study-2/b", "failed", "The process ended.")
        journal.begin("study-3/c", "s3", "m")
        return dict(journal.entries)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    known = write(tmp_path)
    assert known == {
        "study-1/a": Entry("s1", "m", "answer"),
        "study-2/b": Entry("s2", "m", "failed", "The process ended."),
        "study-3/c": Entry("s3", "m", ""),
    }
    with Journal(tmp_path) as again:
        assert again.entries == known


@pytest.mark.reliability
def test_cut_at_any_byte_it_holds_all_that_was_whole_and_goes_on(tmp_path: Path) -> None:
    write(tmp_path)
    whole = (tmp_path / JOURNAL_NAME).read_bytes()
    for size in range(len(whole)):
        (tmp_path / JOURNAL_NAME).write_bytes(whole[:size])
        with Journal(tmp_path) as journal:
            n_lines = whole[:size].count(b"\n")
            expected = {0: 0, 1: 0, 2: 1, 3: 1, 4: 2, 5: 2}[n_lines]
            assert len(journal.entries) == expected, size
            journal.begin("study-9/z", "s9", "m")
            journal.end("study-9/z", "answer")
        with Journal(tmp_path) as journal:
            assert journal.entries["study-9/z"] == Entry("s9", "m", "answer")
            assert len(journal.entries) == expected + 1


def test_a_file_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / JOURNAL_NAME).write_text("dear diary\n", encoding="utf-8")
    with pytest.raises(UsageError, match="not of MedViewer"):
        Journal(tmp_path)
    assert (tmp_path / JOURNAL_NAME).read_text(encoding="utf-8") == "dear diary\n"


def test_one_program_at_a_time(tmp_path: Path) -> None:
    with Journal(tmp_path), pytest.raises(UsageError, match="Another analysis"):
        Journal(tmp_path)
    Journal(tmp_path).close()


@pytest.mark.reliability
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="this system has no folder in which nobody can write")
def test_where_nothing_can_be_written_nobody_is_said_to_write() -> None:
    with pytest.raises(StorageError, match="writing there is not permitted"):
        Journal(Path("/proc"))


def test_a_line_that_the_disk_did_not_take_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with Journal(tmp_path) as journal:
        journal.begin("study-1/a", "s1", "m")
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match="disk is full"):
            journal.end("study-1/a", "answer")
        assert journal.entries["study-1/a"].outcome == ""
        monkeypatch.undo()
    with Journal(tmp_path) as again:
        assert again.entries["study-1/a"].outcome == ""
        again.end("study-1/a", "abstained")
    with Journal(tmp_path) as again:
        assert again.entries == {"study-1/a": Entry("s1", "m", "abstained")}
