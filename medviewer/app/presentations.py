"""Presentation states that lie beside the images: offered for the images that they name, shown, put aside."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from medviewer.app.on_screen import presentations_of
from medviewer.app.panes import read_pane
from medviewer.app.state import State, View
from medviewer.app.viewing import change_view
from medviewer.domain.errors import MedViewerError
from medviewer.domain.presentation import KeyObjects, PresentationState
from medviewer.domain.progress import StopToken
from medviewer.domain.study import Collection
from medviewer.imaging.key_object_reading import KEY_OBJECT_SELECTION, read_key_objects
from medviewer.imaging.presentation_reading import NotPresentationStateError, read_presentation_state
from medviewer.imaging.scan import documents_of

if TYPE_CHECKING:  # commands act on the application, which holds their table
    from medviewer.app.application import Application

_MOST_STATES = 500  # of the files without an image that lie beside the images, and of documents


class _Found(NamedTuple):
    """What lies beside the images: how they wish to be seen, and which of them matter."""

    presentations: tuple[PresentationState, ...]
    key_objects: tuple[KeyObjects, ...]
    refused: str  # why the first that cannot be shown cannot


def look_for_presentations(app: Application, collection: Collection) -> None:
    """Read the presentation states and key object documents that lie beside the images; other files are passed over."""
    paths = [problem.file for problem in collection.problems if problem.status == "read"][:_MOST_STATES]
    # Key object documents can be read as text too, so they are no problem.
    paths += [one.file for one in documents_of(collection) if one.sop_class_uid == KEY_OBJECT_SELECTION][:_MOST_STATES]
    if not paths:
        return

    def done(found: _Found) -> None:
        app.session.update(presentations=found.presentations, key_objects=found.key_objects)
        if found.refused:  # somebody wished it to be seen
            app.notify("caution", found.refused)

    app.background.start("presentations", lambda stop, _progress: _read(paths, stop), done, lambda _error: None)


def _read(paths: Sequence[Path], stop: StopToken) -> _Found:
    states: dict[str, PresentationState] = {}
    documents: dict[str, KeyObjects] = {}
    refused = ""
    for path in paths:
        stop.raise_if_stopped()
        try:
            one = read_presentation_state(path)
            states.setdefault(one.sop_instance_uid, one)
        except NotPresentationStateError:
            with contextlib.suppress(MedViewerError):  # neither of both: the problem list names the file
                document = read_key_objects(path)
                documents.setdefault(document.sop_instance_uid, document)
        except MedViewerError as error:
            refused = refused or str(error)
    return _Found(tuple(states.values()), tuple(documents.values()), refused)


def has_presentations(state: State) -> bool:
    """Whether there is a presentation state for the image on screen, or one is shown."""
    return bool(presentations_of(state)) or bool(state.view.presentation)


def show_next(app: Application, _argument: object) -> None:
    """Show the image as the next of its presentation states says; after the last as it is."""
    offered = [one.sop_instance_uid for one in presentations_of(app.state)]
    now = app.state.view.presentation
    after = offered.index(now) + 1 if now in offered else 0
    is_last = after >= len(offered) or (bool(now) and now not in offered)
    show(app, "" if is_last else offered[after])


def show(app: Application, uid: str) -> None:
    """Show the image as a presentation state says; "" puts the one that is shown aside. Can be undone."""
    one = next((one for one in presentations_of(app.state) if one.sop_instance_uid == uid), None)
    fresh = View(smooth=app.state.view.smooth)
    changes = {name: getattr(fresh, name) for name in View.__dataclass_fields__}
    if one is not None:
        changes |= {
            "presentation": uid,
            "quarter_turns": one.quarter_turns,
            "flip_horizontal": one.flip_horizontal,
        }
    app.session.settle()
    needs_colors = not _has_colors(app, one)
    if needs_colors:  # first, so that nothing paints the pixels meanwhile and has their colours managed there
        app.session.update(frame=None)
    change_view(app, **changes)
    if needs_colors:
        read_pane(app, app.state.active)


def _has_colors(app: Application, one: PresentationState | None) -> bool:
    """Whether the picture on screen is there with the colours that a presentation state wishes."""
    now = app.state.selection
    profile = one.common.profile if one is not None else None
    if profile is None or now is None or app.state.frame is None:
        return True
    picture = app.frames.get(now.image.key)
    return picture is not None and picture.has_colors_of(profile)
