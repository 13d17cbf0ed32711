"""Made-up breast ultrasound: layers of speckle, in it a smooth oval, or a dark, ragged one with a shadow if malignant."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from medviewer.domain.case import Case
from medviewer.domain.frame import Frame
from tests.fakes import make_frame

SIDE = 28


def picture(chance: np.random.Generator, *, is_malignant: bool, side: int = SIDE) -> np.ndarray:
    """One picture, ``(side, side)`` uint8."""
    row, column = np.mgrid[0:side, 0:side] / side
    image = 0.55 - 0.35 * row + 0.05 * np.sin(14 * row + 3 * column + chance.uniform(0, 6))
    centre, width = chance.uniform(0.35, 0.65), chance.uniform(0.12, 0.2)
    angle = np.arctan2(row - 0.45, column - centre)
    ragged = 1 + 0.35 * np.sin(7 * angle + chance.uniform(0, 6)) * is_malignant
    far = np.hypot((row - 0.45) / 0.8, column - centre) / (width * ragged)
    image = image - (0.3 if is_malignant else 0.12) / (1 + far**8)
    if is_malignant:
        image = image - 0.2 * ((np.abs(column - centre) < width) & (row > 0.5))
    speckle = chance.normal(0, 0.03, image.shape) * (0.5 + image)
    return np.uint8(255 * np.clip(image + speckle, 0, 1))


def arrays(n: int, *, seed: int = 0, prefix: str = "train") -> dict[str, np.ndarray]:
    """As BreastMNIST has it: a quarter malignant, which is 0 there."""
    chance = np.random.default_rng(seed)
    malignant = np.arange(n) % 4 == 0
    images = np.stack([picture(chance, is_malignant=bool(one)) for one in malignant])
    return {f"{prefix}_images": images, f"{prefix}_labels": np.uint8(~malignant)[:, None]}


def write_npz(path: Path, n: int = 80, **more: np.ndarray) -> Path:
    """A file of ``n`` training and half as many validation images."""
    np.savez(path, **{**arrays(n), **arrays(n // 2, seed=1, prefix="val"), **more})
    return path


def breast_case() -> Case:
    """A woman with one made-up picture, as DICOM would hold it."""
    stored = picture(np.random.default_rng(3), is_malignant=True, side=112).astype(np.uint16)
    stored.setflags(write=False)
    frame = make_frame(112, 112, modality="US", body_part_examined="BREAST", view_position="", bits_stored=8)
    return Case(images=(Frame(stored, replace(frame.description)),), age_years=50.0, sex="F")
