"""What MedViewer is, what it is not for, its version, and whose work it builds on."""

from __future__ import annotations

import platform
from importlib import metadata

from PySide6.QtCore import QSize
from PySide6.QtWidgets import QDialog, QHBoxLayout, QPlainTextEdit, QVBoxLayout, QWidget

import medviewer
from medviewer.app.diagnostics import PACKAGES
from medviewer.gui import theme
from medviewer.gui.cards import Card, FactRow, ScrollColumn, SignalRow, section
from medviewer.gui.dialogs import add_close, size_on_screen
from medviewer.gui.icons import IconLabel
from medviewer.gui.text import PlainLabel, tr
from medviewer.resources import resource

LICENCE_FILES = ("fonts/LICENSE-Inter.txt", "fonts/LICENSE-NotoSansSC.txt", "icons/LICENSE-Lucide.txt")

_LICENCES_PX = 200


class AboutDialog(QDialog):
    """The research-use words first: they are the most important fact about the program."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(tr("About MedViewer"))
        self.resize(size_on_screen(QSize(520, 680), self.screen().availableSize()))
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 12)
        scroll = ScrollColumn(margin=20)
        scroll.setAccessibleName(tr("About MedViewer"))
        whole.addWidget(scroll, 1)
        add_close(self, whole)
        column = scroll.column
        column.setSpacing(12)
        head = QHBoxLayout()
        head.setSpacing(12)
        head.addWidget(IconLabel("chest", theme.tokens().accent, 40))
        names = QVBoxLayout()
        names.setSpacing(0)
        names.addWidget(PlainLabel("MedViewer", "hero"))
        names.addWidget(PlainLabel(tr("Version {v}").format(v=medviewer.__version__), "secondary"))
        head.addLayout(names, 1)
        column.addLayout(head)
        card = Card(signal="caution")
        words = tr(
            "MedViewer is not a medical device. Nothing it shows may be used to diagnose or to treat; "
            "its models are often wrong, and their heat maps show where they looked, not where disease is."
        )
        card.add(SignalRow("caution", words, word=tr("Research use only, not for diagnosis")))
        column.addWidget(card)
        column.addWidget(section(tr("Versions")))
        facts = QVBoxLayout()
        facts.setSpacing(4)
        for name, value in versions():
            facts.addWidget(FactRow(name, value, name_px=140))
        column.addLayout(facts)
        column.addWidget(section(tr("Licences")))
        licence = tr("MedViewer is free software under the Apache License 2.0. Bundled fonts and icons:")
        column.addWidget(PlainLabel(licence, "secondary", wrap=True))
        text = QPlainTextEdit(licence_text())
        text.setReadOnly(True)
        text.setAccessibleName(tr("Licences"))
        text.setFixedHeight(_LICENCES_PX)
        column.addWidget(text)


def versions() -> list[tuple[str, str]]:
    """The versions that a bug report needs; a package that is not installed says so."""
    rows = [("Python", platform.python_version()), (tr("System"), f"{platform.system()} {platform.machine()}")]
    for name in PACKAGES:
        try:
            rows.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            rows.append((name, tr("not installed")))
    return rows


def licence_text() -> str:
    """The licences of what is bundled in resources, one after the other."""
    return "\n\n".join(resource(name).read_text(encoding="utf-8") for name in LICENCE_FILES)
