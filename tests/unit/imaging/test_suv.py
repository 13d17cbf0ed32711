"""SUV by body weight, worked out by hand, and the reasons why there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from medviewer.domain.study import PixelDescription
from medviewer.imaging.description import describe_images
from medviewer.imaging.header import read_header
from medviewer.imaging.suv import common_suv
from tests import samples
from tests.dicom_maker import make_dataset, write_dataset

PET = "1.2.840.10008.5.1.4.1.1.128"
# 70 kg; 400 MBq at 10:00; 6000 s of half-life; scan at 11:40, 6000 s later: 200 MBq are left.
# SUV = Bq/ml x 70000 g / 200e6 Bq.
KNOWN: dict[str, Any] = {
    "SOPClassUID": PET, "Modality": "PT", "Units": "BQML", "DecayCorrection": "START", "PatientWeight": "70",
    "CorrectedImage": ["NORM", "ATTN", "DECY"], "SeriesDate": "20260102", "SeriesTime": "114000",
    "AcquisitionDate": "20260102", "AcquisitionTime": "114500",
}  # fmt: skip
TRACER: dict[str, Any] = {
    "RadiopharmaceuticalStartTime": "100000", "RadionuclideTotalDose": "400000000", "RadionuclideHalfLife": "6000",
}  # fmt: skip
FACTOR = 70_000 / 200e6


def described(folder: Path, tracer: dict[str, Any] | None = None, **changes: Any) -> PixelDescription:
    item = Dataset()
    for keyword, value in {**TRACER, **(tracer or {})}.items():
        if value is not None:
            setattr(item, keyword, value)
    dataset = make_dataset(RadiopharmaceuticalInformationSequence=[item])
    for keyword, value in {**KNOWN, **changes}.items():
        if value is not None:
            setattr(dataset, keyword, value)
    path = write_dataset(folder / "pet.dcm", dataset)
    return describe_images(read_header(path), path)[0].description


@pytest.mark.parametrize(
    ("of_slices", "expected"),
    [
        ([(0.5, ""), (0.5 * (1 + 1e-9), "")], (0.5, "")),
        ([(0.5, ""), (0.6, "")], (None, "The slices have different factors to SUV.")),
        ([(0.5, ""), (None, "The file gives no sensible half-life.")], (None, "The file gives no sensible half-life.")),
        ([(None, ""), (0.5, "")], (None, "The slices have different factors to SUV.")),
        ([(None, ""), (None, "")], (None, "")),  # no PET at all
    ],
)
def test_slices_have_an_suv_together_only_by_one_factor(
    of_slices: list[tuple[float | None, str]], expected: tuple[float | None, str]
) -> None:
    slices = [PixelDescription("PT", 1, 1, suv_factor=factor, no_suv_because=why) for factor, why in of_slices]
    assert common_suv(slices) == expected


@pytest.mark.reliability
def test_the_dose_decays_to_the_start_of_the_scan(tmp_path: Path) -> None:
    description = described(tmp_path)
    assert description.suv_factor == pytest.approx(FACTOR)
    assert (description.value_unit, description.no_suv_because) == ("Bq/ml", "")


@pytest.mark.reliability
def test_corrected_to_the_injection_the_dose_does_not_decay(tmp_path: Path) -> None:
    assert described(tmp_path, DecayCorrection="ADMIN").suv_factor == pytest.approx(70_000 / 400e6)


@pytest.mark.parametrize(
    ("tracer", "changes"),
    [
        ({"RadiopharmaceuticalStartTime": None, "RadiopharmaceuticalStartDateTime": "20260102100000"}, {}),
        (
            {"RadiopharmaceuticalStartDateTime": "20260102100000.00+0100", "RadiopharmaceuticalStartTime": "080000"},
            {"TimezoneOffsetFromUTC": "+0100"},
        ),
        # Over midnight: 23:20 to 01:00.
        (
            {"RadiopharmaceuticalStartTime": "232000"},
            {"SeriesTime": "010000", "AcquisitionTime": "010500"},
        ),
        # A second bed position, hours after the start of the scan, is corrected to the same start.
        ({}, {"AcquisitionTime": "150000"}),
    ],
)
def test_the_times_that_a_file_may_give(tracer: dict[str, Any], changes: dict[str, Any], tmp_path: Path) -> None:
    assert described(tmp_path, tracer, **changes).suv_factor == pytest.approx(FACTOR)


def test_the_factor_of_philips_and_values_that_are_suv_already(tmp_path: Path) -> None:
    assert described(tmp_path, Units="GML").suv_factor == 1.0
    assert described(tmp_path, Units="GML").value_unit == "g/ml"
    assert "not by body weight" in described(tmp_path, Units="GML", SUVType="LBM").no_suv_because
    assert "no factor" in described(tmp_path, Units="CNTS").no_suv_because
    assert described(tmp_path, Units="CNTS").value_unit == "{counts}"
    for creator, factor in (("Philips PET Private Group", 0.000551), ("SOMEBODY ELSE", None)):
        dataset = make_dataset(**KNOWN)
        dataset.Units = "CNTS"
        dataset.private_block(0x7053, creator, create=True).add_new(0x00, "DS", "0.000551")
        path = write_dataset(tmp_path / "philips.dcm", dataset)
        assert describe_images(read_header(path), path)[0].description.suv_factor == factor


@pytest.mark.reliability
@pytest.mark.parametrize(
    ("tracer", "changes", "words"),
    [
        ({}, {"Units": "PROPCNTS"}, "not activity"),
        ({}, {"Units": None}, "not activity"),
        ({}, {"CorrectedImage": ["ATTN"]}, "attenuation and decay"),
        ({}, {"CorrectedImage": ["DECY"]}, "attenuation and decay"),
        ({}, {"PatientWeight": None}, "weight"),
        ({}, {"PatientWeight": "0"}, "weight"),
        ({}, {"PatientWeight": "70000"}, "weight"),
        ({"RadionuclideTotalDose": None}, {}, "injected activity"),
        ({"RadionuclideTotalDose": "0"}, {}, "injected activity"),
        ({"RadionuclideTotalDose": "400"}, {}, "injected activity"),  # MBq
        ({"RadionuclideHalfLife": None}, {}, "half-life"),
        ({"RadionuclideHalfLife": "0"}, {}, "half-life"),
        ({}, {"DecayCorrection": "NONE"}, "which time"),
        ({}, {"DecayCorrection": None}, "which time"),
        ({}, {"SeriesTime": None}, "time of the scan"),
        ({}, {"AcquisitionDate": None}, "time of the scan"),
        ({}, {"SeriesTime": "114501"}, "dated later"),
        ({"RadiopharmaceuticalStartTime": None}, {}, "time of injection"),
        ({"RadiopharmaceuticalStartTime": "10"}, {}, "time of injection"),
        ({"RadiopharmaceuticalStartTime": "114001"}, {}, "do not fit"),  # else a day before, 14 half-lives
        ({"RadiopharmaceuticalStartDateTime": "20260102120000"}, {}, "do not fit"),
        ({"RadiopharmaceuticalStartDateTime": "20260102100000+0100"}, {}, "time of injection"),
        ({"RadionuclideHalfLife": "282276"}, {}, "lasts for days"),  # zirconium-89
        ({}, {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.130"}, "plain PET"),
    ],
)
def test_what_is_missing_or_doubtful_gives_a_reason_and_no_suv(
    tracer: dict[str, Any], changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    description = described(tmp_path, tracer, **changes)
    assert description.suv_factor is None
    assert words in description.no_suv_because


def test_two_tracers_are_not_one(tmp_path: Path) -> None:
    item = Dataset()
    item.RadionuclideTotalDose = "400000000"
    dataset = make_dataset(**KNOWN, RadiopharmaceuticalInformationSequence=[item, item])
    path = write_dataset(tmp_path / "two.dcm", dataset)
    assert "one radiopharmaceutical" in describe_images(read_header(path), path)[0].description.no_suv_because


def test_other_images_say_nothing_of_suv(tmp_path: Path) -> None:
    description = described(tmp_path, Modality="CT")
    assert (description.suv_factor, description.no_suv_because, description.value_unit) == (None, "", "")


def test_a_real_pet_gives_what_its_header_gives_by_hand() -> None:
    corpus = samples.corpus()
    if corpus is None:
        pytest.skip("no corpus: set MEDVIEWER_CORPUS")
    path = corpus / "tcia_pet" / "1.dcm"
    header = dcmread(path, stop_before_pixels=True)
    elapsed_s = (15 * 3600 + 23 * 60 + 16.921) - (14 * 3600 + 17 * 60)
    expected = float(header.PatientWeight) * 1000 / (178340011.59668 * 2 ** (-elapsed_s / 6586.2))
    assert describe_images(read_header(path), path)[0].description.suv_factor == pytest.approx(expected)
