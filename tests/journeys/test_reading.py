"""Reading with measurements, whole: a study beside its prior, a length by mouse, found again after a restart, sent on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid
from PySide6.QtCore import QCoreApplication, QEvent, QPoint, QPointF, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from medviewer.app.application import Application
from medviewer.app.on_screen import measurements_of, pane_state, value_of
from medviewer.app.start import running_application
from medviewer.app.state import Value
from medviewer.domain.measurement import Measurement
from medviewer.gui.post import GuiPost
from medviewer.gui.theme import apply_theme
from medviewer.gui.window import MainWindow
from medviewer.imaging.measurement_reading import read_measurement_report
from medviewer.records.audit import AuditTrail
from medviewer.records.store import RecordStore
from tests.dicom_maker import write_dataset
from tests.gui.reader import Reader
from tests.gui.seen import words
from tests.phantoms import write_chest

SLICE = 22  # through the nodule at (55, 0, 20) of the phantom: 20 mm above the middle
SPACING_MM = 2.0


@contextmanager
def started(qtbot: Any, engine: Any, home: Path) -> Iterator[Reader]:
    """The program from start to end: everything is written when it has ended."""
    qt = QApplication.instance()
    assert isinstance(qt, QApplication)
    apply_theme(qt)
    post = GuiPost()
    with running_application(home, post, engine) as app:
        window = MainWindow(app)
        window.show()
        reader = Reader(window, qtbot)
        yield reader
        reader.settle()
        window.close()
        post.close()
        window.deleteLater()
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)


def at(reader: Reader, point: tuple[float, float]) -> QPoint:
    placed = reader.window.viewport.placement()
    assert placed is not None
    return placed.transform.map(QPointF(*point)).toPoint()


def drag(reader: Reader, start: tuple[float, float], end: tuple[float, float]) -> None:
    viewport, left, none = reader.window.viewport, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    first, last = at(reader, start), at(reader, end)
    QTest.mousePress(viewport, left, none, first)
    QTest.mouseMove(viewport, (first + last) / 2)
    QTest.mouseMove(viewport, last)
    QTest.mouseRelease(viewport, left, none, last)


def only(app: Application) -> tuple[Measurement, Value]:
    (made,) = measurements_of(app.state)
    value = value_of(app.state, made)
    assert value is not None
    return made, value


def add_series(folder: Path) -> None:
    """A scout before the axial series of a chest, and a coronal series behind it, as a scanner sends them."""
    study = dcmread(folder / "000.dcm")
    for number, (name, count, kind) in enumerate((("Scout", 1, "LOCALIZER"), ("Chest cor", 8, "AXIAL")), start=1):
        series = generate_uid()
        for index in range(count):
            made = deepcopy(study)
            made.SeriesInstanceUID, made.SOPInstanceUID = series, generate_uid()
            made.SeriesNumber, made.InstanceNumber = 2 * number - 1, index + 1
            made.SeriesDescription, made.ImageType = name, ["ORIGINAL", "PRIMARY", kind]
            made.ImageOrientationPatient, made.ImagePositionPatient = [1, 0, 0, 0, 0, -1], [-159, 4 * index, 66]
            write_dataset(folder / f"{name}{index}.dcm", made)


@pytest.mark.slow
def test_a_length_is_measured_kept_found_again_and_sent_on(
    qtbot: Any, fake_engine: Any, medviewer_home: Path, tmp_path: Path
) -> None:
    folder, out = tmp_path / "disc", tmp_path / "out"
    out.mkdir()
    write_chest(folder / "now", n_slices=34, spacing_mm=SPACING_MM, date="20240301", nodule_mm=8.0)
    write_chest(folder / "before", n_slices=34, spacing_mm=SPACING_MM, date="20230210", nodule_mm=5.0)
    write_chest(folder / "long before", n_slices=34, spacing_mm=SPACING_MM, date="20210610", nodule_mm=3.0)
    for study in ("now", "before", "long before"):
        add_series(folder / study)
    (folder / "now" / "bad.dcm").write_bytes((folder / "now" / "000.dcm").read_bytes()[:700])

    with started(qtbot, fake_engine, medviewer_home) as reader:
        app, state = reader.window.app, lambda: reader.window.app.state
        reader.open(folder)
        assert len(state().collection.problems) == 1, "the bad file is one line, and stops nothing"
        latest = next(s for s in state().collection.patients[0].studies if s.date == "20240301")
        while state().selection.series is not latest.series[0]:
            reader.key(Qt.Key.Key_Left)  # the newest study comes first, its scout before the rest
            reader.settle()
        reader.key(Qt.Key.Key_Right)
        reader.settle()
        assert state().selection.series is latest.series[1]

        # Beside the prior, at the same place of the chest.
        app.run_command("image.show", SLICE)
        reader.settle()
        app.run_command("layout.prior")
        reader.settle()
        prior = pane_state(state(), 1)
        assert prior.selection.study.date == "20230210", "the last of two earlier ones"
        assert prior.selection.series.description == "Chest 4 mm", "neither its scout nor its coronal series"
        assert prior.selection.index == SLICE

        # The nodule: 16 mm across, at (55, 0) mm from the middle of the image.
        middle = 160 / 2
        x, y = middle + 55 / SPACING_MM, middle
        reader.key(Qt.Key.Key_D)
        drag(reader, (x - 4, y), (x + 4, y))
        reader.settle()
        made, value = only(app)
        assert value.quantities[0].value == pytest.approx(16.0, abs=SPACING_MM)
        assert (value.quantities[0].unit, value.quantities[0].basis) == ("mm", "patient plane")
        assert measurements_of(pane_state(state(), 1)) == (), "nothing on the prior"
        image = state().selection.image.sop_instance_uid

    with started(qtbot, fake_engine, medviewer_home) as reader:
        app = reader.window.app
        reader.open(folder)
        reader.window._tabs.setCurrentWidget(reader.window.measurements)
        QApplication.processEvents()
        told = f"{value.quantities[0].value:.1f} mm, patient plane"
        reader.wait(lambda: told in words(reader.window.measurements))
        app.run_command("measure.go_to", made.uid)
        reader.settle()
        assert app.state.selection.image.sop_instance_uid == image
        assert only(app) == (made, value), "the same place, the same number"

        app.run_command("measure.save_report", out)
        reader.settle()
        report = read_measurement_report(out / "measurements.sr.dcm")
        assert report.measurements == (made,)
        assert report.study_instance_uid == app.state.selection.study.study_instance_uid

    with RecordStore(medviewer_home / "records.sqlite") as store:
        trail = AuditTrail(store.database, medviewer_home / "audit")
        assert trail.verify().ok
        done = [entry.event.what for entry in trail.entries()]
    assert {"study.opened", "measurement.saved", "results.saved"} <= set(done)
