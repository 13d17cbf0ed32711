"""Every file is shown or named, once; what is not known to belong together is kept apart."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pydicom.data
import pytest

from medviewer.domain.errors import Stopped
from medviewer.domain.progress import StopToken
from medviewer.domain.study import Collection, Stack
from medviewer.imaging import tags
from medviewer.imaging.scan import documents_of, images_of, scan
from tests import samples
from tests.dicom_maker import make_dataset, write_dataset

OWN = Path(pydicom.data.__file__).parent / "test_files"


def write(folder: Path, name: str, **attributes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return write_dataset(folder / name, make_dataset(**attributes))


def stacks_of(collection: Collection) -> list[Stack]:
    return [k for p in collection.patients for s in p.studies for r in s.series for k in r.stacks]


def accounted(collection: Collection) -> list[Path]:
    return sorted([*collection.shown, *(problem.path for problem in collection.problems)])


def test_every_file_of_a_large_mixed_folder_is_accounted_for_once() -> None:
    collection = scan([OWN])
    assert accounted(collection) == sorted(path for path in OWN.rglob("*") if path.is_file())
    assert len(collection.shown) > 80
    images, documents = [image.path for image in images_of(collection)], [one.path for one in documents_of(collection)]
    assert set(images) | set(documents) == set(collection.shown)
    assert not set(images) & set(documents)
    assert len(documents) == len(set(documents)) > 3
    assert all(problem.reason.rstrip().endswith(".") for problem in collection.problems)


def test_the_zone_of_a_studys_times_is_read(tmp_path: Path) -> None:
    write(tmp_path / "zoned", "a.dcm", StudyDate="20240305", StudyTime="100000", TimezoneOffsetFromUTC="+0800")
    write(tmp_path / "local", "a.dcm")
    (zoned,), (local,) = ([s for p in scan([tmp_path / n]).patients for s in p.studies] for n in ("zoned", "local"))
    assert (zoned.utc_offset, str(zoned.zone)) == ("+0800", "UTC+08:00")
    assert (local.utc_offset, local.zone) == ("", None)


def test_one_bad_file_does_not_stop_the_rest(tmp_path: Path) -> None:
    write(tmp_path, "a.dcm")
    (tmp_path / "b.dcm").write_bytes(b"not dicom")
    (tmp_path / "c.dcm").write_bytes((tmp_path / "a.dcm").read_bytes()[:200])
    write(tmp_path, "d.dcm")
    collection = scan([tmp_path])
    assert [path.name for path in collection.shown] == ["a.dcm", "d.dcm"]
    assert sorted(problem.path.name for problem in collection.problems) == ["b.dcm", "c.dcm"]


def test_a_mistake_of_ours_does_not_stop_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, "a.dcm", PatientName="Secret^Name")
    write(tmp_path, "b.dcm", PatientName="Secret^Name")
    import medviewer.imaging.scan as module

    real = module.describe_images

    def broken(header: Any, path: Path) -> Any:
        if path.name == "a.dcm":
            raise ValueError(header.dataset.text(tags.PATIENT_NAME))
        return real(header, path)

    monkeypatch.setattr(module, "describe_images", broken)
    collection = scan([tmp_path])
    assert [path.name for path in collection.shown] == ["b.dcm"]
    assert "Unexpected" in collection.problems[0].reason
    assert "Secret" not in caplog.text
    assert "a.dcm" not in caplog.text
    assert "ValueError" in caplog.text


def test_missing_paths_and_odd_things_are_named(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere"
    collection = scan([missing])
    assert collection.problems[0].path == missing
    assert "does not exist" in collection.problems[0].reason


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "device or a pipe" in scan([tmp_path]).problems[0].reason


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="permissions do not hold this user back")
def test_an_unreadable_folder_is_named(tmp_path: Path) -> None:
    write(tmp_path / "closed", "a.dcm")
    write(tmp_path, "b.dcm")
    (tmp_path / "closed").chmod(0)
    try:
        collection = scan([tmp_path])
    finally:
        (tmp_path / "closed").chmod(0o700)
    assert len(collection.shown) == 1
    assert "not permitted" in collection.problems[0].reason


def test_a_folder_that_the_system_refuses_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "closed", "a.dcm")
    write(tmp_path, "b.dcm")
    real = os.scandir

    def refusing(path: Any) -> Any:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", refusing)
    collection = scan([tmp_path])
    assert len(collection.shown) == 1
    assert "not permitted" in collection.problems[0].reason


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_links_make_no_loops_and_no_doubles(tmp_path: Path) -> None:
    original = write(tmp_path / "a", "x.dcm")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "b.dcm").symlink_to(original)
    (tmp_path / "dangling.dcm").symlink_to(tmp_path / "gone")
    collection = scan([tmp_path, tmp_path / "a", original])
    assert len(collection.shown) == 1
    reasons = {problem.path.name: problem.reason for problem in collection.problems}
    assert len(reasons) == 2
    assert "does not exist" in reasons["dangling.dcm"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_a_link_to_itself_hides_no_other_file(tmp_path: Path) -> None:
    write(tmp_path, "a.dcm")
    (tmp_path / "self").symlink_to("self")
    collection = scan([tmp_path])
    assert [path.name for path in collection.shown] == ["a.dcm"]
    assert [(p.path.name, "leads back to itself" in p.reason) for p in collection.problems] == [("self", True)]


def test_a_dicomdir_stands_for_its_folder(tmp_path: Path) -> None:
    write(tmp_path / "IMAGES", "1")
    (tmp_path / "DICOMDIR").write_bytes((OWN / "dicomdirtests" / "DICOMDIR").read_bytes())
    collection = scan([tmp_path / "DICOMDIR"])
    assert [path.name for path in collection.shown] == ["1"]
    assert [(problem.path.name, problem.status) for problem in collection.problems] == [("DICOMDIR", "read")]


def test_an_exact_copy_is_shown_once_and_another_content_under_the_same_uid_is_said(tmp_path: Path) -> None:
    first = write(tmp_path, "a.dcm", SOPInstanceUID="2.25.9")
    (tmp_path / "b.dcm").write_bytes(first.read_bytes())
    write(tmp_path, "c.dcm", pixels=np.ones((8, 8), np.uint16), SOPInstanceUID="2.25.9")
    collection = scan([tmp_path])
    assert [path.name for path in collection.shown] == ["a.dcm", "c.dcm"]
    assert "exact copy of a.dcm" in collection.problems[0].reason
    # Either may be the wrong one.
    assert [[caveat.code for caveat in image.warnings] for image in images_of(collection)] == [["uid.duplicate"]] * 2


def test_images_of_two_patients_under_one_uid_are_both_doubted(tmp_path: Path) -> None:
    for index, name in enumerate(("a.dcm", "b.dcm", "c.dcm")):
        write(tmp_path, name, SOPInstanceUID="2.25.9", PatientID=f"P{index}")
    collection = scan([tmp_path], on_found=lambda _found: None)
    assert len(collection.patients) == 3
    assert [[caveat.code for caveat in image.warnings] for image in images_of(collection)] == [["uid.duplicate"]] * 3


@pytest.mark.parametrize(
    ("one", "other", "count"),
    [
        ({}, {}, 1),
        ({}, {"IssuerOfPatientID": "B"}, 2),
        ({}, {"PatientName": "Other^Person"}, 2),  # the same ID in two hospitals
        ({}, {"PatientName": "TEST^OBJECT"}, 1),
        ({"PatientBirthDate": "19500101"}, {"PatientBirthDate": "19500102"}, 2),
        ({"PatientBirthDate": "19500101"}, {"PatientBirthDate": "19500101", "PatientName": "Married^Object"}, 1),
        ({"PatientBirthDate": "19500101"}, {"PatientBirthDate": "19500101", "PatientName": "Other^Person"}, 2),
        ({"PatientBirthDate": "19500101"}, {"PatientBirthDate": "19500101", "PatientName": "OBJECT^Test^A"}, 1),
        ({"PatientSex": "F"}, {"PatientSex": "M"}, 2),
        ({"PatientSex": "F"}, {"PatientSex": ""}, 1),
        ({"PatientID": ""}, {"PatientID": ""}, 1),
        ({"PatientID": ""}, {"PatientID": "", "StudyInstanceUID": "2.25.77"}, 2),
        ({"PatientID": ""}, {"PatientID": "", "PatientName": "Other^Person"}, 2),
        ({"PatientID": ""}, {}, 2),
        ({"PatientName": "=张^三"}, {"PatientName": "=李^四"}, 2),
        ({"PatientName": "Zhang^San"}, {"PatientName": "=李^四"}, 2),
        (
            {"PatientBirthDate": "19500101", "PatientName": "Test^Object^A"},
            {"PatientBirthDate": "19500101", "PatientName": "Adams^Peter"},
            2,
        ),
    ],
)
def test_strangers_are_not_merged(one: dict[str, Any], other: dict[str, Any], count: int, tmp_path: Path) -> None:
    for name, attributes in (("a.dcm", one), ("b.dcm", other)):
        write(tmp_path, name, **{"SpecificCharacterSet": "ISO_IR 192", **attributes})
    assert len(scan([tmp_path]).patients) == count


@pytest.mark.reliability
@pytest.mark.parametrize("name", ["", "Test^Object"])
@pytest.mark.parametrize(
    ("series", "counts"),
    [(("", "", ""), [1, 1, 1]), (("2.25.5", "2.25.6", "2.25.7"), [1, 1, 1]), (("2.25.5", "2.25.6", "2.25.5"), [2, 1])],
)
def test_without_ids_equal_names_make_no_patient(
    name: str, series: tuple[str, ...], counts: list[int], tmp_path: Path
) -> None:
    for index, uid in enumerate(series):
        own = {"SOPInstanceUID": f"2.25.9{index}", "PatientName": name, "SeriesInstanceUID": uid, "NumberOfFrames": 2}
        write(tmp_path, f"{index}.dcm", PatientID="", StudyInstanceUID="", Rows=4, **own)
    found = [[image.path for image in images_of(Collection((one,)))] for one in scan([tmp_path]).patients]
    assert [len(set(paths)) for paths in found] == counts
    assert [len(paths) for paths in found] == [2 * count for count in counts], "the frames of a file stay together"


def test_a_patient_keeps_one_key_when_completed_and_shares_it_with_nobody(tmp_path: Path) -> None:
    nameless = write(tmp_path, "a.dcm", PatientID="1", PatientName="", SeriesInstanceUID="2.25.1")
    named = write(tmp_path, "b.dcm", PatientID="1", PatientName="Tan^Li", SeriesInstanceUID="2.25.2")
    told: list[Collection] = []
    after = scan([nameless, named], on_found=told.append).patients
    before = told[0].patients
    assert [patient.name for patient in (*before, *after)] == ["", "Tan^Li"]
    assert before[0].key == after[0].key
    assert scan([named]).patients[0].key != after[0].key


def test_studies_without_a_uid_are_told_apart_by_their_date(tmp_path: Path) -> None:
    """Or a child's first image would give the age at the second one."""
    write(tmp_path, "a.dcm", StudyInstanceUID=None, SeriesInstanceUID="2.25.5", StudyDate="20180101")
    write(tmp_path, "b.dcm", StudyInstanceUID=None, SeriesInstanceUID="2.25.6", StudyDate="20230101")
    write(tmp_path, "c.dcm", StudyInstanceUID=None, SeriesInstanceUID="2.25.7", StudyDate="20230101")
    patient = scan([tmp_path]).patients[0]
    assert [(study.date, len(study.series)) for study in patient.studies] == [("20230101", 2), ("20180101", 1)]


@pytest.mark.parametrize(
    ("cosines", "spacings"),
    [((0.995, 0.995 + 2e-6), (1.0, 1.0)), ((1.0, 1.0), (0.46875, 0.46874999)), ((1.0, 1.0), (0.46875, 0.468749))],
)
def test_rounding_does_not_split_a_series(
    cosines: tuple[float, float], spacings: tuple[float, float], tmp_path: Path
) -> None:
    for index in range(6):
        cosine, spacing = cosines[index % 2], spacings[index % 2]
        write(
            tmp_path,
            f"{index}.dcm",
            ImageOrientationPatient=[cosine, float(np.sqrt(1 - cosine**2)), 0, 0, 0, -1],
            ImagePositionPatient=[0, 5 * index, 0],
            PixelSpacing=[spacing, spacing],
        )
    (stack,) = stacks_of(scan([tmp_path]))
    assert len(stack.images) == 6
    assert "orientation.mixed" not in [caveat.code for caveat in stack.warnings]


def test_a_series_splits_into_stacks_of_one_geometry(tmp_path: Path) -> None:
    axial = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [1, 1]}
    coronal = {"ImageOrientationPatient": [1, 0, 0, 0, 0, -1], "PixelSpacing": [1, 1]}
    for index in range(3):
        write(tmp_path, f"a{index}.dcm", ImagePositionPatient=[0, 0, 2 * index], **axial)
    write(tmp_path, "localizer.dcm", ImagePositionPatient=[0, 50, 0], **coronal)
    write(tmp_path, "small.dcm", pixels=np.zeros((4, 4), np.uint16), ImagePositionPatient=[0, 0, 9], **axial)
    stacks = stacks_of(scan([tmp_path]))
    assert sorted(len(stack.images) for stack in stacks) == [1, 1, 3]
    assert all("orientation.mixed" in [caveat.code for caveat in stack.warnings] for stack in stacks)


def test_each_multi_frame_object_is_its_own_stack(tmp_path: Path) -> None:
    for name in ("a.dcm", "b.dcm"):
        dataset = make_dataset(np.zeros((6, 4), np.uint16), NumberOfFrames=3, Rows=2)
        write_dataset(tmp_path / name, dataset)
    stacks = stacks_of(scan([tmp_path]))
    assert [[image.frame for image in stack.images] for stack in stacks] == [[0, 1, 2], [0, 1, 2]]


def test_found_images_are_told_while_the_scan_runs(tmp_path: Path) -> None:
    for index in range(5):
        write(tmp_path, f"{index}.dcm")
    told: list[Collection] = []
    steps: list[tuple[int, int, str]] = []
    final = scan([tmp_path], on_found=told.append, progress=lambda *step: steps.append(step))
    assert len(told[0].shown) == 1
    assert told[-1] is final
    assert [len(collection.shown) for collection in told] == sorted(len(collection.shown) for collection in told)
    assert [step[0] for step in steps] == [1, 2, 3, 4, 5]


def test_a_scan_can_be_stopped(tmp_path: Path) -> None:
    for index in range(5):
        write(tmp_path, f"{index}.dcm")
    stop = StopToken()
    with pytest.raises(Stopped):
        scan([tmp_path], stop=stop, on_found=lambda _: stop.stop())


def test_the_radiograph_of_the_demonstration() -> None:
    """RG1: MONOCHROME1, pixel spacing 0\\0, so nothing may be measured in millimetres."""
    (image,) = images_of(scan([samples.package_file("RG1_UNCR.dcm")]))
    description = image.description
    assert description.photometric_interpretation == "MONOCHROME1"
    assert description.pixel_spacing_mm is None
    assert description.no_measuring_because == "The file gives a pixel spacing of 0."


@pytest.mark.parametrize("tag", ["PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate"])
def test_files_of_two_persons_in_turns_stay_apart(tmp_path: Path, tag: str) -> None:
    """What the file before said is only taken over where this one says the very same."""
    first = {"PatientID": "1", "PatientName": "A^A", "PatientBirthDate": "19500101", "IssuerOfPatientID": "X"}
    second = {**first, tag: {"PatientBirthDate": "19610203"}.get(tag, "OTHER^NAME")}
    for number in range(6):
        who = (first, second)[number % 2]
        dataset = make_dataset(np.full((4, 4), number, np.int16), StudyInstanceUID=f"1.2.{number % 2}", **who)
        write_dataset(tmp_path / f"{number}.dcm", dataset)
    found = scan([tmp_path])
    persons = {
        tuple(sorted(int(image.path.stem) % 2 for series in study.series for s in series.stacks for image in s.images))
        for patient in found.patients
        for study in patient.studies
    }
    assert persons == {(0, 0, 0), (1, 1, 1)}
    assert len(found.patients) == 2


def linked_outside(tmp_path: Path) -> tuple[Path, Path]:
    """A folder with an image, and links in it to a file and a folder that lie elsewhere."""
    chosen, elsewhere = tmp_path / "chosen", tmp_path / "elsewhere"
    write(chosen, "a.dcm")
    write(elsewhere, "b.dcm")
    write(elsewhere / "deep", "c.dcm")
    (chosen / "file.dcm").symlink_to(elsewhere / "b.dcm")
    (chosen / "folder").symlink_to(elsewhere / "deep")
    return chosen, elsewhere


@pytest.mark.reliability
@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_links_out_of_the_chosen_folder_are_named_and_not_followed(tmp_path: Path) -> None:
    chosen, _ = linked_outside(tmp_path)
    found = scan([chosen])
    assert [path.name for path in found.shown] == ["a.dcm"]
    assert sorted((one.path.name, one.status) for one in found.problems) == [
        ("file.dcm", "refused"), ("folder", "refused"),
    ]  # fmt: skip
    assert all("leads out of the chosen folder" in one.reason for one in found.problems)
    (chosen / "DICOMDIR").write_bytes((OWN / "dicomdirtests" / "DICOMDIR").read_bytes())
    (chosen / "inner.dcm").symlink_to(chosen / "a.dcm")
    of_disc = scan([chosen / "DICOMDIR"])
    assert [path.name for path in of_disc.shown] == ["a.dcm"]
    assert {one.path.name: one.status for one in of_disc.problems} == {
        "DICOMDIR": "read", "file.dcm": "refused", "folder": "refused", "inner.dcm": "read",
    }  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_a_link_that_was_chosen_itself_is_followed_and_so_are_links_between_what_was_chosen(tmp_path: Path) -> None:
    chosen, elsewhere = linked_outside(tmp_path)
    itself = scan([chosen / "file.dcm", chosen / "folder"])
    assert sorted(path.name for path in itself.shown) == ["c.dcm", "file.dcm"]
    (tmp_path / "way").symlink_to(chosen)
    (chosen / "inner.dcm").symlink_to(chosen / "a.dcm")
    by_link = scan([tmp_path / "way"])
    assert [path.name for path in by_link.shown] == ["a.dcm"]
    assert {one.path.name: one.status for one in by_link.problems} == {
        "file.dcm": "refused", "folder": "refused", "inner.dcm": "read",
    }  # fmt: skip
    (chosen / "lost").symlink_to(elsewhere / "gone")
    both = scan([chosen, elsewhere])
    assert "does not exist" in next(one.reason for one in both.problems if one.path.name == "lost")
    assert "does not exist" in next(one.reason for one in scan([chosen]).problems if one.path.name == "lost")
    assert not [one for one in both.problems if "leads out" in one.reason]
    assert len(both.shown) == 3
