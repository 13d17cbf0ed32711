"""The process that makes 3D views: right pictures, one sentence when it fails, and a new one the next time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import psutil
import pytest

from medviewer.domain.errors import RenderError, Stopped
from medviewer.domain.progress import StopToken
from medviewer.imaging import renderer as module
from medviewer.imaging.camera import Look, look_from
from medviewer.imaging.renderer import Renderer
from medviewer.imaging.transfer import presets
from tests.unit.imaging.test_ray_casting import BRIGHT, OPAQUE, caster_of, phantom

VOLUME = phantom({(21, -17, 30): BRIGHT})


@pytest.fixture
def renderer() -> Iterator[Renderer]:
    made = Renderer()
    yield made
    made.close()


def look(volume_corners: np.ndarray, size: int = 90) -> Look:
    return Look(look_from("A", volume_corners), OPAQUE, (size, size))


def test_pictures_come_from_the_process_as_they_are_made(renderer: Renderer) -> None:
    told: list[tuple[int, int, str]] = []
    block = renderer.load(VOLUME, progress=lambda *step: told.append(step))
    assert told[-1] == (block.shape[0], block.shape[0], "Preparing the 3D view")
    wanted = look(block.corners)
    np.testing.assert_array_equal(renderer.draw(wanted, block), caster_of(VOLUME).picture(wanted))


def test_no_picture_of_a_volume_that_was_replaced(renderer: Renderer) -> None:
    first = renderer.load(VOLUME)
    renderer.load(phantom({(0, 0, 0): BRIGHT}))
    with pytest.raises(RenderError, match="open it again"):
        renderer.draw(look(first.corners), first)


def test_a_process_that_dies_is_one_sentence_and_the_next_one_works(
    renderer: Renderer, caplog: pytest.LogCaptureFixture
) -> None:
    block = renderer.load(VOLUME)
    assert renderer.pid is not None
    psutil.Process(renderer.pid).kill()
    with pytest.raises(RenderError, match="open it again"):
        renderer.draw(look(block.corners), block)
    assert "3D views failed" in caplog.text
    block = renderer.load(VOLUME)
    assert renderer.draw(look(block.corners), block).max() > 100


def test_a_process_that_hangs_is_ended(
    renderer: Renderer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    block = renderer.load(VOLUME)
    assert renderer.pid is not None
    process = psutil.Process(renderer.pid)
    process.suspend()
    monkeypatch.setattr(module, "_DRAW_S", 0.2)
    with pytest.raises(RenderError, match="too long"):
        renderer.draw(look(block.corners), block)
    assert not process.is_running()
    assert caplog.records


def slow_look(volume_corners: np.ndarray) -> Look:
    """A picture that takes seconds."""
    thin = replace(presets(None)[2], points=((0.0, 1e-3, 1.0, 1.0, 1.0),))
    return Look(look_from("A", volume_corners), thin, (700, 700))


def test_a_picture_that_is_stopped_is_given_up_and_the_process_goes_on(renderer: Renderer) -> None:
    """Without being given up it would be returned, seconds later."""
    block = renderer.load(VOLUME)
    stop = StopToken()
    pid = renderer.pid
    timer = threading.Timer(0.1, stop.stop)
    timer.start()
    with pytest.raises(Stopped):
        renderer.draw(slow_look(block.corners), block, stop=stop)
    timer.join()
    assert renderer.pid == pid
    assert renderer.draw(look(block.corners), block).max() > 100


def test_loading_can_be_stopped_and_leaves_no_process(renderer: Renderer) -> None:
    stop = StopToken()
    with pytest.raises(Stopped):
        renderer.load(VOLUME, progress=lambda *_step: stop.stop(), stop=stop)
    assert renderer.pid is None


def test_closing_ends_the_process_also_while_it_works(renderer: Renderer) -> None:
    block = renderer.load(VOLUME)
    assert renderer.pid is not None
    process = psutil.Process(renderer.pid)
    stop = StopToken()
    failed: list[BaseException] = []

    def draw() -> None:
        try:
            renderer.draw(slow_look(block.corners), block, stop=stop)
        except (Stopped, RenderError) as error:
            failed.append(error)

    thread = threading.Thread(target=draw)
    thread.start()
    stop.stop()
    renderer.close()
    thread.join(20)
    assert not thread.is_alive()
    assert len(failed) == 1
    assert not process.is_running()


def test_what_goes_wrong_in_the_process_is_said(renderer: Renderer, caplog: pytest.LogCaptureFixture) -> None:
    block = renderer.load(VOLUME)
    impossible = Look(look_from("A", block.corners), OPAQUE, (90, -1))
    with pytest.raises(RenderError, match="cannot be made"):
        renderer.draw(impossible, block)
    assert caplog.records
    assert renderer.pid is None
