"""Panels one behind the other: their names side by side, or icons of those behind where there is no room for names."""

from __future__ import annotations

from PySide6.QtCore import QSize
from PySide6.QtGui import QFont, QFontMetrics, QIcon, QResizeEvent
from PySide6.QtWidgets import QTabBar, QTabWidget, QWidget

from medviewer.gui import theme
from medviewer.gui.icons import ICON_PX, icon

LEAST_PX = 280
_AROUND_PX = 24  # left and right of a name, a little more than the style sheet has
_ICON_TAB_PX = 38


class PanelTabs(QTabWidget):
    """Tabs of which each can be seen and read at any width."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._labels: dict[QWidget | None, tuple[str, str]] = {}  # words and icon, also while it stands elsewhere
        self.setTabBar(_Bar())
        self.setDocumentMode(True)
        self.setMinimumWidth(LEAST_PX)
        self.setIconSize(QSize(ICON_PX, ICON_PX))
        self.setUsesScrollButtons(False)  # a tab behind small arrows is found by few
        self.currentChanged.connect(lambda _at: self._label())

    def name(self, panel: QWidget, words: str, icon_name: str) -> None:
        """Say what a panel is called, wherever it stands now."""
        self._labels[panel] = (words, icon_name)
        self._label()

    def exchange(self, place: QWidget, panel: QWidget) -> None:
        """Put a panel where another widget stands, which goes; it is called the same and is in front if that was."""
        at = self.indexOf(place)
        is_front = at == self.currentIndex()
        self._labels[panel] = self._labels.pop(place, ("", ""))
        self.insertTab(at, panel, "")
        if is_front:
            self.setCurrentIndex(at)
        self.removeTab(self.indexOf(place))
        place.deleteLater()
        self._label()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 - Qt's name
        """Names that have no room give way to icons."""
        super().resizeEvent(event)
        self._label()

    def _label(self) -> None:
        labels = [self._labels.get(self.widget(at), ("", "")) for at in range(self.count())]
        have_room = sum(_name_px(words) for words, _ in labels) <= self.width()
        for at, (words, icon_name) in enumerate(labels):
            is_named = have_room or at == self.currentIndex()
            self.setTabText(at, words if is_named else "")
            self.setTabIcon(at, icon(icon_name, theme.tokens().secondary) if icon_name and not is_named else QIcon())
            self.setTabToolTip(at, "" if is_named else words)
            self.tabBar().setAccessibleTabName(at, words)


class _Bar(QTabBar):
    """Gives the name in front the room that its bold letters take, which Qt forgets, and icons no more than theirs."""

    def tabSizeHint(self, index: int) -> QSize:  # noqa: N802 - Qt's name
        """How large a tab wishes to be."""
        words = self.tabText(index)
        return QSize(_name_px(words) if words else _ICON_TAB_PX, super().tabSizeHint(index).height())


def _name_px(words: str) -> int:
    return QFontMetrics(theme.text_font(theme.TEXT_PX, QFont.Weight.DemiBold)).horizontalAdvance(words) + _AROUND_PX
