"""Where an image lies in the viewport: zoom, centre, flips and turns as one transform."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, QSizeF
from PySide6.QtGui import QTransform

from medviewer.app.state import View
from medviewer.domain.frozen import dataclass
from medviewer.domain.presentation import DisplayedArea


@dataclass(frozen=True, slots=True)
class Placement:
    """How one image is laid into a viewport.

    Zoom counts device pixels per image column, so that 1 is exact on any screen. Points of
    the image are (column, row) with (0, 0) at the upper left corner of the first pixel.

    Attributes:
        size: the viewport, in logical pixels.
        ratio: device pixels per logical pixel.
        columns: of the image.
        rows: of the image.
        aspect: height of a pixel over its width, from the pixel spacing or the aspect ratio.
        view: the reader's wish.
        area: the part that a presentation state wishes to be seen, until the reader zooms or pans.
    """

    size: QSizeF
    ratio: float
    columns: int
    rows: int
    aspect: float
    view: View
    area: DisplayedArea | None = None

    @property
    def fit_zoom(self) -> float:
        """The zoom at which the whole image just fits, or the part of it that is wished."""
        if self.area is not None and self.area.magnification is not None:
            return self.area.magnification
        width, height = float(self.columns), self.rows * self.aspect
        if self.area is not None:
            width, height = self.area.right - self.area.left, (self.area.bottom - self.area.top) * self.aspect
        if self.view.quarter_turns % 2:
            width, height = height, width
        fitting = min(self.size.width() / max(width, 1), self.size.height() / max(height, 1))
        return max(fitting * self.ratio, 1e-4)

    @property
    def zoom(self) -> float:
        """Device pixels per image column."""
        return self.view.zoom if self.view.zoom is not None else self.fit_zoom

    @property
    def center(self) -> tuple[float, float]:
        """The (column, row) in the middle of the viewport."""
        if self.view.center is not None:
            return self.view.center
        if self.area is not None:
            return (self.area.left + self.area.right) / 2, (self.area.top + self.area.bottom) / 2
        return self.columns / 2, self.rows / 2

    @property
    def transform(self) -> QTransform:
        """Image (column, row) to logical viewport points: flips, then counter-clockwise turns, then scale."""
        scale = self.zoom / self.ratio
        column, row = self.center
        placed = QTransform()
        placed.translate(self.size.width() / 2, self.size.height() / 2)
        placed.rotate(-90 * (self.view.quarter_turns % 4))  # Qt turns clockwise, as y grows downwards
        placed.scale(-scale if self.view.flip_horizontal else scale, self._row_scale(scale))
        placed.translate(-column, -row)
        return placed

    def image_point(self, point: QPointF) -> tuple[float, float]:
        """The (column, row) under a point of the viewport; may lie outside the image."""
        mapped = self._inverse().map(point)
        return mapped.x(), mapped.y()

    def visible_part(self) -> tuple[int, int, int, int]:
        """(first row, first column, end row, end column) of the stored pixels that can be seen."""
        seen = self._inverse().mapRect(QRectF(QPointF(0, 0), self.size))
        left, top = max(int(seen.left()) - 2, 0), max(int(seen.top()) - 2, 0)
        right, bottom = min(int(seen.right()) + 3, self.columns), min(int(seen.bottom()) + 3, self.rows)
        return top, left, max(bottom, top), max(right, left)

    def moved(self, delta: QPointF) -> tuple[float, float]:
        """The centre after the picture was dragged by ``delta`` logical pixels."""
        middle = QPointF(self.size.width() / 2, self.size.height() / 2)
        return self.image_point(middle - delta)

    def zoomed_about(self, point: QPointF, zoom: float) -> tuple[float, float]:
        """The centre such that what is under ``point`` stays there at another zoom."""
        column, row = self.image_point(point)
        share = self.zoom / zoom
        middle_column, middle_row = self.center
        return column + (middle_column - column) * share, row + (middle_row - row) * share

    def _inverse(self) -> QTransform:
        inverse, _ = self.transform.inverted()
        return inverse

    def _row_scale(self, scale: float) -> float:
        return (-scale if self.view.flip_vertical else scale) * self.aspect
