"""Words on the screen: names and labels that can only ever be plain text.

Qt takes a string that looks like HTML for HTML: a patient called ``<img src=...>`` would make it
read a file. Direction overrides (U+202E) can make one name look like another. So every label
here is plain, such characters are shown instead of obeyed, and names are isolated.
"""

from __future__ import annotations

import html
import re
from math import ceil
from typing import Literal

from PySide6.QtCore import QPointF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QTextLayout, QTextOption
from PySide6.QtWidgets import QLabel, QSizePolicy, QStyleOption, QWidget

from medviewer.domain.hidden_characters import is_hidden
from medviewer.domain.person_name import is_wordless
from medviewer.gui.language import Language, language, tr, tr_pick, use_language
from medviewer.records.record import iso_date

__all__ = ["Language", "language", "tr", "tr_pick", "use_language"]  # the words of the window, beside what is here

Role = Literal[
    "",
    "secondary",
    "small",
    "section",
    "title",
    "strong",
    "value",
    "hero",
    "accent",
    "good",
    "caution",
    "alarm",
    "keys",
]

_NAMED = "namedByTooltip"  # a widget's property: the name that its tooltip gave it
ISOLATE, END_ISOLATE = "\u2068", "\u2069"
_LINE_BREAKS = frozenset("\n")


def visible(text: str, *, keep: frozenset[str] = frozenset()) -> str:
    r"""The text with controls, direction marks and other unseen characters shown as ``⟨U+202E⟩`` instead of obeyed.

    >>> visible("a\u202eb")
    'a⟨U+202E⟩b'
    """
    if text.isascii() and text.isprintable():
        return text  # nothing to find: most texts are
    kept = _LINE_BREAKS | keep
    return "".join(_shown(c) if c not in kept and is_hidden(c) else c for c in text)


def isolated(name: str) -> str:
    """A name made visible and closed in U+2068..U+2069, so that its direction stays its own."""
    return f"{ISOLATE}{visible(name)}{END_ISOLATE}"


def person_name(name: str) -> str:
    """A DICOM person name (PS3.5 section 6.2.1) for reading: ``Yamada, Tarou (山田 太郎)``, isolated.

    Nothing is guessed: capitals stay, and a name without parts is shown as it is.
    """
    groups = [_group(part, comma=index == 0) for index, part in enumerate(name.split("=")[:2])]
    main, *others = [g for g in groups if g] or [""]
    shown = f"{main} ({others[0]})" if others and others[0] != main else main
    return isolated(shown) if shown else ""


def dicom_date(value: str) -> str:
    """A DICOM date as ``2004-01-31``; anything else as it stands, made visible."""
    return visible(iso_date(value))


def dicom_age(value: str) -> str:
    """A DICOM age string (``063Y``, ``006M``) in words; anything else as it stands, made visible."""
    match = re.fullmatch(r"(\d{3})([DWMY])", value.strip())
    if match is None:
        return visible(value.strip())
    return _age(int(match[1]), match[2])


def age_in_words(years: float) -> str:
    """An age worked out from dates: whole years, below two years whole months, below one month whole days."""
    if years >= 2:
        return _age(int(years), "Y")
    if years * 12 >= 1:
        return _age(int(years * 12), "M")
    return _age(round(years * 365.25), "D")


def _age(n: int, unit: str) -> str:
    if n == 1:
        return {"D": tr("1 day"), "W": tr("1 week"), "M": tr("1 month"), "Y": tr("1 year")}[unit]
    units = {"D": tr("{n} days"), "W": tr("{n} weeks"), "M": tr("{n} months"), "Y": tr("{n} years")}
    return units[unit].format(n=n)


def sex_word(value: str) -> str:
    """A DICOM patient's sex in a word; empty if the file does not say. What a name would leave open says of what."""
    code = value.strip()
    known = {"M": tr("male"), "F": tr("female"), "O": tr("sex: other"), "": ""}
    return known[code.upper()] if code.upper() in known else tr("sex: {value}").format(value=visible(code))


def set_tooltip(widget: QWidget, text: str, shortcut: str = "") -> None:
    """Give a widget a tooltip that is plain text, with its shortcut in brackets.

    To screen readers it is called so too, unless it has a name of its own; in the language in use, as the tooltip.
    """
    whole = f"{text} ({shortcut})" if shortcut else text
    widget.setToolTip(plain_tooltip(whole))
    name = widget.accessibleName()
    if not name or name == widget.property(_NAMED):
        widget.setAccessibleName(text)
        widget.setProperty(_NAMED, text)


def plain_tooltip(text: str) -> str:
    """The text such that Qt's tooltips, which guess, cannot take it for HTML."""
    return f"<p style='white-space:pre-wrap'>{html.escape(visible(text, keep=_ISOLATES))}</p>" if text else ""


def for_button(text: str) -> str:
    """The text for a button, tab or menu, where a lone ``&`` would vanish and underline a letter."""
    return visible(text, keep=_ISOLATES).replace("&", "&&")


_ISOLATES = frozenset((ISOLATE, END_ISOLATE))
_LONG_WORD = re.compile(r"[^\s\u2e80-\uffff]{13,}")  # Chinese may break anywhere without our help
_BREAKING_PX = 48


class PlainLabel(QLabel):
    """A label that shows its text as it is: no HTML, no hidden direction marks.

    ``role`` picks how it looks from the style sheet. With ``wrap`` it breaks its text into lines, and a
    word longer than a line (a hash as patient ID) inside the word: Qt would cut it without a sign.
    """

    def __init__(self, text: str = "", role: Role = "", parent: QWidget | None = None, *, wrap: bool = False) -> None:
        super().__init__(parent)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.NoTextInteraction)
        self.setWordWrap(wrap)
        if role:
            self.setProperty("role", role)
        self.setText(text)

    def setText(self, text: str) -> None:  # noqa: N802 - Qt's name
        """Show this text."""
        super().setText(visible(text, keep=_ISOLATES))
        self.updateGeometry()

    @property
    def breaks_words(self) -> bool:
        """Whether there is a word that may have to be broken."""
        return self.wordWrap() and _LONG_WORD.search(self.text()) is not None

    def minimumSizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """As wide as the longest word, unless that can be broken."""
        least = super().minimumSizeHint()
        return QSize(min(least.width(), _BREAKING_PX), least.height()) if self.breaks_words else least

    def heightForWidth(self, width: int) -> int:  # noqa: N802 - Qt's name
        """The height of the text in lines of that width."""
        return ceil(self._lines(width).boundingRect().height()) if self.breaks_words else super().heightForWidth(width)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        """Draw the text as Qt does, but for words that must be broken."""
        if not self.breaks_words:
            super().paintEvent(event)
            return
        painter = QPainter(self)
        painter.setPen(self.palette().color(self.foregroundRole()))
        self._lines(self.width()).draw(painter, QPointF(0, 0))

    def _lines(self, width: int) -> QTextLayout:
        made = QTextLayout(self.text().replace("\n", "\u2028"), self.font())
        option = QTextOption(self.alignment())
        option.setWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        made.setTextOption(option)
        made.beginLayout()
        top = 0.0
        while (line := made.createLine()).isValid():
            line.setLineWidth(max(width, 1))
            line.setPosition(QPointF(0, top))
            top += line.height()
        made.endLayout()
        return made

    def set_role(self, role: Role) -> None:
        """Change how the label looks."""
        if self.property("role") != role:
            self.setProperty("role", role)
            self.style().unpolish(self)
            self.style().polish(self)


class ElidedLabel(PlainLabel):
    """A plain label of one line that ends in "…" when it is too narrow; the tooltip has the whole."""

    def __init__(self, text: str = "", role: Role = "", parent: QWidget | None = None) -> None:
        super().__init__(text, role, parent)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    def minimumSizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Any width will do."""
        return QSize(24, super().minimumSizeHint().height())

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802, ARG002 - Qt's name and arguments
        """Draw as much as fits."""
        option = QStyleOption()
        option.initFrom(self)
        area, align, role = self.contentsRect(), int(self.alignment()), self.foregroundRole()
        line = self.fontMetrics().elidedText(self.text(), Qt.TextElideMode.ElideRight, area.width())
        painter = QPainter(self)
        try:
            painter.setFont(self.font())
            self.style().drawItemText(painter, area, align, option.palette, self.isEnabled(), line, role)
        finally:
            painter.end()
        is_cut = line != self.text()
        wanted = plain_tooltip(self.text()) if is_cut else ""
        if self.toolTip() != wanted:
            self.setToolTip(wanted)


def _group(group: str, *, comma: bool) -> str:
    parts = [part.strip() for part in group.split("^")]
    family, rest = parts[0], " ".join(part for part in parts[1:] if part)
    if not (family and rest):
        return family or rest
    # Chinese, Japanese and Korean names are not written with a comma.
    return f"{family}, {rest}" if comma and not is_wordless(family[0]) else f"{family} {rest}"


def _shown(character: str) -> str:
    return f"⟨U+{ord(character):04X}⟩"
