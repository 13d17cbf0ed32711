"""What the reader sees by themselves: written before the model's result is shown, every version kept."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QPlainTextEdit, QWidget

from medviewer.app.impressions import LONGEST
from medviewer.app.on_screen import asked_key, has_withheld_answer, impressions_of, is_withheld
from medviewer.app.state import Key, State
from medviewer.domain.answer import Impression
from medviewer.gui.cards import Card, SignalRow, button, clear, line, section
from medviewer.gui.decision_box import local_time
from medviewer.gui.text import PlainLabel, language, set_tooltip, tr

_LINES = 4


class ImpressionBox(Card):
    """A place to write; after that, what was written and when. Hidden where nothing is withheld or written."""

    requested = Signal(str, object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._drafts: dict[Key, str] = {}  # what is being typed stays while another image is looked at
        self._key: Key | None = None
        self._drawn: object = None
        self._adds_to: Key | None = None  # the image whose impression is being added to
        self._counted = 0
        self._state = State()
        self.words = QPlainTextEdit(self)
        self.words.hide()
        self.keep = button("")
        self.keep.setParent(self)
        self.keep.hide()
        self.hide()

    def show_state(self, state: State) -> None:
        """Show what belongs to the image on screen."""
        key = asked_key(state)
        written, withheld = impressions_of(state), is_withheld(state)
        self.setVisible(key is not None and (withheld or bool(written)))
        if self._adds_to is not None and (key != self._adds_to or len(written) > self._counted):
            self._adds_to = None
        shown = (key, withheld, has_withheld_answer(state), len(written), self._adds_to, language())
        if key is None or shown == self._drawn:
            return
        self._drawn, self._key, self._state = shown, key, state
        self._counted = len(written)
        clear(self.column)
        if withheld:
            self._draw_question(tr("Your impression first"), self._hint(state))
        else:
            self._draw_written(written)

    def _hint(self, state: State) -> str:
        if has_withheld_answer(state):
            return tr("A result is ready. It is shown when your impression is kept, and both keep their times.")
        return tr("What the model says is shown when your impression is kept, and both keep their times.")

    def _draw_question(self, title: str, hint: str) -> None:
        self.add(section(title))
        self.words = QPlainTextEdit()
        self.words.setPlaceholderText(tr("What do you see?"))
        self.words.setAccessibleName(title)
        self.words.setTabChangesFocus(True)
        self.words.setFixedHeight(self.words.fontMetrics().lineSpacing() * _LINES + 18)
        if self._key is not None:
            self.words.setPlainText(self._drafts.get(self._key, ""))
        keep = self.keep = button(tr("Keep"), "check", "primary")
        set_tooltip(keep, tr("It is kept with the time and cannot be changed afterwards, only added to"))
        self.words.textChanged.connect(self._typed)
        keep.clicked.connect(self._send)
        row = QHBoxLayout()
        row.addWidget(keep)
        row.addStretch(1)
        self.add(self.words)
        self.column.addLayout(row)
        self.add(PlainLabel(hint, "small", wrap=True))
        self._typed()

    def _typed(self) -> None:
        words = self.words.toPlainText()
        if self._key is not None:
            self._drafts[self._key] = words
        self.keep.setEnabled(0 < len(words.strip()) <= LONGEST)

    def _send(self) -> None:
        self.requested.emit("model.impression", self.words.toPlainText())

    def _draw_written(self, written: tuple[Impression, ...]) -> None:
        if self._key is not None and self._adds_to is None:
            self._drafts.pop(self._key, None)
        self.add(section(tr("Your impression")))
        for number, one in enumerate(written):
            if number:
                self.add(line())
            self.add(PlainLabel(one.text, wrap=True))
            when = (
                tr("{time}, after the result was shown") if one.after_ai else tr("{time}, before the result was shown")
            )
            self.add(PlainLabel(when.format(time=local_time(one.time)), "small", wrap=True))
        if any(one.after_ai for one in written[:1]):
            self.add(SignalRow("caution", tr("The result had been seen before the first impression was written.")))
        if self._adds_to is not None:
            self._draw_question(tr("Add to it"), tr("What stands above stays as it is; this is kept beside it."))
            return
        more = button(tr("Add to it"), "pencil", "quiet")
        more.clicked.connect(self._add)
        row = QHBoxLayout()
        row.addWidget(more)
        row.addStretch(1)
        self.column.addLayout(row)

    def _add(self) -> None:
        self._adds_to = self._key
        self.show_state(self._state)
        self.words.setFocus()
