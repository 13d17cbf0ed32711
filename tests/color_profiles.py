"""ICC profiles that tests make, by hand, and what their colours are on the screen, by numpy from matrices.

Source: ICC.1:2022 7.2 (header), 7.3 (tag table), 10.6 (curveType), 10.18 (parametricCurveType), 10.31 (XYZType),
F.3 (three-component matrix-based profiles).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import highdicom
import numpy as np
from pydicom.dataset import Dataset

Matrix = tuple[tuple[float, float, float], ...]
D50 = (0.9642, 1.0, 0.8249)
# Columns of the matrix from linear RGB to XYZ (D50): red, green, blue. IEC 61966-2-1 and Adobe RGB (1998) 4.3.5.
SRGB: Matrix = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
ADOBE: Matrix = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def make_profile(
    primaries: Matrix = SRGB,
    gamma: float | None = None,
    *,
    kind: bytes = b"scnr",
    space: bytes = b"RGB ",
    connection: bytes = b"XYZ ",
    left_out: Sequence[bytes] = (),
    curve: bytes | None = None,
) -> bytes:
    """A matrix-based profile with one curve for all channels: a power, or that of sRGB (None)."""
    if curve is None:
        curve = _tag(b"para", struct.pack(">HH5i", 3, 0, *(round(one * 65536) for one in SRGB_CURVE)))
        if gamma is not None:
            curve = _tag(b"curv", struct.pack(">IH", 1, round(gamma * 256)))
    parts = {
        b"desc": _tag(b"mluc", struct.pack(">II", 0, 12)),
        b"wtpt": _xyz(D50),
        **{name + b"XYZ": _xyz(xyz) for name, xyz in zip((b"r", b"g", b"b"), primaries, strict=True)},
        **{name + b"TRC": curve for name in (b"r", b"g", b"b")},
    }
    chosen = {name: part for name, part in parts.items() if name not in left_out}
    at = 128 + 4 + 12 * len(chosen)
    table, body = b"", b""
    for name, part in chosen.items():
        table += struct.pack(">4sII", name, at + len(body), len(part))
        body += part + bytes(-len(part) % 4)
    size = at + len(body)
    head = struct.pack(">I4sI4s4s4s", size, bytes(4), 0x04200000, kind, space, connection)
    head += struct.pack(">6H4s", 2024, 1, 1, 0, 0, 0, b"acsp") + bytes(24)
    head += struct.pack(">I3i", 0, *(round(one * 65536) for one in D50))
    return head.ljust(128, b"\0") + struct.pack(">I", len(chosen)) + table + body


def on_screen(stored: np.ndarray, primaries: Matrix = SRGB, gamma: float | None = None) -> np.ndarray:
    """What colours of such a profile are in sRGB: ``(..., 3)`` float64, 0 to 255."""
    share = stored.astype(np.float64) / 255
    power, a, b, c, d = SRGB_CURVE
    linear = share**gamma if gamma is not None else np.where(share >= d, (a * share + b) ** power, c * share)
    xyz = linear @ np.array(primaries)
    light = np.clip(xyz @ np.linalg.inv(np.array(SRGB)), 0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def every_color(step: int = 5) -> np.ndarray:
    """All combinations of levels of that distance, as a picture of ``(n * n, n, 3)`` uint8."""
    levels = np.arange(0, 256, step)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1)
    return grid.reshape(len(levels) ** 2, len(levels), 3).astype(np.uint8)


def published() -> bytes:
    """The ICC's own sRGB v4 preference profile, with tables for each intent; highdicom carries it."""
    return (Path(highdicom.__file__).parent / "_icc_profiles" / "sRGB_v4_ICC_preference.icc").read_bytes()


def optical_path(name: str, profile: bytes) -> Dataset:
    """An item of the optical path sequence."""
    path = Dataset()
    path.OpticalPathIdentifier = name
    path.ICCProfile = profile
    return path


def made_by(name: str) -> Dataset:
    """A functional group that names an optical path."""
    group, identification = Dataset(), Dataset()
    identification.OpticalPathIdentifier = name
    group.OpticalPathIdentificationSequence = [identification]
    return group


def _tag(kind: bytes, content: bytes) -> bytes:
    return kind + bytes(4) + content


def _xyz(values: tuple[float, float, float]) -> bytes:
    return _tag(b"XYZ ", struct.pack(">3i", *(round(one * 65536) for one in values)))
