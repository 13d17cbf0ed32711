"""Whether the window may be closed while a model is being trained."""

from __future__ import annotations

from PySide6.QtWidgets import QMessageBox, QWidget

from medviewer.gui.text import for_button, tr


def may_stop_training(parent: QWidget) -> bool:
    """Ask; Escape and closing the question mean no."""
    box = QMessageBox(parent)
    box.setIcon(QMessageBox.Icon.Question)
    box.setWindowTitle(tr("Train a model"))
    box.setText(tr("A model is being trained. To close MedViewer stops the training; its last checkpoint is kept."))
    stop = box.addButton(for_button(tr("Stop it and close")), QMessageBox.ButtonRole.DestructiveRole)
    stay = box.addButton(for_button(tr("Keep MedViewer open")), QMessageBox.ButtonRole.RejectRole)
    box.setDefaultButton(stay)
    box.setEscapeButton(stay)
    box.exec()
    return box.clickedButton() is stop
