"""The 3D view as commands: what it shows belongs to the series on screen, and images are not changed behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from medviewer.app import volume_view
from medviewer.app.commands import COMMANDS
from medviewer.app.on_screen import scene_of
from medviewer.app.state import Scene
from medviewer.domain.errors import RenderError
from medviewer.domain.study import Window
from medviewer.imaging.camera import Look, look_from
from medviewer.imaging.scan import documents_of
from medviewer.imaging.voxel_block import VoxelBlock, make_block
from tests.dicom_maker import write_volumes
from tests.document_maker import item, write_report
from tests.phantoms import SMALL_CHEST, write_chest
from tests.radiographs import write_radiograph

if TYPE_CHECKING:
    from medviewer.app.application import Application


class Painter:
    """Stands for the process: every picture is of one colour, that of its size."""

    def __init__(self) -> None:
        self.looks: list[Look] = []
        self.is_closed = True
        self.problem = ""

    def load(self, volume: Any, **_more: Any) -> VoxelBlock:
        self.is_closed = False
        return make_block(volume)

    def draw(self, look: Look, _block: VoxelBlock, **_more: Any) -> np.ndarray:
        if self.problem:
            raise RenderError(self.problem)
        self.looks.append(look)
        return np.full((*look.shape, 3), look.shape[0] % 256, np.uint8)

    def close(self) -> None:
        self.is_closed = True


class Later:
    """An executor whose work is done when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def submit(self, work: Callable[[], None]) -> None:
        self.waiting.append(work)

    def run_one(self) -> None:
        self.waiting.pop(0)()


@pytest.fixture
def painter(application: Application, tmp_path: Path) -> Painter:
    made = Painter()
    application.renderer = made  # type: ignore[assignment]
    write_chest(tmp_path / "a", **SMALL_CHEST)
    write_chest(tmp_path / "b", **SMALL_CHEST | {"n_slices": 15, "slice_mm": 20.0}, date="20230301")
    application.run_command("file.open_folder", tmp_path)
    return made


def scene(app: Application) -> Scene:
    found = scene_of(app.state)
    assert found is not None
    return found


def test_it_opens_from_the_front_first_small_then_whole_and_closes(application: Application, painter: Painter) -> None:
    application.run_command("volume.show")
    now = scene(application)
    assert now.camera == look_from("A", now.block.corners)
    assert [max(look.shape) for look in painter.looks] == [160, 320, 512]  # the room that it has been told of
    assert now.picture is not None
    assert now.picture.look == painter.looks[-1]
    application.run_command("volume.show")
    assert application.state.scene is None
    assert painter.is_closed


def test_a_cine_stops_before_the_volume_is_read(
    application: Application, painter: Painter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In time it would go on to the next volume, whose view this would not be."""
    seen: list[bool] = []
    load = painter.load
    monkeypatch.setattr(
        painter, "load", lambda volume, **more: (seen.append(application.state.is_playing), load(volume, **more))[1]
    )
    application.run_command("image.cine")
    assert application.state.is_playing
    application.run_command("volume.show")
    assert seen == [False]
    assert scene(application)


def test_another_series_closes_it(application: Application, painter: Painter) -> None:
    application.run_command("volume.show")
    application.run_command("series.next")
    assert application.state.scene is None
    assert painter.is_closed


def test_a_view_of_another_series_is_never_given(application: Application, painter: Painter) -> None:
    application.run_command("volume.show")
    stale = replace(application.state, scene=replace(scene(application), volume_key=("other", "1.2.3", 0)))
    assert scene_of(stale) is None


def test_closing_the_studies_closes_it(application: Application, painter: Painter) -> None:
    application.run_command("volume.show")
    application.run_command("file.close")
    assert application.state.scene is None
    assert painter.is_closed


def test_the_end_of_the_program_is_the_end_of_the_process(application: Application, painter: Painter) -> None:
    application.run_command("volume.show")
    application.close()
    assert painter.is_closed


def test_nothing_is_changed_or_measured_behind_it(application: Application, painter: Painter) -> None:
    before = application.state
    application.run_command("volume.show")
    for command_id, argument in (
        ("view.invert", None), ("view.preset", 4), ("image.next", None), ("tool.length", None), ("layout.planes", None),
        ("view.rotate_left", None),
    ):  # fmt: skip
        assert COMMANDS[command_id].enabled(before)
        assert not COMMANDS[command_id].enabled(application.state)
        application.run_command(command_id, argument)
    now = application.state
    assert (now.view, now.cut, now.tool, now.layout) == (before.view, before.cut, before.tool, before.layout)
    assert now.selection is before.selection
    application.run_command("view.hide_identity")
    assert application.state.identity_hidden


@pytest.mark.parametrize("command_id", ["measure.delete", "measure.begin", "finding.accept", "layout.use", "model.run"])
def test_commands_of_images_wait_whatever_else_they_need(command_id: str, application: Application, painter: Painter,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    application.run_command("volume.show")
    assert not COMMANDS[command_id].enabled(application.state)


def test_what_has_no_place_is_refused_in_one_sentence(
    application: Application, painter: Painter, tmp_path: Path
) -> None:
    selection = application.state.selection
    assert selection is not None
    application.session.update(selection=replace(selection, stack=replace(selection.stack, order="instance number")))
    application.run_command("volume.show")
    assert application.state.scene is None
    assert application.state.notice is not None
    assert "there is no 3D view" in application.state.notice.text


def test_a_single_image_has_none(application: Application, painter: Painter, tmp_path: Path) -> None:
    application.run_command("file.open_files", [write_radiograph(tmp_path / "r.dcm")])
    assert not COMMANDS["volume.show"].enabled(application.state)


def test_a_crop_box_takes_away_from_each_side_and_gives_it_back(application: Application, painter: Painter) -> None:
    application.run_command("volume.show")
    corners = scene(application).block.corners
    least, greatest = corners.min(axis=0), corners.max(axis=0)
    assert not COMMANDS["volume.uncrop"].enabled(application.state)
    for side, axis, is_far in (("R", 0, False), ("L", 0, True), ("A", 1, False), ("P", 1, True), ("F", 2, False),
                               ("H", 2, True)):  # fmt: skip
        application.run_command("volume.crop", (side, 2))
        box = scene(application).box_mm
        assert box is not None
        taken = (greatest[axis] - least[axis]) / 10
        faces = np.concatenate([np.array(box[0]) - least, greatest - np.array(box[1])])
        assert faces[axis + 3 * is_far] == pytest.approx(taken)
        assert np.count_nonzero(faces > 1e-9) == 1
        application.run_command("volume.crop", (side, -2))
        assert scene(application).box_mm is None
    for _ in range(30):
        application.run_command("volume.crop", ("A", 1))
    box = scene(application).box_mm
    assert box is not None
    assert box[1][1] - box[0][1] == pytest.approx((greatest[1] - least[1]) / 50)  # something always stays
    application.run_command("volume.uncrop")
    assert scene(application).box_mm is None


def test_a_face_that_is_dragged_is_undone_as_one_and_redone(application: Application, painter: Painter) -> None:
    application.run_command("volume.show")
    least = scene(application).block.corners.min(axis=0)
    application.run_command("volume.hold")
    for millimetres in (5.0, 20.0, 40.0):
        application.run_command("volume.crop_to", ("R", float(least[0]) + millimetres))
    application.run_command("volume.settle")
    box = scene(application).box_mm
    assert box is not None
    assert box[0][0] == pytest.approx(least[0] + 40)
    application.run_command("volume.crop_to", ("F", float(least[2]) + 30))
    application.run_command("edit.undo")
    assert scene(application).box_mm == box
    assert painter.looks[-1].box_mm == box  # and it is drawn so
    application.run_command("edit.undo")
    assert scene(application).box_mm is None
    application.run_command("edit.redo")
    assert scene(application).box_mm == box
    application.run_command("volume.uncrop")
    application.run_command("edit.undo")
    assert scene(application).box_mm == box
    application.run_command("volume.reset")
    application.run_command("edit.undo")
    assert scene(application).box_mm == box


def test_turning_presets_and_windows_are_undone_each_by_itself(application: Application, painter: Painter) -> None:
    application.run_command("volume.show")
    first = scene(application)
    application.run_command("volume.turn", (15.0, 0.0))
    application.run_command("volume.turn", (15.0, 0.0))
    turned = scene(application).camera
    application.run_command("volume.preset", 2)
    application.run_command("volume.cut_deeper")
    application.run_command("edit.undo")
    assert scene(application).front_mm is None
    assert scene(application).transfer.name == "Vessels"
    application.run_command("edit.undo")
    assert (scene(application).transfer, scene(application).camera) == (first.transfer, turned)
    application.run_command("edit.undo")
    assert scene(application).camera == first.camera
    assert painter.looks[-1].camera == first.camera


def test_the_images_are_not_undone_behind_it_nor_it_behind_them(application: Application, painter: Painter) -> None:
    application.run_command("view.invert")
    application.run_command("volume.show")
    application.run_command("edit.undo")
    assert application.state.view.inverted
    application.run_command("volume.crop", ("A", 3))
    application.run_command("volume.show")
    application.run_command("edit.undo")
    assert not application.state.view.inverted
    application.run_command("volume.show")
    assert scene(application).box_mm is None
    application.run_command("edit.redo")
    assert scene(application).box_mm is None  # of the view that was closed
    assert not application.state.view.inverted


def test_undo_keeps_no_picture_in_memory(application: Application, painter: Painter) -> None:
    application.run_command("volume.show")
    application.run_command("volume.crop", ("A", 3))
    assert all(past.state.scene is None or past.state.scene.picture is None for past in application.session._undo)


def test_commands_turn_zoom_cut_and_come_back(application: Application, painter: Painter) -> None:
    application.run_command("volume.show")
    first = scene(application)
    application.run_command("volume.look", "R")
    assert scene(application).camera == look_from("R", first.block.corners)
    application.run_command("volume.turn", (15.0, 0.0))
    assert scene(application).camera.right != look_from("R", first.block.corners).right
    application.run_command("volume.zoom_in")
    assert scene(application).camera.height_mm == pytest.approx(first.camera.height_mm / 1.25)
    application.run_command("volume.fit")
    assert scene(application).camera.height_mm == first.camera.height_mm
    application.run_command("volume.cut_deeper")
    assert scene(application).front_mm is not None
    application.run_command("volume.cut_less")
    assert scene(application).front_mm is None
    application.run_command("volume.preset", 2)
    application.run_command("volume.window", Window(120, 90))
    assert (scene(application).transfer.name, scene(application).transfer.window.width) == ("Vessels", 90)
    application.run_command("volume.roll_left")
    application.run_command("volume.reset")
    assert scene(application).camera == first.camera
    assert scene(application).transfer.name == "Vessels"
    assert scene(application).transfer.window.width != 90
    application.run_command("volume.preset", 6)
    assert application.state.notice is not None
    assert "1 to 5" in application.state.notice.text


def test_while_it_moves_small_pictures_follow_and_the_last_is_whole(application: Application, painter: Painter) -> None:
    application.run_command("volume.show")
    later = Later()
    application.jobs._executor = later  # type: ignore[assignment]
    painter.looks.clear()
    application.run_command("volume.hold")
    for degrees in (5.0, 5.0, 5.0):
        application.run_command("volume.turn", (degrees, 0.0))
    assert len(later.waiting) == 1  # not stopped and started again by each step: it would never be seen
    later.run_one()
    later.run_one()
    assert [max(look.shape) for look in painter.looks] == [160, 160]
    assert painter.looks[-1].camera == scene(application).camera
    assert not later.waiting
    application.run_command("volume.settle")
    later.run_one()
    later.run_one()
    assert [max(look.shape) for look in painter.looks[2:]] == [320, 512]
    assert not later.waiting


def test_a_step_stops_the_whole_picture_that_is_being_made(application: Application, painter: Painter) -> None:
    application.run_command("volume.show")
    later = Later()
    application.jobs._executor = later  # type: ignore[assignment]
    application.run_command("volume.turn", (5.0, 0.0))
    later.run_one()
    application.run_command("volume.turn", (5.0, 0.0))  # while the larger one waits
    stale, draft = later.waiting
    before = len(painter.looks)
    draft()
    assert scene(application).picture is not None
    assert scene(application).picture.look.camera == scene(application).camera  # type: ignore[union-attr]
    stale()
    assert scene(application).picture.look.camera == scene(application).camera  # type: ignore[union-attr]
    assert len(painter.looks) == before + 2


def test_a_failure_is_said_in_the_view(application: Application, painter: Painter) -> None:
    application.run_command("volume.show")
    painter.problem = "It has ended; open it again."
    application.run_command("volume.turn", (5.0, 0.0))
    assert scene(application).picture is None
    assert scene(application).problem == "It has ended; open it again."


def test_the_room_decides_the_size_and_no_picture_is_larger_than_allowed(
    application: Application, painter: Painter
) -> None:
    application.run_command("volume.show")
    application.run_command("volume.room", (1600, 800))
    assert painter.looks[-1].shape == (320, volume_view.SIZES_PX[-1])
    application.run_command("volume.room", (100, 50))
    assert painter.looks[-1].shape == (50, 100)


class Recorder(Painter):
    """Remembers which times the volumes are of: the pixels are 100 x time + slice."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[set[int]] = []

    def load(self, volume: Any, **more: Any) -> VoxelBlock:
        self.times.append({int(value) // 100 for value in np.unique(volume.stored)})
        return super().load(volume, **more)


def test_the_3d_view_is_of_the_time_on_screen_and_of_no_other(application: Application, tmp_path: Path) -> None:
    recorder = Recorder()
    application.renderer = recorder  # type: ignore[assignment]
    write_volumes(tmp_path, 3, lambda v, _p: {"TriggerTime": 40 * v})
    application.run_command("file.open_folder", tmp_path)
    application.run_command("image.show_volume", 1)
    application.run_command("volume.show")
    assert scene_of(application.state) is not None
    now = application.state.selection
    assert now is not None
    assert scene_of(replace(application.state, selection=now.in_volume(2))) is None
    application.run_command("volume.show")
    application.run_command("image.show_volume", 2)
    application.run_command("volume.show")
    assert recorder.times == [{1}, {2}]


def test_a_document_in_front_of_it_ends_the_3d_view(application: Application, painter: Painter, tmp_path: Path) -> None:
    write_report(tmp_path / "r.dcm", item("TEXT", "Finding", TextValue="-"))
    application.run_command("file.open_folder", tmp_path)
    application.run_command("volume.show")
    assert scene_of(application.state) is not None
    application.run_command("document.show", next(documents_of(application.state.collection)))
    assert application.state.reading is not None
    assert application.state.scene is None
    application.run_command("view.reset")
    assert application.state.reading is None
    assert application.state.frame is not None
