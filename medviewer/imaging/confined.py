"""How this process starts, asks and ends one for a library that damaged data can crash or hang.

What such a process owes in return is in :mod:`medviewer.imaging.worker_process`.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from multiprocessing.shared_memory import SharedMemory
from typing import Any

from medviewer.domain.errors import DecodeError, StorageError
from medviewer.domain.frozen import dataclass
from medviewer.domain.progress import StopToken

READY = "ready"
_START_S = 60.0  # a cold disk and a busy machine; only the first request waits for it
_LINUX_SHARED = "/dev/shm"  # noqa: S108 - where POSIX shared memory lives, not a temporary file


@dataclass(slots=True, eq=False)
class Worker:
    """A process that answers requests, and the pipe to it."""

    process: SpawnProcess
    connection: Connection


class HungUpError(Exception):
    """The process ended while it was asked."""


class LateError(Exception):
    """The process did not answer in time; it still runs."""


def make_memory(size: int) -> SharedMemory:
    """Give shared memory of ``size`` bytes; whoever asks for it unlinks it.

    Raises:
        StorageError: there is none left.
    """
    reason = "There is no shared memory left to decode this image; close other studies or programs and try again."
    # Linux gives the memory only when it is written to, and ends a process that it then has none for.
    if sys.platform == "linux" and os.path.isdir(_LINUX_SHARED) and shutil.disk_usage(_LINUX_SHARED).free < size:
        raise StorageError(reason)
    try:
        return SharedMemory(create=True, size=size)
    except OSError as error:
        raise StorageError(reason) from error


def start(target: Callable[[Connection], None], name: str) -> Worker:
    """Start a process that runs ``target`` with its end of a pipe, and wait until it says ``READY``.

    Raises:
        DecodeError: it did not start.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(theirs,), name=name, daemon=True)
    try:
        process.start()
    except OSError as error:
        ours.close()
        raise DecodeError("The decoding process could not be started; close other programs and try again.") from error
    finally:
        theirs.close()
    worker = Worker(process, ours)
    # Until it says that it is ready it imports its libraries, which must not count against a request's deadline.
    is_ready = False
    with contextlib.suppress(EOFError, OSError):
        is_ready = ours.poll(_START_S) and ours.recv() == READY
    if not is_ready:
        end(worker)
        raise DecodeError("The decoding process did not start; close other programs and try again.")
    return worker


def kill(worker: Worker) -> None:
    """Have the process end; another thread buries it."""
    with contextlib.suppress(ValueError):  # it is over already
        worker.process.kill()


def end(worker: Worker) -> None:
    """End the process and give back what it held."""
    worker.process.kill()
    worker.process.join()
    worker.connection.close()
    worker.process.close()


def ask(worker: Worker, request: object, data: Sequence[bytes], deadline_s: float, stop: StopToken | None) -> Any:
    """Send one request with its bytes and give the answer.

    Raises:
        HungUpError, LateError: there is none.
        Stopped: ``stop`` was used; the process is ended.
    """
    process, connection = worker.process, worker.connection
    withdraw = stop.on_stop(lambda: kill(worker)) if stop is not None else None
    has_hung_up = False
    reply = None
    try:
        connection.send(request)
        for part in data:
            connection.send_bytes(part)
        wait([connection, process.sentinel], timeout=deadline_s)
        reply = connection.recv() if connection.poll() else None
    except (EOFError, OSError):
        has_hung_up = True
    finally:
        if withdraw is not None:
            withdraw()
    if stop is not None:
        stop.raise_if_stopped()
    if reply is None:
        raise HungUpError if has_hung_up or wait([process.sentinel], timeout=0) else LateError
    return reply
