"""Key images in the application: kept, undone, found again, told to others, and never another patient's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydicom
import pytest

from medviewer.app.on_screen import is_key_image, key_objects_of, named_key_images
from medviewer.app.state import Selection
from medviewer.domain.errors import StorageError
from medviewer.domain.study import Window
from medviewer.records.audit import AuditTrail
from tests.dicom_maker import AXIAL, make_dataset, write_dataset
from tests.key_objects import write_document

if TYPE_CHECKING:
    from medviewer.app.application import Application


def source(number: int, **attributes: Any) -> Any:
    return make_dataset(
        SOPInstanceUID=f"2.25.5{number}", ImagePositionPatient=[0, 0, number], InstanceNumber=number, StudyDate="",
        StudyTime="", PatientBirthDate="", PatientSex="", **AXIAL, **attributes,
    )  # fmt: skip


@pytest.fixture
def opened(application: Application, tmp_path: Path) -> Application:
    """Five images of one series."""
    (tmp_path / "in").mkdir()
    for number in range(1, 6):
        write_dataset(tmp_path / "in" / f"{number}.dcm", source(number))
    application.run_command("file.open_folder", tmp_path / "in")
    application.run_command("image.first")
    return application


def marked(app: Application) -> list[str]:
    return sorted(uid for (uid, _), is_key in app.state.key_images.items() if is_key)


def number(app: Application) -> int:
    assert app.state.selection is not None
    return app.state.selection.index + 1


def test_a_mark_is_kept_and_there_again(opened: Application, tmp_path: Path) -> None:
    opened.run_command("image.show", 1)
    opened.run_command("image.key")
    assert is_key_image(opened.state)
    assert opened.records.store().key_images_among(["2.25.52"]) == {("2.25.52", 0)}
    opened.run_command("file.close")
    assert marked(opened) == []
    opened.run_command("file.open_folder", tmp_path / "in")
    assert marked(opened) == ["2.25.52"]
    opened.run_command("image.show", 1)
    opened.run_command("image.key")
    assert marked(opened) == []
    assert [one.is_marked for one in opened.records.store().key_image_history("2.25.52", 0)] == [False, True]


def test_the_audit_trail_tells_of_it(opened: Application, medviewer_home: Path) -> None:
    opened.run_command("image.key")
    opened.run_command("image.key")
    trail = AuditTrail(opened.records.store().database, medviewer_home / "audit")
    noted = [(entry.event.what, entry.event.subject, entry.event.detail) for entry in trail.entries()]
    assert noted[-2:] == [("key_image.marked", "2.25.51", "0"), ("key_image.unmarked", "2.25.51", "0")]


def test_undo_and_redo_reach_the_store(opened: Application) -> None:
    opened.run_command("image.key")
    opened.run_command("edit.undo")
    assert marked(opened) == []
    assert opened.records.store().key_images_among(["2.25.51"]) == frozenset()
    opened.run_command("edit.redo")
    assert marked(opened) == ["2.25.51"]
    assert opened.records.store().key_images_among(["2.25.51"]) == {("2.25.51", 0)}


def test_a_mark_is_not_undone_unseen_on_another_image(opened: Application) -> None:
    opened.run_command("image.key")
    opened.run_command("image.next")
    opened.run_command("edit.undo")
    assert marked(opened) == ["2.25.51"]
    assert opened.state.notice is not None
    assert "another image" in opened.state.notice.text


def test_a_mark_that_cannot_be_written_is_taken_back(opened: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object, **_more: object) -> None:
        raise StorageError("The disk is full.")

    opened.run_command("view.window", Window(1, 2))
    monkeypatch.setattr(type(opened.records.store()), "save_key_image", full)
    opened.run_command("image.key")
    assert marked(opened) == []
    assert opened.state.notice is not None
    assert "was taken back" in opened.state.notice.text
    monkeypatch.undo()
    opened.run_command("edit.undo")
    opened.run_command("edit.redo")
    assert marked(opened) == []


def test_key_images_are_gone_through_round_and_round(opened: Application) -> None:
    for index in (1, 3):
        opened.run_command("image.show", index)
        opened.run_command("image.key")
    seen = []
    for _ in range(3):
        opened.run_command("image.next_key")
        seen.append(number(opened))
    assert seen == [2, 4, 2]
    opened.run_command("image.previous_key")
    assert number(opened) == 4
    opened.run_command("image.first")
    opened.run_command("image.previous_key")
    assert number(opened) == 4


def test_the_key_image_of_another_patient_is_never_gone_to(opened: Application, tmp_path: Path) -> None:
    write_dataset(
        tmp_path / "in" / "other.dcm",
        source(9, PatientID="T2", PatientName="Other", StudyInstanceUID="2.25.8", SeriesInstanceUID="2.25.9"),
    )
    opened.run_command("file.open_folder", tmp_path / "in")
    for patient in sorted(opened.state.collection.patients, key=lambda one: one.patient_id, reverse=True):
        series = patient.studies[0].series[0]
        opened.run_command("image.select", Selection(patient, patient.studies[0], series, series.stacks[0], 0))
        opened.run_command("image.key")
    assert marked(opened) == ["2.25.51", "2.25.59"]
    for _ in range(3):
        opened.run_command("image.next_key")
        assert opened.state.selection is not None
        assert opened.state.selection.patient.patient_id == "T1"


def test_an_image_that_two_files_claim_to_be_has_no_mark(application: Application, tmp_path: Path) -> None:
    for name, value in (("a", 1), ("b", 2)):
        write_dataset(tmp_path / f"{name}.dcm", source(1, InstanceCreationTime=f"10000{value}"))
    application.run_command("file.open_folder", tmp_path)
    application.run_command("image.key")
    assert application.state.key_images == {}
    assert application.state.notice is not None
    assert "cannot be a key image" in application.state.notice.text


def test_a_plane_that_was_cut_is_no_key_image(opened: Application) -> None:
    opened.run_command("layout.planes")
    opened.run_command("image.key")
    assert marked(opened) == []


def test_what_is_saved_names_exactly_the_key_images(opened: Application, tmp_path: Path) -> None:
    for index in (0, 2):
        opened.run_command("image.show", index)
        opened.run_command("image.key")
    out = tmp_path / "out"
    out.mkdir()
    opened.run_command("file.save_keys", out)
    document = pydicom.dcmread(out / "key-images.ko.dcm")
    images = [item for item in document.ContentSequence if item.ValueType == "IMAGE"]
    named = [item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in images]
    assert named == ["2.25.51", "2.25.53"]
    opened.run_command("file.save_keys", out)
    assert len(list(out.iterdir())) == 2  # nothing is written over


def test_documents_are_offered_and_taken(opened: Application, tmp_path: Path) -> None:
    write_document(tmp_path / "in" / "ko.dcm", source(2), source(4))
    opened.run_command("file.open_folder", tmp_path / "in")
    assert named_key_images(opened.state) == {("2.25.52", 0), ("2.25.54", 0)}
    assert marked(opened) == []
    opened.run_command("image.first")
    opened.run_command("image.next_key")
    assert number(opened) == 2
    assert [one.title for one in key_objects_of(opened.state)] == ["Of Interest"]
    opened.run_command("view.window", Window(1, 2))
    opened.run_command("image.take_keys")
    assert marked(opened) == ["2.25.52", "2.25.54"]
    assert len(opened.records.store().key_images_among(["2.25.52", "2.25.54"])) == 2
    opened.run_command("edit.undo")  # of the window: what was taken stays
    assert opened.state.view.window is None
    assert marked(opened) == ["2.25.52", "2.25.54"]


@pytest.mark.parametrize(
    "other",
    [{"StudyInstanceUID": "2.25.77"}, {"PatientID": "T2"}, {"code": ("113001", "Rejected for Quality Reasons")}],
)
def test_what_is_of_others_or_rejects_images_makes_no_key_image(
    application: Application, tmp_path: Path, other: dict[str, Any]
) -> None:
    write_dataset(tmp_path / "1.dcm", source(1))
    write_document(tmp_path / "ko.dcm", source(1), **other)
    application.run_command("file.open_folder", tmp_path)
    assert len(application.state.key_objects) == 1
    assert named_key_images(application.state) == set()
    application.run_command("image.take_keys")
    assert marked(application) == []
    assert [one.is_rejection for one in key_objects_of(application.state)] == ([True] if "code" in other else [])


def test_documents_of_what_was_open_before_are_forgotten(opened: Application, tmp_path: Path) -> None:
    write_document(tmp_path / "in" / "ko.dcm", source(2))
    opened.run_command("file.open_folder", tmp_path / "in")
    opened.run_command("image.key")
    (tmp_path / "new").mkdir()
    write_dataset(tmp_path / "new" / "a.dcm", source(7))
    opened.run_command("file.open_folder", tmp_path / "new")
    assert opened.state.key_objects == ()
    assert opened.state.key_images == {("2.25.57", 0): False}


def test_scrolling_goes_through_key_images_only_if_that_is_wished(opened: Application) -> None:
    for index in (1, 4):
        opened.run_command("image.show", index)
        opened.run_command("image.key")
    opened.run_command("image.first")
    opened.run_command("image.keys_only")
    seen = []
    for command in ("image.next", "image.next", "image.next", "image.previous", "image.previous"):
        opened.run_command(command)
        seen.append(number(opened))
    assert seen == [2, 5, 5, 2, 2]
    opened.run_command("image.last")
    assert number(opened) == 5
    opened.run_command("image.show", 3)  # one notch of the wheel
    assert number(opened) == 2
    opened.run_command("image.keys_only")
    opened.run_command("image.next")
    assert number(opened) == 3


def test_a_series_without_key_images_is_scrolled_through_as_a_whole(opened: Application) -> None:
    opened.run_command("image.show", 1)
    opened.run_command("image.key")
    opened.run_command("image.keys_only")
    opened.run_command("image.key")  # takes the only mark away
    opened.run_command("image.next")
    assert number(opened) == 3
    assert opened.state.keys_only
    opened.run_command("file.close")
    assert not opened.state.keys_only


def test_key_images_of_another_study_are_forgotten_with_it(opened: Application, tmp_path: Path) -> None:
    """An image of the next study may have the same number as a marked one of this."""
    opened.run_command("image.key")
    beside_nothing: list[bool] = []
    opened.session.watch(lambda _old, new: beside_nothing.append(bool(new.key_images) and not new.collection.patients))
    (tmp_path / "next").mkdir()
    write_dataset(tmp_path / "next" / "a.dcm", make_dataset(SOPInstanceUID="2.25.99", **AXIAL))
    opened.run_command("file.open_folder", tmp_path / "next")
    assert set(opened.state.key_images) == {("2.25.99", 0)}
    assert not any(beside_nothing)  # they went with their study, not a moment later
