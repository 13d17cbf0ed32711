"""How pixels lie in a file is remembered for the next slice, and only for one that says the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medviewer.imaging import pixel_format
from medviewer.imaging.header import read_header
from medviewer.imaging.pixel_format import read_pixel_format
from tests.dicom_maker import make_dataset, write_dataset


def test_a_format_is_not_remembered_for_a_header_that_says_something_else(tmp_path: Path) -> None:
    for rows in (4, 5, 4):
        path = write_dataset(tmp_path / f"{rows}.dcm", make_dataset(np.zeros((rows, 7), np.int16)))
        assert read_pixel_format(read_header(path)).rows == rows


def test_long_values_are_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known: dict[object, object] = {}
    monkeypatch.setattr(pixel_format, "_known", known)
    dataset = make_dataset(np.zeros((4, 7), np.int16))
    path = write_dataset(tmp_path / "plain.dcm", dataset)
    read_pixel_format(read_header(path))
    assert len(known) == 1
    dataset.PhotometricInterpretation = ["MONOCHROME2"] + ["A" * 16] * 100
    read_pixel_format(read_header(write_dataset(tmp_path / "long.dcm", dataset)))
    assert len(known) == 1
