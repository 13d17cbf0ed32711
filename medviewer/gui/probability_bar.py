"""A calibrated probability on its scale, with the threshold that flags it and how far it can wander."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from medviewer.domain.answer import Finding, probability_words, threshold_of
from medviewer.gui import theme
from medviewer.gui.text import tr


class ProbabilityBar(QWidget):
    """The scale from 0 to 1: a dot for the probability, a band for its stability, a tick for the threshold.

    Flagged is a filled diamond, not flagged a hollow ring: the shape says it without colour.
    """

    def __init__(self, finding: Finding, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._finding = finding
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName(
            tr("Probability {p}, threshold {t}").format(
                p=probability_words(finding.probability, finding.threshold), t=threshold_of(finding)
            )
        )

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Room for the scale and one line of words."""
        return QSize(280, 48)

    def x_of(self, probability: float) -> float:
        """Where a probability lies, in widget pixels."""
        left, right = self._ends()
        return left + (right - left) * min(max(probability, 0.0), 1.0)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802, ARG002 - Qt's name and arguments
        """Draw it."""
        painter = QPainter(self)
        try:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            self._draw_scale(painter)
            self._draw_band(painter)
            self._draw_threshold(painter)
            self._draw_mark(painter)
        finally:
            painter.end()

    _MIDDLE = 14.0

    def _ends(self) -> tuple[float, float]:
        return 20.0, self.width() - 20.0

    def _draw_scale(self, painter: QPainter) -> None:
        t = theme.tokens()
        left, right = self._ends()
        painter.setPen(QPen(theme.color(t.edge), 2, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap))
        painter.drawLine(QPointF(left, self._MIDDLE), QPointF(right, self._MIDDLE))
        painter.setPen(QPen(theme.color(t.edge), 1))
        for tenth in range(11):
            x, size = self.x_of(tenth / 10), 4 if tenth in (0, 5, 10) else 2
            painter.drawLine(QPointF(x, self._MIDDLE - size), QPointF(x, self._MIDDLE + size))
        painter.setPen(theme.color(t.secondary))
        painter.setFont(theme.text_font(theme.SMALL_PX))
        painter.drawText(QRectF(0, self._MIDDLE - 8, 12, 16), Qt.AlignmentFlag.AlignCenter, "0")
        painter.drawText(QRectF(self.width() - 12, self._MIDDLE - 8, 12, 16), Qt.AlignmentFlag.AlignCenter, "1")

    def _draw_band(self, painter: QPainter) -> None:
        if self._finding.stability is None:
            return
        low, high = (self.x_of(p) for p in self._finding.stability)
        band = QRectF(low, self._MIDDLE - 5, max(high - low, 2.0), 10)
        painter.setPen(QPen(theme.color(self._tint()), 1))
        painter.setBrush(theme.color(self._tint(), 0.3))
        painter.drawRoundedRect(band, 3, 3)

    def _draw_threshold(self, painter: QPainter) -> None:
        t = theme.tokens()
        x = self.x_of(self._finding.threshold)
        painter.setPen(QPen(theme.color(t.text), 2))
        painter.drawLine(QPointF(x, self._MIDDLE - 10), QPointF(x, self._MIDDLE + 13))
        words = tr("threshold {t}").format(t=threshold_of(self._finding))
        painter.setFont(theme.text_font(theme.SMALL_PX))
        painter.setPen(theme.color(t.secondary))
        width = painter.fontMetrics().horizontalAdvance(words) + 4
        left = min(max(x - width / 2, 0.0), self.width() - width)
        painter.drawText(QRectF(left, self._MIDDLE + 14, width, 18), Qt.AlignmentFlag.AlignCenter, words)

    def _draw_mark(self, painter: QPainter) -> None:
        x = self.x_of(self._finding.probability)
        tint = theme.color(self._tint())
        painter.setPen(QPen(theme.color(theme.tokens().raised), 2))
        if self._finding.flagged:
            painter.setBrush(tint)
            corners = [(x, -8), (x + 8, 0), (x, 8), (x - 8, 0)]
            painter.drawPolygon([QPointF(px, self._MIDDLE + dy) for px, dy in corners])
        else:
            painter.setBrush(theme.color(theme.tokens().raised))
            painter.setPen(QPen(tint, 3))
            painter.drawEllipse(QPointF(x, self._MIDDLE), 6, 6)

    def _tint(self) -> str:
        t = theme.tokens()
        return t.caution if self._finding.flagged else t.accent
