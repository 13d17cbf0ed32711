"""A command of this program in a process of its own, for work of hours: torch stays out of the window's process.

The process prints lines of JSON while it works. It is told to end as Ctrl+C would, so that what it
writes is whole; one that does not listen is killed. If the window's process is gone, its next line
finds no reader and it ends too.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from threading import Timer
from typing import IO, Any, Literal

from medviewer.domain.errors import RuntimeMissingError
from medviewer.domain.frozen import dataclass
from medviewer.domain.progress import StopToken

Line = Mapping[str, Any]
_PREFIX = "medviewer: "  # what the command line puts before an error
_PATIENCE_S = 30.0  # a step, a validation or a tree that is being learned ends before Python listens
_CANCELLED = frozenset((130, 143))
_UNUSABLE = 3  # done, but some of the data could not be used
_TAIL_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Ending:
    """How a process ended: ``text`` says why it failed, in one sentence."""

    how: Literal["done", "stopped", "failed"]
    text: str = ""


def check_trainable() -> None:
    """Refuse where training cannot run.

    Raises:
        RuntimeMissingError: PyTorch is not installed, or this is the packaged program; says what to install.
    """
    if getattr(sys, "frozen", False):
        raise RuntimeMissingError(
            "The packaged program cannot train; install MedViewer with Python: pip install 'medviewer[torch,cpu]'."
        )
    if importlib.util.find_spec("torch") is None:
        raise RuntimeMissingError("Training needs PyTorch; install it with: pip install 'medviewer[torch,cpu]'.")


def program() -> tuple[str, ...]:
    """How this program is started from a shell, but for its words."""
    return (sys.executable, "-m", "medviewer")


def run_command(words: Sequence[str], told: Callable[[Line], None], stop: StopToken) -> Ending:
    """Run ``medviewer WORDS`` to its end; blocks.

    Args:
        words: command and options.
        told: called in this thread with each line of JSON that it prints.
        stop: ends the process as Ctrl+C would.
    """
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(  # noqa: S603 - our own program, and no shell
                [*program(), *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError as error:
            return Ending("failed", f"The process could not be started ({error.strerror}); close other programs.")
        _step_back(process.pid)
        killer = Timer(_PATIENCE_S, process.kill)

        def end() -> None:
            process.terminate()
            killer.start()

        withdraw = stop.on_stop(end)
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        try:
            with process.stdout:
                for raw in process.stdout:
                    line = _read(raw)
                    if line is not None:
                        told(line)
            code = process.wait()
        finally:
            withdraw()
            killer.cancel()
            if process.poll() is None:  # what was told failed: nobody listens any more
                process.kill()
                process.wait()
        return _ending(code, errors, was_stopped=stop.is_stopped)


def _ending(code: int, errors: IO[bytes], *, was_stopped: bool) -> Ending:
    if code in (0, _UNUSABLE) and not (said := _said(errors)):
        return Ending("done")
    if was_stopped or code in _CANCELLED:
        return Ending("stopped")
    said = _said(errors)
    if said:
        return Ending("failed", said)
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return Ending("failed", f"The process ended unexpectedly ({how}); perhaps the memory was used up.")


def _said(errors: IO[bytes]) -> str:
    """The sentence with which the command line ended, if it did."""
    errors.seek(0, 2)
    errors.seek(max(errors.tell() - _TAIL_BYTES, 0))
    lines = errors.read().decode("utf-8", "replace").splitlines()
    return next((line.removeprefix(_PREFIX) for line in reversed(lines) if line.startswith(_PREFIX)), "")


def _read(raw: bytes) -> Line | None:
    """A line of JSON; None for anything else that a library may print."""
    try:
        line = json.loads(raw)
    except ValueError:
        return None
    return line if isinstance(line, dict) else None


def _step_back(pid: int) -> None:
    """Let everything else on the computer go first: the reader scrolls while it learns."""
    import psutil  # noqa: PLC0415 - not before a process was started

    nicer = getattr(psutil, "BELOW_NORMAL_PRIORITY_CLASS", 10)
    with contextlib.suppress(psutil.Error, OSError):
        psutil.Process(pid).nice(nicer)
