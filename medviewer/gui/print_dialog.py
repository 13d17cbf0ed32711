"""How a page is printed: paper, which viewports, whether it says who the patient is; the page is seen before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QImage, QPainter, QPaintEvent
from PySide6.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QVBoxLayout,
    QWidget,
)

from medviewer.app.printing import PAPERS_MM, Page, PrintWish
from medviewer.gui import theme
from medviewer.gui.cards import ElidedCombo, ScrollColumn, SignalRow, button
from medviewer.gui.dialogs import Dialog, size_on_screen
from medviewer.gui.print_sheet import PrintedSheet
from medviewer.gui.text import PlainLabel, for_button, tr

_CHOICES_PX, _PREVIEW_PX = 280, 520

Draw = Callable[[PrintWish], PrintedSheet | None]


class PrintDialog(Dialog):
    """Choices at the left, the page at the right; ``draw`` makes the sheet of a wish."""

    def __init__(self, wish: PrintWish, draw: Draw, parent: QWidget | None = None, *, identity_hidden: bool) -> None:
        super().__init__(parent)
        self._wish = wish
        self.setWindowTitle(tr("Print"))
        self.resize(size_on_screen(QSize(900, 720), self.screen().availableSize()))
        self.paper, self.way, self.what = ElidedCombo(), ElidedCombo(), ElidedCombo()
        self.identity = QCheckBox(for_button(tr("With name, number and birth date")))
        self.preview = _Preview(draw)
        self.cancel, self.pdf = button(tr("Cancel")), button(tr("Save as PDF…"))
        self.print = button(tr("Print…"), kind="primary")
        for name in PAPERS_MM:
            self.paper.addItem(name, name)
        self.way.addItem(tr("Portrait"), False)
        self.way.addItem(tr("Landscape"), True)
        self.what.addItem(tr("All viewports"), True)
        self.what.addItem(tr("The viewport in use"), False)
        for combo, value in ((self.paper, wish.page.paper), (self.way, wish.page.is_landscape)):
            combo.setCurrentIndex(combo.findData(value))
        self.identity.setChecked(wish.with_identity and not identity_hidden)
        self.identity.setEnabled(not identity_hidden)
        self._lay_out(identity_hidden)
        for combo in (self.paper, self.way, self.what):
            combo.currentIndexChanged.connect(lambda _index: self._show())
        self.identity.toggled.connect(lambda _is_on: self._show())
        self.cancel.clicked.connect(self.reject)
        self.print.clicked.connect(self.accept)
        self.pdf.clicked.connect(self._choose_file)
        self._show()

    @property
    def wish(self) -> PrintWish:
        """What was chosen."""
        page = Page(self.paper.currentData(), self.way.currentData())
        return replace(
            self._wish, page=page, every_viewport=self.what.currentData(), with_identity=self.identity.isChecked()
        )

    def _lay_out(self, identity_hidden: bool) -> None:
        whole = QHBoxLayout(self)
        whole.setContentsMargins(20, 16, 20, 16)
        whole.setSpacing(20)
        scroll = ScrollColumn(margin=2)  # in a low window the choices scroll, and the buttons stay
        scroll.setAccessibleName(tr("Print"))
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the choices are reached with Tab, and it follows them
        column = scroll.column
        column.addWidget(PlainLabel(tr("Print"), "hero"))
        grid = QGridLayout()
        grid.setHorizontalSpacing(12)
        grid.setVerticalSpacing(8)
        grid.setColumnStretch(1, 1)
        titles = (tr("Paper"), tr("Orientation"), tr("What"))
        for row, (title, combo) in enumerate(zip(titles, (self.paper, self.way, self.what), strict=True)):
            combo.setAccessibleName(title)
            grid.addWidget(PlainLabel(title), row, 0)
            grid.addWidget(combo, row, 1)
        column.addLayout(grid)
        column.addWidget(self.identity)
        if identity_hidden:
            column.addWidget(PlainLabel(tr("Identity is hidden in the window."), "secondary", wrap=True))
        burnt = tr("Words that the machine has written into the pixels stay in the picture: look at it first.")
        column.addWidget(PlainLabel(burnt, "small", wrap=True))
        scaled = tr("Rulers and scales hold only if the page is printed at its actual size.")
        column.addWidget(SignalRow("caution", scaled))
        choices = QWidget()
        choices.setProperty("kind", "clear")
        choices.setFixedWidth(_CHOICES_PX)
        side = QVBoxLayout(choices)
        side.setContentsMargins(0, 0, 0, 0)
        side.setSpacing(10)
        side.addWidget(scroll, 1)
        for one in (self.print, self.pdf, self.cancel):
            side.addWidget(one)
        whole.addWidget(choices)
        whole.addWidget(self.preview, 1)
        self.give_enter(self.print)

    def _show(self) -> None:
        self.preview.show_wish(self.wish)

    def _choose_file(self) -> None:
        proposed = str(Path.home() / "page.pdf")
        chosen, _ = QFileDialog.getSaveFileName(self, tr("Save as PDF"), proposed, "PDF (*.pdf)")
        if chosen:
            self._wish = replace(self._wish, path=Path(chosen))
            self.accept()


class _Preview(QWidget):
    """The page as it will be."""

    def __init__(self, draw: Draw) -> None:
        super().__init__()
        self._draw = draw
        self._sheet: PrintedSheet | None = None
        self.setMinimumWidth(_PREVIEW_PX // 2)
        self.setAccessibleName(tr("The page as it will be"))

    def show_wish(self, wish: PrintWish) -> None:
        """Show another page."""
        self._sheet = self._draw(wish)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802, ARG002 - Qt's name and arguments
        """Draw the page as large as there is room, on white paper."""
        if self._sheet is None:
            return
        width, height = self._sheet.page.size_mm
        scale = min(self.width() / width, self.height() / height)
        ratio = self.devicePixelRatioF()
        page = QImage(int(width * scale * ratio), int(height * scale * ratio), QImage.Format.Format_RGB32)
        page.setDevicePixelRatio(ratio)
        page.fill(theme.color(theme.PAPER))
        inside = QPainter(page)
        try:
            inside.scale(scale, scale)
            inside.setRenderHint(QPainter.RenderHint.TextAntialiasing)
            self._sheet.paint(inside)
        finally:
            inside.end()
        painter = QPainter(self)
        try:
            painter.drawImage(int((self.width() - width * scale) / 2), int((self.height() - height * scale) / 2), page)
        finally:
            painter.end()
