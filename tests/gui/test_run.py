"""The program around the window: it starts, says a bug without patient data, and ends whole."""

from __future__ import annotations

import argparse
import gc
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from PySide6.QtCore import QTimer
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication

from medviewer.app import analysis
from medviewer.app.application import Application
from medviewer.app.on_screen import is_record_checked
from medviewer.app.save_jobs import Noted
from medviewer.app.settings import Settings, SettingsFile
from medviewer.cli.window import open_window
from medviewer.domain.answer import Subject
from medviewer.domain.errors import MedViewerError, StorageError
from medviewer.domain.progress import Progress, StopToken
from medviewer.gui import run
from medviewer.gui.run import grab_window, run_window
from medviewer.gui.viewport import Viewport
from medviewer.gui.window import MainWindow
from medviewer.records.audit import AuditTrail
from medviewer.records.store import RecordStore
from tests.answers import make_answer
from tests.radiographs import write_radiograph

Act = Callable[[MainWindow], bool]


@pytest.fixture
def in_the_window(qapp: Any) -> Iterator[Callable[[Act], None]]:
    """Has a function called with the next window while it runs, until it returns True; then the window is closed."""
    before = set(QApplication.topLevelWidgets())
    timer = QTimer()

    def start(act: Act) -> None:
        def look() -> None:
            new = (w for w in QApplication.topLevelWidgets() if isinstance(w, MainWindow) and w not in before)
            window = next((w for w in new if w.isVisible()), None)
            if window is not None and act(window):
                timer.stop()
                window.close()

        timer.timeout.connect(look)
        timer.start(20)

    yield start
    timer.stop()  # after a failure it must not close the next test's window


def test_it_opens_what_it_is_given_and_ends_when_the_window_is_closed(
    in_the_window: Callable[[Act], None], qapp: Any, tmp_path: Path, medviewer_home: Path
) -> None:
    path = write_radiograph(tmp_path / "a.dcm")
    before = signal.getsignal(signal.SIGINT)
    in_the_window(lambda window: window.app.state.frame is not None and bool(window.app.state.recent))
    assert run_window([path]) == 0
    assert SettingsFile(medviewer_home).load().recent == (str(path),)
    assert signal.getsignal(signal.SIGINT) is before
    assert QGuiApplication.applicationName()


def shown_with(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each window that is shown has an image by then."""
    seen: list[bool] = []
    show = MainWindow.show

    def noted(window: MainWindow) -> None:
        seen.append(window.app.state.frame is not None)
        show(window)

    monkeypatch.setattr(MainWindow, "show", noted)
    return seen


def test_the_window_comes_with_its_image(
    in_the_window: Callable[[Act], None], qapp: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = shown_with(monkeypatch)
    monkeypatch.setattr(run, "_IMAGE_FIRST_MS", 20_000)  # a busy machine
    in_the_window(lambda window: not window.app.jobs.running)
    assert run_window([write_radiograph(tmp_path / "a.dcm")]) == 0
    assert seen == [True]


def test_what_the_first_image_does_not_need_comes_after_it(
    in_the_window: Callable[[Act], None], qapp: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With it come the notice of research use, the patient and the tabs; nothing that is seen moves afterwards."""
    drawn: list[Seen] = []
    end: list[Seen] = []
    paint = Viewport.paintEvent

    def painted(viewport: Viewport, event: Any) -> None:
        paint(viewport, event)
        window = viewport.window()
        if isinstance(window, MainWindow) and window.app.state.frame is not None and not drawn:
            drawn.append(seen_of(window))

    def act(window: MainWindow) -> bool:
        if window.is_whole and not window.app.jobs.running and drawn:
            end.append(seen_of(window))
        return bool(end)

    monkeypatch.setattr(Viewport, "paintEvent", painted)
    monkeypatch.setattr(run, "_IMAGE_FIRST_MS", 20_000)  # a busy machine
    monkeypatch.setattr(run, "_REST_AFTER_MS", 20_000)
    in_the_window(act)
    assert run_window([write_radiograph(tmp_path / "a.dcm")]) == 0
    assert drawn[0].made == set()
    assert not drawn[0].has_models
    assert drawn[0].strip_is_seen
    assert "Alpha, Anna" in drawn[0].title
    assert end[0].made == set(PANELS)
    assert end[0].has_models
    assert drawn[0].places == end[0].places


@pytest.mark.parametrize("patience_ms", [20_000, 0])
def test_what_the_reader_waits_for_comes_before_the_rest_of_the_window_but_not_for_ever(
    patience_ms: int,
    in_the_window: Callable[[Act], None], qapp: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    let_go, looks, early = threading.Event(), [0], [False]
    show = MainWindow.show

    def and_ask(window: MainWindow) -> None:
        show(window)
        window.app.start_job("volume", lambda _stop, _progress: let_go.wait(30), lambda _found: None)

    def act(window: MainWindow) -> bool:
        looks[0] += window.has_drawn()
        if not let_go.is_set() and (window.is_whole or looks[0] == 20):
            early[0] = window.is_whole
            let_go.set()
        return let_go.is_set() and window.is_whole

    monkeypatch.setattr(MainWindow, "show", and_ask)
    monkeypatch.setattr(run, "_REST_AFTER_MS", patience_ms)
    in_the_window(act)
    assert run_window([write_radiograph(tmp_path / "a.dcm")]) == 0
    assert early == [not patience_ms]


PANELS = ("findings", "record", "measurements", "layers")


class Seen(NamedTuple):
    """What of a window is made, and where things are."""

    made: set[str]
    has_models: bool
    strip_is_seen: bool
    title: str
    places: tuple[object, ...]


def seen_of(window: MainWindow) -> Seen:
    tabs = window._tabs
    names = [tabs.tabText(at) for at in range(tabs.count())]
    places = (
        window.size(),
        window.splitter.sizes(),
        window.viewport.size(),
        window.tools.geometry(),
        tabs.size(),
        names,
    )
    strip = window.strip.isVisible() and window.strip.height() > 0
    return Seen(window.__dict__.keys() & set(PANELS), window.app.has_models, strip, window.windowTitle(), places)


def test_garbage_is_looked_for_again_once_the_window_is_whole(
    in_the_window: Callable[[Act], None], qapp: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    monkeypatch.setattr(gc, "freeze", lambda: seen.append(True))  # else what other tests leave would stay

    def act(window: MainWindow) -> bool:
        return window.is_whole and gc.isenabled() and not window.app.jobs.running

    in_the_window(act)
    assert open_window(argparse.Namespace(paths=[write_radiograph(tmp_path / "a.dcm")])) == 0
    assert seen == [True]
    assert gc.isenabled()


def test_a_window_that_runs_models_by_itself_knows_them_at_once(
    in_the_window: Callable[[Act], None],
    qapp: Any,
    tmp_path: Path,
    medviewer_home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    SettingsFile(medviewer_home).save(Settings(run_when_opened=True))
    before: list[bool] = []
    monkeypatch.setattr(MainWindow, "open_as_before", lambda window: before.append(window.app.has_models))
    in_the_window(lambda window: not window.app.jobs.running)
    assert run_window([write_radiograph(tmp_path / "a.dcm")]) == 0
    assert before == [True]


def test_the_second_window_is_opened_again_before_there_is_anything_to_undo(
    in_the_window: Callable[[Act], None], qapp: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, bool]] = []
    monkeypatch.setattr(
        MainWindow,
        "open_as_before",
        lambda window: seen.append((bool(window.app.jobs.running), window.app.session.can_undo)),
    )
    in_the_window(lambda window: not window.app.jobs.running)
    assert run_window([write_radiograph(tmp_path / "a.dcm")]) == 0
    assert seen == [(False, False)]


def test_a_slow_disk_does_not_keep_the_window(
    in_the_window: Callable[[Act], None], qapp: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = shown_with(monkeypatch)
    is_shown, read = threading.Event(), analysis.open_paths

    def slow(*arguments: Any) -> Any:
        assert is_shown.wait(30)
        return read(*arguments)

    def act(window: MainWindow) -> bool:
        is_shown.set()
        return window.app.state.frame is not None and not window.app.jobs.running

    monkeypatch.setattr(analysis, "open_paths", slow)
    in_the_window(act)
    assert run_window([write_radiograph(tmp_path / "a.dcm")]) == 0
    assert seen == [False]


@pytest.mark.parametrize("name", ["gone", "notes.txt"])
def test_nothing_to_show_is_said_in_the_window(
    in_the_window: Callable[[Act], None], qapp: Any, tmp_path: Path, name: str
) -> None:
    said: list[str] = []

    def act(window: MainWindow) -> bool:
        notice = window.app.state.notice
        if notice is None or window.app.jobs.running:
            return False
        said.append(notice.text)
        return True

    (tmp_path / "notes.txt").write_text("not an image")
    in_the_window(act)
    assert run_window([tmp_path / name]) == 0
    assert said[0]


def test_the_demonstration_does_not_change_the_readers_settings(
    in_the_window: Callable[[Act], None], qapp: Any, tmp_path: Path, medviewer_home: Path
) -> None:
    """Afterwards the model must not run by itself on whatever is opened."""
    in_the_window(lambda window: window.app.wishes.runs_when_opened)
    assert run_window(sample=True) == 0
    assert SettingsFile(medviewer_home).load().run_when_opened is False


@pytest.mark.qt_no_exception_capture
def test_a_bug_is_said_and_logged_without_patient_data(
    in_the_window: Callable[[Act], None], qapp: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "^".join(["DOE", "JANE"])
    seen: list[str] = []

    def act(window: MainWindow) -> bool:
        if window.app.state.frame is None or window.app.jobs.running or window.app.writes.running:
            return False
        if not seen:
            seen.append("")
            QTimer.singleShot(0, lambda: {}[secret])
            return False
        if window.app.state.notice is not None:
            seen.append(window.app.state.notice.text)
        return len(seen) > 1

    in_the_window(act)
    assert run_window([write_radiograph(tmp_path / "a.dcm")]) == 0
    assert "Something unexpected" in seen[-1]
    assert "KeyError" in caplog.text
    assert secret not in caplog.text


@pytest.mark.parametrize("is_known_at_once", [True, False])
def test_a_decision_that_is_not_written_when_the_window_closes_is_said(
    in_the_window: Callable[[Act], None],
    qapp: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    is_known_at_once: bool,
) -> None:
    """There is no window any more to show it: the program says it, and ends as one that failed."""
    from medviewer.cli import main

    closed = threading.Event()
    opened: list[Application] = []

    def full(*_: object) -> None:
        assert closed.wait(20)
        raise StorageError("The disk is full.")

    def finish(app: Application, shown: int) -> list[MedViewerError]:
        closed.set()
        return real(app, shown)

    def deliver() -> None:
        closed.set()
        while any(app.writes.running for app in opened):  # before anybody waits for it
            QApplication.processEvents()

    monkeypatch.setattr(RecordStore, "save_decision", full)
    real = run._finish_writing
    monkeypatch.setattr(run, "_finish_writing", finish)

    def act(window: MainWindow) -> bool:
        app = window.app
        if app.state.frame is None or app.jobs.running or app.writes.running or not is_record_checked(app.state):
            return False
        subject = Subject(app.state.selection.image.key, "m", "sha")  # type: ignore[union-attr]
        app.session.update(answers=MappingProxyType({subject: make_answer()}), model_id="m")
        app.run_command("finding.accept")
        assert app.state.decisions
        opened.append(app)
        if is_known_at_once:
            qapp.lastWindowClosed.connect(deliver)
        return True

    in_the_window(act)
    try:
        assert main([str(write_radiograph(tmp_path / "a.dcm"))]) == 1
    finally:
        if is_known_at_once:
            qapp.lastWindowClosed.disconnect(deliver)
    assert capsys.readouterr().err.endswith("taken back. The disk is full.\n")


def test_what_is_being_saved_when_the_window_closes_is_saved(
    in_the_window: Callable[[Act], None],
    qapp: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    medviewer_home: Path,
) -> None:
    closed = threading.Event()
    real = run._finish_writing

    def finish(app: Application, shown: int) -> list[MedViewerError]:
        closed.set()
        return real(app, shown)

    monkeypatch.setattr(run, "_finish_writing", finish)

    def slow(_stop: StopToken, _progress: Progress) -> None:
        assert closed.wait(20)
        (tmp_path / "a.txt").touch()

    def act(window: MainWindow) -> bool:
        if window.app.state.frame is None:
            return False
        window.app.saves.start("save", slow, Noted("results.saved"), lambda _none: None)
        return True

    in_the_window(act)
    assert run_window([write_radiograph(tmp_path / "a.dcm")]) == 0
    assert (tmp_path / "a.txt").is_file()
    with RecordStore(medviewer_home / "records.sqlite") as store:
        done = [entry.event.what for entry in AuditTrail(store.database, medviewer_home / "audit").entries()]
    assert "results.saved" in done


def test_a_picture_of_nothing_usable_is_an_error_with_its_reason(qapp: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(MedViewerError, match=r"DICOM|image"):
        grab_window(tmp_path / "window.png", paths=[tmp_path / "notes.txt"])
    assert not (tmp_path / "window.png").exists()


def test_a_missing_system_library_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of Qt's abort: a program that only says which package is missing."""

    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(run.sys, "platform", "linux")
    monkeypatch.setenv("DISPLAY", ":0")
    for name in ("QT_QPA_PLATFORM", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(run.ctypes, "CDLL", missing)
    with pytest.raises(MedViewerError, match="apt-get install libxcb-cursor0 libxcb-icccm4 "):
        run._check_system()
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    run._check_system()
