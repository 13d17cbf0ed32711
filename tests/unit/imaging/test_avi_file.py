"""Films: read again by readers that are not ours, image by image."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medviewer.domain.errors import InputError, TooLargeError
from medviewer.imaging import avi_file
from medviewer.imaging.avi_file import AviWriter


def ramp(rows: int, columns: int, shift: int) -> np.ndarray:
    """Grey, smooth, not symmetric in any way, of another brightness in each image."""
    y, x = np.mgrid[:rows, :columns]
    grey = np.clip(x * 120 / columns + y * 60 / rows + 10 * shift, 0, 255).astype(np.uint8)
    return np.stack([grey] * 3, axis=-1)


def film(images: list[np.ndarray], rate_hz: float = 7.5) -> bytes:
    out = BytesIO()
    writer = AviWriter(out, rate_hz)
    for image in images:
        writer.add(image)
    writer.finish()
    return out.getvalue()


def chunks(content: bytes, start: int, end: int) -> dict[str, list[bytes]]:
    """The chunks of a RIFF list by name, as the format's description says, lists opened."""
    found: dict[str, list[bytes]] = {}
    while start < end:
        name, size = content[start : start + 4], struct.unpack_from("<I", content, start + 4)[0]
        if name in (b"LIST", b"RIFF"):
            for inner, many in chunks(content, start + 12, start + 8 + size).items():
                found.setdefault(inner, []).extend(many)
        else:
            found.setdefault(name.decode(), []).append(content[start + 8 : start + 8 + size])
        start += 8 + size + size % 2
    assert start == end
    return found


@pytest.mark.parametrize("shape", [(48, 64), (47, 63), (1, 1)])
def test_every_image_is_there_in_order_with_its_greys(shape: tuple[int, int]) -> None:
    images = [ramp(*shape, shift) for shift in range(5)]
    content = film(images)
    assert struct.unpack_from("<I", content, 4)[0] == len(content) - 8
    parts = chunks(content, 0, len(content))
    assert len(parts["00dc"]) == 5
    for jpeg, image in zip(parts["00dc"], images, strict=True):
        with Image.open(BytesIO(jpeg)) as read:
            assert read.format == "JPEG"
            assert read.size == (shape[1], shape[0])
            np.testing.assert_allclose(np.asarray(read.convert("RGB"), int), image.astype(int), atol=3)


def test_header_and_index_say_what_is_in_the_file() -> None:
    content = film([ramp(48, 64, shift) for shift in range(3)])
    parts = chunks(content, 0, len(content))
    main = struct.unpack("<14I", parts["avih"][0])
    assert (main[0], main[4], main[8], main[9]) == (round(1e6 / 7.5), 3, 64, 48)
    stream = parts["strh"][0]
    scale, rate, _, length = struct.unpack_from("<IIII", stream, 20)
    assert (stream[:8], rate / scale, length) == (b"vidsMJPG", 7.5, 3)
    movi = content.index(b"movi")
    for entry, jpeg in zip(struct.iter_unpack("<4sIII", parts["idx1"][0]), parts["00dc"], strict=True):
        _, flags, place, size = entry
        assert flags & 0x10
        assert content[movi + place : movi + place + 4] == b"00dc"
        assert content[movi + place + 8 : movi + place + 8 + size] == jpeg


def test_an_independent_player_reads_it(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV reads films: pip install opencv-python-headless")
    images = [ramp(120, 161, shift) for shift in range(6)]
    images[2][:20, :30] = (255, 0, 0)  # red in the upper left
    (tmp_path / "a.avi").write_bytes(film(images, 12.0))
    player = cv2.VideoCapture(str(tmp_path / "a.avi"))
    try:
        assert player.get(cv2.CAP_PROP_FRAME_COUNT) == 6
        assert player.get(cv2.CAP_PROP_FPS) == pytest.approx(12.0)
        read = []
        while (found := player.read())[0]:
            read.append(found[1][..., ::-1])
    finally:
        player.release()
    assert len(read) == 6
    for got, image in zip(read, images, strict=True):
        assert got.shape == image.shape
        np.testing.assert_allclose(got[48:].astype(int), image[48:].astype(int), atol=4)
    assert read[2][5:15, 5:25, 0].min() > 200
    assert read[2][5:15, 5:25, 1:].max() < 60


def test_images_of_another_size_are_refused() -> None:
    writer = AviWriter(BytesIO(), 10)
    writer.add(ramp(10, 20, 0))
    with pytest.raises(InputError, match="one size"):
        writer.add(ramp(10, 21, 0))


def test_a_film_without_images_is_none() -> None:
    with pytest.raises(InputError, match="at least one"):
        AviWriter(BytesIO(), 10).finish()


def test_a_film_that_players_cannot_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    out = BytesIO()
    writer = AviWriter(out, 10)
    writer.add(ramp(64, 64, 0))
    before = len(out.getvalue())
    monkeypatch.setattr(avi_file, "MOST_BYTES", before + 100)
    with pytest.raises(TooLargeError, match="fewer images"):
        writer.add(ramp(64, 64, 0))
    writer.finish()
    assert len(out.getvalue()) <= before + 100
    with pytest.raises(TooLargeError, match="too large"):
        AviWriter(BytesIO(), 10).add(np.zeros((1, 16_384, 3), np.uint8))
