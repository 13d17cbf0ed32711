"""A film is what the viewport would show, image by image, with the words that every picture has."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from PySide6.QtCore import Qt
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import QFileDialog, QPushButton

from medviewer.app.exporting import AVI, MP4, ExportWish
from medviewer.app.filming import FilmWish
from medviewer.app.on_screen import shown_presentation
from medviewer.domain.errors import UnsupportedError
from medviewer.gui import window as main
from medviewer.gui.film_dialog import FilmDialog
from medviewer.imaging import mp4_file
from medviewer.imaging.display import to_display
from tests.dicom_maker import write_volumes
from tests.gui.reader import Reader
from tests.gui.seen import all_words, press
from tests.phantoms import write_chest
from tests.presentations import window, write_state
from tests.unit.imaging.test_avi_file import chunks
from tests.unit.imaging.test_mp4_file import samples

RESEARCH = "Research use only - not for diagnosis"


@pytest.fixture
def reader(main_window, qtbot, tmp_path: Path) -> Reader:
    made = Reader(main_window, qtbot)
    write_chest(tmp_path / "ct", size=64, spacing_mm=5.0, slice_mm=10.0, n_slices=9)
    made.open(tmp_path / "ct")
    return made


def frames(path: Path) -> list[np.ndarray]:
    content = path.read_bytes()
    read = []
    for jpeg in chunks(content, 0, len(content))["00dc"]:
        with Image.open(BytesIO(jpeg)) as image:
            read.append(np.asarray(image.convert("RGB")).astype(int))
    return read


def film(reader: Reader, wish: FilmWish) -> list[np.ndarray]:
    reader.window.app.run_command("file.export_film", wish)
    reader.settle()
    return frames(wish.path)


def test_the_plain_images_are_those_of_the_files(reader: Reader, tmp_path: Path) -> None:
    made = film(reader, FilmWish(tmp_path / "a.avi", 2, 6, 10.0, "stored"))
    assert len(made) == 5
    for index, got in enumerate(made, start=2):
        reader.window.app.run_command("image.show", index)
        reader.settle()
        expected = to_display(reader.state.frame, reader.state.view.window).astype(int)
        assert got.shape[:2][1] == 64
        assert got.shape[0] > 64  # the foot
        assert np.abs(got[:64, :, 1] - expected).mean() < 2
        assert got[66:].max() > 100


def test_the_film_is_what_is_on_screen_turned_and_zoomed(reader: Reader, tmp_path: Path) -> None:
    app = reader.window.app
    app.run_command("view.flip_horizontal")
    app.run_command("view.preset", 7)
    made = film(reader, FilmWish(tmp_path / "a.avi", 0, 8, 10.0))
    for index in (0, 4, 8):
        app.run_command("image.show", index)
        reader.settle()
        shown = reader.window.draw_image("view", with_identity=False)
        assert shown is not None
        assert shown.pixels().shape == made[index].shape
        assert np.abs(made[index] - shown.pixels().astype(int)).mean() < 2
    assert np.abs(made[0] - made[4]).mean() > 2


def test_words_and_identity(reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[str] = []
    real: Any = QPainter.drawText

    def draw(self: QPainter, *args: Any) -> Any:
        found.extend(a for a in args if isinstance(a, str))
        return real(self, *args)

    monkeypatch.setattr(QPainter, "drawText", draw)
    film(reader, FilmWish(tmp_path / "a.avi", 0, 2, 10.0))
    assert sum(RESEARCH in text for text in found) == 3
    assert not any("Phantom" in text and RESEARCH in text for text in found)
    without = frames(tmp_path / "a.avi")[0]
    found.clear()
    named = film(reader, FilmWish(tmp_path / "b.avi", 0, 2, 10.0, with_identity=True))[0]
    assert sum("Phantom, Chest" in text and RESEARCH in text for text in found) == 3
    assert (np.abs(named[:60, :200] - without[:60, :200]) > 40).any()  # the name in the corner


def test_another_size_of_the_window_ends_the_film(reader: Reader, tmp_path: Path) -> None:
    app = reader.window.app
    painter = reader.window.film_painter
    calls = 0

    def growing(what: Any, *, with_identity: bool) -> Any:
        draw = painter(what, with_identity=with_identity)

        def drawn(*args: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == 3:
                reader.window.viewport.resize(500, 400)
            return draw(*args)

        return drawn

    reader.window.film_painter = growing
    app.run_command("file.export_film", FilmWish(tmp_path / "a.avi", 0, 8, 10.0))
    reader.settle()
    assert "one size" in reader.state.notice.text
    assert not (tmp_path / "a.avi").exists()


def test_closing_the_window_asks_before_it_ends_a_film(reader: Reader, tmp_path: Path, monkeypatch: Any) -> None:
    answers = [False]
    monkeypatch.setattr(main, "may_lose_film", lambda _parent: answers.pop())
    painter = reader.window.film_painter
    calls = 0

    def slow(what: Any, *, with_identity: bool) -> Any:
        draw = painter(what, with_identity=with_identity)

        def drawn(*args: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == 2:
                reader.window.close()
            return draw(*args)

        return drawn

    reader.window.film_painter = slow
    made = film(reader, FilmWish(tmp_path / "a.avi", 0, 4, 10.0))
    assert answers == []
    assert len(made) == 5
    assert reader.window.isVisible()


def test_the_dialog_offers_the_whole_stack_and_refuses_what_there_is_not(reader: Reader, qtbot) -> None:
    dialog = FilmDialog(reader.state.selection)
    qtbot.addWidget(dialog)
    assert (dialog.range, dialog.rate_hz, dialog.is_identity_wanted) == ((0, 8), 15.0, False)
    for field, text in (
        (dialog.last, "10"),
        (dialog.last, ""),
        (dialog.first, "0"),
        (dialog.rate, "61"),
        (dialog.rate, "x"),
    ):
        before = field.text()
        field.setText(text)
        assert not dialog.save.isEnabled()
        field.setText(before)
        assert dialog.save.isEnabled()
    dialog.first.setText("7")
    dialog.last.setText("6")
    assert not dialog.save.isEnabled()
    dialog.last.setText("8")
    press(dialog, "Save film…")
    assert (dialog.result(), dialog.range) == (FilmDialog.DialogCode.Accepted, (6, 7))
    assert "Export film" in all_words(dialog)


@pytest.fixture
def heart(main_window, qtbot, tmp_path: Path) -> Reader:
    """Three phases of four slices, 40 ms apart."""
    (tmp_path / "heart").mkdir()
    write_volumes(tmp_path / "heart", 3, lambda v, _p: {"TriggerTime": 40 * v})
    made = Reader(main_window, qtbot)
    made.open(tmp_path / "heart")
    made.window.app.run_command("image.show_volume", 1)
    made.window.app.run_command("image.first")
    made.settle()
    return made


def test_of_volumes_in_time_the_dialog_asks_which_way_and_says_where(heart: Reader, qtbot, monkeypatch: Any) -> None:
    dialogs: list[FilmDialog] = []

    def cancel(dialog: FilmDialog) -> FilmDialog.DialogCode:
        dialogs.append(dialog)
        return FilmDialog.DialogCode.Rejected

    monkeypatch.setattr(FilmDialog, "exec", cancel)
    heart.window.app.run_command("file.export_film")
    heart.window.app.run_command("image.cine_way")
    heart.window.app.run_command("file.export_film")
    assert [(one.way, one.range, one.rate_hz) for one in dialogs] == [("axis", (0, 2), 25.0), ("slices", (0, 3), 15.0)]

    dialog = FilmDialog(heart.state.selection, way="axis")
    qtbot.addWidget(dialog)
    assert (dialog.along.text(), dialog.slices.text()) == (
        "Time: 1 to 3, at slice 1 of 4",
        "Slices: 1 to 4, at Time 2 / 3  40 ms",
    )
    dialog.last.setText("4")
    assert not dialog.save.isEnabled()
    dialog.slices.click()
    assert (dialog.save.isEnabled(), dialog.range, dialog.rate_hz) == (True, (0, 3), 15.0)
    assert dialog.wish.way == "slices"
    dialog.along.click()
    assert (dialog.range, dialog.rate_hz, dialog.wish.way) == ((0, 2), 25.0, "axis")


def test_of_one_volume_the_dialog_asks_no_way(reader: Reader, qtbot) -> None:
    dialog = FilmDialog(reader.state.selection)
    qtbot.addWidget(dialog)
    assert not any("Slices:" in words for words in all_words(dialog))


def test_the_key_asks_and_saves_and_the_kind_of_file_is_remembered(
    reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, offered = ["", "avi", ""], []

    def answer(dialog: FilmDialog) -> FilmDialog.DialogCode:
        offered.append(dialog.kind)
        if chosen.pop(0) == "avi":
            dialog.avi.setChecked(True)
        return FilmDialog.DialogCode.Accepted

    def named(_over: object, _title: str, proposed: str, pattern: str) -> tuple[str, str]:
        assert proposed.endswith(pattern.split("*")[1][:-1])  # film.mp4, MP4 (*.mp4)
        return str(tmp_path / f"mine{len(offered)}"), ""

    monkeypatch.setattr(FilmDialog, "exec", answer)
    monkeypatch.setattr(QFileDialog, "getSaveFileName", named)
    for _ in range(3):
        reader.key(Qt.Key.Key_M, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier)
        reader.settle()
    assert offered == [MP4, MP4, AVI]
    assert len(samples((tmp_path / "mine1.mp4").read_bytes())) == 9
    assert len(frames(tmp_path / "mine2.avi")) == 9
    assert len(frames(tmp_path / "mine3.avi")) == 9


def _refuse(_images: object) -> None:
    raise UnsupportedError("No encoder.")


def test_without_an_encoder_mp4_is_not_offered(reader: Reader, qtbot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mp4_file, "_encoded", _refuse)
    dialog = FilmDialog(reader.state.selection)
    qtbot.addWidget(dialog)
    assert not dialog.mp4.isEnabled()
    assert dialog.kind is AVI


def test_plain_images_follow_the_presentation_state_as_a_picture_does(reader: Reader, tmp_path: Path) -> None:
    """A film of bright lungs beside a picture of dark ones would be of two minds about one image."""
    images = [dcmread(path) for path in sorted((tmp_path / "ct").iterdir())]
    inverse = {"PresentationLUTShape": "INVERSE", "SoftcopyVOILUTSequence": [window(40, 400)]}
    write_state(tmp_path / "ct" / "state.dcm", *images, **inverse)
    reader.open(tmp_path / "ct")
    reader.settle()
    app = reader.window.app
    app.run_command("image.show", 4)
    app.run_command("view.next_presentation")
    reader.settle()
    assert shown_presentation(reader.state) is not None
    app.run_command("file.export_image", ExportWish(tmp_path / "a.png", "stored"))
    (got,) = film(reader, FilmWish(tmp_path / "a.avi", 4, 4, 10.0, "stored"))
    with Image.open(tmp_path / "a.png") as picture:
        expected = np.asarray(picture.convert("RGB")).astype(int)
    assert np.abs(got[:64] - expected[:64]).mean() < 2


def test_a_rate_with_many_digits_is_shown_with_two_and_kept_exactly(reader: Reader, qtbot) -> None:
    now = reader.state.selection
    fluoroscopy = replace(now, stack=replace(now.stack, images=tuple(
        replace(one, frame_rate_hz=1000 / 33.33) for one in now.stack.images
    )))  # fmt: skip
    dialog = FilmDialog(fluoroscopy)
    qtbot.addWidget(dialog)
    assert dialog.rate.text() == "30"
    assert dialog.rate_hz == 1000 / 33.33
    dialog.last.setText("5")
    assert dialog.save.isEnabled()
    dialog.rate.setText("29.97")
    assert (dialog.save.isEnabled(), dialog.rate_hz) == (True, 29.97)


def test_enter_in_a_field_saves_when_it_can_and_on_cancel_cancels(reader: Reader, qtbot) -> None:
    for is_wanted in (True, False):
        dialog = FilmDialog(reader.state.selection)
        qtbot.addWidget(dialog)
        dialog.show()
        dialog.first.setFocus()
        dialog.first.setText("0")
        qtbot.keyClick(dialog.first, Qt.Key.Key_Return)
        assert dialog.isVisible()
        dialog.first.setText("2")
        cancel = next(one for one in dialog.findChildren(QPushButton) if one.text() == "Cancel")
        field = dialog.first if is_wanted else cancel
        field.setFocus()
        qtbot.keyClick(field, Qt.Key.Key_Return)
        assert not dialog.isVisible()
        assert (dialog.result() == FilmDialog.DialogCode.Accepted) == is_wanted
