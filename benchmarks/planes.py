"""Cutting planes out of a volume of 256 slices of 512 x 512: ours against SimpleITK's resampling.

The peer has its volume as an ITK image already; making one copies all voxels, which is not
counted. Both give the same pixels (checked before timing), ours with the plane's geometry.
"""

from __future__ import annotations

import sys

import numpy as np

from benchmarks.timing import Comparison, compare

SHAPE = (256, 512, 512)
SPACING = (1.25, 0.7, 0.7)


def run(rounds: int = 15) -> list[Comparison]:
    """A coronal plane, a coronal slab of 10 mm, and an oblique plane."""
    import SimpleITK as sitk  # noqa: N813 - the alias of its own documentation

    from medviewer.domain.study import PixelDescription, Plane
    from medviewer.domain.volume import Volume
    from medviewer.imaging.reslice import PlaneGrid, reslice, standard_grid

    stored = np.random.default_rng(0).integers(-1000, 2000, SHAPE).astype(np.int16)
    positions = np.array([0.0, 0.0, 1.0]) * np.arange(SHAPE[0])[:, None] * SPACING[0]
    plane = Plane((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    description = PixelDescription(
        "CT", *SHAPE[1:], is_signed=True, bits_stored=12, plane=plane, pixel_spacing_mm=SPACING[1:]
    )
    volume = Volume(stored, positions, description)
    image = sitk.GetImageFromArray(stored)
    image.SetSpacing(SPACING[::-1])
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(2)

    def theirs(grid: PlaneGrid) -> np.ndarray:
        axes = np.stack([grid.plane.row_cosine, grid.plane.column_cosine, grid.plane.normal], axis=1)
        cut = sitk.Resample(
            image, (grid.shape[1], grid.shape[0], 1), sitk.Transform(), sitk.sitkLinear, grid.plane.position,
            (grid.spacing_mm[1], grid.spacing_mm[0], 1.0), axes.ravel().tolist(), -32768.0, sitk.sitkInt16,
        )  # fmt: skip
        return np.asarray(sitk.GetArrayFromImage(cut)[0])

    def their_slab(grid: PlaneGrid) -> np.ndarray:
        axes = np.stack([grid.plane.row_cosine, grid.plane.column_cosine, grid.plane.normal], axis=1)
        step, reach = 0.35, 14
        start = np.array(grid.plane.position) - np.array(grid.plane.normal) * step * reach
        cut = sitk.Resample(
            image, (grid.shape[1], grid.shape[0], 2 * reach + 1), sitk.Transform(), sitk.sitkLinear, start.tolist(),
            (grid.spacing_mm[1], grid.spacing_mm[0], step), axes.ravel().tolist(), -32768.0, sitk.sitkInt16,
        )  # fmt: skip
        return np.asarray(sitk.GetArrayFromImage(cut).max(axis=0))

    coronal = standard_grid(volume, "coronal", 180.1)
    turn = np.radians(20)
    oblique = PlaneGrid(
        Plane((40.0, 60.0, 200.0), (float(np.cos(turn)), float(np.sin(turn)), 0.0), (0.0, 0.0, -1.0)), (0.7, 0.7),
        (260, 380),
    )  # fmt: skip
    rows = (
        ("coronal plane", coronal, lambda: reslice(volume, coronal), lambda: theirs(coronal)),
        (
            "coronal MIP of 9.8 mm",
            coronal,
            lambda: reslice(volume, coronal, slab_mm=9.8, slab="max"),
            lambda: their_slab(coronal),
        ),
        ("oblique plane", oblique, lambda: reslice(volume, oblique), lambda: theirs(oblique)),
    )
    made = []
    for name, grid, ours, peer in rows:
        if np.abs(ours().stored.astype(int) - peer()).max() > 1:
            raise SystemExit(f"they do not cut the same {name}")
        size = f"{grid.shape[1]} x {grid.shape[0]}"
        made.append(compare(f"{name}, {size}, of 256 x 512 x 512", ours, ("SimpleITK.Resample", peer), rounds=rounds))
    return made


if __name__ == "__main__":
    for row in run():
        sys.stdout.write(f"{row.name} vs {row.peer}: {row.ratio:.2f} ({row.ours_ms:.1f} ms / {row.peer_ms:.1f} ms)\n")
