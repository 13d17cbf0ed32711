"""A picture is in its file whole, or the old file is still there."""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from medviewer.domain.errors import StorageError, UsageError
from medviewer.imaging.png import write_png

GREY = np.arange(256, dtype=np.uint8).reshape(16, 16)


@pytest.mark.parametrize("pixels", [GREY, np.dstack([GREY, GREY[::-1], GREY.T])])
def test_what_is_written_is_read_back(pixels: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "患者 x.png"
    write_png(path, pixels)
    np.testing.assert_array_equal(np.asarray(PillowImage.open(path)), pixels)
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no umask")
def test_others_may_read_it_as_they_may_any_new_file(tmp_path: Path) -> None:
    write_png(tmp_path / "x.png", GREY)
    plain = tmp_path / "plain"
    plain.write_text("")
    assert stat.S_IMODE((tmp_path / "x.png").stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no umask")
def test_the_programs_own_mask_is_never_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It belongs to all threads: one that looks at it by setting it may leave it open for ever."""
    monkeypatch.setattr(os, "umask", lambda _mask: pytest.fail("the mask was set"))
    write_png(tmp_path / "x.png", GREY)


@pytest.mark.reliability
@pytest.mark.parametrize(
    ("code", "word"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only"), (errno.EIO, "the system says")]
)
def test_a_failing_disk_leaves_the_old_file_and_nothing_else(
    code: int, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.png"
    write_png(path, GREY)
    before = path.read_bytes()

    def failing(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(StorageError, match=word):
        write_png(path, 255 - GREY)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["x.png"]


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="folder does not exist"):
        write_png(tmp_path / "no" / "x.png", GREY)


def test_other_arrays_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="8-bit"):
        write_png(tmp_path / "x.png", GREY.astype(np.uint16))
