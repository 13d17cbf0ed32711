"""Questions about what is on screen: an answer holds only for what was there when it was asked for.

While a dialog waits for the reader the program goes on: a folder that is being opened arrives, a model answers, a cine
would play.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from medviewer.app.on_screen import pane_state, scene_of
from medviewer.app.panes import pane_numbers
from medviewer.app.state import State

if TYPE_CHECKING:  # commands act on the application, which holds their table
    from medviewer.app.application import Application

T = TypeVar("T")

SCREEN_CHANGED = (
    "What is on screen changed while you were asked, so nothing was saved or printed: look at it and try again."
)


def ask_of_screen(
    app: Application, ask: Callable[[], T | None], concerned: Callable[[State], object] | None = None
) -> T | None:
    """What the reader answers to a question about what is on screen; None, and it is said, where that is gone by then.

    Args:
        app: whose cine is stopped first, so that what the reader looks at stays.
        ask: the question; None is no answer.
        concerned: what of the state it is about; without it what the active viewport shows.
    """
    concerned = concerned or shown
    app.session.update(is_playing=False)
    before = concerned(app.state)
    answer = ask()
    if answer is not None and concerned(app.state) != before:
        app.notify("caution", SCREEN_CHANGED)
        return None
    return answer


def shown(state: State) -> object:
    """What the active viewport shows, and how: the image or plane, the 3D view before it, the document before both."""
    scene, reading = scene_of(state), state.reading
    return (
        state.selection.image.key if state.selection is not None else None,
        state.cut,
        state.view,
        scene.volume_key if scene is not None else None,
        reading.document.key if reading is not None else None,
    )


def shown_everywhere(state: State) -> object:
    """The same of every viewport, and which of them is the active one."""
    return state.active, *((index, shown(pane_state(state, index))) for index in pane_numbers(state))
