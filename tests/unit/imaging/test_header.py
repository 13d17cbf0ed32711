"""A file's header is read right, and no file's header can make the reader crash, hang or grow."""

from __future__ import annotations

import logging
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pydicom.data
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
)

from medviewer.domain.errors import (
    InputError,
    MedViewerError,
    NoPixelsError,
    NotDicomError,
    TooLargeError,
    TruncatedError,
    UnsupportedError,
)
from medviewer.imaging import dataset as dataset_module
from medviewer.imaging import source as source_module
from medviewer.imaging import tags
from medviewer.imaging.description import describe_images
from medviewer.imaging.header import parse_header, read_header, uid_name
from medviewer.imaging.pixel_format import MAX_FRAMES, read_pixel_format
from medviewer.imaging.source import ByteSource
from tests.dicom_maker import make_dataset, write_dataset

OWN = Path(pydicom.data.__file__).parent / "test_files"
# Values that pydicom normalises on its own: a trailing blank it keeps, a number it cannot read.
TEXT_VRS = {"UI", "CS", "DA", "TM", "DT", "SH", "LO", "PN", "AS"}


def pydicom_value(element: pydicom.DataElement, representation: str) -> tuple[object, ...] | None:
    if element.value is None or element.value == "":
        return None
    values = list(element.value) if element.VM > 1 else [element.value]
    if representation in TEXT_VRS:
        return tuple(str(value).strip() for value in values)
    if any(str(value) == "" for value in values):
        return None
    return tuple(float(value) for value in values)


def test_values_equal_pydicoms_in_all_its_test_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("pydicom"), "level", logging.CRITICAL + 1)
    compared = 0
    for path in sorted(OWN.glob("*.dcm")):
        try:
            ours = read_header(path).dataset
        except InputError:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = pydicom.dcmread(path, force=True, stop_before_pixels=True)
            for tag, representation in tags.VALUE_REPRESENTATIONS.items():
                if tag >> 16 == 2 or tag >= 0x7FE00000 or representation in ("SQ", "OW") or tag not in theirs:
                    continue
                try:
                    expected = pydicom_value(theirs[tag], representation)
                except ValueError:
                    continue  # badVR.dcm: a number that is none
                if expected is None:
                    continue
                is_text = representation in TEXT_VRS
                found = ours.texts(tag) if is_text else tuple(float(value) for value in ours.numbers(tag))
                assert found == expected, (path.name, hex(tag))
                compared += 1
    assert compared > 1500


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_every_encoding_gives_the_same_header(tmp_path: Path, syntax: str) -> None:
    dataset = make_dataset(WindowCenter=[40, 400], WindowWidth=["80", "2000"], InstanceNumber=7)
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = np.arange(64, dtype=">u2").tobytes()
    header = read_header(write_dataset(tmp_path / "x.dcm", dataset, syntax))
    assert header.transfer_syntax_uid == syntax
    assert header.dataset.integer(tags.ROWS) == 8
    assert header.dataset.numbers(tags.WINDOW_CENTER) == (40.0, 400.0)
    assert header.pixels is not None
    assert header.pixels.length == 128


def test_a_file_without_preamble_and_meta_information_is_read(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "x.dcm", make_dataset(), ImplicitVRLittleEndian).read_bytes()
    start = data.index(b"\x08\x00\x16\x00")
    header = parse_header(ByteSource.of_bytes(data[start:]))
    assert header.transfer_syntax_uid == ImplicitVRLittleEndian
    assert header.dataset.text(tags.PATIENT_ID) == "T1"


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"\x89PNG\r\n\x1a\n" + b"0" * 300, "PNG"),
        (b"PK\x03\x04" + b"0" * 300, "ZIP"),
        (b"MZ" + b"0" * 300, "program"),
        (b"hello world, this is no image", "Not a DICOM file"),
        (b"", "empty"),
        (b"\x08", "Not a DICOM file"),
    ],
)
def test_what_is_not_dicom_is_named(content: bytes, word: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(NotDicomError, match=word):
        read_header(path)


def test_an_object_without_pixels_is_named(tmp_path: Path) -> None:
    dataset = make_dataset(PixelData=None, SOPClassUID="1.2.840.10008.5.1.4.1.1.88.33")
    path = write_dataset(tmp_path / "sr.dcm", dataset)
    with pytest.raises(NoPixelsError, match="Comprehensive SR"):
        describe_images(read_header(path), path)


def test_names_of_uids() -> None:
    assert uid_name("1.2.840.10008.1.2.4.50") == "JPEG Baseline (Process 1)"
    assert uid_name("1.2.3") == ""
    assert uid_name("not a uid\0") == ""


@pytest.mark.reliability
def test_a_deflate_bomb_is_refused_at_its_cap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "MAX_INFLATED_BYTES", 20 * 2**20)
    path = write_dataset(tmp_path / "bomb.dcm", make_dataset(), DeflatedExplicitVRLittleEndian)
    meta = path.read_bytes()
    # The data set begins where the file meta information, whose length it gives itself, ends.
    end = 132 + 12 + struct.unpack_from("<I", meta, 140)[0]
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = compressor.compress(b"\x08\x00\x60\x00CS\x02\x00CT" + bytes(100 * 2**20)) + compressor.flush()
    path.write_bytes(meta[:end] + bomb)
    assert path.stat().st_size < 200_000
    with pytest.raises(TooLargeError, match="20 MB"):
        read_header(path)


@pytest.mark.reliability
@pytest.mark.parametrize("depth", [100, 500, 50_000])
@pytest.mark.parametrize("is_defined", [False, True])
def test_deep_nesting_is_refused(depth: int, is_defined: bool, tmp_path: Path) -> None:
    data = b""
    if is_defined:  # each level has to know the size of all that is in it
        for _ in range(min(depth, 500)):
            item = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(data)) + data
            data = b"\x28\x00\x10\x30SQ\0\0" + struct.pack("<I", len(item)) + item
    else:
        data = (b"\x28\x00\x10\x30SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff") * depth
    path = write_dataset(tmp_path / "deep.dcm", make_dataset())
    whole = path.read_bytes()
    at = whole.index(b"\xe0\x7f\x10\x00")
    path.write_bytes(whole[:at] + data + whole[at:])
    with pytest.raises(InputError, match="nested deeper than 64"):
        read_header(path)


def test_nesting_within_the_cap_is_read(tmp_path: Path) -> None:
    inner = Dataset()
    inner.PatientComments = "leaf"
    for _ in range(30):
        outer = Dataset()
        outer.ReferencedSeriesSequence = Sequence([inner])
        inner = outer
    dataset = make_dataset()
    dataset.ReferencedSeriesSequence = Sequence([inner])
    assert read_header(write_dataset(tmp_path / "x.dcm", dataset)).pixels is not None


@pytest.mark.reliability
def test_too_many_elements_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset_module, "MAX_ELEMENTS", 5_000)
    path = write_dataset(tmp_path / "x.dcm", make_dataset())
    whole = path.read_bytes()
    at = whole.index(b"\xe0\x7f\x10\x00")
    path.write_bytes(whole[:at] + b"\x29\x00\x10\x10LO\x00\x00" * 10_000 + whole[at:])
    with pytest.raises(InputError, match="5,000 elements"):
        read_header(path)


@pytest.mark.reliability
def test_absurd_sizes_are_refused_before_anything_is_allocated(tmp_path: Path) -> None:
    dataset = make_dataset(np.zeros((1, 5), np.uint16), Rows=65535, Columns=65535, NumberOfFrames=10_000)
    with pytest.raises(TooLargeError, match="65535 x 65535 pixels x 10,000 frames"):
        read_pixel_format(read_header(write_dataset(tmp_path / "x.dcm", dataset)))


@pytest.mark.reliability
@pytest.mark.parametrize(
    ("rows", "columns", "frames"), [(1000, 1000, 1), (30, 30, 1000), (1, 1, MAX_FRAMES + 1), (2, 2, 2_000_000_000)]
)
def test_a_claim_of_a_thousand_times_the_file_is_refused(rows: int, columns: int, frames: int, tmp_path: Path) -> None:
    dataset = make_dataset(np.zeros((1, 5), np.uint16), Rows=rows, Columns=columns, NumberOfFrames=frames)
    with pytest.raises(TooLargeError):
        read_pixel_format(read_header(write_dataset(tmp_path / "x.dcm", dataset)))


@pytest.mark.reliability
def test_a_frame_beyond_the_budget_is_refused_even_in_a_large_file(tmp_path: Path) -> None:
    dataset = make_dataset(np.zeros((2000, 1000), np.uint16), Rows=30_000, Columns=30_000)  # 450 times the file
    with pytest.raises(TooLargeError, match=r"over the limit of 1 GB"):
        read_pixel_format(read_header(write_dataset(tmp_path / "x.dcm", dataset)))


@pytest.mark.reliability
def test_a_length_field_is_never_allocated(tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "x.dcm", make_dataset(InstitutionName="A"))
    data = path.read_bytes().replace(b"\x08\x00\x80\x00LO\x02\x00A ", b"\x08\x00\x80\x00UT\0\0\xf0\xff\xff\xff")
    path.write_bytes(data)
    header = read_header(path)
    assert header.is_truncated
    with pytest.raises(TruncatedError):
        describe_images(header, path)


@pytest.mark.reliability
def test_a_file_cut_anywhere_is_refused_or_said_to_be_incomplete(tmp_path: Path) -> None:
    whole = write_dataset(tmp_path / "x.dcm", make_dataset()).read_bytes()
    for part in range(20):
        path = tmp_path / f"{part}.dcm"
        path.write_bytes(whole[: len(whole) * part // 20])
        try:
            images = describe_images(read_header(path), path)
        except MedViewerError:
            continue
        assert [caveat.code for caveat in images[0].warnings] == ["truncated"]


@pytest.mark.parametrize(
    ("attributes", "error", "word"),
    [
        ({"Rows": 0}, InputError, "how many rows"),
        ({"SamplesPerPixel": 4}, UnsupportedError, "4 samples"),
        ({"BitsAllocated": 12}, UnsupportedError, "12 bits"),
        ({"BitsStored": 17}, InputError, "contradicts"),
        ({"HighBit": 40}, InputError, "contradicts"),
    ],
)
def test_contradictions_are_named(
    attributes: dict[str, int], error: type[InputError], word: str, tmp_path: Path
) -> None:
    path = write_dataset(tmp_path / "x.dcm", make_dataset(**attributes))
    with pytest.raises(error, match=word):
        describe_images(read_header(path), path)
