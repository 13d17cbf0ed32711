"""The viewport shows the right pixels, the right side, the right words, and does what the mouse asks."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, QRectF, Qt
from PySide6.QtGui import QImage, QPainter
from PySide6.QtTest import QTest

from medviewer.app.presets import CT_PRESETS
from medviewer.app.state import State
from medviewer.domain.answer import Faithfulness
from medviewer.domain.frame import OverlayPlane
from medviewer.domain.study import PixelDescription, Window
from medviewer.gui import theme
from medviewer.gui.corner_text import Corners, Shown, _loss, corners, fidelity, probe_text
from medviewer.gui.fidelity_strip import STRIP_PX
from medviewer.gui.overlay import HeatMaps
from medviewer.gui.viewport_marks import MARGIN, CornerPainter, color_bar_rect, paint_color_bar, paint_letters, verdict
from medviewer.imaging.display import to_display
from medviewer.imaging.orientation import Letters
from tests import samples
from tests.dicom_maker import make_dataset, write_dataset
from tests.gui.panel_states import attribution
from tests.gui.reader import Reader, pixels
from tests.gui.seen import TURNS
from tests.layer_objects import write_pet
from tests.radiographs import write_radiograph, write_slices

if TYPE_CHECKING:
    from medviewer.gui.window import MainWindow

LEFT, MIDDLE, RIGHT = Qt.MouseButton.LeftButton, Qt.MouseButton.MiddleButton, Qt.MouseButton.RightButton
CTRL = Qt.KeyboardModifier.ControlModifier


@pytest.fixture
def reader(main_window: MainWindow, qtbot: Any) -> Reader:
    return Reader(main_window, qtbot)


@pytest.fixture
def shown(reader: Reader, tmp_path: Path) -> Reader:
    """A small radiograph, without words over it."""
    reader.open(write_radiograph(tmp_path / "a.dcm"))
    reader.window.app.session.update(corner_text="none")
    return reader


def image_on_screen(reader: Reader) -> np.ndarray:
    """The grey levels where the image lies, at one screen pixel an image pixel."""
    placed = reader.window.viewport.placement()
    assert placed is not None
    corner = placed.transform.map(0.0, 0.0)
    other = placed.transform.map(float(placed.columns), float(placed.rows))
    x0, x1 = sorted((round(corner[0]), round(other[0])))
    y0, y1 = sorted((round(corner[1]), round(other[1])))
    picture = pixels(reader.window.viewport)[y0:y1, x0:x1]
    assert (picture == picture[..., :1]).all()
    return picture[..., 0]


def place_at_full_size(reader: Reader) -> None:
    """1:1, with pixel borders on screen pixels."""
    reader.window.app.run_command("view.place", (1.0, None))
    placed = reader.window.viewport.placement()
    assert placed is not None
    width, height = placed.size.width(), placed.size.height()
    if reader.state.view.quarter_turns % 2:
        width, height = height, width
    center = (40.0 + (width % 2) / 2, 48.0 + (height % 2) / 2)
    reader.window.app.run_command("view.place", (1.0, center))


STEPS = {
    "view.flip_horizontal": lambda p: p[:, ::-1],
    "view.flip_vertical": lambda p: p[::-1],
    "view.rotate_left": lambda p: np.rot90(p, 1),
    "view.rotate_right": lambda p: np.rot90(p, -1),
}


@pytest.mark.parametrize("steps", TURNS)
def test_the_pixels_on_screen_are_the_images(shown: Reader, steps: tuple[str, ...]) -> None:
    expected = to_display(shown.state.frame)
    for step in steps:
        shown.window.app.run_command(step)
        expected = STEPS[step](expected)
    place_at_full_size(shown)
    np.testing.assert_array_equal(image_on_screen(shown), expected)


def test_window_and_inversion_reach_the_screen(shown: Reader) -> None:
    place_at_full_size(shown)
    shown.window.app.run_command("view.window", Window(2000, 500))
    shown.window.app.run_command("view.invert")
    expected = to_display(shown.state.frame, Window(2000, 500), invert=True)
    np.testing.assert_array_equal(image_on_screen(shown), expected)


def test_a_circle_is_round_where_the_file_only_says_what_shape_a_pixel_has(reader: Reader, tmp_path: Path) -> None:
    """PS3.3 C.7.6.3.1.7: vertical over horizontal size of a pixel; here twice as high as wide."""
    rows, columns = np.mgrid[:40, :80]
    disc = np.hypot(columns + 0.5 - 40, 2 * (rows + 0.5 - 20)) < 30
    dataset = make_dataset(np.where(disc, 4000, 0).astype(np.uint16), Modality="XA", PixelAspectRatio=["2", "1"])
    reader.open(write_dataset(tmp_path / "a.dcm", dataset))
    reader.window.app.session.update(corner_text="none")
    bright = pixels(reader.window.viewport)[:-STRIP_PX, :, 0] > 100
    height, width = (int(np.count_nonzero(bright.any(axis=axis))) for axis in (1, 0))
    assert width > 100
    assert height == pytest.approx(width, rel=0.05)


def test_letters_follow_flips_and_turns(shown: Reader) -> None:
    viewport = shown.window.viewport
    assert viewport.letters() == ("R", "L", "H", "F")
    shown.key(Qt.Key.Key_H)
    assert viewport.letters() == ("L", "R", "H", "F")
    shown.key(Qt.Key.Key_V)
    assert viewport.letters() == ("L", "R", "F", "H")
    shown.window.app.run_command("view.rotate_left")
    assert viewport.letters() == ("F", "H", "R", "L")
    shown.key(Qt.Key.Key_Escape)
    assert viewport.letters() == ("R", "L", "H", "F")


def test_left_drag_is_window_and_level_and_one_step_of_undo(shown: Reader) -> None:
    before = shown.window.viewport.window_shown()
    assert before is not None
    shown.drag(LEFT, (200, 200), (250, 200), (300, 240))
    after = shown.state.view.window
    assert after is not None
    assert after.width > before.width  # to the right is wider
    assert after.center > before.center  # down is darker
    shown.key(Qt.Key.Key_Z, CTRL)
    assert shown.state.view.window is None


def test_up_is_brighter_also_on_monochrome1(reader: Reader, tmp_path: Path) -> None:
    reader.open(write_radiograph(tmp_path / "a.dcm", PhotometricInterpretation="MONOCHROME1"))
    frame = reader.state.frame
    before = to_display(frame).mean()
    reader.drag(LEFT, (200, 200), (200, 150))
    assert to_display(frame, reader.state.view.window).mean() > before


def test_a_click_is_no_drag(shown: Reader) -> None:
    shown.drag(LEFT, (200, 200), (201, 201))
    assert shown.state.view.window is None


def test_middle_drag_pans_and_right_drag_zooms_whatever_the_tool(shown: Reader) -> None:
    held = shown.window.viewport.placement().image_point(shown.window.viewport.rect().center().toPointF())
    shown.drag(MIDDLE, (200, 200), (230, 260))
    placed = shown.window.viewport.placement()
    moved = placed.image_point(shown.window.viewport.rect().center().toPointF())
    assert moved[0] == pytest.approx(held[0] - 30 / placed.zoom)
    assert moved[1] == pytest.approx(held[1] - 60 / placed.zoom)
    shown.drag(RIGHT, (200, 200), (200, 100))
    assert shown.window.viewport.placement().zoom > placed.zoom


@pytest.mark.parametrize(("key", "tool"), [(Qt.Key.Key_T, "pan"), (Qt.Key.Key_Z, "zoom"), (Qt.Key.Key_W, "window")])
def test_the_left_button_has_the_tool_of_the_key(shown: Reader, key: Qt.Key, tool: str) -> None:
    shown.key(key)
    assert shown.state.tool == tool
    shown.drag(LEFT, (200, 200), (200, 260))
    view = shown.state.view
    assert (view.window is not None, view.zoom is not None) == (tool == "window", tool != "window")


def test_double_click_fits(shown: Reader) -> None:
    shown.window.app.run_command("view.place", (3.0, (1.0, 1.0)))
    QTest.mouseDClick(shown.window.viewport, LEFT)
    assert (shown.state.view.zoom, shown.state.view.center) == (None, None)


def test_right_click_asks_for_the_menu_and_a_right_drag_does_not(shown: Reader, qtbot: Any) -> None:
    viewport = shown.window.viewport
    viewport.menu_requested.disconnect()
    with qtbot.waitSignal(viewport.menu_requested, timeout=1000):
        shown.drag(RIGHT, (200, 200))
    with qtbot.assertNotEmitted(viewport.menu_requested):
        shown.drag(RIGHT, (200, 200), (200, 260))


def test_the_wheel_scrolls_the_stack_and_zooms_with_control(reader: Reader, tmp_path: Path) -> None:
    reader.open(*write_slices(tmp_path, 8))
    start = reader.state.selection.index
    reader.wheel(-2, (100, 100))
    reader.settle()
    assert reader.state.selection.index == start + 2
    reader.wheel(1, (100, 100))
    reader.settle()
    assert reader.state.selection.index == start + 1
    before = reader.window.viewport.placement()
    reader.wheel(2, (100, 100), CTRL)
    after = reader.window.viewport.placement()
    assert after.zoom > before.zoom
    assert reader.state.selection.index == start + 1


def test_scrolling_shows_the_pixels_of_the_slice_it_names(reader: Reader, tmp_path: Path) -> None:
    reader.open(*write_slices(tmp_path, 6))
    reader.window.app.run_command("view.window", Window(-21, 6, "LINEAR_EXACT"))
    levels = []
    for _ in range(6):
        picture = pixels(reader.window.viewport)
        rows, columns = picture.shape[:2]
        levels.append(int(picture[rows // 3, columns // 3, 0]))
        frame = reader.state.frame
        assert levels[-1] == to_display(frame, reader.state.view.window)[0, 0]
        reader.key(Qt.Key.Key_Down)
        reader.settle()
    assert levels == sorted(levels)
    assert len(set(levels)) == 6


def test_digits_are_presets(reader: Reader, tmp_path: Path) -> None:
    reader.open(*write_slices(tmp_path, 2))
    reader.key(Qt.Key.Key_7)
    assert reader.state.view.window == CT_PRESETS[7]
    reader.key(Qt.Key.Key_0)
    assert reader.state.view.window is None


def test_the_probe_gives_the_value_in_the_file(reader: Reader, tmp_path: Path) -> None:
    import pydicom

    path = write_slices(tmp_path, 1)[0]
    reader.open(path)
    dataset = pydicom.dcmread(path)
    stored = int(dataset.pixel_array[5, 9])
    text = probe_text(reader.state.frame, 9.7, 5.2)
    assert text == f"(9, 5)  {stored} = {stored + int(dataset.RescaleIntercept)} HU"
    assert probe_text(reader.state.frame, -0.1, 5) == ""
    assert probe_text(reader.state.frame, 64, 5) == ""
    rows = reader.state.frame.stored.shape[0]
    cut = replace(reader.state.frame, missing_rows=rows - 5)
    assert probe_text(cut, 9.7, 5.2) == "(9, 5)  not in the file"
    assert probe_text(cut, 9.7, 4.9).endswith(" HU")
    viewport = reader.window.viewport
    assert "grey" in viewport._probe_text(cut, 9.7, 4.9)
    assert viewport._probe_text(cut, 9.7, 5.2) == "(9, 5)  not in the file", "it is shown, but nothing was there"
    other = replace(reader.state.frame, stored=reader.state.frame.stored + 1)
    assert "grey" not in viewport._probe_text(other, 9.7, 5.2), "the picture is of another frame"


def test_a_pet_is_read_in_suv_where_its_file_allows_that(reader: Reader, tmp_path: Path) -> None:
    """5000 Bq/ml everywhere: 5000 x 80 kg / (400 MBq x 2^(-1 h / 6000 s)) is 1.516."""
    write_pet(tmp_path, lambda points: np.full(points.shape[:-1], 5000.0), slices=4)
    reader.open(tmp_path)
    state = reader.state
    assert probe_text(state.frame, 3, 3) == "(3, 3)  2500 = 5000 Bq/ml = 1.52 SUVbw"
    shown = Shown(1.0, True, Window(5000, 10000), 0)
    assert corners(state, shown).bottom_left[1:3] == ("W 10000  L 5000", "SUVbw 0 – 3.03")
    s_shape = replace(shown, window=Window(5000, 10000, "SIGMOID"))
    assert "SUV" not in "".join(corners(state, s_shape).bottom_left)
    of_a_state = replace(state, view=replace(state.view, presentation="1.2.3"))
    assert "SUV" not in "".join(corners(of_a_state, shown).bottom_left)
    without = replace(state.frame.description, suv_factor=None)
    assert probe_text(replace(state.frame, description=without), 3, 3) == "(3, 3)  2500 = 5000 Bq/ml"
    reader.window.app.run_command("layout.planes")
    reader.settle()
    assert reader.state.cut is not None
    assert corners(reader.state, shown).bottom_left[2] == "SUVbw 0 – 3.03"


def test_the_value_under_the_cursor_is_shown(reader: Reader, tmp_path: Path) -> None:
    reader.open(write_radiograph(tmp_path / "a.dcm"))
    viewport = reader.window.viewport
    point = viewport.rect().center()
    before = pixels(viewport)
    QTest.mouseMove(viewport, point)
    assert (pixels(viewport) != before).any()


def test_the_corners_say_who_what_and_how(reader: Reader, tmp_path: Path) -> None:
    reader.open(*write_slices(tmp_path, 3))
    said = corners(reader.state, Shown(1.5, False, Window(40, 80, name="Brain"), 0, "(1, 2)  3"))
    whole = "\n".join((*said.top_left, *said.top_right, *said.bottom_left, *said.bottom_right))
    for expected in (
        "Gamma, Carl",
        "ID",
        "C1",
        "1950-01-01",
        "male",
        "W 80  L 40",
        "Zoom 1.50",
        "/ 3",
        "64 × 64",
        "CT",
        "(1, 2)  3",
    ):
        assert expected in whole
    reader.window.app.run_command("view.hide_identity")
    hidden = corners(reader.state, None)
    assert "Gamma" not in repr(hidden)
    assert "C1" not in repr(hidden)
    reader.window.app.run_command("view.corner_text")
    reader.window.app.run_command("view.corner_text")
    assert corners(reader.state, None) == type(said)()


def test_the_strip_says_what_limits_the_picture(reader: Reader) -> None:
    reader.open(samples.package_file("RG1_UNCR.dcm"))
    said = dict(fidelity(reader.state, Shown(0.4, True, None, 1)))
    assert said["no measuring: the file gives a pixel spacing of 0"] is True
    assert said["lossless"] is False
    assert said["drawn at 1/2 of full resolution"] is False


@pytest.mark.parametrize(
    ("is_lossy", "ratio", "words"),
    [
        (False, None, ("lossless", False)),
        (None, None, ("may be lossy", True)),
        (None, 10.0, ("may be lossy", True)),
        (True, None, ("lossy", True)),
        (True, 10.0, ("lossy 10:1", True)),
    ],
)
def test_what_may_be_lossy_is_not_called_lossless(
    is_lossy: bool | None, ratio: float | None, words: tuple[str, bool]
) -> None:
    assert _loss(PixelDescription("MR", 1, 1, is_lossy=is_lossy, lossy_ratio=ratio)) == words


def test_guessed_order_is_a_caution(reader: Reader, tmp_path: Path) -> None:
    paths = write_slices(tmp_path, 3)
    reader.open(*paths)
    assert ("order: position", False) in fidelity(reader.state, None)
    for path in paths:
        import pydicom

        dataset = pydicom.dcmread(path)
        del dataset.ImagePositionPatient
        dataset.save_as(path)
    reader.open(*paths)
    assert ("order: instance number", True) in fidelity(reader.state, None)


def test_an_image_that_cannot_be_read_says_so_and_shows_nothing_of_the_one_before(
    reader: Reader, tmp_path: Path
) -> None:
    a = write_radiograph(tmp_path / "a.dcm")
    b = write_radiograph(tmp_path / "b.dcm", patient_id="B2", name="Beta^Ben")
    reader.open(a, b)
    first = reader.state.selection.patient.name
    other = "Beta^Ben" if first == "Alpha^Anna" else "Alpha^Anna"
    (b if other == "Beta^Ben" else a).unlink()
    reader.select(other)
    assert reader.state.frame is None
    while_reading = pixels(reader.window.viewport)
    reader.wait(lambda: bool(reader.state.frame_problem))
    rows, columns = while_reading.shape[:2]
    assert not while_reading[rows // 4, columns // 4 : columns // 3].any()
    reader.select(first)
    assert reader.state.frame is not None
    reader.settle()


def test_a_hospital_is_hidden_with_the_identity(reader: Reader, tmp_path: Path) -> None:
    reader.open(*write_slices(tmp_path, 1))
    now = reader.state.selection
    study = replace(now.study, institution="St. Elsewhere")
    shown = replace(reader.state, selection=replace(now, study=study))
    assert "St. Elsewhere" in repr(corners(shown, None))
    assert "St. Elsewhere" not in repr(corners(replace(shown, identity_hidden=True), None))


def test_an_age_is_shown_with_the_other_one_that_the_file_states(reader: Reader, tmp_path: Path) -> None:
    """The study list and the corner of the image say the same."""
    from medviewer.gui.study_rows import age_words

    reader.open(*write_slices(tmp_path, 1))
    now = reader.state.selection
    study = replace(now.study, patient_age="052Y", date="20061219")
    shown = replace(reader.state, selection=replace(now, study=study))
    assert age_words(now.patient, study) == "56 years (file: 52 years)"
    assert "56 years (file: 52 years)" in repr(corners(shown, None))


def test_letters_are_legible_on_white(qapp: Any) -> None:
    """A white letter on white bone stands in a dark rim, two pixels wide on every side."""
    image = QImage(60, 60, QImage.Format.Format_RGB32)
    image.fill(Qt.GlobalColor.white)
    painter = QPainter(image)
    paint_letters(painter, QRectF(0, 0, 60, 60), Letters("R", "", "", ""))
    painter.end()
    grey = np.frombuffer(image.constBits(), np.uint8).reshape(60, 60, 4)[:, :, 0]
    assert (grey < 90).sum() > 60  # with a rim of one pixel in four directions there are ten at most


def test_a_failure_while_painting_leaves_no_painter_open(
    shown: Reader, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Qt ends the process with the next paint of a widget whose painter was left open."""
    painters: list[QPainter] = []

    def fail(painter: QPainter, *_: object) -> None:
        painters.append(painter)
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr("medviewer.gui.viewport.fidelity_strip.paint_strip", fail)
    with qtbot.capture_exceptions(), contextlib.suppress(RuntimeError):  # told here or there by the binding's age
        shown.window.viewport.grab()
    monkeypatch.undo()
    assert painters
    assert not any(painter.isActive() for painter in painters)


def ink_of(texts: Corners, *, width: int = 240) -> list[int]:
    """The last column with ink in the first, second and third line of the upper edge."""
    image = QImage(width, 200, QImage.Format.Format_RGB32)
    image.fill(0)
    painter = QPainter(image)
    CornerPainter().paint(painter, QRectF(0, 0, width, 200), texts)
    painter.end()
    seen = np.frombuffer(image.constBits(), np.uint8).reshape(200, width, 4)[..., :3].max(axis=2) > 128
    top, step = MARGIN - 4, theme.TEXT_PX * 1.35
    lines = (seen[round(top + number * step) : round(top + (number + 1) * step)] for number in range(3))
    return [int(np.flatnonzero(line.any(axis=0))[-1]) for line in lines]


def test_a_line_is_cut_only_where_another_or_a_letter_is_beside_it(qapp: Any) -> None:
    """The number of a patient is read whole in a small viewport, and nothing is written over anything."""
    long = "ID 1234567890-1234567890"
    first, second, _ = ink_of(Corners(top_left=(long, long, "x")))
    assert first < 120 - 8  # the letter
    assert second > 120 + 8
    assert ink_of(Corners(top_left=("x", long, "x"), top_right=(" ", " ")))[1] < 120


@pytest.mark.parametrize("height", range(240, 1400, 58))
def test_the_colour_bar_never_covers_the_letter_of_the_right_side(height: int) -> None:
    area = QRectF(0, 0, 900, height)
    letter = QRectF(area.right() - MARGIN - 16, area.center().y() - 12, 16, 24)
    bar = color_bar_rect(area)
    name = QRectF(bar.right() - 240, bar.top() - 42, 240, 34)  # of the method, and its verdict, above the bar
    assert not bar.intersects(letter)
    assert not name.intersects(letter)
    assert area.contains(bar)


@pytest.mark.parametrize(
    ("percentiles", "said"),
    [(None, None), ((98.0, 40.0), ("not clearly better than chance", False)), ((98, 97), ("better than chance", True))],
)
def test_the_image_says_how_far_its_heat_map_can_be_believed(
    shown: Reader, percentiles: tuple[float, float] | None, said: tuple[str, bool] | None
) -> None:
    """In the colour of the verdict, under the method's name; nothing until it is known."""
    app = shown.window.app
    app.run_command("model.run")
    shown.settle()
    ((subject, attribution),) = shown.state.attributions.items()
    found = None if percentiles is None else Faithfulness(*percentiles, 50, "")
    judged = replace(attribution, faithfulness=found)
    assert verdict(judged) == said
    app.session.update(attributions=MappingProxyType({subject: judged}))
    picture = pixels(shown.window.viewport)
    bar = color_bar_rect(QRectF(shown.window.viewport.rect()).adjusted(0, 0, 0, -STRIP_PX))
    line = picture[int(bar.top()) - 26 : int(bar.top()) - 8, int(bar.right()) - 240 : int(bar.right())]
    inks = [theme.color(getattr(theme.tokens(), name)).getRgb()[:3] for name in ("caution", "good")]
    seen = [bool((line[..., :3] == np.array(ink)).all(axis=-1).any()) for ink in inks]
    assert seen == [said is not None and not said[1], said is not None and said[1]]


def test_what_is_said_of_a_heat_map_never_covers_the_letter_of_the_left_side(qapp: Any) -> None:
    """In the narrowest viewport, whatever the bar's place."""
    maps = HeatMaps(attribution(deletion=40.0))
    for height in (200, 280, 400):
        image = QImage(240, height, QImage.Format.Format_RGB32)
        image.fill(Qt.GlobalColor.black)
        painter = QPainter(image)
        paint_color_bar(painter, QRectF(image.rect()), State(), maps)
        painter.end()
        seen = np.frombuffer(image.constBits(), np.uint8).reshape(height, 240, 4)[..., :3]
        assert seen.max() > 128
        assert seen[:, : MARGIN + 16].max() == 0, "a letter is 16 wide"


def test_what_the_file_draws_is_drawn_over_it_and_hides_with_a_key(shown: Reader) -> None:
    mask = np.zeros((96, 80), bool)
    mask[10:20, 30:60] = True
    app = shown.window.app
    app.session.update(frame=replace(shown.state.frame, overlays=(OverlayPlane(mask[8:], row=8),)))
    app.run_command("view.fit")
    placed = shown.window.viewport.placement()
    assert placed is not None

    def ink(row: float, column: float) -> int:
        point = placed.transform.map(QPointF(column, row)).toPoint()
        return int(pixels(shown.window.viewport)[point.y(), point.x()].min())

    hidden = (ink(50, 40), ink(15, 20))
    assert ink(15, 45) > 220
    shown.key(Qt.Key.Key_G)
    assert not shown.state.drawings_shown
    assert (ink(50, 40), ink(15, 20)) == hidden
    assert ink(15, 45) <= 220 or shown.state.frame.stored[15, 45] > 3500


def test_drawings_that_may_spell_a_name_are_hidden_with_the_identity(shown: Reader) -> None:
    """Regions stay; pictures without identity, and so films and pages, are drawn without the others too."""
    app, viewport = shown.window.app, shown.window.viewport
    rows, columns = np.mgrid[:96, :80]
    words, region = (rows > 10) & (rows < 20) & (columns > 30), (rows > 60) & (rows < 70) & (columns > 30)
    planes = (OverlayPlane(words), OverlayPlane(region, is_region=True, group=0x20000))
    app.session.update(frame=replace(shown.state.frame, overlays=planes))
    app.run_command("view.window", Window(60000, 1))  # all black
    app.run_command("view.fit")
    placed = viewport.placement()
    assert placed is not None
    points = [placed.transform.map(QPointF(45, row)).toPoint() for row in (15.0, 65.0)]

    def seen(image: QImage) -> list[bool]:
        ratio = image.devicePixelRatioF()
        return [image.pixelColor(round(p.x() * ratio), round(p.y() * ratio)).lightness() > 60 for p in points]

    def said() -> dict[str, bool]:
        return dict(fidelity(shown.state, None))

    hidden = "some of the file's drawings are hidden with the identity"
    assert seen(viewport.grab().toImage()) == [True, True]
    assert hidden not in said()
    for is_wanted in (True, False):
        drawn = shown.window.draw_image("view", with_identity=is_wanted)
        assert drawn is not None
        assert seen(drawn.image) == [is_wanted, True]
    app.run_command("view.hide_identity")
    assert seen(viewport.grab().toImage()) == [False, True]
    assert said()[hidden] is True
    assert "with the file's drawings" in said(), "the region"
    app.session.update(frame=replace(shown.state.frame, overlays=planes[:1]))
    assert said()["the file's drawings are hidden with the identity"] is True
    assert hidden not in said()
    assert "with the file's drawings" not in said()


@pytest.fixture
def scrolling(reader: Reader, tmp_path: Path) -> Reader:
    """A stack of thirty slices with the tool that scrolls, its sixth on screen."""
    reader.open(*write_slices(tmp_path, 30))
    reader.window.app.run_command("image.show", 5)
    reader.settle()
    reader.window.app.run_command("tool.scroll")
    return reader


def test_a_drag_scrolls_as_far_as_the_mouse_goes_and_back(scrolling: Reader) -> None:
    moves = [(200, 200 + 12 * n) for n in range(1, 13)]
    scrolling.drag(LEFT, (200, 200), *moves)
    assert scrolling.state.selection.index == 17
    scrolling.settle()
    scrolling.drag(LEFT, (200, 300), (200, 240), (200, 290))
    assert scrolling.state.selection.index == 17, "five back and five on, or none"
    scrolling.drag(LEFT, (200, 200), (200, 600), (200, 588))
    assert scrolling.state.selection.index == 28, "the last one, and one step back"


def test_a_drag_moves_a_plane_by_its_own_steps_and_not_by_all_of_them_again(scrolling: Reader) -> None:
    scrolling.window.app.run_command("layout.planes")
    scrolling.settle()
    scrolling.wait(lambda: scrolling.state.frame is not None)
    before = scrolling.state.cut.at_mm
    step = scrolling.state.frame.description.pixel_spacing_mm[0]
    scrolling.window.app.run_command("tool.scroll")
    scrolling.drag(LEFT, (100, 60), (100, 72), (100, 84), (100, 96))
    assert abs(scrolling.state.cut.at_mm - before) == pytest.approx(3 * step)


def test_a_drag_of_the_window_goes_on_while_images_follow_each_other(scrolling: Reader) -> None:
    viewport = scrolling.window.viewport
    scrolling.window.app.run_command("tool.window")
    QTest.mousePress(viewport, LEFT, Qt.KeyboardModifier.NoModifier, QPoint(200, 200))
    QTest.mouseMove(viewport, QPoint(220, 200))
    first = viewport.window_shown()
    scrolling.window.app.run_command("image.next")
    scrolling.settle()
    QTest.mouseMove(viewport, QPoint(260, 200))
    second = viewport.window_shown()
    QTest.mouseRelease(viewport, LEFT, Qt.KeyboardModifier.NoModifier, QPoint(260, 200))
    assert first is not None
    assert second is not None
    assert second.width > first.width


def test_a_drag_ends_where_planes_take_the_place_of_the_images(scrolling: Reader) -> None:
    viewport = scrolling.window.viewport
    scrolling.window.app.run_command("tool.window")
    QTest.mousePress(viewport, LEFT, Qt.KeyboardModifier.NoModifier, QPoint(100, 60))
    QTest.mouseMove(viewport, QPoint(120, 60))
    scrolling.window.app.run_command("layout.planes")
    scrolling.settle()
    scrolling.wait(lambda: scrolling.state.frame is not None and scrolling.state.cut is not None)
    before = scrolling.state.view
    QTest.mouseMove(viewport, QPoint(160, 60))
    QTest.mouseRelease(viewport, LEFT, Qt.KeyboardModifier.NoModifier, QPoint(160, 60))
    assert scrolling.state.view == before


def test_a_drag_ends_where_another_stack_is_shown(scrolling: Reader, tmp_path: Path) -> None:
    viewport = scrolling.window.viewport
    scrolling.window.app.run_command("tool.window")
    QTest.mousePress(viewport, LEFT, Qt.KeyboardModifier.NoModifier, QPoint(200, 200))
    QTest.mouseMove(viewport, QPoint(220, 200))
    scrolling.open(write_radiograph(tmp_path / "other.dcm"))
    before = scrolling.state.view
    QTest.mouseMove(viewport, QPoint(260, 200))
    QTest.mouseRelease(viewport, LEFT, Qt.KeyboardModifier.NoModifier, QPoint(260, 200))
    assert scrolling.state.view == before
