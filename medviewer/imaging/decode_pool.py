"""The processes that decode compressed frames: watched, limited, and replaced when they fail."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from multiprocessing.shared_memory import SharedMemory

import numpy as np

from medviewer.domain.errors import DecodeError, StorageError
from medviewer.domain.progress import StopToken
from medviewer.imaging.codecs import Decoded, FrameSpec
from medviewer.imaging.decode_worker import READY, Reply, Request, run

logger = logging.getLogger(__name__)

DEADLINE_S = 5.0
DEADLINE_S_PER_MB = 1.0
_START_S = 60.0  # a cold disk and a busy machine; only the first frame waits for it
_MAX_WORKERS = 4
_LINUX_SHARED = "/dev/shm"  # noqa: S108 - where POSIX shared memory lives, not a temporary file


@dataclass(slots=True, eq=False)
class _Worker:
    process: SpawnProcess
    connection: Connection


class DecodePool:
    """Decodes frames in up to ``size`` processes, started as they are needed. Safe to use from any thread."""

    def __init__(self, size: int | None = None) -> None:
        self._size = size or max(1, min(_MAX_WORKERS, os.cpu_count() or 1))
        self._condition = threading.Condition()
        self._idle: list[_Worker] = []
        self._all: list[_Worker] = []
        self._starting = 0

    def decode(self, data: bytes, spec: FrameSpec, *, stop: StopToken | None = None) -> Decoded:
        """Decode one frame in another process.

        Raises:
            DecodeError: the data are damaged, or the decoder crashed or took too long.
            StorageError: there is no shared memory left.
            Stopped: ``stop`` was used; the worker is ended.
        """
        size = spec.rows * spec.columns * spec.samples * max(1, spec.bits_allocated // 8)
        memory = _make_memory(2 * size if spec.bits_allocated == 8 else size)  # some decoders widen 8-bit samples
        try:
            deadline_s = DEADLINE_S + DEADLINE_S_PER_MB * size / 2**20
            with self._borrow(stop) as worker:
                reply = _ask(worker, Request(spec, memory.name, deadline_s), data, stop)
                if reply.is_last:
                    raise _refused(reply)  # in here, so that the next frame is not given to a process that is ending
            if reply.error:
                raise _refused(reply)
            view: np.ndarray = np.ndarray(reply.shape, np.dtype(reply.dtype), buffer=memory.buf)
            pixels = view.copy()
            del view
            return Decoded(pixels, reply.codec, reply.refusals, reply.is_doubtful)
        finally:
            memory.close()
            with contextlib.suppress(FileNotFoundError):
                memory.unlink()

    def warm_up(self) -> None:
        """Start one worker, so that the first compressed image does not wait for it."""
        with self._borrow(None):
            pass

    def shutdown(self) -> None:
        """End all workers; the next frame starts new ones."""
        with self._condition:
            workers, idle = self._all, self._idle
            self._all, self._idle = [], []
            self._condition.notify_all()
        for worker in workers:
            if worker in idle:
                _end(worker)
            else:
                # The thread that borrowed it waits on its pipe and buries it: closing that here would be a race.
                _kill(worker)

    def worker_pids(self) -> tuple[int, ...]:
        """Give the process ids of the workers."""
        with self._condition:
            return tuple(worker.process.pid for worker in self._all if worker.process.pid is not None)

    @contextlib.contextmanager
    def _borrow(self, stop: StopToken | None) -> Iterator[_Worker]:
        worker = self._take(stop)
        is_fit = False
        try:
            yield worker
            is_fit = True
        finally:
            # A worker whose frame failed in any way is not trusted with the next one.
            with self._condition:
                is_kept = is_fit and worker in self._all
                if is_kept:
                    self._idle.append(worker)
                elif worker in self._all:
                    self._all.remove(worker)
                self._condition.notify()
            if not is_kept:
                _end(worker)

    def _take(self, stop: StopToken | None) -> _Worker:
        with self._condition:
            while True:
                if stop is not None:
                    stop.raise_if_stopped()
                while self._idle:
                    idle = self._idle.pop()
                    if not wait([idle.process.sentinel], timeout=0):
                        return idle
                    # Something outside killed it while it had nothing to do: not an error of any image.
                    self._all.remove(idle)
                    _end(idle)
                if len(self._all) + self._starting < self._size:
                    self._starting += 1
                    break
                self._condition.wait(timeout=0.1)
        worker: _Worker | None = None
        try:
            worker = _start()
        finally:
            with self._condition:
                self._starting -= 1
                if worker is not None:
                    self._all.append(worker)
                self._condition.notify()
        return worker


def _refused(reply: Reply) -> DecodeError:
    return DecodeError(
        f"The compressed pixels of this image cannot be decoded ({reply.error[:300]}); "
        "ask for the file to be sent again, uncompressed if possible."
    )


def _make_memory(size: int) -> SharedMemory:
    reason = "There is no shared memory left to decode this image; close other studies or programs and try again."
    # Linux gives the memory only when it is written to, and ends a process that it then has none for.
    if sys.platform == "linux" and os.path.isdir(_LINUX_SHARED) and shutil.disk_usage(_LINUX_SHARED).free < size:
        raise StorageError(reason)
    try:
        return SharedMemory(create=True, size=size)
    except OSError as error:
        raise StorageError(reason) from error


def _start() -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=run, args=(theirs,), name="medviewer-decoder", daemon=True)
    try:
        process.start()
    except OSError as error:
        ours.close()
        raise DecodeError("The decoding process could not be started; close other programs and try again.") from error
    finally:
        theirs.close()
    worker = _Worker(process, ours)
    # Until it says that it is ready it imports its libraries, which must not count against a frame's deadline.
    is_ready = False
    with contextlib.suppress(EOFError, OSError):
        is_ready = ours.poll(_START_S) and ours.recv() == READY
    if not is_ready:
        _end(worker)
        raise DecodeError("The decoding process did not start; close other programs and try again.")
    return worker


def _kill(worker: _Worker) -> None:
    with contextlib.suppress(ValueError):  # it is over already
        worker.process.kill()


def _end(worker: _Worker) -> None:
    worker.process.kill()
    worker.process.join()
    worker.connection.close()
    worker.process.close()


def _ask(worker: _Worker, request: Request, data: bytes, stop: StopToken | None) -> Reply:
    """Send one request and wait for its reply, the worker's end, the deadline or the reader's stop."""
    process, connection = worker.process, worker.connection
    withdraw = stop.on_stop(lambda: _kill(worker)) if stop is not None else None
    has_hung_up = False
    try:
        connection.send(request)
        connection.send_bytes(data)
        wait([connection, process.sentinel], timeout=request.deadline_s)
        reply = connection.recv() if connection.poll() else None
    except (EOFError, OSError):
        reply, has_hung_up = None, True
    finally:
        if withdraw is not None:
            withdraw()
    if stop is not None:
        stop.raise_if_stopped()
    if reply is not None:
        return Reply(*reply)
    if has_hung_up or wait([process.sentinel], timeout=0):
        logger.warning("A decoder process ended while decoding")
        raise DecodeError(
            "The compressed pixels of this image are damaged: its decoder stopped. "
            "Other images are not affected; ask for the file to be sent again."
        )
    logger.warning("A decoder process was stopped after its deadline of %.0f s", request.deadline_s)
    raise DecodeError(
        f"The compressed pixels of this image are damaged: decoding took longer than {request.deadline_s:.0f} s "
        "and was stopped. Ask for the file to be sent again."
    )
