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
        self._urgent = 0  # who wait and are not of the background

    @contextmanager
    def taking(self, stop: StopToken | None = None) -> Iterator[None]:
        """Hold the worker; whoever waits for it can still be stopped.

        Raises:
            Stopped: ``stop`` was used before the turn came.
        """
        self._take(stop)
        try:
            if stop is not None:
                stop.raise_if_stopped()
            yield
        finally:
            with self._free:
                self._is_taken = False
                self._free.notify_all()

    def _take(self, stop: StopToken | None) -> None:
        is_background = _is_background.get()
        with self._free:
            self._urgent += not is_background
            try:
                while self._is_taken or (is_background and self._urgent):
                    self._free.wait(_LOOK_S)
                    if stop is not None:
                        stop.raise_if_stopped()
                self._is_taken = True
            finally:
                self._urgent -= not is_background
