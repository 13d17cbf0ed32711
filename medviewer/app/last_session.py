"""What was open, kept while it is: a window that ended without being closed can offer it again.

One small file a running program, beside the settings, readable by its owner alone
(:mod:`medviewer.app.session_file`). A clean end removes it, so a file whose program is gone
tells of a crash.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medviewer.app.layout import show_again
from medviewer.app.on_screen import active_pane, selections
from medviewer.app.opening import open_paths
from medviewer.app.panes import numbers_in, pane_numbers, window_of
from medviewer.app.session_file import LOOK, MOST_PATHS, PREFIX, is_running, read, remove, write
from medviewer.app.state import EMPTY, Key, Pane, Restorable, RestorablePane, Selection, State, View
from medviewer.app.viewing import change_view
from medviewer.domain.errors import InputError
from medviewer.domain.study import Collection

if TYPE_CHECKING:  # commands act on the application, which holds their table
    from medviewer.app.application import Application


class SessionKeeper:
    """Keeps what is open in its file, for as long as this program runs. GUI thread only."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._path = app.home / f"{PREFIX}{os.getpid()}.json"
        self._kept: Restorable | None = None
        self._is_open = True
        self._unwatch = app.session.watch(self._watch)
        app.session.update(restorable=find_crashed(app.home))

    def flush(self) -> None:
        """Write what is open now, if that has changed: called from time to time."""
        now = what_is_open(self._app)
        if not self._is_open or now == self._kept:
            return
        self._kept = now
        self._app.write(lambda: write(self._path, now), failed=lambda _error: None)

    def close(self) -> None:
        """The window is closed as it should be: nothing is to be offered."""
        if self._is_open:
            self._is_open = False
            self._unwatch()
            self._app.write(lambda: remove(self._path), failed=lambda _error: None)

    def _watch(self, old: State, new: State) -> None:
        """At once when something else is opened; where in a stack the reader is, later with :meth:`flush`."""
        if _stack_of(old) == _stack_of(new):
            return
        self.flush()
        if new.restorable is not None and new.selection is not None:
            forget(self._app, None)  # the reader went on without it


def _stack_of(state: State) -> tuple[str, str, int] | None:
    return state.selection.stack_key if state.selection is not None else None


def what_is_open(app: Application) -> Restorable | None:
    """The paths, and the images on screen with their looks; None where nothing is open."""
    state, paths = app.state, app.wishes.opened
    # Of a document: what comes back when it is closed is what is open.
    reading = state.reading
    active, parked = (reading.behind, reading.beside) if reading is not None else (active_pane(state), EMPTY)
    others = parked or state.parked
    panes = {index: others.get(index, Pane()) for index in pane_numbers(state)} | {state.active: active}
    filled = [index for index in (state.active, *panes) if panes[index].selection is not None]
    if not filled or not paths:
        return None
    first = panes[filled[0]].selection
    assert first is not None  # noqa: S101 - it is one of the filled
    cut_from: dict[int, set[Key]] = {}
    for index, pane in panes.items():
        if pane.cut is not None and pane.selection is not None:
            cut_from.setdefault(window_of(index), set()).add(pane.selection.volume_key)
    # Planes are cut again, so of their window one image will do: that in which the reader worked, if it is there.
    kept: dict[int, RestorablePane] = {}
    for index in filled:
        number = numbers_in(state, window_of(index)).start if window_of(index) in cut_from else index
        shown = panes[index].selection
        if shown is not None and number not in kept:
            kept[number] = _restorable(number, shown, panes[index].view)
    return Restorable(
        tuple(os.path.abspath(path) for path in paths[:MOST_PATHS]),
        tuple(kept.values()),
        (1, 1) if 0 in cut_from else state.layout,
        (1, 1) if 1 in cut_from else state.second,
        first.volume_key in cut_from.get(window_of(filled[0]), ()),
    )


def _restorable(number: int, shown: Selection, view: View) -> RestorablePane:
    image = shown.image
    return RestorablePane(number, os.path.abspath(image.path), image.sop_instance_uid, image.frame, View(**_look(view)))


def find_crashed(folder: Path) -> Restorable | None:
    """What the latest program had open that ended without closing its window."""
    found = [path for path in folder.glob(f"{PREFIX}*.json") if not is_running(path)]
    readable = [made for path in sorted(found, key=_age) if (made := read(path)) is not None]
    if not found:
        return None
    files = tuple(str(path) for path in found)
    return replace(readable[0], files=files) if readable else None


def restore(app: Application, _argument: object) -> None:
    """Open again what was open when the program ended: the same images, side by side, with their looks.

    Raises:
        InputError: nothing of it is there any more.
    """
    offered = app.state.restorable
    if offered is None:
        return
    forget(app, None)
    there = [Path(path) for path in offered.paths if os.path.exists(path)]
    gone = len(offered.paths) - len(there)
    if not there:
        raise InputError("What was open is no longer there or may not be looked at; open it from where it is now.")
    open_paths(app, there, wanted=_Wanted(app, offered, gone))


def forget(app: Application, _argument: object) -> None:
    """Offer it no more."""
    offered = app.state.restorable
    if offered is not None:
        app.session.update(restorable=None)
        app.write(lambda: _remove_all(offered.files), failed=lambda _error: None)


class _Wanted:
    """Shows what was on screen unless the reader has chosen another image by then.

    The image in which the reader worked comes as soon as it is found; what lay beside it, when all is.
    """

    def __init__(self, app: Application, offered: Restorable, gone: int) -> None:
        self._app, self._offered, self._gone = app, offered, gone
        self._is_done = False
        self._first: tuple[str, str, int] | None = None
        self._shown: tuple[str, str, int] | None = None

    def __call__(self, collection: Collection, *, is_whole: bool) -> None:
        now = self._app.state.selection
        if now is None or not any(selections(collection)):
            return
        self._first = self._first or now.image.key
        if not self._is_done and now.image.key != self._first:
            self._is_done = True  # the reader's own choice
        first = self._offered.panes[0]
        found = None if self._is_done else _find(collection, (first,)).get(first.number)
        if found is not None:
            self._is_done = True
            self._show(found)
        gone = self._gone
        if is_whole and self._shown is not None:
            gone += self._show_beside(collection)
        if is_whole and gone:
            self._app.notify("caution", f"Parts of what was open that could not be found again: {gone}.")
        elif is_whole and not self._is_done:
            self._app.notify("caution", "The image that was on screen could not be found again.")

    def _show(self, found: Selection) -> None:
        self._app.run_command("image.select", found)
        change_view(self._app, **_look(self._offered.panes[0].view))
        self._shown = found.image.key

    def _show_beside(self, collection: Collection) -> int:
        """The layout of before, if the reader has not moved on meanwhile; gives how many of its images are gone."""
        state, offered = self._app.state, self._offered
        is_untouched = state.selection is not None and state.selection.image.key == self._shown
        if not is_untouched or state.layout != (1, 1) or state.cut is not None or state.scene is not None:
            return 0
        gone = 0
        if (offered.layout, offered.second) != ((1, 1), None):
            found = _find(collection, offered.panes)
            looks = {pane.number: _look(pane.view) for pane in offered.panes}
            shown = {n: (one, looks[n]) for n, one in found.items()}
            show_again(self._app, (offered.layout, offered.second), shown, offered.panes[0].number)
            gone = len(offered.panes) - len(found)
        if offered.has_planes:
            self._app.run_command("layout.planes")
        return gone


def _find(collection: Collection, panes: Sequence[RestorablePane]) -> dict[int, Selection]:
    """The images of viewports, by their numbers, as far as they are there; in one pass, as there may be many.

    Each where it lay: another file may have the same UID and be another patient's.
    """
    wanted: dict[tuple[str, int], list[RestorablePane]] = {}
    for pane in panes:
        wanted.setdefault((pane.sop_instance_uid, pane.frame), []).append(pane)
    found: dict[int, Selection] = {}
    for one in selections(collection):
        for pane in wanted.get((one.image.sop_instance_uid, one.image.frame), ()):
            if os.path.abspath(one.image.path) == pane.path:
                found[pane.number] = one
    return found


def _look(view: View) -> dict[str, Any]:
    """What of a view belongs to the reader, not to the size of a viewport or to the preferences."""
    return {name: getattr(view, name) for name in LOOK}


def _remove_all(files: tuple[str, ...]) -> None:
    for file in files:
        remove(Path(file))


def _age(path: Path) -> float:
    try:
        return -path.stat().st_mtime
    except OSError:
        return 0.0
