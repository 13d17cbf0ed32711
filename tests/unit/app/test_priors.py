"""Which image of several earlier studies, each of several series, stands beside the one on screen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from medviewer.app.hanging_match import possible_side, side_of
from medviewer.app.on_screen import pane_state, selections
from tests.dicom_maker import make_dataset, write_dataset
from tests.radiographs import write_radiograph

if TYPE_CHECKING:
    from medviewer.app.application import Application

ORIENTATIONS = {"AX": [1, 0, 0, 0, 1, 0], "COR": [1, 0, 0, 0, 0, -1], "SAG": [0, 1, 0, 0, 0, -1]}
NORMALS = {"AX": (0, 0, 1), "COR": (0, 1, 0), "SAG": (1, 0, 0)}
SCOUT: dict[str, Any] = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
AXIAL: dict[str, Any] = {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "SliceThickness": 5}


def write_series(folder: Path, date: str, number: int, name: str, slices: int = 4, **changes: Any) -> None:
    """A series whose last word says its plane."""
    folder.mkdir(parents=True, exist_ok=True)
    plane = name.rsplit(maxsplit=1)[-1]
    for index in range(slices):
        own = {
            "StudyInstanceUID": f"2.25.{date}", "SeriesInstanceUID": f"2.25.{date}{number}", "StudyDate": date,
            "SeriesNumber": number, "SeriesDescription": name, "InstanceNumber": index + 1, "PixelSpacing": [2, 2],
            "ImageOrientationPatient": ORIENTATIONS[plane], "FrameOfReferenceUID": f"2.25.{date}0",
            "ImagePositionPatient": [5.0 * index * one for one in NORMALS[plane]], "RescaleIntercept": -1024,
        }  # fmt: skip
        dataset = make_dataset(np.full((8, 8), index, np.uint16), **own | changes)
        write_dataset(folder / f"{date}-{number}-{index}.dcm", dataset)


def compare(app: Application, folder: Path, description: str) -> tuple[str, str]:
    """Date and description of what stands beside the latest study's series."""
    app.run_command("file.open_folder", folder)
    latest = max(one.study.date for one in selections(app.state.collection))
    found = [one for one in selections(app.state.collection) if one.study.date == latest and one.index == 0]
    app.run_command("image.select", next(one for one in found if one.series.description == description))
    app.run_command("layout.prior")
    assert app.state.layout == (1, 2), app.state.notice
    beside = pane_state(app.state, 1).selection
    assert beside is not None
    return beside.study.date, beside.series.description


@pytest.mark.reliability
@pytest.mark.parametrize("kind", [SCOUT, {}], ids=["told by the file", "told by its name and size"])
def test_each_series_has_its_own_beside_it_and_never_the_scout(
    application: Application, tmp_path: Path, kind: dict[str, Any]
) -> None:
    for date in ("20200101", "20210101", "20220101"):
        write_series(tmp_path, date, 1, "Scout COR", 1, **kind)
        write_series(tmp_path, date, 2, "Abdomen AX", **AXIAL if kind else {})
        write_series(tmp_path, date, 3, "Abdomen COR")
    for name in ("Abdomen AX", "Abdomen COR", "Scout COR"):
        application.run_command("layout.use", (1, 1)) if application.state.selection else None
        assert compare(application, tmp_path, name) == ("20210101", name)


@pytest.mark.reliability
def test_a_localizer_alone_is_no_prior_of_a_stack(application: Application, tmp_path: Path) -> None:
    write_series(tmp_path, "20200101", 1, "Planning AX", 4, **SCOUT)
    write_series(tmp_path, "20210101", 1, "Abdomen AX")
    application.run_command("file.open_folder", tmp_path)
    application.run_command(
        "image.select", next(one for one in selections(application.state.collection) if one.study.date == "20210101")
    )
    application.run_command("layout.prior")
    assert application.state.layout == (1, 1)
    assert "Only localizers" in application.state.notice.text


def test_an_earlier_survey_of_the_skeleton_is_no_localizer(application: Application, tmp_path: Path) -> None:
    write_series(tmp_path, "20200101", 1, "Skeletal survey AX")
    write_series(tmp_path, "20210101", 1, "Abdomen AX")
    assert compare(application, tmp_path, "Abdomen AX") == ("20200101", "Skeletal survey AX")


@pytest.mark.parametrize(
    ("now", "alike", "other"),
    [
        ({}, {}, {"ImageType": ["DERIVED", "SECONDARY", "MIP"]}),
        ({}, {}, {"ImageType": ["DERIVED", "SECONDARY", "MPR"]}),
        ({"SliceThickness": 1}, {"SliceThickness": 1.25}, {"SliceThickness": 5}),
        ({"ConvolutionKernel": "B70f"}, {"ConvolutionKernel": "B70f"}, {"ConvolutionKernel": "B30f"}),
        ({"ContrastBolusAgent": "x"}, {"ContrastBolusAgent": "y"}, {}),
        ({"ProtocolName": "Liver"}, {"ProtocolName": "Liver"}, {"ProtocolName": "Lung"}),
        ({"Modality": "MR", "EchoTime": 100}, {"Modality": "MR", "EchoTime": 90}, {"Modality": "MR", "EchoTime": 10}),
        ({}, {"BodyPartExamined": "CHEST"}, {"BodyPartExamined": "HEAD"}),
        ({"SeriesDescription": "t1w_tse AX"}, {"SeriesDescription": "T1 TRA"}, {"SeriesDescription": "T2 TRA"}),
    ],
    ids=["projection", "reformatted", "thickness", "kernel", "contrast medium", "protocol", "echo", "part", "words"],
)
@pytest.mark.parametrize("is_first", [True, False])
def test_of_one_study_the_most_alike_stack_is_taken(
    application: Application, tmp_path: Path, now: dict[str, Any], alike: dict[str, Any], other: dict[str, Any],
    is_first: bool,
) -> None:  # fmt: skip
    made = {"ImageType": AXIAL["ImageType"], "BodyPartExamined": "CHEST"}
    numbers = (1, 2) if is_first else (2, 1)
    write_series(tmp_path, "20200101", numbers[0], "A AX", **made | alike)
    write_series(tmp_path, "20200101", numbers[1], "A AX", **made | other)
    write_series(tmp_path, "20210101", 1, "A AX", **made | now)
    compare(application, tmp_path, str(now.get("SeriesDescription", "A AX")))
    beside = pane_state(application.state, 1).selection
    assert beside.series.number == numbers[0]


def _film(folder: Path, date: str, name: str, **changes: Any) -> None:
    uids = {"StudyInstanceUID": f"2.25.{date}", "SeriesInstanceUID": f"2.25.{date}1"}
    own = {"StudyDate": date, "Modality": "DX", "SeriesDescription": name, "BodyPartExamined": "KNEE"}
    write_radiograph(folder / f"{date}.dcm", **uids, **(own | changes))


@pytest.mark.reliability
@pytest.mark.parametrize(
    ("earlier", "now", "is_shown"),
    [
        ({}, "L KNEE", True),
        ({"SeriesDescription": "R KNEE"}, "L KNEE", False),
        ({"SeriesDescription": "knee_r"}, "KNEE (L)", False),
        ({"SeriesDescription": "AP", "BodyPartExamined": "R KNEE"}, "L KNEE", False),
        ({"SeriesDescription": "AP", "StudyDescription": "Knee R"}, "L KNEE", False),
        ({"SeriesDescription": "Right knee"}, "L KNEE", False),
        ({"ImageLaterality": "R"}, "L KNEE", False),
        ({"SeriesDescription": "L KNEE"}, "L KNEE", True),
        ({"SeriesDescription": "KNEES R/L"}, "L KNEE", True),
        ({"SeriesDescription": "KNEES R/L"}, "R KNEE", True),
        ({"SeriesDescription": "KNEE R", "BodyPartExamined": "L KNEE"}, "L KNEE", True),
        ({"SeriesDescription": "KNEE R", "BodyPartExamined": "L KNEE"}, "R KNEE", True),
        ({"SeriesDescription": "R HIP"}, "L SPINE", True),
        ({"SeriesDescription": "R HIP"}, "T/L SPINE", True),
        ({"SeriesDescription": "R HIP"}, "T/L", True),
        ({"SeriesDescription": "R HIP"}, "L S spine", True),
        ({"SeriesDescription": "R LAT"}, "L LAT", True),
        ({"SeriesDescription": "CHEST LAT R"}, "CHEST LAT L", True),
        ({"SeriesDescription": "R ANT OBL"}, "L ANT OBL", True),
        ({"SeriesDescription": "KNEE R"}, "AP/L", True),
        ({"SeriesDescription": "KNEE R"}, "L5 S1", True),
    ],
)
def test_a_letter_of_the_other_side_is_no_prior_and_one_that_may_mean_something_else_does_not_count(
    application: Application, tmp_path: Path, earlier: dict[str, str], now: str, is_shown: bool
) -> None:
    _film(tmp_path, "20200101", "KNEE", **earlier)
    _film(tmp_path, "20210101", now)
    application.run_command("file.open_folder", tmp_path)
    latest = next(one for one in selections(application.state.collection) if one.study.date == "20210101")
    application.run_command("image.select", latest)
    application.run_command("layout.prior")
    assert (application.state.layout == (1, 2)) == is_shown


def test_a_letter_never_claims_a_side(application: Application, tmp_path: Path) -> None:
    """It makes no earlier study the better one, and no protocol's image of a side."""
    _film(tmp_path, "20190101", "L KNEE")
    _film(tmp_path, "20200101", "KNEE")
    _film(tmp_path, "20210101", "L KNEE")
    application.run_command("file.open_folder", tmp_path)
    assert {side_of(one) for one in selections(application.state.collection)} == {""}
    assert {possible_side(one) for one in selections(application.state.collection)} == {"", "L"}
    latest = next(one for one in selections(application.state.collection) if one.study.date == "20210101")
    application.run_command("image.select", latest)
    application.run_command("layout.prior")
    beside = pane_state(application.state, 1).selection
    assert beside is not None
    assert beside.study.date == "20200101"


@pytest.mark.parametrize("modality", ["CR", "RG", "DX"])
def test_a_film_of_another_kind_of_detector_is_a_prior(application: Application, tmp_path: Path, modality: str) -> None:
    for date, kind in (("20200101", modality), ("20210101", "DX")):
        uids = {"StudyInstanceUID": f"2.25.{date}", "SeriesInstanceUID": f"2.25.{date}1"}
        own = {"StudyDate": date, "Modality": kind, "SeriesDescription": kind, "BodyPartExamined": "HAND"}
        write_radiograph(tmp_path / f"{date}.dcm", **uids | own)
    assert compare(application, tmp_path, "DX") == ("20200101", modality)


def test_a_mammogram_is_no_prior_of_a_film(application: Application, tmp_path: Path) -> None:
    for date, kind in (("20200101", "MG"), ("20210101", "DX")):
        uids = {"StudyInstanceUID": f"2.25.{date}", "SeriesInstanceUID": f"2.25.{date}1"}
        write_radiograph(tmp_path / f"{date}.dcm", **uids, StudyDate=date, Modality=kind)
    application.run_command("file.open_folder", tmp_path)
    application.run_command(
        "image.select", next(one for one in selections(application.state.collection) if one.study.date == "20210101")
    )
    application.run_command("layout.prior")
    assert "No earlier study" in application.state.notice.text


@pytest.mark.parametrize(
    ("name", "slices", "changes"),
    [
        ("Abdomen SAG", 4, {}),
        ("Abdomen AX", 1, {}),
        ("Abdomen AX", 4, {"BodyPartExamined": "HEAD"}),
        ("Abdomen AX", 4, {"ImageType": ["DERIVED", "SECONDARY", "AXIAL", "MIP"]}),
        ("Abdomen MIP AX", 4, {}),
    ],
    ids=["plane", "one image", "part of the body", "projection", "projection by its name"],
)
def test_an_older_study_that_can_be_compared_goes_before_a_later_one_that_cannot(
    application: Application, tmp_path: Path, name: str, slices: int, changes: dict[str, Any]
) -> None:
    known = {"BodyPartExamined": "ABDOMEN"}
    write_series(tmp_path, "20190101", 1, "Abdomen AX", **known)
    write_series(tmp_path, "20200101", 1, "Abdomen AX", **known)
    write_series(tmp_path, "20210101", 1, name, slices, **known | changes)
    write_series(tmp_path, "20220101", 1, "Abdomen AX", **known)
    assert compare(application, tmp_path, "Abdomen AX") == ("20200101", "Abdomen AX")


def test_the_latest_comparable_study_goes_before_an_older_one_that_was_made_more_alike(
    application: Application, tmp_path: Path
) -> None:
    write_series(tmp_path, "20200101", 1, "Abdomen AX", ConvolutionKernel="B30f", SliceThickness=1)
    write_series(tmp_path, "20210101", 1, "Liver AX", ConvolutionKernel="B70f", SliceThickness=5)
    write_series(tmp_path, "20220101", 1, "Abdomen AX", ConvolutionKernel="B30f", SliceThickness=1)
    assert compare(application, tmp_path, "Abdomen AX") == ("20210101", "Liver AX")


def test_a_prior_that_is_counted_from_the_other_end_shows_the_same_end_of_the_patient(
    application: Application, tmp_path: Path
) -> None:
    """Mirrored rows turn the normal, and with it the order of slices: the neck would stand beside the pelvis."""
    write_series(tmp_path, "20200101", 1, "Abdomen AX", 6, ImageOrientationPatient=[1, 0, 0, 0, -1, 0])
    write_series(tmp_path, "20210101", 1, "Abdomen AX", 6)
    application.run_command("file.open_folder", tmp_path)
    now = next(one for one in selections(application.state.collection) if one.study.date == "20210101")
    application.run_command("image.select", now)
    application.run_command("image.show", 1)
    application.run_command("layout.prior")
    here, beside = application.state.selection, pane_state(application.state, 1).selection
    assert here is not None
    assert beside is not None
    planes = here.image.description.plane, beside.image.description.plane
    assert [plane.position[2] for plane in planes if plane is not None] == [5.0, 5.0]
