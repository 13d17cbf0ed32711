"""Two explanation methods beside each other: the first, the second, where they differ, and the bare image, as one view.

Four viewports show the same image the same way; whatever the reader does to one happens to all. Other
layouts, other planes and the 3D view end it.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from medviewer.app.findings import explain_second
from medviewer.app.on_screen import active_pane, current_answer, pane_state
from medviewer.app.panes import SECOND, numbers_in
from medviewer.app.state import HeatMap, Overlay, Pane, State
from medviewer.domain.errors import UsageError
from medviewer.explain.methods import METHODS, OWN_EXPLANATION, is_own_explanation, methods_for

if TYPE_CHECKING:  # commands act on the application, which holds their table
    from medviewer.app.application import Application

LAYOUT = (2, 2)
HEAT_MAPS: tuple[HeatMap, ...] = ("first", "second", "difference", "none")
_SHARED = ("selection", "cut", "frame", "frame_problem", "view")


def compare(app: Application, method: str | None) -> None:
    """Lay another method's heat map, and the difference, beside the one on screen; None or "" ends it."""
    state = app.state
    if not method:
        leave(app)
        return
    if not any(row.id == method for row in METHODS):
        raise UsageError(f"There is no method {method!r}.")
    if method == state.overlay.method:
        raise UsageError("This method is shown already; choose another one to compare it with.")
    found = current_answer(state)
    if found is None or found[1].status != "answer" or state.frame is None:
        raise UsageError("Run a model on the image first; then its explanations can be compared.")
    card = app.engine.catalogue.card(state.model_id)
    if is_own_explanation(card):
        raise UsageError(OWN_EXPLANATION)
    if method not in [row.id for row in methods_for(card)]:
        raise UsageError("The chosen model cannot be explained by this method; choose another one.")
    overlay = replace(state.overlay, second=method, visible=True)
    app.session.settle()
    with app.session.arranging():
        _lay_side_by_side(app, overlay)
    explain_second(app)


def _lay_side_by_side(app: Application, overlay: Overlay) -> None:
    state = app.state
    if is_comparing(state):
        app.session.update(overlay=overlay)
        return
    view = replace(state.view, zoom=None, center=None)
    pane = replace(active_pane(state), view=view)
    parked = {index: replace(pane, heat_map=kind) for index, kind in enumerate(HEAT_MAPS) if index}
    app.session.update(
        layout=LAYOUT, maximised=_maximised(state), active=0, overlay=overlay, view=view, heat_map="first",
        parked=MappingProxyType(parked | _second_window(state)),
    )  # fmt: skip


def leave(app: Application) -> None:
    """The image alone again, with the first method's heat map."""
    app.jobs.stop("compare")
    if not is_comparing(app.state):
        _forget(app)
        return
    app.session.settle()
    state = app.state
    shown = _first_of(state)
    with app.session.arranging():
        app.session.update(
            layout=(1, 1), maximised=_maximised(state), active=0, parked=MappingProxyType(_second_window(state)),
            overlay=replace(state.overlay, second=""), **{name: getattr(shown, name) for name in _SHARED},
            heat_map="first",
        )  # fmt: skip


def is_comparing(state: State) -> bool:
    """Whether the four viewports of a comparison are on screen."""
    if not state.overlay.second or state.layout != LAYOUT or state.scene is not None:
        return False
    shown = [pane_state(state, index) for index in numbers_in(state, 0)]
    return sorted(one.heat_map for one in shown) == sorted(HEAT_MAPS) and all(one.cut is None for one in shown)


def keep_together(app: Application, old: State, new: State) -> None:
    """Have all viewports of a comparison show what the active one does; end it when the layout is another."""
    if not is_comparing(new):
        if is_comparing(old) and new.layout == LAYOUT and new.overlay.second == "":  # as undo brings back
            app.session.update(layout=(1, 1), active=0, parked=MappingProxyType(_second_window(new)))
        _forget(app)
        return
    if new.active >= SECOND:  # what is done in the second window is none of the comparison's
        return
    shown = {name: getattr(new, name) for name in _SHARED}
    beside = {index: pane for index, pane in new.parked.items() if index < SECOND}
    if any(getattr(pane, name) is not shown[name] for pane in beside.values() for name in _SHARED):
        parked = {**new.parked, **{index: replace(pane, **shown) for index, pane in beside.items()}}
        app.session.update(parked=MappingProxyType(parked))


def _first_of(state: State) -> Pane:
    """What the first viewport of the first window shows."""
    return active_pane(state) if state.active == 0 else state.parked.get(0) or active_pane(state)


def _second_window(state: State) -> dict[int, Pane]:
    """What the second window shows: it stays as it is."""
    kept = {index: pane for index, pane in state.parked.items() if index >= SECOND}
    return {**kept, state.active: active_pane(state)} if state.active >= SECOND else kept


def _maximised(state: State) -> frozenset[int]:
    return state.maximised.difference(numbers_in(state, 0))


def _forget(app: Application) -> None:
    """No viewport shows the map of a second method any more."""
    state = app.state
    changes: dict[str, object] = {}
    if state.overlay.second:
        changes["overlay"] = replace(state.overlay, second="")
    if state.heat_map != "first":
        changes["heat_map"] = "first"
    if any(pane.heat_map != "first" for pane in state.parked.values()):
        parked = {index: replace(pane, heat_map="first") for index, pane in state.parked.items()}
        changes["parked"] = MappingProxyType(parked)
    if changes:
        app.session.update(**changes)
