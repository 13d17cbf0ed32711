"""Shutters cover what they should under any turn, and colours are the device's; the strip says so of both."""

from __future__ import annotations

import threading
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PySide6.QtCore import QPointF, QSizeF
from PySide6.QtGui import QImage, QPainter

from medviewer.app.commands import command
from medviewer.app.exporting import ExportWish
from medviewer.app.filming import FilmWish
from medviewer.app.measuring import Drawn
from medviewer.app.result import pictures_of
from medviewer.app.saving import result_on_screen
from medviewer.app.state import View
from medviewer.domain.answer import Subject
from medviewer.domain.shutter import Shutters
from medviewer.gui.corner_text import fidelity, probe_text
from medviewer.gui.placing import Placement
from medviewer.gui.shutter_layer import ShutterLayer
from medviewer.imaging import color_management, display
from tests.answers import make_answer
from tests.color_profiles import ADOBE, SRGB, make_profile, on_screen
from tests.dicom_maker import make_dataset, write_dataset
from tests.gui.reader import Reader, pixels
from tests.presentations import overlay, window, write_state
from tests.unit.imaging.test_avi_file import chunks

SWAPPED = (SRGB[2], SRGB[1], SRGB[0])
COVERED = (12, 34)  # row, column of a pixel that the bitmap covers; beside it is an open one


def half_covered() -> np.ndarray:
    """A pattern without symmetry: covered in part, and one pixel apart from the others."""
    mask = np.zeros((40, 60), bool)
    mask[:9, :] = True
    mask[:, 50:] = True
    mask[COVERED] = True
    return mask


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("flips", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("zoom", [1, 3])
def test_a_bitmap_covers_its_pixels_under_any_turn_flip_and_zoom(
    turns: int, flips: tuple[bool, bool], zoom: int, qapp: Any
) -> None:
    mask = half_covered()
    view = View(quarter_turns=turns, flip_horizontal=flips[0], flip_vertical=flips[1])
    wished = mask[::-1] if flips[1] else mask
    wished = np.rot90(wished[:, ::-1] if flips[0] else wished, turns).repeat(zoom, 0).repeat(zoom, 1)
    rows, columns = wished.shape
    picture = QImage(columns, rows, QImage.Format.Format_RGB32)
    picture.fill(0xFFFFFFFF)
    painter = QPainter(picture)
    placed = Placement(QSizeF(columns, rows), 1.0, 60, 40, 1.0, view)
    ShutterLayer().cover(painter, placed, Shutters(bitmap=mask, color=(10, 200, 30)))
    painter.end()
    drawn = np.frombuffer(picture.constBits(), np.uint8).reshape(rows, columns, 4)[..., 2::-1]
    np.testing.assert_array_equal(drawn, np.where(wished[..., None], (10, 200, 30), (255, 255, 255)))


def painted(layer: ShutterLayer, shutters: Shutters, columns: int, rows: int) -> np.ndarray:
    """A white picture of 60 x 40 pixels on a screen of so many, covered: (rows, columns) of red."""
    picture = QImage(columns, rows, QImage.Format.Format_RGB32)
    picture.fill(0xFFFFFFFF)
    painter = QPainter(picture)
    layer.cover(painter, Placement(QSizeF(columns, rows), 1.0, 60, 40, 1.0, View()), shutters)
    painter.end()
    return np.frombuffer(picture.constBits(), np.uint8).reshape(rows, columns, 4)[..., 2].copy()


@pytest.mark.parametrize("size", [(50, 34), (27, 18), (20, 14), (9, 6)])
def test_not_one_covered_pixel_vanishes_when_the_image_is_shrunken(size: tuple[int, int], qapp: Any) -> None:
    for row, column in np.ndindex(8, 8):
        mask = np.zeros((40, 60), bool)
        mask[12 + row, 33 + column] = True
        assert painted(ShutterLayer(), Shutters(bitmap=mask), *size).min() < 250
    edge = np.zeros((40, 60), bool)
    edge[-1, -1] = True
    assert painted(ShutterLayer(), Shutters(bitmap=edge), *size)[: size[1] // 2].min() == 255


def test_another_images_bitmap_is_never_kept(qapp: Any) -> None:
    layer, mask = ShutterLayer(), half_covered()
    for covered in (mask, ~mask, mask):
        np.testing.assert_array_equal(painted(layer, Shutters(bitmap=covered), 60, 40) == 0, covered)


def strip(reader: Reader) -> dict[str, bool]:
    return dict(fidelity(reader.state, None))


def color_at(reader: Reader, column: float, row: float) -> list[int]:
    placement = reader.window.viewport.placement()
    assert placement is not None
    at = placement.transform.map(QPointF(column, row))
    return [int(level) for level in pixels(reader.window.viewport)[int(at.y()), int(at.x())][:3]]


@pytest.fixture
def opened(main_window: Any, qtbot: Any, tmp_path: Path) -> Any:
    """Opens images that a test makes, with states beside them."""

    def run(image: Any, **states: Any) -> Reader:
        write_dataset(tmp_path / "image.dcm", image)
        for name, (planes, attributes) in states.items():
            path = write_state(tmp_path / f"{name}.dcm", image, SOPInstanceUID=f"2.25.9{len(name)}", **attributes)
            if planes:
                import pydicom

                state = pydicom.dcmread(path)
                for plane in planes:
                    state.update(plane)
                state.save_as(path)
        reader = Reader(main_window, qtbot)
        main_window.app.run_command("file.open_folder", tmp_path)
        reader.settle()
        return reader

    return run


BRIGHT = np.full((40, 60), 255, np.uint16)
OWN: dict[str, Any] = {
    "WindowCenter": "128", "WindowWidth": "255", "ShutterShape": "RECTANGULAR", "ShutterLeftVerticalEdge": 11,
    "ShutterRightVerticalEdge": 50, "ShutterUpperHorizontalEdge": 6, "ShutterLowerHorizontalEdge": 35,
    "ShutterPresentationValue": 0,
}  # fmt: skip

BRIGHT_AS_WHITE: dict[str, Any] = {"SoftcopyVOILUTSequence": [window(128, 255)]}


def test_an_images_own_shutter_covers_is_said_and_can_be_taken_away(opened: Any) -> None:
    reader = opened(make_dataset(BRIGHT, SOPInstanceUID="2.25.31", **OWN))
    assert color_at(reader, 5, 20) == [0, 0, 0]
    assert color_at(reader, 30, 20) == [255, 255, 255]
    assert strip(reader)["covered in part by a shutter"] is False
    assert probe_text(reader.state.frame, 5, 20).startswith("(5, 20)  255")  # the value is there
    reader.window.app.run_command("view.shutters")
    assert color_at(reader, 5, 20) == [255, 255, 255]
    assert strip(reader)["shutters are off"] is True
    assert "covered in part by a shutter" not in strip(reader)
    reader.window.app.run_command("view.shutters")
    assert color_at(reader, 5, 20) == [0, 0, 0]


@pytest.mark.parametrize("aspect", [1, 2])
def test_a_plain_picture_keeps_what_a_shutter_covers_covered(opened: Any, aspect: int, tmp_path: Path) -> None:
    """A name may be burnt in there, and a plain picture has no words to say that the shutter is gone."""
    circle = {"ShutterShape": "CIRCULAR", "CenterOfCircularShutter": [20, 30], "RadiusOfCircularShutter": 12}
    dataset = make_dataset(
        BRIGHT, SOPInstanceUID="2.25.31", PixelSpacing=[aspect, 1], ShutterPresentationValue=0, **circle
    )
    dataset.NumberOfFrames, dataset.PixelData = 2, dataset.PixelData * 2
    reader = opened(dataset)
    app = reader.window.app
    app.run_command("view.flip_horizontal")
    rows, columns = np.mgrid[:40, :60] + 0.5
    distance = np.hypot(columns - 30, (rows - 20) * aspect)
    app.run_command("file.export_image", ExportWish(tmp_path / "covered.png", "stored"))
    app.run_command("file.export_film", FilmWish(tmp_path / "covered.avi", 0, 0, 5.0, "stored"))
    reader.settle()
    for name in ("covered.png", "covered.avi"):
        shown = _first_picture(tmp_path / name)[:40, :60]
        assert shown[distance > 15].max() < 40, name
        assert shown[distance < 9].min() > 100, name
    found: list[str] = []
    app.run_command("view.shutters")
    real = QPainter.drawText
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(QPainter, "drawText", lambda self, *args: (found.append(args[-1]), real(self, *args))[1])
        app.run_command("file.export_image", ExportWish(tmp_path / "open.png", "stored"))
        reader.settle()
    assert _first_picture(tmp_path / "open.png")[:40, :60].min() > 100
    assert any("Shutters are off: what they cover is shown" in words for words in found)


def _first_picture(path: Path) -> np.ndarray:
    """A picture, or the first one of a film, in grey."""
    content = path.read_bytes()
    if path.suffix == ".avi":
        content = chunks(content, 0, len(content))["00dc"][0]
    with Image.open(BytesIO(content)) as picture:
        return np.asarray(picture.convert("L"))


def test_what_was_measured_under_a_shutter_is_drawn_and_said(opened: Any) -> None:
    reader = opened(make_dataset(BRIGHT, SOPInstanceUID="2.25.31", PixelSpacing=[1, 1], **OWN))
    app = reader.window.app
    before = pixels(reader.window.viewport).copy()
    app.run_command("measure.add", Drawn("length", ((20.0, 20.0), (40.0, 20.0)), ("2.25.31", 0, None)))
    reader.settle()
    assert "measurements reach under the shutter" not in strip(reader)
    app.run_command("measure.add", Drawn("length", ((4.0, 10.0), (4.0, 30.0)), ("2.25.31", 0, None)))
    reader.settle()
    assert strip(reader)["measurements reach under the shutter"] is True
    app.run_command("measure.select", "")
    placement = reader.window.viewport.placement()
    assert placement is not None
    at = placement.transform.map(QPointF(4, 15))
    x, y = int(at.x()), int(at.y())
    near = pixels(reader.window.viewport)[y, x - 3 : x + 4].max()
    assert before[y, x - 3 : x + 4].max() == 0
    assert near > 100  # the line lies over the shutter
    app.run_command("view.shutters")
    assert "measurements reach under the shutter" not in strip(reader)


def test_a_state_has_its_own_shutters_in_the_place_of_the_images(opened: Any) -> None:
    reader = opened(
        make_dataset(BRIGHT, SOPInstanceUID="2.25.31", **OWN), plain=((), BRIGHT_AS_WHITE),
        bitmaps=((overlay(half_covered(), 0x6000),), {
            **BRIGHT_AS_WHITE, "ShutterShape": "BITMAP", "ShutterOverlayGroup": 0x6000,
            "ShutterPresentationValue": 0x8000,
        }),
    )  # fmt: skip
    seen = {}
    for _ in range(2):
        reader.window.app.run_command("view.next_presentation")
        seen[reader.state.view.presentation] = [
            color_at(reader, column, row) for column, row in ((5, 20), (COVERED[1] + 0.5, COVERED[0] + 0.5), (55, 20))
        ]
    plain, bitmap = seen["2.25.95"], seen["2.25.97"]
    assert plain == [[255, 255, 255]] * 3  # nothing is covered: the state has no shutter
    assert bitmap == [plain[0], [128, 128, 128], [128, 128, 128]]
    reader.window.app.run_command("view.presentation", "2.25.97")
    reader.window.app.run_command("view.flip_horizontal")  # the reader's own: the shutter moves with the image
    assert color_at(reader, 55, 20) == [128, 128, 128]
    assert color_at(reader, 5, 20) == plain[0]


def test_a_bitmap_of_another_size_covers_nothing_and_is_said(opened: Any) -> None:
    reader = opened(
        make_dataset(BRIGHT, SOPInstanceUID="2.25.31"),
        bitmaps=((overlay(np.ones((30, 60), bool), 0x6000),), {
            **BRIGHT_AS_WHITE, "ShutterShape": "BITMAP", "ShutterOverlayGroup": 0x6000,
        }),
    )  # fmt: skip
    reader.window.app.run_command("view.next_presentation")
    assert strip(reader)["not shown: a bitmap shutter"] is True
    assert color_at(reader, 30, 10) == [255, 255, 255]
    assert not command("view.shutters").enabled(reader.state)


def test_a_plane_that_was_cut_has_no_shutter(opened: Any, tmp_path: Path) -> None:
    for number in range(1, 5):
        place = {"ImagePositionPatient": [0, 0, number], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
        slice_ = make_dataset(
            BRIGHT, InstanceNumber=number, PixelSpacing=[1, 1], FrameOfReferenceUID="2.25.7", **place, **OWN
        )
        write_dataset(tmp_path / f"{number}.dcm", slice_)
    first = {"ImagePositionPatient": [0, 0, 0], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
    reader = opened(
        make_dataset(BRIGHT, InstanceNumber=0, PixelSpacing=[1, 1], FrameOfReferenceUID="2.25.7", **first, **OWN)
    )
    assert "covered in part by a shutter" in strip(reader)
    reader.window.app.run_command("layout.planes")
    reader.settle()
    assert reader.state.cut is not None or any(pane.cut is not None for pane in reader.state.parked.values())
    cut = next((pane for pane in reader.state.parked.values() if pane.cut is not None), reader.state)
    assert cut.frame.shutters is None


COLORS = np.tile(np.array([200, 40, 90], np.uint8), (40, 60, 1))


def test_colours_are_those_of_the_device_and_the_strip_says_so(opened: Any) -> None:
    reader = opened(make_dataset(COLORS, ICCProfile=make_profile(SWAPPED)))
    assert color_at(reader, 30, 20) == pytest.approx(list(on_screen(COLORS[0, 0], SWAPPED)), abs=1.1)
    assert strip(reader)["colours by the file's ICC profile"] is False
    assert probe_text(reader.state.frame, 30, 20) == "(30, 20)  R 200 G 40 B 90"
    reader.window.app.run_command("view.invert")
    assert color_at(reader, 30, 20) == pytest.approx([255 - one for one in on_screen(COLORS[0, 0], SWAPPED)], abs=1.1)


def test_an_unusable_profile_is_a_caution_and_the_image_is_there(opened: Any) -> None:
    reader = opened(make_dataset(COLORS, ICCProfile=make_profile(SWAPPED)[:-50]))
    assert color_at(reader, 30, 20) == [200, 40, 90]
    words = "The file's colour profile is damaged, so it is not used: the colours are shown as sRGB"
    assert strip(reader)[words] is True
    assert "colours by the file's ICC profile" not in strip(reader)


def test_without_a_profile_nothing_is_said(opened: Any) -> None:
    reader = opened(make_dataset(COLORS))
    assert color_at(reader, 30, 20) == [200, 40, 90]
    assert not [words for words in strip(reader) if "colour" in words]


COLOUR_STATE: dict[str, Any] = {
    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.11.2", "PresentationLUTShape": None, "ICCProfile": make_profile(ADOBE, 2.0),
}  # fmt: skip


def test_a_colour_states_profile_counts_and_goes_with_it(opened: Any) -> None:
    image = make_dataset(COLORS, SOPInstanceUID="2.25.31", ICCProfile=make_profile(SWAPPED))
    reader = opened(image, colour=((), COLOUR_STATE))
    own = color_at(reader, 30, 20)
    reader.window.app.run_command("view.next_presentation")
    reader.settle()
    assert color_at(reader, 30, 20) == pytest.approx(list(on_screen(COLORS[0, 0], ADOBE, 2.0)), abs=1.1)
    assert strip(reader)["colours by the presentation state's ICC profile"] is False
    assert "colours by the file's ICC profile" not in strip(reader)
    reader.window.app.run_command("view.reset")
    assert color_at(reader, 30, 20) == own != [200, 40, 90]


def saved_color(reader: Reader) -> list[int]:
    """In the picture that is saved of an answer about the image on screen."""
    assert reader.state.selection is not None
    subject = Subject(reader.state.selection.image.key, "model", "0" * 64)
    return list(pictures_of(result_on_screen(reader.state, subject, make_answer()))[0][20, 30])


def test_a_saved_picture_of_a_result_keeps_what_a_shutter_covers_covered(opened: Any) -> None:
    reader = opened(make_dataset(BRIGHT, SOPInstanceUID="2.25.31", **OWN), plain=((), BRIGHT_AS_WHITE))
    assert reader.state.selection is not None
    subject = Subject(reader.state.selection.image.key, "model", "0" * 64)

    def saved() -> np.ndarray:
        return pictures_of(result_on_screen(reader.state, subject, make_answer()))[0][..., 0]

    covered = saved()
    columns = np.flatnonzero(covered.max(axis=0) > 100)
    assert covered[20, 5] == covered[1, 30] == covered[38, 30] == covered[20, 55] == 0
    assert covered[30, 20] > 100
    assert (columns[0], columns[-1]) == (OWN["ShutterLeftVerticalEdge"] - 1, OWN["ShutterRightVerticalEdge"] - 1)
    reader.window.app.run_command("view.shutters")
    assert saved().min() > 100
    reader.window.app.run_command("view.shutters")
    reader.window.app.run_command("view.next_presentation")  # it has no shutter of its own
    reader.settle()
    assert saved().min() > 100


@pytest.mark.parametrize("color", [(9, 9, 9), (10, 200, 30)])
def test_a_bitmap_and_a_colour_cover_a_saved_picture_too(opened: Any, color: tuple[int, int, int]) -> None:
    reader = opened(make_dataset(BRIGHT, SOPInstanceUID="2.25.31"))
    assert reader.state.selection is not None
    subject = Subject(reader.state.selection.image.key, "model", "0" * 64)
    result = result_on_screen(reader.state, subject, make_answer())
    frame = replace(result.frame, shutters=Shutters(bitmap=half_covered(), color=color))
    shown = pictures_of(replace(result, frame=frame))[0]
    np.testing.assert_array_equal((shown == color).all(axis=2), half_covered())


def test_a_saved_picture_has_the_colours_of_the_state_that_is_shown(opened: Any) -> None:
    image = make_dataset(COLORS, SOPInstanceUID="2.25.31", ICCProfile=make_profile(SWAPPED))
    reader = opened(image, colour=((), COLOUR_STATE))
    assert saved_color(reader) == color_at(reader, 30, 20) != [200, 40, 90]
    own = saved_color(reader)
    reader.window.app.run_command("view.next_presentation")
    reader.settle()
    assert saved_color(reader) == color_at(reader, 30, 20) != own
    reader.window.app.run_command("view.invert")
    assert saved_color(reader) == color_at(reader, 30, 20)


def test_a_saved_picture_has_the_greys_of_the_state_that_is_shown(opened: Any) -> None:
    image = make_dataset(BRIGHT // 2, SOPInstanceUID="2.25.31", WindowCenter="128", WindowWidth="255")
    dark = {"SoftcopyVOILUTSequence": [window(200, 255)], "PresentationLUTShape": "INVERSE"}
    reader = opened(image, dark=((), dark))
    assert saved_color(reader) == color_at(reader, 30, 20)
    own = saved_color(reader)
    reader.window.app.run_command("view.next_presentation")
    assert saved_color(reader) == color_at(reader, 30, 20) != own


def test_what_is_wrong_with_the_files_profile_is_not_said_where_a_state_has_another(opened: Any) -> None:
    image = make_dataset(COLORS, SOPInstanceUID="2.25.31", ICCProfile=make_profile(SWAPPED)[:-50])
    reader = opened(image, colour=((), COLOUR_STATE))
    assert [words for words in strip(reader) if "damaged" in words]
    reader.window.app.run_command("view.next_presentation")
    reader.settle()
    assert color_at(reader, 30, 20) == pytest.approx(list(on_screen(COLORS[0, 0], ADOBE, 2.0)), abs=1.1)
    assert not [words for words in strip(reader) if "damaged" in words]


def test_colours_are_never_managed_in_the_windows_thread(
    main_window: Any, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening, a colour state, scrolling with it in both directions, inverting, a film: all wait elsewhere."""
    threads: list[bool] = []

    def to_srgb(picture: np.ndarray, profile: Any) -> np.ndarray:
        threads.append(threading.current_thread() is threading.main_thread())
        return color_management.to_srgb(picture, profile)

    monkeypatch.setattr(display, "to_srgb", to_srgb)
    images = [
        make_dataset(COLORS // number, SOPInstanceUID=f"2.25.3{number}", InstanceNumber=number,
                     ICCProfile=make_profile(SWAPPED))
        for number in (1, 2, 3)
    ]  # fmt: skip
    for number, image in enumerate(images):
        write_dataset(tmp_path / f"{number}.dcm", image)
    write_state(
        tmp_path / "state.dcm", *images, SOPInstanceUID="2.25.91", SOPClassUID="1.2.840.10008.5.1.4.1.1.11.2",
        PresentationLUTShape=None, ICCProfile=make_profile(ADOBE, 2.0),
    )  # fmt: skip
    reader = Reader(main_window, qtbot)
    app = main_window.app
    app.run_command("file.open_folder", tmp_path)
    reader.settle()
    app.run_command("image.first")
    reader.settle()
    assert color_at(reader, 30, 20) == pytest.approx(list(on_screen(COLORS[0, 0], SWAPPED)), abs=1.1)
    app.run_command("view.next_presentation")
    reader.wait(lambda: reader.state.frame is not None)
    assert color_at(reader, 30, 20) == pytest.approx(list(on_screen(COLORS[0, 0], ADOBE, 2.0)), abs=1.1)
    for step, number in (("image.next", 2), ("image.next", 3), ("image.previous", 2)):
        app.run_command(step)
        reader.wait(lambda: reader.state.frame is not None)
        assert color_at(reader, 30, 20) == pytest.approx(list(on_screen(COLORS[0, 0] // number, ADOBE, 2.0)), abs=1.1)
    app.run_command("view.invert")
    assert color_at(reader, 30, 20) == pytest.approx(
        [255 - v for v in on_screen(COLORS[0, 0] // 2, ADOBE, 2.0)], abs=1.1
    )
    app.run_command("file.export_film", FilmWish(tmp_path / "film.avi", 0, 2, 5.0))
    reader.settle()
    app.run_command("view.reset")
    reader.settle()
    assert color_at(reader, 30, 20) == pytest.approx(list(on_screen(COLORS[0, 0] // 2, SWAPPED)), abs=1.1)
    assert (tmp_path / "film.avi").is_file()
    # Undo and redo on an image whose picture has only its own colours.
    app.frames.clear()
    app.run_command("image.first")
    reader.settle()
    own = list(on_screen(COLORS[0, 0], SWAPPED))
    wished = [255 - v for v in on_screen(COLORS[0, 0], ADOBE, 2.0)]  # and inverted, as it was
    for step, expected in (("edit.undo", wished), ("edit.redo", own), ("edit.undo", wished)):
        app.run_command(step)
        reader.wait(lambda: reader.state.frame is not None)
        assert color_at(reader, 30, 20) == pytest.approx(expected, abs=1.1)
    app.frames.clear()  # as if others had pushed it out of memory
    reader.window.viewport.repaint()
    reader.wait(lambda: reader.state.selection.image.key in app.frames and reader.state.frame is not None)
    assert color_at(reader, 30, 20) == pytest.approx(wished, abs=1.1)
    assert len(threads) > 3
    assert not any(threads)
