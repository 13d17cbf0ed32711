"""How long work tells of itself, and how it is told to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeAlias

from medviewer.domain.errors import Stopped

Progress: TypeAlias = Callable[[int, int, str], None]
"""Called with (done, total, what is being done); total 0 means unknown."""


VALIDATING = "validating"
"""What the text of a training's progress says between the last step of an epoch and the next epoch."""


MEASURED = {"auc": "AUC on held-out cases", "held_out": "loss on held-out cases"}
"""What a training may measure after an epoch without choosing by it, by its name in records; in the words of people."""


def no_progress(done: int, total: int, text: str) -> None:
    """Report to nobody."""


class StopToken:
    """A wish to stop, passed from the reader's Cancel to the innermost loop.

    Work polls ``raise_if_stopped`` between its steps; what cannot poll (a
    running network, another process) registers ``on_stop`` instead. Safe to
    use from any thread; stopping twice is stopping once.
    """

    __slots__ = ("_callbacks", "_event", "_lock")

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []

    @property
    def is_stopped(self) -> bool:
        """Whether someone asked to stop."""
        return self._event.is_set()

    def stop(self) -> None:
        """Ask the work to stop, and run the registered callbacks once."""
        with self._lock:
            self._event.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def on_stop(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have ``callback`` run when stopped (now, if it already is).

        Returns:
            A function that withdraws the callback.
        """
        with self._lock:
            stopped = self._event.is_set()
            if not stopped:
                self._callbacks.append(callback)
        if stopped:
            callback()

        def withdraw() -> None:
            with self._lock:
                if callback in self._callbacks:
                    self._callbacks.remove(callback)

        return withdraw

    def raise_if_stopped(self) -> None:
        """Raise :class:`Stopped` if someone asked to stop."""
        if self._event.is_set():
            raise Stopped
