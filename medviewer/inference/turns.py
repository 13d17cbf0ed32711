"""Whose turn it is to use the worker: what a reader waits for goes before what runs in the background."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from medviewer.domain.progress import StopToken

_LOOK_S = 0.02  # how often a wish to stop is looked for while another run has its turn

_is_background: ContextVar[bool] = ContextVar("is_background", default=False)


@contextmanager
def in_background() -> Iterator[None]:
    """Whatever this thread asks of an engine inside the block lets everybody else go first."""
    token = _is_background.set(True)
    try:
        yield
    finally:
        _is_background.reset(token)


class Turns:
    """One turn at a time. Among those who wait, nobody of the background is next while somebody else waits."""

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._is_taken = False
        self._n_waiting = 0
        self._urgent = 0  # who wait and are not of the background

    def taking(self, stop: StopToken | None = None) -> Turn:
        """Hold the worker inside a ``with`` block; whoever waits for it can still be stopped.

        Entering raises :class:`~medviewer.domain.errors.Stopped` if ``stop`` was used before the turn came.
        """
        return Turn(self, stop)

    def release(self) -> None:
        """Let the next one have its turn."""
        with self._free:
            self._is_taken = False
            if self._n_waiting:
                self._free.notify_all()

    def take(self, stop: StopToken | None) -> None:
        """Wait for a turn.

        Raises:
            Stopped: ``stop`` was used before it came.
        """
        is_background = _is_background.get()
        with self._free:
            self._urgent += not is_background
            self._n_waiting += 1
            try:
                if stop is not None:
                    stop.raise_if_stopped()
                while self._is_taken or (is_background and self._urgent):
                    self._free.wait(_LOOK_S)
                    if stop is not None:
                        stop.raise_if_stopped()
                self._is_taken = True
            finally:
                self._urgent -= not is_background
                self._n_waiting -= 1


class Turn:
    """One turn, as a context; a class, because a generator would cost a short run half a per cent."""

    __slots__ = ("_stop", "_turns")

    def __init__(self, turns: Turns, stop: StopToken | None) -> None:
        self._turns, self._stop = turns, stop

    def __enter__(self) -> None:
        self._turns.take(self._stop)

    def __exit__(self, *_: object) -> None:
        self._turns.release()
