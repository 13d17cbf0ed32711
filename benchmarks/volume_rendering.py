"""3D views of a volume of 256 slices of 512 x 512, small ones as while something moves and large ones as it stays.

The peer looks every ray up at once and takes the maximum: the least that can be done with the
same library, without light, colour or another process. Ours come through the process and its pipe.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import psutil

from benchmarks.timing import Comparison, compare

SHAPE = (256, 512, 512)
SPACING = (1.25, 0.7, 0.7)
DRAFT_PX, WHOLE_PX = 160, 512


def make_body() -> np.ndarray:
    """An oval of soft tissue with a spine and ribs, in Hounsfield units, with noise."""
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    oval = ((y - 256) / 180) ** 2 + ((x - 256) / 230) ** 2
    body = np.where(np.broadcast_to(oval < 1, SHAPE), 40, -1000).astype(np.int16)
    body[np.broadcast_to(((y - 380) / 30) ** 2 + ((x - 256) / 40) ** 2 < 1, SHAPE)] = 700
    body[(np.abs(((y - 256) / 170) ** 2 + ((x - 256) / 220) ** 2 - 1) < 0.06) & (z % 30 < 10)] = 500
    body += np.random.default_rng(0).integers(-15, 15, SHAPE).astype(np.int16)
    return body


def make_volume() -> Any:
    """The body as a volume of the domain."""
    from medviewer.domain.study import PixelDescription, Plane
    from medviewer.domain.volume import Volume

    positions = np.array([0.0, 0.0, 1.0]) * np.arange(SHAPE[0])[:, None] * SPACING[0]
    plane = Plane((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    description = PixelDescription(
        "CT", *SHAPE[1:], is_signed=True, plane=plane, pixel_spacing_mm=SPACING[1:], rescale_type="HU"
    )
    return Volume(make_body(), positions, description)


def run(rounds: int = 3) -> list[Comparison]:
    """Pictures of two sizes through two presets; MIP and bone cost differently."""
    import SimpleITK as sitk  # noqa: N813 - the alias of its own documentation

    from medviewer.imaging.camera import Look, look_from, turned
    from medviewer.imaging.renderer import Renderer
    from medviewer.imaging.transfer import presets

    volume = make_volume()
    image = sitk.GetImageFromArray(volume.stored)
    image.SetSpacing(SPACING[::-1])
    renderer = Renderer()
    made = []
    try:
        block = renderer.load(volume)
        camera = turned(look_from("A", block.corners), 30.0, 15.0)

        def peer(size: int) -> np.ndarray:
            """All of the picture's rays in one block, and its maximum: what a few lines of SimpleITK do."""
            pixel = camera.height_mm / size
            depth = int(np.ceil(float(np.linalg.norm(np.ptp(block.corners, axis=0))) / pixel))
            axes = np.stack([camera.right, camera.down, camera.ahead], axis=1)
            start = np.array(camera.center) - axes @ ((np.array([size, size, depth]) - 1) / 2 * pixel)
            rays = sitk.Resample(
                image, (size, size, depth), sitk.Transform(), sitk.sitkLinear, start.tolist(), (pixel,) * 3,
                axes.ravel().tolist(), -1000.0, sitk.sitkInt16,
            )  # fmt: skip
            return np.asarray(sitk.GetArrayFromImage(rays).max(axis=0))

        bone, mip = presets(block.percentiles)[0], presets(block.percentiles)[-1]
        for size in (DRAFT_PX, WHOLE_PX):
            for name, transfer in (("MIP", mip), ("bone, lit", bone)):
                look = Look(camera, transfer, (size, size))
                title = f"3D view, {name}, {size} x {size}, of 256 x 512 x 512"
                other = ("all rays by SimpleITK.Resample, maximum", lambda size=size: peer(size))
                made.append(
                    compare(title, lambda look=look: renderer.draw(look, block), other, rounds=rounds, warmup=1)
                )
        own = psutil.Process(renderer.pid).memory_info().rss / volume.stored.nbytes
        sys.stdout.write(f"memory of the process: {own:.2f} x the volume, libraries included\n")
    finally:
        renderer.close()
    return made


if __name__ == "__main__":
    for row in run():
        sys.stdout.write(f"{row.name} vs {row.peer}: {row.ratio:.2f} ({row.ours_ms:.1f} ms / {row.peer_ms:.1f} ms)\n")
