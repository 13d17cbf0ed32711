"""A stack leaves the program as a film: whole or not at all, without identity unless that is asked for."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from medviewer.app import filming
from medviewer.app.application import NoFront
from medviewer.app.commands import command
from medviewer.app.exporting import MP4
from medviewer.app.filming import FilmWish, rate_of, way_of
from medviewer.app.picture import Picture
from medviewer.app.state import State
from medviewer.domain.errors import InputError, Stopped
from medviewer.domain.progress import StopToken
from tests.dicom_maker import write_volumes
from tests.radiographs import write_slices
from tests.unit.imaging.test_avi_file import chunks
from tests.unit.imaging.test_mp4_file import samples

if TYPE_CHECKING:
    from medviewer.app.application import Application


class Drawn:
    def __init__(self, value: int) -> None:
        self._value = value

    def png(self) -> bytes:
        raise AssertionError

    def pixels(self) -> np.ndarray:
        return np.full((16, 24, 3), self._value, np.uint8)


class Front(NoFront):
    def __init__(self) -> None:
        self.asked: list[tuple[str, bool]] = []
        self.drawn: list[int] = []
        self.fails_at = -1
        self.before_drawing = lambda: None

    def film_painter(self, what: str, *, with_identity: bool):  # type: ignore[no-untyped-def,override]
        self.asked.append((what, with_identity))

        def draw(state: State, picture: Picture) -> Drawn:
            assert state.selection is not None
            assert state.frame is picture.frame
            if state.selection.index == self.fails_at:
                raise InputError("This image cannot be read.")
            self.before_drawing()
            self.drawn.append(int(picture.frame.stored[0, 0]))
            return Drawn(10 * state.selection.index)

        return draw


@pytest.fixture
def stack(application: Application, tmp_path: Path) -> Application:
    write_slices(tmp_path / "ct", 6)
    application.run_command("file.open_folder", tmp_path / "ct")
    application.front = Front()
    return application


def front(app: Application) -> Front:
    assert isinstance(app.front, Front)
    return app.front


def said(app: Application) -> str:
    assert app.state.notice is not None
    return app.state.notice.text


def test_the_images_asked_for_are_filmed_in_their_order(stack: Application, tmp_path: Path) -> None:
    stack.run_command("image.show", 3)
    stack.run_command("file.export_film", FilmWish(tmp_path / "film", 1, 4, 12.0))
    content = (tmp_path / "film.avi").read_bytes()
    assert len(chunks(content, 0, len(content))["00dc"]) == 4
    assert front(stack).drawn == [1001, 1002, 1003, 1004]  # each slice has its own even grey
    assert front(stack).asked == [("view", False)]
    assert said(stack) == "The film was saved, without identity."
    assert stack.state.selection is not None
    assert stack.state.selection.index == 3
    stack.run_command("file.export_film", FilmWish(tmp_path / "b.avi", 0, 0, 1.0, "stored", with_identity=True))
    assert front(stack).asked[-1] == ("stored", True)
    assert said(stack) == "The film was saved."


def test_identity_that_is_hidden_does_not_leave(stack: Application, tmp_path: Path) -> None:
    stack.run_command("view.hide_identity")
    stack.run_command("file.export_film", FilmWish(tmp_path / "a.avi", 0, 5, 12.0, with_identity=True))
    assert "Identity is hidden" in said(stack)
    assert front(stack).asked == []
    assert not (tmp_path / "a.avi").exists()


@pytest.mark.parametrize(
    ("first", "last", "rate"), [(-1, 2, 10.0), (0, 6, 10.0), (3, 2, 10.0), (0, 5, 0.0), (0, 5, 1e9)]
)
def test_images_and_rates_that_there_are_not(
    stack: Application, tmp_path: Path, first: int, last: int, rate: float
) -> None:
    stack.run_command("file.export_film", FilmWish(tmp_path / "a.avi", first, last, rate))
    assert "no such images" in said(stack)
    assert not (tmp_path / "a.avi").exists()


def test_a_film_with_an_image_that_cannot_be_read_is_not_there(stack: Application, tmp_path: Path) -> None:
    (tmp_path / "a.avi").write_bytes(b"RIFFold")
    front(stack).fails_at = 4
    stack.run_command("file.export_film", FilmWish(tmp_path / "a.avi", 0, 5, 12.0))
    assert said(stack) == "This image cannot be read."
    assert (tmp_path / "a.avi").read_bytes() == b"RIFFold"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.avi", "ct"]


def test_a_film_that_is_cancelled_is_not_there(stack: Application, tmp_path: Path) -> None:
    front(stack).before_drawing = lambda: stack.run_command("job.cancel")
    stack.run_command("file.export_film", FilmWish(tmp_path / "a.avi", 0, 5, 12.0))
    assert len(front(stack).drawn) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["ct"]


def test_a_file_of_another_kind_is_not_replaced(stack: Application, tmp_path: Path) -> None:
    (tmp_path / "a.avi").write_bytes(b"my thesis")
    stack.run_command("file.export_film", FilmWish(tmp_path / "a.avi", 0, 5, 12.0))
    assert said(stack) == "What has that name is not an AVI film and would be lost; choose another name."
    assert (tmp_path / "a.avi").read_bytes() == b"my thesis"


def test_an_mp4_film_takes_the_place_of_one_but_of_nothing_else(stack: Application, tmp_path: Path) -> None:
    wish = FilmWish(tmp_path / "a.mp4", 0, 5, 12.0, kind=MP4)
    (tmp_path / "a.mp4").write_bytes(b"\0\0\0\x18ftypM4V ")  # another program's
    stack.run_command("file.export_film", wish)
    assert said(stack) == "The film was saved, without identity."
    content = (tmp_path / "a.mp4").read_bytes()
    assert len(samples(content)) == 6
    stack.run_command("file.export_film", FilmWish(tmp_path / "a", 0, 1, 12.0, kind=MP4))
    assert "is there already" in said(stack)  # nobody was asked about a.mp4
    assert (tmp_path / "a.mp4").read_bytes() == content
    (tmp_path / "a.mp4").write_bytes(b"my thesis")
    stack.run_command("file.export_film", wish)
    assert said(stack) == "What has that name is not an MP4 film and would be lost; choose another name."
    assert (tmp_path / "a.mp4").read_bytes() == b"my thesis"


def test_only_a_stack_of_stored_images_is_filmed(stack: Application, tmp_path: Path) -> None:
    stack.run_command("layout.planes")
    assert stack.state.cut is not None
    stack.run_command("file.export_film", FilmWish(tmp_path / "a.avi", 0, 5, 12.0))
    assert not (tmp_path / "a.avi").exists()
    assert said(stack).startswith("A film shows stored images")
    assert stack.state.notice is not None
    assert stack.state.notice.level == "info"


@pytest.fixture
def heart(application: Application, tmp_path: Path) -> Application:
    """Five phases of four slices, 40 ms apart; the pixels are 100 x phase + slice."""
    (tmp_path / "heart").mkdir()
    write_volumes(tmp_path / "heart", 5, lambda v, _p: {"TriggerTime": 40 * v})
    application.run_command("file.open_folder", tmp_path / "heart")
    application.front = Front()
    application.run_command("image.show_volume", 3)
    application.run_command("image.first")
    application.run_command("image.next")
    return application


def test_a_film_beats_in_time_at_the_slice_on_screen(heart: Application, tmp_path: Path) -> None:
    """Not slice after slice of one phase and then those of the next: that shows no motion that ever was."""
    assert way_of(heart.state) == "axis"
    now = heart.state.selection
    assert now is not None
    assert rate_of(now, "axis") == pytest.approx(25.0)
    heart.run_command("file.export_film", FilmWish(tmp_path / "a.avi", 0, 4, 25.0, way="axis"))
    assert front(heart).drawn == [1, 101, 201, 301, 401]
    heart.run_command("file.export_film", FilmWish(tmp_path / "b.avi", 0, 5, 25.0, way="axis"))
    assert "no such images" in said(heart)


def test_a_film_through_the_slices_stays_in_the_volume_on_screen(heart: Application, tmp_path: Path) -> None:
    heart.run_command("image.cine_way")
    assert way_of(heart.state) == "slices"
    assert heart.state.selection is not None
    assert rate_of(heart.state.selection) == 15.0
    heart.run_command("file.export_film", FilmWish(tmp_path / "a.avi", 0, 3, 15.0))
    assert front(heart).drawn == [300, 301, 302, 303]
    heart.run_command("file.export_film", FilmWish(tmp_path / "b.avi", 0, 4, 15.0))
    assert "no such images" in said(heart)


@pytest.mark.parametrize(("own", "used"), [(None, 15.0), (25.0, 25.0), (1e6, 60.0), (0.01, 1.0)])
def test_the_rate_is_the_files_own(stack: Application, own: float | None, used: float) -> None:
    now = stack.state.selection
    assert now is not None
    images = tuple(replace(image, frame_rate_hz=own) for image in now.stack.images)
    assert rate_of(replace(now, stack=replace(now.stack, images=images))) == used


def test_a_window_that_never_draws_does_not_hold_up_who_cancelled() -> None:
    posted: list[Callable[[], None]] = []
    app = SimpleNamespace(post=posted.append)  # a window that is closing takes calls and makes none
    stop, ended = StopToken(), threading.Event()

    def work() -> None:
        with contextlib.suppress(Stopped):
            filming._on_gui_thread(app, lambda: 1, stop)  # type: ignore[arg-type]
        ended.set()

    thread = threading.Thread(target=work)
    thread.start()
    stop.stop()
    was_in_time = ended.wait(5)
    for call in posted:
        call()
    thread.join()
    assert was_in_time


@pytest.mark.parametrize("command_id", ["file.export_film", "file.print", "layout.hang"])
def test_viewports_that_the_3d_view_hides_are_not_filmed_printed_or_hung(stack: Application, command_id: str) -> None:
    assert command(command_id).enabled(stack.state)
    assert not command(command_id).enabled(replace(stack.state, scene=object()))  # type: ignore[arg-type]
