"""Saving results: what is asked is what is written, identity only where it is wanted, and what lies where is said."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pypdfium2
import pytest
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QDialog, QFileDialog, QPushButton

from medviewer.app import result
from medviewer.app.on_screen import current_answer
from medviewer.app.saving import Saved, SaveWish
from medviewer.gui import result_page
from medviewer.gui.save_dialog import SavedDialog, SaveDialog
from tests.answers import EFFUSION, PNEUMONIA, make_abstention, make_answer
from tests.gui.reader import Reader
from tests.gui.seen import all_words, settle
from tests.radiographs import write_radiograph


@pytest.fixture
def reader(main_window: Any, qtbot: Any, tmp_path: Path) -> Reader:
    made = Reader(main_window, qtbot)
    made.open(write_radiograph(tmp_path / "a.dcm"))
    made.window.app.run_command("model.run")
    made.settle()
    assert current_answer(made.state) is not None
    return made


def dialog_of(qtbot: Any, *findings: Any, **changes: Any) -> SaveDialog:
    made = SaveDialog(make_answer(*findings), **changes)
    qtbot.addWidget(made)
    return made


def test_nothing_is_saved_before_there_is_a_folder(qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dialog = dialog_of(qtbot)
    assert dialog.wish is None
    assert not dialog.save.isEnabled()
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_a, **_k: "")
    dialog.choose.click()
    assert not dialog.save.isEnabled()
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_a, **_k: str(tmp_path))
    dialog.choose.click()
    assert dialog.save.isEnabled()
    assert str(tmp_path) in dialog.folder.text()
    usual = frozenset(("report", "capture", "maps", "keys"))
    assert dialog.wish == SaveWish(tmp_path, usual, with_pdf=True, with_identity=True)


def test_what_is_ticked_is_what_is_wished(qtbot: Any, tmp_path: Path) -> None:
    dialog = dialog_of(qtbot)
    dialog.use_folder(tmp_path)
    for box in (*dialog.boxes.values(), dialog.pdf):
        box.setChecked(False)
    dialog.always.click()
    assert dialog.always.isChecked()
    assert dialog.wish == SaveWish(tmp_path, frozenset())
    for name, box in dialog.boxes.items():
        box.setChecked(True)
        wish = dialog.wish
        assert wish is not None
        assert wish.outputs == {name}
        box.setChecked(False)


def test_what_is_not_saved_is_not_ticked_and_comes_back_as_it_was(qtbot: Any) -> None:
    dialog = dialog_of(qtbot)
    dialog.boxes["capture"].setChecked(False)
    dialog.boxes["segments"].setChecked(True)
    before = {name: box.isChecked() for name, box in dialog.boxes.items()}
    assert len(set(before.values())) == 2
    dialog.without.setChecked(True)
    assert not any(box.isChecked() for box in dialog.boxes.values())
    dialog.with_identity.setChecked(True)
    assert {name: box.isChecked() for name, box in dialog.boxes.items()} == before
    assert not any(box.isChecked() for box in dialog_of(qtbot, identity_hidden=True).boxes.values())


@pytest.mark.reliability
def test_without_identity_no_dicom_object_can_be_wished(qtbot: Any, tmp_path: Path) -> None:
    dialog = dialog_of(qtbot)
    dialog.use_folder(tmp_path)
    dialog.without.setChecked(True)
    assert not any(box.isEnabled() for box in dialog.boxes.values())
    assert dialog.wish == SaveWish(tmp_path, frozenset(), with_pdf=True, with_identity=False)
    dialog.with_identity.setChecked(True)
    assert dialog.boxes["report"].isEnabled()


def test_hidden_identity_is_not_offered_and_no_folder_named(qtbot: Any, tmp_path: Path) -> None:
    dialog = dialog_of(qtbot, identity_hidden=True)
    dialog.use_folder(tmp_path / "DOE_JANE")
    assert not dialog.with_identity.isEnabled()
    assert "DOE" not in all_words(dialog)
    wish = dialog.wish
    assert wish is not None
    assert not wish.with_identity
    saved = SavedDialog(Saved(tmp_path / "DOE_JANE", ("result.json",), ()), identity_hidden=True)
    qtbot.addWidget(saved)
    assert "DOE" not in all_words(saved)
    assert "result.json" in all_words(saved)


@pytest.mark.parametrize(
    ("answer", "has_map", "gone", "words"),
    [
        (make_answer(EFFUSION), True, {"keys"}, "The model flagged nothing"),
        (make_answer(PNEUMONIA), False, {"maps", "segments"}, "There is no heat map"),
        (make_abstention(), False, {"report", "capture", "maps", "segments", "keys"}, "The model gave no answer"),
    ],
)
def test_what_there_cannot_be_says_why(qtbot: Any, answer: Any, has_map: bool, gone: set[str], words: str) -> None:
    dialog = SaveDialog(answer, has_map=has_map)
    qtbot.addWidget(dialog)
    assert {name for name, box in dialog.boxes.items() if not box.isEnabled()} == gone
    assert not any(dialog.boxes[name].isChecked() for name in gone)  # type: ignore[index]
    assert words in all_words(dialog)


def test_each_file_can_be_opened_and_what_was_not_made_says_why(qtbot: Any, tmp_path: Path, monkeypatch: Any) -> None:
    opened: list[str] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()))
    names = ("result.json", "report.pdf", "map-grad-cam.pm.dcm")
    dialog = SavedDialog(Saved(tmp_path, names, (("finding.sr.dcm", "The image has no Study UID."),)))
    qtbot.addWidget(dialog)
    for name in names:
        next(one for one in dialog.findChildren(QPushButton) if one.text() == name).click()
    dialog.open_folder.click()
    assert opened == [*(str(tmp_path / name) for name in names), str(tmp_path)]
    assert "finding.sr.dcm was not made: The image has no Study UID." in all_words(dialog)


def test_the_command_asks_saves_and_says_what_lies_where(
    reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[Saved] = []
    monkeypatch.setattr(SavedDialog, "exec", lambda self: said.append(self.saved))

    def accept(self: SaveDialog) -> QDialog.DialogCode:
        self.use_folder(tmp_path / "out")
        self.boxes["segments"].setChecked(True)
        return QDialog.DialogCode.Accepted

    monkeypatch.setattr(SaveDialog, "exec", accept)
    reader.window.app.run_command("file.save_results")
    reader.settle()
    [saved] = said
    assert set(saved.names) == {path.name for path in (tmp_path / "out").iterdir()}
    assert {"result.json", "finding.sr.dcm", "report.pdf", "map-grad-cam.pm.dcm"} <= set(saved.names)
    text = pypdfium2.PdfDocument(tmp_path / "out" / "report.pdf")[0].get_textpage().get_text_range()
    assert "Alpha, Anna" in text
    assert "Research use only" in text
    settle()
    kept = [type(one).__name__ for one in reader.window.findChildren(QDialog)]
    assert kept == []  # neither the question nor the answer, which know the patient


def test_the_page_is_drawn_while_the_window_goes_on(
    reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pictures at full size too; drawn where the window waits, a large radiograph would hold it."""
    in_window: list[tuple[str, bool]] = []

    def noted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **more: Any) -> Any:
            in_window.append((name, threading.current_thread() is threading.main_thread()))
            return call(*arguments, **more)

        return run

    for place, name in (
        (result, "to_display"), (result, "blend"), (result_page, "pdf_of"), (result_page, "_paint_picture"),
        (result_page, "height_of"),
    ):  # fmt: skip
        monkeypatch.setattr(place, name, noted(name, getattr(place, name)))
    wish = SaveWish(tmp_path / "out", frozenset(), with_pdf=True)
    reader.window.app.run_command("file.save_results", wish)
    reader.settle()
    assert (tmp_path / "out" / "report.pdf").is_file()
    assert {name for name, _ in in_window} == {"to_display", "blend", "pdf_of", "_paint_picture", "height_of"}
    assert not [name for name, is_there in in_window if is_there]


@pytest.mark.reliability
def test_saving_without_identity_leaves_no_file_that_says_who_it_is(reader: Reader, tmp_path: Path) -> None:
    wish = SaveWish(tmp_path / "out", frozenset(("report", "maps")), with_pdf=True, with_identity=False)
    reader.window.app.run_command("file.save_results", wish)
    reader.settle()
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert "report.pdf" in names
    assert not any(name.endswith(".dcm") for name in names)
    text = pypdfium2.PdfDocument(tmp_path / "out" / "report.pdf")[0].get_textpage().get_text_range()
    every = [text.encode(), *(path.read_bytes() for path in (tmp_path / "out").iterdir())]
    for secret in (b"Alpha", b"Anna", b"2001-02-03", b"20010203"):
        assert not any(secret in content for content in every), secret


@pytest.mark.reliability
def test_hidden_identity_is_not_saved(reader: Reader, tmp_path: Path) -> None:
    reader.window.app.run_command("view.hide_identity")
    reader.window.app.run_command("file.save_results", SaveWish(tmp_path / "out"))
    reader.settle()
    assert not (tmp_path / "out").exists()
    assert reader.state.notice is not None
    assert "Identity is hidden" in reader.state.notice.text
    wish = replace(SaveWish(tmp_path / "out"), with_identity=False)
    reader.window.app.run_command("file.save_results", wish)
    reader.settle()
    assert (tmp_path / "out" / "result.json").exists()
