"""The 3D view of the selected stack: opened, turned, shown through presets; its pictures come from another process.

While the reader moves something, small pictures follow; when it stays, a whole one is made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from medviewer.app import analysis
from medviewer.app.on_screen import scene_of
from medviewer.app.state import Scene, ScenePicture, State
from medviewer.app.whole_stacks import kept_volume, when_all_found
from medviewer.domain.errors import MedViewerError, UsageError
from medviewer.domain.progress import Progress, StopToken
from medviewer.domain.study import Window
from medviewer.imaging.camera import Camera, Look, Side, look_from, rolled, turned, zoomed
from medviewer.imaging.crop_box import FACES, extent_mm, face_of, is_whole, whole_box, with_face
from medviewer.imaging.transfer import COUNT, presets, shifted
from medviewer.imaging.voxel_block import VoxelBlock, check_stack

if TYPE_CHECKING:  # commands act on the application, which holds their table
    from medviewer.app.application import Application

SIZES_PX = (160, 320, 640)
"""The longer side of the pictures that follow each other, the first of them alone while something moves."""
TURN_DEG = 15.0
ZOOM_STEP = 1.25
CUT_STEPS = 20  # from one end of the volume to the other
CROP_STEPS = 20  # from one side of the volume to the other
_DRAWING = "3d"  # the job slot of pictures


def toggle(app: Application, _argument: object) -> None:
    """Show the series on screen in 3D, or its images again."""
    if app.state.scene is not None or app.state.selection is None:
        close(app)
        return
    when_all_found(app, lambda: _open(app))


def _open(app: Application) -> None:
    now = app.state.selection
    if now is None:
        return
    stack = now.stack.volume_at(now.index)
    check_stack(stack)
    app.session.update(is_playing=False)  # a cine in time would be at another volume before this one is read
    kept = kept_volume(app, now)

    def work(stop: StopToken, progress: Progress) -> VoxelBlock:
        volume = kept or analysis.read_slices(stack, stop, progress)
        return app.renderer.load(volume, progress=progress, stop=stop)

    def done(block: VoxelBlock) -> None:
        latest = app.state.selection
        if latest is None or latest.volume_key != now.volume_key:
            app.renderer.close()
            return
        first = presets(block.percentiles)[0]
        app.session.update(scene=Scene(now.volume_key, block, look_from("A", block.corners), first), is_playing=False)
        _draw_next(app)

    app.start_job("volume", work, done)


def close(app: Application) -> None:
    """Show the images again; the process ends and its memory is free."""
    app.jobs.stop(_DRAWING)
    if app.state.scene is not None:
        app.session.update(scene=None)
        app.session.forget_scene()
        app.renderer.close()


def follow(app: Application, old: State, new: State) -> None:
    """Draw what changed, also by undo. Close when another series is chosen: it is never shown beside another's name."""
    if new.scene is None:
        return
    if scene_of(new) is None:
        close(app)
    elif old.scene is not None and _whole_look(old.scene) != _whole_look(new.scene):
        _draw_next(app)


def look(app: Application, side: Side) -> None:
    """Look at the whole volume from one side of the patient."""
    scene = _scene(app)
    _change(app, camera=look_from(side, scene.block.corners))


def turn(app: Application, by: tuple[float, float]) -> None:
    """Turn the volume by degrees: its front to the right, and down."""
    _change(app, "camera", camera=turned(_scene(app).camera, *by))


def roll(degrees: float) -> Callable[[Application, object], None]:
    """A command that turns the picture clockwise."""

    def run(app: Application, _argument: object) -> None:
        _change(app, "camera", camera=rolled(_scene(app).camera, degrees))

    return run


def zoom(factor: float) -> Callable[[Application, object], None]:
    """A command that makes everything as many times larger."""

    def run(app: Application, _argument: object) -> None:
        _change(app, "camera", camera=zoomed(_scene(app).camera, factor))

    return run


def cut(steps: int) -> Callable[[Application, object], None]:
    """A command that cuts away more (or less) of what lies in front."""

    def run(app: Application, _argument: object) -> None:
        scene = _scene(app)
        reach = _reach_mm(scene)
        front = (scene.front_mm if scene.front_mm is not None else -reach) + steps * 2 * reach / CUT_STEPS
        _change(app, "cut", front_mm=None if front <= -reach else min(front, reach))

    return run


def crop(app: Application, wish: tuple[Side, int]) -> None:
    """Take a step more (or, with a negative number, less) of the volume away from one side of the patient."""
    side, steps = wish
    scene = _scene(app)
    whole = whole_box(scene.block.corners)
    step = steps * extent_mm(whole, side) / CROP_STEPS
    _, way = FACES[side]
    _crop(app, side, face_of(scene.box_mm or whole, side) - way * step, gesture="")


def crop_to(app: Application, wish: tuple[Side, float]) -> None:
    """Move one face of the box that is shown to a place on its axis (LPS mm); a drag's steps are undone together."""
    side, at_mm = wish
    _crop(app, side, at_mm, gesture=f"crop {side}")


def _crop(app: Application, side: Side, at_mm: float, *, gesture: str) -> None:
    """Something of the volume always stays; where nothing is taken away any more there is no box."""
    scene = _scene(app)
    whole = whole_box(scene.block.corners)
    box = with_face(scene.box_mm or whole, side, at_mm, whole)
    _change(app, gesture, box_mm=None if is_whole(box, whole) else box)


def toggle_handles(app: Application, _argument: object) -> None:
    """Show the box that crops the volume, with a handle on each face; or leave the picture alone again."""
    scene = _scene(app)
    app.session.settle()
    app.session.update(scene=replace(scene, has_handles=not scene.has_handles))


def is_cropped(state: State) -> bool:
    """Whether the 3D view shows only a part of the volume."""
    scene = scene_of(state)
    return scene is not None and scene.box_mm is not None


def uncrop(app: Application, _argument: object) -> None:
    """Show the volume to all sides again."""
    _change(app, box_mm=None)


def fit(app: Application, _argument: object) -> None:
    """Show the whole volume in the direction that is seen now."""
    scene = _scene(app)
    whole = look_from("A", scene.block.corners)
    _change(app, camera=replace(scene.camera, center=whole.center, height_mm=whole.height_mm))


def reset(app: Application, _argument: object) -> None:
    """Look from the front again, at all of it, with the preset as it comes."""
    scene = _scene(app)
    own = next(one for one in presets(scene.block.percentiles) if one.name == scene.transfer.name)
    _change(app, camera=look_from("A", scene.block.corners), transfer=own, front_mm=None, box_mm=None)


def use_preset(app: Application, number: int) -> None:
    """Show values through a preset, by its number from 1."""
    if not 1 <= number <= COUNT:
        raise UsageError(f"There is no 3D preset {number}: presets are 1 to {COUNT}.")
    _change(app, transfer=presets(_scene(app).block.percentiles)[number - 1])


def set_window(app: Application, window: Window) -> None:
    """Shift and widen the values that the preset's colours stand for."""
    if window.width > 0:
        _change(app, "window", transfer=shifted(_scene(app).transfer, window.center, window.width))


def set_camera(app: Application, camera: Camera) -> None:
    """Look from where a drag has come to; small pictures follow until :func:`settle`."""
    _change(app, "camera", camera=camera)


def hold(app: Application, _argument: object) -> None:
    """A drag begins: only small pictures until it ends."""
    if app.state.scene is not None:
        app.session.update(scene=replace(app.state.scene, is_moving=True))


def settle(app: Application, _argument: object) -> None:
    """A drag ended: make a whole picture; what comes next is undone by itself."""
    app.session.settle()
    if app.state.scene is not None:
        app.session.update(scene=replace(app.state.scene, is_moving=False))
        _draw_next(app)


def set_room(app: Application, room: tuple[int, int]) -> None:
    """As wide and high as the window shows it, in pixels of the screen."""
    if app.state.scene is not None and min(room) > 0:
        app.session.update(scene=replace(app.state.scene, room=room))


def _scene(app: Application) -> Scene:
    scene = app.state.scene
    if scene is None:
        raise UsageError("There is no 3D view; open it first.")
    return scene


def _reach_mm(scene: Scene) -> float:
    """How far the volume reaches from its middle, in any direction."""
    corners = scene.block.corners
    extent = corners.max(axis=0) - corners.min(axis=0)
    return float((extent**2).sum() ** 0.5) / 2


def _change(app: Application, gesture: str = "", **changes: object) -> None:
    """Look at the volume in another way, undoably; the same steps of a ``gesture`` are one. :func:`follow` draws it."""
    scene = _scene(app)
    new = replace(scene, **changes)  # type: ignore[arg-type]
    if _whole_look(new) != _whole_look(scene):
        app.session.change(gesture=gesture, scene=new)


def _whole_look(scene: Scene) -> Look:
    return _wanted(scene, SIZES_PX[-1])


def _draw_next(app: Application) -> None:
    """Start the picture that is wanted most: a small one of what is not on screen yet, else the next larger one."""
    scene = app.state.scene
    if scene is None:
        return
    shown = scene.picture.look if scene.picture is not None else None
    wanted = [_wanted(scene, size) for size in SIZES_PX]
    following = wanted.index(shown) + 1 if shown in wanted else 0
    if shown == wanted[-1] or (following and scene.is_moving):
        return
    if not following and app.is_drafting and _DRAWING in app.jobs.running:
        return  # stopped again and again it would never be seen: the next one starts when it is there
    app.is_drafting = not following
    _draw(app, scene, wanted[following])


def _draw(app: Application, scene: Scene, wanted: Look) -> None:
    def work(stop: StopToken, _progress: Progress) -> ScenePicture:
        return ScenePicture(app.renderer.draw(wanted, scene.block, stop=stop), wanted)

    def done(picture: ScenePicture) -> None:
        now = app.state.scene
        if now is not None and now.block is scene.block:
            app.session.update(scene=replace(now, picture=picture, problem=""))
            _draw_next(app)

    def failed(error: MedViewerError) -> None:
        now = app.state.scene
        if now is not None and now.block is scene.block:
            app.session.update(scene=replace(now, picture=None, problem=str(error)))

    app.jobs.start(_DRAWING, work, done, failed)


def _wanted(scene: Scene, longest: int) -> Look:
    width, height = scene.room
    share = min(longest / max(width, height), 1.0)
    shape = max(round(height * share), 1), max(round(width * share), 1)
    return Look(scene.camera, scene.transfer, shape, scene.front_mm, scene.box_mm)
