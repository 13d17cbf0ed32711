"""What the header says of an image is understood as the standard means it, and nonsense is not used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medviewer.domain.measurement import new_measurement
from medviewer.domain.study import Image, Window
from medviewer.imaging.codecs import HTJ2K, JPEG_2000, JPEG_2000_LOSSLESS, JPEG_LS, JPEG_LS_NEAR
from medviewer.imaging.decode import read_frame
from medviewer.imaging.description import describe_images
from medviewer.imaging.display import default_window, to_display
from medviewer.imaging.header import read_header
from medviewer.imaging.measuring import measure
from medviewer.imaging.orientation import orientation_letters
from tests.dicom_maker import make_dataset, write_compressed, write_dataset

PLANE = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "ImagePositionPatient": [1, 2, 3]}


def described(folder: Path, pixels: np.ndarray | None = None, **attributes: Any) -> Image:
    path = write_dataset(folder / "x.dcm", make_dataset(pixels, **attributes))
    return describe_images(read_header(path), path)[0]


def codes(image: Image) -> list[str]:
    return [caveat.code for caveat in image.warnings]


@pytest.mark.parametrize(
    ("attributes", "spacing", "source"),
    [
        ({"Modality": "CT", "PixelSpacing": [0.5, 0.7], **PLANE}, (0.5, 0.7), "patient plane"),
        ({"Modality": "DX", "ImagerPixelSpacing": [0.1, 0.2]}, (0.1, 0.2), "at detector"),
        ({"Modality": "DX", "ImagerPixelSpacing": [0.1, 0.1], "PixelSpacing": [0.1, 0.1]}, (0.1, 0.1), "at detector"),
        (  # by way of a 32-bit float, and with fewer digits: nobody has corrected anything
            {"Modality": "DX", "ImagerPixelSpacing": [0.148, 0.193878], "PixelSpacing": [0.14800000190735, 0.1939]},
            (0.14800000190735, 0.1939),
            "at detector",
        ),
        (
            {"Modality": "DX", "ImagerPixelSpacing": [0.1, 0.1], "PixelSpacing": [0.09, 0.09]},
            (0.09, 0.09),
            "calibrated",
        ),
        (
            {"Modality": "XA", "PixelSpacing": [0.2, 0.2], "PixelSpacingCalibrationType": "FIDUCIAL"},
            (0.2, 0.2),
            "calibrated",
        ),
        ({"Modality": "CR", "PixelSpacing": [0.2, 0.2]}, (0.2, 0.2), "at detector"),
        ({"Modality": "US", "PixelSpacing": [0.2, 0.2]}, (0.2, 0.2), "patient plane"),
    ],
)
def test_pixel_spacing_and_what_it_refers_to(
    attributes: dict[str, Any], spacing: tuple[float, float], source: str, tmp_path: Path
) -> None:
    description = described(tmp_path, **attributes).description
    assert description.pixel_spacing_mm == spacing
    assert description.spacing_source == source
    assert description.no_measuring_because == ""


@pytest.mark.reliability
@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({}, "The file gives no pixel spacing."),
        ({"PixelSpacing": [0, 0]}, "The file gives a pixel spacing of 0."),
        ({"PixelSpacing": [0.5, 0]}, "The file gives a pixel spacing of 0."),
        ({"PixelSpacing": [-1, 1]}, "The file gives a negative pixel spacing."),
        ({"PixelSpacing": [1e6, 1e6]}, "The file gives a pixel spacing of 1e+06 x 1e+06 mm, which cannot be right."),
    ],
)
def test_unusable_spacing_forbids_measuring_with_its_reason(
    attributes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    description = described(tmp_path, **attributes).description
    assert description.pixel_spacing_mm is None
    assert description.spacing_source is None
    assert description.no_measuring_because == reason


def patched(folder: Path, old: bytes, new: bytes, **attributes: Any) -> Image:
    """An image whose bytes were changed after writing, to values that pydicom refuses to write."""
    assert len(old) == len(new)
    path = write_dataset(folder / "x.dcm", make_dataset(**attributes))
    data = path.read_bytes()
    assert data.count(old) == 1
    path.write_bytes(data.replace(old, new))
    return describe_images(read_header(path), path)[0]


@pytest.mark.reliability
@pytest.mark.parametrize("value", [b"NaN    ", b"inf    ", b"-inf   ", b"1_0    ", b"abc    "])
def test_numbers_that_are_none_are_not_used(value: bytes, tmp_path: Path) -> None:
    image = patched(tmp_path, b"1.98765", value, RescaleSlope="1.98765", RescaleIntercept="0")
    assert (image.description.rescale_slope, image.description.rescale_intercept) == (1.0, 0.0)
    assert codes(image) == ["rescale.not-finite"]
    image = patched(tmp_path, b"0.98765", value, PixelSpacing=["0.98765", "1"])
    assert image.description.no_measuring_because == "The file gives a pixel spacing that is not a number."
    image = patched(tmp_path, b"12.8765", value, **{**PLANE, "ImagePositionPatient": ["12.8765", "0", "0"]})
    assert image.description.plane is None
    assert codes(image) == ["geometry.not-finite"]


@pytest.mark.reliability
def test_an_impossible_orientation_forbids_measuring(tmp_path: Path) -> None:
    place = {"ImageOrientationPatient": [0, 0, 0, 0, 0, 0], "ImagePositionPatient": [0, 0, 0]}
    description = described(tmp_path, PixelSpacing=[1, 1], **place).description
    assert description.pixel_spacing_mm is None
    assert description.no_measuring_because == "The file's image orientation or position makes no sense."


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"ImageOrientationPatient": [0, 0, 0, 0, 0, 0], "ImagePositionPatient": [0, 0, 0]}, "geometry.orientation"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0], "ImagePositionPatient": [0, 0, 0]}, "geometry.orientation"),
        ({"ImageOrientationPatient": [2, 0, 0, 0, 1, 0], "ImagePositionPatient": [0, 0, 0]}, "geometry.orientation"),
        ({"ImagePositionPatient": [0, 0, 0]}, "geometry.incomplete"),
        ({"RescaleSlope": 0, "RescaleIntercept": 5}, "rescale.zero"),
        ({"WindowCenter": 40, "WindowWidth": 0}, "window.invalid"),
        ({"WindowCenter": 40, "WindowWidth": -5}, "window.invalid"),
        ({"WindowCenter": 40, "WindowWidth": 0.5}, "window.invalid"),
    ],
)
def test_nonsense_is_not_used_and_said(attributes: dict[str, Any], code: str, tmp_path: Path) -> None:
    image = described(tmp_path, **attributes)
    assert code in codes(image)
    assert image.description.plane is None
    assert image.description.windows == ()
    assert image.description.rescale_slope == 1


def test_windows_with_their_names_and_function(tmp_path: Path) -> None:
    description = described(
        tmp_path,
        WindowCenter=[40, 50, 600],
        WindowWidth=[80, 0, 1600],
        WindowCenterWidthExplanation=["BRAIN", "BROKEN", "BONE"],
        VOILUTFunction="SIGMOID",
    ).description
    assert description.windows == (Window(40, 80, "SIGMOID", "BRAIN"), Window(600, 1600, "SIGMOID", "BONE"))


def test_an_enhanced_object_has_a_description_for_each_frame(tmp_path: Path) -> None:
    dataset = make_dataset(np.zeros((8, 4), np.uint16), Rows=4, NumberOfFrames=2)
    shared, orientation, measures, window = Dataset(), Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing = [0.4, 0.6]
    window.WindowCenter, window.WindowWidth = 40, 80
    shared.PlaneOrientationSequence = Sequence([orientation])
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.FrameVOILUTSequence = Sequence([window])
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    groups = []
    for index in range(2):
        group, position, values = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [0, 0, 5 * index]
        values.RescaleSlope, values.RescaleIntercept, values.RescaleType = 2 + index, -1024, "HU"
        group.PlanePositionSequence = Sequence([position])
        group.PixelValueTransformationSequence = Sequence([values])
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = Sequence(groups)
    path = write_dataset(tmp_path / "x.dcm", dataset)
    first, second = describe_images(read_header(path), path)
    assert first.description.plane is not None
    assert second.description.plane is not None
    assert second.description.plane.position == (0, 0, 5)
    assert (first.description.rescale_slope, second.description.rescale_slope) == (2, 3)
    assert second.description.rescale_type == "HU"
    assert second.description.pixel_spacing_mm == (0.4, 0.6)
    assert second.description.windows == (Window(40, 80),)


@pytest.mark.reliability
@pytest.mark.parametrize(("kind", "bits"), [("", 32), ("Double", 64)])
@pytest.mark.parametrize(("limit", "padding"), [(None, (-1e9, -1e9)), (-2e9, (-2e9, -1e9))])
def test_padding_of_floats_is_nothing(
    kind: str, bits: int, limit: float | None, padding: tuple[float, float], tmp_path: Path
) -> None:
    pixels = np.full((8, 8), 1.5, f"f{bits // 8}")
    pixels[:4] = -1e9 if limit is None else -1.5e9
    dataset = make_dataset(Modality="MR", BitsAllocated=bits, PixelPaddingValue=1)
    for name in ("PixelData", "PixelRepresentation", "HighBit", "BitsStored"):
        delattr(dataset, name)
    setattr(dataset, f"{kind}FloatPixelData", pixels.tobytes())
    setattr(dataset, f"{kind}FloatPixelPaddingValue", -1e9)
    if limit is not None:
        setattr(dataset, f"{kind}FloatPixelPaddingRangeLimit", limit)
    path = write_dataset(tmp_path / "a.dcm", dataset)
    (image,) = describe_images(read_header(path), path)
    frame = read_frame(image)
    assert image.description.pixel_padding_range == padding
    whole = new_measurement("rectangle", [(0, 0), (8, 8)], (image.sop_instance_uid, 0))
    found = {one.name: one.value for one in measure(whole, frame)}
    assert (found["mean"], found["pixels"]) == (1.5, 32)
    assert default_window(frame).center == pytest.approx(1.5)
    assert not to_display(frame)[:4].any()


def test_padding_has_the_sign_of_the_pixels(tmp_path: Path) -> None:
    dataset = make_dataset(np.zeros((4, 4), np.int16))
    dataset.add_new(0x00280120, "US", 0xF830)  # -2000 by a writer who mixed up US and SS
    path = write_dataset(tmp_path / "x.dcm", dataset)
    assert describe_images(read_header(path), path)[0].description.pixel_padding_range == (-2000, -2000)


@pytest.mark.parametrize(
    ("word", "code", "meaning", "view"),
    [
        ("", "272479007", "postero-anterior", "PA"), ("", "R-10206", "antero-posterior", "AP"),
        ("", "399173006", "left lateral", "LL"), ("", "399067008", "lateral", "LATERAL"),
        ("", "399033003", "frontal", ""), ("PA", "399173006", "left lateral", "PA"), ("", "", "", ""),
    ],
)  # fmt: skip
def test_a_view_that_is_stated_by_a_code(word: str, code: str, meaning: str, view: str, tmp_path: Path) -> None:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, "SCT", meaning
    found = described(tmp_path, ViewPosition=word, ViewCodeSequence=Sequence([item] if code else []))
    assert found.description.view_position == view


@pytest.mark.parametrize(
    ("attributes", "rate"),
    [
        ({}, None), ({"FrameTime": "40"}, 25.0), ({"CineRate": 30, "FrameTime": "40"}, 30.0),
        ({"RecommendedDisplayFrameRate": 12, "CineRate": 30}, 12.0), ({"FrameTime": "0"}, None),
        ({"CineRate": -5, "FrameTime": "50"}, 20.0), ({"FrameTime": "0.0001"}, 120.0),
        ({"FrameTimeVector": ["0", "50", "50"]}, 20.0), ({"FrameTimeVector": ["0", "20", "60"]}, 25.0),
        ({"FrameTimeVector": ["0", "50"], "FrameTime": "40"}, 25.0), ({"FrameTimeVector": ["40"]}, None),
        ({"FrameTimeVector": ["0", "-5", "50"]}, None), ({"FrameTimeVector": ["0", "0"]}, None),
    ],
)  # fmt: skip
def test_the_rate_at_which_the_file_wishes_to_be_played(
    attributes: dict[str, Any], rate: float, tmp_path: Path
) -> None:
    assert described(tmp_path, **attributes).frame_rate_hz == rate


@pytest.mark.parametrize(
    ("steps", "is_mean"), [(["0", "33", "34"], False), (["0", "20", "60"], True), (["9999", "40", "40"], False)]
)
def test_frames_that_did_not_follow_evenly_are_known(steps: list[str], is_mean: bool, tmp_path: Path) -> None:
    assert described(tmp_path, FrameTimeVector=steps).is_rate_mean is is_mean
    assert not described(tmp_path, FrameTimeVector=steps, CineRate=30).is_rate_mean


PIXELS = np.random.default_rng(3).integers(0, 4096, (16, 16), dtype=np.uint16)


def jpeg_ls(level: int) -> bytes:
    return bytes(imagecodecs.jpegls_encode(PIXELS, level=level))


def jpeg_2000(*, reversible: bool, level: int) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(PIXELS, reversible=reversible, level=level, codecformat="J2K"))


def htj2k(*, reversible: bool) -> bytes:
    return bytes(imagecodecs.htj2k_encode(PIXELS, reversible=reversible))


@pytest.mark.reliability
@pytest.mark.parametrize(
    ("syntax", "stream", "is_lossy"),
    [
        (JPEG_LS, jpeg_ls(0), False),
        (JPEG_LS_NEAR, jpeg_ls(0), False),
        (JPEG_LS_NEAR, jpeg_ls(3), True),
        (JPEG_LS_NEAR, b"nothing that anyone could read", True),
        (JPEG_2000_LOSSLESS, jpeg_2000(reversible=True, level=0), False),
        (JPEG_2000, jpeg_2000(reversible=False, level=0), True),
        (JPEG_2000, jpeg_2000(reversible=True, level=0), None),
        (JPEG_2000, jpeg_2000(reversible=True, level=40), None),  # reversible, and bits left out after it
        (JPEG_2000, b"nothing that anyone could read", None),
        (HTJ2K, htj2k(reversible=False), True),
        (HTJ2K, htj2k(reversible=True), None),
    ],
)
def test_nothing_is_called_lossless_that_may_not_be(
    syntax: str, stream: bytes, is_lossy: bool | None, tmp_path: Path
) -> None:
    path = write_compressed(tmp_path / "x.dcm", stream, syntax, make_dataset(PIXELS))
    assert describe_images(read_header(path), path)[0].description.is_lossy is is_lossy
    told = make_dataset(PIXELS, LossyImageCompression="01")
    path = write_compressed(tmp_path / "y.dcm", stream, syntax, told)
    assert describe_images(read_header(path), path)[0].description.is_lossy is True


def test_the_first_frame_does_not_speak_for_the_others(tmp_path: Path) -> None:
    dataset = make_dataset(np.zeros((32, 16), np.uint16), Rows=16, NumberOfFrames=2)
    dataset.PixelData = encapsulate([jpeg_ls(0), jpeg_ls(3)])
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    path = write_dataset(tmp_path / "x.dcm", dataset, JPEG_LS_NEAR)
    assert [image.description.is_lossy for image in describe_images(read_header(path), path)] == [None, None]


def grouped(folder: Path, shared: Dataset, own: tuple[Dataset, Dataset], syntax: str, **attributes: Any) -> list[Image]:
    """Two frames with these functional groups."""
    dataset = make_dataset(np.arange(32, dtype=np.uint16).reshape(8, 4), Rows=4, NumberOfFrames=2, **attributes)
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    dataset.PerFrameFunctionalGroupsSequence = Sequence(own)
    path = write_dataset(folder / "x.dcm", dataset, syntax)
    return list(describe_images(read_header(path), path))


def group(sequence: str, **attributes: Any) -> Dataset:
    """A functional group that holds one item of a sequence."""
    item, groups = Dataset(), Dataset()
    for name, value in attributes.items():
        setattr(item, name, value)
    setattr(groups, sequence, Sequence([item]))
    return groups


def inverting_lut(explanation: str) -> Dataset:
    table = Dataset()
    table.LUTDescriptor, table.LUTExplanation = [32, 0, 8], explanation
    table.add_new("LUTData", "OW", np.linspace(255, 0, 32).astype("<u2").tobytes())
    return table


BOTH_VALUE_REPRESENTATIONS = pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])


@pytest.mark.reliability
@BOTH_VALUE_REPRESENTATIONS
def test_a_look_up_table_of_the_functional_groups_is_that_of_its_frame(syntax: str, tmp_path: Path) -> None:
    shared = group("FrameVOILUTSequence", VOILUTSequence=Sequence([inverting_lut("shared")]))
    own = group("FrameVOILUTSequence", VOILUTSequence=Sequence([inverting_lut("own"), inverting_lut("other")]))
    first, second = grouped(tmp_path, shared, (own, Dataset()), syntax)
    assert [table.name for table in first.description.voi_luts] == ["own", "other"]
    assert [table.name for table in second.description.voi_luts] == ["shared"]
    frame = to_display(read_frame(second))
    assert frame.ravel()[0] > frame.ravel()[-1]
    whole = to_display(read_frame(first))
    assert whole.ravel()[0] == 255


@pytest.mark.reliability
def test_a_table_that_all_frames_share_is_kept_once_and_goes_before_that_of_the_file(tmp_path: Path) -> None:
    shared = group("FrameVOILUTSequence", VOILUTSequence=Sequence([inverting_lut("shared")]))
    of_file = {"VOILUTSequence": Sequence([inverting_lut("file")])}
    first, second = grouped(tmp_path, shared, (Dataset(), Dataset()), ExplicitVRLittleEndian, **of_file)
    assert first.description.voi_luts[0].name == "shared"
    assert first.description.voi_luts[0] is second.description.voi_luts[0]
    window = group("FrameVOILUTSequence", WindowCenter=8, WindowWidth=4)
    windowed, _ = grouped(tmp_path, window, (Dataset(), Dataset()), ExplicitVRLittleEndian, **of_file)
    assert windowed.description.windows == (Window(8, 4),)
    assert [table.name for table in windowed.description.voi_luts] == ["file"]


@pytest.mark.reliability
@BOTH_VALUE_REPRESENTATIONS
def test_the_spacing_of_the_detector_may_stand_in_the_functional_groups(syntax: str, tmp_path: Path) -> None:
    shared = group("FramePixelDataPropertiesSequence", ImagerPixelSpacing=[0.2, 0.3])
    own = group("FramePixelDataPropertiesSequence", ImagerPixelSpacing=[0.4, 0.5])
    first, second = (one.description for one in grouped(tmp_path, shared, (own, Dataset()), syntax, Modality="XA"))
    assert (first.pixel_spacing_mm, first.spacing_source) == ((0.4, 0.5), "at detector")
    assert (second.pixel_spacing_mm, second.spacing_source) == ((0.2, 0.3), "at detector")
    assert second.no_measuring_because == ""


@pytest.mark.reliability
def test_the_detectors_spacing_of_a_frame_is_checked_and_compared_as_that_of_a_file(tmp_path: Path) -> None:
    none = (Dataset(), Dataset())
    wrong = group("FramePixelDataPropertiesSequence", ImagerPixelSpacing=[0, 0])
    description = grouped(tmp_path, wrong, none, ExplicitVRLittleEndian, Modality="XA")[0].description
    assert description.no_measuring_because == "The file gives a pixel spacing of 0."
    shared = group("FramePixelDataPropertiesSequence", ImagerPixelSpacing=[0.2, 0.2])
    shared.PixelMeasuresSequence = group("PixelMeasuresSequence", PixelSpacing=[0.15, 0.15]).PixelMeasuresSequence
    description = grouped(tmp_path, shared, none, ExplicitVRLittleEndian, Modality="XA")[0].description
    assert (description.pixel_spacing_mm, description.spacing_source) == ((0.15, 0.15), "calibrated")


@pytest.mark.reliability
@BOTH_VALUE_REPRESENTATIONS
def test_the_side_and_the_directions_of_a_frame_go_before_those_of_the_file(syntax: str, tmp_path: Path) -> None:
    shared = group("FrameAnatomySequence", FrameLaterality="L")
    orientation = group("PatientOrientationInFrameSequence", PatientOrientation=["A", "F"])
    shared.PatientOrientationInFrameSequence = orientation.PatientOrientationInFrameSequence
    own = group("FrameAnatomySequence", FrameLaterality="R")
    own.PatientOrientationInFrameSequence = group(
        "PatientOrientationInFrameSequence", PatientOrientation=["P", "F"]
    ).PatientOrientationInFrameSequence
    of_file = {"PatientOrientation": ["L", "F"], "ImageLaterality": "B"}
    first, second = (one.description for one in grouped(tmp_path, shared, (own, Dataset()), syntax, **of_file))
    assert (first.image_laterality, first.patient_orientation) == ("R", ("P", "F"))
    assert (second.image_laterality, second.patient_orientation) == ("L", ("A", "F"))
    assert orientation_letters(second).left == "P"
    plain = grouped(tmp_path, Dataset(), (Dataset(), Dataset()), syntax, **of_file)[0].description
    assert (plain.image_laterality, plain.patient_orientation) == ("B", ("L", "F"))
