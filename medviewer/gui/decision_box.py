"""What the reader thinks of a result: accept, reject or change it, with the reason kept beside it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QApplication, QHBoxLayout, QLineEdit, QWidget

from medviewer.app.decisions import Judged
from medviewer.domain.answer import Answer, Decision, DecisionKind
from medviewer.gui import theme
from medviewer.gui.buttons import ButtonRow
from medviewer.gui.cards import Card, button, clear, section
from medviewer.gui.icons import IconLabel
from medviewer.gui.text import PlainLabel, isolated, language, set_tooltip, tr

Ask = Literal["reject", "change"]


class DecisionBox(Card):
    """Three buttons; after one of them, what was decided, when and why."""

    requested = Signal(str, object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._asked: Ask | None = None
        self._decision: Decision | None = None
        self._answer: Answer | None = None
        self._can_undo = False
        self._drawn: object = None
        self.reason = QLineEdit(self)  # a parent from the first: without one it would be a window of its own
        self.value = QLineEdit(self)
        self.reason.hide()
        self.value.hide()
        self._draw()

    def show_decision(self, answer: Answer | None, decision: Decision | None, *, can_undo: bool) -> None:
        """Show what was decided on the answer on screen; None offers the choice.

        A half-made choice ends with its answer: it must not be signed on one that came later.
        """
        if decision != self._decision or answer is not self._answer:
            self._asked = None
        self._answer, self._decision, self._can_undo = answer, decision, can_undo
        self._draw()

    def ask_reason(self, what: Ask) -> None:
        """Ask why the result is rejected or changed."""
        self._asked = what
        self._draw()
        (self.reason if what == "reject" else self.value).setFocus()

    def _draw(self) -> None:
        shown = (self._asked, id(self._answer), self._decision, self._can_undo, language())
        if shown == self._drawn:
            return  # what is being typed stays
        self._drawn = shown
        has_keys = self._has_keys()
        clear(self.column)
        self.add(section(tr("Your decision")))
        if self._asked is not None:
            self._draw_question(self._asked)
            return
        next_one = self._draw_choice() if self._decision is None else self._draw_decided(self._decision)
        if has_keys:
            _focus(next_one)

    def _has_keys(self) -> bool:
        """Whether the keyboard is here. What it was on goes with the drawing, and Qt would send it to the menu."""
        focused = QApplication.focusWidget()
        return focused is not None and self.isAncestorOf(focused)

    def _draw_choice(self) -> QWidget:
        """The three buttons; returns the first."""
        judged = Judged(self._answer)
        accept = button(tr("Accept"), "check")
        reject = button(tr("Reject"), "x")
        change = button(tr("Change…"), "pencil")
        set_tooltip(accept, tr("You agree with the result"))
        set_tooltip(reject, tr("You do not agree; a reason is asked for"))
        set_tooltip(change, tr("You would report something else; a reason is asked for"))
        accept.clicked.connect(lambda: self.requested.emit("finding.accept", judged))
        reject.clicked.connect(lambda: self.ask_reason("reject"))
        change.clicked.connect(lambda: self.ask_reason("change"))
        set_tooltip(self, tr("It is kept beside the result with the time; the result itself stays."))
        self.add(ButtonRow((accept, reject, change)))
        return accept

    def _draw_question(self, what: Ask) -> None:
        is_reject = what == "reject"
        self.value = QLineEdit(self)
        self.value.setVisible(not is_reject)
        if not is_reject:
            self.add(PlainLabel(tr("What would you report instead?"), "strong"))
            self.value.setMaxLength(200)
            self.value.setPlaceholderText(tr("Your own finding"))
            self.value.setAccessibleName(tr("Your own finding"))
            self.add(self.value)
        self.add(PlainLabel(tr("Why do you reject it?") if is_reject else tr("Why?"), "strong"))
        self.reason = QLineEdit()
        self.reason.setMaxLength(500)
        self.reason.setPlaceholderText(tr("A reason is needed"))
        self.reason.setAccessibleName(tr("Reason"))
        self.add(self.reason)
        row = QHBoxLayout()
        row.setSpacing(8)
        confirm = button(tr("Reject") if is_reject else tr("Change"), kind="primary")
        confirm.setEnabled(False)
        cancel = button(tr("Back"), kind="quiet")

        asked_about = self._answer

        def is_whole() -> bool:
            return bool(self.reason.text().strip()) and (is_reject or bool(self.value.text().strip()))

        def answer() -> None:
            if is_whole():
                judged = Judged(asked_about, self.reason.text().strip(), self.value.text().strip())
                self.requested.emit("finding.reject" if is_reject else "finding.change", judged)

        confirm.clicked.connect(answer)
        cancel.clicked.connect(self._back)
        self.reason.returnPressed.connect(answer)
        self.value.returnPressed.connect(self.reason.setFocus)
        for field in (self.value, self.reason):
            field.textChanged.connect(lambda _words: confirm.setEnabled(is_whole()))
        row.addWidget(confirm)
        row.addWidget(cancel)
        row.addStretch(1)
        self.column.addLayout(row)

    def _back(self) -> None:
        self._asked = None
        self._draw()

    def _draw_decided(self, decision: Decision) -> QWidget:
        """What was decided; returns the button that takes it back, or the one to decide again."""
        name, tint = _LOOK[decision.kind]
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(IconLabel(name, getattr(theme.tokens(), tint)))
        words = tr("{decision} at {time}").format(decision=kind_word(decision.kind), time=local_time(decision.time))
        row.addWidget(PlainLabel(words, "strong", wrap=True), 1)
        self.column.addLayout(row)
        if decision.value:
            words = tr("Reported instead: {value}").format(value=isolated(decision.value))
            self.add(PlainLabel(words, wrap=True))
        if decision.reason:
            self.add(PlainLabel(decision.reason, wrap=True))
        buttons = QHBoxLayout()
        buttons.setSpacing(8)
        again = first = button(tr("Decide again"))
        if self._can_undo:
            first = button(tr("Undo"), "undo-2")
            first.clicked.connect(lambda: self.requested.emit("edit.undo", None))
            buttons.addWidget(first)
        again.clicked.connect(self._decide_again)
        buttons.addWidget(again)
        buttons.addStretch(1)
        self.column.addLayout(buttons)
        return first

    def _decide_again(self) -> None:
        self._drawn = None  # the choice is drawn over the decision until one of them is made
        has_keys = self._has_keys()
        clear(self.column)
        self.add(section(tr("Your decision")))
        first = self._draw_choice()
        if has_keys:
            _focus(first)


def _focus(widget: QWidget) -> None:
    """Give the keyboard to what was just drawn; it takes none before it is shown."""
    widget.show()
    widget.setFocus(Qt.FocusReason.OtherFocusReason)


_LOOK: dict[DecisionKind, tuple[str, str]] = {
    "accepted": ("circle-check", "good"),
    "rejected": ("circle-x", "caution"),
    "changed": ("pencil", "accent"),
}


def kind_word(kind: DecisionKind) -> str:
    """The decision in a word."""
    return {"accepted": tr("Accepted"), "rejected": tr("Rejected"), "changed": tr("Changed")}[kind]


def local_time(utc: str) -> str:
    """An ISO 8601 moment as the reader's own clock shows it; the text itself if it is no moment."""
    try:
        return datetime.fromisoformat(utc).astimezone().strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return utc
