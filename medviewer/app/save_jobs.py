"""What writes the reader's files: nothing that is opened or saved later stops it, and however it ends, that is said.

Each has a slot of its own. They take turns: two that looked for a free name, or cleared one folder, at the same time
would write over each other. A film, which may take minutes and has a name of its own, holds up nobody.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from medviewer.app.jobs import Jobs, Work
from medviewer.domain.errors import MedViewerError, Stopped
from medviewer.domain.progress import Progress, StopToken
from medviewer.domain.study import Collection

if TYPE_CHECKING:  # the application holds it
    from medviewer.app.application import Application

T = TypeVar("T")

FILM = "film"
CANCELLED = "Saving was cancelled: nothing was written."
FILM_LOST = "A film was not saved, as MedViewer was closed before it was whole: export it again."

_NUMBER = " #"  # between the kind of a save and which of them it is
_LOOK_AGAIN_S = 0.1  # whether the reader has cancelled


def kind_of(slot: str) -> str:
    """What a job is called without its number."""
    return slot.partition(_NUMBER)[0]


class Noted(NamedTuple):
    """What the audit trail says once the file is there: what was done, and with which object."""

    what: str
    subject: str = ""


class SaveJobs:
    """Starts and ends them. GUI thread only; the work runs off it."""

    def __init__(self, app: Application, jobs: Jobs) -> None:
        self._app, self._jobs = app, jobs
        self._count = 0
        self._turn = threading.Lock()
        self._kept: list[Collection] = []
        self.is_closing = False

    @property
    def running(self) -> tuple[str, ...]:
        """The slots of what is being saved."""
        return self._jobs.running

    @property
    def is_filming(self) -> bool:
        """Whether a film is being saved."""
        return any(kind_of(slot) == FILM for slot in self._jobs.running)

    def start(self, kind: str, work: Work[T], noted: Noted, saved: Callable[[T], None]) -> None:
        """Save something; ``saved`` is told on the GUI thread.

        The trail notes it in the same breath: whatever is done to the program meanwhile, no file is there without.

        Args:
            kind: of :data:`~medviewer.app.application.SHOWN_JOBS`.
            work: writes a file that is whole or not there.
            noted: what the trail says of it.
            saved: what is done with the result of ``work``.
        """

        def whole(stop: StopToken, progress: Progress) -> tuple[T, MedViewerError | None] | None:
            try:
                with self._turn_of(kind, stop):
                    stop.raise_if_stopped()
                    result = work(stop, progress)
            except Stopped:
                return None
            try:
                self._app.records.note(*noted)
            except MedViewerError as error:  # the file is there all the same
                return result, error
            return result, None

        def done(ended: tuple[T, MedViewerError | None] | None) -> None:
            self._let_go_of_kept()
            if ended is None:
                self._say_stopped()
                return
            result, unnoted = ended
            self._app.succeeded(kind)
            saved(result)
            if unnoted is not None:
                self._app.lose(unnoted)

        def failed(error: MedViewerError) -> None:
            self._let_go_of_kept()
            self._app.lose(error, job=kind)

        self._count += 1
        self._jobs.start(f"{kind}{_NUMBER}{self._count}", whole, done, failed)

    def cancel(self, slot: str) -> None:
        """The reader does not want it any more: it ends where it can, and says whether anything was written."""
        self._jobs.ask_to_stop(slot)

    def close(self) -> None:
        """The program ends: files are waited for, but not for a film, which may take minutes and needs the window."""
        self.is_closing = True
        for slot in self._jobs.running:
            if kind_of(slot) == FILM:
                self._jobs.ask_to_stop(slot)

    def let_go(self, collection: Collection) -> None:
        """Remove what was unpacked for studies that are closed, once nothing is being saved of them."""
        self._kept.append(collection)
        self._let_go_of_kept()

    def end(self) -> None:
        """Nothing runs any more, and nobody will tell."""
        for collection in self._kept:
            collection.release()
        self._kept.clear()

    def _let_go_of_kept(self) -> None:
        if not self._jobs.running:
            self.end()

    def _say_stopped(self) -> None:
        if self.is_closing:
            self._app.lose(MedViewerError(FILM_LOST))
        else:
            self._app.notify("info", CANCELLED)

    @contextmanager
    def _turn_of(self, kind: str, stop: StopToken) -> Iterator[None]:
        if kind == FILM:
            yield
            return
        while not self._turn.acquire(timeout=_LOOK_AGAIN_S):
            stop.raise_if_stopped()
        try:
            yield
        finally:
            self._turn.release()
