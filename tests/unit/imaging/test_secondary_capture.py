"""The picture keeps its pixels, its side and its patient, and says what it is where there is no anatomy."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage
from PIL import ImageDraw

from medviewer import whole_file
from medviewer.domain.errors import StorageError, UsageError
from medviewer.domain.study import Image, Plane
from medviewer.imaging import secondary_capture
from medviewer.imaging.derived_object import PATIENT_AND_STUDY
from medviewer.imaging.description import describe_images
from medviewer.imaging.header import read_header
from medviewer.imaging.orientation import Letters
from medviewer.imaging.secondary_capture import Caution, with_strip, write_secondary_capture
from tests.answers import make_radiograph

BANNER = "AI result - research use only - not for diagnosis"


def picture(source: Image, seed: int = 2) -> np.ndarray:
    shape = (source.description.rows, source.description.columns, 3)
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def capture(
    tmp_path: Path, source: Image | None = None, text: tuple[str, ...] = ("pneumonia 0.87",)
) -> pydicom.Dataset:
    source = source or make_radiograph(tmp_path / "source.dcm")
    path = tmp_path / "capture.sc.dcm"
    write_secondary_capture(source, picture(source), text=text, path=path)
    return pydicom.dcmread(path)


@pytest.mark.parametrize(("rows", "columns"), [(96, 80), (97, 601), (64, 513), (700, 640)])
def test_the_image_lies_untouched_at_the_top_left(tmp_path: Path, rows: int, columns: int) -> None:
    source = make_radiograph(tmp_path / "source.dcm", rows=rows, columns=columns, PatientOrientation=None)
    found = capture(tmp_path, source)
    pixels = found.pixel_array
    assert np.array_equal(pixels[:rows, :columns], picture(source))
    assert pixels.shape == (found.Rows, found.Columns, 3)
    assert pixels.shape[1] == max(columns, 512)
    assert (found.PhotometricInterpretation, found.BitsStored, found.HighBit, found.PixelRepresentation) == (
        "RGB",
        8,
        7,
        0,
    )


@pytest.mark.reliability
def test_the_banner_is_burnt_in_below_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    real = ImageDraw.ImageDraw.text

    def spy(self: Any, place: Any, text: str, **options: Any) -> None:
        drawn.append(text)
        real(self, place, text, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", spy)
    rgb = np.zeros((100, 700, 3), np.uint8)
    made = with_strip(rgb, ["pneumonia: 0.87"])
    assert drawn == [BANNER, "pneumonia: 0.87"]
    assert not made[:100].any()
    amber = (made[100:] == (255, 191, 64)).all(axis=-1)
    white = (made[100:] == (235, 238, 242)).all(axis=-1)
    assert amber.sum() > 10
    assert white.sum() > 10
    # Nothing runs over an edge: the outermost pixels of the strip are the strip's own colour.
    strip = made[100:]
    for edge in (strip[:2], strip[-2:], strip[:, :2], strip[:, -2:]):
        assert (edge == (16, 18, 22)).all()


def letter_pixels(made: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Where the white of a letter lies on a black picture."""
    white: np.ndarray = (made[:rows, :columns] == (235, 238, 242)).all(axis=-1)
    return white


@pytest.mark.reliability
@pytest.mark.parametrize("edge", ["left", "right", "top", "bottom"])
def test_each_letter_stands_at_its_own_edge(edge: str) -> None:
    rows, columns = 300, 400
    letters = Letters("", "", "", "")._replace(**{edge: "L"})
    white = letter_pixels(with_strip(np.zeros((rows, columns, 3), np.uint8), [], letters), rows, columns)
    at_row, at_column = (axis.mean() for axis in np.nonzero(white))
    expected = {"left": (150, 10), "right": (150, 390), "top": (10, 200), "bottom": (290, 200)}[edge]
    assert (at_row, at_column) == pytest.approx(expected, abs=10)


def test_letters_are_those_of_the_source_and_hide_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    real = ImageDraw.ImageDraw.text

    def spy(self: Any, place: Any, text: str, **options: Any) -> None:
        drawn.append(text)
        real(self, place, text, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", spy)
    source = make_radiograph(tmp_path / "source.dcm", rows=300, columns=400, PatientOrientation=["L", "F"])
    pixels = capture(tmp_path, source).pixel_array
    assert drawn[:4] == ["R", "L", "H", "F"]
    changed = (pixels[:300, :400] != picture(source)).any(axis=-1)
    assert changed.any()
    assert changed.mean() < 0.02
    assert not changed[40:130].any()
    assert not changed[:, 40:180].any()


def test_no_letter_is_invented_and_none_covers_a_picture_too_small_for_it(tmp_path: Path) -> None:
    silent = make_radiograph(tmp_path / "source.dcm", rows=300, columns=400, PatientOrientation=None)
    assert np.array_equal(capture(tmp_path, silent).pixel_array[:300, :400], picture(silent))
    small = np.zeros((40, 40, 3), np.uint8)
    assert not with_strip(small, [], Letters("R", "L", "H", "F"))[:40, :40].any()


def test_a_caution_is_in_the_colour_of_warnings() -> None:
    rgb = np.zeros((10, 700, 3), np.uint8)
    plain, warned = (with_strip(rgb, [kind("The patient is 64 years old.")]) for kind in (str, Caution))
    amber = [(made == (255, 191, 64)).all(axis=-1).sum() for made in (plain, warned)]
    assert amber[1] > amber[0] + 10
    assert not (warned == (235, 238, 242)).all(axis=-1).any()


@settings(max_examples=30)
@given(st.lists(st.text(max_size=120), max_size=4), st.integers(1, 900))
def test_any_text_fits(lines: list[str], columns: int) -> None:
    made = with_strip(np.zeros((3, columns, 3), np.uint8), lines)
    assert (made[3:, :1] == (16, 18, 22)).all()
    assert (made[3:, -1:] == (16, 18, 22)).all()
    assert not made[:3, :columns].any()


def test_chinese_is_drawn_and_what_no_font_has_is_a_question_mark() -> None:
    fonts = secondary_capture._fonts(20)
    assert "".join(run for _, run in secondary_capture._runs("肺炎 0.87", fonts)) == "肺炎 0.87"
    assert len(secondary_capture._runs("肺炎 0.87", fonts)) == 2
    assert secondary_capture._runs("aກ", fonts)[0][1] == "a?"


def test_without_the_bundled_fonts_the_words_are_drawn_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Path:
        raise FileNotFoundError(name)

    monkeypatch.setattr(secondary_capture, "resource", missing)
    made = with_strip(np.zeros((10, 700, 3), np.uint8), ["pneumonia"])
    assert (made[10:] == (255, 191, 64)).all(axis=-1).sum() > 10


def test_says_what_it_is_and_what_it_was_made_from(tmp_path: Path) -> None:
    source = make_radiograph(tmp_path / "source.dcm")
    found = capture(tmp_path, replace(source, frame=1, number_of_frames=3))
    assert (found.BurnedInAnnotation, found.ConversionType) == ("YES", "WSD")
    assert list(found.ImageType) == ["DERIVED", "SECONDARY"]
    assert BANNER in found.DerivationDescription
    assert "pneumonia 0.87" in found.DerivationDescription
    [reference] = found.SourceImageSequence
    assert reference.ReferencedSOPInstanceUID == source.sop_instance_uid
    assert reference.ReferencedFrameNumber == 2
    assert found.SeriesInstanceUID != pydicom.dcmread(source.path).SeriesInstanceUID


@pytest.mark.reliability
def test_patient_and_study_are_those_of_the_source(tmp_path: Path) -> None:
    source = make_radiograph(tmp_path / "source.dcm", PatientAge="004Y", StudyDescription="THORAX", PatientSex=None)
    found, header = capture(tmp_path, source), pydicom.dcmread(source.path)
    for keyword in PATIENT_AND_STUDY:
        if keyword in header:
            assert found[keyword] == header[keyword], keyword
        elif keyword in found:
            assert found[keyword].is_empty, keyword


@pytest.mark.reliability
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"PatientOrientation": ["L", "F"]}, ["L", "F"]),
        ({"PatientOrientation": ["R", "F"]}, ["R", "F"]),
        ({"PatientOrientation": ["P", "FL"]}, ["P", "FL"]),
        ({"PatientOrientation": None}, []),
    ],
)
def test_directions_are_those_of_the_source(tmp_path: Path, given: dict[str, Any], expected: list[str]) -> None:
    found = capture(tmp_path, make_radiograph(tmp_path / "source.dcm", **given))
    assert list(found.PatientOrientation or []) == expected


def test_directions_of_a_slice_come_from_its_plane(tmp_path: Path) -> None:
    source = make_radiograph(tmp_path / "source.dcm", PatientOrientation=None)
    plane = Plane((0.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, -1.0))
    sagittal = replace(source, description=replace(source.description, plane=plane))
    assert list(capture(tmp_path, sagittal).PatientOrientation) == ["P", "F"]


@pytest.mark.parametrize("keyword", ["ImageLaterality", "Laterality"])
@pytest.mark.parametrize("side", ["L", "R"])
def test_the_side_is_that_of_the_source(tmp_path: Path, keyword: str, side: str) -> None:
    source = make_radiograph(tmp_path / "source.dcm", BodyPartExamined="HAND", **{keyword: side})
    found = capture(tmp_path, source)
    assert found[keyword].value == side
    other = {"ImageLaterality", "Laterality"} - {keyword}
    assert not other & set(found.dir())


@pytest.mark.reliability
@pytest.mark.parametrize("of_file", [{}, {"Laterality": "B"}, {"ImageLaterality": "B"}])
def test_the_side_of_a_frame_is_said_where_the_file_says_it_of_its_frames(
    tmp_path: Path, of_file: dict[str, str]
) -> None:
    """As of tomosynthesis: empty would say that nobody knows which breast it is."""
    path = make_radiograph(tmp_path / "source.dcm", BodyPartExamined="BREAST", **of_file).path
    dataset, anatomy, shared = pydicom.dcmread(path), pydicom.Dataset(), pydicom.Dataset()
    anatomy.FrameLaterality = "R"
    shared.FrameAnatomySequence = [anatomy]
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = [pydicom.Dataset(), pydicom.Dataset()]
    dataset.NumberOfFrames, dataset.PixelData = 2, dataset.PixelData * 2
    dataset.save_as(path)
    _, source = describe_images(read_header(path), path)
    found = capture(tmp_path, source)
    assert found.ImageLaterality == "R"
    assert "Laterality" not in found


def test_no_side_and_no_spacing_are_invented(tmp_path: Path) -> None:
    found = capture(tmp_path, make_radiograph(tmp_path / "source.dcm", PixelSpacing=[0, 0], Laterality=""))
    for keyword in (
        "PixelSpacing",
        "ImagerPixelSpacing",
        "NominalScannedPixelSpacing",
        "Laterality",
        "ImageLaterality",
    ):
        assert keyword not in found


@pytest.mark.parametrize(
    ("attributes", "shape"),
    [
        ({"PixelSpacing": [0.4, 0.2]}, [2, 1]),
        ({"PixelSpacing": [0.15, 0.2]}, [3, 4]),
        ({"PixelSpacing": None, "ImagerPixelSpacing": None, "PixelAspectRatio": ["5", "4"]}, [5, 4]),
        ({"PixelSpacing": [0.2, 0.2]}, None),
        ({"PixelSpacing": [0.2, 0.2000001]}, None),
        ({"PixelSpacing": None, "ImagerPixelSpacing": None}, None),
    ],
)
def test_the_shape_of_a_pixel_is_that_of_the_source(
    tmp_path: Path, attributes: dict[str, Any], shape: list[int] | None
) -> None:
    """Vertical and horizontal size of a pixel (PS3.3 C.7.6.3.1.7): without it the picture is squashed in archives."""
    path = make_radiograph(tmp_path / "source.dcm", **attributes).path
    (source,) = describe_images(read_header(path), path)
    found = capture(tmp_path, source)
    ratio = found.get("PixelAspectRatio")
    assert (ratio if ratio is None else list(ratio)) == shape


def test_once_lossy_always_lossy(tmp_path: Path) -> None:
    source = make_radiograph(tmp_path / "source.dcm", LossyImageCompression="01", LossyImageCompressionRatio=12)
    found = capture(tmp_path, source)
    assert (found.LossyImageCompression, found.LossyImageCompressionRatio) == ("01", 12)
    silent = make_radiograph(tmp_path / "silent.dcm")
    said = replace(silent, description=replace(silent.description, is_lossy=True))
    assert capture(tmp_path, said).LossyImageCompression == "01"
    assert "LossyImageCompression" not in capture(tmp_path, silent)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((80, 96, 3), np.uint8),
        np.zeros((96, 80), np.uint8),
        np.zeros((96, 80, 4), np.uint8),
        np.zeros((96, 80, 3), np.float32),
        np.zeros((95, 80, 3), np.uint8),
    ],
)
def test_refuses_a_picture_that_is_not_the_images_own(tmp_path: Path, pixels: np.ndarray) -> None:
    source = make_radiograph(tmp_path / "source.dcm")
    with pytest.raises(UsageError, match="96 rows and 80 columns"):
        write_secondary_capture(source, pixels, text=[], path=tmp_path / "c.dcm")
    assert not (tmp_path / "c.dcm").exists()


def test_an_image_that_leaves_no_room_for_the_words_is_refused() -> None:
    with pytest.raises(UsageError, match="too large"):
        with_strip(np.zeros((65_535, 1, 3), np.uint8), [])


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_radiograph(tmp_path / "source.dcm")
    out = tmp_path / "out"
    out.mkdir()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(whole_file.os, "fsync", full)
    with pytest.raises(StorageError, match="the disk is full; free some space"):
        write_secondary_capture(source, picture(source), text=[], path=out / "c.dcm")
    assert list(out.iterdir()) == []


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    source = make_radiograph(tmp_path / "source.dcm")
    with pytest.raises(StorageError, match="the folder does not exist"):
        write_secondary_capture(source, picture(source), text=[], path=tmp_path / "nowhere" / "c.dcm")


def test_the_picture_is_what_an_independent_reader_sees(tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    source = make_radiograph(tmp_path / "source.dcm", PatientOrientation=None)
    capture(tmp_path, source)
    seen = np.squeeze(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "capture.sc.dcm"))))
    assert np.array_equal(seen[:96, :80], picture(source))
    assert PillowImage.fromarray(seen).size == (512, seen.shape[0])
