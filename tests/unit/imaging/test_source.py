"""The bytes of a file, whole, also where the system gives them piece by piece."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from medviewer.imaging.source import ByteSource


class Piecemeal(io.FileIO):
    """A file as networks and interrupted calls give it: never more than a thousand bytes at once."""

    def read(self, size: int = -1) -> bytes:
        return super().read(min(size, 1000) if size >= 0 else 1000)

    def readinto(self, buffer: Any) -> int:
        return super().readinto(memoryview(buffer)[:1000]) or 0


def test_a_read_that_gives_less_is_no_end(tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(50_000)
    (tmp_path / "file").write_bytes(content)
    with Piecemeal(tmp_path / "file") as file:
        source = ByteSource(file)
        assert source.at(100, 40_000) == content[100:40_100]
        assert source.at(49_000, 5_000) == content[49_000:]
        assert source.at(50_000, 1) == b""
        target = bytearray(30_000)
        assert source.read_into(7, memoryview(target)) == 30_000
        assert bytes(target) == content[7:30_007]
