"""Planes and the 3D view are of whole stacks: while files are still being found they wait."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from medviewer.app import analysis, layout, volume_view
from medviewer.app.hanging_protocol import BUILT_IN
from medviewer.app.measuring import Drawn
from medviewer.app.on_screen import measured_image, measurements_of, pane_state, scene_of, value_of
from medviewer.app.opening import CUT_SHORT as ENDED_EARLY
from medviewer.app.panes import pane_numbers
from medviewer.app.state import Notice
from medviewer.app.whole_stacks import CUT_SHORT, WAITING, all_found
from medviewer.domain.errors import GeometryError, InputError, Stopped
from medviewer.domain.study import Collection
from medviewer.imaging.scan import scan
from tests.stack_models import write_stack
from tests.unit.app.test_stacks import Growing
from tests.unit.app.test_volume_view import Painter

if TYPE_CHECKING:
    from medviewer.app.application import Application

N_SLICES = 16


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return write_stack(tmp_path / "ct")


@pytest.fixture
def opened(
    application: Application, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[], None]], None]:
    """Opens a part of the stack, not its beginning, then does something, and finds the rest."""

    def run(meanwhile: Callable[[], None]) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(analysis, "open_paths", Growing(paths[4:9], meanwhile))
            application.run_command("file.open_files", [paths[0].parent])

    return run


def said(app: Application) -> str:
    return app.state.notice.text if app.state.notice is not None else ""


def has_planes(app: Application) -> bool:
    return any(pane_state(app.state, index).cut is not None for index in pane_numbers(app.state))


def n_slices(app: Application) -> int:
    assert app.volume is not None
    return len(app.volume.volume.positions)


PLANES: tuple[str, Any] = ("layout.planes", None)
HUNG_PLANES: tuple[str, Any] = ("layout.hang", [one.name for one in BUILT_IN].index("CT or MR, three planes"))


@pytest.mark.parametrize("command", [PLANES, HUNG_PLANES], ids=["planes", "hanging"])
@pytest.mark.parametrize("first", [slice(0, 5), slice(4, 9)], ids=["beginning", "middle"])
def test_planes_wait_for_the_whole_stack(
    application: Application, paths: list[Path], first: slice, command: tuple[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    app, during = application, []

    def wish() -> None:
        app.run_command(*command)
        during.append((said(app), has_planes(app), app.volume))

    monkeypatch.setattr(analysis, "open_paths", Growing(paths[first], wish))
    app.run_command("file.open_files", [paths[0].parent])
    assert during == [(WAITING, False, None)]
    assert has_planes(app)
    assert n_slices(app) == N_SLICES
    shown = [pane_state(app.state, index).selection for index in pane_numbers(app.state)]
    assert [len(one.stack.images) for one in shown if one is not None] == [N_SLICES] * 4
    assert said(app) == ""


def test_of_what_was_cut_short_nothing_is_taken_for_the_whole(
    application: Application, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slices of before lie in memory, and begin with the same one."""
    app = application

    def stop() -> None:
        app.run_command("job.cancel", "open")
        raise Stopped("Cancelled.")

    with monkeypatch.context() as patch:
        patch.setattr(analysis, "open_paths", Growing(paths[:5], stop))
        app.run_command("file.open_files", [paths[0].parent])
    app.run_command("layout.planes")
    part = app.volume
    assert n_slices(app) == 5
    app.run_command("file.open_files", [paths[0].parent])
    app.volume = part  # whatever kept it
    app.run_command("layout.planes")
    assert n_slices(app) == N_SLICES


def test_a_wish_goes_with_its_scan(
    application: Application, paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another folder, of which nothing can be shown, stops the scan: what is on screen stays a part."""
    app = application
    (tmp_path / "empty").mkdir()

    def wish() -> None:
        app.run_command("layout.planes")
        with monkeypatch.context() as patch:
            patch.setattr(analysis, "open_paths", lambda *_: scan([]))
            app.run_command("file.open_files", [tmp_path / "empty"])
        raise Stopped("Superseded.")

    monkeypatch.setattr(analysis, "open_paths", Growing(paths[:5], wish))
    app.run_command("file.open_files", [paths[0].parent])
    assert not has_planes(app)
    assert app.wishes.when_found is None


def test_planes_of_a_part_that_were_wished_for_during_another_scan_say_so(
    application: Application, paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = application

    def stop() -> None:
        app.run_command("job.cancel", "open")
        raise Stopped("Cancelled.")

    def open_nothing(*_: object) -> Collection:
        app.run_command("layout.planes")
        return scan([])

    monkeypatch.setattr(analysis, "open_paths", Growing(paths[:5], stop))
    app.run_command("file.open_files", [paths[0].parent])
    monkeypatch.setattr(analysis, "open_paths", open_nothing)
    app.run_command("file.open_files", [tmp_path])
    assert n_slices(app) == 5
    assert said(app) == CUT_SHORT


def test_a_cut_plane_is_never_kept_as_the_stored_image(application: Application, paths: list[Path]) -> None:
    """Planes asked for twice, of which the second answer comes when the first is on screen."""
    app = application
    app.run_command("file.open_files", [paths[0].parent])
    app.run_command("layout.planes")
    assert app.volume is not None
    before = app.state
    layout._lay_out_planes(app, app.volume.volume)
    assert app.state is before


def test_the_3d_view_waits_too(application: Application, opened: Callable[..., None]) -> None:
    app, during = application, []
    app.renderer = Painter()  # type: ignore[assignment]

    def wish() -> None:
        app.run_command("volume.show")
        during.append((said(app), scene_of(app.state)))

    opened(wish)
    assert during == [(WAITING, None)]
    scene = scene_of(app.state)
    assert scene is not None
    assert scene.block.shape[0] == N_SLICES


def test_planes_of_what_is_whole_do_not_wait_for_another_folder(
    application: Application, opened: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until something of the other folder arrives, the study on screen is the one that was opened whole."""
    app = application
    opened(lambda: None)

    def open_nothing(*_: object) -> None:
        app.run_command("layout.planes")
        raise InputError("That folder is gone.")

    monkeypatch.setattr(analysis, "open_paths", open_nothing)
    app.run_command("file.open_files", [tmp_path])
    assert n_slices(app) == N_SLICES


def test_who_goes_to_another_stack_meanwhile_gets_no_planes_of_it(
    application: Application, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = application
    others = write_stack(paths[0].parent / "other", SeriesInstanceUID="1.2.3", SeriesNumber=9)

    def wish() -> None:
        app.run_command("layout.planes")
        app.run_command("series.next")
        assert app.state.selection is not None
        assert app.state.selection.series.series_instance_uid == "1.2.3"

    monkeypatch.setattr(analysis, "open_paths", Growing([*paths[4:9], *others], wish))
    app.run_command("file.open_files", [paths[0].parent])
    assert not has_planes(app)
    assert app.volume is None


def test_who_cancels_gets_none(application: Application, opened: Callable[..., None], tmp_path: Path) -> None:
    app = application
    (tmp_path / "empty").mkdir()

    def wish() -> None:
        app.run_command("layout.planes")
        app.run_command("job.cancel", "open")
        raise Stopped("Cancelled.")

    opened(wish)
    assert not has_planes(app)
    assert said(app) == ENDED_EARLY
    app.run_command("file.open_files", [tmp_path / "empty"])  # another scan ends, of which nothing is shown
    assert not has_planes(app)
    app.run_command("layout.planes")  # of what was found, and it says so
    assert n_slices(app) == 5
    assert said(app) == CUT_SHORT


def test_a_wish_does_not_outlive_a_scan_that_failed(application: Application, opened: Callable[..., None]) -> None:
    app = application

    def wish() -> None:
        app.run_command("layout.planes")
        raise InputError("The disk was taken out.")

    opened(wish)
    assert said(app) == "The disk was taken out."
    assert app.wishes.when_found is None
    assert not has_planes(app)


def test_who_cancels_something_else_gets_them(application: Application, opened: Callable[..., None]) -> None:
    app = application

    def wish() -> None:
        app.run_command("layout.planes")
        app.run_command("job.cancel", "explain")

    opened(wish)
    assert n_slices(app) == N_SLICES


def test_who_opens_the_folder_again_meanwhile_begins_anew(
    application: Application, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    app, folder = application, [paths[0].parent]

    def wish() -> None:
        app.run_command("layout.planes")
        with monkeypatch.context() as patch:
            patch.setattr(analysis, "open_paths", Growing(paths[:9], lambda: None))
            app.run_command("file.open_files", folder)
        assert not has_planes(app)
        raise Stopped("Superseded.")

    with monkeypatch.context() as patch:
        patch.setattr(analysis, "open_paths", Growing(paths[:9], wish))
        app.run_command("file.open_files", folder)
    assert not has_planes(app)


def test_a_refusal_that_comes_late_is_a_notice(application: Application) -> None:
    """Nobody stands behind it to catch it: it comes from the end of a scan, not from a command."""

    def refuse() -> None:
        raise GeometryError("There is no 3D view of these.")

    application.wishes.when_found = refuse
    all_found(application)
    assert application.state.notice == Notice("alarm", "There is no 3D view of these.")


def test_what_cannot_be_cut_is_said_when_the_time_has_come(
    application: Application, opened: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = application

    def refuse(_stack: object) -> None:
        raise GeometryError("There is no 3D view of these.")

    monkeypatch.setattr(volume_view, "check_stack", refuse)
    opened(lambda: app.run_command("volume.show"))
    assert scene_of(app.state) is None
    assert app.state.notice == Notice("alarm", "There is no 3D view of these.")


def test_a_measurement_on_a_plane_stays_with_its_volume_when_that_begins_with_another_image(
    application: Application, paths: list[Path]
) -> None:
    app = application
    app.run_command("file.open_files", paths[4:9])
    app.run_command("layout.planes")
    axial = next(index for index in pane_numbers(app.state) if plane_in(app, index) == "axial")
    app.run_command("layout.activate", axial)
    where = measured_image(app.state)
    assert where is not None
    app.run_command("measure.add", Drawn("length", ((2.0, 4.0), (9.0, 4.0)), where))
    (made,) = measurements_of(app.state)
    app.run_command("file.open_files", [paths[0].parent])
    assert app.state.selection is not None
    assert app.state.selection.volume_key[1:] != where[:2]
    app.run_command("layout.planes")
    value = value_of(app.state, made)
    assert value is not None
    assert (value.problem, len(value.quantities)) == ("", 1)
    app.run_command("measure.go_to", made.uid)
    assert measurements_of(app.state) == (made,)
    app.run_command("measure.remove", made.uid)
    assert measurements_of(app.state) == ()
    app.run_command("edit.undo")
    assert measurements_of(app.state) == (made,)


def plane_in(app: Application, index: int) -> str:
    cut = pane_state(app.state, index).cut
    return cut.plane if cut is not None else ""


def test_a_measurement_on_a_plane_is_shown_on_planes_of_the_whole_stack(
    application: Application, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    app, during = application, []
    app.run_command("file.open_files", [paths[0].parent])
    app.run_command("layout.planes")
    app.run_command("layout.next")
    where = measured_image(app.state)
    assert where is not None
    app.run_command("measure.add", Drawn("length", ((2.0, 4.0), (9.0, 4.0)), where))
    (made,) = measurements_of(app.state)

    def wish() -> None:
        app.run_command("measure.go_to", made.uid)
        during.append((said(app), has_planes(app)))

    monkeypatch.setattr(analysis, "open_paths", Growing(paths[:5], wish))
    app.run_command("file.open_files", [paths[0].parent])
    assert during == [(WAITING, False)]
    assert has_planes(app)
    assert n_slices(app) == N_SLICES
    assert measurements_of(app.state) == (made,)
