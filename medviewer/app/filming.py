"""The images of a stack as a film: which of them, how fast, with whose identity; whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from medviewer.app import analysis
from medviewer.app.asking import ask_of_screen, shown
from medviewer.app.cine import USUAL_RATE_HZ, own_rate_of, plays_along_axis
from medviewer.app.exporting import AVI, MP4, Drawn, Kind, What, checked_path
from medviewer.app.layer_planes import with_layers_cut
from medviewer.app.on_screen import wished_profile
from medviewer.app.picture import Picture
from medviewer.app.save_jobs import FILM, Noted
from medviewer.app.state import Selection, State
from medviewer.domain.errors import UsageError
from medviewer.domain.frozen import dataclass
from medviewer.domain.progress import Progress, StopToken
from medviewer.imaging.avi_file import AviWriter
from medviewer.imaging.film_writer import FilmWriter
from medviewer.imaging.mp4_file import Mp4Writer
from medviewer.whole_file import writing_whole

if TYPE_CHECKING:  # commands act on the application, which holds their table
    from medviewer.app.application import Application

T = TypeVar("T")
Draw = Callable[[State, Picture], Drawn]
"""Draws an image as it would be on screen; on the GUI thread."""

Way = Literal["slices", "axis"]
"""Through the slices of the volume on screen, or from volume to volume at the slice on screen."""

RATES_HZ = (1.0, 60.0)  # slower is no film, faster no screen shows
_LOOK_AGAIN_S = 0.1  # whether the reader has cancelled


@dataclass(frozen=True, slots=True)
class FilmWish:
    """What is filmed, where to, as which kind of file.

    ``first`` and ``last`` count in :func:`filmed_span`; both belong to the film.
    """

    path: Path
    first: int
    last: int
    rate_hz: float
    what: What = "view"
    with_identity: bool = False
    kind: Kind = AVI
    way: Way = "slices"


_WRITERS: Mapping[Kind, type[FilmWriter]] = {AVI: AviWriter, MP4: Mp4Writer}


def way_of(state: State) -> Way:
    """The way that a film goes unless the reader wishes another: that of the cine."""
    return "axis" if plays_along_axis(state) else "slices"


def filmed_span(now: Selection, way: Way) -> range:
    """The indices of the images that a film can show: never one volume's slices and then the next one's."""
    if way == "axis":
        return range(now.index % now.stack.slices, len(now.stack.images), now.stack.slices)
    return now.stack.scroll_span(now.index)


def rate_of(selection: Selection, way: Way = "slices") -> float:
    """The rate at which a stack is played that way: the files' own, within what a film can have."""
    slowest, fastest = RATES_HZ
    return min(max(own_rate_of(selection, along_axis=way == "axis") or USUAL_RATE_HZ, slowest), fastest)


def export_film(app: Application, wish: FilmWish | None) -> None:
    """Save the stack on screen as a film, asking how if nothing is given.

    Raises:
        UsageError: identity is hidden and wanted, or there are no such images.
        InputError: another kind of file has that name.
    """
    if app.state.cut is not None:
        app.notify("info", "A film shows stored images: work in their viewport, not in a plane that was cut.")
        return
    wish = wish or ask_of_screen(app, app.front.ask_film, _filmed)
    state = app.state
    now = state.selection
    if wish is None or now is None:
        return
    if wish.with_identity and state.identity_hidden:
        raise UsageError("Identity is hidden: show it first, or export without it.")
    slowest, fastest = RATES_HZ
    span = filmed_span(now, wish.way)
    if not (0 <= wish.first <= wish.last < len(span) and slowest <= wish.rate_hz <= fastest):
        raise UsageError("There are no such images in the stack, or no such rate.")
    path = checked_path(wish.path, wish.kind)
    draw = app.front.film_painter(wish.what, with_identity=wish.with_identity)
    if draw is None:
        return
    app.session.update(is_playing=False)
    if wish.what == "stored":
        state = replace(state, layers_shown=False)  # plain images: none is waited for

    def work(stop: StopToken, progress: Progress) -> None:
        with writing_whole(path) as file:
            film = _WRITERS[wish.kind](file, wish.rate_hz)
            wanted = span[wish.first : wish.last + 1]
            for number, index in enumerate(wanted):
                stop.raise_if_stopped()
                progress(number, len(wanted), "")
                film.add(_frame(app, draw, replace(state, selection=replace(now, index=index)), stop).pixels())
            film.finish()

    def saved(_none: None) -> None:
        app.notify("info", "The film was saved." if wish.with_identity else "The film was saved, without identity.")

    what = "film.exported-with-identity" if wish.with_identity else "film.exported"
    app.saves.start(FILM, work, Noted(what, now.image.sop_instance_uid), saved)


def _filmed(state: State) -> object:
    """What is on screen, and its stack as it is now: the first and last image count in that."""
    now = state.selection
    return shown(state), tuple(image.key for image in now.stack.images) if now is not None else ()


def _frame(app: Application, draw: Draw, state: State, stop: StopToken) -> Drawn:
    """One image of the stack, read here and drawn on the GUI thread."""
    assert state.selection is not None  # noqa: S101 - of a state that shows one
    picture = analysis.make_picture(state.selection.image, stop, wished_profile(state, state.selection.image))
    shown = with_layers_cut(replace(state, frame=picture.frame, frame_problem=""), stop)
    return _on_gui_thread(app, lambda: draw(shown, picture), stop)


def _on_gui_thread(app: Application, call: Callable[[], T], stop: StopToken) -> T:
    """What a call gives on the GUI thread; it may be stopped before its turn comes."""
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(call())
        except Exception as error:  # noqa: BLE001 - raised again where it was asked for
            answer.set_exception(error)

    app.post(run)
    while True:
        stop.raise_if_stopped()
        try:
            return answer.result(timeout=_LOOK_AGAIN_S)
        except TimeoutError:
            continue
