"""The strip under an image: every caution is told, however narrow it is."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import QEvent, QPoint, QRectF
from PySide6.QtGui import QHelpEvent, QImage, QPainter
from PySide6.QtWidgets import QApplication, QToolTip, QWidget

from medviewer.gui import theme
from medviewer.gui.corner_text import fidelity
from medviewer.gui.fidelity_strip import STRIP_PX, paint_strip, place_parts, tell
from medviewer.gui.theme import apply_theme
from medviewer.gui.window import MainWindow
from tests.gui.reader import Reader, pixels
from tests.radiographs import write_radiograph, write_slices

PX = 7.0  # a character
PARTS = (("lossless", False), ("order: position", False), ("may be upside down", True), ("slices are missing", True))


@pytest.fixture
def reader(main_window: MainWindow, qtbot: Any) -> Reader:
    return Reader(main_window, qtbot)


def advance(text: str) -> float:
    return PX * len(text)


def test_all_stand_whole_where_there_is_room_cautions_first() -> None:
    placed = place_parts(PARTS, 600, advance)
    assert [one.text for one in placed] == ["may be upside down", "slices are missing", "lossless", "order: position"]
    assert [one.is_caution for one in placed] == [True, True, False, False]
    assert all(advance(one.text) <= one.room for one in placed)


def test_what_has_no_room_is_counted_as_a_caution_if_one_of_it_is() -> None:
    placed = place_parts(PARTS, 250, advance)
    assert [(one.text, one.is_caution) for one in placed] == [("may be upside down", True), ("+3", True)]
    placed = place_parts(PARTS, 420, advance)
    assert [(one.text, one.is_caution) for one in placed][1:] == [("slices are missing", True), ("+2", False)]


@given(
    parts=st.lists(st.tuples(st.text("abc ", min_size=1, max_size=60), st.booleans()), min_size=1, max_size=12),
    width=st.integers(120, 1200),
)
def test_nothing_is_dropped_and_nothing_lies_over_anything(parts: list[tuple[str, bool]], width: int) -> None:
    placed = place_parts(parts, width, advance)
    told = [one for one in placed if not re.fullmatch(r"\+\d+", one.text)]
    counted = [one for one in placed if re.fullmatch(r"\+\d+", one.text)]
    assert len(told) + sum(int(one.text[1:]) for one in counted) == len(parts)
    hidden = sorted(parts, key=lambda part: not part[1])[len(told) :]
    assert [one.is_caution for one in counted] == ([any(caution for _, caution in hidden)] if hidden else [])
    for one, following in pairwise(placed):
        assert one.at + (18 if one.is_caution else 0) + min(advance(one.text), one.room) <= following.at
    for one in placed[1:]:
        assert one.at + (18 if one.is_caution else 0) + min(advance(one.text), one.room) <= width


def drawn(parts: tuple[tuple[str, bool], ...], width: int) -> QImage:
    image = QImage(width, STRIP_PX, QImage.Format.Format_RGB32)
    image.fill(0)
    painter = QPainter(image)
    paint_strip(painter, QRectF(image.rect()), parts)
    painter.end()
    return image


def test_the_count_of_cautions_has_their_colour(qapp: QApplication) -> None:
    apply_theme(qapp)
    image = drawn(PARTS, 220)
    caution = theme.color(theme.tokens().caution)

    def is_caution(x: int, y: int) -> bool:
        pixel = image.pixelColor(x, y)
        return all(abs(a - b) < 40 for a, b in zip(pixel.getRgb()[:3], caution.getRgb()[:3], strict=True))

    right = range(220 - 12 - 22, 220 - 12)
    assert any(is_caution(x, y) for x in right for y in range(STRIP_PX))


def rest_the_mouse(widget: QWidget, at: QPoint) -> None:
    QToolTip.hideText()
    QApplication.sendEvent(widget, QHelpEvent(QEvent.Type.ToolTip, at, widget.mapToGlobal(at)))


def test_the_mouse_on_the_strip_is_told_everything(reader: Reader, tmp_path: Path) -> None:
    reader.open(*write_slices(tmp_path, 3))
    viewport = reader.window.viewport
    viewport.grab()
    rest_the_mouse(viewport, QPoint(40, viewport.height() - 4))
    said = QToolTip.text()
    for words, _ in fidelity(reader.state, None):
        assert words in said
    rest_the_mouse(viewport, QPoint(40, 40))
    reader.wait(lambda: not QToolTip.text())


def test_words_of_files_stay_words(reader: Reader) -> None:
    view = reader.window.viewport
    for text in ("<b>bold</b>", "a\u202eb"):
        tell(
            view,
            QHelpEvent(QEvent.Type.ToolTip, QPoint(9, view.height() - 4), view.mapToGlobal(QPoint(9, 9))),
            ((text, True),),
        )
        assert "<b>" not in QToolTip.text()
        assert "\u202e" not in QToolTip.text()
    QToolTip.hideText()
    reader.wait(lambda: not QToolTip.text())


def test_what_was_opened_in_part_is_a_caution(reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader.open(write_radiograph(tmp_path / "part.dcm"))
    lack = ("opening was stopped: images may be missing", True)
    assert lack not in fidelity(reader.state, None)
    before = pixels(reader.window.viewport)
    drawn_anew: list[bool] = []
    monkeypatch.setattr(reader.window.viewport, "update", lambda: drawn_anew.append(True))
    reader.window.app.session.update(is_partial=True)
    assert lack in fidelity(reader.state, None)
    assert drawn_anew
    assert (pixels(reader.window.viewport) != before).any()
