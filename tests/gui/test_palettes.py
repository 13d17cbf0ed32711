"""A greyscale image in the standard's colours: what is drawn, what it says, and where it goes with the reader."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from medviewer.app.commands import command
from medviewer.app.on_screen import pane_state
from medviewer.domain.errors import UsageError
from medviewer.domain.study import Window
from medviewer.gui.corner_text import corners
from medviewer.gui.image_export import stored_image
from medviewer.gui.viewport_marks import layer_bar_rect, palette_bar_of
from medviewer.imaging.palettes import PALETTES, palette
from tests.gui.reader import Reader, has_color, pixels
from tests.radiographs import write_radiograph, write_slices

if TYPE_CHECKING:
    from medviewer.gui.window import MainWindow


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
    assert has_color(radiograph.window.viewport)
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


def test_the_bar_is_where_colours_follow_a_window(radiograph: Reader) -> None:
    run = radiograph.window.app.run_command
    run("view.palette", "PET")
    shown = palette_bar_of(radiograph.state, Window(10, 4))
    assert shown is not None
    assert not shown.is_reversed
    assert palette_bar_of(radiograph.state, Window(10, 4, "SIGMOID")) is None
    assert palette_bar_of(radiograph.state, None) is None
    run("view.palette", "")
    assert palette_bar_of(radiograph.state, Window(10, 4)) is None


def test_the_bar_of_a_film_begins_with_its_lowest_value(reader: Reader, tmp_path: Path) -> None:
    reader.open(write_radiograph(tmp_path / "a.dcm", PhotometricInterpretation="MONOCHROME1"))
    reader.window.app.run_command("view.palette", "PET")
    shown = palette_bar_of(reader.state, Window(10, 4))
    assert shown is not None
    assert shown.is_reversed


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
