"""What a report of a problem needs to hold: versions, the computer, what runs, what the log last said; never of whom.

No path, no name, no value of a file: paths are named after patients, and arguments of log
lines may quote files. Of a log line only what stands in the program's own source is kept.
"""

from __future__ import annotations

import locale
import logging
import platform
import traceback
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import medviewer
from medviewer.app.on_screen import selections
from medviewer.app.state import State
from medviewer.imaging import decode

if TYPE_CHECKING:  # commands act on the application, which holds their table
    from medviewer.app.application import Application

PACKAGES = ("PySide6-Essentials", "pyqtgraph", "numpy", "pydicom", "SimpleITK", "highdicom", "onnxruntime")
_MORE_PACKAGES = (
    "onnxruntime-gpu", "onnxruntime-directml", "imagecodecs", "python-gdcm", "pylibjpeg-openjpeg", "pylibjpeg-rle",
    "pyjpegls", "SQLAlchemy", "pillow",
)  # fmt: skip
_KEPT_LINES = 40
_PACKAGE = Path(medviewer.__file__).parent

Facts = Iterable[tuple[str, str]]


class LogLines(logging.Handler):
    """Keeps the last lines of the log, each without its values."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: deque[str] = deque(maxlen=_KEPT_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line; the terminal gets it as it would without us."""
        words = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
        self.lines.append(f"{record.levelname} {record.name}: {words}")
        if record.exc_info and record.exc_info[0] is not None:
            self.lines.append(f"  {record.exc_info[0].__name__}: {_places(record.exc_info[2])}")
        last = logging.lastResort
        if last is not None and record.levelno >= last.level and not logging.getLogger().handlers:
            last.handle(record)


def _places(where: TracebackType | None) -> str:
    """Where in our own source a failure came through."""
    frames = traceback.extract_tb(where)
    own = [f for f in frames if Path(f.filename).is_relative_to(_PACKAGE)]
    return " > ".join(f"{Path(f.filename).relative_to(_PACKAGE).as_posix()}:{f.lineno}" for f in own)


RECENT = LogLines()


@contextmanager
def log_lines_kept() -> Iterator[None]:
    """Keep the program's own log lines for as long as the block lasts."""
    ours = logging.getLogger("medviewer")
    before = ours.level
    ours.addHandler(RECENT)
    ours.setLevel(logging.INFO)
    try:
        yield
    finally:
        ours.setLevel(before)
        ours.removeHandler(RECENT)


def copy(app: Application, _argument: object) -> None:
    """Put the diagnostics on the clipboard."""
    if app.front.copy_text(describe(app)):
        app.notify("info", "Diagnostics were copied; they hold no identity and no paths.")


def describe(app: Application) -> str:
    """The diagnostics as text, in English."""
    parts = (
        ("MedViewer", [("version", medviewer.__version__), *_packages()]),
        ("Computer", [*_computer(), *app.front.screen_facts()]),
        ("Running", _running(app)),
        ("Open", _open(app.state)),
    )
    lines = []
    for title, facts in parts:
        lines += [title, *(f"  {name}: {value}" for name, value in facts), ""]
    lines += ["Last log lines (values withheld)", *(f"  {line}" for line in RECENT.lines or ("none",))]
    return "\n".join(lines) + "\n"


def _packages() -> Facts:
    from importlib import metadata  # noqa: PLC0415 - only needed here, and slow to import

    for name in (*PACKAGES, *_MORE_PACKAGES):
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            if name in PACKAGES:
                yield name, "not installed"


def _computer() -> Facts:
    import psutil  # noqa: PLC0415 - only needed here

    yield "system", f"{platform.system()} {platform.release()} {platform.machine()}"
    yield "Python", platform.python_version()
    yield "cores", str(psutil.cpu_count() or "unknown")
    memory = psutil.virtual_memory()
    yield "memory", f"{_gb(memory.total)} in all, {_gb(memory.available)} free"
    yield "used by MedViewer", _gb(psutil.Process().memory_info().rss)
    yield "text encoding", locale.getpreferredencoding(False)


def _gb(size: int) -> str:
    return f"{size / 2**30:.1f} GB"


def _running(app: Application) -> Facts:
    # Why a provider was chosen may quote a path of this computer: only which one it is.
    provider = app.state.provider.removeprefix("Running on: ").partition(", because")[0]
    yield "models run on", provider or "none has run yet"
    entries = app.engine.catalogue.entries
    yield "models", f"{len(entries)}, of which {sum(1 for e in entries if e.problem)} cannot be used"
    yield "decoder processes", str(len(decode.worker_pids()))
    yield "jobs", str(len(app.jobs.running))
    yield "background jobs", str(len(app.background.running))
    yield "writes", str(len(app.writes.running))
    yield "not written", str(len(app.lost))


def _open(state: State) -> Facts:
    collection = state.collection
    yield "patients", str(len(collection.patients))
    yield "studies", str(sum(len(p.studies) for p in collection.patients))
    yield "images", str(sum(1 for _ in selections(collection)))
    yield "files that cannot be shown", str(len(collection.problems))
    yield "viewports", f"{state.layout[0]} x {state.layout[1]}"
    if state.second is not None:
        yield "second image window", f"{state.second[0]} x {state.second[1]}"
    yield "language", state.language
    now, frame = state.selection, state.frame
    if now is not None and frame is not None:
        rows, columns = frame.stored.shape[:2]
        yield "image on screen", f"{columns} x {rows}, {frame.stored.dtype}, of {len(now.stack.images)}"
        yield "compressed with loss", {True: "yes", False: "no", None: "perhaps"}[frame.description.is_lossy]
