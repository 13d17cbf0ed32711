"""Measurements go into files in the study of their images, and come back only to those very images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from medviewer.app.measurement_files import offered
from medviewer.app.measuring import Drawn, Moved
from medviewer.app.on_screen import measured_image, measurements_of
from medviewer.app.start import running_application
from medviewer.domain.measurement import Measurement
from medviewer.domain.study import Window
from medviewer.imaging.display import to_display
from medviewer.imaging.measurement_reading import read_measurement_report
from medviewer.imaging.presentation_reading import read_presentation_state
from medviewer.imaging.presenting import presented
from tests.conftest import InlineExecutor
from tests.dicom_maker import make_dataset, write_dataset
from tests.radiographs import write_slices
from tests.unit.app.test_measuring import LINE, draw, where

if TYPE_CHECKING:
    from medviewer.app.application import Application
    from tests.fakes import FakeEngine

REPORT, STATE = "measurements.sr.dcm", "measurements.pr.dcm"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_slices(tmp_path / "study", 3)
    return tmp_path / "study"


@pytest.fixture
def measured(application: Application, folder: Path) -> Application:
    """Two images of a study with a measurement each; the second of them is on screen."""
    application.run_command("file.open_files", [folder])
    draw(application)
    application.run_command("image.next")
    draw(application, "ellipse")
    return application


def all_of(app: Application) -> list[Measurement]:
    """Every measurement, in the order of drawing."""
    return sorted((one for own in app.state.measurements.values() for one in own), key=lambda one: one.created)


def reopened(fake_engine: FakeEngine, home: Path, folder: Path) -> Application:
    """Another reader's program, without what was kept before."""
    context = running_application(home, lambda call: call(), fake_engine, InlineExecutor)
    app = context.__enter__()
    app.contexts = [context]  # type: ignore[attr-defined]
    app.run_command("file.open_files", [folder])
    return app


def close(app: Application) -> None:
    app.contexts[0].__exit__(None, None, None)  # type: ignore[attr-defined]


def test_all_of_the_study_is_saved_and_read_back_equal(measured: Application, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    measured.run_command("measure.save_report", out)
    report = read_measurement_report(out / REPORT)
    drawn = all_of(measured)
    assert list(report.measurements) == drawn
    assert report.not_understood == ()
    assert measured.state.selection is not None
    assert report.study_instance_uid == measured.state.selection.study.study_instance_uid
    assert measured.state.notice is not None
    assert measured.state.notice.text == f"Saved in that folder as {REPORT}."


def test_nothing_is_written_over(measured: Application, tmp_path: Path) -> None:
    measured.run_command("measure.save_report", tmp_path)
    before = (tmp_path / REPORT).read_bytes()
    measured.run_command("measure.save_report", tmp_path)
    assert (tmp_path / REPORT).read_bytes() == before
    assert (tmp_path / "measurements-2.sr.dcm").is_file()


def test_the_view_is_saved_with_what_was_measured_on_its_image(measured: Application, tmp_path: Path) -> None:
    measured.run_command("view.rotate_right")
    measured.run_command("measure.save_state", tmp_path)
    state = pydicom.dcmread(tmp_path / STATE)
    assert state.ReferencedSeriesSequence[0].ReferencedImageSequence[0].ReferencedSOPInstanceUID == where(measured)[0]
    assert len(state.GraphicAnnotationSequence[0].GraphicObjectSequence) == 1
    assert state.ImageRotation == 90


@pytest.mark.parametrize("is_off", [False, True])
def test_a_saved_view_covers_what_was_covered(is_off: bool, application: Application, tmp_path: Path) -> None:
    shutter = {"ShutterShape": "CIRCULAR", "CenterOfCircularShutter": [4, 4], "RadiusOfCircularShutter": 2}
    source = write_dataset(tmp_path / "image.dcm", make_dataset(StudyDate="", StudyTime="", **shutter))
    application.run_command("file.open_files", [source])
    if is_off:
        application.run_command("view.shutters")
    application.run_command("measure.save_state", tmp_path)
    assert ("ShutterShape" in pydicom.dcmread(tmp_path / STATE)) is not is_off


TABLE = Dataset()
TABLE.LUTDescriptor = [64, 0, 16]
TABLE.LUTData = (np.arange(64, dtype="<u2") ** 2 * 16).tobytes()
OWN = {"WindowCenter": 20, "WindowWidth": 10}


@pytest.mark.reliability
@pytest.mark.parametrize("is_chosen", [False, True])
@pytest.mark.parametrize("own", [{}, OWN, {"VOILUTSequence": [TABLE]}, {**OWN, "VOILUTSequence": [TABLE]}])
def test_a_saved_view_has_the_greys_of_the_screen(
    own: dict[str, Any], is_chosen: bool, application: Application, tmp_path: Path
) -> None:
    source = write_dataset(tmp_path / "image.dcm", make_dataset(StudyDate="", StudyTime="", **own))
    application.run_command("file.open_files", [source])
    if is_chosen:
        application.run_command("view.window", Window(30.0, 20.0))
    application.run_command("measure.save_state", tmp_path)
    frame, selection = application.state.frame, application.state.selection
    assert frame is not None
    assert selection is not None
    appearance = read_presentation_state(tmp_path / STATE).for_image(selection.image.sop_instance_uid, 0)
    again = replace(frame, description=presented(frame.description, appearance))
    assert np.array_equal(to_display(again), to_display(frame, application.state.view.window))


def test_without_a_measurement_there_is_no_report_and_the_command_is_off(
    application: Application, folder: Path, tmp_path: Path
) -> None:
    application.run_command("file.open_files", [folder])
    application.run_command("measure.save_report", tmp_path)
    assert not (tmp_path / REPORT).exists()
    application.run_command("measure.save_state", tmp_path)
    assert (tmp_path / STATE).is_file()


def test_a_report_beside_the_images_is_offered_taken_once_and_never_again(
    measured: Application, fake_engine: FakeEngine, folder: Path, tmp_path: Path
) -> None:
    drawn = all_of(measured)
    measured.run_command("measure.save_report", folder)
    measured.run_command("file.open_files", [folder])
    assert offered(measured.state) == (), "they are the reader's own"

    other = reopened(fake_engine, tmp_path / "other-home", folder)
    assert not any(other.state.measurements.values())
    assert list(offered(other.state)) == drawn
    other.run_command("measure.take_offered")
    assert all_of(other) == drawn
    assert other.records.store().measurements_for(drawn[0].sop_instance_uid) == (drawn[0],)
    assert offered(other.state) == ()
    (mine,) = measurements_of(other.state)
    other.run_command("measure.move", Moved(mine.uid, ((1.0, 1.0), (2.0, 2.0)), where(other)))
    other.run_command("measure.remove", drawn[1].uid)
    other.run_command("file.open_files", [folder])
    assert offered(other.state) == (), "neither what was changed nor what was deleted comes back"
    assert measurements_of(other.state)[0].points == ((1.0, 1.0), (2.0, 2.0))
    close(other)


def test_a_circle_of_another_program_is_round_where_pixels_are_not_square(
    fake_engine: FakeEngine, folder: Path, tmp_path: Path
) -> None:
    for path in folder.glob("*.dcm"):
        image = pydicom.dcmread(path)
        image.PixelSpacing = [2, 1]
        image.save_as(path)
    mine = reopened(fake_engine, tmp_path / "home", folder)
    draw(mine, "ellipse")
    mine.run_command("measure.save_report", folder)
    close(mine)
    report = pydicom.dcmread(folder / REPORT)
    for item in report.iterall():
        if item.keyword == "GraphicType":
            item.value = "CIRCLE"
        elif item.keyword == "GraphicData":
            item.value = [20, 30, 20, 34]
        elif item.keyword == "CodingSchemeDesignator" and item.value.startswith("99"):
            item.value = "99OTHER"
    report.save_as(folder / REPORT)
    other = reopened(fake_engine, tmp_path / "other-home", folder)
    assert [one.points for one in offered(other.state)] == [((12.0, 26.0), (28.0, 34.0))]
    close(other)


@pytest.mark.reliability
def test_one_report_that_cannot_be_read_does_not_cost_the_others(
    measured: Application,
    fake_engine: FakeEngine,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    drawn = all_of(measured)
    measured.run_command("measure.save_report", folder)
    report = pydicom.dcmread(folder / REPORT)
    report.SOPInstanceUID = report.file_meta.MediaStorageSOPInstanceUID = "2.25.99"
    report.save_as(folder / "a damaged one.dcm")

    name = "Doe^Jane"

    def read(path: Path) -> object:
        if path.name != REPORT:
            raise ZeroDivisionError(name)
        return read_measurement_report(path)

    monkeypatch.setattr("medviewer.imaging.measurement_reading.read_measurement_report", read)
    other = reopened(fake_engine, tmp_path / "other-home", folder)
    assert list(offered(other.state)) == drawn
    assert "ZeroDivisionError" in caplog.text
    assert "Doe" not in caplog.text
    caplog.clear()
    close(other)


@pytest.mark.reliability
def test_a_measurement_of_a_film_without_a_frame_is_not_offered(
    measured: Application, fake_engine: FakeEngine, folder: Path, tmp_path: Path
) -> None:
    """It would be drawn on the first frame, whichever it was made on."""
    measured.run_command("measure.save_report", folder)
    uids = {one.sop_instance_uid for one in all_of(measured)}
    for path in folder.glob("*.dcm"):
        dataset = pydicom.dcmread(path)
        if dataset.SOPInstanceUID in uids:
            dataset.NumberOfFrames, dataset.PixelData = 2, dataset.PixelData * 2
            dataset.save_as(path)
    other = reopened(fake_engine, tmp_path / "other-home", folder)
    assert offered(other.state) == ()
    close(other)


def test_undoing_what_was_done_before_does_not_delete_what_a_report_brought(
    measured: Application, fake_engine: FakeEngine, folder: Path, tmp_path: Path
) -> None:
    drawn = all_of(measured)
    measured.run_command("measure.save_report", folder)
    other = reopened(fake_engine, tmp_path / "other-home", folder)
    other.run_command("view.invert")
    other.run_command("view.invert")
    other.run_command("edit.undo")
    other.run_command("measure.take_offered")
    other.run_command("edit.undo")
    assert not other.state.view.inverted
    assert all_of(other) == drawn
    other.run_command("edit.redo")
    other.run_command("edit.redo")
    assert all_of(other) == drawn
    assert other.records.store().measurements_for(drawn[0].sop_instance_uid) == (drawn[0],)
    close(other)


@pytest.mark.reliability
@pytest.mark.parametrize("wrong", ["patient", "study", "image", "place"])
def test_a_report_of_another_patient_study_or_image_is_not_offered(
    measured: Application, fake_engine: FakeEngine, folder: Path, tmp_path: Path, wrong: str
) -> None:
    measured.run_command("measure.save_report", folder)
    path = folder / REPORT
    report = pydicom.dcmread(path)
    if wrong == "study":
        report.StudyInstanceUID = "2.25.77"
    elif wrong == "patient":
        report.PatientID, report.PatientName = "D4", "Delta^Dora"
    else:
        drawn = {one.sop_instance_uid for own in measured.state.measurements.values() for one in own}
        for element in report.iterall():
            if wrong == "image" and element.keyword == "ReferencedSOPInstanceUID" and element.value in drawn:
                element.value = "2.25.78"
            if wrong == "place" and element.keyword == "GraphicData":
                element.value = [value + 60 for value in element.value]
    report.save_as(path)
    other = reopened(fake_engine, tmp_path / "other-home", folder)
    assert other.state.offered_measurements == ()
    close(other)


def test_a_plane_that_was_cut_has_no_presentation_state(measured: Application, tmp_path: Path) -> None:
    measured.run_command("layout.planes")
    assert measured_image(measured.state) is not None
    measured.run_command("measure.save_state", tmp_path)
    assert not (tmp_path / STATE).exists()
    measured.run_command("measure.add", Drawn("length", LINE, ("1.2", 0, None)))
    assert ("1.2", 0, None) not in measured.state.measurements
