"""The short way through ordinary elements reads what the whole walk reads, and little of the file."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom.data
import pytest

from medviewer.domain.errors import MedViewerError
from medviewer.imaging import dataset as module
from medviewer.imaging import header as header_module
from medviewer.imaging.header import Header, parse_header, read_header
from medviewer.imaging.source import ByteSource
from tests.dicom_maker import make_dataset, write_dataset

OWN = sorted(path for path in (Path(pydicom.data.__file__).parent / "test_files").rglob("*") if path.is_file())


def parsed(data: bytes) -> Header | str:
    try:
        return parse_header(ByteSource.of_bytes(data))
    except MedViewerError as error:
        return str(error)


def parsed_by_the_walk(data: bytes, monkeypatch: pytest.MonkeyPatch) -> Header | str:
    with monkeypatch.context() as patch:
        for one in (module, header_module):
            patch.setattr(one, "read_plain", lambda _block, at, *_rest, **_more: (at, 0))
        return parsed(data)


def test_both_ways_read_the_same_of_every_file(monkeypatch: pytest.MonkeyPatch) -> None:
    read = 0
    for path in OWN:
        data = path.read_bytes()
        header = parsed(data)
        assert header == parsed_by_the_walk(data, monkeypatch), path.name
        read += isinstance(header, Header)
    assert read > 100


def test_both_ways_read_the_same_of_damaged_files(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    for path in [path for path in OWN if path.stat().st_size < 10_000][::3]:
        whole = path.read_bytes()
        for _ in range(10):
            data = bytearray(whole[: int(rng.integers(1, len(whole) + 1))])
            for at in rng.integers(0, len(data), 4):
                data[at] = int(rng.integers(256))
            assert parsed(bytes(data)) == parsed_by_the_walk(bytes(data), monkeypatch), path.name


@pytest.mark.parametrize("before", [b"", b"\x00\x00\x00\x00UL\x04\x00\x00\x00\x00\x00"])
def test_pixels_that_look_like_elements_are_not_read(
    before: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    element = b"\x10\x00\x10\x00PN\x08\x00Other^P " * 8
    pixels = np.frombuffer(element, np.uint16).reshape(8, 8)
    path = write_dataset(tmp_path / "a", make_dataset(pixels))
    header = parsed(path.read_bytes())
    assert isinstance(header, Header)
    assert header.dataset.text(0x00100010) == "Test^Object"
    plain = before + path.read_bytes()[132:]  # without a preamble, and with a group that no file has
    assert parsed(plain) == parsed_by_the_walk(plain, monkeypatch)


class CountedFile(io.FileIO):
    asked: list[int]

    def read(self, size: int | None = -1, /) -> bytes:
        self.asked.append(size or 0)
        return super().read(size) or b""


def test_a_header_is_one_short_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_dataset(tmp_path / "a", make_dataset(np.zeros((512, 512), np.uint16)))
    CountedFile.asked = []
    monkeypatch.setattr(header_module.io, "FileIO", CountedFile)
    read_header(path)
    assert CountedFile.asked == [16 * 2**10]
