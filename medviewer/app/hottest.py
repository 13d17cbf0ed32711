"""From a heat map of a stack to the slice, or the planes, where it speaks most for the finding."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from medviewer.app.linking import move_cut, point_at
from medviewer.app.on_screen import current_attribution
from medviewer.app.opening import show_index
from medviewer.app.stack_asking import nearest_slice
from medviewer.app.state import State
from medviewer.domain.errors import UsageError
from medviewer.imaging.reslice import across

if TYPE_CHECKING:  # commands act on the application, which holds their table
    from medviewer.app.application import Application


def has_map(state: State) -> bool:
    """Whether there is a heat map of the stack on screen."""
    found = current_attribution(state)
    return found is not None and found.volume is not None


def show(app: Application, _argument: object) -> None:
    """Show where the heat map of the stack is strongest, in every viewport of the same frame of reference.

    Raises:
        UsageError: nowhere does it speak for the finding.
    """
    now, found = app.state.selection, current_attribution(app.state)
    if now is None or found is None or found.volume is None:
        return
    point = found.volume.hottest
    if point is None:
        raise UsageError("Nowhere does the heat map speak for the finding, so there is no slice to go to.")
    if app.state.cut is not None:
        normal = across(app.state.cut.plane, app.state.cut.axes)
        move_cut(app, app.state.active, replace(app.state.cut, at_mm=float(point @ normal)))
    else:
        show_index(app, nearest_slice(now, point))
    point_at(app, (float(point[0]), float(point[1]), float(point[2])))
