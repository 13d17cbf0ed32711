"""Large new memory, made ready by one thread while another fills it.

The system gives memory page by page at the first touch, which for a volume takes as long as
reading its files. The request to do so ahead of time changes no byte, so that it cannot
race with whoever writes.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

import numpy as np

_MADV_POPULATE_WRITE = 23  # Linux 5.14; older ones refuse it, and pages come at the first touch as ever
_STEP_BYTES = 8 << 20
_LEAST_BYTES = 32 << 20  # below, a thread costs more than it saves


@contextmanager
def made_ready(array: np.ndarray) -> Iterator[None]:
    """Have the pages of new memory made ready, in order, while the block that follows fills it.

    Args:
        array: just allocated, contiguous. Its content is not touched.
    """
    if not sys.platform.startswith("linux") or array.nbytes < _LEAST_BYTES:
        yield
        return
    is_over = Event()
    thread = Thread(target=_populate, args=(array, is_over), name="fresh-memory", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _populate(array: np.ndarray, is_over: Event) -> int:
    """Make the pages ready that lie whole inside ``array``; give how many bytes they are."""
    madvise = ctypes.CDLL(None).madvise  # not mmap's: that one holds Python's lock meanwhile
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    page = mmap.PAGESIZE
    begin, end = -(-array.ctypes.data // page) * page, (array.ctypes.data + array.nbytes) // page * page
    at = begin
    while at < end and not is_over.is_set():
        size = min(_STEP_BYTES, end - at)
        if madvise(at, size, _MADV_POPULATE_WRITE) != 0:
            break
        at += size
    return at - begin
