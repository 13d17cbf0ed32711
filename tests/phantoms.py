"""A made-up chest in numbers: nobody's, with an anatomy that shows which way it lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.uid import generate_uid

from tests.dicom_maker import make_dataset, write_dataset

FloatArray = npt.NDArray[np.float64]

SMALL_CHEST: dict[str, Any] = {"size": 40, "spacing_mm": 8.0, "slice_mm": 10.0, "n_slices": 30}
"""Arguments of :func:`write_chest` for a whole chest in few voxels."""


def chest_hu(x: FloatArray, y: FloatArray, z: FloatArray, *, nodule_mm: float = 8.0) -> npt.NDArray[np.int16]:
    """Hounsfield units at places in LPS mm (x to the left, y to the back, z to the head).

    A body with two lungs, spine, heart towards the left, liver on the right below, ribs, and a
    round nodule in the left lung at (55, 0, 20).
    """

    def inside(cx: float, cy: float, cz: float, rx: float, ry: float, rz: float) -> npt.NDArray[np.bool_]:
        return np.asarray(((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 + ((z - cz) / rz) ** 2 < 1)

    hu = np.full(np.broadcast(x, y, z).shape, -1000.0)
    trunk = ((x / 150) ** 2 + (y / 95) ** 2 < 1) & (np.abs(z) < 150)
    hu[trunk] = -90  # fat
    hu[trunk & ((x / 140) ** 2 + (y / 85) ** 2 < 1)] = 45  # muscle
    for side in (-1, 1):
        lung = inside(side * 62, -3, 15, 48, 62, 120) & (z > -90 - 0.1 * y)
        hu[lung & trunk] = -840
    ribs = (np.abs(np.hypot(x / 134, y / 80) - 1) < 0.035) & (np.abs((z + 0.35 * y) % 28 - 14) < 4) & trunk
    hu[ribs] = 600
    hu[inside(22, -18, -35, 48, 42, 52) & trunk] = 40  # the heart, more on the left
    hu[inside(-55, -5, -125, 75, 62, 50) & trunk] = 60  # the liver on the right
    spine = (np.hypot(x, y - 60) < 19) & trunk
    hu[spine] = np.where(np.abs(z % 30 - 15) < 12, 350, 90)[spine] if hu.ndim else 350
    hu[inside(0, 45, 0, 9, 9, 160) & trunk] = 160  # the aorta
    hu[inside(55, 0, 20, nodule_mm, nodule_mm, nodule_mm)] = 35
    return np.rint(hu).astype(np.int16)


def write_chest(
    folder: Path,
    *,
    n_slices: int = 60,
    size: int = 160,
    spacing_mm: float = 2.0,
    slice_mm: float = 4.0,
    date: str = "20240301",
    nodule_mm: float = 8.0,
    patient: str = "Phantom^Chest",
    noise: float = 12.0,
) -> list[Path]:
    """An axial CT series of the chest, feet first in the folder; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = np.random.default_rng(0)
    across = (np.arange(size) - (size - 1) / 2) * spacing_mm
    study, series, reference = (generate_uid() for _ in range(3))
    paths = []
    for index in range(n_slices):
        z = (index - (n_slices - 1) / 2) * slice_mm
        hu = chest_hu(*np.meshgrid(across, across), np.full((size, size), z), nodule_mm=nodule_mm)
        pixels = np.clip(hu + chance.normal(0, noise, hu.shape), -1024, 3000) + 1024
        dataset = make_dataset(
            np.rint(pixels).astype(np.uint16), BitsStored=12, HighBit=11, RescaleSlope=1, RescaleIntercept=-1024,
            RescaleType="HU", PatientName=patient, PatientID="PHANTOM-1", PatientSex="O", PatientBirthDate="19700101",
            StudyInstanceUID=study, SeriesInstanceUID=series, FrameOfReferenceUID=reference, StudyDate=date,
            StudyTime="101500", SeriesNumber=2, SeriesDescription="Chest 4 mm", StudyDescription="CT chest",
            BodyPartExamined="CHEST", InstanceNumber=index + 1, ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            ImagePositionPatient=[float(across[0]), float(across[0]), float(z)], PixelSpacing=[spacing_mm] * 2,
            SliceThickness=slice_mm, WindowCenter="-400", WindowWidth="1600",
        )  # fmt: skip
        paths.append(write_dataset(folder / f"{index:03d}.dcm", dataset))
    return paths
