"""The dialog of hanging protocols: every field is kept, and nothing is used before it is saved."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QCheckBox, QComboBox, QLineEdit, QStyle, QStyleOptionButton

from medviewer.app.hanging_protocol import BUILT_IN, DisplaySet, HangingProtocol, Protocols
from medviewer.gui.hanging_dialog import HangingDialog
from medviewer.gui.text import use_language
from tests.gui.seen import all_words, press
from tests.phantoms import write_chest

MINE = HangingProtocol("Mine", "CR", layout=(1, 2), display_sets=(DisplaySet(view="PA"), DisplaySet(prior=1)))


class Made:
    def __init__(self, qtbot: Any, protocols: Protocols = (MINE, *BUILT_IN)) -> None:
        self.used: list[Protocols] = []
        self.dialog = HangingDialog(protocols, lambda name: replace(MINE, name=name), self.used.append)
        qtbot.addWidget(self.dialog)

    def field(self, name: str) -> Any:
        return self.dialog.fields.fields[name]

    def type(self, name: str, text: str) -> None:
        line = self.field(name)
        line.clear()
        QTest.keyClicks(line, text)

    def pick(self, name: str, value: object) -> None:
        combo = self.field(name)
        index = combo.findData(value)
        assert index >= 0
        combo.setCurrentIndex(index)
        combo.activated.emit(index)

    @property
    def first(self) -> HangingProtocol:
        return self.dialog.protocols[0]


@pytest.fixture
def made(qtbot: Any) -> Made:
    return Made(qtbot)


def test_every_field_of_a_protocol_can_be_changed(made: Made) -> None:
    made.type("name", "Knees")
    made.type("modality", "CR/DX")
    made.type("body_part", "KNEE")
    made.type("views", "AP, LL/RL")
    made.pick("priors", 2)
    made.field("when_opening").setChecked(False)
    found = made.first
    assert (found.name, found.modality, found.body_part, found.views, found.priors, found.when_opening) == (
        "Knees", "CR/DX", "KNEE", "AP, LL/RL", 2, False,
    )  # fmt: skip
    assert made.dialog.list.item(0).text() == "Knees  (by hand only)"


def test_no_viewport_of_the_editor_loses_its_words(made: Made, qtbot: Any) -> None:
    made.dialog.list.setCurrentRow(1)  # mammograms above those of the prior study
    made.dialog.show()
    qtbot.waitExposed(made.dialog)
    for cell in made.dialog.fields.viewports:
        option = QStyleOptionButton()
        cell.initStyleOption(option)
        room = cell.style().subElementRect(QStyle.SubElement.SE_PushButtonContents, option, cell)
        needed = cell.fontMetrics().size(0, cell.text())
        assert needed.width() <= room.width(), cell.text()
        assert needed.height() <= room.height(), cell.text()


def test_every_field_of_a_viewport_can_be_changed(made: Made) -> None:
    made.dialog.fields.viewports[1].click()
    assert made.field("prior").currentData() == 1
    wanted = DisplaySet(2, "LL", "L", "axial", "T1/T2", 3, "coronal", 7, True, "PET", "right")
    for name, value in zip(
        DisplaySet.__dataclass_fields__, (2, "LL", "L", "axial", "T1/T2", 3, "coronal", 7), strict=False
    ):
        if isinstance(made.field(name), QLineEdit):
            made.type(name, str(value))
        else:
            made.pick(name, value)
    made.pick("palette", "PET")
    made.pick("front", "right")
    made.field("inverted").setChecked(True)
    assert made.first.display_sets == (MINE.display_sets[0], wanted)
    made.dialog.fields.viewports[0].click()
    assert made.field("view").text() == "PA"
    assert not made.field("inverted").isChecked()
    assert made.first.display_sets == (MINE.display_sets[0], wanted)


def test_another_shape_keeps_what_is_in_its_row_and_column(made: Made) -> None:
    made.pick("rows", 2)
    assert made.first.layout == (2, 2)
    assert made.first.display_sets == (*MINE.display_sets, DisplaySet(), DisplaySet())
    made.pick("columns", 1)
    assert made.first.display_sets == (MINE.display_sets[0], DisplaySet())
    made.pick("rows", 4)
    made.pick("columns", 4)
    assert len(made.dialog.fields.viewports) == 16
    assert made.field("rows").count() == made.field("columns").count() == 4


def test_the_order_can_be_changed(made: Made) -> None:
    press(made.dialog, "Down")
    assert made.dialog.protocols[:2] == (BUILT_IN[0], MINE)
    assert made.dialog.list.currentRow() == 1
    press(made.dialog, "Up")
    assert made.dialog.protocols == (MINE, *BUILT_IN)
    assert not made.dialog.up.isEnabled()


def test_new_duplicate_delete_and_reset(made: Made) -> None:
    press(made.dialog, "New from the layout on screen")
    assert made.first == replace(MINE, name="My protocol 2")
    press(made.dialog, "Duplicate")
    assert [one.name for one in made.dialog.protocols[:3]] == ["My protocol 2 2", "My protocol 2", "Mine"]
    press(made.dialog, "Delete")
    press(made.dialog, "Delete")
    assert made.dialog.protocols == (MINE, *BUILT_IN)
    press(made.dialog, "Reset to the program's own")
    assert made.dialog.protocols == BUILT_IN
    for _ in BUILT_IN:
        press(made.dialog, "Delete")
    assert made.dialog.protocols == ()
    assert not made.dialog.fields.isEnabled()
    press(made.dialog, "New from the layout on screen")
    assert len(made.dialog.protocols) == 1


def test_nothing_is_used_before_it_is_saved(made: Made) -> None:
    made.type("name", "Knees")
    press(made.dialog, "Cancel")
    assert made.used == []
    press(made.dialog, "Save")
    assert [one.name for one in made.used[0]][:2] == ["Knees", BUILT_IN[0].name]


def test_a_protocol_without_a_name_is_not_saved_and_it_is_said(made: Made) -> None:
    made.type("name", " ")
    press(made.dialog, "Save")
    assert made.used == []
    assert "Hanging protocol 1 cannot be used" in all_words(made.dialog)


def test_names_are_plain_text(qtbot: Any) -> None:
    made = Made(qtbot, (replace(MINE, name="<b>x</b>\u202e"),))
    assert made.dialog.list.item(0).text() == "<b>x</b>⟨U+202E⟩"


def test_every_field_can_be_named_and_reached(made: Made) -> None:
    for field in made.dialog.fields.fields.values():
        assert isinstance(field, QLineEdit | QComboBox | QCheckBox)
        assert field.accessibleName() or field.text()  # type: ignore[union-attr]
        assert field.focusPolicy() & Qt.FocusPolicy.TabFocus


def test_the_programs_own_have_chinese_names(qtbot: Any) -> None:
    use_language("zh")
    made = Made(qtbot, BUILT_IN)
    assert made.dialog.list.item(3).text() == "胸部后前位，本次与既往"


def test_the_window_offers_them_by_name_and_key(main_window, qtbot, tmp_path, monkeypatch) -> None:
    from tests.gui.reader import Reader

    write_chest(tmp_path, size=40, spacing_mm=8.0, slice_mm=10.0, n_slices=10)
    reader = Reader(main_window, qtbot)
    reader.open(tmp_path)
    actions = main_window.actions_
    menu = actions.menu_of("layout", main_window)
    sub = next(a.menu() for a in menu.actions() if a.text() == "Hanging protocol")
    sub.aboutToShow.emit()
    assert [a.text() for a in sub.actions() if a.isVisible()] == [one.name for one in BUILT_IN]
    reader.key(Qt.Key.Key_7, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier)
    reader.settle()
    assert reader.state.layout == (2, 2)
    main_window.palette_.show_for(reader.state)
    main_window.palette_.line.setText("three planes")
    assert main_window.palette_.list.item(0).text() == "Hanging protocol: CT or MR, three planes"
    main_window.palette_.reject()
    menu.deleteLater()
    seen = []
    monkeypatch.setattr(HangingDialog, "exec", lambda dialog: (seen.append(dialog.protocols), dialog.deleteLater()))
    main_window.app.run_command("layout.protocols")
    assert seen == [BUILT_IN]


def test_protocols_that_come_back_have_their_keys_before_the_menu_is_opened(main_window, qtbot, tmp_path) -> None:
    from tests.gui.reader import Reader

    write_chest(tmp_path, size=40, spacing_mm=8.0, slice_mm=10.0, n_slices=10)
    reader = Reader(main_window, qtbot)
    reader.open(tmp_path)
    run = main_window.app.run_command
    run("layout.use_protocols", BUILT_IN[:2])
    menu = main_window.actions_.menu_of("layout", main_window)
    sub = next(a.menu() for a in menu.actions() if a.text() == "Hanging protocol")
    sub.aboutToShow.emit()
    assert [a.text() for a in sub.actions() if a.isVisible()] == [one.name for one in BUILT_IN[:2]]
    run("layout.use_protocols", BUILT_IN)
    reader.key(Qt.Key.Key_7, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier)
    reader.settle()
    assert reader.state.layout == (2, 2)
    menu.deleteLater()


def test_an_empty_viewport_says_why(main_window, qtbot, tmp_path) -> None:
    from PySide6.QtGui import QPainter

    from tests.gui.reader import Reader
    from tests.radiographs import write_radiograph

    reader = Reader(main_window, qtbot)
    reader.open(write_radiograph(tmp_path / "a.dcm"))
    said: list[str] = []
    real = QPainter.drawText
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            QPainter, "drawText", lambda self, *a: (said.extend(x for x in a if isinstance(x, str)), real(self, *a))[1]
        )
        reader.key(Qt.Key.Key_4, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier)
        reader.settle()
        main_window.viewports.visible[1].grab()
    assert "No prior radiograph is open.\nCHEST/THORAX · PA" in said


def test_a_small_viewport_still_says_who_when_and_which_view(main_window, qtbot, tmp_path) -> None:
    from medviewer.gui.corner_text import corners
    from tests.gui.reader import Reader
    from tests.radiographs import write_radiograph

    reader = Reader(main_window, qtbot)
    reader.open(write_radiograph(tmp_path / "a.dcm", ImageLaterality="R", ViewPosition="MLO"))
    small = corners(reader.state, None, is_small=True)
    assert small.top_left == ("\u2068Alpha, Anna\u2069", "ID \u2068A1\u2069", "2005-02-03")
    assert (small.bottom_left, small.bottom_right) == ((), ("R MLO",))
    assert "CR CHEST R MLO" in corners(reader.state, None).bottom_right
    reader.window.app.run_command("view.hide_identity")
    # Too long to stand beside the letter of the upper edge: below it nothing is cut.
    assert corners(reader.state, None, is_small=True).top_left == ("", "Identity hidden", "2005-02-03")
    assert reader.window.viewport._texts(None).top_right
    reader.window.app.run_command("layout.use", (4, 4))
    assert reader.window.viewport._texts(None).top_right == ()


@pytest.mark.parametrize("shape", [(4, 4), (1, 4), (3, 1)])
def test_many_viewports_do_not_make_the_window_larger(main_window, qtbot, tmp_path, shape) -> None:
    from tests.gui.reader import Reader
    from tests.radiographs import write_radiograph

    reader = Reader(main_window, qtbot)
    reader.open(write_radiograph(tmp_path / "a.dcm"))
    before = main_window.size()
    main_window.app.run_command(
        "layout.use_protocols",
        (HangingProtocol("x", layout=shape, display_sets=(DisplaySet(),) * (shape[0] * shape[1])),),
    )
    main_window.app.run_command("layout.hang", 0)
    reader.settle()
    qtbot.waitUntil(lambda: len(main_window.viewports.visible) == shape[0] * shape[1])
    for _ in range(3):  # rounds of layout
        QApplication.processEvents()
    assert main_window.size() == before
    sizes = {(v.width() // 4, v.height() // 4) for v in main_window.viewports.visible}
    assert len(sizes) <= 2


def test_a_second_window_has_viewports_of_its_own(qtbot) -> None:
    """Another shape of one window leaves what the other shows as it is."""
    made = Made(qtbot)
    fields = made.dialog.fields
    second = fields.fields["second"]
    second.setCurrentIndex(second.findData("1x2"))
    second.activated.emit(second.currentIndex())
    now = made.dialog.protocols[0]
    assert (now.layout, now.second) == ((1, 2), (1, 2))
    assert now.display_sets == (*MINE.display_sets, DisplaySet(), DisplaySet())
    fields.choose(3)
    fields.fields["view"].setText("LL")
    fields.fields["view"].textEdited.emit("LL")
    rows = fields.fields["rows"]
    rows.setCurrentIndex(rows.findData(2))
    rows.activated.emit(rows.currentIndex())
    now = made.dialog.protocols[0]
    assert (now.layout, now.second) == ((2, 2), (1, 2))
    assert [one.view for one in now.display_sets] == ["PA", "", "", "", "", "LL"]
    second.setCurrentIndex(second.findData(""))
    second.activated.emit(second.currentIndex())
    now = made.dialog.protocols[0]
    assert (now.layout, now.second, len(now.display_sets)) == ((2, 2), None, 4)
