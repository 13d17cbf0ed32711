"""Whether the window may be closed while a model is being trained, or a film saved: closing ends both."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialog, QHBoxLayout, QVBoxLayout, QWidget

from medviewer.gui.cards import button
from medviewer.gui.text import PlainLabel, tr


class ClosingQuestion(QDialog):
    """Stop what runs, or stay; Escape and closing the question mean staying."""

    def __init__(self, title: str, words: str, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle(title)
        column = QVBoxLayout(self)
        column.setContentsMargins(20, 20, 20, 16)
        column.setSpacing(16)
        column.addWidget(PlainLabel(words, wrap=True))
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addStretch(1)
        self.stop = button(tr("Stop it and close"))
        self.stop.setAutoDefault(False)
        self.stay = button(tr("Keep MedViewer open"), kind="primary")
        self.stay.setDefault(True)
        self.stop.clicked.connect(self.accept)
        self.stay.clicked.connect(self.reject)
        row.addWidget(self.stop)
        row.addWidget(self.stay)
        column.addLayout(row)
        self.setMinimumWidth(420)
        self.stay.setFocus()


def may_stop_training(parent: QWidget) -> bool:
    """Ask the reader about a training."""
    words = tr("A model is being trained. To close MedViewer stops the training; its last checkpoint is kept.")
    return _is_accepted(ClosingQuestion(tr("Train a model"), words, parent))


def may_lose_film(parent: QWidget) -> bool:
    """Ask the reader about a film."""
    words = tr("A film is being saved. To close MedViewer stops it, and there will be no file.")
    return _is_accepted(ClosingQuestion(tr("Export film"), words, parent))


def _is_accepted(question: ClosingQuestion) -> bool:
    question.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    return question.exec() == QDialog.DialogCode.Accepted
