"""Memory for training: what a step gives back stays with the process for the next step.

A step of a network takes gigabytes and frees them again. glibc returns large pieces to the system at once, which then
clears and hands out hundreds of thousands of pages anew each step: a quarter of the time of a radiograph's step.
"""

from __future__ import annotations

import ctypes
import sys

# mallopt(3): its parameters by number, each with its value.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8
_SETTINGS = (
    (_ARENA_MAX, 1),  # one heap for all threads: those of the backward pass free what the forward pass took
    (_MMAP_MAX, 0),  # large pieces come from the heap too
    (_TRIM_THRESHOLD, -1),  # nothing is given back
    (_TOP_PAD, 256 << 20),  # bytes by which the heap grows
)


def keep_freed_memory() -> bool:
    """Have this process keep what it frees, until its end; says whether the system can.

    For a process that does nothing but train: its size stays at its largest. No number changes by it.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another C library (musl)
        return False
    taken = tuple(mallopt(parameter, value) for parameter, value in _SETTINGS)
    return all(taken)
