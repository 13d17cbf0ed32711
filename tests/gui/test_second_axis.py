"""Moving in time in the window: wheel, keys, words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt

from medviewer.gui.corner_text import axis_words, corners
from tests.dicom_maker import write_volumes
from tests.gui.reader import Reader


@pytest.fixture
def heart(main_window: Any, qtbot: Any, tmp_path: Path) -> Reader:
    """Three phases of four slices; trigger times differ a little from slice to slice."""
    write_volumes(tmp_path, 3, lambda v, p: {"TriggerTime": (40 + 0.5 * p) * v})
    reader = Reader(main_window, qtbot)
    reader.open(tmp_path)
    main_window.app.run_command("image.show_volume", 0)
    main_window.app.run_command("image.first")
    reader.settle()
    return reader


def below(reader: Reader) -> tuple[str, ...]:
    return corners(reader.state, None).bottom_left


def test_shift_and_wheel_move_in_time_and_the_wheel_alone_in_space(heart: Reader) -> None:
    heart.wheel(-1, (100, 100))
    heart.wheel(-2, (100, 100), Qt.KeyboardModifier.ShiftModifier)
    heart.settle()
    assert below(heart)[:2] == ("Image 2 / 4", "Time 3 / 3  81 ms")
    heart.wheel(1, (100, 100), Qt.KeyboardModifier.ShiftModifier)
    heart.settle()
    assert below(heart)[:2] == ("Image 2 / 4", "Time 2 / 3  40.5 ms")
    assert int(heart.state.frame.stored[0, 0]) == 101


@pytest.mark.parametrize(
    ("forward", "back"),
    [
        (
            (Qt.Key.Key_BracketRight, Qt.KeyboardModifier.NoModifier),
            (Qt.Key.Key_BracketLeft, Qt.KeyboardModifier.NoModifier),
        ),
        ((Qt.Key.Key_Down, Qt.KeyboardModifier.ControlModifier), (Qt.Key.Key_Up, Qt.KeyboardModifier.ControlModifier)),
    ],
)
def test_keys_move_in_time(heart: Reader, forward: Any, back: Any) -> None:
    heart.key(*forward)
    heart.key(*forward)
    heart.settle()
    assert below(heart)[1].startswith("Time 3 / 3")
    heart.key(*back)
    heart.settle()
    assert below(heart)[1].startswith("Time 2 / 3")


def test_a_cut_plane_says_all_times_that_its_slices_were_made_at(heart: Reader) -> None:
    heart.window.app.run_command("image.show_volume", 2)
    heart.settle()
    assert axis_words(heart.state.selection) == "Time 3 / 3  80 ms"
    heart.window.app.run_command("layout.planes")
    heart.settle()
    assert heart.state.cut is not None
    assert below(heart)[1] == "Time 3 / 3  80–83 ms"


def test_the_list_says_how_many_volumes_of_how_many_images_there_are(heart: Reader) -> None:
    rows = heart.window.studies.rows.rows
    assert "3 × 4 images" in [row.second for row in rows]


def test_with_few_corner_texts_the_time_stays(heart: Reader) -> None:
    heart.window.app.run_command("view.corner_text")
    assert below(heart) == ("Image 1 / 4", "Time 1 / 3  0 ms")
