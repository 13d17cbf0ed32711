"""A button that hides what lies over the image, or shows it again; its key stands in brackets."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPushButton, QWidget

from medviewer.domain.frozen import dataclass
from medviewer.gui.icons import icon
from medviewer.gui.text import for_button, set_tooltip


@dataclass(frozen=True, slots=True)
class ShowHideWords:
    """What it says, in the language in use: bare, and with ``{key}``; ``tip`` is its tooltip."""

    hide: str
    hide_by_key: str
    show: str
    show_by_key: str
    tip: str


class ShowHideButton(QPushButton):
    """Says what a click would do. What is visible is told, never guessed from clicks."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._words = ShowHideWords("", "", "", "", "")
        self._key = ""
        self._is_visible = True
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    def say(self, words: ShowHideWords, key: str) -> None:
        """Say it in these words, with this key; "" for none."""
        self._words, self._key = words, key
        set_tooltip(self, words.tip, key)
        self._draw()

    def show_visible(self, *, is_visible: bool) -> None:
        """Offer to hide what is visible, or to show what is not."""
        self._is_visible = is_visible
        self._draw()

    def _draw(self) -> None:
        w = self._words
        bare, by_key = (w.hide, w.hide_by_key) if self._is_visible else (w.show, w.show_by_key)
        self.setText(for_button(by_key.format(key=self._key) if self._key else bare))
        self.setIcon(icon("eye" if self._is_visible else "eye-off"))
