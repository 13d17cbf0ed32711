"""Slices that are alike are described once: nothing that a description rests on may be left out of the likeness."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from medviewer.domain.errors import MedViewerError
from medviewer.imaging import description, tags
from medviewer.imaging.dataset import DataSet, Encoding, PixelElement
from medviewer.imaging.description import describe_images
from medviewer.imaging.header import Header

PLAIN = sorted(tag for tag, kind in tags.VALUE_REPRESENTATIONS.items() if kind != "SQ" and tag not in tags.PIXEL_TAGS)
OTHER_VALUES = {
    "UI": b"1.2.9", "DS": b"2\\3\\4\\5\\6\\7", "IS": b"7", "US": struct.pack("<H", 9), "US/SS": struct.pack("<H", 9),
    "DA": b"20200102", "TM": b"120000", "DT": b"20200102120000", "CS": b"OTHER", "AS": b"030Y",
}  # fmt: skip


def header(**changed: bytes) -> Header:
    """A CT slice as a scan reads it."""
    dataset = DataSet()
    values = {
        tags.SOP_CLASS_UID: b"1.2.840.10008.5.1.4.1.1.2", tags.SOP_INSTANCE_UID: b"1.2.3", tags.MODALITY: b"CT",
        tags.ROWS: struct.pack("<H", 4), tags.COLUMNS: struct.pack("<H", 4),
        tags.BITS_ALLOCATED: struct.pack("<H", 16), tags.BITS_STORED: struct.pack("<H", 12),
        tags.HIGH_BIT: struct.pack("<H", 11), tags.SAMPLES_PER_PIXEL: struct.pack("<H", 1),
        tags.PIXEL_REPRESENTATION: struct.pack("<H", 0), tags.PHOTOMETRIC_INTERPRETATION: b"MONOCHROME2",
        tags.IMAGE_POSITION_PATIENT: b"0\\0\\5", tags.IMAGE_ORIENTATION_PATIENT: b"1\\0\\0\\0\\1\\0",
        tags.PIXEL_SPACING: b"0.5\\0.5", tags.WINDOW_CENTER: b"40", tags.WINDOW_WIDTH: b"400",
        tags.RESCALE_SLOPE: b"1", tags.RESCALE_INTERCEPT: b"-1024",
    }  # fmt: skip
    for tag, value in (values | {int(name[1:], 16): value for name, value in changed.items()}).items():
        dataset.keep(tag, tags.VALUE_REPRESENTATIONS[tag].partition("/")[0], value)
    return Header(
        dataset,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        sop_class_uid=dataset.text(tags.SOP_CLASS_UID),
        encoding=Encoding(),
        pixels=PixelElement(tags.PIXEL_DATA, 1000, 32, "OW"),
        file_size=1032,
        content_size=1032,
        is_deflated=False,
        is_truncated=False,
    )


def described(one: Header) -> Any:
    return [
        (asdict(i.description), i.frame, i.warnings, i.instance_number, i.acquisition_time, i.sop_instance_uid)
        for i in describe_images(one, Path("slice.dcm"))
    ]


def outcome(one: Header) -> object:
    try:
        return described(one)
    except MedViewerError as error:
        return type(error), str(error)


@pytest.fixture(autouse=True)
def _nothing_known() -> Iterator[None]:
    description._alike.clear()
    yield
    description._alike.clear()


@pytest.mark.parametrize("tag", PLAIN, ids=lambda tag: f"{tag:08x}")
def test_a_slice_that_differs_in_one_element_is_described_as_if_it_were_the_first(tag: int) -> None:
    value = OTHER_VALUES.get(tags.VALUE_REPRESENTATIONS[tag], b"1")
    other = header(**{f"x{tag:08x}": value})
    alone = outcome(other)
    description._alike.clear()
    described(header())
    assert len(description._alike) == 1
    assert outcome(header(**{f"x{tag:08x}": value})) == alone


def test_slices_that_are_alike_share_all_but_their_place() -> None:
    described(header())
    second = header(**{f"x{tags.IMAGE_POSITION_PATIENT:08x}": b"0\\0\\7.5"})
    [(found, *_)] = described(second)
    assert len(description._alike) == 1
    assert found["plane"]["position"] == (0.0, 0.0, 7.5)
    description._alike.clear()
    [(alone, *_)] = described(second)
    assert found == alone


def test_what_sequences_say_is_read_for_every_slice() -> None:
    with_lut = header()
    item = DataSet()
    item.keep(tags.LUT_DESCRIPTOR, "US", struct.pack("<3H", 4, 0, 12))
    item.keep(tags.LUT_DATA, "OW", struct.pack("<4H", 0, 1, 2, 3))
    with_lut.dataset.sequences[tags.VOI_LUT_SEQUENCE] = [item]
    described(header())
    (image,) = describe_images(with_lut, Path("slice.dcm"))
    assert image.description.voi_luts
    assert len(description._alike) == 1


def test_what_is_kept_is_bounded() -> None:
    for number in range(3 * description._MAX_ALIKE):
        described(header(**{f"x{tags.WINDOW_CENTER:08x}": str(number).encode()}))
    assert len(description._alike) <= description._MAX_ALIKE


@pytest.mark.parametrize("first", [b"1\\0\\0\\0\\1\\0", b"1\\-0\\0\\-0\\1\\-0.0"])
def test_zeros_are_written_alike_whatever_was_read_before(first: bytes) -> None:
    """A minus before a zero says nothing, and must not go from one file to the next."""
    description._unit_axes.cache_clear()
    description._alike.clear()
    name = f"x{tags.IMAGE_ORIENTATION_PATIENT:08x}"
    for orientation in (first, b"1\\-0\\-0\\0\\1\\0", b"1\\0\\0\\0\\1\\0"):
        (image,) = describe_images(header(**{name: orientation}), Path("slice.dcm"))
        plane = image.description.plane
        assert plane is not None
        assert repr((plane.row_cosine, plane.column_cosine)) == "((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))"
