"""A model of whole stacks in the window: its finding beside every slice, its heat map where it lies on each plane."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PySide6.QtCore import Qt

from medviewer.app.on_screen import current_answer, pane_state
from medviewer.app.saving import result_on_screen
from medviewer.app.stack_asking import nearest_slice
from medviewer.domain.study import Window
from medviewer.gui.overlay import shown_heat_maps
from medviewer.gui.result_words import _pictures
from medviewer.imaging.planes import grid_of, to_image
from tests import fakes, stack_models
from tests.gui.reader import Reader, has_color, pixels
from tests.gui.seen import all_words
from tests.radiographs import write_radiograph
from tests.stack_models import HOT, MODEL_ID, StackEngine, write_stack

if TYPE_CHECKING:
    from medviewer.gui.window import MainWindow

CELL_MM = stack_models.SIDE_MM / 4


@pytest.fixture
def fake_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackEngine]:
    folder = tmp_path_factory.mktemp("models")
    fakes.make_model(folder / fakes.MODEL_ID)
    with stack_models.open_engine(folder) as engine:
        yield engine


def opened(main_window: MainWindow, qtbot: Any, folder: Path, orientation: str) -> Reader:
    acting = Reader(main_window, qtbot)
    write_stack(folder, orientation, voxels=32)
    acting.open(folder)
    acting.window.app.session.update(corner_text="none")
    acting.window.app.run_command("model.run")
    acting.settle()
    found = current_answer(acting.state)
    assert found is not None
    assert found[1].status == "answer", found[1].reasons
    return acting


def image_pixels(reader: Reader) -> tuple[np.ndarray, int, int]:
    """What is drawn where the image lies, far from the colour bar, and where that begins in the viewport."""
    viewport = reader.window.viewport
    reader.window.app.run_command("view.place", (6.0, (16.0, 16.0)))
    transform = viewport.placement().transform
    (x0, y0), (x1, y1) = transform.map(0.0, 0.0), transform.map(32.0, 32.0)
    top, left = round(min(y0, y1)), round(min(x0, x1))
    return pixels(viewport)[top : top + 192, left : left + 192].astype(int), top, left


def change_by_map(reader: Reader) -> tuple[np.ndarray, int, int]:
    """How much the heat map changes each pixel of the image, and where that begins in the viewport."""
    app = reader.window.app
    app.run_command("explain.opacity", 1.0)
    drawn, top, left = image_pixels(reader)
    app.run_command("explain.toggle")
    plain, _, _ = image_pixels(reader)
    app.run_command("explain.toggle")
    return np.abs(drawn - plain).sum(axis=2), top, left


def hottest_pixel(reader: Reader) -> tuple[float, float]:
    """Where the colours of the heat map are strongest in the viewport: column and row of the image."""
    viewport = reader.window.viewport
    change, top, left = change_by_map(reader)
    assert change.max() > 30
    rows, columns = np.nonzero(change >= change.max() * 0.97)
    back, _ = viewport.placement().transform.inverted()
    column, row = back.map(float(columns.mean()) + left + 0.5, float(rows.mean()) + top + 0.5)
    return column, row


@pytest.mark.parametrize("orientation", ["axial", "axial seen from above", "sagittal mirrored", "coronal upside down"])
def test_the_map_is_drawn_at_its_place_on_the_slice_and_not_on_far_ones(
    main_window: MainWindow, qtbot: Any, tmp_path: Path, orientation: str
) -> None:
    reader = opened(main_window, qtbot, tmp_path / "ct", orientation)
    reader.key(Qt.Key.Key_X, Qt.KeyboardModifier.ShiftModifier)
    reader.settle()
    now = reader.state.selection
    assert now.index == nearest_slice(now, HOT)
    grid = grid_of(now.image.description)
    assert grid is not None
    wanted = to_image(grid, HOT)[:2]
    for step in ("", "view.flip_horizontal", "view.rotate_left"):
        if step:
            reader.window.app.run_command(step)
        column, row = hottest_pixel(reader)
        away = np.hypot((column - wanted[0]) * grid.spacing_mm[1], (row - wanted[1]) * grid.spacing_mm[0])
        assert away < CELL_MM / 2
    reader.window.app.run_command("explain.threshold", 0.0)
    reader.window.app.run_command("view.window", Window(5000.0, 10.0))  # all black: what is seen is the map alone
    hot = change_by_map(reader)[0].max()
    near = now.index + (5 if now.index < 16 else -5)  # more than half the way to the next box, which is cold
    reader.window.app.run_command("image.show", near)
    reader.settle()
    assert 0 < change_by_map(reader)[0].max() < 0.5 * hot  # by its own strongest, it would be as bright
    far = 0 if now.index >= 16 else 31
    reader.window.app.run_command("image.show", far)
    reader.settle()
    maps = shown_heat_maps(reader.state)
    assert maps is not None
    assert maps.attribution.volume is not None
    assert float(np.nanmax(maps.attribution.placed)) < 0.05 * maps.attribution.volume.strongest
    assert np.ptp(image_pixels(reader)[0], axis=2).max() <= 8


@pytest.mark.parametrize("orientation", ["axial turned by half", "sagittal"])
def test_the_planes_show_the_map_at_its_place_and_the_finding_stays(
    main_window: MainWindow, qtbot: Any, tmp_path: Path, orientation: str
) -> None:
    reader = opened(main_window, qtbot, tmp_path / "ct", orientation)
    app = reader.window.app
    app.run_command("layout.planes")
    reader.settle()
    app.run_command("explain.hottest")
    reader.settle()
    for index in (0, 1, 2):
        pane = pane_state(reader.state, index)
        maps = shown_heat_maps(pane)
        assert maps is not None
        grid = grid_of(pane.frame.description)  # type: ignore[union-attr]
        assert grid is not None
        placed = maps.attribution.placed
        rows, columns = np.nonzero(placed >= np.nanmax(placed) * 0.99)
        column, row, in_front = to_image(grid, HOT)
        assert abs(in_front) < 1e-6
        assert abs(columns.mean() + 0.5 - column) * grid.spacing_mm[1] < CELL_MM / 2
        assert abs(rows.mean() + 0.5 - row) * grid.spacing_mm[0] < CELL_MM / 2
    assert has_color(reader.window.viewport)
    reader.wait(lambda: "Spot" in all_words(reader.window.findings))
    assert reader.window.findings.explain.hottest.isVisible()


def test_the_button_is_there_for_a_stack_only(main_window: MainWindow, qtbot: Any, tmp_path: Path) -> None:
    reader = opened(main_window, qtbot, tmp_path / "ct", "axial")
    button = reader.window.findings.explain.hottest
    assert button.isVisible()
    button.click()
    reader.settle()
    assert reader.state.selection.index == nearest_slice(reader.state.selection, HOT)
    reader.open(write_radiograph(tmp_path / "film.dcm"))
    reader.window.app.run_command("model.run")
    reader.settle()
    assert reader.state.model_id == fakes.MODEL_ID
    assert not button.isVisible()


def test_the_page_says_which_slice_it_shows_and_of_how_many(
    main_window: MainWindow, qtbot: Any, tmp_path: Path
) -> None:
    reader = opened(main_window, qtbot, tmp_path / "ct", "coronal")
    reader.window.app.run_command("explain.hottest")
    reader.settle()
    found = current_answer(reader.state)
    assert found is not None
    result = result_on_screen(reader.state, *found)
    captions = [one.caption for one in _pictures(result, None)]
    assert captions[0].startswith(f"Slice {reader.state.selection.index + 1} of 32 as it was shown")
    reader.wait(lambda: "random orders: better than" in all_words(reader.window.findings.explain))
    words = all_words(reader.window.findings.explain)
    assert "random maps" not in words
    assert "Little in this image" not in words  # one box is hot: it is no speck


def test_why_there_is_no_result_is_said_in_both_languages(main_window: MainWindow, qtbot: Any, tmp_path: Path) -> None:
    reader = Reader(main_window, qtbot)
    for path in write_stack(tmp_path / "ct")[1:]:
        path.unlink()
    reader.open(tmp_path / "ct")
    app = reader.window.app
    app.run_command("model.select", MODEL_ID)
    reader.wait(lambda: "None of the models here is for this image" in all_words(reader.window.findings))
    assert "the series holds a single image" in all_words(reader.window.findings)
    app.run_command("app.language", "zh")
    reader.wait(lambda: "此序列只有一幅图像" in all_words(reader.window.findings))
    app.run_command("model.run")
    reader.settle()
    reader.wait(lambda: "此序列只有一幅图像" in all_words(reader.window.findings))
    assert "在此不会给出结果" not in all_words(reader.window.findings)
    app.run_command("app.language", "en")
    reader.wait(lambda: "the series holds a single image" in all_words(reader.window.findings))
