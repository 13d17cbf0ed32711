"""Training in the window, acted by a reader: data, settings, begin, stop, go on, compare, use, take back."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QDialog, QLineEdit, QProgressBar, QPushButton, QWidget

from medviewer.app import own_process
from medviewer.app.training_progress import Curve, RunProgress
from medviewer.gui import path_field, save_dialog, theme, training_dialog, window
from medviewer.gui.cards import Disclosure, FactRow
from medviewer.gui.closing_question import ClosingQuestion
from medviewer.gui.path_field import PathField
from medviewer.gui.settings_table import SettingsTable
from medviewer.gui.text import ElidedLabel, PlainLabel, tr, use_language
from medviewer.gui.training_cards import comparison_card, data_card, figures_card, unmeasurable
from medviewer.gui.training_dialog import TrainingDialog
from medviewer.gui.training_live import LiveTraining, progress_words
from medviewer.gui.training_plot import TrainingPlot
from medviewer.inference import installing
from medviewer.inference.card import read_card
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.signing import TrustFile
from medviewer.resources import models_dir
from tests import fakes, training_program
from tests.gui import seen
from tests.gui.reader import Reader
from tests.gui.seen import is_offered
from tests.radiographs import write_radiograph
from tests.unit.app.test_trainer import trained_model


@pytest.fixture
def reader(main_window, qtbot, medviewer_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    """A window whose training processes are quick, beside a bundled model of the id that a recipe makes."""
    monkeypatch.setattr(own_process, "program", lambda: (sys.executable, training_program.__file__))
    monkeypatch.setattr(installing, "accept", lambda *_args, **_options: None)
    monkeypatch.setattr(window, "may_stop_training", lambda _parent: True)  # at the end of each test
    monkeypatch.setenv("MEDVIEWER_TEST_MODEL", str(trained_model(tmp_path / "made")))
    engine = main_window.app.engine
    bundled = engine.catalogue.folders[0]
    fakes.make_model(bundled / "mine", id="mine", version="1.0.0")
    engine.catalogue = Catalogue([medviewer_home / "models", bundled], TrustFile(medviewer_home))
    return Reader(main_window, qtbot)


@pytest.fixture
def dialog(reader: Reader) -> TrainingDialog:
    reader.window.app.run_command("model.train")
    made = reader.window.training
    assert made is not None
    reader.wait(lambda: made.list.count() == 3)
    return made


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "films"
    folder.mkdir()
    return folder


def all_words(widget: QWidget) -> str:
    QApplication.processEvents()
    return seen.all_words(widget)


def press(widget: QWidget, title: str) -> None:
    QApplication.processEvents()
    seen.press(widget, title)
    QApplication.processEvents()


def unfold(dialog: QWidget, title: str) -> None:
    QApplication.processEvents()
    seen.settle()
    [fold] = [one for one in dialog.findChildren(Disclosure) if one.header.text() == title and one.isVisibleTo(dialog)]
    fold.header.setChecked(True)


def trained(reader: Reader, dialog: TrainingDialog, data: Path) -> None:
    dialog.use_data("films", data)
    press(dialog, "Begin")
    reader.wait(lambda: is_offered(dialog, "Put it into use"))


def test_recipes_are_described_and_the_first_is_chosen(dialog: TrainingDialog) -> None:
    assert [dialog.list.item(row).text() for row in range(2)] == [
        "Films & findings\nnot trained here",
        "A recipe that says nothing\nnot trained here",
    ]
    said = all_words(dialog)
    assert "A folder of films." in said
    assert "A moment." in said
    assert "Nothing chosen yet\nChoose a folder or a file (.csv, .npz), or drop it here." in said
    assert not is_offered(dialog, "Begin")
    assert not is_offered(dialog, "Look at the data")


def test_a_recipe_that_says_nothing_can_be_trained_all_the_same(
    reader: Reader, dialog: TrainingDialog, data: Path
) -> None:
    dialog.list.setCurrentRow(1)
    dialog.use_data("bare", data)
    assert "A recipe that says nothing" in all_words(dialog)
    assert not [one for one in dialog.findChildren(Disclosure) if one.header.text() == "Settings"]
    press(dialog, "Begin")
    reader.wait(lambda: is_offered(dialog, "Put it into use"))


def test_a_recipe_that_lacks_a_package_says_which_and_leaves_the_others_usable(dialog: TrainingDialog) -> None:
    dialog.list.setCurrentRow(2)
    assert "Training needs the package weights: pip install 'medviewer[torch,cpu]'." in all_words(dialog)
    assert "Begin" not in all_words(dialog)
    dialog.list.setCurrentRow(0)
    assert "Begin" in all_words(dialog)


def test_what_stops_a_training_is_said_before_it(
    reader: Reader, dialog: TrainingDialog, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(save_dialog.QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()))
    dialog.use_data("films", data)
    press(dialog, "Look at the data")
    reader.wait(lambda: "12 cases of 10 patients: NORMAL 5, PNEUMONIA 7" in all_words(dialog))
    assert "The part tune has no case of NORMAL." in all_words(dialog)
    assert "8: NORMAL 3, PNEUMONIA 5" in all_words(dialog)
    press(dialog, "Open the whole report")
    assert opened == [str(dialog.trainer.report_page("films"))]
    dialog.use_data("films", data.parent)  # of other data nothing is known
    assert "12 cases" not in all_words(dialog)


@pytest.mark.parametrize(
    ("is_published", "said"),
    [(True, "The published data"), (False, "Other than the published data"), (None, "")],
)
def test_whether_the_data_are_the_published_ones_is_told(qtbot, *, is_published: bool | None, said: str) -> None:
    card = data_card(training_program.DATA | {"is_published": is_published})
    qtbot.addWidget(card)
    card.show()
    assert ("Source" in all_words(card)) is bool(said)
    assert said in all_words(card)


@pytest.mark.parametrize(
    "unit", ["groups of near copies", "patients (those with near copies of each other are one)", "skeletons"]
)
def test_what_is_kept_together_is_called_what_it_is(qtbot, unit: str) -> None:
    said = {}
    for name in ("en", "zh"):
        use_language(name)
        card = data_card(training_program.DATA | {"unit": unit})
        qtbot.addWidget(card)
        card.show()
        said[name] = all_words(card)
    assert f"12 cases of 10 {unit}: NORMAL 5" in said["en"]
    assert re.search(r"12 例，10 个[^a-z]+：NORMAL 5", said["zh"])


def test_looking_can_be_cancelled(reader: Reader, dialog: TrainingDialog, data: Path) -> None:
    (data / "waits").touch()
    dialog.use_data("films", data)
    press(dialog, "Look at the data")
    reader.wait(lambda: (data / "asked").exists() and is_offered(dialog, "Cancel"))
    press(dialog, "Cancel")
    reader.wait(lambda: is_offered(dialog, "Look at the data"))
    assert dialog.trainer.problems == {}


def test_a_setting_is_changed_by_the_keyboard(reader: Reader, dialog: TrainingDialog, data: Path) -> None:
    dialog.use_data("films", data)
    unfold(dialog, "Settings")
    QApplication.processEvents()
    [table] = dialog.findChildren(SettingsTable)
    dialog.activateWindow()
    table.setFocus()
    table.setCurrentItem(table.topLevelItem(1), 1)
    QTest.keyClick(table, Qt.Key.Key_F2)
    [field] = table.findChildren(QLineEdit)
    field.selectAll()
    QTest.keyClicks(field, "0.25")
    QTest.keyClick(field, Qt.Key.Key_Return)
    press(dialog, "Begin")
    reader.wait(lambda: is_offered(dialog, "Put it into use"))
    words = json.loads((data / "asked").read_text())
    assert words[-2:] == ["--set", "rate=0.25"]


def test_names_of_settings_cannot_be_changed(dialog: TrainingDialog) -> None:
    [table] = dialog.findChildren(SettingsTable)
    table.editItem(table.topLevelItem(0), 0)
    assert not table.findChildren(QLineEdit)


@pytest.fixture
def table(data: Path) -> Path:
    file = data / "table.csv"
    file.touch()
    return file


def fields(dialog: QWidget) -> list[PathField]:
    """The field of the data, then those of settings."""
    QApplication.processEvents()
    seen.settle()
    return dialog.findChildren(PathField)


def asked_with(data: Path) -> list[str]:
    return [words[words.index("--data") + 1] for words in map(json.loads, (data / "asked").read_text().splitlines())]


def drop(field: PathField, *paths: Path) -> bool:
    """Drag files over a field and let go; returns whether it would take them."""
    held = QMimeData()
    held.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    copy, none = Qt.DropAction.CopyAction, (Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier)
    enter = QDragEnterEvent(QPoint(5, 5), copy, held, *none)
    enter.ignore()
    QApplication.sendEvent(field, enter)
    if not enter.isAccepted():
        return False
    assert field.property("kind") == "drop-over"
    QApplication.sendEvent(field, QDropEvent(QPointF(5, 5), copy, held, *none))
    return True


def test_a_file_is_chosen_by_its_kind_looked_at_and_learned_from(
    reader: Reader, dialog: TrainingDialog, data: Path, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered: list[str] = []

    def choose(_parent: QWidget, _title: str, _start: str, kinds: str) -> tuple[str, str]:
        offered.append(kinds)
        return str(table), kinds

    monkeypatch.setattr(path_field.QFileDialog, "getOpenFileName", choose)
    press(dialog, "File…")
    assert offered == ["Training data (*.csv *.npz)"]
    assert f"table.csv\n{data}\n" in all_words(dialog)
    press(dialog, "Look at the data")
    reader.wait(lambda: "12 cases of 10 patients" in all_words(dialog))
    press(dialog, "Begin")
    reader.wait(lambda: is_offered(dialog, "Put it into use"))
    assert asked_with(data) == [str(table), str(table)]


def test_a_folder_is_chosen_by_the_keyboard_and_the_next_choice_starts_there(
    dialog: TrainingDialog, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, starts = [str(data), ""], []

    def choose(_parent: QWidget, _title: str, start: str) -> str:
        starts.append(start)
        return answers.pop(0)

    monkeypatch.setattr(path_field.QFileDialog, "getExistingDirectory", choose)
    for _ in range(2):
        [field] = [one for one in fields(dialog) if "Training data" in one.accessibleName()]
        folder = field.findChildren(QPushButton)[0]
        assert folder.accessibleDescription() == "Training data"
        folder.setFocus()
        QTest.keyClick(folder, Qt.Key.Key_Space)
    assert starts == [str(Path.home()), str(data)]
    assert dialog.trainer.data_of("films") == str(data)  # a dialog that was left changes nothing
    assert is_offered(dialog, "Begin")


def test_a_folder_or_a_file_is_dropped_but_not_two(dialog: TrainingDialog, data: Path, table: Path) -> None:
    for path in (table, data):
        assert drop(fields(dialog)[0], path)
        assert dialog.trainer.data_of("films") == str(path)
    assert not drop(fields(dialog)[0], table, data)
    assert dialog.trainer.data_of("films") == str(data)
    assert fields(dialog)[0].property("kind") == "drop"


def test_a_recipe_of_folders_offers_no_file_and_refuses_one(dialog: TrainingDialog, data: Path, table: Path) -> None:
    dialog.list.setCurrentRow(1)
    assert [one.text() for one in fields(dialog)[0].findChildren(QPushButton) if one.text()] == ["Folder…"]
    drop(fields(dialog)[0], table)
    said = all_words(dialog)
    assert "table.csv is a file; this recipe takes a folder: choose the one with its data." in said
    assert "Nothing chosen yet\nChoose a folder, or drop it here." in said


@pytest.mark.parametrize(
    ("language", "sentence"),
    [
        ("en", "notes.txt is no file of this recipe; choose a folder or one of these files: .csv, .npz."),
        ("zh", "notes.txt 不是该训练方案的文件；请选择文件夹或以下类型的文件：.csv, .npz。"),
    ],
)
def test_a_wrong_file_is_one_sentence_and_what_was_chosen_stays(
    reader: Reader, dialog: TrainingDialog, data: Path, table: Path, language: str, sentence: str
) -> None:
    reader.window.app.session.update(language=language)
    dialog.use_data("films", table)
    (data / "notes.txt").touch()
    drop(fields(dialog)[0], data / "notes.txt")
    assert all_words(dialog).count("notes.txt") == 1
    assert sentence in all_words(dialog)
    assert f"table.csv\n{data}\n" in all_words(dialog)
    dialog.use_data("films", data)
    assert "notes.txt" not in all_words(dialog)


def test_the_choice_is_there_when_the_window_is_opened_again(
    reader: Reader, dialog: TrainingDialog, data: Path, table: Path
) -> None:
    dialog.use_data("films", table)
    dialog.list.setCurrentRow(1)
    dialog.use_data("bare", data)
    press(dialog, "Close")
    reader.window.app.training._chosen.clear()  # as in the next session
    reader.window.app.run_command("model.train")
    again = reader.window.training
    assert again is not None
    assert f"table.csv\n{data}\n" in all_words(again)
    again.list.setCurrentRow(1)
    assert f"films\n{data.parent}\n" in all_words(again)
    assert is_offered(again, "Begin")


def change(dialog: QWidget, row: int, text: str) -> None:
    [table] = dialog.findChildren(SettingsTable)
    table.topLevelItem(row).setText(1, text)
    QApplication.processEvents()


def test_settings_say_what_they_are_and_a_refused_one_is_named_at_once(
    reader: Reader, dialog: TrainingDialog, data: Path
) -> None:
    dialog.use_data("films", data)
    unfold(dialog, "Settings")
    [table] = dialog.findChildren(SettingsTable)
    assert table.topLevelItem(0).text(2) == "cases a step, over all processes."
    table.setCurrentItem(table.topLevelItem(0), 1)
    assert "batch: cases a step, over all processes." in all_words(dialog)
    table.setCurrentItem(table.topLevelItem(1), 1)  # of which the recipe says nothing
    assert "batch: cases" not in all_words(dialog)
    sentence = "The setting batch cannot be 'many'; an example is 32."
    change(dialog, 0, "many")
    assert table.topLevelItem(0).text(2) == sentence
    assert not table.topLevelItem(0).icon(1).isNull()
    assert all_words(dialog).count(sentence) == 1
    press(dialog, "Begin")
    assert dialog.trainer.problems == {"films": sentence}
    assert not (data / "asked").exists()
    seen.settle()
    [fold] = [one for one in dialog.findChildren(Disclosure) if one.header.text() == "Settings"]
    assert fold.header.isChecked()  # it is still open, with what was typed
    change(dialog, 0, "16")
    [table] = dialog.findChildren(SettingsTable)
    assert table.topLevelItem(0).text(2) == "cases a step, over all processes."
    assert table.topLevelItem(0).icon(1).isNull()
    press(dialog, "Begin")
    reader.wait(lambda: is_offered(dialog, "Put it into use"))
    assert json.loads((data / "asked").read_text())[-2:] == ["--set", "batch=16"]


def test_a_setting_that_is_a_path_is_chosen_refused_and_taken_back(
    reader: Reader, dialog: TrainingDialog, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data / "w.safetensors").touch()
    answers = [str(data / "gone.safetensors"), str(data / "w.safetensors")]
    kinds: list[str] = []

    def choose(_parent: QWidget, _title: str, _start: str, offered: str) -> tuple[str, str]:
        kinds.append(offered)
        return answers.pop(0), offered

    monkeypatch.setattr(path_field.QFileDialog, "getOpenFileName", choose)
    dialog.use_data("films", data)
    unfold(dialog, "Settings")
    _, weights, curves = fields(dialog)
    assert "weights\nAbout weights.\nNone\nChoose a file, or drop it here.\n" in all_words(dialog)
    assert "checkpoints" not in all_words(dialog)  # where a run is kept, the window needs to know
    press(weights, "File…")
    assert kinds == ["weights (*.safetensors)"]
    said = f"The setting weights names {data / 'gone.safetensors'}, where there is no file; give one that is there."
    assert said in all_words(dialog)
    press(weights, "File…")
    assert "where there is no" not in all_words(dialog)
    assert f"w.safetensors\n{data}\n" in all_words(weights) + "\n"
    drop(curves, data / "new")  # which is made
    assert "where there is no" not in all_words(dialog)
    [clear] = [one for one in curves.findChildren(QPushButton) if one.accessibleName() == "Choose none"]
    clear.click()
    assert not clear.isVisible()
    press(dialog, "Begin")
    reader.wait(lambda: is_offered(dialog, "Put it into use"))
    words = json.loads((data / "asked").read_text())
    assert [word for word in words if "=" in word] == [f"weights={data / 'w.safetensors'}"]


def test_the_table_follows_the_theme(reader: Reader, dialog: TrainingDialog) -> None:
    [table] = dialog.findChildren(SettingsTable)
    change(dialog, 0, "many")
    for name in ("light", "dark"):
        reader.window.app.session.update(theme=name)
        row = table.topLevelItem(1)
        assert row.foreground(1).color().name() == theme.THEMES[name].text
        assert table.topLevelItem(0).foreground(1).color().name() == theme.THEMES[name].alarm


def test_what_a_setting_means_goes_below_the_table_where_it_has_no_room(dialog: TrainingDialog) -> None:
    unfold(dialog, "Settings")
    [table] = dialog.findChildren(SettingsTable)
    for width, is_hidden in ((940, False), (500, True)):
        dialog.resize(width, 500)
        QApplication.processEvents()
        assert table.isColumnHidden(2) == is_hidden


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_buttons_of_a_path_go_below_it_in_a_narrow_window(qtbot, language: str) -> None:
    use_language(language)
    field = PathField("Training data", ("folder", "file"), lambda _: None)
    qtbot.addWidget(field)
    field.show_path("/somewhere/a-name-that-is-rather-long-for-any-file.csv", "")
    field.show()
    for width, is_below in ((640, False), (240, True)):
        field.resize(width, 120)
        QApplication.processEvents()
        first = field.findChildren(QPushButton)[0]
        label = field.findChildren(ElidedLabel)[1]
        assert (first.y() > label.geometry().bottom()) == is_below
        inside = [one for one in (*field.findChildren(QPushButton), label) if one.isVisible()]
        assert all(field.rect().contains(one.geometry()) for one in inside)


def test_it_is_watched_stopped_and_gone_on_with_while_the_viewer_is_used(
    reader: Reader, dialog: TrainingDialog, data: Path, tmp_path: Path
) -> None:
    (data / "waits").touch()
    dialog.use_data("films", data)
    press(dialog, "Begin")
    reader.wait(lambda: "epoch 2 · step 3 of 6" in all_words(dialog))
    [live] = dialog.findChildren(LiveTraining)
    assert (live.bar.value(), live.bar.maximum()) == (3, 6)
    assert "train 8, report 4" in live.log.toPlainText()
    assert "Loss: 0.6111" in all_words(dialog)
    assert "Validation score: 0.6000" in all_words(dialog)
    assert dialog.list.item(0).text().endswith("being trained")
    reader.window.app.run_command("file.open_files", [write_radiograph(tmp_path / "a.dcm")])
    reader.wait(lambda: reader.state.frame is not None)
    assert dialog.trainer.is_running
    dialog.list.setCurrentRow(1)
    assert "Another recipe is being trained; one at a time." in all_words(dialog)
    assert not is_offered(dialog, "Begin")
    dialog.list.setCurrentRow(0)
    press(dialog, "Stop")
    reader.wait(lambda: is_offered(dialog, "Go on"))
    assert dialog.trainer.problems == {}
    assert "A run of 20" in all_words(dialog)
    (data / "waits").unlink()
    press(dialog, "Go on")
    reader.wait(lambda: is_offered(dialog, "Put it into use"))
    unfold(dialog, "How it learned")
    [live] = dialog.findChildren(LiveTraining)
    assert "going on from step 3" in live.log.toPlainText()
    assert not [bar for bar in live.findChildren(QProgressBar) if bar.isVisibleTo(dialog)]
    assert reader.state.notice.text == "The training is complete; Train a model compares the new model."


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_failure_is_one_sentence_and_can_be_gone_on_from(
    reader: Reader, dialog: TrainingDialog, data: Path, language: str
) -> None:
    reader.window.app.session.update(language=language)
    (data / "dies").touch()
    dialog.use_data("films", data)
    dialog._begin(dialog.recipes[0])
    reader.wait(lambda: "films" in dialog.trainer.problems)
    wanted = {
        "en": "The process ended unexpectedly (signal 9); perhaps the memory was used up.",
        "zh": "进程意外结束（signal 9）",
    }
    reader.wait(lambda: wanted[language] in all_words(dialog))
    assert is_offered(dialog, {"en": "Go on", "zh": "继续训练"}[language])
    assert "Traceback" not in all_words(dialog)


def test_both_models_are_measured_and_the_new_one_takes_the_place_only_after_a_yes(
    reader: Reader, dialog: TrainingDialog, data: Path
) -> None:
    trained(reader, dialog, data)
    assert "0.900 (0.850, 0.950)" in all_words(dialog)
    press(dialog, "Measure both on the same cases")
    reader.wait(lambda: "On the same cases: 40 of 33 patients" in all_words(dialog))
    said = all_words(dialog)
    assert "+0.030 (0.010, 0.050)" in said
    assert "Right where the other is wrong: 7 cases and 2 cases (McNemar's exact test: p = 0.180)." in said
    assert "In use 1.0.0" in said
    assert "It learned from these data, so that its figures here are no evidence." in said
    assert "It learned from 2 of these images, so that its figures here are too good." in said
    dialog._right.verticalScrollBar().setValue(10_000)
    press(dialog, "Put it into use")
    reader.wait(lambda: "takes the place of 1.0.0" in all_words(dialog))
    reader.wait(lambda: dialog._right.verticalScrollBar().value() == 0)  # the question is in view
    assert version_in_use(reader) == "1.0.0"
    press(dialog, "Leave it as it is")
    assert version_in_use(reader) == "1.0.0"
    press(dialog, "Put it into use")
    reader.wait(lambda: is_offered(dialog, "Replace"))
    press(dialog, "Replace")
    reader.wait(lambda: "The trained model is in use." in all_words(dialog))
    assert version_in_use(reader).startswith("1.0.1-trained.")
    assert "On the same cases" not in all_words(dialog)  # the one that was in use is not any more
    press(dialog, "Version before")
    reader.wait(lambda: is_offered(dialog, "Put it into use"))
    assert version_in_use(reader) == "1.0.0"


def test_a_damaged_model_is_said(reader: Reader, dialog: TrainingDialog, data: Path) -> None:
    trained(reader, dialog, data)
    (dialog.trainer.model_folder("films") / "model.json").write_text("{")
    dialog.list.setCurrentRow(1)
    dialog.list.setCurrentRow(0)
    assert "The model that was trained is damaged; train it again." in all_words(dialog)


def test_without_torch_one_sentence_says_what_to_install(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_process.importlib.util, "find_spec", lambda _name: None)
    reader.window.app.run_command("model.train")
    dialog = reader.window.training
    assert dialog is not None
    reader.wait(lambda: "pip install 'medviewer[torch,cpu]'" in all_words(dialog))
    assert dialog.list.count() == 0


def test_there_is_one_such_window_and_a_training_outlives_it(
    reader: Reader, dialog: TrainingDialog, data: Path
) -> None:
    (data / "waits").touch()
    dialog.use_data("films", data)
    press(dialog, "Begin")
    reader.wait(lambda: dialog.trainer.live is not None and dialog.trainer.live.done == 3)
    reader.window.app.run_command("model.train")
    assert reader.window.training is dialog
    press(dialog, "Close")
    assert reader.window.training is None
    assert reader.state.notice.text == "The training goes on; Train a model shows how far it is."
    assert reader.window.app.training.is_running
    reader.window.app.run_command("model.train")
    again = reader.window.training
    assert again is not None
    reader.wait(lambda: "epoch 2 · step 3 of 6" in all_words(again))


def test_it_follows_the_language_and_keeps_what_was_chosen_and_runs(
    reader: Reader, dialog: TrainingDialog, data: Path
) -> None:
    (data / "waits").touch()
    dialog.use_data("films", data)
    press(dialog, "Begin")
    reader.wait(lambda: "epoch 2 · step 3 of 6" in all_words(dialog))
    reader.window.app.run_command("app.language", "zh")
    said = all_words(dialog)
    assert dialog.windowTitle() == tr("Train a model") != "Train a model"
    assert said.startswith(tr("Train a model"))
    assert is_offered(dialog, tr("Close"))
    assert is_offered(dialog, tr("Stop"))
    assert tr("being trained") in dialog.list.item(0).text()
    assert tr("step {done} of {total}").format(done=3, total=6) in said
    assert not [word for word in ("It learns", "Close", "Stop", "epoch", "step 3") if word in said]
    assert dialog.trainer.is_running
    dialog.list.setCurrentRow(1)
    dialog.use_data("bare", data)
    reader.window.app.run_command("app.language", "en")
    assert dialog.chosen is dialog.recipes[1]
    assert f"films\n{data.parent}\n" in all_words(dialog)
    assert "Another recipe is being trained; one at a time." in all_words(dialog)
    press(dialog, "Close")
    reader.window.app.run_command("app.language", "zh")  # nobody listens any more


def test_closing_the_viewer_asks_while_a_model_is_trained(
    reader: Reader, dialog: TrainingDialog, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data / "waits").touch()
    dialog.use_data("films", data)
    press(dialog, "Begin")
    reader.wait(lambda: dialog.trainer.live is not None and dialog.trainer.live.done == 3)
    answers = [False, True]
    monkeypatch.setattr(window, "may_stop_training", lambda _parent: answers.pop(0))
    reader.window.close()
    assert reader.window.isVisible()
    assert reader.window.app.training.is_running
    reader.window.close()
    assert not reader.window.isVisible()
    assert answers == []


def test_closing_the_viewer_asks_nothing_else(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "may_stop_training", lambda _parent: pytest.fail("nothing is trained"))
    reader.window.close()
    assert not reader.window.isVisible()


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (RunProgress(), "The data are being read…"),
        (RunProgress(done=1, total=9, epoch=1, _begun=(0, 1)), "epoch 1 · step 1 of 9"),
        (RunProgress(done=3, total=9, epoch=1, _begun=(0, 3), is_validating=True), "epoch 1 · step 3 of 9 · validating"),
        (RunProgress(clock=lambda: 60, done=2, total=4, epoch=1, _begun=(0, 1)), "epoch 1 · step 2 of 4 · about 2 min left"),
        (RunProgress(clock=lambda: 1, done=2, total=4, epoch=1, _begun=(0, 1)), "epoch 1 · step 2 of 4 · about 2 s left"),
        (
            RunProgress(clock=lambda: 3600, done=2, total=4, epoch=1, part="proof/0", _begun=(0, 1)),
            "proof/0 · epoch 1 · step 2 of 4 · about 2.0 h left of this part",
        ),
        (RunProgress(done=1, total=9, is_stopping=True), "It stops after the step that is under way; the last checkpoint is kept."),
    ],
)  # fmt: skip
def test_how_far_it_is_in_words(run: RunProgress, words: str) -> None:
    assert progress_words(run) == words


def test_long_curves_are_thinned_and_smoothed(qtbot) -> None:
    plot = TrainingPlot()
    qtbot.addWidget(plot)
    losses = [float(n % 2) for n in range(50_000)]
    plot.show_curve(Curve(list(range(1, 50_001)), losses, [25_000], [0.5]))
    steps, drawn = plot._raw.getData()
    assert len(steps) == 2000
    assert (steps[0], steps[-1]) == (1, 50_000)
    smooth = plot._mean.getData()[1]
    assert smooth.shape == drawn.shape
    assert abs(smooth[100:] - 0.5).max() < abs(drawn[100:] - 0.5).max()
    assert plot.accessibleName() == "Loss: 0.5000; Validation score: 0.5000, best 0.5000 (higher is better)"


@pytest.mark.parametrize(
    ("measured", "words"),
    [
        ("", "No validation score: the last epoch is taken by plan"),
        ("auc", "AUC on held-out cases: 0.5000; the last epoch is taken by plan"),
        ("held_out", "Loss on held-out cases: 0.5000; the last epoch is taken by plan"),
        ("recall", "recall: 0.5000; the last epoch is taken by plan"),
    ],
)
def test_where_the_last_epoch_is_taken_no_score_is_drawn(qtbot, measured: str, words: str) -> None:
    plot = TrainingPlot()
    qtbot.addWidget(plot)
    figures = ([2], [0.5]) if measured else ([], [])
    plot.show_curve(Curve([1, 2], [0.5, 0.5], *figures, is_by_plan=True, measured=measured))
    assert plot.accessibleName() == f"Loss: 0.5000; {words}"


def test_figures_of_other_patients_are_not_to_be_compared(qtbot, tmp_path: Path) -> None:
    def card_of(name: str, digest: str):
        evidence = [{"data": "x", "n": 9, "digest": digest, "split": "report", "metrics": {"auc": {"value": 0.9}}}]
        return read_card(fakes.make_model(tmp_path / name, id=name, evidence=evidence))

    words = "measure both on the same cases before you compare"
    for digests, is_said in ((("a", "a"), False), (("a", "b"), True)):
        first, second = (card_of(f"m{number}{digest}", digest) for number, digest in enumerate(digests))
        box = figures_card(first, second)
        qtbot.addWidget(box)
        assert (words in all_words(box)) == is_said


@pytest.mark.parametrize(
    ("model", "language", "said"),
    [
        (
            "icu-forecast",
            "en",
            ("Heart rate: mean error, /min", "Heart rate: error of the last value", "held by the band"),
        ),
        ("icu-forecast", "zh", ("心率：平均误差（/min）", "心率：以末次值预测的误差", "心率：落在区间内的比例")),
        ("survival-heart-attack", "en", ("Concordance", "Brier score at 365 d", "Calibration error at 365 d")),
        ("survival-heart-attack", "zh", ("一致性指数", "365 d 时的 Brier 分数", "365 d 时的校准误差")),
    ],
)
def test_forecasts_and_survival_have_their_own_figures(qtbot, model: str, language: str, said: tuple[str, ...]) -> None:
    use_language(language)
    card = read_card(models_dir() / model)
    box = figures_card(card, None)
    qtbot.addWidget(box)
    words = all_words(box)
    assert [one for one in said if one not in words] == []
    metrics = card.evidence[0]["metrics"]
    for name in ("HR mae", "HR coverage", "concordance", "brier_365"):
        if name in metrics:
            low, high = metrics[name]["ci95"]
            assert f"{metrics[name]['value']:.3f} ({low:.3f}, {high:.3f})" in words


def test_models_that_cannot_be_compared_are_not_offered_to_be_measured_and_the_reason_is_said(
    reader: Reader, dialog: TrainingDialog, data: Path, tmp_path: Path
) -> None:
    """A model of the same recipe is in use that reports another finding."""
    trained(reader, dialog, data)
    assert is_offered(dialog, "Measure both on the same cases")
    assert "do not answer the same question" not in all_words(dialog)
    engine = reader.window.app.engine
    other = fakes.make_model(tmp_path / "others" / "mine", labels=("effusion",), id="mine", version="1.0.0")
    engine.catalogue = Catalogue([other.parent], TrustFile(tmp_path))
    dialog.list.setCurrentRow(1)
    dialog.list.setCurrentRow(0)
    words = all_words(dialog)
    assert (
        "mine 1.0.0 and mine 1.0.0 do not answer the same question; compare two models that report the same." in words
    )
    assert not is_offered(dialog, "Measure both on the same cases")
    assert is_offered(dialog, "Put it into use")
    assert "measure both on the same cases before you compare" not in words


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_comparison_of_other_kinds_has_words_of_its_own_and_no_test_of_who_is_right(qtbot, language: str) -> None:
    use_language(language)

    def told(*names: str, **more: object) -> str:
        entry = {"value": 0.5, "ci95": [0.4, 0.6], "p": 0.1}
        one = {"version": "1", "metrics": dict.fromkeys(names, entry), "was_learned_from": False}
        report = {"models": [one, one], "differences": dict.fromkeys(names, entry), "mcnemar": None, **more}
        box = comparison_card(report, read_card(models_dir() / "icu-forecast"))
        qtbot.addWidget(box)
        return all_words(box)

    forecasts = told("HR mae", "HR coverage", data={"n": 40, "n_patients": 9}, unit="stays")
    others = told("auc NR-AR", "top3_accuracy", "log_loss", data={"n": 40}, unit="skeletons")
    if language == "zh":
        assert "在相同病例上：40 例" in forecasts
        assert "NR-AR 的 AUC" in others
        assert "心率：平均误差" in forecasts
        return
    assert "On the same cases: 40" in others
    assert "patients" not in forecasts + others
    assert "McNemar" not in forecasts + others
    assert "Heart rate: mean error, /min" in forecasts
    assert all(words in others for words in ("AUC of NR-AR", "Accuracy of the three most probable", "Log loss"))


def test_survival_models_are_not_measured_on_patients_that_they_learned_from() -> None:
    survival, notes = (read_card(models_dir() / name) for name in ("survival-heart-attack", "note-section"))
    assert unmeasurable(survival, survival).startswith("No patient was held out")
    assert "same question" in unmeasurable(survival, notes)
    assert unmeasurable(notes, notes) == ""


@pytest.mark.parametrize(("width", "height"), [(944, 492), (1264, 672)])
def test_nothing_is_wider_than_a_small_screen_allows(
    reader: Reader, dialog: TrainingDialog, data: Path, width: int, height: int
) -> None:
    """1920x1080 at 200 % is 960x540, less the window's frame."""
    use_language("zh")
    dialog.resize(width, height)
    trained(reader, dialog, data) if is_offered(dialog, "Begin") else None
    QApplication.processEvents()
    assert (dialog.width(), dialog.height()) == (width, height)
    inside = dialog._right.widget()
    assert inside.width() <= dialog._right.viewport().width()


def version_in_use(reader: Reader) -> str:
    [entry] = [entry for entry in reader.window.app.engine.catalogue.entries if entry.id == "mine"]
    assert entry.card is not None
    return entry.card.version


@pytest.mark.parametrize("language", ["en", "zh"])
def test_names_and_values_of_a_recipe_do_not_lie_on_each_other(
    dialog: TrainingDialog, reader: Reader, language: str
) -> None:
    """On a small screen at 200 % the window is some 380 pixels wide."""
    use_language(language)
    for width in (384, 500, 900):
        dialog.resize(width, 350)
        dialog._drawn = ()
        dialog._show()
        reader.wait(lambda: all(one.width() > 0 for one in dialog.findChildren(FactRow)))
        QApplication.processEvents()
        rows = [one for one in dialog.findChildren(FactRow) if one.isVisible()]
        assert rows
        for row in rows:
            name, value = row.findChildren(PlainLabel)
            assert not name.geometry().intersects(value.geometry()), (language, width, name.text())
            assert row.rect().contains(value.geometry())
            longest = max(name.fontMetrics().horizontalAdvance(word) for word in name.text().split())
            assert longest <= name.width()
        assert dialog.list.width() <= dialog.width() * 0.4


def test_the_dialog_is_made_without_loading_what_draws_curves() -> None:
    """pyqtgraph costs a fifth of a second: only who trains waits for it."""
    assert "training_plot" not in Path(training_dialog.__file__).read_text()


def test_one_model_is_trained_at_a_time(reader: Reader, dialog: TrainingDialog, data: Path) -> None:
    (data / "waits").touch()
    dialog.use_data("films", data)
    press(dialog, "Begin")
    reader.wait(lambda: dialog.trainer.live is not None and dialog.trainer.live.done == 3)
    dialog.trainer.begin("bare", data, {})
    assert dialog.trainer.problems["bare"] == "One model is being trained already; stop it, or wait for its end."
    assert dialog.trainer.stage("films") == "running"
    assert len((data / "asked").read_text().splitlines()) == 1


@pytest.mark.slow
@pytest.mark.torch
def test_a_real_training_is_stopped_gone_on_with_and_its_model_put_into_use(
    main_window, qtbot, medviewer_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real recipe on made-up films, in a real process; the model is run before it is taken."""
    pytest.importorskip("torch")
    import numpy as np
    from PIL import Image

    from tests.unit.training.test_chest_xray import SETTINGS, film

    monkeypatch.setattr(window, "may_stop_training", lambda _parent: True)
    main_window.app.engine.catalogue = Catalogue([medviewer_home / "models"], TrustFile(medviewer_home))
    chance = np.random.default_rng(0)
    for number in range(60):
        for name, is_sick in (
            (f"NORMAL/IM-{number:04d}-0001.png", False),
            (f"PNEUMONIA/person{number}.png", True),
        ):
            (tmp_path / "films" / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.uint8(255 * film(chance, is_sick))).save(tmp_path / "films" / name)

    def wait(condition) -> None:
        qtbot.waitUntil(condition, timeout=600_000)

    main_window.app.run_command("model.train")
    dialog = main_window.training
    wait(lambda: dialog.list.count() > 0)
    dialog.list.setCurrentRow([recipe.name for recipe in dialog.recipes].index("chest-xray"))
    dialog.use_data("chest-xray", tmp_path / "films")
    dialog._edited["chest-xray"].update(SETTINGS | {"threads": "1"})
    press(dialog, "Begin")
    trainer = dialog.trainer
    wait(lambda: not trainer.is_running or trainer.live.done >= 2)
    press(dialog, "Stop")
    wait(lambda: is_offered(dialog, "Go on"))
    assert trainer.problems == {}
    assert (trainer.folder / "chest-xray.training" / "run.pt").is_file()
    press(dialog, "Go on")
    wait(lambda: not trainer.is_running)
    assert trainer.problems == {}
    steps = trainer.live.curves[""].steps
    assert steps == list(range(1, len(steps) + 1))
    wait(lambda: is_offered(dialog, "Put it into use"))
    press(dialog, "Put it into use")
    wait(lambda: "The trained model is in use." in all_words(dialog))
    # Not named as the published films are: the model does not pass for the published one.
    card = main_window.app.engine.catalogue.card("chest-xray-pneumonia-own")
    assert card.training["config"]["sizes"] == [32, 32]


def test_closing_while_a_model_learns_stays_unless_stopping_is_pressed(main_window, qtbot) -> None:
    for press_it, answer in (
        (lambda box: box.stop.click(), QDialog.DialogCode.Accepted),
        (lambda box: box.stay.click(), QDialog.DialogCode.Rejected),
        (lambda box: qtbot.keyClick(box, Qt.Key.Key_Escape), QDialog.DialogCode.Rejected),
        (lambda box: qtbot.keyClick(box, Qt.Key.Key_Return), QDialog.DialogCode.Rejected),
    ):
        box = ClosingQuestion("Train a model", "A model is being trained.", main_window)
        qtbot.addWidget(box)
        box.show()
        press_it(box)
        assert box.result() == answer.value
        assert not box.isVisible()
