"""The second image window: keys, lines and places across both, and no window where no screen is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QPoint, QRect, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget

from medviewer.app.on_screen import pane_state
from medviewer.app.panes import SECOND
from medviewer.gui import screens
from medviewer.gui.screens import Place, kept, kept_for_now, place_of
from tests.gui.reader import Reader, pixels, wheel
from tests.gui.two_screens import LEFT, RIGHT, config
from tests.phantoms import write_chest

ROOT = Path(__file__).resolve().parents[2]
NO = Qt.KeyboardModifier.NoModifier


@pytest.fixture
def reader(main_window: Any, qtbot: Any, tmp_path: Path) -> Reader:
    """The window with a chest, and the second one with an earlier one of the same patient."""
    small: dict[str, Any] = {"size": 64, "spacing_mm": 5.0, "slice_mm": 6.0, "n_slices": 30}
    write_chest(tmp_path / "a", **small)
    write_chest(tmp_path / "b", **small, date="20230301")
    made = Reader(main_window, qtbot)
    made.window.resize(1300, 900)
    made.open(tmp_path)
    made.window.app.run_command("layout.second_window")
    made.settle()
    made.wait(lambda: pane_state(made.state, SECOND).frame is not None)
    return made


def second(reader: Reader) -> Any:
    return reader.window.second


def test_both_windows_say_whose_images_they_show(reader: Reader) -> None:
    assert second(reader).isVisible()
    assert second(reader).windowTitle() == reader.window.windowTitle()
    assert "Phantom" in second(reader).windowTitle()
    assert second(reader).strip.isVisible()
    before = pixels(second(reader).viewports.active)
    reader.window.app.run_command("view.hide_identity")
    assert "Phantom" not in second(reader).windowTitle()
    assert (pixels(second(reader).viewports.active) != before).any()


def test_a_click_makes_its_viewport_the_active_one_and_keys_work_there(reader: Reader) -> None:
    there = second(reader).viewports.active
    before = reader.state.selection
    QTest.mouseClick(there, Qt.MouseButton.LeftButton, NO, QPoint(60, 60))
    assert reader.state.active == SECOND
    assert reader.state.selection.study.date != before.study.date
    second(reader).activateWindow()
    there.setFocus()
    reader.wait(lambda: QApplication.focusWidget() is there)
    QTest.keyClick(there, Qt.Key.Key_Down, NO)  # a key of the images
    assert reader.state.selection.index == 1
    QTest.keyClick(there, Qt.Key.Key_H, NO)  # a key of the window
    assert reader.state.view.flip_horizontal
    assert not pane_state(reader.state, 0).view.flip_horizontal
    QTest.keyClick(there, Qt.Key.Key_Tab, Qt.KeyboardModifier.ControlModifier)
    assert reader.state.active == 0
    reader.wait(lambda: QApplication.focusWidget() is reader.window.viewports.active)


def test_the_wheel_scrolls_there_too(reader: Reader) -> None:
    wheel(second(reader).viewports.active, -2, (60, 60), NO)
    assert reader.state.active == SECOND
    assert reader.state.selection.index == 2


def test_lines_show_where_the_images_of_the_other_window_cut(reader: Reader) -> None:
    reader.window.app.run_command("image.show", 15)
    same = pane_state(reader.state, 0).selection
    wheel(second(reader).viewports.active, -1, (60, 60), NO)
    reader.window.app.run_command("image.select", same)
    reader.window.app.run_command("layout.planes")
    reader.settle()
    reader.wait(lambda: all(pane_state(reader.state, SECOND + n).frame is not None for n in range(4)))
    coronal = second(reader).viewports.visible[1]
    # Stored images move by scrolling, not by their lines.
    assert [line.pane for line in coronal._lines] == [None, SECOND, SECOND + 2, None]
    first = reader.window.viewports.active
    assert len(first._lines) == 2
    drawn = pixels(first).astype(int)
    assert ((drawn[..., 2] - drawn[..., 0]) > 60).any()  # blue: the coronal plane, which lies in the other window


def test_printing_takes_the_window_in_which_the_reader_works(reader: Reader) -> None:
    from medviewer.app.printing import PrintWish

    wheel(second(reader).viewports.active, -1, (60, 60), NO)
    sheet = reader.window.draw_sheet(PrintWish())
    assert sheet is not None
    assert len(sheet.panels) == 1
    reader.window.app.run_command("layout.use", (1, 2))
    reader.settle()
    sheet = reader.window.draw_sheet(PrintWish())
    assert sheet is not None
    assert sheet.layout == (1, 2)


def test_closing_it_with_its_button_is_a_command_like_any_other(reader: Reader) -> None:
    wheel(second(reader).viewports.active, -1, (60, 60), NO)
    second(reader).close()
    assert reader.state.second is None
    assert reader.state.active == 0
    assert not second(reader).isVisible()
    assert reader.window.isVisible()
    reader.window.app.run_command("layout.second_window")
    assert second(reader).isVisible()


def test_closing_the_first_window_closes_both(reader: Reader) -> None:
    reader.window.close()
    assert not second(reader).isVisible()


def test_while_3d_is_open_the_second_window_says_why_it_waits(reader: Reader) -> None:
    assert not second(reader).waiting.isVisible()
    reader.window.app.run_command("volume.show")
    reader.wait(lambda: reader.state.scene is not None)
    assert "3D view is open" in second(reader).waiting.text()
    assert second(reader).waiting.isVisible()
    reader.window.app.run_command("volume.show")
    assert not second(reader).waiting.isVisible()


def test_a_place_off_every_screen_is_not_seen() -> None:
    room = QApplication.primaryScreen().availableGeometry()
    assert screens.is_seen(QRect(room.x() + 10, room.y() + 10, 400, 300))
    assert not screens.is_seen(QRect(room.right() + 10, room.y(), 400, 300))
    assert not screens.is_seen(QRect(room.right() - 20, room.y(), 400, 300))  # a sliver cannot be grasped


def test_a_place_that_cannot_be_seen_is_not_gone_back_to(qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    window = QWidget()
    qtbot.addWidget(window)
    window.setGeometry(20, 30, 300, 200)
    text = screens.geometry_text(window)
    window.setGeometry(60, 70, 310, 210)
    monkeypatch.setattr(screens, "is_seen", lambda _place: False)
    assert not screens.restore(window, text)
    assert window.geometry() == QRect(60, 70, 310, 210)
    monkeypatch.undo()
    assert screens.restore(window, text)
    assert window.geometry() == QRect(20, 30, 300, 200)
    assert not screens.restore(window, "bm90IG91cnM=")
    assert window.geometry() == QRect(20, 30, 300, 200)


@pytest.mark.parametrize("text", ["", "x", "AAAA 2x2", "AAAA 5x1 1", "AAAA 2x 1", "AAAA 0x2 1"])
def test_what_was_not_kept_by_us_is_the_usual_place(text: str) -> None:
    assert place_of(text) == Place()


def test_places_are_kept_for_each_arrangement_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    assert place_of(Place("AA==", (2, 3), is_open=True).text) == Place("AA==", (2, 3), is_open=True)
    layout = {"widths": "1,2"}
    for number in range(30):
        monkeypatch.setattr(screens, "arrangement", lambda number=number: f"screen{number}")
        layout = kept(layout, "second", f"v{number}")
    assert kept_for_now(layout, "second") == "v29"
    assert kept_for_now(layout, "geometry") == ""
    assert layout["widths"] == "1,2"
    assert len(layout) < 20


def on_screens(tmp_path: Path, *places: tuple[int, int, int, int], deeds: tuple[str, ...]) -> list[dict[str, Any]]:
    """Start the program once for each deed, on a desktop of these screens; the settings stay."""
    file = tmp_path / f"screens{len(places)}.json"
    file.write_text(config(*places))
    env = {**os.environ, "QT_QPA_PLATFORM": f"offscreen:configfile={file}", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-P", "-m", "tests.gui.two_screens", str(tmp_path / "home"), *deeds]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    told: list[dict[str, Any]] = json.loads(done.stdout)
    return told


def test_it_stands_on_the_other_screen_and_comes_back_only_where_that_is(tmp_path: Path) -> None:
    two = on_screens(tmp_path, LEFT, RIGHT, deeds=("open and divide", "nothing", "open and move"))
    assert two[0]["screen"] == two[1]["screen"] == "screen1280"
    assert two[1]["is_open"]  # as the program was left on these screens
    assert two[1]["shape"] == [2, 3]
    assert two[1]["second"] == two[0]["second"] == [1500, 100, 900, 600]
    assert two[2]["left"] == []
    (one,) = on_screens(tmp_path, LEFT, deeds=("nothing",))
    assert not one["is_open"]  # no second screen any more
    (one,) = on_screens(tmp_path, LEFT, deeds=("open",))
    assert one["is_open"]
    assert one["is_seen"]
    assert one["screen"] == "screen0"


def test_the_first_time_it_fills_the_screen_that_the_first_window_is_not_on(tmp_path: Path) -> None:
    opened, moved = on_screens(tmp_path, LEFT, RIGHT, deeds=("open", "open and move"))
    assert opened["screen"] == "screen1280"
    assert opened["second"][2] > 0.9 * RIGHT[2]
    assert moved["first_screen"] == "screen1280"  # the reader works in the first window: that one is moved
