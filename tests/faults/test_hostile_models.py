from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import hostile_models

pytestmark = pytest.mark.reliability

NAMES = [*hostile_models.FOLDERS, *hostile_models.ARCHIVES]
_STRACE = shutil.which("strace")


@dataclass(frozen=True)
class Tried:
    """What was said of each model, and the lines of what was opened meanwhile."""

    root: Path
    reasons: dict[str, str]
    said: dict[str, str]
    opened: list[str]


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Tried:
    root = tmp_path_factory.mktemp("hostile")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # zipfile on a name given twice
        made = hostile_models.make_all(root)
    listed, trace, home = root / "list.json", root / "trace", root / "home"
    listed.write_text(json.dumps({name: str(path) for name, (path, _) in made.items()}))
    command = [sys.executable, "-P", "-m", "tests.hostile_models", str(listed), str(home)]
    if _STRACE is not None:
        # -y: the file behind a descriptor, so that a link cannot hide where it leads.
        command = [
            _STRACE,
            "-f",
            "-y",
            "-q",
            "-e",
            "trace=openat,open,creat,link,linkat,rename",
            "-o",
            str(trace),
            *command,
        ]
    root_folder = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root_folder)}
    done = subprocess.run(command, capture_output=True, timeout=300, check=True, cwd=root_folder, env=environment)
    opened = trace.read_text(errors="replace").splitlines() if trace.exists() else []
    return Tried(root, {name: reason for name, (_, reason) in made.items()}, json.loads(done.stdout), opened)


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_model_is_refused_with_its_own_reason(tried: Tried, name: str) -> None:
    assert tried.reasons[name] in tried.said[name]


def test_nothing_of_them_is_left_and_no_other_failure_was_met(tried: Tried) -> None:
    assert all(tried.said.values())
    assert [path.name for path in (tried.root / "home" / "models").iterdir()] == [".previous"]
    assert sorted(path.name for path in (tried.root / "outside").iterdir()) == [
        "model.onnx", "secret.onnx", "secret.txt", "weights.bin",
    ]  # fmt: skip


@pytest.mark.skipif(_STRACE is None, reason="strace is not installed: what was opened cannot be watched")
def test_nothing_outside_of_a_models_folder_was_opened(tried: Tried) -> None:
    outside = str(tried.root / "outside")
    models = str(tried.root / "models")
    assert any(models in line for line in tried.opened), "the watch saw nothing at all"
    # A symbolic link is refused by the kernel (ELOOP); a descriptor would show where it led.
    assert [line for line in tried.opened if outside in line] == []
