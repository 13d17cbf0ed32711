"""Preferences: by the keyboard alone, at once, in the language that was just chosen, and back to what they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QPoint, QPointF, QSize, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QCheckBox, QComboBox, QPushButton

from medviewer.app.preferences import CHOICES, preferred
from medviewer.app.presets import CT_PRESETS
from medviewer.app.settings import SettingsFile
from medviewer.domain.study import Window
from medviewer.gui import theme
from medviewer.gui.cards import Disclosure, ScrollColumn
from medviewer.gui.preferences_dialog import PreferencesDialog
from tests.gui.reader import Reader, pixels
from tests.gui.seen import all_words, press
from tests.phantoms import write_chest
from tests.radiographs import write_radiograph


@pytest.fixture
def reader(main_window, qtbot) -> Reader:
    return Reader(main_window, qtbot)


@pytest.fixture
def dialog(reader: Reader, qtbot) -> PreferencesDialog:
    app = reader.window.app
    made = PreferencesDialog(
        lambda name: preferred(app, name),
        lambda name, value: app.run_command("app.prefer", (name, value)),
        lambda: app.run_command("app.reset_preferences"),
    )
    qtbot.addWidget(made)
    made.show()
    return made


def choose(dialog: PreferencesDialog, name: str, value: object) -> None:
    field = dialog.fields[name]
    if isinstance(field, QCheckBox):
        field.setChecked(bool(value))
    else:
        assert isinstance(field, QComboBox)
        field.setCurrentIndex(field.findData(value))
        field.activated.emit(field.currentIndex())


def test_every_preference_is_there_with_what_is_preferred_now(dialog: PreferencesDialog) -> None:
    assert set(dialog.fields) == set(CHOICES)
    for name, values in CHOICES.items():
        field = dialog.fields[name]
        if isinstance(field, QComboBox):
            assert [field.itemData(i) for i in range(field.count())] == list(values)
            assert field.currentData() == values[0]
            assert field.accessibleName()
        else:
            assert field.isChecked() == values[0]


@pytest.mark.parametrize("name", ["light", "high-contrast"])
def test_another_theme_is_used_at_once_with_its_icons(
    reader: Reader, dialog: PreferencesDialog, tmp_path: Path, name: Any
) -> None:
    reader.open(write_radiograph(tmp_path / "a.dcm"))
    action = reader.window.actions_.action("view.fit")
    before = action.icon().pixmap(QSize(16, 16)).toImage()
    choose(dialog, "theme", name)
    assert theme.tokens() is theme.THEMES[name]
    assert action.icon().pixmap(QSize(16, 16)).toImage() != before
    ground = pixels(reader.window.findings)[-3, 3]
    assert tuple(ground) == theme.color(theme.THEMES[name].panel).getRgb()[:3]
    assert tuple(pixels(reader.window.viewport)[1, 1]) == (0, 0, 0)
    choose(dialog, "theme", "dark")
    assert action.icon().pixmap(QSize(16, 16)).toImage() == before


def test_a_window_opens_in_the_theme_that_was_chosen(
    reader: Reader, qapp: QApplication, fake_engine, medviewer_home: Path
) -> None:
    from medviewer.app.start import running_application
    from medviewer.gui.post import GuiPost
    from medviewer.gui.window import MainWindow

    reader.window.app.run_command("app.prefer", ("theme", "light"))
    theme.apply_theme(qapp)
    post = GuiPost()
    with running_application(medviewer_home, post, fake_engine) as app:
        window = MainWindow(app)
        assert theme.tokens() is theme.THEMES["light"]
        window.close()
        post.close()
        window.deleteLater()
        qapp.sendPostedEvents(None, 0)


def test_the_spacing_is_changed_at_once(reader: Reader, dialog: PreferencesDialog) -> None:
    height = reader.window.findings.model.sizeHint().height()
    choose(dialog, "density", "compact")
    assert reader.window.findings.model.sizeHint().height() < height


def test_the_dialog_speaks_the_language_that_was_just_chosen(reader: Reader, dialog: PreferencesDialog) -> None:
    choose(dialog, "language", "zh")
    assert reader.state.language == "zh"
    reader.wait(lambda: "首选项" in all_words(dialog))
    assert dialog.windowTitle() == "首选项"
    press(dialog, "全部恢复默认")
    reader.wait(lambda: "Preferences" in all_words(dialog))


def test_the_sense_of_dragging_is_a_preference(reader: Reader, dialog: PreferencesDialog, tmp_path: Path) -> None:
    reader.open(write_radiograph(tmp_path / "a.dcm"))

    def level_after_dragging_up() -> float:
        reader.window.app.run_command("view.window", Window(1000, 500))
        reader.drag(Qt.MouseButton.LeftButton, (200, 200), (200, 150))
        return float(reader.state.view.window.center)

    up = level_after_dragging_up()
    choose(dialog, "up_brightens", value=False)
    assert up - 1000 == -(level_after_dragging_up() - 1000) != 0


def test_all_can_be_done_with_the_keyboard(reader: Reader, dialog: PreferencesDialog, qtbot) -> None:
    dialog.activateWindow()
    reached: list[object] = []
    dialog.fields["language"].setFocus()
    qtbot.waitUntil(lambda: QApplication.focusWidget() is dialog.fields["language"])
    for _ in range(len(CHOICES) + 3):
        reached.append(QApplication.focusWidget())
        qtbot.keyClick(QApplication.focusWidget(), Qt.Key.Key_Tab)
    assert set(dialog.fields.values()) <= set(reached)
    field = dialog.fields["theme"]
    field.setFocus()
    qtbot.keyClick(field, Qt.Key.Key_Down)
    assert reader.state.theme == "light"
    box = dialog.fields["run_when_opened"]
    qtbot.keyClick(box, Qt.Key.Key_Space)
    assert reader.window.app.settings.run_when_opened


def test_enter_after_a_ct_window_takes_it_and_folds_nothing(reader: Reader, dialog: PreferencesDialog, qtbot) -> None:
    fold = dialog.findChild(Disclosure)
    fold.header.setChecked(True)
    field = dialog.presets[7][0]
    field.setFocus()
    field.setText("1600")
    qtbot.keyClick(field, Qt.Key.Key_Return)
    assert reader.state.ct_presets[7].width == 1600
    assert fold.header.isChecked()
    assert dialog.isVisible()


def test_in_a_low_window_it_scrolls_and_keeps_its_buttons(reader: Reader, dialog: PreferencesDialog) -> None:
    """With the wheel over a field too, which chooses nothing; a field that Tab goes to is brought into sight."""
    dialog.resize(500, 220)
    reader.wait(lambda: dialog.height() == 220)
    scroll = dialog.findChild(ScrollColumn)
    assert scroll is not None
    bar = scroll.verticalScrollBar()
    assert bar.maximum() > 100
    buttons = [one for one in dialog.findChildren(QPushButton) if one.isVisible() and one.property("kind") != "fold"]
    assert len(buttons) == 2
    assert all(dialog.rect().contains(one.geometry()) for one in buttons)
    field = dialog.fields["theme"]
    at = QPointF(field.mapTo(dialog, QPoint(20, 10)))
    QTest.wheelEvent(dialog.windowHandle(), at, QPoint(0, -360))
    assert bar.value() > 0
    assert reader.state.theme == "dark"
    dialog.activateWindow()
    for name in dialog.fields:
        one = dialog.fields[name]
        one.setFocus(Qt.FocusReason.TabFocusReason)
        scroll.ensureWidgetVisible(one)
        place = one.mapTo(scroll.viewport(), one.rect().center())
        assert scroll.viewport().rect().contains(place), name
    dialog.resize(100, 220)
    assert dialog.width() >= min(460, dialog.screen().availableSize().width() - 16)


def test_a_ct_window_is_changed_used_kept_and_reset(
    reader: Reader, dialog: PreferencesDialog, tmp_path: Path, medviewer_home: Path
) -> None:
    app = reader.window.app
    write_chest(tmp_path / "ct", size=40, spacing_mm=8.0, slice_mm=10.0, n_slices=3)
    reader.open(tmp_path / "ct")
    width, level = dialog.presets[4]
    assert (width.value, level.value) == (400, 40)
    dialog.findChild(Disclosure).header.setChecked(True)
    for field, typed in ((width, "450"), (level, "60"), (level, "-99999"), (level, "6o"), (width, "")):
        field.setFocus()
        field.selectAll()
        QTest.keyClicks(field, typed) if typed else QTest.keyClick(field, Qt.Key.Key_Delete)
        QTest.keyClick(field, Qt.Key.Key_Return)
    assert (width.text(), level.text()) == ("450", "60")
    assert dialog.isVisible()
    reader.settle()
    app.run_command("view.preset", 4)
    assert reader.state.view.window == Window(60, 450, name="Soft tissue")
    assert SettingsFile(app.home).load().ct_presets[4] == Window(60, 450, name="Soft tissue")
    menu = reader.window.actions_.image_menu(reader.window)
    (presets,) = [one.menu() for one in menu.actions() if one.menu() is not None]
    presets.aboutToShow.emit()
    assert "Soft tissue  (450 / 60)" in [one.text() for one in presets.actions()]
    press(dialog, "Reset all")
    reader.settle()
    assert dialog.presets[4][0].value == 400
    assert SettingsFile(app.home).load().ct_presets == CT_PRESETS
    names = [field.accessibleName() for pair in dialog.presets.values() for field in pair]
    assert len(set(names)) == 18
    assert "4  Soft tissue: Width" in names
