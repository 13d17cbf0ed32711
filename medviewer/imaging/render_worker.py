"""The process in which 3D views are made: it holds the voxels, and may die without taking anything along.

It is asked for one thing at a time through a pipe: first to take a block, whose slices follow
one by one, then for pictures of it. While it works on a picture it listens for the word that
nobody wants that one any more.
"""

from __future__ import annotations

import contextlib
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from medviewer.imaging.camera import Look
from medviewer.imaging.voxel_block import VoxelBlock
from medviewer.imaging.worker_process import become_harmless, follow_parent

if TYPE_CHECKING:
    from medviewer.imaging.ray_casting import RayCaster

READY = "ready"


class Take(NamedTuple):
    """Voxels come: as many messages as the block has slices, each of rows x columns uint16."""

    block: VoxelBlock


class Draw(NamedTuple):
    """A picture is wanted."""

    number: int
    look: Look


class GiveUp(NamedTuple):
    """The picture of that number is not wanted any more."""

    number: int


class Reply(NamedTuple):
    """How it went: the picture's bytes follow if it has a ``shape``."""

    shape: tuple[int, ...] = ()
    is_given_up: bool = False
    error: str = ""


def run(connection: Connection) -> None:
    """Answer requests until the parent closes the pipe."""
    become_harmless()
    follow_parent()
    try:
        _serve(connection)
    except (EOFError, OSError):
        return
    except MemoryError:
        _say(connection, "there is not enough memory")
    except Exception as error:  # noqa: BLE001 - the edge of the process: whatever a library raises ends here
        _say(connection, type(error).__name__)


def _serve(connection: Connection) -> None:
    from medviewer.imaging.ray_casting import RayCaster  # noqa: PLC0415 - loads SimpleITK, which no other process needs

    connection.send(READY)
    caster: RayCaster | None = None
    while True:
        request = connection.recv()
        if isinstance(request, Take):
            caster = RayCaster(_received(connection, request.block), request.block)
            connection.send(Reply())
        elif isinstance(request, Draw) and caster is not None:
            _draw(connection, caster, request)
        # A picture that was given up when it was ready already: nothing to do.


def _say(connection: Connection, error: str) -> None:
    with contextlib.suppress(OSError):
        connection.send(Reply(error=error))


def _received(connection: Connection, block: VoxelBlock) -> np.ndarray:
    codes = np.empty(block.shape, np.uint16)
    for plane in codes:
        connection.recv_bytes_into(plane.data.cast("B"))
    return codes


def _draw(connection: Connection, caster: RayCaster, request: Draw) -> None:
    from medviewer.imaging.ray_casting import Outdated  # noqa: PLC0415 - as above

    def is_outdated() -> bool:
        return connection.poll() and connection.recv() == GiveUp(request.number)

    try:
        picture = caster.picture(request.look, is_outdated)
    except Outdated:
        connection.send(Reply(is_given_up=True))
    else:
        connection.send(Reply(picture.shape))
        connection.send_bytes(picture.tobytes())
