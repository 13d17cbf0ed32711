"""Several processes learn as one: the same losses, the same weights, the same statistics."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from medviewer.training.processes import Processes, SharedBatchNorm, own_batch_norm, share_batch_norm  # noqa: E402
from tests.lessons import tiny_network  # noqa: E402
from tests.samples import ROOT  # noqa: E402

pytestmark = pytest.mark.torch

# 50 steps over images without chance, in batches that two processes cannot halve.
_LEARN = textwrap.dedent("""
    import contextlib, json, sys, time
    from pathlib import Path
    from medviewer.training.checkpoint import weights_digest
    from medviewer.training.configs import LoopConfig
    from medviewer.training.lesson import Surroundings
    from medviewer.training.loop import fit
    from medviewer.training.processes import joined_processes
    from tests.lessons import TinyLesson, tiny_network

    with joined_processes() as processes:
        folder = Path(sys.argv[1]) / f"rank-{processes.rank}"
        # Each begins with other weights: those of the first must reach all.
        network = tiny_network(seed=3 + processes.rank)
        config = LoopConfig(batch=9, threads=1)
        lesson = TinyLesson(n=int(sys.argv[2]), batch=9, epochs=(10,), noise=0.0)
        history = fit(network, lesson, config, Surroundings(folder, processes=processes))
        kinds = [type(layer).__name__ for layer in network]
        found = {"digest": weights_digest(network), "kinds": kinds, "history": history, "n": processes.n}
    for _ in range(50):  # a thread that has been joined is listed until the system has cleared it away
        found["threads"] = []
        for name in Path("/proc/self/task").glob("*/comm"):
            with contextlib.suppress(OSError):  # it has just ended
                found["threads"].append(name.read_text().strip())
        if not any("gloo" in name for name in found["threads"]):
            break
        time.sleep(0.02)
    Path(sys.argv[1], f"rank-{processes.rank}.json").write_text(json.dumps(found))
""")


def learn(folder: Path, n: int, *launcher: str) -> list[dict]:
    script = folder / "learn.py"
    script.write_text(_LEARN, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, *launcher, str(script), str(folder), str(n)],
        cwd=ROOT,
        env={"PYTHONPATH": ":".join([str(ROOT), *sys.path]), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    return [json.loads(path.read_text()) for path in sorted(folder.glob("rank-*.json"))]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processes", "n", "n_steps"),
    [(2, 45, 50), (2, 46, 60), (3, 47, 60)],  # the last batch of 46 is one case, that of 47 two
)
def test_processes_with_one_global_batch_are_one(tmp_path: Path, processes: int, n: int, n_steps: int) -> None:
    from medviewer.training.run_record import read_record

    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    (alone,) = learn(tmp_path / "one", n)
    torchrun = ("-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}")
    together = learn(tmp_path / "two", n, *torchrun)
    assert [found["n"] for found in (alone, *together)] == [1, *[processes] * processes]

    def losses(name: str) -> list[float]:
        return [line["loss"] for line in read_record(tmp_path / name / "rank-0") if line["kind"] == "step"]

    ours, theirs = losses("two"), losses("one")
    assert len(theirs) == n_steps
    assert theirs[-1] < theirs[0] / 2
    assert max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) < 1e-4
    assert len({found["digest"] for found in together}) == 1
    assert all(found["history"] == together[0]["history"] for found in together)
    # No thread of the group is left to end while the interpreter does.
    left = [name for found in together for name in found["threads"] if "gloo" in name]
    assert left == []
    # The network that comes out is an ordinary one, and only the first process wrote.
    assert together[0]["kinds"] == alone["kinds"]
    assert not (tmp_path / "two/rank-1").exists() or not list((tmp_path / "two/rank-1").iterdir())


@pytest.mark.parametrize(
    ("n", "n_cases", "shares"),
    [
        (1, 5, [([0, 1, 2, 3, 4], 1.0)]),
        (2, 5, [([0, 1, 2], 1.2), ([3, 4], 0.8)]),
        (3, 1, [([0], 3.0), ([0], 0.0), ([0], 0.0)]),  # who has no case takes part with one that counts for nothing
        (4, 3, [([0], 4 / 3), ([1], 4 / 3), ([2], 4 / 3), ([0], 0.0)]),
    ],
)
def test_each_process_has_its_share_and_its_weight(n: int, n_cases: int, shares: list[tuple[list[int], float]]) -> None:
    own = [Processes(rank, n, torch.device("cpu")).own(torch.arange(n_cases)) for rank in range(n)]
    assert [chosen.tolist() for chosen, _ in own] == [cases for cases, _ in shares]
    assert [weight for _, weight in own] == pytest.approx([weight for _, weight in shares])


def test_sharing_statistics_is_undone() -> None:
    network = tiny_network()
    names = list(network.state_dict())
    share_batch_norm(network)
    assert type(network[1]) is SharedBatchNorm
    assert list(network.state_dict()) == names
    own_batch_norm(network)
    assert type(network[1]) is torch.nn.BatchNorm2d


@pytest.mark.parametrize("momentum", [0.1, None])
def test_shared_statistics_alone_are_pytorchs(momentum: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values, gradients and running statistics of a process that shares with nobody, against BatchNorm."""
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda _: None)
    found = []
    for shares in (False, True):
        layer = torch.nn.BatchNorm2d(3, momentum=momentum).double()
        with torch.no_grad():
            layer.weight.copy_(torch.tensor([0.5, 2.0, -1.0]))
        if shares:
            share_batch_norm(layer)
        x = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(0)).double() * 3 + 7
        x.requires_grad_()
        for _ in range(3):
            y = layer(x)
        y.pow(3).sum().backward()
        found.append([y, x.grad, layer.weight.grad, layer.bias.grad, *layer.buffers(), layer.eval()(x)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)
