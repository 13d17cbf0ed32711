"""The standard's colour palettes, against pydicom's own way through them."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.pixels.processing import apply_color_lut
from pydicom.uid import UID

from medviewer.domain.errors import UsageError
from medviewer.imaging.palettes import PALETTE_NAMES, PALETTES, palette

# PS3.6, table B.1-1.
UIDS = {
    "HOT_IRON": "1.2.840.10008.1.5.1",
    "PET": "1.2.840.10008.1.5.2",
    "HOT_METAL_BLUE": "1.2.840.10008.1.5.3",
    "PET_20_STEP": "1.2.840.10008.1.5.4",
}


@pytest.mark.parametrize("name", PALETTES)
def test_colors_are_pydicoms(name: str) -> None:
    every = np.arange(256, dtype=np.uint8).reshape(16, 16)
    theirs = apply_color_lut(every, palette=UID(UIDS[name])).reshape(-1, 3)
    ours = palette(name)
    assert (ours >> 24 == 255).all()
    np.testing.assert_array_equal(np.stack([ours >> 16 & 255, ours >> 8 & 255, ours & 255], axis=-1), theirs)
    assert not ours.flags.writeable


def test_hot_iron_goes_from_black_through_red_to_white() -> None:
    colors = palette("HOT_IRON")
    assert [f"{color:08x}" for color in (colors[0], colors[127], colors[255])] == ["ff000000", "fffe0000", "ffffffff"]


def test_every_palette_has_a_name() -> None:
    assert set(PALETTE_NAMES) == set(PALETTES)


def test_a_palette_that_there_is_not_is_named() -> None:
    with pytest.raises(UsageError, match="RAINBOW"):
        palette("RAINBOW")
