"""The molecule dialog: typed, drawn, asked about, explained atom by atom, copied; and said in one sentence what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QGuiApplication, QImage, QMouseEvent, QPainter
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QProgressBar

from medviewer.app.application import Application
from medviewer.app.molecule_desk import JOB
from medviewer.app.start import running_application
from medviewer.app.state import JobStatus
from medviewer.domain.anchor import Anchor, Atom
from medviewer.domain.answer import Attribution
from medviewer.gui import molecule_picture, theme
from medviewer.gui.cards import ElidedCombo
from medviewer.gui.diverging import Legend, pen, tint
from medviewer.gui.label_bars import LabelBar
from medviewer.gui.molecule_dialog import MoleculeDialog
from medviewer.gui.molecule_picture import MoleculePainter, strengths_of
from medviewer.gui.molecule_view import MoleculeView
from medviewer.gui.text import use_language
from medviewer.inference import molecule_drawing
from tests import data_models
from tests.conftest import InlineExecutor
from tests.gui import panel_states as made
from tests.gui.seen import all_words, is_offered, press, words
from tests.gui.test_narrow_panels import cut

pytest.importorskip("rdkit")

from medviewer.inference.molecule_drawing import draw_molecule

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"
MODEL = "tiny-molecule"


@pytest.fixture
def app(medviewer_home: Path, tmp_path: Path) -> Iterator[Application]:
    data_models.make("molecule", tmp_path / "models" / "molecule", title={"en": "Toxicity", "zh": "毒性"})
    engine = data_models.DataEngine(tmp_path / "models")
    with running_application(medviewer_home, lambda call: call(), engine, InlineExecutor) as running:
        yield running


@pytest.fixture
def dialog(app: Application, qtbot) -> MoleculeDialog:
    return shown(app, qtbot)


def shown(app: Application, qtbot, size: QSize | None = None) -> MoleculeDialog:
    one = MoleculeDialog(app)
    qtbot.addWidget(one)
    one.show()
    one.resize(size or QSize(980, 660))
    QApplication.processEvents()
    return one


def typed(dialog: MoleculeDialog, smiles: str) -> None:
    dialog.line.setText(smiles)
    QTest.keyClick(dialog.line, Qt.Key.Key_Return)
    QApplication.processEvents()


def answered(dialog: MoleculeDialog, smiles: str = ASPIRIN) -> Attribution:
    typed(dialog, smiles)
    press(dialog, "Run")
    QApplication.processEvents()
    shown_now = dialog.desk.explained()
    assert shown_now is not None
    assert shown_now[1].attribution is not None
    return shown_now[1].attribution


def because(amounts: dict[int, float], symbols: str = "CCOOCCCCCCCOO") -> Attribution:
    anchors: tuple[Anchor, ...] = tuple(Atom("molecule", index, symbols[index]) for index in amounts)
    return Attribution(
        "occlusion", "Occlusion", "first", np.array(list(amounts.values()), np.float32), np.eye(3),
        np.empty((0, 0), np.float32), None, "", None, 0.1, made.provenance(), anchors,
    )  # fmt: skip


def test_before_anything_is_typed_it_says_what_to_do_and_what_it_is_not_for(dialog: MoleculeDialog) -> None:
    text = all_words(dialog)
    assert "Research use only - not for diagnosis. It is about no patient and is kept with none." in text
    assert "Models are offered when there is a molecule." in text
    assert dialog.line.placeholderText() == f"SMILES, for example {ASPIRIN}"
    assert not dialog.copy.isEnabled()
    assert not is_offered(dialog, "Run")
    assert dialog.line.hasFocus() or dialog.focusWidget() is dialog.line


def test_it_is_drawn_a_moment_after_typing(dialog: MoleculeDialog, qtbot) -> None:
    dialog.line.setText(ASPIRIN)
    assert dialog.desk.drawing is None
    qtbot.waitUntil(lambda: dialog.desk.drawing is not None, timeout=5_000)
    assert is_offered(dialog, "Run")
    assert dialog.copy.isEnabled()


def test_return_draws_at_once_and_neither_closes_nor_runs(dialog: MoleculeDialog) -> None:
    typed(dialog, ASPIRIN)
    assert dialog.desk.drawing is not None
    assert dialog.isVisible()
    assert dialog.desk.answer_of(MODEL) is None
    typed(dialog, ASPIRIN)
    assert dialog.isVisible()
    assert dialog.desk.answer_of(MODEL) is None


def test_return_in_the_line_does_not_stop_what_runs(dialog: MoleculeDialog, app: Application) -> None:
    typed(dialog, ASPIRIN)
    dialog.desk._asked = MODEL
    app.session.update(jobs=(JobStatus(JOB, "Occlusion", 3, 14),))
    QApplication.processEvents()
    assert is_offered(dialog, "Stop it")
    stopped: list[str] = []
    app.jobs.stop = stopped.append  # type: ignore[method-assign]
    dialog.activateWindow()
    QTest.keyClick(dialog.line, Qt.Key.Key_Return)
    assert stopped == []


def test_an_answer_its_bars_guards_and_what_made_it(dialog: MoleculeDialog) -> None:
    answered(dialog)
    bars = [bar.accessibleName().split(":")[0] for bar in dialog.findChildren(LabelBar) if bar.isVisibleTo(dialog)]
    assert sorted(bars) == ["First", "Second"]
    assert "Toxicity" in words(dialog)
    assert any("ages 1-90" in one for one in words(dialog))  # the card's population; nobody's age is known
    press(dialog, "Details")
    assert "Unverified" in words(dialog)


def test_on_a_low_screen_the_legend_never_lies_over_the_drawing(dialog: MoleculeDialog) -> None:
    dialog.resize(680, 352)
    answered(dialog)
    QApplication.processEvents()
    drawing = dialog.view.geometry()
    assert drawing.height() >= dialog.view.minimumHeight()
    assert dialog._word.isVisibleTo(dialog)
    assert dialog._word.geometry().top() >= drawing.bottom()


def test_the_atoms_it_rests_on_are_tinted_and_ringed(dialog: MoleculeDialog) -> None:
    why = answered(dialog)
    (legend,) = [one for one in dialog.findChildren(Legend) if one.isVisibleTo(dialog)]
    assert any("speaks for" in one for one in words(legend))
    strongest = int(np.argmax(np.abs(why.saliency)))
    share = strengths_of(why)[strongest]
    centre = MoleculePainter(dialog.desk.drawing).centre(strongest, dialog.view.room)  # type: ignore[arg-type]
    picture = dialog.view.grab().toImage()
    ratio = picture.width() / dialog.view.width()
    seen = picture.pixelColor(round((centre.x() - 8) * ratio), round((centre.y() + 8) * ratio))
    wanted = QColor(theme.blended(tint(share).name(), theme.tokens().raised, tint(share).alphaF()))
    assert (
        max(abs(seen.red() - wanted.red()), abs(seen.green() - wanted.green()), abs(seen.blue() - wanted.blue())) <= 3
    )


def painted(amounts: dict[int, float]) -> QImage:
    drawing = draw_molecule("CCCCCCCC")
    image = QImage(600, 300, QImage.Format.Format_RGB32)
    image.fill(QColor(theme.PAPER))
    painter = QPainter(image)
    painted_by = MoleculePainter(drawing)
    painted_by.paint(painter, QRectF(0, 0, 600, 300), strengths_of(because(amounts, "C" * 8)), theme.THEMES["light"])
    painter.end()
    return image


def around(image: QImage, index: int) -> list[bool]:
    """Going round an atom, where its ring is drawn."""
    by = MoleculePainter(draw_molecule("CCCCCCCC"))
    room = QRectF(0, 0, 600, 300)
    scale, _corner = by.place(room)
    centre, radius = by.centre(index, room), 0.4 * molecule_drawing.BOND * scale
    found = []
    for angle in np.linspace(0, 2 * np.pi, 180, endpoint=False):
        seen = image.pixelColor(round(centre.x() + radius * np.cos(angle)), round(centre.y() + radius * np.sin(angle)))
        found.append(seen.lightness() < 170)
    return found


def test_what_speaks_against_has_a_broken_ring_and_what_is_faint_none() -> None:
    image = painted({1: 2.0, 3: -2.0, 5: 0.05})
    whole, broken, none = (around(image, index) for index in (1, 3, 5))
    changes = [sum(a != b for a, b in zip(ring, [*ring[1:], ring[0]], strict=True)) for ring in (whole, broken)]
    assert changes[1] > changes[0] + 10
    assert sum(none) < 40  # the bonds that cross it
    assert (pen(1.0).style(), pen(-1.0).style()) == (Qt.PenStyle.SolidLine, Qt.PenStyle.CustomDashLine)


def test_the_mouse_over_an_atom_says_its_number(dialog: MoleculeDialog) -> None:
    answered(dialog)
    view = dialog.view

    def over(place: QPointF) -> str:
        buttons, keys = Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier
        there = QPointF(view.mapToGlobal(place))
        QApplication.sendEvent(view, QMouseEvent(QEvent.Type.MouseMove, place, there, buttons, buttons, keys))
        return view.toolTip()

    by = MoleculePainter(dialog.desk.drawing)  # type: ignore[arg-type]
    for index in (0, 7):
        assert view.words_of(index) in over(by.centre(index, view.room))
        assert view.words_of(index) in words(dialog)
    assert over(QPointF(1, 1)) == ""
    assert "Point at an atom, or press Left and Right in the drawing, for its number." in words(dialog)


def test_keys_go_from_atom_to_atom(qtbot) -> None:
    view = MoleculeView()
    qtbot.addWidget(view)
    told: list[str] = []
    view.told.connect(told.append)
    view.show_molecule(draw_molecule(ASPIRIN), because({0: 1.0, 3: -0.5, 12: 0.25}), "")
    view.show()
    view.activateWindow()
    view.setFocus(Qt.FocusReason.TabFocusReason)
    qtbot.waitUntil(view.hasFocus)
    QTest.keyClick(view, Qt.Key.Key_Home)
    told.clear()
    for key in (Qt.Key.Key_Right, Qt.Key.Key_Right, Qt.Key.Key_Right, Qt.Key.Key_Left, Qt.Key.Key_Home, Qt.Key.Key_End):
        QTest.keyClick(view, key)
    first, middle, last = "atom 1 (C): +1.00", "atom 4 (O): -0.50", "atom 13 (O): +0.25"
    assert told == [middle, last, last, middle, first, last]
    assert view.accessibleDescription() == f"{first}; {middle}; {last}"
    view.show_molecule(draw_molecule("CCO"), None, "")  # another molecule: no atom of the first is chosen
    assert not view.hasFocus()
    assert not view.grab().isNull()


def test_the_assay_that_is_explained_can_be_chosen(dialog: MoleculeDialog) -> None:
    why = answered(dialog)
    combo = next(one for one in dialog.findChildren(ElidedCombo) if one.isVisibleTo(dialog))
    other = next(row for row in range(combo.count()) if combo.itemData(row) != why.finding)
    wanted = combo.itemData(other)
    combo.activated.emit(other)
    QApplication.processEvents()
    now = dialog.desk.explained()
    assert now is not None
    assert now[1].attribution is not None
    assert now[1].attribution.finding == wanted
    assert f"speaks for “{combo.itemText(other)}”" in words(dialog)


@pytest.mark.parametrize(
    ("smiles", "said"),
    [
        ("CCX", "This is no SMILES that can be read; check it around position 3, at “X”."),
        ("CC(C)(C)(C)C", "Atom 2 (C) has more bonds than it can have; check it."),
        ("CCO CCN", "There is a space at position 4 of the SMILES; give one molecule, without spaces."),
    ],
)
def test_what_cannot_be_read_is_one_sentence(dialog: MoleculeDialog, smiles: str, said: str) -> None:
    typed(dialog, smiles)
    assert "The molecule cannot be read" in words(dialog)
    assert said in words(dialog)
    assert not is_offered(dialog, "Run")
    assert not dialog.copy.isEnabled()
    typed(dialog, "CCO")
    assert "The molecule cannot be read" not in words(dialog)


def test_another_molecule_takes_everything_of_the_first_away(dialog: MoleculeDialog) -> None:
    answered(dialog)
    typed(dialog, "CCO")
    text = all_words(dialog)
    assert "speaks for" not in text
    assert "for its number" not in text
    assert [bar for bar in dialog.findChildren(LabelBar) if bar.isVisibleTo(dialog)] == []
    assert is_offered(dialog, "Run")


def test_an_abstention_says_why(dialog: MoleculeDialog) -> None:
    typed(dialog, "C" * 17)
    press(dialog, "Run")
    QApplication.processEvents()
    assert any("has 17 atoms; the model takes up to 16" in one for one in words(dialog))
    assert [bar for bar in dialog.findChildren(LabelBar) if bar.isVisibleTo(dialog)] == []


def test_work_is_shown_and_stopped(dialog: MoleculeDialog, app: Application) -> None:
    typed(dialog, ASPIRIN)
    dialog.desk._asked = MODEL
    app.session.update(jobs=(JobStatus(JOB, "Occlusion", 3, 14),))
    QApplication.processEvents()
    (bar,) = [one for one in dialog.findChildren(QProgressBar) if one.isVisibleTo(dialog)]
    assert (bar.value(), bar.maximum()) == (3, 14)
    stopped = []
    app.jobs.stop = stopped.append  # type: ignore[method-assign]
    press(dialog, "Stop it")
    assert stopped == [JOB]


def test_without_the_extra_it_is_named_and_nothing_can_be_typed(
    app: Application, qtbot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(molecule_drawing, "is_available", lambda: False)
    dialog = shown(app, qtbot)
    named = "RDKit reads molecules and is not installed; install it with: pip install 'medviewer[chem]'."
    assert named in words(dialog)
    assert not dialog.line.isEnabled()
    assert "Models are offered" not in all_words(dialog)


def test_without_a_model_that_is_said_and_the_molecule_is_drawn(app: Application, qtbot, tmp_path: Path) -> None:
    import shutil

    shutil.rmtree(tmp_path / "models" / "molecule")
    app.engine.catalogue.refresh()
    dialog = shown(app, qtbot)
    typed(dialog, ASPIRIN)
    assert "No installed model takes molecules." in words(dialog)
    assert dialog.desk.drawing is not None


def test_the_picture_on_the_clipboard_says_what_it_shows_and_is_not_for(
    dialog: MoleculeDialog, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    real = molecule_picture._line

    def line(painter, top, share, text, t) -> None:
        lines.append(text)
        real(painter, top, share, text, t)

    monkeypatch.setattr(molecule_picture, "_line", line)
    typed(dialog, ASPIRIN)
    dialog.copy.click()
    assert lines == [ASPIRIN, "Research use only - not for diagnosis"]
    lines.clear()
    why = answered(dialog, ASPIRIN)
    dialog.copy.click()
    label = {"first": "First", "second": "Second"}[why.finding]
    title = next(one for one in words(dialog) if one.startswith("speaks for"))
    assert lines[:1] == [ASPIRIN]
    assert lines[1] == "Toxicity (tiny-molecule 1.2.3)"
    assert lines[2] == title
    assert label.lower() in title.lower()
    assert lines[3:] == ["speaks against it", "Research use only - not for diagnosis"]
    image = QGuiApplication.clipboard().image()
    assert (image.width(), image.height()) == (1200, 1000)
    assert image.pixelColor(2, 2) == QColor(theme.PAPER)
    assert "The picture is on the clipboard." in words(dialog)


def test_the_picture_has_dark_lines_on_white_whatever_the_theme(dialog: MoleculeDialog) -> None:
    typed(dialog, ASPIRIN)
    dialog.copy.click()
    image = QGuiApplication.clipboard().image().convertToFormat(QImage.Format.Format_Grayscale8)
    grey = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    drawn = grey[60:720, 40:1160]
    assert drawn.min() < 30
    assert (drawn == 255).mean() > 0.8


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("size", [(944, 492), (1264, 672)], ids=["1920x1080 at 200%", "1280x720"])
def test_nothing_is_cut_or_overlaps_on_a_small_screen(app: Application, qtbot, size, language: str) -> None:
    app.run_command("app.language", language)
    use_language(language)
    dialog = shown(app, qtbot, QSize(*size))
    typed(dialog, ASPIRIN)
    dialog.cards[MODEL].run.emit()
    for _ in range(5):
        QApplication.processEvents()
    assert cut(dialog) == []
    (legend,) = [one for one in dialog.findChildren(Legend) if one.isVisibleTo(dialog)]
    top = legend.mapTo(dialog, legend.rect().topLeft()).y()
    bottom = dialog.view.mapTo(dialog, dialog.view.rect().bottomLeft()).y()
    assert bottom < top
    assert dialog.view.height() >= 160
    assert (dialog.width(), dialog.height()) == size
    use_language("en")


def test_in_chinese_everything_is_chinese(app: Application, qtbot) -> None:
    app.run_command("app.language", "zh")
    use_language("zh")
    dialog = shown(app, qtbot)
    typed(dialog, "CCX")
    assert "这不是可读取的 SMILES；请检查第 3 个字符“X”附近。" in words(dialog)
    typed(dialog, ASPIRIN)
    press(dialog, "运行")
    QApplication.processEvents()
    text = all_words(dialog)
    for said in ("分子", "毒性", "反对该项", "复制图片", "仅供研究使用，不用于诊断。"):
        assert said in text
    use_language("en")


@pytest.mark.parametrize(
    "sentence",
    [
        "RDKit reads molecules and is not installed; install it with: pip install 'medviewer[chem]'.",
        "The SMILES is longer than 2000 characters; give a smaller molecule.",
        "This is no SMILES that can be read: a ring is opened and never closed.",
        "The aromatic ring of the atoms 1, 2, 3 cannot exist; check its hydrogens and charges.",
        "This is no SMILES that can be read; check how it is written.",
        "Atom 2 (C) has more bonds than it can have; check it.",
        "There is a space at position 4 of the SMILES; give one molecule, without spaces.",
        "it takes a molecule: see Molecule… in the menu Model.",
    ],
)
def test_every_sentence_about_a_molecule_has_its_chinese(sentence: str) -> None:
    from medviewer.gui.text import tr

    use_language("zh")
    said = tr(sentence)
    use_language("en")
    assert any("\u4e00" <= c <= "\u9fff" for c in said), sentence
    numbers = [part for part in sentence.replace(",", " ").split() if part.isdecimal()]
    assert all(number in said for number in numbers)


def test_the_command_opens_it_over_the_window(main_window, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[object, list[str]]] = []

    def execute(dialog: MoleculeDialog) -> None:
        opened.append((dialog.parent(), words(dialog)))
        dialog.accept()

    monkeypatch.setattr(MoleculeDialog, "exec", execute)
    main_window.app.run_command("model.molecule")
    [(parent, said)] = opened
    assert parent is main_window
    assert "No installed model takes molecules." in said


def test_when_it_is_closed_it_watches_no_more(app: Application, qtbot) -> None:
    dialog = shown(app, qtbot)
    before = len(app.session._watchers)
    dialog.accept()
    assert len(app.session._watchers) == before - 1
    dialog.line.setText(ASPIRIN)
    assert replace(app.state).jobs == ()
