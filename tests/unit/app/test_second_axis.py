"""Moving in time: the place stays, and no plane is ever cut through parts of two volumes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from medviewer.app.cine import own_rate_hz
from medviewer.app.measuring import Drawn
from medviewer.app.on_screen import measured_image, measurements_of, pane_state, value_of
from medviewer.app.state import Selection
from medviewer.domain.study import Window
from tests.dicom_maker import Attributes, write_volumes

if TYPE_CHECKING:
    from medviewer.app.application import Application


@pytest.fixture
def heart(application: Application, tmp_path: Path) -> Application:
    """Five phases of four slices; the pixels are 100 x phase + slice."""
    write_volumes(tmp_path, 5, lambda v, _p: {"TriggerTime": 40 * v})
    application.run_command("file.open_folder", tmp_path)
    application.run_command("image.show_volume", 0)
    application.run_command("image.first")
    return application


def shown(app: Application, index: int | None = None) -> int:
    """Phase and slice of the pixels on screen."""
    state = app.state if index is None else pane_state(app.state, index)
    assert state.frame is not None
    return int(state.frame.stored[0, 0])


def selection(app: Application) -> Selection:
    assert app.state.selection is not None
    return app.state.selection


def test_scrolling_stays_in_one_volume(heart: Application) -> None:
    heart.run_command("image.show_volume", 2)
    seen = []
    for _ in range(6):
        seen.append(shown(heart))
        heart.run_command("image.next")
    assert seen == [200, 201, 202, 203, 203, 203]
    heart.run_command("image.first")
    assert shown(heart) == 200
    heart.run_command("image.last")
    assert shown(heart) == 203


def test_the_place_and_the_view_stay_while_time_goes_on(heart: Application) -> None:
    heart.run_command("image.show", 1)
    heart.run_command("view.window", Window(50, 120))
    for expected in (101, 201, 301, 401, 401):
        heart.run_command("image.next_volume")
        assert shown(heart) == expected
    heart.run_command("image.previous_volume")
    assert shown(heart) == 301
    assert heart.state.view.window == Window(50, 120)


def test_planes_are_cut_through_the_volume_on_screen(heart: Application) -> None:
    heart.run_command("image.show_volume", 3)
    heart.run_command("layout.planes")
    for index in (1, 2):
        frame = pane_state(heart.state, index).frame
        assert frame is not None
        assert {int(value) // 100 for value in np.unique(frame.stored)} == {3}


def test_planes_and_images_go_on_in_time_together(heart: Application) -> None:
    heart.run_command("image.show", 1)
    heart.run_command("layout.planes")
    heart.run_command("layout.activate", 1)
    heart.run_command("image.next_volume")
    for index in range(4):
        pane = pane_state(heart.state, index)
        assert pane.selection is not None
        assert pane.selection.volume_number == 1
        assert shown(heart, index) // 100 == 1
    assert shown(heart, 3) == 101
    heart.run_command("image.show", selection(heart).index + 1)  # the plane moves in the new volume
    assert shown(heart) // 100 == 1


def test_what_was_measured_on_a_plane_stays_at_its_time(heart: Application) -> None:
    """The same plane at another time has other pixels: no measurement may lie over them, nor have its number of them."""
    heart.run_command("layout.planes")
    heart.run_command("image.next_volume")
    where = measured_image(heart.state)
    assert where is not None
    heart.run_command("measure.add", Drawn("probe", ((1.5, 1.5),), where))
    (made,) = measurements_of(heart.state)
    heart.run_command("image.next_volume")
    assert measurements_of(heart.state) == ()
    heart.run_command("image.previous_volume")
    assert measurements_of(heart.state) == (made,)
    value = value_of(heart.state, made)
    assert value is not None
    assert value.quantities
    assert int(value.quantities[0].value) // 100 == 1
    heart.run_command("layout.planes")
    heart.run_command("image.show_volume", 3)
    heart.run_command("measure.go_to", made.uid)
    assert heart.state.cut is not None
    assert selection(heart).volume_number == 1
    assert measurements_of(heart.state) == (made,)
    heart.run_command("image.show_volume", 3)  # the planes are on screen, but of another time
    heart.run_command("measure.go_to", made.uid)
    assert selection(heart).volume_number == 1
    assert measurements_of(heart.state) == (made,)


def test_planes_that_were_left_are_cut_anew_at_another_time(heart: Application) -> None:
    """The volume in memory is that of one time: at another one it must not be used."""
    heart.run_command("layout.planes")
    heart.run_command("layout.planes")
    heart.run_command("image.show_volume", 4)
    heart.run_command("layout.planes")
    assert shown(heart, 1) // 100 == 4


def test_a_volume_of_another_time_is_never_cut(heart: Application) -> None:
    heart.run_command("layout.planes")
    assert heart.volume is not None
    heart.volume = heart.volume._replace(key=selection(heart).in_volume(4).volume_key)
    heart.run_command("image.next")
    assert heart.state.frame is None
    assert "no longer in memory" in heart.state.frame_problem


def test_linked_viewports_do_not_jump_in_time(heart: Application, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    write_volumes(
        tmp_path / "other", 3,
        lambda v, _p: {"TriggerTime": 40 * v, "SeriesInstanceUID": "2.25.77", "FrameOfReferenceUID": "2.25.5"},
    )  # fmt: skip
    (tmp_path / "one").mkdir()
    write_volumes(tmp_path / "one", 1, lambda _v, _p: {"SeriesInstanceUID": "2.25.78", "FrameOfReferenceUID": "2.25.5"})
    heart.run_command("file.open_files", [tmp_path / "other", tmp_path / "one"])
    heart.run_command("layout.use", (1, 2))
    panes = [pane_state(heart.state, index).selection for index in range(2)]
    moving = next(i for i, one in enumerate(panes) if one is not None and one.stack.axis is not None)
    heart.run_command("layout.activate", moving)
    heart.run_command("image.show_volume", 2)
    heart.run_command("layout.activate", 1 - moving)
    heart.run_command("image.show", 3)
    assert shown(heart, moving) == 203


def test_cine_beats_in_time_or_goes_through_the_slices(heart: Application) -> None:
    heart.run_command("image.show", 2)
    heart.run_command("image.cine")
    seen = []
    for _ in range(6):
        heart.run_command("image.play_on")
        seen.append(shown(heart))
    assert seen == [102, 202, 302, 402, 2, 102]
    heart.run_command("image.cine_way")
    seen = []
    for _ in range(3):
        heart.run_command("image.play_on")
        seen.append(shown(heart))
    assert seen == [103, 100, 101]


@pytest.mark.parametrize(
    ("own", "rate"),
    [
        (lambda v, _p: {"TriggerTime": 40 * v}, 25.0),
        (lambda v, _p: {"TriggerTime": 40 * v, "CineRate": 12}, 12.0),
        (lambda v, _p: {"AcquisitionTime": f"12{v:02d}00"}, None),  # a minute a volume: nobody can watch that
        (lambda v, _p: {"DiffusionBValue": 100.0 * v}, None),
        (lambda v, _p: {"TemporalPositionIdentifier": v + 1}, None),
    ],
)
def test_the_heart_beats_at_its_own_pace(
    application: Application, tmp_path: Path, own: Attributes, rate: float | None
) -> None:
    write_volumes(tmp_path, 4, own)
    application.run_command("file.open_folder", tmp_path)
    assert own_rate_hz(application.state) == (pytest.approx(rate) if rate is not None else None)


def test_images_of_one_place_are_scrolled_in_time(application: Application, tmp_path: Path) -> None:
    write_volumes(tmp_path, 5, lambda v, _p: {"TriggerTime": 40 * v}, places=(3.0,))
    application.run_command("file.open_folder", tmp_path)
    application.run_command("image.first")
    application.run_command("image.next")
    application.run_command("image.next")
    assert shown(application) == 200
    application.run_command("image.cine")
    application.run_command("image.play_on")
    assert shown(application) == 300


def test_what_is_read_ahead_is_never_out_of_the_stack(heart: Application) -> None:
    for number in (4, 0, 2):
        heart.run_command("image.show_volume", number)
        heart.run_command("image.last")
    images = selection(heart).stack.images
    assert images[3].key in heart.frames  # the next time at this place was read
