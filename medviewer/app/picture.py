"""A frame made ready for the screen: quick window changes at any zoom."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from medviewer.domain.frame import ColorProfile, Frame
from medviewer.domain.study import PixelDescription, Window
from medviewer.imaging.display import default_window, display_table, managed, own_table, to_display
from medviewer.imaging.palettes import palette as colors_of_palette

_CHUNK_ROWS = 64
_GREYS = np.uint32(0xFF000000) | np.arange(256, dtype=np.uint32) * np.uint32(0x010101)
_LEAST_SHRUNK = 512  # rows and columns of what is worth a smaller copy


class Patch(NamedTuple):
    """A rectangle of the image, drawn: ``pixels`` (h, w) uint32 0xffRRGGBB, each ``2**level`` stored pixels wide.

    ``row`` and ``column`` say where it starts, in stored pixels.
    """

    pixels: np.ndarray
    level: int
    row: int
    column: int


class Picture:
    """One frame with its smaller copies, from which any part is drawn through a look-up table.

    A window change touches only the pixels that can be seen: zoomed out, a copy at half,
    quarter... size (means of 2 x 2 stored values, or of colours as they are shown) is drawn, as the screen could not
    show more; zoomed in, only the part in view. No float copy of the image is made. Colours of a
    device are turned into the screen's (sRGB) once.
    Made in a worker thread, then used by one thread.
    """

    def __init__(self, frame: Frame, profile: ColorProfile | None = None) -> None:
        """Make it ready.

        Args:
            frame: the pixels.
            profile: with which a presentation state that is shown wishes colours to be seen.
        """
        self.frame = frame
        self._colors = _pyramid(managed(frame).stored) if frame.is_color else ()  # here, and not when it is painted
        self._wished: tuple[ColorProfile, tuple[np.ndarray, ...]] | None = None
        if profile is not None and not self.has_colors_of(profile):
            self._wished = profile, _pyramid(managed(replace(frame, profile=profile)).stored)
        self.default_window: Window | None = None if frame.is_color else default_window(frame)
        # Means would mix padding with anatomy at its border.
        self._levels = list(_pyramid(frame.stored) if self._may_shrink else (np.ascontiguousarray(frame.stored),))
        if self.is_tabled:
            # Tables are indexed by the bits of a value read as an unsigned number.
            self._levels = [level.view(f"u{level.dtype.itemsize}") for level in self._levels]
        self._table_key: tuple[Window | None, bool, str] | None = None
        self._table = np.zeros(0, np.uint32)
        self._display_key: tuple[Window | None, bool] | None = None
        self._display = np.zeros((0, 0), np.uint8)

    def presented(self, description: PixelDescription, profile: ColorProfile | None = None) -> Picture:
        """The same pixels on another way to grey or colour, as a presentation state wishes; nothing is decoded.

        Args:
            description: says the way to grey.
            profile: of the colours, in the place of the image's own; None leaves that.
        """
        other = copy(self)
        other.frame = replace(self.frame, description=description)
        if profile is not None and not self.has_colors_of(profile):
            other._wished = profile, _pyramid(managed(replace(self.frame, profile=profile)).stored)
        if other._wished is not None and other._wished[0] == profile:
            other._colors = other._wished[1]
        other.default_window = None if other.frame.is_color else default_window(other.frame)
        other._table_key = other._display_key = None
        return other

    def has_colors_of(self, profile: ColorProfile | None) -> bool:
        """Whether it is ready to be shown with a profile in the place of the image's own (None: with that)."""
        is_own = not self.frame.is_color or profile is None or profile == self.frame.profile
        return is_own or (self._wished is not None and self._wished[0] == profile)

    @property
    def is_tabled(self) -> bool:
        """Whether a table of grey levels over all stored values is used; colour and wide values are not."""
        stored = self.frame.stored
        return stored.ndim == 2 and stored.dtype.kind in "ui" and stored.dtype.itemsize <= 2

    @property
    def _may_shrink(self) -> bool:
        return self.is_tabled and self.frame.description.pixel_padding_range is None

    @cached_property
    def size_bytes(self) -> int:
        """What the picture keeps in memory."""
        wished = self._wished[1] if self._wished is not None else ()
        kept = {id(one): one.nbytes for one in (self.frame.stored, *self._levels[1:], *self._colors, *wished)}
        return sum(kept.values())

    def level_for(self, zoom: float) -> int:
        """The smallest copy that still has a pixel for each of the screen's at ``zoom`` (screen per stored pixel)."""
        level = 0
        while level + 1 < len(self._colors or self._levels) and zoom * 2 ** (level + 1) <= 1.0:
            level += 1
        return level

    def draw(
        self, window: Window | None, invert: bool, level: int, part: tuple[int, int, int, int], palette: str = ""
    ) -> Patch:
        """Draw the part (first row, first column, end row, end column; in stored pixels) of a copy.

        The part is clipped to the image and widened to whole pixels of the copy. Grey levels, inverted or not,
        are shown in the colours of ``palette``, if one is named; images in colour are left as they are.
        """
        if self._colors:
            source = self._colors[level]
        else:
            source = self._levels[level] if self.is_tabled else self._direct(window, invert)
        scale = 2**level
        rows, columns = source.shape[:2]
        top, left = max(part[0] // scale, 0), max(part[1] // scale, 0)
        bottom, right = min(-(-part[2] // scale), rows), min(-(-part[3] // scale), columns)
        cut = source[top : max(bottom, top), left : max(right, left)]
        if self._colors:
            pixels = _packed(cut) ^ np.uint32(0x00FFFFFF if invert else 0)
        else:
            pixels = self._looked_up(cut, window, invert, palette) if self.is_tabled else _shades(palette)[cut]
        return Patch(pixels, level, top * scale, left * scale)

    def level_at(self, window: Window | None, invert: bool, row: int, column: int) -> int | None:
        """The grey level (0 to 255) that one pixel of the image is shown with; None of colours."""
        if self.frame.is_color:
            return None
        return int(self.draw(window, invert, 0, (row, column, row + 1, column + 1)).pixels[0, 0] & 0xFF)

    def whole(self) -> np.ndarray:
        """The whole image at full size, as its file wishes it: ``(rows, columns)`` or ``(rows, columns, 3)`` uint8."""
        return self._colors[0].copy() if self._colors else self._direct(None, invert=False)

    def _looked_up(self, cut: np.ndarray, window: Window | None, invert: bool, palette: str) -> np.ndarray:
        key = (window, invert, palette)
        if key != self._table_key:
            self._table, self._table_key = _shades(palette)[self._make_table(window, invert)], key
        out = np.empty(cut.shape, np.uint32)
        # Row by row in chunks: numpy widens the indices, and a small piece stays in the cache meanwhile.
        for row in range(0, cut.shape[0], _CHUNK_ROWS):
            np.take(self._table, cut[row : row + _CHUNK_ROWS], out=out[row : row + _CHUNK_ROWS], mode="clip")
        return out

    def _make_table(self, window: Window | None, invert: bool) -> np.ndarray:
        if own_table(self.frame.description, window) is not None:
            # A VOI look-up table in the place of a window: run the whole chain over every possible value.
            dtype = self.frame.stored.dtype
            side = 1 << 4 * dtype.itemsize
            every = np.arange(side * side, dtype=f"u{dtype.itemsize}").view(dtype).reshape(side, side)
            grey = to_display(replace(self.frame, stored=every), window, invert=invert).reshape(-1)
        else:
            chosen = window or self.default_window or default_window(self.frame)
            grey = display_table(self.frame, chosen, invert=invert)
        return grey

    def _direct(self, window: Window | None, invert: bool) -> np.ndarray:
        key = (window, invert)
        if key != self._display_key:
            self._display, self._display_key = to_display(self.frame, window, invert=invert), key
        return self._display


def _pyramid(values: np.ndarray) -> tuple[np.ndarray, ...]:
    """The values and their copies at half, quarter... size, down to what is small on any screen."""
    levels = [np.ascontiguousarray(values)]
    while min(levels[-1].shape[:2]) >= _LEAST_SHRUNK:
        levels.append(_halved(levels[-1]))
    return tuple(levels)


def _halved(values: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 values; an odd last row or column is doubled, so that none is lost."""
    if values.shape[0] % 2 or values.shape[1] % 2:
        odd = ((0, values.shape[0] % 2), (0, values.shape[1] % 2), (0, 0))
        values = np.pad(values, odd[: values.ndim], mode="edge")
    total = values[::2, ::2].astype(np.int32)
    for row, column in ((0, 1), (1, 0), (1, 1)):
        total += values[row::2, column::2]
    total += 2
    total >>= 2
    return total.astype(values.dtype)


def _shades(palette: str) -> np.ndarray:
    """What each grey level looks like: (256,) uint32 0xffRRGGBB."""
    return colors_of_palette(palette) if palette else _GREYS


def _packed(display: np.ndarray) -> np.ndarray:
    """uint8 RGB as 0xffRRGGBB."""
    red, green, blue = (display[..., i].astype(np.uint32) for i in range(3))
    packed: np.ndarray = np.uint32(0xFF000000) | red << 16 | green << 8 | blue
    return packed
