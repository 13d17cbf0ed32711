"""The processes that decode compressed frames: watched, limited, and replaced when they fail."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterator
from multiprocessing.connection import wait

import numpy as np

from medviewer.domain.errors import DecodeError
from medviewer.domain.progress import StopToken
from medviewer.imaging.codecs import Decoded, FrameSpec
from medviewer.imaging.confined import HungUpError, LateError, Worker, ask, end, kill, make_memory, start
from medviewer.imaging.decode_worker import Reply, Request, Trial, run

logger = logging.getLogger(__name__)

DEADLINE_S = 5.0
DEADLINE_S_PER_MB = 1.0
_MAX_WORKERS = 4


class DecodePool:
    """Decodes frames in up to ``size`` processes, started as they are needed. Safe to use from any thread."""

    def __init__(self, size: int | None = None) -> None:
        self._size = size or max(1, min(_MAX_WORKERS, os.cpu_count() or 1))
        self._condition = threading.Condition()
        self._idle: list[Worker] = []
        self._all: list[Worker] = []
        self._starting = 0

    def decode(self, data: bytes, spec: FrameSpec, *, stop: StopToken | None = None) -> Decoded:
        """Decode one frame in another process.

        Raises:
            DecodeError: the data are damaged, or the decoder crashed or took too long.
            StorageError: there is no shared memory left.
            Stopped: ``stop`` was used; the worker is ended.
        """
        size = spec.rows * spec.columns * spec.samples * max(1, spec.bits_allocated // 8)
        memory = make_memory(2 * size if spec.bits_allocated == 8 else size)  # some decoders widen 8-bit samples
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

    def try_profile(self, data: bytes, *, stop: StopToken | None = None) -> bool | None:
        """Say whether a colour profile can be used, after another process has done so and lived.

        None where the process did not say: it ended or was late, for which a busy machine may be the reason as well.

        Raises:
            DecodeError: no process could be started.
            Stopped: ``stop`` was used; the worker is ended.
        """
        try:
            with self._borrow(stop) as worker:
                _try(worker, data, stop)
        except _RefusedError:
            return False
        except (HungUpError, LateError):
            logger.warning("A process ended, or had to be ended, while it tried out a colour profile")
            return None
        return True

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
                end(worker)
            else:
                # The thread that borrowed it waits on its pipe and buries it: closing that here would be a race.
                kill(worker)

    def worker_pids(self) -> tuple[int, ...]:
        """Give the process ids of the workers."""
        with self._condition:
            return tuple(worker.process.pid for worker in self._all if worker.process.pid is not None)

    @contextlib.contextmanager
    def _borrow(self, stop: StopToken | None) -> Iterator[Worker]:
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
                end(worker)

    def _take(self, stop: StopToken | None) -> Worker:
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
                    end(idle)
                if len(self._all) + self._starting < self._size:
                    self._starting += 1
                    break
                self._condition.wait(timeout=0.1)
        worker: Worker | None = None
        try:
            worker = start(run, "medviewer-decoder")
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


class _RefusedError(Exception):
    """A colour profile cannot be used; the process that said so ends."""


def _try(worker: Worker, profile: bytes, stop: StopToken | None) -> None:
    if Reply(*ask(worker, Trial(DEADLINE_S), (profile,), DEADLINE_S, stop)).error:
        raise _RefusedError


def _ask(worker: Worker, request: Request, data: bytes, stop: StopToken | None) -> Reply:
    """Send one request and wait for its reply, the worker's end, the deadline or the reader's stop."""
    try:
        return Reply(*ask(worker, request, (data,), request.deadline_s, stop))
    except HungUpError:
        logger.warning("A decoder process ended while decoding")
        raise DecodeError(
            "The compressed pixels of this image are damaged: its decoder stopped. "
            "Other images are not affected; ask for the file to be sent again."
        ) from None
    except LateError:
        logger.warning("A decoder process was stopped after its deadline of %.0f s", request.deadline_s)
        raise DecodeError(
            f"The compressed pixels of this image are damaged: decoding took longer than {request.deadline_s:.0f} s "
            "and was stopped. Ask for the file to be sent again."
        ) from None
