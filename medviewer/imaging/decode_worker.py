"""The process in which compressed pixels are decoded: it may die without taking anything along.

One request at a time comes through a pipe, with the compressed bytes; the decoded
pixels go into shared memory that the parent made and will remove. Colour profiles
are tried out here too, before the window's process uses them. Whatever a
decoder does wrong ends here: exceptions of any kind are answered as an error,
endless loops are ended by a watchdog even if the parent is gone, and memory is
limited by the system.
"""

from __future__ import annotations

import faulthandler
import os
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from typing import NamedTuple

import numpy as np

from medviewer.imaging.codecs import FrameSpec, NoCodecError, decode_with_codecs, preload
from medviewer.imaging.color_management import try_out
from medviewer.imaging.confined import READY
from medviewer.imaging.worker_process import (
    address_space_bytes,
    become_harmless,
    follow_parent,
    limit_address_space,
)

# Address space beyond what the worker has at its start: libraries, their tables, a decoder's own buffers.
_BASE_BYTES = 768 * 2**20
_BYTES_PER_PIXEL_BYTE = 12
# The parent ends a late worker itself; this is for a worker whose parent is gone.
_WATCHDOG_SLACK_S = 10.0


class Request(NamedTuple):
    """One frame to decode; its compressed bytes follow as a message of their own."""

    spec: FrameSpec
    memory_name: str
    deadline_s: float


class Trial(NamedTuple):
    """A colour profile to try out; its bytes follow as a message of their own."""

    deadline_s: float


class Reply(NamedTuple):
    """How it went: the pixels' type and shape (of a trial none), or ``error``."""

    dtype: str
    shape: tuple[int, ...]
    codec: str
    refusals: tuple[str, ...]
    error: str
    is_doubtful: bool = False  # as of Decoded
    is_last: bool = False  # the process ends after it


def run(connection: Connection) -> None:
    """Answer requests until the parent closes the pipe."""
    become_harmless()
    preload()
    follow_parent()
    floor = address_space_bytes()
    connection.send(READY)
    while True:
        try:
            request: Request | Trial = connection.recv()
            data = connection.recv_bytes()
        except (EOFError, OSError):
            return
        _limit_memory(floor, request.spec if isinstance(request, Request) else None)
        faulthandler.dump_traceback_later(request.deadline_s + _WATCHDOG_SLACK_S, exit=True, file=_SILENCE)
        try:
            reply = _decode(request, data) if isinstance(request, Request) else _try_out(data)
        except NoCodecError as error:
            reply = Reply("", (), "", (), str(error))
        except MemoryError:
            reply = Reply("", (), "", (), "it needs more memory than a decoder may have")
        except BaseException as error:  # noqa: BLE001 - pylibjpeg-rle's PanicException is no Exception
            reply = Reply("", (), "", (), f"{type(error).__name__}: {error}", is_last=True)
        faulthandler.cancel_dump_traceback_later()
        try:
            connection.send(reply)
        except OSError:
            return
        if reply.is_last:
            return  # a library that panicked may have left anything behind


_SILENCE = open(os.devnull, "w", encoding="ascii")  # noqa: SIM115 - lives as long as the process


def _limit_memory(floor: int, spec: FrameSpec | None) -> None:
    """Let the process grow by what this frame, or a trial, can sensibly need, and no further."""
    pixels = 0 if spec is None else spec.rows * spec.columns * spec.samples * max(1, spec.bits_allocated // 8)
    limit_address_space(floor + _BASE_BYTES + _BYTES_PER_PIXEL_BYTE * pixels)


def _decode(request: Request, data: bytes) -> Reply:
    decoded = decode_with_codecs(data, request.spec)
    pixels = np.ascontiguousarray(decoded.pixels)
    memory = SharedMemory(request.memory_name)
    try:
        if pixels.nbytes > memory.size:
            return Reply("", (), "", (), "it decodes to more bytes than its header promises")
        target: np.ndarray = np.ndarray(pixels.shape, pixels.dtype, buffer=memory.buf)
        target[...] = pixels
        del target  # a view keeps the memory from being closed
    finally:
        memory.close()
    return Reply(pixels.dtype.str, pixels.shape, decoded.codec, decoded.refusals, "", decoded.is_doubtful)


def _try_out(data: bytes) -> Reply:
    try_out(data)
    return Reply("", (), "", (), "")
