"""The record beside the image is the patient's own, or a mismatch is said and no model runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from medviewer.app.documents import readings
from medviewer.app.on_screen import current_answer
from medviewer.app.patient import RecordRoom, look_up, sample_record
from medviewer.domain.errors import StorageError
from medviewer.domain.study import Patient, Study
from medviewer.imaging.scan import scan
from medviewer.records.audit import AuditTrail
from medviewer.records.record import Allergy, Identifier, PatientRecord
from medviewer.records.store import RecordStore
from tests.document_maker import item, write_report
from tests.radiographs import write_radiograph
from tests.scanning import let_scan

if TYPE_CHECKING:
    from medviewer.app.application import Application
    from tests.fakes import FakeEngine

WHO = {"PatientID": "A1", "PatientName": "Alpha^Anna", "PatientBirthDate": "20010203", "PatientSex": "F"}
RECORD = PatientRecord("", (Identifier("", "A1"),), "Alpha^Anna", "2001-02-03", "F", allergies=(Allergy("penicillin"),))


@pytest.fixture
def radiograph(tmp_path: Path) -> Path:
    return write_radiograph(tmp_path / "a.dcm")


def test_the_patients_record_is_shown_with_the_study_in_it(application: Application, radiograph: Path) -> None:
    application.records.store().save_record(RECORD)
    application.run_command("file.open_files", [radiograph])
    record = application.state.record
    assert record is not None
    assert record.allergies == RECORD.allergies
    assert [mark.description for mark in record.studies] == ["Chest"]
    assert application.state.record_mismatch == ""


def test_a_patient_without_a_record_gets_one_from_the_header(application: Application, radiograph: Path) -> None:
    application.run_command("file.open_files", [radiograph])
    assert application.state.record is not None
    assert application.state.record.allergies is None


def test_a_contradiction_is_said_and_no_model_runs(
    application: Application, radiograph: Path, fake_engine: FakeEngine
) -> None:
    application.records.store().save_record(replace(RECORD, birth_date="1950-01-01", sex="M"))
    application.remember(run_when_opened=True)
    application.run_command("file.open_files", [radiograph])
    assert "contradict" in application.state.record_mismatch
    application.run_command("model.run")
    assert fake_engine.calls == []
    assert current_answer(application.state) is None
    # Not even one that was asked for before the contradiction was known.
    assert application.state.selection is not None
    application.wishes.run = application.state.selection.image.key
    application.run_waiting()
    assert fake_engine.calls == []
    assert application.state.notice is not None
    assert application.state.notice.level == "alarm"


def look_away(app: Application, how: str) -> None:
    """Have no image in the active viewport."""
    if how == "empty":
        app.run_command("layout.use", (1, 2))
        app.run_command("layout.activate", 1)
    else:
        app.run_command("document.show", next(readings(app.state.collection)).document)
    assert app.state.selection is None


def look_back(app: Application, how: str) -> None:
    app.run_command("document.close") if how == "document" else app.run_command("layout.activate", 0)
    assert app.state.selection is not None


def assert_is_contradicted(app: Application, engine: FakeEngine) -> None:
    assert "contradict" in app.state.record_mismatch
    app.run_command("model.run")
    assert engine.calls == []
    assert current_answer(app.state) is None


@pytest.mark.parametrize("how", ["empty", "document"])
def test_a_record_that_is_imported_where_no_image_is_looked_at_is_compared(
    application: Application, fake_engine: FakeEngine, tmp_path: Path, how: str
) -> None:
    (tmp_path / "in").mkdir()
    write_radiograph(tmp_path / "in" / "a.dcm", StudyInstanceUID="2.25.77")
    write_report(tmp_path / "in" / "b.dcm", item("TEXT", "Finding", TextValue="No"), StudyInstanceUID="2.25.77", **WHO)
    application.run_command("file.open_folder", tmp_path / "in")
    look_away(application, how)
    other = {"resourceType": "Patient", "id": "p", "identifier": [{"value": "A1"}], "birthDate": "1950-01-01"}
    other |= {"name": [{"family": "Alpha", "given": ["Anna"]}], "gender": "male"}
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": other}]}
    (tmp_path / "records.json").write_text(json.dumps(bundle))
    application.run_command("file.import_records", [tmp_path / "records.json"])
    look_back(application, how)
    assert_is_contradicted(application, fake_engine)


def test_what_came_in_before_the_disk_was_full_is_compared_and_in_the_trail(
    application: Application, fake_engine: FakeEngine, radiograph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    application.run_command("file.open_files", [radiograph])
    patients = [
        {"resourceType": "Patient", "id": value, "identifier": [{"value": value}], "birthDate": "1950-01-01"}
        for value in ("A1", "B2")
    ]
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": one} for one in patients]}
    (tmp_path / "records.json").write_text(json.dumps(bundle))
    store, save = application.records.store(), RecordStore.save_record

    def fills_up(self: RecordStore, record: PatientRecord) -> PatientRecord:
        if record.identifiers[0].value == "B2":
            raise StorageError("The disk is full.")
        return save(self, record)

    monkeypatch.setattr(RecordStore, "save_record", fills_up)
    application.run_command("file.import_records", [tmp_path / "records.json"])
    assert [str(error) for error in application.lost] == ["The disk is full."]
    assert_is_contradicted(application, fake_engine)
    entries = AuditTrail(store.database, tmp_path / "unused").entries()
    assert [one.event.detail for one in entries if one.event.what == "record.imported"] == ["1 records, 0 problems"]


@pytest.mark.parametrize("how", ["empty", "document"])
def test_who_is_completed_where_no_image_is_looked_at_is_compared_anew(
    application: Application, fake_engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """The first files say neither birth date nor sex, and a later one says both: they are not those of the record."""
    application.records.store().save_record(replace(RECORD, birth_date="1950-01-01", sex="M"))
    silent = {**WHO, "PatientBirthDate": "", "PatientSex": ""}
    write_radiograph(tmp_path / "a.dcm", StudyInstanceUID="2.25.77", **silent)
    write_report(tmp_path / "b.dcm", item("TEXT", "Finding", TextValue="No"), StudyInstanceUID="2.25.77", **silent)
    partly = scan([tmp_path])
    write_radiograph(tmp_path / "c.dcm", StudyInstanceUID="2.25.77", **WHO)
    whole = scan([tmp_path])
    (patient,) = whole.patients
    whole = replace(whole, patients=(replace(patient, key=partly.patients[0].key),))  # as one scan gives both
    let_scan(monkeypatch, partly, lambda: look_away(application, how), whole)
    application.run_command("file.open_folder", tmp_path)
    assert "contradict" in application.state.record_mismatch, "said beside the document too"
    look_back(application, how)
    assert_is_contradicted(application, fake_engine)


def test_a_run_waits_until_the_record_was_compared(application: Application, radiograph: Path) -> None:
    application.run_command("file.open_files", [radiograph])
    whose = application.state.record_of
    application.session.update(record_of=())
    application.run_command("model.run")
    assert current_answer(application.state) is None
    application.session.update(record_of=whose)
    application.run_waiting()
    assert current_answer(application.state) is not None


def test_a_broken_store_is_said_and_images_stay_usable(
    application: Application, radiograph: Path, medviewer_home: Path
) -> None:
    medviewer_home.mkdir(parents=True, exist_ok=True)
    (medviewer_home / "records.sqlite").write_bytes(b"this is no database" * 100)
    application.run_command("file.open_files", [radiograph])
    state = application.state
    assert state.frame is not None
    assert state.record is None
    assert state.record_problem


def test_what_is_written_is_there_after_closing(
    fake_engine: FakeEngine, medviewer_home: Path, radiograph: Path
) -> None:
    from medviewer.app.start import running_application

    with running_application(medviewer_home, lambda call: call(), fake_engine) as app:
        app.write(lambda: app.records.store().save_record(RECORD))
    with RecordStore(medviewer_home / "records.sqlite") as store:
        assert store.record_for("A1") is not None


def test_an_imported_record_stands_beside_the_open_image(application: Application, tmp_path: Path) -> None:
    path = write_radiograph(
        tmp_path / "a.dcm", patient_id="9RG1", name="CompressedSamples^RG1", PatientBirthDate="19400305"
    )
    application.run_command("file.open_files", [path])
    before = application.state.record
    assert before is not None
    assert before.allergies is None
    broken = tmp_path / "broken.json"
    broken.write_text("{", encoding="utf-8")
    gone = tmp_path / "gone.json"
    application.run_command("file.import_records", [gone, broken, sample_record()])
    record = application.state.record
    assert record is not None
    assert record.allergies
    notice = application.state.notice
    assert notice is not None
    assert notice.level == "caution"
    assert notice.text.startswith("Patient records imported: 1; entries that could not be used: 2.")


def test_studies_without_a_patient_number_stand_beside_each_other(tmp_path: Path) -> None:
    room = RecordRoom(tmp_path)
    studies = tuple(Study(f"2.25.{n}", date=f"2004010{n}") for n in (1, 2))
    checked = look_up(room, Patient("", name="Nobody^Known", studies=studies))
    room.close()
    assert checked.record is not None
    assert [mark.study_instance_uid for mark in checked.record.studies] == ["2.25.1", "2.25.2"]
