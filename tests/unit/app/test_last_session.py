"""After a crash what was open is offered again: never after a clean end, never of a program that still runs."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from medviewer.app import session_file
from medviewer.app.last_session import SessionKeeper, find_crashed, what_is_open
from medviewer.app.layout import LAYOUTS, show_again
from medviewer.app.on_screen import pane_state, selections
from medviewer.app.panes import SECOND, numbers_in, pane_numbers
from medviewer.app.state import Restorable, RestorablePane, Selection, View
from medviewer.domain.study import Window
from medviewer.imaging.palettes import PALETTES
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
        "paths": [str(slices[0].parent)], "layout": [1, 1], "second": None, "has_planes": False, "pid": os.getpid(),
        "panes": [
            {
                "number": 0, "path": str(shown(application).image.path),
                "sop_instance_uid": shown(application).image.sop_instance_uid, "frame": 0,
                "window": [30, 200, "LINEAR", None], "inverted": False, "palette": "", "quarter_turns": 0,
                "flip_horizontal": False, "flip_vertical": False,
            }
        ],
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


@pytest.mark.parametrize("window", [Window(30, 200), Window(30, 200, voi_lut=1)])
def test_after_a_crash_the_same_image_comes_back_with_its_window(
    window: Window, application: Application, keeper: SessionKeeper, slices: list[Path]
) -> None:
    application.run_command("file.open_files", [slices[0].parent])
    application.run_command("image.show", 3)
    application.run_command("view.window", window)
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
    assert application.state.view.window == window
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
    pane = {"number": 0, "path": "", "sop_instance_uid": uid, "frame": 0}
    left.write_text(json.dumps({"paths": list(map(str, paths)), "panes": [pane]}))
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

    application.run_command("file.open_files", [slices[0].parent])
    every = list(selections(application.state.collection))
    offered = Restorable((), (RestorablePane(0, "", every[4].image.sop_instance_uid, 0),))
    wanted = _Wanted(application, offered, 0)
    wanted._first = every[0].image.key
    application.run_command("image.select", every[2])
    wanted(application.state.collection, is_whole=True)
    assert shown(application).image.key == every[2].image.key


def look_like_before(app: Application) -> tuple[Any, ...]:
    """What is on screen, told so that it can be compared with another run of the program."""
    state = app.state
    panes = [(number, pane_state(state, number)) for number in pane_numbers(state)]
    return (
        (state.layout, state.second),
        state.active,
        [
            (number, pane.selection and pane.selection.image.key, replace(pane.view, zoom=None, center=None), pane.cut)
            for number, pane in panes
        ],
    )


def crash_and_restore(app: Application, keeper: SessionKeeper) -> None:
    keeper.flush()
    crash(app.home, os.getpid())
    app.run_command("file.close")
    keeper.close()
    SessionKeeper(app)
    app.run_command("file.restore")


@pytest.mark.parametrize("active", [0, 1])
def test_after_a_crash_images_lie_side_by_side_as_before(
    reader: Application, keeper: SessionKeeper, active: int
) -> None:
    reader.run_command("layout.prior")
    reader.run_command("layout.activate", 1)
    reader.run_command("view.invert")
    reader.run_command("view.palette", PALETTES[0])
    reader.run_command("view.rotate_right")
    reader.run_command("layout.activate", 0)
    reader.run_command("image.show", 4)
    reader.run_command("view.window", Window(30, 200))
    reader.run_command("view.flip_horizontal")
    reader.run_command("layout.activate", active)
    before = look_like_before(reader)
    assert before[0] == ((1, 2), None)
    assert before[2][1][2].palette == PALETTES[0]
    crash_and_restore(reader, keeper)
    assert look_like_before(reader) == before
    assert all(pane_state(reader.state, number).frame is not None for number in (0, 1))


def test_a_viewport_that_was_empty_is_empty_again(reader: Application, keeper: SessionKeeper) -> None:
    reader.run_command("layout.use", (2, 2))
    reader.run_command("layout.activate", 1)
    before = look_like_before(reader)
    assert [pane[1] is None for pane in before[2]] == [False, False, True, True]
    crash_and_restore(reader, keeper)
    assert look_like_before(reader) == before


def test_the_first_viewport_may_be_the_empty_one(reader: Application) -> None:
    now = shown(reader)
    show_again(reader, ((1, 2), None), {1: (now, {})}, 1)
    assert reader.state.active == 1
    assert shown(reader).image.key == now.image.key
    assert pane_state(reader.state, 0).selection is None
    assert pane_state(reader.state, 0).frame is None


def test_the_arrangement_that_came_back_is_undone_as_one(reader: Application, keeper: SessionKeeper) -> None:
    reader.run_command("layout.prior")
    crash_and_restore(reader, keeper)
    assert reader.state.layout == (1, 2)
    reader.run_command("edit.undo")
    assert reader.state.layout == (1, 1)


def test_after_a_crash_planes_are_cut_again(reader: Application, keeper: SessionKeeper) -> None:
    reader.run_command("layout.planes")
    before = [pane_state(reader.state, number).cut for number in numbers_in(reader.state, 0)]
    assert any(before)
    crash_and_restore(reader, keeper)
    after = [pane_state(reader.state, number).cut for number in numbers_in(reader.state, 0)]
    assert [cut and cut.plane for cut in after] == [cut and cut.plane for cut in before]


@pytest.mark.parametrize("active", [0, 1, SECOND])
def test_what_both_windows_showed_comes_back(reader: Application, keeper: SessionKeeper, active: int) -> None:
    reader.run_command("layout.prior")
    reader.run_command("layout.second_window")
    reader.run_command("layout.activate", SECOND)
    reader.run_command("image.select", shown_in(reader, 0))
    reader.run_command("image.show", 2)
    reader.run_command("view.invert")
    reader.run_command("layout.activate", active)
    before = look_like_before(reader)
    assert before[0] == ((1, 2), (1, 1))
    keeper.flush()
    crash(reader.home, os.getpid())
    keeper.close()
    reader.run_command("layout.activate", 0)
    reader.run_command("layout.second_window")  # the next program begins with one window
    reader.run_command("file.close")
    SessionKeeper(reader)
    assert reader.state.second is None
    reader.run_command("file.restore")
    assert look_like_before(reader) == before
    assert all(pane_state(reader.state, number).frame is not None for number in pane_numbers(reader.state))


def shown_in(app: Application, number: int) -> Selection:
    selection = pane_state(app.state, number).selection
    assert selection is not None
    return selection


@pytest.mark.parametrize("is_in_second", [False, True])
def test_planes_come_back_in_their_window_and_an_image_in_the_other(
    reader: Application, keeper: SessionKeeper, is_in_second: bool
) -> None:
    reader.run_command("layout.second_window")
    images = {number: shown_in(reader, number).stack_key for number in (0, SECOND)}
    own, other = (SECOND, 0) if is_in_second else (0, SECOND)
    reader.run_command("layout.activate", own)
    reader.run_command("layout.planes")
    crash_and_restore(reader, keeper)
    assert {shown_in(reader, number).stack_key for number in range(own, own + 4)} == {images[own]}
    assert [pane_state(reader.state, number).cut is not None for number in range(own, own + 4)] == [True] * 3 + [False]
    assert shown_in(reader, other).stack_key == images[other]
    assert pane_state(reader.state, other).cut is None


@pytest.mark.parametrize("is_in_second", [False, True])
def test_of_a_window_with_planes_in_which_the_reader_did_not_work_an_image_comes_back(
    reader: Application, keeper: SessionKeeper, is_in_second: bool
) -> None:
    reader.run_command("layout.second_window")
    images = {number: shown_in(reader, number).stack_key for number in (0, SECOND)}
    reader.run_command("layout.activate", SECOND if is_in_second else 0)
    reader.run_command("layout.planes")
    reader.run_command("layout.activate", 0 if is_in_second else SECOND)
    crash_and_restore(reader, keeper)
    assert {number: shown_in(reader, number).stack_key for number in (0, SECOND)} == images
    assert (reader.state.layout, reader.state.second) == ((1, 1), (1, 1))


def test_of_planes_the_one_in_which_the_reader_worked_is_kept(reader: Application) -> None:
    reader.run_command("layout.planes")
    reader.run_command("layout.activate", 1)
    reader.run_command("view.rotate_right")
    offered = what_is_open(reader)
    assert offered is not None
    assert [(pane.number, pane.view.quarter_turns) for pane in offered.panes] == [(0, reader.state.view.quarter_turns)]


def test_a_reader_in_an_empty_viewport_loses_nothing(reader: Application, keeper: SessionKeeper) -> None:
    reader.run_command("layout.use", (2, 2))
    key = shown_in(reader, 0).image.key
    reader.run_command("layout.activate", 3)
    assert reader.state.selection is None
    assert own_file(reader).is_file()
    crash_and_restore(reader, keeper)
    assert shown_in(reader, 0).image.key == key
    assert reader.state.layout == (2, 2)


def test_shapes_that_only_protocols_have_come_back(reader: Application, keeper: SessionKeeper) -> None:
    now = shown(reader)
    reader.session.update(layout=(3, 1), second=(4, 3))
    keeper.flush()
    found = session_file.read(own_file(reader))
    assert found is not None
    assert (found.layout, found.second) == ((3, 1), (4, 3))
    reader.session.update(layout=(1, 1), second=None)
    show_again(reader, (found.layout, found.second), {0: (now, {})}, 0)
    assert (reader.state.layout, reader.state.second) == ((3, 1), (4, 3))


def test_a_smaller_second_window_keeps_nothing_of_the_viewports_that_went(reader: Application) -> None:
    reader.run_command("layout.second_window")
    reader.run_command("layout.activate", SECOND)
    reader.run_command("layout.use", (2, 2))
    reader.run_command("layout.activate", SECOND + 3)
    reader.run_command("image.select", shown_in(reader, 0))
    reader.run_command("layout.activate", 0)
    assert SECOND + 3 in reader.state.parked
    now = shown(reader)
    show_again(reader, ((1, 1), (1, 1)), {0: (now, {}), SECOND: (now, {})}, 0)
    assert set(reader.state.parked) <= {0, SECOND}


def test_where_the_file_names_no_such_viewport_the_image_stays_on_screen(
    reader: Application, keeper: SessionKeeper
) -> None:
    reader.run_command("layout.prior")
    key = shown(reader).image.key
    keeper.flush()
    left = crash(reader.home, os.getpid())
    document = json.loads(left.read_text())
    document["panes"][0]["number"] = 99
    left.write_text(json.dumps(document))
    keeper.close()
    reader.run_command("file.close")
    SessionKeeper(reader)
    reader.run_command("file.restore")
    assert shown(reader).image.key == key
    assert reader.state.frame is not None


def test_a_second_window_opened_meanwhile_stays_as_it_is(reader: Application) -> None:
    reader.run_command("layout.second_window")
    before = shown_in(reader, SECOND).image.key
    now = shown(reader)
    show_again(reader, ((1, 2), None), {1: (now, {})}, 1)
    assert reader.state.second == (1, 1)
    assert shown_in(reader, SECOND).image.key == before


def test_never_two_patients_side_by_side_whatever_the_file_says(
    application: Application, keeper: SessionKeeper, tmp_path: Path
) -> None:
    write_radiograph(tmp_path / "a" / "a.dcm")
    write_radiograph(tmp_path / "a" / "b.dcm", patient_id="B2", name="Beta^Ben")
    application.run_command("file.open_folder", tmp_path / "a")
    first, second = selections(application.state.collection)
    panes = [
        {"number": n, "path": str(s.image.path), "sop_instance_uid": s.image.sop_instance_uid, "frame": 0}
        for n, s in ((0, first), (1, second))
    ]
    application.run_command("file.close")
    left = write_left(application.home, tmp_path / "a")
    left.write_text(json.dumps({"paths": [str(tmp_path / "a")], "panes": panes, "layout": [1, 2]}))
    SessionKeeper(application)
    application.run_command("file.restore")
    assert application.state.layout == (1, 2)
    assert shown(application).patient.name == first.patient.name
    assert pane_state(application.state, 1).selection is None


def test_another_patients_file_with_the_same_uid_is_never_taken_for_it(
    application: Application, keeper: SessionKeeper, tmp_path: Path
) -> None:
    """A pseudonymised copy may keep the UIDs, and lies first."""
    write_radiograph(tmp_path / "a" / "x.dcm", SOPInstanceUID="1.2.3.4")
    write_radiograph(tmp_path / "b" / "x.dcm", SOPInstanceUID="1.2.3.4", patient_id="B2", name="Beta^Ben")
    application.run_command("file.open_folder", tmp_path)
    beta = next(s for s in selections(application.state.collection) if s.patient.name == "Beta^Ben")
    application.run_command("image.select", beta)
    crash_and_restore(application, keeper)
    assert shown(application).patient.name == "Beta^Ben"


def test_what_the_reader_did_to_the_image_meanwhile_stays(reader: Application) -> None:
    from medviewer.app.last_session import _Wanted

    reader.run_command("layout.prior")
    reader.run_command("layout.activate", 0)
    offered = what_is_open(reader)
    assert offered is not None
    reader.run_command("layout.use", (1, 1))
    wanted = _Wanted(reader, offered, 0)
    wanted(reader.state.collection, is_whole=False)
    reader.run_command("view.window", Window(77, 99))
    wanted(reader.state.collection, is_whole=True)
    assert reader.state.layout == (1, 2)
    assert reader.state.view.window == Window(77, 99)
    assert pane_state(reader.state, 1).view.window is None


def test_planes_of_another_series_are_not_cut_from_the_one_on_screen(reader: Application) -> None:
    reader.run_command("layout.planes")
    reader.run_command("layout.activate", 3)
    now = shown(reader)
    other = next(s for s in selections(reader.state.collection) if s.stack_key != now.stack_key)
    reader.run_command("image.select", other)
    kept = what_is_open(reader)
    assert kept is not None
    assert (kept.has_planes, kept.layout, len(kept.panes)) == (False, (1, 1), 1)
    assert kept.panes[0].path == str(other.image.path)


def test_a_file_name_that_is_no_text_is_kept(tmp_path: Path) -> None:
    odd = "/data/caf\udce9.dcm"
    what = Restorable((odd,), (RestorablePane(0, odd, "1.2", 0),))
    session_file.write(tmp_path / "open-x.json", what)
    assert session_file.read(tmp_path / "open-x.json") == what


def test_an_image_beside_it_that_is_gone_is_said(reader: Application, keeper: SessionKeeper) -> None:
    reader.run_command("layout.prior")
    other = pane_state(reader.state, 1).selection
    assert other is not None
    keeper.flush()
    crash(reader.home, os.getpid())
    reader.run_command("file.close")
    keeper.close()
    for image in other.stack.images:
        image.path.unlink()
    SessionKeeper(reader)
    reader.run_command("file.restore")
    assert reader.state.layout == (1, 2)
    assert pane_state(reader.state, 1).selection is None
    assert reader.state.notice is not None
    assert reader.state.notice.text == "Parts of what was open that could not be found again: 1."


@pytest.mark.parametrize("number", range(3))
def test_of_pictures_without_a_uid_the_same_one_comes_back(
    application: Application, keeper: SessionKeeper, tmp_path: Path, number: int
) -> None:
    paths = [tmp_path / f"{n}.png" for n in range(3)]
    for n, path in enumerate(paths):
        Image.fromarray(np.full((40, 50), 60 * n, np.uint8)).save(path)
    application.run_command("file.open_files", paths)
    every = list(selections(application.state.collection))
    assert {one.image.sop_instance_uid for one in every} == {""}
    application.run_command("image.select", every[number])
    crash_and_restore(application, keeper)
    assert shown(application).image.path == every[number].image.path


def test_a_picture_that_is_gone_is_not_replaced_by_another(
    application: Application, keeper: SessionKeeper, tmp_path: Path
) -> None:
    paths = [tmp_path / f"{n}.png" for n in range(2)]
    for path in paths:
        Image.fromarray(np.zeros((40, 50), np.uint8)).save(path)
    application.run_command("file.open_files", paths)
    gone = shown(application).image.path
    keeper.flush()
    crash(application.home, os.getpid())
    application.run_command("file.close")
    keeper.close()
    gone.unlink()
    SessionKeeper(application)
    application.run_command("file.restore")
    assert application.state.notice is not None
    assert "could not be found again" in application.state.notice.text


def test_who_has_moved_on_keeps_the_layout(reader: Application, keeper: SessionKeeper) -> None:
    from medviewer.app.last_session import _Wanted

    reader.run_command("layout.prior")
    offered = what_is_open(reader)
    assert offered is not None
    reader.run_command("layout.use", (1, 1))
    wanted = _Wanted(reader, offered, 0)
    wanted(reader.state.collection, is_whole=False)
    reader.run_command("image.next")
    wanted(reader.state.collection, is_whole=True)
    assert reader.state.layout == (1, 1)


KEYS = [
    "paths",
    "panes",
    "layout",
    "second",
    "number",
    "path",
    "sop_instance_uid",
    "frame",
    "window",
    "palette",
    "quarter_turns",
]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner),
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
        for rows, columns in (found.layout, found.second or (1, 1)):
            assert rows in range(1, 5)
            assert columns in range(1, 5)
        for pane in found.panes:
            assert pane.view.window is None or pane.view.window.width > 0
            assert pane.view.quarter_turns in range(4)
            assert pane.view.palette in ("", *PALETTES)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("number", "0"), ("number", True), ("path", None), ("frame", 0.0), ("sop_instance_uid", 1), ("palette", "PINK"), ("palette", []),
        ("quarter_turns", 4), ("quarter_turns", "1"), ("inverted", 1), ("flip_horizontal", "yes"),
        ("window", [0, -1, "LINEAR"]), ("window", [0, 1, "LINEAR", -1]), ("window", [0, 1, "LINEAR", True]),
        ("window", [0, float("nan"), "LINEAR"]),
        ("window", [10**400, 1, "LINEAR"]), ("window", [1, 10**400, "LINEAR"]), ("window", [1, True, "LINEAR"]), ("window", [1, 2, "CUBIC"]),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_is_left_out(tmp_path: Path, name: str, value: object) -> None:
    pane = {"number": 0, "path": "", "sop_instance_uid": "1.2", "frame": 0, name: value}
    (tmp_path / "open-x.json").write_text(json.dumps({"paths": ["a"], "panes": [pane]}))
    found = find_crashed(tmp_path)
    if name in ("number", "path", "frame", "sop_instance_uid"):
        assert found is None
    else:
        assert found is not None
        assert found.panes[0].view == View()


@pytest.mark.parametrize("layout", [None, [9, 9], [0, 1], "1x2", [1.0, 2], [True, 2], [1, 2, 3]])
def test_a_layout_that_there_is_not_is_one_viewport(tmp_path: Path, layout: object) -> None:
    pane = {"number": 0, "path": "", "sop_instance_uid": "1.2", "frame": 0}
    document = {"paths": ["a"], "panes": [pane], "layout": layout, "second": layout}
    (tmp_path / "open-x.json").write_text(json.dumps(document))
    found = find_crashed(tmp_path)
    assert found is not None
    assert found.layout in LAYOUTS
    assert all(type(number) is int for number in found.layout)
    assert found.second in (None, (1, 2))
    assert all(type(number) is int for number in found.second or ())


def test_a_window_without_a_word_of_a_table_is_read_as_it_was_once_written(tmp_path: Path) -> None:
    pane = {"number": 0, "path": "", "sop_instance_uid": "1.2", "frame": 0, "window": [30, 200, "SIGMOID"]}
    (tmp_path / "open-x.json").write_text(json.dumps({"paths": ["a"], "panes": [pane]}))
    found = find_crashed(tmp_path)
    assert found is not None
    assert found.panes[0].view.window == Window(30, 200, "SIGMOID")
