"""A greyscale image in the standard's colours: what is drawn, what it says, and where it goes with the reader."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PySide6.QtCore import QRectF
from PySide6.QtGui import QImage, QPainter

from medviewer.app.commands import command
from medviewer.app.on_screen import pane_state
from medviewer.app.state import View
from medviewer.domain.errors import UsageError
from medviewer.domain.frame import Frame
from medviewer.domain.study import LookUpTable, PixelDescription, Window
from medviewer.gui import viewport_marks
from medviewer.gui.corner_text import corners
from medviewer.gui.image_export import stored_image
from medviewer.gui.viewport_marks import layer_bar_rect, palette_bar_of
from medviewer.imaging.display import to_display
from medviewer.imaging.palettes import PALETTES, palette
from tests.gui.reader import Reader, has_color, pixels
from tests.radiographs import write_radiograph, write_slices

if TYPE_CHECKING:
    from medviewer.gui.window import MainWindow


TABLE = LookUpTable(np.arange(256), 0, 8)


@pytest.fixture
def reader(main_window: MainWindow, qtbot: Any) -> Reader:
    return Reader(main_window, qtbot)


@pytest.fixture
def radiograph(reader: Reader, tmp_path: Path) -> Reader:
    reader.open(write_radiograph(tmp_path / "a.dcm"))
    return reader


def shown_colors(reader: Reader) -> set[int]:
    """Every colour of the stored image as it would be exported."""
    picture = reader.window.viewport._picture()
    assert picture is not None
    image = stored_image(picture, reader.state)
    found = np.frombuffer(image.constBits(), np.uint32)
    return set(found.tolist())


def test_every_choice_is_a_palette_of_the_standard_or_grey() -> None:
    assert [choice.argument for choice in command("view.palette").choices] == ["", *PALETTES]


@pytest.mark.parametrize("name", PALETTES)
def test_the_image_is_shown_in_the_palettes_colours_and_in_grey_again(radiograph: Reader, name: str) -> None:
    run = radiograph.window.app.run_command
    assert not has_color(radiograph.window.viewport)
    grey = shown_colors(radiograph)
    run("view.palette", name)
    assert shown_colors(radiograph) <= set(palette(name).tolist())
    drawn = pixels(radiograph.window.viewport).astype(int)
    row, column = drawn.shape[0] // 2, drawn.shape[1] // 2  # the bar, which has colours too, is at the edge
    assert np.ptp(drawn[row - 20 : row + 20, column - 20 : column + 20], axis=2).max() > 8
    run("edit.undo")
    assert shown_colors(radiograph) == grey
    assert not has_color(radiograph.window.viewport)
    run("edit.redo")
    run("view.reset")
    assert radiograph.state.view.palette == ""


def test_the_corner_names_the_palette_and_a_bar_gives_the_ends_of_the_window(radiograph: Reader) -> None:
    run = radiograph.window.app.run_command
    viewport = radiograph.window.viewport
    bar = layer_bar_rect(viewport._image_area()).toRect()

    def column() -> np.ndarray:
        return pixels(viewport)[bar.top() : bar.bottom(), bar.center().x()].astype(int)

    assert "Hot iron" not in " ".join(viewport._texts(viewport._shown(viewport.placement(), 0, ())).bottom_right)
    run("view.palette", "HOT_IRON")
    run("view.window", Window(2000, 1000, "LINEAR_EXACT"))
    said = corners(radiograph.state, viewport._shown(viewport.placement(), 0, ()))
    assert any("Hot iron" in line for corner in (said.bottom_left, said.bottom_right) for line in corner)
    assert (column()[2] > 200).all()  # white is the highest
    assert (column()[-3] < 60).all()
    run("view.invert")
    assert (column()[2] < 60).all()
    assert (column()[-3] > 200).all()


D = PixelDescription(modality="PT", rows=4, columns=4, value_unit="{counts}/s")
IN_PET = View(palette="PET")


@pytest.mark.parametrize(
    ("window", "ends"),
    [
        pytest.param(Window(10, 4, "LINEAR_EXACT"), (8, 12), id="exact"),
        pytest.param(Window(2.5, 5), (0, 4), id="the standard's own LINEAR ends one value earlier"),
    ],
)
def test_the_ends_of_the_bar_are_the_values_of_the_first_and_the_last_colour(
    window: Window, ends: tuple[float, float]
) -> None:
    shown = palette_bar_of(D, IN_PET, window)
    assert shown is not None
    assert (shown.low, shown.high, shown.is_reversed) == (*ends, False)
    values = np.array([[*ends]], np.float32)
    levels = to_display(Frame(values, replace(D, rows=1, columns=2)), window)
    assert levels.tolist() == [[0, 255]]


@pytest.mark.parametrize(
    ("description", "view", "window"),
    [
        pytest.param(D, View(), Window(10, 4), id="grey"),
        pytest.param(D, IN_PET, None, id="no window"),
        pytest.param(D, IN_PET, Window(10, 4, "SIGMOID"), id="no ends"),
        pytest.param(D, IN_PET, Window(10, 1), id="a step"),
        pytest.param(replace(D, voi_luts=(TABLE,)), IN_PET, Window(10, 4), id="the file's own table"),
        pytest.param(replace(D, presentation_lut=TABLE), IN_PET, Window(10, 4), id="shades of a presentation state"),
    ],
)
def test_there_is_no_bar_where_colours_follow_no_window(
    description: PixelDescription, view: View, window: Window | None
) -> None:
    assert palette_bar_of(description, view, window) is None


def test_a_table_that_a_window_replaces_does_not_matter() -> None:
    wished = replace(IN_PET, window=Window(10, 4))
    assert palette_bar_of(replace(D, voi_luts=(TABLE,)), wished, wished.window) is not None


def test_the_unit_is_the_images_own_and_in_words(radiograph: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = palette_bar_of(D, IN_PET, Window(10, 4))
    assert shown is not None
    assert shown.unit == "{counts}/s"
    said: list[str] = []
    monkeypatch.setattr(viewport_marks, "_write", lambda _painter, _rect, words, *_: said.append(words))
    image = QImage(400, 400, QImage.Format.Format_RGB32)
    painter = QPainter(image)
    viewport_marks.paint_palette_bar(painter, QRectF(0, 0, 400, 400), shown, is_left=True)
    painter.end()
    assert said == ["11 counts/s", "8"]
    of_a_state = palette_bar_of(D, replace(IN_PET, presentation="1.2.3"), Window(10, 4))
    assert of_a_state is not None
    assert of_a_state.unit == ""


def test_a_pet_counts_in_suv_where_its_file_allows_that() -> None:
    d = replace(D, value_unit="Bq/ml", suv_factor=0.25)
    shown = palette_bar_of(d, IN_PET, Window(10, 4, "LINEAR_EXACT"))
    assert shown is not None
    assert (shown.low, shown.high, shown.unit) == (2, 3, "SUVbw")
    of_a_state = palette_bar_of(d, replace(IN_PET, presentation="1.2.3"), Window(10, 4, "LINEAR_EXACT"))
    assert of_a_state is not None
    assert (of_a_state.low, of_a_state.high, of_a_state.unit) == (8, 12, "")


@pytest.mark.parametrize(("photometric", "inverted"), [("MONOCHROME1", False), ("MONOCHROME2", True)])
def test_where_black_is_high_the_bar_begins_with_the_last_colour(photometric: str, inverted: bool) -> None:
    d = replace(D, photometric_interpretation=photometric)
    shown = palette_bar_of(d, replace(IN_PET, inverted=inverted), Window(10, 4))
    assert shown is not None
    assert shown.is_reversed
    top, bottom = shown.image().pixel(0, 0), shown.image().pixel(0, 255)
    assert (top, bottom) == (int(palette("PET")[0]), int(palette("PET")[255]))


def test_the_bar_is_that_of_the_image_as_a_presentation_state_wishes_it(
    radiograph: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewport = radiograph.window.viewport
    radiograph.window.app.run_command("view.palette", "PET")
    picture = viewport._picture()
    assert picture is not None
    inverse = picture.presented(replace(picture.frame.description, photometric_interpretation="MONOCHROME1"))
    monkeypatch.setattr(viewport, "_picture", lambda: inverse)
    bars: list[viewport_marks.PaletteBar] = []
    monkeypatch.setattr(viewport_marks, "paint_palette_bar", lambda _painter, _area, shown, **_: bars.append(shown))
    pixels(viewport)
    assert [bar.is_reversed for bar in bars] == [True]


def test_saving_a_presentation_state_says_that_it_keeps_no_colours(
    radiograph: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, said = radiograph.window.app, list[str]()
    monkeypatch.setattr(app, "notify", lambda _level, text, *_: said.append(text))
    for name, told in (("", False), ("PET", True)):
        app.run_command("view.palette", name)
        (tmp_path / f"out{name}").mkdir()
        app.run_command("measure.save_state", tmp_path / f"out{name}")
        radiograph.settle()
        assert any("keeps no colours" in text for text in said) == told


def test_an_image_in_colour_is_offered_none(radiograph: Reader) -> None:
    state = radiograph.state
    assert command("view.palette").enabled(state)
    assert not command("view.palette").enabled(replace(state, frame=None))
    assert state.frame is not None
    in_color = replace(state.frame, stored=np.zeros((96, 80, 3), np.uint8))
    assert not command("view.palette").enabled(replace(state, frame=in_color))


def test_planes_of_the_series_have_its_palette(reader: Reader, tmp_path: Path) -> None:
    write_slices(tmp_path, 6)
    reader.open(tmp_path)
    run = reader.window.app.run_command
    run("view.palette", "HOT_IRON")
    run("layout.planes")
    reader.settle()
    states = [pane_state(reader.state, index) for index in (0, 1, 2, 3)]
    assert [state.view.palette for state in states] == ["HOT_IRON"] * 4
    run("view.palette", "PET")
    assert pane_state(reader.state, 1).view.palette == "PET"  # one volume, one way to look at it


def test_a_palette_that_there_is_not_changes_nothing(radiograph: Reader) -> None:
    from medviewer.app.viewing import use_palette

    with pytest.raises(UsageError, match="RAINBOW"):
        use_palette(radiograph.window.app, "RAINBOW")
    assert radiograph.state.view.palette == ""
