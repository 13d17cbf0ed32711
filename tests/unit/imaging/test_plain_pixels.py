"""Plain slices read side by side are those that are read one by one, and nothing that needs more care is among them."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless

from medviewer.domain.errors import InputError, Stopped
from medviewer.domain.progress import StopToken
from medviewer.domain.study import Image
from medviewer.imaging.decode import read_frame
from medviewer.imaging.plain_pixels import read_plain
from medviewer.imaging.scan import images_of, scan
from medviewer.imaging.source import ByteSource
from tests.dicom_maker import AXIAL, make_dataset, write_dataset

N_SLICES = 70  # more than are open at once


def images(folder: Path, count: int = 5, dtype: Any = np.uint16, syntax: str = "", **attributes: Any) -> list[Image]:
    """Slices with other values in each."""
    rng = np.random.default_rng(0)
    limits = np.iinfo(dtype)
    for index in range(count):
        pixels = rng.integers(limits.min, limits.max, (6, 8), dtype, endpoint=True)
        dataset = make_dataset(pixels, **AXIAL, ImagePositionPatient=[0, 0, index], **attributes)
        write_dataset(folder / f"{index:03}.dcm", dataset, **({"syntax": syntax} if syntax else {}))
    return list(images_of(scan([folder])))


def block_for(found: list[Image]) -> np.ndarray:
    first = read_frame(found[0])
    return np.full((len(found), *first.stored.shape), 77, first.stored.dtype)


@pytest.mark.parametrize(
    ("dtype", "attributes"),
    [
        (np.uint8, {}),
        (np.uint16, {}),
        (np.int16, {}),
        (np.uint16, {"BitsStored": 12, "HighBit": 11}),
        (np.uint16, {"BitsStored": 10, "HighBit": 13}),
        (np.int16, {"BitsStored": 12, "HighBit": 11}),
        (np.uint16, {"PixelRepresentation": 7}),
        (np.uint16, {"WindowCenter": 1e6, "WindowWidth": 10}),
        (np.uint16, {"WindowCenter": 1e6, "WindowWidth": 10, "Modality": "DX"}),
    ],
)
def test_slices_are_what_they_are_one_by_one(tmp_path: Path, dtype: Any, attributes: dict[str, Any]) -> None:
    found = images(tmp_path, N_SLICES, dtype, **attributes)
    block = block_for(found)
    for index, caveats in enumerate(read_plain(found, block)):
        frame = read_frame(found[index])
        assert caveats == frame.caveats
        np.testing.assert_array_equal(block[index], frame.stored)


@pytest.mark.parametrize(
    ("attributes", "syntax"),
    [
        ({}, ExplicitVRBigEndian),
        ({"OverlayRows": 6, "OverlayColumns": 8, "OverlayBitPosition": 15, "BitsStored": 12, "HighBit": 11}, ""),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, ""),
    ],
)
def test_what_lies_in_the_file_in_another_way_is_left_alone(
    tmp_path: Path, attributes: dict[str, Any], syntax: str
) -> None:
    overlay = {"OverlayRows": 0x60000010, "OverlayColumns": 0x60000011, "OverlayBitPosition": 0x60000102}
    plain = {name: value for name, value in attributes.items() if name not in overlay}
    found = images(tmp_path, syntax=syntax, **plain)
    for index, image in enumerate(found):
        dataset = make_dataset(
            np.full((6, 8), index, np.uint16), SOPInstanceUID=image.sop_instance_uid, **AXIAL, **plain
        )
        for name, tag in overlay.items():
            if name in attributes:
                dataset.add_new(tag, "US", attributes[name])
        write_dataset(image.path, dataset, **({"syntax": syntax} if syntax else {}))
    found = list(images_of(scan([tmp_path])))
    block = np.full((len(found), 6, 8), 77, np.uint16)
    assert list(read_plain(found, block)) == [None] * len(found)
    assert (block == 77).all()


def test_what_is_deflated_compressed_or_of_single_bits_is_left_alone(tmp_path: Path) -> None:
    found = []
    for name, syntax in (("deflated", DeflatedExplicitVRLittleEndian), ("rle", RLELossless), ("bits", "")):
        dataset = make_dataset(np.zeros((8, 8), np.uint16), **AXIAL, ImagePositionPatient=[0, 0, 0])
        if name == "rle":
            dataset.PixelData = encapsulate([bytes(200)])
            dataset["PixelData"].is_undefined_length = True
        elif name == "bits":
            dataset.BitsAllocated = dataset.BitsStored = 1
            dataset.HighBit, dataset.PixelData = 0, bytes(8)
        write_dataset(tmp_path / name, dataset, **({"syntax": syntax} if syntax else {}))
        found += images_of(scan([tmp_path / name]))
    assert len(found) == 3
    assert list(read_plain(found, np.empty((3, 8, 8), np.uint16))) == [None] * 3


def test_swapped_bytes_are_left_alone(tmp_path: Path) -> None:
    found = images(tmp_path, dtype=np.uint8, syntax=ExplicitVRBigEndian)
    assert list(read_plain(found, np.empty((5, 6, 8), np.uint8))) == [None] * 5


def test_what_lies_behind_the_pixels_is_no_part_of_them(tmp_path: Path) -> None:
    """An element that is shorter than its image, and others behind it."""
    dataset = make_dataset(np.arange(48, dtype=np.uint16).reshape(6, 8), **AXIAL, ImagePositionPatient=[0, 0, 0])
    dataset.PixelData = bytes(range(80))
    dataset.add_new(0xFFFCFFFC, "OB", bytes(400))
    write_dataset(tmp_path / "a.dcm", dataset)
    found = list(images_of(scan([tmp_path])))
    assert list(read_plain(found, np.empty((1, 6, 8), np.uint16))) == [None]


def test_what_is_not_whole_is_left_to_be_refused_or_told(tmp_path: Path) -> None:
    found = images(tmp_path)
    data = found[2].path.read_bytes()
    found[2].path.write_bytes(data[:-20])
    found = list(images_of(scan([tmp_path])))
    read = list(read_plain(found, block_for(found)))
    cut = next(index for index, image in enumerate(found) if image.path.name == "002.dcm")
    assert [caveats is None for caveats in read] == [index == cut for index in range(len(found))]


def test_room_of_another_kind_is_not_used(tmp_path: Path) -> None:
    found = images(tmp_path)
    for room in (np.empty((5, 6, 8), np.int16), np.empty((5, 8, 6), np.uint16), np.empty((5, 4, 6), np.uint16)):
        assert list(read_plain(found, room)) == [None] * 5


def test_a_file_that_became_shorter_after_it_was_opened_is_left_to_be_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = images(tmp_path)
    monkeypatch.setattr(ByteSource, "read_into", lambda _self, _offset, target: len(target) - 1)
    assert list(read_plain(found, block_for_size(found))) == [None] * 5


def test_a_disc_that_fails_is_left_to_be_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = images(tmp_path)

    def fail(*_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(ByteSource, "read_into", fail)
    assert list(read_plain(found, block_for_size(found))) == [None] * 5


def block_for_size(found: list[Image]) -> np.ndarray:
    return np.empty((len(found), 6, 8), np.uint16)


def test_a_file_that_is_another_one_now_is_refused(tmp_path: Path) -> None:
    found = images(tmp_path)
    dataset = make_dataset(np.zeros((6, 8), np.uint16), **AXIAL, ImagePositionPatient=[0, 0, 1])
    write_dataset(found[3].path, dataset)
    with pytest.raises(InputError, match="changed"):
        list(read_plain(found, block_for_size(found)))


def test_a_file_that_is_gone_is_refused(tmp_path: Path) -> None:
    found = images(tmp_path)
    found[3].path.unlink()
    with pytest.raises(InputError, match="does not exist"):
        list(read_plain(found, block_for_size(found)))


def test_the_reader_can_stop_it(tmp_path: Path) -> None:
    found = images(tmp_path, N_SLICES)
    stop = StopToken()
    reading = read_plain(found, block_for_size(found), stop)
    next(reading)
    stop.stop()
    with pytest.raises(Stopped):
        list(reading)


def test_no_file_is_closed_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = images(tmp_path)
    were_open: list[bool] = []

    def slow(self: ByteSource, _offset: int, target: memoryview) -> int:
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        time.sleep(0.1)
        were_open.append(not self._file.closed)
        return len(target)

    monkeypatch.setattr(ByteSource, "read_into", slow)
    with pytest.raises(KeyboardInterrupt):
        list(read_plain(found, block_for_size(found)))
    assert were_open == [True] * 3


def test_what_is_no_dicom_is_left_alone(tmp_path: Path) -> None:
    found = [replace(image, kind="volume") for image in images(tmp_path)]
    assert list(read_plain(found, block_for_size(found))) == [None] * 5
