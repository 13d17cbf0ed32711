"""The record beside the image is the patient's own, or a mismatch is said and no model runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from medviewer.app.on_screen import current_answer
from medviewer.app.patient import RecordRoom, look_up, sample_record
from medviewer.domain.study import Patient, Study
from medviewer.records.record import Allergy, Identifier, PatientRecord
from medviewer.records.store import RecordStore
from tests.radiographs import write_radiograph

if TYPE_CHECKING:
    from medviewer.app.application import Application
    from tests.fakes import FakeEngine

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
