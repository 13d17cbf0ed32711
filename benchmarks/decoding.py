"""Decode a series of compressed CT slices: our watched worker processes against pydicom in its default order.

The slices are a made-up chest with noise, so that nothing compresses away, encoded anew in
each transfer syntax. Both read the same files and give the same pixels (checked before
timing); ours sends them through other processes and checks that nothing is missing.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.timing import Comparison, compare

N_SLICES = 24
SIZE = 512


def encoders() -> dict[str, tuple[str, Callable[[np.ndarray], bytes]]]:
    """Transfer syntax UID and code stream of 16-bit grey, by name."""
    import imagecodecs
    from pydicom.pixels.encoders.base import EncodeRunner
    from pydicom.pixels.encoders.native import _encode_frame

    from medviewer.imaging.codecs import JPEG_2000_LOSSLESS, JPEG_LOSSLESS_FIRST_ORDER, JPEG_LS, RLE

    def rle(pixels: np.ndarray) -> bytes:
        runner = EncodeRunner(RLE)
        runner.set_source(pixels)
        options = {"rows": SIZE, "columns": SIZE, "samples_per_pixel": 1, "bits_allocated": 16, "bits_stored": 12,
                   "pixel_representation": 0, "photometric_interpretation": "MONOCHROME2", "number_of_frames": 1,
                   "byteorder": "<"}  # fmt: skip
        runner.set_options(**options)
        return bytes(_encode_frame(pixels.tobytes(), runner))

    return {
        "JPEG lossless": (JPEG_LOSSLESS_FIRST_ORDER, lambda a: bytes(imagecodecs.ljpeg_encode(a, bitspersample=12))),
        "JPEG-LS": (JPEG_LS, lambda a: bytes(imagecodecs.jpegls_encode(a))),
        "JPEG 2000 lossless": (
            JPEG_2000_LOSSLESS,
            lambda a: bytes(imagecodecs.jpeg2k_encode(a, level=0, reversible=True, codecformat="J2K")),
        ),
        "RLE": (RLE, rle),
    }


def write(folder: Path, syntax: str, encode: Callable[[np.ndarray], bytes]) -> list[Path]:
    """The slices in one transfer syntax."""
    from tests.dicom_maker import make_dataset, write_compressed
    from tests.phantoms import chest_hu

    folder.mkdir()
    chance = np.random.default_rng(0)
    across = np.linspace(-160, 160, SIZE)
    paths = []
    for index in range(N_SLICES):
        hu = chest_hu(*np.meshgrid(across, across), np.full((SIZE, SIZE), -100.0 + 8 * index))
        pixels = np.clip(hu + chance.normal(0, 20, hu.shape) + 1024, 0, 4095).astype(np.uint16)
        dataset = make_dataset(pixels, BitsStored=12, HighBit=11, InstanceNumber=index + 1)
        paths.append(write_compressed(folder / f"{index}.dcm", encode(pixels), syntax, dataset))
    return paths


def run(rounds: int = 5) -> list[Comparison]:
    """Each transfer syntax; ours with two threads that wait for its workers, pydicom in one and the same process."""
    import pydicom

    from medviewer.imaging import decode
    from medviewer.imaging.description import describe_images
    from medviewer.imaging.header import read_header

    made = []
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(2) as pool:
        for title, (syntax, encode) in encoders().items():
            paths = write(Path(name) / title, syntax, encode)
            images = [describe_images(read_header(path), path)[0] for path in paths]

            def ours(images: list = images) -> list[np.ndarray]:
                return [frame.stored for frame in pool.map(decode.read_frame, images)]

            def theirs(paths: list[Path] = paths) -> list[np.ndarray]:
                return [pydicom.dcmread(path).pixel_array for path in paths]

            if not all(np.array_equal(a, b) for a, b in zip(ours(), theirs(), strict=True)):
                raise SystemExit(f"{title}: the pixels differ")
            what = f"{N_SLICES} slices of 512 x 512, {title}"
            made.append(
                compare(
                    what,
                    ours,
                    ("pydicom, default plug-ins", theirs),
                    rounds=rounds,
                    warmup=1,
                    target="" if "2000" in title else "<= 0.67",
                )
            )
    decode.shutdown()
    return made


if __name__ == "__main__":
    for row in run():
        sys.stdout.write(f"{row.name} vs {row.peer}: {row.ratio:.2f} ({row.ours_ms:.0f} ms / {row.peer_ms:.0f} ms)\n")
