"""The window as a program: set up Qt, show the window, take it down; and the same drawn off screen."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from PySide6.QtCore import (
    QElapsedTimer,
    QEventLoop,
    QMessageLogContext,
    Qt,
    QThread,
    QTimer,
    QtMsgType,
    qInstallMessageHandler,
)
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication

from medviewer.app.application import Application
from medviewer.app.diagnostics import log_lines_kept
from medviewer.app.jobs import UNEXPECTED
from medviewer.app.on_screen import is_record_checked
from medviewer.app.opening import is_drawable
from medviewer.app.result import Result
from medviewer.app.settings import HOME_VARIABLE, home
from medviewer.app.start import running_application
from medviewer.app.state import Selection, State
from medviewer.domain.errors import MedViewerError, StorageError, without_data
from medviewer.gui.icons import icon
from medviewer.gui.language import language, use_language
from medviewer.gui.post import GuiPost
from medviewer.gui.theme import apply_theme
from medviewer.gui.window import TITLE, MainWindow
from medviewer.imaging import decode, pdf
from medviewer.inference.catalogue import Entry

log = logging.getLogger(__name__)

_IMAGE_FIRST_MS = 150  # that the window waits for the first image before it opens without
_REST_AFTER_MS = 1_000  # that the rest of the window waits for the first image, and for what else is read
_LOOK_EVERY_MS = 5
_NOTHING = object()
_LAYOUT_ROUNDS = 5  # new words change a label's height, that its card's, that the panel's

_X11_LIBRARIES = {  # that Qt's X11 plugin links and a bare Debian may lack, with their packages
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-image.so.0": "libxcb-image0",
    "libxcb-render-util.so.0": "libxcb-render-util0",
    "libxcb-shape.so.0": "libxcb-shape0",
    "libxcb-xkb.so.1": "libxcb-xkb1",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
}

Until = Callable[[State], bool]


def run_window(paths: Sequence[Path] = (), *, sample: bool = False) -> int:
    """Show the window until the reader closes it.

    Args:
        paths: opened at once.
        sample: open the sample study and run the model on it, as the demo does.

    Returns:
        The exit code of Qt's event loop.

    Raises:
        StorageError: something that the reader did was not written before the end.
    """
    qt = _qt_application()
    with _window(qt, home(), is_whole=not paths) as (app, window):
        window.open_as_before()  # before there is an image: what is arranged from then on can be undone
        if sample:
            app.wishes.runs_when_opened = True
            app.run_command("file.open_sample")
        elif paths:
            app.run_command("file.open_files", list(paths))
            _wait_for_image(app)
        window.show()
        if window.is_whole:
            _collect_garbage()
        else:
            _make_rest(app, window)
        before = signal.signal(signal.SIGINT, lambda _number, _frame: _close_unasked(window))
        wake = QTimer()  # lets Python see Ctrl+C while Qt waits
        wake.start(500)
        wake.timeout.connect(lambda: None)
        try:
            return int(qt.exec())
        finally:
            wake.stop()
            signal.signal(signal.SIGINT, before)


def _wait_for_image(app: Application) -> None:
    """The window comes with its image rather than empty: to draw it twice takes longer than to read one file."""
    clock = QElapsedTimer()
    clock.start()
    tick = QTimer()  # else waiting for events would not end in time
    tick.start(_LOOK_EVERY_MS)
    flags = QEventLoop.ProcessEventsFlag
    while app.jobs.running and not is_drawable(app.state) and clock.elapsed() < _IMAGE_FIRST_MS:
        QApplication.processEvents(flags.AllEvents | flags.WaitForMoreEvents)  # who reads the image needs the time


def _make_rest(app: Application, window: MainWindow) -> None:
    """Once the first image is drawn, make what it did without, part by part: the reader's hand may come in between.

    What the reader waits for comes first, the other files and slices for planes: each would slow the other down.
    """
    clock = QElapsedTimer()
    clock.start()
    timer = QTimer(window)
    rest = window.make_rest()

    def look() -> None:
        if window.isHidden():  # closed already
            timer.stop()
            return
        is_seen = not is_drawable(app.state) or window.has_drawn()
        if (app.jobs.running or not is_seen) and clock.elapsed() < _REST_AFTER_MS:
            return
        if next(rest, _NOTHING) is _NOTHING:
            timer.stop()
            _collect_garbage()

    timer.timeout.connect(look)
    timer.start(_LOOK_EVERY_MS)


def _collect_garbage() -> None:
    """Look for what may go from now on, but not among what the program is made of."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def _close_unasked(window: MainWindow) -> None:
    """Ctrl+C, or the system that shuts down: nobody is there to answer."""
    window.asks_before_closing = False
    window.close()


def grab_window(
    out: Path,
    *,
    paths: Sequence[Path] = (),
    results: Path | None = None,
    size: tuple[int, int] = (1920, 1080),
    timeout_s: float = 180.0,
) -> State:
    """Draw the window without a screen: open, run the model, explain, save its picture.

    Without ``paths`` the sample study is opened. It is the same window, driven by the same
    commands, as on a screen; but unless ``MEDVIEWER_HOME`` is set, its settings and records are
    kept in a folder that is deleted afterwards, so that the user's own stay as they are.

    Args:
        out: where the picture (PNG) goes.
        paths: what to open.
        results: a folder to save the results in, as the Save command does.
        size: of the window, in logical pixels.
        timeout_s: after which waiting for the model is given up.

    Returns:
        The state that the picture shows.

    Raises:
        MedViewerError: the image cannot be shown, or the model could not run.
    """
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    qt = _qt_application()
    with _one_line_less(), _home_for_a_picture() as folder, _window(qt, folder) as (app, window):
        window.resize(*size)
        window.show()
        app.wishes.runs_when_opened = True
        if paths:
            app.run_command("file.open_files", list(paths))
        else:
            app.run_command("file.open_sample")
        _wait(app, lambda state: _is_settled(app, state), timeout_s)
        if results is not None:
            app.run_command("file.save_results", results)
            _wait(app, lambda state: not state.jobs, timeout_s)
        _wait(app, lambda _state: not app.saves.running, timeout_s)
        _wait(app, lambda _state: not app.writes.running and not app.background.running, timeout_s)
        for _ in range(_LAYOUT_ROUNDS):
            QApplication.processEvents()
        out.parent.mkdir(parents=True, exist_ok=True)
        if not window.grab().save(str(out), "PNG"):
            raise MedViewerError(f"The picture {out.name} could not be saved: check the folder and the disk's space.")
        return app.state


def result_pdf(result: Result, selection: Selection, entry: Entry | None, *, with_identity: bool, say_in: str) -> bytes:
    """Draw the page of a result without a screen, as the window does, as a PDF document.

    Args:
        result: the answer with its image and heat maps.
        selection: of which patient and study the image is.
        entry: the model in the catalogue.
        with_identity: whether the page says whose image it is.
        say_in: the language, ``en`` or ``zh``.
    """
    from medviewer.gui.catalogue_rows import row_of  # noqa: PLC0415 - the window opens without them
    from medviewer.gui.result_words import result_page  # noqa: PLC0415

    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    qt = _qt_application()  # to be kept while anything is drawn
    before = language()
    use_language(say_in)
    try:
        row = row_of(entry) if entry is not None else None
        return result_page(result, selection, row, with_identity=with_identity).pdf()
    finally:
        use_language(before)
        qt.processEvents()


@contextmanager
def _home_for_a_picture() -> Iterator[Path]:
    if os.environ.get(HOME_VARIABLE):
        yield home()
        return
    with tempfile.TemporaryDirectory(prefix="medviewer-") as folder:
        yield Path(folder)


@contextmanager
def _window(qt: QApplication, folder: Path, *, is_whole: bool = True) -> Iterator[tuple[Application, MainWindow]]:
    post = GuiPost()
    with log_lines_kept(), running_application(folder, post, has_models=False) as app, _bugs_are_said(app):
        window = MainWindow(app, is_whole=is_whole or app.settings.run_when_opened)
        lost: list[MedViewerError] = []
        try:
            yield app, window
        finally:
            window.close()
            lost = _finish_writing(app, window.shown_losses)
            post.close()
            window.deleteLater()
            qt.sendPostedEvents(None, 0)
    decode.shutdown()
    pdf.shutdown()
    if lost:
        raise StorageError(" ".join(dict.fromkeys(map(str, lost))))


def _finish_writing(app: Application, shown: int) -> list[MedViewerError]:
    """Wait for what is being written; returns what could not be, but for the first ``shown``, which a window showed."""
    app.wishes.run = None
    app.jobs.stop_all()
    app.background.stop_all()
    app.saves.close()
    while app.writes.running or app.saves.running:
        QApplication.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 50)
        QThread.msleep(2)
    return app.lost[shown:]


def _qt_application() -> QApplication:
    existing = QApplication.instance()
    if isinstance(existing, QApplication):
        return existing
    _check_system()
    QGuiApplication.setHighDpiScaleFactorRoundingPolicy(Qt.HighDpiScaleFactorRoundingPolicy.PassThrough)
    qt = QApplication(sys.argv[:1])
    qt.setApplicationName(TITLE)
    qt.setDesktopFileName("medviewer")
    apply_theme(qt)
    qt.setWindowIcon(icon("chest"))
    return qt


def _check_system() -> None:
    """Qt ends the process if a bare Linux lacks one of its libraries; one sentence is better.

    Raises:
        MedViewerError: some are missing; names the packages to install.
    """
    uses_x11 = bool(os.environ.get("DISPLAY")) and not os.environ.get("WAYLAND_DISPLAY")
    if sys.platform != "linux" or not uses_x11 or os.environ.get("QT_QPA_PLATFORM", "xcb") != "xcb":
        return
    if getattr(sys, "frozen", False):
        return  # a packaged program carries it where Qt looks
    missing = [package for library, package in _X11_LIBRARIES.items() if not _can_load(library)]
    if missing:
        raise MedViewerError(
            "The window needs system libraries that are missing; install them with: sudo apt-get install "
            + " ".join(missing)
        )


def _can_load(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


@contextmanager
def _bugs_are_said(app: Application) -> Iterator[None]:
    """A mistake of ours in a slot of Qt is logged without patient data; the window stays usable."""

    def told(_kind: type[BaseException], error: BaseException, _where: TracebackType | None) -> None:
        log.error("unexpected failure in the window", exc_info=without_data(error))
        app.notify("alarm", str(UNEXPECTED))

    before, sys.excepthook = sys.excepthook, told
    try:
        yield
    finally:
        sys.excepthook = before


@contextmanager
def _one_line_less() -> Iterator[None]:
    """Pass on what Qt has to say, but for the one line that its off-screen platform repeats for every window."""

    def tell(_kind: QtMsgType, _context: QMessageLogContext, message: str) -> None:
        if "propagateSizeHints" not in message:
            sys.stderr.write(f"{message}\n")

    before = qInstallMessageHandler(tell)
    try:
        yield
    finally:
        qInstallMessageHandler(before)


def _is_settled(app: Application, state: State) -> bool:
    """Whether nothing more will come by itself."""
    now = state.selection
    if app.jobs.running or app.wishes.run is not None:
        return False
    return now is not None and (state.frame is not None or bool(state.frame_problem)) and is_record_checked(state)


def _wait(app: Application, until: Until, timeout_s: float) -> None:
    """Let Qt work until the state is as wished.

    Raises:
        MedViewerError: the reason that the state gives for never getting there, or time is up.
    """
    clock = QElapsedTimer()
    clock.start()
    while not until(app.state):
        QApplication.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 50)
        notice = app.state.notice
        if notice is not None and notice.level == "alarm":
            raise MedViewerError(notice.text)
        if clock.elapsed() > timeout_s * 1000:
            raise MedViewerError("The window did not finish in time; try again on a quieter computer.")
