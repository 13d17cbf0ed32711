"""Pictures that were asked for are shown as they are meant; those that lie in a folder are named."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from medviewer.domain.errors import InputError
from medviewer.domain.study import Image
from medviewer.imaging import picture_file
from medviewer.imaging.decode import read_frame
from medviewer.imaging.scan import images_of, scan

COLOUR = np.random.default_rng(1).integers(0, 255, (4, 6, 3)).astype(np.uint8)


def save(path: Path, values: np.ndarray, **options: Any) -> Path:
    PillowImage.fromarray(values).save(path, **options)
    return path


def only(path: Path) -> Image:
    (image,) = images_of(scan([path]))
    return image


def codes(image: Image) -> list[str]:
    return [caveat.code for caveat in image.warnings]


@pytest.mark.parametrize("values", [COLOUR, COLOUR[..., 0], COLOUR[..., 0].astype(np.uint16) * 200])
def test_a_picture_is_shown_as_it_is(values: np.ndarray, tmp_path: Path) -> None:
    image = only(save(tmp_path / "a.png", values))
    frame = read_frame(image)
    np.testing.assert_array_equal(frame.stored, values)
    assert frame.stored.dtype == values.dtype
    assert codes(image) == ["identity.none"]
    assert (image.description.modality, image.description.pixel_spacing_mm) == ("", None)
    assert "how large" in image.description.no_measuring_because
    assert not image.description.is_lossy


def test_a_jpeg_is_called_lossy(tmp_path: Path) -> None:
    image = only(save(tmp_path / "a.jpg", COLOUR))
    assert image.description.is_lossy
    with PillowImage.open(tmp_path / "a.jpg") as reference:
        np.testing.assert_array_equal(read_frame(image).stored, np.array(reference))


@pytest.mark.parametrize("turn", range(1, 9))
def test_the_cameras_turn_is_followed_and_said(turn: int, tmp_path: Path) -> None:
    exif = PillowImage.Exif()
    exif[0x0112] = turn
    image = only(save(tmp_path / "a.png", COLOUR, exif=exif))
    stored = read_frame(image).stored
    # EXIF 2.32: row 0 and column 0 of the stored picture are these sides of the scene.
    expected = {
        1: COLOUR, 2: COLOUR[:, ::-1], 3: COLOUR[::-1, ::-1], 4: COLOUR[::-1], 5: COLOUR.transpose(1, 0, 2),
        6: np.rot90(COLOUR, -1), 7: COLOUR[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(COLOUR),
    }[turn]  # fmt: skip
    np.testing.assert_array_equal(stored, expected)
    assert ("picture.turned" in codes(image)) == (turn > 1)


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    alpha = np.dstack([COLOUR, COLOUR[..., 0]])
    assert "picture.transparency" in codes(only(save(tmp_path / "a.png", alpha)))
    PillowImage.fromarray(COLOUR).save(
        tmp_path / "b.png", save_all=True, append_images=[PillowImage.fromarray(COLOUR[::-1])]
    )
    image = only(tmp_path / "b.png")
    assert "picture.animated" in codes(image)
    np.testing.assert_array_equal(read_frame(image).stored, COLOUR)


def png(columns: int, rows: int, depth: int = 8, kind: int = 2) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", columns, rows, depth, kind, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [9_000, 12_000, 100_000])
def test_a_picture_that_claims_too_much_is_refused(side: int, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(side, side))
    (problem,) = scan([tmp_path / "a.png"]).problems
    assert f"{picture_file.MAX_PIXELS // 10**6} million pixels" in problem.reason


def test_wide_colours_are_said(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(2, 2, depth=16))
    assert "picture.bits" in codes(only(tmp_path / "a.png"))


def test_a_picture_in_a_folder_is_named_and_not_put_beside_the_studies(tmp_path: Path) -> None:
    save(tmp_path / "preview.png", COLOUR)
    collection = scan([tmp_path])
    assert collection.shown == ()
    assert "by itself" in collection.problems[0].reason
    assert len(scan([tmp_path, tmp_path / "preview.png"]).shown) == 1


def test_a_picture_that_changed_is_not_shown_as_the_one_before(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", COLOUR)
    image, times = only(path), path.stat()
    save(path, COLOUR[::-1])
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(InputError, match="has changed"):
        read_frame(image)


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_damage_is_one_sentence(ending: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    whole = save(tmp_path / f"a.{ending}", rng.integers(0, 255, (40, 40, 3)).astype(np.uint8)).read_bytes()
    for _ in range(150):
        data = bytearray(whole[: int(rng.integers(20, len(whole) + 1))])
        for at in rng.integers(8, len(data), 3):
            data[at] = int(rng.integers(256))
        (tmp_path / "b").write_bytes(data)
        collection = scan([tmp_path / "b"])
        assert not any("Unexpected" in problem.reason for problem in collection.problems), bytes(data)
        for image in images_of(collection):
            try:
                read_frame(image)
            except InputError:
                continue
