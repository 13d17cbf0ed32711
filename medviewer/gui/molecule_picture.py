"""A molecule with the atoms that an answer rests on, painted on the screen and as a picture to be copied."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import QByteArray, QPointF, QRectF, Qt
from PySide6.QtGui import QImage, QPainter
from PySide6.QtSvg import QSvgRenderer

from medviewer.domain.anchor import Atom
from medviewer.domain.answer import Attribution
from medviewer.gui import theme
from medviewer.gui.diverging import FAINT, STRONG, pen, shares, tint
from medviewer.gui.text import tr, visible
from medviewer.inference.molecule_drawing import BOND, Drawing

_ON_SCREEN = 1.8  # the largest scale: a small molecule stays one
_IN_PICTURE = 4.0
_RADIUS = 0.4 * BOND
_PICTURE_PX = (1200, 1000)
_DRAWN_PX = 740  # of the height; below it stands what the picture shows
_MARGIN_PX = 40
_LETTER_PX, _LINE_PX = 24, 38


class MoleculePainter:
    """Paints one drawing into any rectangle, no more than ``most`` times its size; knows which atom lies where."""

    def __init__(self, drawing: Drawing, most: float = _ON_SCREEN) -> None:
        self.drawing, self._most = drawing, most
        self._svg = QSvgRenderer(QByteArray(drawing.svg))

    def place(self, room: QRectF) -> tuple[float, QPointF]:
        """The scale and the upper left corner with which the drawing lies in the middle of a rectangle."""
        width, height = self.drawing.width, self.drawing.height
        scale = min(room.width() / width, room.height() / height, self._most)
        size = QPointF(width * scale, height * scale)
        return scale, room.center() - size / 2

    def atom_at(self, point: QPointF, room: QRectF) -> int | None:
        """The atom under a point, the nearest one within reach."""
        scale, corner = self.place(room)
        far = [(point - self._on(index, scale, corner)).manhattanLength() for index in range(len(self.drawing.atoms))]
        nearest = min(range(len(far)), key=far.__getitem__, default=None)
        return nearest if nearest is not None and far[nearest] <= _RADIUS * scale * 1.2 else None

    def centre(self, index: int, room: QRectF) -> QPointF:
        """Where an atom lies."""
        return self._on(index, *self.place(room))

    def paint(
        self,
        painter: QPainter,
        room: QRectF,
        strengths: Mapping[int, float],
        t: theme.Tokens,
        chosen: int | None = None,
    ) -> None:
        """Draw tints and rings, then the molecule over them.

        Args:
            painter: on what.
            room: where.
            strengths: share of each atom, -1..1.
            t: colours; those of the ground decide, not those of the window.
            chosen: an atom with the focus.
        """
        scale, corner = self.place(room)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        radius = _RADIUS * scale
        for index, share in strengths.items():
            if abs(share) >= FAINT:
                painter.setBrush(tint(share, t))
                painter.setPen(pen(share, 3.0 if abs(share) >= STRONG else 1.4, t))
                painter.drawEllipse(self._on(index, scale, corner), radius, radius)
        if chosen is not None:
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(pen(1.0, 2.0, t))
            around = radius + 4
            at = self._on(chosen, scale, corner)
            painter.drawRect(QRectF(at.x() - around, at.y() - around, 2 * around, 2 * around))
        self._svg.render(
            painter, QRectF(corner.x(), corner.y(), self.drawing.width * scale, self.drawing.height * scale)
        )

    def _on(self, index: int, scale: float, corner: QPointF) -> QPointF:
        x, y, _symbol = self.drawing.atoms[index]
        return corner + QPointF(x, y) * scale


def strengths_of(why: Attribution | None) -> dict[int, float]:
    """The share of each atom of an explanation."""
    if why is None:
        return {}
    pairs = zip(why.anchors, shares(why.saliency.tolist()), strict=True)
    return {anchor.index: share for anchor, share in pairs if isinstance(anchor, Atom)}


def molecule_picture(drawing: Drawing, why: Attribution | None, model: str, target: str) -> QImage:
    """A picture on white that says by itself what it shows, and what it is not for.

    Args:
        drawing: with dark lines.
        why: the explanation that is painted; None for the molecule alone.
        model: the model's title and version.
        target: what is explained.
    """
    t = theme.THEMES["light"]
    width, height = _PICTURE_PX
    made = QImage(width, height, QImage.Format.Format_RGB32)
    made.fill(theme.color(theme.PAPER))
    painter = QPainter(made)
    try:
        room = QRectF(_MARGIN_PX, _MARGIN_PX, width - 2 * _MARGIN_PX, _DRAWN_PX - _MARGIN_PX)
        MoleculePainter(drawing, _IN_PICTURE).paint(painter, room, strengths_of(why), t)
        painter.setFont(theme.text_font(_LETTER_PX))
        lines = [(0.0, visible(drawing.smiles))]
        if why is not None:
            lines += [(0.0, model), (1.0, tr("speaks for “{label}”").format(label=target))]
            lines += [(-1.0, tr("speaks against it"))]
        lines.append((0.0, tr("Research use only - not for diagnosis")))
        for number, (share, words) in enumerate(lines):
            _line(painter, _DRAWN_PX + 20 + number * _LINE_PX, share, words, t)
    finally:
        painter.end()
    return made


def _line(painter: QPainter, top: float, share: float, words: str, t: theme.Tokens) -> None:
    left = float(_MARGIN_PX)
    if share:
        painter.setBrush(tint(share, t))
        painter.setPen(pen(share, 3.0, t))
        painter.drawEllipse(QRectF(left + 2, top + 5, 24, 24))
        left += 40
    painter.setPen(theme.color(theme.INK))
    room = QRectF(left, top, _PICTURE_PX[0] - _MARGIN_PX - left, _LINE_PX)
    shown = painter.fontMetrics().elidedText(words, Qt.TextElideMode.ElideMiddle, int(room.width()))
    painter.drawText(room, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, shown)
