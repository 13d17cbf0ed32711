"""Many studies: whatever is killed, no result is lost and none is made twice."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from medviewer.app.batch_journal import JOURNAL_NAME
from medviewer.cli import analyze as analyze_module
from medviewer.cli import main
from medviewer.inference.engine import Engine
from tests import fakes, samples
from tests.answers import make_radiograph

pytestmark = [
    pytest.mark.reliability,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL and SIGSTOP on Windows"),
]

STUDIES = 50


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """``analyze`` on a folder of studies, each with one film of other pixels."""
    fakes.make_model(tmp_path / "models" / fakes.MODEL_ID)
    (tmp_path / "in").mkdir()
    for number in range(STUDIES):
        grey = fakes.make_frame(96, 80, seed=number).stored.astype("<u2").tobytes()
        make_radiograph(tmp_path / "in" / f"{number}.dcm", StudyInstanceUID=f"1.2.{number}", PixelData=grey)
    return [
        "--models", str(tmp_path / "models"), "analyze", str(tmp_path / "in"), "--model", fakes.MODEL_ID,
        "--out", str(tmp_path / "out"),
    ]  # fmt: skip


def events(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / JOURNAL_NAME).read_bytes().splitlines()]


def answers(out: Path) -> dict[str, Any]:
    """What each result says, by its folder."""
    found = {}
    for path in out.glob("study-*/*/result.json"):
        document = json.loads(path.read_bytes())
        [finding] = document["findings"]
        assert all((path.parent / name).is_file() for name in document["outputs"])
        found[str(path.parent.relative_to(out))] = (document["provenance"]["input_sha256"], finding["probability"])
    return found


class Mortal(Engine):
    """The real engine, whose worker is killed once a question: stopped so that it cannot answer, then killed."""

    killed: list[int] = []  # noqa: RUF012 - of the whole test

    def ask(self, *args: Any, **options: Any) -> Any:
        self._asked = getattr(self, "_asked", 0) + 1
        return super().ask(*args, **options)

    def _ask(self, verb: str, *rest: Any, stop: Any) -> Any:
        # The first try of a question has an odd number; the run for small changes is its second one.
        wanted = 1 + len(self.killed) % 2
        self._runs = getattr(self, "_runs", 0) + 1 if verb == "run" else getattr(self, "_runs", 0)
        if verb == "run" and self._asked % 2 and self._runs == wanted:
            pid = self.worker_pid
            assert pid is not None
            os.kill(pid, signal.SIGSTOP)
            threading.Thread(target=os.kill, args=(pid, signal.SIGKILL)).start()
            self.killed.append(pid)
            self._runs = 0
        elif verb == "run" and not self._asked % 2 and self._runs == 2:
            self._runs = 0
        return super()._ask(verb, *rest, stop=stop)


def test_fifty_deaths_of_the_worker_lose_no_result_and_repeat_none(
    tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Mortal.killed.clear()
    monkeypatch.setattr(analyze_module, "Engine", lambda catalogue: Mortal(catalogue, providers=("cpu",), threads=1))
    assert main(words) == 0
    assert len(set(Mortal.killed)) == STUDIES
    assert len(caplog.records) >= STUDIES  # each death is in the log
    told = events(tmp_path / "out")
    assert Counter(event.get("event") for event in told) == {None: 1, "begun": STUDIES, "ended": STUDIES}
    assert {event["outcome"] for event in told if event.get("event") == "ended"} == {"answer"}
    found = answers(tmp_path / "out")
    assert len(found) == STUDIES
    # What an undisturbed calculation in numpy says of the same films.
    out = tmp_path / "undisturbed"
    monkeypatch.setattr(analyze_module, "Engine", fakes.FakeEngine)
    assert main([*words[:-1], str(out)]) == 0
    expected = answers(out)
    assert found.keys() == expected.keys()
    for name, (digest, probability) in found.items():
        assert digest == expected[name][0]
        assert probability == pytest.approx(expected[name][1], abs=1e-5)


PROGRAM = """
import sys
from medviewer.cli import analyze, main
from tests import fakes
analyze.Engine = fakes.FakeEngine
sys.exit(main(sys.argv[1:]))
"""


def test_the_program_killed_again_and_again_loses_nothing_and_repeats_nothing(
    tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    kept: dict[Path, str] = {}
    kills = 0
    while True:
        size = (out / JOURNAL_NAME).stat().st_size if (out / JOURNAL_NAME).exists() else 0
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", PROGRAM, *words],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(samples.ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
        # Killed at another point each time: some hundreds of bytes of the journal later, wherever that is.
        while process.poll() is None and kills < 8:
            grown = (out / JOURNAL_NAME).stat().st_size - size if (out / JOURNAL_NAME).exists() else 0
            if grown > 700 + 97 * kills:
                process.kill()
                kills += 1
                break
        code = process.wait(120)
        now = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.glob("study-*/*/result.json")}
        assert kept.items() <= now.items()  # none is gone, none was made anew
        kept = now
        if code == 0:
            break
        assert code == -signal.SIGKILL
    assert kills == 8
    assert len(kept) == len(answers(out)) == STUDIES
    ended = Counter(event["question"] for event in events(out) if event.get("event") == "ended")
    assert set(ended.values()) == {1}
    assert len(ended) == STUDIES
    assert not list(out.rglob(".medviewer-*/"))  # what a kill left half made is cleared away
    counts = json.loads((out / "summary.json").read_bytes())["counts"]
    assert (counts["answer"], counts["waiting"]) == (STUDIES, 0)
