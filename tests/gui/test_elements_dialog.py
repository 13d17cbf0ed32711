"""The DICOM elements of the image on screen: found while typing, copied, and without identity while that is hidden."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QAbstractItemModel, QModelIndex, Qt
from PySide6.QtTest import QAbstractItemModelTester
from PySide6.QtWidgets import QApplication, QDialog

from medviewer.gui.elements_dialog import ElementsDialog
from medviewer.gui.text import use_language
from medviewer.imaging import element_list
from medviewer.imaging.element_list import Element, ElementList, list_elements
from tests.gui.reader import Reader
from tests.gui.seen import all_words, press
from tests.radiographs import write_radiograph

CODE = Element(0x00080104, "LO", "CodeMeaning", "Code Meaning", "frontal", 7)
WHO = Element(0x00100010, "PN", "PatientName", "Patient's Name", "Kowalska^Anna", 14, is_identity=True)
LISTED = ElementList(
    (
        Element(0x00080060, "CS", "Modality", "Modality", "CT", 2),
        WHO,
        Element(0x00540220, "SQ", "ViewCodeSequence", "View Code Sequence", items=((CODE, WHO), (CODE,))),
        Element(0x00280010, "US", "Rows", "Rows", "", 3, damage=element_list.WRONG_LENGTH),
        Element(0x00091001, "UN", "", "", "01 02", 2, is_identity=True),
    )
)


def seen(model: QAbstractItemModel, parent: QModelIndex | None = None) -> list[str]:
    """Every line as "tag name value", indented."""
    above = parent or QModelIndex()
    found = []
    for row in range(model.rowCount(above)):
        cells = [str(model.index(row, column, above).data() or "") for column in (0, 1, 4)]
        found.append(" ".join(cells).strip())
        found += ["  " + line for line in seen(model, model.index(row, 0, above))]
    return found


def make(qtbot: Any, *, identity_hidden: bool = False, listed: ElementList = LISTED) -> ElementsDialog:
    dialog = ElementsDialog(listed, identity_hidden=identity_hidden)
    qtbot.addWidget(dialog)
    return dialog


def test_sequences_are_a_tree_and_damage_is_said(qtbot) -> None:
    dialog = make(qtbot)
    QAbstractItemModelTester(dialog.model, QAbstractItemModelTester.FailureReportingMode.Fatal, dialog)
    lines = seen(dialog.model)
    assert lines[0] == "(0008,0060) Modality CT"
    assert lines[2:5] == ["(0054,0220) View Code Sequence 2 items", "  Item 1", "    (0008,0104) Code Meaning frontal"]
    assert "(0028,0010) Rows Damaged: its length does not fit its values." in [line.strip() for line in lines]
    assert lines[-1] == "(0009,1001) private 01 02"


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("00080060", 1), ("0008,0060", 1), ("modality", 1), ("FRONTAL", 2), ("patientname", 2), ("view code", 1),
        ("nothing", 0), ("", 8),
    ],
)  # fmt: skip
def test_typing_finds_tags_keywords_names_and_values(qtbot, typed: str, found: int) -> None:
    dialog = make(qtbot)
    dialog.search.setText(typed)
    assert ("1 element" if found == 1 else f"{found} elements") in all_words(dialog)


def test_what_was_found_keeps_the_sequence_around_it(qtbot) -> None:
    dialog = make(qtbot)
    dialog.search.setText("frontal")
    assert seen(dialog.model)[:3] == [
        "(0054,0220) View Code Sequence 2 items",
        "  Item 1",
        "    (0008,0104) Code Meaning frontal",
    ]


def test_rows_that_tell_identity_are_neither_shown_nor_found_nor_copied_while_it_is_hidden(qtbot) -> None:
    dialog = make(qtbot, identity_hidden=True)
    assert not [line for line in seen(dialog.model) if "Kowalska" in line or "0009" in line]
    assert "Rows hidden with the identity: 3" in all_words(dialog)
    dialog.search.setText("kowal")
    assert seen(dialog.model) == []
    dialog.search.setText("view code")
    press(dialog, "Copy as JSON")
    assert "Kowalska" not in QApplication.clipboard().text()
    assert "frontal" in QApplication.clipboard().text()


def test_values_are_copied_alone_or_as_a_line_of_json(qtbot) -> None:
    dialog = make(qtbot)
    dialog.search.setText("patientname")
    press(dialog, "Copy value")
    assert QApplication.clipboard().text() == "Kowalska^Anna"
    press(dialog, "Copy as JSON")
    copied = QApplication.clipboard().text()
    assert "\n" not in copied
    assert json.loads(copied)["tag"] == "(0010,0010)"


def test_enter_in_the_search_copies_nothing(qtbot) -> None:
    dialog = make(qtbot)
    dialog.show()
    QApplication.clipboard().setText("mine")
    dialog.search.setFocus()
    qtbot.keyClicks(dialog.search, "modality")
    qtbot.keyClick(dialog.search, Qt.Key.Key_Return)
    assert QApplication.clipboard().text() == "mine"
    assert dialog.isVisible()
    dialog.copy_value.setFocus()
    qtbot.keyClick(dialog.copy_value, Qt.Key.Key_Return)
    assert QApplication.clipboard().text() == "CT"


def test_every_damage_is_said_in_chinese(qtbot) -> None:
    use_language("zh")
    words = [
        value
        for name, value in vars(element_list).items()
        if name.isupper() and isinstance(value, str) and " " in value
    ]
    assert len(words) == 5
    for damage in words:
        lines = seen(make(qtbot, listed=ElementList((Element(0x00080060, "CS", "", "x", damage=damage),))).model)
        assert lines[0].split("x ", 1)[1][:2] in ("损坏", "未继")


def test_a_list_that_was_cut_says_so(qtbot) -> None:
    assert "more elements than are listed" in all_words(make(qtbot, listed=ElementList((CODE,), is_cut=True)))


def test_the_elements_of_the_image_on_screen_are_shown_by_a_key(
    main_window, qtbot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = Reader(main_window, qtbot)
    path = write_radiograph(tmp_path / "a.dcm")
    reader.open(path)
    shown: list[tuple[ElementList, str]] = []
    monkeypatch.setattr(QDialog, "exec", lambda dialog: shown.append((dialog._listed, " ".join(seen(dialog.model)))))
    reader.window.app.run_command("view.hide_identity")
    reader.key(Qt.Key.Key_I, Qt.KeyboardModifier.ControlModifier)
    reader.wait(lambda: bool(shown))
    [(listed, lines)] = shown
    assert listed == list_elements(path)
    name = reader.state.selection.patient.name.split("^")[0]
    assert name not in lines
