"""Memory made ready ahead of time holds what was written into it, and is really there."""

from __future__ import annotations

import ctypes
import mmap
import platform
import sys
from threading import Event

import numpy as np
import pytest

from medviewer.imaging import fresh_memory
from medviewer.imaging.fresh_memory import made_ready

_BYTES = 40 << 20


def _can_populate() -> bool:
    numbers = platform.release().split("-")[0].split(".")[:2]
    return sys.platform.startswith("linux") and tuple(map(int, numbers)) >= (5, 14)


def _resident(array: np.ndarray) -> float:
    """Which part of the pages of ``array`` the system has given."""
    page = mmap.PAGESIZE
    begin = -(-array.ctypes.data // page) * page
    pages = (array.ctypes.data + array.nbytes - begin) // page
    states = (ctypes.c_ubyte * pages)()
    assert ctypes.CDLL(None).mincore(ctypes.c_void_p(begin), ctypes.c_size_t(pages * page), states) == 0
    return sum(state & 1 for state in states) / pages


def test_what_is_written_meanwhile_stays() -> None:
    array = np.empty(_BYTES, np.uint8)
    with made_ready(array):
        array[:] = np.arange(_BYTES, dtype=np.uint32).astype(np.uint8)
    assert np.array_equal(array, np.arange(_BYTES, dtype=np.uint32).astype(np.uint8))


@pytest.mark.skipif(not _can_populate(), reason="Linux makes memory ready on request, from 5.14 on")
def test_pages_are_there_before_anybody_writes() -> None:
    array = np.empty(_BYTES, np.uint8)
    fresh_memory._populate(array, Event())
    assert _resident(array) == 1.0


def test_a_reader_that_gives_up_does_not_wait_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    monkeypatch.setattr(fresh_memory, "_populate", lambda _, is_over: seen.append(is_over.wait(60)))
    with pytest.raises(KeyError), made_ready(np.empty(_BYTES, np.uint8)):
        raise KeyError
    assert seen == [True]
