"""The viewports of a layout: what each shows, and how its pixels come to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from medviewer.app import analysis
from medviewer.app.findings import continue_run, warm_up
from medviewer.app.hanging_protocol import MOST_COLUMNS, MOST_ROWS
from medviewer.app.jobs import Work
from medviewer.app.on_screen import active_pane, appearance_of, pane_state, selections, wished_profile
from medviewer.app.picture import Picture
from medviewer.app.state import EMPTY, Pane, QueueItem, Selection, State
from medviewer.domain.errors import MedViewerError
from medviewer.domain.frame import Frame
from medviewer.domain.progress import Progress, StopToken
from medviewer.domain.study import Collection, Image
from medviewer.domain.volume import Volume
from medviewer.imaging.presenting import presented

if TYPE_CHECKING:  # commands act on the application, which holds their table
    from medviewer.app.application import Application

_PREFETCH = 6  # images ahead in the direction of scrolling; as few behind as one
_SHARE_AHEAD = 0.8  # of the memory for pictures: the rest is for what was looked at before


SECOND = MOST_ROWS * MOST_COLUMNS
"""The number of the first viewport of the second image window; those of the first begin at 0."""


def window_of(index: int) -> int:
    """In which image window a viewport is: 0 for the first, 1 for the second."""
    return int(index >= SECOND)


def shape_of(state: State, window: int) -> tuple[int, int]:
    """Rows and columns of an image window; none of a window that is closed."""
    return (state.second or (0, 0)) if window else state.layout


def numbers_in(state: State, window: int) -> range:
    """The viewports of one image window, row by row."""
    rows, columns = shape_of(state, window)
    return range(window * SECOND, window * SECOND + rows * columns)


def pane_numbers(state: State) -> tuple[int, ...]:
    """The viewports of all image windows."""
    return (*numbers_in(state, 0), *numbers_in(state, 1))


def seen_in(state: State, window: int) -> tuple[int, ...]:
    """The viewports of one image window that are not hidden behind the one that has all its room."""
    numbers = numbers_in(state, window)
    return tuple(index for index in numbers if index in state.maximised) or tuple(numbers)


def change_pane(app: Application, index: int, **changes: Any) -> None:
    """Change what a viewport shows, active or not."""
    if index == app.state.active:
        app.session.update(**changes)
        return
    parked = dict(app.state.parked)
    parked[index] = replace(parked.get(index, Pane()), **changes)
    app.session.update(parked=MappingProxyType(parked))


def activate(app: Application, index: int) -> None:
    """Let the reader work in another viewport."""
    state = app.state
    if index == state.active or index not in pane_numbers(state) or state.reading is not None:
        return
    parked = dict(state.parked)
    pane = parked.pop(index, Pane(view=replace(state.view, zoom=None, center=None, window=None)))
    parked[state.active] = active_pane(state)
    app.session.settle()
    shown = {name: getattr(pane, name) for name in Pane.__dataclass_fields__}
    app.session.update(active=index, parked=MappingProxyType(parked), maximised=_room_for(state, index), **shown)


def next_pane(app: Application, _argument: object) -> None:
    """Work in the next viewport, the first after the last, from one window to the other."""
    numbers = pane_numbers(app.state)
    activate(app, numbers[(numbers.index(app.state.active) + 1) % len(numbers)])


def _room_for(state: State, index: int) -> frozenset[int]:
    """The viewports that have the room of their window, with this one to be seen."""
    own = numbers_in(state, window_of(index))
    others = state.maximised.difference(own)
    return others if others == state.maximised else others | {index}


def grown_panes(panes: Mapping[int, Pane], collection: Collection) -> Mapping[int, Pane]:
    """Viewports with their images in the stacks of a collection that may have grown."""
    if all(pane.selection is None for pane in panes.values()):
        return panes
    by_key = {one.image.key: one for one in selections(collection)}
    return MappingProxyType(
        {
            index: replace(pane, selection=by_key.get(pane.selection.image.key, pane.selection))
            if pane.selection is not None
            else pane
            for index, pane in panes.items()
        }
    )


def grown_queue(queue: Sequence[QueueItem], collection: Collection) -> tuple[QueueItem, ...]:
    """What models are to be asked, of the images in a collection that has grown: of whom more may be known by now."""
    by_key = {one.image.key: one for one in selections(collection)} if queue else {}
    return tuple(replace(item, selection=by_key.get(item.selection.image.key, item.selection)) for item in queue)


def brought_back(state: State, panes: Mapping[int, Pane]) -> Mapping[int, Pane]:
    """Viewports that were put aside, as far as they are still there, in the collection of now."""
    there = set(pane_numbers(state)) - {state.active}
    kept = MappingProxyType({index: pane for index, pane in panes.items() if index in there})
    return grown_panes(kept, state.collection)


def read_missing(app: Application) -> None:
    """Have the pixels of viewports read that have come back without them."""
    for index in pane_numbers(app.state):
        pane = pane_state(app.state, index)
        if pane.selection is not None and pane.frame is None and not pane.frame_problem:
            read_pane(app, index)


def forget_panes(app: Application) -> None:
    """One empty viewport, as when nothing is open; what is being read for others is given up."""
    for slot in app.jobs.running:
        if slot.startswith(("read ", "volume")):
            app.jobs.stop(slot)
    app.cuts.clear()
    app.presented.clear()
    app.volume = None
    app.session.update(
        layout=(1, 1), maximised=frozenset(), active=0, parked=EMPTY, cut=None, crosshair=None, is_playing=False
    )


def picture_of(app: Application, index: int, state: State) -> Picture | None:
    """The picture of what a viewport shows; made anew if it was pushed out of memory.

    Colours are never managed here, where the window waits: where they would have to be, there is no picture yet, and
    the image is read again.
    """
    if state.selection is None or state.frame is None:
        return None
    if state.cut is not None:
        kept = app.cuts.get(index)
        if kept is None or kept.frame is not state.frame:
            kept = app.cuts[index] = Picture(state.frame)
        return kept
    kept = app.frames.get(state.selection.image.key)
    if not _has_colors(state, kept):
        app.post(partial(_read_again, app, index, state.frame))
        return None
    if kept is None or kept.frame is not state.frame:
        kept = Picture(state.frame)
        app.frames.put(state.selection.image.key, kept)
    return _presented(app, index, state, kept)


def _has_colors(state: State, kept: Picture | None) -> bool:
    """Whether a picture is ready with the colours that the presentation state in use wishes, or the image's own."""
    if state.frame is None or not state.frame.is_color or state.cut is not None:
        return True
    appearance = appearance_of(state)
    profile = appearance.profile if appearance is not None else None
    return kept is not None and kept.frame is state.frame and kept.has_colors_of(profile)


def _read_again(app: Application, index: int, frame: Frame) -> None:
    if pane_state(app.state, index).frame is frame:
        change_pane(app, index, frame=None)
        read_pane(app, index)


def _presented(app: Application, index: int, state: State, picture: Picture) -> Picture:
    """The picture as the presentation state that is shown wishes it; kept while both stay."""
    appearance = appearance_of(state)
    if appearance is None:
        return picture
    key = (picture.frame, state.view.presentation)
    kept = app.presented.get(index)
    if kept is None or kept[0] != key:
        wished = picture.presented(presented(picture.frame.description, appearance), appearance.profile)
        kept = app.presented[index] = (key, wished)
    return kept[1]


def show_again(app: Application, before: State) -> None:
    """Bring the pixels of viewports that undo has rearranged: from memory, or read; what nobody wants is given up."""
    numbers = pane_numbers(app.state)
    for slot in app.jobs.running:
        if slot.startswith("read ") and slot not in {f"read {index}" for index in numbers}:
            app.jobs.stop(slot)
    for index in numbers:
        wanted, was = pane_state(app.state, index), pane_state(before, index)
        if wanted.selection is None or wanted.frame_problem:
            continue
        kept = app.frames.get(wanted.selection.image.key) if wanted.cut is None else None
        if wanted.frame is not None and wanted.cut == was.cut:
            if _has_colors(wanted, kept):
                continue
            change_pane(app, index, frame=None)  # first, so that nothing is painted in other colours meanwhile
        if kept is not None and kept.has_colors_of(wished_profile(wanted, wanted.selection.image)):
            app.jobs.stop(f"read {index}")
            change_pane(app, index, frame=kept.frame)
        else:
            read_pane(app, index)


def read_pane(app: Application, index: int) -> None:
    """Have the pixels of a viewport read or cut, and shown if it still wants them."""
    wanted = pane_state(app.state, index)
    if wanted.selection is not None:
        app.jobs.start(
            f"read {index}",
            _reading(app, wanted),
            lambda picture: _arrived(app, index, wanted, picture),
            lambda error: _failed(app, index, wanted, error),
        )


def _reading(app: Application, wanted: State) -> Work[Picture]:
    selection, cut = wanted.selection, wanted.cut
    assert selection is not None  # noqa: S101 - read_pane has looked

    profile = wished_profile(wanted, selection.image)

    def work(stop: StopToken, _progress: Progress) -> Picture:
        if cut is None:
            return analysis.make_picture(selection.image, stop, profile)
        return analysis.make_cut(_volume_of(app, selection), cut)

    return work


def _is_wanted(app: Application, index: int, wanted: State) -> bool:
    """Whether the viewport still shows what was asked for: pixels never come beside another image's words."""
    now = pane_state(app.state, index)
    if now.selection is None or wanted.selection is None:
        return False
    return now.selection.image.key == wanted.selection.image.key and now.cut == wanted.cut


def _arrived(app: Application, index: int, wanted: State, picture: Picture) -> None:
    assert wanted.selection is not None  # noqa: S101 - as above
    if wanted.cut is None:
        app.frames.put(wanted.selection.image.key, picture)
    if not _is_wanted(app, index, wanted):
        return
    if wanted.cut is not None:
        app.cuts[index] = picture
    change_pane(app, index, frame=picture.frame, frame_problem="")
    if index == app.state.active and wanted.cut is None:
        continue_run(app)
        warm_up(app)
        prefetch(app, wanted.selection, 1)


def _failed(app: Application, index: int, wanted: State, error: MedViewerError) -> None:
    if _is_wanted(app, index, wanted):
        change_pane(app, index, frame=None, frame_problem=str(error))


def _volume_of(app: Application, selection: Selection) -> Volume:
    kept = app.volume
    if kept is None or kept.key != selection.volume_key:
        raise MedViewerError("The slices of this series are no longer in memory; choose Other planes again.")
    return kept.volume


def prefetch(app: Application, selection: Selection, direction: int) -> None:
    """Read what will be looked at next, so that scrolling does not wait: what is near first, then all that fits."""
    images = selection.stack.images
    order = _ahead(app, selection, direction)
    for i in reversed(order):
        app.frames.get(images[i].key)  # what is there already is not what goes for the others
    wanted = [images[i] for i in order if images[i].key not in app.frames]
    if not wanted:
        return
    state = app.state

    def work(stop: StopToken, _progress: Progress) -> None:
        for image in wanted:
            stop.raise_if_stopped()
            try:
                picture = analysis.make_picture(image, stop, wished_profile(state, image))
            except MedViewerError:
                continue  # said when the reader gets there
            app.post(partial(_keep, app, stop, image, picture))

    app.background.start("prefetch", work, lambda _none: None, lambda _error: None)


def _ahead(app: Application, selection: Selection, direction: int) -> list[int]:
    """Which images are read, in this order: the next volumes at this place, the next slices, then the nearest."""
    stack, index = selection.stack, selection.index
    beside: list[int] = []
    if stack.axis is not None and stack.slices > 1:
        numbers = [(selection.volume_number + n) % stack.axis.size for n in (*range(1, _PREFETCH + 1), -1)]
        beside = [selection.in_volume(number).index for number in numbers]
    span = stack.scroll_span(index)
    near = [i for i in (*(index + direction * n for n in range(1, _PREFETCH + 1)), index - direction) if i in span]
    least = len(beside) + len(near)
    most = max(_room(app, selection), least)
    far = islice(_outward(index, len(stack.images)), most + least)  # never all of ten thousand at each step
    return list(dict.fromkeys((*beside, *near, *far)))[:most]


def _outward(index: int, count: int) -> Iterator[int]:
    """All places of a stack, the nearest first."""
    yield index
    for away in range(1, count):
        yield from (i for i in (index - away, index + away) if 0 <= i < count)


def _room(app: Application, selection: Selection) -> int:
    """How many pictures like that of an image there is memory for."""
    picture = app.frames.get(selection.image.key)
    return int(_SHARE_AHEAD * app.frames.budget_bytes / max(picture.size_bytes, 1)) if picture is not None else 0


def _keep(app: Application, stop: StopToken, image: Image, picture: Picture) -> None:
    if stop.is_stopped or image.key in app.frames:  # what was read meanwhile is on screen
        return
    for index in pane_numbers(app.state):  # what is on screen is not what goes for it
        shown = pane_state(app.state, index).selection
        if shown is not None:
            app.frames.get(shown.image.key)
    app.frames.put(image.key, picture)
