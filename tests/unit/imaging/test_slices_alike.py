"""Slices are described by one that they are like: nothing that a description rests on may be left out of the likeness."""

from __future__ import annotations

import shutil
import struct
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medviewer.domain.errors import MedViewerError
from medviewer.domain.study import Collection, Image
from medviewer.imaging import description, scan, tags
from medviewer.imaging.dataset import DataSet, Encoding, PixelElement
from medviewer.imaging.description import describe_images
from medviewer.imaging.grouping import Grouping, Place
from medviewer.imaging.header import Header
from medviewer.imaging.slices_alike import KnownSlice
from tests.dicom_maker import AXIAL, make_dataset, write_dataset, write_volumes

PLAIN = sorted(tag for tag, kind in tags.VALUE_REPRESENTATIONS.items() if kind != "SQ" and tag not in tags.PIXEL_TAGS)
OTHER_VALUES = {
    "UI": b"1.2.9", "DS": b"2\\3\\4\\5\\6\\7", "IS": b"7", "US": struct.pack("<H", 9), "US/SS": struct.pack("<H", 9),
    "DA": b"20200102", "TM": b"120000", "DT": b"20200102120000", "CS": b"OTHER", "AS": b"030Y",
}  # fmt: skip


def header(**changed: bytes) -> Header:
    """A CT slice as a scan reads it."""
    dataset = DataSet()
    values = {
        tags.SOP_CLASS_UID: b"1.2.840.10008.5.1.4.1.1.2", tags.SOP_INSTANCE_UID: b"1.2.3", tags.MODALITY: b"CT",
        tags.ROWS: struct.pack("<H", 4), tags.COLUMNS: struct.pack("<H", 4),
        tags.BITS_ALLOCATED: struct.pack("<H", 16), tags.BITS_STORED: struct.pack("<H", 12),
        tags.HIGH_BIT: struct.pack("<H", 11), tags.SAMPLES_PER_PIXEL: struct.pack("<H", 1),
        tags.PIXEL_REPRESENTATION: struct.pack("<H", 0), tags.PHOTOMETRIC_INTERPRETATION: b"MONOCHROME2",
        tags.IMAGE_POSITION_PATIENT: b"0\\0\\5", tags.IMAGE_ORIENTATION_PATIENT: b"1\\0\\0\\0\\1\\0",
        tags.PIXEL_SPACING: b"0.5\\0.5", tags.WINDOW_CENTER: b"40", tags.WINDOW_WIDTH: b"400",
        tags.RESCALE_SLOPE: b"1", tags.RESCALE_INTERCEPT: b"-1024",
    }  # fmt: skip
    for tag, value in (values | {int(name[1:], 16): value for name, value in changed.items()}).items():
        dataset.keep(tag, tags.VALUE_REPRESENTATIONS[tag].partition("/")[0], value)
    return Header(
        dataset,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        sop_class_uid=dataset.text(tags.SOP_CLASS_UID),
        encoding=Encoding(),
        pixels=PixelElement(tags.PIXEL_DATA, 1000, 32, "OW"),
        file_size=1032,
        content_size=1032,
        is_deflated=False,
        is_truncated=False,
    )


PATH = Path("slice.dcm")


def told(image: Image) -> str:
    """All of it: descriptions are compared by identity."""
    return repr(asdict(image))


def described(one: Header) -> list[str] | tuple[str, str]:
    """All of its images, or the refusal in their place."""
    try:
        return [told(image) for image in describe_images(one, PATH)]
    except MedViewerError as error:
        return type(error).__name__, str(error)


def known(one: Header) -> KnownSlice | None:
    images = describe_images(one, PATH)
    return KnownSlice.of(one, images, Grouping().add(one, images))


def by_the_first(first: Header, other: Header) -> Image | None:
    slice_ = known(first)
    assert slice_ is not None
    return slice_.image_of(other, PATH)


@pytest.mark.parametrize("tag", PLAIN, ids=lambda tag: f"{tag:08x}")
def test_a_slice_that_differs_in_one_element_is_described_as_by_itself(tag: int) -> None:
    value = OTHER_VALUES.get(tags.VALUE_REPRESENTATIONS[tag], b"1")
    first = header(**{f"x{tag:08x}": b"0"}) if tag in (tags.ACQUISITION_NUMBER, tags.TRIGGER_TIME) else header()
    for one, other in ((first, header(**{f"x{tag:08x}": value})), (header(**{f"x{tag:08x}": value}), first)):
        if isinstance(described(one), list) and known(one) is not None:
            image = by_the_first(one, other)
            assert image is None or [told(image)] == described(other)


OWN = {
    tags.SOP_INSTANCE_UID: b"1.2.77", tags.INSTANCE_NUMBER: b"7", tags.IMAGE_POSITION_PATIENT: b"0\\0\\7.5",
    tags.ACQUISITION_TIME: b"120005", tags.CONTENT_TIME: b"120006", tags.ACQUISITION_NUMBER: b"2",
    tags.DIFFUSION_B_VALUE: struct.pack("<d", 800), tags.ECHO_TIME: b"15", tags.FRAME_REFERENCE_TIME: b"9",
    tags.INVERSION_TIME: b"8", tags.TRIGGER_TIME: b"30", tags.WINDOW_CENTER: b"300", tags.WINDOW_WIDTH: b"99",
}  # fmt: skip


def full(**changed: bytes) -> Header:
    """A slice that says all in which slices may differ."""
    other = {f"x{tag:08x}": b"1" * len(value) for tag, value in OWN.items() if tag != tags.IMAGE_POSITION_PATIENT}
    return header(**other, **{f"x{tags.ACQUISITION_DATE:08x}": b"20200101"} | changed)


@pytest.mark.parametrize("tag", OWN, ids=lambda tag: f"{tag:08x}")
def test_what_slices_differ_in_is_read_of_each(tag: int) -> None:
    other = full()
    other.dataset.values[tag] = OWN[tag]
    image = by_the_first(full(), other)
    assert image is not None
    assert [told(image)] == described(other)
    assert tag == tags.CONTENT_TIME or described(other) != described(full())


def test_a_slice_is_at_its_own_place_and_all_else_is_the_first_ones() -> None:
    second = header(**{f"x{tags.IMAGE_POSITION_PATIENT:08x}": b"0\\0\\7.5"})
    image = by_the_first(header(), second)
    assert image is not None
    assert image.description.plane is not None
    assert image.description.plane.position == (0.0, 0.0, 7.5)
    assert [told(image)] == described(second)


@pytest.mark.parametrize("position", [b"", b"1\\2", b"1\\2\\x", b"1e9\\0\\0"])
def test_a_place_that_makes_no_sense_is_told_by_the_file_itself(position: bytes) -> None:
    assert by_the_first(header(), header(**{f"x{tags.IMAGE_POSITION_PATIENT:08x}": position})) is None


@pytest.mark.parametrize("width", [b"", b"-3", b"x"])
def test_a_window_that_makes_no_sense_is_told_by_the_file_itself(width: bytes) -> None:
    other = header(**{f"x{tags.WINDOW_WIDTH:08x}": width})
    image = by_the_first(header(), other)
    assert image is None or [told(image)] == described(other)
    assert (image is None) == (width != b"")


@pytest.mark.parametrize(
    "change",
    [
        {"pixels": None},
        {"pixels": PixelElement(tags.PIXEL_DATA, 1000, 0xFFFFFFFF, "OB")},
        {"pixels": PixelElement(tags.FLOAT_PIXEL_DATA, 1000, 32, "OF")},
        {"transfer_syntax_uid": "1.2.840.10008.1.2"},
        {"sop_class_uid": "1.2.840.10008.5.1.4.1.1.4"},
        {"encoding": Encoding(is_little_endian=False)},
        {"content_size": 1020},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_file_that_is_made_in_another_way_is_described_by_itself(change: dict[str, Any]) -> None:
    assert by_the_first(header(), replace(header(), **change)) is None


def test_a_file_that_is_too_small_for_its_image_is_described_by_itself() -> None:
    wide = {f"x{tags.ROWS:08x}": struct.pack("<H", 4000), f"x{tags.COLUMNS:08x}": struct.pack("<H", 4000)}
    fragments = PixelElement(tags.PIXEL_DATA, 1000, 0xFFFFFFFF, "OB")
    rle = {"transfer_syntax_uid": "1.2.840.10008.1.2.5", "pixels": fragments, "content_size": 10**6}
    first = replace(header(**wide), **rle)
    assert by_the_first(first, first) is not None
    assert by_the_first(first, replace(first, content_size=1000)) is None


def with_table(value: int) -> Header:
    one = header()
    item = DataSet()
    item.keep(tags.LUT_DESCRIPTOR, "US", struct.pack("<3H", 4, 0, 12))
    item.keep(tags.LUT_DATA, "OW", struct.pack("<4H", 0, 1, 2, value))
    one.dataset.sequences[tags.VOI_LUT_SEQUENCE] = [item]
    return one


def test_what_sequences_say_is_the_same_or_read_of_each() -> None:
    assert by_the_first(header(), with_table(3)) is None
    assert by_the_first(with_table(3), with_table(4)) is None
    same = by_the_first(with_table(3), with_table(3))
    assert same is not None
    assert same.description.voi_luts


@pytest.mark.parametrize(
    "sequence",
    [
        tags.SHARED_FUNCTIONAL_GROUPS_SEQUENCE,
        tags.PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE,
        tags.RADIOPHARMACEUTICAL_SEQUENCE,
    ],
)
def test_no_other_is_described_by_a_file_whose_place_or_values_rest_on_more(sequence: int) -> None:
    one = header()
    one.dataset.sequences[sequence] = [DataSet()]
    assert known(one) is None


def test_no_other_is_described_by_a_doubtful_or_an_unplaced_file_or_one_of_many_frames() -> None:
    assert known(header(**{f"x{tags.WINDOW_WIDTH:08x}": b"-4"})) is None
    assert known(header(**{f"x{tags.IMAGE_POSITION_PATIENT:08x}": b""})) is None
    pixels = PixelElement(tags.PIXEL_DATA, 1000, 64, "OW")
    two = replace(header(**{f"x{tags.NUMBER_OF_FRAMES:08x}": b"2"}), content_size=1064, pixels=pixels)
    assert not describe_images(two, PATH)[0].warnings
    assert known(two) is None


def test_no_other_is_described_by_a_file_of_which_only_its_code_stream_tells_whether_it_is_lossy() -> None:
    fragments = PixelElement(tags.PIXEL_DATA, 1000, 0xFFFFFFFF, "OB")
    assert known(replace(header(), transfer_syntax_uid="1.2.840.10008.1.2.4.91", pixels=fragments)) is None


def test_values_of_another_representation_are_others() -> None:
    other = header()
    other.dataset.representations[tags.RESCALE_SLOPE] = "FD"
    assert by_the_first(header(), other) is None


def test_what_another_file_leaves_out_is_not_taken_from_the_first() -> None:
    """Without representations, as where the encoding is implicit."""
    full_, short = header(), header()
    del short.dataset.values[tags.RESCALE_INTERCEPT]
    for one in (full_, short):
        one.dataset.representations.clear()
    assert by_the_first(full_, short) is None
    assert by_the_first(short, full_) is None


def without_keys(found: Collection) -> str:
    patients = tuple(replace(patient, key="") for patient in found.patients)
    return repr((patients, found.problems, found.shown))


def test_a_scan_finds_the_same_whether_slices_are_known_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    write_volumes(tmp_path / "a", 3, lambda volume, _: {"EchoTime": 5 * volume + 5, "EchoNumbers": volume + 1})
    write_volumes(tmp_path / "b", 2, lambda volume, place: {
        "SeriesInstanceUID": "2.25.9", "AcquisitionTime": f"12000{volume}", "AcquisitionNumber": volume,
        "PatientName": "Other^Name" if place == 2 else "Test^Object",
    })  # fmt: skip
    write_dataset(tmp_path / "b" / "twin.dcm", make_dataset(np.full((6, 8), 9, np.int16), SOPInstanceUID="1.2", **AXIAL,
                                                            ImagePositionPatient=[1, 2, 3]))  # fmt: skip
    write_dataset(tmp_path / "b" / "twin2.dcm", make_dataset(np.full((6, 8), 8, np.int16), SOPInstanceUID="1.2", **AXIAL,
                                                             ImagePositionPatient=[1, 2, 3]))  # fmt: skip
    found = scan.scan([tmp_path])
    used: list[Path] = []
    real = KnownSlice.image_of

    def counted(self: KnownSlice, one: Header, path: Path) -> Image | None:
        image = real(self, one, path)
        used.extend([path] if image is not None else [])
        return image

    monkeypatch.setattr(KnownSlice, "image_of", counted)
    assert without_keys(scan.scan([tmp_path])) == without_keys(found)
    assert len(used) > 4
    monkeypatch.setattr(KnownSlice, "image_of", lambda *_: None)
    assert without_keys(scan.scan([tmp_path])) == without_keys(found)


def test_a_copy_of_a_slice_that_is_described_by_another_is_named(tmp_path: Path) -> None:
    write_volumes(tmp_path, 1, lambda *_: {})
    (tmp_path / "z.dcm").write_bytes((tmp_path / "3.dcm").read_bytes())
    found = scan.scan([tmp_path])
    assert [problem.path.name for problem in found.problems] == ["z.dcm"]
    assert "copy of 3.dcm" in found.problems[0].reason


def test_slices_in_an_archive_lie_where_they_were_unpacked(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_volumes(tmp_path / "in", 1, lambda *_: {})
    archive = shutil.make_archive(str(tmp_path / "series"), "zip", tmp_path / "in")
    found = scan.scan([Path(archive)])
    try:
        assert all(image.unpacked is not None and image.unpacked.exists() for image in scan.images_of(found))
        assert len(list(scan.images_of(found))) == len(list((tmp_path / "in").iterdir()))
    finally:
        found.release()


def test_what_is_kept_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "_MAX_SLICES", 3)
    kept: list[int] = []
    real = scan._Scan._keep

    def counted(self: Any, one: Header, images: tuple[Image, ...], place: Place) -> None:
        real(self, one, images, place)
        kept.append(len(self._slices))

    monkeypatch.setattr(scan._Scan, "_keep", counted)
    for number in range(8):
        dataset = make_dataset(SeriesInstanceUID=f"1.2.{number}", **AXIAL, ImagePositionPatient=[0, 0, number])
        write_dataset(tmp_path / f"{number}.dcm", dataset)
    scan.scan([tmp_path])
    assert max(kept) == 3


@pytest.mark.parametrize("first", [b"1\\0\\0\\0\\1\\0", b"1\\-0\\0\\-0\\1\\-0.0"])
def test_zeros_are_written_alike_whatever_was_read_before(first: bytes) -> None:
    """A minus before a zero says nothing, and must not go from one file to the next."""
    description._unit_axes.cache_clear()
    name = f"x{tags.IMAGE_ORIENTATION_PATIENT:08x}"
    for orientation in (first, b"1\\-0\\-0\\0\\1\\0", b"1\\0\\0\\0\\1\\0"):
        (image,) = describe_images(header(**{name: orientation}), Path("slice.dcm"))
        plane = image.description.plane
        assert plane is not None
        assert repr((plane.row_cosine, plane.column_cosine)) == "((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))"
