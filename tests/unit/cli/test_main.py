"""Words in, exit code out; nothing heavy is loaded for a light question; nothing is ever raised."""

from __future__ import annotations

import argparse
import io
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medviewer import __version__, cli
from medviewer.cli import exit_code, main, terminal
from medviewer.cli.parser import COMMANDS, USE_MODELS, WINDOW, parse
from medviewer.domain import errors
from medviewer.domain.errors import MedViewerError

HEAVY = ("numpy", "pydicom", "PySide6", "onnxruntime", "onnx", "torch", "SimpleITK", "sqlalchemy", "highdicom", "PIL")


def run_instead(monkeypatch: pytest.MonkeyPatch, run: Callable[[argparse.Namespace], int]) -> None:
    monkeypatch.setattr(cli, "_runner", lambda _command: run)


@pytest.mark.parametrize(
    "arguments", [["--version"], ["--help"], ["analyze", "--help"], ["train"], ["nonsense", "--what"]]
)
def test_a_light_question_loads_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from medviewer.cli import main; main(sys.argv[1:]);"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"medviewer {__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert "usage: medviewer " + command in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect"],
        ["render", "x.dcm"],
        ["render", "x.dcm", "--out", "x.png", "--window", "1"],
        ["render", "x.dcm", "--out", "x.png", "--window", "1", "2", "--voi", "auto"],
        ["render", "x.dcm", "--out", "x.png", "--frame", "one"],
        ["analyze", "x.dcm", "--out", "o"],
        ["models", "burn"],
        ["audit"],
        ["train", "chest-xray"],
        ["evaluate", "m", "--data", "d"],
        ["--nonsense"],
        ["inspect", "x", "--nonsense"],
    ],
)
def test_wrong_use_is_2_and_says_so(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "usage:" in told.err
    assert "error:" in told.err


def test_paths_are_for_the_window_and_words_for_commands() -> None:
    assert parse([]).command == WINDOW
    assert parse(["a", "b"]).paths == [Path("a"), Path("b")]
    assert parse(["./demo"]).paths == [Path("demo")]
    assert parse(["--", "demo"]).paths == [Path("demo")]
    assert parse(["demo"]).command == "demo"
    # The value of an option before the command is not the command.
    assert parse(["--models", "demo", "inspect", "x"]).command == "inspect"
    assert parse(["--models", "inspect", "x"]).command == WINDOW


@pytest.mark.parametrize("arguments", [["--models", "M", "--debug", "models"], ["models", "--models", "M", "--debug"]])
def test_shared_options_stand_before_or_after_the_command(arguments: list[str]) -> None:
    found = parse(arguments)
    assert (found.models_folder, found.debug) == (Path("M"), True)


@pytest.mark.parametrize("command", [*COMMANDS, ""])
def test_the_help_names_models_only_where_they_count(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*filter(None, [command]), "--help"]) == 0
    assert ("--models" in capsys.readouterr().out) is (command in USE_MODELS)


@pytest.mark.parametrize("words", [["demo"], ["inspect", "x"], ["audit", "verify"], ["x.dcm"]])
def test_models_are_never_named_in_vain(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--models", "M", *words]) == 2
    assert "analyze, models, evaluate" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["inspect", ""], ["render", "x", "--out", ""], ["--models", "", "models"], [""], ["demo", "--out", ""]]
)
def test_an_empty_path_is_never_the_current_folder(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert "the path is empty" in capsys.readouterr().err


def test_without_shared_options_they_are_off() -> None:
    found = parse(["models"])
    assert (found.models_folder, found.debug) == (None, False)


def _all_errors(kind: type[MedViewerError]) -> list[type[MedViewerError]]:
    return [kind, *(deeper for inner in kind.__subclasses__() for deeper in _all_errors(inner))]


@pytest.mark.parametrize("kind", _all_errors(MedViewerError))
def test_every_error_of_ours_is_its_sentence_and_its_code(
    kind: type[MedViewerError], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(arguments: argparse.Namespace) -> int:
        raise kind("The file is gone; open another one.")

    run_instead(monkeypatch, fail)
    code = main(["demo"])
    told = capsys.readouterr()
    assert told.out == ""
    if issubclass(kind, errors.Stopped):
        assert (code, told.err) == (130, "The file is gone; open another one.\n")
        return
    expected = 2 if issubclass(kind, errors.UsageError) else 1
    if issubclass(kind, errors.InputError | errors.ModelError):
        expected = 3
    assert code == expected == exit_code(kind("x"))
    assert told.err == "medviewer: The file is gone; open another one.\n"


def test_a_bug_is_one_sentence_and_its_traceback_only_on_request(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(arguments: argparse.Namespace) -> int:
        raise KeyError("Secret^Name")

    run_instead(monkeypatch, fail)
    assert main(["demo"]) == 1
    told = capsys.readouterr().err
    assert "--debug" in told
    assert "Secret" not in told
    assert len(told.splitlines()) == 1
    assert main(["demo", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_warnings_of_libraries_never_reach_the_terminal() -> None:
    code = (
        "import warnings; from medviewer.__main__ import main\n"
        "main(['--version']); warnings.warn('Invalid value: Doe^John')"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_ctrl_c_is_130_without_a_traceback(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(arguments: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    run_instead(monkeypatch, interrupted)
    assert main(["demo"]) == 130
    assert capsys.readouterr().err == "Cancelled.\n"


SIGTERM = """
import os, signal, sys
from medviewer import cli
closed = []
if sys.argv[1] == "ignores Ctrl+C":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell does for what runs in the background
def wait(arguments):
    if sys.argv[1] == "is a window":
        signal.signal(signal.SIGINT, lambda number, frame: closed.append(True))
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        while not closed: pass
        return 0
    finally:
        os.kill(os.getpid(), signal.SIGTERM)  # once more, while it tidies up
        print("tidied up")
cli._runner = lambda command: wait
sys.exit(cli.main(["demo"]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill ends a process at once on Windows")
@pytest.mark.parametrize(
    ("kind", "told"), [("is plain", "Cancelled.\n"), ("ignores Ctrl+C", "Cancelled.\n"), ("is a window", "")]
)
def test_sigterm_ends_a_command_like_ctrl_c(kind: str, told: str) -> None:
    done = subprocess.run([sys.executable, "-P", "-c", SIGTERM, kind], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (143, "tidied up\n", told)


def test_a_command_in_another_thread_leaves_the_signals_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)
    run_instead(monkeypatch, lambda _arguments: 7)
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(main(["demo"])))
    thread.start()
    thread.join()
    assert (codes, signal.getsignal(signal.SIGTERM)) == ([7], before)
    assert main(["demo"]) == 7
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_reader_that_went_away_is_no_failure_to_talk_about() -> None:
    code = (
        "import sys; from medviewer import cli\n"
        "def much(arguments):\n"
        "    from medviewer.cli.terminal import say\n"
        "    for i in range(100000): say('x' * 100)\n"
        "    return 0\n"
        "cli._runner = lambda command: much\n"
        "sys.exit(cli.main(['demo']))"
    )
    with subprocess.Popen(
        [sys.executable, "-P", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        told = process.stderr.read()
    assert told == ""
    assert process.returncode == 1


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_printed_json_is_ascii_and_comes_back(document: object) -> None:
    stream = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        terminal.print_json(document)
    assert stream.getvalue().isascii()
    assert json.loads(stream.getvalue()) == document


@given(st.text())
def test_no_text_steers_the_terminal_or_breaks_its_encoding(text: str) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", write_through=True, newline="")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        terminal.say(text)
    written = raw.getvalue()
    assert b"\x1b" not in written
    assert b"\x07" not in written
    assert len(written.splitlines()) == 1
    assert written.isascii()


def test_closed_output_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["inspect", str(tmp_path)]) == 0
    assert main(["inspect", str(tmp_path), "--json"]) == 0
    assert main(["inspect", str(tmp_path / "gone")]) == 3


def test_progress_is_for_eyes_only(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    terminal.progress(1, 2, "Reading")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    terminal.progress(1, 2, "Reading\x1b[2J")
    told = capsys.readouterr()
    assert " 50 % Reading" in told.err
    assert "\x1b[2J" not in told.err
    assert told.out == ""
    terminal.progress(3, 0, "Reading")
    terminal.clear_progress()
    assert capsys.readouterr().err.endswith("\r\x1b[K")
