"""The page of a PDF as it was drawn, scrolled; it asks for a sharper one when it is shown larger."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QRect, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QImage, QKeyEvent, QPainter, QPaintEvent, QResizeEvent, QWheelEvent
from PySide6.QtWidgets import QFrame, QScrollArea, QWidget

from medviewer.app.state import Reading
from medviewer.gui import theme
from medviewer.gui.text import tr
from medviewer.imaging.pdf import Pdf

_MARGIN_PX = 16
_ASK_MS = 80  # a window that is being resized asks once
_MOST_PX = 16_000  # of a side, on screen
_CLOSE_ENOUGH = 0.02  # of the wanted size: no sharper picture would be seen


class PdfView(QScrollArea):
    """One page, as wide as the view at zoom 1; pages turn with the page keys at its ends."""

    requested = Signal(str, object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._page = _Page()
        self._reading: Reading | None = None
        self._asked: tuple[object, ...] = ()
        self.setWidget(self._page)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setProperty("kind", "viewport")
        self.setAlignment(Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.timeout.connect(self._ask)

    def show_page(self, reading: Reading) -> None:
        """Show the page that is chosen, or that it is being drawn."""
        old, self._reading = self._reading, reading
        self.setAccessibleName(tr("Page {n}").format(n=reading.page + 1))
        if old is None or old.content is not reading.content or old.page != reading.page:
            self.verticalScrollBar().setValue(0)
            self._asked = ()
        if old is None or old.picture is not reading.picture:
            self._page.set_picture(reading.picture)
        self._place()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 - Qt's name
        """Keep the page as wide as the view."""
        super().resizeEvent(event)
        self._place()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 - Qt's name
        """Page keys scroll, and turn the page where there is no more of it."""
        bar = self.verticalScrollBar()
        down = event.key() in (Qt.Key.Key_PageDown, Qt.Key.Key_Space, Qt.Key.Key_Right)
        up = event.key() in (Qt.Key.Key_PageUp, Qt.Key.Key_Left)
        if down and bar.value() >= bar.maximum():
            self.requested.emit("document.next_page", None)
        elif up and bar.value() <= bar.minimum():
            self.requested.emit("document.previous_page", None)
        elif down or up:
            bar.setValue(bar.value() + (1 if down else -1) * bar.pageStep())
        else:
            super().keyPressEvent(event)

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802 - Qt's name
        """Ctrl and the wheel zoom."""
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self.requested.emit("view.zoom_in" if event.angleDelta().y() > 0 else "view.zoom_out", None)
            event.accept()
        else:
            super().wheelEvent(event)

    def _place(self) -> None:
        reading = self._reading
        if reading is None or not isinstance(reading.content, Pdf):
            return
        width, height = reading.content.sizes_pt[reading.page]
        if not width * height:
            width, height = 1.0, 1.0  # only drawing it says what is wrong with it
        across = max((self.viewport().width() - 2 * _MARGIN_PX) * reading.zoom, 16)
        across = min(across, _MOST_PX, _MOST_PX * width / height)
        size = QSize(max(1, round(across)), max(1, round(across * height / width)))
        self._page.setFixedSize(size.width() + 2 * _MARGIN_PX, size.height() + 2 * _MARGIN_PX)
        wanted = size.width() * self.devicePixelRatioF()
        if reading.picture is None or abs(reading.picture.shape[1] / wanted - 1) > _CLOSE_ENOUGH:
            self._later.start(0 if reading.picture is None else _ASK_MS)

    def _ask(self) -> None:
        """Ask once for each page and size: what was drawn smaller than asked for is all there is."""
        reading = self._reading
        if reading is None or not isinstance(reading.content, Pdf) or not self.isVisible():
            return
        width = reading.content.sizes_pt[reading.page][0] or 1.0
        across = (self._page.width() - 2 * _MARGIN_PX) * self.devicePixelRatioF()
        wish = (reading.content, reading.page, round(across))
        if wish != self._asked:
            self._asked = wish
            self.requested.emit("document.draw", across / width)

    def forget(self) -> None:
        """Hold nothing of a document that is not shown any more."""
        self._reading, self._asked = None, ()
        self._later.stop()
        self._page.set_picture(None)


class _Page(QWidget):
    """The picture of a page, stretched to the widget without its margins."""

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("kind", "viewport")
        self._picture: QImage | None = None

    def set_picture(self, pixels: np.ndarray | None) -> None:
        """Show other pixels: (rows, columns, 3) uint8."""
        self._picture = None
        if pixels is not None:
            whole = np.ascontiguousarray(pixels)
            rows, columns = whole.shape[:2]
            kind = QImage.Format.Format_RGB888
            self._picture = QImage(whole.tobytes(), columns, rows, whole.strides[0], kind).copy()
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802, ARG002 - Qt's name and arguments
        """Draw the page, or a dark sheet until it is there."""
        t = theme.tokens()
        painter = QPainter(self)
        try:
            painter.fillRect(self.rect(), theme.color(t.viewport))
            sheet = self.rect().adjusted(_MARGIN_PX, _MARGIN_PX, -_MARGIN_PX, -_MARGIN_PX)
            if self._picture is None:
                painter.fillRect(sheet, theme.color(t.panel))
                painter.setPen(theme.color(t.secondary))
                top = QRect(sheet.left(), sheet.top() + 24, sheet.width(), 24)
                painter.drawText(top, Qt.AlignmentFlag.AlignHCenter, tr("Drawing the page…"))
                return
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
            painter.drawImage(sheet, self._picture)
        finally:
            painter.end()
