"""Measurements stand on their own image only, follow undo and redo, and read as kept only if they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from medviewer.app.application import NoFront
from medviewer.app.documents import readings
from medviewer.app.measurement_keeper import NOT_DELETED, NOT_SAVED
from medviewer.app.measuring import Drawn, Moved, Named, why_not
from medviewer.app.on_screen import measured_image, measurements_of, selections, value_of
from medviewer.app.session import Session
from medviewer.app.start import running_application
from medviewer.app.state import Measured, State
from medviewer.app.undoing import UNDO_ELSEWHERE
from medviewer.domain.errors import StorageError
from medviewer.domain.measurement import Measurement, new_measurement
from medviewer.records.audit import AuditTrail
from medviewer.records.store import RecordStore
from tests.conftest import InlineExecutor
from tests.document_maker import item, write_report
from tests.radiographs import write_radiograph, write_slices
from tests.unit.app.test_session import selection

if TYPE_CHECKING:
    from medviewer.app.application import Application
    from tests.fakes import FakeEngine

LINE = ((10.0, 20.0), (40.0, 60.0))


class Says(NoFront):
    """A reader who answers every question the same."""

    def __init__(self, text: str | None) -> None:
        self.text = text

    def ask_text(self, title: str, question: str) -> str | None:  # noqa: ARG002 - what a window is asked
        return self.text


@pytest.fixture
def slices(application: Application, tmp_path: Path) -> Application:
    application.run_command("file.open_files", write_slices(tmp_path, 3))
    return application


def where(app: Application) -> Measured:
    found = measured_image(app.state)
    assert found is not None
    return found


def draw(app: Application, kind: str = "length", points: Any = LINE) -> Measurement:
    before = measurements_of(app.state)
    app.run_command("measure.add", Drawn(kind, points, where(app)))  # type: ignore[arg-type]
    (made,) = [one for one in measurements_of(app.state) if one not in before]
    return made


def stored(app: Application) -> tuple[Measurement, ...]:
    return app.records.store().measurements_for(("", *where(app)[:2]))


def test_what_is_drawn_is_measured_and_kept(slices: Application) -> None:
    made = draw(slices)
    assert stored(slices) == (made,) == measurements_of(slices.state)
    value = value_of(slices.state, made)
    assert value is not None
    assert [(q.name, q.value, q.unit, q.basis) for q in value.quantities] == [("length", 50.0, "mm", "patient plane")]
    assert slices.state.selected_measurement == made.uid


def test_every_change_is_undone_and_done_again_in_the_store_too(slices: Application) -> None:
    made = draw(slices)
    moved = ((0.0, 0.0), (3.0, 4.0))
    slices.run_command("measure.move", Moved(made.uid, moved, where(slices)))
    slices.run_command("measure.name", Named(made.uid, " nodule\n1 "))
    slices.run_command("measure.delete")
    states = [(), (made,), (replace(made, points=moved),), (replace(made, points=moved, label="nodule 1"),), ()]
    for expected in reversed(states[:-1]):
        slices.run_command("edit.undo")
        assert measurements_of(slices.state) == expected == stored(slices)
    for expected in states[1:]:
        slices.run_command("edit.redo")
        assert measurements_of(slices.state) == expected == stored(slices)


@pytest.mark.reliability
def test_a_measurement_shows_on_its_own_image_only(slices: Application) -> None:
    made = draw(slices)
    slices.run_command("image.next")
    assert measurements_of(slices.state) == ()
    other = draw(slices, points=((1.0, 1.0), (2.0, 2.0)))
    slices.run_command("image.previous")
    assert measurements_of(slices.state) == (made,)
    assert stored(slices) == (made,)
    slices.run_command("measure.go_to", other.uid)
    assert slices.state.selection is not None
    assert slices.state.selection.index == 1
    assert measurements_of(slices.state) == (other,)


def test_a_measurement_is_undone_only_while_its_image_is_on_screen(slices: Application) -> None:
    made = draw(slices)
    slices.run_command("image.next")
    slices.run_command("edit.undo")
    assert slices.state.notice is not None
    assert slices.state.notice.text == UNDO_ELSEWHERE
    slices.run_command("image.previous")
    assert measurements_of(slices.state) == (made,)
    slices.run_command("edit.undo")
    assert measurements_of(slices.state) == ()


def test_undoing_a_view_change_leaves_what_was_read_later(slices: Application) -> None:
    """Measurements that the store gave after the change are no change of the reader's."""
    state = slices.state
    slices.session.update(measurements={})
    slices.run_command("view.invert")
    slices.session.update(measurements=state.measurements)
    slices.run_command("edit.undo")
    assert slices.state.measurements == state.measurements
    assert not slices.state.view.inverted


def test_they_are_there_when_the_program_is_started_again(
    fake_engine: FakeEngine, medviewer_home: Path, tmp_path: Path
) -> None:
    path = write_radiograph(tmp_path / "a.dcm", ImagerPixelSpacing=[0.2, 0.2])
    made = None
    for _ in range(2):
        with running_application(medviewer_home, lambda call: call(), fake_engine, InlineExecutor) as app:
            app.run_command("file.open_files", [path])
            made = made or draw(app, "ellipse")
            assert measurements_of(app.state) == (made,)
            value = value_of(app.state, made)
            assert value is not None
            assert [q.name for q in value.quantities] == ["area", "mean", "SD", "minimum", "maximum", "pixels"]


def test_saving_and_deleting_are_in_the_audit_trail(slices: Application, medviewer_home: Path) -> None:
    draw(slices)
    slices.run_command("measure.delete")
    store = slices.records.store()
    events = [entry.event for entry in AuditTrail(store.database, medviewer_home / "audit").entries()]
    told = [(event.what, event.subject, event.detail) for event in events if event.what.startswith("measurement.")]
    assert told == [
        ("measurement.saved", where(slices)[0], "length"), ("measurement.deleted", where(slices)[0], "length"),
    ]  # fmt: skip


@pytest.mark.reliability
def test_a_measurement_that_cannot_be_written_is_taken_back_and_said(
    slices: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = draw(slices)

    def full(*_args: object) -> None:
        raise StorageError("The disk is full.")

    with monkeypatch.context() as patched:
        patched.setattr(RecordStore, "save_measurement", full)
        patched.setattr(RecordStore, "delete_measurement", full)
        slices.run_command("measure.add", Drawn("probe", ((1.0, 1.0),), where(slices)))
        assert measurements_of(slices.state) == (kept,)
        assert slices.state.notice is not None
        assert slices.state.notice.text.startswith(NOT_SAVED)
        slices.run_command("measure.move", Moved(kept.uid, ((0.0, 0.0), (1.0, 1.0)), where(slices)))
        assert measurements_of(slices.state) == (kept,)
        slices.run_command("measure.remove", kept.uid)
        assert measurements_of(slices.state) == (kept,)
        assert slices.state.notice.text.startswith(NOT_DELETED)
    slices.run_command("view.invert")
    for _ in range(2):
        slices.run_command("edit.undo")
        assert measurements_of(slices.state) == (kept,) == stored(slices)


def test_a_deletion_that_failed_late_is_undone_in_what_came_after_it() -> None:
    made = new_measurement("length", LINE, ("1.2", 0, None))
    session = Session(State(selection=selection(), measurements={("1.2", 0, None): ()}))
    session.change(measurements={("1.2", 0, None): (made,)})
    session.change(measurements={("1.2", 0, None): ()})
    session.change(corner_text="none")
    session.take_back_measurement(None, made)
    assert session.state.measurements == {("1.2", 0, None): (made,)}
    assert [past.state.measurements["1.2", 0, None] for past in session._undo] == [(), (made,), (made,)]


def test_store_that_cannot_be_read_means_no_measuring_and_says_why(
    application: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_args: object) -> None:
        raise StorageError("The patient records cannot be read.")

    monkeypatch.setattr(RecordStore, "measurements_among", gone)
    application.run_command("file.open_files", write_slices(tmp_path, 1))
    assert why_not(application.state) == "The patient records cannot be read."
    application.run_command("measure.add", Drawn("length", LINE, where(application)))
    assert measurements_of(application.state) == ()


@pytest.mark.reliability
def test_where_two_files_claim_to_be_one_image_nothing_is_measured(application: Application, tmp_path: Path) -> None:
    from pydicom import dcmread

    paths = write_slices(tmp_path, 2)
    first, second = (dcmread(path) for path in paths)
    second.SOPInstanceUID = second.file_meta.MediaStorageSOPInstanceUID = first.SOPInstanceUID
    second.save_as(paths[1])
    application.run_command("file.open_files", paths)
    assert "another file here claims the same one" in why_not(application.state)
    application.run_command("measure.add", Drawn("length", LINE, where(application)))
    assert measurements_of(application.state) == ()


@pytest.mark.reliability
def test_a_second_file_that_claims_the_image_later_takes_its_measurements_off(slices: Application) -> None:
    from dataclasses import replace as changed

    draw(slices)
    patient = slices.state.collection.patients[0]
    study = patient.studies[0]
    series = study.series[0]
    stack = series.stacks[0]
    twin = changed(stack.images[1], sop_instance_uid=where(slices)[0])
    grown = changed(series, stacks=(changed(stack, images=(stack.images[0], twin, stack.images[2])),))
    collection = changed(
        slices.state.collection, patients=(changed(patient, studies=(changed(study, series=(grown,)),)),)
    )
    slices.session.update(collection=collection)
    assert measurements_of(slices.state) == ()
    assert len(stored(slices)) == 1, "nothing is deleted"


def test_calibrating_asks_for_the_length_and_changes_the_others(slices: Application) -> None:
    line = draw(slices)
    slices.front = Says("100,0 mm")
    draw(slices, "calibration", ((0.0, 0.0), (50.0, 0.0)))
    value = value_of(slices.state, line)
    assert value is not None
    assert (value.quantities[0].value, value.quantities[0].basis) == (pytest.approx(100.0), "calibrated")
    slices.run_command("edit.undo")
    back = value_of(slices.state, line)
    assert back is not None
    assert (back.quantities[0].value, back.quantities[0].basis) == (50.0, "patient plane")


@pytest.mark.reliability
@pytest.mark.parametrize(("days", "counts"), [(-1, "own"), (1, "other")])
def test_of_a_report_no_older_calibration_takes_the_place_of_the_own(
    days: int, counts: str, slices: Application
) -> None:
    line = draw(slices)
    slices.front = Says("100")
    own = draw(slices, "calibration", ((0.0, 0.0), (50.0, 0.0)))
    other = replace(
        own, uid="2.25.77", points=((0.0, 9.0), (50.0, 9.0)), known_mm=20.0, created=own.created + timedelta(days=days)
    )
    slices.session.update(offered_measurements=(other,))
    slices.run_command("measure.take_offered")
    assert len(measurements_of(slices.state)) == 3
    value = value_of(slices.state, line)
    assert value is not None
    assert value.quantities[0].value == pytest.approx({"own": 100.0, "other": 20.0}[counts])


@pytest.mark.parametrize(("said", "notice"), [(None, None), ("wide", "number of millimetres"), ("-3", "millimetres")])
def test_without_a_length_nothing_is_calibrated(slices: Application, said: str | None, notice: str | None) -> None:
    slices.front = Says(said)
    slices.run_command("measure.add", Drawn("calibration", LINE, where(slices)))
    assert measurements_of(slices.state) == ()
    if notice:
        assert slices.state.notice is not None
        assert notice in slices.state.notice.text


def test_what_has_no_direction_is_refused_with_the_reason(slices: Application) -> None:
    slices.run_command("measure.add", Drawn("angle", ((1.0, 1.0), (1.0, 1.0), (2.0, 2.0)), where(slices)))
    assert measurements_of(slices.state) == ()
    assert slices.state.notice is not None
    assert "no direction" in slices.state.notice.text


def test_what_was_drawn_on_another_image_is_not_put_on_this_one(slices: Application) -> None:
    there = where(slices)
    slices.run_command("image.next")
    slices.run_command("measure.add", Drawn("length", LINE, there))
    assert not any(slices.state.measurements.values())


def test_closing_and_opening_forgets_and_finds_them(slices: Application, tmp_path: Path) -> None:
    made = draw(slices)
    slices.run_command("file.close")
    assert not slices.state.measurements
    slices.run_command("file.open_files", [tmp_path])
    assert measurements_of(slices.state) == (made,)


def test_watchers_are_told_of_changes_in_their_order() -> None:
    session = Session()
    told: list[tuple[str, str]] = []
    session.watch(lambda _old, new: session.update(model_id="b") if new.model_id == "a" else None)
    session.watch(lambda old, new: told.append((old.model_id, new.model_id)))
    session.update(model_id="a")
    assert told == [("", "a"), ("a", "b")]


@pytest.mark.parametrize("goes_to", ["another patient", "a document"])
def test_who_is_left_before_the_store_has_answered_has_all_when_they_come_back(
    application: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, goes_to: str
) -> None:
    write_radiograph(tmp_path / "a.dcm", SOPInstanceUID="1.2.3.4", StudyInstanceUID="2.25.77")
    write_radiograph(tmp_path / "b.dcm", patient_id="B2", name="Beta^Ben", SOPInstanceUID="1.2.3.5")
    who = {"PatientID": "A1", "PatientName": "Alpha^Anna", "PatientBirthDate": "20010203", "PatientSex": "F"}
    write_report(tmp_path / "c.dcm", item("TEXT", "Finding", TextValue="No"), StudyInstanceUID="2.25.77", **who)
    line = new_measurement("length", LINE, ("1.2.3.4", 0, None))
    application.records.store().save_measurement(line)
    application.records.store().save_key_image("1.2.3.4", 0, is_marked=True, author="reader")
    held: list[Callable[[], None]] = []
    real = application.write

    def write(work: Callable[[], Any], done: Callable[[Any], None] = lambda _none: None, failed: Any = None) -> None:
        if "MeasurementKeeper._follow" in done.__qualname__:
            held.append(lambda: real(work, done, failed))
        else:
            real(work, done, failed)

    monkeypatch.setattr(application, "write", write)
    application.run_command("file.open_folder", tmp_path)
    of = {one.patient.patient_id: one for one in selections(application.state.collection)}
    assert application.state.selection is not None
    assert application.state.selection.patient.patient_id == "A1"
    if goes_to == "another patient":
        application.run_command("image.select", of["B2"])
    else:
        application.run_command("document.show", next(readings(application.state.collection)).document)
    for go_on in held[:1]:
        go_on()
    if goes_to == "another patient":
        assert "still being read" in why_not(application.state), "of this one nobody has answered"
        application.run_command("image.select", of["A1"])
    else:
        application.run_command("document.close")
    assert measurements_of(application.state) == (line,)
    value = value_of(application.state, line)
    assert value is not None
    assert value.quantities
    assert application.state.key_images[("1.2.3.4", 0)]
    assert not why_not(application.state)


def test_of_whom_the_store_has_not_answered_yet_nothing_else_is_said(
    application: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_radiograph(tmp_path / "a.dcm", SOPInstanceUID="1.2.3.4")
    write_radiograph(tmp_path / "b.dcm", patient_id="B2", name="Beta^Ben", SOPInstanceUID="1.2.3.5")
    application.run_command("file.open_folder", tmp_path)
    assert not why_not(application.state)
    _, other = selections(application.state.collection)
    with monkeypatch.context() as held:
        held.setattr(application, "write", lambda *_work, **_more: None)
        application.run_command("image.select", other)
    assert "still being read" in why_not(application.state)
