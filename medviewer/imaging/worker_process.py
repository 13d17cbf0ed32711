"""What every process beside the window's owes it: to do no harm, and to end with it."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from multiprocessing import parent_process
from multiprocessing.connection import wait


def become_harmless() -> None:
    """Take away what damaged or hostile data could use: other modules' names, output, warnings, core dumps."""
    here = os.path.realpath(os.getcwd())
    # A file called like a module in the working directory must not be imported in its place.
    sys.path[:] = [entry for entry in sys.path if entry and os.path.realpath(entry) != here]
    warnings.simplefilter("ignore")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)  # decoders print what they think of a file, which may quote it
    os.dup2(null, 2)
    if sys.platform != "win32":
        import resource  # noqa: PLC0415 - not there on Windows

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def follow_parent() -> None:
    """Have this process end when its parent does, even from within a decoder that never returns."""
    parent = parent_process()
    if parent is not None and sys.platform == "linux":
        import fcntl  # noqa: PLC0415 - not there on Windows

        # The kernel ends us (SIGIO) when the pipe that only the parent holds open closes. A thread cannot:
        # some decoders keep Python's lock for as long as they run.
        fcntl.fcntl(parent.sentinel, fcntl.F_SETOWN, os.getpid())
        flags = fcntl.fcntl(parent.sentinel, fcntl.F_GETFL)
        fcntl.fcntl(parent.sentinel, fcntl.F_SETFL, flags | os.O_ASYNC)
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def address_space_bytes() -> int:
    """Give what the process has mapped now; 0 where that is not known."""
    if sys.platform != "linux":
        return 0
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def limit_address_space(wanted: int) -> None:
    """Let the process map so many bytes in all, and no more (Linux only)."""
    if sys.platform != "linux":
        return
    import resource  # noqa: PLC0415 - not there on Windows

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
