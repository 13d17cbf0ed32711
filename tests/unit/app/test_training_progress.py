"""How far a run is, from the lines of its process."""

from __future__ import annotations

import pytest

from medviewer.app.training_progress import RunProgress


def progress(done: int, total: int) -> dict[str, object]:
    return {"kind": "progress", "done": done, "total": total, "text": ""}


def test_the_time_left_follows_the_pace_since_the_first_step() -> None:
    now = [100.0]
    run = RunProgress(clock=lambda: now[0])
    assert run.left_s is None
    run.take(progress(41, 61))  # gone on from step 40: what was done before says nothing of the pace
    assert run.left_s is None
    now[0] += 10
    run.take(progress(46, 61))
    assert run.left_s == pytest.approx(30.0)


@pytest.mark.parametrize("other", [progress(1, 50), progress(21, 80)])
def test_another_part_is_measured_anew(other: dict[str, object]) -> None:
    now = [0.0]
    run = RunProgress(clock=lambda: now[0])
    run.take(progress(1, 50))
    now[0] = 1000.0
    run.take(progress(20, 50))
    run.take(other)
    assert run.left_s is None
    assert (run.done, run.total) == (other["done"], other["total"])


def test_it_is_known_when_it_validates() -> None:
    run = RunProgress()
    told = []
    for text in ("epoch 1 of 2  step 6/6", "epoch 1 of 2  validating", "epoch 2 of 2  step 1/6"):
        run.take({"kind": "progress", "done": 6, "total": 12, "text": text})
        told.append(run.is_validating)
    assert told == [False, True, False]


def test_each_part_has_its_curve() -> None:
    run = RunProgress()
    run.take({"run": "a", "kind": "step", "step": 1, "epoch": 1, "loss": 0.5})
    run.take({"run": "a", "kind": "epoch", "step": 1, "epoch": 1, "loss": 0.5, "score": 0.75})
    run.take({"run": "b", "kind": "step", "step": 1, "epoch": 1, "loss": 0.25})
    run.take({"run": "b", "kind": "epoch", "step": 1, "epoch": 1, "loss": 0.25, "score": None})
    assert (run.part, run.epoch) == ("b", 1)
    assert (run.curves["a"].losses, run.curves["a"].judged, run.curves["a"].scores) == ([0.5], [1], [0.75])
    assert (run.curves["b"].losses, run.curves["b"].scores) == ([0.25], [])


def test_a_figure_that_chooses_nothing_is_no_score() -> None:
    run = RunProgress()
    planned = {"kind": "epoch", "loss": 0.5, "score": None, "by_plan": True}
    run.take({"run": "a", "step": 1, "epoch": 1, **planned})
    assert (run.curves["a"].is_by_plan, run.curves["a"].measured, run.curves["a"].scores) == (True, "", [])
    run.take({"run": "a", "step": 2, "epoch": 2, "measured": "auc", "auc": 0.75, **planned})
    curve = run.curves["a"]
    assert (curve.is_by_plan, curve.measured, curve.judged, curve.scores) == (True, "auc", [2], [0.75])


def test_only_the_last_lines_of_text_are_kept() -> None:
    run = RunProgress()
    for number in range(1000):
        run.take({"kind": "text", "text": str(number)})
    assert len(run.lines) == 300
    assert run.lines[-1] == "999"


def test_what_is_not_understood_is_passed_over() -> None:
    run = RunProgress()
    run.take({"kind": "weather"})
    run.take({})
    assert run == RunProgress()
