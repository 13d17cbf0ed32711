"""What is made of a whole stack: it waits until all files have been looked at, and slices in memory are all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from medviewer.app.state import Key, Selection
from medviewer.domain.errors import MedViewerError
from medviewer.domain.volume import Volume

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
        _do(app, then)
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
    _take_back_notice(app)
    try:
        _do(app, then)
    except MedViewerError as error:
        app.notify("alarm", str(error))


def forget_waiting(app: Application) -> None:
    """Nothing waits any more: the reader does not want it."""
    app.wishes.when_found = None
    _take_back_notice(app)


def _do(app: Application, then: Callable[[], None]) -> None:
    then()
    if not app.wishes.is_whole:
        app.notify("caution", CUT_SHORT)


def _take_back_notice(app: Application) -> None:
    if app.state.notice is not None and app.state.notice.text == WAITING:
        app.notify("info", "")


class VolumeInMemory(NamedTuple):
    """The slices that planes are cut from; ``images`` are those that they were read from, in order."""

    key: Key
    volume: Volume
    images: tuple[Key, ...]


def keep_volume(app: Application, selection: Selection, volume: Volume) -> None:
    """Keep the slices of a selection's volume in the place of any others."""
    app.volume = VolumeInMemory(selection.volume_key, volume, _images_of(selection))


def kept_volume(app: Application, selection: Selection) -> Volume | None:
    """The slices of a selection's volume, if all of them are in memory: never those of a part of it."""
    kept = app.volume
    return kept.volume if kept is not None and kept.images == _images_of(selection) else None


def _images_of(selection: Selection) -> tuple[Key, ...]:
    return tuple(image.key for image in selection.stack.volume_at(selection.index).images)
