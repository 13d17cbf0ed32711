"""The pieces that panels are built from: cards, signal rows, headings, what unfolds."""

from __future__ import annotations

from typing import Literal

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QAction, QGuiApplication, QKeyEvent, QPaintEvent, QResizeEvent, QWheelEvent
from PySide6.QtWidgets import (
    QBoxLayout,
    QComboBox,
    QFrame,
    QHBoxLayout,
    QLayout,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QSlider,
    QStyle,
    QStyleOptionComboBox,
    QStylePainter,
    QVBoxLayout,
    QWidget,
)

from medviewer.gui import theme
from medviewer.gui.icons import IconLabel, icon
from medviewer.gui.text import PlainLabel, Role, for_button, tr

Level = Literal["good", "caution", "alarm", "info"]

_LEAST_VALUE_PX = 88  # beside its name; with less a value goes below it
_RIM_PX = 2  # of a scrolling column, drawn while it has the keyboard

_SHAPES: dict[Level, str] = {
    "good": "circle-check",
    "caution": "triangle-alert",
    "alarm": "octagon-alert",
    "info": "info",
}


def level_word(level: Level) -> str:
    """The word that goes with a signal's shape and colour."""
    return {"good": tr("OK"), "caution": tr("Caution"), "alarm": tr("Stop"), "info": tr("Note")}[level]


def level_color(level: Level) -> str:
    """The colour token of a signal."""
    t = theme.tokens()
    return {"good": t.good, "caution": t.caution, "alarm": t.alarm, "info": t.secondary}[level]


def shape_of(level: Level) -> str:
    """The icon of a signal."""
    return _SHAPES[level]


class Card(QFrame):
    """A raised box with a column of things in it."""

    def __init__(self, parent: QWidget | None = None, *, signal: Literal["", "caution", "alarm"] = "") -> None:
        super().__init__(parent)
        self.setProperty("kind", "card")
        self.setProperty("signal", signal)
        # One child that needs more width than the panel has must not make the words of the others be cut.
        self.setMinimumWidth(1)
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(12, 12, 12, 12)
        self.column.setSpacing(8)

    def add(self, *widgets: QWidget) -> None:
        """Put widgets below each other."""
        for widget in widgets:
            self.column.addWidget(widget)


class SignalRow(QWidget):
    """One signal as shape, word and sentence: a triangle, "Caution", and why."""

    def __init__(self, level: Level, text: str, parent: QWidget | None = None, *, word: str | None = None) -> None:
        super().__init__(parent)
        self.setProperty("kind", "clear")
        self.level = level
        self.text = text
        word = level_word(level) if word is None else word
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        row.addWidget(IconLabel(_SHAPES[level], level_color(level)), 0, Qt.AlignmentFlag.AlignTop)
        column = QVBoxLayout()
        column.setSpacing(0)
        if word:
            role: Role = level if level != "info" else "strong"
            column.addWidget(PlainLabel(word, role, wrap=True))
        if text:
            column.addWidget(PlainLabel(text, wrap=True))
        row.addLayout(column, 1)
        self.setAccessibleName(": ".join(part for part in (word, text) if part))


class FactRow(QWidget):
    """A name and a value beside each other, or below where that is too narrow; the value wraps and can be copied."""

    def __init__(self, name: str, value: str, parent: QWidget | None = None, *, name_px: int = 88) -> None:
        super().__init__(parent)
        self.setProperty("kind", "clear")
        self._least_px = name_px + _LEAST_VALUE_PX
        self._row = row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        left = PlainLabel(name, "secondary", wrap=True)
        left.setFixedWidth(name_px)
        right = PlainLabel(value, wrap=True)
        if right.breaks_words:
            _offer_copy(right)  # Qt would mark a selection where the words stood without the breaks
        else:
            right.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        row.addWidget(left, 0, Qt.AlignmentFlag.AlignTop)
        row.addWidget(right, 1, Qt.AlignmentFlag.AlignTop)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 - Qt's name
        """Have the words below each other where there is no room for both."""
        is_narrow = self.width() < self._least_px
        way = QBoxLayout.Direction.TopToBottom if is_narrow else QBoxLayout.Direction.LeftToRight
        if self._row.direction() != way:
            self._row.setDirection(way)
            self._row.setSpacing(0 if is_narrow else 8)
        super().resizeEvent(event)


def _offer_copy(label: PlainLabel) -> None:
    """Copy the words of a label by its context menu."""
    copy = QAction(tr("Copy"), label)
    copy.triggered.connect(lambda: QGuiApplication.clipboard().setText(label.text()))
    label.addAction(copy)
    label.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)


class Disclosure(QWidget):
    """A line that unfolds what lies under it."""

    toggled = Signal(bool)

    def __init__(
        self, title: str, parent: QWidget | None = None, *, is_open: bool = False, level: Level | None = None
    ) -> None:
        super().__init__(parent)
        self.setProperty("kind", "clear")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        self.header = QPushButton(for_button(title))
        self.header.setProperty("kind", "fold")
        self.header.setCheckable(True)
        self.header.toggled.connect(self._unfold)
        self.body = QWidget()
        self.body.setProperty("kind", "clear")
        self.content = QVBoxLayout(self.body)
        self.content.setContentsMargins(0, 0, 0, 4)
        self.content.setSpacing(8)
        row = QHBoxLayout()
        row.setSpacing(4)
        self._sign = IconLabel(_SHAPES[level], level_color(level)) if level is not None else None
        if self._sign is not None:
            row.addWidget(self._sign)
        row.addWidget(self.header, 1)
        column.addLayout(row)
        column.addWidget(self.body)
        self.body.setVisible(is_open)
        self.header.setChecked(is_open)
        self._unfold(is_open)

    def set_title(self, title: str) -> None:
        """Change the words of the line."""
        self.header.setText(for_button(title))

    def set_level(self, level: Level) -> None:
        """Change how much the line matters, of one that has a sign."""
        if self._sign is not None:
            self._sign.set_icon(_SHAPES[level], level_color(level))

    def _unfold(self, is_open: bool) -> None:
        self.header.setIcon(icon("chevron-down" if is_open else "chevron-right", theme.tokens().secondary))
        self.body.setVisible(is_open)
        self.toggled.emit(is_open)


class ScrollColumn(QScrollArea):
    """A column as wide as its panel, that scrolls up and down only, with the wheel or the keyboard."""

    def __init__(self, parent: QWidget | None = None, *, margin: int = 12) -> None:
        super().__init__(parent)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setProperty("kind", "column")
        inside = QWidget()
        inside.setProperty("kind", "clear")
        inside.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        whole = QVBoxLayout(inside)
        inset = max(margin - _RIM_PX, 0)  # below 0 Qt takes a margin of its own, of 11
        whole.setContentsMargins(inset, inset, inset, inset)
        whole.setSpacing(0)
        self.column = QVBoxLayout()
        self.column.setSpacing(8)
        whole.addLayout(self.column)
        # A stretch and not an alignment: an aligned layout ignores that wrapped text needs height.
        whole.addStretch(1)
        self.setWidget(inside)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 - Qt's name
        """Home and End; Qt itself knows the arrows and pages."""
        bar = self.verticalScrollBar()
        if event.key() in (Qt.Key.Key_Home, Qt.Key.Key_End):
            bar.setValue(bar.minimum() if event.key() == Qt.Key.Key_Home else bar.maximum())
        else:
            super().keyPressEvent(event)


class StillCombo(QComboBox):
    """A combo box that leaves the wheel to the panel it lies in: scrolling past it chooses nothing."""

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802 - Qt's name
        """Not ours: the panel scrolls."""
        event.ignore()


class StillSlider(QSlider):
    """A slider that leaves the wheel to the panel it lies in: scrolling past it moves nothing."""

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802 - Qt's name
        """Not ours: the panel scrolls."""
        event.ignore()


class ElidedCombo(StillCombo):
    """A combo box that may be narrower than its words: it shows what fits, and the whole as tooltip."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(4)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802, ARG002 - Qt's name and arguments
        """Draw the box with as much of the words as fits."""
        painter = QStylePainter(self)
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        room = self.style().subControlRect(
            QStyle.ComplexControl.CC_ComboBox, option, QStyle.SubControl.SC_ComboBoxEditField, self
        )
        icon_px = 0 if option.currentIcon.isNull() else option.iconSize.width() + 4
        width = room.width() - icon_px
        option.currentText = self.fontMetrics().elidedText(option.currentText, Qt.TextElideMode.ElideRight, width)
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)


def dress(widget: QWidget, kind: str) -> None:
    """Have the style sheet paint a plain widget's own background, which Qt leaves out unless told."""
    widget.setProperty("kind", kind)
    widget.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)


def button(text: str, icon_name: str = "", kind: Literal["", "primary", "quiet", "row"] = "") -> QPushButton:
    """A push button in the program's style."""
    made = QPushButton(for_button(text))
    if kind:
        made.setProperty("kind", kind)
    if icon_name:
        t = theme.tokens()
        made.setIcon(icon(icon_name, t.on_accent if kind == "primary" else None))
    made.setCursor(Qt.CursorShape.PointingHandCursor)
    return made


def section(title: str) -> PlainLabel:
    """A quiet heading."""
    return PlainLabel(title, "section", wrap=True)


def line() -> QFrame:
    """A thin rule."""
    made = QFrame()
    made.setProperty("kind", "line")
    return made


def clear(layout: QLayout) -> None:
    """Take everything out of a layout and let it go."""
    while (item := layout.takeAt(0)) is not None:
        widget, inner = item.widget(), item.layout()
        if widget is not None:
            widget.hide()
            widget.deleteLater()
        elif inner is not None:
            clear(inner)
