"""A molecule typed or pasted as SMILES: drawn, put to the models that take molecules, and explained atom by atom."""

from __future__ import annotations

from PySide6.QtCore import QSize, QTimer
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QVBoxLayout, QWidget

from medviewer.app.application import Application
from medviewer.app.molecule_desk import MoleculeDesk
from medviewer.app.state import State
from medviewer.domain.answer import Attribution
from medviewer.gui.cards import ScrollColumn, SignalRow, button, clear
from medviewer.gui.data_answer_card import DataAnswerCard
from medviewer.gui.dialogs import Dialog, add_close, size_on_screen
from medviewer.gui.diverging import Legend
from medviewer.gui.label_bars import title_of
from medviewer.gui.molecule_picture import molecule_picture
from medviewer.gui.molecule_view import MoleculeView
from medviewer.gui.text import PlainLabel, set_tooltip, tr, tr_pick, visible
from medviewer.inference.molecule_drawing import LONGEST, draw_molecule

_TYPING_MS = 250  # nothing is drawn of a SMILES that is being typed
_CARDS_PX = 380
_LEAST_CARDS_PX = 240


class MoleculeDialog(Dialog):
    """Nothing in it is about a patient, and nothing of it is kept with one."""

    def __init__(self, app: Application, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.desk = MoleculeDesk(app, self._show)
        self.setWindowTitle(tr("Molecule"))
        self.resize(size_on_screen(QSize(980, 700), self.screen().availableSize()))
        self.line = QLineEdit()
        self.view = MoleculeView()
        self.copy = button(tr("Copy picture"), "copy")
        self._above, self._below = QVBoxLayout(), QVBoxLayout()
        self._word = PlainLabel("", wrap=True)
        self._scroll = ScrollColumn(margin=2)
        self._remark = PlainLabel("", "secondary", wrap=True)
        self.cards = {offer.id: DataAnswerCard(offer, tr("Show the atoms it rests on")) for offer in self.desk.offers}
        self._drawn: tuple[object, ...] = ()
        self._typing = QTimer(self)
        self._typing.setSingleShot(True)
        self._typing.setInterval(_TYPING_MS)
        self._lay_out()
        self._connect()
        self._unwatch = app.session.watch(self._follow)
        self.finished.connect(self._end)
        self._show()
        self.line.setFocus()

    def _lay_out(self) -> None:
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 16, 0, 12)
        whole.setSpacing(12)
        body = QVBoxLayout()
        body.setContentsMargins(20, 0, 20, 0)
        body.setSpacing(8)
        body.addWidget(PlainLabel(tr("Molecule"), "hero"))
        words = tr("Research use only - not for diagnosis. It is about no patient and is kept with none.")
        body.addWidget(PlainLabel(words, "secondary", wrap=True))
        self.line.setPlaceholderText(tr("SMILES, for example {smiles}").format(smiles="CC(=O)Oc1ccccc1C(=O)O"))
        self.line.setAccessibleName(tr("Molecule as SMILES"))
        self.line.setClearButtonEnabled(True)
        self.line.setMaxLength(2 * LONGEST)  # what is too long is said, not cut in silence
        self.line.setEnabled(not self.desk.is_missing)
        body.addWidget(self.line)
        body.addLayout(self._above)
        halves = QHBoxLayout()
        halves.setSpacing(16)
        left = ScrollColumn(margin=2)  # on a low screen the legend is scrolled to, and never lies over the drawing
        left.setAccessibleName(tr("Molecule"))
        left.setMinimumWidth(self.view.minimumWidth() + 28)  # its margins and bar
        left.column.addWidget(self.view, 1)
        left.column.addWidget(self._word)
        left.column.addLayout(self._below)
        content = left.widget()
        if content is not None and isinstance(inside := content.layout(), QVBoxLayout):
            inside.setStretch(0, 100)  # the drawing takes the room that there is
        halves.addWidget(left, 1)
        self._scroll.setAccessibleName(tr("What models say of the molecule"))
        self._scroll.setMinimumWidth(_LEAST_CARDS_PX)
        self._scroll.setMaximumWidth(_CARDS_PX)
        self._scroll.column.addWidget(self._remark)
        for card in self.cards.values():
            self._scroll.column.addWidget(card)
        halves.addWidget(self._scroll, 2)  # up to its most; the drawing has the rest
        body.addLayout(halves, 1)
        whole.addLayout(body, 1)
        set_tooltip(self.copy, tr("Copy the drawing, with what it shows, to the clipboard"))
        add_close(self, whole, self.copy)

    def _connect(self) -> None:
        self.line.textChanged.connect(lambda _text: self._typing.start())
        self._typing.timeout.connect(self._look)
        self.line.returnPressed.connect(self._look)
        self.view.told.connect(self._tell)
        self.copy.clicked.connect(self._copy)
        for model_id, card in self.cards.items():
            card.run.connect(lambda chosen=model_id: self.desk.run(chosen))
            card.explain.connect(lambda finding, chosen=model_id: self.desk.explain(chosen, finding))
            card.stop.connect(self.desk.stop)

    def _look(self) -> None:
        self._typing.stop()
        self.desk.look_at(self.line.text())

    def _end(self, _result: int) -> None:
        self._unwatch()
        self._typing.stop()
        self.desk.close()

    def _follow(self, old: State, new: State) -> None:
        if old.jobs != new.jobs:
            self._show_cards()

    def _show(self) -> None:
        """Draw what the desk knows now."""
        desk = self.desk
        clear(self._above)
        if desk.problem:
            word = tr("The molecule cannot be shown") if desk.is_missing else tr("The molecule cannot be read")
            self._above.addWidget(SignalRow("caution", tr(desk.problem), word=word))
        self._show_cards()
        why = self._why()
        self.view.show_molecule(desk.drawing, why, self._empty())
        self.copy.setEnabled(desk.drawing is not None)
        if self._drawn != (desk.drawing, why):
            self._drawn = (desk.drawing, why)
            self._tell("")
            self._show_legend()

    def _empty(self) -> str:
        desk = self.desk
        if desk.smiles and not desk.problem:
            return tr("Drawing…")
        return "" if desk.is_missing else tr("Type or paste a molecule as SMILES: it is drawn here.")

    def _show_cards(self) -> None:
        desk, is_drawn = self.desk, self.desk.drawing is not None
        remark = "" if is_drawn else tr("Models are offered when there is a molecule.")
        self._remark.setText(remark if desk.offers else tr("No installed model takes molecules."))
        self._remark.setVisible(bool(self._remark.text()) and not desk.is_missing)
        for model_id, card in self.cards.items():
            card.setVisible(is_drawn)
            card.show_answer(desk.answer_of(model_id), desk.work_of(model_id))

    def _why(self) -> Attribution | None:
        shown = self.desk.explained()
        return shown[1].attribution if shown is not None else None

    def _show_legend(self) -> None:
        clear(self._below)
        shown, why = self.desk.explained(), self._why()
        if shown is not None and why is not None:
            number = tr("Number: how far the network's score for it falls without the atom.")
            self._below.addWidget(Legend(title_of(shown[0], why.finding), "ring", number))

    def _tell(self, words: str) -> None:
        hint = tr("Point at an atom, or press Left and Right in the drawing, for its number.")
        self._word.setText(words or (hint if self._why() is not None else ""))
        self._word.set_role("" if words else "small")
        self._word.setVisible(bool(self._word.text()))

    def _copy(self) -> None:
        """Put the drawing on the clipboard as a picture with dark lines on white."""
        desk, shown, why = self.desk, self.desk.explained(), self._why()
        if desk.drawing is None:
            return
        model, target = "", ""
        if shown is not None and why is not None:
            made = why.provenance
            model = f"{visible(tr_pick(shown[0].title))} ({made.model_id} {made.model_version})"
            target = title_of(shown[0], why.finding)
        picture = molecule_picture(draw_molecule(desk.smiles), why, model, target)
        QGuiApplication.clipboard().setImage(picture)
        self._tell(tr("The picture is on the clipboard."))
