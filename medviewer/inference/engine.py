"""Models, asked: the one way from a case to an answer, and from arrays to a network's outputs.

Networks run in a worker process that the engine starts, watches and replaces.
The application's process never loads a runtime, and whatever a model does, a
hang, a crash, a memory hole, costs one clear error.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy.typing as npt

from medviewer.domain.answer import Answer
from medviewer.domain.case import Case
from medviewer.domain.errors import (
    CardError,
    EngineError,
    InputError,
    MedViewerError,
    ModelError,
    RuntimeMissingError,
    UsageError,
)
from medviewer.domain.frozen import dataclass
from medviewer.domain.progress import Progress, StopToken, no_progress
from medviewer.inference import asking
from medviewer.inference.card import Card, Role
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.inputs import image
from medviewer.inference.inputs.adapter import Missing
from medviewer.inference.preprocessing import Prepared
from medviewer.inference.runtimes import RUNTIMES, onnx, rule
from medviewer.inference.runtimes.onnx import Source, largest_error, read_reference
from medviewer.inference.runtimes.providers import PROVIDERS, TITLES, resolve
from medviewer.inference.shared import OwnedBlock, plan
from medviewer.inference.supervisor import Supervisor
from medviewer.inference.turns import Turns
from medviewer.inference.worker import NEAR

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that is open in the worker: on which provider, and why there."""

    provider: str
    reason: str
    outputs: tuple[str, ...]
    runtime_version: str

    @property
    def sentence(self) -> str:
        """Where it runs and why: what the status bar says."""
        return f"Running on: {TITLES.get(self.provider, self.provider)}, because {self.reason}"

    @property
    def prospect(self) -> str:
        """The same before anything has run."""
        return f"Will run on: {TITLES.get(self.provider, self.provider)}, because {self.reason}"


@dataclass(frozen=True, slots=True)
class Verification:
    """How a model's reference inputs came out on one provider."""

    model_id: str
    runtime: str
    provider: str
    passed: bool
    n: int
    largest_error: float
    tolerance: float
    elapsed_s: float
    detail: str


class Engine:
    """Answers from models, safe to call from any thread; one network runs at a time.

    Args:
        catalogue: where the models are.
        providers: which processors to try, in order: ``"auto"``, ``"cpu"``, ``"cuda"``,
            ``"directml"``, ``"coreml"``, ``"openvino"``, ``"tensorrt"``.
        threads: CPU threads of one run; all that this process may use, if None.
        memory_limit_bytes: what the worker may allocate.
        time_budget_s: how long one run may take.

    Raises:
        UsageError: an unknown provider.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        providers: Sequence[str] = ("auto",),
        threads: int | None = None,
        memory_limit_bytes: int = 6 << 30,
        time_budget_s: float = 120.0,
    ) -> None:
        self.catalogue = catalogue
        self.time_budget_s = time_budget_s
        self._providers = resolve(providers)
        self._is_automatic = "auto" in providers
        self._threads = threads or _usable_threads()
        self._supervisor = Supervisor(memory_limit_bytes)
        self._turns = Turns()
        self._loaded: dict[str, Loaded] = {}  # by Source.key
        self._sources: dict[tuple[Card, Role, bool], Source] = {}
        self._inputs, self._outputs = OwnedBlock(), OwnedBlock()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def worker_pid(self) -> int | None:
        """The worker's process id, or None while none runs."""
        return self._supervisor.pid

    def start(self, *model_ids: str, stop: StopToken | None = None) -> None:
        """Start the worker, and open models in it, before someone waits for them.

        Raises:
            As :meth:`run`.
        """
        with self._turns.taking(stop):
            self._ensure_worker()
        for model_id in model_ids:
            self.load(model_id, stop=stop)

    def load(self, model_id: str, *, role: Role = "model", stop: StopToken | None = None) -> Loaded:
        """Open a model in the worker if it is not open yet, and say where it runs.

        Raises:
            As :meth:`run`.
        """
        card = self.catalogue.card(model_id)
        if card.runtime == "rule":  # our own code: it needs no process to be safe from
            return _loaded_rule(card)
        source = self._source(card, role)
        with self._turns.taking(stop):
            return self._ensure_loaded(source, stop)

    def describe_provider(self, model_id: str) -> str:
        """One sentence: what the model runs on and why, e.g. that no GPU runtime is installed.

        Raises:
            As :meth:`run`.
        """
        return self.load(model_id).sentence

    def encode(self, case: Case, model_id: str) -> Prepared:
        """The input of a model of one image, prepared as its card says.

        Returns:
            ``tensor`` ``(1, rows, columns)`` float32 without the batch, and its place on the image.

        Raises:
            UsageError, ModelError: the model is unknown, cannot be used, or is not of one image.
            InputError: the case has no image that can be prepared.
        """
        card = self.catalogue.card(model_id)
        if not card.is_of_one_image:
            raise UsageError(f"The model {model_id} is not one of a single image.")
        frame = image.pull(case, card.inputs[0])
        if isinstance(frame, Missing):
            raise InputError("There is no image to analyse; open one first.")
        encoded = image.encode(frame, card.inputs[0])
        assert encoded.place is not None  # noqa: S101 - an image has a place
        return Prepared(encoded.tensors[card.inputs[0].name], encoded.place)

    def run(  # noqa: PLR0913 - all but two are named
        self,
        model_id: str,
        inputs: Mapping[str, npt.NDArray[Any]],
        *,
        role: Role = "model",
        outputs: Sequence[str] | None = None,
        near: Mapping[str, npt.NDArray[Any]] | None = None,
        is_exact: bool = False,
        stop: StopToken | None = None,
    ) -> Arrays:
        """Run one graph of a model on arrays: what answers and explanations are made of.

        Args:
            model_id: which model.
            inputs: every input of the graph by name, batch first.
            role: which of the model's graphs.
            outputs: which outputs to compute; all, if None.
            near: inputs for one item from which those of the batch differ in a small rectangle each; the outputs
                are the same up to rounding, for less work where the network allows it.
            is_exact: for gradients: which units are on is decided in double precision where that can be had
                (:mod:`medviewer.inference.runtimes.exact`), in about twice the time.
            stop: ends the run within a few hundredths of a second.

        Returns:
            The outputs by name, batch first; the caller's own copies.

        Raises:
            UsageError: no such model, or arrays of a type that no model takes.
            ModelError: the model cannot be trusted or loaded.
            Stopped: the reader cancelled.
            TimeBudgetError: it took too long.
            WorkerDiedError: the process ended; the next run starts another.
            EngineError: the graph could not be run, e.g. for lack of memory.
        """
        card = self.catalogue.card(model_id)
        if card.runtime == "rule":
            return rule.run(card, inputs, outputs)
        source = self._source(card, role, is_exact=is_exact)
        given = inputs if near is None else {**inputs, **{NEAR + name: array for name, array in near.items()}}
        with self._turns.taking(stop):
            self._ensure_loaded(source, stop)
            return self._run(source, given, outputs, stop)

    def ask(
        self,
        case: Case,
        model_id: str,
        *,
        stop: StopToken | None = None,
        progress: Progress = no_progress,
        language: str = "en",
    ) -> Answer:
        """What a model says of a case, or why it says nothing.

        Checks the input, runs the network, checks how far the image is from the training
        images, calibrates, compares with the thresholds, and tries the same image slightly
        changed. The same case and model always give the same answer.

        Args:
            case: the patient, without identity, with the image first in ``images``.
            model_id: which model.
            stop: to cancel.
            progress: told of each step.
            language: of titles and sentences, ``"en"`` or ``"zh"``.

        Returns:
            An answer, or an abstention whose reasons are among its ``guards``.

        Raises:
            As :meth:`run`. An error is never turned into an answer.
        """
        card = self.catalogue.card(model_id)
        answer = asking.ask(self, case, card, asking.Manner(stop, progress, language))
        self.catalogue.check_unchanged(card)
        return answer

    def verify(self, model_id: str, *, stop: StopToken | None = None) -> list[Verification]:
        """Run a model's reference inputs on every provider here and compare with the known answers.

        Raises:
            UsageError, ModelError, Stopped: as :meth:`run`. A provider that fails is a
            result with ``passed`` False, not an error.
        """
        card = self.catalogue.card(model_id)
        inputs, expected = read_reference(card.folder, card.require("reference"))
        if card.runtime == "rule":
            return [self._verify(card, "python", inputs, expected, stop)]
        with self._turns.taking(stop):
            self._ensure_worker()
            available = self._ask("probe", stop=stop)[1]
        is_torch = card.runtime == "torch"
        names = ["cpu"] if is_torch else [name for name in PROVIDERS if PROVIDERS[name] in available]
        return [self._verify(card, name, inputs, expected, stop) for name in names]

    def close(self) -> None:
        """End the worker and give its memory back. The engine may be used again: it starts anew."""
        with self._turns.taking():
            self._supervisor.close()
            self._loaded.clear()
            self._inputs.close()
            self._outputs.close()

    def _source(self, card: Card, role: Role, *, is_exact: bool = False) -> Source:
        source = self._sources.get((card, role, is_exact))
        if source is not None:
            return source
        if role not in ("model", "explain", "cam"):
            raise CardError(f"The file with the role “{role}” is not a network.")
        self._sources[card, role, is_exact] = source = Source(
            folder=card.folder,
            file=card.graph(role) or card.require(role),
            reference=card.file("reference") if role == "model" or card.runtime == "torch" else None,
            tolerance=card.reference_tolerance,
            providers=self._providers,
            is_automatic=self._is_automatic,
            threads=self._threads,
            runtime=card.runtime,
            outputs=tuple(output.name for output in card.outputs),
            is_trusted=card.runtime == "torch" and self.catalogue.trusts(card),
            is_exact=is_exact,
        )
        return source

    def _ensure_worker(self) -> None:
        if self._supervisor.start():
            self._loaded.clear()

    def _ensure_loaded(self, source: Source, stop: StopToken | None) -> Loaded:
        self._ensure_worker()
        key = source.key
        loaded = self._loaded.get(key)
        if loaded is None:
            runtime = RUNTIMES[source.runtime]
            if not runtime.is_available():
                raise RuntimeMissingError(f"{runtime.TITLE} is not installed; install it with: {runtime.REQUIRES}.")
            _, provider, reason, outputs, version = self._ask("load", key, source, stop=stop)
            loaded = self._loaded[key] = Loaded(provider, reason, tuple(outputs), version)
        return loaded

    def _run(
        self,
        source: Source,
        inputs: Mapping[str, npt.NDArray[Any]],
        outputs: Sequence[str] | None,
        stop: StopToken | None,
    ) -> Arrays:
        """One run of a loaded model: one copy into shared memory, one message each way, one copy out."""
        layout = plan(inputs)
        self._inputs.reserve(layout.size)
        self._inputs.write(layout.slots, inputs)
        names = tuple(outputs) if outputs else None
        key = source.key
        request = ("run", key, self._inputs.name, layout.slots, names, self._outputs.name)
        reply = self._ask(*request, stop=stop)
        if reply[0] == "unknown":  # released to make room for other models
            self._loaded.pop(key, None)
            self._ensure_loaded(source, stop)
            reply = self._ask(*request, stop=stop)
        if reply[0] == "grow":
            self._outputs.reserve(reply[1])
            reply = self._ask("block", self._outputs.name, stop=stop)
        # A run may move its model to the CPU, or be made in smaller batches, when there is no memory left.
        loaded = self._loaded[key]
        if loaded.provider != reply[2] or loaded.reason != reply[3]:
            self._loaded[key] = replace(loaded, provider=reply[2], reason=reply[3])
        return {name: view.copy() for name, view in self._outputs.views(reply[1]).items()}

    def _ask(self, verb: str, *rest: Any, stop: StopToken | None) -> list[Any]:
        try:
            return self._supervisor.ask(verb, *rest, stop=stop, budget_s=self.time_budget_s)
        except MedViewerError:
            if self._supervisor.pid is None:  # what was open went with the process
                self._loaded.clear()
            raise

    def _verify(
        self, card: Card, provider: str, inputs: onnx.Arrays, expected: onnx.Arrays, stop: StopToken | None
    ) -> Verification:
        n = len(next(iter(expected.values())))
        gap, detail = float("inf"), ""
        started = time.monotonic()
        try:
            gap = largest_error(self._found(card, provider, inputs, tuple(expected), stop), expected)
        except (EngineError, ModelError) as error:
            detail = str(error)
        passed = gap <= card.reference_tolerance
        if not passed and not detail:
            detail = f"The answers differ by {gap:.2g}; do not use this model here."
        return Verification(
            card.id,
            card.runtime,
            provider,
            passed,
            n,
            gap,
            card.reference_tolerance,
            time.monotonic() - started,
            detail,
        )

    def _found(
        self, card: Card, provider: str, inputs: onnx.Arrays, outputs: tuple[str, ...], stop: StopToken | None
    ) -> onnx.Arrays:
        """What a model gives on one provider."""
        if card.runtime == "rule":
            return rule.run(card, inputs, outputs)
        source = replace(self._source(card, "model"), providers=(provider,), is_automatic=False, reference=None)
        with self._turns.taking(stop):
            self._ensure_loaded(source, stop)
            return self._run(source, inputs, outputs, stop)


def _loaded_rule(card: Card) -> Loaded:
    assert card.rule is not None  # noqa: S101 - of the runtime "rule"
    outputs = tuple(output.name for output in card.outputs)
    return Loaded("python", "it is a published rule, not a network", outputs, card.rule.version)


def _usable_threads() -> int:
    """The processors that this process may use, at most 8: more gain nothing on one image."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(8, usable))
