"""What a presentation state lays over the image lies where it belongs, at any zoom, turn and flip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPointF, QSizeF, Qt
from PySide6.QtGui import QImage, QPainter

from medviewer.app.state import View
from medviewer.domain.presentation import Appearance, DisplayedArea, Graphic, PresentationState
from medviewer.domain.study import Window
from medviewer.gui.corner_text import fidelity
from medviewer.gui.placing import Placement
from medviewer.gui.presentation_layer import AnnotationPainter, graphic_path
from medviewer.gui.shutter_layer import ShutterLayer
from medviewer.imaging.presentation_reading import read_presentation_state
from tests.dicom_maker import make_dataset, write_dataset
from tests.gui.reader import Reader, pixels
from tests.presentations import annotation, graphic, item, text, window, write_state

SHUTTERS: dict[str, dict[str, Any]] = {
    "rectangle": {
        "ShutterShape": "RECTANGULAR", "ShutterLeftVerticalEdge": 10, "ShutterRightVerticalEdge": 50,
        "ShutterUpperHorizontalEdge": 5, "ShutterLowerHorizontalEdge": 33,
    },
    "circle": {"ShutterShape": "CIRCULAR", "CenterOfCircularShutter": [20, 30], "RadiusOfCircularShutter": 15},
    "polygon": {"ShutterShape": "POLYGONAL", "VerticesOfThePolygonalShutter": [3, 5, 3, 50, 35, 40, 30, 10]},
    "all": {
        "ShutterShape": ["RECTANGULAR", "CIRCULAR"], "ShutterLeftVerticalEdge": 10, "ShutterRightVerticalEdge": 35,
        "ShutterUpperHorizontalEdge": 5, "ShutterLowerHorizontalEdge": 33, "CenterOfCircularShutter": [20, 30],
        "RadiusOfCircularShutter": 15,
    },
}  # fmt: skip


def inside(kind: str) -> np.ndarray:
    """Which pixels are seen by PS3.3 C.7.6.11: row and column counted from 1, a pixel by its centre."""
    row, column = np.mgrid[1:41, 1:61]
    rectangle = (column >= 10) & (column <= (35 if kind == "all" else 50)) & (row >= 5) & (row <= 33)
    circle = (row - 20) ** 2 + (column - 30) ** 2 < 15**2
    corners = np.array([(3, 5), (3, 50), (35, 40), (30, 10)])
    sides = [
        (c - a[1]) * (b[0] - a[0]) - (r - a[0]) * (b[1] - a[1])
        for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True)
        for r, c in [(row, column)]
    ]
    polygon = np.all(np.array(sides) < 0, axis=0) | np.all(np.array(sides) > 0, axis=0)
    return {"rectangle": rectangle, "circle": circle, "polygon": polygon, "all": rectangle & circle}[kind]


@pytest.mark.parametrize("kind", SHUTTERS)
def test_shutters_cover_every_pixel_outside_and_none_inside(kind: str, tmp_path: Path, qapp: Any) -> None:
    source = make_dataset(np.zeros((40, 60), np.uint16), SOPInstanceUID="2.25.31")
    path = write_state(tmp_path / "state.dcm", source, ShutterPresentationValue=0, **SHUTTERS[kind])
    appearance = read_presentation_state(path).for_image("2.25.31", 0)
    assert appearance is not None
    assert appearance.shutters is not None
    picture = QImage(60, 40, QImage.Format.Format_Grayscale8)
    picture.fill(255)
    painter = QPainter(picture)
    ShutterLayer().cover(painter, Placement(QSizeF(60, 40), 1.0, 60, 40, 1.0, View()), appearance.shutters)
    painter.end()
    ours = np.frombuffer(picture.constBits(), np.uint8).reshape(40, picture.bytesPerLine())[:, :60]
    seen = inside(kind)
    assert 0.1 < seen.mean() < 0.9
    # On a slanted or round edge a pixel is covered in part: it lies beside one of the other kind.
    near = [np.roll(seen, step, axis) for step in (-1, 1) for axis in (0, 1)]
    is_edge = np.zeros_like(seen) if kind == "rectangle" else np.any([one != seen for one in near], axis=0)
    np.testing.assert_array_equal((ours == 255)[~is_edge], seen[~is_edge])
    np.testing.assert_array_equal((ours < 128)[~is_edge], ~seen[~is_edge])


def placed(view: View, part: DisplayedArea | None = None) -> Placement:
    return Placement(QSizeF(600, 400), 1.0, 30, 20, 1.0, view, part)


def painter_of(view: View, part: DisplayedArea | None = None) -> AnnotationPainter:
    state = PresentationState(
        "1", "2", "3", "", "", {}, quarter_turns=view.quarter_turns, flip_horizontal=view.flip_horizontal
    )
    return AnnotationPainter(placed(view, part), state, Appearance(area=part))


def test_pixels_are_places_of_the_image() -> None:
    (point,) = painter_of(View()).points([(15, 10)], "PIXEL")
    assert (point.x(), point.y()) == (300, 200)
    (corner,) = painter_of(View()).points([(0, 0)], "PIXEL")
    assert (corner.x(), corner.y()) == (0, 0)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("flips", [False, True])
def test_shares_are_of_the_displayed_area_as_it_is_seen(turns: int, flips: bool) -> None:
    part = DisplayedArea(4, 2, 24, 12)
    view = View(quarter_turns=turns, flip_horizontal=flips)
    first, last = painter_of(view, part).points([(0, 0), (1, 1)], "DISPLAY")
    wide, high = (600, 300) if turns % 2 == 0 else (200, 400)
    middle = QPointF(300, 200)
    assert (first - middle).x() == pytest.approx(-wide / 2)
    assert (first - middle).y() == pytest.approx(-high / 2)
    assert (last - middle).x() == pytest.approx(wide / 2)
    assert (last - middle).y() == pytest.approx(high / 2)


def test_the_displayed_area_fits_until_the_reader_zooms() -> None:
    part = DisplayedArea(4, 2, 24, 12)
    assert (placed(View(), part).zoom, placed(View(), part).center) == (30, (14, 7))
    assert placed(View(zoom=3.0, center=(1.0, 2.0)), part).zoom == 3
    assert placed(View(zoom=3.0, center=(1.0, 2.0)), part).center == (1, 2)
    fixed = DisplayedArea(4, 2, 24, 12, magnification=2.5)
    assert placed(View(), fixed).zoom == 2.5


def points(*pairs: tuple[float, float]) -> list[QPointF]:
    return [QPointF(*pair) for pair in pairs]


def test_shapes_go_through_their_points() -> None:
    circle = graphic_path(Graphic("CIRCLE", ()), points((50, 50), (80, 50))).boundingRect()
    assert circle.getRect() == pytest.approx((20, 20, 60, 60))
    ellipse = graphic_path(Graphic("ELLIPSE", ()), points((20, 50), (80, 50), (50, 40), (50, 60))).boundingRect()
    assert ellipse.getRect() == pytest.approx((20, 40, 60, 20))
    leaning = graphic_path(Graphic("ELLIPSE", ()), points((10, 10), (50, 50), (25, 35), (35, 25)))
    assert leaning.contains(QPointF(45, 45))
    assert not leaning.contains(QPointF(45, 15))
    curve = graphic_path(Graphic("INTERPOLATED", ()), points((0, 0), (10, 10), (20, 0), (30, 10)))
    ends = [(curve.elementAt(i).x, curve.elementAt(i).y) for i in range(0, curve.elementCount(), 3)]
    assert ends == [(0, 0), (10, 10), (20, 0), (30, 10)]


@pytest.fixture
def shown(main_window: Any, qtbot: Any, tmp_path: Path) -> Reader:
    """A dark image with a state that covers its rim, draws a filled white circle and writes two words."""
    image = make_dataset(np.full((100, 150), 100, np.uint16), SOPInstanceUID="2.25.31")
    write_dataset(tmp_path / "image.dcm", image)
    write_state(
        tmp_path / "state.dcm", image, SOPInstanceUID="2.25.91", ContentLabel="MARKED",
        SoftcopyVOILUTSequence=[window(200, 400)], ShutterShape="RECTANGULAR", ShutterLeftVerticalEdge=11,
        ShutterRightVerticalEdge=140, ShutterUpperHorizontalEdge=11, ShutterLowerHorizontalEdge=90,
        ShutterPresentationValue=65535, GraphicLayerSequence=[
            item(GraphicLayer="ONE", GraphicLayerOrder=1, GraphicLayerRecommendedDisplayGrayscaleValue=65535)
        ],
        GraphicAnnotationSequence=[annotation(
            [graphic("CIRCLE", [50, 50, 60, 50], filled="Y")],
            [text("<b>A</b>\r\nB", BoundingBoxAnnotationUnits="PIXEL", BoundingBoxTopLeftHandCorner=[90, 40],
                  BoundingBoxBottomRightHandCorner=[120, 60], BoundingBoxTextHorizontalJustification="LEFT",
                  AnchorPoint=[75, 80], AnchorPointAnnotationUnits="PIXEL", AnchorPointVisibility="Y")],
        )],
        CompoundGraphicSequence=[item(CompoundGraphicInstanceID=1)],
    )  # fmt: skip
    reader = Reader(main_window, qtbot)
    main_window.app.run_command("file.open_folder", tmp_path)
    reader.settle()
    return reader


def strip(reader: Reader) -> dict[str, bool]:
    return dict(fidelity(reader.state, None))


def grey_at(reader: Reader, column: float, row: float) -> int:
    placement = reader.window.viewport.placement()
    assert placement is not None
    at = placement.transform.map(QPointF(column, row))
    return int(pixels(reader.window.viewport)[int(at.y()), int(at.x())].mean())


def test_the_strip_says_whose_wish_the_picture_follows(shown: Reader) -> None:
    assert "presentation states: 1" in strip(shown)
    shown.window.app.run_command("view.next_presentation")
    said = strip(shown)
    assert said["shown as in presentation state MARKED"] is False
    assert said["not shown: compound graphics"] is True
    assert "presentation states: 1" not in said


def test_shutters_and_graphics_are_drawn_and_go_again(shown: Reader) -> None:
    assert grey_at(shown, 5, 50) < 200
    shown.window.app.run_command("view.next_presentation")
    assert grey_at(shown, 5, 50) == 255  # the shutter
    assert grey_at(shown, 50, 50) == 255  # the circle
    assert grey_at(shown, 50, 70) < 200
    shown.window.app.run_command("view.flip_horizontal")  # the reader's own: all moves with the image
    assert grey_at(shown, 50, 50) == 255
    shown.window.app.run_command("view.drawings")
    assert grey_at(shown, 50, 50) < 200
    assert grey_at(shown, 5, 50) == 255
    shown.window.app.run_command("view.reset")
    assert grey_at(shown, 5, 50) < 200


def test_markup_in_words_is_text(shown: Reader) -> None:
    """ "<b>A</b>" is wide where an A alone would not be; the B stands in a line of its own."""
    shown.window.app.run_command("view.next_presentation")
    placement = shown.window.viewport.placement()
    assert placement is not None
    corner = placement.transform.map(QPointF(90, 40))
    x, y = int(corner.x()), int(corner.y())
    lit = pixels(shown.window.viewport)[y : y + 40, x : x + 120].mean(axis=2) > 200
    rows = np.nonzero(lit.any(axis=1))[0]
    gap = int(np.argmax(np.diff(rows)))
    assert rows[gap + 1] - rows[gap] > 2
    first, second = lit[: rows[gap] + 1], lit[rows[gap] + 1 :]
    assert np.nonzero(first.any(axis=0))[0].max() > 35
    assert np.nonzero(second.any(axis=0))[0].max() < 20


def test_words_that_may_name_the_patient_go_with_the_identity(shown: Reader) -> None:
    app = shown.window.app
    app.run_command("view.next_presentation")
    placement = shown.window.viewport.placement()
    assert placement is not None
    corner = placement.transform.map(QPointF(90, 40))
    x, y = int(corner.x()), int(corner.y())

    def is_written() -> bool:
        return bool((pixels(shown.window.viewport)[y : y + 40, x : x + 120].mean(axis=2) > 200).any())

    assert is_written()
    app.run_command("view.hide_identity")
    assert not is_written()
    assert grey_at(shown, 50, 50) == 255  # the shapes stay
    assert "its words are hidden with the identity" in strip(shown)
    app.run_command("view.hide_identity")
    left = shown.window.draw_image("view", with_identity=False)
    assert left is not None
    seen = [left.image.pixelColor(x + i, y + j).lightness() for i in range(100) for j in range(36)]
    assert max(seen) < 200


def test_a_drag_up_is_brighter_also_where_a_state_inverts(main_window: Any, qtbot: Any, tmp_path: Path) -> None:
    image = make_dataset(SOPInstanceUID="2.25.31", RescaleSlope="1", RescaleIntercept="0")
    write_dataset(tmp_path / "1.dcm", image)
    window_of_it = [window(32, 64)]
    write_state(tmp_path / "state.dcm", image, PresentationLUTShape="INVERSE", SoftcopyVOILUTSequence=window_of_it)
    reader = Reader(main_window, qtbot)
    main_window.app.run_command("file.open_folder", tmp_path)
    reader.settle()
    main_window.app.session.update(corner_text="none")
    for command in ("view.next_presentation", "view.invert"):
        main_window.app.run_command(command)
        before = pixels(main_window.viewport).mean()
        reader.drag(Qt.MouseButton.LeftButton, (200, 200), (200, 120))
        assert pixels(main_window.viewport).mean() > before


def test_other_values_and_other_images_are_said(main_window: Any, qtbot: Any, tmp_path: Path) -> None:
    images = [
        make_dataset(SOPInstanceUID=f"2.25.3{n}", InstanceNumber=n, RescaleSlope="2", RescaleIntercept="0")
        for n in (1, 2)
    ]
    for number, image in enumerate(images):
        write_dataset(tmp_path / f"{number}.dcm", image)
    write_state(tmp_path / "state.dcm", images[0], RescaleSlope="3", RescaleIntercept="0", RescaleType="US")
    reader = Reader(main_window, qtbot)
    main_window.app.run_command("file.open_folder", tmp_path)
    reader.settle()
    main_window.app.run_command("image.first")
    main_window.app.run_command("view.next_presentation")
    assert strip(reader)["values and measurements are the image's own, not the presentation state's"] is True
    main_window.app.run_command("image.next")
    assert strip(reader)["the presentation state is not for this image"] is True


@pytest.mark.reliability
@pytest.mark.parametrize(("center", "is_used"), [(30, True), (9000, False)])
def test_a_window_of_the_state_that_is_not_used_is_said(
    center: float, is_used: bool, main_window: Any, qtbot: Any, tmp_path: Path
) -> None:
    image = make_dataset(SOPInstanceUID="2.25.31", Modality="CR")  # of 0 to 63
    write_dataset(tmp_path / "image.dcm", image)
    write_state(tmp_path / "state.dcm", image, SoftcopyVOILUTSequence=[window(center, 20)])
    reader = Reader(main_window, qtbot)
    main_window.app.run_command("file.open_folder", tmp_path)
    reader.settle()
    main_window.app.run_command("view.next_presentation")
    pixels(main_window.viewport)
    said = dict(main_window.viewport._said)
    assert "shown as in presentation state STATE" in said
    words = "its window lies outside of the image's values: one made of them is used"
    assert said.get(words, False) is not is_used
    main_window.app.run_command("view.window", Window(20.0, 30.0))  # the reader's own
    pixels(main_window.viewport)
    assert words not in dict(main_window.viewport._said)
