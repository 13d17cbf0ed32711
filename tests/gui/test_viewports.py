"""Several viewports in the window: which one the reader works in, what is drawn where."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid
from PySide6.QtCore import QLineF, QPoint, QPointF, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QWidget

from medviewer.app.on_screen import measurements_of, pane_state
from medviewer.gui import viewport_marks
from medviewer.gui.corner_text import cine_words, corners
from medviewer.gui.reference_lines import handles, lines_on
from medviewer.gui.viewport import Viewport
from medviewer.imaging.orientation import Letters
from tests.gui.reader import Reader, pixels, wheel
from tests.layer_objects import write_ct
from tests.phantoms import write_chest


@pytest.fixture
def reader(main_window: Any, qtbot: Any) -> Reader:
    return Reader(main_window, qtbot)


@pytest.fixture
def planes(reader: Reader, tmp_path: Path) -> Reader:
    """The window with the three planes of a chest and its images."""
    write_chest(tmp_path, size=64, spacing_mm=5.0, slice_mm=6.0, n_slices=50)
    reader.window.resize(1500, 1000)
    reader.open(tmp_path)
    reader.window.app.run_command("image.show", 25)
    reader.settle()
    reader.window.app.run_command("layout.planes")
    reader.settle()
    reader.wait(lambda: all(pane_state(reader.state, index).frame is not None for index in range(4)))
    return reader


def viewports(reader: Reader) -> tuple[Viewport, ...]:
    return reader.window.viewports.visible


def test_each_plane_has_its_letters(planes: Reader) -> None:
    assert [viewport.letters() for viewport in viewports(planes)] == [
        Letters("R", "L", "A", "P"), Letters("R", "L", "H", "F"), Letters("A", "P", "H", "F"),
        Letters("R", "L", "A", "P"),
    ]  # fmt: skip


def test_anatomy_lies_where_the_letters_say(planes: Reader) -> None:
    """The heart is towards the left of the patient, the liver on the right below."""
    app = planes.window.app
    app.run_command("layout.point", (0.0, -18.0, -35.0))
    planes.settle()
    coronal = viewports(planes)[1]
    placed = coronal.placement()
    assert placed is not None
    grey = pixels(coronal).mean(axis=2)
    middle = placed.transform.map(QPointF(placed.columns / 2, placed.rows / 2))

    def mean(left_mm: float, up_mm: float) -> float:
        x = middle.x() + left_mm / 5.0 * placed.zoom / placed.ratio
        y = middle.y() - up_mm / 5.0 * placed.zoom / placed.ratio
        return float(grey[int(y) - 3 : int(y) + 4, int(x) - 3 : int(x) + 4].mean())

    assert mean(45, -30) > mean(-75, 40) + 40  # heart, and lung on the other side higher up
    assert mean(-70, -115) > mean(70, 60) + 40  # liver on the right below; lung on the left above


def test_a_click_makes_a_viewport_the_active_one(planes: Reader) -> None:
    second = viewports(planes)[1]
    QTest.mouseClick(second, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, QPoint(100, 100))
    assert planes.state.active == 1
    assert planes.window.viewport is second
    assert planes.state.cut.plane == "coronal"


def test_the_wheel_scrolls_the_viewport_under_it(planes: Reader) -> None:
    before = [pane_state(planes.state, index).cut for index in range(3)]
    wheel(viewports(planes)[2], -3, (100, 100), Qt.KeyboardModifier.NoModifier)
    planes.settle()
    after = [pane_state(planes.state, index).cut for index in range(3)]
    assert after[:2] == before[:2]
    assert after[2].at_mm == pytest.approx(before[2].at_mm + 3 * 5.0)


def test_keys_work_in_whichever_viewport_has_the_focus(planes: Reader) -> None:
    QTest.mouseClick(viewports(planes)[1], Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, QPoint(50, 50))
    before = planes.state.cut.at_mm
    planes.key(Qt.Key.Key_Down)
    planes.settle()
    assert planes.state.cut.at_mm > before
    QTest.keyClick(planes.window.viewport, Qt.Key.Key_Tab, Qt.KeyboardModifier.ControlModifier)
    assert planes.state.active == 2


def test_a_double_click_gives_one_viewport_the_room_and_takes_it_back(planes: Reader) -> None:
    first, *others = viewports(planes)
    width = first.width()
    QTest.mouseDClick(first, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, QPoint(50, 50))
    planes.wait(lambda: first.width() > 1.8 * width)
    assert not any(viewport.isVisible() for viewport in others)
    QTest.mouseDClick(first, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, QPoint(50, 50))
    planes.wait(lambda: first.width() == width)
    assert all(viewport.isVisible() for viewport in others)


def test_shift_points_at_a_place_in_every_viewport(planes: Reader) -> None:
    axial = viewports(planes)[0]
    placed = axial.placement()
    assert placed is not None
    # 55 mm to the left and 20 mm to the back of the middle.
    where = placed.transform.map(QPointF(placed.columns / 2 + 11, placed.rows / 2 + 4)).toPoint()
    QTest.mouseMove(axial, where)
    event = _move(axial, where, Qt.KeyboardModifier.ShiftModifier)
    axial.mouseMoveEvent(event)
    planes.settle()
    assert pane_state(planes.state, 2).cut.at_mm == pytest.approx(55, abs=5)
    assert pane_state(planes.state, 1).cut.at_mm == pytest.approx(20, abs=5)


def _move(widget: Any, where: QPoint, modifier: Qt.KeyboardModifier) -> Any:
    from PySide6.QtCore import QEvent
    from PySide6.QtGui import QMouseEvent

    point = QPointF(where)
    no = Qt.MouseButton.NoButton
    return QMouseEvent(QEvent.Type.MouseMove, point, QPointF(widget.mapToGlobal(point)), no, no, modifier)


def test_lines_show_where_the_other_planes_cut(planes: Reader) -> None:
    shown = [pane_state(planes.state, index) for index in range(4)]
    lines = lines_on(shown[0], dict(enumerate(shown[1:], start=1)))
    assert sorted(line.axis for line in lines) == [0, 1]  # the coronal plane runs left-right, the sagittal front-back
    grid = np.array(shown[0].frame.description.plane.position)
    coronal = next(line for line in lines if line.axis == 0)
    assert grid[1] + (coronal.start[1] - 0.5) * 5.0 == pytest.approx(shown[1].cut.at_mm)
    drawn = pixels(viewports(planes)[0]).astype(int)
    assert ((drawn[..., 2] - drawn[..., 0]) > 60).any()  # blue
    assert ((drawn[..., 0] - drawn[..., 2]) > 60).any()  # red


def test_every_viewport_says_whose_image_it_is_and_which_plane(planes: Reader) -> None:
    words = [corners(pane_state(planes.state, index), None) for index in range(4)]
    assert {text.top_left[0].strip("\u2068\u2069") for text in words} == {"Phantom, Chest"}
    assert [text.bottom_left[0].split()[0] for text in words] == ["Axial", "Coronal", "Sagittal", "Image"]
    planes.window.app.run_command("view.hide_identity")
    assert {corners(pane_state(planes.state, i), None).top_left for i in range(4)} == {("Identity hidden",)}


def test_an_empty_viewport_says_what_to_do(reader: Reader, tmp_path: Path) -> None:
    write_chest(tmp_path, size=32, spacing_mm=10.0, n_slices=5)
    reader.open(tmp_path)
    reader.window.app.run_command("layout.use", (1, 2))
    second = viewports(reader)[1]
    QTest.mouseClick(second, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, QPoint(50, 50))
    assert reader.state.selection is None
    assert reader.window.viewports.isVisible()
    assert pixels(second).max() > 100  # words


def test_the_cine_plays_at_the_files_rate_and_stops(reader: Reader, tmp_path: Path) -> None:
    write_chest(tmp_path, size=32, spacing_mm=10.0, n_slices=5)
    reader.open(tmp_path)
    seen = set()
    reader.window.app.session.watch(lambda _old, new: seen.add(new.selection.index))
    reader.window.app.run_command("image.cine")
    reader.wait(lambda: seen == {0, 1, 2, 3, 4})
    reader.window.app.run_command("image.cine")
    reader.settle()
    assert not reader.window._cine.isActive()


def test_a_place_is_not_marked_in_another_frame_of_reference(reader: Reader, tmp_path: Path) -> None:
    """The same numbers are another place there."""
    small: dict[str, Any] = {"size": 32, "spacing_mm": 10.0, "n_slices": 5}
    write_chest(tmp_path / "a", **small)
    write_chest(tmp_path / "b", date="20230301", **small)
    reader.open(tmp_path)
    reader.window.app.run_command("layout.prior")
    reader.settle()
    now, prior = viewports(reader)
    assert reader.state.selection is not None
    plane = reader.state.selection.image.description.plane
    before = pixels(now), pixels(prior)
    reader.window.app.run_command("layout.point", (0.0, 0.0, plane.position[2]))
    reader.settle()
    assert (pixels(now) != before[0]).any()
    np.testing.assert_array_equal(pixels(prior), before[1])


def test_the_tool_bar_offers_layouts(planes: Reader) -> None:
    button = planes.window.tools.layout_button
    titles = [action.text() for action in button.menu().actions() if action.text()]
    assert {"Compare with prior", "Other planes (MPR)"} <= set(titles)
    assert button.isVisible()
    planes.window.app.run_command("app.language", "zh")
    assert button.text() == "布局"
    assert "与既往对比" in [action.text() for action in button.menu().actions()]


def handle_of(reader: Reader, pane: int) -> tuple[QPointF, QPointF]:
    """Where the line of another plane is grasped to turn it on the axial one, and about what."""
    viewport = viewports(reader)[0]
    states = {index: pane_state(reader.state, index) for index in range(1, 4)}
    found = handles(viewport.placement(), lines_on(pane_state(reader.state, 0), states))
    (mine,) = [one for one in found if one.line.pane == pane]
    return mine.places[1], mine.middle


def press_and_move(viewport: QWidget, start: QPointF, end: QPointF) -> None:
    left = Qt.MouseButton.LeftButton
    QTest.mousePress(viewport, left, Qt.KeyboardModifier.NoModifier, start.toPoint())
    for share in (0.3, 0.6, 1.0):
        QTest.mouseMove(viewport, (start + (end - start) * share).toPoint())
    QTest.mouseRelease(viewport, left, Qt.KeyboardModifier.NoModifier, end.toPoint())


def test_a_handle_turns_the_other_planes_as_far_as_the_mouse_goes_round(planes: Reader) -> None:
    axial = viewports(planes)[0]
    start, middle = handle_of(planes, 1)
    before = QLineF(middle, start)
    turned = QLineF(before)
    turned.setAngle(before.angle() + 20)
    press_and_move(axial, start, turned.p2())
    planes.settle()
    cuts = [pane_state(planes.state, index).cut for index in range(3)]
    assert cuts[0].axes is None
    assert cuts[1].axes is not None
    assert cuts[2].axes is not None
    right = np.array(cuts[1].axes[0])
    assert math.degrees(math.atan2(-right[1], right[0])) == pytest.approx(20, abs=1.5)  # up on the screen is A, -y
    planes.wait(lambda: all(pane_state(planes.state, index).frame is not None for index in range(3)))
    after, _ = handle_of(planes, 1)
    assert (after - turned.p2()).manhattanLength() < 12
    assert "tilted" in corners(pane_state(planes.state, 1), None).bottom_left[0]


def test_a_line_is_moved_by_itself_and_its_plane_goes_with_it(planes: Reader) -> None:
    axial = viewports(planes)[0]
    placed = axial.placement()
    start, middle = handle_of(planes, 1)
    on_line = middle + (start - middle) * 0.3
    before = [pane_state(planes.state, index).cut.at_mm for index in range(3)]
    pixels_down = 20.0
    press_and_move(axial, on_line, on_line + QPointF(0, pixels_down))
    planes.settle()
    after = [pane_state(planes.state, index).cut.at_mm for index in range(3)]
    moved = pixels_down / placed.zoom * pane_state(planes.state, 0).frame.description.pixel_spacing_mm[0]
    assert after[1] - before[1] == pytest.approx(moved, abs=2.0)
    assert (after[0], after[2]) == (before[0], before[2])


def test_a_measuring_tool_draws_where_a_line_lies(planes: Reader) -> None:
    """What is to be measured may lie under a line."""
    planes.window.app.run_command("tool.length")
    axial = viewports(planes)[0]
    start, middle = handle_of(planes, 1)
    before = [pane_state(planes.state, index).cut for index in range(3)]
    press_and_move(axial, start, middle)
    planes.settle()
    assert [pane_state(planes.state, index).cut for index in range(3)] == before
    assert len(measurements_of(planes.state)) == 1


def test_no_line_is_drawn_where_one_series_changes_its_frame_of_reference(reader: Reader, tmp_path: Path) -> None:
    """As when the patient was moved within the series: the same numbers are another place then."""
    series = generate_uid()
    write_ct(tmp_path / "a", series=series)
    write_ct(tmp_path / "b", series=series, ImageOrientationPatient=[0, 1, 0, 0, 0, -1])
    write_ct(tmp_path / "c", series=series, ImageOrientationPatient=[1, 0, 0, 0, 0, -1], reference=generate_uid())
    reader.open(tmp_path)
    stacks = reader.state.selection.series.stacks
    assert len(stacks) == 3
    shown = {}
    for stack in stacks:
        name = stack.images[0].path.parent.name
        shown[name] = replace(reader.state, selection=replace(reader.state.selection, stack=stack, index=0))
    assert len(lines_on(shown["a"], {1: shown["b"]})) == 1
    assert lines_on(shown["a"], {1: shown["c"]}) == ()


def test_where_a_plane_lies_is_read_whole_in_a_small_viewport(planes: Reader) -> None:
    """A plane without its side and distance may be taken for another one."""
    coronal = corners(pane_state(planes.state, 1), None, is_small=True).bottom_left
    assert coronal[0] == ""  # beside the letter
    assert coronal[1].startswith("Coronal  P ")
    images = corners(pane_state(planes.state, 3), None, is_small=True).bottom_left
    assert images[0].startswith("Image ")


def test_the_cine_is_played_faster_and_slower_and_says_so(reader: Reader, tmp_path: Path) -> None:
    write_chest(tmp_path, size=32, spacing_mm=10.0, n_slices=3)
    for path in tmp_path.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.CineRate = "20"
        dataset.save_as(path)
    reader.open(tmp_path)
    app, clock = reader.window.app, reader.window._cine

    def said() -> list[tuple[str, bool]]:
        viewport = reader.window.viewport
        placed = viewport.placement()
        assert placed is not None
        return [part for part in viewport._shown(placed, 0, ()).layers if part[0].startswith("cine")]

    assert said() == []
    app.run_command("image.cine")
    assert clock.interval() == 50
    assert said() == [("cine at its own rate, 20 images/s", False)]
    now = reader.state.selection
    uneven = tuple(replace(image, is_rate_mean=True) for image in now.stack.images)
    state = replace(reader.state, selection=replace(now, stack=replace(now.stack, images=uneven)))
    assert cine_words(state) == ("cine at the mean rate, 20 images/s; the images followed unevenly", True)
    reader.key(Qt.Key.Key_Period)
    assert clock.interval() == 40
    assert said() == [("cine 25 images/s instead of 20", True)]
    reader.key(Qt.Key.Key_Comma)
    assert clock.interval() == 50
    for _ in range(30):
        app.run_command("image.cine_slower")
    assert clock.interval() == 500  # a tenth
    app.run_command("image.cine_pace")
    assert clock.interval() == 50
    app.run_command("image.cine")
    assert said() == []


@pytest.mark.parametrize("shape", [(2, 2), (3, 3)])
def test_no_word_stands_over_the_letter_of_a_side_in_a_small_viewport(
    reader: Reader, tmp_path: Path, shape: tuple[int, int]
) -> None:
    """R under a name is a side that cannot be read; whose image and which day it is stay as long as they have room."""
    write_chest(tmp_path, size=64, spacing_mm=5.0, slice_mm=6.0, n_slices=5)
    reader.window.resize(720, 430)
    reader.open(tmp_path)
    reader.window.app.run_command("layout.use", shape)
    reader.settle()
    viewport = reader.window.viewport
    reader.wait(lambda: viewport.height() < 400 / shape[0])  # the window lays them out in its own time
    area, texts, letters = viewport._image_area(), viewport._texts(None), viewport.letters()
    assert (letters.left, letters.right) == ("R", "L")
    *words, left, right, _top, _bottom = viewport_marks.taken_rects(area, texts, letters)
    assert words
    assert not any(side.intersects(word) for side in (left, right) for word in words)
    assert any("Phantom" in line for line in texts.top_left)
    if shape == (2, 2):
        assert "2024-03-01" in texts.top_left
