"""Pixels with everything needed to show, measure and analyse them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medviewer.domain.study import Caveat, PixelDescription


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded frame. Identity-free: it may be handed to a model.

    Attributes:
        stored: ``(rows, columns)`` integer or float stored values for greyscale,
            or ``(rows, columns, 3)`` uint8/uint16 RGB for colour (YBR and palette are
            already converted). Read-only.
        description: how to read them.
        caveats: what the reader must be told (truncated, sign disagreement, ...).
    """

    stored: np.ndarray
    description: PixelDescription
    caveats: tuple[Caveat, ...] = ()

    @property
    def is_color(self) -> bool:
        """Whether the pixels are RGB."""
        return self.stored.ndim == 3
