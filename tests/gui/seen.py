"""What a reader sees of a widget: the words on it, and how to press its buttons."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication, QEvent
from PySide6.QtWidgets import QAbstractButton, QLabel, QWidget

from medviewer.app.state import State


def settle() -> None:
    """Let go of what was taken out of the window."""
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)


def words(widget: QWidget) -> list[str]:
    """The texts of all labels and buttons that are not hidden."""
    settle()
    parts = (part for part in widget.findChildren(QWidget) if part.isVisibleTo(widget))
    return [part.text() for part in parts if isinstance(part, QLabel | QAbstractButton) and part.text()]


TURNS: tuple[tuple[str, ...], ...] = (
    (),
    ("view.flip_horizontal",),
    ("view.rotate_left",),
    ("view.rotate_right", "view.flip_vertical"),
    ("view.flip_vertical", "view.rotate_left", "view.flip_horizontal"),
)
"""Commands that turn an image in ways that no other of them does."""


def all_words(widget: QWidget) -> str:
    return "\n".join(words(widget))


def press(widget: QWidget, title: str) -> None:
    """Click the one button with this title."""
    settle()
    fitting = [b for b in widget.findChildren(QAbstractButton) if b.text() == title and b.isVisibleTo(widget)]
    assert len(fitting) == 1, f"{len(fitting)} buttons are called {title!r}: {words(widget)}"
    assert fitting[0].isEnabled(), f"{title} cannot be pressed"
    fitting[0].click()


def is_offered(widget: QWidget, title: str) -> bool:
    """Whether there is a button with this title that can be pressed."""
    settle()
    buttons = widget.findChildren(QAbstractButton)
    return any(b.text() == title and b.isVisibleTo(widget) and b.isEnabled() for b in buttons)


class Asked:
    """What a panel asked the application for."""

    def __init__(self, panel: QWidget) -> None:
        self.calls: list[tuple[str, object]] = []
        panel.requested.connect(lambda command, argument: self.calls.append((command, argument)))  # type: ignore[attr-defined]


def show(panel: QWidget, *states: State) -> None:
    """Take a panel through states, one after the other, as the session would."""
    old = None
    for state in states:
        panel.show_state(old, state)  # type: ignore[attr-defined]
        old = state
