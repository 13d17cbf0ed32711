"""Cancel ends what the reader sees, and nothing else; what was opened in part says so for good."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from medviewer.app import analysis
from medviewer.app.conditions import shown_job
from medviewer.app.measurement_files import offered
from medviewer.app.opening import CUT_SHORT
from medviewer.app.state import JobStatus, State
from medviewer.domain.errors import InputError, Stopped
from medviewer.imaging.scan import scan
from tests.radiographs import write_radiograph, write_slices
from tests.unit.app.test_measuring import draw
from tests.unit.app.test_stacks import Growing

if TYPE_CHECKING:
    from medviewer.app.application import Application


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_slices(tmp_path / "ct", 6)
    return tmp_path / "ct"


def paths_in(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


@pytest.fixture
def opened(
    application: Application, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[], None]], None]:
    """Opens the first images of the folder, then does something, and finds the rest."""

    def run(meanwhile: Callable[[], None]) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(analysis, "open_paths", Growing(paths_in(folder)[:3], meanwhile))
            application.run_command("file.open_files", [folder])

    return run


def said(app: Application) -> str:
    return app.state.notice.text if app.state.notice is not None else ""


def n_images(app: Application) -> int:
    assert app.state.selection is not None
    return len(app.state.selection.stack.images)


def test_who_cancels_something_else_has_the_whole_stack(
    application: Application, opened: Callable[[Callable[[], None]], None]
) -> None:
    app = application

    def cancel() -> None:
        app.show_progress("explain", 1, 3, "")  # as if it ran
        app.show_progress("open", 3, 6, "")  # which tells of itself again and again
        app.run_command("job.cancel")

    opened(cancel)
    assert n_images(app) == 6
    assert not app.state.is_partial


def test_what_is_shown_is_the_latest_and_the_opening_only_by_itself() -> None:
    names = {
        (): None,
        ("open",): "open",
        ("open", "film #1"): "film #1",
        ("film #1", "open"): "film #1",
        ("film #1", "model", "open"): "model",
    }
    for running, expected in names.items():
        job = shown_job(State(jobs=tuple(JobStatus(name, "") for name in running)))
        assert (job.name if job is not None else None) == expected


def test_a_job_keeps_its_place_when_it_tells_of_itself(application: Application) -> None:
    """Else what the reader sees changes under the mouse that cancels it."""
    app = application
    for slot, done in (("model", 0), ("film #1", 0), ("model", 1), ("film #1", 1), ("model", 2)):
        app.show_progress(slot, done, 9, "")
        if done:
            job = shown_job(app.state)
            assert job is not None
            assert (job.name, job.text) == ("film #1", "Saving the film")
    assert [(job.name, job.done) for job in app.state.jobs] == [("model", 2), ("film #1", 1)]


def test_what_was_opened_in_part_says_so(
    application: Application, opened: Callable[[Callable[[], None]], None], folder: Path
) -> None:
    app = application

    def cancel() -> None:
        app.run_command("job.cancel")
        raise Stopped

    opened(cancel)
    assert n_images(app) == 3
    assert app.state.is_partial
    assert app.state.notice is not None
    assert (app.state.notice.level, said(app)) == ("caution", CUT_SHORT)
    app.notify("info", "")
    app.run_command("image.next")
    assert app.state.is_partial
    app.run_command("file.open_folder", folder)
    assert n_images(app) == 6
    assert not app.state.is_partial


def test_what_was_cut_short_by_a_failure_or_another_folder_says_so_too(
    application: Application,
    opened: Callable[[Callable[[], None]], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = application
    (tmp_path / "empty").mkdir()

    def fail() -> None:
        raise InputError("The disk was taken out.")

    opened(fail)
    assert app.state.is_partial
    assert said(app) == "The disk was taken out."
    app.run_command("file.close")
    assert not app.state.is_partial

    def elsewhere() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(analysis, "open_paths", lambda *_: scan([]))
            app.run_command("file.open_folder", tmp_path / "empty")
        raise Stopped

    opened(elsewhere)
    assert n_images(app) == 3
    assert app.state.is_partial


def test_what_is_whole_stays_whole_when_another_opening_is_cancelled(
    application: Application, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = application
    app.run_command("file.open_folder", folder)

    def cancelled(*_: object) -> None:
        app.run_command("job.cancel")
        raise Stopped

    monkeypatch.setattr(analysis, "open_paths", cancelled)
    app.run_command("file.open_files", [write_radiograph(tmp_path / "a.dcm")])
    assert n_images(app) == 6
    assert not app.state.is_partial
    assert said(app) == ""


def test_what_lies_beside_a_part_is_looked_for(
    application: Application, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report of measurements that was found before the reader cancelled."""
    app = application
    app.run_command("file.open_folder", folder)
    draw(app)
    app.run_command("measure.save_report", folder)
    app.run_command("file.close")
    report = folder / "measurements.sr.dcm"

    def cancel() -> None:
        app.run_command("job.cancel")
        raise Stopped

    monkeypatch.setattr(app.records.store(), "measurement_history", lambda _uid: ())  # as in another reader's program
    monkeypatch.setattr(app.records.store(), "measurements_among", lambda _uids: ())
    images = [path for path in paths_in(folder) if path != report]
    with monkeypatch.context() as patch:
        patch.setattr(analysis, "open_paths", Growing([*images[:3], report], cancel))
        app.run_command("file.open_files", [folder])
    assert n_images(app) == 3
    assert len(offered(app.state)) == 1
