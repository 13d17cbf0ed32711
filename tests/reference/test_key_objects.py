"""Key Object Selection documents, judged by others: dciodvfy, dcentvfy, dcmdump and highdicom."""

from __future__ import annotations

from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest

from medviewer.domain.errors import UnsupportedError, UsageError
from medviewer.imaging.key_object_reading import read_key_objects
from medviewer.imaging.key_objects import write_flagged_image, write_key_objects
from medviewer.imaging.scan import images_of, scan
from tests.answers import EFFUSION, PNEUMONIA, make_abstention, make_answer
from tests.dicom_maker import make_dataset, write_dataset
from tests.key_objects import write_document
from tests.reference.test_dicom_out import KINDS, errors_of, inconsistencies, make_source, run, scanned, tool

PLAIN = {"PatientBirthDate": "", "PatientSex": "", "StudyDate": "", "StudyTime": ""}


@pytest.mark.reliability
@pytest.mark.parametrize("kind", KINDS)
def test_others_find_no_error_and_one_patient(kind: str, tmp_path: Path) -> None:
    source = make_source(kind, tmp_path)
    write_key_objects([source], path=tmp_path / "ko.dcm")
    assert errors_of(tmp_path / "ko.dcm") == []
    assert inconsistencies(source.path, tmp_path / "ko.dcm") == []
    assert run(tool("dcmdump"), tmp_path / "ko.dcm").returncode == 0


def test_highdicom_resolves_every_image_and_frame(tmp_path: Path) -> None:
    single = make_dataset(SOPInstanceUID="2.25.61", SeriesInstanceUID="2.25.71", **PLAIN)
    several = make_dataset(np.zeros((4, 4), np.uint16), SOPInstanceUID="2.25.62", NumberOfFrames=5, **PLAIN)
    several.PixelData = bytes(4 * 4 * 2 * 5)
    write_dataset(tmp_path / "a.dcm", single)
    write_dataset(tmp_path / "b.dcm", several)
    images = sorted(images_of(scan([tmp_path])), key=lambda image: (image.sop_instance_uid, image.frame))
    write_key_objects([images[0], images[2], images[4]], path=tmp_path / "ko.dcm")
    document = hd.ko.KeyObjectSelectionDocument.from_dataset(pydicom.dcmread(tmp_path / "ko.dcm"))
    assert document.content[0].name == hd.sr.CodedConcept("113000", "DCM", "Of Interest")
    resolved = [document.resolve_reference(uid) for uid in ("2.25.61", "2.25.62")]
    assert resolved == [
        ("2.25.1", "2.25.71", "2.25.61"), ("2.25.1", "2.25.2", "2.25.62"),
    ]  # fmt: skip
    references = document.content.get_references()
    assert [(item.referenced_sop_instance_uid, item.referenced_frame_numbers) for item in references] == [
        ("2.25.61", None), ("2.25.62", [2, 4]),
    ]  # fmt: skip
    read = read_key_objects(tmp_path / "ko.dcm")
    assert read.images == {"2.25.61": frozenset(), "2.25.62": frozenset({1, 3})}
    assert (read.title, read.is_rejection, read.study_instance_uid, read.patient_id) == (
        "Of Interest", False, "2.25.1", "T1",
    )  # fmt: skip


def test_what_highdicom_writes_is_read(tmp_path: Path) -> None:
    source = make_dataset(SOPInstanceUID="2.25.61", AccessionNumber="", StudyID="", ReferringPhysicianName="", **PLAIN)
    write_dataset(tmp_path / "a.dcm", source)
    image = pydicom.dcmread(tmp_path / "a.dcm")
    content = hd.ko.KeyObjectSelection(hd.sr.CodedConcept("113013", "DCM", "Best In Set"), [image])
    hd.ko.KeyObjectSelectionDocument(
        [image], content, series_instance_uid="2.25.90", series_number=1, sop_instance_uid="2.25.91", instance_number=1
    ).save_as(tmp_path / "ko.dcm")
    read = read_key_objects(tmp_path / "ko.dcm")
    assert (read.title, read.images, read.is_rejection) == ("Best In Set", {"2.25.61": frozenset()}, False)


@pytest.mark.parametrize("value", ["113001", "113037", "113038", "113039"])
def test_rejections_are_told_apart(value: str, tmp_path: Path) -> None:
    path = write_document(tmp_path / "ko.dcm", make_dataset(), code=(value, "Rejected"))
    assert read_key_objects(path).is_rejection


def test_images_of_two_studies_or_patients_are_refused(tmp_path: Path) -> None:
    for other in ({"StudyInstanceUID": "2.25.8"}, {"PatientID": "T2"}):
        folder = tmp_path / next(iter(other))
        folder.mkdir()
        pair = [
            scanned(write_dataset(folder / f"{n}.dcm", make_dataset(SOPInstanceUID=f"2.25.6{n}", **own)))[0]
            for n, own in enumerate(({}, other))
        ]
        with pytest.raises(UsageError, match="two"):
            write_key_objects(pair, path=folder / "ko.dcm")
        assert not (folder / "ko.dcm").exists()


def test_nothing_is_no_document(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="mark one"):
        write_key_objects([], path=tmp_path / "ko.dcm")
    with pytest.raises(UnsupportedError, match="no Key Object"):
        read_key_objects(write_dataset(tmp_path / "a.dcm", make_dataset()))


@pytest.mark.reliability
@pytest.mark.parametrize("kind", KINDS)
def test_an_image_that_a_model_flagged_is_named_by_the_model(kind: str, tmp_path: Path) -> None:
    source = make_source(kind, tmp_path)
    write_flagged_image(source, make_answer(PNEUMONIA, EFFUSION), path=tmp_path / "ko.dcm")
    assert errors_of(tmp_path / "ko.dcm") == []
    assert inconsistencies(source.path, tmp_path / "ko.dcm") == []
    document = hd.ko.KeyObjectSelectionDocument.from_dataset(pydicom.dcmread(tmp_path / "ko.dcm"))
    [reference] = document.content.get_references()
    assert reference.referenced_sop_instance_uid == source.sop_instance_uid
    read = read_key_objects(tmp_path / "ko.dcm")
    assert (read.title, read.is_rejection) == ("Of Interest", False)
    tree = run(tool("dsrdump"), "-Er", "+Pl", tmp_path / "ko.dcm")
    assert tree.returncode == 0, tree.stderr
    for said in ("Fake chest model", "ab" * 32, "pneumonia: probability 0.87, threshold 0.41", "research use only"):
        assert said in tree.stdout
    assert "effusion" not in tree.stdout


def test_what_a_model_did_not_flag_is_in_no_document(tmp_path: Path) -> None:
    source = make_source("plain", tmp_path)
    for answer in (make_answer(EFFUSION), make_abstention()):
        with pytest.raises(UsageError, match="flagged nothing"):
            write_flagged_image(source, answer, path=tmp_path / "ko.dcm")
    assert not (tmp_path / "ko.dcm").exists()
