"""The file that says what a running program has open: paths, which images, how they are shown.

No pixels, and no names but those that paths have. It lies beside the settings, where anybody may have
changed it: whatever it holds gives an offer that can be used, or none.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from medviewer.app.hanging_protocol import MOST_COLUMNS, MOST_ROWS
from medviewer.app.state import Restorable, RestorablePane, View
from medviewer.domain.errors import StorageError
from medviewer.domain.study import VoiFunction, Window
from medviewer.imaging.palettes import PALETTES
from medviewer.whole_file import write_whole

log = logging.getLogger(__name__)

PREFIX = "open-"
LOOK = ("window", "inverted", "palette", "quarter_turns", "flip_horizontal", "flip_vertical")
"""The fields of a :class:`View` that are kept."""
_SIZE_LIMIT_BYTES = 1 << 18
MOST_PATHS = 1_000
_MOST_PANES = 2 * MOST_ROWS * MOST_COLUMNS


def write(path: Path, what: Restorable | None) -> None:
    """Keep what is open; None: nothing is.

    Raises:
        StorageError: the file cannot be written or removed.
    """
    if what is None:
        remove(path)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {
        "paths": what.paths,
        "layout": what.layout,
        "second": what.second,
        "has_planes": what.has_planes,
        "panes": [_as_data(pane) for pane in what.panes],
        "pid": os.getpid(),
    }
    write_whole(path, json.dumps(data).encode(), is_private=True)  # a name that is no UTF-8 is escaped, and read back


def remove(path: Path) -> None:
    """Have the file no more.

    Raises:
        StorageError: it cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError("The list of what is open cannot be removed; check the settings folder.") from error


def read(path: Path) -> Restorable | None:
    """What such a file says was open; None if nothing of it can be used."""
    try:
        if path.stat().st_size > _SIZE_LIMIT_BYTES:
            return None
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        log.info("the list of what was open cannot be read; it is left out")
        return None
    return _restorable(data) if isinstance(data, dict) else None


def is_running(path: Path) -> bool:
    """Whether the program that keeps the file is still there; a later one with its number is another one."""
    import psutil  # noqa: PLC0415 - only needed where a file was left

    number = path.stem.removeprefix(PREFIX)
    if not number.isdecimal():
        return False
    try:
        return bool(psutil.Process(int(number)).create_time() <= path.stat().st_mtime + 1)
    except (psutil.NoSuchProcess, OverflowError):
        return False
    except (psutil.Error, OSError):
        return True  # it cannot be told: better no offer than one of what another window shows


def _as_data(pane: RestorablePane) -> dict[str, Any]:
    window = pane.view.window
    look = {name: getattr(pane.view, name) for name in LOOK}
    look["window"] = (window.center, window.width, window.function, window.voi_lut) if window is not None else None
    where = {"path": pane.path, "sop_instance_uid": pane.sop_instance_uid, "frame": pane.frame}
    return {"number": pane.number, **where, **look}


def _restorable(data: Mapping[str, Any]) -> Restorable | None:
    paths, panes = data.get("paths"), data.get("panes")
    if not isinstance(paths, list) or not isinstance(panes, list):
        return None
    kept = tuple(p for p in paths if isinstance(p, str) and p and "\0" not in p)[:MOST_PATHS]
    usable = tuple(made for pane in panes[:_MOST_PANES] if (made := _pane(pane)) is not None)
    layout, second = (_shape(data.get(name)) for name in ("layout", "second"))
    has_planes = data.get("has_planes") is True
    return Restorable(kept, usable, layout or (1, 1), second, has_planes) if kept and usable else None


def _shape(value: object) -> tuple[int, int] | None:
    """Rows and columns that hanging protocols may have; None for anything else."""
    if not isinstance(value, list) or [type(n) for n in value] != [int, int]:
        return None
    rows, columns = value
    return (rows, columns) if rows in range(1, MOST_ROWS + 1) and columns in range(1, MOST_COLUMNS + 1) else None


def _pane(data: object) -> RestorablePane | None:
    if not isinstance(data, dict):
        return None
    number, path, uid, frame = (data.get(name) for name in ("number", "path", "sop_instance_uid", "frame"))
    if type(number) is not int or type(frame) is not int or not isinstance(path, str) or not isinstance(uid, str):
        return None
    palette, turns = data.get("palette"), data.get("quarter_turns")
    view = View(
        window=_window(data.get("window")),
        inverted=data.get("inverted") is True,
        palette=palette if palette in PALETTES else "",
        quarter_turns=turns if type(turns) is int and turns in range(4) else 0,
        flip_horizontal=data.get("flip_horizontal") is True,
        flip_vertical=data.get("flip_vertical") is True,
    )
    return RestorablePane(number, path, uid, frame, view)


def _window(value: object) -> Window | None:
    functions: dict[object, VoiFunction] = {f: f for f in get_args(VoiFunction)}
    if not isinstance(value, list) or len(value) not in (3, 4):  # without a table as it was once written
        return None
    if not isinstance(value[2], str) or value[2] not in functions:
        return None
    table = value[3] if len(value) == 4 else None
    if table is not None and (type(table) is not int or table < 0):
        return None
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in value[:2]):
        return None
    try:
        center, width = map(float, value[:2])
    except OverflowError:  # an integer of hundreds of digits
        return None
    is_usable = math.isfinite(center) and math.isfinite(width) and width > 0
    return Window(center, width, functions[value[2]], voi_lut=table) if is_usable else None
