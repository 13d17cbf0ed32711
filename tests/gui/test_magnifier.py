"""The glass: what is under the mouse, larger, with what covers it and what is measured; never in what leaves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, QSizeF, Qt
from PySide6.QtTest import QTest

from medviewer.app.state import View
from medviewer.domain.shutter import Shutter, Shutters
from medviewer.gui.image_painter import GLASS_PX, glass_placement
from medviewer.gui.placing import Placement
from tests.gui.reader import Reader, pixels
from tests.radiographs import write_radiograph


@pytest.fixture
def reader(main_window: Any, qtbot: Any, tmp_path: Path) -> Reader:
    made = Reader(main_window, qtbot)
    main_window.resize(1200, 800)
    made.open(write_radiograph(tmp_path / "a.dcm"))
    return made


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("is_flipped", [False, True])
def test_what_is_under_the_mouse_is_in_the_middle_of_the_glass(turns: int, is_flipped: bool) -> None:
    view = View(quarter_turns=turns, flip_horizontal=is_flipped)
    placed = Placement(QSizeF(600, 500), 1.0, 2000, 1500, 1.3, view)
    at = QPointF(210, 170)
    near = glass_placement(placed, at)
    middle = near.image_point(QPointF(GLASS_PX / 2, GLASS_PX / 2))
    assert middle == pytest.approx(placed.image_point(at))
    assert near.zoom == 1.0  # its own pixels, more than twice as large as around it
    # To the right in the glass is to the right in the image on screen.
    right, beside = near.image_point(QPointF(GLASS_PX / 2 + 10, GLASS_PX / 2)), placed.image_point(at + QPointF(10, 0))
    assert np.array(right) - middle == pytest.approx((np.array(beside) - middle) * placed.zoom / near.zoom)
    assert glass_placement(replace(placed, view=replace(view, zoom=3.0)), at).zoom == 6.0


def point_at(reader: Reader, at: QPoint) -> np.ndarray:
    QTest.mouseMove(reader.window.viewport, QPoint(5, 5))
    QTest.mouseMove(reader.window.viewport, at)
    return pixels(reader.window.viewport).astype(int)


def test_a_key_takes_the_glass_and_puts_it_away(reader: Reader) -> None:
    viewport = reader.window.viewport
    at = QPoint(viewport.width() // 2 + 30, viewport.height() // 2 + 20)
    without = point_at(reader, at)
    reader.key(Qt.Key.Key_Q)
    assert reader.state.is_magnifying
    with_glass = point_at(reader, at)
    rows, columns = np.nonzero(np.abs(with_glass - without).sum(axis=2) > 0)
    assert np.hypot(rows - at.y(), columns - at.x()).max() <= GLASS_PX / 2 + 4
    assert len(rows) > 5_000
    # Under the mouse it is the same pixel.
    assert np.abs(with_glass[at.y(), at.x()] - without[at.y(), at.x()]).max() <= 12
    drawn = viewport.drawn(reader.state)
    reader.key(Qt.Key.Key_Q)
    assert np.array_equal(point_at(reader, at), without)
    assert drawn == viewport.drawn(reader.state), "what leaves shows no glass"


def test_what_is_covered_stays_covered_under_the_glass(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = reader.state.frame
    rows, columns = frame.stored.shape
    shutters = Shutters(shapes=(Shutter("RECTANGULAR", ((0.0, 0.0), (4.0, 4.0))),), color=(10, 200, 30))
    reader.window.app.session.update(frame=replace(frame, shutters=shutters))
    placed = reader.window.viewport.placement()
    at = placed.transform.map(QPointF(columns / 2, rows / 2)).toPoint()
    reader.key(Qt.Key.Key_Q)
    seen = point_at(reader, at)
    assert tuple(seen[at.y() + 20, at.x() + 20]) == (10, 200, 30)


def test_what_is_being_measured_is_drawn_under_the_glass(reader: Reader) -> None:
    viewport = reader.window.viewport
    middle = QPoint(viewport.width() // 2, viewport.height() // 2)
    reader.window.app.run_command("tool.length")
    reader.drag(Qt.MouseButton.LeftButton, (middle.x() - 20, middle.y()), (middle.x() + 20, middle.y()))
    reader.settle()
    reader.key(Qt.Key.Key_Q)
    seen = point_at(reader, middle)
    is_line = np.ptp(seen, axis=2) > 60
    # The line of 40 pixels is about 80 long there.
    assert is_line[middle.y() - 2 : middle.y() + 3].any(axis=0)[middle.x() - 38 : middle.x() + 38].mean() > 0.9
