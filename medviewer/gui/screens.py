"""Where image windows stand: kept for each arrangement of screens, and never where no screen is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from PySide6.QtCore import QByteArray, QPoint, QRect, QSize
from PySide6.QtGui import QGuiApplication, QScreen
from PySide6.QtWidgets import QWidget

_LEAST_SEEN = QSize(160, 96)  # logical px of a window that must lie on a screen, to be seen and grasped
_SHARE = 0.6  # of the screen for a second window where there is no second screen
_MOST_KEPT = 16  # arrangements of screens


class Place(NamedTuple):
    """Where the second image window was and what shape it had; ``geometry`` is Qt's, as text."""

    geometry: str = ""
    shape: tuple[int, int] = (1, 1)
    is_open: bool = False

    @property
    def text(self) -> str:
        """As the settings keep it."""
        return f"{self.geometry} {self.shape[0]}x{self.shape[1]} {int(self.is_open)}"


def place_of(text: str) -> Place:
    """A place as it was kept; the usual one if that was not by us."""
    parts = text.split(" ")
    shape = parts[1].split("x") if len(parts) == 3 else []
    if len(shape) != 2 or not all(part in ("1", "2", "3", "4") for part in shape):
        return Place()
    return Place(parts[0], (int(shape[0]), int(shape[1])), parts[2] == "1")


def arrangement() -> str:
    """The screens as they stand now: the same text only for the same screens at the same places."""
    found = []
    for screen in QGuiApplication.screens():
        g = screen.geometry()
        found.append(f"{screen.name()}:{g.width()}x{g.height()}{g.x():+}{g.y():+}@{screen.devicePixelRatio():g}")
    return "|".join(sorted(found))


def kept(layout: Mapping[str, str], name: str, value: str) -> dict[str, str]:
    """The settings with what is kept of a window for the screens of now; the oldest arrangement may go for it."""
    key = f"{name}|{arrangement()}"
    others = {k: v for k, v in layout.items() if k != key}
    of_name = [k for k in others if k.startswith(f"{name}|")]
    for old in of_name[: max(len(of_name) - _MOST_KEPT + 1, 0)]:
        del others[old]
    return {**others, key: value}


def kept_for_now(layout: Mapping[str, str], name: str) -> str:
    """What was kept of a window for the screens of now; empty if nothing was."""
    return layout.get(f"{name}|{arrangement()}", "")


def geometry_text(window: QWidget) -> str:
    """Where a window is, to be kept."""
    return bytes(window.saveGeometry().toBase64().data()).decode()


def restore(window: QWidget, geometry: str) -> bool:
    """Put a window where it was, if that can be seen; says whether it was done."""
    before = window.geometry()
    if geometry and window.restoreGeometry(QByteArray.fromBase64(geometry.encode("ascii", "ignore"))):
        if is_seen(window.geometry()):
            return True
        window.setGeometry(before)
    return False


def is_seen(place: QRect) -> bool:
    """Whether so much of a place lies on a screen that a window there can be seen and grasped."""
    for screen in QGuiApplication.screens():
        both = screen.availableGeometry().intersected(place)
        if both.width() >= _LEAST_SEEN.width() and both.height() >= _LEAST_SEEN.height():
            return True
    return False


def place_beside(window: QWidget, other: QWidget) -> None:
    """Give a window a screen that another one is not on, all of it; a part of the only screen where there is one."""
    screen = next((one for one in QGuiApplication.screens() if one is not other.screen()), None)
    if screen is not None:
        _fill(window, screen)
        return
    room = other.screen().availableGeometry()
    size = QSize(round(room.width() * _SHARE), round(room.height() * _SHARE))
    corner = room.bottomRight() - QPoint(size.width(), size.height())
    window.setGeometry(QRect(corner, size))


def to_next_screen(window: QWidget) -> bool:
    """Move a window to the next screen, as large as it was if it fits; says whether there is another screen."""
    screens = QGuiApplication.screens()
    if len(screens) < 2:
        return False
    here = window.screen()
    there = screens[(screens.index(here) + 1) % len(screens)]
    if window.isMaximized() or window.isFullScreen():
        _fill(window, there)
        return True
    old, new = here.availableGeometry(), there.availableGeometry()
    size = window.size().boundedTo(new.size())
    offset = window.geometry().topLeft() - old.topLeft()
    x = min(max(offset.x(), 0), new.width() - size.width())
    y = min(max(offset.y(), 0), new.height() - size.height())
    window.setGeometry(QRect(new.topLeft() + QPoint(x, y), size))
    return True


def bring_back(window: QWidget, other: QWidget) -> None:
    """Where the screen of a window was taken away, put the window where it can be seen."""
    if window.isVisible() and not is_seen(window.geometry()):
        window.showNormal()
        place_beside(window, other)


def _fill(window: QWidget, screen: QScreen) -> None:
    """Give a window all of a screen."""
    window.showNormal()
    window.setGeometry(screen.availableGeometry())
    window.showMaximized()
