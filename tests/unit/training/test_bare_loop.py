"""The loop learns what a bare loop of PyTorch learns, to the last bit: what its benchmark rests on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("torch")
import torch

from benchmarks import training_loop

pytestmark = pytest.mark.torch


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(training_loop, "SIZE", 24)
    monkeypatch.setattr(training_loop, "STEPS", 3)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_the_loop_learns_what_a_bare_one_does() -> None:
    (measured,) = training_loop.run(rounds=1)  # ends if they differ
    assert measured.peer == "PyTorch, bare loop"


def test_a_loop_that_learns_something_else_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_loop, "_learn_bare", lambda _: training_loop._network())
    with pytest.raises(SystemExit, match="do not learn the same"):
        training_loop.run(rounds=1)
