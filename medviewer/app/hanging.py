"""Hanging protocols at work: a study is hung when it is opened, or as the reader asks; the reader's own are kept."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from medviewer.app.findings import run_if_wished
from medviewer.app.hanging_match import Found, find, fits, is_of_kind, plane_name, priors_of, studies_of
from medviewer.app.hanging_protocol import DisplaySet, HangingProtocol, Protocols, Vacancy, as_data, checked, count_of
from medviewer.app.layout import PLANES, cut_through, fill_panes, read_volume_of
from medviewer.app.linking import follow, middle_of
from medviewer.app.on_screen import active_pane, pane_state
from medviewer.app.panes import SECOND, numbers_in, pane_numbers, read_pane
from medviewer.app.presets import Presets
from medviewer.app.state import Pane, Selection, State, View
from medviewer.app.whole_stacks import when_all_found
from medviewer.domain.errors import GeometryError, UsageError
from medviewer.domain.study import Collection, PixelDescription, Study
from medviewer.domain.volume import Volume
from medviewer.imaging.orientation import orientation_letters
from medviewer.imaging.reslice import PlaneName
from medviewer.imaging.units import is_in_hounsfield

if TYPE_CHECKING:  # commands act on the application, which holds their table
    from medviewer.app.application import Application

_PLANES_APART = Vacancy("Planes are cut from one series at a time.")


class HangingWhenOpened:
    """Hangs a study when all of it is found, unless the reader has begun to look through it by then."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._first: tuple[str, str, int] | None = None

    def __call__(self, _collection: Collection, /, *, is_whole: bool) -> None:
        """Look at what is on screen; hang once everything is there."""
        state = self._app.state
        if state.selection is None:
            return
        if self._first is None and not is_whole:
            self._first = state.selection.image.key
        is_plain = state.layout == (1, 1) and state.cut is None and state.scene is None
        is_untouched = state.selection.image.key == self._first and is_plain
        if is_whole and is_untouched:
            screens = 2 if state.second is not None else self._app.front.screen_count()
            chosen = _for_opening(state, state.selection, screens)
            if chosen is not None:
                _hang(self._app, *chosen)
        latest = self._app.state
        free = [index for index in numbers_in(latest, 1) if pane_state(latest, index).vacancy is None]
        if is_whole and free:
            fill_panes(self._app, free)


def hang(app: Application, number: int) -> None:
    """Hang what is on screen by the protocol of that place in the list, from 0.

    Raises:
        UsageError: there are not so many protocols.
    """
    state = app.state
    now = state.selection
    if now is None:
        return
    if not 0 <= number < len(state.hanging):
        raise UsageError("There is no hanging protocol of that number.")
    protocol = state.hanging[number]
    if any(wanted.cut for wanted in protocol.display_sets):
        when_all_found(app, lambda: _hang_here(app, protocol))
    else:
        _hang_here(app, protocol)


def _hang_here(app: Application, protocol: HangingProtocol) -> None:
    state = app.state
    now = state.selection
    if now is None:
        return
    found = find(protocol, _current(state, now), studies_of(state.collection, now.patient), now)
    if not any(isinstance(one, Selection) for one in found):
        app.notify("info", "Nothing of this study fits that hanging protocol; what is on screen stays.")
        return
    _hang(app, protocol, found)


def edit(app: Application, _argument: object) -> None:
    """Show the protocols, to be changed."""
    app.front.show_dialog("protocols")


def use_protocols(app: Application, protocols: Protocols) -> None:
    """Have other protocols from now on, and keep them.

    Raises:
        InputError: one is not as it must be.
        StorageError: they cannot be written; those of before stay in use.
    """
    usable = checked(as_data(protocols))
    app.hanging_file.save(usable)
    app.session.update(hanging=usable)


def protocol_of(state: State, name: str) -> HangingProtocol:
    """The layout on screen as a protocol for studies like this one: what the files say of each image is asked for."""
    now = state.selection
    if now is None:
        return HangingProtocol(name)
    body_part = now.series.body_part_examined or now.image.description.body_part_examined
    protocol = HangingProtocol(
        name, _plain(now.series.modality), _plain(body_part), layout=state.layout, second=state.second
    )
    current = _current(state, now)
    all_studies = [study for _, study in studies_of(state.collection, now.patient)]
    in_order = [current, *priors_of(current, all_studies, protocol)]
    sets = tuple(_display_set_of(pane_state(state, index), in_order) for index in pane_numbers(state))
    return replace(protocol, priors=max(one.prior for one in sets), display_sets=sets)


def _display_set_of(state: State, in_order: list[Study]) -> DisplaySet:
    now = state.selection
    if now is None:
        return DisplaySet()
    d = now.image.description
    side = d.image_laterality.upper()
    return DisplaySet(
        prior=next((number for number, study in enumerate(in_order) if study is now.study), 0),
        view=_plain(d.view_position),
        laterality=side if side in ("R", "L") else "",
        plane=plane_name(now.image) if state.cut is None else "",
        cut=state.cut.plane if state.cut is not None else "",
        inverted=state.view.inverted,
        palette=state.view.palette,
    )


def _plain(text: str) -> str:
    """A text of a file as one alternative: a slash would make it several."""
    return text if "/" not in text and len(text) <= 64 else ""


def _for_opening(state: State, now: Selection, screens: int) -> tuple[HangingProtocol, Found] | None:
    """The first protocol for what is on screen, with what it shows. One with a second window needs a second screen.

    Which file is found first is chance, so the latest study is the current one where priors are shown
    beside it; elsewhere it is the one on screen.
    """
    own = studies_of(state.collection, now.patient)
    for protocol in state.hanging:
        if protocol.second is not None and screens < 2:
            continue
        if not protocol.when_opening or not is_of_kind(now.study, protocol):
            continue
        of_kind = [study for _, study in own if is_of_kind(study, protocol)]
        shows_priors = any(one.prior for one in protocol.display_sets)
        latest = max(of_kind, key=lambda study: (study.date, study.time))
        for current in (latest, now.study) if shows_priors else (now.study,):
            found = find(protocol, current, own, now)
            if fits(protocol, current, own) and any(isinstance(one, Selection) for one in found):
                return protocol, found
    return None


def _current(state: State, now: Selection) -> Study:
    """The latest study on screen: hung beside its priors, it stays the current one while the reader is at a prior."""
    shown = (pane_state(state, index).selection for index in pane_numbers(state))
    studies = [one.study for one in shown if one is not None]
    return max(studies, key=lambda study: (study.date, study.time)) if all(s.date for s in studies) else now.study


def _hang(app: Application, protocol: HangingProtocol, found: Found) -> None:
    cut = next((one for one, wanted in zip(found, protocol.display_sets, strict=True) if wanted.cut), None)
    if isinstance(cut, Selection):
        read_volume_of(app, cut, lambda volume: _lay_out(app, protocol, found, (cut, volume)))
    else:
        _lay_out(app, protocol, found, None)


def _lay_out(
    app: Application, protocol: HangingProtocol, found: Found, source: tuple[Selection, Volume] | None
) -> None:
    """Put everything in its place as one change, flips and turns too, that can be undone.

    The reader goes on in the image that was on screen, if it has a place.
    """
    with app.session.arranging():
        _arrange(app, protocol, found, source)
        follow(app)


def _arrange(
    app: Application, protocol: HangingProtocol, found: Found, source: tuple[Selection, Volume] | None
) -> None:
    state = app.state
    now = state.selection
    if now is not None and state.cut is None:
        app.wishes.views[now.stack_key] = state.view
    numbers = (*range(count_of(protocol.layout)), *range(SECOND, SECOND + count_of(protocol.second)))
    panes = {
        index: _pane(app, one, wanted, source)
        for index, one, wanted in zip(numbers, found, protocol.display_sets, strict=True)
    }
    active = _active(panes, now)
    is_plain = protocol.second is None and protocol.layout == state.layout == (1, 1) and state.active == 0
    if is_plain and _is_same(state, panes[0]):
        app.session.update(view=panes[0].view)  # what is being read goes on
        return
    kept = numbers_in(state, 1) if protocol.second is None else range(0)
    for index in {*pane_numbers(state), *numbers}.difference(kept):
        app.jobs.stop(f"read {index}")
    app.cuts.clear()
    first = panes[active]
    parked = {index: pane for index, pane in state.parked.items() if index in kept}
    if state.active in kept:
        parked[state.active] = active_pane(state)
    parked |= {index: pane for index, pane in panes.items() if index != active}
    app.session.settle()
    app.session.update(
        layout=protocol.layout, second=protocol.second or state.second, maximised=frozenset(), is_playing=False,
        active=active, parked=MappingProxyType(parked),
        **{name: getattr(first, name) for name in Pane.__dataclass_fields__},
    )  # fmt: skip
    if first.selection is not None and now is not None and first.selection.stack_key != now.stack_key:
        run_if_wished(app, first.selection)
    for index, pane in panes.items():
        if pane.selection is not None and pane.frame is None and not pane.frame_problem:
            read_pane(app, index)


def _pane(
    app: Application, one: Selection | Vacancy, wanted: DisplaySet, source: tuple[Selection, Volume] | None
) -> Pane:
    state = app.state
    if isinstance(one, Vacancy):
        return Pane(view=View(smooth=state.view.smooth), vacancy=one)
    view = hung_view(app.wishes.views.get(one.stack_key, View(smooth=state.view.smooth)), one, wanted, state.ct_presets)
    if not wanted.cut:
        picture = app.frames.get(one.image.key)
        is_here = state.selection is not None and state.selection.image.key == one.image.key and state.cut is None
        frame = state.frame if is_here else picture.frame if picture else None
        return Pane(one, None, frame, state.frame_problem if is_here else "", view)
    if source is None or source[0].stack_key != one.stack_key:
        return Pane(view=View(smooth=state.view.smooth), vacancy=_PLANES_APART)
    middle = middle_of(State(selection=one))
    if middle is None:
        raise GeometryError("The image's place in the patient is not known, so no other plane can be cut.")
    return Pane(one, cut_through(source[1], _plane(wanted.cut), middle), None, "", view)


def hung_view(view: View, one: Selection, wanted: DisplaySet, presets: Presets) -> View:
    """A view with what the protocol asks for: window, inversion, which way the body faces."""
    d = one.image.description
    if wanted.preset and is_in_hounsfield(d):
        view = replace(view, window=presets[wanted.preset])
    if wanted.inverted:
        view = replace(view, inverted=True)
    if wanted.palette:
        view = replace(view, palette=wanted.palette)
    return facing(view, d, wanted.front) if wanted.front and not wanted.cut else view


def facing(view: View, d: PixelDescription, front: str) -> View:
    """The view flipped so that the front of the body (A) is at that side of the screen.

    The head, or the outer side of a breast seen from above, goes up (as mammograms are hung). Where the file does not
    say where the front is, or it is neither left nor right, nothing is flipped.
    """
    upper = {"H", d.image_laterality.upper()}
    for is_vertical, needs_upper in ((False, True), (True, True), (False, False)):
        for is_horizontal in (False, True):
            letters = orientation_letters(d, flip_horizontal=is_horizontal, flip_vertical=is_vertical)
            is_facing = (letters.left if front == "left" else letters.right)[:1] == "A"
            if is_facing and (letters.top[:1] in upper or not needs_upper):
                return replace(view, quarter_turns=0, flip_horizontal=is_horizontal, flip_vertical=is_vertical)
    return view


def _active(panes: dict[int, Pane], now: Selection | None) -> int:
    """The viewport of the image on screen; else the first that shows something."""
    shown = {index: pane.selection for index, pane in panes.items() if pane.selection is not None}
    same = [i for i, one in shown.items() if now is not None and one.image.key == now.image.key]
    stored = [index for index in same if panes[index].cut is None]
    return next(iter((*stored, *same, *shown, 0)))


def _is_same(state: State, pane: Pane) -> bool:
    """Whether a viewport shows the very image that is on screen."""
    if state.selection is None or pane.selection is None or state.cut is not None or pane.cut is not None:
        return False
    return state.selection.image.key == pane.selection.image.key


def _plane(name: str) -> PlaneName:
    return next(plane for plane in PLANES if plane == name)
