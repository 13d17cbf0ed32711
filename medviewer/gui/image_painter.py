"""The pixels of an image on the screen, and a glass over them that shows a part of them larger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from PySide6.QtCore import QPointF, QRectF, QSizeF, Qt
from PySide6.QtGui import QFont, QImage, QPainter, QPainterPath, QPen

from medviewer.app.layer_planes import Laid
from medviewer.app.picture import Patch, Picture
from medviewer.app.state import State
from medviewer.domain.frozen import dataclass
from medviewer.gui import theme
from medviewer.gui.drawings import DrawingsLayer
from medviewer.gui.layer_painter import LayerPainter
from medviewer.gui.measurement_layer import Shape, paint_lines_only
from medviewer.gui.overlay import OverlayLayer
from medviewer.gui.placing import Placement
from medviewer.gui.shutter_layer import ShutterLayer

GLASS_PX = 230  # across
_LARGER = 2.0  # than around it, and at least one pixel of the screen for each of the image
_LABEL_PX = 22


@dataclass(slots=True)
class _Drawn:
    """The last part of the image that was looked up, and for what."""

    key: tuple[object, ...]
    patch: Patch
    image: QImage


class ImagePainter:
    """Draws what can be seen of one image; what was looked up is kept until it is another part or another window."""

    def __init__(self) -> None:
        self._drawn: _Drawn | None = None

    def paint(self, painter: QPainter, placed: Placement, picture: Picture, sharpness: float = 1.0) -> int:
        """Draw the visible part; returns the level it was drawn from.

        ``sharpness`` is how many pixels there are for one of the screen, on paper.
        """
        view = placed.view
        level = picture.level_for(placed.zoom * sharpness * min(1.0, placed.aspect))
        key = (picture, view.window, view.inverted, view.palette, level, placed.visible_part())
        if self._drawn is None or self._drawn.key != key:
            patch = picture.draw(view.window, view.inverted, level, placed.visible_part(), view.palette)
            rows, columns = patch.pixels.shape
            image = QImage(patch.pixels.data, columns, rows, columns * 4, QImage.Format.Format_RGB32)
            self._drawn = _Drawn(key, patch, image)
        patch, image = self._drawn.patch, self._drawn.image
        scale = 2**patch.level
        painter.save()
        # One to one needs no interpolation: each pixel is itself.
        is_exact = placed.zoom == placed.aspect == sharpness == 1.0
        smooth = (view.smooth or level > 0) and not is_exact
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, smooth)
        painter.setTransform(placed.transform, True)
        whole = QRectF(0, 0, placed.columns, placed.rows)  # a halved odd edge is a pixel wider than the image
        painter.setClipRect(whole, Qt.ClipOperation.IntersectClip)
        painter.drawImage(QRectF(patch.column, patch.row, image.width() * scale, image.height() * scale), image)
        painter.restore()
        return level


class Seen(NamedTuple):
    """What a viewport shows: its state, the pixels, the layers, and what is measured or being measured."""

    state: State
    picture: Picture
    laid: Sequence[Laid]
    shapes: Sequence[Shape]


class Magnifier:
    """A round glass at the mouse: the image larger, with all that lies over it or covers it, and without words."""

    def __init__(self) -> None:
        # Of its own: those of the viewport keep what they drew of all of the image.
        self._image = ImagePainter()
        self._layers = LayerPainter()
        self._shutters = ShutterLayer()
        self._overlay = OverlayLayer()
        self._drawings = DrawingsLayer()

    def paint(self, painter: QPainter, seen: Seen, placed: Placement, at: QPointF) -> None:
        """Draw the glass with what lies under ``at`` in its middle."""
        state = seen.state
        t = theme.tokens()
        near = glass_placement(placed, at)
        room = QRectF(at.x() - GLASS_PX / 2, at.y() - GLASS_PX / 2, GLASS_PX, GLASS_PX)
        round_path = QPainterPath()
        round_path.addEllipse(room)
        painter.save()
        painter.setClipPath(round_path)
        painter.fillRect(room, theme.color(t.viewport))
        painter.translate(room.topLeft())
        self._image.paint(painter, near, seen.picture)
        self._layers.paint(painter, near, seen.laid)
        self._shutters.paint(painter, state, near)
        self._overlay.paint(painter, state, near.transform, near.size, near.ratio)
        self._drawings.paint(painter, state, near.transform)
        paint_lines_only(painter, near, seen.shapes)
        painter.restore()
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for ink, width in ((theme.color(t.viewport), 4.0), (theme.color(t.overlay_text), 1.5)):
            painter.setPen(QPen(ink, width))
            painter.drawEllipse(room)
        painter.setFont(theme.text_font(theme.SMALL_PX, QFont.Weight.DemiBold))
        label = QRectF(room.left(), room.bottom() - _LABEL_PX - 4, room.width(), _LABEL_PX)
        words = f"× {near.zoom / placed.zoom:.3g}"
        painter.setPen(theme.color(t.viewport, 0.75))
        for x, y in ((-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (1, 1), (-1, 1), (1, -1)):
            painter.drawText(label.translated(x, y), Qt.AlignmentFlag.AlignCenter, words)
        painter.setPen(theme.color(t.overlay_text))
        painter.drawText(label, Qt.AlignmentFlag.AlignCenter, words)
        painter.restore()


def glass_placement(placed: Placement, at: QPointF) -> Placement:
    """How the image lies in the glass, which is a viewport of its own: what is under ``at`` is in its middle."""
    zoom = max(_LARGER * placed.zoom, 1.0)
    view = replace(placed.view, zoom=zoom, center=placed.image_point(at))
    return replace(placed, size=QSizeF(GLASS_PX, GLASS_PX), view=view, area=None)
