"""Without a mouse: a pointer reads values, draws and moves measurements; keys move the picture and change its window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPointF, Qt

from medviewer.app.on_screen import measurements_of
from medviewer.imaging.display import to_display
from tests.gui.reader import Reader, pixels
from tests.gui.seen import TURNS
from tests.radiographs import write_radiograph

SHIFT, CONTROL = Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.ControlModifier
NONE = Qt.KeyboardModifier.NoModifier


@pytest.fixture
def reader(main_window: Any, qtbot: Any, tmp_path: Path) -> Reader:
    main_window.resize(1200, 800)
    made = Reader(main_window, qtbot)
    made.open(write_radiograph(tmp_path / "a.dcm"))
    return made


def press(reader: Reader, *keys: Any) -> None:
    for key in keys:
        code, held = key if isinstance(key, tuple) else (key, NONE)
        reader.key(code, held)


def test_a_length_is_drawn_moved_and_its_point_too(reader: Reader) -> None:
    viewport = reader.window.viewport
    reader.key(Qt.Key.Key_D)
    press(reader, Qt.Key.Key_Space, Qt.Key.Key_Space)  # shown, then pressed
    start = QPointF(viewport._image_area().center())
    press(reader, (Qt.Key.Key_Right, SHIFT), Qt.Key.Key_Right, (Qt.Key.Key_Right, CONTROL), Qt.Key.Key_Down)
    press(reader, Qt.Key.Key_Space)
    reader.settle()
    (drawn,) = measurements_of(reader.state)
    placed = viewport.placement()
    expected = [placed.image_point(start), placed.image_point(start + QPointF(31, 5))]
    assert np.allclose(drawn.points, expected)
    # The pointer is on the end of the line: taken, moved, let go.
    press(reader, Qt.Key.Key_Space, (Qt.Key.Key_Up, SHIFT), Qt.Key.Key_Space)
    reader.settle()
    (moved,) = measurements_of(reader.state)
    assert moved.uid == drawn.uid
    assert np.allclose(moved.points, [expected[0], placed.image_point(start + QPointF(31, -20))])
    reader.key(Qt.Key.Key_Z, CONTROL)
    assert measurements_of(reader.state) == (drawn,)


def test_the_pointer_reads_the_value_and_goes_with_escape(reader: Reader) -> None:
    viewport = reader.window.viewport
    rotated = reader.state.view
    plain = pixels(viewport)
    press(reader, Qt.Key.Key_Space, (Qt.Key.Key_Left, SHIFT))
    column, row = (int(v) for v in viewport.placement().image_point(viewport._pointer.at))
    value = int(reader.state.frame.stored[row, column])
    assert str(value) in viewport.accessibleDescription()
    assert f"({column}, {row})" in viewport.accessibleDescription()
    level = int(to_display(reader.state.frame)[row, column])
    assert viewport.accessibleDescription().endswith(f"grey {level}")
    assert not np.array_equal(pixels(viewport), plain)
    drawn = viewport.drawn(reader.state)
    reader.key(Qt.Key.Key_Escape)
    assert viewport._pointer.at is None
    assert reader.state.view == rotated  # Esc was the pointer's, and reset nothing
    assert viewport.drawn(reader.state) == drawn
    reader.key(Qt.Key.Key_Up)  # the image's own key again
    assert viewport._pointer.at is None


def test_escape_gives_up_what_is_drawn_before_the_pointer(reader: Reader) -> None:
    viewport = reader.window.viewport
    reader.key(Qt.Key.Key_D)
    press(reader, Qt.Key.Key_Space, Qt.Key.Key_Space, (Qt.Key.Key_Right, SHIFT), Qt.Key.Key_Escape)
    assert not viewport._measuring.is_busy
    assert viewport._pointer.at is not None
    assert measurements_of(reader.state) == ()


def test_the_mouse_takes_over(reader: Reader) -> None:
    viewport = reader.window.viewport
    press(reader, Qt.Key.Key_Space)
    reader.drag(Qt.MouseButton.LeftButton, (50, 50), (60, 60))
    assert viewport._pointer.at is None


@pytest.mark.parametrize("turns", TURNS)
def test_the_picture_moves_as_the_arrow_points(reader: Reader, turns: tuple[str, ...]) -> None:
    app, viewport = reader.window.app, reader.window.viewport
    for command in turns:
        app.run_command(command)
    for key, way in ((Qt.Key.Key_Right, (1, 0)), (Qt.Key.Key_Up, (0, -1))):
        middle = viewport.placement().image_point(QPointF(viewport._image_area().center()))
        before = viewport.placement().transform.map(QPointF(*middle))
        reader.key(key, SHIFT)
        moved = viewport.placement().transform.map(QPointF(*middle)) - before
        length = np.hypot(moved.x(), moved.y())
        assert length > 5
        assert (moved.x() / length, moved.y() / length) == pytest.approx(way, abs=1e-6)


def test_the_window_is_changed_by_keys_and_up_is_brighter(reader: Reader) -> None:
    viewport = reader.window.viewport
    first = viewport.window_shown()
    reader.key(Qt.Key.Key_Right, CONTROL | SHIFT)
    assert viewport.window_shown().width == pytest.approx(first.width * 1.1)
    reader.key(Qt.Key.Key_Left, CONTROL | SHIFT)
    assert viewport.window_shown().width == pytest.approx(first.width)
    for inverted in (False, True):
        if inverted:
            reader.window.app.run_command("view.invert")
        brightness = []
        for key in (Qt.Key.Key_Down, Qt.Key.Key_Up, Qt.Key.Key_Up):
            reader.key(key, CONTROL | SHIFT)
            rows, columns = pixels(viewport).shape[:2]
            middle = pixels(viewport)[rows // 3 : rows // 2, columns // 3 : columns // 2]
            brightness.append(middle.mean())
        assert brightness[0] < brightness[1] < brightness[2]


def test_a_command_that_has_space_keeps_it(reader: Reader) -> None:
    reader.window.app.run_command("app.shortcuts", {"view.invert": ("Space",)})
    reader.key(Qt.Key.Key_Space)
    assert reader.state.view.inverted
    assert reader.window.viewport._pointer.at is None
