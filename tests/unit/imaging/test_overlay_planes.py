"""Overlay planes are where the file says, equal to pydicom's reading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medviewer.imaging.decode import read_frame
from medviewer.imaging.description import describe_images
from medviewer.imaging.header import read_header
from medviewer.imaging.overlay_planes import Samples, embedded_bits, read_overlays
from medviewer.imaging.source import ByteSource
from tests import samples
from tests.dicom_maker import make_dataset, write_dataset


def with_plane(mask: np.ndarray, group: int = 0x6000, **changes: Any) -> Dataset:
    """An image with one plane; masks of several frames are (frames, rows, columns)."""
    dataset = make_dataset()
    frames = mask if mask.ndim == 3 else mask[None]
    bits = np.packbits(frames.ravel(), bitorder="little")
    data = bits.tobytes() + b"\0" * (len(bits) % 2)
    elements = {
        0x10: ("US", frames.shape[1]), 0x11: ("US", frames.shape[2]), 0x40: ("CS", "G"), 0x50: ("SS", [1, 1]),
        0x100: ("US", 1), 0x102: ("US", 0), 0x3000: ("OW", data),
    }  # fmt: skip
    if mask.ndim == 3:
        elements |= {0x15: ("IS", len(frames)), 0x51: ("US", 1)}
    for element, value in {**elements, **changes.get("elements", {})}.items():
        if value is not None:
            dataset.add_new((group, element), *value)
    return dataset


def planes_of(path: Path, frame: int = 0) -> Any:
    return read_overlays(read_header(path).dataset, frame)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("shape", [(8, 8), (5, 7), (3, 11)])
def test_a_plane_in_every_byte_order(syntax: str, shape: tuple[int, int], tmp_path: Path) -> None:
    mask = np.random.default_rng(0).random(shape) < 0.4
    dataset = with_plane(mask, elements={0x22: ("LO", "Outline"), 0x50: ("SS", [3, -1])})
    if syntax == ExplicitVRBigEndian:
        data = dataset[0x6000, 0x3000].value
        dataset[0x6000, 0x3000].value = np.frombuffer(data, "<u2").astype(">u2").tobytes()
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    (plane,) = planes_of(write_dataset(tmp_path / "x.dcm", dataset, syntax))
    np.testing.assert_array_equal(plane.mask, mask)
    assert (plane.row, plane.column, plane.is_region, plane.name) == (2, -2, False, "Outline")


@pytest.mark.parametrize("name", ["MR-SIEMENS-DICOM-WithOverlays.dcm"])
def test_a_real_plane_is_pydicoms(name: str) -> None:
    path = samples.package_file(name)
    (plane,) = planes_of(path)
    np.testing.assert_array_equal(plane.mask, pydicom.dcmread(path).overlay_array(0x6000) == 1)


def test_each_frame_has_its_own_drawing(tmp_path: Path) -> None:
    masks = np.random.default_rng(1).random((3, 5, 7)) < 0.5
    path = write_dataset(tmp_path / "x.dcm", with_plane(masks, elements={0x51: ("US", 2)}))
    assert planes_of(path, 0) == ()  # the first drawing belongs to the second frame
    for frame in range(1, 4):
        np.testing.assert_array_equal(planes_of(path, frame)[0].mask, masks[frame - 1])


@pytest.mark.parametrize(
    ("frames", "elements", "drawn"),
    [
        (3, {0x51: ("US", 2)}, [False, True, False]),
        (3, {0x15: ("IS", 1), 0x51: ("US", 2)}, [False, True, False]),
        (3, {0x15: ("IS", 1)}, [True, True, True]),
        (3, {}, [True, True, True]),
        (1, {0x51: ("US", 2)}, [True]),  # of one frame nothing else can be meant
    ],
)
def test_one_drawing_lies_over_the_frame_that_it_names(
    frames: int, elements: dict[int, Any], drawn: list[bool], tmp_path: Path
) -> None:
    dataset = with_plane(np.eye(8, dtype=bool), elements=elements)
    dataset.NumberOfFrames = frames
    dataset.PixelData = dataset.PixelData * frames
    path = write_dataset(tmp_path / "x.dcm", dataset)
    assert [bool(planes_of(path, frame)) for frame in range(frames)] == drawn


def test_all_sixteen_groups_are_read_and_others_are_not(tmp_path: Path) -> None:
    mask = np.eye(8, dtype=bool)
    dataset = with_plane(mask)
    for group in (*range(0x6002, 0x6020, 2), 0x6020):
        for element in with_plane(mask, group).group_dataset(group):
            dataset.add(element)
    assert len(planes_of(write_dataset(tmp_path / "x.dcm", dataset))) == 16


def test_a_plane_in_the_unused_bits_of_the_pixels(tmp_path: Path) -> None:
    mask = np.random.default_rng(2).random((8, 8)) < 0.5
    raw = np.arange(64, dtype=np.uint16).reshape(8, 8) | (mask.astype(np.uint16) << 12)
    elements = {0x102: ("US", 12), 0x3000: None}
    path = write_dataset(tmp_path / "x.dcm", with_plane(mask, elements=elements))
    dataset = read_header(path).dataset
    assert embedded_bits(dataset, range(12), 16) == {12}
    assert embedded_bits(dataset, range(13), 16) == embedded_bits(dataset, range(8), 8) == frozenset()
    (plane,) = read_overlays(dataset, 0, Samples(raw, range(12)))
    np.testing.assert_array_equal(plane.mask, mask)
    signed = Samples(raw.view(np.int16), range(12))
    np.testing.assert_array_equal(read_overlays(dataset, 0, signed)[0].mask, mask)
    assert read_overlays(dataset, 0) == ()
    assert read_overlays(dataset, 0, Samples(raw, range(4, 16))) == (), "these bits are the pixels"


@pytest.mark.parametrize("data", [None, ("OW", b"")])
def test_no_bit_of_a_pixel_is_drawn_over_it(data: Any, tmp_path: Path) -> None:
    """A plane without bits of its own, or with none left in it, says of no pixel that it lies there."""
    path = write_dataset(tmp_path / "x.dcm", with_plane(np.eye(8, dtype=bool), elements={0x3000: data}))
    (image,) = describe_images(read_header(path), path)
    assert read_frame(image).overlays == ()


def test_an_emptied_plane_is_not_looked_for_in_the_pixels(tmp_path: Path) -> None:
    dataset = with_plane(np.eye(8, dtype=bool), elements={0x3000: ("OW", b""), 0x102: ("US", 15)})
    dataset.PixelData = (np.arange(64, dtype=np.uint16) | 1 << 15).tobytes()
    dataset.BitsStored, dataset.HighBit = 12, 11
    path = write_dataset(tmp_path / "x.dcm", dataset)
    (image,) = describe_images(read_header(path), path)
    assert read_frame(image).overlays == ()


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_planes_too_large_for_a_header_are_read_where_they_lie(
    syntax: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A drawing for each of many frames is larger than all that a header may hold."""
    masks = np.random.default_rng(3).random((3, 5, 7)) < 0.5
    dataset = with_plane(masks)
    dataset.NumberOfFrames, dataset.PixelData = 3, dataset.PixelData * 3
    if syntax == ExplicitVRBigEndian:
        for tag in ((0x6000, 0x3000), (0x7FE0, 0x10)):
            dataset[tag].value = np.frombuffer(dataset[tag].value, "<u2").astype(">u2").tobytes()
    path = write_dataset(tmp_path / "x.dcm", dataset, syntax)
    monkeypatch.setattr("medviewer.imaging.dataset.MAX_VALUE_BYTES", 13)
    header = read_header(path)
    assert 0x60003000 not in header.dataset.values
    assert 0x60003000 in header.dataset.payloads
    with path.open("rb") as file:
        for frame in range(3):
            (plane,) = read_overlays(header.dataset, frame, None, ByteSource(file))
            np.testing.assert_array_equal(plane.mask, masks[frame])
    assert read_overlays(header.dataset, 0) == ()


@pytest.mark.parametrize(
    "elements",
    [
        {0x10: ("US", 0)}, {0x11: ("US", 60000)}, {0x3000: ("OW", b"\1\0")}, {0x15: ("IS", 5000000), 0x51: ("US", 9)},
    ],
)  # fmt: skip
def test_a_plane_that_makes_no_sense_is_left_out(elements: dict[int, Any], tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "x.dcm", with_plane(np.eye(8, dtype=bool), elements=elements))
    assert planes_of(path) == ()


def test_frames_carry_the_drawings_and_the_pixels_stay_clean(tmp_path: Path) -> None:
    mask = np.random.default_rng(4).random((8, 8)) < 0.5
    pixels = np.arange(64, dtype=np.uint16).reshape(8, 8)
    dataset = with_plane(mask, elements={0x102: ("US", 15), 0x3000: None})
    dataset.PixelData = (pixels | (mask.astype(np.uint16) << 15)).tobytes()
    dataset.BitsStored, dataset.HighBit = 12, 11
    path = write_dataset(tmp_path / "x.dcm", dataset)
    (image,) = describe_images(read_header(path), path)
    frame = read_frame(image)
    np.testing.assert_array_equal(frame.stored, pixels)
    np.testing.assert_array_equal(frame.overlays[0].mask, mask)
