"""What is made of a whole stack waits until all files that were opened have been looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from medviewer.domain.errors import MedViewerError

if TYPE_CHECKING:  # commands act on the application, which holds their table
    from medviewer.app.application import Application

WAITING = "The files are still being looked at: this needs the whole stack, and comes when they all are."
CUT_SHORT = (
    "Opening was stopped before all files were looked at: this may be a part of the stack. Open it again for all."
)


def when_all_found(app: Application, then: Callable[[], None]) -> None:
    """Do something with the stack on screen: at once, or when no more of its images can be found.

    A part of a stack has gaps where files come in another order than the slices lie, and ends where nothing ends in
    the patient. What waits is forgotten if the reader goes to another stack, cancels, or asks for something else.
    """
    now = app.state.selection
    if now is None:
        return
    if app.wishes.is_whole or "open" not in app.jobs.running:
        then()
        if not app.wishes.is_whole:
            app.notify("caution", CUT_SHORT)
        return
    key = now.image.key

    def go_on() -> None:
        latest = app.state.selection
        if latest is not None and any(image.key == key for image in latest.stack.images):
            then()

    app.wishes.when_found = go_on
    app.notify("info", WAITING)


def all_found(app: Application) -> None:
    """Do what waited, now that the files have been looked at."""
    then, app.wishes.when_found = app.wishes.when_found, None
    if then is None:
        return
    if app.state.notice is not None and app.state.notice.text == WAITING:
        app.notify("info", "")
    try:
        then()
    except MedViewerError as error:
        app.notify("alarm", str(error))
