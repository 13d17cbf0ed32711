"""What every test runs under: its own home folder, and nothing unexpected left unsaid or left over."""

from __future__ import annotations

import gc
import logging
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

# Shared machines stall: a deadline would fail tests for their neighbour's work.
settings.register_profile("medviewer", deadline=None, print_blob=True)
settings.load_profile("medviewer")

_WINDOW_TESTS = ("tests/gui/", "tests/journeys/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A warning of Qt fails every test that opens a window."""
    for item in items:
        if any(part in item.path.as_posix() for part in _WINDOW_TESTS):
            item.add_marker(pytest.mark.qt_log_level_fail("WARNING"))


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
    shown = [w for w in _top_level_widgets() if w not in widgets]
    if shown:
        gc.collect()
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
