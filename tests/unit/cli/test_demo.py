"""What ``demo`` decides; that it really draws is a journey of its own."""

from __future__ import annotations

import json
import multiprocessing
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from medviewer.cli import demo as demo_module
from medviewer.cli import main
from medviewer.domain.errors import EngineError

RESULT = {
    "notice": "AI result - research use only - not for diagnosis",
    "status": "answer",
    "reasons": [],
    "findings": [{"label": "pneumonia", "probability": 0.87, "threshold": 0.41, "flagged": True}],
    "guards": [
        {"code": "age", "level": "warn", "text": "This patient is 64."},
        {"code": "x", "level": "ok", "text": "Fine."},
    ],
    "outputs": ["overlay.png"],
}


class Window:
    """In the place of the window's module, which unit tests never import."""

    def __init__(self) -> None:
        self.grabbed: list[tuple[Path, Path]] = []
        self.shown = 0
        self.result: dict[str, Any] | None = RESULT

    def grab_window(self, out: Path, *, results: Path) -> None:
        self.grabbed.append((out, results))
        if self.result is not None:
            (results / "result.json").write_text(json.dumps(self.result))

    def run_window(self, *, sample: bool = False) -> int:
        assert sample
        self.shown += 1
        return 0


@pytest.fixture
def window(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Window:
    found = Window()
    module = types.ModuleType("medviewer.gui.run")
    module.grab_window, module.run_window = found.grab_window, found.run_window  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "medviewer.gui.run", module)
    monkeypatch.chdir(tmp_path)
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    return found


@pytest.mark.parametrize(
    ("environment", "platform", "expected"),
    [
        ({}, "linux", False),
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({"DISPLAY": ""}, "linux", False),
        ({"DISPLAY": ":0", "QT_QPA_PLATFORM": "offscreen"}, "linux", False),
        ({}, "win32", True),
        ({}, "darwin", True),
        ({"QT_QPA_PLATFORM": "offscreen"}, "win32", False),
    ],
)
@pytest.mark.usefixtures("window")
def test_knows_whether_anyone_would_see_a_window(
    environment: dict[str, str], platform: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert demo_module.has_display() is expected


def test_without_a_display_it_draws_and_says_where(
    window: Window, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--out", str(tmp_path / "o")]) == 0
    assert window.grabbed == [(tmp_path / "o" / "window.png", tmp_path / "o")]
    assert window.shown == 0
    told = capsys.readouterr().out
    for words in (
        "window.png",
        "overlay.png",
        "probability 0.87, threshold 0.41, flagged",
        "This patient is 64.",
        "no display",
    ):
        assert words in told
    assert "Fine." not in told
    assert main(["demo"]) == 0
    assert window.grabbed[-1] == (Path("demo-output/window.png"), Path("demo-output"))


def test_with_a_display_it_opens_the_window(window: Window, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    assert main(["demo"]) == 0
    assert (window.grabbed, window.shown) == ([], 1)


def test_with_a_display_and_a_folder_it_does_both(
    window: Window, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(demo_module, "_draw_elsewhere", demo_module._draw)
    assert main(["demo", "--out", str(tmp_path / "o")]) == 0
    assert (len(window.grabbed), window.shown) == (1, 1)


def test_the_other_process_hands_back_its_exit_code(tmp_path: Path) -> None:
    """The real way: a spawned process, which fails because its folder is a file."""
    (tmp_path / "file").write_text("x")
    before = set(multiprocessing.active_children())  # other tests' engines may live as long as their module
    assert demo_module._draw_elsewhere(tmp_path / "file") == 1
    assert set(multiprocessing.active_children()) <= before


def test_an_abstention_is_4(window: Window, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    window.result = {**RESULT, "status": "abstained", "findings": [], "reasons": ["This is lateral."], "outputs": []}
    assert main(["demo", "--out", str(tmp_path / "o")]) == 4
    assert "This is lateral." in capsys.readouterr().out


def test_no_result_is_never_called_a_success(
    window: Window, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    window.result = None
    assert main(["demo", "--out", str(tmp_path / "o")]) == 1
    assert "gave no result" in capsys.readouterr().err


def test_an_earlier_result_is_never_told_as_todays(
    window: Window, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "o"
    out.mkdir()
    earlier = {**RESULT, "schema": "medviewer.result/1", "outputs": ["overlay.png", "../mine.txt"]}
    (out / "result.json").write_text(json.dumps(earlier))
    for name in ("overlay.png", "window.png", "mine.txt"):
        (out / name).write_text("earlier")
    (tmp_path / "mine.txt").write_text("mine")
    window.result = None
    assert main(["demo", "--out", str(out)]) == 1
    told = capsys.readouterr()
    assert "pneumonia" not in told.out
    assert "gave no result" in told.err
    assert [path.name for path in out.iterdir()] == ["mine.txt"]
    assert (tmp_path / "mine.txt").exists()


def test_what_the_window_could_not_do_is_said(
    window: Window, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise EngineError("The model needs more memory.")

    monkeypatch.setattr(sys.modules["medviewer.gui.run"], "grab_window", fail)
    assert main(["demo", "--out", str(tmp_path / "o")]) == 1
    assert capsys.readouterr().err == "medviewer: The model needs more memory.\n"


def test_without_the_radiograph_the_package_is_named(
    window: Window, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo_module, "sample_path", lambda: None)
    assert main(["demo"]) == 3
    assert "pip install 'medviewer[demo]'" in capsys.readouterr().err
    assert window.grabbed == []


def test_paths_open_the_window(
    window: Window, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[Any] = []
    monkeypatch.setattr(sys.modules["medviewer.gui.run"], "run_window", lambda paths: opened.append(paths) or 0)
    monkeypatch.delitem(sys.modules, "medviewer.cli.window", raising=False)
    assert main(["a.dcm", "b"]) == 0
    assert opened == [[Path("a.dcm"), Path("b")]]
    assert main(["--models", "m", "a.dcm"]) == 2
    assert "--models goes with" in capsys.readouterr().err
    monkeypatch.delitem(sys.modules, "medviewer.cli.window", raising=False)
