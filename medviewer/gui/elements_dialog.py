"""The DICOM elements of one file: a tree that is searched as one types, and values that can be copied."""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import (
    QHBoxLayout,
    QHeaderView,
    QLineEdit,
    QPlainTextEdit,
    QTreeView,
    QVBoxLayout,
    QWidget,
)

from medviewer.gui.cards import SignalRow, button
from medviewer.gui.dialogs import Dialog, add_close, size_on_screen
from medviewer.gui.element_model import ElementModel, count, json_line, value_words
from medviewer.gui.text import PlainLabel, tr
from medviewer.imaging.element_list import Element, ElementList

_WIDTHS_PX = (190, 240, 44, 84)
_INDENT_PX = 12
_VALUE_PX = 56


class ElementsDialog(Dialog):
    """What stands in the file of the image on screen; rows that tell identity are left out while that is hidden."""

    def __init__(self, listed: ElementList, parent: QWidget | None = None, *, identity_hidden: bool = False) -> None:
        super().__init__(parent)
        self._listed = listed
        self._identity_hidden = identity_hidden
        self.setWindowTitle(tr("DICOM elements"))
        self.resize(size_on_screen(QSize(960, 680), self.screen().availableSize()))
        self.model = ElementModel(listed.elements, identity_hidden=identity_hidden, parent=self)
        self.search = QLineEdit()
        self.tree = QTreeView()
        self.value = QPlainTextEdit()
        self.found = PlainLabel("", "secondary")
        self.copy_value = button(tr("Copy value"))
        self.copy_json = button(tr("Copy as JSON"))
        self._lay_out()
        self.search.textChanged.connect(self._search)
        self.tree.selectionModel().currentChanged.connect(lambda *_: self._show_value())
        self.copy_value.clicked.connect(lambda: self._copy(as_json=False))
        self.copy_json.clicked.connect(lambda: self._copy(as_json=True))
        self._search("")
        self.search.setFocus()

    @property
    def element(self) -> Element | None:
        """The chosen element."""
        index = self.tree.currentIndex()
        return self.model.element(index) if index.isValid() else None

    def _lay_out(self) -> None:
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 16, 0, 12)
        whole.setSpacing(12)
        body = QVBoxLayout()
        body.setContentsMargins(20, 0, 20, 0)
        body.setSpacing(8)
        head = QHBoxLayout()
        head.addWidget(PlainLabel(tr("DICOM elements"), "hero"), 1)
        self.search.setPlaceholderText(tr("Search tag, name or value"))
        self.search.setAccessibleName(tr("Search tag, name or value"))
        self.search.setClearButtonEnabled(True)
        head.addWidget(self.search, 1)
        body.addLayout(head)
        if self._listed.is_cut:
            body.addWidget(SignalRow("caution", tr("This file has more elements than are listed here.")))
        self._lay_out_tree()
        body.addWidget(self.tree, 1)
        body.addWidget(self.found)
        self.value.setReadOnly(True)
        self.value.setFixedHeight(_VALUE_PX)
        self.value.setAccessibleName(tr("Value"))
        self.value.setTabChangesFocus(True)
        body.addWidget(self.value)
        whole.addLayout(body, 1)
        add_close(self, whole, self.copy_value, self.copy_json)

    def _lay_out_tree(self) -> None:
        self.tree.setProperty("kind", "table")
        self.tree.setModel(self.model)
        self.tree.setAccessibleName(tr("DICOM elements"))
        self.tree.setUniformRowHeights(True)
        self.tree.setIndentation(_INDENT_PX)
        self.tree.setAlternatingRowColors(False)
        self.tree.setTextElideMode(Qt.TextElideMode.ElideRight)
        header = self.tree.header()
        header.setStretchLastSection(True)
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        for column, width in enumerate(_WIDTHS_PX):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.Interactive)
            header.resizeSection(column, width)

    def _search(self, typed: str) -> None:
        number = self.model.search(typed)
        if typed.strip():
            self.tree.expandAll()
        found = tr("1 element") if number == 1 else tr("{n} elements").format(n=f"{number:,}")
        hidden = count(self._listed.elements, of_identity=True) if self._identity_hidden else 0
        more = tr("Rows hidden with the identity: {n}").format(n=hidden) if hidden else ""
        self.found.setText(" · ".join(part for part in (found, more) if part))
        self.tree.setCurrentIndex(self.model.index(0, 0))
        self._show_value()

    def _show_value(self) -> None:
        element = self.element
        self.value.setPlainText(value_words(element) if element is not None else "")
        for one in (self.copy_value, self.copy_json):
            one.setEnabled(element is not None)

    def _copy(self, *, as_json: bool) -> None:
        element = self.element
        if element is None:
            return
        if self._identity_hidden:
            element = _without_identity(element)
        QGuiApplication.clipboard().setText(json_line(element) if as_json else element.value)


def _without_identity(element: Element) -> Element:
    """A sequence without what is hidden in it."""
    items = tuple(tuple(_without_identity(e) for e in item if not e.is_identity) for item in element.items)
    return replace(element, items=items)
