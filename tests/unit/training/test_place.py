"""The place of a model belongs to one process, and is put right after one that was killed."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from medviewer.domain.errors import InputError, StorageError, UsageError
from medviewer.training import processes, train
from medviewer.training.place import beside, own_checkpoints, own_place
from medviewer.training.processes import Processes
from tests import fakes

pytestmark = pytest.mark.torch

# Has the place, writes a part of a model there, and is killed at once or where a model takes another one's place.
_KILLED = """
import os, signal, sys
from pathlib import Path
from medviewer.training.place import own_place
from medviewer.training.publish import model_folder

out, rename = Path(sys.argv[1]), Path.rename

def killed(self, target):
    rename(self, target)
    if target.name.endswith("medviewer-old"):
        os.kill(os.getpid(), signal.SIGKILL)

Path.rename = killed
with own_place(out), model_folder(out) as partial:
    (partial / "new").write_bytes(b"half")
    if sys.argv[2] == "export":
        os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(out: Path, when: str) -> None:
    done = subprocess.run([sys.executable, "-c", _KILLED, str(out), when], capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("replaces", [False, True])
def test_what_a_killed_export_left_goes_with_the_next_run(tmp_path: Path, replaces: bool) -> None:
    out = tmp_path / "heart"
    if replaces:
        fakes.make_model(out)
    killed(out, "export")
    assert any(name.endswith(".part") for name in names(tmp_path))
    # Of somebody else, or of a model whose name only begins alike.
    others = [".heart-holidays", ".heart-old", ".heart.medviewer-mine", ".heart2.medviewer-a1b2c3d4.part", "heart.part"]
    for name in others:
        (tmp_path / name).mkdir()
    with own_place(out):
        pass
    assert names(tmp_path) == sorted([*others, *(["heart"] if replaces else [])])


def test_a_model_that_was_to_be_replaced_in_that_moment_is_back(tmp_path: Path) -> None:
    out = fakes.make_model(tmp_path / "heart")
    before = names(out)
    killed(out, "end")
    assert not out.exists()
    with own_place(out):
        assert names(out) == before
    assert names(tmp_path) == ["heart"]


def test_a_second_process_is_refused_at_once_and_takes_nothing_away(tmp_path: Path) -> None:
    out = tmp_path / "heart"
    partial = beside(out, "a1b2c3d4.part")
    with own_place(out):
        partial.mkdir()
        with pytest.raises(UsageError, match=r"Another process is making the model .*heart now; wait .*--out"):
            train("survival", tmp_path / "no data", out, {}, print)
        assert partial.is_dir()
        with own_place(tmp_path / "other"):
            pass
    with own_place(out):  # and it is free again
        assert not partial.exists()
    assert names(tmp_path) == []


def test_a_second_process_is_refused_the_same_folder_of_checkpoints(tmp_path: Path) -> None:
    """With another --out it has a place of its own, and would write over what the first one learned."""
    kept = tmp_path / "run"
    settings = {"checkpoints": str(kept)}
    with own_checkpoints(kept):
        with pytest.raises(UsageError, match=r"Another process keeps its run in .*run now; wait .*for checkpoints"):
            train("survival", tmp_path / "no data", tmp_path / "heart", settings, print)
        with pytest.raises(InputError):  # in no folder, or another one, nothing is in its way
            train("survival", tmp_path / "no data", tmp_path / "heart", {}, print)
        with pytest.raises(InputError):
            train("survival", tmp_path / "no data", tmp_path / "heart", {"checkpoints": str(tmp_path / "own")}, print)
    with pytest.raises(InputError):  # and it is free again
        train("survival", tmp_path / "no data", tmp_path / "heart", settings, print)
    assert names(kept) == []


def test_of_processes_that_learn_together_only_the_first_has_the_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = Processes(1, 2, processes.this_device())
    monkeypatch.setattr(processes, "joined_processes", lambda: contextlib.nullcontext(second))
    with own_checkpoints(tmp_path / "run"), pytest.raises(InputError):
        train("survival", tmp_path / "no data", tmp_path / "heart", {"checkpoints": str(tmp_path / "run")}, print)


def test_checkpoints_that_cannot_be_kept_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match=r"The run cannot be kept in .*file"), own_checkpoints(tmp_path / "file"):
        pass


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="The model cannot be made at"), own_place(tmp_path / "file" / "heart"):
        pass


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="this system has no folder in which nobody can write")
def test_where_no_lock_can_be_made_it_is_said_that_nothing_can_be_written_and_not_that_somebody_is_there() -> None:
    with pytest.raises(StorageError) as refused:
        train("survival", Path("no data"), Path("/proc/heart"), {}, print)
    said = "The model cannot be made at /proc/heart (nothing can be written in /proc); choose another --out, "
    assert str(refused.value) == f"{said}or free some space."
    with (
        pytest.raises(StorageError, match=r"kept in /proc \(nothing can be written in /proc\)"),
        own_checkpoints(Path("/proc")),
    ):
        pass
