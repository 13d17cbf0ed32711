"""Buttons that live in a narrow panel: words that wrap, and rows that break instead of being cut."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QEvent, QRect, QSize, Qt
from PySide6.QtGui import QIcon, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import (
    QPushButton,
    QSizePolicy,
    QStyle,
    QStyleOptionButton,
    QStylePainter,
    QWidget,
)

from medviewer.gui.icons import icon
from medviewer.gui.text import for_button

_GAP_PX = 8
_SIDE_PX = 12
_ABOVE_PX = 6  # over and under words of more than one line
_WRAP = int(Qt.TextFlag.TextWordWrap)


class WrappingButton(QPushButton):
    """A button as wide as its place; words that do not fit in one line take more."""

    def __init__(self, text: str, icon_name: str) -> None:
        super().__init__(icon(icon_name), for_button(text))
        self.setProperty("kind", "wrapping")  # the style sheet holds other buttons to the height of one line
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        policy = QSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """As high as the words need in the width that the button has."""
        return QSize(super().sizeHint().width(), self.heightForWidth(self.width()))

    def minimumSizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Any width will do."""
        return QSize(_SIDE_PX * 4, self.heightForWidth(self.width()))

    def hasHeightForWidth(self) -> bool:  # noqa: N802 - Qt's name
        """The narrower, the higher."""
        return True

    def heightForWidth(self, width: int) -> int:  # noqa: N802 - Qt's name
        """The height of one line of words, or what more lines need."""
        one_line = super().sizeHint().height()
        words = self.fontMetrics().boundingRect(QRect(0, 0, self._room(width), 10_000), _WRAP, self._words())
        is_one = words.height() <= self.fontMetrics().height()
        return one_line if is_one else max(one_line, words.height() + 2 * _ABOVE_PX)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 - Qt's name
        """Another width may need another height."""
        super().resizeEvent(event)
        if event.size().width() != event.oldSize().width():
            self.updateGeometry()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802, ARG002 - Qt's name and arguments
        """Draw the button as the style does, its icon, and the words in as many lines as they take."""
        painter = QStylePainter(self)
        option = QStyleOptionButton()
        self.initStyleOption(option)
        made = QIcon(option.icon)  # a copy: the option's own is emptied
        option.text, option.icon = "", QIcon()
        painter.drawControl(QStyle.ControlElement.CE_PushButton, option)
        size = self.iconSize()
        top = (self.height() - size.height()) // 2
        made.paint(painter, QRect(_SIDE_PX, top, size.width(), size.height()))
        left = _SIDE_PX + size.width() + _GAP_PX
        place = QRect(left, 0, self._room(self.width()), self.height())
        flags = _WRAP | int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft)
        self.style().drawItemText(
            painter, place, flags, option.palette, self.isEnabled(), self._words(), self.foregroundRole()
        )

    def _words(self) -> str:
        return self.text().replace("&&", "&")

    def _room(self, width: int) -> int:
        return max(width - 2 * _SIDE_PX - self.iconSize().width() - _GAP_PX, 1)


class ButtonRow(QWidget):
    """Buttons beside each other; where they have no room, in more rows, each of them filled."""

    def __init__(self, buttons: Sequence[QWidget], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("kind", "clear")
        self._buttons = tuple(buttons)
        for one in self._buttons:
            one.setParent(self)
            one.ensurePolished()  # its size is asked for before it is first shown
        policy = QSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)

    def hasHeightForWidth(self) -> bool:  # noqa: N802 - Qt's name
        """The narrower, the more rows."""
        return True

    def heightForWidth(self, width: int) -> int:  # noqa: N802 - Qt's name
        """As many rows as the buttons take."""
        rows = len(self._rows(width))
        return rows * self._height() + (rows - 1) * _GAP_PX

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """All beside each other, as high as the width that there is asks for."""
        return QSize(_needed(self._buttons), self.heightForWidth(self.width()))

    def minimumSizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """All below each other."""
        return QSize(max(one.sizeHint().width() for one in self._buttons), self._height())

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 - Qt's name
        """Place the buttons in the room that there is."""
        super().resizeEvent(event)
        self._place()

    def event(self, event: QEvent) -> bool:
        """A button that needs another size, as when the style sheet reaches it, moves the others."""
        if event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
            self._place()
        return super().event(event)

    def _place(self) -> None:
        step = self._height() + _GAP_PX
        for number, row in enumerate(self._rows(self.width())):
            spare = (self.width() - _needed(row)) // len(row)
            left = 0
            for one in row:
                width = one.sizeHint().width() + spare
                one.setGeometry(left, number * step, width, self._height())
                left += width + _GAP_PX

    def _rows(self, width: int) -> list[tuple[QWidget, ...]]:
        """As few rows as have room, all but the last with as many buttons."""
        every = self._buttons
        for count in range(len(every), 1, -1):
            rows = [every[start : start + count] for start in range(0, len(every), count)]
            if all(_needed(row) <= width for row in rows):
                return rows
        return [(one,) for one in every]

    def _height(self) -> int:
        return max(one.sizeHint().height() for one in self._buttons)


def _needed(row: Sequence[QWidget]) -> int:
    """The width of buttons beside each other."""
    return sum(one.sizeHint().width() + _GAP_PX for one in row) - _GAP_PX
