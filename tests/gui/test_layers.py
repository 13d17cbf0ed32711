"""Layers in the window: drawn where they lie under any turn, with numbers and unit, and chosen in their panel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid
from PySide6.QtCore import QLocale, QPoint, QPointF, Qt
from PySide6.QtGui import QImage
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLabel, QPushButton

from medviewer.app.filming import FilmWish
from medviewer.app.layer_planes import laid_on
from medviewer.app.layering import LayerChange, offers
from medviewer.app.linking import shown_grid
from medviewer.app.measuring import Drawn, Named
from medviewer.app.on_screen import layers_of, measured_image, measurements_of, pane_state, selections
from medviewer.domain.layer import Segment, StructureSet
from medviewer.gui import layer_painter, viewport_marks
from medviewer.gui.corner_text import corners, fidelity
from medviewer.gui.layer_painter import segment_color
from medviewer.gui.layer_words import quantity_words, short_number, unit_word
from medviewer.gui.layers_panel import LayersPanel
from medviewer.gui.measurement_layer import shapes_of
from medviewer.gui.viewport import Viewport
from medviewer.imaging import label_planes
from medviewer.imaging.planes import to_image
from tests.gui.reader import Reader, has_color
from tests.gui.seen import all_words
from tests.gui.test_film import frames
from tests.layer_objects import (
    ball,
    circle,
    voxels,
    write_ct,
    write_dose,
    write_pet,
    write_segmentation,
    write_structures,
)

HOT = np.array([30.0, -20.0, 10.0])


def hot_spot(points: np.ndarray) -> np.ndarray:
    return np.asarray(40000 * np.exp(-((points - HOT) ** 2).sum(axis=-1) / (2 * 7.0**2)))


@pytest.fixture
def reader(main_window: Any, qtbot: Any, tmp_path: Path) -> Reader:
    reader = Reader(main_window, qtbot)
    ct = write_ct(tmp_path / "a-ct")
    write_pet(tmp_path / "pt", hot_spot)
    write_dose(tmp_path / "z-dose.dcm", lambda points: 20 + 0.05 * points[..., 0])
    write_segmentation(tmp_path / "z-seg.dcm", ct, [ball(voxels(ct), HOT, 18), ball(voxels(ct), (-20, 10, 0), 26)])
    regions = {"PTV <b>bold</b>\u202e": [circle((0, 0, z), 20) for z in range(-20, 25, 5)]}
    write_structures(tmp_path / "z-structures.dcm", regions)
    reader.window.resize(1440, 900)
    reader.open(tmp_path)
    choose(reader, "CT")
    reader.window.app.run_command("image.show", 12)  # at z = 10
    reader.settle()
    reader.window._tabs.setCurrentWidget(reader.window.layers)
    return reader


@pytest.mark.parametrize("height", [900, 600, 430])
def test_the_bar_of_a_layer_never_lies_over_whose_image_it_is(
    reader: Reader, monkeypatch: pytest.MonkeyPatch, height: int
) -> None:
    """In the small viewports of other planes its title stood over the patient's name."""
    lay(reader, "PT")
    reader.window.resize(960, height)
    drawn: list[Any] = []
    monkeypatch.setattr(
        viewport_marks,
        "paint_layer_bar",
        lambda _painter, area, *_: drawn.append(viewport_marks.layer_bar_rect(area, with_words=True)),
    )
    for layout in ("layout.maximise", "layout.planes"):
        reader.window.app.run_command(layout)
        reader.settle()
        for viewport in reader.window.viewports.visible:
            drawn.clear()
            picture(viewport)
            taken = viewport_marks.taken_rects(viewport._image_area(), viewport._texts(None), viewport.letters())
            assert not any(bar.intersects(one) for bar in drawn for one in taken)
            assert bool(drawn) == (viewport.height() > 240)


def choose(reader: Reader, modality: str) -> None:
    found = next(one for one in selections(reader.state.collection) if one.series.modality == modality)
    reader.window.app.run_command("image.select", found)
    reader.settle()


def lay(reader: Reader, modality: str) -> Any:
    key = next(one.key for one in offers(reader.state) if one.modality == modality)
    reader.window.app.run_command("layer.lay", key)
    reader.settle()
    return key


def picture(viewport: Viewport) -> np.ndarray:
    """What is drawn, without what belongs to the mouse: (rows, columns, 3) signed."""
    image = viewport.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : image.width() * 3].reshape(image.height(), image.width(), 3).astype(int)


def on_screen(reader: Reader, viewport: Viewport, index: int, place: Sequence[float]) -> tuple[int, int]:
    """Where a place of the patient lies in a viewport."""
    grid, placed = shown_grid(pane_state(reader.state, index)), viewport.placement()
    assert grid is not None
    assert placed is not None
    column, row, _ = to_image(grid, np.array(place))
    at = placed.transform.map(QPointF(column, row))
    return round(at.x()), round(at.y())


def warmth(drawn: np.ndarray, at: tuple[int, int]) -> float:
    """How red it is around a place, which no grey image is."""
    x, y = at
    part = drawn[y - 2 : y + 3, x - 2 : x + 3]
    return float((part[..., 0] - part[..., 2]).mean())


TURNS: tuple[tuple[str, ...], ...] = (
    (), ("view.flip_horizontal",), ("view.flip_vertical", "view.rotate_right"), ("view.rotate_left",) * 2,
)  # fmt: skip


@pytest.mark.parametrize("turns", TURNS, ids=lambda turns: "+".join(turns) or "as it is")
def test_a_hot_spot_is_seen_over_its_anatomy_under_any_turn(reader: Reader, turns: tuple[str, ...]) -> None:
    lay(reader, "PT")
    for turn in turns:
        reader.window.app.run_command(turn)
    drawn = picture(reader.window.viewport)
    assert warmth(drawn, on_screen(reader, reader.window.viewport, 0, HOT)) > 40
    for mirrored in ((-30, -20, 10), (30, 20, 10), (-30, 20, 10)):
        assert warmth(drawn, on_screen(reader, reader.window.viewport, 0, mirrored)) == 0


def test_a_hot_spot_is_seen_over_its_anatomy_on_every_plane(reader: Reader) -> None:
    lay(reader, "PT")
    reader.window.app.run_command("layout.planes")
    reader.settle()
    reader.window.app.run_command("layout.point", tuple(float(value) for value in HOT + 3))
    reader.settle()
    for index, viewport in enumerate(reader.window.viewports.visible):
        drawn = picture(viewport)
        # Beside the crosshair, which has a colour of its own.
        assert warmth(drawn, on_screen(reader, viewport, index, HOT - 3)) > 40, index


def test_the_bar_of_the_images_own_palette_goes_to_the_other_edge(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides: list[bool] = []
    monkeypatch.setattr(viewport_marks, "paint_palette_bar", lambda *_args, is_left: sides.append(is_left))
    reader.window.app.run_command("view.palette", "HOT_METAL_BLUE")
    picture(reader.window.viewport)
    assert set(sides) == {True}
    lay(reader, "PT")
    sides.clear()
    picture(reader.window.viewport)
    assert set(sides) == {False}


def test_where_the_layer_does_not_reach_the_image_is_as_without_it(reader: Reader) -> None:
    reader.window.app.run_command("image.last")
    reader.settle()
    key = lay(reader, "RTDOSE")
    # No value is not 0 Gy either, which these colours would show.
    reader.window.app.run_command("layer.change", LayerChange(key, {"range": (-50.0, 50.0)}))
    reader.window.app.run_command("layer.toggle")
    before = picture(reader.window.viewport)
    reader.window.app.run_command("layer.toggle")
    after = picture(reader.window.viewport)
    x, y = on_screen(reader, reader.window.viewport, 0, (0, 68, 45))  # the dose ends at y = 65
    assert np.array_equal(before[y, x - 20 : x + 20], after[y, x - 20 : x + 20])
    x, y = on_screen(reader, reader.window.viewport, 0, (0, 60, 45))
    assert not np.array_equal(before[y, x - 20 : x + 20], after[y, x - 20 : x + 20])


def test_the_probe_says_what_image_and_layers_hold(reader: Reader) -> None:
    lay(reader, "PT")
    lay(reader, "SEG")
    viewport = reader.window.viewport
    QTest.mouseMove(viewport, QPoint(*on_screen(reader, viewport, 0, HOT)))
    placed, laid = viewport.placement(), laid_on(reader.state)
    assert placed is not None
    shown = viewport._shown(placed, 0, laid)
    said = corners(reader.state, shown).bottom_left
    values = laid[0].plane.values  # type: ignore[union-attr]
    column, row, _ = to_image(shown_grid(reader.state), HOT)  # type: ignore[arg-type]
    expected = values[int(row), int(column)]
    assert f"PT {expected:.4g} SUVbw" in said
    assert "Segment 1" in said
    assert any("= 40 HU" in line for line in said)


def test_the_probe_beyond_the_layer_says_so_and_no_number(reader: Reader) -> None:
    lay(reader, "RTDOSE")
    viewport = reader.window.viewport
    QTest.mouseMove(viewport, QPoint(*on_screen(reader, viewport, 0, (0, 70, 10))))
    placed = viewport.placement()
    assert placed is not None
    assert viewport._shown(placed, 0, laid_on(reader.state)).layer_probe == ("RTDOSE outside",)


def test_the_strip_says_what_lies_over_what(reader: Reader) -> None:
    lay(reader, "PT")
    lay(reader, "SEG")
    viewport = reader.window.viewport
    placed = viewport.placement()
    assert placed is not None
    said = [words for words, _ in fidelity(reader.state, viewport._shown(placed, 0, laid_on(reader.state)))]
    assert "PT over CT, SUVbw, interpolated" in said
    assert "SEG over CT" in said
    assert "lengths: patient plane" in said


def test_one_key_hides_and_shows_layers(reader: Reader) -> None:
    lay(reader, "PT")
    assert has_color(reader.window.viewport)
    reader.key(Qt.Key.Key_O)
    assert not has_color(reader.window.viewport)
    reader.key(Qt.Key.Key_O)
    assert has_color(reader.window.viewport)
    reader.key(Qt.Key.Key_O, Qt.KeyboardModifier.ShiftModifier)
    reader.settle()
    (layer,) = layers_of(reader.state)
    assert reader.state.layer_sources[layer.source].modality == "RTDOSE"


def card(reader: Reader, key: Any) -> Any:
    return reader.window.layers._cards[key]


def test_a_layer_is_chosen_and_changed_in_its_panel(reader: Reader, qtbot: Any) -> None:
    panel = reader.window.layers
    first = next(b for b in panel.findChildren(QPushButton) if b.accessibleName() == "Lay PT  PET over the image")
    QTest.mouseClick(first, Qt.MouseButton.LeftButton)
    reader.settle()
    (layer,) = layers_of(reader.state)
    own = card(reader, layer.source)
    own.opacity.slider.setValue(80)
    assert layers_of(reader.state)[0].opacity == 0.8
    assert card(reader, layer.source) is own  # a slider must not go while it is dragged
    own.ends[1].selectAll()
    QTest.keyClicks(own.ends[1], "4")
    QTest.keyClick(own.ends[1], Qt.Key.Key_Return)
    assert layers_of(reader.state)[0].range == (0.0, 4.0)
    own.color_map.activated.emit(1)
    assert layers_of(reader.state)[0].color_map == own.color_map.itemData(1)
    QTest.mouseClick(own.automatic, Qt.MouseButton.LeftButton)
    assert layers_of(reader.state)[0].range is None
    QTest.mouseClick(own.remove, Qt.MouseButton.LeftButton)
    assert layers_of(reader.state) == ()
    assert not has_color(reader.window.viewport)


def test_a_range_that_makes_no_sense_does_not_stay(reader: Reader) -> None:
    key = lay(reader, "PT")
    own = card(reader, key)
    own.ends[1].selectAll()
    QTest.keyClicks(own.ends[1], "-3")
    QTest.keyClick(own.ends[1], Qt.Key.Key_Return)
    assert layers_of(reader.state)[0].range is None
    assert own.ends[1].text() == short_number(reader.state.layer_sources[key].range[1])


def test_a_range_is_read_as_it_is_written_whatever_the_system_speaks(reader: Reader) -> None:
    """In German a point divides thousands: 2.5 would be refused or be 25."""
    QLocale.setDefault(QLocale(QLocale.Language.German))
    try:
        key = lay(reader, "PT")
        own = card(reader, key)
        own.ends[1].selectAll()
        QTest.keyClicks(own.ends[1], "2.5")
        QTest.keyClick(own.ends[1], Qt.Key.Key_Return)
    finally:
        QLocale.setDefault(QLocale(QLocale.Language.C))
    assert layers_of(reader.state)[0].range == (0.0, 2.5)


def test_segments_are_hidden_and_shown_one_by_one(reader: Reader) -> None:
    key = lay(reader, "SEG")
    own = card(reader, key)
    viewport = reader.window.viewport
    inside = on_screen(reader, viewport, 0, HOT)
    assert warmth(picture(viewport), inside) > 10
    QTest.mouseClick(own.eyes[1], Qt.MouseButton.LeftButton)
    assert layers_of(reader.state)[0].hidden == {1}
    assert warmth(picture(viewport), inside) == 0
    reader.window.app.run_command("edit.undo")
    assert warmth(picture(viewport), inside) > 10
    every = {b.text(): b for b in own.findChildren(QPushButton)}
    QTest.mouseClick(every["Hide all"], Qt.MouseButton.LeftButton)
    assert layers_of(reader.state)[0].hidden == {1, 2}
    QTest.mouseClick(every["Show all"], Qt.MouseButton.LeftButton)
    assert layers_of(reader.state)[0].hidden == frozenset()


def test_names_of_structures_are_plain_text_without_hidden_marks(reader: Reader) -> None:
    key = lay(reader, "RTSTRUCT")
    labels = card(reader, key).findChildren(QLabel)
    assert "PTV <b>bold</b>⟨U+202E⟩" in [label.text() for label in labels]
    assert all(label.textFormat() == Qt.TextFormat.PlainText for label in labels)


def test_outlines_follow_the_image(reader: Reader) -> None:
    """The red outline of the structure crosses the right edge of its circle, and nothing is red beyond."""
    lay(reader, "RTSTRUCT")
    viewport = reader.window.viewport
    drawn = picture(viewport)
    x, y = on_screen(reader, viewport, 0, (20, 0, 10))
    assert (drawn[y, x - 3 : x + 4, 0] - drawn[y, x - 3 : x + 4, 1]).max() > 100
    far_x, far_y = on_screen(reader, viewport, 0, (24, 0, 10))
    assert np.ptp(drawn[far_y, far_x - 3 : far_x + 4], axis=-1).max() == 0


def test_a_dose_lies_over_a_pet_too_and_is_gone_with_it(reader: Reader) -> None:
    choose(reader, "PT")
    lay(reader, "RTDOSE")  # the PET has the same frame of reference
    assert layers_of(reader.state)
    reader.window.app.run_command("file.close")
    QApplication.processEvents()
    assert "No image on screen" in all_words(reader.window.layers)


def test_scrolling_leaves_the_rows_of_the_panel_alone(reader: Reader) -> None:
    rows = [b for b in reader.window.layers.findChildren(QPushButton) if b.text() == "Lay over"]
    rows[0].setFocus()
    reader.window.app.run_command("image.next")
    reader.settle()
    assert [b for b in reader.window.layers.findChildren(QPushButton) if b.text() == "Lay over"] == rows
    assert QApplication.focusWidget() is rows[0]


def test_refusals_are_said_with_their_reason(main_window: Any, qtbot: Any, tmp_path: Path) -> None:
    reader = Reader(main_window, qtbot)
    write_ct(tmp_path / "a")
    write_pet(tmp_path / "b", hot_spot, FrameOfReferenceUID="1.2.3")
    reader.open(tmp_path)
    choose(reader, "CT")
    main_window._tabs.setCurrentWidget(main_window.layers)
    QApplication.processEvents()
    said = all_words(main_window.layers)
    assert "Cannot be laid over this image" in said
    assert "another frame of reference" in said


def test_a_segment_without_a_colour_has_one_of_its_own() -> None:
    segments = tuple(Segment(number, "") for number in (4, 7, 9))
    source = StructureSet(segments, (), "1.2")
    assert len({segment_color(source, segment).name() for segment in segments}) == 3
    assert segment_color(source, Segment(4, "", (1, 2, 3))).getRgb()[:3] == (1, 2, 3)


def test_units_are_in_words(reader: Reader) -> None:
    assert (unit_word("{counts}"), unit_word("Gy")) == ("counts", "Gy")
    key = lay(reader, "RTDOSE")
    assert quantity_words(reader.state.layer_sources[key]) == "Gy, physical"


def test_an_empty_panel_says_what_belongs_here(qtbot: Any) -> None:
    panel = LayersPanel()
    qtbot.addWidget(panel)
    panel.show()
    QApplication.processEvents()
    assert "No image on screen" in all_words(panel)


def test_a_picture_that_leaves_the_program_has_the_layers(reader: Reader) -> None:
    lay(reader, "PT")
    image = reader.window.viewport.drawn(reader.state)
    x, y = on_screen(reader, reader.window.viewport, 0, HOT)
    ratio = image.devicePixelRatio()
    ink = image.pixelColor(round(x * ratio), round(y * ratio))
    assert ink.red() - ink.blue() > 40


def test_every_image_of_a_film_has_its_layers(reader: Reader, tmp_path: Path) -> None:
    """Also those that the reader has not come near yet: an image without its layer looks as if nothing were there."""
    app = reader.window.app
    app.run_command("image.show", 0)
    lay(reader, "PT")
    reader.settle()
    app.run_command("file.export_film", FilmWish(tmp_path / "a.avi", 8, 15, 10.0))
    reader.settle()
    spread = [int((np.ptp(one, axis=2) > 60).sum()) for one in frames(tmp_path / "a.avi")]
    assert int(np.argmax(spread)) == 4  # z = 10
    assert spread[4] > spread[0] + 200


def test_a_segmentation_of_another_time_is_named_and_not_drawn(main_window: Any, qtbot: Any, tmp_path: Path) -> None:
    reader = Reader(main_window, qtbot)
    series = generate_uid()
    write_ct(tmp_path / "a", series=series, TriggerTime="0")
    later = write_ct(tmp_path / "b", series=series, TriggerTime="400")
    write_segmentation(tmp_path / "z-seg.dcm", later, [ball(voxels(later), (0, 0, 10), 20)])
    reader.open(tmp_path)
    choose(reader, "CT")
    reader.window.app.run_command("image.show", 12)
    reader.window.app.run_command("image.show_volume", 1)
    reader.settle()
    lay(reader, "SEG")
    reader.settle()
    viewport = reader.window.viewport
    placed = viewport.placement()
    assert placed is not None
    caution = ("SEG: made at another time, echo or b-value, not drawn here", True)
    assert has_color(viewport)
    assert caution not in fidelity(reader.state, viewport._shown(placed, 0, laid_on(reader.state)))
    reader.window.app.run_command("image.show_volume", 0)
    reader.settle()
    assert not has_color(viewport)
    assert caution in fidelity(reader.state, viewport._shown(placed, 0, laid_on(reader.state)))


def test_hidden_identity_is_in_no_name_of_a_region_or_measurement(main_window: Any, qtbot: Any, tmp_path: Path) -> None:
    """Readers and files name things after the patient, too."""
    made = Reader(main_window, qtbot)
    words = {"StudyDescription": "Quentin follow-up", "SeriesDescription": "Quentin scan"}
    files = write_ct(tmp_path, PatientName="Quentin^Anna", **words)
    place = np.array([float(v) for v in pydicom.dcmread(files[12]).ImagePositionPatient])
    outline = circle((0.0, 0.0, place[2]), 20.0)
    label = {"StructureSetLabel": "Quentin plan"}
    write_structures(tmp_path / "rt.dcm", {"Quentin heart": [outline]}, PatientName="Quentin^Anna", **label)
    made.open(tmp_path)
    app = main_window.app
    app.run_command("image.show", 12)
    made.settle()
    app.run_command("tool.length")
    app.run_command("measure.add", Drawn("length", ((2.0, 2.0), (9.0, 9.0)), measured_image(app.state)))
    made.settle()
    app.run_command("measure.name", Named(measurements_of(app.state)[0].uid, "Quentin node"))
    app.run_command("layer.lay", offers(app.state)[0].key)
    made.settle()

    def told(panel: Any) -> str:
        main_window._tabs.setCurrentWidget(panel)
        made.settle()
        for _ in range(3):  # rounds of layout
            QApplication.processEvents()
        return all_words(panel)

    assert "Quentin heart" in told(main_window.layers)
    assert "Quentin plan" in told(main_window.layers)
    assert "Quentin node" in told(main_window.measurements)
    assert shapes_of(app.state)[0].lines[0] == "Quentin node"
    app.run_command("view.hide_identity")
    for panel, what in ((main_window.layers, "heart"), (main_window.measurements, "node")):
        assert "Quentin" not in told(panel)
        assert what in told(panel)
    assert "Quentin" not in main_window.windowTitle()
    assert "Quentin" not in shapes_of(app.state)[0].lines[0]
    # From other images a measurement is listed with the series that it lies on.
    app.run_command("image.show", 11)
    assert "scan" in told(main_window.measurements)
    assert "Quentin" not in told(main_window.measurements)


def test_a_noisy_segmentation_is_drawn_as_its_pixels(
    reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noise has too many corners to be traced and stroked: its mask is drawn instead, where it is."""
    monkeypatch.setattr(label_planes, "MOST_CORNERS", 200)
    monkeypatch.setattr(layer_painter, "draw_outlines", lambda *_a: pytest.fail("it was drawn by its corners"))
    ct = sorted((tmp_path / "a-ct").iterdir())
    half = np.random.default_rng(0).random(voxels(ct).shape[:-1]) < 0.5
    half[:, :, : half.shape[2] // 2] = False  # the right half of the pixels only
    write_segmentation(tmp_path / "noise.dcm", ct, [half])
    (tmp_path / "z-seg.dcm").unlink()
    reader.open(tmp_path)
    choose(reader, "CT")
    reader.window.app.run_command("image.show", 12)
    reader.settle()
    before = picture(reader.window.viewport)
    lay(reader, "SEG")
    [laid] = laid_on(reader.state)
    assert laid.plane is not None
    assert list(laid.plane.ragged) == [1]  # type: ignore[union-attr]
    reader.window.app.run_command("layer.change", LayerChange(laid.layer.source, {"opacity": 1.0}))
    reader.settle()
    change = np.abs(picture(reader.window.viewport) - before).sum(axis=2) > 30
    placed = reader.window.viewport.placement()
    assert placed is not None
    mask = laid.plane.ragged[1].mask  # type: ignore[union-attr]
    seen = {True: [], False: []}  # type: ignore[var-annotated]
    for row, column in np.random.default_rng(1).integers(0, mask.shape[0], (400, 2)):
        at = placed.transform.map(QPointF(column + 0.5, row + 0.5))
        seen[bool(mask[row, column])].append(bool(change[round(at.y()), round(at.x())]))
    assert np.mean(seen[True]) > 0.9
    assert np.mean(seen[False]) < 0.1
    row, column = np.argwhere(mask)[40]
    assert 1 in laid.plane.segments_at(column + 0.5, row + 0.5)  # type: ignore[union-attr]
