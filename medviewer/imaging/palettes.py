"""The standard's colours for greyscale images, as nuclear medicine reads them.

Source: PS3.6 annex B and PS3.3 C.23.1 (well-known colour palettes); their tables come with pydicom.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from medviewer.domain.errors import UsageError

# Content Label (0070,0080) of each palette, and the file that pydicom keeps it in.
_FILES = {
    "HOT_IRON": "hotiron.dcm",
    "PET": "pet.dcm",
    "HOT_METAL_BLUE": "hotmetalblue.dcm",
    "PET_20_STEP": "pet20step.dcm",
}
PALETTES = tuple(_FILES)
PALETTE_NAMES = dict(zip(PALETTES, ("Hot iron", "PET", "Hot metal blue", "PET, 20 steps"), strict=True))
"""What a reader calls them."""


@lru_cache(maxsize=len(_FILES))
def palette(name: str) -> np.ndarray:
    """Give the colour of each grey level.

    Args:
        name: one of :data:`PALETTES`.

    Returns:
        ``(256,)`` uint32 0xffRRGGBB, read-only.

    Raises:
        UsageError: there is no such palette.
    """
    if name not in _FILES:
        raise UsageError(f"There is no colour palette “{name}”; there are: {', '.join(PALETTES)}.")
    from pydicom import dcmread  # noqa: PLC0415 - few readers ask for colours
    from pydicom.data import get_palette_files  # noqa: PLC0415

    file = dcmread(get_palette_files(_FILES[name])[0])
    colors = np.full(256, 0xFF000000, np.uint32)
    for channel, shift in (("Red", 16), ("Green", 8), ("Blue", 0)):
        levels = np.frombuffer(file[f"{channel}PaletteColorLookupTableData"].value, np.uint8)
        colors |= levels.astype(np.uint32) << np.uint32(shift)
    colors.setflags(write=False)
    return colors
