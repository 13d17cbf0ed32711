"""The first image reaches the screen before the rest of a folder is read, and never keeps it for long."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from medviewer.app import analysis, opening
from medviewer.app.application import NoFront
from medviewer.app.on_screen import selections
from medviewer.app.start import running_application
from medviewer.imaging import scan
from tests.radiographs import write_slices

if TYPE_CHECKING:
    from medviewer.app.application import Application
    from tests.fakes import FakeEngine

N_SLICES = 12
LONG_S = 60.0


class Screen(NoFront):
    """Draws when it is told to."""

    is_drawn = False

    def has_drawn(self) -> bool:
        return self.is_drawn


class Reader:
    """An application with real threads; its calls to the GUI thread run in :meth:`pump`, as Qt would run them."""

    def __init__(self, app: Application, posts: queue.Queue[Callable[[], None]], read: list[Path]) -> None:
        self.app, self.read, self.screen = app, read, Screen()
        self._posts = posts
        app.front = self.screen  # type: ignore[assignment]

    def pump(self, until: Callable[[], bool]) -> None:
        end = time.monotonic() + LONG_S / 2
        while not until():
            assert time.monotonic() < end
            try:
                self._posts.get(timeout=0.01)()
            except queue.Empty:
                continue

    def pump_to_the_end(self) -> None:
        self.pump(lambda: not self.app.jobs.running)


@pytest.fixture
def reader(
    fake_engine: FakeEngine, medviewer_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Reader]:
    posts: queue.Queue[Callable[[], None]] = queue.Queue()
    read: list[Path] = []
    real = scan.scan_header

    def counted(path: Path, parse: Any) -> Any:
        read.append(path)
        return real(path, parse)

    monkeypatch.setattr(scan, "scan_header", counted)
    write_slices(tmp_path / "ct", N_SLICES)
    with running_application(medviewer_home, posts.put, fake_engine) as app:
        yield Reader(app, posts, read)


def test_the_rest_is_read_once_the_first_image_is_drawn(
    reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "_FIRST_IMAGE_S", LONG_S)
    reader.app.run_command("file.open_folder", tmp_path / "ct")
    reader.pump(lambda: reader.app.state.frame is not None)
    time.sleep(0.1)
    assert len(reader.read) == 1
    reader.screen.is_drawn = True
    reader.pump_to_the_end()
    assert len(reader.read) == N_SLICES
    assert len(list(selections(reader.app.state.collection))) == N_SLICES


def test_an_image_that_is_never_drawn_does_not_keep_the_rest(
    reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "_FIRST_IMAGE_S", 0.05)
    reader.app.run_command("file.open_folder", tmp_path / "ct")
    reader.pump_to_the_end()
    assert len(list(selections(reader.app.state.collection))) == N_SLICES


def test_an_image_that_cannot_be_read_does_not_keep_the_rest(
    reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "_FIRST_IMAGE_S", LONG_S)
    first = min((tmp_path / "ct").iterdir())
    first.write_bytes(first.read_bytes()[:-4000])  # into the pixels
    reader.screen.is_drawn = True
    reader.app.run_command("file.open_folder", tmp_path / "ct")
    reader.pump_to_the_end()
    assert len(reader.read) == N_SLICES


def test_nothing_is_held_back_where_nothing_more_is_to_come(
    reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A protocol that turns the image must be at work before it is seen for the first time."""
    monkeypatch.setattr(opening, "_FIRST_IMAGE_S", LONG_S)
    reader.app.run_command("file.open_files", [min((tmp_path / "ct").iterdir())])
    reader.pump_to_the_end()
    assert reader.app.state.selection is not None


def test_who_stops_the_scan_does_not_wait_for_a_drawing(
    reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "_FIRST_IMAGE_S", LONG_S)
    ended = threading.Event()
    real = analysis.open_paths

    def told(*arguments: Any) -> Any:
        try:
            return real(*arguments)
        finally:
            ended.set()

    monkeypatch.setattr(analysis, "open_paths", told)
    reader.app.run_command("file.open_folder", tmp_path / "ct")
    reader.pump(lambda: reader.app.state.frame is not None)
    assert not ended.is_set()
    reader.app.jobs.stop_all()
    assert ended.wait(LONG_S / 2)
    assert len(reader.read) == 1
