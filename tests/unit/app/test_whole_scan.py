"""Planes and the 3D view are of whole stacks: while files are still being found they wait."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from medviewer.app import analysis, volume_view
from medviewer.app.measuring import Drawn
from medviewer.app.on_screen import measured_image, measurements_of, pane_state, scene_of
from medviewer.app.panes import pane_numbers
from medviewer.app.state import Notice
from medviewer.app.whole_scan import CUT_SHORT, WAITING
from medviewer.domain.errors import GeometryError, InputError, Stopped
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
    return len(app.volume[1].positions)


def test_planes_wait_for_the_whole_stack(application: Application, opened: Callable[..., None]) -> None:
    app, during = application, []

    def wish() -> None:
        app.run_command("layout.planes")
        during.append((said(app), has_planes(app), app.volume))

    opened(wish)
    assert during == [(WAITING, False, None)]
    assert has_planes(app)
    assert n_slices(app) == N_SLICES
    assert said(app) == ""


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
        app.run_command("image.next_series")
        assert app.state.selection is not None
        assert app.state.selection.series.series_instance_uid == "1.2.3"

    monkeypatch.setattr(analysis, "open_paths", Growing([*paths[4:9], *others], wish))
    app.run_command("file.open_files", [paths[0].parent])
    assert not has_planes(app)
    assert app.volume is None


def test_who_cancels_gets_none(application: Application, opened: Callable[..., None]) -> None:
    app = application

    def wish() -> None:
        app.run_command("layout.planes")
        app.run_command("job.cancel", "open")
        raise Stopped("Cancelled.")

    opened(wish)
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
