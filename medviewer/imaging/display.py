"""From stored values to what the reader sees."""

from __future__ import annotations

import numpy as np

from medviewer.domain.frame import Frame
from medviewer.domain.study import Window


def modality_values(frame: Frame) -> np.ndarray:
    """Give float32 (rows, columns) in the modality's unit."""
    raise NotImplementedError


def default_window(frame: Frame) -> Window:
    """Give the window to open with."""
    raise NotImplementedError


def display_table(frame: Frame, window: Window, *, invert: bool = False) -> np.ndarray:
    """Give the uint8 grey level for each possible stored value."""
    raise NotImplementedError


def to_display(
    frame: Frame, window: Window | None = None, *, voi_lut: int | None = None, invert: bool = False
) -> np.ndarray:
    """Give uint8 (rows, columns) or (rows, columns, 3)."""
    raise NotImplementedError


def to_grey(frame: Frame, window: Window | None = None) -> np.ndarray:
    """Give float32 (rows, columns) in 0..1, bright = dense."""
    raise NotImplementedError
