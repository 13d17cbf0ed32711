"""Colours come out as an independent reader converts them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_color_lut, convert_color_space
from pydicom.uid import ExplicitVRLittleEndian

from medviewer.domain.errors import InputError, UnsupportedError
from medviewer.imaging import tags
from medviewer.imaging.dataset import DataSet
from medviewer.imaging.photometric import apply_palette, read_palette, to_rgb, unpack_422

CHANNELS = ("Red", "Green", "Blue")


@given(st.integers(0, 1 << 30))
def test_ybr_full_equals_pydicoms_within_its_rounding(seed: int) -> None:
    ybr = np.random.default_rng(seed).integers(0, 256, (4, 300, 3), dtype=np.uint8)
    theirs = convert_color_space(ybr, "YBR_FULL", "RGB").astype(int)
    assert np.abs(to_rgb(ybr, "YBR_FULL").astype(int) - theirs).max() <= 1


def test_rgb_stays_and_the_unknown_is_named() -> None:
    rgb = np.zeros((2, 2, 3), np.uint8)
    assert to_rgb(rgb, "RGB") is rgb
    with pytest.raises(UnsupportedError, match="HSV"):
        to_rgb(rgb, "HSV")


def test_shared_colours_are_given_to_both_pixels() -> None:
    flat = np.array([10, 20, 100, 200, 30, 40, 110, 210], np.uint8)
    full = unpack_422(flat, 1, 4)
    assert full.tolist() == [[[10, 100, 200], [20, 100, 200], [30, 110, 210], [40, 110, 210]]]
    with pytest.raises(UnsupportedError, match="odd"):
        unpack_422(flat[:6], 1, 3)


def palette_of(
    entries: Any, first: int = 0, bits: int = 8, *, segments: bool = False, count: int = 0
) -> tuple[DataSet, Dataset]:
    """The same palette for our reader and for pydicom; ``entries`` by channel."""
    ours, theirs = DataSet(), Dataset()
    word = "<u2" if bits > 8 else "u1"
    for channel, values, number in zip(CHANNELS, entries, (1, 2, 3), strict=True):
        data = np.array(values, word).tobytes()
        descriptor = [count or len(values), first, bits]
        ours.values[0x00281100 + number] = np.array(descriptor, "<u2").tobytes()
        ours.values[(0x00281220 if segments else 0x00281200) + number] = data + b"\0" * (len(data) % 2)
        setattr(theirs, f"{channel}PaletteColorLookupTableDescriptor", descriptor)
        name = "Segmented" if segments else ""
        setattr(theirs, f"{name}{channel}PaletteColorLookupTableData", data + b"\0" * (len(data) % 2))
    return ours, theirs


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("first", [0, 3])
def test_palettes_equal_pydicoms(bits: int, first: int) -> None:
    rng = np.random.default_rng(bits)
    ours, theirs = palette_of(rng.integers(0, 1 << bits, (3, 16)), first, bits)
    stored = rng.integers(0, 24, (6, 7), dtype=np.uint8)
    expected = apply_color_lut(stored, theirs)
    expected = expected >> 8 if bits == 16 else expected
    np.testing.assert_array_equal(apply_palette(stored, read_palette(ours, is_signed=False)), expected)


def test_segmented_palettes_equal_pydicoms() -> None:
    # Two entries, then a line of four steps to 50000, then the first two segments' like again (indirect, from byte 0).
    segments = [0, 2, 1000, 2000, 1, 4, 50_000, 0, 2, 7, 9, 2, 2, 0, 0]
    ours, theirs = palette_of([segments] * 3, 0, 16, segments=True, count=14)
    theirs.file_meta = FileMetaDataset()
    theirs.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    stored = np.arange(14, dtype=np.uint8).reshape(2, 7)
    expected = apply_color_lut(stored, theirs) >> 8
    found = apply_palette(stored, read_palette(ours, is_signed=False))
    assert np.abs(found.astype(int) - expected).max() <= 1  # rounding on the line
    assert found[0, 0, 0] == 1000 >> 8
    assert found[1, -1, 0] == 50_000 >> 8


@pytest.mark.parametrize("segments", [[2, 9, 0, 0], [9, 1, 1], [1, 4, 7], [0, 2, 1, 2, 2, 1, 0, 0]])
def test_damaged_segments_are_named(segments: list[int]) -> None:
    ours, _ = palette_of([segments] * 3, 0, 16, segments=True, count=300)
    with pytest.raises(InputError, match="palette"):
        read_palette(ours, is_signed=False)


def test_a_palette_that_is_missing_or_short_is_named() -> None:
    with pytest.raises(InputError, match="does not hold"):
        read_palette(DataSet(), is_signed=False)
    ours, _ = palette_of([[1, 2, 3]] * 3)
    ours.values[tags.BLUE_PALETTE_DATA] = b"\1"
    with pytest.raises(InputError, match="shorter"):
        read_palette(ours, is_signed=False)


def test_eight_bit_values_in_wide_entries_are_not_darkened() -> None:
    ours, _ = palette_of([[0, 128, 255]] * 3, 0, 16)
    assert read_palette(ours, is_signed=False).colors[:, 0].tolist() == [0, 128, 255]


def test_a_dark_channel_of_a_16_bit_palette_stays_dark() -> None:
    """What the entries hold is decided for all three channels at once."""
    ours, _ = palette_of([[0, 128, 255], [0, 30000, 65535], [0, 30000, 65535]], 0, 16)
    found = read_palette(ours, is_signed=False).colors
    assert found.tolist() == [[0, 0, 0], [0, 117, 117], [0, 255, 255]]
