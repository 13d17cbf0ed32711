"""3D views of one volume at a time, made in a process of their own: watched, and replaced when it fails."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import TYPE_CHECKING

import numpy as np

from medviewer.domain.errors import RenderError, Stopped
from medviewer.domain.frozen import dataclass
from medviewer.domain.progress import Progress, StopToken, no_progress
from medviewer.domain.volume import Volume
from medviewer.imaging.camera import Look
from medviewer.imaging.render_worker import READY, Draw, GiveUp, Reply, Take, run
from medviewer.imaging.voxel_block import VoxelBlock, make_block, slices_of

if TYPE_CHECKING:
    from medviewer.imaging.ray_casting import Picture

logger = logging.getLogger(__name__)

_START_S = 60.0  # a cold disk and a busy machine
_TAKE_S = 60.0  # after the last slice
_DRAW_S = 120.0


@dataclass(slots=True, eq=False)
class _Worker:
    process: SpawnProcess
    connection: Connection


class Renderer:
    """Holds a volume in another process and makes pictures of it. Safe to use from any thread, one at a time."""

    def __init__(self) -> None:
        self._turn = threading.Lock()  # one request is answered before the next one is sent
        self._sending = threading.Lock()
        self._worker: _Worker | None = None
        self._block: VoxelBlock | None = None
        self._number = 0

    def load(self, volume: Volume, *, progress: Progress = no_progress, stop: StopToken | None = None) -> VoxelBlock:
        """Have the process hold a volume, instead of the one that it held.

        Raises:
            GeometryError, TooLargeError, InputError: it cannot be shown in 3D.
            RenderError: the process could not be started, or ended.
            Stopped: ``stop`` was used; the process is ended.
        """
        block = make_block(volume)
        with self._turn:
            self._end()
            worker = self._worker = _start()
            try:
                with _said():
                    worker.connection.send(Take(block))
                    for number, plane in enumerate(slices_of(volume, block)):
                        if stop is not None:
                            stop.raise_if_stopped()
                        worker.connection.send_bytes(plane.data.cast("B"))
                        progress(number + 1, block.shape[0], "Preparing the 3D view")
                    _checked(_reply(worker, _TAKE_S))
            except BaseException:
                self._end()
                raise
            self._block = block
        return block

    def draw(self, look: Look, block: VoxelBlock, *, stop: StopToken | None = None) -> Picture:
        """Make a picture.

        Args:
            look: what is wanted.
            block: that :meth:`load` gave: no picture is ever made of another volume.
            stop: gives it up; the process stays.

        Returns:
            ``(rows, columns, 3)`` uint8.

        Raises:
            RenderError: the process does not hold that volume (any more), ended, or took too long.
            Stopped: ``stop`` was used.
        """
        with self._turn:
            if stop is not None:
                stop.raise_if_stopped()
            worker = self._worker
            if worker is None or block is not self._block:
                raise _gone()
            try:
                with _said():
                    return self._picture(worker, look, stop)
            except RenderError:
                self._end()
                if stop is not None:
                    stop.raise_if_stopped()  # the view was closed: no failure
                logger.warning("A process that makes 3D views failed")
                raise

    def _picture(self, worker: _Worker, look: Look, stop: StopToken | None) -> Picture:
        self._number += 1
        give_up = GiveUp(self._number)
        self._send(worker, Draw(self._number, look))
        withdraw = stop.on_stop(lambda: self._send(worker, give_up)) if stop is not None else _nothing
        try:
            reply = _checked(_reply(worker, _DRAW_S))
        finally:
            withdraw()
        if reply.is_given_up:
            raise Stopped
        return np.frombuffer(worker.connection.recv_bytes(), np.uint8).reshape(reply.shape)

    def close(self) -> None:
        """End the process; the memory of the volume is free again."""
        worker = self._worker
        if worker is not None:
            with contextlib.suppress(ValueError):  # it is over already
                worker.process.kill()  # whoever waits for it is told so, and lets go
        with self._turn:
            self._end()

    @property
    def pid(self) -> int | None:
        """The process id of the worker."""
        return self._worker.process.pid if self._worker is not None else None

    def _send(self, worker: _Worker, message: Draw | GiveUp) -> None:
        with self._sending, contextlib.suppress(OSError, ValueError):  # who waits for the answer sees that it is gone
            worker.connection.send(message)

    def _end(self) -> None:
        worker, self._worker, self._block = self._worker, None, None
        if worker is not None:
            worker.process.kill()
            worker.process.join()
            worker.connection.close()
            worker.process.close()


def _nothing() -> None:
    """There is nothing to withdraw."""


@contextlib.contextmanager
def _said() -> Iterator[None]:
    """A pipe that breaks means that the process has ended."""
    try:
        yield
    except (EOFError, OSError) as error:
        raise _gone() from error


def _gone() -> RenderError:
    return RenderError("The process that makes the 3D view has ended; close the 3D view and open it again.")


def _checked(reply: Reply) -> Reply:
    if reply.error:
        raise RenderError(f"The 3D view cannot be made: {reply.error}; close other studies or programs and try again.")
    return reply


def _reply(worker: _Worker, seconds: float) -> Reply:
    wait([worker.connection, worker.process.sentinel], timeout=seconds)
    if worker.connection.poll():
        return Reply(*worker.connection.recv())
    if wait([worker.process.sentinel], timeout=0):
        raise _gone()
    raise RenderError("Making the 3D view took too long and was stopped; close the 3D view and open it again.")


def _start() -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=run, args=(theirs,), name="medviewer-renderer", daemon=True)
    try:
        process.start()
    except OSError as error:
        ours.close()
        raise RenderError(
            "The process for 3D views could not be started; close other programs and try again."
        ) from error
    finally:
        theirs.close()
    is_ready = False
    with contextlib.suppress(EOFError, OSError):
        is_ready = ours.poll(_START_S) and ours.recv() == READY
    worker = _Worker(process, ours)
    if not is_ready:
        process.kill()
        process.join()
        ours.close()
        process.close()
        raise RenderError("The process for 3D views did not start; close other programs and try again.")
    return worker
