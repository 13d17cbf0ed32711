"""The process in which networks run, so that nothing a model does can take the window with it.

It imports numpy and ONNX Runtime and no window, DICOM or record code; it knows
arrays, never a patient. It lives on two pipes: requests, answered one by one, and
a control pipe on which a second thread waits for "stop" while a network runs. The end
of the control pipe means that the window's process is gone: the worker ends too.

Requests are a ticket of eight bytes and a pickled tuple (verb, ...):

=========  ===========================================================  =====================================
verb       carries                                                      answered by
=========  ===========================================================  =====================================
load       key, Source                                                  loaded: provider, reason, outputs, version
run        key, block, slots, output names or None, output block        done (as below); grow: size; unknown
block      the name of a larger output block, after "grow"              done: slots, provider, reason
probe      nothing                                                      probed: available providers, version
=========  ===========================================================  =====================================

Every failure is answered by ("error", error class name, sentence). Answers travel
as JSON: a process that ran an unknown model must have no way to run anything in the window's.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pickle
import signal
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.domain.errors import EngineError, MedViewerError
from medviewer.domain.frozen import dataclass
from medviewer.inference.memory import (
    Budget,
    allocated_bytes,
    batch_size,
    in_parts_words,
    is_out_of_memory,
    joined,
    largest_batch,
    parts,
)
from medviewer.inference.runtimes import RUNTIMES, onnx
from medviewer.inference.runtimes.opened import OpenModel
from medviewer.inference.runtimes.providers import PROVIDERS
from medviewer.inference.shared import AttachedBlock, Slot, plan, views
from medviewer.inference.wire import Wire

TICKET_BYTES = 8
NEAR = "near "  # before the names of arrays from which those of the batch differ in a small part each
_PR_SET_PDEATHSIG = 1


def main(requests: Connection, control: Connection, memory_limit: int, parent: int, *, by_main_thread: bool) -> None:
    """Serve until the other side goes away: the target of the spawned process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is for the program, which then closes us
    _end_with(parent, by_main_thread=by_main_thread)
    _limit_memory(memory_limit)
    worker = _Worker(Wire(requests), memory_limit)
    threading.Thread(target=worker.listen, args=(control,), daemon=True, name="control").start()
    worker.serve()


class _Worker:
    """The open models and the run that is under way."""

    def __init__(self, requests: Wire, memory_limit: int) -> None:
        self._requests = requests
        self._models: OrderedDict[str, OpenModel] = OrderedDict()
        self._sources: dict[str, onnx.Source] = {}
        self._budget = Budget(memory_limit, allocated_bytes)
        self._input, self._output = AttachedBlock(), AttachedBlock()
        self._lock = threading.Lock()
        self._pending: _Outputs | None = None  # on their way
        self._is_repeated = False  # the request is the one before, to the byte
        self._routine: _Routine | None = None
        self._running: tuple[int, Any] = (0, None)  # ticket, RunOptions
        self._stopped = 0  # the last ticket that was asked to stop

    def listen(self, control: Connection) -> None:
        """Wait for "stop" on the control pipe; its end is the end of this process."""
        with contextlib.suppress(EOFError, OSError):
            while True:
                ticket = control.recv()
                with self._lock:
                    self._stopped = ticket
                    if self._running[0] == ticket:
                        self._running[1].terminate = True
        os._exit(0)  # a network may be running in the main thread: nothing else ends it

    def serve(self) -> None:
        """Answer requests until the pipe ends."""
        last = b""
        with contextlib.suppress(EOFError, OSError):
            while True:
                raw = self._requests.receive()
                ticket, body = int.from_bytes(raw[:TICKET_BYTES], "little"), raw[TICKET_BYTES:]
                self._is_repeated = body == last
                if not self._is_repeated:
                    verb, *rest = pickle.loads(body)  # noqa: S301 - from the window's process, which started this one
                    last = body
                reply: tuple[Any, ...] | bytes
                try:
                    reply = getattr(self, f"_{verb}")(ticket, *rest)
                except MedViewerError as error:
                    reply = ("error", type(error).__name__, str(error))
                except Exception as error:  # noqa: BLE001 - the edge of the process: nothing may be lost silently
                    reply = self._failure(ticket, error)
                self._requests.send(reply if isinstance(reply, bytes) else _encoded(reply))
                self._end()  # only now: somebody waits for the reply

    def _failure(self, ticket: int, error: Exception) -> tuple[Any, ...]:
        """Name what ONNX Runtime only says in prose."""
        text = str(error).strip() or type(error).__name__
        with self._lock:
            if self._stopped == ticket:
                return ("error", "Stopped", "Cancelled.")
        if is_out_of_memory(error):
            return ("error", "EngineError", "The model needs more memory than it is allowed; no result.")
        return ("error", "EngineError", f"The model could not be run: {text.splitlines()[0][:300]}")

    def _probe(self, _ticket: int) -> tuple[Any, ...]:
        return ("probed", onnx.available_providers(), onnx.version())

    def _load(self, _ticket: int, key: str, source: onnx.Source) -> tuple[Any, ...]:
        self._models.pop(key, None)
        runtime = RUNTIMES[source.runtime]
        model = runtime.open(source)
        self._models[key] = model
        self._sources[key] = source
        self._release_least_used()
        return ("loaded", model.provider, model.reason, model.outputs, runtime.version())

    def _release_least_used(self) -> None:
        """Keep sessions warm while they fit, the one that was used last always."""
        while len(self._models) > 1 and not self._budget.may_stay_warm(self._models):
            key, _ = self._models.popitem(last=False)
            self._forget(key)

    def _run(
        self, ticket: int, key: str, block: str, slots: Sequence[Slot], outputs: Sequence[str] | None, room: str
    ) -> tuple[Any, ...] | bytes:
        reply = self._repeat(ticket) if self._is_repeated and self._routine else None
        if reply is not None:
            return reply
        self._routine = None  # its views would keep a block open that is to be replaced
        model = self._models.get(key)
        if model is None:
            return ("unknown",)
        self._models.move_to_end(key)
        options = RUNTIMES[self._sources[key].runtime].run_options()
        names = tuple(outputs) if outputs else model.outputs
        del model  # or its session could not be released when memory runs out
        inputs = views(self._input.buffer(block), slots)
        base = {name.removeprefix(NEAR): inputs.pop(name) for name in [*inputs] if name.startswith(NEAR)}
        if not self._begin(ticket, options):
            return ("error", "Stopped", "Cancelled.")
        found, note = self._compute(key, inputs, base, names, options)
        model = self._models[key]
        reply, targets = self._deliver(_Outputs(model, names, found, note), room)
        if targets and not note and not base:
            self._routine = _routine(model, inputs, dict(zip(names, targets, strict=True)), options, reply)
        return reply

    def _repeat(self, ticket: int) -> tuple[Any, ...] | bytes | None:
        """Make the run before on other values: all around it is as it was. None if it has to be prepared anew."""
        routine, self._routine = self._routine, None
        assert routine is not None  # noqa: S101 - asked for only then
        if not self._begin(ticket, routine.options):
            return ("error", "Stopped", "Cancelled.")
        try:
            routine.run()
        except Exception:
            if self._stopped == ticket:
                raise
            return None  # options of a run that was ended late, outputs of another size, no memory: made anew
        self._routine = routine
        return routine.reply

    def _begin(self, ticket: int, options: Any) -> bool:
        """Let the run that starts be ended by ``options``; False if that was asked for already."""
        with self._lock:
            if self._stopped == ticket:
                return False
            self._running = (ticket, options)
            return True

    def _end(self) -> None:
        """Note that nothing runs any more."""
        with self._lock:
            self._running = (0, None)

    def _compute(
        self, key: str, inputs: onnx.Arrays, base: onnx.Arrays, names: tuple[str, ...], options: Any
    ) -> tuple[list[Any], str]:
        """Run within the memory that there is; the second value says in words if that took more than one run.

        What does not fit by its estimate is made in smaller batches, or refused. Where memory runs out all the
        same, everything else is released, then batches become smaller, and last a GPU gives way to the CPU.
        """
        size = whole = batch_size(inputs)
        if not self._budget.is_known(key, inputs):
            try:
                size = self._fitting(key, inputs)
            except EngineError:
                if not self._sources[key].is_exact:
                    raise
                self._reopen_plain(key)
                size = self._fitting(key, inputs)
        while True:
            try:
                return self._run_in_parts(key, inputs, base, names, options, size), in_parts_words(size, whole)
            except Exception as error:
                if not is_out_of_memory(error) or not self._has_another_way(key, size):
                    raise
            # Only here: the failure, as long as it was looked at, held the session.
            size = self._make_room(key, size, whole)

    def _has_another_way(self, key: str, size: int) -> bool:
        model = self._models[key]
        is_smaller = size > 1 and _is_batched(model)
        return len(self._models) > 1 or is_smaller or model.provider != "cpu" or self._sources[key].is_exact

    def _make_room(self, key: str, size: int, whole: int) -> int:
        """Do the mildest thing that is left, and give the size of the batches to try now."""
        if self._release_all_but(key):
            self._reopen(key)
        elif size > 1 and _is_batched(self._models[key]):
            self._reopen(key)
            size = (size + 1) // 2
        elif self._sources[key].is_exact:
            self._reopen_plain(key)
            size = whole
        else:
            self._reopen(key, on_cpu=True)
            size = whole
        return size

    def _fitting(self, key: str, inputs: onnx.Arrays) -> int:
        """How many items of a request fit at once, with the other models released if need be."""
        outline = self._models[key].outline
        if outline is None:  # nothing can be told of it; the limit of the process is left
            return batch_size(inputs)
        try:
            size = largest_batch(outline, inputs, self._budget.room_bytes(key))
        except EngineError:
            if not self._release_all_but(key):
                raise
            size = largest_batch(outline, inputs, self._budget.room_bytes(key))
        if size == batch_size(inputs):
            self._budget.note(key, inputs, outline)
        return size

    def _run_in_parts(
        self, key: str, inputs: onnx.Arrays, base: onnx.Arrays, names: tuple[str, ...], options: Any, size: int
    ) -> list[npt.NDArray[Any]]:
        model = self._models[key]

        def run(part: onnx.Arrays) -> list[npt.NDArray[Any]]:
            return model.run_near(part, base, names, options) if base else model.run(part, names, options)

        if size >= batch_size(inputs):
            return run(inputs)
        return joined([run(part) for part in parts(inputs, size)])

    def _release_all_but(self, key: str) -> bool:
        """Release the other models; False if there are none."""
        others = [other for other in self._models if other != key]
        for other in others:
            del self._models[other]
            self._forget(other)
        return bool(others)

    def _forget(self, key: str) -> None:
        self._routine = None  # it may hold the session
        self._budget.forget(key)

    def _reopen(self, key: str, *, on_cpu: bool = False) -> None:
        """Open a model anew: what its session had allocated is given back; a GPU is not tried again."""
        del self._models[key]
        self._forget(key)
        source = self._sources[key]
        opened = (
            RUNTIMES[source.runtime].open if not on_cpu else partial(onnx.on_cpu, reason="the GPU ran out of memory")
        )
        self._models[key] = opened(source)

    def _reopen_plain(self, key: str) -> None:
        """Do without double precision, which takes twice the memory."""
        self._sources[key] = replace(self._sources[key], is_exact=False)
        self._reopen(key)

    def _block(self, _ticket: int, room: str) -> tuple[Any, ...]:
        """Put the outputs of the last run in a larger block."""
        if self._pending is None:
            raise EngineError("The model's outputs were lost; try again.")
        return self._deliver(self._pending, room)[0]

    def _deliver(self, made: _Outputs, room: str) -> tuple[tuple[Any, ...], tuple[npt.NDArray[Any], ...]]:
        """Put outputs in the shared block, or ask for a larger one; the reply, and where they lie."""
        layout = plan(dict(zip(made.names, made.arrays, strict=True)))
        if not room or len(self._output.buffer(room)) < layout.size:
            self._pending = made
            return ("grow", layout.size), ()
        self._pending = None
        targets = tuple(views(self._output.buffer(room), layout.slots).values())
        for target, array in zip(targets, made.arrays, strict=True):
            np.copyto(target, array, casting="no")
        return ("done", layout.slots, made.model.provider, made.model.reason + made.note), targets


def _routine(
    model: OpenModel, inputs: onnx.Arrays, outputs: onnx.Arrays, options: Any, reply: tuple[Any, ...]
) -> _Routine | None:
    try:
        run = model.bind(inputs, outputs, options)
    except Exception:  # noqa: BLE001 - the answer is there; only the next one will not be quicker
        return None
    return None if run is None else _Routine(run, options, _encoded(reply))


def _encoded(reply: tuple[Any, ...]) -> bytes:
    return json.dumps(reply).encode()


def _is_batched(model: OpenModel) -> bool:
    return model.outline is not None and model.outline.is_batched


@dataclass(frozen=True, slots=True, eq=False)
class _Outputs:
    """What a run gave: ``note`` says how it was made, if not at once."""

    model: OpenModel
    names: tuple[str, ...]
    arrays: Sequence[npt.NDArray[Any]]
    note: str


@dataclass(frozen=True, slots=True, eq=False)
class _Routine:
    """A run that was made once and is asked for again: all that is left to do, and what is answered.

    Preparing this anew costs a network of a few milliseconds several per cent of its time.
    """

    run: Callable[[], None]  # from shared memory to shared memory
    options: Any
    reply: bytes


def _end_with(parent: int, *, by_main_thread: bool) -> None:
    """Have the kernel end this process when its parent ends, however that happens (Linux).

    The kernel watches the *thread* that started us, so this is only for a start from the
    parent's main thread; the end of the control pipe covers every other case and system.
    """
    if not sys.platform.startswith("linux"):
        return
    if by_main_thread:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the line above
        os._exit(0)


def _limit_memory(limit: int) -> None:
    """Bound what this process may allocate (POSIX); elsewhere the supervisor watches its size."""
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return
    # Address space counts shared libraries and reserved stacks too; a GPU driver reserves
    # far more than it uses, so there only written memory is counted.
    is_cpu_only = not any(PROVIDERS[name] in onnx.available_providers() for name in PROVIDERS if name != "cpu")
    kind = resource.RLIMIT_AS if is_cpu_only else resource.RLIMIT_DATA
    _, hard = resource.getrlimit(kind)
    wanted = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    with contextlib.suppress(ValueError, OSError):  # macOS refuses some limits
        resource.setrlimit(kind, (wanted, hard))
