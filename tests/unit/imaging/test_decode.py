"""Frames are read whole, right and one by one; what is missing is said."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import imagecodecs
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels import get_encoder
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless

from medviewer.domain.errors import DecodeError, InputError, TruncatedError, UnsupportedError
from medviewer.domain.frame import Frame
from medviewer.domain.study import Image, Window
from medviewer.imaging import code_stream, decode, layout
from medviewer.imaging.codecs import (
    CODECS,
    HTJ2K_LOSSLESS,
    JPEG_2000,
    JPEG_2000_LOSSLESS,
    JPEG_BASELINE,
    JPEG_EXTENDED,
    JPEG_LOSSLESS,
    JPEG_LS,
    JPEG_LS_NEAR,
    FrameSpec,
    _own_rle,
)
from medviewer.imaging.description import describe_images
from medviewer.imaging.display import to_display
from medviewer.imaging.header import inflated, read_header
from medviewer.imaging.scan import images_of, scan
from medviewer.imaging.source import ByteSource
from tests.dicom_maker import make_dataset, write_compressed, write_dataset

STATUS = ("st_dev", "st_ino", "st_ctime_ns", "st_mtime_ns", "st_size")
RNG = np.random.default_rng(5)


@pytest.fixture(scope="module", autouse=True)
def workers() -> Iterator[None]:
    yield
    decode.shutdown()


def images(path: Path) -> tuple[Image, ...]:
    return describe_images(read_header(path), path)


def read(path: Path, frame: int = 0) -> Frame:
    return decode.read_frame(images(path)[frame])


def rle(pixels: np.ndarray) -> bytes:
    return next(iter([get_encoder(RLELossless).encode(
        pixels, rows=pixels.shape[0], columns=pixels.shape[1], samples_per_pixel=1, bits_allocated=16, bits_stored=16,
        pixel_representation=0, photometric_interpretation="MONOCHROME2", number_of_frames=1,
    )]))  # fmt: skip


def ljpeg(pixels: np.ndarray, *, bits: int = 16) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=1, bitspersample=bits))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int32])
@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", DeflatedExplicitVRLittleEndian])
def test_uncompressed_frames_one_by_one(dtype: Any, syntax: str, tmp_path: Path) -> None:
    limits = np.iinfo(dtype)
    pixels = RNG.integers(limits.min, limits.max, (3, 5, 7), dtype=dtype, endpoint=True)
    dataset = make_dataset(pixels.reshape(15, 7), Rows=5, NumberOfFrames=3)
    dataset.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    path = write_dataset(tmp_path / "x.dcm", dataset, syntax)
    for index in (2, 0, 1):
        frame = read(path, index)
        np.testing.assert_array_equal(frame.stored, pixels[index])
        assert frame.stored.dtype == dtype
        assert frame.caveats == ()
        assert not frame.stored.flags.writeable


def test_big_endian_words(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 65536, (5, 7), dtype=np.uint16)
    dataset = make_dataset(pixels)
    dataset.PixelData = pixels.astype(">u2").tobytes()
    np.testing.assert_array_equal(read(write_dataset(tmp_path / "x.dcm", dataset, ExplicitVRBigEndian)).stored, pixels)


def test_big_endian_bytes_in_words_of_odd_frames(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (3, 3, 3), dtype=np.uint8)  # frames of nine bytes: words straddle them
    dataset = make_dataset(pixels.reshape(9, 3), Rows=3, NumberOfFrames=3)
    flat = np.append(pixels.ravel(), np.uint8(0))
    dataset.PixelData = flat.view("<u2").astype(">u2").tobytes()
    path = write_dataset(tmp_path / "x.dcm", dataset, ExplicitVRBigEndian)
    for index in range(3):
        np.testing.assert_array_equal(read(path, index).stored, pixels[index])


def test_single_bits_of_frames_that_share_bytes(tmp_path: Path) -> None:
    bits = RNG.integers(0, 2, (3, 5, 3), dtype=np.uint8)
    dataset = make_dataset(bits.reshape(15, 3), Rows=5, NumberOfFrames=3, BitsAllocated=1, BitsStored=1, HighBit=0)
    dataset.PixelData = np.packbits(bits.ravel(), bitorder="little").tobytes()
    path = write_dataset(tmp_path / "x.dcm", dataset)
    for index in range(3):
        np.testing.assert_array_equal(read(path, index).stored, bits[index])


def test_unused_bits_are_removed_and_signs_extended(tmp_path: Path) -> None:
    values = np.array([[-5, 4, -2048, 2047]], np.int16)
    dirty = ((values.astype(np.uint16) & 0x0FFF) | 0xA000).view(np.uint16)  # an old overlay in the upper bits
    path = write_dataset(tmp_path / "x.dcm", make_dataset(dirty, BitsStored=12, HighBit=11, PixelRepresentation=1))
    np.testing.assert_array_equal(read(path).stored, values)
    unsigned = write_dataset(tmp_path / "y.dcm", make_dataset(dirty, BitsStored=12, HighBit=11))
    np.testing.assert_array_equal(read(unsigned).stored, values.view(np.uint16) & 0x0FFF)


@pytest.mark.parametrize("planar", [0, 1])
def test_colour_by_pixel_and_by_plane(planar: int, tmp_path: Path) -> None:
    rgb = RNG.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    dataset = make_dataset(rgb, PlanarConfiguration=planar)
    dataset.PixelData = (rgb.transpose(2, 0, 1) if planar else rgb).tobytes()
    np.testing.assert_array_equal(read(write_dataset(tmp_path / "x.dcm", dataset)).stored, rgb)


def test_colour_of_twelve_bits_fills_its_range(tmp_path: Path) -> None:
    rgb = np.array([[[0, 4095, 2048]]], np.uint16)
    path = write_dataset(tmp_path / "x.dcm", make_dataset(rgb, BitsStored=12, HighBit=11))
    assert read(path).stored.tolist() == [[[0, 65535, 2048 * 65535 // 4095]]]


def test_an_unknown_colour_space_is_named(tmp_path: Path) -> None:
    dataset = make_dataset(np.zeros((4, 4, 3), np.uint8), PhotometricInterpretation="CMYK")
    with pytest.raises(UnsupportedError, match="CMYK"):
        read(write_dataset(tmp_path / "x.dcm", dataset))


@pytest.mark.reliability
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_missing_rows_are_the_darkest_and_said(photometric: str, tmp_path: Path) -> None:
    pixels = RNG.integers(100, 4000, (10, 8), dtype=np.uint16)
    whole = write_dataset(tmp_path / "x.dcm", make_dataset(pixels, PhotometricInterpretation=photometric)).read_bytes()
    cut = tmp_path / "cut.dcm"
    cut.write_bytes(whole[: -8 * 2 * 4 - 3])  # four rows and a bit
    frame = read(cut)
    assert [caveat.code for caveat in frame.caveats] == ["truncated", "truncated.rows"]
    assert "5 of 10 rows" in frame.caveats[1].text
    assert (frame.missing_rows, read(tmp_path / "x.dcm").missing_rows) == (5, 0)
    np.testing.assert_array_equal(frame.stored[:5], pixels[:5])
    assert "drawn in the darkest shade of the rest" in frame.caveats[1].text
    assert to_display(frame)[5:].max() == 0
    for window in (Window(0, 9000), Window(2000, 500)):  # also where that is no black
        assert set(np.unique(to_display(frame, window)[5:])) == {to_display(frame, window)[:5].min()}
    cut.write_bytes(whole[:-155])  # not one whole row
    with pytest.raises(TruncatedError):
        read(cut)


@pytest.mark.reliability
@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL", "YBR_FULL_422", "PALETTE COLOR"])
def test_missing_rows_of_a_colour_image_are_black(photometric: str, tmp_path: Path) -> None:
    """Not green, as zeros of YBR would be, and not the first colour of the palette."""
    dataset = make_dataset(RNG.integers(1, 256, (10, 8, 3), dtype=np.uint8), PhotometricInterpretation=photometric)
    width = 8 * 3
    if photometric == "YBR_FULL_422":
        width = 8 * 2
    elif photometric == "PALETTE COLOR":
        width = 8
        dataset.SamplesPerPixel = 1
        del dataset.PlanarConfiguration
        for color in ("Red", "Green", "Blue"):
            setattr(dataset, f"{color}PaletteColorLookupTableDescriptor", [256, 0, 8])
            setattr(dataset, f"{color}PaletteColorLookupTableData", bytes([200] * 256))
    dataset.PixelData = dataset.PixelData[: width * 6]  # six of ten rows
    frame = read(write_dataset(tmp_path / "x.dcm", dataset))
    assert [caveat.code for caveat in frame.caveats] == ["truncated", "truncated.rows"]
    assert frame.stored.shape == (10, 8, 3)
    assert frame.stored[6:].max() == 0
    assert frame.missing_rows == 4
    assert frame.stored[:6].max(axis=(1, 2)).min() > 0


@pytest.mark.reliability
def test_frames_beyond_the_end_of_the_file_are_refused(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 4000, (12, 8), dtype=np.uint16)
    path = write_dataset(tmp_path / "x.dcm", make_dataset(pixels, Rows=4, NumberOfFrames=3))
    path.write_bytes(path.read_bytes()[: -4 * 8 * 2])
    np.testing.assert_array_equal(read(path, 1).stored, pixels[4:8])
    with pytest.raises(TruncatedError):
        read(path, 2)


def test_a_file_that_changed_or_went_is_named(tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "x.dcm", make_dataset())
    (image,) = images(path)
    write_dataset(path, make_dataset(np.zeros((4, 4), np.uint16)))
    with pytest.raises(InputError, match="has changed"):
        decode.read_frame(image)
    path.unlink()
    with pytest.raises(InputError, match="does not exist"):
        decode.read_frame(image)


def test_an_unsupported_syntax_is_named(tmp_path: Path) -> None:
    path = write_compressed(tmp_path / "x.dcm", b"\0" * 16, "1.2.840.10008.1.2.4.100", make_dataset())
    with pytest.raises(UnsupportedError, match=r"1\.2\.840\.10008\.1\.2\.4\.100 \(MPEG2"):
        read(path)


LOSSLESS = {
    JPEG_LS: imagecodecs.jpegls_encode,
    JPEG_2000_LOSSLESS: lambda pixels: imagecodecs.jpeg2k_encode(pixels, reversible=True, level=0, codecformat="J2K"),
    HTJ2K_LOSSLESS: lambda pixels: imagecodecs.htj2k_encode(pixels, reversible=True),
}


@pytest.mark.reliability
@pytest.mark.parametrize("syntax", sorted(LOSSLESS))
def test_lossless_syntaxes_give_back_every_value(syntax: str, tmp_path: Path) -> None:
    pixels = RNG.integers(0, 65536, (33, 47), dtype=np.uint16)
    stream = bytes(LOSSLESS[syntax](pixels))
    frame = read(write_compressed(tmp_path / "x.dcm", stream, syntax, make_dataset(pixels)))
    np.testing.assert_array_equal(frame.stored, pixels)
    assert frame.caveats == ()


@pytest.mark.parametrize("has_table", [False, True])
def test_frames_of_several_fragments_are_told_apart(has_table: bool, tmp_path: Path) -> None:
    frames = RNG.integers(0, 65536, (3, 16, 16), dtype=np.uint16)
    streams = [bytes(imagecodecs.jpegls_encode(frame)) for frame in frames]
    dataset = make_dataset(frames.reshape(48, 16), Rows=16, NumberOfFrames=3)
    dataset.PixelData = encapsulate(streams, fragments_per_frame=2, has_bot=has_table)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    path = write_dataset(tmp_path / "x.dcm", dataset, JPEG_LS)
    for index in (1, 2, 0):
        np.testing.assert_array_equal(read(path, index).stored, frames[index])


def test_the_extended_offset_table_is_used(tmp_path: Path) -> None:
    frames = RNG.integers(0, 65536, (3, 16, 16), dtype=np.uint16)
    dataset = make_dataset(frames.reshape(48, 16), Rows=16, NumberOfFrames=3)
    encoded, offsets, lengths = encapsulate_extended([rle(frame) for frame in frames])
    dataset.PixelData, dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = encoded, offsets, lengths
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    path = write_dataset(tmp_path / "x.dcm", dataset, RLELossless)
    for index in (2, 0, 1):
        np.testing.assert_array_equal(read(path, index).stored, frames[index])


@pytest.mark.reliability
def test_compressed_data_cut_anywhere_are_never_shown_as_complete(tmp_path: Path) -> None:
    pixels = np.add.outer(np.arange(64, dtype=np.uint16), np.arange(64, dtype=np.uint16))
    stream = bytes(imagecodecs.jpeg2k_encode(pixels, reversible=True, level=0, codecformat="J2K"))
    whole = write_compressed(tmp_path / "x.dcm", stream, JPEG_2000_LOSSLESS, make_dataset(pixels))
    start = whole.read_bytes().index(stream)
    for part in range(1, 20):
        cut_file = tmp_path / f"cut{part}.dcm"
        cut_file.write_bytes(whole.read_bytes()[: start + len(stream) * part // 20])
        with pytest.raises(TruncatedError):
            read(cut_file)
        short = write_compressed(
            tmp_path / f"short{part}.dcm", stream[: len(stream) * part // 20], JPEG_2000_LOSSLESS, make_dataset(pixels)
        )
        try:
            frame = read(short)
        except DecodeError:
            continue
        assert "truncated" in [caveat.code for caveat in frame.caveats]


@pytest.mark.reliability
def test_a_jpeg_without_its_end_is_said_to_be_incomplete(tmp_path: Path) -> None:
    """libjpeg fills what is missing with grey and is content; the reader must not be."""
    pixels = RNG.integers(0, 256, (64, 64), dtype=np.uint8)
    stream = bytes(imagecodecs.jpeg8_encode(pixels, level=90))
    frame = read(write_compressed(tmp_path / "x.dcm", stream[:-2], JPEG_BASELINE, make_dataset(pixels)))
    assert "truncated" in [caveat.code for caveat in frame.caveats]
    whole = read(write_compressed(tmp_path / "y.dcm", stream, JPEG_BASELINE, make_dataset(pixels)))
    assert whole.caveats == ()


def jpeg(pixels: np.ndarray) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(pixels, level=90))


@pytest.mark.reliability
@pytest.mark.parametrize(
    ("syntax", "encode", "dtype"),
    [
        (JPEG_BASELINE, jpeg, np.uint8),
        (JPEG_EXTENDED, lambda pixels: bytes(imagecodecs.jpeg8_encode(pixels >> 4, bitspersample=12)), np.uint16),
        (JPEG_LOSSLESS, ljpeg, np.uint16),
    ],
)
def test_a_jpeg_damaged_inside_is_said_to_be(syntax: str, encode: Any, dtype: Any, tmp_path: Path) -> None:
    """Its end mark is there, and its decoder content."""
    pixels = np.random.default_rng(8).integers(0, np.iinfo(dtype).max, (64, 64), dtype=dtype)
    stream = encode(pixels)
    whole = read(write_compressed(tmp_path / "x.dcm", stream, syntax, make_dataset(pixels)))
    assert whole.caveats == ()
    half = stream[: len(stream) // 2].rstrip(b"\xff") + b"\xff\xd9"
    frame = read(write_compressed(tmp_path / "y.dcm", half, syntax, make_dataset(pixels)))
    assert [caveat.code for caveat in frame.caveats] == ["truncated.inside"]
    frame = read(write_compressed(tmp_path / "z.dcm", half[:-2], syntax, make_dataset(pixels)))
    assert [caveat.code for caveat in frame.caveats] == ["truncated"]  # once is enough


def test_header_and_code_stream_that_disagree_on_the_sign_are_said(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 65536, (16, 16), dtype=np.uint16)
    stream = bytes(imagecodecs.jpeg2k_encode(pixels, reversible=True, level=0, codecformat="J2K"))
    dataset = make_dataset(pixels, PixelRepresentation=1)
    frame = read(write_compressed(tmp_path / "x.dcm", stream, JPEG_2000_LOSSLESS, dataset))
    assert [caveat.code for caveat in frame.caveats] == ["jpeg2000.sign"]
    np.testing.assert_array_equal(frame.stored, pixels)


def test_a_code_stream_of_another_size_is_refused(tmp_path: Path) -> None:
    stream = bytes(imagecodecs.jpegls_encode(np.zeros((8, 9), np.uint16)))
    with pytest.raises(DecodeError, match="9 x 8 with 1 samples, not 8 x 8"):
        read(write_compressed(tmp_path / "x.dcm", stream, JPEG_LS, make_dataset(np.zeros((8, 8), np.uint16))))


def test_baseline_colour_follows_the_header(tmp_path: Path) -> None:
    """The same code stream, once declared YBR_FULL_422 and once RGB: only the first is converted."""
    rgb = np.zeros((16, 16, 3), np.uint8)
    rgb[..., 0] = 200
    stream = bytes(imagecodecs.jpeg8_encode(rgb, level=98, colorspace="rgb", outcolorspace="ycbcr", subsampling="444"))
    declared = make_dataset(rgb, PhotometricInterpretation="YBR_FULL_422")
    converted = read(write_compressed(tmp_path / "x.dcm", stream, JPEG_BASELINE, declared)).stored
    assert np.abs(converted.astype(int) - rgb).max() <= 3
    raw = read(write_compressed(tmp_path / "y.dcm", stream, JPEG_BASELINE, make_dataset(rgb))).stored
    assert abs(int(raw[8, 8, 0]) - 60) <= 3  # luminance of that red


def test_every_syntax_of_the_table_has_a_decoder_that_says_its_name() -> None:
    assert len(CODECS) == 14
    for row in CODECS.values():
        assert len({codec.name for codec in row}) == len(row) >= 1


def test_own_rle_equals_the_fast_one(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 65536, (20, 30), dtype=np.uint16)
    pixels[5:10] = 7
    spec = FrameSpec(RLELossless, 20, 30, 1, 16, 16, False, "MONOCHROME2", 0)
    np.testing.assert_array_equal(_own_rle(rle(pixels), spec), pixels)
    with pytest.raises(ValueError, match="segments"):
        _own_rle(struct.pack("<16I", 1, *[64] * 15), spec)


def test_another_object_at_the_same_path_is_never_shown_as_this_one(tmp_path: Path) -> None:
    """A stick or disc was exchanged: same path, same size, somebody else's image."""
    path = write_dataset(tmp_path / "IMG1", make_dataset(PatientName="First^Person"))
    image = images(path)[0]
    decode.read_frame(image)
    write_dataset(path, make_dataset(PatientName="Other^Person"))
    with pytest.raises(InputError, match="open it again"):
        decode.read_frame(image)


@pytest.mark.reliability
@pytest.mark.parametrize(
    "change",
    [
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"RescaleSlope": "2", "RescaleIntercept": "-1000"},
        {"PatientName": "Other^Person"},
        {"PatientID": "2"},
        {"StudyInstanceUID": "2.25.99"},
    ],
)
def test_a_file_that_was_written_over_under_its_uid_is_not_read_as_what_it_was(
    change: dict[str, str], tmp_path: Path
) -> None:
    """Its pixels would be shown and analysed by a header that is not theirs any more."""
    first = {"SOPInstanceUID": "2.25.10", "PatientName": "First^Person"}
    path = write_dataset(tmp_path / "IMG1", make_dataset(**first))
    image = images(path)[0]
    decode.read_frame(image)
    write_dataset(path, make_dataset(**(first | change)))
    with pytest.raises(InputError, match="open it again"):
        decode.read_frame(image)
    write_dataset(path, make_dataset(**first))
    decode.read_frame(image)


def exchanged(path: Path, other: Path) -> None:
    """Another file at the path, with the times that a copy to a stick may well have."""
    before = path.stat()
    other.replace(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.reliability
@pytest.mark.parametrize("is_stick", [False, True])
def test_another_object_of_the_same_size_and_time_is_never_shown_as_this_one(
    is_stick: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the system keeps nothing that tells them apart, as on sticks and on Windows."""
    if is_stick:
        monkeypatch.setattr(layout, "_status", lambda _: SimpleNamespace(**dict.fromkeys(STATUS, 1)))
    path = write_dataset(tmp_path / "IMG1", make_dataset(SOPInstanceUID="2.25.10", PatientName="First^Person"))
    image = images(path)[0]
    decode.read_frame(image)
    other = make_dataset(SOPInstanceUID="2.25.11", PatientName="Other^Person")
    size = path.stat().st_size
    exchanged(path, write_dataset(tmp_path / "other", other))
    assert path.stat().st_size == size
    with pytest.raises(InputError, match="open it again"):
        decode.read_frame(image)


@pytest.mark.reliability
@pytest.mark.parametrize("what_tells", STATUS)
def test_an_object_that_was_written_anew_is_read_anew(
    what_tells: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its frames lie elsewhere now, while its first bytes are what they were."""
    status = SimpleNamespace(**dict.fromkeys(STATUS, 1))
    monkeypatch.setattr(layout, "_status", lambda _: status)
    short, long = np.zeros((16, 16), np.uint16), RNG.integers(0, 65536, (16, 16), dtype=np.uint16)
    comment = "c" * 8192  # so that nothing differs in the first bytes

    def written(name: str, frames: list[np.ndarray]) -> Path:
        dataset = make_dataset(np.concatenate(frames), Rows=16, NumberOfFrames=2)
        dataset.SOPInstanceUID, dataset.ImageComments = "2.25.12", comment
        dataset.PixelData = encapsulate([rle(frame) for frame in frames])
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
        return write_dataset(tmp_path / name, dataset, RLELossless)

    path = written("x.dcm", [short, long])
    image = images(path)[1]
    np.testing.assert_array_equal(decode.read_frame(image).stored, long)
    exchanged(path, written("y.dcm", [long, short]))
    setattr(status, what_tells, 2)
    np.testing.assert_array_equal(decode.read_frame(image).stored, short)


def deflated(path: Path, pixels: np.ndarray, uid: str = "2.25.13") -> Path:
    count, rows, columns = pixels.shape
    dataset = make_dataset(pixels.reshape(count * rows, columns), Rows=rows, NumberOfFrames=count, SOPInstanceUID=uid)
    return write_dataset(path, dataset, DeflatedExplicitVRLittleEndian)


def test_a_deflated_file_is_inflated_once_for_all_its_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents: list[int] = []

    def counted(source: ByteSource) -> bytes:
        content = inflated(source)
        contents.append(len(content))
        return content

    monkeypatch.setattr(layout, "inflated", counted)
    pixels = RNG.integers(0, 65536, (3, 5, 7), dtype=np.uint16)
    path = deflated(tmp_path / "x.dcm", pixels)
    for _ in range(2):
        for index in range(3):
            np.testing.assert_array_equal(read(path, index).stored, pixels[index])
    assert len(contents) == 1
    read(deflated(tmp_path / "y.dcm", pixels), 0)
    read(path, 0)
    assert len(contents) == 3  # one file is kept, not two
    decode.shutdown()
    assert layout._kept is None


@pytest.mark.reliability
def test_what_was_inflated_is_never_another_files_content(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 65536, (2, 64, 64), dtype=np.uint16)  # noise: deflate cannot shorten it
    path = deflated(tmp_path / "x.dcm", pixels)
    image = images(path)[1]
    np.testing.assert_array_equal(decode.read_frame(image).stored, pixels[1])
    exchanged(path, deflated(tmp_path / "y.dcm", pixels[::-1].copy()))
    np.testing.assert_array_equal(decode.read_frame(image).stored, pixels[0])
    exchanged(path, deflated(tmp_path / "z.dcm", pixels, uid="2.25.14"))
    with pytest.raises(InputError, match="open it again"):
        decode.read_frame(image)


@pytest.mark.reliability
@pytest.mark.parametrize(
    ("syntax", "encode"),
    [(RLELossless, rle), (JPEG_LS, LOSSLESS[JPEG_LS]), (JPEG_LS_NEAR, LOSSLESS[JPEG_LS]), (JPEG_LOSSLESS, ljpeg)],
)
@pytest.mark.parametrize("is_signed", [False, True])
@pytest.mark.parametrize("high_bit", [11, 13, 15])
def test_unused_bits_of_lossless_streams_are_removed_as_of_uncompressed_ones(
    syntax: str, encode: Any, is_signed: bool, high_bit: int, tmp_path: Path
) -> None:
    values = RNG.integers(-2048, 2048, (16, 16), dtype=np.int16) if is_signed else RNG.integers(
        0, 4096, (16, 16), dtype=np.uint16)  # fmt: skip
    shift = high_bit - 11
    cell = (values.view(np.uint16) & 0x0FFF) << shift
    cell |= RNG.integers(0, 65536, (16, 16), dtype=np.uint16) & np.uint16(0xFFFF ^ (0x0FFF << shift))  # overlays
    attributes = {"BitsStored": 12, "HighBit": high_bit, "PixelRepresentation": int(is_signed)}
    path = write_compressed(tmp_path / "x.dcm", bytes(encode(cell)), syntax, make_dataset(cell, **attributes))
    np.testing.assert_array_equal(read(path).stored, values)
    native = read(write_dataset(tmp_path / "y.dcm", make_dataset(cell, **attributes)))
    np.testing.assert_array_equal(native.stored, values)


@pytest.mark.parametrize("bits", [12, 14])
def test_a_stream_too_narrow_for_the_high_bit_keeps_its_values_where_they_are(bits: int, tmp_path: Path) -> None:
    values = RNG.integers(0, 4096, (16, 16), dtype=np.uint16)
    stream = ljpeg(values, bits=bits)
    assert code_stream.jpeg_precision(stream) == bits
    for high_bit in (11, 15):
        dataset = make_dataset(values, BitsStored=12, HighBit=high_bit)
        frame = read(write_compressed(tmp_path / f"{high_bit}.dcm", stream, JPEG_LOSSLESS, dataset))
        np.testing.assert_array_equal(frame.stored, values)


def test_values_that_were_changed_keep_all_their_bits(tmp_path: Path) -> None:
    """Near the top of the stored bits an error of a few would turn white into black."""
    values = np.full((16, 16), 4095, np.uint16)
    values[::2] = 4080
    stream = bytes(imagecodecs.jpegls_encode(np.append(values, np.full((1, 16), 65535, np.uint16), 0), level=9))
    rows = np.append(values, np.full((1, 16), 4095, np.uint16), 0)
    dataset = make_dataset(rows, BitsStored=12, HighBit=11)
    frame = read(write_compressed(tmp_path / "x.dcm", stream, JPEG_LS_NEAR, dataset))
    assert np.abs(frame.stored[:16].astype(int) - values).max() <= 9


def test_a_header_that_was_scanned_is_not_read_again_for_the_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the time of loading a series."""
    pixels = np.arange(64, dtype=np.uint16).reshape(8, 8)
    path = write_dataset(tmp_path / "a.dcm", make_dataset(pixels))
    (image,) = images_of(scan([tmp_path]))
    with monkeypatch.context() as patch:
        patch.setattr(layout, "parse_header", lambda _source: pytest.fail("the header was read again"))
        np.testing.assert_array_equal(decode.read_frame(image).stored, pixels)
    layout.forget()
    np.testing.assert_array_equal(decode.read_frame(image).stored, pixels)
    assert path.is_file()


def test_another_content_is_not_read_with_the_scanned_header(tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "a.dcm", make_dataset(np.zeros((8, 8), np.uint16), SOPInstanceUID="2.25.1"))
    (image,) = images_of(scan([tmp_path]))
    status = path.stat()
    write_dataset(path, make_dataset(np.ones((8, 8), np.uint16), SOPInstanceUID="2.25.2"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(InputError, match="has changed"):
        decode.read_frame(image)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"PhotometricInterpretation": None}, "photometric.guessed"),
        ({"PixelRepresentation": None}, "sign.guessed"),
        ({"PixelRepresentation": 7}, "sign.guessed"),
    ],
)
def test_what_the_header_does_not_say_of_its_values_is_said(changes: dict[str, Any], code: str, tmp_path: Path) -> None:
    """The values would be others: inverted, or 65,536 too high where they are negative."""
    path = write_dataset(tmp_path / "a.dcm", make_dataset(**changes))
    (image,) = images_of(scan([path]))
    frame = decode.read_frame(image)
    assert [caveat.code for caveat in frame.caveats] == [code]
    assert frame.stored.min() >= 0


def with_drawing(cell: np.ndarray, *, bit: int, **attributes: Any) -> Dataset:
    """An image of 12 stored bits whose file says that a plane lies in a bit of its pixels."""
    dataset = make_dataset(cell, **{"BitsStored": 12, "HighBit": 11, **attributes})
    for element, value in {
        0x10: ("US", 16), 0x11: ("US", 16), 0x40: ("CS", "G"), 0x50: ("SS", [1, 1]), 0x100: ("US", 16),
        0x102: ("US", bit),
    }.items():  # fmt: skip
        dataset.add_new((0x6000, element), *value)
    return dataset


WORDS = [
    (RLELossless, rle), (JPEG_LS, LOSSLESS[JPEG_LS]), (JPEG_LS_NEAR, LOSSLESS[JPEG_LS]), (JPEG_LOSSLESS, ljpeg),
    (JPEG_2000_LOSSLESS, LOSSLESS[JPEG_2000_LOSSLESS]), (HTJ2K_LOSSLESS, LOSSLESS[HTJ2K_LOSSLESS]),
]  # fmt: skip


@pytest.mark.reliability
@pytest.mark.parametrize(("syntax", "encode"), WORDS)
@pytest.mark.parametrize("is_signed", [False, True])
def test_a_drawing_in_unused_bits_is_shown_of_compressed_words_too(
    syntax: str, encode: Any, is_signed: bool, tmp_path: Path
) -> None:
    low, dtype = (-2048, np.int16) if is_signed else (0, np.uint16)
    values, mask = RNG.integers(low, low + 4096, (16, 16)).astype(dtype), RNG.random((16, 16)) < 0.4
    cell = (values.view(np.uint16) & 0x0FFF) | mask.astype(np.uint16) << 14
    dataset = with_drawing(cell, bit=14, PixelRepresentation=int(is_signed))
    frame = read(write_compressed(tmp_path / "x.dcm", bytes(encode(cell)), syntax, dataset))
    assert frame.caveats == ()
    np.testing.assert_array_equal(frame.overlays[0].mask, mask)
    np.testing.assert_array_equal(frame.stored, values)
    native = read(write_dataset(tmp_path / "y.dcm", with_drawing(cell, bit=14, PixelRepresentation=int(is_signed))))
    np.testing.assert_array_equal(native.overlays[0].mask, mask)


def test_a_stream_of_fewer_bits_than_the_drawings_has_nothing_but_values(tmp_path: Path) -> None:
    values = RNG.integers(0, 1 << 14, (16, 16), dtype=np.uint16)
    stream = bytes(imagecodecs.jpeg2k_encode(values, level=0, reversible=True, bitspersample=14, codecformat="J2K"))
    assert code_stream.jpeg_2000_precision(stream) == (14, False)
    frame = read(write_compressed(tmp_path / "x.dcm", stream, JPEG_2000_LOSSLESS, with_drawing(values, bit=14)))
    np.testing.assert_array_equal(frame.stored, values)


def near_jpeg_ls(pixels: np.ndarray) -> bytes:
    return bytes(imagecodecs.jpegls_encode(pixels, level=2))


@pytest.mark.reliability
@pytest.mark.parametrize(
    ("syntax", "encode"),
    [
        (JPEG_LS_NEAR, near_jpeg_ls),
        (JPEG_2000, LOSSLESS[JPEG_2000_LOSSLESS]),
        (JPEG_LOSSLESS, partial(ljpeg, bits=12)),
        (JPEG_LOSSLESS, partial(ljpeg, bits=14)),
        (JPEG_2000_LOSSLESS, partial(imagecodecs.jpeg2k_encode, level=0, reversible=True, bitspersample=14)),
    ],
)
def test_a_drawing_that_compression_has_not_kept_is_said_to_be_missing(
    syntax: str, encode: Any, tmp_path: Path
) -> None:
    values = RNG.integers(0, 4096, (16, 16), dtype=np.uint16)
    stream = bytes(encode(values))
    frame = read(write_compressed(tmp_path / "x.dcm", stream, syntax, with_drawing(values, bit=14)))
    assert [caveat.code for caveat in frame.caveats] == ["overlay.hidden"]
    assert frame.overlays == ()
    np.testing.assert_allclose(frame.stored, values, atol=2)
    none = with_drawing(values, bit=3)  # a bit of the pixels: no drawing, so none is missing
    assert read(write_compressed(tmp_path / "y.dcm", stream, syntax, none)).caveats == ()


def test_headers_with_much_in_them_are_not_kept_for_the_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_dataset(tmp_path / "a.dcm", make_dataset())
    layout.forget()
    layout.scan_header(path)
    assert len(layout._headers) == 1
    layout.forget()
    monkeypatch.setattr(layout, "_MAX_HEADER_BYTES", 100)
    layout.scan_header(path)
    assert not layout._headers
