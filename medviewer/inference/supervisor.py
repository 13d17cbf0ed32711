"""The window's side of the worker process: start it, ask it, stop it, notice its death.

A worker that is killed, hangs or grows too large costs one clear error; the
next request starts another.
"""

from __future__ import annotations

import contextlib
import json
import logging
import multiprocessing
import os
import pickle
import select
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeAlias

from medviewer.domain import errors
from medviewer.domain.errors import EngineError, MedViewerError, Stopped, TimeBudgetError, WorkerDiedError
from medviewer.domain.progress import StopToken
from medviewer.inference import worker
from medviewer.inference.wire import Wire

_log = logging.getLogger(__name__)

_Wait: TypeAlias = Callable[[float], tuple[bool, bool]]

GRACE_S = 2.0  # how long a run may take to notice "stop" before its process is ended
_REPLY_LIMIT_BYTES = 1 << 20
_LOOK_S = 0.25  # how often the size of a busy worker is looked at


class Supervisor:
    """One worker process, started when it is first needed and again after it died.

    Not for several threads at once (:class:`~medviewer.inference.engine.Engine`
    takes turns), except the stop tokens that it is given.
    """

    def __init__(self, memory_limit_bytes: int) -> None:
        self._memory_limit = memory_limit_bytes
        self._process: BaseProcess | None = None
        self._requests: Wire | None = None
        self._control: Connection | None = None
        self._control_lock = threading.Lock()
        self._ticket = 0
        self._wait: _Wait = _never
        self._asked: tuple[tuple[Any, ...], bytes] = ((), b"")
        self._last: tuple[bytes, list[Any]] = (b"", [])

    @property
    def pid(self) -> int | None:
        """The worker's process id, or None while there is none."""
        process = self._process
        try:
            return None if process is None or wait([process.sentinel], 0) else process.pid
        except ValueError:  # closed by another thread in between
            return None

    def start(self) -> bool:
        """Make sure that a worker runs; True if it is a new one (which knows no models).

        Raises:
            EngineError: the system starts no further process.
        """
        if self._process is not None:
            # Not is_alive(): whoever else waits for our children would make it say yes for ever.
            _, has_died = self._wait(0)
            if not has_died:
                return False
            self.kill()
        context = multiprocessing.get_context("spawn")
        requests, their_requests = context.Pipe()
        control, their_control = context.Pipe()
        is_main = threading.current_thread() is threading.main_thread()
        process = context.Process(
            target=worker.main,
            args=(their_requests, their_control, self._memory_limit, os.getpid()),
            kwargs={"by_main_thread": is_main},
            name="medviewer-engine",
            daemon=True,
        )
        try:
            process.start()
        except OSError as error:
            requests.close()
            control.close()
            raise EngineError("The process that runs models could not be started; close other programs.") from error
        finally:
            # Their ends must not stay open here, or the pipes would never end when the worker dies.
            their_requests.close()
            their_control.close()
        self._process, self._requests, self._control = process, Wire(requests), control
        self._wait = _waiting_for(requests, process.sentinel)
        _log.info("engine worker started")
        return True

    def ask(self, verb: str, *rest: Any, stop: StopToken | None, budget_s: float) -> list[Any]:
        """Send one request and wait for its answer, its death, its budget or the wish to stop.

        Raises:
            Stopped, TimeBudgetError, WorkerDiedError, EngineError, or what the worker answered.
        """
        self._ticket += 1
        ticket = self._ticket
        self._send(ticket, (verb, *rest))
        withdraw = stop.on_stop(lambda: self._stop(ticket)) if stop else None
        try:
            return self._answer(ticket, stop, time.monotonic() + budget_s)
        finally:
            if withdraw:
                withdraw()

    def close(self) -> None:
        """End the worker: closing its pipes is enough, and it is killed if that is not."""
        process = self._process
        self._hang_up()
        if process is not None:
            process.join(GRACE_S)
        self.kill()

    def kill(self) -> None:
        """End the worker at once and forget it."""
        process, self._process = self._process, None
        self._hang_up()
        if process is not None:
            process.kill()
            process.join()
            with contextlib.suppress(ValueError):  # somebody else has waited for it: it is gone all the same
                process.close()

    def _hang_up(self) -> None:
        with self._control_lock:
            for connection in (self._requests, self._control):
                if connection is not None:
                    connection.close()
            self._requests = self._control = None

    def _send(self, ticket: int, request: tuple[Any, ...]) -> None:
        assert self._requests is not None  # noqa: S101 - started
        if request != self._asked[0]:  # the same from run to run, as a rule
            self._asked = (request, pickle.dumps(request, pickle.HIGHEST_PROTOCOL))
        try:
            self._requests.send(ticket.to_bytes(worker.TICKET_BYTES, "little") + self._asked[1])
        except OSError as error:
            raise self._died() from error

    def _stop(self, ticket: int) -> None:
        """Ask the worker to end a run; called from whatever thread wants to stop."""
        with self._control_lock, contextlib.suppress(OSError):
            if self._control is not None:
                self._control.send(ticket)

    def _answer(self, ticket: int, stop: StopToken | None, deadline: float) -> list[Any]:
        """Wait on the pipe and the process together, so that neither a death nor a stop goes unnoticed."""
        assert self._requests is not None  # noqa: S101 - started
        assert self._process is not None  # noqa: S101 - started
        ending: MedViewerError | None = None  # why this run will not be waited for
        limit = deadline
        while True:
            now = time.monotonic()
            if ending is None and stop is not None and stop.is_stopped:
                ending, limit = Stopped(), now + GRACE_S
            elif ending is None and now >= deadline:
                ending, limit = TimeBudgetError("The model took longer than its time budget; no result."), now + GRACE_S
                self._stop(ticket)
            elif ending is not None and now >= limit:
                self.kill()
                raise ending
            has_reply, has_died = self._wait(min(_LOOK_S, max(limit - now, 0.0)))
            if has_reply:
                return self._receive(ending)
            if has_died:
                raise self._died()
            self._check_size()

    def _receive(self, ending: MedViewerError | None) -> list[Any]:
        assert self._requests is not None  # noqa: S101 - started
        try:
            raw = self._requests.receive(_REPLY_LIMIT_BYTES)
            if raw != self._last[0]:  # the same from run to run, as a rule
                self._last = (raw, json.loads(raw))
        except (EOFError, OSError, ValueError) as error:
            raise self._died() from error
        reply = self._last[1]
        if ending is not None:
            raise ending
        if reply[0] == "error":
            raise _error(reply[1], reply[2])
        return reply

    def _died(self) -> WorkerDiedError:
        """Bury the worker and say how it ended."""
        code = None
        if self._process is not None:
            self._process.join(GRACE_S)
            code = self._process.exitcode
        self.kill()
        _log.warning("the engine's worker ended by itself, exit code %s", code)
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        return WorkerDiedError(
            f"The process that runs models ended unexpectedly ({how}); there is no result. "
            "It restarts by itself: try again, and if it ends again, give it more memory or choose another model."
        )

    def _check_size(self) -> None:
        """End a worker that outgrew its limit, where the system does not hold it (Windows, macOS)."""
        import psutil  # noqa: PLC0415 - not before there is a worker

        assert self._process is not None  # noqa: S101 - started
        try:
            size = psutil.Process(self._process.pid).memory_info().rss
        except psutil.Error:
            return
        if size > self._memory_limit:
            self.kill()
            raise EngineError(
                f"The model needs more memory than it is allowed ({self._memory_limit >> 20} MB); there is no result."
            )


def _never(_timeout_s: float) -> tuple[bool, bool]:
    return False, False


def _waiting_for(requests: Connection, sentinel: int) -> _Wait:
    """Give a function that waits for a reply or the process's end, and says which it was.

    Where the system has ``poll``, both are registered once: setting it up anew for every run
    would cost more than the message.
    """
    if not hasattr(select, "poll"):

        def wait_for_objects(timeout_s: float) -> tuple[bool, bool]:
            ready = wait([requests, sentinel], timeout_s)
            return requests in ready, sentinel in ready

        return wait_for_objects
    poll, pipe = select.poll(), requests.fileno()
    poll.register(pipe, select.POLLIN)
    poll.register(sentinel, select.POLLIN)

    def wait_for_descriptors(timeout_s: float) -> tuple[bool, bool]:
        events = dict(poll.poll(timeout_s * 1000))
        # A pipe that only hangs up has no reply in it: reading it says that the process is gone.
        return pipe in events, sentinel in events

    return wait_for_descriptors


def _error(name: str, text: str) -> MedViewerError:
    """The error that the worker answered with, as the class it was there."""
    kind = getattr(errors, name, EngineError)
    is_ours = isinstance(kind, type) and issubclass(kind, MedViewerError)
    error: MedViewerError = kind(text) if is_ours else EngineError(text)
    return error
