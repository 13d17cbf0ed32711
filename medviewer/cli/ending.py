"""SIGTERM ends a command as Ctrl+C does: workers end, shared memory is given back, nothing is half-written."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from medviewer.domain.frozen import dataclass


@dataclass(slots=True)
class Termination:
    """Whether the system, or whoever looks after this process, asked it to end."""

    was_asked: bool = False


@contextlib.contextmanager
def like_ctrl_c() -> Iterator[Termination]:
    """Treat SIGTERM as Ctrl+C while a command runs: what that does at the moment, a window's closing too, is done.

    Asked twice, a command goes on tidying up; only the main thread can be told at all.
    """
    termination = Termination()
    if threading.current_thread() is not threading.main_thread():
        yield termination
        return

    def end(number: int, frame: FrameType | None) -> None:
        on_ctrl_c = signal.getsignal(signal.SIGINT)
        was_asked, termination.was_asked = termination.was_asked, True
        if callable(on_ctrl_c) and on_ctrl_c is not signal.default_int_handler:
            on_ctrl_c(number, frame)
        elif not was_asked:  # (a shell's background job ignores Ctrl+C, and has no handler that could be called)
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield termination
    finally:
        signal.signal(signal.SIGTERM, before)
