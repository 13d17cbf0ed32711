"""A program with the words of ``medviewer recipes``, ``train`` and ``evaluate`` that learns nothing, in no time.

Started as a process of its own by what tests the window's side of training. Files in the data folder say how it
behaves: ``fails`` holds the sentence with which it ends after three steps, ``dies`` has it killed there, ``waits``
has it wait there until it is told to end, ``deaf`` beside it lets it hear nothing. The model that comes of a
training is a copy of the folder named in ``MEDVIEWER_TEST_MODEL``.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

N_STEPS = 6
NOTHING: dict[str, Any] = {"data": {}, "duration": {}, "files": [], "settings": [], "paths": []}
RECIPES = [
    {
        "recipe": "films",
        "title": {"en": "Films & findings", "zh": "胶片"},
        "data": {"en": "A folder of films.", "zh": "胶片文件夹。"},
        "duration": {"en": "A moment.", "zh": "片刻。"},
        "files": [".csv", ".npz"],
        "settings": [
            {"name": "batch", "value": "32", "kind": "int", "about": {"en": "cases a step, over all processes."}},
            {"name": "rate", "value": "0.01", "kind": "float", "about": {}},
        ],
        "paths": [
            {"name": name, "kind": kind, "about": {"en": f"About {name}.", "zh": f"关于{name}。"}}
            | {"suffixes": suffixes, "is_read": is_read}
            for name, kind, suffixes, is_read in (
                ("checkpoints", "folder", [], False),
                ("weights", "file", [".safetensors"], True),
                ("curves", "folder", [], False),
            )
        ],
        "problem": "",
    },
    {"recipe": "bare", "title": {"en": "A recipe that says nothing"}, **NOTHING, "problem": ""},
    {"recipe": "lacking", "title": {"en": "lacking"}, **NOTHING}
    | {"problem": "Training needs the package weights: pip install 'medviewer[torch,cpu]'."},
]
DATA = {
    "schema": "medviewer-data/1",
    "n": 12,
    "n_patients": 10,
    "per_class": {"NORMAL": 5, "PNEUMONIA": 7},
    "splits": {
        "train": {"n": 8, "n_patients": 7, "per_class": {"NORMAL": 3, "PNEUMONIA": 5}},
        "report": {"n": 4, "n_patients": 3, "per_class": {"NORMAL": 2, "PNEUMONIA": 2}},
    },
    "problems": [{"text": "The part tune has no case of NORMAL.", "stops_training": True}],
    "unusable": [],
}


def figures(value: float) -> dict[str, Any]:
    return {name: {"value": value, "ci95": [value - 0.02, value + 0.02]} for name in ("auc", "accuracy", "brier")}


COMPARISON = {
    "schema": "medviewer-comparison/1",
    "models": [
        {
            "id": "mine",
            "version": "1.0.0",
            "metrics": figures(0.91),
            "was_learned_from": False,
            "learned_from": ["A/1", "A/2"],
        },
        {"id": "mine", "version": "1.0.0", "metrics": figures(0.88), "was_learned_from": True},
    ],
    "data": {"n": 40, "n_patients": 33},
    "differences": {name: entry | {"p": 0.01} for name, entry in figures(0.03).items()},
    "mcnemar": {"both": 30, "only_first": 7, "only_second": 2, "neither": 1, "p": 0.18},
}


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def tell(**line: Any) -> None:
    say(json.dumps(line))


def end(*_: object) -> None:
    tell(kind="stopped", text="Cancelled.")
    sys.exit(143)


def refuse(sentence: str) -> None:
    sys.stderr.write(f"medviewer: {sentence}\n")
    sys.exit(2)


def train(data: Path, out: Path) -> None:
    run = out.with_name(f"{out.name}.training")
    run.mkdir(parents=True, exist_ok=True)
    kept = run / "run.pt"
    first = int(kept.read_text()) if kept.exists() else 0
    say("a library says something that is no JSON")
    tell(kind="text", text=f"going on from step {first}" if first else "train 8, report 4")
    for step in range(1, N_STEPS + 1):
        tell(run="", kind="step", step=step, epoch=(step + 1) // 2, loss=1 / step)
        if step % 2 == 0:
            tell(run="", kind="epoch", step=step, epoch=step // 2, loss=1 / step, score=0.5 + step / 20, seconds=1)
        if step <= first:
            continue
        kept.write_text(str(step))
        tell(kind="progress", done=step, total=N_STEPS, text=f"step {step}")
        if step == 3:
            behave(data)
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(os.environ["MEDVIEWER_TEST_MODEL"], out)
    shutil.rmtree(run)
    tell(kind="done", folder=str(out))


def behave(data: Path) -> None:
    if (data / "fails").exists():
        refuse((data / "fails").read_text())
    if (data / "dies").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    while (data / "waits").exists():
        time.sleep(0.01)


def main(words: list[str]) -> None:
    if words[0] == "recipes":
        tell(schema="medviewer.recipes/1", recipes=RECIPES)
        return
    options = dict(pairwise(words))
    data, out = Path(options["--data"]), Path(options["--out"])
    data = data if data.is_dir() else data.parent
    signal.signal(signal.SIGTERM, signal.SIG_IGN if (data / "deaf").exists() else end)
    with (data / "asked").open("a") as file:
        file.write(json.dumps(words) + "\n")
    if "--report-only" in words:
        behave(data)
        out.mkdir(parents=True, exist_ok=True)
        (out / "data.json").write_text(json.dumps(DATA))
        sys.stderr.write("The part tune has no case of NORMAL.\n")
        sys.exit(3)
    if words[0] == "evaluate":
        behave(data)
        out.mkdir(parents=True, exist_ok=True)
        (out / "comparison.json").write_text(json.dumps(COMPARISON))
        return
    train(data, out)


if __name__ == "__main__":
    main(sys.argv[1:])
