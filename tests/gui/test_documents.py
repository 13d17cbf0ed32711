"""Documents in the window: chosen in the list, read in the place of the images, without identity while that is hidden."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QTextCursor
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from medviewer.app.state import State
from medviewer.domain.study import Patient
from medviewer.domain.waveform import Channel, MultiplexGroup, Waveform
from medviewer.gui.document_words import without_identity
from medviewer.gui.report_view import relation_words
from medviewer.gui.waveform_paper import GAIN_MM_MV, LEFT_MM, SPEED_MM_S, lay_out, polylines
from medviewer.gui.waveform_view import WaveformView
from medviewer.gui.window import MainWindow
from medviewer.imaging.pdf import shutdown
from tests.document_maker import (
    channel,
    code,
    image_item,
    item,
    make_pdf,
    multiplex_group,
    shipped,
    write_pdf,
    write_report,
    write_waveform,
)
from tests.gui.reader import Reader
from tests.gui.seen import all_words
from tests.radiographs import write_radiograph

WHO = {"PatientID": "A1", "PatientName": "Alpha^Anna", "PatientBirthDate": "20010203", "PatientSex": "F"}
STUDY = "2.25.77"
HTML = "<img src='file:///etc/hostname'><b>bold</b> &amp; Alpha of A1"


@pytest.fixture(autouse=True)
def _ended() -> Any:
    yield
    shutdown()


@pytest.fixture
def reader(main_window: MainWindow, qtbot: Any, tmp_path: Path) -> Reader:
    """A radiograph and on it a report, a PDF of three pages and an ECG."""
    folder = tmp_path / "in"
    folder.mkdir()
    write_radiograph(
        folder / "a.dcm",
        SOPInstanceUID="1.2.3.4",
        StudyInstanceUID=STUDY,
        SeriesNumber=3,
        SeriesDescription="Knee of Anna",
    )
    write_report(
        folder / "b.dcm",
        item("CONTAINER", "Findings", item("TEXT", "Finding", image_item("1.2.3.4"), TextValue=HTML)),
        item("PNAME", "Physician", PersonName="Doctor^Dora"),
        item("TEXT", code("Subject ID", "121030", "DCM"), TextValue="A1"),
        item("IMAGE", "Prior", ReferencedSOPSequence=image_item("9.9.9").ReferencedSOPSequence),
        StudyInstanceUID=STUDY, VerificationFlag="UNVERIFIED", CompletionFlag="PARTIAL", **WHO,
    )  # fmt: skip
    write_pdf(folder / "c.dcm", make_pdf(3), StudyInstanceUID=STUDY, **WHO)
    samples = (1000 * np.sin(np.arange(5000) / 50)).astype("<i2").reshape(5000, 1)
    write_waveform(
        folder / "d.dcm", multiplex_group(samples, [channel("Lead II")], "SS"), StudyInstanceUID=STUDY, **WHO
    )
    made = Reader(main_window, qtbot)
    made.open(folder)
    return made


def choose(reader: Reader, name: str) -> None:
    """Choose a document in the list of studies, with the mouse."""
    panel = reader.window.studies
    row = next(i for i, r in enumerate(panel.rows.rows) if r.document is not None and r.document.path.name == name)
    where = panel.list.visualRect(panel.rows.index(row)).center()
    QTest.mouseClick(panel.list.viewport(), Qt.MouseButton.LeftButton, pos=where)
    reader.settle()


def report_text(reader: Reader) -> str:
    return reader.window.documents.report.toPlainText()


def test_documents_stand_under_their_study(reader: Reader) -> None:
    rows = reader.window.studies.rows.rows
    assert [row.kind for row in rows] == ["patient", "study", "series", "document", "document", "document"]
    assert [row.title for row in rows[3:]] == ["Radiology Report", "Discharge letter", "General ECG Waveform"]
    assert rows[1].title.endswith("CR/SR/DOC/ECG")


@pytest.mark.parametrize("name", ["b.dcm", "c.dcm", "d.dcm"])
def test_a_document_that_is_chosen_takes_the_place_of_the_image_and_esc_gives_it_back(
    reader: Reader, name: str
) -> None:
    choose(reader, name)
    page = reader.window.documents
    assert page.isVisible()
    assert not reader.window.viewport.isVisible()
    assert "Alpha, Anna" in page.who.text()
    assert "A1" in page.who.text()
    assert reader.window.windowTitle().startswith("\u2068Alpha, Anna")
    QTest.keyClick(QApplication.focusWidget(), Qt.Key.Key_Escape)
    assert reader.window.viewport.isVisible()
    assert not page.isVisible()
    assert reader.state.frame is not None


def test_esc_closes_from_within_the_document_too(reader: Reader) -> None:
    for name in ("b.dcm", "c.dcm", "d.dcm"):
        choose(reader, name)
        view = reader.window.documents.body.currentWidget()
        view.setFocus()
        QTest.keyClick(view, Qt.Key.Key_Escape)
        assert reader.state.reading is None


def test_the_button_that_closes_names_the_key_that_the_reader_gave_it(reader: Reader) -> None:
    choose(reader, "b.dcm")
    close = reader.window.documents._buttons["document.close"]
    assert "Close the document (Esc)" in close.toolTip()
    reader.window.app.run_command("app.shortcuts", {"view.reset": ("Ctrl+J",)})
    assert "Close the document (Ctrl+J)" in close.toolTip()
    reader.window.app.run_command("app.shortcuts", {"view.reset": ()})
    assert "Close the document (Ctrl+Shift+W)" in close.toolTip()


def test_the_list_keeps_its_keys_and_the_row_stays_marked(reader: Reader) -> None:
    panel = reader.window.studies
    panel.list.setFocus()
    for name in ("b.dcm", "c.dcm"):
        QTest.keyClick(panel.list, Qt.Key.Key_Down)
        reader.settle()
        assert reader.state.reading.document.path.name == name
    assert panel.list.hasFocus()
    assert panel.rows.rows[panel.list.currentIndex().row()].document.path.name == "c.dcm"


def test_choosing_the_series_shows_the_image_again(reader: Reader) -> None:
    choose(reader, "b.dcm")
    reader.select("Alpha^Anna")
    reader.settle()
    assert reader.window.viewport.isVisible()
    assert reader.state.frame is not None


def test_a_report_is_read_as_plain_text(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[object] = []
    browser = reader.window.documents.report
    monkeypatch.setattr(type(browser), "loadResource", lambda *_args: loaded.append(_args))
    choose(reader, "b.dcm")
    browser.grab()
    assert HTML in report_text(reader)
    assert loaded == []
    assert "Partial" in report_text(reader)
    assert "Not verified" in report_text(reader)
    assert "Physician:  Doctor Dora" in report_text(reader)
    assert "an image that is not open (9.9.9)" in report_text(reader)


def test_a_reference_leads_to_the_image_by_the_keyboard(reader: Reader) -> None:
    choose(reader, "b.dcm")
    browser = reader.window.documents.report
    assert "series 3" in report_text(reader)
    browser.setFocus()
    browser.moveCursor(QTextCursor.MoveOperation.Start)
    browser.focusNextPrevChild(True)
    QTest.keyClick(browser, Qt.Key.Key_Return)
    reader.settle()
    assert reader.state.reading is None
    assert reader.state.selection.image.sop_instance_uid == "1.2.3.4"


def test_hidden_identity_is_hidden_in_a_report(reader: Reader) -> None:
    choose(reader, "b.dcm")
    reader.window.app.run_command("view.hide_identity")
    seen = report_text(reader) + all_words(reader.window.documents) + reader.window.windowTitle()
    for word in ("Alpha", "Anna", "Doctor", "Dora", "A1", "2001-02-03", "20010203"):
        assert word not in seen
    assert "bold" in seen
    assert "Knee of" in seen, "the image that is referred to"
    assert "free text may still tell" in seen
    reader.window.app.run_command("view.hide_identity")
    assert "Doctor Dora" in report_text(reader)


@pytest.mark.parametrize(
    ("text", "covered"),
    [
        ("Mrs ALPHA, Anna (A1), born 2001-02-03", "Mrs ▪▪▪, ▪▪▪ (▪▪▪), born ▪▪▪"),
        ("alphabet, BA1, annals", "alphabet, BA1, annals"),
    ],
)
def test_name_number_and_birth_date_are_covered_as_whole_words(text: str, covered: str) -> None:
    assert without_identity(text, Patient("A1", name="Alpha^Anna", birth_date="20010203")) == covered


def test_a_chinese_name_is_covered_wherever_it_stands() -> None:
    patient = Patient("", name="Wang^XiaoDong=王^小东")
    assert without_identity("患者王小东肺炎, Wang", patient) == "患者▪▪▪▪▪▪肺炎, ▪▪▪"
    assert without_identity("李明", Patient("", name="李^李明")) == "▪▪▪"
    assert without_identity("text", Patient("")) == "text"


def test_a_pdf_is_drawn_turned_and_covered(reader: Reader) -> None:
    choose(reader, "c.dcm")
    page = reader.window.documents
    reader.wait(lambda: reader.state.reading.picture is not None)
    picture = page.pdf.grab().toImage()
    middle = page.pdf.widget().mapTo(page.pdf, QPoint(16 + round((page.pdf.widget().width() - 32) / 2), 200))
    assert picture.pixelColor(middle).red() > 200
    assert "Page 1 of 3" in all_words(page)
    page.pdf.setFocus()
    for _ in range(3):
        QTest.keyClick(page.pdf, Qt.Key.Key_PageDown)
    assert reader.state.reading.page >= 1
    reader.window.app.run_command("view.hide_identity")
    assert page.body.currentWidget() is not page.pdf
    assert "covered while the identity is hidden" in all_words(page)
    reader.window.app.run_command("view.hide_identity")
    reader.wait(lambda: reader.state.reading.picture is not None)
    assert page.body.currentWidget() is page.pdf


def test_a_pdf_is_drawn_as_sharp_as_the_screen(reader: Reader) -> None:
    choose(reader, "c.dcm")
    page = reader.window.documents.pdf
    reader.wait(lambda: reader.state.reading.picture is not None)
    for _ in range(2):
        reader.wait(lambda: abs(reader.state.reading.picture.shape[1] - (page.widget().width() - 32)) <= 1)
        for _ in range(3):
            reader.window.app.run_command("view.zoom_in")


@pytest.mark.parametrize("data", [b"", b"%PDF-1.4 rubbish", b"no PDF"])
def test_a_pdf_that_cannot_be_shown_is_one_sentence(
    main_window: MainWindow, qtbot: Any, tmp_path: Path, data: bytes
) -> None:
    reader = Reader(main_window, qtbot)
    main_window.app.run_command("file.open_files", [write_pdf(tmp_path / "a.dcm", data)])
    reader.settle()
    assert main_window.documents.isVisible()
    assert "ask for it to be sent again" in all_words(main_window.documents)
    assert main_window.documents.body.currentWidget() is not main_window.documents.pdf


def test_a_caliper_measures_milliseconds_and_millivolts(reader: Reader) -> None:
    choose(reader, "d.dcm")
    view = reader.window.documents.waveform
    scale = view.px_per_mm
    row = view._paper.rows[0]
    x, y = (LEFT_MM + SPEED_MM_S) * scale, view._top(row.top_mm + 15)
    start, end = QPoint(round(x), round(y)), QPoint(round(x + 10 * scale), round(y + 5 * scale))
    QTest.mousePress(view.viewport(), Qt.MouseButton.LeftButton, pos=start)
    QTest.mouseMove(view.viewport(), end)
    move(view, end)
    QTest.mouseRelease(view.viewport(), Qt.MouseButton.LeftButton, pos=end)
    ms, rate, mv = view.caliper_words().split("   ")
    assert abs(float(ms.split()[0]) - 400) < 15
    assert abs(float(rate.split("/")[0]) - 150) < 6
    assert abs(float(mv.split()[0]) + 0.5) < 0.03
    view.grab()
    QTest.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=start)
    assert view.caliper is None or view.caliper.start == view.caliper.end


def move(view: Any, to: QPoint) -> None:
    """A drag with the left button: QTest's own move holds no button."""
    from PySide6.QtCore import QEvent
    from PySide6.QtGui import QMouseEvent

    left = Qt.MouseButton.LeftButton
    at = QPointF(to)
    view.mouseMoveEvent(QMouseEvent(QEvent.Type.MouseMove, at, at, left, left, Qt.KeyboardModifier.NoModifier))


def group(values: np.ndarray, unit: str = "mV", rate: float = 500.0, skew: float = 0.0) -> MultiplexGroup:
    return MultiplexGroup("", rate, 0.0, (Channel("I", unit, skew),), values.reshape(1, -1).astype(np.float32))


@pytest.mark.parametrize(("unit", "per_mv"), [("mV", 1.0), ("uV", 1000.0), ("V", 0.001)])
def test_a_millivolt_is_ten_millimetres_and_a_second_twenty_five(unit: str, per_mv: float) -> None:
    values = np.zeros(1000)
    values[500] = per_mv
    paper = lay_out(Waveform((group(values, unit),)))
    (row,) = paper.rows
    assert row.is_voltage
    (line,) = polylines(row, 0, 2, 4000)
    top = line[np.argmin(line[:, 1])]
    assert top[0] == pytest.approx(1.0)
    assert row.zero_mm - top[1] == pytest.approx(GAIN_MM_MV, rel=1e-5)
    assert paper.width_mm == pytest.approx(LEFT_MM + 2 * SPEED_MM_S + 3)


def test_no_spike_is_lost_where_many_samples_share_a_column() -> None:
    values = np.zeros(1_000_000)
    values[[123_457, 800_001]] = 3.0, -2.0
    (row,) = lay_out(Waveform((group(values),))).rows
    (line,) = polylines(row, 0, 2000, 800)
    assert len(line) < 4000
    heights = (row.zero_mm - line[:, 1]) / GAIN_MM_MV
    assert (heights.max(), heights.min()) == (pytest.approx(3.0), pytest.approx(-2.0))
    assert line[np.argmax(heights), 0] == pytest.approx(123_457 / 500, abs=2.5)


def test_paper_wider_than_any_scroll_bar_can_be_shown(qtbot: Any) -> None:
    view = WaveformView()
    qtbot.addWidget(view)
    view.show_waveform(Waveform((group(np.zeros(30_000), rate=1e-3),)), State())
    assert view.horizontalScrollBar().maximum() == 2**31 - 1


def test_a_missing_sample_is_a_gap_and_a_skew_moves_the_signal() -> None:
    values = np.ones(100)
    values[40:60] = np.nan
    (row,) = lay_out(Waveform((group(values, skew=0.5),))).rows
    first, second = polylines(row, 0, 10, 4000)
    assert (first[0, 0], first[-1, 0]) == (pytest.approx(0.5), pytest.approx(0.5 + 39 / 500))
    assert second[0, 0] == pytest.approx(0.5 + 60 / 500)


def test_what_is_no_voltage_has_no_millivolts(reader: Reader) -> None:
    (row,) = lay_out(Waveform((group(np.linspace(80, 120, 100), "mm[Hg]"),))).rows
    assert not row.is_voltage
    (line,) = polylines(row, 0, 1, 4000)
    assert line[0, 1] - line[-1, 1] == pytest.approx(30.0)


def test_a_real_ecg_is_drawn_with_its_leads_and_scale(main_window: MainWindow, qtbot: Any) -> None:
    reader = Reader(main_window, qtbot)
    main_window.app.run_command("file.open_files", [shipped("waveform_ecg.dcm")])
    reader.settle()
    view = main_window.documents.waveform
    assert view.isVisible()
    assert len(view._paper.rows) == 24
    assert "QRS Duration: 75 ms" in view.accessibleDescription()
    before = view.grab().toImage()
    view.horizontalScrollBar().setValue(view.horizontalScrollBar().maximum())
    assert view.grab().toImage() != before
    QTest.keyClick(view, Qt.Key.Key_Home)
    assert view.horizontalScrollBar().value() == 0
    wide = view.horizontalScrollBar().maximum()
    main_window.app.run_command("view.zoom_in")
    assert view.horizontalScrollBar().maximum() > wide


def test_hidden_identity_is_hidden_in_what_an_ecg_says(main_window: MainWindow, qtbot: Any, tmp_path: Path) -> None:
    note, mark = Dataset(), Dataset()
    note.UnformattedTextValue = "Sinus rhythm of Alpha"
    mark.UnformattedTextValue = "Beat of Anna"
    mark.ReferencedWaveformChannels, mark.TemporalRangeType, mark.ReferencedSamplePositions = [1, 1], "POINT", [5]
    signal = multiplex_group(np.zeros((500, 1), "<i2"), [channel()], "SS")
    path = write_waveform(tmp_path / "a.dcm", signal, WaveformAnnotationSequence=[note, mark], **WHO)
    reader = Reader(main_window, qtbot)
    main_window.app.run_command("file.open_files", [path])
    reader.settle()
    view = main_window.documents.waveform
    assert "Sinus rhythm of Alpha" in view.accessibleDescription()
    assert [words for *_, words in view._marks] == ["Beat of Anna"]
    main_window.app.run_command("view.hide_identity")
    assert "Sinus rhythm of ▪▪▪" in view.accessibleDescription()
    assert [words for *_, words in view._marks] == ["Beat of ▪▪▪"]


def test_every_relation_of_the_standard_has_words() -> None:
    """PS3.3 table C.17.3.2.4: what is not known is shown as it stands."""
    assert relation_words("CONTAINS") == ""
    assert relation_words("INFERRED FROM") == "inferred from"
    assert relation_words("MADE UP") == "made up"
