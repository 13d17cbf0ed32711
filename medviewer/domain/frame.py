"""Pixels with everything needed to show, measure and analyse them."""

from __future__ import annotations

from dataclasses import field

import numpy as np

from medviewer.domain.frozen import dataclass
from medviewer.domain.shutter import Shutters
from medviewer.domain.study import Caveat, PixelDescription


@dataclass(frozen=True, slots=True, eq=False)
class OverlayPlane:
    """A drawing in one colour that the file lays over its image: text, an outline, a shutter (PS3.3 C.9.2).

    Attributes:
        mask: ``(rows, columns)`` bool, where something is drawn.
        row, column: of the image, where the mask's first pixel lies (0-based); may lie outside of the image.
        is_region: it marks a region of interest; else it is graphics.
        name: as the file calls it; may be empty.
        group: of its elements, counted from the first: 0 for 6000, 0x20000 for 6002, ...
    """

    mask: np.ndarray
    row: int = 0
    column: int = 0
    is_region: bool = False
    name: str = ""
    group: int = 0


@dataclass(frozen=True, slots=True)
class ColorProfile:
    """An ICC profile that says what colours an image's RGB values stand for (PS3.3 C.11.15); it has been tried out.

    ``digest`` (SHA-256) is what tells two apart.
    """

    digest: str
    data: bytes = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded frame. Identity-free: it may be handed to a model.

    Attributes:
        stored: ``(rows, columns)`` integer or float stored values for greyscale,
            or ``(rows, columns, 3)`` uint8/uint16 RGB for colour (YBR and palette are
            already converted; a colour profile is not applied). Read-only.
        description: how to read them.
        caveats: what the reader must be told (truncated, sign disagreement, ...).
        overlays: drawings that the file lays over the image; no part of what a model is given.
        profile: what its colours stand for; None for greyscale, and where sRGB is taken for granted.
        shutters: what the file wishes to be covered; None: nothing. The pixels under them are whole.
        missing_rows: how many of the last rows the file does not hold; what is in them was never measured.
    """

    stored: np.ndarray
    description: PixelDescription
    caveats: tuple[Caveat, ...] = ()
    overlays: tuple[OverlayPlane, ...] = ()
    profile: ColorProfile | None = None
    shutters: Shutters | None = None
    missing_rows: int = 0

    @property
    def is_color(self) -> bool:
        """Whether the pixels are RGB."""
        return self.stored.ndim == 3
