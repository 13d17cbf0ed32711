"""Training that is killed, cancelled, or runs out of disk or memory: the checkpoint is whole, the run goes on."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from tests.samples import ROOT  # noqa: E402

pytestmark = [pytest.mark.reliability, pytest.mark.torch, pytest.mark.slow]

_RUN = textwrap.dedent("""
    import os, resource, signal, sys
    from dataclasses import asdict
    from pathlib import Path
    from medviewer.domain.errors import MedViewerError
    from medviewer.training.checkpoint import weights_digest
    from medviewer.training.configs import LoopConfig
    from medviewer.training.lesson import Surroundings
    from medviewer.training.loop import fit
    from tests.lessons import TinyLesson, tiny_network

    folder, what, number = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    count = 0

    def die_at(event, arguments):
        # At the very moment: the bytes of a file half written, all written but not moved, or just moved.
        global count
        if what == "replace" and event == "os.rename" and str(arguments[1]).endswith("run.pt"):
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)
        if what == "step" and event == "medviewer.step":
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(die_at)
    if what == "half":
        from medviewer.training import checkpoint
        write = checkpoint.write_whole

        def cut(path, content, **options):
            global count
            count += path.name == "run.pt"
            if path.name == "run.pt" and count == number:
                descriptor = os.open(path.with_name(".medviewer-0123.part"), os.O_WRONLY | os.O_CREAT)
                os.write(descriptor, content[: len(content) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            write(path, content, **options)

        checkpoint.write_whole = cut
    lesson = TinyLesson()
    if what == "memory":
        def batch(chosen, epoch, chance, _batch=lesson.batch, asked=[]):
            asked.append(1)
            return {"x": torch.empty(2**52)} if len(asked) == number else _batch(chosen, epoch, chance)
        import torch
        lesson.batch = batch
    bar = lambda done, total, text: sys.audit("medviewer.step")
    if what == "disk":
        def bar(done, total, text):
            if done == number:  # from here on no file may grow: what a full disk does
                resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
    if what == "interrupt":
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it

        def bar(done, total, text):
            if done == number:
                os.kill(os.getpid(), signal.SIGINT)
    config = LoopConfig(batch=8, keep_every=2, threads=1)
    network = tiny_network(dropout=0.5)
    try:
        fit(network, lesson, config, Surroundings(folder, {"config": asdict(config)}, bar=bar))
    except MedViewerError as error:
        print(type(error).__name__, error)
        sys.exit(5)
    print(weights_digest(network))
""")


def run(folder: Path, what: str = "whole", number: int = 0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-c", _RUN, str(folder), what, str(number)],
        cwd=ROOT,
        env={"PYTHONPATH": ":".join(filter(None, [str(ROOT), *sys.path])), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the run that nothing disturbs."""
    done = run(tmp_path_factory.mktemp("whole"))
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_a_run_killed_again_and_again_gives_the_same_bytes(tmp_path: Path, whole: str) -> None:
    for what, number in (("step", 1), ("half", 3), ("replace", 4), ("step", 7)):
        killed = run(tmp_path, what, number)
        assert killed.returncode == -9, (what, killed.stdout, killed.stderr)
        assert list(tmp_path.glob(".medviewer-*.part")) != [] or what == "step"
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "going on" in done.stdout
    assert done.stdout.splitlines()[-1] == whole
    assert list(tmp_path.glob(".medviewer-*.part")) == []


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("disk", "StorageError record.jsonl was not saved: the file system allows no file of this size"),
        ("memory", "TrainingError The memory is used up; make the setting batch smaller."),
        ("interrupt", "Stopped Cancelled. What was learned"),
    ],
)
def test_what_ends_a_run_is_one_sentence_and_the_checkpoint_stays(
    tmp_path: Path, whole: str, what: str, sentence: str
) -> None:
    ended = run(tmp_path, what, 9)
    assert ended.returncode == 5, ended.stderr
    assert ended.stdout.splitlines()[-1].startswith(sentence)
    assert "Traceback" not in ended.stderr
    assert run(tmp_path).stdout.splitlines()[-1] == whole
