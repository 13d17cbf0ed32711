"""The arrangement of viewports as undo knows it: how many there are, what each shows, and which way round.

Scrolling is no change of it, nor is going to another viewport. What is brought back is of the patient on screen,
and never lies behind a document or a 3D view.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from medviewer.app.on_screen import active_pane, identity_of, pane_state, selections
from medviewer.app.panes import pane_numbers
from medviewer.app.state import Cut, Key, Pane, Selection, State
from medviewer.domain.study import Collection


def arranged(state: State) -> object:
    """What tells one arrangement from another."""
    shown = {index: pane_state(state, index) for index in pane_numbers(state)}
    return (
        state.layout,
        state.second,
        {index: (_image_of(one), _way_of(one.cut), one.view, one.heat_map) for index, one in shown.items()},
    )


def without_pixels(state: State) -> State:
    """A state whose viewports can be brought back, without what they showed being kept in memory."""
    parked = {index: replace(pane, frame=None) for index, pane in state.parked.items()}
    return replace(state, frame=None, parked=MappingProxyType(parked))


def rearranged(past: State, now: State) -> Mapping[str, Any] | None:
    """The changes that bring an arrangement back; None while it cannot be.

    Where a viewport shows the same stack as then, its reader has stayed there: it keeps the place that was scrolled to.
    """
    if any(one.reading is not None or one.scene is not None for one in (past, now)):
        return None
    panes = {index: active_pane(pane_state(past, index)) for index in pane_numbers(past)}
    wanted = [pane.selection for pane in panes.values() if pane.selection is not None]
    known = _found(now.collection, {one.image.key for one in wanted})
    here = next((one for one in _shown(now) if one is not None), None)
    if here is None or not wanted or len(known) < len({one.image.key for one in wanted}):
        return None
    if {identity_of(one.patient) for one in known.values()} != {identity_of(here.patient)}:
        return None  # it never goes to another patient by itself
    back = {index: _brought_back(pane, known, pane_state(now, index)) for index, pane in panes.items()}
    first = back.pop(past.active)
    return {
        "layout": past.layout, "second": past.second, "maximised": past.maximised, "active": past.active,
        "parked": MappingProxyType(back), "is_playing": False,
        "overlay": replace(now.overlay, second=past.overlay.second),
        **{name: getattr(first, name) for name in Pane.__dataclass_fields__},
    }  # fmt: skip


def _brought_back(pane: Pane, known: Mapping[Key, Selection], now: State) -> Pane:
    if pane.selection is None:
        return pane
    then = known[pane.selection.image.key]
    here = now.selection
    is_same = here is not None and here.stack_key == then.stack_key and (pane.cut is None) == (now.cut is None)
    if not is_same or here is None:
        return replace(pane, selection=then, frame=None, frame_problem="")
    is_same_image = _image_of(now) == then.image.key or _is_scrolled(pane.cut, now.cut, then, here)
    if not is_same_image:
        return replace(pane, selection=then, frame=None, frame_problem="")
    cut = now.cut if _way_of(now.cut) == _way_of(pane.cut) else pane.cut
    # A plane that is cut anew stays on screen until the new one is there, as it does when it is scrolled.
    return replace(pane, selection=here, cut=cut, frame=now.frame, frame_problem=now.frame_problem)


def _is_scrolled(cut: Cut | None, now: Cut | None, then: Selection, here: Selection) -> bool:
    """Whether one came from the other by scrolling: films of one series stand beside each other as they were hung."""
    if cut is not None and now is not None:
        return cut.plane == now.plane
    return then.image.description.plane is not None and here.image.description.plane is not None


def _image_of(state: State) -> Key | None:
    if state.selection is None:
        return None
    return state.selection.stack_key if state.cut is not None else state.selection.image.key


def _way_of(cut: Cut | None) -> Cut | None:
    return replace(cut, at_mm=0.0) if cut is not None else None


def _shown(state: State) -> list[Selection | None]:
    return [state.selection, *(pane.selection for pane in state.parked.values())]


def _found(collection: Collection, keys: set[Key]) -> dict[Key, Selection]:
    """The images as they lie in the collection by now, which may have grown."""
    return {one.image.key: one for one in selections(collection) if one.image.key in keys}
