"""The list of measurements: what it says, and what its buttons do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLineEdit, QToolButton

from medviewer.app.measuring import Drawn
from medviewer.app.on_screen import measured_image, measurements_of
from medviewer.gui.measurements_panel import MeasurementsPanel
from tests.dicom_maker import write_volumes
from tests.gui.reader import Reader
from tests.gui.seen import all_words, is_offered, press, settle, words
from tests.phantoms import write_chest


@pytest.fixture
def reader(main_window: Any, qtbot: Any, tmp_path: Path) -> Reader:
    """Three slices, with a line on the first and a region on the second, which is on screen."""
    reader = Reader(main_window, qtbot)
    write_chest(tmp_path, size=32, spacing_mm=10.0, n_slices=3)
    reader.open(tmp_path)
    tabs = main_window._tabs
    tabs.setCurrentWidget(main_window.measurements)
    return reader


@pytest.fixture
def measured(reader: Reader) -> Reader:
    draw(reader, "length", ((5.0, 5.0), (10.0, 5.0)))
    reader.window.app.run_command("image.next")
    reader.settle()
    draw(reader, "rectangle", ((5.0, 5.0), (10.0, 10.0)))
    return reader


def draw(reader: Reader, kind: str, points: Any) -> None:
    reader.window.app.run_command("measure.add", Drawn(kind, points, measured_image(reader.state)))  # type: ignore[arg-type]
    reader.settle()


def panel_of(reader: Reader) -> MeasurementsPanel:
    settle()
    QApplication.processEvents()  # what is new in a layout is shown when the window gets to it
    return reader.window.measurements


def press_tool(reader: Reader, name: str, row: int = 0) -> None:
    tools = [t for t in panel_of(reader).findChildren(QToolButton) if t.accessibleName() == name]
    tools[row].click()
    reader.settle()


def test_an_empty_list_says_how_to_begin(reader: Reader) -> None:
    said = all_words(panel_of(reader))
    assert "Nothing measured yet" in said
    assert not is_offered(panel_of(reader), "Save as DICOM SR…")
    press(panel_of(reader), "Angle (A)")
    assert reader.state.tool == "angle"


def test_each_measurement_has_its_row_and_those_on_screen_come_first(measured: Reader) -> None:
    said = words(panel_of(measured))
    assert said.index("On this image") < said.index("Rectangle region") < said.index("Length")
    assert "50.0 mm, patient plane" in said
    assert any(line.startswith("Area 2500 mm², patient plane") for line in said)
    assert any("image 1 of 3" in line for line in said)


def test_a_row_leads_to_its_image(measured: Reader) -> None:
    press_tool(measured, "Go to the image")
    assert measured.state.selection.index == 0
    assert [one.kind for one in measurements_of(measured.state)] == ["length"]
    assert measured.state.selected_measurement == measurements_of(measured.state)[0].uid


def test_what_was_measured_on_a_plane_of_a_later_time_is_in_the_list(
    main_window: Any, qtbot: Any, tmp_path: Path
) -> None:
    write_volumes(tmp_path, 3, lambda volume, _place: {"TriggerTime": 40 * volume, "FrameOfReferenceUID": "2.25.9"})
    reader = Reader(main_window, qtbot)
    reader.open(tmp_path)
    main_window._tabs.setCurrentWidget(main_window.measurements)
    main_window.app.run_command("layout.planes")
    reader.settle()
    main_window.app.run_command("image.show_volume", 1)
    reader.settle()
    draw(reader, "rectangle", ((2.0, 2.0), (6.0, 6.0)))
    (made,) = measurements_of(reader.state)
    assert words(panel_of(reader))[:2] == ["On this plane", "Rectangle region"]
    main_window.app.run_command("image.show_volume", 2)
    reader.settle()
    said = words(panel_of(reader))
    assert "On this plane" not in said
    assert any("Time 2 / 3  40 ms" in line for line in said)
    press_tool(reader, "Go to the image")
    assert reader.state.selection.volume_number == 1
    assert measurements_of(reader.state) == (made,)


def test_a_measurement_is_named_in_its_row(measured: Reader) -> None:
    press_tool(measured, "Name")
    (field,) = [f for f in panel_of(measured).findChildren(QLineEdit) if f.isVisible()]
    QTest.keyClicks(field, "Nodule <b>1</b>")
    QTest.keyClick(field, Qt.Key.Key_Return)
    measured.settle()
    assert measurements_of(measured.state)[0].label == "Nodule <b>1</b>"
    assert "Nodule <b>1</b>" in words(panel_of(measured))


def test_escape_leaves_the_name_and_the_view_as_they_were(measured: Reader) -> None:
    measured.window.app.run_command("view.invert")
    press_tool(measured, "Name")
    (field,) = [f for f in panel_of(measured).findChildren(QLineEdit) if f.isVisible()]
    QTest.keyClicks(field, "oops")
    QTest.keyClick(field, Qt.Key.Key_Escape)
    assert measurements_of(measured.state)[0].label == ""
    assert measured.state.view.inverted


def test_a_row_is_deleted_and_comes_back_with_undo(measured: Reader) -> None:
    press_tool(measured, "Delete")
    assert "Rectangle region" not in words(panel_of(measured))
    measured.window.app.run_command("edit.undo")
    measured.settle()
    assert "Rectangle region" in words(panel_of(measured))


def tool_of(reader: Reader, name: str, row: int) -> QToolButton:
    return [t for t in panel_of(reader).findChildren(QToolButton) if t.accessibleName() == name][row]


def press_by_key(reader: Reader, tool: QToolButton) -> None:
    reader.window.activateWindow()
    tool.setFocus(Qt.FocusReason.TabFocusReason)
    QTest.keyClick(tool, Qt.Key.Key_Space)
    reader.settle()


def has_keys(reader: Reader, name: str, row: int) -> bool:
    return reader.window.focusWidget() is tool_of(reader, name, row)


def test_the_keyboard_stays_in_the_list_when_a_measurement_is_deleted(measured: Reader) -> None:
    draw(measured, "ellipse", ((15.0, 15.0), (20.0, 20.0)))
    press_by_key(measured, tool_of(measured, "Delete", 1))
    assert has_keys(measured, "Delete", 1)  # of the one that stood below it
    press_by_key(measured, tool_of(measured, "Delete", 1))
    assert has_keys(measured, "Delete", 0)  # there is none below any more
    press_by_key(measured, tool_of(measured, "Delete", 0))
    panel = panel_of(measured)
    assert "Nothing measured yet" in words(panel)
    assert panel.isAncestorOf(measured.window.focusWidget())


def test_the_keyboard_stays_on_a_measurement_that_was_named(measured: Reader) -> None:
    for key, label in ((Qt.Key.Key_Return, "Nodule"), (Qt.Key.Key_Escape, "Nodule")):
        press_by_key(measured, tool_of(measured, "Name", 0))
        field = measured.window.focusWidget()
        assert isinstance(field, QLineEdit)
        QTest.keyClicks(field, "Nodule")
        QTest.keyClick(field, key)
        measured.settle()
        assert measurements_of(measured.state)[0].label == label
        assert has_keys(measured, "Name", 0)


def test_a_name_that_is_being_typed_outlives_a_new_drawing(measured: Reader) -> None:
    press_by_key(measured, tool_of(measured, "Name", 0))
    field = measured.window.focusWidget()
    assert isinstance(field, QLineEdit)
    QTest.keyClicks(field, "Half tped")
    field.setCursorPosition(6)
    measured.window.app.run_command("view.hide_identity")
    measured.settle()
    panel_of(measured)
    again = measured.window.focusWidget()
    assert isinstance(again, QLineEdit)
    assert again is not field
    QTest.keyClicks(again, "y")
    QTest.keyClick(again, Qt.Key.Key_Return)
    measured.settle()
    assert measurements_of(measured.state)[0].label == "Half typed"


def test_the_tools_to_begin_with_name_the_keys_that_the_reader_gave_them(reader: Reader) -> None:
    reader.window.app.run_command("app.shortcuts", {"tool.length": ("Ctrl+J",), "tool.angle": ()})
    assert {"Length (Ctrl+J)", "Angle", "Region (E)"} <= set(words(panel_of(reader)))


def test_the_list_speaks_chinese(measured: Reader) -> None:
    measured.window.app.run_command("app.language", "zh")
    said = all_words(panel_of(measured))
    measured.window.app.run_command("app.language", "en")
    assert "在此图像上" in said
    assert "50.0 mm, 患者平面" in said or "50.0 mm" in said
    assert "Rectangle" not in said


def test_a_list_behind_another_tab_is_drawn_when_it_comes_to_the_front(measured: Reader) -> None:
    measured.window._tabs.setCurrentWidget(measured.window.findings)
    draw(measured, "probe", ((3.0, 3.0),))
    measured.window._tabs.setCurrentWidget(measured.window.measurements)
    assert "Value at a point" in words(panel_of(measured))


def test_reports_beside_the_images_are_offered(reader: Reader) -> None:
    from medviewer.domain.measurement import new_measurement

    where = measured_image(reader.state)
    assert where is not None
    one = new_measurement("length", [(1.0, 1.0), (2.0, 1.0)], where)
    reader.window.app.session.update(offered_measurements=(one,))
    assert "1 measurement in a report" in all_words(panel_of(reader))
    press(panel_of(reader), "Add them")
    reader.settle()
    assert measurements_of(reader.state) == (one,)
    assert not is_offered(panel_of(reader), "Add them")


def test_a_store_that_cannot_be_read_is_said_in_the_list(reader: Reader) -> None:
    problem = "The patient records are in use by another program: close it and try again."
    reader.window.app.session.update(measurement_problem=problem)
    said = words(panel_of(reader))
    assert "Measurements cannot be read" in said
    assert problem in said


def test_all_lists_are_tabs_in_a_narrow_window_and_the_record_stands_beside_in_a_wide_one(reader: Reader) -> None:
    def names(tabs: Any) -> list[str]:
        return [tabs.tabText(index) for index in range(tabs.count())]

    window = reader.window
    window.resize(1900, 900)
    assert (names(window._tabs), names(window._second_tabs)) == (["Findings", "Measurements", "Layers"], ["Patient"])
    window.resize(1400, 900)
    assert names(window._tabs) == ["Findings", "Patient", "Measurements", "Layers"]
