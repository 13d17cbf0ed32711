"""Presentation states that lie beside the images: offered for the images that they name, shown, put aside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medviewer.app.on_screen import presentations_of
from medviewer.app.state import State, View
from medviewer.app.viewing import change_view
from medviewer.domain.errors import MedViewerError
from medviewer.domain.presentation import PresentationState
from medviewer.domain.progress import Progress, StopToken
from medviewer.domain.study import Collection
from medviewer.imaging.presentation_reading import NotPresentationStateError, read_presentation_state

if TYPE_CHECKING:  # commands act on the application, which holds their table
    from medviewer.app.application import Application

_MOST_STATES = 500  # of the files without an image that lie beside the images


def look_for_presentations(app: Application, collection: Collection) -> None:
    """Read the presentation states that lie beside the images; what is none of them is passed over."""
    paths = [problem.path for problem in collection.problems if problem.status == "read"][:_MOST_STATES]
    if not paths:
        return

    def work(stop: StopToken, _progress: Progress) -> tuple[tuple[PresentationState, ...], str]:
        found: dict[str, PresentationState] = {}
        refused = ""
        for path in paths:
            stop.raise_if_stopped()
            try:
                one = read_presentation_state(path)
            except NotPresentationStateError:
                continue
            except MedViewerError as error:
                refused = refused or str(error)
            else:
                found.setdefault(one.sop_instance_uid, one)
        return tuple(found.values()), refused

    def done(read: tuple[tuple[PresentationState, ...], str]) -> None:
        found, refused = read
        app.session.update(presentations=found)
        if refused:  # somebody wished it to be seen
            app.notify("caution", refused)

    app.background.start("presentations", work, done, lambda _error: None)


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
    change_view(app, **changes)
