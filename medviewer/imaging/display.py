"""From stored values to what the reader sees, in the order that the standard gives.

Stored value > modality (rescale or LUT) > VOI (window or LUT) > presentation
(MONOCHROME1 and the reader's inversion). For integer pixels the whole chain is one
table, so that a step of window and level is a look-up and not arithmetic on
millions of pixels. Colours go through their ICC profile to sRGB, where the file has one.

Source: PS3.4 N.2 (grayscale pipeline), PS3.3 C.11.1 (modality LUT), C.11.2 (VOI LUT),
C.7.6.3.1.2 (photometric interpretation), C.11.15 (ICC profile).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from medviewer.domain.errors import UsageError
from medviewer.domain.frame import Frame
from medviewer.domain.study import LookUpTable, PixelDescription, Window
from medviewer.imaging.color_management import to_srgb

# Cut off at each end where the file gives no window: a few hot pixels must not make the image dark.
_TAIL = 0.001
# Look-ups go row block by row block: the indices that numpy makes of them then stay in the processor's cache.
_GRID_PIXELS = 200_000
_BLOCK_PIXELS = 64 * 1024
# Of these each image is looked at by itself.
_PROJECTIONS = frozenset({"CR", "DR", "DX", "IO", "MG", "PX", "RF", "RG", "XA"})
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as in YBR_FULL


def window_ends(window: Window) -> tuple[float, float]:
    """Return the modality values that get the first and the last level; of a sigmoid there are none such.

    The standard's plain LINEAR reaches its last level one value earlier (PS3.3 C.11.2.1.2.1).
    """
    is_exact = window.function == "LINEAR_EXACT"
    return window.center - window.width / 2, window.center + window.width / 2 - (not is_exact)


def modality_values(frame: Frame) -> np.ndarray:
    """Give the pixels in the modality's unit (Hounsfield units for CT).

    Returns:
        ``(rows, columns)`` float32.

    Raises:
        UsageError: a colour image, which has none.
    """
    _check_grey(frame)
    values = to_modality(frame.stored.astype(np.float64), frame.description)
    return values.astype(np.float32)


def modality_value(frame: Frame, row: int, column: int) -> float:
    """Give one pixel in the modality's unit, as :func:`modality_values` does, at full precision.

    Raises:
        UsageError: a colour image, which has none.
    """
    _check_grey(frame)
    stored = frame.stored[row : row + 1, column : column + 1]
    return float(to_modality(stored.astype(np.float64), frame.description)[0, 0])


def default_window(frame: Frame) -> Window:
    """Give the window to open the image with.

    The file's first window, unless it lies outside of the image's values (:func:`has_useless_window`);
    else the range of its VOI LUT; else the automatic one. Colour images have the window that changes nothing.
    """
    if not frame.is_color and has_useless_window(frame):
        return automatic_window(frame)
    return _wished_window(frame)


def automatic_window(frame: Frame) -> Window:
    """Give the window of a greyscale image's own values: without the outermost 0.1% at each end and without padding.

    Raises:
        UsageError: a colour image.
    """
    _check_grey(frame)
    return replace(_spanning(frame), name="Automatic")


def own_windows(frame: Frame) -> tuple[Window, ...]:
    """Give the windows and the VOI look-up tables of a greyscale image's file, each with a name, in its order."""
    windows, tables = frame.description.windows, frame.description.voi_luts
    named = (replace(one, name=one.name or f"File window {n} of {len(windows)}") for n, one in enumerate(windows, 1))
    luts = (
        replace(_mapped(one), name=one.name or f"VOI look-up table {n + 1}", voi_lut=n) for n, one in enumerate(tables)
    )
    return (*named, *luts)


def has_useless_window(frame: Frame) -> bool:
    """Whether the file's first window makes the image all black or all white.

    It lies outside of all values that the stored bits can mean; or, of a projection, outside of those that the image
    has. A slice of which nothing but air is there is rightly black in the window of its series.
    """
    description = frame.description
    if frame.is_color or not description.windows or description.windows[0].function == "SIGMOID":
        return False
    ends = window_ends(description.windows[0])
    if frame.stored.dtype.kind != "f" and _is_outside(ends, possible_values(description)):
        return True
    if description.modality not in _PROJECTIONS:
        return False
    stored = _without_padding(frame.stored, description)
    stored = stored[np.isfinite(stored)] if stored.dtype.kind == "f" else stored
    if stored.size == 0:
        return False
    if description.modality_lut is None:  # a line: its ends are those of the values
        stored = np.array([stored.min(), stored.max()])
    values = to_modality(stored.astype(np.float64), description)
    return _is_outside(ends, (float(values.min()), float(values.max())))


def possible_values(description: PixelDescription) -> tuple[float, float]:
    """Give the least and the greatest modality value that the stored bits of an integer image can mean."""
    if description.modality_lut is not None:
        return 0.0, float((1 << description.modality_lut.bits) - 1)
    count = 1 << description.bits_stored
    stored = np.array([-count // 2, count // 2 - 1] if description.is_signed else [0, count - 1], np.float64)
    ends = np.sort(to_modality(stored, description))
    return float(ends[0]), float(ends[1])


def own_table(description: PixelDescription, window: Window | None) -> LookUpTable | None:
    """Give the image's VOI look-up table that stands in the place of a window; None where the window counts.

    Args:
        description: of the image.
        window: None is the image's own way: its first window, else its first table.
    """
    number = window.voi_lut if window is not None else None if description.windows else 0
    return description.voi_luts[number] if number is not None and number < len(description.voi_luts) else None


def _is_outside(ends: tuple[float, float], values: tuple[float, float]) -> bool:
    return max(ends) < values[0] or min(ends) > values[1]


def _wished_window(frame: Frame) -> Window:
    """The window of the file, whether it is of use or not; where it has none, one of its values."""
    description = frame.description
    if frame.is_color:
        top = float(np.iinfo(frame.stored.dtype).max)
        return Window(top / 2, top, "LINEAR_EXACT")
    if description.windows:
        return description.windows[0]
    if description.voi_luts:
        return _mapped(description.voi_luts[0])
    return _spanning(frame)


def _mapped(table: LookUpTable) -> Window:
    """What a VOI look-up table maps."""
    return Window(table.first + len(table.values) / 2, float(len(table.values)), name=table.name)


def _spanning(frame: Frame) -> Window:
    return window_between(frame, *_value_range(frame))


def window_between(frame: Frame, low: float, high: float, name: str = "") -> Window:
    """Give the window from one modality value to another, as wide as one step of the stored values if they are equal.

    Exact: the standard's plain LINEAR knows no window narrower than 1, which may be all of a PET image.
    """
    description = frame.description
    is_whole = frame.stored.dtype.kind != "f" and description.modality_lut is None
    step = abs(description.rescale_slope) if is_whole else _LEAST_WIDTH
    return Window((low + high) / 2, high - low if high > low else step, "LINEAR_EXACT", name)


_LEAST_WIDTH = 1e-9


def value_percentiles(frame: Frame, shares: tuple[float, float]) -> tuple[float, float]:
    """Give the modality values below which two shares of a greyscale image's pixels lie, without padding.

    Taken from a grid of about 200,000 pixels: enough for a percentile, and quick for any image.

    Args:
        frame: greyscale.
        shares: in per cent, 0 to 100.

    Raises:
        UsageError: a colour image.
    """
    _check_grey(frame)
    step = max(1, int((frame.stored.size / _GRID_PIXELS) ** 0.5))
    chosen = _without_padding(frame.stored[::step, ::step], frame.description)
    values = to_modality(chosen.astype(np.float64), frame.description)
    values = values[np.isfinite(values)]
    if values.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(values, shares)
    return float(low), float(high)


def display_table(frame: Frame, window: Window, *, invert: bool = False) -> np.ndarray:
    """Give the grey level of every possible stored value, for :func:`apply_table`.

    Args:
        frame: a greyscale frame with integer pixels of at most 16 bits.
        window: on modality values.
        invert: the reader's inversion, on top of MONOCHROME1's.

    Returns:
        ``(256,)`` or ``(65536,)`` uint8, indexed by the stored value's bits read as an
        unsigned number: ``table[stored.view(unsigned)]``.

    Raises:
        UsageError: the frame is in colour, of float or of more than 16 bits.
    """
    return _table(frame, window, None, invert=invert)


def apply_table(frame: Frame, table: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Look up the grey level of every pixel.

    Args:
        frame: the frame that the table was made for.
        table: of :func:`display_table`.
        out: ``(rows, columns)`` uint8 to fill; made if None.
    """
    stored = frame.stored
    bits = np.ascontiguousarray(stored).view(f"u{stored.dtype.itemsize}")
    grey = np.empty(stored.shape, np.uint8) if out is None else out
    rows = max(1, _BLOCK_PIXELS // max(1, stored.shape[1]))
    for row in range(0, len(bits), rows):
        # "clip" only skips numpy's check: the table has an entry for every bit pattern.
        np.take(table, bits[row : row + rows], out=grey[row : row + rows], mode="clip")
    return grey


def to_display(
    frame: Frame, window: Window | None = None, *, voi_lut: int | None = None, invert: bool = False
) -> np.ndarray:
    """Give the picture as it is shown.

    Args:
        frame: the pixels.
        window: on modality values, or what stands for one of the file's VOI LUTs; None opens the image as the
            file wishes: its first window, else its VOI LUT, else the range of its values.
        voi_lut: which of the file's VOI LUTs to use instead of a window.
        invert: dark for bright, on top of MONOCHROME1's own inversion.

    Returns:
        ``(rows, columns)`` uint8, or ``(rows, columns, 3)`` for colour, to which windows
        do not apply. Padding is black.

    Raises:
        UsageError: there is no such VOI LUT.
    """
    if frame.is_color:
        return _color_to_display(frame, invert=invert)
    window, table = _choose(frame, window, voi_lut, default_window)
    if _has_table(frame):
        return apply_table(frame, _table(frame, window, table, invert=invert))
    return _to_bytes(_grey_levels(frame, frame.stored, window, table, invert=invert))


def managed(frame: Frame) -> Frame:
    """Give a colour frame with the pixels that the screen shows: uint8 sRGB, its profile applied and done with."""
    stored = frame.stored
    picture = stored if stored.dtype == np.uint8 else (stored >> 8).astype(np.uint8)
    if frame.profile is not None:
        picture = to_srgb(picture, frame.profile)
    return frame if picture is stored else replace(frame, stored=picture, profile=None)


def to_grey(frame: Frame, window: Window | None = None) -> np.ndarray:
    """Give the image for a model: what is dense is bright, at full precision.

    The file's first window is used whatever it is: a model gets what it got when it was made.

    Args:
        frame: the pixels; colour becomes luminance, as it is stored.
        window: on modality values; None as in :func:`to_display`.

    Returns:
        ``(rows, columns)`` float32 in 0..1; MONOCHROME1 is inverted, padding is 0.
    """
    if frame.is_color:
        top = np.float32(np.iinfo(frame.stored.dtype).max)
        return np.asarray(frame.stored.astype(np.float32) @ _LUMA / top, np.float32)
    window, table = _choose(frame, window, None, _wished_window)
    if _has_table(frame):
        levels = _grey_levels(frame, _all_values(frame.stored.dtype), window, table, invert=False)
        bits = np.ascontiguousarray(frame.stored).view(f"u{frame.stored.dtype.itemsize}")
        return np.asarray(levels.astype(np.float32)[bits])
    return _grey_levels(frame, frame.stored, window, table, invert=False).astype(np.float32)


def _check_grey(frame: Frame) -> None:
    if frame.is_color:
        raise UsageError("A colour image has no modality values or grey levels; choose a greyscale image.")


def _choose(
    frame: Frame, window: Window | None, voi_lut: int | None, default: Callable[[Frame], Window]
) -> tuple[Window, LookUpTable | None]:
    """Settle what the caller left open: the window, and the VOI LUT that replaces it (if any)."""
    description = frame.description
    if voi_lut is not None:
        if not 0 <= voi_lut < len(description.voi_luts):
            raise UsageError(f"The image has {len(description.voi_luts)} VOI look-up tables; choose one of them.")
        return default(frame), description.voi_luts[voi_lut]
    return window or default(frame), own_table(description, window)


def _has_table(frame: Frame) -> bool:
    return frame.stored.dtype.kind in "iu" and frame.stored.dtype.itemsize <= 2


def _all_values(dtype: np.dtype) -> np.ndarray:
    """Every value of an integer type, in the order of its bits read as an unsigned number."""
    return np.arange(1 << 8 * dtype.itemsize, dtype=f"u{dtype.itemsize}").view(dtype)


def _table(frame: Frame, window: Window, voi_lut: LookUpTable | None, *, invert: bool) -> np.ndarray:
    _check_grey(frame)
    if not _has_table(frame):
        raise UsageError("Only integer pixels of at most 16 bits have a display table; use to_display.")
    return _to_bytes(_grey_levels(frame, _all_values(frame.stored.dtype), window, voi_lut, invert=invert))


def _grey_levels(
    frame: Frame, stored: np.ndarray, window: Window, voi_lut: LookUpTable | None, *, invert: bool
) -> np.ndarray:
    """Run the whole chain; float64 in 0..1."""
    description = frame.description
    values = to_modality(stored.astype(np.float64), description)
    levels = _window_levels(values, window) if voi_lut is None else _lut_levels(values, voi_lut)
    if description.presentation_lut is not None:
        shades = description.presentation_lut
        spread = replace(shades, first=0)
        levels = _lut_levels(np.rint(levels * (len(shades.values) - 1)), spread)
    if (description.photometric_interpretation == "MONOCHROME1") != invert:
        levels = 1.0 - levels
    padding = description.pixel_padding_range
    if padding is not None:
        levels[(stored >= padding[0]) & (stored <= padding[1])] = 0.0
    return np.asarray(np.nan_to_num(levels, copy=False, nan=0.0))


def to_modality(stored: np.ndarray, description: PixelDescription) -> np.ndarray:
    """Give stored values in the modality's unit; any shape, float64 in and out (PS3.3 C.11.1)."""
    table = description.modality_lut
    if table is not None:
        return _look_up(stored, table)
    if description.rescale_slope == 1.0 and description.rescale_intercept == 0.0:
        return stored
    return stored * description.rescale_slope + description.rescale_intercept


def _look_up(values: np.ndarray, table: LookUpTable) -> np.ndarray:
    """Values beyond the table take its end (PS3.3 C.11.1.1.1)."""
    index = np.clip(np.nan_to_num(values) - table.first, 0, len(table.values) - 1)
    return np.asarray(table.values[index.astype(np.intp)], np.float64)


def _lut_levels(values: np.ndarray, table: LookUpTable) -> np.ndarray:
    return np.clip(_look_up(values, table) / ((1 << table.bits) - 1), 0.0, 1.0)


def _window_levels(values: np.ndarray, window: Window) -> np.ndarray:
    """Spread a window over 0..1 (PS3.3 C.11.2.1.2.1, C.11.2.1.3.1 and C.11.2.1.3.2)."""
    center, width = window.center, window.width
    if window.function == "SIGMOID":
        with np.errstate(over="ignore"):
            return np.asarray(1.0 / (1.0 + np.exp(-4.0 * (values - center) / width)))
    if window.function == "LINEAR_EXACT":
        return np.clip((values - center) / width + 0.5, 0.0, 1.0)
    if width <= 1.0:
        # The standard's own limit: everything at or below the centre less a half is black, all else white.
        return np.where(values <= center - 0.5, 0.0, 1.0)
    return np.clip((values - (center - 0.5)) / (width - 1.0) + 0.5, 0.0, 1.0)


def _to_bytes(levels: np.ndarray) -> np.ndarray:
    return np.rint(levels * 255.0).astype(np.uint8)


def _color_to_display(frame: Frame, *, invert: bool) -> np.ndarray:
    picture = managed(frame).stored
    return np.asarray(255 - picture) if invert else picture.copy()


def _without_padding(stored: np.ndarray, description: PixelDescription) -> np.ndarray:
    padding = description.pixel_padding_range
    return stored[(stored < padding[0]) | (stored > padding[1])] if padding is not None else stored.ravel()


def _value_range(frame: Frame) -> tuple[float, float]:
    """Modality values between which all but the outermost pixels lie."""
    stored, description = frame.stored, frame.description
    chosen = _without_padding(stored, description)
    if stored.dtype.kind == "f":
        chosen = chosen[np.isfinite(chosen)]
    if chosen.size == 0:
        return 0.0, 1.0
    skipped = int(chosen.size * _TAIL)
    if _has_table(frame):
        # Counting is exact and, unlike sorting, takes the same short time for any image.
        values = _all_values(stored.dtype)
        counts = np.bincount(np.ascontiguousarray(chosen).view(f"u{stored.dtype.itemsize}"), minlength=len(values))
        order = np.argsort(values)
        cumulative = np.cumsum(counts[order])
        low = values[order[np.searchsorted(cumulative, skipped, side="right")]]
        high = values[order[np.searchsorted(cumulative, chosen.size - skipped)]]
    else:
        ranked = np.partition(chosen, (skipped, chosen.size - 1 - skipped))
        low, high = ranked[skipped], ranked[chosen.size - 1 - skipped]
    ends = np.sort(to_modality(np.array([low, high], np.float64), description))
    return float(ends[0]), float(ends[1])
