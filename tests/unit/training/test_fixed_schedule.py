"""Where the last epoch is taken by plan: it is taken, and nothing is shown as a score that is none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from medviewer.domain.errors import Stopped  # noqa: E402
from medviewer.training import checkpoint  # noqa: E402
from medviewer.training.checkpoint import weights_digest  # noqa: E402
from medviewer.training.configs import LoopConfig  # noqa: E402
from medviewer.training.lesson import Surroundings  # noqa: E402
from medviewer.training.loop import fit  # noqa: E402
from medviewer.training.run_record import read_record  # noqa: E402
from tests.lessons import PlannedLesson, tiny_network  # noqa: E402

pytestmark = pytest.mark.torch

CONFIG = LoopConfig(batch=8, average=0.5, keep_every=2, threads=1)
FALLING = [{"auc": 0.75}, {"auc": 0.5}, {"auc": 0.25}]


def learned(
    folder: Path,
    figures: list[dict[str, float]] | None = None,
    config: LoopConfig = CONFIG,
    epochs: int = 3,
    **more: Any,
) -> tuple[str, list[dict[str, Any]], list[str]]:
    network, lines = tiny_network(), list[str]()
    around = Surroundings(folder, progress=lines.append, **more)
    history = fit(network, PlannedLesson(config, epochs, figures), config, around)
    return weights_digest(network), history, lines


def test_the_last_epoch_is_taken_whatever_was_measured(tmp_path: Path) -> None:
    digest, history, _ = learned(tmp_path, FALLING, replace(CONFIG, patience=1))
    assert [entry["chosen"] for entry in history] == [False, False, True]
    assert [entry["score"] for entry in history] == [None] * 3
    network = tiny_network()
    network.load_state_dict(torch.load(tmp_path / "epoch-3.pt", weights_only=True))
    assert weights_digest(network) == digest


@pytest.mark.parametrize(
    ("figures", "ends"),
    [
        (FALLING, [f", AUC on held-out cases {one['auc']:.4f}, the last epoch is taken by plan" for one in FALLING]),
        (None, [", the last epoch is taken by plan"] * 3),
        ([{}, {"auc": float("nan")}, {"held_out": 2.0}],
         [", the last epoch is taken by plan"] * 2 + [", loss on held-out cases 2.0000, the last epoch is taken by plan"]),
    ],
)  # fmt: skip
def test_what_was_measured_is_told_with_its_name(
    tmp_path: Path, figures: list[dict[str, float]] | None, ends: list[str]
) -> None:
    _, history, lines = learned(tmp_path, figures)
    told = [line for line in lines if line.startswith("epoch")]
    assert told == [f"epoch {n + 1}: loss {history[n]['loss']:.4f}{end}" for n, end in enumerate(ends)]
    assert not [line for line in lines if "score" in line]
    entries = [line for line in read_record(tmp_path) if line["kind"] == "epoch"]
    assert all(entry["by_plan"] and entry["score"] is None for entry in entries)
    wanted = [ends[n].split(",")[1].split()[0] for n in range(3)]
    names = {"AUC": "auc", "loss": "held_out", "the": None}
    assert [entry.get("measured") for entry in entries] == [names[word] for word in wanted]
    json.dumps(history, allow_nan=False)


def test_a_run_of_an_earlier_version_is_gone_on_with(tmp_path: Path) -> None:
    """It wrote the number of the epoch as its score."""
    whole, *_ = learned(tmp_path / "whole", FALLING)

    def stop(done: int, *_: Any) -> None:
        if done == 13:
            raise KeyboardInterrupt

    with pytest.raises(Stopped):
        learned(tmp_path / "broken", FALLING, bar=stop)
    as_before(tmp_path / "broken")
    told: list[Mapping[str, Any]] = []
    again, history, _ = learned(
        tmp_path / "broken", FALLING, replace(CONFIG, patience=1), record=lambda _, line: told.append(line)
    )
    assert again == whole
    assert [entry["chosen"] for entry in history] == [False, False, True]
    for entries in (history, [line for line in told if line["kind"] == "epoch"]):
        assert [(entry["score"], entry["by_plan"]) for entry in entries] == [(None, True)] * 3


def as_before(folder: Path) -> None:
    """Have history and record of a run say what they said before there were plans."""

    def numbered(entry: dict[str, Any]) -> dict[str, Any]:
        kept = {name: value for name, value in entry.items() if name not in ("by_plan", "measured")}
        return kept | {"score": float(entry["epoch"])}

    state = torch.load(folder / checkpoint.FILE, weights_only=True)
    state["history"] = json.dumps([numbered(entry) for entry in json.loads(state["history"])])
    checkpoint.write_tensors(folder / checkpoint.FILE, state)
    lines = [numbered(line) if line["kind"] == "epoch" else line for line in read_record(folder)]
    (folder / "record.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
