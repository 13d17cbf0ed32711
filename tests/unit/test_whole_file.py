"""A file is whole or not there, and what is no file is left alone."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from medviewer.domain.errors import StorageError
from medviewer.whole_file import is_writable, write_whole


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes in folders on Windows")
def test_a_device_or_pipe_is_never_replaced_by_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StorageError, match="choose another one"):
        write_whole(tmp_path / "pipe", b"x")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_a_folder_and_an_endless_name_are_said(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="choose another name"):
        write_whole(tmp_path / "folder", b"x")
    with pytest.raises(StorageError, match="shorter"):
        write_whole(tmp_path / ("n" * 300), b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_whether_a_file_can_be_made_is_tried_and_leaves_nothing(tmp_path: Path) -> None:
    assert is_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert not is_writable(tmp_path / "absent")
    (tmp_path / "file").touch()
    assert not is_writable(tmp_path / "file")
