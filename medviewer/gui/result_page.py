"""A result on one page for people: image and heat map, finding, how far to believe it, who decided what, made by what.

It says first and last that it is research. Whose image it is stands on it only if that is wanted.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QImage, QPainter, QPen

from medviewer.app.printing import Page
from medviewer.domain.answer import Finding, threshold_of
from medviewer.domain.frozen import dataclass
from medviewer.gui import theme
from medviewer.gui.page_flow import Paragraph, height_of, paint_paragraphs
from medviewer.gui.print_sheet import pdf_of
from medviewer.imaging.orientation import Letters

_MARGIN_MM, _GAP_MM, _RULE_MM = 14.0, 4.0, 0.25
_BAR_MM = 8.0  # of the scale of a probability, at scale 1
_LEAST_PICTURE_MM, _MOST_PICTURE_MM = 55.0, 118.0
_SMALLEST = 0.4  # of the letters' size: what is longer still takes from the pictures
_SMALLER = 0.96
_A4 = Page()


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A picture with the patient's sides and what it is.

    ``make`` gives it, ``(rows, columns, 3)`` uint8, when the page is painted: the window need not wait for it.
    """

    make: Callable[[], np.ndarray]
    letters: Letters
    caption: str
    aspect: float = 1.0  # height of a pixel over its width


@dataclass(frozen=True, slots=True, eq=False)
class ResultPage:
    """A page ready to be painted at any resolution.

    ``head`` is two columns of lines, ``findings`` each its own lines with the scale of its probability,
    ``left`` and ``right`` the columns below, ``origin`` the small print.
    """

    title: str
    model_title: str
    warning: str
    head: tuple[tuple[Paragraph, ...], tuple[Paragraph, ...]]
    pictures: tuple[Shown, ...]
    findings: tuple[tuple[tuple[Paragraph, ...], Finding | None], ...]
    left: tuple[Paragraph, ...]
    right: tuple[Paragraph, ...]
    origin: tuple[Paragraph, ...]
    scale_words: str = "{t}"  # of a threshold on the scale of a probability
    page: Page = _A4

    def pdf(self) -> bytes:
        """As a PDF document of one page, without anything about anybody beside what is seen. May run in any thread."""
        return pdf_of(self.page, self.paint)

    def paint(self, painter: QPainter) -> float:
        """Paint the page; the painter's units are millimetres from its corner. Returns where the text ends, in mm."""
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        scale, picture_mm = self._fitting()
        at = self._paint_head(painter, scale)
        at = self._paint_pictures(painter, at, picture_mm, scale)
        at = self._paint_findings(painter, at, scale)
        at = self._paint_columns(painter, at, scale)
        self._paint_foot(painter, scale)
        return at

    @property
    def _inner(self) -> QRectF:
        width, height = self.page.size_mm
        return QRectF(0, 0, width, height).adjusted(_MARGIN_MM, _MARGIN_MM, -_MARGIN_MM, -_MARGIN_MM)

    @property
    def _half(self) -> float:
        return (self._inner.width() - _GAP_MM) / 2

    def _fitting(self) -> tuple[float, float]:
        """The size of the letters (1: as usual) and the height of the pictures with which everything has room."""
        scale = 1.0
        while True:
            left = self._inner.height() - self._text_mm(scale)
            if not self.pictures and (left >= 0 or scale <= _SMALLEST):
                return scale, 0.0
            if self.pictures and (left >= _LEAST_PICTURE_MM or scale <= _SMALLEST):
                return scale, min(max(left, 0.0), _MOST_PICTURE_MM)
            scale *= _SMALLER

    def _text_mm(self, scale: float) -> float:
        """How high everything but the pictures is."""
        captions = [Paragraph(one.caption, 2.6) for one in self.pictures]
        caption = max((height_of([one], self._picture_width, scale) for one in captions), default=0.0)
        findings = sum(self._finding_mm(lines, finding, scale) for lines, finding in self.findings)
        columns = max(height_of(side, self._half, scale) for side in (self.left, self.right))
        return self._head_mm(scale) + caption + findings + columns + self._foot_mm(scale) + 5 * _GAP_MM * scale

    @property
    def _picture_width(self) -> float:
        n = max(len(self.pictures), 1)
        return (self._inner.width() - _GAP_MM * (n - 1)) / n

    def _head_mm(self, scale: float) -> float:
        return height_of(self._titles, self._inner.width(), scale) + _GAP_MM * scale + max(
            height_of(side, self._half, scale) for side in self.head
        )  # fmt: skip

    @property
    def _titles(self) -> tuple[Paragraph, ...]:
        light = theme.THEMES["light"]
        return (
            Paragraph(self.title, 5.4, True, before_mm=0),
            Paragraph(self.model_title, 3.6),
            Paragraph(self.warning, 3.4, True, light.alarm, 1.2),
        )

    def _finding_mm(self, lines: tuple[Paragraph, ...], finding: Finding | None, scale: float) -> float:
        bar = _BAR_MM * scale if finding is not None else 0.0
        return max(height_of(lines[:2], self._half, scale), bar) + height_of(lines[2:], self._inner.width(), scale)

    def _foot_mm(self, scale: float) -> float:
        return height_of(self.origin, self._inner.width(), scale) + height_of([self._last], self._inner.width(), scale)

    @property
    def _last(self) -> Paragraph:
        return Paragraph(self.warning, 2.6, True, theme.THEMES["light"].alarm, 1.2)

    def _paint_head(self, painter: QPainter, scale: float) -> float:
        inner = self._inner
        at = paint_paragraphs(painter, self._titles, inner.topLeft(), inner.width(), scale) + _GAP_MM * scale / 2
        _rule(painter, inner.left(), inner.right(), at)
        at += _GAP_MM * scale / 2
        lefts = (inner.left(), inner.left() + self._half + _GAP_MM)
        ends = [
            paint_paragraphs(painter, side, QPointF(left, at), self._half, scale)
            for side, left in zip(self.head, lefts, strict=True)
        ]
        return max(ends) + _GAP_MM * scale

    def _paint_pictures(self, painter: QPainter, at: float, height_mm: float, scale: float) -> float:
        if not self.pictures:
            return at
        captions = [Paragraph(one.caption, 2.6) for one in self.pictures]
        lowest = at
        for index, (one, caption) in enumerate(zip(self.pictures, captions, strict=True)):
            room = QRectF(
                self._inner.left() + index * (self._picture_width + _GAP_MM), at, self._picture_width, height_mm
            )
            bottom = _paint_picture(painter, room, one, scale)
            corner = QPointF(room.left(), bottom)
            lowest = max(lowest, paint_paragraphs(painter, [caption], corner, self._picture_width, scale))
        return lowest + _GAP_MM * scale

    def _paint_findings(self, painter: QPainter, at: float, scale: float) -> float:
        inner = self._inner
        _rule(painter, inner.left(), inner.right(), at - _GAP_MM * scale / 2)
        for lines, finding in self.findings:
            top = at
            at = paint_paragraphs(painter, lines[:2], QPointF(inner.left(), top), self._half, scale)
            if finding is not None:
                place = QRectF(inner.left() + self._half + _GAP_MM, top, self._half, _BAR_MM * scale)
                _paint_scale(painter, place, finding, self.scale_words, scale)
                at = max(at, place.bottom())
            at = paint_paragraphs(painter, lines[2:], QPointF(inner.left(), at), inner.width(), scale)
        return at + _GAP_MM * scale

    def _paint_columns(self, painter: QPainter, at: float, scale: float) -> float:
        inner = self._inner
        _rule(painter, inner.left(), inner.right(), at - _GAP_MM * scale / 2)
        right = QPointF(inner.left() + self._half + _GAP_MM, at)
        return max(
            paint_paragraphs(painter, self.left, QPointF(inner.left(), at), self._half, scale),
            paint_paragraphs(painter, self.right, right, self._half, scale),
        )

    def _paint_foot(self, painter: QPainter, scale: float) -> None:
        inner = self._inner
        top = inner.bottom() - self._foot_mm(scale)
        _rule(painter, inner.left(), inner.right(), top - 0.6 * scale)
        top = paint_paragraphs(painter, self.origin, QPointF(inner.left(), top), inner.width(), scale)
        paint_paragraphs(painter, [self._last], QPointF(inner.left(), top), inner.width(), scale)


def _rule(painter: QPainter, left: float, right: float, at: float) -> None:
    painter.setPen(QPen(theme.color(theme.THEMES["light"].edge), _RULE_MM))
    painter.drawLine(QPointF(left, at), QPointF(right, at))


def _paint_picture(painter: QPainter, room: QRectF, shown: Shown, scale: float) -> float:
    """Paint a picture as large as there is room, in the middle, with the letters at its sides; returns its bottom."""
    pixels = np.ascontiguousarray(shown.make())
    rows, columns = pixels.shape[:2]
    image = QImage(pixels.data, columns, rows, columns * 3, QImage.Format.Format_RGB888)
    share = min(room.width() / columns, room.height() / (rows * shown.aspect))
    width, height = columns * share, rows * shown.aspect * share
    place = QRectF(room.left() + (room.width() - width) / 2, room.top(), width, height)
    dots = painter.deviceTransform().mapRect(place).width()
    if image.width() > dots > 1:  # else Qt would leave out pixels instead of mixing them
        image = image.scaledToWidth(round(dots), Qt.TransformationMode.SmoothTransformation)
    painter.drawImage(place, image)
    size = 3.4 * scale
    if min(width, height) > 6 * size:
        for words, left in ((shown.letters.left, place.left() + 1), (shown.letters.right, place.right() - 1 - size)):
            if words:
                box = QRectF(left, place.center().y() - size * 0.7, size, size * 1.4)
                painter.fillRect(box, theme.color(theme.INK, 0.6))
                letter = Paragraph(words[:1], 3.4, True, theme.PAPER, 0)
                paint_paragraphs(painter, [letter], QPointF(left + size * 0.2, box.top()), size, scale)
    return place.bottom()


def _paint_scale(painter: QPainter, place: QRectF, finding: Finding, words: str, scale: float) -> None:
    """The probability on a line from 0 to 1, with its threshold and how far it moves under small changes."""
    light = theme.THEMES["light"]
    left, right, middle = place.left() + 4, place.right() - 4, place.top() + 2.6 * scale
    tint = light.caution if finding.flagged else light.accent

    def x_of(probability: float) -> float:
        return left + (right - left) * min(max(probability, 0.0), 1.0)

    painter.setPen(QPen(theme.color(light.edge), 0.4))
    painter.drawLine(QPointF(left, middle), QPointF(right, middle))
    for end, at in (("0", place.left()), ("1", place.right() - 2.0)):
        number = Paragraph(end, 2.6, before_mm=0)
        paint_paragraphs(painter, [number], QPointF(at, middle - 1.7 * scale), 4, scale)
    if finding.stability is not None:
        low, high = (x_of(value) for value in finding.stability)
        painter.fillRect(QRectF(low, middle - 0.9, max(high - low, 0.3), 1.8), theme.color(tint, 0.3))
    at = x_of(finding.threshold)
    painter.setPen(QPen(theme.color(theme.INK), 0.5))
    painter.drawLine(QPointF(at, middle - 2), QPointF(at, middle + 2.2))
    label = Paragraph(words.format(t=threshold_of(finding)), 2.6, before_mm=0)
    width = (right - left) / 2
    start = min(max(at - 8, place.left()), place.right() - width)
    paint_paragraphs(painter, [label], QPointF(start, middle + 2.4), width, scale)
    painter.setPen(QPen(theme.color(theme.PAPER), 0.3))
    painter.setBrush(theme.color(tint))
    x, half = x_of(finding.probability), 1.5
    painter.drawPolygon([QPointF(x + dx, middle + dy) for dx, dy in ((0, -half), (half, 0), (0, half), (-half, 0))])
    painter.setBrush(Qt.BrushStyle.NoBrush)
