"""The strip under an image: every caution is told, however narrow it is."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from PySide6.QtCore import QEvent, QPoint, QRectF
from PySide6.QtGui import QHelpEvent, QImage, QPainter
from PySide6.QtWidgets import QApplication, QToolTip, QWidget

from medviewer.app.on_screen import measured_image
from medviewer.domain.measurement import new_measurement
from medviewer.gui import theme
from medviewer.gui.corner_text import Shown, fidelity
from medviewer.gui.fidelity_strip import STRIP_PX, paint_strip, place_parts, tell
from medviewer.gui.theme import apply_theme
from medviewer.gui.window import MainWindow
from medviewer.imaging.scale import scale_at
from tests.dicom_maker import make_dataset, write_dataset
from tests.gui.reader import Reader, pixels
from tests.phantoms import SMALL_CHEST, write_chest
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


def write_ultrasound(path: Path, units: int, **attributes: Any) -> Path:
    region = Dataset()
    region.RegionLocationMinX0 = region.RegionLocationMinY0 = 0
    region.RegionLocationMaxX1 = region.RegionLocationMaxY1 = 63
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = units
    region.PhysicalDeltaX = region.PhysicalDeltaY = 0.05
    picture = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    return write_dataset(path, make_dataset(picture, Modality="US", SequenceOfUltrasoundRegions=[region], **attributes))


CENTIMETRES, NO_UNIT = 3, 0


@pytest.mark.parametrize("attributes", [{}, {"PixelSpacing": [0, 0]}, {"PixelSpacing": [1, 1]}])
@pytest.mark.parametrize(
    ("units", "said"),
    [
        (CENTIMETRES, ("lengths: ultrasound region", False)),
        (NO_UNIT, ("no measuring: the file gives no physical units for its ultrasound regions", True)),
    ],
)
def test_of_ultrasound_the_regions_are_what_lengths_rest_on(
    reader: Reader, tmp_path: Path, units: int, said: tuple[str, bool], attributes: dict[str, Any]
) -> None:
    reader.open(write_ultrasound(tmp_path / "us.dcm", units, **attributes))
    assert [part for part in fidelity(reader.state, None) if "measuring" in part[0] or "lengths" in part[0]] == [said]
    description = reader.state.selection.image.description
    scale = scale_at(((1.0, 1.0), (9.0, 1.0)), description)
    assert (scale.units == ("mm", "mm")) == (units == CENTIMETRES), "as it is measured"
    is_refused = said[1] and attributes != {"PixelSpacing": [1, 1]}
    assert description.no_measuring_because.startswith("The file gives no physical units" if is_refused else "")
    assert bool(description.no_measuring_because) == is_refused


@pytest.mark.parametrize("changes", [{"PixelSpacing": None, "ImagerPixelSpacing": None}, {}])
def test_a_calibration_of_the_reader_is_what_lengths_rest_on(
    reader: Reader, tmp_path: Path, changes: dict[str, Any]
) -> None:
    spacing = {"PixelSpacing": [0.2, 0.2]} if not changes else {}
    reader.open(write_dataset(tmp_path / "a.dcm", make_dataset(Modality="DX", **spacing)))
    before = [words for words, _ in fidelity(reader.state, None)]
    assert ("lengths: at detector" if spacing else "no measuring: the file gives no pixel spacing") in before
    where = measured_image(reader.state)
    by_hand = new_measurement("calibration", ((1.0, 1.0), (5.0, 1.0)), where, known_mm=10.0)
    reader.window.app.session.update(measurements={where: (by_hand,)})
    said = [part for part in fidelity(reader.state, None) if "measuring" in part[0] or "lengths" in part[0]]
    assert said == [("lengths: calibrated by hand", False)]


def test_frames_of_one_file_are_in_its_own_order_without_a_warning(reader: Reader, tmp_path: Path) -> None:
    dataset = make_dataset(Modality="XA", NumberOfFrames=3)
    dataset.PixelData *= 3
    reader.open(write_dataset(tmp_path / "loop.dcm", dataset))
    assert ("order: frame number", False) in fidelity(reader.state, None)
    assert not [words for words, is_caution in fidelity(reader.state, None) if is_caution and "order" in words]


def shown_at(zoom: float, level: int = 0) -> Shown:
    return Shown(zoom, False, None, level)


def test_an_enlarged_image_that_is_smoothed_is_called_interpolated(reader: Reader, tmp_path: Path) -> None:
    reader.open(write_radiograph(tmp_path / "a.dcm"))
    said = ("enlarged, interpolated", False)
    assert reader.state.view.smooth
    assert said in fidelity(reader.state, shown_at(1.5))
    assert said not in fidelity(reader.state, shown_at(1.0))
    assert said not in fidelity(reader.state, shown_at(0.5))
    reader.window.app.run_command("view.smooth")
    assert said not in fidelity(reader.state, shown_at(1.5))


def test_what_was_done_to_the_picture_stands_before_the_order_of_the_images(reader: Reader, tmp_path: Path) -> None:
    reader.open(*write_slices(tmp_path, 3))
    for shown, said in ((shown_at(0.4, 1), "drawn at 1/2 of full resolution"), (shown_at(2), "enlarged, interpolated")):
        words = [words for words, _ in fidelity(reader.state, shown)]
        assert words[1] == said
        assert words[2].startswith("order: ")


def test_pixels_that_are_no_squares_are_smoothed_at_one_to_one_too(reader: Reader, tmp_path: Path) -> None:
    reader.open(write_dataset(tmp_path / "a.dcm", make_dataset(PixelSpacing=[2, 1])))
    assert ("enlarged, interpolated", False) in fidelity(reader.state, shown_at(1.0))


def test_it_is_told_that_an_earlier_study_only_goes_along(reader: Reader, tmp_path: Path) -> None:
    words = ("another study goes along by distance, not by place", False)
    write_chest(tmp_path / "a", **SMALL_CHEST)
    write_chest(tmp_path / "b", **SMALL_CHEST, date="20230301")
    reader.open(tmp_path)
    reader.settle()
    assert words not in fidelity(reader.state, None)
    app = reader.window.app
    app.run_command("layout.prior")
    reader.settle()
    assert words in fidelity(reader.state, None)
    app.run_command("layout.link")
    assert words not in fidelity(reader.state, None)
