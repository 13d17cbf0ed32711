"""A note with the words that an answer rests on painted in it, read with the mouse or word by word with the keys."""

from __future__ import annotations

from math import ceil

from PySide6.QtCore import QEvent, Qt, Signal
from PySide6.QtGui import (
    QFocusEvent,
    QFont,
    QKeyEvent,
    QMouseEvent,
    QResizeEvent,
    QTextCharFormat,
    QTextCursor,
    QTextOption,
)
from PySide6.QtWidgets import QFrame, QTextEdit, QWidget

from medviewer.domain.anchor import CharacterSpan
from medviewer.domain.answer import Attribution
from medviewer.domain.frozen import dataclass
from medviewer.gui import theme
from medviewer.gui.diverging import FAINT, STRONG, alpha, amount_words, hue, shares
from medviewer.gui.text import isolated, plain_tooltip, tr, visible

_HIGHEST_PX = 280
_LEAST_PX = 36
_PLAIN = (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.KeypadModifier)
_KEYS = {Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Home, Qt.Key.Key_End}


@dataclass(frozen=True, slots=True)
class Painted:
    """One place of the text that is painted: where, how much it speaks for the answer, how that is said."""

    start: int  # in what is shown, in UTF-16 units, as Qt counts
    end: int
    share: float
    words: str


def shown_text(text: str) -> tuple[str, list[int]]:
    r"""The text as it is shown, and where each of its characters (and its end) begins there, in UTF-16 units.

    Unseen characters are spelled out, and line ends are one character, so that places move.

    >>> shown_text("a\r\nb")
    ('a\nb', [0, 1, 1, 2, 3])
    """
    pieces, places, at = [], [0], 0
    for index, character in enumerate(text):
        if " " <= character <= "~":  # nearly all of a long note
            piece, units = character, 1
        elif character == "\r":
            piece = "" if text[index + 1 : index + 2] == "\n" else "\n"
            units = len(piece)
        else:
            piece = character if character in "\n\t" else visible(character)
            units = len(piece.encode("utf-16-le")) // 2
        pieces.append(piece)
        at += units
        places.append(at)
    return "".join(pieces), places


class AnchoredText(QTextEdit):
    """Plain text, never HTML. Left and Right go from painted word to painted word, Home and End to the first and last.

    ``told`` says what is known of the word under the mouse or the keys; "" for none.
    """

    told = Signal(str)

    def __init__(self, text: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._places: list[int]
        shown, self._places = shown_text(text)
        self._painted: tuple[Painted, ...] = ()
        self._read_to: int | None = None
        self._chosen = -1
        self.setReadOnly(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setTabChangesFocus(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setProperty("kind", "note")
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWordWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        self.viewport().setMouseTracking(True)
        self.setAccessibleName(tr("Text of the note"))
        self.document().documentLayout().documentSizeChanged.connect(lambda _size: self._fit())
        self.setPlainText(shown)
        self._dress()

    @property
    def painted(self) -> tuple[Painted, ...]:
        """The places that are painted, in the order of the text."""
        return self._painted

    def explain(self, why: Attribution | None, *, is_cut: bool = False) -> None:
        """Paint what an answer rests on; None: the bare text.

        Args:
            why: with anchors on this very text.
            is_cut: the model read only up to the last word that has an anchor; the rest is shown as not read.
        """
        amounts = why.saliency.tolist() if why is not None else []
        words = [(a, n, s) for a, n, s in zip(why.anchors if why else (), amounts, shares(amounts), strict=True)]
        found, last = [], 0
        for anchor, amount, share in words:
            if not isinstance(anchor, CharacterSpan):
                continue
            last = max(last, *(end for _, end in anchor.spans))
            times = tr("{n} times in the note").format(n=len(anchor.spans)) if len(anchor.spans) > 1 else ""
            said = f"{isolated(anchor.text)}: {amount_words(amount)}" + (f" ({times})" if times else "")
            if abs(share) >= FAINT:
                found += [Painted(self._places[a], self._places[b], share, said) for a, b in anchor.spans]
        self._painted = tuple(sorted(found, key=lambda one: one.start))
        self._read_to = self._places[last] if is_cut and why is not None else None
        self._chosen = -1
        self._dress()
        strongest = sorted(self._painted, key=lambda one: -abs(one.share))[:5]
        self.setAccessibleDescription("; ".join(dict.fromkeys(one.words for one in strongest)))

    # what Qt tells

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802 - Qt's name
        """Another theme has other colours."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.StyleChange and hasattr(self, "_chosen"):
            self._dress()

    def event(self, event: QEvent) -> bool:
        """The keys that go through the words are not those of menus while the text has them."""
        is_override = event.type() == QEvent.Type.ShortcutOverride
        if is_override and isinstance(event, QKeyEvent) and self._goes(event):
            event.accept()
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 - Qt's name
        """Go to another painted word."""
        last = len(self._painted) - 1
        if not self._goes(event):
            super().keyPressEvent(event)
            return
        steps = {
            Qt.Key.Key_Left: max(self._chosen - 1, 0),
            Qt.Key.Key_Right: min(self._chosen + 1, last),
            Qt.Key.Key_Home: 0,
            Qt.Key.Key_End: last,
        }
        self._choose(steps[Qt.Key(event.key())])

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """Say the number of the word under the mouse."""
        super().mouseMoveEvent(event)
        position = event.position().toPoint()
        at = self.cursorForPosition(position).position()
        # Qt gives the nearest place between two characters: which side of it the mouse is on tells the character.
        if self.cursorRect(self._cursor(at, at)).left() > position.x():
            at -= 1
        under = next((one for one in self._painted if one.start <= at < one.end), None)
        wanted = plain_tooltip(under.words) if under is not None else ""
        if self.viewport().toolTip() != wanted:
            self.viewport().setToolTip(wanted)
            self.told.emit(under.words if under is not None else self._chosen_words())

    def focusInEvent(self, event: QFocusEvent) -> None:  # noqa: N802 - Qt's name
        """By the keys the first painted word is chosen at once."""
        super().focusInEvent(event)
        is_by_key = event.reason() in (Qt.FocusReason.TabFocusReason, Qt.FocusReason.BacktabFocusReason)
        if is_by_key and self._painted and self._chosen < 0:
            self._choose(0)

    def focusOutEvent(self, event: QFocusEvent) -> None:  # noqa: N802 - Qt's name
        """No word is chosen any more."""
        super().focusOutEvent(event)
        if self._chosen >= 0:
            self._choose(-1)

    def _goes(self, event: QKeyEvent) -> bool:
        return bool(self._painted) and event.key() in _KEYS and event.modifiers() in _PLAIN

    def _choose(self, number: int) -> None:
        self._chosen = number
        marks = []
        if number >= 0:
            place, t = self._painted[number], theme.tokens()
            mark = QTextEdit.ExtraSelection()
            mark.cursor = self._cursor(place.start, place.end)
            mark.format.setBackground(theme.color(t.accent))
            mark.format.setForeground(theme.color(t.on_accent))
            marks = [mark]
            self.setTextCursor(self._cursor(place.start, place.start))
            self.ensureCursorVisible()
        self.setExtraSelections(marks)
        self.told.emit(self._chosen_words())

    def _chosen_words(self) -> str:
        return self._painted[self._chosen].words if self._chosen >= 0 else ""

    def _cursor(self, start: int, end: int) -> QTextCursor:
        cursor = QTextCursor(self.document())
        cursor.setPosition(start)
        cursor.setPosition(end, QTextCursor.MoveMode.KeepAnchor)
        return cursor

    def _dress(self) -> None:
        """Paint all words anew."""
        t, end = theme.tokens(), self._places[-1]
        block = QTextCursor(self.document())
        block.beginEditBlock()
        plain = QTextCharFormat()
        plain.setFont(theme.text_font())
        plain.setForeground(theme.color(t.text))
        self._cursor(0, end).setCharFormat(plain)
        for one in self._painted:
            look = QTextCharFormat()
            look.setBackground(theme.color(theme.blended(hue(one.share), t.ground, alpha(one.share))))
            line = QTextCharFormat.UnderlineStyle
            look.setUnderlineStyle(line.SingleUnderline if one.share > 0 else line.DashUnderline)
            look.setUnderlineColor(theme.color(hue(one.share)))
            if abs(one.share) >= STRONG:
                look.setFontWeight(QFont.Weight.DemiBold)
            self._cursor(one.start, one.end).mergeCharFormat(look)
        if self._read_to is not None and self._read_to < end:
            unread = QTextCharFormat()
            unread.setForeground(theme.color(t.secondary))
            unread.setFontItalic(True)
            self._cursor(self._read_to, end).mergeCharFormat(unread)
        block.endEditBlock()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 - Qt's name
        """Another width may need another height."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        """As high as the text, up to where it scrolls by itself."""
        around = self.height() - self.viewport().height()
        wanted = ceil(self.document().size().height()) + around
        self.setFixedHeight(min(max(wanted, _LEAST_PX), _HIGHEST_PX))
