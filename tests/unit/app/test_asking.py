"""What leaves the program is what the reader was asked about, whatever arrives while a dialog waits for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from medviewer.app.application import NoFront
from medviewer.app.asking import SCREEN_CHANGED
from medviewer.app.exporting import ExportWish
from medviewer.app.filming import FilmWish
from medviewer.app.printing import PrintWish
from medviewer.app.saving import SaveWish
from medviewer.app.state import View
from tests.radiographs import write_radiograph, write_slices

if TYPE_CHECKING:
    from medviewer.app.application import Application


class Paper:
    """A picture and a page in one."""

    def png(self) -> bytes:
        return b"\x89PNG\r\n\x1a\n"

    def pdf(self) -> bytes:
        return b"%PDF-"

    def send(self) -> bool:
        return False


class Front(NoFront):
    """Answers each question after something else has happened."""

    def __init__(self, wish: Any, meanwhile: Callable[[], None]) -> None:
        self.wish, self.meanwhile = wish, meanwhile
        self.drawn = 0

    def _answered(self) -> Any:
        self.meanwhile()
        return self.wish

    ask_export = ask_film = ask_print = ask_save = _answered

    def _draw(self, *_what: Any, **_how: Any) -> Any:
        self.drawn += 1
        return Paper()

    draw_image = draw_sheet = draw_result = _draw

    def film_painter(self, *_what: Any, **_how: Any) -> Any:
        self.drawn += 1


@pytest.fixture
def stack(application: Application, tmp_path: Path) -> Application:
    write_slices(tmp_path / "ct", 6)
    application.run_command("file.open_folder", tmp_path / "ct")
    return application


QUESTIONS = {
    "file.export_image": lambda out: ExportWish(out / "a.png"),
    "file.export_film": lambda out: FilmWish(out / "a.avi", 0, 5, 10.0),
    "file.print": lambda _out: PrintWish(),
    "file.save_results": SaveWish,
}


def asked(app: Application, command: str, out: Path, meanwhile: Callable[[], None]) -> Front:
    out.mkdir()
    front = Front(QUESTIONS[command](out), meanwhile)
    app.front = front
    app.run_command(command)
    return front


def said(app: Application) -> str:
    return app.state.notice.text if app.state.notice is not None else ""


@pytest.mark.parametrize("command", QUESTIONS)
def test_another_patient_that_arrives_during_the_question_does_not_leave(
    stack: Application, tmp_path: Path, command: str
) -> None:
    app = stack
    if command == "file.save_results":
        app.run_command("file.open_files", [write_radiograph(tmp_path / "a.dcm")])
        app.run_command("model.run")
    other = write_radiograph(tmp_path / "b.dcm", patient_id="B", name="Beta^Ben")

    def arrives() -> None:
        app.wishes.runs_when_opened = True  # so that there is a result to be saved again
        app.run_command("file.open_files", [other])

    front = asked(app, command, tmp_path / "out", arrives)
    assert app.state.selection is not None
    assert app.state.selection.patient.name == "Beta^Ben"
    assert said(app) == SCREEN_CHANGED
    assert front.drawn == 0
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("command", ["file.export_image", "file.export_film", "file.print"])
def test_a_cine_stands_still_while_the_reader_is_asked(stack: Application, tmp_path: Path, command: str) -> None:
    app = stack
    app.run_command("image.cine")
    assert app.state.is_playing
    during: list[int] = []

    def clock() -> None:
        app.run_command("image.play_on")
        assert app.state.selection is not None
        during.append(app.state.selection.index)

    front = asked(app, command, tmp_path / "out", clock)
    assert during == [0]
    assert not app.state.is_playing
    assert front.drawn == 1


def test_a_film_is_of_the_stack_that_was_counted_in(stack: Application, tmp_path: Path) -> None:
    """Files of the series are found: the first and last image would be other ones."""
    app = stack

    def grows() -> None:
        now = app.state.selection
        assert now is not None
        fewer = replace(now.stack, images=now.stack.images[:-1])
        app.session.update(selection=replace(now, stack=fewer))

    front = asked(app, "file.export_film", tmp_path / "out", grows)
    assert said(app) == SCREEN_CHANGED
    assert front.drawn == 0


@pytest.mark.parametrize("command", ["file.export_image", "file.print"])
def test_the_view_is_the_one_that_was_seen(stack: Application, tmp_path: Path, command: str) -> None:
    """A protocol that hangs the study when all of it is there may turn it."""
    app = stack
    front = asked(app, command, tmp_path / "out", lambda: app.session.update(view=View(flip_horizontal=True)))
    assert said(app) == SCREEN_CHANGED
    assert front.drawn == 0


def test_every_viewport_of_a_page_is_the_one_that_was_seen(reader: Application, tmp_path: Path) -> None:
    app = reader
    app.run_command("layout.use", (1, 2))
    other = next(iter(app.state.parked))

    def changes() -> None:
        pane = app.state.parked[other]
        now = app.state.selection
        assert now is not None
        changed = replace(pane, selection=now if pane.selection is None else None)
        app.session.update(parked={other: changed})

    front = asked(app, "file.print", tmp_path / "out", changes)
    assert said(app) == SCREEN_CHANGED
    assert front.drawn == 0


def test_an_answer_that_came_meanwhile_is_not_saved_in_the_place_of_the_one_seen(
    application: Application, tmp_path: Path
) -> None:
    app = application
    app.run_command("file.open_files", [write_radiograph(tmp_path / "a.dcm")])
    app.run_command("model.run")
    asked(app, "file.save_results", tmp_path / "out", lambda: app.run_command("model.run"))
    assert said(app) == SCREEN_CHANGED
    assert not list((tmp_path / "out").iterdir())


def test_what_did_not_change_is_saved(application: Application, tmp_path: Path) -> None:
    app = application
    app.run_command("file.open_files", [write_radiograph(tmp_path / "a.dcm")])
    app.run_command("model.run")
    asked(app, "file.save_results", tmp_path / "out", lambda: app.notify("info", "Something else."))
    assert (tmp_path / "out" / "result.json").is_file()
