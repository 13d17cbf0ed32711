"""Damage inside a JPEG stream shows where the stream ends, and a healthy one raises no doubt."""

from __future__ import annotations

import io
from typing import Any

import imagecodecs
import numpy as np
import PIL.Image
import pytest

from medviewer.imaging import codecs
from medviewer.imaging.jpeg_check import decode_if_whole, ends_elsewhere

END = b"\xff\xd9"


def picture(*, bits: int = 8, samples: int = 1, kind: str = "noise") -> np.ndarray:
    chance = np.random.default_rng(11)
    shape = (61, 83, samples) if samples > 1 else (61, 83)
    pixels = chance.integers(0, 1 << bits, shape)
    if kind != "noise":
        pixels //= 1 << (bits - 3)
        pixels[-40 if kind == "flat end" else 0 :] = 5
    return pixels.astype(np.uint8 if bits == 8 else np.uint16)


def lossless(pixels: np.ndarray, predictor: int = 1, bits: int = 8) -> bytes:
    space = "rgb" if pixels.ndim == 3 else None
    return bytes(
        imagecodecs.jpeg8_encode(
            pixels, lossless=True, predictor=predictor, bitspersample=bits, colorspace=space, outcolorspace=space
        )
    )


def lossy(pixels: np.ndarray, **options: Any) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(pixels, level=90, **options))


def doubted(stream: bytes) -> bool:
    return ends_elsewhere(stream, imagecodecs.jpeg8_decode(stream))


def cut(stream: bytes, part: float) -> bytes:
    return stream[: int(len(stream) * part)].rstrip(b"\xff") + END


def without(stream: bytes, count: int) -> bytes:
    """Some bytes of the middle are missing; those around them may not become a marker."""
    middle = len(stream) // 2
    return stream[:middle].rstrip(b"\xff") + stream[middle + count :].lstrip(b"\0")


@pytest.mark.parametrize("kind", ["noise", "flat end", "flat"])
@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize(("predictor", "bits"), [*((n, 16) for n in range(1, 8)), (1, 8), (1, 12), (6, 8)])
def test_healthy_lossless_streams(kind: str, samples: int, predictor: int, bits: int) -> None:
    pixels = picture(bits=bits, samples=samples, kind=kind)
    stream = lossless(pixels, predictor, bits)
    np.testing.assert_array_equal(imagecodecs.jpeg8_decode(stream, colorspace="rgb" if samples == 3 else None,
                                                           outcolorspace="rgb" if samples == 3 else None), pixels)  # fmt: skip
    assert not ends_elsewhere(stream, pixels)
    assert not ends_elsewhere(stream[:-2] + b"\xff\xff" + END + b"\0", pixels)  # fill and padding


def test_a_lossless_stream_of_shifted_values() -> None:
    pixels = picture(bits=16)
    stream = bytearray(lossless(pixels >> 2, 1, 14))
    frame, scan = stream.index(b"\xff\xc3"), stream.index(b"\xff\xda")
    stream[frame + 4], stream[scan + 9] = 16, 2  # 16 bits, of which the last two were left out
    assert not ends_elsewhere(bytes(stream), pixels & 0xFFFC)


@pytest.mark.parametrize("kind", ["noise", "flat end", "flat"])
@pytest.mark.parametrize(
    ("bits", "samples", "options"),
    [
        (8, 1, {}),
        (8, 1, {"optimize": True}),
        (12, 1, {"bitspersample": 12}),
        (8, 3, {"subsampling": "444"}),
        (8, 3, {"subsampling": "422"}),
        (8, 3, {"subsampling": "420"}),
    ],
)
def test_healthy_lossy_streams(kind: str, bits: int, samples: int, options: dict[str, Any]) -> None:
    stream = lossy(picture(bits=bits, samples=samples, kind=kind), **options)
    assert not doubted(stream)
    assert not doubted(stream[:-2] + b"\xff\xff" + END + b"\0")
    assert not doubted(stream[:-2] + b"\0" + END)


@pytest.mark.reliability
@pytest.mark.parametrize("kind", ["noise", "flat end"])
@pytest.mark.parametrize("bits", [8, 12])
@pytest.mark.parametrize("is_lossless", [False, True])
def test_damage_is_noticed(kind: str, bits: int, is_lossless: bool) -> None:
    pixels = picture(bits=bits, kind=kind)
    stream = lossless(pixels, 1, bits) if is_lossless else lossy(pixels, bitspersample=bits)
    for part in (0.6, 0.75, 0.9):
        assert doubted(cut(stream, part))
    if kind == "noise":
        assert doubted(without(stream, 100))
        assert doubted(stream[:-2] + stream[-130:-30].strip(b"\xff\0") + END)


@pytest.mark.reliability
def test_a_flat_picture_that_was_cut_off_is_noticed() -> None:
    """What decoders fill in looks as the rest does: only the number of its codes is wrong."""
    for stream in (lossless(picture(kind="flat")), lossy(picture(kind="flat"))):
        scan = stream.index(b"\xff\xda") + 10
        assert doubted(stream[: scan + (len(stream) - scan) // 2] + END)


def test_grey_is_decoded_and_checked_at_once() -> None:
    for kind in ("noise", "flat end", "flat"):
        stream = lossy(picture(kind=kind))
        whole = decode_if_whole(stream)
        assert whole is not None
        np.testing.assert_array_equal(whole, imagecodecs.jpeg8_decode(stream))
    stream = lossy(picture())
    for damaged in (cut(stream, 0.7), without(stream, 100), stream[:-2] + b"\1" * 9 + END, b"", stream[:-2]):
        assert decode_if_whole(damaged) is None
    for other in (lossy(picture(samples=3)), lossy(picture(bits=12), bitspersample=12), lossless(picture())):
        assert decode_if_whole(other) is None


@pytest.mark.parametrize("options", [{"progressive": True}, {"restart_marker_rows": 1}, {}])
def test_healthy_streams_of_another_encoder(options: dict[str, Any]) -> None:
    """Progressive ones are not looked into; restart markers hide no health."""
    file = io.BytesIO()
    PIL.Image.fromarray(picture()).save(file, "JPEG", **options)
    assert not doubted(file.getvalue())
    assert (decode_if_whole(file.getvalue()) is None) == ("progressive" in options)


def test_a_lossless_stream_with_restart_markers_is_not_looked_into() -> None:
    """Predictions begin anew after each, which the check does not follow."""
    stream, pixels = lossless(picture()), picture()
    interval = b"\xff\xdd\0\4\0\1"
    assert ends_elsewhere(stream, pixels[::-1])
    assert not ends_elsewhere(stream[:2] + interval + stream[2:], pixels[::-1])


def test_a_stream_of_several_scans_is_not_looked_into() -> None:
    stream, pixels = lossless(picture(samples=3)), picture(samples=3)
    assert ends_elsewhere(stream, pixels[::-1])
    scan = stream.index(b"\xff\xda\0\x0c\3")
    several = stream[:scan] + b"\xff\xda\0\x08\1" + stream[scan + 5 : scan + 7] + stream[scan + 11 :]
    assert not ends_elsewhere(several, pixels[::-1])


@pytest.mark.reliability
def test_bytes_left_over_are_no_padding() -> None:
    stream = lossless(picture())
    assert not ends_elsewhere(stream[:-2] + b"\0" + END, picture())
    assert ends_elsewhere(stream[:-2] + b"\x12\x34" + END, picture())


@pytest.mark.reliability
@pytest.mark.parametrize(("error", "is_doubtful"), [(ValueError, True), (ImportError, False)])
def test_a_check_that_fails_is_a_doubt_and_one_that_is_not_there_none(
    error: type[Exception], is_doubtful: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise error

    monkeypatch.setattr(codecs, "decode_if_whole", failing)
    monkeypatch.setattr(codecs, "ends_elsewhere", failing)
    spec = codecs.FrameSpec(codecs.JPEG_BASELINE, 61, 83, 1, 8, 8, False, "MONOCHROME2", 0)
    decoded = codecs.decode_with_codecs(lossy(picture()), spec)
    assert decoded.is_doubtful is is_doubtful
    np.testing.assert_array_equal(decoded.pixels, imagecodecs.jpeg8_decode(lossy(picture())))
