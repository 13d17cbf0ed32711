"""MP4 films: their boxes as the standard has them, and every image read again by decoders that are not ours."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from medviewer.domain.errors import InputError, TooLargeError, UnsupportedError
from medviewer.imaging import mp4_file
from medviewer.imaging.mp4_file import GROUP, Mp4Writer
from tests.unit.imaging.test_avi_file import ramp

pytestmark = pytest.mark.skipif(not features.check("avif"), reason="this Pillow does not encode AV1")

HOLDERS = ("moov", "trak", "mdia", "minf", "stbl", "dinf")


def film(images: list[np.ndarray], rate_hz: float = 7.5) -> bytes:
    out = BytesIO()
    writer = Mp4Writer(out, rate_hz)
    for image in images:
        writer.add(image)
    writer.finish()
    return out.getvalue()


def boxes(content: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[str, bytes, int]]:
    """Each box with its contents and where they begin; none reaches out of the one that it lies in."""
    end = len(content) if end is None else end
    while start < end:
        size, name = struct.unpack_from(">I4s", content, start)
        assert 8 <= size <= end - start
        if name.decode() in HOLDERS:
            yield from boxes(content, start + 8, start + size)
        else:
            yield name.decode(), content[start + 8 : start + size], start + 8
        start += size


def samples(content: bytes) -> list[bytes]:
    """The encoded images, found by the tables."""
    found = {name: inner for name, inner, _ in boxes(content)}
    even, count = struct.unpack_from(">II", found["stsz"], 4)
    assert even == 0
    assert struct.unpack_from(">4I", found["stsc"], 4) == (1, 1, count, 1)  # one run of all
    (place,) = struct.unpack_from(">I", found["stco"], 8)
    read = []
    for size in struct.unpack_from(f">{count}I", found["stsz"], 12):
        read.append(content[place : place + size])
        place += size
    (mdat,) = [(start, len(inner)) for name, inner, start in boxes(content) if name == "mdat"]
    assert place == sum(mdat)  # the tables lead through the data to their very end
    return read


def decoded(content: bytes) -> list[np.ndarray]:
    """The images as libavif finds and decodes them, told that this is a sequence of pictures instead of a film."""
    (size,) = struct.unpack_from(">I", content, 0)
    as_pictures = struct.pack(">I4s4sI", size, b"ftyp", b"avis", 0) + b"avis" * ((size - 16) // 4)
    assert content.count(b"vide") == 1
    with Image.open(BytesIO(as_pictures + content[size:].replace(b"vide", b"pict"))) as film:
        read = []
        for index in range(film.n_frames):
            film.seek(index)
            read.append(np.asarray(film.convert("RGB"), int))
    return read


@pytest.mark.parametrize("shape", [(48, 64), (47, 63), (1, 1)])
@pytest.mark.parametrize("count", [1, 2, GROUP, GROUP + 1, 2 * GROUP + 3])
def test_every_image_is_there_in_order_with_its_greys(shape: tuple[int, int], count: int) -> None:
    images = [ramp(*shape, shift) for shift in range(count)]
    got = decoded(film(images))
    assert len(got) == count
    for read, image in zip(got, images, strict=True):
        np.testing.assert_allclose(read, image.astype(int), atol=4)


def test_colours_keep_their_places() -> None:
    images = [ramp(96, 128, shift) for shift in range(3)]
    images[1][:20, :30] = (255, 0, 0)
    images[1][-20:, -30:] = (0, 0, 255)
    read = decoded(film(images))[1]
    assert (np.abs(read[4:16, 4:26] - (255, 0, 0)) < 40).all()
    assert (np.abs(read[-16:-4, -26:-4] - (0, 0, 255)) < 40).all()
    left = np.abs(decoded(film(images))[2] - images[2].astype(int))  # of the colours in the image before
    assert left.mean() < 1
    assert left.max() <= 25


def test_the_boxes_say_what_is_in_the_file() -> None:
    count = GROUP + 3
    content = film([ramp(48, 64, shift) for shift in range(count)])
    found = {name: inner for name, inner, _ in boxes(content)}
    assert list(found) == [
        "ftyp", "mdat", "mvhd", "tkhd", "mdhd", "hdlr", "vmhd", "dref", "stsd", "stts", "stsc", "stsz", "stco", "stss",
    ]  # fmt: skip
    assert found["ftyp"][:4] == b"isom"
    for name in ("mvhd", "mdhd"):
        assert struct.unpack_from(">II", found[name], 12) == (7500, 1000 * count)
    straight = (0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    movie = struct.unpack(">6IH10x9I24xI", found["mvhd"])
    assert movie == (0, 0, 0, 7500, 1000 * count, 0x10000, 0x100, *straight, 2)  # as fast as it was, next track 2
    track = struct.unpack(">6I8x2hH2x9I2I", found["tkhd"])
    assert track == (3, 0, 0, 1, 0, 1000 * count, 0, 0, 0, *straight, 64 << 16, 48 << 16)  # enabled, in the film
    assert found["dref"] == struct.pack(">3I4sI", 0, 1, 12, b"url ", 1)  # the data lie in this very file
    assert struct.unpack_from(">III", found["stts"], 4) == (1, count, 1000)
    assert struct.unpack_from(">3I", found["stss"], 4) == (2, 1, GROUP + 1)  # the first of each group
    assert found["stsd"][12:16] == b"av01"
    assert struct.unpack_from(">HH", found["stsd"], 8 + 8 + 24) == (64, 48)
    inner = {name: (inside, start) for name, inside, start in boxes(found["stsd"], 8 + 8 + 78, len(found["stsd"]))}
    assert inner["av1C"][0][0] == 0x81  # marker and version
    assert inner["av1C"][0][1] >> 5 == 0  # the main profile: what hardware decodes
    assert inner["colr"][0] == b"nclx" + struct.pack(">3HB", 1, 13, 6, 0x80)


def test_an_independent_player_reads_it(tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="PyAV plays films: pip install av")
    images = [ramp(120, 161, shift) for shift in range(GROUP + 2)]
    (tmp_path / "a.mp4").write_bytes(film(images, 12.0))
    with av.open(str(tmp_path / "a.mp4")) as player:
        stream = player.streams.video[0]
        assert (float(stream.average_rate), stream.frames) == (12.0, GROUP + 2)
        read = [frame.to_ndarray(format="rgb24").astype(int) for frame in player.decode(video=0)]
    assert len(read) == GROUP + 2
    for got, image in zip(read, images, strict=True):
        np.testing.assert_allclose(got, image.astype(int), atol=4)


@pytest.mark.parametrize("rate_hz", [1, 7.5, 29.97, 59.94, 60])
def test_every_rate_is_kept_as_it_is(rate_hz: float) -> None:
    found = {name: inner for name, inner, _ in boxes(film([ramp(16, 16, 0)], rate_hz))}
    (per_second,) = struct.unpack_from(">I", found["mdhd"], 12)
    assert per_second / struct.unpack_from(">3I", found["stts"], 4)[2] == rate_hz


def test_large_images_are_encoded_in_smaller_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader who cancels, and the memory, wait for eight megapixels at a time."""
    monkeypatch.setattr(mp4_file, "GROUP_PX", 3 * 64 * 48 + 1)
    images = [ramp(48, 64, shift) for shift in range(7)]
    content = film(images)
    found = {name: inner for name, inner, _ in boxes(content)}
    assert struct.unpack(">5I", found["stss"]) == (0, 3, 1, 4, 7)
    assert len(decoded(content)) == 7
    monkeypatch.setattr(mp4_file, "GROUP_PX", 1)
    assert len(decoded(film(images))) == 7


def test_images_of_another_size_are_refused() -> None:
    writer = Mp4Writer(BytesIO(), 10)
    writer.add(ramp(10, 20, 0))
    with pytest.raises(InputError, match="one size"):
        writer.add(ramp(10, 21, 0))
    with pytest.raises(TooLargeError, match="too large"):
        Mp4Writer(BytesIO(), 10).add(np.zeros((1, 16_385, 3), np.uint8))
    with pytest.raises(TooLargeError, match="too large"):
        Mp4Writer(BytesIO(), 10).add(np.broadcast_to(np.uint8(0), (6_000, 6_000, 3)))


def test_a_film_without_images_is_none() -> None:
    with pytest.raises(InputError, match="at least one"):
        Mp4Writer(BytesIO(), 10).finish()


def test_a_film_that_players_cannot_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mp4_file, "MOST_BYTES", 1500)
    writer = Mp4Writer(BytesIO(), 10)
    rough = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    for _ in range(GROUP - 1):
        writer.add(rough)
    with pytest.raises(TooLargeError, match="fewer images"):
        writer.add(rough)


@pytest.mark.parametrize("error", [KeyError("AVIF"), ValueError("Invalid saving codec"), OSError("no memory")])
def test_without_an_encoder_it_says_so(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    writer = Mp4Writer(BytesIO(), 10)
    writer.add(ramp(16, 16, 0))
    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(UnsupportedError, match="save an AVI film instead"):
        writer.finish()
    assert not mp4_file.can_write()
    with pytest.raises(UnsupportedError, match="save an AVI film instead"):
        Mp4Writer(BytesIO(), 10)


def test_no_sample_holds_what_parts_images_in_a_stream() -> None:
    """The AV1 binding wants no temporal delimiters: OBUs of type 2."""
    content = film([ramp(48, 64, shift) for shift in range(GROUP + 1)])
    kinds = [(sample[0] >> 3) & 15 for sample in samples(content)]
    assert kinds[0] == kinds[GROUP] == 1  # a sequence header begins what can be jumped to
    assert 2 not in kinds
