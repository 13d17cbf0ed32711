"""What every test runs under: its own home folder, and nothing unexpected left unsaid or left over."""

from __future__ import annotations

import gc
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:  # tests of lower layers must not need the upper ones, nor Qt
    from medviewer.app.application import Application
    from medviewer.gui.window import MainWindow
    from tests.fakes import FakeEngine

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
# The processes of a parallel run share the cores. A thread of OpenMP that waits by turning round and round takes the
# core from the one it waits for: two trainings side by side take five times as long as one alone, asleep twice.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if _WORKERS > 1:  # and threads of one operation, which are more than there are cores, wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // _WORKERS)))

# Shared machines stall: a deadline would fail tests for their neighbour's work.
settings.register_profile("medviewer", deadline=None, print_blob=True)
settings.load_profile("medviewer")

_WINDOW_TESTS = ("tests/gui/", "tests/journeys/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A warning of Qt fails every test that opens a window."""
    for item in items:
        if any(part in item.path.as_posix() for part in _WINDOW_TESTS):
            item.add_marker(pytest.mark.qt_log_level_fail("WARNING"))
            # The off-screen platform has no window manager: nothing to raise, no keyboard to grab.
            item.add_marker(pytest.mark.qt_log_ignore("This plugin does not support", extend=True))


class _Unexpected(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings and records of a test never touch the user's, nor another test's."""
    monkeypatch.setenv("MEDVIEWER_HOME", str(tmp_path_factory.getbasetemp() / f"home-{os.urandom(6).hex()}"))


@pytest.fixture
def medviewer_home() -> Path:
    """The folder of settings and records of this test."""
    return Path(os.environ["MEDVIEWER_HOME"])


@pytest.fixture(autouse=True)
def _no_unexpected_log(request: pytest.FixtureRequest) -> Iterator[None]:
    """A warning in the log fails the test; one that expects it asks for ``caplog`` and looks there."""
    handler = _Unexpected()
    logging.getLogger().addHandler(handler)
    yield
    logging.getLogger().removeHandler(handler)
    if handler.records and "caplog" not in request.fixturenames:
        told = "; ".join(f"{r.name} {r.levelname}: {r.getMessage()}" for r in handler.records)
        pytest.fail(f"unexpected in the log: {told}")


@pytest.fixture(autouse=True)
def _nothing_left_over() -> Iterator[None]:
    """A thread or a top-level widget that outlives its test fails it."""
    threads = set(threading.enumerate())
    widgets = set(_top_level_widgets())
    yield
    left = [t for t in threading.enumerate() if t not in threads and not _ends(t)]
    assert not left, f"threads left over: {[t.name for t in left]}"
    if any(w not in widgets for w in _top_level_widgets()):
        gc.collect()  # a window and its slots refer to each other
    shown = [w for w in _top_level_widgets() if w not in widgets]
    assert not shown, f"top-level widgets left over: {shown}"


def _ends(thread: threading.Thread) -> bool:
    """Whether a thread is on its way out; what serves the whole process by design says so in its name."""
    if thread.name.startswith("medviewer-shared"):
        return True
    thread.join(5.0)
    return not thread.is_alive()


def _top_level_widgets() -> list[object]:
    widgets = sys.modules.get("PySide6.QtWidgets")
    if widgets is None or widgets.QApplication.instance() is None:
        return []
    core = sys.modules["PySide6.QtCore"]
    core.QCoreApplication.sendPostedEvents(None, core.QEvent.Type.DeferredDelete.value)
    return list(widgets.QApplication.topLevelWidgets())


class InlineExecutor(Executor):
    """Runs work where it is submitted, at once."""

    def __init__(self, *_like_a_pool: object) -> None:
        super().__init__()

    def submit(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(work(*args, **kwargs))
        return future


class LaterExecutor(Executor):
    """Runs work when the test says so."""

    def __init__(self, *_like_a_pool: object) -> None:
        self.waiting: list[Callable[[], Any]] = []

    def submit(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.waiting.append(lambda: work(*args, **kwargs))
        return Future()

    def step(self) -> None:
        """Run what waits now, not what it brings about."""
        waiting, self.waiting = self.waiting, []
        for work in waiting:
            work()


@pytest.fixture
def fake_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeEngine]:
    """The engine with one tiny chest model and no process."""
    from medviewer.inference.catalogue import Catalogue
    from tests.fakes import MODEL_ID, FakeEngine, make_model

    folder = tmp_path_factory.mktemp("models")
    make_model(folder / MODEL_ID)
    engine = FakeEngine(Catalogue([folder]))
    yield engine
    engine.close()


@pytest.fixture
def application(fake_engine: FakeEngine, medviewer_home: Path) -> Iterator[Application]:
    """The application without a window; all work is done at once, on this thread."""
    from medviewer.app.start import running_application

    with running_application(medviewer_home, lambda call: call(), fake_engine, InlineExecutor) as app:
        yield app


@pytest.fixture
def main_window(qtbot: Any, fake_engine: FakeEngine, medviewer_home: Path) -> Iterator[MainWindow]:
    """The real window, shown off screen, with real threads and an engine without a process."""
    from PySide6.QtWidgets import QApplication

    from medviewer.app.start import running_application
    from medviewer.gui.post import GuiPost
    from medviewer.gui.theme import apply_theme
    from medviewer.gui.window import MainWindow

    qt = QApplication.instance()
    assert isinstance(qt, QApplication)
    if not qt.styleSheet():
        apply_theme(qt)
    post = GuiPost()
    with running_application(medviewer_home, post, fake_engine) as app:
        window = MainWindow(app)
        qtbot.addWidget(window)
        window.show()
        yield window
        fake_engine.gate.set()
        window.close()
        post.close()
