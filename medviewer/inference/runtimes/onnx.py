"""Runs ONNX graphs with ONNX Runtime, from bytes that have been hashed and checked."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.domain.errors import ModelError, RuntimeMissingError
from medviewer.domain.frozen import dataclass
from medviewer.inference.card import CardFile
from medviewer.inference.loading import check_graph, read_arrays, read_file
from medviewer.inference.memory import Outline, outline_of
from medviewer.inference.runtimes.exact import in_double
from medviewer.inference.runtimes.near import Near
from medviewer.inference.runtimes.providers import PROVIDERS, ProviderFailedError, choose

TITLE = "ONNX Runtime"
REQUIRES = "pip install 'medviewer[cpu]' (or [gpu], or [directml]; exactly one of them)"

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Source:
    """What to open and how: all that crosses to the worker process to load a model."""

    folder: Path
    file: CardFile
    reference: CardFile | None  # checked on the chosen provider before the first answer
    tolerance: float
    providers: tuple[str, ...]  # short names, in order
    is_automatic: bool
    threads: int
    runtime: str = "onnx"
    outputs: tuple[str, ...] = ()  # their names in order, for runtimes whose files do not hold them
    is_trusted: bool = False  # this machine's own training wrote the file
    is_exact: bool = False  # a gradient graph that decides in double precision, where it can be had
    key: str = field(init=False)  # tells one open session from another

    def __post_init__(self) -> None:
        key = f"{self.file.sha256} {self.folder} {' '.join(self.providers)} {self.threads} {self.reference is None}"
        key += " exact" if self.is_exact else ""
        object.__setattr__(self, "key", key)


@dataclass(frozen=True, slots=True, eq=False)
class OnnxModel:
    """An open session, where it runs and why there."""

    session: Any
    provider: str  # short name
    reason: str
    size_bytes: int
    outline: Outline  # of its graph, to work out what a run will take
    near: Near | None = None  # for images that are nearly the same; on the CPU

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the graph's outputs, in order."""
        return tuple(output.name for output in self.session.get_outputs())

    def run(self, inputs: Arrays, outputs: Sequence[str] | None, options: Any = None) -> list[npt.NDArray[Any]]:
        """Compute some outputs (all, if None); ``options`` is a ``RunOptions`` through which a run can be ended."""
        result: list[npt.NDArray[Any]] = self.session.run(list(outputs) if outputs else None, dict(inputs), options)
        return result

    def run_near(
        self, inputs: Arrays, base: Arrays, outputs: Sequence[str], options: Any = None
    ) -> list[npt.NDArray[Any]]:
        """Compute some outputs of a batch whose items differ from one, ``base``, in a small part each."""

        def whole(batch: Arrays) -> list[npt.NDArray[Any]]:
            return self.run(batch, outputs, options)

        found = self.near.run(inputs, base, tuple(outputs), whole, options) if self.near is not None else None
        return whole(inputs) if found is None else found

    def bind(self, inputs: Arrays, outputs: Arrays, options: Any) -> Callable[[], None] | None:
        """Return what runs it, again and again, on whatever ``inputs`` holds then, and writes into ``outputs``.

        Without a copy: the arrays are the operators' own memory, and must outlive what is returned. None where
        ONNX Runtime copies at the moment of binding, and would answer from the first values for ever: to any other
        processor (onnxruntime#5857), and where an output is itself an input.
        """
        if self.provider != "cpu" or set(inputs) & set(outputs):
            return None
        binding = self.session.io_binding()
        for bound, arrays in ((binding.bind_input, inputs), (binding.bind_output, outputs)):
            for name, array in arrays.items():
                bound(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        held = partial(self.session.run_with_iobinding, binding, options)
        held.arrays = (inputs, outputs)  # type: ignore[attr-defined]
        return held


def is_available() -> bool:
    """Whether ONNX Runtime is installed (it is not imported to find out)."""
    return importlib.util.find_spec("onnxruntime") is not None


def version() -> str:
    """The version of ONNX Runtime."""
    return str(_library().__version__)


def available_providers() -> tuple[str, ...]:
    """ONNX Runtime's names of the providers that this installation was built with."""
    return tuple(_library().get_available_providers())


def run_options() -> Any:
    """A fresh ``RunOptions``; setting its ``terminate`` ends the run that was given it."""
    options = _library().RunOptions()
    options.log_severity_level = 4  # ending a run is no error worth a line on the terminal
    return options


def open(source: Source) -> OnnxModel:  # noqa: A001 - the name that every runtime module has
    """Load a model, on the first provider that works and reproduces the reference.

    Raises:
        ModelError: the file is missing, changed, unsafe, or not runnable here.
        RuntimeMissingError: ONNX Runtime is not installed, or no provider works.
    """
    ort = _library()
    data = read_file(source.folder, source.file)
    check_graph(data, name=source.file.path, control_flow=source.file.control_flow)
    outline, size = outline_of(data), len(data)  # before the session takes its memory
    reference = read_reference(source.folder, source.reference, first_only=True) if source.reference else None

    def attempt(name: str) -> Any:
        nonlocal outline, size
        # Others have more samples in the same time, and some no doubles.
        exact = _in_double(data) if source.is_exact and name == "cpu" else None
        if exact is not None:
            with contextlib.suppress(ProviderFailedError):  # an operator that there is in single precision only
                session = _session(ort, exact, name, source.threads)
                outline, size = outline_of(exact), len(exact)
                return session
        session = _session(ort, data, name, source.threads)
        got = session.get_providers()[0]
        if got != PROVIDERS[name]:
            raise ProviderFailedError(f"ONNX Runtime fell back to {got} because its libraries cannot be loaded")
        if reference is not None:
            _compare(session, reference, source.tolerance)
        return session

    session, name, reason = choose(
        source.providers, tuple(ort.get_available_providers()), attempt, is_automatic=source.is_automatic
    )
    near = Near(partial(_parse, source), partial(_session, ort, provider="cpu", threads=source.threads))
    return OnnxModel(session, name, reason, size, outline, near if name == "cpu" else None)


def _in_double(data: bytes) -> bytes | None:
    """A gradient graph that decides in double precision; None where there is none."""
    import onnx  # noqa: PLC0415 - as below

    try:
        exact = in_double(onnx.load_model_from_string(data))
        return exact.SerializeToString() if exact is not None else None
    except Exception:  # noqa: BLE001 - too large for one file, or not foreseen: the graph itself answers as well
        return None


def _parse(source: Source) -> Any:
    """The graph anew: to keep its bytes beside the session's own would double what a model takes.

    By their digest they are the bytes that were checked when the model was opened.
    """
    import onnx  # noqa: PLC0415 - a tenth of a second; few networks are ever taken apart

    return onnx.load_model_from_string(read_file(source.folder, source.file))


def on_cpu(source: Source, *, reason: str) -> OnnxModel:
    """Load a model on the CPU after another provider let it down for ``reason``."""
    model = open(replace(source, providers=("cpu",), is_automatic=False))
    return replace(model, reason=reason)


def read_reference(folder: Path, file: CardFile, *, first_only: bool = False) -> tuple[Arrays, Arrays]:
    """The inputs with known answers that come with a model.

    Returns:
        Inputs and outputs by name, batch first; one case if ``first_only``.

    Raises:
        ModelError: the file is missing, changed, unsafe, or holds no pair of both.
    """
    arrays = read_arrays(folder, file)
    cut = slice(0, 1) if first_only else slice(None)
    inputs = {name.removeprefix("input."): a[cut] for name, a in arrays.items() if name.startswith("input.")}
    outputs = {name.removeprefix("output."): a[cut] for name, a in arrays.items() if name.startswith("output.")}
    if not inputs or not outputs or any(len(array) == 0 for array in (*inputs.values(), *outputs.values())):
        raise ModelError(f"“{file.path}” holds no inputs with known answers; install the model again.")
    return inputs, outputs


def largest_error(found: Arrays, expected: Arrays) -> float:
    """The largest absolute difference over all outputs; infinite where shapes differ or a value is not a number."""
    worst = 0.0
    for name, array in expected.items():
        other = found[name]
        if other.shape != array.shape:
            return float("inf")
        difference = float(np.max(np.abs(other.astype(np.float64) - array.astype(np.float64)), initial=0.0))
        worst = max(worst, difference) if np.isfinite(difference) else float("inf")
    return worst


def _compare(session: Any, reference: tuple[Arrays, Arrays], tolerance: float) -> None:
    inputs, expected = reference
    try:
        found = dict(zip(expected, session.run(list(expected), dict(inputs)), strict=True))
    except Exception as error:
        raise ProviderFailedError(f"the reference input fails ({_first_line(error)})") from error
    gap = largest_error(found, expected)
    if gap > tolerance:
        raise ProviderFailedError(f"its answer to the reference input differs by {gap:.2g}, allowed is {tolerance:.2g}")


def _session(ort: Any, data: bytes, provider: str, threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # A thread that spins between operators takes a core from the window and from other work:
    # sleeping costs nothing measurable alone and halves the time on a busy machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.use_deterministic_compute = True
    options.log_severity_level = 4
    wanted = [PROVIDERS[provider]] if provider == "cpu" else [PROVIDERS[provider], PROVIDERS["cpu"]]
    try:
        # Bytes, not a path: ONNX Runtime then refuses every reference to another file.
        return ort.InferenceSession(data, options, providers=wanted)
    except Exception as error:
        raise ProviderFailedError(f"the model does not load ({_first_line(error)})") from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _library() -> Any:
    try:
        import onnxruntime  # noqa: PLC0415 - a quarter of a second; only the worker process pays it
    except ImportError as error:
        raise RuntimeMissingError(f"ONNX Runtime is not installed; install it with: {REQUIRES}.") from error
    return onnxruntime
