"""Arrays that cross between processes through shared memory, without pickling.

A block belongs to the process that made it: only the owner unlinks it, when it
is replaced, closed or forgotten. Should the owner be killed, Python's resource
tracker removes the name.
"""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Mapping, Sequence
from functools import lru_cache
from multiprocessing.shared_memory import SharedMemory
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from medviewer.domain.errors import EngineError, UsageError
from medviewer.domain.frozen import dataclass

_ALIGNMENT = 64  # a cache line, and what vector instructions like
_SMALLEST = 1 << 20
_LIMIT_BYTES = 1 << 31
# As ``dtype.str`` writes them (little-endian): what networks take and give.
_KINDS = frozenset({"<f4", "<f8", "<f2", "<i8", "<i4", "|u1", "|b1"})
_DTYPES = {kind: np.dtype(kind) for kind in _KINDS}

Slot: TypeAlias = tuple[str, str, tuple[int, ...], int]
"""Where an array lies in a block: (name, ``dtype.str``, shape, offset in bytes)."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How named arrays lie in one block of ``size`` bytes."""

    slots: tuple[Slot, ...]
    size: int


def plan(arrays: Mapping[str, npt.NDArray[Any]]) -> Layout:
    """Lay arrays out one after the other.

    Raises:
        UsageError: an array's type cannot cross.
        EngineError: together they are larger than one request may be.
    """
    return _plan(*[(name, array.dtype, array.shape) for name, array in arrays.items()])


@lru_cache(maxsize=64)
def _plan(*forms: tuple[str, np.dtype[Any], tuple[int, ...]]) -> Layout:
    """A model is asked with arrays of one form again and again."""
    slots: list[Slot] = []
    offset = 0
    for name, dtype, shape in forms:
        kind, n_bytes = dtype.str, dtype.itemsize * math.prod(shape)
        if kind not in _KINDS:
            raise UsageError(f"The array “{name}” has the type {kind}, which a model cannot be given.")
        slots.append((name, kind, shape, offset))
        offset += -(-n_bytes // _ALIGNMENT) * _ALIGNMENT
    if offset > _LIMIT_BYTES:
        raise EngineError(f"One request of {offset >> 20} MB is too large for the model; use smaller batches.")
    return Layout(tuple(slots), offset)


def views(buffer: memoryview, slots: Sequence[Slot]) -> dict[str, npt.NDArray[Any]]:
    """See the arrays of a block without copying. They must be dropped before the block is closed.

    Raises:
        EngineError: a slot is of an unknown type or reaches beyond the block.
    """
    try:
        if any(size < 0 for _, _, shape, _ in slots for size in shape):
            raise ValueError("a negative size")  # noqa: TRY301 - one place that says what is wrong
        return {
            name: np.ndarray(shape, dtype=_DTYPES[kind], buffer=buffer, offset=offset)
            for name, kind, shape, offset in slots
        }
    except (KeyError, TypeError, ValueError) as error:
        raise EngineError("The model's process sent something that is not an array; there is no result.") from error


class OwnedBlock:
    """A shared block that grows when needed and is unlinked with its owner."""

    __slots__ = ("__weakref__", "_finalizer", "_memory", "_seen", "_seen_slots", "name")

    def __init__(self) -> None:
        self._seen: dict[str, npt.NDArray[Any]] = {}  # the arrays that were asked for last
        self._seen_slots: Sequence[Slot] | None = None
        self.name = ""  # what the other process attaches to; empty before the first use
        self._memory: SharedMemory | None = None
        self._finalizer: weakref.finalize[..., Any] | None = None

    @property
    def buffer(self) -> memoryview:
        """The bytes."""
        if self._memory is None or self._memory.buf is None:
            raise EngineError("The shared memory is closed.")
        return self._memory.buf

    def views(self, slots: Sequence[Slot]) -> dict[str, npt.NDArray[Any]]:
        """See the arrays of the block without copying; only for as long as the block is not reserved anew.

        Raises:
            EngineError: a slot is of an unknown type or reaches beyond the block.
        """
        if slots is not self._seen_slots:
            self._seen, self._seen_slots = views(self.buffer, slots), slots
        return self._seen

    def write(self, slots: Sequence[Slot], arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Copy arrays to their places."""
        for name, view in self.views(slots).items():
            np.copyto(view, arrays[name], casting="no")

    def reserve(self, size: int) -> None:
        """Make room for ``size`` bytes; what was in the block is lost if it has to grow.

        Raises:
            EngineError: the machine has no memory left for it.
        """
        if self._memory is not None and self._memory.size >= size:
            return
        self.close()
        wanted = max(_SMALLEST, 1 << (size - 1).bit_length())
        try:
            memory = SharedMemory(create=True, size=wanted)
        except OSError as error:
            raise EngineError(f"There is no shared memory left ({wanted >> 20} MB); close other programs.") from error
        self._memory, self.name = memory, memory.name
        self._finalizer = weakref.finalize(self, _release, memory)
        try:
            _allocate(memory, wanted)
        except OSError as error:
            self.close()
            raise EngineError(f"There is no shared memory left ({wanted >> 20} MB); close other programs.") from error

    def close(self) -> None:
        """Give the memory back; the block may be reserved anew."""
        self._seen, self._seen_slots = {}, None  # they would keep it open
        if self._finalizer is not None:
            self._finalizer()
        self._memory = self._finalizer = None
        self.name = ""


def _allocate(memory: SharedMemory, size: int) -> None:
    """Claim the pages now: a full /dev/shm kills the process that writes (SIGBUS) instead of raising."""
    descriptor = getattr(memory, "_fd", -1)
    if descriptor >= 0 and hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)


def _release(memory: SharedMemory) -> None:
    memory.close()
    memory.unlink()


class AttachedBlock:
    """The other side's view of an owned block, re-attached whenever its name changes."""

    __slots__ = ("_memory", "_name")

    def __init__(self) -> None:
        self._name = ""
        self._memory: SharedMemory | None = None

    def buffer(self, name: str) -> memoryview:
        """The bytes of the block ``name``."""
        if self._memory is None or self._name != name:
            if self._memory is not None:
                self._memory.close()
            self._memory, self._name = SharedMemory(name=name), name
        assert self._memory.buf is not None  # noqa: S101 - open
        return self._memory.buf
