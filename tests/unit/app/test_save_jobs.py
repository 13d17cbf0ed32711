"""What the reader saves is there, and in the audit trail, whatever is opened, saved or closed meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from medviewer.app.application import NoFront
from medviewer.app.exporting import ExportWish
from medviewer.app.filming import FilmWish
from medviewer.app.save_jobs import CANCELLED, FILM_LOST, Noted
from medviewer.app.saving import SaveWish
from medviewer.app.start import running_application
from medviewer.domain.errors import InputError, StorageError
from medviewer.domain.progress import Progress, StopToken
from medviewer.records.audit import AuditTrail
from medviewer.records.store import RecordStore
from tests.conftest import InlineExecutor, LaterExecutor
from tests.radiographs import write_radiograph, write_slices
from tests.unit.app.test_filming import Front as FilmFront
from tests.unit.app.test_measuring import draw
from tests.unit.app.test_opening import zipped

if TYPE_CHECKING:
    from medviewer.app.application import Application
    from tests.fakes import FakeEngine


class Picture:
    def png(self) -> bytes:
        return b"\x89PNG\r\n\x1a\n"


class Front(NoFront):
    def draw_image(self, *_what: Any, **_how: Any) -> Any:
        return Picture()


@pytest.fixture
def later() -> LaterExecutor:
    return LaterExecutor()


@pytest.fixture
def app(fake_engine: FakeEngine, medviewer_home: Path, later: LaterExecutor) -> Iterator[Application]:
    """All is done at once, but for what writes the reader's files: that when the test says so."""

    def make(_threads: int, name: str) -> Any:
        return later if name.endswith("save") else InlineExecutor()

    with running_application(medviewer_home, lambda call: call(), fake_engine, make) as made:
        made.front = Front()
        yield made


@pytest.fixture
def measured(app: Application, tmp_path: Path) -> Application:
    write_slices(tmp_path / "ct", 3)
    app.run_command("file.open_folder", tmp_path / "ct")
    draw(app, "ellipse")
    app.run_command("image.next")
    draw(app, "ellipse")
    return app


@pytest.fixture
def other(tmp_path: Path) -> Path:
    return write_radiograph(tmp_path / "other.dcm", patient_id="B", name="Beta^Ben")


def trail(home: Path) -> list[str]:
    with RecordStore(home / "records.sqlite") as store:
        return [entry.event.what for entry in AuditTrail(store.database, home / "audit").entries()]


def said(app: Application) -> str:
    return app.state.notice.text if app.state.notice is not None else ""


def test_another_folder_does_not_stop_what_is_being_saved(
    measured: Application, later: LaterExecutor, other: Path, tmp_path: Path, medviewer_home: Path
) -> None:
    app = measured
    app.run_command("measure.save_report", tmp_path)
    app.run_command("file.open_files", [other])
    assert [job.text for job in app.state.jobs] == ["Saving"]
    later.step()
    assert (tmp_path / "measurements.sr.dcm").is_file()
    assert said(app) == "Saved in that folder as measurements.sr.dcm."
    assert app.state.jobs == ()
    assert "results.saved" in trail(medviewer_home)


def test_closing_the_studies_does_not_stop_it_either(
    measured: Application, later: LaterExecutor, tmp_path: Path
) -> None:
    measured.run_command("measure.save_report", tmp_path)
    measured.run_command("file.close")
    later.step()
    assert (tmp_path / "measurements.sr.dcm").is_file()


def test_a_later_save_does_not_stop_an_earlier_one(
    measured: Application, later: LaterExecutor, tmp_path: Path, medviewer_home: Path
) -> None:
    app = measured
    app.run_command("image.key")
    app.run_command("measure.save_report", tmp_path)
    app.run_command("measure.save_state", tmp_path)
    app.run_command("measure.save_report", tmp_path)
    app.run_command("file.save_keys", tmp_path)
    later.step()
    names = {path.name for path in tmp_path.glob("*.dcm")}
    assert names == {"measurements.sr.dcm", "measurements.pr.dcm", "measurements-2.sr.dcm", "key-images.ko.dcm"}
    assert trail(medviewer_home).count("results.saved") == 4


def test_what_is_written_as_the_program_ends_is_in_the_trail(
    fake_engine: FakeEngine, medviewer_home: Path, tmp_path: Path
) -> None:
    """Nobody is told any more that it was saved: what tells the trail must not wait for that."""
    posts: list[Callable[[], None]] = []
    is_open = True
    later = LaterExecutor()

    def make(_threads: int, name: str) -> Any:
        return later if name.endswith("save") else InlineExecutor()

    def post(call: Callable[[], None]) -> None:
        if is_open:
            call()
        else:
            posts.append(call)

    with running_application(medviewer_home, post, fake_engine, make) as app:
        app.front = Front()
        app.run_command("file.open_files", [write_radiograph(tmp_path / "a.dcm")])
        app.run_command("model.run")
        app.run_command("file.save_results", SaveWish(tmp_path / "out"))
        app.run_command("file.export_image", ExportWish(tmp_path / "a.png", with_identity=True))
        is_open = False
        app.close()
        later.step()
    assert (tmp_path / "out" / "result.json").is_file()
    assert (tmp_path / "a.png").is_file()
    assert {"results.saved", "image.exported-with-identity"} <= set(trail(medviewer_home))


def test_what_waits_for_its_turn_is_written_before_the_program_ends(
    fake_engine: FakeEngine, medviewer_home: Path, tmp_path: Path
) -> None:
    """With real threads: the pool that writes files is waited for, and nothing in it is given up."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(_stop: StopToken, _progress: Progress) -> None:
        begun.set()
        assert go_on.wait(20)
        (tmp_path / "first").touch()

    with running_application(medviewer_home, lambda call: call(), fake_engine, ThreadPoolExecutor) as app:
        app.saves.start("save", slow, Noted("results.saved", "1"), lambda _none: None)
        for number in range(5):  # more than there are threads
            path = tmp_path / str(number)
            app.saves.start("save", lambda *_, path=path: path.touch(), Noted("results.saved"), lambda _none: None)
        assert begun.wait(20)
        app.close()
        go_on.set()
    assert len(list(tmp_path.iterdir())) == 6
    assert trail(medviewer_home).count("results.saved") == 6


class Turn:
    """A lock that tells when somebody has to wait for it."""

    def __init__(self) -> None:
        self._lock, self.refused = threading.Lock(), threading.Event()
        self.release = self._lock.release

    def acquire(self, timeout: float) -> bool:
        is_ours = self._lock.acquire(timeout=timeout)
        if not is_ours:
            self.refused.set()
        return is_ours


def test_saves_take_turns_and_a_film_holds_up_nobody(fake_engine: FakeEngine, medviewer_home: Path) -> None:
    order: list[str] = []
    film_begun, first_begun, film_goes_on = threading.Event(), threading.Event(), threading.Event()
    turn = Turn()

    def film(_stop: StopToken, _progress: Progress) -> None:
        film_begun.set()
        assert film_goes_on.wait(20)
        order.append("film")

    def first(_stop: StopToken, _progress: Progress) -> None:
        order.append("first begins")
        first_begun.set()
        assert turn.refused.wait(20)
        order.append("first ends")

    def second(_stop: StopToken, _progress: Progress) -> None:
        order.append("second")
        film_goes_on.set()

    with running_application(medviewer_home, lambda call: call(), fake_engine, ThreadPoolExecutor) as app:
        app.saves._turn = turn  # type: ignore[assignment]
        for kind, work, until in (("film", film, film_begun), ("save", first, first_begun), ("save", second, None)):
            app.saves.start(kind, work, Noted("results.saved"), lambda _none: None)
            assert until is None or until.wait(20)
    assert order == ["first begins", "first ends", "second", "film"]


def test_who_cancels_is_told_that_nothing_was_written(
    measured: Application, later: LaterExecutor, tmp_path: Path, medviewer_home: Path
) -> None:
    measured.run_command("measure.save_report", tmp_path)
    measured.run_command("job.cancel")
    later.step()
    assert not list(tmp_path.glob("*.sr.dcm"))
    assert said(measured) == CANCELLED
    assert "results.saved" not in trail(medviewer_home)


def test_who_cancels_too_late_is_told_what_was_saved(app: Application, tmp_path: Path, medviewer_home: Path) -> None:
    """What cannot stop half-way goes on to its end, and is told and noted as always."""

    def work(_stop: StopToken, _progress: Progress) -> None:
        app.run_command("job.cancel")
        (tmp_path / "a").touch()

    later = app.saves._jobs._executor
    assert isinstance(later, LaterExecutor)
    app.saves.start("save", work, Noted("results.saved"), lambda _none: app.notify("info", "It was saved."))
    later.step()
    assert said(app) == "It was saved."
    assert "results.saved" in trail(medviewer_home)


def test_another_folder_does_not_stop_a_film(
    app: Application, later: LaterExecutor, other: Path, tmp_path: Path, medviewer_home: Path
) -> None:
    write_slices(tmp_path / "ct", 3)
    app.run_command("file.open_folder", tmp_path / "ct")
    app.front = FilmFront()
    app.run_command("file.export_film", FilmWish(tmp_path / "a.avi", 0, 2, 10.0))
    app.run_command("file.open_files", [other])
    later.step()
    assert app.front.drawn == [1000, 1001, 1002]  # of the stack that it was asked of
    assert (tmp_path / "a.avi").is_file()
    assert "film.exported" in trail(medviewer_home)


def test_a_film_that_the_end_of_the_program_stops_is_said(
    app: Application, later: LaterExecutor, tmp_path: Path
) -> None:
    write_slices(tmp_path / "ct", 3)
    app.run_command("file.open_folder", tmp_path / "ct")
    app.front = FilmFront()
    app.run_command("file.export_film", FilmWish(tmp_path / "a.avi", 0, 2, 10.0))
    app.close()
    later.step()
    assert [str(error) for error in app.lost] == [FILM_LOST]
    assert not (tmp_path / "a.avi").exists()


def test_what_was_unpacked_stays_until_it_is_saved(
    app: Application, later: LaterExecutor, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = tmp_path / "system"
    system.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(system))
    app.run_command("file.open_files", [zipped(tmp_path / "ct.zip", *write_slices(tmp_path / "ct", 3))])
    draw(app, "ellipse")
    app.frames.clear()  # so that its pixels are read again
    app.run_command("measure.save_report", tmp_path)
    app.run_command("file.open_files", [other])
    assert list(system.iterdir())
    later.step()
    assert (tmp_path / "measurements.sr.dcm").is_file()
    assert not list(system.iterdir())


def test_a_file_that_the_trail_could_not_note_is_there_and_it_is_said(
    measured: Application, later: LaterExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StorageError("The disk is full.")

    measured.run_command("measure.save_report", tmp_path)
    monkeypatch.setattr(AuditTrail, "append", full)
    later.step()
    assert (tmp_path / "measurements.sr.dcm").is_file()
    assert said(measured) == "The disk is full."
    assert [str(error) for error in measured.lost] == ["The disk is full."]


def test_what_could_not_be_saved_is_remembered_for_who_closes_the_window(
    app: Application, later: LaterExecutor, medviewer_home: Path
) -> None:
    def work(_stop: StopToken, _progress: Progress) -> None:
        raise InputError("The image is gone.")

    app.saves.start("save", work, Noted("results.saved"), lambda _none: None)
    later.step()
    assert said(app) == "The image is gone."
    assert [str(error) for error in app.lost] == ["The image is gone."]
    assert not (medviewer_home / "records.sqlite").exists() or "results.saved" not in trail(medviewer_home)
