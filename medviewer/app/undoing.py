"""Undo and redo as commands: what comes back is shown, its pixels read and its planes cut again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from medviewer.app.layout import read_volume_of
from medviewer.app.on_screen import pane_state
from medviewer.app.panes import pane_numbers, show_again

if TYPE_CHECKING:  # commands act on the application, which holds their table
    from medviewer.app.application import Application

UNDO_ELSEWHERE = "The last change was made on another image or viewport: show it again to undo the change."


def undo(app: Application, _argument: object) -> None:
    """Take back the last change; one that is not on screen is not undone unseen, and that is said."""
    if app.session.has_past and not app.session.can_undo:
        app.notify("info", UNDO_ELSEWHERE)
    _go(app, app.session.undo)


def redo(app: Application, _argument: object) -> None:
    """Do again what was taken back."""
    _go(app, app.session.redo)


def _go(app: Application, step: Callable[[], None]) -> None:
    before = app.state
    step()
    now = app.state
    if now is before or now.scene is not None:
        return
    shown = (pane_state(now, index) for index in pane_numbers(now))
    cut = next((one.selection for one in shown if one.cut is not None), None)
    if cut is None:
        show_again(app, before)
    else:  # another series may have been cut meanwhile
        read_volume_of(app, cut, lambda _volume: show_again(app, before))
