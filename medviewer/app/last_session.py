"""What was open, kept while it is: a window that ended without being closed can offer it again.

One small file a running program, beside the settings, readable by its owner alone: which
paths, which image, which window; no pixels and no names but those that paths have. A clean
end removes it, so a file whose program is gone tells of a crash.
"""

from __future__ import annotations

import json
import logging
import math
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from medviewer.app.on_screen import selections
from medviewer.app.opening import open_paths
from medviewer.app.state import Restorable, Selection, State
from medviewer.app.viewing import change_view
from medviewer.domain.errors import InputError, StorageError
from medviewer.domain.study import Collection, VoiFunction, Window
from medviewer.whole_file import write_whole

if TYPE_CHECKING:  # commands act on the application, which holds their table
    from medviewer.app.application import Application

log = logging.getLogger(__name__)

_PREFIX = "open-"
_SIZE_LIMIT_BYTES = 1 << 18
_MOST_PATHS = 1_000


class SessionKeeper:
    """Keeps what is open in its file, for as long as this program runs. GUI thread only."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._path = app.home / f"{_PREFIX}{os.getpid()}.json"
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
        self._app.write(lambda: _write(self._path, now), failed=lambda _error: None)

    def close(self) -> None:
        """The window is closed as it should be: nothing is to be offered."""
        if self._is_open:
            self._is_open = False
            self._unwatch()
            self._app.write(lambda: _remove(self._path), failed=lambda _error: None)

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
    """The paths, the image and the window on screen; None where nothing is open."""
    reading = app.state.reading  # then what comes back when it is closed is what is open
    now, paths = reading.behind.selection if reading is not None else app.state.selection, app.wishes.opened
    if now is None or not paths:
        return None
    window = app.state.view.window
    shown = (window.center, window.width, window.function) if window is not None else None
    image = now.image
    return Restorable(
        tuple(os.path.abspath(path) for path in paths[:_MOST_PATHS]), image.sop_instance_uid, image.frame, shown
    )


def find_crashed(folder: Path) -> Restorable | None:
    """What the latest program had open that ended without closing its window."""
    found = [path for path in folder.glob(f"{_PREFIX}*.json") if not _is_running(path)]
    readable = [made for path in sorted(found, key=_age) if (made := _read(path)) is not None]
    if not found:
        return None
    files = tuple(str(path) for path in found)
    return replace(readable[0], files=files) if readable else None


def restore(app: Application, _argument: object) -> None:
    """Open again what was open when the program ended, at the same image and window.

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
    """Shows the image that was on screen as soon as it is found, unless the reader has chosen another by then."""

    def __init__(self, app: Application, offered: Restorable, gone: int) -> None:
        self._app, self._offered, self._gone = app, offered, gone
        self._is_done = False
        self._first: tuple[str, str, int] | None = None

    def __call__(self, collection: Collection, *, is_whole: bool) -> None:
        now = self._app.state.selection
        if now is None or not any(selections(collection)):
            return
        self._first = self._first or now.image.key
        if not self._is_done and now.image.key != self._first:
            self._is_done = True  # the reader's own choice
        found = None if self._is_done else self._find(collection)
        if found is not None:
            self._is_done = True
            self._show(found)
        if is_whole and self._gone:
            self._app.notify("caution", f"Parts of what was open that could not be found again: {self._gone}.")
        elif is_whole and not self._is_done:
            self._app.notify("caution", "The image that was on screen could not be found again.")

    def _find(self, collection: Collection) -> Selection | None:
        wanted = (self._offered.sop_instance_uid, self._offered.frame)
        every = selections(collection)
        return next((s for s in every if (s.image.sop_instance_uid, s.image.frame) == wanted), None)

    def _show(self, found: Selection) -> None:
        self._app.run_command("image.select", found)
        if self._offered.window is not None:
            center, width, function = self._offered.window
            change_view(self._app, window=Window(center, width, function))


def _write(path: Path, what: Restorable | None) -> None:
    if what is None:
        _remove(path)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {k: v for k, v in asdict(what).items() if k != "files"} | {"pid": os.getpid()}
    write_whole(path, json.dumps(data, ensure_ascii=False).encode(), is_private=True)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError("The list of what is open cannot be removed; check the settings folder.") from error


def _remove_all(files: tuple[str, ...]) -> None:
    for file in files:
        _remove(Path(file))


def _read(path: Path) -> Restorable | None:
    try:
        if path.stat().st_size > _SIZE_LIMIT_BYTES:
            return None
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        log.info("the list of what was open cannot be read; it is left out")
        return None
    return _restorable(data) if isinstance(data, dict) else None


def _restorable(data: dict[str, Any]) -> Restorable | None:
    paths, uid, frame = data.get("paths"), data.get("sop_instance_uid"), data.get("frame")
    if not isinstance(paths, list) or not isinstance(uid, str) or type(frame) is not int:
        return None
    kept = tuple(p for p in paths if isinstance(p, str) and p and "\0" not in p)[:_MOST_PATHS]
    return Restorable(kept, uid, frame, _window(data.get("window"))) if kept else None


def _window(value: object) -> tuple[float, float, VoiFunction] | None:
    functions: dict[object, VoiFunction] = {f: f for f in get_args(VoiFunction)}
    if not isinstance(value, list) or len(value) != 3 or not isinstance(value[2], str) or value[2] not in functions:
        return None
    center, width = value[:2]
    if not all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in (center, width)):
        return None
    return (float(center), float(width), functions[value[2]]) if width > 0 else None


def _is_running(path: Path) -> bool:
    """Whether the program that keeps the file is still there; a later one with its number is another one."""
    import psutil  # noqa: PLC0415 - only needed where a file was left

    number = path.stem.removeprefix(_PREFIX)
    if not number.isdecimal():
        return False
    try:
        return bool(psutil.Process(int(number)).create_time() <= path.stat().st_mtime + 1)
    except (psutil.NoSuchProcess, OverflowError):
        return False
    except (psutil.Error, OSError):
        return True  # it cannot be told: better no offer than one of what another window shows


def _age(path: Path) -> float:
    try:
        return -path.stat().st_mtime
    except OSError:
        return 0.0
