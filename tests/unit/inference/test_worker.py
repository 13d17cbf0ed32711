"""The worker's own loop: what is prepared once and used again, and what must not be."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from medviewer.inference import worker as worker_module
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.engine import Engine
from medviewer.inference.memory import outline_of
from medviewer.inference.runtimes.onnx import OnnxModel, run_options
from medviewer.inference.shared import OwnedBlock, plan, views
from tests import fakes

Request = tuple[Any, ...]


class Pipe:
    """The window's end of the worker's pipe: its requests in order, then nobody."""

    def __init__(self, requests: Sequence[Request]) -> None:
        self.raw = [
            (ticket + 1).to_bytes(worker_module.TICKET_BYTES, "little") + pickle.dumps(request)
            for ticket, request in enumerate(requests)
        ]
        self.replies: list[Any] = []
        self.before_request: dict[int, Any] = {}  # by ticket: what happens just before it is read

    def receive(self) -> bytes:
        ticket = len(self.replies) + 1
        if ticket in self.before_request:
            self.before_request[ticket]()
        if not self.raw:
            raise EOFError
        return self.raw.pop(0)

    def send(self, reply: bytes) -> None:
        self.replies.append(json.loads(reply))


class Doubling:
    """A model that doubles, and counts how often it is run plainly and how often as it was bound."""

    provider, reason, size_bytes, outputs, outline = "cpu", "made for it", 1, ("y",), None

    def __init__(self) -> None:
        self.plain = self.bound = 0
        self.failure: Exception | None = None
        self.during: Any = None

    def run(self, inputs: Any, _names: Any, options: Any = None) -> list[np.ndarray]:
        assert not options.terminate
        self.plain += 1
        return [2 * inputs["x"]]

    def bind(self, inputs: Any, outputs: Any, options: Any) -> Any:
        def again() -> None:
            assert not options.terminate, "the options of a run that was stopped"
            if self.failure:
                raise self.failure
            self.bound += 1
            np.copyto(outputs["y"], 2 * inputs["x"])
            if self.during:
                self.during()

        return again


class Scene:
    """A worker with one open model, shared blocks, and a request for it."""

    def __init__(self) -> None:
        self.inputs, self.outputs, self.model = OwnedBlock(), OwnedBlock(), Doubling()
        x = {"x": np.arange(4.0)}
        self.layout = plan(x)
        self.inputs.reserve(self.layout.size)
        self.outputs.reserve(self.layout.size)
        self.inputs.write(self.layout.slots, x)
        self.request = ("run", "it", self.inputs.name, self.layout.slots, ("y",), self.outputs.name)
        self.worker: Any = None

    def serve(self, n: int, **before_request: Any) -> list[Any]:
        return self.serve_these([self.request] * n, **before_request)

    def serve_these(self, requests: Sequence[Request], **before_request: Any) -> list[Any]:
        pipe = Pipe(requests)
        pipe.before_request = {int(ticket.removeprefix("at_")): what for ticket, what in before_request.items()}
        self.worker = worker_module._Worker(pipe, 6 << 30)  # type: ignore[arg-type]
        self.worker._models["it"], self.worker._sources["it"] = (
            self.model,
            SimpleNamespace(runtime="torch", is_exact=False),
        )
        self.worker.serve()
        return pipe.replies

    @property
    def y(self) -> list[float]:
        return [float(v) for v in views(self.outputs.buffer, [("y", "<f8", (4,), 0)])["y"]]

    def put(self, values: Sequence[float]) -> None:
        self.inputs.write(self.layout.slots, {"x": np.array(values)})

    def close(self) -> None:
        self.worker._routine = None
        for block in (self.worker._input, self.worker._output):
            block._memory.close()
        self.inputs.close()
        self.outputs.close()


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    yield scene
    scene.close()


def test_the_same_request_is_prepared_once_and_answered_from_the_values_of_the_moment(scene: Scene) -> None:
    replies = scene.serve(4, at_3=lambda: scene.put([5.0, 6.0, 7.0, 8.0]))
    assert (scene.model.plain, scene.model.bound) == (1, 3)
    assert scene.y == [10.0, 12.0, 14.0, 16.0]
    assert len(replies) == 4
    assert all(reply == replies[0] and reply[0] == "done" for reply in replies)


def test_a_stop_that_comes_too_late_does_not_end_the_next_run(scene: Scene) -> None:
    """The run was already over when it was stopped: its options say "end" for ever, and are not used again."""

    def stop() -> None:
        scene.worker._stopped = 2
        scene.worker._running[1].terminate = True
        scene.model.during = None

    scene.model.during = stop
    replies = scene.serve(4)
    assert [reply[0] for reply in replies] == ["done"] * 4
    assert (scene.model.plain, scene.model.bound) == (2, 2)


def test_a_prepared_run_that_is_stopped_says_so_and_the_next_one_works(scene: Scene) -> None:
    def stop() -> None:
        scene.worker._stopped = 2
        scene.model.during = None
        raise RuntimeError("Exiting due to terminate flag being set to true.")

    scene.model.during = stop
    replies = scene.serve(3)
    assert [reply[0] for reply in replies] == ["done", "error", "done"]
    assert replies[1][1] == "Stopped"


@pytest.mark.reliability
def test_what_the_prepared_run_cannot_do_is_made_anew(scene: Scene) -> None:
    """Outputs of another size, or memory that ran out: the reader gets the result all the same."""
    scene.model.failure = ValueError("an output of another shape")
    replies = scene.serve(3)
    assert [reply[0] for reply in replies] == ["done"] * 3
    assert (scene.model.plain, scene.model.bound) == (3, 0)
    assert scene.y == [0.0, 2.0, 4.0, 6.0]


def test_a_model_that_was_released_is_not_run_again(scene: Scene) -> None:
    def release() -> None:
        del scene.worker._models["it"]
        scene.worker._forget("it")

    replies = scene.serve(3, at_3=release)
    assert [reply[0] for reply in replies] == ["done", "done", "unknown"]
    assert (scene.model.plain, scene.model.bound) == (1, 1)


def test_another_request_in_between_is_not_answered_with_the_last_ones_place(scene: Scene) -> None:
    other = OwnedBlock()
    other.reserve(scene.layout.size)
    other.write(scene.layout.slots, {"x": np.array([9.0, 9.0, 9.0, 9.0])})
    requests = [scene.request, scene.request, (*scene.request[:2], other.name, *scene.request[3:]), scene.request]
    seen: list[list[float]] = []
    scene.serve_these(requests, **{f"at_{ticket}": lambda: seen.append(scene.y) for ticket in (2, 3, 4, 5)})
    own, others = [0.0, 2.0, 4.0, 6.0], [18.0] * 4
    assert seen == [own, own, others, own]
    other.close()


def test_a_request_that_failed_is_not_answered_with_the_one_before(scene: Scene) -> None:
    other = ("run", "another", *scene.request[2:])
    replies = scene.serve_these([scene.request, scene.request, other, other])
    assert [reply[0] for reply in replies] == ["done", "done", "unknown", "unknown"]


def test_a_model_that_is_opened_anew_is_the_one_that_runs(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    new, old = Doubling(), scene.model
    runtime = SimpleNamespace(open=lambda _source: new, version=lambda: "1", run_options=run_options)
    monkeypatch.setitem(worker_module.RUNTIMES, "made up", runtime)
    load = ("load", "it", SimpleNamespace(runtime="made up"))
    scene.serve_these([scene.request, load, scene.request, scene.request])
    assert (old.plain, old.bound, new.plain, new.bound) == (1, 0, 1, 1)


@pytest.mark.parametrize(
    ("kind", "shape"),
    [*((kind, (2, 3)) for kind in ("<f4", "<f8", "<f2", "<i8", "<i4", "|u1", "|b1")), ("<f4", (0, 3)), ("<f4", (1,))],
)
def test_arrays_of_every_kind_can_be_bound(kind: str, shape: tuple[int, ...]) -> None:
    model, dtype = _identity(kind, len(shape)), np.dtype(kind)
    given, taken = {"x": np.ones(shape, dtype)}, {"y": np.zeros(shape, dtype)}
    again = model.bind(given, taken, run_options())
    assert again is not None
    again()
    np.testing.assert_array_equal(taken["y"], given["x"])
    given["x"][...] = np.zeros(shape, dtype)
    again()
    np.testing.assert_array_equal(taken["y"], np.zeros(shape, dtype))


@pytest.mark.reliability
@pytest.mark.parametrize("provider", ["cuda", "directml", "coreml"])
def test_nothing_is_bound_on_another_processor(provider: str) -> None:
    """There an input is copied when it is bound: the next patient would get the answer of the one before."""
    model = replace(_identity("<f4", 2), provider=provider)
    arrays = {"x": np.ones((2, 3), np.float32)}, {"y": np.zeros((2, 3), np.float32)}
    assert model.bind(*arrays, run_options()) is None


@pytest.mark.reliability
def test_an_input_that_is_given_back_is_that_of_the_moment(tmp_path: Path) -> None:
    graph = fakes.model_graph()
    graph.graph.output.append(graph.graph.input[0])
    fakes.make_model(tmp_path / "echo", id="echo", graph=graph, reference=False)
    with Engine(Catalogue([tmp_path]), providers=("cpu",), threads=1) as engine:
        for seed in range(4):
            x = fakes.images(2, seed=seed)
            np.testing.assert_array_equal(engine.run("echo", {"x": x}, outputs=["x"])["x"], x)


@pytest.mark.reliability
def test_an_answer_is_not_lost_where_the_next_one_cannot_be_prepared(scene: Scene) -> None:
    scene.model.bind = _failing  # type: ignore[method-assign]
    replies = scene.serve(3)
    assert [reply[0] for reply in replies] == ["done"] * 3
    assert scene.model.plain == 3


def _failing(*_: Any) -> Any:
    raise RuntimeError("CUDA failure 2: out of memory")


def test_an_output_of_another_size_than_its_place_is_an_error() -> None:
    given, taken = {"x": np.ones((2, 3), np.float32)}, {"y": np.zeros((3, 3), np.float32)}
    again = _identity("<f4", 2).bind(given, taken, run_options())
    assert again is not None
    with pytest.raises(Exception, match="shape"):
        again()


def _identity(kind: str, n_axes: int) -> OnnxModel:
    """A graph whose output is its input, of whatever size."""
    of = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    ends = [helper.make_tensor_value_info(name, of, [f"{name}{i}" for i in range(n_axes)]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "same", ends[:1], ends[1:])
    made: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    assert of != TensorProto.UNDEFINED
    data = made.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return OnnxModel(session, "cpu", "made for it", len(data), outline_of(data))
