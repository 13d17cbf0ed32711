"""How much parts speak for or against an answer, on words and atoms alike: a tint of two hues, a line, a weight.

The hue is never alone: what speaks for it has a solid line, what speaks against it a broken one, and what is at
least half as strong as the strongest part is bold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from medviewer.gui import theme
from medviewer.gui.text import PlainLabel, tr

STRONG = 0.5  # of the strongest part: bold from here on
FAINT = 0.05  # below this nothing is painted: every part has some number
MOST_ALPHA = 0.45  # text on the strongest tint still has the contrast that it needs
_LEAST_ALPHA = 0.12
_SWATCH_PX = (28, 18)

Mark = Literal["line", "ring"]


def shares(amounts: Sequence[float]) -> list[float]:
    """Each amount as a share of the strongest, -1..1; all 0 where none is anything.

    >>> shares([2.0, -1.0, 0.0])
    [1.0, -0.5, 0.0]
    """
    largest = max((abs(amount) for amount in amounts), default=0.0)
    found = np.array(amounts, np.float64) / largest if largest > 0 else np.zeros(len(amounts))
    return [float(one) for one in found]


def hue(share: float, t: theme.Tokens | None = None) -> str:
    """The colour of a share's side; ``t`` are the tokens of another theme than the one in use."""
    t = t or theme.tokens()
    return t.speaks_for if share > 0 else t.speaks_against


def alpha(share: float) -> float:
    """How strong the tint of a share is."""
    return _LEAST_ALPHA + (MOST_ALPHA - _LEAST_ALPHA) * min(abs(share), 1.0)


def tint(share: float, t: theme.Tokens | None = None) -> QColor:
    """The colour behind a part."""
    return theme.color(hue(share, t), alpha(share))


def pen(share: float, width: float = 1.5, t: theme.Tokens | None = None) -> QPen:
    """The line of a part: solid for, broken against."""
    made = QPen(theme.color(hue(share, t)), width)
    if share < 0:
        made.setDashPattern([2.5, 2.0])
    return made


def amount_words(amount: float) -> str:
    """A part's number, with its sign; one that rounds to nothing is 0.

    >>> amount_words(1.234), amount_words(-0.001)
    ('+1.23', '0')
    """
    return f"{amount:+.2f}" if abs(amount) >= 0.005 else "0"


class Swatch(QWidget):
    """How a part looks that speaks for the answer, or against it."""

    def __init__(self, share: float, mark: Mark) -> None:
        super().__init__()
        self._share, self._mark = share, mark
        self.setFixedSize(*_SWATCH_PX)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802, ARG002 - Qt's name and arguments
        """Draw it."""
        painter = QPainter(self)
        try:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            if self._mark == "ring":
                painter.setBrush(tint(self._share))
                painter.setPen(pen(self._share))
                painter.drawEllipse(QRectF(self.width() / 2 - 7, self.height() / 2 - 7, 14, 14))
                return
            painter.fillRect(QRectF(0, 1, self.width(), self.height() - 4), tint(self._share))
            painter.setPen(pen(self._share, 2))
            painter.drawLine(0, self.height() - 2, self.width(), self.height() - 2)
        finally:
            painter.end()


class Legend(QWidget):
    """What the tints and lines mean, and for which of the model's labels.

    Args:
        target: what is explained, in the reader's words.
        mark: the line under words, the ring around atoms.
        left_out: says what the number of a part is.
    """

    def __init__(self, target: str, mark: Mark, left_out: str) -> None:
        super().__init__()
        self.setProperty("kind", "clear")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        for share, words in ((1.0, tr("speaks for “{label}”")), (-1.0, tr("speaks against it"))):
            row = QHBoxLayout()
            row.setSpacing(8)
            row.addWidget(Swatch(share, mark), 0, Qt.AlignmentFlag.AlignVCenter)
            row.addWidget(PlainLabel(words.format(label=target), "small", wrap=True), 1)
            column.addLayout(row)
        strong = tr("Bold: at least half as strong as the strongest.")
        thick = tr("Thick: at least half as strong as the strongest.")
        column.addWidget(PlainLabel(f"{strong if mark == 'line' else thick} {left_out}", "small", wrap=True))
