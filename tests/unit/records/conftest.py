"""Stores of these tests lie in memory where the system has room there: what a disk does is proven in tests/faults."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it


@pytest.fixture(scope="module")
def quick_folder() -> Iterator[Path]:
    """A folder where a sync to disk costs nothing."""
    place = _MEMORY if _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="medviewer-test-", dir=place) as folder:
        yield Path(folder)


@pytest.fixture
def tmp_path(quick_folder: Path) -> Path:
    """In the place of pytest's own: a new folder for each test."""
    return Path(tempfile.mkdtemp(dir=quick_folder))
