"""What a screen reader says: every control of the window has a name, in the language in use, and images say which."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QAccessible
from PySide6.QtWidgets import QAbstractScrollArea, QDialog, QSlider, QWidget

from medviewer.app.on_screen import current_answer
from medviewer.gui.text import set_tooltip, use_language
from tests.gui.reader import Reader
from tests.phantoms import write_chest
from tests.radiographs import write_radiograph


@pytest.fixture
def reader(main_window: Any, qtbot: Any, tmp_path: Path) -> Reader:
    main_window.resize(1900, 1000)  # both columns of panels
    made = Reader(main_window, qtbot)
    made.open(write_radiograph(tmp_path / "a.dcm"))
    main_window.app.run_command("model.run")
    made.settle()
    assert current_answer(made.state) is not None
    return made


def names(root: QWidget) -> dict[QWidget, str]:
    """What is said of each control that the keyboard can reach."""
    found = {}
    for widget in root.findChildren(QWidget):
        is_inner = isinstance(widget.parentWidget(), QAbstractScrollArea)  # its viewport
        if not widget.isVisible() or is_inner or widget.focusPolicy() == Qt.FocusPolicy.NoFocus:
            continue
        heard = QAccessible.queryAccessibleInterface(widget)
        if heard is not None:
            found[widget] = heard.text(QAccessible.Text.Name)
    return found


def nameless(root: QWidget) -> list[str]:
    return [f"{type(one).__name__} in {type(one.parent()).__name__}" for one, name in names(root).items() if not name]


def test_every_control_of_the_window_has_a_name(reader: Reader) -> None:
    window = reader.window
    for tabs in (window._tabs, window._second_tabs):
        for number in range(tabs.count()):
            tabs.setCurrentIndex(number)
            reader.settle()
            assert nameless(window) == []
    assert len(names(window)) > 20


@pytest.mark.parametrize(
    "command", ["help.palette", "help.shortcuts", "app.preferences", "layout.protocols", "model.manage", "file.print",
                "file.save_results", "file.export_image", "image.tags", "help.about"],
)  # fmt: skip
def test_every_control_of_a_dialog_has_a_name(reader: Reader, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def look(self: QDialog) -> int:
        self.show()
        seen.append(nameless(self))
        self.reject()
        return 0

    monkeypatch.setattr(QDialog, "exec", look)
    reader.window.app.run_command(command)
    reader.settle()
    if command == "help.palette":
        seen.append(nameless(reader.window.palette_))
    assert seen == [[]]


def test_names_that_come_with_tooltips_follow_the_language(qtbot: Any, reader: Reader) -> None:
    def english(root: QWidget) -> list[str]:
        said = [n for n in names(root).values() if n.isascii() and sum(c.isalpha() for c in n) > 12]
        return [name for name in said if "Alpha" not in name and "fake" not in name.lower()]

    assert english(reader.window)
    reader.window.app.run_command("app.language", "zh")
    reader.settle()
    assert english(reader.window) == []
    slider = QSlider()
    qtbot.addWidget(slider)
    set_tooltip(slider, "first")
    set_tooltip(slider, "second")
    assert slider.accessibleName() == "second"
    slider.setAccessibleName("its own")
    set_tooltip(slider, "third")
    assert slider.accessibleName() == "its own"


def test_a_viewport_says_what_it_shows_and_not_whose_it_is(reader: Reader, tmp_path: Path) -> None:
    write_chest(tmp_path / "ct", size=40, spacing_mm=8.0, slice_mm=10.0, n_slices=30)
    reader.open(tmp_path / "ct")
    app, viewport = reader.window.app, reader.window.viewport
    app.run_command("image.show", 11)
    assert viewport.accessibleName() == "Image"
    assert viewport.accessibleDescription() == "CT, Chest 4 mm, Image 12 / 30"
    assert "Phantom" not in viewport.accessibleDescription()
    app.run_command("layout.use", (1, 2))
    empty = reader.window.viewports.visible[1]
    assert empty.accessibleDescription() == "Empty viewport"
    app.run_command("layout.use", (1, 1))
    app.run_command("app.language", "zh")
    assert viewport.accessibleName() == "图像"
    use_language("en")
