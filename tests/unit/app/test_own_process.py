"""A command in a process of its own: what it says arrives, however it ends is one sentence, and it never outlives us."""

from __future__ import annotations

import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from medviewer.app import own_process
from medviewer.app.own_process import Ending, Line, check_trainable, run_command
from medviewer.domain.errors import RuntimeMissingError
from medviewer.domain.progress import StopToken

Run = Callable[..., Ending]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs Python text in the place of the program."""

    def go(text: str, told: Callable[[Line], None] = lambda _: None, stop: StopToken | None = None) -> Ending:
        script = tmp_path / "program.py"
        script.write_text("import json, os, signal, sys, time\n" + textwrap.dedent(text))
        monkeypatch.setattr(own_process, "program", lambda: (sys.executable, "-S", str(script)))
        return run_command(["train"], told, stop or StopToken())

    return go


def test_lines_arrive_and_what_is_no_line_is_passed_over(run: Run) -> None:
    lines: list[Line] = []
    ending = run("print('{\"a\": 1}'); print('a warning'); print('[1]'); print('{\"b\": \"é\"}')", lines.append)
    assert lines == [{"a": 1}, {"b": "é"}]
    assert ending == Ending("done")


def test_the_sentence_of_a_failure_is_its_own(run: Run) -> None:
    said = "print('12 of 40 images', file=sys.stderr); print('medviewer: The disk is full.', file=sys.stderr)"
    for code in (1, 2, 3):
        assert run(f"{said}; sys.exit({code})") == Ending("failed", "The disk is full.")


def test_data_that_cannot_all_be_used_are_no_failure(run: Run) -> None:
    assert run("print('a.dcm: damaged', file=sys.stderr); sys.exit(3)") == Ending("done")


def test_a_killed_process_is_one_sentence(run: Run) -> None:
    ending = run("os.kill(os.getpid(), signal.SIGKILL)")
    assert ending.how == "failed"
    assert ending.text == "The process ended unexpectedly (signal 9); perhaps the memory was used up."


def test_it_is_told_to_end_as_by_ctrl_c(run: Run) -> None:
    stop = StopToken()
    lines: list[Line] = []

    def told(line: Line) -> None:
        lines.append(line)
        stop.stop()

    ending = run(
        """
        def end(*_):
            print('{"kind": "stopped"}', flush=True)
            sys.exit(143)
        signal.signal(signal.SIGTERM, end)
        print('{"kind": "ready"}', flush=True)
        time.sleep(60)
        """,
        told,
        stop,
    )
    assert [line["kind"] for line in lines] == ["ready", "stopped"]
    assert ending == Ending("stopped")


def test_one_that_hears_nothing_is_killed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_process, "_PATIENCE_S", 0.2)
    stop = StopToken()
    ending = run(
        """
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print('{}', flush=True)
        time.sleep(60)
        """,
        lambda _: stop.stop(),
        stop,
    )
    assert ending == Ending("stopped")


def test_it_does_not_outlive_a_listener_that_fails(run: Run) -> None:
    pids: list[int] = []

    def told(line: Line) -> None:
        pids.append(line["pid"])
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        run("print(json.dumps({'pid': os.getpid()}), flush=True); time.sleep(60)", told)
    assert not psutil.pid_exists(pids[0])


def test_it_lets_everything_else_go_first(run: Run) -> None:
    nice: list[int] = []

    def told(line: Line) -> None:
        nice.append(psutil.Process(line["pid"]).nice())

    run("print(json.dumps({'pid': os.getpid()}), flush=True); time.sleep(0.2)", told)
    assert nice[0] >= max(psutil.Process().nice(), 10)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    check_trainable()
    monkeypatch.setattr(own_process.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(RuntimeMissingError, match=r"pip install 'medviewer\[torch,cpu\]'"):
        check_trainable()
    monkeypatch.undo()
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with pytest.raises(RuntimeMissingError, match="The packaged program cannot train"):
        check_trainable()


def test_a_real_training_ends_when_nobody_reads_it_any_more(tmp_path: Path) -> None:
    """The window's process was killed: its child must not learn on for nobody."""
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent(
            """
            import subprocess, sys
            from medviewer.cli.terminal import print_json_line
            text = "from medviewer.cli.terminal import print_json_line as p\\nimport time\\n"
            text += "while True:\\n p({})\\n time.sleep(0.02)"
            child = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            child.stdout.readline()
            print(child.pid, flush=True)
            """
        )
    )
    import subprocess

    pid = int(subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True).stdout)
    deadline = time.monotonic() + 20
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "it still runs"
        time.sleep(0.05)
