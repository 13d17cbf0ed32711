"""Bad input on the command line: one clear sentence, the right exit code, nothing half-written."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from medviewer.app.results import RESULT_NAME
from medviewer.cli import analyze as analyze_module
from medviewer.cli import main
from tests import fakes, samples
from tests.answers import make_radiograph

RG1 = "RG1_UNCR.dcm"


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(analyze_module, "Engine", fakes.FakeEngine)
    fakes.make_model(tmp_path / "models" / fakes.MODEL_ID)
    return tmp_path / "models"


def bad_file(kind: str, tmp_path: Path) -> Path:
    path = tmp_path / "bad.dcm"
    if kind == "not DICOM":
        path.write_text("Dear colleague, please find attached")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "truncated header":
        path.write_bytes(samples.package_file(RG1).read_bytes()[:700])
    elif kind == "no pixels":
        make_radiograph(path, PixelData=None)
    elif kind == "absurd sizes":
        make_radiograph(path, Rows=65_535, Columns=65_535, NumberOfFrames=10_000, PixelData=b"\0" * 10)
    elif kind == "absent":
        path = tmp_path / "nowhere" / "bad.dcm"
    elif kind == "dangling link":
        path.symlink_to(tmp_path / "gone")
    elif kind == "path through a file":
        (tmp_path / "file").write_text("x")
        path = tmp_path / "file" / "bad.dcm"
    elif kind == "nothing in the folder":
        path = tmp_path / "empty"
        path.mkdir()
    return path


BAD = [
    "not DICOM", "empty", "truncated header", "no pixels", "absurd sizes", "absent", "dangling link", "path through a file",
]  # fmt: skip


def told_one_sentence(capsys: pytest.CaptureFixture[str]) -> str:
    """What was said on standard error: one line that ends as a sentence, and nothing printed as a result."""
    told = capsys.readouterr()
    assert told.out == ""
    [line] = told.err.splitlines()
    assert line.startswith("medviewer: ")
    assert line.endswith(".")
    assert "Error" not in line
    assert "unexpected" not in line
    return line


@pytest.mark.reliability
@pytest.mark.parametrize("kind", BAD)
def test_inspect_names_it(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = make_radiograph(tmp_path / "good.dcm").path
    bad = bad_file(kind, tmp_path)
    code = main(["inspect", str(good), str(bad), "--json"])
    told = capsys.readouterr()
    files = {file["path"]: file for file in json.loads(told.out)["files"]}
    assert set(files) == {str(good), str(bad)}
    assert files[str(good)]["status"] == "shown"
    assert files[str(bad)]["status"] in ("refused", "read")
    assert files[str(bad)]["reason"].endswith(".")
    assert code == (3 if files[str(bad)]["status"] == "refused" else 0)
    assert told.err == ""


@pytest.mark.reliability
@pytest.mark.parametrize("kind", [*BAD, "nothing in the folder"])
@pytest.mark.parametrize("command", ["render", "analyze"])
def test_render_and_analyze_refuse_it(
    command: str, kind: str, tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = str(bad_file(kind, tmp_path))
    out = tmp_path / "out.png"
    words = ["render", bad, "--out", str(out)]
    if command == "analyze":
        words = ["--models", str(models), "analyze", bad, "--model", fakes.MODEL_ID, "--out", str(out)]
    assert main(words) == 3
    told_one_sentence(capsys)
    assert not out.exists()


def test_pixels_that_end_too_early_are_not_analysed_in_silence(
    tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make_radiograph(tmp_path / "a.dcm")
    source.path.write_bytes(source.path.read_bytes()[:-9000])
    out = tmp_path / "out"
    code = main(["--models", str(models), "analyze", str(source.path), "--model", fakes.MODEL_ID, "--out", str(out)])
    told = capsys.readouterr()
    assert code in (3, 4), told
    if code == 3:
        assert not out.exists()
    else:
        assert json.loads((out / RESULT_NAME).read_text(encoding="utf-8"))["findings"] == []


def damage(kind: str, models: Path) -> None:
    folder = models / fakes.MODEL_ID
    card = folder / "model.json"
    if kind == "wrong digest":
        data = bytearray((folder / "model.onnx").read_bytes())
        data[-1] ^= 1
        (folder / "model.onnx").write_bytes(bytes(data))
    elif kind == "file missing":
        (folder / "model.onnx").unlink()
    elif kind == "card is not JSON":
        card.write_bytes(b"{")
    elif kind == "card breaks the schema":
        document = json.loads(card.read_text(encoding="utf-8"))
        document["labels"][0]["threshold"] = 7
        card.write_text(json.dumps(document), encoding="utf-8")


@pytest.mark.reliability
@pytest.mark.parametrize("kind", ["wrong digest", "file missing", "card is not JSON", "card breaks the schema"])
def test_a_damaged_model_is_refused_and_named(
    kind: str, tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    damage(kind, models)
    source = make_radiograph(tmp_path / "a.dcm").path
    out = tmp_path / "out"
    code = main(["--models", str(models), "analyze", str(source), "--model", fakes.MODEL_ID, "--out", str(out)])
    assert code == 3
    assert fakes.MODEL_ID in told_one_sentence(capsys)
    assert not out.exists()
    assert main(["--models", str(models), "models", "--json"]) == 3
    [model] = json.loads(capsys.readouterr().out)["models"]
    assert (model["usable"], model["sha256"]) == (False, None)
    assert model["problem"].endswith(".")


FULL_DISK = """
import resource, sys
from pathlib import Path
from medviewer.cli import main, analyze
from tests import fakes
analyze.Engine = fakes.FakeEngine
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.reliability
@pytest.mark.skipif(sys.platform == "win32", reason="no file size limits on Windows")
@pytest.mark.parametrize("size", [0, 1000, 6000, 20_000])
def test_a_disk_that_fills_up_while_saving_leaves_what_was_there(size: int, tmp_path: Path, models: Path) -> None:
    source = make_radiograph(tmp_path / "a.dcm", PatientBirthDate="20200101").path
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("the reader's own")
    words = ["--model", fakes.MODEL_ID, "--explain", "grad-cam", "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-P", "-c", FULL_DISK, str(size), "--models", str(models), "analyze", str(source), *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(samples.ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=tmp_path,
    )
    assert done.returncode == 1, done.stderr
    assert "probability 0." in done.stdout  # what was worked out is told, and only then lost
    assert "than chance: " in done.stdout
    [line] = [line for line in done.stderr.splitlines() if "audit trail" not in line]
    assert line.startswith("medviewer: Nothing was saved: ")
    assert "Traceback" not in done.stderr
    assert [path.name for path in out.iterdir()] == ["notes.txt"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_standard_output_on_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    source = make_radiograph(tmp_path / "a.dcm").path
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "medviewer", "inspect", str(source), "--json"],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert (
        done.stderr == "medviewer: The output could not be written: No space left on device; send it to another disk.\n"
    )


@pytest.mark.parametrize("place", ["file", "file/inside", "link"])
def test_results_that_have_no_place_are_refused(
    place: str, tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make_radiograph(tmp_path / "a.dcm", PatientBirthDate="20200101").path
    (tmp_path / "file").write_text("keep")
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    words = ["--models", str(models), "analyze", str(source), "--model", fakes.MODEL_ID, "--out", str(tmp_path / place)]
    assert main(words) == 1
    told = capsys.readouterr()
    assert "probability 0." in told.out
    assert told.err.startswith("medviewer: Nothing was saved: ")
    assert "choose another folder" in told.err
    assert main(["render", str(source), "--out", str(tmp_path / "file" / "x.png")]) == 1
    assert "not saved" in told_one_sentence(capsys)
    assert (tmp_path / "file").read_text() == "keep"


def test_text_in_a_file_cannot_steer_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_radiograph(tmp_path / "a.dcm", raw={0x00081030: b"THORAX\x1b]0;owned\x07 ", 0x00100020: b"47\x1b[2J11"})
    main(["inspect", str(tmp_path)])
    main(["inspect", str(tmp_path), "--json"])
    told = capsys.readouterr()
    assert "\x1b" not in told.out + told.err
    assert "\x07" not in told.out + told.err


def _hear_ctrl_c() -> None:
    """As in a terminal: what starts the tests in the background may have had Ctrl+C ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def slow_analysis(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A real ``medviewer analyze`` in its own process group, with a model that runs for hours."""
    fakes.make_model(
        tmp_path / "models" / fakes.MODEL_ID, graph=fakes.slow_graph(), control_flow=["Loop"], reference=False
    )
    source = make_radiograph(tmp_path / "a.dcm", PatientBirthDate="20200101").path
    words = ["--models", str(tmp_path / "models"), "analyze", str(source), "--model", fakes.MODEL_ID]
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "medviewer", *words, "--out", str(tmp_path / "out")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=_hear_ctrl_c if sys.platform != "win32" else None,  # noqa: PLW1509 - no thread holds a lock here
    ) as process:  # fmt: skip
        yield process
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.reliability
@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no process groups with signals on Windows")
@pytest.mark.parametrize(
    ("send", "number", "code"),
    [(os.killpg, signal.SIGINT, 130), (os.kill, signal.SIGTERM, 143), (os.killpg, signal.SIGTERM, 143)],
)
def test_ctrl_c_and_sigterm_during_a_run_end_everything(
    send: Callable[[int, int], None], number: int, code: int, tmp_path: Path, slow_analysis: subprocess.Popen[str]
) -> None:
    program = psutil.Process(slow_analysis.pid)
    workers: list[psutil.Process] = []
    # The network has begun when the worker has used more time than its start takes.
    while slow_analysis.poll() is None:
        workers = [child for child in program.children(recursive=True) if sum(child.cpu_times()[:2]) > 3]
        if workers:
            break
    everyone = program.children(recursive=True)
    is_linux = sys.platform == "linux"  # elsewhere nobody tells which shared memory there is
    mapped = {Path(m.path) for m in program.memory_maps() if "psm_" in m.path} if is_linux else set()
    send(slow_analysis.pid, number)
    out, err = slow_analysis.communicate(timeout=60)
    assert slow_analysis.returncode == code, err
    assert out == ""
    assert err == "Cancelled.\n"
    assert not (tmp_path / "out").exists()
    _, alive = psutil.wait_procs(everyone, timeout=20)
    assert alive == []
    assert bool(mapped) is is_linux  # the network's input
    assert not any(path.exists() for path in mapped)


def test_the_widest_header_is_no_memory_hole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An element that claims 4 GB in a file of a few bytes."""
    path = make_radiograph(tmp_path / "a.dcm").path
    data = path.read_bytes()
    path.write_bytes(data[:400] + struct.pack("<HH2sHI", 0x0009, 0x0010, b"OB", 0, 0xFFFFFFF0) + b"\0" * 10)
    assert main(["render", str(path), "--out", str(tmp_path / "x.png")]) == 3
    told_one_sentence(capsys)
