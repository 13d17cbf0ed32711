"""A drawn molecule: atoms that an answer rests on are ringed, and say their numbers to the mouse and the keys."""

from __future__ import annotations

from PySide6.QtCore import QRectF, Qt, Signal
from PySide6.QtGui import QFocusEvent, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from medviewer.domain.anchor import Atom
from medviewer.domain.answer import Attribution
from medviewer.gui import theme
from medviewer.gui.diverging import amount_words
from medviewer.gui.molecule_picture import MoleculePainter, strengths_of
from medviewer.gui.text import plain_tooltip, tr
from medviewer.inference.molecule_drawing import Drawing

_INSET_PX = 8.0
_LEAST_PX = (240, 160)


class MoleculeView(QWidget):
    """Left and Right go from atom to atom, Home and End to the first and last; ``told`` says what is known of one."""

    told = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._painter: MoleculePainter | None = None
        self._strengths: dict[int, float] = {}
        self._amounts: dict[int, float] = {}
        self._chosen: int | None = None
        self._empty = ""
        self.setMinimumSize(*_LEAST_PX)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMouseTracking(True)
        self.setAccessibleName(tr("Drawing of the molecule"))

    def show_molecule(self, drawing: Drawing | None, why: Attribution | None, empty: str) -> None:
        """Show a drawing and what an answer rests on; ``empty`` is said where there is none."""
        if drawing is None or self._painter is None or self._painter.drawing is not drawing:
            self._painter = MoleculePainter(drawing) if drawing is not None else None
            self._chosen = None
        self._strengths = strengths_of(why)
        pairs = zip(why.anchors, why.saliency.tolist(), strict=True) if why is not None else ()
        self._amounts = {anchor.index: amount for anchor, amount in pairs if isinstance(anchor, Atom)}
        self._empty = empty
        if self._chosen not in self._amounts:
            self._chosen = None
        if not self._amounts and self.hasFocus():
            self.clearFocus()
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus if self._amounts else Qt.FocusPolicy.NoFocus)
        strongest = sorted(self._amounts, key=lambda index: -abs(self._amounts[index]))[:5]
        self.setAccessibleDescription("; ".join(map(self.words_of, strongest)))
        self.update()

    def words_of(self, index: int) -> str:
        """An atom with its number, counted from 1 as the SMILES is read."""
        if self._painter is None:
            return ""
        symbol = self._painter.drawing.atoms[index][2]
        name = tr("atom {n} ({symbol})").format(n=index + 1, symbol=symbol)
        return f"{name}: {amount_words(self._amounts[index])}" if index in self._amounts else name

    @property
    def room(self) -> QRectF:
        """Where the molecule is drawn."""
        return QRectF(self.rect()).adjusted(_INSET_PX, _INSET_PX, -_INSET_PX, -_INSET_PX)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802, ARG002 - Qt's name and arguments
        """Draw it."""
        t = theme.tokens()
        painter = QPainter(self)
        try:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setBrush(theme.color(t.raised))
            painter.setPen(QPen(theme.color(t.accent), 2) if self.hasFocus() else QPen(theme.color(t.line), 1))
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(1, 1, -1, -1), theme.RADIUS_PX, theme.RADIUS_PX)
            if self._painter is not None:
                self._painter.paint(painter, self.room, self._strengths, t, self._chosen)
                return
            painter.setPen(theme.color(t.secondary))
            painter.setFont(theme.text_font())
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(self.room, flags, self._empty)
        finally:
            painter.end()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """Say the atom under the mouse."""
        index = self._painter.atom_at(event.position(), self.room) if self._painter is not None else None
        words = self.words_of(index) if index is not None else ""
        if self.toolTip() != plain_tooltip(words):
            self.setToolTip(plain_tooltip(words))
            self.told.emit(words or self._chosen_words())

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 - Qt's name
        """Go to another atom."""
        atoms = sorted(self._amounts)
        at = atoms.index(self._chosen) if self._chosen in atoms else -1
        steps = {
            Qt.Key.Key_Left: max(at - 1, 0),
            Qt.Key.Key_Right: min(at + 1, len(atoms) - 1),
            Qt.Key.Key_Home: 0,
            Qt.Key.Key_End: len(atoms) - 1,
        }
        step = steps.get(Qt.Key(event.key()))
        if step is None or not atoms:
            super().keyPressEvent(event)
            return
        self._choose(atoms[step])

    def focusInEvent(self, event: QFocusEvent) -> None:  # noqa: N802 - Qt's name
        """By the keys the first atom is chosen at once."""
        super().focusInEvent(event)
        is_by_key = event.reason() in (Qt.FocusReason.TabFocusReason, Qt.FocusReason.BacktabFocusReason)
        if is_by_key and self._amounts and self._chosen is None:
            self._choose(min(self._amounts))
        self.update()

    def focusOutEvent(self, event: QFocusEvent) -> None:  # noqa: N802 - Qt's name
        """No atom is chosen any more."""
        super().focusOutEvent(event)
        self._choose(None)

    def _choose(self, index: int | None) -> None:
        self._chosen = index
        self.told.emit(self._chosen_words())
        self.update()

    def _chosen_words(self) -> str:
        return self.words_of(self._chosen) if self._chosen is not None else ""
