"""What the file draws over its image (overlay planes): sharp, in one colour, hidden with one key."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QRectF
from PySide6.QtGui import QImage, QPainter, QTransform

from medviewer.app.on_screen import overlays_of
from medviewer.app.state import State
from medviewer.domain.frame import OverlayPlane
from medviewer.gui import theme


class DrawingsLayer:
    """Draws the overlay planes of the frame on screen; their pictures are kept while it stays."""

    def __init__(self) -> None:
        self._planes: tuple[OverlayPlane, ...] = ()
        self._pictures: list[tuple[OverlayPlane, QImage]] = []

    def paint(self, painter: QPainter, state: State, transform: QTransform) -> bool:
        """Draw them with the image's own transform; says whether there was anything to draw."""
        planes = overlays_of(state)
        if not planes or not state.drawings_shown:
            return False
        if planes != self._planes:
            self._planes = planes
            self._pictures = [(plane, _picture(plane)) for plane in planes]
        painter.save()
        painter.setTransform(transform, True)
        # Shrunken, a line of one pixel must not vanish between the screen's pixels.
        is_smaller = transform.m11() ** 2 + transform.m12() ** 2 < 1
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, is_smaller)
        for plane, picture in self._pictures:
            painter.drawImage(QRectF(plane.column, plane.row, picture.width(), picture.height()), picture)
        painter.restore()
        return True


def _picture(plane: OverlayPlane) -> QImage:
    t = theme.tokens()
    ink = theme.color(t.caution if plane.is_region else t.overlay_text)
    pixels = np.where(plane.mask, np.uint32(ink.rgba()), np.uint32(0))
    rows, columns = plane.mask.shape
    return QImage(pixels.tobytes(), columns, rows, columns * 4, QImage.Format.Format_ARGB32_Premultiplied).copy()
