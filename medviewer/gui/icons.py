"""Icons: one set (Lucide, and ours in its style), tinted by the theme's tokens.

An icon never stands alone: beside it is a word, or a tooltip with its shortcut.
"""

from __future__ import annotations

from dataclasses import fields
from functools import lru_cache

from PySide6.QtCore import QByteArray, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QGuiApplication, QIcon, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QLabel, QWidget

from medviewer.gui import theme
from medviewer.resources import resource

ICON_PX = 16
_SIZES_PX = (16, 20, 24, 32, 40, 48, 64)  # 16-24 px at 100 % to 266 %
_LARGEST_PX = 24  # at 100 %


def icon(name: str, tint: str | None = None) -> QIcon:
    """The icon of this name, for buttons and menus, sharp at any scale of the screen.

    Args:
        name: a file of ``resources/icons`` without its ending, e.g. ``folder-open``.
        tint: a colour token's value; by default the text colour, accent while checked.

    Raises:
        FileNotFoundError: there is no such icon.
    """
    t = theme.tokens()
    made = _icon(name, tint or t.text, tint or t.accent, t.edge, _sizes_px(_finest_ratio()))
    _made[made.cacheKey()] = (name, tint)
    return made


def retinted(worn: QIcon, before: theme.Tokens) -> QIcon:
    """The same icon in the theme in use; ``before`` are the tokens that it was made with. Others stay as they are."""
    name, tint = _made.get(worn.cacheKey(), ("", None))
    return icon(name, in_theme(tint, before) if tint else None) if name else worn


def in_theme(tint: str, before: theme.Tokens) -> str:
    """The colour of the theme in use that is for the same as ``tint`` was in the theme before."""
    named = next((entry.name for entry in fields(before) if getattr(before, entry.name) == tint), "")
    return str(getattr(theme.tokens(), named)) if named else tint


_made: dict[int, tuple[str, str | None]] = {}  # how each icon was asked for


def pixmap(name: str, tint: str, size_px: int = ICON_PX, ratio: float | None = None) -> QPixmap:
    """The icon as a picture of ``size_px`` logical pixels; ``ratio`` is the screen's scale."""
    scale = ratio or _screen_ratio()
    drawn = QPixmap(_draw(name, tint, round(size_px * scale)))  # the scale is set on a copy of its own
    drawn.setDevicePixelRatio(scale)
    return drawn


class IconLabel(QLabel):
    """A small icon in the text, beside the word that says the same."""

    def __init__(self, name: str, tint: str, size_px: int = ICON_PX, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFixedSize(QSize(size_px, size_px))
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.set_icon(name, tint)

    def set_icon(self, name: str, tint: str) -> None:
        """Show another icon or another tint."""
        self._shown = (name, tint)
        self.setPixmap(pixmap(name, tint, self.width(), self.devicePixelRatioF()))

    def retint(self, before: theme.Tokens) -> None:
        """Show the same icon in the theme in use."""
        name, tint = self._shown
        self.set_icon(name, in_theme(tint, before))


@lru_cache(maxsize=512)
def _icon(name: str, plain: str, checked: str, disabled: str, sizes_px: tuple[int, ...]) -> QIcon:
    made = QIcon()
    states = (
        (plain, QIcon.Mode.Normal, QIcon.State.Off),
        (checked, QIcon.Mode.Normal, QIcon.State.On),
        (disabled, QIcon.Mode.Disabled, QIcon.State.Off),
        (disabled, QIcon.Mode.Disabled, QIcon.State.On),
    )
    for tint, mode, state in states:
        for size in sizes_px:
            made.addPixmap(_draw(name, tint, size), mode, state)
    return made


@lru_cache(maxsize=1024)
def _draw(name: str, tint: str, size: int) -> QPixmap:
    drawn = QPixmap(_shape(name, size))
    painter = QPainter(drawn)
    try:
        painter.setCompositionMode(QPainter.CompositionMode.CompositionMode_SourceIn)
        painter.fillRect(drawn.rect(), QColor(tint))
    finally:
        painter.end()
    return drawn


@lru_cache(maxsize=512)
def _shape(name: str, size: int) -> QPixmap:
    """What is drawn, in no tint yet: icons were most of the time in which the window was made."""
    drawn = QPixmap(size, size)
    drawn.fill(Qt.GlobalColor.transparent)
    painter = QPainter(drawn)
    try:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        _renderer(name).render(painter, QRectF(0, 0, size, size))
    finally:
        painter.end()
    return drawn


@lru_cache(maxsize=256)
def _renderer(name: str) -> QSvgRenderer:
    """Parsed once for all sizes and tints."""
    drawing = resource(f"icons/{name}.svg").read_text(encoding="utf-8")
    renderer = QSvgRenderer(QByteArray(drawing.replace("currentColor", "black").encode()))
    if not renderer.isValid():
        raise FileNotFoundError(f"MedViewer's installation is damaged: icons/{name}.svg; install it again.")
    return renderer


def _sizes_px(ratio: float) -> tuple[int, ...]:
    """What the screens need, and the largest, which Qt makes smaller for a finer one that is plugged in later."""
    return tuple(size for size in _SIZES_PX if size <= _LARGEST_PX * ratio or size == _SIZES_PX[-1])


def _finest_ratio() -> float:
    return max((screen.devicePixelRatio() for screen in QGuiApplication.screens()), default=1.0)


def _screen_ratio() -> float:
    app = QGuiApplication.instance()
    return app.devicePixelRatio() if isinstance(app, QGuiApplication) else 1.0
