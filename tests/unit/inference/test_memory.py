"""Memory is worked out before a run, what does not fit is made in parts or refused, and a shortage ends in the mildest way."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from medviewer.domain.errors import EngineError
from medviewer.inference import worker as worker_module
from medviewer.inference.card import CardFile
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.engine import Engine
from medviewer.inference.memory import Budget, batch_size, is_out_of_memory, joined, largest_batch, outline_of, parts
from medviewer.inference.runtimes.onnx import Source
from medviewer.inference.shared import OwnedBlock, plan
from tests import fakes

MB = 1 << 20
GRID = fakes.SIZE // fakes.STRIDE


def outline(model: onnx.ModelProto) -> Any:
    return outline_of(model.SerializeToString())


def test_the_estimate_of_a_small_network_is_the_one_worked_out_by_hand() -> None:
    n = 5
    x = n * fakes.SIZE**2 * 4
    one_map, features, logits = n * fakes.FILTERS * GRID**2 * 4, n * fakes.FILTERS * 4, n * 4
    # While the rectified maps are made from the maps before: the input, both, and nothing else.
    assert outline(fakes.model_graph()).peak_bytes({"x": (n, 1, fakes.SIZE, fakes.SIZE)}) == x + 2 * one_map
    # Where the maps are small and the head is wide, its outputs count: they live to the end.
    assert features + logits < one_map


def test_a_tensor_is_counted_until_its_last_reader_and_outputs_to_the_end() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Concat", ["a", "a"], ["b"], axis=1),
        helper.make_node("ReduceMean", ["b", "axes"], ["c"], keepdims=1),
        helper.make_node("Add", ["a", "c"], ["y"]),  # a has lived all the time
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [value("x", TensorProto.FLOAT, ["n", 100])], [value("y", TensorProto.FLOAT, ["n", 100])],
        [numpy_helper.from_array(np.array([1], np.int64), "axes")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    x, a, b, c = 400, 400, 800, 4
    assert outline(model).peak_bytes({"x": (1, 100)}) == x + a + b + c
    assert outline(model).peak_bytes({"x": (3, 100)}) == 3 * (x + a + b + c)


@pytest.mark.parametrize("is_node", [True, False])
def test_an_outline_holds_no_weights(is_node: bool) -> None:
    model = fakes.model_graph()
    weights = numpy_helper.from_array(np.zeros((512, 1024), np.float32), "ballast")
    if is_node:
        model.graph.node.insert(0, helper.make_node("Constant", [], ["ballast"], value=weights))
    else:
        model.graph.initializer.append(weights)
    found = outline(model)
    assert found._model.ByteSize() < 8192
    x = (5, 1, fakes.SIZE, fakes.SIZE)
    assert found.peak_bytes({"x": x}) == outline(fakes.model_graph()).peak_bytes({"x": x})


def test_whether_a_run_can_be_made_in_parts_is_what_the_graph_says() -> None:
    assert outline(fakes.model_graph()).is_batched
    assert outline(fakes.explain_graph()).is_batched
    fixed = fakes.model_graph()
    fixed.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
    assert not outline(fixed).is_batched
    other = fakes.model_graph()
    other.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "pairs"
    assert not outline(other).is_batched


@pytest.mark.parametrize("is_seen", [True, False])
def test_only_shapes_that_the_graph_tells_are_counted(is_seen: bool) -> None:
    peak = outline(wide_graph(2048, is_seen=is_seen)).peak_bytes({"x": (3, 1, fakes.SIZE, fakes.SIZE)})
    assert (peak >= 3 * 8 * MB) is is_seen


def test_parts_put_together_are_the_whole() -> None:
    x = np.arange(14).reshape(7, 2)
    assert [part["x"].tolist() for part in parts({"x": x}, 3)] == [x[:3].tolist(), x[3:6].tolist(), x[6:].tolist()]
    [again] = joined([[part["x"]] for part in parts({"x": x}, 3)])
    assert np.array_equal(again, x)
    assert batch_size({"x": x, "y": x[:3]}) == 1
    assert batch_size({"x": np.zeros(())}) == 1


def test_a_batch_is_halved_until_it_fits_and_refused_with_a_sentence_if_nothing_does() -> None:
    graph, x = outline(fakes.model_graph()), fakes.images(16)
    one = graph.peak_bytes({"x": (1, 1, fakes.SIZE, fakes.SIZE)})
    assert largest_batch(graph, {"x": x}, 16 * one) == 16
    assert largest_batch(graph, {"x": x}, 16 * one - 1) == 8
    assert largest_batch(graph, {"x": x}, one) == 1
    with pytest.raises(EngineError, match="needs about 0 MB of memory and its process has 0 MB left"):
        largest_batch(graph, {"x": x}, one - 1)
    fixed = fakes.model_graph()
    fixed.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 16
    with pytest.raises(EngineError, match="there is no result"):
        largest_batch(outline(fixed), {"x": x}, 8 * one)


def test_what_a_session_keeps_is_not_counted_against_its_next_run() -> None:
    graph, x = outline(fakes.model_graph()), {"x": fakes.images(16)}
    peak = graph.peak_bytes({"x": x["x"].shape})
    used = [1000]
    budget = Budget(1000 + peak, lambda: used[0])
    assert budget.room_bytes("a") == peak
    budget.note("a", x, graph)
    used[0] += peak  # the session has it now
    assert (budget.room_bytes("a"), budget.room_bytes("b")) == (peak, 0)
    assert budget.is_known("a", x)
    assert not budget.is_known("b", x)
    budget.forget("a")
    assert not budget.is_known("a", x)
    assert budget.room_bytes("a") == 0


def wide_graph(copies: int, *, is_seen: bool) -> onnx.ModelProto:
    """The network, beside so many copies of its input at once; ``is_seen`` False hides their number in a value."""
    model = fakes.model_graph()
    for node in model.graph.node:
        for index, name in enumerate(node.output):
            if name == "logits":
                node.output[index] = "quick"
    numbers = {
        "copies": np.array([1, copies, 1, 1], np.int64),
        "maps": np.array([1, 2, 3], np.int64),
        "none": np.float32(0),
        "all": np.array([0, 1, 2, 3], np.int64),
    }
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(a), name) for name, a in numbers.items())
    hidden = [
        helper.make_node("ReduceMean", ["x", "all"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "none"], ["nought"]),
        helper.make_node("Cast", ["nought"], ["nought_i"], to=TensorProto.INT64),
        helper.make_node("Add", ["copies", "nought_i"], ["repeats"]),
    ]
    model.graph.node.extend(
        [
            *([] if is_seen else hidden),
            helper.make_node("Tile", ["x", "copies" if is_seen else "repeats"], ["wide"]),
            helper.make_node("ReduceMean", ["wide", "maps"], ["top"], keepdims=0),
            helper.make_node("Mul", ["top", "none"], ["nothing"]),
            helper.make_node("Unsqueeze", ["nothing", "one"], ["nothing1"]),
            helper.make_node("Add", ["quick", "nothing1"], ["logits"]),
        ]
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "one"))
    return model


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """8 MB an item where they are known, 16 where not; one that never fits; and a process that may take 1.5 GB."""
    fakes.make_model(tmp_path / "wide", id="wide", graph=wide_graph(2048, is_seen=True), reference=False)
    fakes.make_model(tmp_path / "hidden", id="hidden", graph=wide_graph(4096, is_seen=False), reference=False)
    fakes.make_model(tmp_path / "never", id="never", graph=wide_graph(1 << 19, is_seen=True), reference=False)
    fakes.make_model(tmp_path / "good", id="good")
    with Engine(Catalogue([tmp_path]), providers=("cpu",), threads=1, memory_limit_bytes=1536 * MB) as engine:
        yield engine


@pytest.mark.reliability
@pytest.mark.parametrize("model_id", ["wide", "hidden"])
def test_a_batch_that_does_not_fit_is_run_in_smaller_ones_and_that_is_said(engine: Engine, model_id: str) -> None:
    assert "batches" not in engine.describe_provider(model_id)
    x = fakes.images(256)
    found = engine.run(model_id, {"x": x})
    expected = fakes.forward(x)
    for name in ("logits", "features", "cam"):
        np.testing.assert_allclose(found[name], expected[name], atol=1e-5)
    assert "it ran in batches of " in engine.describe_provider(model_id)
    assert "because memory is short" in engine.describe_provider(model_id)
    few = engine.run(model_id, {"x": x[:2]})
    np.testing.assert_allclose(few["logits"], expected["logits"][:2], atol=1e-5)
    assert "batches" not in engine.describe_provider(model_id)


@pytest.mark.reliability
def test_what_cannot_fit_is_refused_before_it_is_tried(engine: Engine) -> None:
    engine.start("good")
    first = engine.worker_pid
    with pytest.raises(EngineError, match=r"needs about 2,048 MB of memory and its process has [\d,]+ MB left"):
        engine.run("never", {"x": fakes.images(1)})
    x = fakes.images(2)
    np.testing.assert_allclose(engine.run("good", {"x": x})["logits"], fakes.forward(x)["logits"], atol=1e-5)
    assert engine.worker_pid == first


class FakeModel:
    """A model that has memory for so many items at once."""

    def __init__(self, log: list[str], provider: str, at_once: int) -> None:
        self.log, self.provider, self.at_once = log, provider, at_once
        self.reason, self.size_bytes, self.outputs = f"made for {provider}", 1, ("y",)
        self.outline = SimpleNamespace(is_batched=True, peak_bytes=lambda _shapes: 0)

    def run(self, inputs: Any, _names: Any, _options: Any = None) -> list[np.ndarray]:
        n = len(inputs["x"])
        self.log.append(f"{self.provider} {n}")
        if n > self.at_once:
            raise RuntimeError("CUDA failure 2: out of memory; failed to allocate")
        return [2 * inputs["x"]]


@pytest.mark.reliability
@pytest.mark.parametrize(
    ("others", "on_gpu", "steps", "note"),
    [
        (0, 8, ["cuda 8"], ""),
        (1, 3, ["cuda 8", "open", "cuda 8", "open", "cuda 4", "open", "cuda 2"], "batches of 2"),
        (0, 0, ["cuda 8", "open", "cuda 4", "open", "cuda 2", "open", "cuda 1", "cpu", "cpu 8"], ""),
    ],
)
def test_a_shortage_ends_in_the_mildest_way(
    monkeypatch: pytest.MonkeyPatch, others: int, on_gpu: int, steps: list[str], note: str
) -> None:
    """Release what else is open, then smaller batches, then the CPU: in this order, and it is said."""
    log: list[str] = []

    def reopen(_source: Any) -> FakeModel:
        log.append("open")
        return FakeModel(log, "cuda", on_gpu)

    def on_cpu(_source: Any, *, reason: str) -> FakeModel:
        log.append("cpu")
        model = FakeModel(log, "cpu", 100)
        model.reason = reason
        return model

    monkeypatch.setattr(worker_module.onnx, "open", reopen)
    monkeypatch.setattr(worker_module.onnx, "on_cpu", on_cpu)
    worker: Any = worker_module._Worker(None, 6 << 30)  # type: ignore[arg-type]
    for number in range(others):
        worker._models[f"other {number}"] = FakeModel(log, "cuda", 100)
    worker._models["it"], worker._sources["it"] = (
        FakeModel(log, "cuda", on_gpu),
        SimpleNamespace(runtime="onnx", is_exact=False),
    )
    x = np.arange(8.0)
    [y], said = worker._compute("it", {"x": x}, {}, ("y",), None)
    assert np.array_equal(y, 2 * x)
    first = next((i for i, step in enumerate(log) if step == steps[-1]), None)
    assert log[: (first or 0) + 1] == steps
    assert note in said
    assert (said == "") == (note == "")
    assert list(worker._models) == ["it"]
    if steps[-1].startswith("cpu"):
        assert worker._models["it"].reason == "the GPU ran out of memory"


@pytest.mark.reliability
def test_a_session_is_gone_before_the_next_one_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else both would need memory at the very moment when there is none."""
    log: list[str] = []
    first = FakeModel(log, "cpu", 2)
    session, was_gone = weakref.ref(first), []

    def reopen(_source: Any) -> FakeModel:
        was_gone.append(session() is None)
        return FakeModel(log, "cpu", 100)

    monkeypatch.setattr(worker_module.onnx, "open", reopen)
    monkeypatch.setattr(worker_module.onnx, "run_options", SimpleNamespace)
    worker: Any = worker_module._Worker(None, 6 << 30)  # type: ignore[arg-type]
    worker._models["it"], worker._sources["it"] = first, SimpleNamespace(runtime="onnx", is_exact=False)
    del first
    inputs, outputs = OwnedBlock(), OwnedBlock()
    try:
        x = {"x": np.arange(4.0)}
        layout = plan(x)
        inputs.reserve(layout.size)
        inputs.write(layout.slots, x)
        outputs.reserve(1 << 20)
        reply = worker._run(1, "it", inputs.name, layout.slots, ("y",), outputs.name)
        assert "batches of 2" in reply[-1]
    finally:
        for block in (worker._input, worker._output):
            block._memory.close()
        inputs.close()
        outputs.close()
    assert was_gone == [True]


@pytest.mark.parametrize("is_foreseen", [True, False])
def test_where_double_precision_does_not_fit_single_precision_answers(
    monkeypatch: pytest.MonkeyPatch, is_foreseen: bool
) -> None:
    log: list[str] = []

    def reopen(source: Source) -> FakeModel:
        log.append("exact" if source.is_exact else "plain")
        return made(is_exact=source.is_exact)

    def made(*, is_exact: bool) -> FakeModel:
        model = FakeModel(log, "cpu", 0 if is_exact and not is_foreseen else 100)
        if is_exact and is_foreseen:
            model.outline.peak_bytes = lambda _shapes: 64 << 30
        return model

    monkeypatch.setattr(worker_module.onnx, "open", reopen)
    worker: Any = worker_module._Worker(None, 6 << 30)  # type: ignore[arg-type]
    file = CardFile("explain", "e.onnx", "0" * 64, 1)
    source = Source(Path(), file, None, 0.0, ("cpu",), False, 1, is_exact=True)
    worker._models["it"], worker._sources["it"] = made(is_exact=True), source
    x = np.arange(2.0)
    [y], _said = worker._compute("it", {"x": x}, {}, ("y",), None)
    assert np.array_equal(y, 2 * x)
    assert log[-2:] == ["plain", "cpu 2"]
    assert not worker._sources["it"].is_exact


def test_a_shortage_that_nothing_helps_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    monkeypatch.setattr(worker_module.onnx, "open", lambda _source: FakeModel(log, "cpu", 0))
    worker: Any = worker_module._Worker(None, 6 << 30)  # type: ignore[arg-type]
    worker._models["it"], worker._sources["it"] = (
        FakeModel(log, "cpu", 0),
        SimpleNamespace(runtime="onnx", is_exact=False),
    )
    with pytest.raises(RuntimeError, match="out of memory"):
        worker._compute("it", {"x": np.arange(4.0)}, {}, ("y",), None)
    assert log == ["cpu 4", "cpu 2", "cpu 1"]


@pytest.mark.parametrize(
    "text",
    [
        # PyTorch on Linux, on Windows and on a GPU; ONNX Runtime; the system
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to ...",
        "[enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes.",
        "CUDA out of memory. Tried to allocate 20.00 MiB.",
        "Failed to allocate memory for requested buffer of size 1024",
        "unable to mmap 8 bytes from file: Cannot allocate memory (12)",
    ],
)
def test_memory_that_ran_out_is_known_by_its_words(text: str) -> None:
    assert is_out_of_memory(RuntimeError(text))


def test_memory_that_ran_out_is_known_by_its_kind() -> None:
    kind = type("OutOfMemoryError", (RuntimeError,), {})
    assert is_out_of_memory(kind("any words"))
    assert is_out_of_memory(type("Narrower", (kind,), {})("any words"))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
