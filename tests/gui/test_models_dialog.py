"""Models by the window: what each is, brought in by a drop, replaced and removed only after a yes, imported with answers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent
from PySide6.QtWidgets import QApplication, QLineEdit, QWidget

from medviewer.app import model_shelf
from medviewer.app.model_shelf import Asked
from medviewer.app.own_process import Ending
from medviewer.domain.errors import ModelError
from medviewer.gui.cards import Card, StillCombo
from medviewer.gui.import_dialog import ImportDialog
from medviewer.gui.models_dialog import ModelsDialog
from medviewer.gui.text import use_language
from medviewer.inference import installing
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.importing.monai import Brought
from medviewer.inference.importing.questions import GraphFacts, questions
from medviewer.inference.signing import TrustFile, sign_model
from tests import fakes, outline_models
from tests.gui import seen
from tests.gui.reader import Reader, pixels
from tests.gui.seen import is_offered
from tests.radiographs import write_radiograph
from tests.unit.inference.importing.test_monai import make_bundle, packed
from tests.unit.inference.importing.test_onnx_file import bare_file
from tests.unit.inference.test_signing import key_pair


@pytest.fixture
def reader(main_window, qtbot, medviewer_home: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    """A window whose models lie where an installation puts them; networks are run elsewhere."""
    monkeypatch.setattr(installing, "accept", lambda *_args, **_options: None)
    engine = main_window.app.engine
    bundled = engine.catalogue.folders[0]
    engine.catalogue = Catalogue([medviewer_home / "models", bundled], TrustFile(medviewer_home))
    return Reader(main_window, qtbot)


@pytest.fixture
def dialog(reader: Reader, qtbot) -> ModelsDialog:
    made = ModelsDialog(reader.window.app)
    qtbot.addWidget(made)
    made.show()
    return made


def settled(dialog: ModelsDialog, qtbot) -> None:
    qtbot.waitUntil(lambda: not dialog.shelf.is_busy, timeout=30_000)
    QApplication.processEvents()


def press(widget: QWidget, title: str) -> None:
    QApplication.processEvents()
    seen.press(widget, title)
    QApplication.processEvents()


def all_words(widget: QWidget) -> str:
    QApplication.processEvents()  # Qt shows what was put into a layout when it comes to it
    return seen.all_words(widget)


def lines(dialog: ModelsDialog) -> list[str]:
    return [dialog.list.item(row).text() for row in range(dialog.list.count())]


def drop(dialog: ModelsDialog, *paths: Path) -> QDropEvent:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    buttons, keys = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    event = QDropEvent(QPointF(10, 10), Qt.DropAction.CopyAction, data, buttons, keys)
    dialog.dropEvent(event)
    return event


def new_model(folder: Path, **changes: object) -> Path:
    return fakes.make_model(folder, **{"id": "mine", "title": {"en": "My model", "zh": "我的模型"}, **changes})


def test_every_model_is_listed_with_its_state(dialog: ModelsDialog) -> None:
    assert lines(dialog)[0] == "Fake chest model\n1.2.3 · unverified"
    assert "came with MedViewer" in all_words(dialog)
    assert not dialog.remove.isEnabled()
    assert not dialog.rollback.isEnabled()


def test_both_lines_of_a_model_are_drawn_in_chinese(reader: Reader, qtbot) -> None:
    """Looked at in the picture: a line without room is left out as a whole."""
    catalogue = reader.window.app.engine.catalogue
    fakes.make_model(catalogue.folders[1] / "a", id="a", title={"en": "Chest", "zh": "儿童胸部X线片肺炎检测"})
    catalogue.refresh()
    use_language("zh")
    dialog = ModelsDialog(reader.window.app)
    qtbot.addWidget(dialog)
    dialog.show()
    row = next(n for n in range(dialog.list.count()) if "儿童" in dialog.list.item(n).text())
    dialog.list.setCurrentRow(row)
    place = dialog.list.visualItemRect(dialog.list.item(row)).adjusted(6, 6, -6, -6)
    drawn = pixels(dialog.list.viewport())[place.top() : place.bottom(), place.left() : place.right()]
    inked = (drawn.max(axis=2) > 150).any(axis=1)
    lines = int(inked[0]) + int((inked[1:] & ~inked[:-1]).sum())
    assert lines == 2, "the title, and below it the version and the state"


def test_the_list_gives_way_to_the_card_where_there_is_little_width(dialog: ModelsDialog) -> None:
    for width, listed in ((860, 280), (690, 230), (600, 200)):
        dialog.resize(width, 680)
        QApplication.processEvents()
        assert dialog.width() == width
        assert dialog.list.width() == listed
        for part in (dialog.file, dialog.folder, dialog.rollback, dialog.remove):
            assert part.width() >= part.sizeHint().width(), "no button is cut"


def test_on_a_low_screen_three_models_are_seen_whole(reader: Reader, qtbot) -> None:
    """1440 x 900 at 200 % leaves 704 x 402: no button takes its place from the list."""
    catalogue = reader.window.app.engine.catalogue
    for name in "abc":
        fakes.make_model(catalogue.folders[1] / name, id=name, title={"en": f"Chest {name}", "zh": "胸部"})
    catalogue.refresh()
    dialog = ModelsDialog(reader.window.app)
    qtbot.addWidget(dialog)
    dialog.resize(704, 402)
    dialog.show()
    QApplication.processEvents()
    third = dialog.list.visualItemRect(dialog.list.item(2))
    assert dialog.list.viewport().rect().contains(third)
    card = dialog.findChild(Card)
    assert card is not None
    assert abs(card.mapTo(dialog, QPoint()).y() - dialog.list.y() - dialog.list.parentWidget().y()) <= 3, "one edge"


def test_a_dropped_folder_is_installed_and_can_be_chosen_at_once(
    reader: Reader, dialog: ModelsDialog, tmp_path: Path, qtbot
) -> None:
    drop(dialog, new_model(tmp_path / "new"))
    settled(dialog, qtbot)
    assert "My model\n1.2.3 · unverified" in lines(dialog)
    assert "The model is installed." in all_words(dialog)
    findings = reader.window.findings
    assert "My model" in [findings.model.itemText(row) for row in range(findings.model.count())]
    offered = [findings.explain.method.itemData(row) for row in range(findings.explain.method.count())]
    reader.window.app.run_command("model.select", "mine")
    assert [findings.explain.method.itemData(row) for row in range(findings.explain.method.count())] == offered
    assert offered, "a model that came later is explained like any other"
    compared = findings.comparison.second
    assert compared.count() == len(offered), "none, and all but the one that is shown"
    assert findings.queue._titles["mine"]


def test_a_trusted_signature_is_shown_with_its_name(
    dialog: ModelsDialog, tmp_path: Path, medviewer_home: Path, qtbot
) -> None:
    private, public = key_pair()
    TrustFile(medviewer_home).add("A hospital", public)
    sign_model(new_model(tmp_path / "new"), private)
    drop(dialog, tmp_path / "new")
    settled(dialog, qtbot)
    assert "My model\n1.2.3 · verified: A hospital" in lines(dialog)
    dialog.list.setCurrentRow(lines(dialog).index("My model\n1.2.3 · verified: A hospital"))
    assert "Signed by A hospital, whose key you trust." in all_words(dialog)


def test_nothing_is_replaced_without_a_yes(dialog: ModelsDialog, tmp_path: Path, qtbot) -> None:
    drop(dialog, new_model(tmp_path / "one", version="2.0.0"))
    settled(dialog, qtbot)
    drop(dialog, new_model(tmp_path / "two", version="1.0.0"))
    settled(dialog, qtbot)
    assert "takes the place of 2.0.0" in all_words(dialog)
    assert "It is version 1.0.0 and 2.0.0 is installed: older." in all_words(dialog)
    assert "My model\n2.0.0 · unverified" in lines(dialog)
    press(dialog, "Leave it as it is")
    assert "My model\n2.0.0 · unverified" in lines(dialog)
    assert not [path for path in dialog.shelf.store.folder.iterdir() if path.name.startswith(".incoming")]
    drop(dialog, tmp_path / "two")
    settled(dialog, qtbot)
    press(dialog, "Replace")
    settled(dialog, qtbot)
    assert "My model\n1.0.0 · unverified" in lines(dialog)


def test_the_version_before_comes_back_and_a_model_goes_after_a_yes(
    reader: Reader, dialog: ModelsDialog, tmp_path: Path, qtbot
) -> None:
    for version in ("1.0.0", "2.0.0"):
        drop(dialog, new_model(tmp_path / version, version=version))
        settled(dialog, qtbot)
        if is_offered(dialog, "Replace"):
            press(dialog, "Replace")
            settled(dialog, qtbot)
    dialog.list.setCurrentRow(lines(dialog).index("My model\n2.0.0 · unverified"))
    press(dialog, "Version before")
    press(dialog, "Take it back")
    settled(dialog, qtbot)
    assert "My model\n1.0.0 · unverified" in lines(dialog)
    reader.window.app.run_command("model.select", "mine")
    dialog.list.setCurrentRow(lines(dialog).index("My model\n1.0.0 · unverified"))
    dialog.remove.click()
    QApplication.processEvents()
    assert "This cannot be undone." in all_words(dialog)
    press(dialog, "Leave it as it is")
    assert "My model\n1.0.0 · unverified" in lines(dialog)
    dialog.remove.click()
    QApplication.processEvents()
    buttons = dialog.findChildren(type(dialog.remove))
    [yes] = [b for b in buttons if b.text() == "Remove" and b is not dialog.remove and b.isVisibleTo(dialog)]
    yes.click()
    settled(dialog, qtbot)
    assert not [line for line in lines(dialog) if line.startswith("My model")]
    assert reader.window.app.state.model_id == fakes.MODEL_ID


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_refusal_is_said_and_the_others_stay(
    reader: Reader, dialog: ModelsDialog, tmp_path: Path, qtbot, monkeypatch: pytest.MonkeyPatch, language: str
) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise ModelError("The network of mine gives values that are not numbers (NaN): its weights are damaged.")

    monkeypatch.setattr(installing, "accept", refuse)
    before = lines(dialog)
    reader.window.app.session.update(language=language)
    drop(dialog, new_model(tmp_path / "new"))
    settled(dialog, qtbot)
    said = all_words(dialog)
    use_language("en")
    assert ("its weights are damaged" if language == "en" else "其权重已损坏") in said
    assert len(lines(dialog)) == len(before)


def test_several_things_dropped_at_once_are_not_guessed_about(dialog: ModelsDialog, tmp_path: Path) -> None:
    one, two = new_model(tmp_path / "one"), new_model(tmp_path / "two", id="two")
    assert not drop(dialog, one, two).isAccepted()
    assert not dialog.shelf.is_busy


def test_closing_leaves_nothing_waiting(dialog: ModelsDialog, tmp_path: Path, qtbot) -> None:
    for version in ("1.0.0", "2.0.0"):
        drop(dialog, new_model(tmp_path / version, version=version))
        settled(dialog, qtbot)
    assert dialog.shelf.waiting is not None
    dialog.reject()
    assert dialog.shelf.waiting is None
    assert sorted(path.name for path in dialog.shelf.store.folder.iterdir()) == [".previous", "mine"]


def fill(importing: object, name: str, value: str) -> None:
    field = importing.fields[name]  # type: ignore[attr-defined]
    if isinstance(field, StillCombo):
        field.setCurrentIndex(field.findData(value))
        field.activated.emit(field.currentIndex())
    else:
        assert isinstance(field, QLineEdit)
        field.setText(value)
        field.textEdited.emit(value)


def asked_of(dialog: ModelsDialog, path: Path, qtbot) -> object:
    drop(dialog, path)
    qtbot.waitUntil(lambda: dialog._importing is not None, timeout=60_000)
    return dialog._importing


def test_enter_in_an_answer_loses_none(qtbot) -> None:
    facts = GraphFacts("a.onnx", "0" * 64, "x", 18, "x", "NCHW", (1, 224, 224), None, "y", 2, "Sigmoid")
    made: list[object] = []
    importing = ImportDialog(Asked(Brought(Path("a.onnx")), facts, questions(facts)), made.append, lambda: None)
    qtbot.addWidget(importing)
    importing.show()
    line = next(field for field in importing.fields.values() if isinstance(field, QLineEdit))
    line.clear()
    line.setFocus()
    qtbot.keyClicks(line, "My model")
    qtbot.keyClick(line, Qt.Key.Key_Return)
    assert importing.isVisible()
    assert line.text() == "My model"
    assert importing.problem.text()  # it was checked
    importing.show_tried(None, "", is_busy=True)
    qtbot.keyClick(importing, Qt.Key.Key_Return)
    assert importing.isVisible()
    assert not importing.problem.text()
    importing.cancel.setFocus()
    qtbot.keyClick(importing.cancel, Qt.Key.Key_Return)
    assert not importing.isVisible()
    assert importing.result() == ImportDialog.DialogCode.Rejected
    assert not made


@pytest.mark.slow
def test_a_bare_network_is_asked_about_tried_on_the_image_and_then_kept(
    reader: Reader, dialog: ModelsDialog, tmp_path: Path, qtbot
) -> None:
    reader.open(write_radiograph(tmp_path / "film.dcm"))
    importing = asked_of(dialog, bare_file(tmp_path / "net.onnx"), qtbot)
    assert not importing.keep.isEnabled()
    press(importing, "Check and try it")
    assert "must be answered" in all_words(importing)
    answers = {"labels": "pneumonia, effusion, mass", "task": "multilabel", "output": "logits", "values": "signed"}
    for name, value in {**answers, "modality": "CR, DX", "intended_use": "Tests."}.items():
        fill(importing, name, value)
    press(importing, "Check and try it")
    qtbot.waitUntil(importing.keep.isEnabled, timeout=120_000)
    QApplication.processEvents()
    said = all_words(importing)
    assert "Its gradients agree with differences of its own answers" in said
    assert "About the image on screen (not calibrated)" in said
    assert "pneumonia 0." in said
    fill(importing, "values", "unit")
    assert not importing.keep.isEnabled()
    press(importing, "Check and try it")
    qtbot.waitUntil(importing.keep.isEnabled, timeout=120_000)
    QApplication.processEvents()
    press(importing, "Install")
    settled(dialog, qtbot)
    assert "net.onnx\n1.0.0 · unverified" in lines(dialog)
    assert dialog._importing is None


@pytest.mark.slow
def test_a_bare_network_that_outlines_is_asked_what_and_tried(
    reader: Reader, dialog: ModelsDialog, tmp_path: Path, qtbot
) -> None:
    reader.open(write_radiograph(tmp_path / "film.dcm"))
    (tmp_path / "lungs.onnx").write_bytes(outline_models.graph("logits", "exclusive"))
    importing = asked_of(dialog, tmp_path / "lungs.onnx", qtbot)
    assert "3 channels; the background is not named" in all_words(importing)
    answers = {"labels": "Bone, Lung", "category": "structure", "task": "independent", "output": "logits"}
    for name, value in {**answers, "values": "unit", "modality": "CR", "intended_use": "Tests."}.items():
        fill(importing, name, value)
    press(importing, "Check and try it")
    assert "gives 3 channels of masks; 2 labels were named" in all_words(importing)
    fill(importing, "task", "exclusive")
    press(importing, "Check and try it")
    qtbot.waitUntil(importing.keep.isEnabled, timeout=120_000)
    QApplication.processEvents()
    said = all_words(importing)
    assert "its own explanation" in said
    assert re.search(r"Bone [\d,]+ pixels \(\d+\.\d%\)", said)
    press(importing, "Install")
    settled(dialog, qtbot)
    assert "lungs.onnx\n1.0.0 · unverified" in lines(dialog)


@pytest.mark.slow
def test_an_import_that_is_cancelled_leaves_nothing(dialog: ModelsDialog, tmp_path: Path, qtbot) -> None:
    importing = asked_of(dialog, bare_file(tmp_path / "net.onnx"), qtbot)
    press(importing, "Cancel")
    assert dialog.shelf.asked is None
    assert dialog._importing is None
    assert not dialog.shelf.is_busy


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made, to see what is left of them."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def bundles(folder: Path) -> list[Path]:
    return list(folder.glob("medviewer-bundle-*"))


@pytest.mark.slow
def test_a_bundle_in_an_archive_is_asked_about_and_kept(
    dialog: ModelsDialog, tmp_path: Path, temporary: Path, qtbot
) -> None:
    """What was unpacked stays for another try with other answers, and no longer."""
    archive = packed(make_bundle(tmp_path / "bundle"), tmp_path / "bundle.zip")
    importing = asked_of(dialog, archive, qtbot)
    press(importing, "Cancel")
    assert bundles(temporary) == []
    importing = asked_of(dialog, archive, qtbot)
    assert dialog.shelf.asked is not None
    assert dialog.shelf.asked.source.hints["labels"] == ["pneumonia", "pleural_effusion", "mass"]
    for values in ("signed", "unit"):
        for name, value in {"task": "multilabel", "output": "logits", "values": values}.items():
            fill(importing, name, value)
        press(importing, "Check and try it")
        qtbot.waitUntil(importing.keep.isEnabled, timeout=120_000)
        assert len(bundles(temporary)) == 1
    press(importing, "Install")
    settled(dialog, qtbot)
    assert any(line.startswith("Made-up chest classifier") for line in lines(dialog))
    assert " from bundle.zip" in all_words(dialog)  # and not from the folder that it was unpacked into
    assert bundles(temporary) == []


def test_an_archive_that_is_neither_is_refused_as_before(dialog: ModelsDialog, tmp_path: Path, qtbot) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.txt").write_text("x")
    drop(dialog, packed(tmp_path / "other", tmp_path / "other.zip"))
    settled(dialog, qtbot)
    assert "The ZIP archive holds no model" in all_words(dialog)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".PTH"])
def test_weights_are_imported_by_a_process_of_their_own_and_installed(
    dialog: ModelsDialog, tmp_path: Path, temporary: Path, qtbot, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    asked: list[list[str]] = []

    def run(words: list[str], _told: object, _stop: object) -> Ending:
        asked.append(words)
        new_model(Path(words[words.index("--out") + 1]))
        return Ending("done")

    monkeypatch.setattr(model_shelf, "run_command", run)
    path = tmp_path / f"xrv{suffix}"
    path.write_bytes(b"PK\x03\x04")  # as files of torch.save begin
    drop(dialog, path)
    settled(dialog, qtbot)
    assert asked[0][:3] == ["models", "import", str(path)]
    assert "My model\n1.2.3 · unverified" in lines(dialog)
    assert f" from xrv{suffix}" in all_words(dialog)
    assert list(temporary.glob("medviewer-weights-*")) == []


def test_weights_that_cannot_be_imported_say_why(
    dialog: ModelsDialog, tmp_path: Path, qtbot, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "xrv.pt").write_bytes(b"PK\x03\x04")
    monkeypatch.setattr(model_shelf, "run_command", lambda *_: Ending("failed", "It lacks a classifier."))
    drop(dialog, tmp_path / "xrv.pt")
    settled(dialog, qtbot)
    assert "It lacks a classifier." in all_words(dialog)
    monkeypatch.setattr("sys.frozen", True, raising=False)
    drop(dialog, tmp_path / "xrv.pt")
    settled(dialog, qtbot)
    assert "The packaged program cannot read files of weights" in all_words(dialog)


def test_no_model_is_tried_on_a_patient_that_the_record_contradicts(reader: Reader, tmp_path: Path) -> None:
    reader.open(write_radiograph(tmp_path / "film.dcm"))
    app = reader.window.app
    assert model_shelf.open_case(app.state) is not None
    app.session.update(record_mismatch="The record is of another person.")
    assert model_shelf.open_case(app.state) is None


def test_the_command_opens_the_dialog(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(ModelsDialog, "exec", lambda self: opened.append(self.windowTitle()))
    reader.window.app.run_command("model.manage")
    assert opened == ["Models"]
