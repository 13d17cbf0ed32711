"""A process that trains keeps its memory: measured in a process of its own, as it cannot be taken back."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

from medviewer.training import heap

PAGES = """
import resource, sys
import numpy as np
from medviewer.training.heap import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
def step():
    for _ in range(4):
        np.ones(32 << 20, np.uint8)  # 32 MB, freed at once
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def has_glibc() -> bool:
    return sys.platform.startswith("linux") and hasattr(ctypes.CDLL(None), "mallopt")


@pytest.mark.skipif(not has_glibc(), reason="only glibc can be told")
def test_what_is_freed_is_not_asked_of_the_system_again() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    # Small pages, so that they can be counted: numpy asks for huge ones.
    environment["NUMPY_MADVISE_HUGEPAGE"] = "0"
    faults = {
        how: int(subprocess.check_output([sys.executable, "-P", "-c", PAGES, how], env=environment, text=True))
        for how in ("given back", "kept")
    }
    assert faults["given back"] > 20 * 8000  # twenty times 32 MB, in pages of 4 KB
    assert faults["kept"] < 1000


def test_another_c_library_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda _name: object())
    assert not heap.keep_freed_memory()


def test_another_system_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap.sys, "platform", "win32")
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda _name: pytest.fail("asked"))
    assert not heap.keep_freed_memory()
