"""The window's process loads no model runtime, and outlives the one that does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from medviewer.app import analysis
from medviewer.app.last_session import find_crashed
from medviewer.app.on_screen import current_answer, current_attribution
from medviewer.app.start import running_application
from medviewer.gui.post import GuiPost
from medviewer.gui.window import MainWindow
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.engine import Engine
from tests.fakes import MODEL_ID, make_model, slow_graph
from tests.gui.reader import Reader
from tests.radiographs import write_radiograph

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_process_of_the_window_never_loads_a_runtime(tmp_path: Path, medviewer_home: Path) -> None:
    """Opening, running a model, explaining: torch, onnxruntime, onnx and captum stay out of the window's process."""
    make_model(medviewer_home / "models" / MODEL_ID)
    script = textwrap.dedent(
        """
        import sys
        from pathlib import Path

        if __name__ == "__main__":
            from medviewer.app.on_screen import current_answer, current_attribution
            from medviewer.gui.run import grab_window

            state = grab_window(Path(sys.argv[1]), paths=[Path(sys.argv[2])])
            assert current_answer(state) is not None
            assert current_attribution(state) is not None
            heavy = {"torch", "onnxruntime", "onnx", "captum"}
            print("LOADED", sorted(heavy & set(sys.modules)))
        """
    )
    file = tmp_path / "act.py"
    file.write_text(script)
    picture = tmp_path / "window.png"
    done = subprocess.run(
        [sys.executable, str(file), str(picture), str(write_radiograph(tmp_path / "a.dcm"))],
        cwd=ROOT,
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "LOADED []" in done.stdout
    assert picture.stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.reliability
def test_a_killed_worker_is_said_and_the_next_run_works(
    qtbot: Any,
    tmp_path: Path,
    medviewer_home: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = tmp_path / "models"
    make_model(folder / "slow", graph=slow_graph(), control_flow=["Loop"], id="slow", reference=False)
    make_model(folder / MODEL_ID)
    post = GuiPost()
    with Engine(Catalogue([folder])) as engine, running_application(medviewer_home, post, engine) as app:
        window = MainWindow(app)
        qtbot.addWidget(window)
        window.show()
        reader = Reader(window, qtbot)
        app.run_command("model.select", MODEL_ID)
        reader.open(write_radiograph(tmp_path / "a.dcm"))
        app.run_command("model.select", "slow")
        reader.settle()
        # The run is inside the network when the worker burns processor time on it.
        entered = threading.Event()
        real = analysis.ask

        def told(*args: Any) -> Any:
            entered.set()
            return real(*args)

        monkeypatch.setattr(analysis, "ask", told)
        app.run_command("model.run")
        reader.wait(entered.is_set)
        assert engine.worker_pid is not None
        worker = psutil.Process(engine.worker_pid)
        before = worker.cpu_times().user
        reader.wait(lambda: worker.cpu_times().user > before + 0.1)
        os.kill(worker.pid, signal.SIGKILL)
        app.run_command("view.flip_horizontal")  # the window answers
        assert app.state.view.flip_horizontal
        reader.wait(lambda: "model" not in app.jobs.running)
        assert current_answer(app.state) is None
        assert any("process" in problem for problem in app.state.analysis_problem.values())
        app.run_command("model.select", MODEL_ID)
        app.run_command("model.run")
        reader.settle()
        found = current_answer(app.state)
        assert found is not None
        assert found[1].status == "answer"
        assert current_attribution(app.state) is not None
        assert engine.worker_pid != worker.pid
        assert [record.name for record in caplog.records] == ["medviewer.inference.supervisor"]  # it was noticed, once
        window.close()
        post.close()


@pytest.mark.slow
def test_a_window_that_is_killed_is_offered_again_and_one_that_is_closed_is_not(
    tmp_path: Path, medviewer_home: Path
) -> None:
    script = textwrap.dedent(
        """
        import sys
        from pathlib import Path

        if __name__ == "__main__":
            from medviewer.gui.run import run_window

            run_window([Path(sys.argv[1])])
        """
    )
    file = tmp_path / "act.py"
    file.write_text(script)
    for how, is_offered in ((signal.SIGKILL, True), (signal.SIGINT, False)):
        image = write_radiograph(tmp_path / f"{how.name}.dcm")
        process = subprocess.Popen(
            [sys.executable, str(file), str(image)],
            cwd=ROOT,
            env={**os.environ, "QT_QPA_PLATFORM": "offscreen", "PYTHONPATH": str(ROOT)},
            stderr=subprocess.DEVNULL,
        )
        left = medviewer_home / f"open-{process.pid}.json"
        _wait_for(left, process)
        assert find_crashed(medviewer_home) is None  # it runs
        process.send_signal(how)
        process.wait(60)
        found = find_crashed(medviewer_home)
        assert (found is not None) == is_offered
        if found is not None:
            assert found.paths == (str(image),)
            left.unlink()


def _wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until a program has written a file."""
    ended = threading.Event()
    for _ in range(600):
        if path.is_file():
            return
        assert process.poll() is None, "the program ended by itself"
        ended.wait(0.1)
    pytest.fail(f"{path.name} was not written")
