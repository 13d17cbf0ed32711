"""Headers of files that are written alike: whatever is in them, they are read as if each were walked."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import (
    JPEG2000,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MRImageStorage,
    RLELossless,
    generate_uid,
)

from medviewer.domain.errors import MedViewerError
from medviewer.imaging import header_pattern
from medviewer.imaging.header import Header, parse_header
from medviewer.imaging.header_pattern import AlikeReader
from medviewer.imaging.source import ByteSource
from tests.dicom_maker import make_dataset, write_dataset

SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]
N_FILES = 12


def slice_bytes(
    number: int, syntax: Any = ExplicitVRLittleEndian, change: Callable[[Dataset], None] | None = None
) -> bytes:
    """One slice of a CT series, whose values differ in length too."""
    ds = make_dataset(np.full((4, 4), number, np.uint16))
    ds.SOPInstanceUID = f"1.2.3.{number * 7}"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.4", "1.2.5"
    ds.InstanceNumber, ds.ImagePositionPatient = number, [0.5, -1, number * 1.25]
    ds.ContentTime = f"1200{number:02d}.{number}"
    ds.add_new(0x00091001, "LO", f"private {number}")
    ds.add_new(0x00091002, "UN", bytes(range(number % 5)))
    item = Dataset()
    item.ReferencedSOPInstanceUID = "1.2.6"
    ds.ReferencedImageSequence = DicomSequence([item])
    if change is not None:
        change(ds)
    out = io.BytesIO()
    write_dataset(out, ds, syntax)
    return out.getvalue()


def series(syntax: Any = ExplicitVRLittleEndian) -> list[bytes]:
    return [slice_bytes(number, syntax) for number in range(N_FILES)]


def read(reader: AlikeReader, data: bytes) -> Header | tuple[str, str]:
    """A header, or the refusal in its place."""
    return outcome(reader.parse, data)


def outcome(parse: Callable[[ByteSource], Header], data: bytes) -> Header | tuple[str, str]:
    try:
        return parse(ByteSource.of_bytes(data))
    except MedViewerError as error:
        return type(error).__name__, str(error)


def learnt(files: list[bytes]) -> AlikeReader:
    reader = AlikeReader()
    for data in files:
        assert read(reader, data) == outcome(parse_header, data)
    return reader


def walked(files: list[bytes], monkeypatch: pytest.MonkeyPatch) -> int:
    """How many of the files were walked, each read as it should be."""
    sizes: list[int] = []

    def counted(source: ByteSource) -> Header:
        sizes.append(source.size)
        return parse_header(source)

    expected = [outcome(parse_header, data) for data in files]
    reader = AlikeReader()
    with monkeypatch.context() as patch:
        patch.setattr(header_pattern, "parse_header", counted)
        assert [read(reader, data) for data in files] == expected
    return len(sizes)


@pytest.mark.parametrize("has_preamble", [True, False])
@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
def test_the_files_of_a_series_are_walked_no_more_than_is_needed(
    syntax: Any, has_preamble: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [data if has_preamble else data[132:] for data in series(syntax)]
    assert 0 < walked(files, monkeypatch) <= N_FILES // 2


def test_a_file_that_is_not_like_those_before_is_one_that_others_may_be_like(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its elements have the tags of theirs; only in an item it says something else."""
    files = series()[:2] + [slice_bytes(number, change=change_item) for number in range(2, N_FILES)]
    assert walked(files, monkeypatch) <= N_FILES // 2


def test_very_long_headers_are_walked(monkeypatch: pytest.MonkeyPatch) -> None:
    files = series()
    monkeypatch.setattr(header_pattern, "_MAX_BYTES", 400)
    assert walked(files, monkeypatch) == N_FILES


def test_files_that_differ_in_very_much_are_walked(monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(ds: Dataset, number: int) -> None:
        for tag in range(0x00091010, 0x00091010 + 60):
            ds.add_new(tag, "LO", f"value {number}")

    files = [slice_bytes(number, change=partial(fill, number=number)) for number in range(N_FILES)]
    assert walked(files, monkeypatch) == N_FILES


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
def test_a_file_that_is_damaged_anywhere_is_read_as_if_it_were_the_first(syntax: Any) -> None:
    files = series(syntax)
    reader = learnt(files)
    rng = random.Random(0)  # noqa: S311 - any damage will do
    for _ in range(400):
        data = bytearray(rng.choice(files))
        for _ in range(rng.choice((1, 1, 1, 2, 8))):
            place = rng.randrange(128, len(data))
            data[place] = rng.choice((0, 1, 0xFF, data[place] ^ 1 << rng.randrange(8), rng.randrange(256)))
        if rng.random() < 0.3:
            del data[rng.randrange(128, len(data)) :][: rng.choice((1, 2, 8))]
        assert read(reader, bytes(data)) == outcome(parse_header, bytes(data))


def test_a_file_that_ends_early_is_read_as_if_it_were_the_first() -> None:
    files = series()
    reader = learnt(files)
    whole = files[-1]
    for end in range(len(whole) + 1):
        assert read(reader, whole[:end]) == outcome(parse_header, whole[:end])


def rename(ds: Dataset) -> None:
    ds.PatientName, ds.PatientID = "Another^Person", "OTHER"


def add(ds: Dataset) -> None:
    ds.SeriesDescription = "more than the others say"


def take_out(ds: Dataset) -> None:
    del ds.InstanceNumber


def change_charset(ds: Dataset) -> None:
    ds.SpecificCharacterSet = "ISO_IR 144"


def change_class(ds: Dataset) -> None:
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"


def change_item(ds: Dataset) -> None:
    ds.ReferencedImageSequence[0].ReferencedSOPInstanceUID = "1.2.7"


def add_profile(ds: Dataset) -> None:
    ds.ICCProfile = bytes(300)


def grow(ds: Dataset) -> None:
    ds.add_new(0x00091003, "OB", bytes(40_000))


@pytest.mark.parametrize(
    "change", [rename, add, take_out, change_charset, change_class, change_item, add_profile, grow]
)
@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
def test_what_a_file_says_else_is_read_of_itself(syntax: Any, change: Callable[[Dataset], None]) -> None:
    files = series(syntax)
    others = [slice_bytes(number, syntax, change) for number in range(20, 26)]
    between = [data for pair in zip(others, files, strict=False) for data in pair]
    learnt(files + others + between)


NUMBERED = list(enumerate((0, 1, 0, 0, 1, 0, 1, 1, 0)))


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
def test_a_character_set_is_never_one_of_many_values(syntax: Any) -> None:
    def change(ds: Dataset, which: int) -> None:
        ds.add_new(0x00080003, "UN", b"not first")
        ds.SpecificCharacterSet = ("ISO_IR 100", "ISO_IR 144")[which]

    learnt([slice_bytes(n, syntax, partial(change, which=which)) for n, which in NUMBERED])


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
def test_a_class_is_never_one_of_many_values(syntax: Any) -> None:
    """Although the file meta information says the same of all."""
    files = []
    for number, which in NUMBERED:
        data = slice_bytes(number, syntax, lambda ds: ds.add_new(0x00080003, "UN", b"not first "))
        at = data.rindex(CTImageStorage.encode())
        files.append(data[:at] + (CTImageStorage, MRImageStorage)[which].encode() + data[at + len(CTImageStorage) :])
    learnt(files)


def test_a_length_that_looks_like_an_encoding_is_no_length_of_another_file() -> None:
    """The first element's length, where the others have short ones, spells "DA"."""

    def begin(ds: Dataset, length: int) -> None:
        ds.add_new(0x00080003, "UN", bytes(length))
        ds.add_new(0x00091003, "OB", bytes(40_000 - length))

    lengths = (4, 6, 8, 10, int.from_bytes(b"DA", "little"))
    learnt([slice_bytes(n, ImplicitVRLittleEndian, partial(begin, length=length)) for n, length in enumerate(lengths)])


def test_payloads_inside_of_items_lie_where_they_lie_in_each_file() -> None:
    def add_path(ds: Dataset) -> None:
        path = Dataset()
        path.ICCProfile = bytes(300)
        ds.OpticalPathSequence = DicomSequence([path])
        ds.SOPInstanceUID = "1.2.3." + "4" * (20 if ds.InstanceNumber > 4 else 2) + str(ds.InstanceNumber)

    learnt([slice_bytes(number, change=add_path) for number in range(1, 9)])


def test_what_only_the_code_stream_tells_is_read_of_each() -> None:
    """Two files that end before their code streams say nothing of those of the others."""
    whole = slice_bytes(1, JPEG2000, lambda ds: encapsulated(ds, b"\xff\x4f\xff\x51" + bytes(60)))
    end = whole.index(b"\xe0\x7f\x10\x00OB") + 12
    cut = [slice_bytes(n, JPEG2000, lambda ds: encapsulated(ds, bytes(64)))[:end] for n in (2, 3)]
    learnt([*cut, whole])


def test_deflated_files_are_read_of_themselves() -> None:
    first = slice_bytes(1, DeflatedExplicitVRLittleEndian)
    uid = first.index(b"1.2.3.7")
    learnt([first[:uid] + b"1.2.3." + digit + first[uid + 7 :] for digit in (b"7", b"8", b"9")])


def test_an_element_that_stands_twice_counts_by_its_last() -> None:
    twice = b"\x09\x00\x10\x00LO\x02\x00ab"

    def doubled(number: int) -> bytes:
        data = slice_bytes(number)
        at = data.index(b"\x20\x00\x13\x00IS")
        length = data[at + 6]
        other = b"\x20\x00\x13\x00IS\x02\x00" + f"{90 - number}".encode()
        return data[: at + 8 + length] + twice + other + data[at + 8 + length :]

    learnt([doubled(number) for number in range(1, 9)])


def encapsulated(ds: Dataset, stream: bytes) -> None:
    ds.PixelData = encapsulate([stream])
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True


def test_what_is_compressed_is_read_of_itself() -> None:
    def compress(ds: Dataset) -> None:
        encapsulated(ds, bytes(range(int(ds.InstanceNumber) + 70)))

    learnt(series() + [slice_bytes(number, RLELossless, compress) for number in range(6)])


def test_headers_with_more_in_them_than_is_read_at_once_are_known_too(monkeypatch: pytest.MonkeyPatch) -> None:
    files = [slice_bytes(number, change=grow) for number in range(N_FILES)]
    reader = learnt(files[:4])
    monkeypatch.setattr(header_pattern, "parse_header", lambda _source: pytest.fail("it was walked"))
    for data in files[4:]:
        assert isinstance(reader.parse(ByteSource.of_bytes(data)), Header)


def test_series_that_lie_between_each_other_are_known_each() -> None:
    def other(ds: Dataset) -> None:
        ds.SeriesInstanceUID = "1.2.9"
        ds.SeriesDescription = "other"

    reader = learnt([slice_bytes(n, change=other if n % 2 else None) for n in range(N_FILES)])
    assert len(reader._known) == 2


def test_files_that_are_not_alike_are_not_compared_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    learning: list[bytes] = []
    real = AlikeReader._learn

    def counted(self: AlikeReader, block: bytes, header: Header) -> None:
        learning.append(block)
        real(self, block, header)

    monkeypatch.setattr(AlikeReader, "_learn", counted)

    def vary(ds: Dataset) -> None:
        ds.ReferencedImageSequence[0].ReferencedSOPInstanceUID = generate_uid()

    learnt([slice_bytes(number % 50, change=vary) for number in range(200)])
    assert len(learning) < 40


def test_what_is_kept_is_bounded() -> None:
    def vary(ds: Dataset) -> None:
        ds.SeriesDescription = "x" * (2 * (int(ds.InstanceNumber) % 9))
        ds.ReferencedImageSequence[0].ReferencedSOPInstanceUID = generate_uid()

    assert len(learnt([slice_bytes(number, change=vary) for number in range(30)])._known) <= header_pattern._MAX_KNOWN


def test_files_of_many_writers_are_read_as_if_each_were_the_first() -> None:
    """What a package of test files holds, each of them twice and in between others."""
    folder = Path(str(pydicom.__file__)).parent / "data" / "test_files"
    paths = [path for path in sorted(folder.rglob("*.dcm")) if path.stat().st_size < 1_000_000]
    assert len(paths) > 20
    files = [path.read_bytes() for path in paths]
    learnt([data for pair in zip(files, files[1:] + files[:1], strict=True) for data in (*pair, *pair)])
