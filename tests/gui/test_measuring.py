"""Measuring with the mouse: what is drawn lies where it was drawn, says what it rests on, and can be changed."""

from __future__ import annotations

import itertools
import math
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, QRectF, QSizeF, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QTransform
from PySide6.QtTest import QTest

from medviewer.app.on_screen import measured_image, measurements_of, value_of
from medviewer.app.state import Value, View
from medviewer.domain.measurement import KINDS, Measurement, Quantity, new_measurement
from medviewer.gui import theme
from medviewer.gui.language import use_language
from medviewer.gui.measurement_layer import MeasurementLayer, Shape
from medviewer.gui.measurement_shapes import handles, is_on_line, screen_path, with_handle_at
from medviewer.gui.measurement_words import has_remark, image_lines, kind_word, quantity_word, value_lines
from medviewer.gui.placing import Placement
from tests.gui.reader import Reader, pixels
from tests.phantoms import write_chest
from tests.radiographs import write_radiograph

LEFT, NONE = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier


@pytest.fixture
def reader(main_window: Any, qtbot: Any) -> Reader:
    return Reader(main_window, qtbot)


@pytest.fixture
def shown(reader: Reader, tmp_path: Path) -> Reader:
    """A radiograph of 96 rows, 0.4 mm apart, and 80 columns, 0.2 mm apart."""
    reader.open(write_radiograph(tmp_path / "a.dcm", ImagerPixelSpacing=[0.4, 0.2]))
    return reader


def place(reader: Reader, point: tuple[float, float]) -> QPoint:
    """The pixel of the viewport that shows a place of the image."""
    placed = reader.window.viewport.placement()
    assert placed is not None
    return placed.transform.map(QPointF(*point)).toPoint()


def drag(reader: Reader, *points: tuple[float, float]) -> None:
    """Press at the first place of the image, move through the others, release at the last."""
    viewport = reader.window.viewport
    at = [place(reader, point) for point in points]
    QTest.mousePress(viewport, LEFT, NONE, at[0])
    for before, after in itertools.pairwise(at):
        QTest.mouseMove(viewport, (before + after) / 2)
        QTest.mouseMove(viewport, after)
    QTest.mouseRelease(viewport, LEFT, NONE, at[-1])


def click(reader: Reader, *points: tuple[float, float]) -> None:
    for point in points:
        QTest.mouseMove(reader.window.viewport, place(reader, point))
        QTest.mouseClick(reader.window.viewport, LEFT, NONE, place(reader, point))


def use(reader: Reader, tool: str) -> None:
    reader.window.app.run_command(f"tool.{tool}")


def has_ink(reader: Reader) -> bool:
    """Whether anything coloured is drawn over the image."""
    drawn = pixels(reader.window.viewport)[:-30].astype(int)
    return bool((np.ptp(drawn, axis=2) > 40).any())


def only(reader: Reader) -> Measurement:
    reader.settle()
    (found,) = measurements_of(reader.state)
    return found


def assert_near(reader: Reader, found: tuple[tuple[float, float], ...], wanted: Any) -> None:
    """Equal, as far as a pixel of the screen can tell."""
    placed = reader.window.viewport.placement()
    assert placed is not None
    step = max(1.0, 1 / placed.aspect) / (placed.zoom / placed.ratio)
    np.testing.assert_allclose(found, wanted, atol=1.01 * step)


VIEWS = {
    "fit": View(),
    "zoomed and moved": View(zoom=5.3, center=(31.0, 40.5)),
    "flipped": View(flip_horizontal=True, zoom=4.0, center=(40.0, 48.0)),
    "turned": View(quarter_turns=1),
    "flipped and turned": View(quarter_turns=3, flip_vertical=True, zoom=3.0, center=(42.0, 50.0)),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_a_line_lies_where_it_was_drawn_and_is_as_long_as_it_was(shown: Reader, view: View) -> None:
    shown.window.app.session.update(view=view, corner_text="minimal")
    use(shown, "length")
    start, end = (25.0, 35.0), (55.0, 60.0)
    drag(shown, start, end)
    made = only(shown)
    assert_near(shown, made.points, (start, end))
    (x0, y0), (x1, y1) = made.points
    value = value_of(shown.state, made)
    assert value is not None
    assert value.quantities[0].value == pytest.approx(math.hypot(0.2 * (x1 - x0), 0.4 * (y1 - y0)))
    assert value_lines(value) == (f"{value.quantities[0].value:.1f} mm, at detector",)

    ink = QColor(theme.tokens().measure_selected)
    drawn = pixels(shown.window.viewport).astype(int)
    is_ink = np.abs(drawn - [ink.red(), ink.green(), ink.blue()]).sum(axis=2) < 60
    placed = shown.window.viewport.placement()
    assert placed is not None
    for share in (0.2, 0.4, 0.6, 0.8):
        at = placed.transform.map(QPointF(x0 + share * (x1 - x0), y0 + share * (y1 - y0)))
        x, y = int(at.x()), int(at.y())
        assert is_ink[y - 1 : y + 2, x - 1 : x + 2].any(), share


@pytest.mark.parametrize("ratio", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("zoom", [0.5, 3.0, 20.0])
def test_lines_are_as_wide_at_any_zoom_and_lie_true_on_fine_screens(qapp: Any, ratio: float, zoom: float) -> None:
    placed = Placement(QSizeF(400, 400), ratio, 200, 200, 1.5, View(zoom=zoom * ratio, center=(100.0, 100.0)))
    reach = 100 / zoom
    made = new_measurement("length", [(100 - reach, 100.0), (100 + reach, 100.0)], ("1.2", 0))
    image = QImage(round(400 * ratio), round(400 * ratio), QImage.Format.Format_RGB32)
    image.setDevicePixelRatio(ratio)
    image.fill(QColor("white"))
    painter = QPainter(image)
    MeasurementLayer().paint(painter, placed, QRectF(0, 0, 400, 400), [Shape(made, ())])
    painter.end()
    column = [image.pixelColor(round(200 * ratio), y) for y in range(image.height())]
    marked = [y for y, color in enumerate(column) if color != QColor("white")]
    assert sum(marked) / len(marked) + 0.5 == pytest.approx(200 * ratio, abs=1.0)
    assert 3 * ratio <= len(marked) <= 6 * ratio
    darkest = min(color.lightness() for color in column)
    assert darkest < 160, "a dark rim on white bone"


def test_two_clicks_draw_a_line_too(shown: Reader) -> None:
    use(shown, "length")
    click(shown, (20.0, 20.0))
    assert not measurements_of(shown.state)
    click(shown, (50.0, 70.0))
    assert_near(shown, only(shown).points, ((20.0, 20.0), (50.0, 70.0)))
    assert shown.state.tool == "length", "the tool stays until another is chosen"


def test_two_clicks_at_one_place_are_no_line(shown: Reader) -> None:
    use(shown, "length")
    click(shown, (20.0, 20.0), (20.0, 20.0))
    QTest.mouseDClick(shown.window.viewport, LEFT, NONE, place(shown, (20.0, 20.0)))
    assert not measurements_of(shown.state)
    assert shown.state.view.zoom is None


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("freehand", "calibration")])
def test_every_kind_is_drawn_click_by_click(shown: Reader, kind: str) -> None:
    points = ((20.0, 20.0), (50.0, 24.0), (18.0, 60.0), (60.0, 64.0))[: KINDS[kind].most]  # type: ignore[index]
    use(shown, kind)
    click(shown, *points)
    made = only(shown)
    assert made.kind == kind
    assert_near(shown, made.points, points)
    value = value_of(shown.state, made)
    assert value is not None
    assert not value.problem


@pytest.mark.parametrize("kind", ["cobb", "bidirectional", "cardiothoracic"])
def test_two_lines_are_drawn_by_two_drags(shown: Reader, kind: str) -> None:
    use(shown, kind)
    drag(shown, (20.0, 20.0), (50.0, 24.0))
    assert not measurements_of(shown.state)
    drag(shown, (18.0, 60.0), (60.0, 64.0))
    assert_near(shown, only(shown).points, ((20.0, 20.0), (50.0, 24.0), (18.0, 60.0), (60.0, 64.0)))


def test_an_outline_is_drawn_in_one_stroke(shown: Reader) -> None:
    use(shown, "freehand")
    drag(shown, (20.0, 20.0), (50.0, 20.0), (50.0, 60.0), (22.0, 58.0))
    made = only(shown)
    assert len(made.points) > 5
    value = value_of(shown.state, made)
    assert value is not None
    assert value.quantities[0].value == pytest.approx(0.08 * 30 * 39, rel=0.1)


def test_an_outline_is_drawn_click_by_click_and_closed_at_its_beginning(shown: Reader) -> None:
    use(shown, "freehand")
    corners = ((20.0, 20.0), (50.0, 20.0), (50.0, 60.0), (20.0, 60.0))
    click(shown, *corners, corners[0])
    assert_near(shown, only(shown).points, corners)


def test_enter_closes_an_outline(shown: Reader) -> None:
    use(shown, "freehand")
    click(shown, (20.0, 20.0), (50.0, 20.0), (50.0, 60.0))
    shown.key(Qt.Key.Key_Return)
    assert len(only(shown).points) == 3


def test_escape_gives_up_the_drawing_and_only_then_resets_the_view(shown: Reader) -> None:
    shown.window.app.run_command("view.invert")
    use(shown, "angle")
    click(shown, (20.0, 20.0), (50.0, 24.0))
    shown.key(Qt.Key.Key_Escape)
    assert shown.state.view.inverted
    click(shown, (60.0, 60.0))
    assert not measurements_of(shown.state)
    shown.key(Qt.Key.Key_Escape)
    shown.key(Qt.Key.Key_Escape)
    assert not shown.state.view.inverted


def test_points_and_the_whole_are_moved_and_each_is_one_step_of_undo(shown: Reader) -> None:
    use(shown, "length")
    drag(shown, (20.0, 20.0), (60.0, 20.0))
    first = only(shown).points
    use(shown, "window")
    drag(shown, (60.0, 20.0), (60.0, 50.0))
    assert_near(shown, only(shown).points, (first[0], (60.0, 50.0)))
    second = only(shown).points
    drag(shown, (40.0, 35.0), (45.0, 45.0))
    assert_near(shown, only(shown).points, ((25.0, 30.0), (65.0, 60.0)))
    assert shown.state.view.window is None, "the tool did nothing beside it"
    shown.key(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert only(shown).points == second
    shown.key(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert only(shown).points == first


def test_what_is_moved_stays_on_the_image(shown: Reader) -> None:
    use(shown, "length")
    drag(shown, (20.0, 40.0), (60.0, 40.0))
    drag(shown, (40.0, 40.0), (20.0, 40.0), (-60.0, 40.0))
    (x0, _), (x1, _) = only(shown).points
    assert x0 == 0.0
    assert x1 == pytest.approx(40.0, abs=1.0)
    drag(shown, (x1, 40.0), (60.0, 40.0), (130.0, 40.0))
    assert only(shown).points[1][0] == 80.0


def test_delete_takes_the_selected_one_away(shown: Reader) -> None:
    use(shown, "length")
    drag(shown, (20.0, 20.0), (60.0, 20.0))
    drag(shown, (20.0, 60.0), (60.0, 60.0))
    click(shown, (40.0, 20.0))
    shown.key(Qt.Key.Key_Delete)
    assert_near(shown, only(shown).points, ((20.0, 60.0), (60.0, 60.0)))
    shown.settle()


def test_nothing_is_drawn_beside_the_image(shown: Reader) -> None:
    use(shown, "probe")
    QTest.mouseClick(shown.window.viewport, LEFT, NONE, QPoint(3, 300))
    assert not measurements_of(shown.state)


def test_the_key_that_hides_the_words_hides_measurements_too(shown: Reader) -> None:
    use(shown, "length")
    drag(shown, (20.0, 20.0), (60.0, 20.0))
    shown.settle()
    shown.window.app.session.update(corner_text="none", tool="window")
    assert not has_ink(shown)
    use(shown, "length")
    drag(shown, (20.0, 60.0), (60.0, 60.0))
    assert not has_ink(shown)
    assert len(measurements_of(shown.state)) == 1
    assert (
        shown.state.notice.text
        == "Measurements are hidden with the corner text: “More or less corner text” shows them."
    )


def test_a_line_on_a_plane_that_was_cut_is_measured_where_it_was_drawn(reader: Reader, tmp_path: Path) -> None:
    write_chest(tmp_path, size=32, spacing_mm=10.0, n_slices=20)
    reader.open(tmp_path)
    reader.window.app.run_command("layout.planes")
    reader.settle()
    reader.wait(lambda: reader.state.frame is not None)
    reader.window.app.run_command("layout.activate", 1)  # coronal
    reader.wait(lambda: reader.state.frame is not None)
    use(reader, "length")
    drag(reader, (4.5, 4.5), (14.5, 4.5))
    reader.settle()
    (made,) = measurements_of(reader.state)
    reader.wait(lambda: value_of(reader.state, made) is not None)
    value = value_of(reader.state, made)
    assert value is not None
    pixel_mm = reader.state.frame.description.pixel_spacing_mm[1]
    assert value.quantities[0].value == pytest.approx(10 * pixel_mm, rel=0.05)
    assert made.plane is not None
    assert made.plane.plane == reader.state.frame.description.plane
    assert has_ink(reader)


def test_scrolling_on_gives_up_what_is_being_drawn(reader: Reader, tmp_path: Path) -> None:
    write_chest(tmp_path, size=32, spacing_mm=10.0, n_slices=3)
    reader.open(tmp_path)
    use(reader, "length")
    click(reader, (10.0, 10.0))
    reader.window.app.run_command("image.next")
    reader.settle()
    click(reader, (20.0, 20.0))
    assert not any(reader.state.measurements.values())
    click(reader, (25.0, 22.0))
    assert_near(reader, only(reader).points, ((20.0, 20.0), (25.0, 22.0)))
    assert sum(map(len, reader.state.measurements.values())) == 1


@pytest.mark.parametrize("seed", range(3))
def test_no_row_of_presses_moves_and_keys_goes_wrong(shown: Reader, seed: int) -> None:
    """Whatever the mouse does: no failure, and every measurement lies on its image and can be measured or says why."""
    chance = np.random.default_rng(seed)
    viewport, app = shown.window.viewport, shown.window.app
    tools = [*(kind for kind in KINDS if kind != "calibration"), "window", "pan"]
    commands = ["edit.undo", "edit.redo", "measure.delete", "view.rotate_left", "view.flip_horizontal"]
    shown.window.choose_folder = lambda _title: None  # type: ignore[method-assign]
    for _ in range(150):
        at = QPoint(int(chance.integers(0, viewport.width())), int(chance.integers(0, viewport.height())))
        act = chance.integers(0, 12)
        if act < 3:
            QTest.mousePress(viewport, LEFT, NONE, at)
        elif act < 6:
            QTest.mouseRelease(viewport, LEFT, NONE, at)
        elif act < 9:
            QTest.mouseMove(viewport, at)
        elif act == 9:
            QTest.mouseDClick(viewport, LEFT, NONE, at)
        elif act == 10:
            use(shown, str(chance.choice(tools)))
        else:
            app.run_command(str(chance.choice(commands)))
        pixels(viewport)
    shown.settle()
    for one in measurements_of(shown.state):
        assert all(0 <= x <= 80 and 0 <= y <= 96 for x, y in one.points)
        value = value_of(shown.state, one)
        assert value is not None
        assert value.quantities or value.problem
    where = measured_image(shown.state)
    assert where is not None
    assert app.records.store().measurements_for(("", *where[:2])) == measurements_of(shown.state)


@pytest.mark.reliability
def test_a_measurement_is_drawn_over_its_own_image_only(reader: Reader, tmp_path: Path) -> None:
    write_chest(tmp_path, size=64, spacing_mm=5.0, n_slices=3)
    reader.open(tmp_path)
    reader.window.app.session.update(corner_text="minimal")
    use(reader, "length")
    drag(reader, (10.0, 20.0), (40.0, 20.0))
    reader.settle()
    assert has_ink(reader)
    reader.window.app.run_command("image.next")
    reader.settle()
    assert not has_ink(reader)


def test_a_label_is_dragged_and_stays_in_the_viewport(shown: Reader) -> None:
    use(shown, "length")
    drag(shown, (20.0, 20.0), (60.0, 20.0))
    use(shown, "pan")
    made = only(shown)
    pixels(shown.window.viewport)
    labels = shown.window.viewport._measurements
    before = labels.labels[made.uid]
    start = before.center().toPoint()
    QTest.mousePress(shown.window.viewport, LEFT, NONE, start)
    QTest.mouseMove(shown.window.viewport, start + QPoint(0, 60))
    QTest.mouseMove(shown.window.viewport, start + QPoint(-5, 120))
    QTest.mouseRelease(shown.window.viewport, LEFT, NONE, start + QPoint(-5, 120))
    pixels(shown.window.viewport)
    assert labels.labels[made.uid] == before.translated(-5, 120)
    assert only(shown).points == made.points
    shown.window.app.session.update(view=View(zoom=20.0, center=(60.0, 20.0)))
    pixels(shown.window.viewport)
    assert QRectF(shown.window.viewport.rect()).contains(labels.labels[made.uid])


def test_the_menu_over_a_measurement_is_about_that_one(shown: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    use(shown, "length")
    drag(shown, (20.0, 20.0), (60.0, 20.0))
    drag(shown, (20.0, 60.0), (60.0, 60.0))
    shown.settle()
    monkeypatch.setattr(shown.window, "_open_menu", lambda _where: None)
    shown.window.viewports.menu_requested.disconnect()
    QTest.mouseClick(shown.window.viewport, Qt.MouseButton.RightButton, NONE, place(shown, (40.0, 20.0)))
    assert shown.state.selected_measurement == measurements_of(shown.state)[0].uid


def test_going_to_another_viewport_gives_up_what_is_being_drawn(reader: Reader, tmp_path: Path) -> None:
    write_chest(tmp_path, size=32, spacing_mm=10.0, n_slices=3)
    reader.open(tmp_path)
    reader.window.app.run_command("layout.use", (1, 2))
    use(reader, "length")
    click(reader, (10.0, 10.0))
    reader.window.app.run_command("layout.activate", 1)
    reader.window.app.run_command("layout.activate", 0)
    click(reader, (20.0, 20.0))
    reader.settle()
    assert not any(reader.state.measurements.values())


def test_a_hundred_measurements_are_laid_out_once_and_painted_quickly(qapp: Any) -> None:
    placed = Placement(QSizeF(900, 900), 1.0, 900, 900, 1.0, View())
    shapes = [
        Shape(new_measurement("length", [(9.0 * n, 5.0 * n), (9.0 * n + 60, 5.0 * n)], ("1.2", 0)), (f"{n}.0 mm",))
        for n in range(100)
    ]
    layer = MeasurementLayer()
    image = QImage(900, 900, QImage.Format.Format_RGB32)
    for _ in range(2):
        painter = QPainter(image)
        layer.paint(painter, placed, QRectF(0, 0, 900, 900), shapes)
        painter.end()
        before, laid_out = layer.labels, layer._laid_out
    assert (layer.labels, layer._laid_out) == (before, laid_out)
    assert layer.labels is before
    assert layer._laid_out is laid_out


def test_labels_keep_off_the_words_in_the_corners(shown: Reader) -> None:
    use(shown, "length")
    drag(shown, (8.0, 8.0), (15.0, 4.0))
    made = only(shown)
    pixels(shown.window.viewport)
    layer = shown.window.viewport._measurements
    assert layer._taken
    assert not [box for box in layer._taken if box.intersects(layer.labels[made.uid])]


def test_why_there_are_only_pixels_is_said_once() -> None:
    made = new_measurement("bidirectional", [(0, 0), (3, 4), (0, 0), (1, 0)], ("1.2", 0))
    why = "The file gives no pixel spacing."
    value = Value(
        made, None, (Quantity("long axis", 5.0, "px", "px", why), Quantity("short axis", 1.0, "px", "px", why))
    )
    assert value_lines(value) == ("Long axis 5.0 px: the file gives no pixel spacing", "Short axis 1.0 px")


def test_labels_keep_out_of_each_others_way(qapp: Any) -> None:
    placed = Placement(QSizeF(900, 900), 1.0, 900, 900, 1.0, View())
    lines = ("Area 100 mm²", "Mean 10.0 HU   SD 2.0", "Pixels 100")
    shapes = [
        Shape(new_measurement("rectangle", [(400.0, 300.0 + 20 * n), (440.0, 330.0 + 20 * n)], ("1.2", 0)), lines)
        for n in range(8)
    ]
    layer = MeasurementLayer()
    image = QImage(900, 900, QImage.Format.Format_RGB32)
    painter = QPainter(image)
    layer.paint(painter, placed, QRectF(0, 0, 900, 900), shapes)
    painter.end()
    boxes = list(layer.labels.values())
    assert len(boxes) == 8
    assert not [(a, b) for n, a in enumerate(boxes) for b in boxes[n + 1 :] if a.intersects(b)]


def test_where_there_is_little_room_a_label_shows_its_first_line_and_the_selected_one_all(qapp: Any) -> None:
    placed = Placement(QSizeF(320, 200), 1.0, 320, 200, 1.0, View())
    lines = ("Area 100 mm², patient plane", "Mean 10.0 HU   SD 2.0", "Min 1 HU   Max 20 HU", "Pixels 100")
    shapes = [
        Shape(new_measurement("rectangle", [(100.0, 20.0 + 40 * n), (140.0, 50.0 + 40 * n)], ("1.2", 0)), lines, n == 3)
        for n in range(4)
    ]
    shapes[0] = replace(shapes[0], must_be_whole=True)
    layer = MeasurementLayer()
    image = QImage(320, 200, QImage.Format.Format_RGB32)
    painter = QPainter(image)
    layer.paint(painter, placed, QRectF(0, 0, 320, 200), shapes)
    painter.end()
    told = [layer._lines[shape.measurement.uid] for shape in shapes]
    assert told[3] == told[0] == lines
    assert told[1:3] == [("Area 100 mm², patient plane …",)] * 2


def test_the_tool_bar_offers_the_tools_and_shows_the_last_one(shown: Reader) -> None:
    button = shown.window.tools.measure_button
    titles = [action.iconText() for action in button.menu().actions() if not action.isSeparator()]
    assert len(titles) == 10
    assert button.defaultAction().iconText() == "Length"
    use(shown, "cobb")
    assert button.defaultAction().iconText() == "Cobb"
    assert button.isChecked()
    use(shown, "pan")
    assert button.defaultAction().iconText() == "Cobb"
    assert not button.isChecked()
    shown.key(Qt.Key.Key_D)
    assert shown.state.tool == "length"
    shown.key(Qt.Key.Key_A)
    assert shown.state.tool == "angle"


@pytest.mark.parametrize("handle", range(4))
def test_each_corner_of_a_box_follows_the_mouse_and_the_opposite_one_stays(handle: int) -> None:
    before = handles("ellipse", ((1.0, 2.0), (5.0, 9.0)))
    after = handles("ellipse", with_handle_at("ellipse", ((1.0, 2.0), (5.0, 9.0)), handle, (3.0, 4.0)))
    assert after[handle] == (3.0, 4.0)
    assert after[(handle + 2) % 4] == before[(handle + 2) % 4]


@pytest.mark.parametrize(
    ("kind", "points", "near", "beside"),
    [
        ("length", ((10.0, 10.0), (90.0, 10.0)), (50.0, 14.0), (50.0, 16.5)),
        ("length", ((10.0, 10.0), (90.0, 10.0)), (94.0, 10.0), (96.5, 10.0)),
        ("length", ((10.0, 10.0), (90.0, 90.0)), (53.0, 47.0), (60.0, 40.0)),
        ("ellipse", ((20.0, 20.0), (80.0, 60.0)), (50.0, 63.0), (50.0, 40.0)),
        ("rectangle", ((20.0, 20.0), (80.0, 60.0)), (22.0, 40.0), (50.0, 40.0)),
        ("freehand", ((20.0, 20.0), (80.0, 20.0), (50.0, 70.0)), (34.0, 45.0), (50.0, 35.0)),
        ("cobb", ((10.0, 10.0), (90.0, 10.0), (10.0, 80.0), (90.0, 80.0)), (50.0, 80.0), (50.0, 45.0)),
    ],
)
def test_lines_are_grasped_within_five_pixels_and_nothing_inside_or_between(
    kind: Any, points: Any, near: tuple[float, float], beside: tuple[float, float]
) -> None:
    path = screen_path(kind, points, QTransform())
    assert is_on_line(path, QPointF(*near))
    assert not is_on_line(path, QPointF(*beside))


def test_every_shape_goes_through_its_own_transform(qapp: Any) -> None:
    placed = Placement(QSizeF(300, 300), 1.0, 100, 80, 2.0, View(quarter_turns=1, flip_vertical=True))
    path = screen_path("ellipse", ((10.0, 20.0), (30.0, 60.0)), placed.transform)
    corners = [placed.transform.map(QPointF(*point)) for point in ((10.0, 20.0), (30.0, 60.0))]
    box = QRectF(*corners).normalized()
    assert path.boundingRect().toRect() == box.toRect()


def test_a_length_without_spacing_says_so_beside_the_number() -> None:
    made = new_measurement("length", [(0, 0), (3, 4)], ("1.2", 0), label="Node")
    quantity = Quantity("length", 5.0, "px", "px", "The file gives no pixel spacing.")
    value = Value(made, None, (quantity,))
    assert image_lines(made, value) == ("Node", "5.0 px: the file gives no pixel spacing")
    use_language("zh")
    assert image_lines(made, value) == ("Node", "5.0 px: 文件未给出像素间距")
    use_language("en")


@pytest.mark.parametrize(
    ("quantity", "words"),
    [
        (Quantity("length", 12.34, "mm", "patient plane"), "12.3 mm, patient plane"),
        (Quantity("length", 1234.56, "mm", "patient plane"), "1234.6 mm, patient plane"),
        (Quantity("length", 0.5346, "mm", "patient plane", decimals=3), "0.535 mm, patient plane"),
        (Quantity("length", 0.039, "mm", "patient plane"), "0.039 mm, patient plane"),
        (Quantity("length", 0.0, "px", "px"), "0.0 px"),
        (Quantity("area", 0.0022, "mm2", "patient plane"), "Area 0.0022 mm², patient plane"),
        (Quantity("area", 12.34, "mm2", "patient plane"), "Area 12.3 mm², patient plane"),
        (Quantity("area", 1234.5, "mm2", "patient plane"), "Area 1234 mm², patient plane"),
        (Quantity("spacing between rows", 0.5, "mm", "calibrated"), "Rows apart 0.5000 mm, calibrated"),
        (Quantity("spacing between rows", 0.00025, "mm", "calibrated"), "Rows apart 0.00025 mm, calibrated"),
    ],
)
def test_a_small_length_or_area_never_reads_as_nothing(quantity: Quantity, words: str) -> None:
    made = new_measurement("length", [(0, 0), (3, 4)], ("1.2", 0))
    assert value_lines(Value(made, None, (quantity,))) == (words,)


def test_a_ratio_says_what_makes_it_doubtful() -> None:
    made = new_measurement("cardiothoracic", [(0, 0), (3, 4), (0, 0), (9, 0)], ("1.2", 0))
    remark = "The two lines are 53 degrees from parallel: the ratio is doubtful."
    value = Value(made, None, (Quantity("cardiothoracic ratio", 0.555, "", remark=remark),))
    assert value_lines(value) == ("CTR 0.56", remark) or value_lines(value) == ("CTR 0.55", remark)
    assert all(len(line) <= 40 for line in image_lines(made, value))
    assert has_remark(value), "so that its label is never shortened"
    assert not has_remark(Value(made, None, (Quantity("length", 5.0, "px", "px", remark),)))


def test_a_long_remark_stands_on_the_image_whole_also_without_spaces() -> None:
    remark = "The lines lean to opposite sides: of a curve of more than 90 degrees the angle is 93.0 degrees."
    made = new_measurement("cobb", [(0, 0), (3, 4), (0, 0), (9, 0)], ("1.2", 0))
    value = Value(made, None, (Quantity("Cobb angle", 87.0, "deg", "patient plane", remark),))
    for name in ("en", "zh"):
        use_language(name)
        number, *lines = image_lines(made, value)
        assert len(lines) > 1
        assert "".join((number, *lines)).replace(" ", "") == "".join(value_lines(value)).replace(" ", "")
        for line in lines:
            assert sum(2 if unicodedata.east_asian_width(c) in "FW" else 1 for c in line) <= 40
            assert line[0] not in "，。：）"
    assert [*image_lines(made, replace(value, quantities=(replace(value.quantities[0], remark="𠀀" * 30),)))][1:] == [
        "𠀀" * 20, "𠀀" * 10,
    ]  # fmt: skip


def test_every_kind_and_quantity_has_its_words_in_both_languages() -> None:
    names = (
        "length", "horizontal", "vertical", "angle", "Cobb angle", "long axis", "short axis", "heart width",
        "thorax width", "cardiothoracic ratio", "spacing between rows", "spacing between columns", "area", "mean",
        "SD", "minimum", "maximum", "pixels", "stored value", "value", "red", "green", "blue",
    )  # fmt: skip
    english = [kind_word(kind) for kind in KINDS] + [quantity_word(name) for name in names]
    use_language("zh")
    chinese = [kind_word(kind) for kind in KINDS] + [quantity_word(name) for name in names]
    use_language("en")
    assert all(a != b for a, b in zip(english, chinese, strict=True) if a != "SD")


def test_numbers_of_before_a_change_are_not_shown_after_it(shown: Reader) -> None:
    use(shown, "length")
    drag(shown, (20.0, 20.0), (60.0, 20.0))
    made = only(shown)
    changed = replace(made, points=((0.0, 0.0), (1.0, 1.0)))
    assert value_of(shown.state, made) is not None
    assert value_of(shown.state, changed) is None
    assert image_lines(changed, value_of(shown.state, changed)) == ("…",)
