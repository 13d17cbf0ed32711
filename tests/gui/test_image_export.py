"""Pictures that leave the program: the right pixels, no identity unless wanted, and always what they are not for."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QImage, QPainter
from PySide6.QtWidgets import QApplication, QFileDialog, QPushButton

from medviewer.app.exporting import ExportWish
from medviewer.app.printing import PrintWish
from medviewer.gui.cards import ScrollColumn
from medviewer.gui.film_dialog import FilmDialog
from medviewer.gui.image_export import ExportDialog, with_foot
from medviewer.gui.print_dialog import PrintDialog
from medviewer.gui.text import use_language
from medviewer.imaging.display import to_display
from tests.gui.reader import Reader
from tests.gui.seen import all_words, press
from tests.radiographs import write_radiograph

RESEARCH = "Research use only - not for diagnosis"


@pytest.fixture
def reader(main_window, qtbot, tmp_path: Path) -> Reader:
    made = Reader(main_window, qtbot)
    made.open(write_radiograph(tmp_path / "a.dcm"))
    return made


@pytest.fixture
def drawn_words(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All text that is painted, as painted."""
    found: list[str] = []
    real: Callable[..., Any] = QPainter.drawText

    def draw(self: QPainter, *args: Any) -> Any:
        found.extend(a for a in args if isinstance(a, str))
        return real(self, *args)

    monkeypatch.setattr(QPainter, "drawText", draw)
    return found


def array(image: QImage) -> np.ndarray:
    rgb = image.convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(rgb.constBits(), np.uint8).reshape(rgb.height(), rgb.bytesPerLine())
    return rows[:, : rgb.width() * 3].reshape(rgb.height(), rgb.width(), 3).copy()


def save(reader: Reader, wish: ExportWish) -> QImage:
    reader.window.app.run_command("file.export_image", wish)
    reader.settle()
    image = QImage(str(wish.path))
    assert not image.isNull()
    return image


def test_the_plain_image_has_every_stored_pixel_and_a_foot(
    reader: Reader, tmp_path: Path, drawn_words: list[str]
) -> None:
    reader.window.app.run_command("view.invert")
    reader.window.app.run_command("view.flip_horizontal")
    saved = array(save(reader, ExportWish(tmp_path / "x.png", "stored")))
    frame = reader.state.frame
    rows, columns = frame.stored.shape
    assert saved.shape[1] == columns
    assert (saved[:rows, :, 0] == to_display(frame, None, invert=True)).all()
    assert saved.shape[0] > rows
    assert saved[rows:].max() > 100
    assert any(RESEARCH in text for text in drawn_words)
    assert not any("Alpha" in text for text in drawn_words)


def test_the_picture_as_on_screen_says_nobody_unless_wanted(
    reader: Reader, tmp_path: Path, drawn_words: list[str]
) -> None:
    without = save(reader, ExportWish(tmp_path / "x.png"))
    assert not any("Alpha" in text or "A1" in text for text in drawn_words)
    assert any(RESEARCH in text for text in drawn_words)
    wide = save(reader, ExportWish(tmp_path / "y.png", with_identity=True))
    assert any("Alpha, Anna" in text and RESEARCH in text for text in drawn_words)
    assert (
        without.width()
        == wide.width()
        == round(reader.window.viewport.width() * reader.window.viewport.devicePixelRatioF())
    )
    assert not reader.state.identity_hidden


def test_without_identity_is_what_a_window_shows_that_hides_it(reader: Reader, tmp_path: Path) -> None:
    without = array(save(reader, ExportWish(tmp_path / "x.png")))
    wide = array(save(reader, ExportWish(tmp_path / "y.png", with_identity=True)))
    reader.window.app.run_command("view.hide_identity")
    hidden = array(save(reader, ExportWish(tmp_path / "z.png")))
    # Not to the last pixel: the first time that a letter is drawn, its edge may come out a shade apart.
    assert np.count_nonzero((without != hidden).any(axis=2)) <= 5
    corner = np.s_[:60, :200]
    assert (wide[corner] != without[corner]).any()


def test_what_the_window_shows_is_not_changed_by_drawing_it(reader: Reader) -> None:
    viewport = reader.window.viewport
    before = viewport.painted_attribution, viewport._state
    reader.window.draw_image("view", with_identity=False)
    assert (viewport.painted_attribution, viewport._state) == before
    assert viewport._state is reader.state


def test_a_png_holds_pixels_and_nothing_about_anybody(reader: Reader, tmp_path: Path) -> None:
    save(reader, ExportWish(tmp_path / "x.png"))
    content = (tmp_path / "x.png").read_bytes()
    kinds, at = set(), 8
    while at < len(content):
        (length,) = struct.unpack_from(">I", content, at)
        kinds.add(content[at + 4 : at + 8])
        at += 12 + length
    assert kinds <= {b"IHDR", b"pHYs", b"IDAT", b"IEND"}


def test_the_clipboard_gets_the_picture_without_identity_by_its_key(reader: Reader, drawn_words: list[str]) -> None:
    drawn_words.clear()
    reader.window.app.run_command("view.corner_text")
    reader.key(Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    image = QApplication.clipboard().image()
    assert image.width() > 100
    assert reader.state.notice.text == "The image was copied, without identity."
    assert any(RESEARCH in text for text in drawn_words)


@pytest.mark.parametrize("width", [1, 16, 64, 3000])
@pytest.mark.parametrize("ratio", [1.0, 2.0])
def test_the_foot_fits_pictures_of_any_width(reader: Reader, width: int, ratio: float) -> None:
    image = QImage(width, 8, QImage.Format.Format_RGB32)
    image.setDevicePixelRatio(ratio)
    image.fill(0)
    made = with_foot(image, reader.state, with_identity=True)
    assert made.width() == width
    assert made.height() > 8
    assert width == 1 or array(made)[8:].max() > 50


def test_identity_is_asked_for_and_said_before_it_goes(qtbot) -> None:
    dialog = ExportDialog()
    qtbot.addWidget(dialog)
    assert (dialog.what, dialog.is_identity_wanted) == ("view", False)
    assert "Whoever gets this picture" not in all_words(dialog)
    dialog.with_identity.setChecked(True)
    dialog.plain.setChecked(True)
    assert "Whoever gets this picture will know who the patient is." in all_words(dialog)
    assert (dialog.what, dialog.is_identity_wanted) == ("stored", True)
    press(dialog, "Save as PNG…")
    assert dialog.result() == ExportDialog.DialogCode.Accepted


def test_hidden_identity_cannot_be_exported(qtbot) -> None:
    dialog = ExportDialog(identity_hidden=True)
    qtbot.addWidget(dialog)
    assert not dialog.with_identity.isEnabled()
    assert "Identity is hidden in the window." in all_words(dialog)


def test_the_name_that_is_proposed_says_nobody(reader: Reader, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    proposed: list[str] = []

    def ask(_parent: object, _title: str, name: str, _kinds: str) -> tuple[str, str]:
        proposed.append(name)
        return str(tmp_path / "x.png"), ""

    monkeypatch.setattr(QFileDialog, "getSaveFileName", ask)
    monkeypatch.setattr(ExportDialog, "exec", lambda _dialog: ExportDialog.DialogCode.Accepted)
    reader.window.app.run_command("file.export_image")
    reader.settle()
    assert proposed[0].endswith("image.png")
    assert (tmp_path / "x.png").is_file()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_on_a_low_screen_what_is_asked_scrolls_and_the_buttons_stay(reader: Reader, qtbot: Any, language: str) -> None:
    """1280x720 at 200 % is 640x360, less the window's frame."""
    use_language(language)
    made = (
        ExportDialog(),
        FilmDialog(reader.state.selection),
        PrintDialog(PrintWish(), reader.window.draw_sheet, identity_hidden=False),
    )
    for dialog in made:
        qtbot.addWidget(dialog)
        dialog.show()
        dialog.resize(624, 312)
        reader.wait(lambda shown=dialog: shown.height() == 312)  # type: ignore[misc]
        buttons = [one for one in dialog.findChildren(QPushButton) if one.isVisible()]
        assert len(buttons) >= 2
        for one in buttons:
            place = one.rect().translated(one.mapTo(dialog, QPoint(0, 0)))
            assert dialog.rect().contains(place), (type(dialog).__name__, one.text())
        scroll = dialog.findChild(ScrollColumn)
        assert scroll is not None
        assert scroll.verticalScrollBar().maximum() > 0
