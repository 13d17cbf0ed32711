"""See what another program has on the screen: a small reader of an X server's pictures, for benchmarks."""

from __future__ import annotations

import ctypes
import ctypes.util

import numpy as np
import numpy.typing as npt

_ZPIXMAP = 2
_ALL_PLANES = ctypes.c_ulong(0xFFFFFFFF)


class _XImage(ctypes.Structure):
    """The beginning of Xlib's ``XImage`` (Xlib.h), as far as it is read here."""

    _fields_ = [
        ("width", ctypes.c_int),
        ("height", ctypes.c_int),
        ("xoffset", ctypes.c_int),
        ("format", ctypes.c_int),
        ("data", ctypes.c_void_p),
        ("byte_order", ctypes.c_int),
        ("bitmap_unit", ctypes.c_int),
        ("bitmap_bit_order", ctypes.c_int),
        ("bitmap_pad", ctypes.c_int),
        ("depth", ctypes.c_int),
        ("bytes_per_line", ctypes.c_int),
        ("bits_per_pixel", ctypes.c_int),
    ]


class Screen:
    """The picture of a display of 24-bit colour."""

    def __init__(self, display: str, size: tuple[int, int]) -> None:
        name = ctypes.util.find_library("X11")
        if name is None:
            raise SystemExit("libX11 is not installed")
        self._x = ctypes.CDLL(name)
        self._x.XOpenDisplay.restype = ctypes.c_void_p
        self._x.XDefaultRootWindow.restype = ctypes.c_ulong
        self._x.XDefaultRootWindow.argtypes = [ctypes.c_void_p]
        self._x.XGetImage.restype = ctypes.POINTER(_XImage)
        self._x.XGetImage.argtypes = [
            ctypes.c_void_p, ctypes.c_ulong, ctypes.c_int, ctypes.c_int, ctypes.c_uint, ctypes.c_uint,
            ctypes.c_ulong, ctypes.c_int,
        ]  # fmt: skip
        self._x.XDestroyImage.argtypes = [ctypes.POINTER(_XImage)]
        self._x.XCloseDisplay.argtypes = [ctypes.c_void_p]
        self._display = self._x.XOpenDisplay(display.encode())
        if not self._display:
            raise SystemExit(f"the display {display} cannot be opened")
        self._root = self._x.XDefaultRootWindow(self._display)
        self._size = size

    def grab(self, *, rows: int, columns: int) -> npt.NDArray[np.uint8]:
        """The green of ``(rows, columns)`` pixels in the middle of the screen."""
        width, height = self._size
        left, top = (width - columns) // 2, (height - rows) // 2
        image = self._x.XGetImage(self._display, self._root, left, top, columns, rows, _ALL_PLANES, _ZPIXMAP)
        if not image:
            raise SystemExit("the screen cannot be read")
        try:
            n_bytes = image.contents.bytes_per_line * rows
            raw = ctypes.string_at(image.contents.data, n_bytes)
        finally:
            self._x.XDestroyImage(image)
        return np.frombuffer(raw, np.uint8).reshape(rows, -1, 4)[:, :columns, 1]

    def close(self) -> None:
        """Leave the display."""
        self._x.XCloseDisplay(self._display)
