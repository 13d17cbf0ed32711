"""Promise 28: a failing model is never a finding, and never takes the window with it."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
import pytest

from medviewer.domain.errors import (
    DigestError,
    EngineError,
    MedViewerError,
    ModelError,
    Stopped,
    TimeBudgetError,
    UnsafeModelError,
    WorkerDiedError,
)
from medviewer.domain.progress import StopToken
from medviewer.inference import shared, supervisor
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.engine import Engine
from tests import fakes, samples

pytestmark = pytest.mark.reliability

X = {"x": fakes.images(1)}
GOOD, SLOW = "good", "slow"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that answers at once and one that runs for hours."""
    folder = tmp_path_factory.mktemp("models")
    fakes.make_model(folder / GOOD, id=GOOD)
    fakes.make_model(folder / SLOW, id=SLOW, graph=fakes.slow_graph(), control_flow=["Loop"], reference=False)
    return folder


@pytest.fixture
def engine(folder: Path) -> Iterator[Engine]:
    with Engine(Catalogue([folder]), providers=("cpu",), threads=1, time_budget_s=30) as engine:
        engine.start(GOOD, SLOW)
        yield engine


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def computing_time_s(engine: Engine) -> float:
    """How long the worker has computed so far."""
    pid = engine.worker_pid
    return psutil.Process(pid).cpu_times().user if pid is not None else 0.0


def wait_until_it_computes(engine: Engine, running: Future[Any]) -> None:
    """Wait until the network is under way: the worker computes, and it has nothing else to do."""
    before = computing_time_s(engine)
    while computing_time_s(engine) < before + 0.05:
        wait([running], timeout=0.01)
        assert not running.done(), running.exception()


def run_slowly(engine: Engine, pool: ThreadPoolExecutor, stop: StopToken | None = None) -> Future[Any]:
    """Start a run that does not end by itself; give its future once the network is under way."""
    running = pool.submit(engine.run, SLOW, X, stop=stop)
    wait_until_it_computes(engine, running)
    return running


def assert_works(engine: Engine) -> None:
    np.testing.assert_allclose(engine.run(GOOD, X)["logits"], fakes.forward(X["x"])["logits"], atol=1e-5)


def shared_blocks() -> set[str]:
    folder = Path("/dev/shm")  # noqa: S108 - where Linux keeps them; empty elsewhere
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_worker_that_dies_in_a_run_is_one_clear_error(
    engine: Engine, pool: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture, how: signal.Signals
) -> None:
    running = run_slowly(engine, pool)
    first = engine.worker_pid
    assert first is not None
    os.kill(first, how)
    with pytest.raises(WorkerDiedError, match=f"signal {how.value}.*try again"):
        running.result(timeout=5)
    assert [r.levelno for r in caplog.records if r.levelno >= logging.WARNING] == [logging.WARNING]
    assert_works(engine)
    assert engine.worker_pid not in (None, first)


def test_a_worker_that_died_between_runs_is_not_even_noticed(engine: Engine) -> None:
    first = engine.worker_pid
    assert first is not None
    process = psutil.Process(first)
    os.kill(first, signal.SIGKILL)
    process.wait(5)
    assert_works(engine)
    assert engine.worker_pid != first


def test_no_answer_comes_from_a_worker_that_dies(
    engine: Engine, pool: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    asking = pool.submit(engine.ask, fakes.make_case(), SLOW)
    wait_until_it_computes(engine, asking)
    os.kill(engine.worker_pid or 0, signal.SIGKILL)
    with pytest.raises(WorkerDiedError):
        asking.result(timeout=5)
    assert caplog.records


def test_cancel_ends_a_run_and_keeps_the_worker(engine: Engine, pool: ThreadPoolExecutor) -> None:
    stop = StopToken()
    running = run_slowly(engine, pool, stop)
    first = engine.worker_pid
    stop.stop()
    with pytest.raises(Stopped):
        running.result(timeout=5)
    assert_works(engine)
    assert engine.worker_pid == first


def test_cancelling_an_old_run_leaves_the_next_alone(engine: Engine, pool: ThreadPoolExecutor) -> None:
    old, new = StopToken(), StopToken()
    engine.run(GOOD, X, stop=old)
    running = run_slowly(engine, pool, new)
    old.stop()
    # A wish that was sent just before its run ended reaches the worker during the next one.
    engine._supervisor._stop(engine._supervisor._ticket - 1)
    wait_until_it_computes(engine, running)
    new.stop()
    with pytest.raises(Stopped):
        running.result(timeout=5)


def test_a_run_over_its_time_budget_is_ended(engine: Engine) -> None:
    first = engine.worker_pid
    engine.time_budget_s = 0.2
    with pytest.raises(TimeBudgetError, match="time budget"):
        engine.run(SLOW, X)
    engine.time_budget_s = 60
    assert_works(engine)
    assert engine.worker_pid == first


@pytest.mark.parametrize("way", ["cancel", "budget"])
def test_a_worker_that_hangs_is_replaced(
    engine: Engine, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(supervisor, "GRACE_S", 0.1)
    stop = StopToken()
    engine.time_budget_s = 1.0 if way == "budget" else 60
    running = run_slowly(engine, pool, stop)
    first = engine.worker_pid
    assert first is not None
    os.kill(first, signal.SIGSTOP)
    if way == "cancel":
        stop.stop()
    with pytest.raises(Stopped if way == "cancel" else TimeBudgetError):
        running.result(timeout=10)
    assert not psutil.pid_exists(first)
    engine.time_budget_s = 60
    assert_works(engine)


def hungry_graph() -> onnx.ModelProto:
    """The network, but it first makes a tensor of 1.6 GB out of its input."""
    model = fakes.model_graph()
    for node in model.graph.node:
        for index, name in enumerate(node.output):
            if name == "logits":
                node.output[index] = "quick"
    # The size comes from the input, so that nothing can be seen in the file.
    constants = {"big": np.int64(20_000), "four": np.array([0, 1, 2, 3], np.int64), "none": np.float32(0)}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items())
    model.graph.node.extend(
        [
            onnx.helper.make_node("ReduceMean", ["x", "four"], ["mean"], keepdims=0),
            onnx.helper.make_node("Cast", ["mean"], ["nought"], to=onnx.TensorProto.INT64),
            onnx.helper.make_node("Add", ["nought", "big"], ["side"]),
            onnx.helper.make_node("Unsqueeze", ["side", "first"], ["side1"]),
            onnx.helper.make_node("Concat", ["side1", "side1"], ["shape"], axis=0),
            onnx.helper.make_node("Expand", ["mean", "shape"], ["huge"]),
            onnx.helper.make_node("ReduceMax", ["huge"], ["top"], keepdims=0),
            onnx.helper.make_node("Mul", ["top", "none"], ["nothing"]),
            onnx.helper.make_node("Add", ["quick", "nothing"], ["logits"]),
        ]
    )
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([0], np.int64), "first"))
    return model


def test_a_hungry_model_is_ended_by_the_memory_limit(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_LOOK_S", 600.0)  # the system's limit alone, not the watch on its size
    fakes.make_model(tmp_path / "hungry", id="hungry", graph=hungry_graph(), reference=False)
    catalogue = Catalogue([tmp_path, folder])
    with Engine(catalogue, providers=("cpu",), memory_limit_bytes=1 << 30) as engine:
        with pytest.raises(EngineError, match="more memory than it is allowed"):
            engine.run("hungry", X)
        assert_works(engine)


def test_a_worker_that_outgrows_its_limit_is_ended_where_the_system_does_not_care(
    folder: Path, pool: ThreadPoolExecutor
) -> None:
    with Engine(Catalogue([folder]), providers=("cpu",)) as engine:
        running = run_slowly(engine, pool)
        engine._supervisor._memory_limit = 1 << 20
        with pytest.raises(EngineError, match="more memory than it is allowed"):
            running.result(timeout=5)
        engine._supervisor._memory_limit = 4 << 30
        assert_works(engine)


def swapped(path: Path) -> None:
    path.write_bytes(fakes.model_graph(head=fakes.HEAD[1:2]).SerializeToString())


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def gone(path: Path) -> None:
    path.unlink()


def linked(path: Path) -> None:
    path.rename(path.with_suffix(".moved"))
    path.symlink_to(path.with_suffix(".moved"))


@pytest.mark.parametrize("change", [swapped, cut, gone, linked])
def test_a_file_changed_after_it_was_listed_is_not_run(tmp_path: Path, change: Callable[[Path], None]) -> None:
    model = fakes.make_model(tmp_path / "m", id=GOOD)
    catalogue = Catalogue([tmp_path])
    assert catalogue.card(GOOD)  # listed, and its files were as the card says
    change(model / "model.onnx")
    with Engine(catalogue, providers=("cpu",)) as engine:
        with pytest.raises(ModelError) as caught:
            engine.ask(fakes.make_case(), GOOD)
        assert isinstance(caught.value, DigestError | UnsafeModelError | ModelError)
        assert "model.onnx" in str(caught.value)
        assert engine.worker_pid is not None


def external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="secret.bin")


def foreign(model: onnx.ModelProto) -> None:
    model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    model.graph.node[0].domain = "com.microsoft"


def looped(model: onnx.ModelProto) -> None:
    model.CopyFrom(fakes.slow_graph())


@pytest.mark.parametrize("change", [external, foreign, looped])
def test_a_dangerous_model_with_a_correct_digest_is_not_run(
    tmp_path: Path, change: Callable[[onnx.ModelProto], None]
) -> None:
    graph = fakes.model_graph()
    change(graph)
    fakes.make_model(tmp_path / "m", id=GOOD, graph=graph, reference=False)
    (tmp_path / "m" / "secret.bin").write_bytes(b"\0" * 4096)
    with Engine(Catalogue([tmp_path]), providers=("cpu",)) as engine, pytest.raises(UnsafeModelError):
        engine.run(GOOD, X)


def test_what_is_no_graph_at_all_is_refused_by_the_worker(tmp_path: Path) -> None:
    fakes.make_model(tmp_path / "m", id=GOOD, graph=b"\x08\x09 not a graph", reference=False)
    with Engine(Catalogue([tmp_path]), providers=("cpu",)) as engine:
        with pytest.raises(MedViewerError):
            engine.run(GOOD, X)
        assert engine.worker_pid is not None


def test_nothing_is_left_behind(
    folder: Path, pool: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: set[str] = set()  # other tests may make blocks of their own meanwhile, in another process

    def recorded(*args: Any, **options: Any) -> Any:
        memory = SharedMemory(*args, **options)
        made.add(memory.name)
        return memory

    monkeypatch.setattr(shared, "SharedMemory", recorded)
    engine = Engine(Catalogue([folder]), providers=("cpu",))
    engine.run(GOOD, X)
    assert not shared_blocks() or made & shared_blocks(), "there they are while they are used"
    running = run_slowly(engine, pool)
    pid = engine.worker_pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(WorkerDiedError):
        running.result(timeout=5)
    engine.run(GOOD, X)
    last = engine.worker_pid
    assert last is not None
    engine.close()
    assert len(made) >= 2
    assert not made & shared_blocks()
    assert not psutil.pid_exists(last)
    assert caplog.records


PARENT = """
    import sys, threading, time
    from pathlib import Path
    import numpy as np
    from medviewer.inference.catalogue import Catalogue
    from medviewer.inference.engine import Engine

    def begin(engine):
        engine.start("slow")
        print(engine.worker_pid, flush=True)
        engine.run("slow", {"x": np.zeros((1, 1, 32, 32), np.float32)})

    if __name__ == "__main__":
        engine = Engine(Catalogue([Path(sys.argv[1])]), providers=("cpu",))
        if sys.argv[2] == "main":
            begin(engine)
        else:
            thread = threading.Thread(target=begin, args=(engine,))
            thread.start()
            thread.join()
"""


@pytest.mark.parametrize(
    ("thread", "how"), [("main", signal.SIGKILL), ("other", signal.SIGKILL), ("main", signal.SIGTERM)]
)
def test_the_worker_does_not_survive_its_parent(folder: Path, tmp_path: Path, thread: str, how: signal.Signals) -> None:
    script = tmp_path / "parent.py"
    script.write_text(textwrap.dedent(PARENT))
    environment = {**os.environ, "PYTHONPATH": str(samples.ROOT)}
    parent = subprocess.Popen(
        [sys.executable, str(script), str(folder), thread],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    )
    assert parent.stdout is not None
    worker = psutil.Process(int(parent.stdout.readline()))
    assert worker.is_running()
    parent.send_signal(how)
    parent.wait(10)
    parent.stdout.close()
    psutil.wait_procs([worker], timeout=10)
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE


START_IN_A_THREAD = """
    import sys, threading
    from pathlib import Path
    from medviewer.inference.catalogue import Catalogue
    from medviewer.inference.engine import Engine

    if __name__ == "__main__":
        with Engine(Catalogue([Path(sys.argv[1])]), providers=("cpu",)) as engine:
            thread = threading.Thread(target=engine.start, args=("good",))
            thread.start()
            thread.join()
            before = engine.worker_pid
            engine.describe_provider("good")
            print(before is not None and before == engine.worker_pid)
"""


def test_a_worker_outlives_the_thread_that_started_it(folder: Path, tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(textwrap.dedent(START_IN_A_THREAD))
    environment = {**os.environ, "PYTHONPATH": str(samples.ROOT)}
    done = subprocess.run(
        [sys.executable, str(script), str(folder)], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.strip() == "True"


def test_two_stops_at_once_are_one(engine: Engine, pool: ThreadPoolExecutor) -> None:
    stop = StopToken()
    running = run_slowly(engine, pool, stop)
    threads = [threading.Thread(target=stop.stop) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with pytest.raises(Stopped):
        running.result(timeout=5)
    assert_works(engine)
