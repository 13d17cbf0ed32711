"""The 3D view in the window: keys and mouse, letters that belong to the picture, identity, and pictures that leave."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PySide6.QtCore import QEvent, QPoint, Qt
from PySide6.QtGui import QAccessible, QHelpEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QToolTip

from medviewer.app import volume_view
from medviewer.app.exporting import ExportWish
from medviewer.app.on_screen import scene_of
from medviewer.app.state import Scene
from medviewer.domain.study import Caveat, Window
from medviewer.domain.volume import Volume
from medviewer.gui import viewport_marks
from medviewer.gui.corner_text import scene_corners, scene_fidelity
from medviewer.gui.crop_box import CropHandle
from medviewer.gui.volume_view import VolumeView
from medviewer.imaging.camera import SIDES, Look, look_from
from medviewer.imaging.crop_box import taken_mm, whole_box
from medviewer.imaging.orientation import Letters
from medviewer.imaging.ray_casting import RayCaster
from medviewer.imaging.voxel_block import VoxelBlock, make_block, slices_of
from tests.gui.reader import Reader, drag, pixels, wheel, words
from tests.phantoms import write_chest

NONE = Qt.KeyboardModifier.NoModifier


class HereRenderer:
    """Makes the same pictures without a process, which would take seconds to start for each test."""

    pid: int | None = None

    def load(self, volume: Volume, **_more: Any) -> VoxelBlock:
        self.block = make_block(volume)
        self._caster = RayCaster(np.stack(list(slices_of(volume, self.block))), self.block)
        return self.block

    def draw(self, look: Look, block: VoxelBlock, **_more: Any) -> np.ndarray:
        assert block is self.block
        return self._caster.picture(look)

    def close(self) -> None:
        """Nothing to end."""


def opened(window: Any, qtbot: Any, folder: Path) -> Reader:
    made = Reader(window, qtbot)
    made.window.resize(1200, 800)
    write_chest(folder, size=64, spacing_mm=5.0, slice_mm=6.0, n_slices=50)
    made.open(folder)
    made.window.app.run_command("volume.show")
    made.settle()
    return made


@pytest.fixture
def reader(main_window: Any, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    """The window with a chest in 3D, in pictures that are quickly made."""
    monkeypatch.setattr(volume_view, "SIZES_PX", (40, 80, 120))
    main_window.app.renderer = HereRenderer()
    return opened(main_window, qtbot, tmp_path)


def view_of(reader: Reader) -> VolumeView:
    view: VolumeView = reader.window.volume
    return view


def scene(reader: Reader) -> Scene:
    found = scene_of(reader.state)
    assert found is not None
    return found


def key(reader: Reader, code: Qt.Key, modifier: Qt.KeyboardModifier = NONE) -> None:
    view = view_of(reader)
    reader.window.activateWindow()
    view.setFocus()
    reader.wait(lambda: QApplication.focusWidget() is view)
    QTest.keyClick(view, code, modifier)
    reader.settle()


def test_the_picture_fills_its_page_and_the_images_come_back(reader: Reader) -> None:
    view = view_of(reader)
    assert view.isVisible()
    assert not reader.window.viewports.isVisible()
    ratio = view.width() / (view.height() - 24)
    made = scene(reader).picture
    assert made is not None
    assert made.look.shape[1] / made.look.shape[0] == pytest.approx(ratio, rel=0.02)
    shown = pixels(view)
    height, width = shown.shape[:2]
    assert shown[height // 3 : height // 2, width // 3 : 2 * width // 3].max() > 100
    key(reader, Qt.Key.Key_V, Qt.KeyboardModifier.ShiftModifier)
    assert reader.window.viewports.isVisible()


@pytest.mark.parametrize("side", SIDES)
def test_the_keys_of_the_six_views_give_their_letters(reader: Reader, side: Any) -> None:
    key(reader, getattr(Qt.Key, f"Key_{side}"), Qt.KeyboardModifier.ShiftModifier)
    assert scene(reader).camera == look_from(side, scene(reader).block.corners)
    assert view_of(reader).letters() == {
        "A": Letters("R", "L", "H", "F"), "P": Letters("L", "R", "H", "F"), "R": Letters("P", "A", "H", "F"),
        "L": Letters("A", "P", "H", "F"), "H": Letters("L", "R", "A", "P"), "F": Letters("R", "L", "A", "P"),
    }[side]  # fmt: skip


def test_the_letters_are_those_of_the_picture_on_screen_not_of_the_one_that_comes(reader: Reader) -> None:
    app = reader.window.app
    app.session.update(scene=replace(scene(reader), camera=look_from("P", scene(reader).block.corners)))
    assert view_of(reader).letters() == Letters("R", "L", "H", "F")


def test_the_liver_is_on_the_side_of_its_letter(reader: Reader) -> None:
    """Soft tissue from the front: the liver of the phantom lies on the right below, the heart to the left."""
    app = reader.window.app
    app.run_command("volume.preset", 5)
    app.run_command("volume.window", Window(60, 120))
    for side, is_mirrored in (("A", False), ("P", True)):
        app.run_command("volume.look", side)
        reader.settle()
        made = scene(reader).picture
        assert made is not None
        grey = made.pixels[..., 0].astype(float)
        rows, columns = grey.shape
        below = grey[2 * rows // 3 : 5 * rows // 6]
        left, right = below[:, : columns // 2].sum(), below[:, columns // 2 :].sum()
        assert (left > right) != is_mirrored
        assert view_of(reader).letters().left == ("L" if is_mirrored else "R")


@pytest.mark.parametrize(
    ("code", "what"),
    [
        (Qt.Key.Key_Left, "camera"), (Qt.Key.Key_Up, "camera"), (Qt.Key.Key_Plus, "camera"), (Qt.Key.Key_3, "transfer"),
        (Qt.Key.Key_PageDown, "front_mm"),
    ],
)  # fmt: skip
def test_the_image_s_keys_turn_and_change_the_volume(reader: Reader, code: Qt.Key, what: str) -> None:
    before = scene(reader)
    selection = reader.state.selection
    key(reader, code)
    assert getattr(scene(reader), what) != getattr(before, what)
    key(reader, Qt.Key.Key_Escape)
    assert scene(reader).camera == before.camera
    assert reader.state.selection is selection


def test_the_mouse_turns_moves_zooms_and_windows(reader: Reader) -> None:
    view = view_of(reader)
    first = scene(reader)
    drag(view, Qt.MouseButton.LeftButton, (200, 200), (240, 200), (260, 200))  # type: ignore[arg-type]
    turned = scene(reader).camera
    assert not scene(reader).is_moving
    # What was in front follows the mouse to the right: now the patient's right side comes to the front.
    assert np.array(turned.ahead) @ (1, 0, 0) > 0.2
    drag(view, Qt.MouseButton.MiddleButton, (200, 200), (260, 200))  # type: ignore[arg-type]
    assert np.array(scene(reader).camera.center) @ turned.right < np.array(turned.center) @ turned.right
    drag(view, Qt.MouseButton.RightButton, (200, 200), (200, 150))  # type: ignore[arg-type]
    assert scene(reader).camera.height_mm < first.camera.height_mm
    before = scene(reader).camera.height_mm
    wheel(view, 1, (200, 200), NONE)  # type: ignore[arg-type]
    assert scene(reader).camera.height_mm == pytest.approx(before / 1.2)
    control = Qt.KeyboardModifier.ControlModifier
    QTest.mousePress(view, Qt.MouseButton.LeftButton, control, QPoint(200, 200))
    QTest.mouseMove(view, QPoint(240, 260))
    QTest.mouseRelease(view, Qt.MouseButton.LeftButton, control, QPoint(240, 260))
    assert scene(reader).transfer.window.width > first.transfer.window.width
    assert scene(reader).transfer.window.center > first.transfer.window.center
    reader.settle()


def test_a_click_of_the_right_button_asks_for_the_menu(reader: Reader) -> None:
    window, asked = reader.window, []
    window.volume.menu_requested.disconnect()
    window.volume.menu_requested.connect(asked.append)
    drag(view_of(reader), Qt.MouseButton.RightButton, (200, 200))  # type: ignore[arg-type]
    assert len(asked) == 1
    menu = window.actions_.menu_of("volume", window)
    assert "Reset 3D view" in [action.text() for action in menu.actions()]
    menu.deleteLater()


def test_who_and_what_is_said_and_hidden(reader: Reader) -> None:
    said = scene_corners(reader.state, scene(reader))
    assert said.top_left[0] == "Phantom, Chest" or "Phantom" in said.top_left[0]
    assert said.bottom_left[0] == "3D view  Bone"
    hidden = scene_corners(replace(reader.state, identity_hidden=True), scene(reader))
    assert hidden.top_left == ("Identity hidden",)
    assert "nothing can be measured" in " ".join(text for text, _ in scene_fidelity(reader.state, scene(reader)))


def test_the_mouse_on_the_strip_is_told_all_of_it(reader: Reader) -> None:
    view = reader.window.volume
    at = QPoint(40, view.height() - 4)
    QApplication.sendEvent(view, QHelpEvent(QEvent.Type.ToolTip, at, view.mapToGlobal(at)))
    assert "nothing can be measured" in QToolTip.text()
    QToolTip.hideText()
    reader.wait(lambda: not QToolTip.text())


def test_without_identity_a_face_is_warned_of(reader: Reader, tmp_path: Path) -> None:
    """Leaving out the name does not make a head in 3D nobody's."""
    app = reader.window.app
    face = ("a face in 3D can be recognised", True)
    assert face not in scene_fidelity(reader.state, scene(reader))
    assert face in scene_fidelity(replace(reader.state, identity_hidden=True), scene(reader))
    app.run_command("file.export_image", ExportWish(tmp_path / "a.png"))
    reader.settle()
    assert reader.state.notice.level == "caution"
    assert "can be recognised" in reader.state.notice.text
    app.run_command("file.copy_image")
    assert "copied" in reader.state.notice.text
    assert "can be recognised" in reader.state.notice.text
    app.run_command("volume.show")
    app.run_command("file.copy_image")
    assert reader.state.notice.text == "The image was copied, without identity."


def test_an_empty_picture_has_words(reader: Reader) -> None:
    empty = ("nothing to be seen with this preset and window: choose others", True)
    now = scene(reader)
    assert now.picture is not None
    assert empty not in scene_fidelity(reader.state, now)
    black = replace(now.picture, pixels=np.zeros_like(now.picture.pixels))
    assert empty in scene_fidelity(reader.state, replace(now, picture=black))


def test_layers_say_that_they_wait_behind_it(reader: Reader) -> None:
    layers = reader.window.layers
    reader.window._tabs.setCurrentWidget(layers)
    waits = "Layers lie over images, not over the 3D view: close it to change them."
    assert waits in words(layers)
    assert not layers.toggle.isEnabled()
    reader.window.app.run_command("volume.show")
    assert waits not in words(layers)
    assert layers.toggle.isEnabled()


def test_what_was_done_to_the_volume_is_a_caution(reader: Reader) -> None:
    now = scene(reader)
    block = replace(now.block, caveats=(Caveat("volume.averaged", "Averaged."),))
    assert ("Averaged", True) in scene_fidelity(reader.state, replace(now, block=block))


def test_pictures_that_leave_are_of_the_3d_view_with_identity_only_if_wanted(reader: Reader, tmp_path: Path) -> None:
    app = reader.window.app
    sizes = {}
    for what, with_identity in (("view", False), ("view", True), ("stored", False)):
        drawn = app.front.draw_image(what, with_identity=with_identity)  # type: ignore[arg-type]
        assert drawn is not None
        sizes[what, with_identity] = drawn.image.size()
        app.run_command("file.export_image", ExportWish(tmp_path / f"{what}{with_identity}.png", what, with_identity))  # type: ignore[arg-type]
        reader.settle()
        assert (tmp_path / f"{what}{with_identity}.png").stat().st_size > 1000
    view, made = view_of(reader), scene(reader).picture
    assert made is not None
    assert sizes["view", False].width() == view.width()
    assert sizes["view", False].height() > view.height()  # the strip that says what it is not for
    assert sizes["stored", False].width() == made.look.shape[1]
    seen: list[bool] = []
    real = view._corners.paint
    view._corners.paint = lambda painter, area, texts: (
        seen.append("Phantom" in str(texts.top_left)),
        real(painter, area, texts),
    )  # type: ignore[method-assign, assignment]
    app.front.draw_image("view", with_identity=False)
    app.front.draw_image("view", with_identity=True)
    assert seen == [False, True]


def test_a_process_that_dies_is_said_in_the_view_and_it_opens_again(
    main_window: Any, qtbot: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With the real process: its picture is there, its end is one sentence, closing the view ends it."""
    reader = opened(main_window, qtbot, tmp_path)
    app = reader.window.app
    made = scene(reader).picture
    assert made is not None
    assert max(made.look.shape) == volume_view.SIZES_PX[-1]
    process = app.renderer._worker.process  # type: ignore[union-attr]
    process.kill()
    process.join()
    app.run_command("volume.turn", (15.0, 0.0))
    reader.settle()
    assert "open it again" in scene(reader).problem
    app.run_command("volume.show")
    app.run_command("volume.show")
    reader.settle()
    assert scene(reader).picture is not None
    pid = app.renderer.pid
    assert pid is not None
    app.run_command("volume.show")
    assert not psutil.pid_exists(pid)
    assert app.renderer.pid is None
    assert caplog.records


def test_the_process_of_the_window_does_not_load_the_library() -> None:
    script = "import sys, medviewer.gui.run, medviewer.imaging.renderer; print('SimpleITK' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def cropping(reader: Reader) -> dict[str, CropHandle]:
    key(reader, Qt.Key.Key_C)
    assert scene(reader).has_handles
    return dict(view_of(reader).crop.handles)  # type: ignore[arg-type]


def middle_of(handle: CropHandle) -> QPoint:
    return handle.geometry().center()


def test_the_crop_box_has_a_handle_on_each_face_and_leaves_with_the_key(reader: Reader) -> None:
    handles = cropping(reader)
    view = view_of(reader)
    assert all(handle.isVisible() for handle in handles.values())
    # From the front: the right side of the patient is on the left of the screen, the head above.
    assert middle_of(handles["R"]).x() < view.width() / 2 < middle_of(handles["L"]).x()
    assert middle_of(handles["H"]).y() < view.height() / 2 < middle_of(handles["F"]).y()
    key(reader, Qt.Key.Key_Escape)
    assert not scene(reader).has_handles
    assert not any(handle.isVisible() for handle in handles.values())
    key(reader, Qt.Key.Key_C)
    reader.window.app.run_command("volume.show")
    assert not any(handle.isVisible() for handle in handles.values())


def test_the_hint_names_the_key_that_the_reader_chose(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    reader.window.resize(1700, 900)
    cropping(reader)
    told: list[str] = []
    monkeypatch.setattr(viewport_marks, "paint_hint", lambda _painter, _area, text: told.append(text))
    view_of(reader).grab()
    assert "Alt+Shift+Home: all again" in told[-1]
    for keys, said in ((("F8",), "F8: all again"), ((), "")):
        reader.window.app.run_command("app.shortcuts", {"volume.uncrop": keys})
        reader.settle()  # which draws again
        assert ("all again" in told[-1], said in told[-1]) == (bool(keys), True)


@pytest.mark.parametrize(("side", "way"), [("R", (60, 0)), ("L", (-60, 0)), ("H", (0, 50)), ("F", (0, -50))])
def test_a_face_follows_the_mouse(reader: Reader, side: str, way: tuple[int, int]) -> None:
    reader.window.app.run_command("volume.zoom_out")  # all faces are within the picture
    reader.settle()
    handle = cropping(reader)[side]
    before = middle_of(handle)
    press = (12, 12)
    view = view_of(reader)
    millimetres = sum(map(abs, way)) * scene(reader).camera.height_mm / (view.height() - 24)
    QTest.mousePress(handle, Qt.MouseButton.LeftButton, NONE, QPoint(*press))
    QTest.mouseMove(handle, QPoint(press[0] + way[0], press[1] + way[1]))
    assert scene(reader).is_moving
    # The handle lies under the mouse now.
    QTest.mouseRelease(handle, Qt.MouseButton.LeftButton, NONE, QPoint(*press))
    reader.settle()
    assert middle_of(handle) == before + QPoint(*way)
    whole = whole_box(scene(reader).block.corners)
    box = scene(reader).box_mm
    assert box is not None
    assert taken_mm(box, side, whole) == pytest.approx(millimetres, rel=1e-6)  # type: ignore[arg-type]
    assert not scene(reader).is_moving
    made = scene(reader).picture
    assert made is not None
    assert made.look.box_mm == box
    key(reader, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert scene(reader).box_mm is None
    assert middle_of(handle) == before
    key(reader, Qt.Key.Key_Y, Qt.KeyboardModifier.ControlModifier)
    assert scene(reader).box_mm == box


def test_the_face_that_is_looked_at_goes_in_as_the_mouse_goes_down(reader: Reader) -> None:
    handles = cropping(reader)
    front, back = handles["A"], handles["P"]
    assert middle_of(front) == middle_of(back)
    above = view_of(reader).childAt(middle_of(front))
    assert above is front
    drag(front, Qt.MouseButton.LeftButton, (12, 12), (12, 52))  # type: ignore[arg-type]
    reader.settle()
    whole = whole_box(scene(reader).block.corners)
    box = scene(reader).box_mm
    assert box is not None
    assert taken_mm(box, "A", whole) > 5
    assert taken_mm(box, "P", whole) == 0


@pytest.mark.parametrize(
    ("side", "code", "is_taken"),
    [
        ("R", Qt.Key.Key_Right, True), ("L", Qt.Key.Key_Left, True), ("H", Qt.Key.Key_Down, True),
        ("F", Qt.Key.Key_PageDown, True), ("A", Qt.Key.Key_Down, True), ("P", Qt.Key.Key_PageDown, True),
        ("R", Qt.Key.Key_Left, False), ("L", Qt.Key.Key_Home, False),
    ],
)  # fmt: skip
def test_the_keys_move_a_face_as_they_point(reader: Reader, side: str, code: Qt.Key, is_taken: bool) -> None:
    handle = cropping(reader)[side]
    if not is_taken:
        reader.window.app.run_command("volume.crop", (side, 4))
        reader.settle()
    handle.setFocus()
    before = handle.value()
    camera = scene(reader).camera
    QTest.keyClick(handle, code)
    reader.settle()
    assert (handle.value() > before) == is_taken
    assert handle.value() != before
    assert scene(reader).camera == camera
    assert str(handle.value()) in handle.accessibleDescription()


def test_tab_goes_from_face_to_face_and_escape_gives_the_keys_back(reader: Reader) -> None:
    handles = cropping(reader)
    view = view_of(reader)
    reached = set()
    for _ in range(6):
        QTest.keyClick(QApplication.focusWidget(), Qt.Key.Key_Tab)
        reached.add(QApplication.focusWidget())
    assert reached == set(handles.values())
    QTest.keyClick(QApplication.focusWidget(), Qt.Key.Key_Escape)
    assert not scene(reader).has_handles
    assert QApplication.focusWidget() is view


def test_a_screen_reader_hears_a_slider_of_each_side_and_can_set_it(reader: Reader) -> None:
    handles = cropping(reader)
    for handle in handles.values():
        heard = QAccessible.queryAccessibleInterface(handle)
        assert heard is not None
        assert heard.role() == QAccessible.Role.Slider
        assert heard.text(QAccessible.Text.Name) == handle.accessibleName()
        assert handle.side in handle.accessibleName()
    assert len({handle.accessibleName() for handle in handles.values()}) == 6
    handles["F"].setValue(70)
    reader.settle()
    box = scene(reader).box_mm
    assert box is not None
    assert taken_mm(box, "F", whole_box(scene(reader).block.corners)) == pytest.approx(70)
    assert "70 mm" in handles["F"].accessibleDescription()
    reader.window.app.run_command("app.language", "zh")
    assert handles["F"].accessibleName() == "裁剪框足侧 (F)"
    assert handles["F"].accessibleDescription() == "已切除 70 mm"


def test_pictures_that_leave_have_no_box(reader: Reader) -> None:
    def leaving() -> np.ndarray:
        drawn = view_of(reader).drawn(reader.state)
        assert drawn is not None
        return np.frombuffer(drawn.constBits(), np.uint8).copy()

    plain = leaving()
    shown = pixels(view_of(reader))
    cropping(reader)
    assert not np.array_equal(pixels(view_of(reader)), shown)
    assert np.array_equal(leaving(), plain)
