"""``make models`` can be given again: it makes what is not there, and goes on after what is."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODELS = [
    "breast-ultrasound", "chest-xray-pneumonia", "icu-forecast", "icu-mortality", "note-section",
    "survival-heart-attack", "toxicity",
]  # fmt: skip
# Stands for the program: makes the folder that follows --out, if it is not the one that fails.
PROGRAM = """#!/bin/sh
echo "$@" >> "$(dirname "$0")/asked"
for word; do [ "$before" = --out ] && out=$word; before=$word; done
[ -n "$out" ] && [ "$(basename "$out")" = "$(cat "$(dirname "$0")/fails")" ] && exit 2
[ -n "$out" ] && mkdir -p "$out"
exit 0
"""

pytestmark = pytest.mark.skipif(shutil.which("make") is None or sys.platform == "win32", reason="make is not installed")


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """An environment that is ready, with a program that learns nothing."""
    folder = tmp_path / "env"
    (folder / "bin").mkdir(parents=True)
    for name in ("medviewer", "pip"):
        (folder / "bin" / name).write_text(PROGRAM)
        (folder / "bin" / name).chmod(0o755)
    (folder / "bin" / "fails").write_text("")
    (folder / "ready").write_text("")
    return folder


def make(environment: Path, out: Path) -> subprocess.CompletedProcess[str]:
    words = ["make", "models", "DATA=/data of mine", f"OUT={out}", f"TEST_ENV={environment}"]
    return subprocess.run([*words, "--old-file=pyproject.toml", "--old-file=constraints.txt"],
                          cwd=ROOT, capture_output=True, text=True, check=False)  # fmt: skip


def asked(environment: Path) -> list[str]:
    lines = (environment / "bin" / "asked").read_text().splitlines()
    return [line for line in lines if line.startswith("train ")]


def test_each_model_is_made_once_and_what_is_there_is_named(environment: Path, tmp_path: Path) -> None:
    out = tmp_path / "new models"
    first = make(environment, out)
    assert first.returncode == 0, first.stderr
    assert sorted(path.name for path in out.iterdir()) == MODELS
    assert f"train chest-xray --data /data of mine/chest-xray-train --out {out}/chest-xray-pneumonia" in asked(
        environment
    )
    again = make(environment, out)
    assert again.returncode == 0, again.stderr
    assert len(asked(environment)) == len(MODELS)
    assert again.stdout.count("is there and stays as it is; remove it to make it again.") == len(MODELS)


def test_after_a_failure_the_same_command_makes_the_rest(environment: Path, tmp_path: Path) -> None:
    (environment / "bin" / "fails").write_text("toxicity")
    assert make(environment, tmp_path / "out").returncode != 0
    (environment / "bin" / "fails").write_text("")
    shutil.rmtree(tmp_path / "out" / "icu-mortality")
    assert make(environment, tmp_path / "out").returncode == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == MODELS
    assert sum("icu-mortality" in line for line in asked(environment)) == 2
    assert sum("chest-xray" in line for line in asked(environment)) == 1
