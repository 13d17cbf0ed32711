"""After a crash what was open is offered again: never after a clean end, never of a program that still runs."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medviewer.app.last_session import SessionKeeper, find_crashed
from medviewer.app.on_screen import selections
from medviewer.app.state import Selection
from medviewer.domain.study import Window
from tests.radiographs import write_radiograph, write_slices

if TYPE_CHECKING:
    from medviewer.app.application import Application


def dead_number() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def crash(home: Path, own: int) -> Path:
    """Leave the file of this program as one would that was killed."""
    left = home / f"open-{dead_number()}.json"
    (home / f"open-{own}.json").rename(left)
    return left


@pytest.fixture
def slices(tmp_path: Path) -> list[Path]:
    return write_slices(tmp_path / "Kowalska Anna", 5)


@pytest.fixture
def keeper(application: Application) -> SessionKeeper:
    return SessionKeeper(application)


def own_file(app: Application) -> Path:
    return app.home / f"open-{os.getpid()}.json"


def shown(app: Application) -> Selection:
    assert app.state.selection is not None
    return app.state.selection


def test_what_is_open_is_kept_without_pixels_or_names_for_its_owner_alone(
    application: Application, keeper: SessionKeeper, slices: list[Path]
) -> None:
    assert not own_file(application).exists()
    application.run_command("file.open_files", [slices[0].parent])
    application.run_command("image.show", 3)
    application.run_command("view.window", Window(30, 200))
    keeper.flush()
    kept = json.loads(own_file(application).read_text())
    assert kept == {
        "paths": [str(slices[0].parent)], "sop_instance_uid": shown(application).image.sop_instance_uid,
        "frame": 0, "window": [30, 200, "LINEAR"], "pid": os.getpid(),
    }  # fmt: skip
    if os.name == "posix":
        assert stat.S_IMODE(own_file(application).stat().st_mode) == 0o600


def test_a_clean_end_leaves_nothing_to_offer(
    application: Application, keeper: SessionKeeper, slices: list[Path]
) -> None:
    application.run_command("file.open_files", [slices[0].parent])
    assert own_file(application).is_file()
    keeper.close()
    assert not own_file(application).exists()
    keeper.flush()
    assert not own_file(application).exists()


def test_what_is_closed_is_not_offered(application: Application, keeper: SessionKeeper, slices: list[Path]) -> None:
    application.run_command("file.open_files", [slices[0].parent])
    application.run_command("file.close")
    assert not own_file(application).exists()


def test_after_a_crash_the_same_image_comes_back_with_its_window(
    application: Application, keeper: SessionKeeper, slices: list[Path]
) -> None:
    application.run_command("file.open_files", [slices[0].parent])
    application.run_command("image.show", 3)
    application.run_command("view.window", Window(30, 200))
    keeper.flush()
    before = shown(application)
    left = crash(application.home, os.getpid())
    application.run_command("file.close")
    keeper.close()
    SessionKeeper(application)
    assert application.state.restorable is not None
    application.run_command("file.restore")
    assert shown(application).image.key == before.image.key
    assert shown(application).index == 3
    assert application.state.view.window == Window(30, 200)
    assert application.state.restorable is None
    assert not left.exists()


def test_nothing_is_opened_unasked_and_going_on_lets_the_offer_go(
    application: Application, keeper: SessionKeeper, slices: list[Path], tmp_path: Path
) -> None:
    application.run_command("file.open_files", [slices[0].parent])
    left = crash(application.home, os.getpid())
    application.run_command("file.close")
    keeper.close()
    SessionKeeper(application)
    assert application.state.selection is None
    application.run_command("file.open_files", [write_radiograph(tmp_path / "a.dcm")])
    assert application.state.restorable is None
    assert not left.exists()


def test_the_offer_can_be_declined(application: Application, slices: list[Path]) -> None:
    left = write_left(application.home, slices[0].parent)
    SessionKeeper(application)
    application.run_command("file.forget_restore")
    assert application.state.restorable is None
    assert not left.exists()


def write_left(home: Path, *paths: Path, uid: str = "1.2.3") -> Path:
    home.mkdir(parents=True, exist_ok=True)
    left = home / f"open-{dead_number()}.json"
    left.write_text(json.dumps({"paths": list(map(str, paths)), "sop_instance_uid": uid, "frame": 0}))
    return left


def test_a_path_that_is_gone_is_said_and_the_others_are_opened(
    application: Application, slices: list[Path], tmp_path: Path
) -> None:
    write_left(application.home, slices[0].parent, tmp_path / "gone")
    SessionKeeper(application)
    application.run_command("file.restore")
    assert application.state.selection is not None
    assert application.state.notice is not None
    assert application.state.notice.text == "Parts of what was open that could not be found again: 1."


def test_where_all_is_gone_nothing_is_opened_and_it_is_said(application: Application, tmp_path: Path) -> None:
    write_left(application.home, tmp_path / "gone")
    SessionKeeper(application)
    application.run_command("file.restore")
    assert application.state.selection is None
    assert application.state.notice is not None
    assert "no longer there" in application.state.notice.text


def test_an_image_that_is_another_one_now_is_not_taken_for_it(application: Application, slices: list[Path]) -> None:
    write_left(application.home, slices[0].parent, uid="1.2.999")
    SessionKeeper(application)
    application.run_command("file.restore")
    assert application.state.notice is not None
    assert application.state.notice.text == "The image that was on screen could not be found again."


def test_what_a_running_program_has_open_is_not_offered(application: Application, slices: list[Path]) -> None:
    left = write_left(application.home, slices[0].parent)
    left.rename(application.home / f"open-{os.getppid()}.json")
    assert find_crashed(application.home) is None


def test_a_later_program_with_the_same_number_is_another_one(application: Application, slices: list[Path]) -> None:
    left = write_left(application.home, slices[0].parent)
    same = left.rename(application.home / f"open-{os.getppid()}.json")
    os.utime(same, (1_000_000, 1_000_000))
    assert find_crashed(application.home) is not None


def test_the_readers_own_choice_is_not_undone_by_what_is_found_later(
    application: Application, slices: list[Path]
) -> None:
    from medviewer.app.last_session import _Wanted
    from medviewer.app.state import Restorable

    application.run_command("file.open_files", [slices[0].parent])
    every = list(selections(application.state.collection))
    wanted = _Wanted(application, Restorable((), every[4].image.sop_instance_uid, 0), 0)
    wanted._first = every[0].image.key
    application.run_command("image.select", every[2])
    wanted(application.state.collection, is_whole=True)
    assert shown(application).image.key == every[2].image.key


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["paths", "sop_instance_uid", "frame", "window"]), inner)
        ),
        max_leaves=10,
    )
)
def test_any_file_gives_an_offer_that_can_be_used_or_none(
    tmp_path_factory: pytest.TempPathFactory, document: object
) -> None:
    folder = tmp_path_factory.mktemp("home")
    (folder / "open-x.json").write_text(json.dumps(document))
    found = find_crashed(folder)
    if found is not None:
        assert found.paths
        assert found.window is None or found.window[1] > 0
