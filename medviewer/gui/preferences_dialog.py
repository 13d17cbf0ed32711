"""What the reader prefers, in one dialog: each choice is used at once and remembered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QGridLayout,
    QLineEdit,
    QVBoxLayout,
    QWidget,
)

from medviewer.app.preferences import CHOICES
from medviewer.app.presets import LEVELS, WIDTHS
from medviewer.gui.cards import Disclosure, ElidedCombo, ScrollColumn, button, clear, section
from medviewer.gui.dialogs import Dialog, add_close, size_on_screen
from medviewer.gui.text import PlainLabel, for_button, tr

_LEAST_PX = 460
_NUMBER_PX = 88
_TITLES_PX = 160  # the fields of all sections stand below each other

Values = Callable[[str], Any]
Use = Callable[[str, Any], None]


class PreferencesDialog(Dialog):
    """Language, looks, mouse, image, model; ``value`` tells what is preferred now, ``use`` changes it."""

    def __init__(self, value: Values, use: Use, reset: Callable[[], None], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._value, self._use, self._reset = value, use, reset
        self.fields: dict[str, QComboBox | QCheckBox] = {}
        self.presets: dict[int, tuple[NumberField, NumberField]] = {}  # width and level, by digit
        size = size_on_screen(QSize(500, 490), self.screen().availableSize())
        self.resize(size)
        self.setMinimumWidth(min(size.width(), _LEAST_PX))  # in height it scrolls
        self._whole = QVBoxLayout(self)
        self._whole.setContentsMargins(0, 0, 0, 12)
        self._build("")

    def _build(self, focused: str) -> None:
        """Make everything, in the language in use; ``focused`` has the keyboard again."""
        clear(self._whole)
        self.fields.clear()
        self.setWindowTitle(tr("Preferences"))
        scroll = ScrollColumn(margin=20)
        scroll.setAccessibleName(tr("Preferences"))
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the fields are reached with Tab, and it follows them
        self._whole.addWidget(scroll, 1)
        scroll.column.addWidget(PlainLabel(tr("Preferences"), "hero"))
        for title, names in self._sections().items():
            scroll.column.addSpacing(4)
            scroll.column.addWidget(section(title))
            grid = QGridLayout()
            grid.setHorizontalSpacing(12)
            grid.setVerticalSpacing(8)
            grid.setColumnStretch(1, 1)
            grid.setColumnMinimumWidth(0, _TITLES_PX)
            for row, name in enumerate(names):
                self._add(grid, row, name)
            scroll.column.addLayout(grid)
            if "smooth" in names:
                scroll.column.addWidget(self._presets())
        again = button(tr("Reset all"))
        again.clicked.connect(self._start_over)
        add_close(self, self._whole, again)
        if focused in self.fields:
            self.fields[focused].setFocus()

    def _presets(self) -> Disclosure:
        """Width and level of each CT window; what the digits do is in the image's menu too."""
        fold = Disclosure(tr("Windows of CT on the digits 1 to 9"))
        fold.content.addWidget(
            PlainLabel(tr("In Hounsfield units; other images have windows of their own."), wrap=True)
        )
        grid = QGridLayout()
        grid.setHorizontalSpacing(12)
        grid.setVerticalSpacing(6)
        grid.setColumnStretch(0, 1)
        for column, words in ((1, tr("Width")), (2, tr("Level"))):
            grid.addWidget(PlainLabel(words, "secondary"), 0, column)
        self.presets.clear()
        for number, window in self._value("ct_presets").items():
            name = f"{number}  {tr(window.name)}"
            grid.addWidget(PlainLabel(name), number, 0)
            width, level = NumberField(WIDTHS, round(window.width)), NumberField(LEVELS, round(window.center))
            for column, (field, words) in enumerate(((width, tr("Width")), (level, tr("Level"))), start=1):
                field.setAccessibleName(f"{name}: {words}")
                field.taken.connect(partial(self._change_preset, number))
                grid.addWidget(field, number, column)
            self.presets[number] = width, level
        fold.content.addLayout(grid)
        return fold

    def _change_preset(self, number: int, _value: int) -> None:
        width, level = self.presets[number]
        self._use("ct_preset", (number, float(width.value), float(level.value)))

    def _sections(self) -> Mapping[str, tuple[str, ...]]:
        return {
            tr("Appearance"): ("language", "theme", "density"),
            tr("Image"): ("up_brightens", "smooth"),
            tr("Model"): ("run_when_opened", "read_first"),
        }

    def _add(self, grid: QGridLayout, row: int, name: str) -> None:
        title, values = _titles()[name]
        if not values:
            box = QCheckBox(for_button(title))
            box.setChecked(bool(self._value(name)))
            box.toggled.connect(lambda is_on: self._choose(name, is_on))
            grid.addWidget(box, row, 0, 1, 2)
            self.fields[name] = box
            return
        combo = ElidedCombo()  # which leaves the wheel to the column: in a low window it scrolls, and chooses nothing
        for value, words in zip(CHOICES[name], values, strict=True):
            combo.addItem(words, value)
        combo.setCurrentIndex(max(combo.findData(self._value(name)), 0))
        combo.activated.connect(lambda index: self._choose(name, combo.itemData(index)))
        combo.setAccessibleName(title)
        grid.addWidget(PlainLabel(title, wrap=True), row, 0)
        grid.addWidget(combo, row, 1)
        self.fields[name] = combo

    def _choose(self, name: str, value: str | bool) -> None:
        self._use(name, value)
        if name == "language":
            self._build(name)

    def _start_over(self) -> None:
        self._reset()
        self._build("language")


class NumberField(QLineEdit):
    """A whole number between bounds; what is none, or lies outside, is not taken and the number before stands again."""

    taken = Signal(int)

    def __init__(self, bounds: tuple[int, int], value: int, parent: QWidget | None = None) -> None:
        super().__init__(str(value), parent)
        self._bounds, self.value = bounds, value
        self.setMaxLength(6)
        self.setMaximumWidth(_NUMBER_PX)
        self.editingFinished.connect(self._take)

    def _take(self) -> None:
        text = self.text().strip()
        is_number = text.removeprefix("-").isdecimal() and text.isascii()
        if is_number and self._bounds[0] <= int(text) <= self._bounds[1] and int(text) != self.value:
            self.value = int(text)
            self.taken.emit(self.value)
        self.setText(str(self.value))


def _titles() -> Mapping[str, tuple[str, tuple[str, ...]]]:
    """What each preference is called and, if it is no yes or no, what it may be."""
    return {
        "language": (tr("Language"), ("English", "简体中文")),
        "theme": (tr("Theme"), (tr("Dark"), tr("Light"), tr("High contrast"))),
        "density": (tr("Spacing"), (tr("Comfortable"), tr("Compact"))),
        "up_brightens": (
            tr("Window/level by dragging"),
            (tr("up is brighter, down is darker"), tr("up is darker, down is brighter")),
        ),
        "smooth": (tr("Smooth enlarged images instead of showing their pixels"), ()),
        "run_when_opened": (tr("Run the model on each series that is opened"), ()),
        "read_first": (tr("Show the model's result only after I have written my impression"), ()),
    }
