"""Latest-wins job slots: late answers are dropped, superseded work is told to stop."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import TypeVar

from medviewer.domain.errors import MedViewerError, Stopped, without_data
from medviewer.domain.frozen import dataclass
from medviewer.domain.progress import Progress, StopToken

T = TypeVar("T")
Post = Callable[[Callable[[], None]], None]
Work = Callable[[StopToken, Progress], T]

log = logging.getLogger(__name__)

_PROGRESS_EVERY_S = 0.05


@dataclass(slots=True)
class _Ticket:
    slot: str
    stop: StopToken


class Jobs:
    """Runs work off the GUI thread, one live job a slot.

    Args:
        executor: where work runs; tests and the command line pass one that runs it at once.
        post: brings a call to the GUI thread: the only thing here that knows threads.
        on_progress: told (slot, done, total, text) on the GUI thread.
        on_idle: told the slot on the GUI thread when its job ended, however it ended.
    """

    def __init__(
        self,
        executor: Executor,
        post: Post,
        *,
        on_progress: Callable[[str, int, int, str], None],
        on_idle: Callable[[str], None],
    ) -> None:
        self._executor = executor
        self._post = post
        self._on_progress = on_progress
        self._on_idle = on_idle
        self._live: dict[str, _Ticket] = {}

    @property
    def running(self) -> tuple[str, ...]:
        """The slots with a live job."""
        return tuple(self._live)

    def start(
        self,
        slot: str,
        work: Work[T],
        done: Callable[[T], None],
        failed: Callable[[MedViewerError], None],
    ) -> StopToken:
        """Start ``work(stop, progress)`` in ``slot``; what ran there before is stopped and forgotten.

        ``done`` or ``failed`` runs on the GUI thread, and only if this job is still the
        slot's latest: a late answer is dropped. Bugs arrive as an "unexpected" error.
        """
        self.stop(slot)
        ticket = _Ticket(slot, StopToken())
        self._live[slot] = ticket
        self._on_progress(slot, 0, 0, "")
        told = 0.0

        def progress(count: int, total: int, text: str) -> None:
            # A folder of ten thousand files must not mean ten thousand repaints.
            nonlocal told
            now = time.monotonic()
            if now - told < _PROGRESS_EVERY_S and count != total:
                return
            told = now

            def tell() -> None:
                if self._is_live(ticket):
                    self._on_progress(slot, count, total, text)

            self._post(tell)

        def run() -> None:
            try:
                result = work(ticket.stop, progress)
            except Stopped:
                self._post(lambda: self._end(ticket, lambda: None))
            except MedViewerError as error:
                self._post(partial(self._end, ticket, partial(failed, error)))
            except BaseException as error:  # the edge of a worker: a bug must not vanish with its thread
                log.error("unexpected failure in a job", exc_info=without_data(error))  # noqa: TRY400 - without its message
                self._post(lambda: self._end(ticket, lambda: failed(UNEXPECTED)))
            else:
                self._post(lambda: self._end(ticket, lambda: done(result)))

        self._executor.submit(run)
        return ticket.stop

    def stop(self, slot: str) -> None:
        """Stop and forget the job in ``slot``, if there is one."""
        ticket = self._live.pop(slot, None)
        if ticket is not None:
            ticket.stop.stop()
            self._on_idle(slot)

    def ask_to_stop(self, slot: str) -> None:
        """Tell the job in ``slot`` to stop, if there is one; it is not forgotten, and says itself how it ended."""
        ticket = self._live.get(slot)
        if ticket is not None:
            ticket.stop.stop()

    def stop_all(self) -> None:
        """Stop and forget every job."""
        for slot in tuple(self._live):
            self.stop(slot)

    def _is_live(self, ticket: _Ticket) -> bool:
        return self._live.get(ticket.slot) is ticket

    def _end(self, ticket: _Ticket, deliver: Callable[[], None]) -> None:
        if self._is_live(ticket):
            del self._live[ticket.slot]
            self._on_idle(ticket.slot)
            deliver()


UNEXPECTED = MedViewerError(
    "Something unexpected went wrong; the details are in the log. Your work is safe: try again."
)
